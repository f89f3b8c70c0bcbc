//! What a paying client may spend, and how it audits.

use std::time::Duration;

use cairn_audit::challenge;
use cairn_types::Amount;

use crate::court::CourtRule;

/// Rules for paying and auditing.
#[derive(Debug, Clone)]
pub struct PayConfig {
    /// Most that is paid for a GiB and month; `None`: what others ask decides.
    pub storage_price_max: Option<Amount>,
    /// Most that is paid for a GiB read; `None`: what others ask decides.
    pub egress_price_max: Option<Amount>,
    /// A price more than so many times the median of the known offers is refused.
    pub gouging_times_max: u64,
    /// Most that goes into channels in a month of 30 days; `None`: no limit.
    pub month_max: Option<Amount>,
    /// Least that a channel is opened or topped up with.
    pub deposit_min: Amount,
    /// Epochs of what is stored that a deposit or a top-up covers.
    pub deposit_epochs: u64,
    /// A channel is topped up when less than so many epochs are covered.
    pub top_up_below_epochs: u64,
    /// Whether deals are audited and paid each epoch by themselves; if not, only on [`crate::Client::audit_now`].
    pub audits: bool,
    /// Leaves drawn by an audit.
    pub samples: usize,
    /// Over how long an audit's reads are spread; `None`: a quarter of the epoch, an hour at most.
    pub spread: Option<Duration>,
    /// The first audit comes within this time of the first shard, or within an epoch when that is shorter.
    pub first_audit: Duration,
    /// In so many epochs every block is read once; 0: never.
    pub sweep_epochs: u64,
    /// Between attempts at a Commit or a probe that was not answered; `None`: a quarter of the grace.
    pub retry: Option<Duration>,
    /// Providers with a durability score below this get no new shards, in thousandths.
    pub durability_floor: u32,
    /// Providers with a retrieval score below this get no new shards, in thousandths.
    pub retrieval_floor: u32,
    /// When failed audits are taken to court.
    pub court: CourtRule,
}

impl Default for PayConfig {
    fn default() -> Self {
        PayConfig {
            storage_price_max: None,
            egress_price_max: None,
            gouging_times_max: 5,
            month_max: None,
            deposit_min: Amount::from_credits(1),
            deposit_epochs: 30,
            top_up_below_epochs: 7,
            audits: true,
            samples: challenge::SAMPLES,
            spread: None,
            first_audit: Duration::from_secs(3600),
            sweep_epochs: 365,
            retry: None,
            durability_floor: 450,
            retrieval_floor: 250,
            court: CourtRule::Auto,
        }
    }
}
