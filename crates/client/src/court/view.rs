//! A dispute as it is shown.
//!
//! Never: the secret.

use cairn_audit::disputes::DisputeRecord;
use cairn_types::{Amount, ChannelId, DealId, NodeId, UnixMs, UnixSecs};
use serde::Serialize;

use super::Outcome;
use crate::ledger::LedgerError;
use crate::ledger::record::{DisputeRow, get_amount};
use crate::pay::PayError;

/// A dispute that this client brought to court.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DisputeView {
    /// Its id, in hex.
    pub dispute: String,
    /// Against whom.
    pub provider: NodeId,
    /// Over which deal.
    pub deal: DealId,
    /// And which channel.
    pub channel: ChannelId,
    /// The audit that it is about, in hex.
    pub audit: String,
    /// When we challenged.
    pub begun: UnixMs,
    /// sent, challenged, joined, revealed, dismissed, upheld or refused.
    pub state: &'static str,
    /// Whether something more comes.
    pub open: bool,
    /// Ends the present state.
    pub deadline_s: Option<UnixSecs>,
    /// What the provider can lose.
    pub at_risk: Option<Amount>,
    /// When it ended.
    pub ended: Option<UnixMs>,
    /// What came back, besides the bond.
    pub restituted: Amount,
    /// How it ended, for people.
    pub reason: String,
}

impl DisputeView {
    pub(super) fn of(row: &DisputeRow, record: Option<&DisputeRecord>) -> Result<DisputeView, PayError> {
        let damaged = || LedgerError::damaged("a dispute");
        let outcome = Outcome::of(row);
        let state = match (outcome, record) {
            (Outcome::Open, Some(record)) => record.state.word(),
            (Outcome::Open, None) => "sent",
            (Outcome::Dismissed, _) => "dismissed",
            (Outcome::Upheld, _) => "upheld",
            (Outcome::Refused, _) => "refused",
        };
        Ok(DisputeView {
            dispute: hex::encode(&row.id),
            provider: node_of(row)?,
            deal: DealId::from_slice(&row.deal).ok_or_else(damaged)?,
            channel: ChannelId::from_slice(&row.channel).ok_or_else(damaged)?,
            audit: hex::encode(&row.audit),
            begun: UnixMs(row.begun_ms),
            state,
            open: outcome == Outcome::Open,
            deadline_s: record.map(|record| record.deadline),
            at_risk: record.map(|record| record.locked),
            ended: (row.ended_ms > 0).then_some(UnixMs(row.ended_ms)),
            restituted: if row.restituted.is_empty() { Amount::ZERO } else { get_amount(&row.restituted)? },
            reason: row.reason.clone(),
        })
    }
}

pub(super) fn node_of(row: &DisputeRow) -> Result<NodeId, PayError> {
    Ok(NodeId::from_slice(&row.provider).ok_or_else(|| LedgerError::damaged("a dispute"))?)
}
