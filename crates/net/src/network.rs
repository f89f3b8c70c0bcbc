//! The network as the rest of the node sees it: [`start`], [`Network`], [`Incoming`].
//!
//! Never: a DHT look-up to open a stream to a peer whose address is known; a call without a deadline.
//! Limits: [`OPEN_DEADLINE_MS`], [`LISTEN_DEADLINE`].

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::transport::BoxStream;
use cairn_proto::{Advert, SHARD_PROTOCOL, Transport, TransportError};
use cairn_types::{Clock, NodeId};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, swarm};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::address::{Kind, dialable, host_name, ip_of, node_of, parse, split_peer, transport_of};
use crate::advert_exchange::Exchange;
use crate::behaviour::{Behaviour, BehaviourEvent, kad_protocol};
use crate::config::NetConfig;
use crate::discovery::resolve;
use crate::engine::{COMMANDS_MAX, Command, Engine, Settings};
use crate::error::{NetError, io_kind};
use crate::publish::{AdvertTemplate, OwnAdvert};
use crate::snapshots::Outlets;
use crate::status::NetStatus;
use crate::streams::{InboundStream, Links, OpenError, SHARD};
use crate::transport;

/// Longest time [`Transport::open`] takes.
const OPEN_DEADLINE_MS: u64 = 10_000;
const DIAL_DEADLINE_MS: u64 = 15_000;
const LISTEN_DEADLINE: Duration = Duration::from_secs(5);
/// Connections are kept this long without a stream: providers stay connected to clients that come back.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Inbound streams of one connection whose protocol is being negotiated.
const NEGOTIATING_MAX: usize = 256;
/// A connection may die between the look and the open; then the peer is dialled and the open repeated.
const OPEN_ATTEMPTS: usize = 3;

/// A handle to this node's network; clones are cheap and share it.
#[derive(Clone)]
pub struct Network {
    node: NodeId,
    private: bool,
    links: Arc<Links>,
    commands: mpsc::Sender<Command>,
    providers: watch::Receiver<Arc<Vec<Advert>>>,
    status: watch::Receiver<Arc<NetStatus>>,
}

/// Streams that peers open to this provider.
pub struct Incoming {
    streams: mpsc::Receiver<(NodeId, InboundStream)>,
}

impl Incoming {
    /// The next stream of [`SHARD_PROTOCOL`] and who opened it; `None` when the network is shut down.
    ///
    /// At most [`crate::ConnectionLimits::streams_total`] are open at once; a permit is held until the stream is dropped.
    pub async fn next(&mut self) -> Option<(NodeId, BoxStream)> {
        let (node, stream) = self.streams.recv().await?;
        Some((node, Box::new(stream)))
    }
}

/// Starts the network: listens, then spawns the engine on the current tokio runtime.
///
/// # Errors
/// [`NetError`]: a wrong address or network id, an address in use, mDNS unavailable. Unreachable bootstrap nodes are not
/// errors; they are tried again for ever.
pub async fn start(config: NetConfig, clock: Arc<dyn Clock>) -> Result<(Network, Incoming), NetError> {
    let settings = settings(&config)?;
    let key = Keypair::ed25519_from_bytes(*config.key.secret()).map_err(|error| NetError::Transport(error.to_string()))?;
    let links = Arc::new(Links::default());
    let transport = transport::build(&key, config.psk)?;
    let (behaviour, inbound) = Behaviour::new(&config, &key, links.clone())?;
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        // The opener does not wait for the peer to confirm the protocol: one round trip less for each stream.
        .with_substream_upgrade_protocol_override(libp2p::core::upgrade::Version::V1Lazy);
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), swarm_config);
    let early = listen(&mut swarm, &config).await?;

    let (commands, commands_receiver) = mpsc::channel(COMMANDS_MAX);
    let (own_sender, own) = watch::channel(None);
    let (providers_sender, providers) = watch::channel(Arc::default());
    let node = settings.node;
    let empty = NetStatus {
        node,
        listen: Vec::new(),
        advertised: Vec::new(),
        private: settings.private,
        connected: Vec::new(),
        providers: Vec::new(),
        dht_peers: 0,
    };
    let (status_sender, status) = watch::channel(Arc::new(empty));
    let exchange = Exchange { links: links.clone(), clock, own, commands: commands.downgrade() };
    let outlets = Outlets { providers: providers_sender, status: status_sender, own_advert: own_sender };
    let network = Network { node, private: settings.private, links, commands, providers, status };
    let engine = Engine::new(swarm, settings, exchange.clone(), OwnAdvert::new(config.key.clone()), outlets);
    tokio::spawn(exchange.answer_all(inbound.advert));
    tokio::spawn(engine.run(commands_receiver, early));
    Ok((network, Incoming { streams: inbound.shard }))
}

fn settings(config: &NetConfig) -> Result<Settings, NetError> {
    let private = config.psk.is_some();
    let parse_all = |texts: &[String]| texts.iter().map(|text| parse(text, private)).collect::<Result<Vec<Multiaddr>, _>>();
    let bootstrap = parse_all(&config.bootstrap)?.into_iter().map(split_peer).collect::<Vec<_>>();
    let node = config.key.id();
    Ok(Settings {
        node,
        private,
        external: external(&config.external, private)?,
        // A list of bootstrap nodes that is the same everywhere names this node too.
        bootstrap: bootstrap.into_iter().filter(|(_, peer)| peer.as_ref().and_then(node_of) != Some(node)).collect(),
        address_book: config.address_book.clone(),
        discovery_interval: config.discovery_interval.max(Duration::from_secs(1)),
        kad_protocol: kad_protocol(&config.network_id)?,
    })
}

/// Peers dial what an advert says and look no names up, so an external address must be a number.
fn external(texts: &[String], private: bool) -> Result<Vec<Multiaddr>, NetError> {
    let numeric = |text: &String| {
        dialable(&parse(text, private)?, private).ok_or_else(|| NetError::BadAddress {
            text: text.clone(),
            reason: "an external address needs a numeric host and a port".to_owned(),
        })
    };
    texts.iter().map(numeric).collect()
}

/// Listens on every configured address and waits until each has told what it became; gives back whatever else happened
/// meanwhile (a peer may connect at once), for the engine.
async fn listen(swarm: &mut Swarm<Behaviour>, config: &NetConfig) -> Result<Vec<SwarmEvent<BehaviourEvent>>, NetError> {
    let mut waiting: Vec<(ListenerId, String)> = Vec::new();
    for text in &config.listen {
        let address = parse(text, config.psk.is_some())?;
        probe(&address, text)?;
        let listener = swarm.listen_on(address).map_err(|error| listen_error(text, &error))?;
        waiting.push((listener, text.clone()));
    }
    let addresses = async {
        let mut early = Vec::new();
        while let Some((_, text)) = waiting.first() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. } => waiting.retain(|(id, _)| *id != listener_id),
                SwarmEvent::ListenerClosed { reason: Err(error), .. } => return Err(listen_error(text, &error)),
                other => early.push(other),
            }
        }
        Ok(early)
    };
    match timeout(LISTEN_DEADLINE, addresses).await {
        Ok(result) => result,
        Err(_) => {
            let address = config.listen.join(", ");
            Err(NetError::Listen { address, reason: "the system named no address to listen on".to_owned() })
        }
    }
}

/// libp2p sets SO_REUSEPORT on its TCP listeners, so that two nodes can listen on one port and each get half of the
/// connections, and QUIC hides what the system said; this bind without either notices a port that is taken.
fn probe(address: &Multiaddr, text: &str) -> Result<(), NetError> {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    let (Some(kind), Some(ip), Some(port @ 1..)) = (transport_of(address), ip_of(address), port) else { return Ok(()) };
    let socket = SocketAddr::new(ip, port);
    let bound = match kind {
        Kind::Tcp => TcpListener::bind(socket).map(drop),
        Kind::Quic => UdpSocket::bind(socket).map(drop),
    };
    bound.map_err(|error| listen_error(text, &error))
}

fn listen_error(address: &str, error: &(dyn std::error::Error + 'static)) -> NetError {
    let address = address.to_owned();
    match io_kind(error) {
        Some(std::io::ErrorKind::AddrInUse) => NetError::AddressInUse { address },
        _ => NetError::Listen { address, reason: error.to_string() },
    }
}

impl Network {
    /// Addresses this node listens on, with the ports it really got.
    pub fn listen_addresses(&self) -> Vec<String> {
        self.status.borrow().listen.clone()
    }

    /// What is known of the network now; at most a few hundred milliseconds old.
    pub fn status(&self) -> NetStatus {
        self.status.borrow().as_ref().clone()
    }

    /// Says this of the provider from now on: addresses and times are filled in, the advert is signed, published, pushed to
    /// connected peers and renewed. Small changes of the free space wait up to 30 s.
    pub async fn set_advert(&self, template: AdvertTemplate) {
        // A closed channel means the network is shutting down: there is nobody to tell.
        let _ = self.commands.send(Command::SetAdvert(template)).await;
    }

    /// Dials an address and waits until the connection stands.
    ///
    /// # Errors
    /// [`NetError::BadAddress`], [`NetError::Unreachable`], [`NetError::TimedOut`], [`NetError::Closed`].
    pub async fn dial(&self, address: &str) -> Result<(), NetError> {
        let (mut target, peer) = split_peer(parse(address, self.private)?);
        if host_name(&target).is_some() {
            let unknown = || NetError::Unreachable { address: address.to_owned(), reason: "host not found".to_owned() };
            target = resolve(&target).await.into_iter().next().ok_or_else(unknown)?;
        }
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Dial { address: target, peer, reply }).await.map_err(|_| NetError::Closed)?;
        match timeout(Duration::from_millis(DIAL_DEADLINE_MS), answer).await {
            Ok(Ok(result)) => result.map_err(|reason| NetError::Unreachable { address: address.to_owned(), reason }),
            Ok(Err(_)) => Err(NetError::Closed),
            Err(_) => Err(NetError::TimedOut { what: format!("a connection to {address}"), ms: DIAL_DEADLINE_MS }),
        }
    }

    /// Walks the DHT once, now; the number of peers met.
    pub async fn discover(&self) -> usize {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Discover(reply)).await.is_err() {
            return 0;
        }
        answer.await.unwrap_or(0)
    }

    /// Waits until at least `count` reachable providers are known.
    ///
    /// # Errors
    /// [`NetError::TimedOut`] says how many are known; [`NetError::Closed`].
    pub async fn wait_for_providers(&self, count: usize, deadline: Duration) -> Result<(), NetError> {
        let mut providers = self.providers.clone();
        let enough = providers.wait_for(|providers| providers.len() >= count);
        match timeout(deadline, enough).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(NetError::Closed),
            Err(_) => Err(NetError::TimedOut {
                what: format!("{count} providers (known: {})", self.providers.borrow().len()),
                ms: deadline.as_millis().min(u128::from(u64::MAX)) as u64,
            }),
        }
    }

    /// Saves the address book, closes every connection and stops; other clones of this handle then give errors.
    pub async fn shutdown(self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Shutdown(reply)).await.is_ok() {
            // An error means the engine ended by itself, which is what was asked for.
            let _ = done.await;
        }
    }

    async fn open_now(&self, peer: NodeId) -> Result<BoxStream, TransportError> {
        let mut reason = "no connection".to_owned();
        for _ in 0..OPEN_ATTEMPTS {
            if let Some(link) = self.links.best(peer) {
                if !self.links.may_speak_shard(peer) {
                    return Err(TransportError::Unsupported { peer, protocol: SHARD_PROTOCOL });
                }
                match link.open(SHARD).await {
                    Ok(stream) => return Ok(Box::new(stream)),
                    Err(OpenError::Unsupported) => return Err(TransportError::Unsupported { peer, protocol: SHARD_PROTOCOL }),
                    Err(OpenError::Broken(error)) => reason = error,
                }
            }
            let (reply, answer) = oneshot::channel();
            self.commands.send(Command::Connect { node: peer, reply }).await.map_err(|_| TransportError::Closed)?;
            answer.await.map_err(|_| TransportError::Closed)?.map_err(|reason| TransportError::Unreachable { peer, reason })?;
        }
        Err(TransportError::Unreachable { peer, reason })
    }
}

impl Transport for Network {
    fn open(&self, peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        async move {
            timeout(Duration::from_millis(OPEN_DEADLINE_MS), self.open_now(peer))
                .await
                .unwrap_or(Err(TransportError::TimedOut { peer, ms: OPEN_DEADLINE_MS }))
        }
        .boxed()
    }

    fn providers(&self) -> Vec<Advert> {
        self.providers.borrow().as_ref().clone()
    }

    fn local(&self) -> NodeId {
        self.node
    }
}
