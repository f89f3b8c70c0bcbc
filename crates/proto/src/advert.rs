//! Advert: what a provider says of itself, signed and time-bound.
//!
//! Never: an advert that lives longer than [`VALID_MS_MAX`] or claims to come from the future.
//! Limits: [`ADVERT_LEN_MAX`] bytes encoded, [`ADDRESSES_MAX`] addresses.

use bytes::Bytes;
use cairn_types::limits::ADVERT_LEN_MAX;
use cairn_types::{NodeId, NodeKey, UnixMs};
use prost::Message;
use serde::Serialize;

use crate::advert_wire::{AdvertBody, SignedAdvert};

const DOMAIN: &str = "cairn/advert/1";
/// Longest life of an advert.
pub const VALID_MS_MAX: u64 = 48 * 3600 * 1000;
/// How far a provider's clock may be ahead of ours.
pub const CLOCK_SKEW_MS_MAX: u64 = 10 * 60 * 1000;
/// Addresses in one advert.
pub const ADDRESSES_MAX: usize = 8;
/// Bytes of one address.
pub const ADDRESS_LEN_MAX: usize = 128;
const REGION_LEN_MAX: usize = 32;
const OPERATOR_LEN_MAX: usize = 64;

/// A checked advert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advert {
    /// The provider.
    pub node: NodeId,
    /// Multiaddrs without `/p2p`.
    pub addresses: Vec<String>,
    /// Bytes that may still be stored.
    pub free_len: u64,
    /// Bytes rented out.
    pub total_len: u64,
    /// Operator's own word for the place.
    pub region: String,
    /// Failure domain named by the operator; empty when unknown.
    pub operator: String,
    /// When it was signed, by the provider's clock.
    pub issued_at: UnixMs,
    /// From when on it counts no more.
    pub valid_until: UnixMs,
    /// Whether the provider takes new shards.
    pub accepting: bool,
}

/// An advert that is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertError {
    /// Too long, not decodable, or a field out of its limits.
    #[error("advert is malformed: {0}")]
    Malformed(&'static str),
    /// Not signed by the node it names.
    #[error("advert of {0} has a wrong signature")]
    WrongSignature(NodeId),
    /// Its time is over.
    #[error("advert of {0} has expired")]
    Expired(NodeId),
    /// It claims to be from the future or to live too long.
    #[error("advert of {0} has impossible times")]
    WrongTimes(NodeId),
}

impl Advert {
    /// Signs and encodes this advert; at most [`ADVERT_LEN_MAX`] bytes if its fields are within limits.
    pub fn sign(&self, key: &NodeKey) -> Vec<u8> {
        let body = AdvertBody {
            node: Bytes::copy_from_slice(self.node.as_bytes()),
            addresses: self.addresses.clone(),
            free_len: self.free_len,
            total_len: self.total_len,
            region: self.region.clone(),
            operator: self.operator.clone(),
            issued_at_ms: self.issued_at.0,
            valid_until_ms: self.valid_until.0,
            accepting: self.accepting,
        }
        .encode_to_vec();
        let signature = Bytes::copy_from_slice(&key.sign(DOMAIN, &body));
        SignedAdvert { body: body.into(), signature }.encode_to_vec()
    }

    /// Decodes and checks an advert at the moment `now`.
    ///
    /// # Errors
    /// [`AdvertError`].
    pub fn verify(encoded: &[u8], now: UnixMs) -> Result<Advert, AdvertError> {
        if encoded.len() > ADVERT_LEN_MAX {
            return Err(AdvertError::Malformed("too long"));
        }
        let signed = SignedAdvert::decode(encoded).map_err(|_| AdvertError::Malformed("not an advert"))?;
        let body = AdvertBody::decode(signed.body.clone()).map_err(|_| AdvertError::Malformed("not an advert body"))?;
        let node = NodeId::from_slice(&body.node).ok_or(AdvertError::Malformed("node"))?;
        if !node.verify(DOMAIN, &signed.body, &signed.signature) {
            return Err(AdvertError::WrongSignature(node));
        }
        let addresses_fit = body.addresses.len() <= ADDRESSES_MAX && body.addresses.iter().all(|a| a.len() <= ADDRESS_LEN_MAX);
        if !addresses_fit || body.region.len() > REGION_LEN_MAX || body.operator.len() > OPERATOR_LEN_MAX {
            return Err(AdvertError::Malformed("a field is too long"));
        }
        let (issued_at, valid_until) = (UnixMs(body.issued_at_ms), UnixMs(body.valid_until_ms));
        if issued_at > now.plus_ms(CLOCK_SKEW_MS_MAX) || valid_until.since_ms(issued_at) > VALID_MS_MAX {
            return Err(AdvertError::WrongTimes(node));
        }
        if valid_until <= now {
            return Err(AdvertError::Expired(node));
        }
        Ok(Advert {
            node,
            addresses: body.addresses,
            free_len: body.free_len,
            total_len: body.total_len,
            region: body.region,
            operator: body.operator,
            issued_at,
            valid_until,
            accepting: body.accepting,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(key: &NodeKey) -> Advert {
        Advert {
            node: key.id(),
            addresses: vec!["/ip4/127.0.0.1/tcp/4001".into()],
            free_len: 10,
            total_len: 20,
            region: "eu".into(),
            operator: String::new(),
            issued_at: UnixMs(1_000_000),
            valid_until: UnixMs(2_000_000),
            accepting: true,
        }
    }

    #[test]
    fn an_advert_is_believed_only_in_its_time_and_from_its_node() {
        let key = NodeKey::from_secret([3; 32]);
        let advert = sample(&key);
        let signed = advert.sign(&key);
        let node = key.id();
        assert_eq!(Advert::verify(&signed, UnixMs(1_500_000)), Ok(advert.clone()));
        assert_eq!(Advert::verify(&signed, UnixMs(2_000_000)), Err(AdvertError::Expired(node)));
        assert_eq!(Advert::verify(&signed, UnixMs(0)), Err(AdvertError::WrongTimes(node)));
        let forged = advert.sign(&NodeKey::from_secret([4; 32]));
        assert_eq!(Advert::verify(&forged, UnixMs(1_500_000)), Err(AdvertError::WrongSignature(node)));
        let immortal = Advert { valid_until: UnixMs(u64::MAX), ..advert.clone() };
        assert_eq!(Advert::verify(&immortal.sign(&key), UnixMs(1_500_000)), Err(AdvertError::WrongTimes(node)));
        let wordy = Advert { addresses: vec![String::new(); ADDRESSES_MAX + 1], ..advert };
        assert!(matches!(Advert::verify(&wordy.sign(&key), UnixMs(1_500_000)), Err(AdvertError::Malformed(_))));
    }

    #[test]
    fn the_largest_advert_fits_its_limit() {
        let key = NodeKey::from_secret([3; 32]);
        let largest = Advert {
            addresses: vec!["a".repeat(ADDRESS_LEN_MAX); ADDRESSES_MAX],
            region: "r".repeat(REGION_LEN_MAX),
            operator: "o".repeat(OPERATOR_LEN_MAX),
            free_len: u64::MAX,
            total_len: u64::MAX,
            ..sample(&key)
        };
        assert!(largest.sign(&key).len() <= ADVERT_LEN_MAX);
    }
}
