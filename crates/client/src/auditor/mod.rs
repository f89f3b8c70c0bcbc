//! Auditor: each epoch it has every paid provider commit, reads what a private nonce drew, and pays for what was proven.
//!
//! Never: two audits of one provider at once; a payment without a commitment that fits our own books. Limits: [`AUDITS_MAX`] at once.

mod probe;
mod run;
mod verdict;

use std::sync::{Arc, Weak};
use std::time::Duration;

use cairn_types::UnixMs;
use tokio::sync::Semaphore;

pub(crate) use run::{Pace, audit};
pub(crate) use verdict::DOMAIN as AUDIT_DOMAIN;

use crate::Inner;
use crate::pay::{Account, Pay};

/// Audits at once.
const AUDITS_MAX: usize = 4;
const TICK: Duration = Duration::from_secs(1);
/// Short epochs are looked at more often.
const TICK_MIN: Duration = Duration::from_millis(50);
/// An audit that could not be made is tried so many times an epoch.
const AGAIN_PER_EPOCH: u64 = 4;
/// Audits forgotten in one go.
const FORGOTTEN_MAX: usize = 1000;

/// Syncs the ledger once a second and starts audits when they are due, until the client is gone.
pub(crate) async fn run(inner: Weak<Inner>) {
    let audits = Arc::new(Semaphore::new(AUDITS_MAX));
    let mut synced = tokio::time::Instant::now();
    loop {
        let Some(tick) = step(&inner, &audits, &mut synced).await else { return };
        tokio::time::sleep(tick).await;
    }
}

async fn step(inner: &Weak<Inner>, audits: &Arc<Semaphore>, synced: &mut tokio::time::Instant) -> Option<Duration> {
    let inner = inner.upgrade()?;
    let pay = inner.pay.as_ref()?;
    let now = pay.now();
    let mut tick = TICK;
    for account in pay.accounts() {
        let epoch_ms = account.with(|inside| inside.book.terms().epoch_ms);
        tick = tick.min(Duration::from_millis(epoch_ms / 20).max(TICK_MIN));
        if pay.config.audits && !pay.is_stopping() && pay.is_our_turn() && is_due(&account, now) {
            start(&inner, pay, account, audits);
        }
    }
    if synced.elapsed() >= TICK {
        *synced = tokio::time::Instant::now();
        if pay.at_court.try_lock().is_ok() {
            let inner = inner.clone();
            tokio::spawn(async move {
                let Some(pay) = &inner.pay else { return };
                if let Err(error) = crate::court::step(pay).await {
                    tracing::warn!(%error, "disputes will be carried on");
                }
            });
        }
        let inner = inner.clone();
        let written = tokio::task::spawn_blocking(move || {
            let Some(pay) = &inner.pay else { return Ok(()) };
            pay.sync()?;
            pay.ledger.forget_audits(pay.now(), FORGOTTEN_MAX)
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(%error, "the ledger was not synced");
        }
    }
    Some(tick)
}

fn is_due(account: &Account, now: UnixMs) -> bool {
    account.with(|inside| inside.standing.next_audit.is_some_and(|next| next <= now))
}

fn start(inner: &Arc<Inner>, pay: &Pay, account: Arc<Account>, audits: &Arc<Semaphore>) {
    let Ok(permit) = audits.clone().try_acquire_owned() else { return };
    let now = pay.now();
    account.with(|inside| inside.standing.next_audit = Some(now.plus_ms(inside.book.terms().epoch_ms)));
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        let _permit = permit;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = audit(&inner, &account, Pace::Spread).await {
            tracing::warn!(provider = %account.node, %error, "no audit");
            let Some(pay) = &inner.pay else { return };
            let now = pay.now();
            account.with(|inside| {
                let sooner = now.plus_ms(inside.book.terms().epoch_ms / AGAIN_PER_EPOCH);
                inside.standing.next_audit = inside.standing.next_audit.map(|next| next.min(sooner));
            });
        }
    });
}
