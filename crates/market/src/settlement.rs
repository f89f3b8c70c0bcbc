//! Port to the ledger: how a role reads channels and registrations and has payments settled, whatever chain is behind it.
//!
//! Never: a transaction made twice for one [`CommandId`]; whoever implements this keeps what was begun over a crash.
//! Limits: every call ends within the implementation's deadline.

use cairn_types::eip712::keccak256;
use cairn_types::{Address, Amount, ChannelId, Domain, NodeId, UnixSecs};
use futures::future::BoxFuture;

use crate::voucher::SignedVoucher;

/// Names a change of the ledger: the same id is the same change, after a crash too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId(pub [u8; 32]);

impl CommandId {
    /// The id that these words name.
    pub fn of(parts: &[&[u8]]) -> CommandId {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        CommandId(keccak256(bytes))
    }
}

/// Where the ledger's contracts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// The chain.
    pub chain_id: u64,
    /// What is paid in.
    pub token: Address,
    /// `Channels`.
    pub channels: Address,
    /// `Providers`.
    pub providers: Address,
    /// `Court`.
    pub court: Address,
}

impl Contracts {
    /// Domain of vouchers.
    pub fn channels_domain(&self) -> Domain {
        Domain::channels(self.chain_id, self.channels)
    }

    /// Domain of commitments and releases.
    pub fn court_domain(&self) -> Domain {
        Domain::court(self.chain_id, self.court)
    }
}

/// Where a channel is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// Vouchers can be redeemed, and it can be topped up.
    Open,
    /// The payer wants out: vouchers can be redeemed until somebody withdraws, which is possible from then on.
    Closing {
        /// From when on.
        closes_at: UnixSecs,
    },
    /// Over for good.
    Closed,
}

/// A channel as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Who put the deposit in.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// Whose vouchers count.
    pub signer: Address,
    /// Put in, all in all.
    pub deposit: Amount,
    /// Paid out to the payee.
    pub settled: Amount,
    /// Where it is in its life.
    pub state: ChannelState,
}

/// A provider as the ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderRecord {
    /// Its node.
    pub node: NodeId,
    /// Whose commitments count now.
    pub signer: Address,
    /// Hash of its terms.
    pub terms_hash: [u8; 32],
    /// Collateral that stays.
    pub collateral: Amount,
    /// Collateral on its way out; it can still be slashed.
    pub unbonding: Amount,
    /// When that is out.
    pub unbond_at: UnixSecs,
}

/// Why the ledger did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// No answer, or none that can be believed; the same call later may do.
    #[error("the ledger cannot be reached: {0}")]
    Unavailable(String),
    /// The ledger says no, and would again.
    #[error("the ledger refuses: {0}")]
    Refused(String),
    /// Too few credits.
    #[error("{need} are needed, the wallet holds {have}: deposit credits first")]
    NotEnough {
        /// In the wallet.
        have: Amount,
        /// Needed.
        need: Amount,
    },
}

/// What a channel is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenChannel {
    /// Who will be paid.
    pub payee: Address,
    /// Whose vouchers will count.
    pub signer: Address,
    /// Put in at once.
    pub deposit: Amount,
    /// Tells channels of the same three apart.
    pub salt: [u8; 32],
}

/// Outcome of a call that takes its time.
pub type Settled<'a, T> = BoxFuture<'a, Result<T, SettlementError>>;

/// The ledger as a role sees it. Calls that change it return when the change is confirmed.
pub trait Settlement: Send + Sync + 'static {
    /// The contracts that everything here is about.
    fn contracts(&self) -> Contracts;

    /// The wallet that pays and is paid.
    fn wallet(&self) -> Address;

    /// Credits of an account.
    fn balance(&self, owner: Address) -> Settled<'_, Amount>;

    /// A channel; `None` for one that never was.
    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>>;

    /// A provider by its owner.
    fn provider(&self, owner: Address) -> Settled<'_, Option<ProviderRecord>>;

    /// Whether commitments of `signer` issued at that moment bind `owner`.
    fn signer_valid(&self, owner: Address, signer: Address, at: UnixSecs) -> Settled<'_, bool>;

    /// Opens a channel from the wallet; one that was opened with the same parameters before is found again.
    fn open_channel(&self, command: CommandId, open: OpenChannel) -> Settled<'_, ChannelId>;

    /// Puts more into a channel.
    fn top_up(&self, command: CommandId, channel: ChannelId, amount: Amount) -> Settled<'_, ()>;

    /// Has vouchers paid to the wallet; those that were redeemed meanwhile add nothing. One that was signed under a mandate comes alone.
    fn redeem<'a>(&'a self, command: CommandId, vouchers: &'a [SignedVoucher]) -> Settled<'a, ()>;

    /// What having so many vouchers paid costs now, in credits; nothing on a ledger whose gas costs nothing.
    fn redeem_cost(&self, _vouchers: usize) -> Settled<'_, Amount> {
        Box::pin(std::future::ready(Ok(Amount::ZERO)))
    }

    /// Begins to close a channel of the wallet.
    fn request_close(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()>;

    /// Takes what is left of a closing channel back to its payer.
    fn withdraw(&self, command: CommandId, channel: ChannelId) -> Settled<'_, ()>;
}
