//! Endpoint: one node that speaks JSON-RPC, asked with deadlines, bounded answers, bounded repeats and a breaker.
//!
//! Everything asked here may be asked twice: reads change nothing, and a raw transaction is the same transaction however often it is sent.
//! Never: waits without an end, believes an answer that contradicts its question, or goes on with another chain.
//! Limits: [`EndpointConfig`], [`ANSWER_LEN_MAX`]. Over `https` the certificates are those of the system, or of `SSL_CERT_FILE`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::https::{HttpClient, NoCertificates, http_client, http_uri, with_sources};

/// Bytes of one answer.
pub const ANSWER_LEN_MAX: usize = 32 << 20;
/// Bytes of a node's own words in an error.
const REASON_LEN_MAX: usize = 300;
/// Bytes of revert data that are kept.
const DATA_LEN_MAX: usize = 4096;

/// How a node is asked.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// `http://host:port/path`, or `https`.
    pub url: String,
    /// The chain that must be there.
    pub chain_id: u64,
    /// One try.
    pub try_time: Duration,
    /// Tries of one question.
    pub tries_max: u32,
    /// Pause before the second try; doubles with each.
    pub pause: Duration,
    /// Questions that fail one after the other before the node is left alone for a while.
    pub failures_max: u32,
    /// For how long it is left alone.
    pub cool_down: Duration,
}

impl EndpointConfig {
    /// The usual patience with the node at `url`.
    pub fn new(url: impl Into<String>, chain_id: u64) -> EndpointConfig {
        EndpointConfig {
            url: url.into(),
            chain_id,
            try_time: Duration::from_secs(10),
            tries_max: 4,
            pause: Duration::from_millis(100),
            failures_max: 5,
            cool_down: Duration::from_secs(10),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The URL is not one that we can ask.
    #[error("{0:?} is no http or https URL")]
    Url(String),
    /// Nothing to know an https node by.
    #[error(transparent)]
    Certificates(#[from] NoCertificates),
    /// No connection, or it broke.
    #[error("the chain's node at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// It took too long.
    #[error("the chain's node at {0} does not answer in time")]
    Timeout(String),
    /// 429, or the JSON-RPC code for it.
    #[error("the chain's node at {0} refuses for a while: too many requests")]
    RateLimited(String),
    /// An HTTP status that is no answer.
    #[error("the chain's node answers HTTP {0}")]
    Status(u16),
    /// Too long, not JSON-RPC, or not what was asked for.
    #[error("the chain's node answers {method} wrongly: {reason}")]
    Wrong {
        /// What was asked.
        method: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The node's own error.
    #[error("the chain's node refuses {method}: {message} ({code})")]
    Refused {
        /// What was asked.
        method: String,
        /// JSON-RPC code.
        code: i64,
        /// Its words, shortened.
        message: String,
        /// Revert data.
        data: Option<Bytes>,
    },
    /// Another chain than configured.
    #[error("the chain's node serves chain {found}, configured is {expected}; nothing is sent there")]
    OtherChain {
        /// What was configured.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A chain with the right id and another beginning: made anew, or somebody else's.
    #[error("the chain with this id begins with block {found} and began with {expected}; this ledger belongs to the other one")]
    OtherGenesis {
        /// What was there at first.
        expected: B256,
        /// What is there.
        found: B256,
    },
    /// Too many failures; the node is left alone.
    #[error("the chain's node at {0} failed too often and is left alone for a while")]
    CoolingDown(String),
}

impl EndpointError {
    /// Whether the node itself decided, so that asking again gives the same.
    pub fn is_refusal(&self) -> bool {
        matches!(self, EndpointError::Refused { .. })
    }

    fn may_pass(&self) -> bool {
        match self {
            EndpointError::Unreachable { .. } | EndpointError::Timeout(_) | EndpointError::RateLimited(_) => true,
            EndpointError::Status(status) => *status >= 500,
            EndpointError::Url(_)
            | EndpointError::Certificates(_)
            | EndpointError::Wrong { .. }
            | EndpointError::Refused { .. }
            | EndpointError::OtherChain { .. }
            | EndpointError::OtherGenesis { .. }
            | EndpointError::CoolingDown(_) => false,
        }
    }
}

fn shown(url: &str) -> String {
    url.chars().take(REASON_LEN_MAX).collect()
}

/// A node. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    config: EndpointConfig,
    uri: Uri,
    client: HttpClient,
    breaker: Mutex<Breaker>,
}

#[derive(Default)]
struct Breaker {
    failures: u32,
    closed_until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    result: Option<Value>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: i64,
    #[serde(default)]
    message: String,
    data: Option<Value>,
}

impl Endpoint {
    /// A node; nothing is asked yet.
    ///
    /// # Errors
    /// [`EndpointError::Url`], [`EndpointError::Certificates`].
    pub fn new(config: EndpointConfig) -> Result<Endpoint, EndpointError> {
        let client = http_client(config.try_time, config.url.starts_with("https:"))?;
        Endpoint::asking(config, client)
    }

    fn asking(config: EndpointConfig, client: HttpClient) -> Result<Endpoint, EndpointError> {
        let uri = http_uri(&config.url).ok_or_else(|| EndpointError::Url(shown(&config.url)))?;
        Ok(Endpoint { inner: Arc::new(Inner { config, uri, client, breaker: Mutex::default() }) })
    }

    /// The configured chain id.
    pub fn chain_id(&self) -> u64 {
        self.inner.config.chain_id
    }

    /// Asks `method` and reads its answer.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, EndpointError> {
        let value = self.ask_value(method, params).await?;
        serde_json::from_value(value)
            .map_err(|error| EndpointError::Wrong { method: method.to_owned(), reason: error.to_string() })
    }

    async fn ask_value(&self, method: &str, params: Value) -> Result<Value, EndpointError> {
        self.admit()?;
        let body = bytes::Bytes::from(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
        let config = &self.inner.config;
        let mut pause = config.pause;
        for tried in 1.. {
            let outcome = self.ask_once(method, body.clone()).await;
            match outcome {
                Err(error) if error.may_pass() && tried < config.tries_max => {
                    tracing::debug!(method, %error, tried, "asking the chain's node again");
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2);
                }
                outcome => {
                    self.note(outcome.as_ref().is_err_and(EndpointError::may_pass));
                    return outcome;
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    async fn ask_once(&self, method: &str, body: bytes::Bytes) -> Result<Value, EndpointError> {
        let config = &self.inner.config;
        match tokio::time::timeout(config.try_time, self.exchange(method, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(EndpointError::Timeout(config.url.clone())),
        }
    }

    async fn exchange(&self, method: &str, body: bytes::Bytes) -> Result<Value, EndpointError> {
        let Inner { config, uri, client, .. } = &*self.inner;
        let wrong = |reason: String| EndpointError::Wrong { method: method.to_owned(), reason };
        let unreachable = |reason: String| EndpointError::Unreachable { url: config.url.clone(), reason };
        let request = Request::builder().method(Method::POST).uri(uri.clone()).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(body)).map_err(|error| wrong(error.to_string()))?;
        let response = client.request(request).await.map_err(|error| unreachable(with_sources(&error, REASON_LEN_MAX)))?;
        let status = response.status();
        let read = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(EndpointError::RateLimited(config.url.clone()));
        }
        let body = match read {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(wrong(format!("more than {ANSWER_LEN_MAX} bytes")));
            }
            Err(error) => return Err(unreachable(error.to_string())),
        };
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => return Err(EndpointError::Status(status.as_u16())),
            Err(error) => return Err(wrong(format!("not JSON-RPC: {error}"))),
        };
        match answer {
            Answer { error: Some(error), .. } => Err(self.refusal(method, error)),
            Answer { result, error: None } => Ok(result.unwrap_or(Value::Null)),
        }
    }

    fn refusal(&self, method: &str, error: AnswerError) -> EndpointError {
        const LIMIT: i64 = -32005;
        if error.code == LIMIT || error.code == 429 {
            return EndpointError::RateLimited(self.inner.config.url.clone());
        }
        let hex = error.data.as_ref().and_then(|data| data.as_str().or_else(|| data.get("data").and_then(Value::as_str)));
        let data = hex.filter(|hex| hex.len() <= 2 + 2 * DATA_LEN_MAX).and_then(|hex| hex.parse().ok());
        let message = error.message.chars().take(REASON_LEN_MAX).collect();
        EndpointError::Refused { method: method.to_owned(), code: error.code, message, data }
    }

    fn admit(&self) -> Result<(), EndpointError> {
        let breaker = self.inner.breaker.lock().expect("no holder of this lock panics");
        match breaker.closed_until {
            Some(until) if Instant::now() < until => Err(EndpointError::CoolingDown(self.inner.config.url.clone())),
            _ => Ok(()),
        }
    }

    fn note(&self, failed: bool) {
        let mut breaker = self.inner.breaker.lock().expect("no holder of this lock panics");
        if !failed {
            *breaker = Breaker::default();
            return;
        }
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures >= self.inner.config.failures_max {
            breaker.closed_until = Some(Instant::now() + self.inner.config.cool_down);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    use super::*;
    use crate::https::trusting;

    #[test]
    fn only_http_urls_are_asked() {
        for url in ["", "localhost:8545", "ftp://node.example", "http://", "/path"] {
            assert!(matches!(Endpoint::new(EndpointConfig::new(url, 1)), Err(EndpointError::Url(_))), "{url}");
        }
        let client = trusting(Duration::from_secs(1), RootCertStore::empty());
        assert!(Endpoint::asking(EndpointConfig::new("https://node.example", 1), client).is_ok());
        assert!(Endpoint::new(EndpointConfig::new("http://127.0.0.1:8545/key", 1)).is_ok());
    }

    /// Answers one request of each connection over TLS with chain id 7.
    async fn secured() -> (std::net::SocketAddr, RootCertStore) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).expect("a key");
        let server = tokio_rustls::rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let server = server.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("a pair");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let body = r#"{"jsonrpc":"2.0","id":1,"result":"0x7"}"#;
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (address, roots)
    }

    #[tokio::test]
    async fn over_tls_a_node_is_asked_if_its_certificate_is_known() {
        let (address, roots) = secured().await;
        let node = |name: &str, roots: RootCertStore| {
            let config = EndpointConfig { tries_max: 1, ..EndpointConfig::new(format!("https://{name}:{}", address.port()), 7) };
            Endpoint::asking(config, trusting(Duration::from_secs(5), roots)).expect("a URL")
        };
        let asked = node("localhost", roots.clone());
        let id: String = asked.ask("eth_chainId", json!([])).await.expect("its certificate is known");
        assert_eq!(id, "0x7");
        for node in [node("localhost", RootCertStore::empty()), node("127.0.0.1", roots)] {
            let refused = node.ask::<String>("eth_chainId", json!([])).await;
            assert!(
                matches!(&refused, Err(EndpointError::Unreachable { reason, .. }) if reason.contains("certificate")),
                "{refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_dead_node_is_left_alone_after_a_while() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let config = EndpointConfig {
            tries_max: 2,
            pause: Duration::from_millis(1),
            failures_max: 2,
            cool_down: Duration::from_millis(200),
            ..EndpointConfig::new(format!("http://{free}"), 1)
        };
        let node = Endpoint::new(config).expect("a URL");
        for _ in 0..2 {
            assert!(matches!(node.check_chain().await, Err(EndpointError::Unreachable { .. })));
        }
        assert!(matches!(node.check_chain().await, Err(EndpointError::CoolingDown(_))));
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(matches!(node.check_chain().await, Err(EndpointError::Unreachable { .. })));
    }
}
