//! Delegation on the wire: the mandate to sign vouchers, and the word that another node may audit a deal.
//!
//! Format: `docs/formats/wire.md`. Never: believed before its signature and its end are checked. Limits: one control message.

use bytes::Bytes;
use cairn_market::voucher::{Mandate, SignedMandate};
use cairn_types::{ChannelId, DealId, NodeId, NodeKey, UnixSecs};
use prost::Message;

use crate::fields::{get_address, get_amount, get_signature, put_address, put_amount, put_signature};
use crate::shard;

const DOMAIN: &str = "cairn/delegation/1";

/// A client's word that another node may act for it under a deal: read, have the provider commit, and pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delegation {
    /// The deal.
    pub deal: DealId,
    /// Whose deal it is.
    pub client: NodeId,
    /// Who may act.
    pub delegate: NodeId,
    /// Until when, inclusive.
    pub valid_until: UnixSecs,
}

/// A delegation that gives nobody anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// Not decodable, or a field of another length.
    #[error("the delegation cannot be decoded")]
    Malformed,
    /// Not signed by the client it names.
    #[error("the delegation is not signed by the client {0}")]
    WrongClient(NodeId),
    /// For another node.
    #[error("the delegation is for {0}")]
    OtherDelegate(NodeId),
    /// Over.
    #[error("the delegation ended at {} s", .0.0)]
    Over(UnixSecs),
}

impl Delegation {
    /// Signs as the client.
    pub fn sign(&self, client: &NodeKey) -> shard::Present {
        let body = shard::DelegationBody {
            deal_id: Bytes::copy_from_slice(self.deal.as_bytes()),
            client: Bytes::copy_from_slice(self.client.as_bytes()),
            delegate: Bytes::copy_from_slice(self.delegate.as_bytes()),
            valid_until_s: self.valid_until.0,
        }
        .encode_to_vec();
        let signature = Bytes::copy_from_slice(&client.sign(DOMAIN, &body));
        shard::Present { delegation: body.into(), signature }
    }

    /// What `delegate` presents at `now`.
    ///
    /// # Errors
    /// [`DelegationError`].
    pub fn presented(wire: &shard::Present, delegate: NodeId, now: UnixSecs) -> Result<Delegation, DelegationError> {
        let wrong = DelegationError::Malformed;
        let body = shard::DelegationBody::decode(wire.delegation.clone()).map_err(|_| wrong)?;
        let delegation = Delegation {
            deal: DealId::from_slice(&body.deal_id).ok_or(wrong)?,
            client: NodeId::from_slice(&body.client).ok_or(wrong)?,
            delegate: NodeId::from_slice(&body.delegate).ok_or(wrong)?,
            valid_until: UnixSecs(body.valid_until_s),
        };
        if !delegation.client.verify(DOMAIN, &wire.delegation, &wire.signature) {
            return Err(DelegationError::WrongClient(delegation.client));
        }
        if delegation.delegate != delegate {
            return Err(DelegationError::OtherDelegate(delegation.delegate));
        }
        if now > delegation.valid_until {
            return Err(DelegationError::Over(delegation.valid_until));
        }
        Ok(delegation)
    }
}

/// A mandate as a message.
pub fn put_mandate(signed: &SignedMandate) -> shard::Mandate {
    let Mandate { delegate, cumulative_max, valid_until, .. } = signed.mandate;
    shard::Mandate {
        delegate: put_address(delegate),
        cumulative_max: put_amount(cumulative_max),
        valid_until_s: valid_until.0,
        signature: put_signature(&signed.signature),
    }
}

/// A mandate for `channel` from its message; `None` when a field has another length.
pub fn get_mandate(wire: &shard::Mandate, channel: ChannelId) -> Option<SignedMandate> {
    let mandate = Mandate {
        channel,
        delegate: get_address(&wire.delegate)?,
        cumulative_max: get_amount(&wire.cumulative_max)?,
        valid_until: UnixSecs(wire.valid_until_s),
    };
    Some(SignedMandate { mandate, signature: get_signature(&wire.signature)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodeKey {
        NodeKey::from_secret([byte; 32])
    }

    #[test]
    fn a_delegation_is_good_for_one_node_until_its_end() {
        let (client, delegate) = (key(1), key(2).id());
        let given = Delegation { deal: DealId([3; 32]), client: client.id(), delegate, valid_until: UnixSecs(100) };
        let wire = given.sign(&client);
        assert_eq!(Delegation::presented(&wire, delegate, UnixSecs(100)), Ok(given));
        assert_eq!(Delegation::presented(&wire, delegate, UnixSecs(101)), Err(DelegationError::Over(UnixSecs(100))));
        let other = Delegation::presented(&wire, key(3).id(), UnixSecs(1));
        assert_eq!(other, Err(DelegationError::OtherDelegate(delegate)));
        let forged = given.sign(&key(3));
        assert_eq!(Delegation::presented(&forged, delegate, UnixSecs(1)), Err(DelegationError::WrongClient(client.id())));
        for cut in 0..wire.delegation.len() {
            let short = shard::Present { delegation: wire.delegation.slice(..cut), ..wire.clone() };
            assert!(Delegation::presented(&short, delegate, UnixSecs(1)).is_err(), "cut at {cut}");
        }
    }
}
