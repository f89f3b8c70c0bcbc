//! Records: what the contracts keep, in our words.
//!
//! Never: a state that the contract does not have.

use cairn_types::{Address, Amount, UnixSecs};

use crate::bindings::{Channel, Dispute, Provider};
use crate::wire::ours;

/// Life of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// In use.
    Open,
    /// In its grace.
    Closing,
    /// For ever.
    Closed,
}

/// A payment channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelRecord {
    /// Gets the remainder.
    pub payer: Address,
    /// Is paid.
    pub payee: Address,
    /// Signs vouchers beside the payer.
    pub signer: Address,
    /// What was ever put in.
    pub deposit: Amount,
    /// What the payee ever got.
    pub settled: Amount,
    /// When the grace ends; none while it is open.
    pub closes_at: Option<UnixSecs>,
    /// Where it is in its life.
    pub state: ChannelState,
}

impl ChannelRecord {
    pub(super) fn of(channel: Channel) -> Option<Option<ChannelRecord>> {
        let state = match channel.state {
            0 => return Some(None),
            1 => ChannelState::Open,
            2 => ChannelState::Closing,
            3 => ChannelState::Closed,
            _ => return None,
        };
        Some(Some(ChannelRecord {
            payer: ours(channel.payer),
            payee: ours(channel.payee),
            signer: ours(channel.signer),
            deposit: Amount::from_base_units(channel.deposit),
            settled: Amount::from_base_units(channel.settled),
            closes_at: (channel.closesAt > 0).then_some(UnixSecs(channel.closesAt)),
            state,
        }))
    }
}

/// A registered provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderRecord {
    /// ed25519 key of its node; believed only with the signature in the `Registered` event.
    pub node_key: [u8; 32],
    /// Signs commitments.
    pub signer: Address,
    /// Hash of its offer.
    pub offer_hash: [u8; 32],
    /// Stake that stays.
    pub collateral: Amount,
    /// Stake on its way out; can still be slashed.
    pub unbonding: Amount,
    /// From when it can leave.
    pub unbond_at: Option<UnixSecs>,
    /// What open disputes claim; claims may overlap, so it can exceed the stake. Capped at what an amount can hold.
    pub locked: Amount,
    /// When it registered.
    pub registered_at: UnixSecs,
}

impl ProviderRecord {
    pub(super) fn of(provider: Provider) -> Option<ProviderRecord> {
        (provider.registeredAt > 0).then(|| ProviderRecord {
            node_key: provider.nodeKey.0,
            signer: ours(provider.signer),
            offer_hash: provider.offerHash.0,
            collateral: Amount::from_base_units(provider.collateral),
            unbonding: Amount::from_base_units(provider.unbonding),
            unbond_at: (provider.unbondAt > 0).then_some(UnixSecs(provider.unbondAt)),
            locked: Amount::from_base_units(u128::try_from(provider.locked).unwrap_or(u128::MAX)),
            registered_at: UnixSecs(provider.registeredAt),
        })
    }
}

/// Life of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeState {
    /// The provider is to join.
    Challenged,
    /// The challenger is to reveal.
    Joined,
    /// The provider is to answer.
    Revealed,
    /// Ended for the provider.
    Dismissed,
    /// Ended against the provider.
    Upheld,
}

/// A dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisputeRecord {
    /// Channel.
    pub channel: [u8; 32],
    /// The inventory that is asked about.
    pub inventory_root: [u8; 32],
    /// Hash of the challenger's secret.
    pub secret_hash: [u8; 32],
    /// What the provider has added.
    pub entropy: [u8; 32],
    /// What the leaves are drawn from, once revealed.
    pub seed: [u8; 32],
    /// Who asks.
    pub challenger: Address,
    /// Who is asked.
    pub provider: Address,
    /// Ends the present state.
    pub deadline: UnixSecs,
    /// Bit i: draw i is answered.
    pub answered: u8,
    /// Where it is in its life.
    pub state: DisputeState,
    /// Leaves of the inventory.
    pub leaf_count: u64,
    /// At risk.
    pub locked: Amount,
    /// Date of the commitment.
    pub issued_at: UnixSecs,
}

impl DisputeRecord {
    pub(super) fn of(dispute: Dispute) -> Option<Option<DisputeRecord>> {
        let state = match dispute.state {
            0 => return Some(None),
            1 => DisputeState::Challenged,
            2 => DisputeState::Joined,
            3 => DisputeState::Revealed,
            4 => DisputeState::Dismissed,
            5 => DisputeState::Upheld,
            _ => return None,
        };
        Some(Some(DisputeRecord {
            channel: dispute.channelId.0,
            inventory_root: dispute.inventoryRoot.0,
            secret_hash: dispute.secretHash.0,
            entropy: dispute.entropy.0,
            seed: dispute.seed.0,
            challenger: ours(dispute.challenger),
            provider: ours(dispute.provider),
            deadline: UnixSecs(dispute.deadline),
            answered: dispute.answered,
            state,
            leaf_count: dispute.leafCount,
            locked: Amount::from_base_units(dispute.locked),
            issued_at: UnixSecs(dispute.issuedAt),
        }))
    }
}
