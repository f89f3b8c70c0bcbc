//! The wallet on a daemon's control socket: `GET /v1/wallet`, `POST /v1/wallet/withdraw`, `POST /v1/wallet/faucet`.
//!
//! Never: on a network address; who may open the socket may spend. Limits: JSON bodies as the socket's other calls.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use cairn_chain::CommandId;
use cairn_market::journal::{self, Opening, Turnover};
use cairn_market::settlement::SettlementError;
use cairn_types::{Address, Amount};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ledger;
pub use crate::answer::Refused;

/// Entries of one page of a journal.
const PAGE_MAX: usize = 1000;

/// The wallet's routes.
pub fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/v1/wallet", get(wallet))
        .route("/v1/wallet/withdraw", post(withdraw))
        .route("/v1/wallet/faucet", post(faucet))
        .with_state(ledger)
}

/// A page of a journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    max: Option<usize>,
}

impl Page {
    /// First entry and how many at most.
    pub fn bounds(&self) -> (u64, usize) {
        (self.from, self.max.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX))
    }
}

/// A page of a journal, with what the entries before the first one that is kept came to.
pub fn journal_page(opening: &Opening, entries: Vec<Value>) -> Value {
    let account = |(account, turnover): (journal::Account, Turnover)| json!({"account": account, "debits": turnover.debits, "credits": turnover.credits});
    let before: Vec<Value> = opening.accounts().map(account).collect();
    json!({"opening": {"first": opening.first(), "accounts": before}, "entries": entries})
}

/// Runs a look at the disk off the async threads.
pub async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    job: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(job).await.map_err(Refused::internal)?.map_err(Refused::internal)
}

async fn wallet(State(ledger): State<Ledger>) -> Result<Json<Value>, Refused> {
    let chain = ledger.chain();
    let (owner, health) = (chain.wallet(), chain.health());
    let contracts = chain.contracts();
    Ok(Json(json!({
        "address": owner,
        "credits": chain.credits(owner).await?,
        "coin": chain.coin(owner).await?.to_string(),
        "chain_id": chain.chain_id(),
        "token": contracts.token,
        "faucet": contracts.faucet,
        "followed_block": health.followed,
        "open_commands": health.open_commands,
        "read_only": health.read_only(),
        "pause": health.pause.map(|pause| format!("{pause:?}")),
        "trouble": health.send_trouble.map(|error| error.to_string()).or(health.follow_trouble.map(|error| error.to_string())),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Withdrawal {
    /// The same id is the same withdrawal, so that asking twice pays once.
    id: String,
    to: Address,
    amount: Amount,
}

async fn withdraw(State(ledger): State<Ledger>, Json(wanted): Json<Withdrawal>) -> Result<Json<Value>, Refused> {
    let have = ledger.chain().credits(ledger.chain().wallet()).await?;
    if have < wanted.amount {
        return Err(SettlementError::NotEnough { have, need: wanted.amount }.into());
    }
    let command = CommandId::of(&format!("withdraw/{}", wanted.id));
    ledger.chain().transfer(command, wanted.to, wanted.amount).await?;
    ledger.done(command).await?;
    let left = ledger.chain().credits(ledger.chain().wallet()).await?;
    Ok(Json(json!({"id": wanted.id, "to": wanted.to, "amount": wanted.amount, "credits": left})))
}

async fn faucet(State(ledger): State<Ledger>) -> Result<Json<Value>, Refused> {
    let credits = ledger.drip().await?;
    Ok(Json(json!({"address": ledger.chain().wallet(), "credits": credits})))
}
