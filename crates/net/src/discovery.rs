//! Discovery: bootstrap, address book, random walks of the DHT, and adverts as DHT records.
//!
//! A walk looks up a random key; every peer met on the way whose advert is not held is dialled, and adverts are exchanged
//! once it has identified itself. Walks come every second while they find something and slow down to the configured pause.
//! Never: believe a record that was not checked. Limits: [`QUERIES_MAX`], [`DIALS_MAX`], one walk at a time by the clock.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cairn_types::NodeId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, QueryId, QueryResult, Quorum, Record};
use libp2p::{Multiaddr, PeerId};
use tokio::net::lookup_host;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::address::{dialable_all, host_name, node_of, split_peer, with_ip};
use crate::adverts::{Verified, record_key, verify_record};
use crate::book;
use crate::dialing::{BACKGROUND_PAUSE, DIALS_MAX};
use crate::engine::{Command, Engine};
use crate::publish::LIFE_MS;

const QUERIES_MAX: usize = 256;
const WALK_PAUSE_MIN: Duration = Duration::from_secs(1);
/// While fewer providers are known, walks pause at most [`WALK_PAUSE_FEW`].
const FEW_PROVIDERS: usize = 8;
const WALK_PAUSE_FEW: Duration = Duration::from_secs(5);
const LONELY_PAUSE_MIN: Duration = Duration::from_secs(1);
const LONELY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Bootstrap nodes that are not connected are tried this often although there are other peers.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(300);
const PUT_AGAIN: Duration = Duration::from_secs(5);
const SWEEP_PAUSE: Duration = Duration::from_secs(60);
/// Numeric addresses taken from one host name.
const HOST_ADDRESSES_MAX: usize = 4;

/// What a DHT query is for.
enum Query {
    Walk(Option<oneshot::Sender<usize>>),
    Find(NodeId),
    Advert,
    Put,
}

/// When to do what next.
pub(crate) struct Discovery {
    queries: HashMap<QueryId, Query>,
    walking: bool,
    walk_at: Instant,
    walk_pause: Duration,
    found: bool,
    walked: bool,
    lonely_at: Instant,
    lonely_pause: Duration,
    bootstrap_at: Instant,
    put_again_at: Option<Instant>,
    sweep_at: Instant,
}

impl Discovery {
    pub(crate) fn new(now: Instant) -> Discovery {
        Discovery {
            queries: HashMap::new(),
            walking: false,
            walk_at: now,
            walk_pause: WALK_PAUSE_MIN,
            found: false,
            walked: false,
            lonely_at: now,
            lonely_pause: LONELY_PAUSE_MIN,
            bootstrap_at: now + BOOTSTRAP_PAUSE,
            put_again_at: None,
            sweep_at: now + SWEEP_PAUSE,
        }
    }

    /// Something new was learned, so walking on quickly is worth it.
    pub(crate) fn found_something(&mut self) {
        self.found = true;
    }

    pub(crate) fn lookups(&self) -> usize {
        self.queries.values().filter(|query| matches!(query, Query::Find(_))).count()
    }

    pub(crate) fn looking_up(&mut self, query: QueryId, node: NodeId) {
        self.queries.insert(query, Query::Find(node));
    }
}

impl Engine {
    /// Fills the peer table from the address book and begins to dial.
    pub(crate) fn begin_discovery(&mut self, now: Instant) {
        let book = self.settings.address_book.as_deref().map(|path| book::load(path, self.settings.private));
        for entry in book.into_iter().flatten() {
            if entry.node == self.settings.node {
                continue;
            }
            if let Some(peer) = self.peers.entry(entry.node, |_| false) {
                peer.learn(&entry.addresses, false);
                peer.seen_at = entry.seen_at_ms;
            }
        }
        self.dial_somebody(now);
    }

    /// Does what is due by the clock.
    pub(crate) fn discover(&mut self, now: Instant) {
        let lonely = self.peers.connected_count() == 0;
        if !lonely {
            self.discovery.lonely_pause = LONELY_PAUSE_MIN;
            self.discovery.lonely_at = now + LONELY_PAUSE_MIN;
        } else if self.discovery.lonely_at <= now {
            self.discovery.lonely_at = now + self.discovery.lonely_pause;
            self.discovery.lonely_pause = (self.discovery.lonely_pause * 2).min(LONELY_PAUSE_MAX);
            self.dial_somebody(now);
        }
        if self.discovery.bootstrap_at <= now {
            self.discovery.bootstrap_at = now + BOOTSTRAP_PAUSE;
            self.resolve_bootstrap(now);
        }
        if !lonely && !self.discovery.walking && self.discovery.walk_at <= now {
            self.walk(None);
        }
        if self.discovery.sweep_at <= now {
            self.discovery.sweep_at = now + SWEEP_PAUSE;
            let instant = std::time::Instant::now();
            self.swarm.behaviour_mut().kad.store_mut().retain(|_, record| !record.is_expired(instant));
        }
    }

    /// Nobody is connected: dial the bootstrap nodes and those of the address book seen last.
    fn dial_somebody(&mut self, now: Instant) {
        self.resolve_bootstrap(now);
        let mut known: Vec<(u64, NodeId)> =
            self.peers.iter().filter(|(_, peer)| peer.may_dial(now)).map(|(node, peer)| (peer.seen_at.0, node)).collect();
        known.sort_unstable_by(|a, b| b.cmp(a));
        for (_, node) in known.into_iter().take(DIALS_MAX) {
            self.dial(node, now);
        }
    }

    /// Dials the bootstrap nodes, after looking up the host names among them.
    fn resolve_bootstrap(&mut self, now: Instant) {
        let (named, numeric): (Vec<_>, Vec<_>) =
            self.settings.bootstrap.clone().into_iter().partition(|(address, _)| host_name(address).is_some());
        self.dial_bootstrap(numeric, now);
        if named.is_empty() {
            return;
        }
        let commands = self.exchange.commands.clone();
        tokio::spawn(async move {
            let mut resolved = Vec::new();
            for (address, peer) in named {
                resolved.extend(resolve(&address).await.into_iter().map(|address| (address, peer)));
            }
            if let Some(commands) = commands.upgrade() {
                // The engine is gone only when the network shuts down.
                let _ = commands.send(Command::Resolved(resolved)).await;
            }
        });
    }

    pub(crate) fn dial_bootstrap(&mut self, addresses: Vec<(Multiaddr, Option<PeerId>)>, now: Instant) {
        for (address, peer) in addresses {
            match peer {
                Some(peer) => self.meet(peer, std::slice::from_ref(&address), now),
                None if self.connected_at(&address) => {}
                None => {
                    let (reply, _) = oneshot::channel();
                    self.dial_address(address, None, reply);
                }
            }
        }
    }

    fn connected_at(&self, address: &Multiaddr) -> bool {
        let there = |connected: &Multiaddr| split_peer(connected.clone()).0 == *address;
        self.peers.iter().any(|(_, peer)| peer.connections.iter().any(|(_, connected)| there(connected)))
    }

    /// Remembers where a peer is said to be and dials it if it is not connected.
    pub(crate) fn meet(&mut self, peer: PeerId, addresses: &[Multiaddr], now: Instant) {
        let Some(node) = node_of(&peer).filter(|node| *node != self.settings.node) else { return };
        let addresses = dialable_all(addresses, self.settings.private);
        let adverts = &self.adverts;
        let Some(entry) = self.peers.entry(node, |node| adverts.get(node).is_some()) else { return };
        entry.learn(&addresses, false);
        if !entry.connected() && entry.may_dial(now) {
            self.dial(node, now);
        }
    }

    /// Looks a random key up; the reply gets the number of peers met.
    pub(crate) fn walk(&mut self, reply: Option<oneshot::Sender<usize>>) {
        if self.discovery.queries.len() >= QUERIES_MAX {
            return;
        }
        let target: [u8; 32] = rand::random();
        let query = self.swarm.behaviour_mut().kad.get_closest_peers(target.to_vec());
        self.discovery.walking |= reply.is_none();
        self.discovery.queries.insert(query, Query::Walk(reply));
    }

    /// The routing table got its first entry: do not wait for the next walk.
    pub(crate) fn hasten_first_walk(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.discovery.walked, true) {
            self.discovery.walk_at = now;
            self.discovery.found = true;
        }
    }

    /// Asks the DHT for a peer's advert.
    pub(crate) fn ask_dht(&mut self, node: NodeId) {
        if self.discovery.queries.len() < QUERIES_MAX {
            let query = self.swarm.behaviour_mut().kad.get_record(kad::RecordKey::new(&record_key(node)));
            self.discovery.queries.insert(query, Query::Advert);
        }
    }

    /// Puts the own advert into the DHT.
    pub(crate) fn put_own(&mut self, signed: Bytes, now: Instant) {
        let record = Record {
            key: kad::RecordKey::new(&record_key(self.settings.node)),
            value: signed.to_vec(),
            publisher: None,
            expires: std::time::Instant::now().checked_add(Duration::from_millis(LIFE_MS)),
        };
        match self.swarm.behaviour_mut().kad.put_record(record, Quorum::One) {
            Ok(query) => {
                self.discovery.put_again_at = None;
                self.discovery.queries.insert(query, Query::Put);
            }
            Err(error) => {
                tracing::debug!(%error, "own advert not put into the DHT");
                self.discovery.put_again_at = Some(now + PUT_AGAIN);
            }
        }
    }

    /// Repeats a put that reached nobody.
    pub(crate) fn put_own_again(&mut self, now: Instant) {
        if self.discovery.put_again_at.is_some_and(|at| at <= now)
            && let Some(signed) = self.own_signed()
        {
            self.put_own(signed, now);
        }
    }

    pub(crate) fn on_kad_event(&mut self, event: kad::Event, now: Instant) {
        match event {
            kad::Event::InboundRequest { request: kad::InboundRequest::PutRecord { record: Some(record), .. } } => {
                self.on_record(record, now);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => self.on_query(id, result, step.last, now),
            // Requests that the behaviour answers by itself, provider records, which nobody here uses, and changes of the
            // routing table, which identify caused.
            _ => {}
        }
    }

    /// A peer asks this node to keep a record.
    fn on_record(&mut self, record: Record, now: Instant) {
        let wall = self.clock.now();
        match verify_record(record.key.as_ref(), &record.value, wall) {
            Ok(verified) => {
                let newer_held =
                    self.adverts.get(verified.advert.node).is_some_and(|held| held.issued_at > verified.advert.issued_at);
                if !newer_held {
                    self.keep_record(record, &verified);
                    self.take_advert(verified, now);
                }
            }
            Err(error) => tracing::debug!(%error, "record refused"),
        }
    }

    fn keep_record(&mut self, record: Record, verified: &Verified) {
        let left = verified.advert.valid_until.since_ms(self.clock.now());
        let expires = std::time::Instant::now().checked_add(Duration::from_millis(left));
        let record = Record { expires, publisher: None, ..record };
        if let Err(error) = self.swarm.behaviour_mut().kad.store_mut().put(record) {
            tracing::debug!(%error, "record not kept");
        }
    }

    fn on_query(&mut self, id: QueryId, result: QueryResult, last: bool, now: Instant) {
        match result {
            QueryResult::GetClosestPeers(result) => {
                let peers = match result {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                match self.discovery.queries.remove(&id) {
                    Some(Query::Walk(reply)) => self.on_walked(peers, reply, now),
                    Some(Query::Find(node)) => {
                        let found = peers.into_iter().find(|peer| node_of(&peer.peer_id) == Some(node));
                        self.on_looked_up(node, &found.map(|peer| peer.addrs).unwrap_or_default(), now);
                    }
                    Some(Query::Advert | Query::Put) | None => {}
                }
                return;
            }
            QueryResult::GetRecord(Ok(kad::GetRecordOk::FoundRecord(found))) => {
                match verify_record(found.record.key.as_ref(), &found.record.value, self.clock.now()) {
                    Ok(verified) => self.take_advert(verified, now),
                    Err(error) => tracing::debug!(%error, "record refused"),
                }
            }
            QueryResult::PutRecord(Err(error)) => {
                tracing::debug!(%error, "own advert reached no DHT peer yet");
                self.discovery.put_again_at = Some(now + PUT_AGAIN);
            }
            // Nothing else is asked, and an advert that nobody holds is no news.
            _ => {}
        }
        if last {
            self.discovery.queries.remove(&id);
        }
    }

    fn on_walked(&mut self, met: Vec<kad::PeerInfo>, reply: Option<oneshot::Sender<usize>>, now: Instant) {
        let count = met.len();
        let mut room = DIALS_MAX.saturating_sub(self.dials_under_way());
        for info in met {
            let Some(node) = node_of(&info.peer_id).filter(|node| *node != self.settings.node) else { continue };
            let known = self.adverts.get(node).is_some();
            let addresses = dialable_all(&info.addrs, self.settings.private);
            let adverts = &self.adverts;
            let Some(peer) = self.peers.entry(node, |node| adverts.get(node).is_some()) else { continue };
            if known || peer.connected() {
                continue;
            }
            peer.learn(&addresses, false);
            let fresh = peer.walked_at.is_none_or(|at| at + BACKGROUND_PAUSE <= now);
            if fresh && room > 0 && peer.may_dial(now) {
                peer.walked_at = Some(now);
                room -= 1;
                self.discovery.found = true;
                self.dial(node, now);
            }
        }
        match reply {
            Some(reply) => drop(reply.send(count)),
            None => self.plan_walk(now),
        }
    }

    fn plan_walk(&mut self, now: Instant) {
        let longest = self.settings.discovery_interval;
        let longest = if self.adverts.len() < FEW_PROVIDERS { longest.min(WALK_PAUSE_FEW) } else { longest };
        let pause = if std::mem::take(&mut self.discovery.found) { WALK_PAUSE_MIN } else { self.discovery.walk_pause * 2 };
        self.discovery.walk_pause = pause.min(longest);
        self.discovery.walk_at = now + self.discovery.walk_pause;
        self.discovery.walking = false;
    }
}

/// The numeric addresses behind a host name; none when it cannot be looked up now.
pub(crate) async fn resolve(address: &Multiaddr) -> Vec<Multiaddr> {
    let Some(name) = host_name(address) else { return Vec::new() };
    let only_v4 = matches!(address.iter().next(), Some(libp2p::multiaddr::Protocol::Dns4(_)));
    let only_v6 = matches!(address.iter().next(), Some(libp2p::multiaddr::Protocol::Dns6(_)));
    match lookup_host((name.as_str(), 0)).await {
        Ok(found) => found
            .map(|socket| socket.ip())
            .filter(|ip| !(only_v4 && ip.is_ipv6() || only_v6 && ip.is_ipv4()))
            .take(HOST_ADDRESSES_MAX)
            .map(|ip| with_ip(address, ip))
            .collect(),
        Err(error) => {
            tracing::warn!(%name, %error, "host not found");
            Vec::new()
        }
    }
}
