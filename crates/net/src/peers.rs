//! What is known of each peer: addresses, connections, the dial under way, the last failure and when to try again.
//!
//! Decides and keeps; it never dials. `now` is an argument.
//! Never: forget a connected peer. Limits: [`PEERS_MAX`] peers, [`PEER_ADDRESSES_MAX`] addresses each,
//! [`WAITING_MAX`] callers waiting for one dial.

use std::collections::HashMap;
use std::time::Duration;

use cairn_types::{NodeId, UnixMs};
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::address::{Kind, transport_of};
use crate::{PEER_ADDRESSES_MAX, PEERS_MAX};

/// Callers that wait for one dial; one more is told at once that there are too many.
pub(crate) const WAITING_MAX: usize = 4096;
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// A provider that was restarted is found within this, so it stays short for the first minutes.
const RETRY_SOON: Duration = Duration::from_secs(2);
const RETRY_SOON_TIMES: u32 = 60;
const RETRY_LATE: Duration = Duration::from_secs(10);

/// The answer to a caller that wants a connection: the reason when there is none.
pub(crate) type ConnectReply = oneshot::Sender<Result<(), String>>;

/// One peer.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Proven ones first.
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) connections: Vec<(ConnectionId, Multiaddr)>,
    pub(crate) dial: Option<Dial>,
    pub(crate) failure: Option<Failure>,
    pub(crate) waiting: Vec<ConnectReply>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) agent: Option<String>,
    /// Last time a connection to it stood; kept in the address book.
    pub(crate) seen_at: UnixMs,
    /// Whether it is of this network; `None` until it identified itself.
    pub(crate) ours: Option<bool>,
    /// When adverts are exchanged next.
    pub(crate) ask_at: Option<Instant>,
    /// Dials in a row that the DHT began and that failed.
    pub(crate) dht_failures: u32,
    /// Pings in a row that were not answered.
    pub(crate) pings_lost: u32,
    /// Last dial that discovery began, so that walks do not repeat it.
    pub(crate) walked_at: Option<Instant>,
}

/// A dial under way.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) attempts: Vec<ConnectionId>,
    /// Addresses that get their turn when the first ones fail or their head start is over.
    pub(crate) fallback: Vec<Multiaddr>,
    pub(crate) fallback_at: Instant,
}

/// The last dial failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) count: u32,
    pub(crate) retry_at: Instant,
    pub(crate) reason: String,
}

/// Pause after the `count`-th failure in a row.
pub(crate) fn back_off(count: u32) -> Duration {
    if count > RETRY_SOON_TIMES {
        return RETRY_LATE;
    }
    RETRY_FIRST.saturating_mul(1 << count.saturating_sub(1).min(8)).min(RETRY_SOON)
}

impl Peer {
    /// Adds addresses; `proven` ones go to the front. What exceeds the limit falls off the end.
    pub(crate) fn learn(&mut self, addresses: &[Multiaddr], proven: bool) {
        for address in addresses.iter().take(PEER_ADDRESSES_MAX) {
            match self.addresses.iter().position(|known| known == address) {
                Some(at) if proven => self.addresses[..=at].rotate_right(1),
                Some(_) => {}
                None if proven => self.addresses.insert(0, address.clone()),
                None => self.addresses.push(address.clone()),
            }
        }
        self.addresses.truncate(PEER_ADDRESSES_MAX);
    }

    /// Replaces unproven addresses by what the peer itself signed; the address that is in use stays in front.
    pub(crate) fn replace(&mut self, signed: Vec<Multiaddr>) {
        let proven = self.addresses.first().filter(|_| !self.connections.is_empty()).cloned();
        let proven = proven.filter(|proven| !signed.contains(proven));
        self.addresses = proven.into_iter().chain(signed).take(PEER_ADDRESSES_MAX).collect();
    }

    /// TCP addresses and the others, in order.
    pub(crate) fn by_transport(&self) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        self.addresses.iter().cloned().partition(|address| transport_of(address) == Some(Kind::Tcp))
    }

    pub(crate) fn connected(&self) -> bool {
        !self.connections.is_empty()
    }

    /// The address shown to people: that of a TCP connection if there is one.
    pub(crate) fn address_in_use(&self) -> Option<&Multiaddr> {
        let tcp = self.connections.iter().find(|(_, address)| transport_of(address) == Some(Kind::Tcp));
        tcp.or(self.connections.first()).map(|(_, address)| address)
    }

    /// Whether a dial may begin: none is under way and the pause after a failure is over.
    pub(crate) fn may_dial(&self, now: Instant) -> bool {
        self.dial.is_none() && self.failure.as_ref().is_none_or(|failure| failure.retry_at <= now)
    }

    pub(crate) fn fail(&mut self, reason: String, now: Instant) {
        let count = self.failure.as_ref().map_or(0, |failure| failure.count).saturating_add(1);
        self.dial = None;
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Err(reason.clone()));
        }
        self.failure = Some(Failure { count, retry_at: now + back_off(count), reason });
    }

    pub(crate) fn succeed(&mut self) {
        self.dial = None;
        self.failure = None;
        self.dht_failures = 0;
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Ends a dial that said nothing about the peer: waiting callers hear `reason`, no pause begins.
    pub(crate) fn give_up(&mut self, reason: &str) {
        self.dial = None;
        for reply in self.waiting.drain(..) {
            let _ = reply.send(Err(reason.to_owned()));
        }
    }

    fn idle(&self) -> bool {
        self.connections.is_empty() && self.dial.is_none() && self.waiting.is_empty()
    }
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_node: HashMap<NodeId, Peer>,
}

impl Peers {
    pub(crate) fn get(&self, node: NodeId) -> Option<&Peer> {
        self.by_node.get(&node)
    }

    pub(crate) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.by_node.get_mut(&node)
    }

    /// The peer's entry, made if need be; when the table is full the idle peer seen longest ago makes room.
    /// `keep` protects peers that matter for another reason (providers).
    pub(crate) fn entry(&mut self, node: NodeId, keep: impl Fn(NodeId) -> bool) -> Option<&mut Peer> {
        if !self.by_node.contains_key(&node) && self.by_node.len() >= PEERS_MAX {
            let idle = self.by_node.iter().filter(|(node, peer)| peer.idle() && !keep(**node));
            let oldest = idle.min_by_key(|(_, peer)| peer.seen_at).map(|(node, _)| *node)?;
            self.by_node.remove(&oldest);
        }
        Some(self.by_node.entry(node).or_default())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.by_node.iter().map(|(node, peer)| (*node, peer))
    }

    pub(crate) fn connected_count(&self) -> usize {
        self.by_node.values().filter(|peer| peer.connected()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("a multiaddr")
    }

    #[test]
    fn the_pause_grows_and_stays_bounded() {
        let pauses: Vec<u64> = (1..=5).map(|count| back_off(count).as_millis() as u64).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 2000]);
        assert_eq!(back_off(RETRY_SOON_TIMES), RETRY_SOON);
        assert_eq!(back_off(RETRY_SOON_TIMES + 1), RETRY_LATE);
        assert_eq!(back_off(u32::MAX), RETRY_LATE);
    }

    #[test]
    fn a_failed_peer_is_left_alone_until_its_pause_is_over_and_forgiven_on_success() {
        let (mut peer, now) = (Peer::default(), Instant::now());
        assert!(peer.may_dial(now));
        peer.fail("refused".into(), now);
        assert!(!peer.may_dial(now));
        assert!(peer.may_dial(now + RETRY_FIRST));
        peer.fail("refused".into(), now);
        assert!(!peer.may_dial(now + RETRY_FIRST));
        peer.succeed();
        assert!(peer.may_dial(now));
    }

    #[test]
    fn proven_addresses_come_first_and_old_ones_fall_off() {
        let mut peer = Peer::default();
        peer.learn(&[addr(1), addr(2)], false);
        peer.learn(&[addr(2)], true);
        assert_eq!(peer.addresses, [addr(2), addr(1)]);
        for port in 10..100 {
            peer.learn(&[addr(port)], false);
        }
        assert_eq!(peer.addresses.len(), PEER_ADDRESSES_MAX);
        assert_eq!(peer.addresses[0], addr(2));
        peer.learn(&[addr(500)], true);
        assert_eq!((peer.addresses.len(), &peer.addresses[0]), (PEER_ADDRESSES_MAX, &addr(500)));
    }

    #[test]
    fn strangers_cannot_fill_the_table_nor_push_providers_out() {
        let mut peers = Peers::default();
        let node = |n: usize| {
            let mut id = [0u8; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            NodeId(id)
        };
        for n in 0..PEERS_MAX + 100 {
            peers.entry(node(n), |kept| kept == node(0)).expect("an idle peer makes room").seen_at = UnixMs(n as u64);
        }
        assert_eq!(peers.iter().count(), PEERS_MAX);
        assert!(peers.get(node(0)).is_some(), "protected");
        assert!(peers.get(node(1)).is_none(), "seen longest ago");
        assert!(peers.get(node(PEERS_MAX + 99)).is_some());
    }
}
