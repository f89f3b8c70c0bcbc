//! This node's own advert: filled in, signed, renewed, and pushed when it changes.
//!
//! Decides when; the engine sends. Never: publish without an address or a template.
//! Limits: one issue per [`ISSUE_PAUSE`]; small changes of free space wait [`MINOR_PAUSE`].

use std::time::Duration;

use bytes::Bytes;
use cairn_proto::Advert;
use cairn_types::{NodeKey, UnixMs};
use libp2p::Multiaddr;
use tokio::time::Instant;

/// How long an advert lives; a provider that is gone is forgotten after this.
pub(crate) const LIFE_MS: u64 = 3600 * 1000;
const RENEW: Duration = Duration::from_secs(600);
const ISSUE_PAUSE: Duration = Duration::from_secs(2);
const MINOR_PAUSE: Duration = Duration::from_secs(30);
/// Free space that moved by less than this part of the total is a small change.
const MINOR_PART: u64 = 64;
const REGION_LEN_MAX: usize = 32;
const OPERATOR_LEN_MAX: usize = 64;

/// What a provider says of itself; addresses, times and signature are added by the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdvertTemplate {
    /// Bytes that may still be stored.
    pub free_len: u64,
    /// Bytes rented out.
    pub total_len: u64,
    /// Operator's own word for the place; at most 32 bytes.
    pub region: String,
    /// Failure domain named by the operator; at most 64 bytes.
    pub operator: String,
    /// Whether the provider takes new shards.
    pub accepting: bool,
}

/// The state of the own advert.
#[derive(Debug)]
pub(crate) struct OwnAdvert {
    key: NodeKey,
    template: Option<AdvertTemplate>,
    addresses: Vec<Multiaddr>,
    issued: Option<Issued>,
}

#[derive(Debug)]
struct Issued {
    template: AdvertTemplate,
    addresses: Vec<Multiaddr>,
    at: Instant,
    issued_at: UnixMs,
}

impl OwnAdvert {
    pub(crate) fn new(key: NodeKey) -> OwnAdvert {
        OwnAdvert { key, template: None, addresses: Vec::new(), issued: None }
    }

    pub(crate) fn set_template(&mut self, mut template: AdvertTemplate) {
        cut(&mut template.region, REGION_LEN_MAX);
        cut(&mut template.operator, OPERATOR_LEN_MAX);
        self.template = Some(template);
    }

    pub(crate) fn set_addresses(&mut self, addresses: Vec<Multiaddr>) {
        self.addresses = addresses;
    }

    /// The next advert to publish, when one is due.
    pub(crate) fn due(&mut self, now: Instant, wall: UnixMs) -> Option<Bytes> {
        let template = self.template.clone()?;
        if self.addresses.is_empty() || self.issued.as_ref().is_some_and(|issued| now < self.due_at(issued, &template)) {
            return None;
        }
        // Peers keep only what is newer, so the time moves on even if the clock was set back.
        let issued_at = self.issued.as_ref().map_or(wall, |issued| wall.max(issued.issued_at.plus_ms(1)));
        let advert = Advert {
            node: self.key.id(),
            addresses: self.addresses.iter().map(Multiaddr::to_string).collect(),
            free_len: template.free_len,
            total_len: template.total_len,
            region: template.region.clone(),
            operator: template.operator.clone(),
            issued_at,
            valid_until: issued_at.plus_ms(LIFE_MS),
            accepting: template.accepting,
        };
        let signed = advert.sign(&self.key);
        self.issued = Some(Issued { template, addresses: self.addresses.clone(), at: now, issued_at });
        Some(signed.into())
    }

    fn due_at(&self, issued: &Issued, template: &AdvertTemplate) -> Instant {
        let moved = issued.template.free_len.abs_diff(template.free_len);
        let same_but_free = AdvertTemplate { free_len: issued.template.free_len, ..template.clone() } == issued.template;
        let pause = if issued.addresses != self.addresses || !same_but_free || moved > template.total_len / MINOR_PART {
            ISSUE_PAUSE
        } else if moved > 0 {
            MINOR_PAUSE
        } else {
            RENEW
        };
        issued.at + pause
    }
}

/// Peers refuse an advert whose texts are too long, so they are cut here.
fn cut(text: &mut String, len_max: usize) {
    text.truncate(text.floor_char_boundary(len_max));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advert_is_issued_when_it_changes_and_renewed_long_before_it_expires() {
        let key = NodeKey::from_secret([1; 32]);
        let mut own = OwnAdvert::new(key);
        let (start, wall) = (Instant::now(), UnixMs(1_000_000));
        let region = "é".repeat(REGION_LEN_MAX);
        let template = AdvertTemplate { free_len: 6400, total_len: 6400, region, accepting: true, ..AdvertTemplate::default() };
        assert!(own.due(start, wall).is_none(), "nothing to say yet");
        own.set_template(template.clone());
        assert!(own.due(start, wall).is_none(), "no address yet");
        own.set_addresses(vec!["/ip4/127.0.0.1/tcp/1".parse().expect("a multiaddr")]);
        assert!(own.due(start, wall).is_some());
        assert!(own.due(start + ISSUE_PAUSE, wall).is_none(), "nothing changed");
        own.set_template(AdvertTemplate { free_len: 6390, ..template.clone() });
        assert!(own.due(start + ISSUE_PAUSE, wall).is_none(), "a small change waits");
        own.set_template(AdvertTemplate { accepting: false, ..template.clone() });
        assert!(own.due(start + ISSUE_PAUSE / 2, wall).is_none(), "not too often");
        assert!(own.due(start + ISSUE_PAUSE, wall).is_some(), "a great change does not wait");
        let renewed = own.due(start + ISSUE_PAUSE + RENEW, UnixMs(0)).expect("renewed");
        let advert = Advert::verify(&renewed, wall).expect("a good advert");
        assert!(advert.issued_at > wall, "newer than the one before, although the clock went back");
        const { assert!(RENEW.as_millis() < (LIFE_MS / 2) as u128) };
    }
}
