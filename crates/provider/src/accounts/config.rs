//! Configuration of a provider that is paid.
//!
//! Never: a price in floating point, or a key in a debug print.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_audit::disputes::Disputes;
use cairn_market::{EgressPrice, Settlement, StoragePrice, Terms};
use cairn_types::{Amount, NodeId, WalletKey};

/// What is redeemed brings so many times what it costs: 5 % of it, at most, are for the chain.
pub const REDEEM_TIMES: u64 = 20;

/// What a provider asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// For storage.
    pub storage: StoragePrice,
    /// For reads.
    pub egress: EgressPrice,
    /// Collateral that commitments put at risk for each GiB, begun ones counted whole.
    pub collateral_per_gib: Amount,
    /// Between two payments.
    pub epoch_ms: u64,
    /// After an epoch, until a payment is overdue.
    pub grace_ms: u64,
    /// The operator's word for where it is.
    pub region: String,
}

impl Prices {
    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        self.storage.amount().is_zero() && self.egress.amount().is_zero()
    }
}

/// What a paid provider is opened with.
#[derive(Clone)]
pub struct Paid {
    /// Directory of the ledger: `<data dir>/ledger`.
    pub dir: PathBuf,
    /// What it asks.
    pub prices: Prices,
    /// Signs commitments; registered on chain as the owner's signer.
    pub signer: WalletKey,
    /// The chain; its wallet is the owner, who is paid.
    pub settlement: Arc<dyn Settlement>,
    /// What a channel must still hold, at least, to be agreed on.
    pub deposit_min: Amount,
    /// A channel is redeemed when so much of it is promised and not redeemed.
    pub redeem_at: Amount,
    /// And anyway, when something is, after this time.
    pub redeem_every: Duration,
    /// But only when what is redeemed together is so many times what the chain asks for it; a closing channel does not wait for that.
    pub redeem_times: u64,
    /// Between two looks at the channels in use.
    pub poll_every: Duration,
    /// The court, where disputes over this provider's commitments are answered; `None`: nobody watches for them.
    pub court: Option<Arc<dyn Disputes>>,
    /// How long after a payment became overdue the shards of the deal are dropped; `None`: never.
    pub drop_after: Option<Duration>,
}

impl Paid {
    /// With defaults: redeemed by 1 CRD or daily when it is worth it, looked at each minute, dropped 7 days after a payment is overdue.
    pub fn new(dir: impl Into<PathBuf>, prices: Prices, signer: WalletKey, settlement: Arc<dyn Settlement>) -> Paid {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Paid {
            dir: dir.into(),
            prices,
            signer,
            settlement,
            deposit_min: Amount::from_base_units(1),
            redeem_at: Amount::CREDIT,
            redeem_every: DAY,
            redeem_times: REDEEM_TIMES,
            poll_every: Duration::from_secs(60),
            court: None,
            drop_after: Some(7 * DAY),
        }
    }

    /// The terms that `node` offers with it.
    pub(crate) fn terms(&self, node: NodeId) -> Terms {
        let contracts = self.settlement.contracts();
        let Prices { storage, egress, collateral_per_gib, epoch_ms, grace_ms, region } = self.prices.clone();
        Terms {
            node,
            owner: self.settlement.wallet(),
            signer: self.signer.address(),
            chain_id: contracts.chain_id,
            channels: contracts.channels,
            court: contracts.court,
            providers: contracts.providers,
            storage,
            egress,
            collateral_per_gib,
            epoch_ms,
            grace_ms,
            region,
        }
    }
}
