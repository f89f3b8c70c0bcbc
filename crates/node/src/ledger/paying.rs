//! A gateway that pays: its wallet, and what its control socket says of deals, audits and spending.
//!
//! Never: a start that waits for the ledger.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cairn_client::{AuditFilter, Client, NodeId};
use cairn_types::{Amount, UnixMs};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{self, Page, Refused, blocking};
use super::{Ledger, register};
use crate::outcome::report;

/// A private ledger's faucet is asked when the wallet holds less than this.
const FUNDED: Amount = Amount::from_credits(100);
const FUND_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Sees, in the background, that the wallet of a private ledger holds credits to pay with.
pub async fn keep_funded(ledger: Ledger) {
    if ledger.chain().contracts().faucet.is_none() {
        return;
    }
    let mut pause = Duration::from_secs(1);
    while let Err(error) = register::fund(&ledger, FUNDED).await {
        tracing::warn!(error = report(&error), pause_s = pause.as_secs(), "no credits to pay with yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(FUND_PAUSE_MAX);
    }
}

/// Routes of the control socket.
pub fn router(client: Client, ledger: Ledger) -> Router {
    let paying = Router::new()
        .route("/v1/deals", get(deals))
        .route("/v1/audits", get(audits).post(audit_now))
        .route("/v1/disputes", get(disputes).post(challenge))
        .route("/v1/journal", get(journal))
        .route("/v1/spending", get(spending))
        .route("/v1/offers", get(offers))
        .route("/v1/channels/{provider}/close", post(close))
        .with_state(client.clone());
    api::router(ledger).merge(paying).merge(super::delegating::router(client))
}

async fn deals(State(client): State<Client>) -> Json<Value> {
    Json(json!({"deals": client.deals()}))
}

async fn offers(State(client): State<Client>) -> Json<Value> {
    Json(json!({"offers": client.offers()}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedAudits {
    provider: Option<NodeId>,
    #[serde(default)]
    failed: bool,
    #[serde(default)]
    since_ms: u64,
    #[serde(default = "audits_max")]
    max: usize,
}

fn audits_max() -> usize {
    100
}

async fn audits(State(client): State<Client>, Query(wanted): Query<WantedAudits>) -> Result<Json<Value>, Refused> {
    let filter = AuditFilter {
        provider: wanted.provider,
        failed: wanted.failed,
        since: UnixMs(wanted.since_ms),
        max: wanted.max.min(10_000),
    };
    let found = blocking(move || client.audits(&filter)).await?;
    Ok(Json(json!({"audits": found})))
}

/// Audits every provider with a paid deal now, one after another.
async fn audit_now(State(client): State<Client>) -> Json<Value> {
    let mut done = Vec::new();
    for deal in client.deals() {
        match client.audit_now(deal.provider).await {
            Ok(audit) => done.push(json!(audit)),
            Err(error) => done.push(json!({"provider": deal.provider, "error": error.to_string()})),
        }
    }
    Json(json!({"audits": done}))
}

async fn disputes(State(client): State<Client>) -> Result<Json<Value>, Refused> {
    let found = client.disputes().await.map_err(Refused::internal)?;
    Ok(Json(json!({"disputes": found})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {
    /// An audit's id.
    audit: String,
}

async fn challenge(State(client): State<Client>, Json(wanted): Json<Challenge>) -> Result<Json<Value>, Refused> {
    // Its own task: a caller that goes away breaks nothing off.
    let challenging = tokio::spawn(async move { client.challenge(&wanted.audit).await });
    let made = challenging.await.map_err(Refused::internal)?;
    let made =
        made.map_err(|error| Refused::conflict(&error, "cairn audits shows ids and reasons; cairn disputes what is open"))?;
    Ok(Json(json!(made)))
}

async fn journal(State(client): State<Client>, Query(page): Query<Page>) -> Result<Json<Value>, Refused> {
    let (from, max) = page.bounds();
    // The opening is looked at after the entries: what is rolled up in between is in both, and its number tells.
    let asked = client.clone();
    let entries = blocking(move || asked.journal(from, max)).await?;
    Ok(Json(api::journal_page(&client.journal_opening(), entries.iter().map(|entry| json!(entry)).collect())))
}

async fn spending(State(client): State<Client>) -> Result<Json<Value>, Refused> {
    let asked = client.clone();
    let months = blocking(move || asked.spending()).await?;
    Ok(Json(json!({"now": client.money(), "months": months})))
}

async fn close(
    State(client): State<Client>,
    axum::extract::Path(provider): axum::extract::Path<NodeId>,
) -> Result<Json<Value>, Refused> {
    client.close_channel(provider).await.map_err(Refused::internal)?;
    Ok(Json(json!({"provider": provider, "closing": true})))
}
