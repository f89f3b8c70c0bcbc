//! Court: brings a provider that committed to data and lost it before the ledger's court, and sees the dispute through.
//!
//! The secret is on disk before the challenge is sent; whatever a restart breaks off is asked for again under the same command.
//! Never: a challenge without the provider's signature, or over an inventory that is not ours. Limits: one dispute per channel, as the court
//! has it; [`SHOWN_MAX`] are shown.

mod view;

use std::sync::Arc;

use bytes::Bytes;
use cairn_audit::SignedCommitment;
use cairn_audit::court::{dispute_id, secret_hash};
use cairn_audit::disputes::{BOND, Case, DisputeError, DisputeRecord, DisputeState, Disputes, Docket, is_worth_it};
use cairn_market::journal::{Account as Place, Entry};
use cairn_proto::Committed;
use cairn_proto::shard::SignedCommitment as Wire;
use cairn_types::eip712::{Word, keccak256};
use cairn_types::{Amount, ChannelId, UnixSecs, port};
use prost::Message;

use crate::Inner;
use crate::ledger::record::{AuditRecord, DisputeRow, get_amount, put_amount};
use crate::ledger::{Batch, LedgerError};
use crate::pay::{Pay, PayError};

pub use view::DisputeView;

/// Disputes shown at once.
const SHOWN_MAX: usize = 1000;
const GONE: u32 = 4;
const CORRUPT: u32 = 5;

/// When failed audits are taken to court.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CourtRule {
    /// When a miss is likely and restitution is worth the bond.
    #[default]
    Auto,
    /// Only by hand.
    Never,
    /// Whenever data that was committed to is gone or wrong.
    Always,
}

/// How a dispute stands by our own book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open = 0,
    Dismissed = 1,
    Upheld = 2,
    Refused = 3,
}

impl Outcome {
    pub(crate) fn of(row: &DisputeRow) -> Outcome {
        match row.outcome {
            1 => Outcome::Dismissed,
            2 => Outcome::Upheld,
            3 => Outcome::Refused,
            _ => Outcome::Open,
        }
    }
}

/// Goes to court over an audit that failed, if our rule says so.
pub(crate) async fn consider(inner: &Arc<Inner>, pay: &Pay, record: &AuditRecord, lost: usize) {
    if pay.court.is_none() || !matches!(record.grade, GONE | CORRUPT) || lost == 0 {
        return;
    }
    let wanted = match pay.config.court {
        CourtRule::Never => Ok(false),
        CourtRule::Always => Ok(true),
        CourtRule::Auto => is_promising(pay, record, lost).await,
    };
    let challenged = match wanted {
        Ok(false) => return,
        Ok(true) => challenge(inner, pay, record).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = challenged {
        tracing::warn!(audit = hex::encode(&record.id), %error, "not taken to court");
    }
}

async fn is_promising(pay: &Pay, record: &AuditRecord, lost: usize) -> Result<bool, PayError> {
    let (court, signed) = (court(pay)?, evidence(record)?);
    let channel = signed.commitment.channel;
    let settled = pay.settlement.channel(channel).await?.map_or(Amount::ZERO, |record| record.settled);
    let docket = court.docket(channel).await?;
    let case = Case {
        probes: record.probes,
        lost: u32::try_from(lost).unwrap_or(u32::MAX),
        at_risk: signed.commitment.at_risk,
        paid: settled.minus_or_zero(docket.restituted),
    };
    Ok(is_worth_it(&case))
}

fn court(pay: &Pay) -> Result<&dyn Disputes, PayError> {
    pay.court.as_deref().ok_or(PayError::NoCourt("this client has no ledger with a court"))
}

/// The provider's word, as the audit kept it; over the inventory that is ours.
fn evidence(record: &AuditRecord) -> Result<SignedCommitment, PayError> {
    let channel = ChannelId::from_slice(&record.channel).ok_or(PayError::NoCourt("the audit names no channel"))?;
    let missing = PayError::NoCourt("the provider did not commit in this audit");
    if record.commitment.is_empty() {
        return Err(missing);
    }
    let wire = Wire::decode(record.commitment.clone()).map_err(|_| missing)?;
    let signed = Committed::from_wire(&wire, channel)?.signed;
    if signed.commitment.inventory_root.as_bytes()[..] != record.inventory_root[..] {
        return Err(PayError::NoCourt("what the provider committed to is not what we stored there"));
    }
    Ok(signed)
}

/// Challenges the provider of an audit over what it committed to then.
pub(crate) async fn challenge(inner: &Arc<Inner>, pay: &Pay, record: &AuditRecord) -> Result<DisputeRow, PayError> {
    let (court, signed) = (court(pay)?, evidence(record)?);
    let _one_at_a_time = pay.at_court.lock().await;
    let commitment = &signed.commitment;
    let now = now(pay, court).await?;
    if now >= commitment.valid_until {
        return Err(PayError::NoCourt("the commitment has run out: audit again, then challenge"));
    }
    let docket = court.docket(commitment.channel).await?;
    if docket.open {
        return Err(PayError::NoCourt("a dispute over this channel is open"));
    }
    if now < docket.free_at {
        return Err(PayError::NoCourt("a dispute over this channel has ended lately: try again a day after it"));
    }
    if pay.settlement.balance(pay.settlement.wallet()).await? < BOND {
        return Err(PayError::NoCourt("the wallet does not hold the bond of 10 CRD"));
    }
    let row = begun(inner, pay, record, &docket, commitment.channel);
    write(pay, &row)?;
    match send(court, &row, &signed).await {
        Ok(()) => {
            tracing::warn!(dispute = hex::encode(&row.id), provider = %view::node_of(&row)?, "challenged before the court");
            Ok(row)
        }
        Err(error @ DisputeError::Refused(_)) => {
            end(pay, &row, Outcome::Refused, Amount::ZERO, error.to_string())?;
            Err(error.into())
        }
        Err(error) => Err(error.into()), // asked for again at the next step
    }
}

fn begun(inner: &Inner, pay: &Pay, record: &AuditRecord, docket: &Docket, channel: ChannelId) -> DisputeRow {
    DisputeRow {
        id: Bytes::copy_from_slice(&dispute_id(channel, docket.count)),
        provider: record.provider.clone(),
        deal: record.deal.clone(),
        channel: record.channel.clone(),
        audit: record.id.clone(),
        secret: Bytes::copy_from_slice(&port::draw::<32>(&*inner.rng)),
        commitment: record.commitment.clone(),
        begun_ms: pay.now().0,
        restituted_before: put_amount(docket.restituted),
        ..DisputeRow::default()
    }
}

async fn send(court: &dyn Disputes, row: &DisputeRow, signed: &SignedCommitment) -> Result<(), DisputeError> {
    let Some((id, secret)) = word(&row.id).zip(word(&row.secret)) else {
        return Err(DisputeError::Refused("our row of this dispute is damaged".into()));
    };
    court.challenge(command(b"cairn/court/challenge/1", &id), signed, secret_hash(&secret, signed.commitment.channel)).await
}

/// Carries every open dispute on. One pass at a time.
pub(crate) async fn step(pay: &Pay) -> Result<(), PayError> {
    let Ok(court) = court(pay) else { return Ok(()) };
    let rows = pay.ledger.disputes()?;
    let open: Vec<DisputeRow> = rows.into_iter().filter(|row| Outcome::of(row) == Outcome::Open).collect();
    if open.is_empty() {
        return Ok(());
    }
    let _one_at_a_time = pay.at_court.lock().await;
    let now = now(pay, court).await?;
    for row in open {
        if let Err(error) = carry_on(pay, court, &row, now).await {
            tracing::warn!(dispute = hex::encode(&row.id), %error, "the dispute will be carried on");
        }
    }
    Ok(())
}

async fn carry_on(pay: &Pay, court: &dyn Disputes, row: &DisputeRow, now: UnixSecs) -> Result<(), PayError> {
    let damaged = || LedgerError::damaged("a dispute");
    let (id, secret) = (word(&row.id).ok_or_else(damaged)?, word(&row.secret).ok_or_else(damaged)?);
    let Some(record) = court.dispute(id).await? else { return again(pay, court, row).await };
    let over = now >= record.deadline;
    match record.state {
        DisputeState::Joined if !over => Ok(court.reveal(command(b"cairn/court/reveal/1", &id), id, secret).await?),
        DisputeState::Challenged | DisputeState::Revealed if over => {
            Ok(court.time_out(command(b"cairn/court/timeout/1", &id), id).await?)
        }
        DisputeState::Challenged | DisputeState::Joined | DisputeState::Revealed => Ok(()),
        DisputeState::Dismissed => ended(pay, row, &record, Amount::ZERO),
        DisputeState::Upheld => {
            let before = get_amount(&row.restituted_before)?;
            let restituted = court.docket(record.channel).await?.restituted.minus_or_zero(before);
            ended(pay, row, &record, restituted)
        }
    }
}

/// The challenge did not arrive, or its transaction is on its way.
async fn again(pay: &Pay, court: &dyn Disputes, row: &DisputeRow) -> Result<(), PayError> {
    let channel = ChannelId::from_slice(&row.channel).ok_or_else(|| LedgerError::damaged("a dispute"))?;
    let wire = Wire::decode(row.commitment.clone()).map_err(|_| LedgerError::damaged("a dispute"))?;
    match send(court, row, &Committed::from_wire(&wire, channel)?.signed).await {
        Err(error @ DisputeError::Refused(_)) => end(pay, row, Outcome::Refused, Amount::ZERO, error.to_string()),
        sent => Ok(sent?),
    }
}

fn ended(pay: &Pay, row: &DisputeRow, record: &DisputeRecord, restituted: Amount) -> Result<(), PayError> {
    let (outcome, said) = match record.state {
        DisputeState::Upheld => {
            (Outcome::Upheld, format!("upheld: the provider was slashed, {restituted} came back, and the bond"))
        }
        _ => (
            Outcome::Dismissed,
            format!("dismissed: the provider answered or we did not reveal in time; the bond of {BOND} is lost"),
        ),
    };
    tracing::warn!(dispute = hex::encode(&row.id), said, "dispute ended");
    end(pay, row, outcome, restituted, said)
}

/// Writes the end of a dispute and its money as one change.
fn end(pay: &Pay, row: &DisputeRow, outcome: Outcome, restituted: Amount, reason: String) -> Result<(), PayError> {
    let now = pay.now();
    let mut ended = row.clone();
    (ended.outcome, ended.ended_ms, ended.reason) = (outcome as u32, now.0, reason);
    ended.restituted = put_amount(restituted);
    let moved = match outcome {
        Outcome::Upheld if !restituted.is_zero() => Some((Place::Outside, Place::Wallet, restituted, "restitution")),
        Outcome::Dismissed => Some((Place::Outside, Place::Fees, BOND, "bond lost")),
        Outcome::Open | Outcome::Upheld | Outcome::Refused => None,
    };
    let entries = moved.map(|(from, to, amount, memo)| Entry::transfer(now, memo, from, to, amount)).transpose();
    let mut batch = Batch::default();
    batch.put_dispute(&ended);
    pay.ledger.post(batch, entries.map_err(LedgerError::from)?.into_iter().collect())?;
    Ok(pay.ledger.sync()?)
}

/// Durable: a secret that is lost costs the bond.
fn write(pay: &Pay, row: &DisputeRow) -> Result<(), PayError> {
    let mut batch = Batch::default();
    batch.put_dispute(row);
    pay.ledger.write(batch)?;
    Ok(pay.ledger.sync()?)
}

/// The later of the ledger's time and our own: a ledger without traffic makes no blocks.
async fn now(pay: &Pay, court: &dyn Disputes) -> Result<UnixSecs, PayError> {
    Ok(court.now().await?.max(pay.now().secs()))
}

fn word(bytes: &[u8]) -> Option<Word> {
    bytes.try_into().ok()
}

fn command(label: &[u8], id: &Word) -> Word {
    keccak256([label, id].concat())
}

impl crate::Client {
    /// Disputes that this client brought to court, oldest first, as the court has them now.
    ///
    /// # Errors
    /// [`PayError`] when our ledger cannot be read.
    pub async fn disputes(&self) -> Result<Vec<DisputeView>, PayError> {
        let Some(pay) = &self.0.pay else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for row in pay.ledger.disputes()?.into_iter().rev().take(SHOWN_MAX) {
            let record = match (Outcome::of(&row), pay.court.as_deref(), word(&row.id)) {
                (Outcome::Open, Some(court), Some(id)) => court.dispute(id).await.ok().flatten(),
                _ => None,
            };
            found.push(DisputeView::of(&row, record.as_ref())?);
        }
        found.reverse();
        Ok(found)
    }

    /// Challenges the provider of a past audit, passed or not, over what it committed to then.
    ///
    /// # Errors
    /// [`PayError`]: no such audit, no live commitment, a dispute that is open, no bond, or the court refuses.
    pub async fn challenge(&self, audit: &str) -> Result<DisputeView, PayError> {
        let pay = self.0.pay.as_ref().ok_or(PayError::NoCourt("this client pays nobody"))?;
        let wanted = hex::decode(audit).map_err(|_| PayError::NoCourt("an audit's id is 32 hex digits"))?;
        let mut found = None;
        pay.ledger.audits(cairn_types::UnixMs(0), |record| {
            if record.id[..] == wanted[..] {
                found = Some(record);
            }
            found.is_none()
        })?;
        let record = found.ok_or(PayError::NoCourt("there is no audit of this id"))?;
        let row = challenge(&self.0, pay, &record).await?;
        DisputeView::of(&row, None)
    }
}
