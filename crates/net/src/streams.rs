//! Streams: opens them on live connections and hands inbound ones over, as a libp2p behaviour of our own.
//!
//! Why not `libp2p-stream` (0.5.0-alpha): its accept queue holds one stream and drops the next (8 clients opening 100 each
//! at once lost 4 of 10); it keeps one channel per past connection for ever; it negotiates one stream per
//! connection at a time; it picks any connection of a peer, where we prefer TCP.
//! A link lives exactly as long as its connection's handler, so nothing has to be cleaned up.
//! Never: waits inside a handler. Limits: [`OPENS_WAITING_MAX`] per connection, the two inbound queues, and the stream
//! permits of [`ConnectionLimits`]; inbound streams beyond them are reset.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use cairn_proto::{ADVERT_PROTOCOL, SHARD_PROTOCOL};
use cairn_types::NodeId;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::address::{Kind, node_of, transport_of};
use crate::config::ConnectionLimits;

/// Opens waiting for one connection's handler; a further caller waits its turn.
const OPENS_WAITING_MAX: usize = 256;
/// Accepted shard streams that the owner of `Incoming` has not taken yet.
const SHARD_STREAMS_WAITING_MAX: usize = 1024;
/// Accepted advert streams that have not been answered yet.
const ADVERT_STREAMS_WAITING_MAX: usize = 256;
const NEGOTIATION: Duration = Duration::from_secs(10);

pub(crate) const SHARD: StreamProtocol = StreamProtocol::new(SHARD_PROTOCOL);
pub(crate) const ADVERT: StreamProtocol = StreamProtocol::new(ADVERT_PROTOCOL);

/// A stream that a peer opened; holds its permits until it is dropped.
pub(crate) struct InboundStream {
    stream: Stream,
    _permits: [OwnedSemaphorePermit; 2],
}

/// Why a live connection gave no stream.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The peer does not speak the protocol.
    Unsupported,
    /// The connection ended or the negotiation failed.
    Broken(String),
}

type Opened = oneshot::Sender<Result<Stream, OpenError>>;

struct OpenRequest {
    protocol: StreamProtocol,
    reply: Opened,
}

/// The live connections of this node, by peer.
#[derive(Default)]
pub(crate) struct Links {
    by_node: Mutex<HashMap<NodeId, PeerLinks>>,
}

#[derive(Default)]
struct PeerLinks {
    links: Vec<Link>,
    /// From identify: with lazy negotiation an open succeeds before the peer has said whether it speaks the protocol.
    speaks_shard: Option<bool>,
}

/// One connection on which streams can be opened.
#[derive(Clone)]
pub(crate) struct Link {
    connection: ConnectionId,
    kind: Option<Kind>,
    requests: mpsc::Sender<OpenRequest>,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, PeerLinks>> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The best connection to a peer: TCP before QUIC, because it moves about 1.6 times the bytes per CPU second.
    pub(crate) fn best(&self, node: NodeId) -> Option<Link> {
        let by_node = self.lock();
        let links = &by_node.get(&node)?.links;
        links.iter().find(|link| link.kind == Some(Kind::Tcp)).or(links.first()).cloned()
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|peer| !peer.links.is_empty())
    }

    /// False only when the peer is known not to speak the shard protocol.
    pub(crate) fn may_speak_shard(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_none_or(|peer| peer.speaks_shard != Some(false))
    }

    pub(crate) fn set_speaks_shard(&self, node: NodeId, speaks: bool) {
        if let Some(peer) = self.lock().get_mut(&node) {
            peer.speaks_shard = Some(speaks);
        }
    }

    fn add(&self, node: NodeId, link: Link) {
        self.lock().entry(node).or_default().links.push(link);
    }

    fn remove(&self, node: NodeId, connection: ConnectionId) {
        let mut by_node = self.lock();
        if let Some(peer) = by_node.get_mut(&node) {
            peer.links.retain(|link| link.connection != connection);
            if peer.links.is_empty() {
                by_node.remove(&node);
            }
        }
    }
}

impl Link {
    /// Opens a stream; does not wait for the peer's word (lazy negotiation).
    pub(crate) async fn open(&self, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let ended = || OpenError::Broken("connection ended".to_owned());
        let (reply, opened) = oneshot::channel();
        self.requests.send(OpenRequest { protocol, reply }).await.map_err(|_| ended())?;
        opened.await.map_err(|_| ended())?
    }
}

/// Receiving ends of the inbound streams.
pub(crate) struct Inbound {
    pub(crate) shard: mpsc::Receiver<(NodeId, InboundStream)>,
    pub(crate) advert: mpsc::Receiver<(NodeId, InboundStream)>,
}

/// The behaviour.
pub(crate) struct Streams {
    links: Arc<Links>,
    accept: Accept,
    permits_per_connection: usize,
}

/// Where a handler puts inbound streams.
#[derive(Clone)]
struct Accept {
    /// Absent on nodes that store nothing: they do not announce the protocol.
    shard: Option<mpsc::Sender<(NodeId, InboundStream)>>,
    advert: mpsc::Sender<(NodeId, InboundStream)>,
    permits: Arc<Semaphore>,
}

impl Streams {
    pub(crate) fn new(links: Arc<Links>, limits: &ConnectionLimits, serves_shards: bool) -> (Streams, Inbound) {
        let (shard_sender, shard) = mpsc::channel(SHARD_STREAMS_WAITING_MAX);
        let (advert_sender, advert) = mpsc::channel(ADVERT_STREAMS_WAITING_MAX);
        let accept = Accept {
            shard: serves_shards.then_some(shard_sender),
            advert: advert_sender,
            permits: Arc::new(Semaphore::new(limits.streams_total)),
        };
        (Streams { links, accept, permits_per_connection: limits.streams_per_connection }, Inbound { shard, advert })
    }

    fn handler(&self, connection: ConnectionId, peer: PeerId, address: &Multiaddr) -> Result<Handler, ConnectionDenied> {
        let node = node_of(&peer).ok_or_else(|| ConnectionDenied::new("only ed25519 peers are nodes"))?;
        let (sender, requests) = mpsc::channel(OPENS_WAITING_MAX);
        self.links.add(node, Link { connection, kind: transport_of(address), requests: sender });
        Ok(Handler {
            node,
            connection,
            links: self.links.clone(),
            requests,
            accept: self.accept.clone(),
            permits: Arc::new(Semaphore::new(self.permits_per_connection)),
        })
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler(connection, peer, address)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // The handler's drop does this too, a little later; until then a caller would be sent to a dead connection.
        if let FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) = event
            && let Some(node) = node_of(&peer_id)
        {
            self.links.remove(node, connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// One connection's end of the behaviour.
pub(crate) struct Handler {
    node: NodeId,
    connection: ConnectionId,
    links: Arc<Links>,
    requests: mpsc::Receiver<OpenRequest>,
    accept: Accept,
    permits: Arc<Semaphore>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.links.remove(self.node, self.connection);
    }
}

impl Handler {
    fn accept(&self, stream: Stream, protocol: &StreamProtocol) {
        let permits = self.accept.permits.clone().try_acquire_owned().and_then(|all| {
            let own = self.permits.clone().try_acquire_owned()?;
            Ok([all, own])
        });
        let Ok(permits) = permits else {
            tracing::debug!(node = %self.node, %protocol, "inbound stream reset: too many are open");
            return;
        };
        let queue = if *protocol == ADVERT { Some(&self.accept.advert) } else { self.accept.shard.as_ref() };
        let accepted =
            queue.is_some_and(|queue| queue.try_send((self.node, InboundStream { stream, _permits: permits })).is_ok());
        if !accepted {
            tracing::debug!(node = %self.node, %protocol, "inbound stream reset: too many wait to be taken");
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Negotiate;
    type OutboundProtocol = Negotiate;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Negotiate> {
        SubstreamProtocol::new(if self.accept.shard.is_some() { Negotiate::Either } else { Negotiate::One(ADVERT) }, ())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Negotiate, Opened, Infallible>> {
        while let Poll::Ready(Some(OpenRequest { protocol, reply })) = self.requests.poll_recv(cx) {
            if !reply.is_closed() {
                let protocol = SubstreamProtocol::new(Negotiate::One(protocol), reply).with_timeout(NEGOTIATION);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Negotiate, Negotiate, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, protocol), .. }) => {
                self.accept(stream, &protocol);
            }
            // A caller that gave up has dropped its receiver; the stream is then closed by being dropped here.
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, _), info: reply }) => {
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let _ = reply.send(Err(match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Timeout => OpenError::Broken("negotiation timed out".to_owned()),
                    StreamUpgradeError::Io(error) => OpenError::Broken(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            // Addresses and protocol sets are identify's concern; a failed inbound negotiation leaves no stream.
            _ => {}
        }
    }
}

/// Negotiates the name of a protocol and nothing else.
pub(crate) enum Negotiate {
    One(StreamProtocol),
    Either,
}

impl UpgradeInfo for Negotiate {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Flatten<std::array::IntoIter<Option<StreamProtocol>, 2>>;

    fn protocol_info(&self) -> Self::InfoIter {
        match self {
            Negotiate::One(protocol) => [Some(protocol.clone()), None].into_iter().flatten(),
            Negotiate::Either => [Some(SHARD), Some(ADVERT)].into_iter().flatten(),
        }
    }
}

impl InboundUpgrade<Stream> for Negotiate {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Negotiate {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl AsyncRead for InboundStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for InboundStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
