//! Port to the court: how a role challenges, joins, reveals and answers, whatever chain is behind it; and when a challenge is worth its bond.
//!
//! Never: a transaction made twice for one command. Limits: every call ends within the implementation's deadline.

use std::pin::Pin;

use cairn_types::eip712::Word;
use cairn_types::{Address, Amount, ChannelId, InventoryRoot, UnixSecs};

use crate::commitment::SignedCommitment;
use crate::court::{Answer, DRAWS, ReleasedAnswer};

/// What a challenger puts down, as the contract has it.
pub const BOND: Amount = Amount::from_credits(10);

/// Why the court did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisputeError {
    /// No answer, or none that can be believed; the same call later may do.
    #[error("the court cannot be reached: {0}")]
    Unavailable(String),
    /// The court says no, and would again.
    #[error("the court refuses: {0}")]
    Refused(String),
}

/// Where a dispute is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeState {
    /// The provider is to join.
    Challenged,
    /// The challenger is to reveal.
    Joined,
    /// The provider is to answer the draws.
    Revealed,
    /// Ended for the provider.
    Dismissed,
    /// Ended against the provider.
    Upheld,
}

impl DisputeState {
    /// Whether nothing more comes.
    pub fn is_final(self) -> bool {
        matches!(self, DisputeState::Dismissed | DisputeState::Upheld)
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            DisputeState::Challenged => "challenged",
            DisputeState::Joined => "joined",
            DisputeState::Revealed => "revealed",
            DisputeState::Dismissed => "dismissed",
            DisputeState::Upheld => "upheld",
        }
    }
}

/// A dispute as the court has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisputeRecord {
    /// The channel whose deal it is about.
    pub channel: ChannelId,
    /// The inventory that was committed to.
    pub inventory_root: InventoryRoot,
    /// Its leaves.
    pub leaf_count: u64,
    /// When it was committed to.
    pub issued_at: UnixSecs,
    /// Who asks.
    pub challenger: Address,
    /// Who is asked.
    pub provider: Address,
    /// At risk.
    pub locked: Amount,
    /// Ends the present state: at it and later only a time-out is possible.
    pub deadline: UnixSecs,
    /// What draws the leaves, once revealed.
    pub seed: Word,
    /// Bit i: draw i is answered.
    pub answered: u8,
    /// Where it is in its life.
    pub state: DisputeState,
}

/// What the court remembers of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Docket {
    /// Disputes so far.
    pub count: u64,
    /// Whether the last is open.
    pub open: bool,
    /// When the next is possible.
    pub free_at: UnixSecs,
    /// Restituted on this channel, all in all.
    pub restituted: Amount,
}

/// An answer to a draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defence {
    /// The leaf itself.
    Leaf(Answer),
    /// The client's release.
    Released(ReleasedAnswer),
}

/// Outcome of a call that takes its time.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, DisputeError>> + Send + 'a>>;

/// The court as a role sees it. `command` names a change: the same is made once, after a crash too. Changes return when they are confirmed.
pub trait Disputes: Send + Sync + 'static {
    /// Time of the ledger.
    fn now(&self) -> Asked<'_, UnixSecs>;

    /// What is remembered of a channel.
    fn docket(&self, channel: ChannelId) -> Asked<'_, Docket>;

    /// A dispute; `None` for one that never was.
    fn dispute(&self, id: Word) -> Asked<'_, Option<DisputeRecord>>;

    /// Challenges over a commitment; the wallet puts the bond down.
    fn challenge<'a>(&'a self, command: Word, commitment: &'a SignedCommitment, secret_hash: Word) -> Asked<'a, ()>;

    /// The provider adds its entropy.
    fn join(&self, command: Word, id: Word, entropy: Word) -> Asked<'_, ()>;

    /// The challenger shows its secret.
    fn reveal(&self, command: Word, id: Word, secret: Word) -> Asked<'_, ()>;

    /// Answers draw `index`.
    fn answer<'a>(&'a self, command: Word, id: Word, index: u32, defence: &'a Defence) -> Asked<'a, ()>;

    /// Ends a dispute whose deadline is reached.
    fn time_out(&self, command: Word, id: Word) -> Asked<'_, ()>;
}

/// What is known before a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Probes of the last audit.
    pub probes: u32,
    /// Those that were gone or wrong.
    pub lost: u32,
    /// Collateral that the commitment puts at risk.
    pub at_risk: Amount,
    /// What restitution can come to: paid on the channel, less what was restituted before.
    pub paid: Amount,
}

/// Draws that a provider which lacks this share of the leaves fails with a chance of nine in ten.
fn is_likely(case: &Case) -> bool {
    let (probes, held) = (u128::from(case.probes), u128::from(case.probes.saturating_sub(case.lost)));
    if case.lost == 0 {
        return false;
    }
    // (held / probes)^DRAWS ≤ 1 / 10, in integers; an audit has some thousand probes at most, and 2^16 to the fifth is below 2^127.
    let (probes, held) = if probes > 1 << 16 { (1 << 16, held * (1 << 16) / probes) } else { (probes, held) };
    held.pow(DRAWS) * 10 <= probes.pow(DRAWS)
}

/// Whether a challenge is worth its bond: a miss is likely, and what restitution brings then is not less than what an answer costs.
pub fn is_worth_it(case: &Case) -> bool {
    let restitution = case.paid.min(Amount::from_base_units(case.at_risk.base_units() / 2));
    let all_lost = case.lost >= case.probes;
    is_likely(case) && (all_lost || restitution.times(9).is_none_or(|nine| nine >= BOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_worth_it_when_a_miss_is_likely_and_pays() {
        let crd = Amount::from_credits;
        for (probes, lost, at_risk, paid, expected) in [
            (100, 0, 100, 100, false),
            (100, 5, 100, 100, false),
            (100, 36, 100, 100, false),
            (100, 37, 100, 100, true),
            (100, 100, 100, 100, true),
            (100, 50, 100, 1, false),
            (100, 50, 2, 100, false),
            (100, 50, 4, 2, true),
            (100, 100, 1, 0, true),
            (1, 1, 1, 0, true),
            (0, 0, 1, 1, false),
            (u32::MAX, u32::MAX / 2, 100, 100, true),
            (u32::MAX, 1, 100, 100, false),
        ] {
            let case = Case { probes, lost, at_risk: crd(at_risk), paid: crd(paid) };
            assert_eq!(is_worth_it(&case), expected, "{case:?}");
        }
    }
}
