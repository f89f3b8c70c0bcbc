//! What follows from a verdict: a voucher or none, a row in the ledger, the score, the deal's next state.
//!
//! Never: pay for an audit that did not pass.

use std::sync::Arc;

use bytes::Bytes;
use cairn_audit::{Grade, Plan, Verdict};
use cairn_market::deal::{Deal, Effect, Epoch, Event};
use cairn_market::score::Seen;
use cairn_types::{UnixMs, port};
use prost::Message;

use super::run::{Said, kept};
use crate::Inner;
use crate::ledger::FAILURES_MAX;
use crate::ledger::record::{AuditRecord, FailureRecord, put_amount};
use crate::pay::{self, Account, Inside, Pay, PayError};

pub(crate) const DOMAIN: &str = "cairn/audit/1";
const REASON_LEN_MAX: usize = 400;

/// What an audit came to.
pub(super) struct Outcome {
    pub began: UnixMs,
    pub said: Said,
    pub plan: Plan,
    /// Where the sweep goes on.
    pub next: u64,
    pub verdict: Verdict,
    /// Why each probe failed.
    pub failures: Vec<String>,
}

/// Pays or withholds, and writes the audit down.
pub(super) async fn conclude(
    inner: &Arc<Inner>,
    pay: &Pay,
    account: &Account,
    outcome: Outcome,
) -> Result<AuditRecord, PayError> {
    let Outcome { began, said, plan, next, verdict, failures } = outcome;
    let grade = graded(&verdict, &said);
    let silence = silence(account, grade);
    let event = event(account, grade, said.at);
    let moved = event.map(|event| account.with(|inside| inside.standing.life.apply(event)));
    let effects = match &moved {
        Some(Ok(moved)) => moved.effects.clone(),
        Some(Err(error)) => {
            tracing::warn!(provider = %account.node, %error, "deal");
            Vec::new()
        }
        // Proven once more in an epoch that was proven: paid all the same.
        None => vec![Effect::Pay { epoch: Epoch(0) }],
    };
    let life = moved.and_then(Result::ok).map(|moved| moved.deal);
    let effects = [silence, effects].concat();
    let mut unpaid = String::new();
    if grade == Grade::Passed
        && effects.iter().any(|effect| matches!(effect, Effect::Pay { .. }))
        && let Err(error) = pay::pay_audited(inner, pay, account, said.leaf_ms).await
    {
        unpaid = format!("passed, and the voucher did not arrive: {error}");
        tracing::warn!(provider = %account.node, %error, "not paid");
    }
    let ended = pay.now();
    let reason = if unpaid.is_empty() { reason(grade, &said, &verdict) } else { unpaid };
    let mut record = row(inner, account, &plan, &verdict, &failures, grade, reason);
    (record.at_ms, record.ended_ms) = (began.0, ended.0);
    record.commitment = kept(&said);
    for entry in said.found.gone.iter().take(FAILURES_MAX.saturating_sub(record.failures.len())) {
        let root = Bytes::copy_from_slice(entry.root().as_bytes());
        record.failures.push(FailureRecord { root, block: 0, leaf: 0, reason: "not in the provider's list".into() });
    }
    record.failed = record.failed.saturating_add(said.found.gone.len() as u32);
    let own = account.with(|inside| inside.book.leaf_ms(said.at).unwrap_or_default());
    record.leaf_ms = Bytes::copy_from_slice(&own.to_be_bytes());
    record.signature = Bytes::copy_from_slice(&pay.node.sign(DOMAIN, &record.encode_to_vec()));
    let seen = seen(&verdict, &said);
    account.change(|inside, change| {
        change.batch.put_audit(&record);
        let standing = &mut inside.standing;
        standing.audited = if grade == Grade::Passed { said.at } else { standing.audited };
        standing.sweep = next;
        standing.score.record(ended, &seen);
        if let Some(life) = life {
            standing.life = life;
        }
        if grade != Grade::Passed {
            standing.alarm = Some(format!("{grade:?}: {}", record.reason));
        }
        Ok(())
    })?;
    log(account, grade, &record);
    after(pay, account, &effects).await;
    crate::court::consider(inner, pay, &record, verdict.evidence.len()).await;
    Ok(record)
}

/// Shards that vanished from the provider's list are gone, whatever the probes say of the rest.
fn graded(verdict: &Verdict, said: &Said) -> Grade {
    match verdict.grade {
        Grade::Passed | Grade::Diverged | Grade::Refused | Grade::Late if !said.found.gone.is_empty() => Grade::Gone,
        grade => grade,
    }
}

/// Counts the audits in a row that ended without an answer; when they are many, the deal is suspect, and at last it ends. Time in which
/// nobody looked does not count.
fn silence(account: &Account, grade: Grade) -> Vec<Effect> {
    account.with(|inside| {
        let standing = &mut inside.standing;
        standing.missed = match grade {
            Grade::Late | Grade::Refused => standing.missed.saturating_add(1),
            Grade::Passed | Grade::Gone | Grade::Corrupt | Grade::Diverged => 0,
        };
        let (Deal::Late { since } | Deal::Suspect { since, .. }) = standing.life else { return Vec::new() };
        let epoch = Epoch(since.0.saturating_add(standing.missed.saturating_sub(1)));
        match standing.life.apply(Event::Ticked { epoch }) {
            Ok(moved) => {
                standing.life = moved.deal;
                moved.effects
            }
            Err(_) => Vec::new(), // a deal in these states takes every tick
        }
    })
}

/// The deal's event; none for a proof in an epoch that was proven already.
fn event(account: &Account, grade: Grade, at: UnixMs) -> Option<Event> {
    let (life, now) = account.with(|inside| (inside.standing.life, epoch_at(inside, at)));
    let (epoch, again) = match life {
        Deal::Active { due } => (due, due > now),
        Deal::Late { since } | Deal::Suspect { since, .. } => (now.max(since), false),
        Deal::Proposed | Deal::Agreed | Deal::Ending { .. } | Deal::Ended { .. } => (now, false),
    };
    match grade {
        Grade::Passed if again => None,
        Grade::Passed => Some(Event::Proved { epoch }),
        Grade::Late | Grade::Refused => Some(Event::Missed { epoch }),
        Grade::Gone | Grade::Corrupt => Some(Event::Failed { epoch }),
        Grade::Diverged => Some(Event::Diverged { epoch }),
    }
}

fn epoch_at(inside: &Inside, at: UnixMs) -> Epoch {
    let terms = inside.book.terms();
    Epoch(at.since_ms(inside.book.agreement.start) / terms.epoch_ms + 1)
}

fn seen(verdict: &Verdict, said: &Said) -> Seen {
    let gone = u32::try_from(said.found.gone.len()).unwrap_or(u32::MAX);
    Seen {
        held: verdict.durability.held,
        lost: verdict.durability.lost.saturating_add(gone),
        prompt: verdict.retrieval.prompt,
        slow: verdict.retrieval.slow,
        failed: verdict.retrieval.failed,
    }
}

fn reason(grade: Grade, said: &Said, verdict: &Verdict) -> String {
    let durability = verdict.durability;
    let mut reason = match grade {
        Grade::Passed => String::new(),
        Grade::Diverged => said.reason.clone(),
        Grade::Late if said.wire.is_none() => said.reason.clone(),
        Grade::Late | Grade::Refused | Grade::Gone | Grade::Corrupt => {
            let gone = said.found.gone.len();
            format!("{} probes lost, {} unknown, {gone} shards not listed. {}", durability.lost, durability.unknown, said.reason)
        }
    };
    if said.found.unknown > 0 {
        reason.push_str(&format!(" It lists {} shards that are none of ours.", said.found.unknown));
    }
    reason.chars().take(REASON_LEN_MAX).collect()
}

fn row(
    inner: &Inner,
    account: &Account,
    plan: &Plan,
    verdict: &Verdict,
    failures: &[String],
    grade: Grade,
    reason: String,
) -> AuditRecord {
    let failure = |index: &usize| {
        let probe = plan.probes.get(*index)?;
        Some(FailureRecord {
            root: Bytes::copy_from_slice(probe.shard.root().as_bytes()),
            block: probe.block,
            leaf: probe.leaves.first().copied().unwrap_or(0),
            reason: failures.get(*index).cloned().unwrap_or_default().chars().take(REASON_LEN_MAX).collect(),
        })
    };
    let (channel, promised, egress_len) =
        account.with(|inside| (inside.channel(), inside.book.payer.promised(), inside.book.egress_len()));
    AuditRecord {
        id: Bytes::copy_from_slice(&port::draw::<16>(&*inner.rng)),
        provider: Bytes::copy_from_slice(account.node.as_bytes()),
        deal: Bytes::copy_from_slice(account.deal.as_bytes()),
        channel: Bytes::copy_from_slice(channel.as_bytes()),
        grade: number(grade),
        probes: plan.probes.len() as u32,
        held: verdict.durability.held,
        reason,
        failures: verdict.evidence.iter().take(FAILURES_MAX).filter_map(failure).collect(),
        failed: verdict.evidence.len() as u32,
        promised: put_amount(promised),
        inventory_root: Bytes::copy_from_slice(plan.inventory_root.as_bytes()),
        egress_len,
        ..AuditRecord::default()
    }
}

fn number(grade: Grade) -> u32 {
    match grade {
        Grade::Passed => 1,
        Grade::Late => 2,
        Grade::Refused => 3,
        Grade::Gone => 4,
        Grade::Corrupt => 5,
        Grade::Diverged => 6,
    }
}

fn log(account: &Account, grade: Grade, record: &AuditRecord) {
    let provider = account.node;
    match grade {
        Grade::Passed => tracing::info!(%provider, probes = record.probes, "audit passed"),
        _ => tracing::warn!(%provider, ?grade, failed = record.failed, reason = record.reason, "audit not passed: no pay"),
    }
}

/// Effects on the channel, once everything is written.
async fn after(pay: &Pay, account: &Account, effects: &[Effect]) {
    if pay.acting.is_some() {
        return; // the channel is the client's
    }
    let done = if effects.contains(&Effect::CloseChannel) {
        pay::close_channel(pay, account).await
    } else {
        pay::keep_channel(pay, account).await
    };
    if let Err(error) = done {
        tracing::warn!(provider = %account.node, %error, "channel");
    }
}
