//! One audit: commitment, comparison, reads, verdict, and what follows for money and placement.
//!
//! Never: guilt for what was deleted meanwhile; pay beyond our own meter. Limits: the plan's probes, three attempts each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_audit::challenge::SWEEP_BLOCKS_MAX;
use cairn_audit::verdict::{Audit, Committed as Word, Effect, Event, Outcome, Verdict};
use cairn_audit::{AuditNonce, Plan, Probe};
use cairn_proto::shard::{Commit, SignedCommitment, request, response};
use cairn_proto::{Committed, RefusalCode};
use cairn_types::limits::FRAME_LEAVES;
use cairn_types::{UnixMs, port};
use prost::Message;

use super::{probe, verdict};
use crate::Inner;
use crate::error::PeerError;
use crate::ledger::record::AuditRecord;
use crate::pay::book::{Briefed, Compared};
use crate::pay::{self, Account, Found, Pay, PayError, SKEW_MS};

/// Over how long the reads of an audit are spread at most, so that a client that is not always there finishes it.
const SPREAD_MAX: Duration = Duration::from_secs(3600);
/// An audit that has to end does so within this time.
const REST_MAX: Duration = Duration::from_secs(2);
/// Attempts at a Commit.
const COMMITS_MAX: u32 = 3;
const GIB_LEN: u64 = 1 << 30;

/// What the provider said of the whole.
pub(super) struct Said {
    pub word: Word,
    pub at: UnixMs,
    /// As it came.
    pub wire: Option<SignedCommitment>,
    /// Leaf-milliseconds that it asks pay for, when they are no more than ours.
    pub leaf_ms: u128,
    /// Why it is not believed.
    pub reason: String,
    pub found: Found,
}

/// Over how long an audit's reads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As configured: among other reads, so that nobody can tell them apart.
    Spread,
    /// One after the other, because somebody waits.
    AtOnce,
}

/// Audits one provider now, and pays or withholds.
pub(crate) async fn audit(inner: &Arc<Inner>, account: &Arc<Account>, pace: Pace) -> Result<AuditRecord, PayError> {
    let pay = inner.pay.as_ref().ok_or(PayError::NotPaid(account.node))?;
    let _one = account.auditing.lock().await;
    let began = pay.now();
    let said = said(inner, pay, account).await?;
    let (plan, next) = plan(inner, pay, account)?;
    let silent = said.wire.is_none() && matches!(said.word, Word::Missing);
    let (verdict, failures) = read((inner, pay, account), &plan, &said, silent, pace).await?;
    verdict::conclude(inner, pay, account, verdict::Outcome { began, said, plan, next, verdict, failures }).await
}

/// Has the provider commit; compares; after a difference once more.
async fn said(inner: &Arc<Inner>, pay: &Pay, account: &Arc<Account>) -> Result<Said, PayError> {
    let mut attempt = 0;
    loop {
        let alone = tokio::time::timeout(inner.config.receipt_timeout, account.gate.write()).await.map_err(|_| PayError::Busy)?;
        match commit(inner, pay, account).await {
            Ok(said) if matches!(said.word, Word::Matching | Word::Invalid(_)) && said.reason.is_empty() => {
                account.with(|inside| inside.standing.adopt_from = None);
                return Ok(said);
            }
            // A delegate has no labels to tell whose a shard is, and no right to ask for a list.
            Ok(said) if pay.acting.is_some() => return Ok(said),
            Ok(_) => {
                let found = pay::resync(inner, pay, account).await?;
                tracing::info!(provider = %account.node, ?found, "inventories compared");
                let again = commit(inner, pay, account).await?;
                return Ok(Said { found, ..again });
            }
            Err(PayError::Peer(error)) if attempt + 1 >= COMMITS_MAX || is_final(&error) => {
                return Ok(no_word(account, pay, error.to_string()));
            }
            Err(PayError::Peer(_)) => attempt += 1,
            Err(error) => return Err(error),
        }
        drop(alone);
        tokio::time::sleep(retry_after(pay, account)).await;
    }
}

fn is_final(error: &PeerError) -> bool {
    let passing = |code: &RefusalCode| matches!(code, RefusalCode::Stopping | RefusalCode::TooManyStreams);
    matches!(error, PeerError::Refused { code, .. } if !passing(code)) || matches!(error, PeerError::Unexpected)
}

fn no_word(account: &Account, pay: &Pay, reason: String) -> Said {
    let at = account.with(|inside| pay.now().max(inside.book.meter.latest()));
    Said { word: Word::Missing, at, wire: None, leaf_ms: 0, reason, found: Found::default() }
}

pub(super) fn retry_after(pay: &Pay, account: &Account) -> Duration {
    let grace_ms = account.with(|inside| inside.book.terms().grace_ms);
    pay.config.retry.unwrap_or(Duration::from_millis(grace_ms / 4))
}

/// One Commit and what it says. The caller has the gate alone.
async fn commit(inner: &Arc<Inner>, pay: &Pay, account: &Account) -> Result<Said, PayError> {
    let (at, channel) = account.change(|inside, _| {
        let at = pay.now().max(inside.book.meter.latest()).max(inside.standing.committed);
        inside.standing.committed = at;
        Ok((at, inside.channel()))
    })?;
    let kind = request::Kind::Commit(Commit { deal_id: Bytes::copy_from_slice(account.deal.as_bytes()), at_ms: at.0 });
    let response::Kind::Commitment(wire) = pay::call(inner, account.node, kind).await? else {
        return Err(PeerError::Unexpected.into());
    };
    let mut said =
        Said { word: Word::Missing, at, wire: Some(wire.clone()), leaf_ms: 0, reason: String::new(), found: Found::default() };
    let committed = match Committed::from_wire(&wire, channel) {
        Ok(committed) => committed,
        Err(error) => return Ok(Said { reason: error.to_string(), ..said }),
    };
    pay::lift(pay, account, &committed.account)?;
    let terms = account.with(|inside| inside.book.terms().clone());
    if let Err(error) = committed.signed.verify(&pay.contracts.court_domain(), terms.signer, pay.now().secs()) {
        return Ok(Said { word: Word::Invalid(error), reason: error.to_string(), ..said });
    }
    let issued_at = committed.signed.commitment.issued_at;
    if let Ok(false) = pay.settlement.signer_valid(terms.owner, terms.signer, issued_at).await {
        return Ok(Said { reason: "its signer's commitments do not bind its owner".into(), ..said });
    }
    let (root, leaf_ms) = (committed.signed.commitment.inventory_root, committed.account.leaf_ms);
    let needed = terms.collateral_per_gib.times(committed.totals.bytes.div_ceil(GIB_LEN));
    if needed.is_none_or(|needed| committed.signed.commitment.at_risk < needed) {
        return Ok(Said { reason: "it puts less at risk than its terms say".into(), ..said });
    }
    let told = committed.account.at;
    // Never far ahead of our own clock: time that has not passed is not paid.
    if told < at || told.since_ms(pay.now()) > SKEW_MS {
        return Ok(Said { reason: format!("its account is as of {} ms, {} ms was asked for", told.0, at.0), ..said });
    }
    (said.at, said.reason) = (told, String::new());
    if pay.acting.is_some() {
        return briefed(account, said, &committed);
    }
    let compared = account.change(|inside, _| {
        inside.standing.committed = told;
        if inside.standing.restored && inside.book.inventory.root() == root {
            inside.standing.restored = false;
            if !inside.book.take_over(told, leaf_ms, committed.account.egress_len)? {
                tracing::error!(provider = %account.node, "its account is too far ahead of the last voucher that we signed");
            }
        }
        let compared = inside.book.compare(told, root, committed.totals, leaf_ms)?;
        if let Err(error) = inside.book.take_over_reads(committed.account.egress_len) {
            tracing::error!(provider = %account.node, %error, "reads overcharged");
            inside.standing.alarm = Some(error.to_string());
        }
        Ok(compared)
    })?;
    match compared {
        Compared::Same => (said.word, said.leaf_ms) = (Word::Matching, leaf_ms),
        Compared::OtherInventory { theirs } => {
            said.word = Word::Other { root: theirs };
            said.reason = "its inventory is not ours".into();
        }
        Compared::Overcharged { asked, own } => {
            said.word = Word::Other { root };
            said.reason = format!("it asks for {asked} leaf-milliseconds, by our own meter it is {own}");
        }
    }
    Ok(said)
}

/// What a delegate makes of a commitment.
fn briefed(account: &Account, mut said: Said, committed: &Committed) -> Result<Said, PayError> {
    let told = committed.account.at;
    let compared = account.change(|inside, _| {
        inside.standing.committed = told;
        let compared = inside.book.compare_brief(told, committed.totals, committed.account.leaf_ms)?;
        if let Err(error) = inside.book.take_over_reads(committed.account.egress_len) {
            inside.standing.alarm = Some(error.to_string());
        }
        Ok(compared)
    })?;
    match compared {
        Briefed::Enough { leaf_ms } => (said.word, said.leaf_ms) = (Word::Matching, leaf_ms),
        Briefed::Less { bytes } => {
            said.word = Word::Other { root: committed.signed.commitment.inventory_root };
            said.reason = format!("it commits to {bytes} bytes less than the client last told its delegate of");
        }
    }
    Ok(said)
}

/// The audit's probes, and some of the slow sweep among them; with the sweep's next cursor.
fn plan(inner: &Inner, pay: &Pay, account: &Account) -> Result<(Plan, u64), PayError> {
    let nonce = AuditNonce(port::draw(&*inner.rng));
    account.with(|inside| {
        let (inventory, cursor) = (&inside.book.inventory, inside.standing.sweep);
        let samples = pay.config.samples.clamp(cairn_audit::challenge::SAMPLES_MIN, cairn_types::limits::AUDIT_SAMPLES_MAX);
        let mut plan = Plan::new(inventory, &nonce, samples).expect("the number of samples was clamped");
        let blocks = inventory.totals().leaves.div_ceil(FRAME_LEAVES as u64).max(inventory.totals().entries);
        let share = blocks.checked_div(pay.config.sweep_epochs).map_or(0, |share| share + u64::from(blocks > 0));
        let (sweep, next) = Plan::sweep(inventory, cursor, share.min(SWEEP_BLOCKS_MAX as u64) as usize);
        let mut seed = u64::from_le_bytes(port::draw(&*inner.rng));
        for probe in sweep.probes {
            if plan.probes.iter().any(|drawn| drawn.shard == probe.shard && drawn.block == probe.block) {
                continue;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % (plan.probes.len() + 1);
            plan.probes.insert(at, probe);
        }
        Ok((plan, next))
    })
}

/// Reads the probes, spread over the configured time; wrong and missing answers are asked again as the verdict's core says.
async fn read(
    (inner, pay, account): (&Arc<Inner>, &Pay, &Account),
    plan: &Plan,
    said: &Said,
    silent: bool,
    pace: Pace,
) -> Result<(Verdict, Vec<String>), PayError> {
    let mut audit = Audit::new(plan.probes.len());
    let mut reasons = vec![String::new(); plan.probes.len()];
    let mut done = audit.apply(Event::Committed(said.word)).unwrap_or_default();
    if silent {
        return Ok((concluded(&mut audit, done), reasons));
    }
    let epoch_ms = account.with(|inside| inside.book.terms().epoch_ms);
    let spread = match pace {
        Pace::Spread => pay.config.spread.unwrap_or(Duration::from_millis(epoch_ms / 4).min(SPREAD_MAX)),
        Pace::AtOnce => Duration::ZERO,
    };
    let pause = spread / (plan.probes.len().max(1) as u32);
    let mut queue: Vec<usize> = (0..plan.probes.len()).rev().collect();
    let mut again = Vec::new();
    while let Some(index) = queue.pop() {
        if pay.is_stopping() || !pay.is_our_turn() {
            return Err(PayError::Closed);
        }
        let outcome = match ask(inner, account, &plan.probes[index]).await {
            (Outcome::Good, _) => Outcome::Good,
            (outcome, reason) => {
                reasons[index] = reason;
                outcome
            }
        };
        if matches!(outcome, Outcome::Refused { code } if code == RefusalCode::PaymentDue as u32)
            && let Err(error) = pay::settle_reads(inner, pay, account).await
        {
            tracing::warn!(provider = %account.node, %error, "reads not paid");
        }
        let effects = audit.apply(Event::Answered { probe: index, outcome }).unwrap_or_default();
        again.extend(effects.iter().filter_map(|effect| match effect {
            Effect::Retry { probe } => Some(*probe),
            Effect::Conclude(_) => None,
        }));
        done.extend(effects);
        if !queue.is_empty() {
            rest(pay, pause).await;
        }
        if queue.is_empty() && !again.is_empty() {
            tokio::time::sleep(retry_after(pay, account)).await;
            queue = std::mem::take(&mut again);
            queue.reverse();
        }
    }
    Ok((concluded(&mut audit, done), reasons))
}

/// A pause between reads, which ends early when the audit has to.
async fn rest(pay: &Pay, pause: Duration) {
    let until = tokio::time::Instant::now() + pause;
    while tokio::time::Instant::now() < until && !pay.is_stopping() && pay.is_our_turn() {
        tokio::time::sleep_until(until.min(tokio::time::Instant::now() + REST_MAX)).await;
    }
}

fn concluded(audit: &mut Audit, done: Vec<Effect>) -> Verdict {
    let verdict = |effects: Vec<Effect>| {
        effects.into_iter().find_map(|effect| match effect {
            Effect::Conclude(verdict) => Some(verdict),
            Effect::Retry { .. } => None,
        })
    };
    verdict(done)
        .or_else(|| verdict(audit.apply(Event::GraceOver).unwrap_or_default()))
        .expect("an audit concludes at the latest when its grace is over")
}

/// One probe; what was deleted meanwhile is held to nothing.
async fn ask(inner: &Arc<Inner>, account: &Account, probe: &Probe) -> (Outcome, String) {
    let there = |account: &Account| account.with(|inside| inside.book.inventory.contains(&probe.shard.root()));
    if !there(account) {
        return (Outcome::Good, String::new());
    }
    let (outcome, reason) = probe::ask(inner, account, probe).await;
    if matches!(outcome, Outcome::Gone) && (!there(account) || is_released(inner, account, probe)) {
        return (Outcome::Good, String::new());
    }
    (outcome, reason)
}

fn is_released(inner: &Inner, account: &Account, probe: &Probe) -> bool {
    let Some(pay) = &inner.pay else { return false };
    let released = pay.ledger.released(account.deal).unwrap_or_default();
    released.iter().any(|(root, _)| *root == probe.shard.root())
}

/// A commitment as the ledger keeps it.
pub(super) fn kept(said: &Said) -> Bytes {
    said.wire.as_ref().map_or(Bytes::new(), |wire| wire.encode_to_vec().into())
}
