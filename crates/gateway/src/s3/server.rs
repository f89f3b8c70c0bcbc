//! Server: HTTP/1.1 over TCP, and HTTP/1.1 and HTTP/2 over TLS, in front of the S3 service, with limits and an orderly end.
//!
//! Never: a socket without `TCP_NODELAY` (Nagle and delayed acknowledgements cost 40 ms a small GET), the S3 library without
//! its signature check. Limits: [`S3Config`].

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{HeaderValue, Uri, header};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use s3s::config::StaticConfigProvider;
use s3s::host::SingleDomain;
use s3s::service::S3ServiceBuilder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Mapper;
use super::auth::{Guard, Keys};
use super::cors::Cors;
use super::front::Front;
use super::stall::GuardedIo;
use super::sts::Sts;
use super::tls::{H2, Tls};
use crate::objects::Objects;
use crate::objects::limits;

/// Log directive that silences the S3 library: it calls each 404 an error. Our own lines carry the request id.
pub const LOG_DIRECTIVE: &str = "s3s=off";
/// Seconds a presigned URL may live: 7 days, as in S3.
pub(super) const PRESIGNED_SECS_MAX: u32 = 7 * 24 * 60 * 60;
/// Seconds a client's clock may differ from ours, as in S3.
const CLOCK_SKEW_SECS_MAX: u32 = 15 * 60;
/// Pause after an accept that failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub(super) SocketAddr);

/// Bytes a connection may hold in each direction.
const CONNECTION_BUFFER_LEN: usize = 256 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Bytes of one HTTP/2 request's body that may come unasked.
const STREAM_WINDOW_LEN: u32 = 1 << 20;
/// A peer of an HTTP/2 connection that is silent is asked whether it is there, and has as long again to answer.
const PING_EVERY: Duration = Duration::from_secs(30);

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Region clients sign for.
    pub region: String,
    /// Base domain of virtual-hosted buckets (`bucket.domain`); `None`: path style only.
    pub domain: Option<String>,
    /// Id of the account that owns every bucket and key.
    pub account: String,
    /// Longest signed chunk of an `aws-chunked` body in bytes; it is held in memory. 1 to 16 MiB.
    pub chunk_len_max: usize,
    /// Longest XML body of a request in bytes.
    pub xml_len_max: usize,
    /// Longest request line and headers in bytes.
    pub head_len_max: usize,
    /// Connections at once; more wait in the listen queue.
    pub connections_max: usize,
    /// A request's head must be complete within this time after the connection fell idle.
    pub head_timeout: Duration,
    /// A request body must go on within this time.
    pub body_idle: Duration,
    /// A client must take what we send within this time.
    pub write_idle: Duration,
    /// Time that requests in flight have to finish after shutdown began.
    pub drain: Duration,
    /// Certificate to speak TLS with; `None`: plain HTTP/1.1.
    pub tls: Option<Tls>,
}

impl Default for S3Config {
    fn default() -> S3Config {
        S3Config {
            region: "us-east-1".into(),
            domain: None,
            account: "cairn".into(),
            chunk_len_max: 4 << 20,
            xml_len_max: 8 << 20,
            head_len_max: 32 << 10,
            connections_max: 1024,
            head_timeout: Duration::from_secs(30),
            body_idle: Duration::from_secs(60),
            write_idle: Duration::from_secs(60),
            drain: Duration::from_secs(8),
            tls: None,
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Not usable as a region.
    #[error("the region {0:?} is not valid: use lower-case letters, digits and dashes")]
    Region(String),
    /// Not usable as a base domain.
    #[error("the domain {0:?} is not valid")]
    Domain(String),
    /// Outside its bounds.
    #[error("the chunk limit is {0} bytes; choose 1 to 16 MiB")]
    ChunkLen(usize),
    /// Outside its bounds.
    #[error("the head limit is {0} bytes; choose at least 8 KiB")]
    HeadLen(usize),
    /// There is nothing to listen on.
    #[error("no listener was given")]
    NoListener,
}

/// The S3 service as an axum router, to be merged with other routes: S3 is its fallback.
///
/// # Errors
/// [`ServeError`] for a configuration that is not valid.
pub fn router(objects: Objects, config: &S3Config) -> Result<Router, ServeError> {
    let region = s3s::region::Region::new(config.region.clone().into()).map_err(|_| ServeError::Region(config.region.clone()))?;
    if !(1 << 20..=16 << 20).contains(&config.chunk_len_max) {
        return Err(ServeError::ChunkLen(config.chunk_len_max));
    }
    let mut library = s3s::config::S3Config::default();
    library.expected_region = Some(region);
    library.sig_v4_allowed_services = vec!["s3".into(), "sts".into()]; // each only for its own: see the guard
    library.enable_sig_v2 = true; // for forms alone: the front refuses it elsewhere
    library.presigned_url_max_expires_secs = PRESIGNED_SECS_MAX;
    library.presigned_url_max_skew_time_secs = CLOCK_SKEW_SECS_MAX;
    library.aws_chunked_stream_max_chunk_size = config.chunk_len_max;
    library.xml_max_body_size = config.xml_len_max;
    library.put_object_max_size = Some(limits::PUT_LEN_MAX);
    // forms have a length (see the front), so that their files stream
    library.post_object_max_file_size = limits::PUT_LEN_MAX;
    library.form_max_field_size = 64 << 10;
    library.form_max_fields_size = 256 << 10;
    library.form_max_parts = 64;

    let mut builder = S3ServiceBuilder::new(Mapper::new(objects.clone(), config));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(library))));
    builder.set_auth(Keys { objects: objects.clone() });
    builder.set_route(Sts { objects: objects.clone(), account: config.account.clone() });
    builder.set_access(Guard { objects: objects.clone(), account: config.account.clone() });
    if let Some(domain) = &config.domain {
        let host = SingleDomain::new(domain).map_err(|_| ServeError::Domain(domain.clone()))?;
        builder.set_host(host.with_cname_fallback(false));
    }
    let region = HeaderValue::try_from(&config.region).map_err(|_| ServeError::Region(config.region.clone()))?;
    let cors = Cors { objects, domain: config.domain.clone() };
    Ok(Router::new().fallback_service(Front::new(builder.build(), region, config.body_idle, cors)))
}

/// Serves S3 until `shutdown` is cancelled: then nothing new is accepted and what is in flight has [`S3Config::drain`] to end.
///
/// # Errors
/// [`ServeError`] for a configuration that is not valid; a failing connection or accept is logged and survived.
pub async fn serve(
    listeners: Vec<TcpListener>,
    objects: Objects,
    config: S3Config,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let router = router(objects, &config)?;
    serve_router(listeners, router, config, shutdown).await
}

/// As [`serve`], for a router that holds more than S3.
///
/// # Errors
/// As [`serve`].
pub async fn serve_router(
    listeners: Vec<TcpListener>,
    router: Router,
    config: S3Config,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    if listeners.is_empty() {
        return Err(ServeError::NoListener);
    }
    if config.head_len_max < 8 << 10 {
        return Err(ServeError::HeadLen(config.head_len_max));
    }
    let config = Arc::new(config);
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let connections = TaskTracker::new();
    if let Some(tls) = config.tls.clone() {
        tokio::spawn(tls.keep(shutdown.clone()));
    }
    let cut_off = CancellationToken::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        let acceptor = Acceptor {
            router: router.clone(),
            config: config.clone(),
            permits: permits.clone(),
            connections: connections.clone(),
            shutdown: shutdown.clone(),
            cut_off: cut_off.clone(),
        };
        accepting.spawn(acceptor.run(listener));
    }
    accepting.close();
    accepting.wait().await;
    connections.close();
    if tokio::time::timeout(config.drain, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not end in time and are cut off");
        cut_off.cancel();
        connections.wait().await;
    }
    Ok(())
}

struct Acceptor {
    router: Router,
    config: Arc<S3Config>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    shutdown: CancellationToken,
    cut_off: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let shutdown = self.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                accepted = self.accept(&listener) => accepted,
            };
            match accepted {
                Ok((stream, peer, permit)) => self.start(stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer, permit))
    }

    fn start(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let stream = GuardedIo::new(stream, self.config.write_idle);
        let router = self.router.clone().layer(axum::Extension(PeerAddress(peer)));
        let (config, end) = (self.config.clone(), End { leave: self.shutdown.clone(), cut_off: self.cut_off.clone() });
        self.connections.spawn(async move {
            let _permit = permit;
            let Some(tls) = &config.tls else { return speak_http1(stream, router, &config, end).await };
            // The handshake has as long as a head: it is what comes before one.
            let handshake = tokio::time::timeout(config.head_timeout, tls.acceptor().accept(stream));
            match end.cut_off.run_until_cancelled(handshake).await {
                Some(Ok(Ok(stream))) if stream.get_ref().1.alpn_protocol() == Some(H2) => {
                    speak_http2(stream, router, &config, end).await;
                }
                Some(Ok(Ok(stream))) => speak_http1(stream, router, &config, end).await,
                Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "no TLS"),
                Some(Err(_)) | None => {}
            }
        });
    }
}

async fn speak_http1<S>(stream: S, router: Router, config: &S3Config, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_header_size(config.head_len_max)
        .max_buf_size(CONNECTION_BUFFER_LEN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    end.drive(connection, |connection| connection.graceful_shutdown()).await;
}

async fn speak_http2<S>(stream: S, router: Router, config: &S3Config, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(axum::middleware::map_request(as_http1));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_LEN)
        .initial_connection_window_size(4 * STREAM_WINDOW_LEN)
        .max_header_list_size(u32::try_from(config.head_len_max).unwrap_or(u32::MAX))
        .max_send_buf_size(CONNECTION_BUFFER_LEN)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    end.drive(connection, |connection| connection.graceful_shutdown()).await;
}

/// A request of HTTP/2 as one of HTTP/1.1: what is signed has a header `Host` and a path.
async fn as_http1(mut request: axum::extract::Request) -> axum::extract::Request {
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

/// How a connection is told to end, and made to.
struct End {
    leave: CancellationToken,
    cut_off: CancellationToken,
}

impl End {
    async fn drive<C: Future<Output = hyper::Result<()>>>(self, connection: C, leave: impl Fn(Pin<&mut C>)) {
        let mut connection = std::pin::pin!(connection);
        let mut leaving = false;
        loop {
            tokio::select! {
                biased;
                () = self.cut_off.cancelled() => return,
                () = self.leave.cancelled(), if !leaving => {
                    leaving = true;
                    leave(connection.as_mut());
                }
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
            }
        }
    }
}
