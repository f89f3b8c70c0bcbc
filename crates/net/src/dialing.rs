//! Dialling: one dial per peer at a time, TCP first, then QUIC; failures make a pause, news ends it.
//!
//! TCP goes first because it moved 850–1,170 MB/s where QUIC moved 550–610 on the same machine; QUIC gets its turn when
//! TCP fails or after [`HEAD_START`], so a host behind a firewall that only lets UDP through costs that much once.
//! Never: two dials of one peer by this node. Limits: [`DIALS_MAX`] in the background, [`LOOKUPS_MAX`].

use std::time::Duration;

use cairn_types::{NodeId, UnixMs};
use libp2p::core::transport::TransportError as DialTransportError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::address::{dialable, dialable_all, node_of, peer_of};
use crate::engine::Engine;
use crate::peers::{ConnectReply, Dial, Peer, WAITING_MAX};
use crate::publish::LIFE_MS;

const HEAD_START: Duration = Duration::from_millis(300);
/// Dials that nobody waits for.
pub(crate) const DIALS_MAX: usize = 32;
const LOOKUPS_MAX: usize = 64;
/// A peer that failed this often in a row leaves the routing table.
const FAILURES_OF_DHT_PEER: u32 = 3;
/// Pause before a walk or a renewal dials the same peer again.
pub(crate) const BACKGROUND_PAUSE: Duration = Duration::from_secs(60);

impl Engine {
    /// Answers a caller that wants a connection: at once if there is one or the pause after a failure is not over.
    pub(crate) fn connect(&mut self, node: NodeId, reply: ConnectReply, now: Instant) {
        if node == self.settings.node {
            let _ = reply.send(Err("that is this node itself".to_owned()));
            return;
        }
        if self.exchange.links.has(node) {
            let _ = reply.send(Ok(()));
            return;
        }
        let adverts = &self.adverts;
        let Some(peer) = self.peers.entry(node, |node| adverts.get(node).is_some()) else {
            let _ = reply.send(Err("too many peers".to_owned()));
            return;
        };
        if let Some(failure) = peer.failure.as_ref().filter(|failure| peer.dial.is_none() && failure.retry_at > now) {
            let _ = reply.send(Err(failure.reason.clone()));
        } else if peer.waiting.len() >= WAITING_MAX {
            let _ = reply.send(Err("too many callers wait for this peer".to_owned()));
        } else {
            peer.waiting.push(reply);
            self.dial(node, now);
        }
    }

    /// Begins a dial unless one is under way.
    pub(crate) fn dial(&mut self, node: NodeId, now: Instant) {
        let Some(peer) = self.peers.get(node) else { return };
        if peer.dial.is_some() {
            return;
        }
        let (mut first, mut fallback) = peer.by_transport();
        if first.is_empty() {
            std::mem::swap(&mut first, &mut fallback);
        }
        if first.is_empty() {
            self.look_up(node, now);
            return;
        }
        let attempt = self.attempt(node, first);
        let Some(peer) = self.peers.get_mut(node) else { return };
        match attempt {
            Ok(attempt) => peer.dial = Some(Dial { attempts: vec![attempt], fallback, fallback_at: now + HEAD_START }),
            Err(error) => self.on_attempt_refused(node, &error, now),
        }
    }

    fn attempt(&mut self, node: NodeId, addresses: Vec<Multiaddr>) -> Result<ConnectionId, DialError> {
        let dial = DialOpts::peer_id(peer_of(node)).condition(PeerCondition::Always).addresses(addresses);
        let dial = dial.allocate_new_port().build();
        let attempt = dial.connection_id();
        self.swarm.dial(dial).map(|()| attempt)
    }

    /// The swarm did not even try.
    fn on_attempt_refused(&mut self, node: NodeId, error: &DialError, now: Instant) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        match error {
            DialError::Denied { .. } => peer.give_up("this node has too many connections"),
            error => peer.fail(describe(error), now),
        }
        self.providers_changed = true;
    }

    /// Dials whoever answers at an address.
    pub(crate) fn dial_address(&mut self, address: Multiaddr, peer: Option<PeerId>, reply: oneshot::Sender<Result<(), String>>) {
        if self.dials_by_address.len() >= DIALS_MAX {
            let _ = reply.send(Err("too many dials".to_owned()));
            return;
        }
        let dial = match peer {
            Some(peer) => {
                DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).allocate_new_port().build()
            }
            None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
        };
        let attempt = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => drop(self.dials_by_address.insert(attempt, reply)),
            Err(error) => drop(reply.send(Err(describe(&error)))),
        }
    }

    pub(crate) fn on_dial_failed(&mut self, attempt: ConnectionId, peer_id: Option<PeerId>, error: &DialError, now: Instant) {
        if let Some(reply) = self.dials_by_address.remove(&attempt) {
            let _ = reply.send(Err(describe(error)));
        }
        let Some(node) = peer_id.as_ref().and_then(node_of) else {
            tracing::debug!(error = %describe(error), "dial failed");
            return;
        };
        if let DialError::WrongPeerId { address, .. } | DialError::LocalPeerId { address } = error {
            self.forget_address(node, address);
        }
        let provider = self.adverts.get(node).is_some();
        let Some(peer) = self.peers.get_mut(node) else { return };
        let own = peer.dial.as_mut().is_some_and(|dial| {
            let before = dial.attempts.len();
            dial.attempts.retain(|id| *id != attempt);
            dial.attempts.len() != before
        });
        if !own {
            self.on_dht_dial_failed(node, provider, now);
            return;
        }
        if peer.connected() {
            peer.succeed();
            return;
        }
        let Some(dial) = peer.dial.as_mut().filter(|dial| dial.attempts.is_empty()) else { return };
        let fallback = std::mem::take(&mut dial.fallback);
        if fallback.is_empty() {
            self.on_dial_given_up(node, error, now);
        } else {
            self.try_fallback(node, fallback, now);
        }
    }

    /// The DHT dialled with whatever addresses it had; for a provider it is worth to know for sure.
    fn on_dht_dial_failed(&mut self, node: NodeId, provider: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| !peer.connected()) else { return };
        peer.dht_failures = peer.dht_failures.saturating_add(1);
        let gone = peer.dht_failures >= FAILURES_OF_DHT_PEER;
        if provider && peer.may_dial(now) {
            self.dial(node, now);
        }
        if gone {
            self.swarm.behaviour_mut().kad.remove_peer(&peer_of(node));
        }
    }

    fn on_dial_given_up(&mut self, node: NodeId, error: &DialError, now: Instant) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        if matches!(error, DialError::Denied { .. }) {
            peer.give_up("this node has too many connections");
            return;
        }
        let reason = describe(error);
        tracing::debug!(%node, %reason, "peer not reachable");
        peer.fail(reason, now);
        let failures = peer.failure.as_ref().map_or(0, |failure| failure.count);
        let walked = peer.walked_at.is_some();
        if failures >= FAILURES_OF_DHT_PEER {
            self.swarm.behaviour_mut().kad.remove_peer(&peer_of(node));
        }
        if walked && failures == 1 && self.adverts.get(node).is_none() {
            // Others may hold its advert although it cannot be reached from here now.
            self.ask_dht(node);
        }
        self.providers_changed = true;
    }

    fn try_fallback(&mut self, node: NodeId, fallback: Vec<Multiaddr>, now: Instant) {
        let attempt = self.attempt(node, fallback);
        let Some(dial) = self.peers.get_mut(node).and_then(|peer| peer.dial.as_mut()) else { return };
        match attempt {
            Ok(attempt) => dial.attempts.push(attempt),
            Err(error) if dial.attempts.is_empty() => self.on_attempt_refused(node, &error, now),
            Err(error) => tracing::debug!(%node, error = %describe(&error), "second transport not dialled"),
        }
    }

    /// Gives the second transport its turn where the first one's head start is over.
    pub(crate) fn dial_fallbacks(&mut self, now: Instant) {
        let due = |peer: &Peer| peer.dial.as_ref().is_some_and(|dial| !dial.fallback.is_empty() && dial.fallback_at <= now);
        let nodes: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(node, _)| node).collect();
        for node in nodes {
            let dial = self.peers.get_mut(node).and_then(|peer| peer.dial.as_mut());
            if let Some(fallback) = dial.map(|dial| std::mem::take(&mut dial.fallback)) {
                self.try_fallback(node, fallback, now);
            }
        }
    }

    /// Keeps trying providers that could not be reached, and renews adverts that are half over.
    pub(crate) fn redial_providers(&mut self, now: Instant, wall: UnixMs) {
        let room = DIALS_MAX.saturating_sub(self.dials_under_way());
        let due = |peer: &Peer, half_over: bool| {
            let failing = peer.failure.is_some();
            let renew = half_over && peer.walked_at.is_none_or(|at| at + BACKGROUND_PAUSE <= now);
            !peer.connected() && peer.may_dial(now) && (failing || renew)
        };
        let providers = self.adverts.iter().map(|advert| (advert.node, advert.valid_until.since_ms(wall) < LIFE_MS / 2));
        let nodes: Vec<NodeId> = providers
            .filter(|(node, half_over)| self.peers.get(*node).is_some_and(|peer| due(peer, *half_over)))
            .map(|(node, _)| node)
            .take(room)
            .collect();
        for node in nodes {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.walked_at = Some(now);
            }
            self.dial(node, now);
        }
    }

    pub(crate) fn dials_under_way(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| peer.dial.is_some()).count()
    }

    /// Asks the DHT where a peer is of which no address is known.
    fn look_up(&mut self, node: NodeId, now: Instant) {
        if self.discovery.lookups() >= LOOKUPS_MAX {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.give_up("too many look-ups");
            }
            return;
        }
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(peer_of(node));
        self.discovery.looking_up(query, node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.dial = Some(Dial { attempts: Vec::new(), fallback: Vec::new(), fallback_at: now });
        }
    }

    /// The DHT answered; `addresses` is empty when nobody knows the peer.
    pub(crate) fn on_looked_up(&mut self, node: NodeId, addresses: &[Multiaddr], now: Instant) {
        let addresses = dialable_all(addresses, self.settings.private);
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.dial = None;
        if peer.connected() {
            peer.succeed();
        } else if addresses.is_empty() {
            peer.fail("nobody knows an address of it".to_owned(), now);
            self.providers_changed = true;
        } else {
            peer.learn(&addresses, false);
            self.dial(node, now);
        }
    }

    /// Another node answers at this address, so it is not the peer's.
    fn forget_address(&mut self, node: NodeId, address: &Multiaddr) {
        let Some(address) = dialable(address, false) else { return };
        if let Some(peer) = self.peers.get_mut(node) {
            peer.addresses.retain(|known| *known != address);
        }
        self.swarm.behaviour_mut().kad.remove_address(&peer_of(node), &address);
    }
}

/// One line for people: the first address's error, without the nesting libp2p wraps it in.
pub(crate) fn describe(error: &DialError) -> String {
    match error {
        DialError::Transport(errors) => match errors.first() {
            Some((address, DialTransportError::Other(error))) => match crate::error::io_kind(error) {
                Some(std::io::ErrorKind::ConnectionRefused) => format!("{address}: connection refused"),
                Some(std::io::ErrorKind::Other) | None => format!("{address}: {error}"),
                Some(kind) => format!("{address}: {kind}"),
            },
            Some((address, DialTransportError::MultiaddrNotSupported(_))) => format!("{address}: not a usable address"),
            None => "no address could be dialled".to_owned(),
        },
        DialError::WrongPeerId { address, obtained } => format!("{address}: another node ({obtained}) answers there"),
        DialError::LocalPeerId { address } => format!("{address}: that is this node itself"),
        DialError::NoAddresses => "no address known".to_owned(),
        DialError::Denied { cause } => format!("not allowed: {cause}"),
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => "dial given up".to_owned(),
    }
}
