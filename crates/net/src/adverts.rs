//! The adverts this node believes: checked, newest per provider, dropped when their time is over.
//!
//! Never: an advert that was not verified, one of this node itself, or one older than what is held.
//! Limits: [`ADVERTS_MAX`]; when full, newcomers are refused rather than known providers forgotten.

use std::collections::HashMap;

use cairn_proto::{Advert, AdvertError};
use cairn_types::{NodeId, UnixMs};
use sha2::{Digest, Sha256};

use crate::ADVERTS_MAX;

const RECORD_DOMAIN: &[u8] = b"cairn/advert/1";

/// Key of a provider's advert in the DHT.
pub(crate) fn record_key(node: NodeId) -> [u8; 32] {
    Sha256::new().chain_update(RECORD_DOMAIN).chain_update(node.as_bytes()).finalize().into()
}

/// An advert that verified; only [`verify`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) advert: Advert,
}

/// An advert that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedAdvert {
    #[error(transparent)]
    Wrong(#[from] AdvertError),
    #[error("advert of {0} under another key")]
    WrongKey(NodeId),
    #[error("advert of {0} is not newer than the one held")]
    NotNewer(NodeId),
    #[error("advert of this node itself")]
    Own,
    #[error("too many adverts are held")]
    Full,
}

/// Checks a signed advert's form, signature and times.
pub(crate) fn verify(signed: &[u8], now: UnixMs) -> Result<Verified, RefusedAdvert> {
    Ok(Verified { advert: Advert::verify(signed, now)? })
}

/// Checks a DHT record: a good advert under the key of its own node.
pub(crate) fn verify_record(key: &[u8], value: &[u8], now: UnixMs) -> Result<Verified, RefusedAdvert> {
    let verified = verify(value, now)?;
    if record_key(verified.advert.node) != key {
        return Err(RefusedAdvert::WrongKey(verified.advert.node));
    }
    Ok(verified)
}

/// The table.
#[derive(Debug)]
pub(crate) struct Adverts {
    own: NodeId,
    held: HashMap<NodeId, Verified>,
    max: usize,
}

impl Adverts {
    pub(crate) fn new(own: NodeId) -> Adverts {
        Adverts { own, held: HashMap::new(), max: ADVERTS_MAX }
    }

    /// Takes a verified advert if it is newer than what is held.
    pub(crate) fn accept(&mut self, verified: Verified) -> Result<(), RefusedAdvert> {
        let node = verified.advert.node;
        if node == self.own {
            return Err(RefusedAdvert::Own);
        }
        match self.held.get(&node) {
            Some(held) if held.advert.issued_at >= verified.advert.issued_at => return Err(RefusedAdvert::NotNewer(node)),
            None if self.held.len() >= self.max => return Err(RefusedAdvert::Full),
            Some(_) | None => {}
        }
        self.held.insert(node, verified);
        Ok(())
    }

    /// Forgets what has expired; true when something had.
    pub(crate) fn expire(&mut self, now: UnixMs) -> bool {
        let before = self.held.len();
        self.held.retain(|_, held| held.advert.valid_until > now);
        self.held.len() != before
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Advert> {
        self.held.get(&node).map(|held| &held.advert)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Advert> {
        self.held.values().map(|held| &held.advert)
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_types::NodeKey;

    const NOW: UnixMs = UnixMs(10_000_000);

    fn advert(key: &NodeKey, issued_at: u64, valid_until: u64) -> Vec<u8> {
        Advert {
            node: key.id(),
            addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
            free_len: 1,
            total_len: 2,
            region: String::new(),
            operator: String::new(),
            issued_at: UnixMs(issued_at),
            valid_until: UnixMs(valid_until),
            accepting: true,
        }
        .sign(key)
    }

    #[test]
    fn only_a_good_advert_under_its_own_key_is_stored() {
        let (key, other) = (NodeKey::from_secret([1; 32]), NodeKey::from_secret([2; 32]));
        let good = advert(&key, NOW.0 - 10, NOW.0 + 10);
        let own_key = record_key(key.id());
        assert!(verify_record(&own_key, &good, NOW).is_ok());
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let cases: [(&str, Vec<u8>, Vec<u8>); 7] = [
            ("under another node's key", record_key(other.id()).to_vec(), good.clone()),
            ("under the raw node id", key.id().0.to_vec(), good.clone()),
            ("under a short key", own_key[..31].to_vec(), good.clone()),
            ("forged", own_key.to_vec(), forged),
            ("expired", own_key.to_vec(), advert(&key, NOW.0 - 20, NOW.0)),
            ("from the future", own_key.to_vec(), advert(&key, NOW.0 + 3_600_000, NOW.0 + 7_200_000)),
            ("noise", own_key.to_vec(), vec![0xff; 100]),
        ];
        for (what, record_key, value) in cases {
            assert!(verify_record(&record_key, &value, NOW).is_err(), "{what}");
        }
    }

    #[test]
    fn only_newer_adverts_replace_and_expired_ones_go() {
        let key = NodeKey::from_secret([1; 32]);
        let mut adverts = Adverts::new(NodeKey::from_secret([9; 32]).id());
        let mut accept = |issued, until| adverts.accept(verify(&advert(&key, issued, until), NOW).expect("a good advert"));
        assert_eq!(accept(NOW.0 - 10, NOW.0 + 10), Ok(()));
        assert_eq!(accept(NOW.0 - 10, NOW.0 + 99), Err(RefusedAdvert::NotNewer(key.id())));
        assert_eq!(accept(NOW.0 - 20, NOW.0 + 99), Err(RefusedAdvert::NotNewer(key.id())));
        assert_eq!(accept(NOW.0 - 5, NOW.0 + 20), Ok(()));
        assert!(!adverts.expire(UnixMs(NOW.0 + 19)));
        assert!(adverts.expire(UnixMs(NOW.0 + 20)));
        assert_eq!(adverts.len(), 0);
    }

    #[test]
    fn strangers_cannot_fill_memory_or_push_known_providers_out() {
        let mut adverts = Adverts { max: 2, ..Adverts::new(NodeKey::from_secret([9; 32]).id()) };
        let signed = |secret: u8, at: u64| {
            verify(&advert(&NodeKey::from_secret([secret; 32]), at, NOW.0 + 10), NOW).expect("a good advert")
        };
        assert_eq!(adverts.accept(signed(1, 1)), Ok(()));
        assert_eq!(adverts.accept(signed(2, 1)), Ok(()));
        assert_eq!(adverts.accept(signed(3, 1)), Err(RefusedAdvert::Full));
        assert_eq!(adverts.accept(signed(1, 2)), Ok(()));
        assert_eq!(adverts.accept(signed(9, 1)), Err(RefusedAdvert::Own));
    }
}
