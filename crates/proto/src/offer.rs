//! Offer on the wire: what a provider asks, signed by its node key.
//!
//! Format: `docs/formats/offer.md`. Never: an offer believed before signature, node and life were checked. Limits: one control message.

use bytes::Bytes;
use cairn_market::offer::{Offer, OfferError, Terms};
use cairn_market::price::{EgressPrice, StoragePrice};
use cairn_types::{NodeId, NodeKey, UnixSecs};
use prost::Message;

use crate::fields::{get_address, get_amount, put_address, put_amount};
use crate::shard;

const DOMAIN: &str = "cairn/offer/1";

/// An offer that is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedOfferError {
    /// Not decodable, or a field of another length.
    #[error("offer of {0} cannot be decoded")]
    Malformed(NodeId),
    /// Not signed by the provider it came from, or for another node.
    #[error("offer of {0} has a wrong signature")]
    WrongSignature(NodeId),
    /// Decodable, and against the rules.
    #[error("offer of {node}: {error}")]
    Refused {
        /// The provider.
        node: NodeId,
        /// Why.
        error: OfferError,
    },
}

/// Signs an offer with the provider's node key.
pub fn sign(offer: &Offer, key: &NodeKey) -> shard::SignedOffer {
    let body =
        shard::OfferBody { terms: Some(put_terms(&offer.terms)), free_len: offer.free_len, valid_until_s: offer.valid_until.0 }
            .encode_to_vec();
    let signature = Bytes::copy_from_slice(&key.sign(DOMAIN, &body));
    shard::SignedOffer { body: body.into(), signature }
}

/// Checks that `provider` made the offer and that it is alive at `now`.
///
/// # Errors
/// [`SignedOfferError`].
pub fn verify(wire: &shard::SignedOffer, provider: NodeId, now: UnixSecs) -> Result<Offer, SignedOfferError> {
    if !provider.verify(DOMAIN, &wire.body, &wire.signature) {
        return Err(SignedOfferError::WrongSignature(provider));
    }
    let body = shard::OfferBody::decode(wire.body.clone()).map_err(|_| SignedOfferError::Malformed(provider))?;
    let terms = body.terms.as_ref().and_then(get_terms).ok_or(SignedOfferError::Malformed(provider))?;
    if terms.node != provider {
        return Err(SignedOfferError::WrongSignature(provider));
    }
    let offer = Offer { terms, free_len: body.free_len, valid_until: UnixSecs(body.valid_until_s) };
    offer.check(now).map_err(|error| SignedOfferError::Refused { node: provider, error })?;
    Ok(offer)
}

pub(crate) fn put_terms(terms: &Terms) -> shard::Terms {
    shard::Terms {
        node: Bytes::copy_from_slice(terms.node.as_bytes()),
        owner: put_address(terms.owner),
        signer: put_address(terms.signer),
        chain_id: terms.chain_id,
        channels: put_address(terms.channels),
        court: put_address(terms.court),
        providers: put_address(terms.providers),
        storage_price: put_amount(terms.storage.amount()),
        egress_price: put_amount(terms.egress.amount()),
        collateral_per_gib: put_amount(terms.collateral_per_gib),
        epoch_ms: terms.epoch_ms,
        grace_ms: terms.grace_ms,
        region: terms.region.clone(),
    }
}

pub(crate) fn get_terms(wire: &shard::Terms) -> Option<Terms> {
    Some(Terms {
        node: NodeId::from_slice(&wire.node)?,
        owner: get_address(&wire.owner)?,
        signer: get_address(&wire.signer)?,
        chain_id: wire.chain_id,
        channels: get_address(&wire.channels)?,
        court: get_address(&wire.court)?,
        providers: get_address(&wire.providers)?,
        storage: StoragePrice::per_gib_month(get_amount(&wire.storage_price)?),
        egress: EgressPrice::per_gib(get_amount(&wire.egress_price)?),
        collateral_per_gib: get_amount(&wire.collateral_per_gib)?,
        epoch_ms: wire.epoch_ms,
        grace_ms: wire.grace_ms,
        region: wire.region.clone(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use cairn_types::{Address, Amount};

    use super::*;

    pub(crate) fn terms(node: NodeId) -> Terms {
        Terms {
            node,
            owner: Address([1; 20]),
            signer: Address([2; 20]),
            chain_id: 31337,
            channels: Address([3; 20]),
            court: Address([4; 20]),
            providers: Address([5; 20]),
            storage: StoragePrice::per_gib_month(Amount::from_base_units(4_000)),
            egress: EgressPrice::per_gib(Amount::from_base_units(7_000)),
            collateral_per_gib: Amount::from_credits(1),
            epoch_ms: 3_600_000,
            grace_ms: 600_000,
            region: "eu".into(),
        }
    }

    #[test]
    fn an_offer_is_believed_only_in_its_time_and_from_its_provider() {
        let key = NodeKey::from_secret([3; 32]);
        let offer = Offer { terms: terms(key.id()), free_len: 9, valid_until: UnixSecs(2_000) };
        let wire = sign(&offer, &key);
        assert_eq!(verify(&wire, key.id(), UnixSecs(1_000)), Ok(offer.clone()));
        let expired = verify(&wire, key.id(), UnixSecs(2_000));
        assert!(matches!(expired, Err(SignedOfferError::Refused { error: OfferError::Expired { .. }, .. })), "{expired:?}");
        let other = NodeKey::from_secret([4; 32]);
        assert_eq!(verify(&wire, other.id(), UnixSecs(1_000)), Err(SignedOfferError::WrongSignature(other.id())));
        // Another provider's offer under one's own signature.
        assert_eq!(verify(&sign(&offer, &other), other.id(), UnixSecs(1_000)), Err(SignedOfferError::WrongSignature(other.id())));
        for at in 0..wire.body.len() {
            let mut body = wire.body.to_vec();
            body[at] ^= 1;
            let altered = shard::SignedOffer { body: body.into(), signature: wire.signature.clone() };
            assert_eq!(verify(&altered, key.id(), UnixSecs(1_000)), Err(SignedOfferError::WrongSignature(key.id())), "byte {at}");
        }
    }

    #[test]
    fn fields_of_other_lengths_are_malformed() {
        let key = NodeKey::from_secret([3; 32]);
        let mut body = shard::OfferBody { terms: Some(put_terms(&terms(key.id()))), free_len: 9, valid_until_s: 2_000 };
        body.terms.as_mut().expect("set above").storage_price = Bytes::from_static(&[1; 15]);
        for body in [body, shard::OfferBody::default()] {
            let body = body.encode_to_vec();
            let signature = Bytes::copy_from_slice(&key.sign(DOMAIN, &body));
            let wire = shard::SignedOffer { body: body.into(), signature };
            assert_eq!(verify(&wire, key.id(), UnixSecs(1_000)), Err(SignedOfferError::Malformed(key.id())));
        }
    }
}
