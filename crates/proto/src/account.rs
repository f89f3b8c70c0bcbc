//! Account, voucher and commitment on the wire: what is owed, promised and held under a deal.
//!
//! Never: a voucher or commitment believed before `market` or `audit` checked its signature.

use bytes::Bytes;
use cairn_audit::{Commitment, SignedCommitment, Totals};
use cairn_market::voucher::{SignedMandate, SignedVoucher, Voucher};
use cairn_types::{Amount, ChannelId, DealId, EvmSignature, InventoryRoot, UnixMs, UnixSecs};

use crate::delegation::{get_mandate, put_mandate};
use crate::fields::{get_amount, get_signature, get_u128, put_amount, put_signature, put_u128};
use crate::shard;

/// A message with a field of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is malformed")]
pub struct FieldError(&'static str);

/// A deal's account as its provider keeps it, under the present agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The moment it speaks of.
    pub at: UnixMs,
    /// Leaf-milliseconds stored up to then.
    pub leaf_ms: u128,
    /// Bytes of bodies sent.
    pub egress_len: u64,
    /// The best voucher held.
    pub voucher: Option<SignedVoucher>,
}

impl Account {
    /// As a message.
    pub fn to_wire(&self) -> shard::Account {
        shard::Account {
            at_ms: self.at.0,
            leaf_ms: put_u128(self.leaf_ms),
            egress_len: self.egress_len,
            cumulative: put_amount(self.voucher.map_or(Amount::ZERO, |signed| signed.voucher.cumulative)),
            signature: self.voucher.map_or(Bytes::new(), |signed| put_signature(&signed.signature)),
            mandate: self.voucher.and_then(|signed| signed.mandate).as_ref().map(put_mandate),
        }
    }

    /// Reads a message about a deal on `channel`.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn from_wire(wire: &shard::Account, channel: ChannelId) -> Result<Account, FieldError> {
        let wrong = FieldError("an account");
        let cumulative = get_amount(&wire.cumulative).ok_or(wrong)?;
        let voucher = match wire.signature.is_empty() {
            true if cumulative.is_zero() && wire.mandate.is_none() => None,
            true => return Err(wrong),
            false => {
                let signature = get_signature(&wire.signature).ok_or(wrong)?;
                let mandate = mandate(wire.mandate.as_ref(), channel).ok_or(wrong)?;
                Some(SignedVoucher { voucher: Voucher { channel, cumulative }, signature, mandate })
            }
        };
        Ok(Account {
            at: UnixMs(wire.at_ms),
            leaf_ms: get_u128(&wire.leaf_ms).ok_or(wrong)?,
            egress_len: wire.egress_len,
            voucher,
        })
    }
}

/// A voucher as a request.
pub fn pay(deal: DealId, signed: &SignedVoucher) -> shard::Pay {
    shard::Pay {
        deal_id: Bytes::copy_from_slice(deal.as_bytes()),
        cumulative: put_amount(signed.voucher.cumulative),
        signature: put_signature(&signed.signature),
        mandate: signed.mandate.as_ref().map(put_mandate),
    }
}

/// The mandate beside a voucher, if there is one; the outer `None` is a malformed one.
fn mandate(wire: Option<&shard::Mandate>, channel: ChannelId) -> Option<Option<SignedMandate>> {
    wire.map_or(Some(None), |wire| get_mandate(wire, channel).map(Some))
}

/// The voucher in a request about a deal on `channel`.
///
/// # Errors
/// [`FieldError`].
pub fn voucher(wire: &shard::Pay, channel: ChannelId) -> Result<SignedVoucher, FieldError> {
    let wrong = FieldError("a voucher");
    let cumulative = get_amount(&wire.cumulative).ok_or(wrong)?;
    let signature = get_signature(&wire.signature).ok_or(wrong)?;
    let mandate = mandate(wire.mandate.as_ref(), channel).ok_or(wrong)?;
    Ok(SignedVoucher { voucher: Voucher { channel, cumulative }, signature, mandate })
}

/// A commitment with what its inventory holds, and the account of the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The signed commitment.
    pub signed: SignedCommitment,
    /// What the inventory sums to; its `leaves` are the commitment's.
    pub totals: Totals,
    /// The account.
    pub account: Account,
}

impl Committed {
    /// As a message.
    pub fn to_wire(&self) -> shard::SignedCommitment {
        let Commitment { inventory_root, leaf_count, issued_at, valid_until, at_risk, .. } = self.signed.commitment;
        shard::SignedCommitment {
            inventory_root: Bytes::copy_from_slice(inventory_root.as_bytes()),
            entry_count: self.totals.entries,
            leaf_count,
            byte_count: self.totals.bytes,
            issued_at_s: issued_at.0,
            valid_until_s: valid_until.0,
            at_risk: put_amount(at_risk),
            signature: put_signature(&self.signed.signature),
            account: Some(self.account.to_wire()),
        }
    }

    /// Reads a message about a deal on `channel`.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn from_wire(wire: &shard::SignedCommitment, channel: ChannelId) -> Result<Committed, FieldError> {
        let wrong = FieldError("a commitment");
        let commitment = Commitment {
            channel,
            inventory_root: InventoryRoot::from_slice(&wire.inventory_root).ok_or(wrong)?,
            leaf_count: wire.leaf_count,
            issued_at: UnixSecs(wire.issued_at_s),
            valid_until: UnixSecs(wire.valid_until_s),
            at_risk: get_amount(&wire.at_risk).ok_or(wrong)?,
        };
        let signature: EvmSignature = get_signature(&wire.signature).ok_or(wrong)?;
        Ok(Committed {
            signed: SignedCommitment { commitment, signature },
            totals: Totals { entries: wire.entry_count, leaves: wire.leaf_count, bytes: wire.byte_count },
            account: Account::from_wire(wire.account.as_ref().ok_or(wrong)?, channel)?,
        })
    }
}
