//! A provider that is paid: its accounts, its registration, its payouts, and what its control socket says of them.
//!
//! Never: a start that waits for the ledger; a provider whose ledger is away serves on under the deals it has.
//! Limits: attempts to register pause at most [`REGISTER_PAUSE_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use cairn_market::settlement::ChannelState;
use cairn_market::{EgressPrice, StoragePrice};
use cairn_provider::{Accounts, Accused, DealAccount, Paid, Prices, Store};
use cairn_types::Amount;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::api::{self, Page, Refused, blocking};
use super::{Ledger, LedgerTask, register};
use crate::config;
use crate::home::Home;
use crate::outcome::report;

const REGISTER_PAUSE_MIN: Duration = Duration::from_secs(1);
const REGISTER_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Between two looks at what happened on the ledger.
const NOTICES_EVERY: Duration = Duration::from_millis(500);
const NOTICES_MAX: usize = 64;

/// A paid provider's money side.
pub struct Earning {
    accounts: Accounts,
    ledger: Ledger,
    worker: LedgerTask,
    tasks: Vec<JoinHandle<()>>,
    stopping: watch::Sender<bool>,
    registered: Arc<AtomicBool>,
}

/// Opens accounts and wallet, and begins to register and to pay out.
pub async fn open(home: &Home, store: &Store, config: &config::Provider, url: &str) -> Result<Earning> {
    let (ledger, worker) = super::open(home, url, config.contracts.as_deref()).await?;
    let ledger = ledger.with_coin_price(config.gas_price.0);
    let prices = Prices {
        storage: StoragePrice::per_gib_month(config.storage_price.per_gib()),
        egress: EgressPrice::per_gib(config.egress_price.per_gib()),
        collateral_per_gib: config.collateral_per_tib.per_gib(),
        epoch_ms: config.epoch.0,
        grace_ms: config.grace.0,
        region: config.region.clone(),
    };
    let mut paid = Paid::new(home.path("ledger"), prices, home.session_key(), Arc::new(ledger.clone()));
    (paid.redeem_at, paid.redeem_times) = (config.redeem_at.0, config.redeem_times);
    paid.court = Some(Arc::new(ledger.clone()));
    paid.poll_every = paid.poll_every.min(config.epoch.duration());
    let (store, key) = (store.clone(), home.node_key());
    let opened = tokio::task::spawn_blocking(move || Accounts::open(store, key, paid)).await;
    let accounts = opened.context("opening the accounts")?.context("the accounts of this provider cannot be opened")?;
    let (stopping, stop) = watch::channel(false);
    let registered = Arc::new(AtomicBool::new(false));
    let payouts = tokio::spawn({
        let (accounts, stop) = (accounts.clone(), stop.clone());
        async move { accounts.run(stop).await }
    });
    let registering = tokio::spawn(keep_trying(
        (ledger.clone(), home.node_key(), accounts.clone()),
        config.collateral.0,
        registered.clone(),
        stop.clone(),
    ));
    let noticing = tokio::spawn(notice(ledger.clone(), accounts.clone(), stop));
    Ok(Earning { accounts, ledger, worker, tasks: vec![payouts, registering, noticing], stopping, registered })
}

impl Earning {
    /// The accounts that the server asks.
    pub fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// Whether the chain knows this provider as it offers itself now.
    pub fn registered(&self) -> impl Fn() -> bool + Clone + Send + Sync + use<> {
        let registered = self.registered.clone();
        move || registered.load(Ordering::Relaxed)
    }

    /// Routes of the control socket.
    pub fn router(&self) -> Router {
        let accounts = Router::new()
            .route("/v1/earnings", get(earnings))
            .route("/v1/deals", get(deals))
            .route("/v1/journal", get(journal))
            .route("/v1/redeem", post(redeem))
            .route("/v1/disputes", get(disputes))
            .with_state((self.accounts.clone(), self.ledger.clone()));
        api::router(self.ledger.clone()).merge(accounts)
    }

    /// Lets what is under way end.
    pub async fn stop(self) {
        self.stopping.send_replace(true);
        for task in self.tasks {
            let _ = task.await; // a task that panicked has said so
        }
        self.worker.stop().await;
        // The ledger's writer ends with the last of these.
        let _ = tokio::task::spawn_blocking(move || drop((self.accounts, self.ledger))).await;
    }
}

async fn keep_trying(
    (ledger, node, accounts): (Ledger, cairn_types::NodeKey, Accounts),
    collateral: Amount,
    registered: Arc<AtomicBool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = REGISTER_PAUSE_MIN;
    loop {
        match register::ensure(&ledger, &node, accounts.terms(), collateral).await {
            Ok(()) => {
                registered.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                tracing::warn!(error = report(&error), pause_s = pause.as_secs(), "not registered yet: clients will not agree")
            }
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(REGISTER_PAUSE_MAX),
        }
    }
}

/// Has the accounts look at the chain when something happened there.
async fn notice(ledger: Ledger, accounts: Accounts, mut stop: watch::Receiver<bool>) {
    loop {
        match ledger.chain().notices(0, NOTICES_MAX).await {
            Ok(notices) => {
                if let Some(last) = notices.last() {
                    accounts.notice();
                    if let Err(error) = ledger.chain().forget_notices(last.seq).await {
                        tracing::warn!(%error, "notices of the ledger stay");
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no notices of the ledger"),
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(NOTICES_EVERY) => {}
        }
    }
}

type Side = (Accounts, Ledger);

async fn earnings(State((accounts, ledger)): State<Side>) -> Result<Json<Value>, Refused> {
    let asked = accounts.clone();
    let (sums, deals) = blocking(move || Ok::<_, cairn_provider::AccountError>((asked.sums()?, asked.list()?))).await?;
    let owner = ledger.chain().wallet();
    let credits = ledger.chain().credits(owner).await.ok();
    let redeem = accounts.redeem_from().await.ok();
    Ok(Json(json!({
        "owner": owner,
        "redeem_from": redeem.map(|redeem| redeem.amount),
        "redeem_cost": redeem.map(|redeem| redeem.cost),
        "potential": sums.potential,
        "accrued": sums.accrued,
        "redeemed": sums.redeemed,
        "credits": credits,
        "deals": deals.len(),
        "conserved": accounts.is_conserved(),
    })))
}

async fn deals(State((accounts, _)): State<Side>) -> Result<Json<Value>, Refused> {
    let deals = blocking(move || accounts.list()).await?;
    Ok(Json(json!({"deals": deals.iter().map(deal).collect::<Vec<_>>()})))
}

fn deal(deal: &DealAccount) -> Value {
    let (state, closes_at) = match deal.state {
        ChannelState::Open => ("open", None),
        ChannelState::Closing { closes_at } => ("closing", Some(closes_at)),
        ChannelState::Closed => ("closed", None),
    };
    json!({
        "deal": deal.deal,
        "client": deal.client,
        "channel": deal.channel,
        "channel_state": state,
        "closes_at": closes_at,
        "deposit": deal.deposit,
        "storage_price": deal.terms.storage.amount(),
        "egress_price": deal.terms.egress.amount(),
        "epoch_ms": deal.terms.epoch_ms,
        "since": deal.start,
        "shards": deal.totals.entries,
        "stored_len": deal.totals.bytes,
        "leaf_ms": deal.leaf_ms.to_string(),
        "egress_len": deal.egress_len,
        "owed": deal.owed,
        "committed_at": deal.committed_at,
        "overdue": deal.overdue,
        "potential": deal.sums.potential,
        "accrued": deal.sums.accrued,
        "redeemed": deal.sums.redeemed,
    })
}

async fn journal(State((accounts, _)): State<Side>, Query(page): Query<Page>) -> Result<Json<Value>, Refused> {
    let (from, max) = page.bounds();
    let asked = accounts.clone();
    let entries = blocking(move || asked.journal(from, max)).await?;
    let entry = |(number, entry): &(u64, cairn_market::journal::Entry)| json!({"number": number, "at": entry.at(), "memo": entry.memo(), "lines": entry.lines()});
    Ok(Json(api::journal_page(&accounts.journal_opening(), entries.iter().map(entry).collect())))
}

async fn disputes(State((accounts, _)): State<Side>) -> Result<Json<Value>, Refused> {
    let found = accounts.disputes().await.map_err(Refused::internal)?;
    let line = |accused: &Accused| super::disputes::describe(&accused.id, &accused.record, json!({"deal": accused.deal}));
    Ok(Json(json!({"disputes": found.iter().map(line).collect::<Vec<_>>()})))
}

async fn redeem(State((accounts, ledger)): State<Side>) -> Result<Json<Value>, Refused> {
    let payout = accounts.redeem_now().await.map_err(Refused::internal)?;
    let credits = ledger.chain().credits(ledger.chain().wallet()).await?;
    Ok(Json(json!({"channels": payout.channels, "vouchers": payout.vouchers, "redeemed": payout.redeemed, "credits": credits})))
}
