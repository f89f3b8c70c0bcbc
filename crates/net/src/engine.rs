//! The engine: the one task that owns the swarm. It awaits in `run` and decides in functions that do not.
//!
//! Commands come in over a bounded channel, answers go out as oneshots, and what others read often (providers, status)
//! is published as snapshots. Split by concern: `dialing`, `discovery`, `snapshots`, and here connections and adverts.
//! Never: an await outside `run`. Limits: [`COMMANDS_MAX`], [`ASKING_MAX`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_types::{Clock, NodeId};
use futures::StreamExt;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionError, ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, mdns, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::address::{advertised, dialable, dialable_all, node_of};
use crate::advert_exchange::Exchange;
use crate::adverts::{Adverts, Verified};
use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::discovery::Discovery;
use crate::peers::{ConnectReply, Peers};
use crate::publish::{AdvertTemplate, OwnAdvert};
use crate::snapshots::Outlets;
use crate::streams::SHARD;

/// Commands that wait for the engine; a further caller waits its turn.
pub(crate) const COMMANDS_MAX: usize = 1024;
/// Advert exchanges this node has begun and not finished.
const ASKING_MAX: usize = 64;
const TICK: Duration = Duration::from_millis(200);
/// Adverts are exchanged again after this; sooner when this node's own changes.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// The dialled side gives the dialler this long to begin the exchange.
const ASK_ANSWERING: Duration = Duration::from_secs(5);
const PINGS_LOST_MAX: u32 = 2;
const BOOK_PAUSE: Duration = Duration::from_secs(30);
const AGENT_LEN_MAX: usize = 64;

/// A way to the engine that does not keep it alive.
pub(crate) type Commands = mpsc::WeakSender<Command>;

/// What the engine is asked to do.
pub(crate) enum Command {
    /// Have a connection to a peer.
    Connect { node: NodeId, reply: ConnectReply },
    /// Dial an address, whoever answers there.
    Dial { address: Multiaddr, peer: Option<PeerId>, reply: oneshot::Sender<Result<(), String>> },
    /// Bootstrap addresses whose host names were looked up.
    Resolved(Vec<(Multiaddr, Option<PeerId>)>),
    /// Say this of this provider from now on.
    SetAdvert(AdvertTemplate),
    /// Walk the DHT now; answers how many peers were met.
    Discover(oneshot::Sender<usize>),
    /// An exchange of adverts ended; `asked`: this node had begun it.
    Exchanged { node: NodeId, advert: Option<Verified>, asked: bool },
    /// The address book lies on disk, or could not be written.
    BookSaved,
    /// Save the book, close everything, answer.
    Shutdown(oneshot::Sender<()>),
}

/// What does not change while the engine runs.
pub(crate) struct Settings {
    pub(crate) node: NodeId,
    pub(crate) private: bool,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) bootstrap: Vec<(Multiaddr, Option<PeerId>)>,
    pub(crate) address_book: Option<PathBuf>,
    pub(crate) discovery_interval: Duration,
    pub(crate) kad_protocol: StreamProtocol,
}

/// The state.
pub(crate) struct Engine {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) exchange: Exchange,
    pub(crate) peers: Peers,
    pub(crate) adverts: Adverts,
    pub(crate) own: OwnAdvert,
    pub(crate) discovery: Discovery,
    pub(crate) dials_by_address: HashMap<ConnectionId, oneshot::Sender<Result<(), String>>>,
    pub(crate) providers_changed: bool,
    pub(crate) outlets: Outlets,
    asking: usize,
    pub(crate) status_changed: bool,
    pub(crate) book_changed: bool,
    book_saving: Option<tokio::task::JoinHandle<()>>,
    book_due: Instant,
}

impl Engine {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        settings: Settings,
        exchange: Exchange,
        own: OwnAdvert,
        outlets: Outlets,
    ) -> Engine {
        let now = Instant::now();
        let mut engine = Engine {
            swarm,
            clock: exchange.clock.clone(),
            exchange,
            peers: Peers::default(),
            adverts: Adverts::new(settings.node),
            own,
            discovery: Discovery::new(now),
            dials_by_address: HashMap::new(),
            settings,
            providers_changed: false,
            outlets,
            asking: 0,
            status_changed: true,
            book_changed: false,
            book_saving: None,
            book_due: now + BOOK_PAUSE,
        };
        engine.tell_addresses();
        engine.publish();
        engine
    }

    /// Runs until it is told to stop or nobody is left to tell it anything; `early` happened before it began.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, early: Vec<SwarmEvent<BehaviourEvent>>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for event in early {
            self.on_event(event, Instant::now());
        }
        self.begin_discovery(Instant::now());
        let stopped = loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Shutdown(reply)) => break Some(reply),
                    Some(command) => self.apply(command, Instant::now()),
                    None => break None,
                },
                _ = tick.tick() => self.on_tick(Instant::now()),
                event = self.swarm.select_next_some() => self.on_event(event, Instant::now()),
            }
            if self.providers_changed {
                self.publish_providers();
            }
        };
        if let Some(saving) = self.book_saving.take() {
            // Whether it succeeded was logged where it happened; the book is written once more below.
            let _ = saving.await;
        }
        if let Some(saving) = self.save_book() {
            let _ = saving.await;
        }
        drop(self);
        if let Some(reply) = stopped {
            let _ = reply.send(());
        }
    }

    fn apply(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect { node, reply } => self.connect(node, reply, now),
            Command::Dial { address, peer, reply } => self.dial_address(address, peer, reply),
            Command::Resolved(addresses) => self.dial_bootstrap(addresses, now),
            Command::SetAdvert(template) => {
                self.own.set_template(template);
                self.publish_own(now);
            }
            Command::Discover(reply) => self.walk(Some(reply)),
            Command::Exchanged { node, advert, asked } => self.on_exchanged(node, advert, asked, now),
            Command::BookSaved => self.book_saving = None,
            // Taken out of the channel by `run`.
            Command::Shutdown(_) => {}
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>, now: Instant) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => self.tell_addresses(),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_disconnected(peer_id, connection_id, cause, now);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failed(connection_id, peer_id, &error, now);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(address = %send_back_addr, %error, "inbound connection failed");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => tracing::warn!(?addresses, ?reason, "listener closed"),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener failed"),
            // Announcements of what this engine itself began, and candidates that nobody has confirmed.
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => self.on_identified(peer_id, info, now),
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Ping(event) => self.on_pinged(event),
            BehaviourEvent::Kad(event) => self.on_kad_event(event, now),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.meet(peer, &[address], now);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
            BehaviourEvent::Streams(never) => match never {},
            BehaviourEvent::Limits(never) => match never {},
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint, now: Instant) {
        if let Some(reply) = self.dials_by_address.remove(&connection) {
            let _ = reply.send(Ok(()));
        }
        let Some(node) = node_of(&peer) else { return };
        let seen_at = self.clock.now();
        let private = self.settings.private;
        let adverts = &self.adverts;
        let Some(entry) = self.peers.entry(node, |node| adverts.get(node).is_some()) else {
            // Every remembered peer is busy or a provider; without an entry the connection could not be looked after.
            self.swarm.close_connection(connection);
            return;
        };
        let first = !entry.connected();
        entry.connections.push((connection, endpoint.get_remote_address().clone()));
        entry.seen_at = seen_at;
        if let Some(address) = dialable(endpoint.get_remote_address(), private).filter(|_| endpoint.is_dialer()) {
            entry.learn(&[address], true);
        }
        entry.succeed();
        if first {
            entry.pings_lost = 0;
            entry.ask_at = Some(if endpoint.is_dialer() { now } else { now + ASK_ANSWERING });
        }
        self.providers_changed |= self.adverts.get(node).is_some();
        self.status_changed = true;
        self.book_changed = true;
    }

    fn on_disconnected(&mut self, peer: PeerId, connection: ConnectionId, cause: Option<ConnectionError>, now: Instant) {
        let Some(node) = node_of(&peer) else { return };
        let Some(entry) = self.peers.get_mut(node) else { return };
        entry.connections.retain(|(id, _)| *id != connection);
        self.status_changed = true;
        if entry.connected() {
            return;
        }
        entry.rtt = None;
        entry.ours = None;
        // A provider that went away unasked is dialled at once: either it is back, or it is known to be gone.
        let idle = matches!(cause, Some(ConnectionError::KeepAliveTimeout));
        if !idle && self.adverts.get(node).is_some() {
            tracing::debug!(%node, ?cause, "lost the connection to a provider");
            self.dial(node, now);
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info, now: Instant) {
        let Some(node) = node_of(&peer) else { return };
        let ours = info.protocol_version == self.protocol_version();
        let serves_dht = info.protocols.contains(&self.settings.kad_protocol);
        self.exchange.links.set_speaks_shard(node, info.protocols.contains(&SHARD));
        let Some(entry) = self.peers.get_mut(node) else { return };
        entry.ours = Some(ours);
        if !ours {
            tracing::debug!(%node, version = %info.protocol_version.escape_debug(), "peer of another network disconnected");
            entry.addresses.clear();
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            // Gone already is as good as disconnected now.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        entry.learn(&dialable_all(&info.listen_addrs, self.settings.private), false);
        entry.agent = Some(info.agent_version.chars().filter(|c| !c.is_control()).take(AGENT_LEN_MAX).collect());
        if serves_dht {
            // The DHT dials all it has at once; offered both, QUIC would win the race and be slower afterwards.
            let (tcp, quic) = entry.by_transport();
            let table = &mut self.swarm.behaviour_mut().kad;
            for address in if tcp.is_empty() { quic } else { tcp } {
                table.add_address(&peer, address);
            }
            self.hasten_first_walk(now);
        }
        self.ask_due(now);
        self.status_changed = true;
    }

    fn on_pinged(&mut self, event: ping::Event) {
        let Some(entry) = node_of(&event.peer).and_then(|node| self.peers.get_mut(node)) else { return };
        match event.result {
            Ok(rtt) => {
                entry.rtt = Some(rtt);
                entry.pings_lost = 0;
                self.status_changed = true;
            }
            Err(ping::Failure::Unsupported) => {}
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                entry.pings_lost += 1;
                // One may be lost behind bulk data on a slow line; two in a row are a dead connection.
                if entry.pings_lost >= PINGS_LOST_MAX {
                    entry.pings_lost = 0;
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn on_exchanged(&mut self, node: NodeId, advert: Option<Verified>, asked: bool, now: Instant) {
        if asked {
            self.asking = self.asking.saturating_sub(1);
        }
        let Some(entry) = self.peers.get_mut(node) else { return };
        match entry.ours {
            Some(true) => entry.ask_at = Some(now + ASK_AGAIN),
            // It has not identified itself yet, so its network is unknown: ask when it has.
            None => {
                entry.ask_at = Some(now);
                return;
            }
            Some(false) => return,
        }
        if let Some(advert) = advert {
            self.take_advert(advert, now);
        }
    }

    /// Keeps a verified advert if it is news.
    pub(crate) fn take_advert(&mut self, verified: Verified, now: Instant) {
        let node = verified.advert.node;
        let addresses: Vec<Multiaddr> = verified.advert.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let addresses = dialable_all(&addresses, self.settings.private);
        let known = self.adverts.get(node).is_some();
        if let Err(error) = self.adverts.accept(verified) {
            tracing::trace!(%node, %error, "advert not taken");
            return;
        }
        let adverts = &self.adverts;
        if let Some(entry) = self.peers.entry(node, |node| adverts.get(node).is_some()) {
            entry.replace(addresses);
            // News from a provider that was unreachable: it may be back, so it is tried now.
            if let Some(failure) = &mut entry.failure {
                failure.retry_at = now;
            }
        }
        if !known {
            tracing::debug!(%node, "provider discovered");
            self.discovery.found_something();
        }
        self.providers_changed = true;
        self.status_changed = true;
        self.book_changed = true;
    }

    fn on_tick(&mut self, now: Instant) {
        let wall = self.clock.now();
        self.providers_changed |= self.adverts.expire(wall);
        self.dial_fallbacks(now);
        self.redial_providers(now, wall);
        self.publish_own(now);
        self.ask_due(now);
        self.discover(now);
        if self.book_changed && self.book_saving.is_none() && self.book_due <= now {
            self.book_due = now + BOOK_PAUSE;
            self.book_saving = self.save_book();
        }
        if self.status_changed {
            self.publish();
        }
    }

    /// Begins the exchanges that are due.
    fn ask_due(&mut self, now: Instant) {
        if self.asking >= ASKING_MAX {
            return;
        }
        let due =
            |peer: &crate::peers::Peer| peer.connected() && peer.ours == Some(true) && peer.ask_at.is_some_and(|at| at <= now);
        let nodes: Vec<NodeId> =
            self.peers.iter().filter(|(_, peer)| due(peer)).map(|(node, _)| node).take(ASKING_MAX - self.asking).collect();
        for node in nodes {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.ask_at = Some(now + ASK_AGAIN);
                self.asking += 1;
                tokio::spawn(self.exchange.clone().ask(node));
            }
        }
    }

    /// Issues the own advert if it is due, puts it into the DHT and lets every connected peer know.
    fn publish_own(&mut self, now: Instant) {
        let wall = self.clock.now();
        if let Some(signed) = self.own.due(now, wall) {
            self.outlets.own_advert.send_replace(Some(signed.clone()));
            self.put_own(signed, now);
            let connected: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| peer.connected()).map(|(node, _)| node).collect();
            for node in connected {
                if let Some(peer) = self.peers.get_mut(node) {
                    peer.ask_at = Some(now);
                }
            }
            self.ask_due(now);
        }
        self.put_own_again(now);
    }

    /// Tells the swarm and the own advert under which addresses this node is reached.
    fn tell_addresses(&mut self) {
        let listen: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let told = advertised(&listen, &self.settings.external);
        let before: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for address in before.iter().filter(|address| !told.contains(address)) {
            self.swarm.remove_external_address(address);
        }
        for address in told.iter().filter(|address| !before.contains(address)) {
            self.swarm.add_external_address(address.clone());
        }
        self.own.set_addresses(told);
        self.status_changed = true;
    }

    pub(crate) fn own_signed(&self) -> Option<Bytes> {
        self.outlets.own_advert.borrow().clone()
    }

    fn protocol_version(&self) -> String {
        crate::behaviour::identify_protocol(&self.settings.kad_protocol)
    }
}
