//! Unix sockets of the daemons: bound with mode 0600, dialled with plain HTTP/1.1.
//!
//! Paths longer than a socket address allows are reached through the directory's descriptor.
//! Never: a network address. Limits: JSON answers of [`ANSWER_LEN_MAX`] bytes; bodies stream.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

use crate::outcome::{ExitCode, Failure, coded};

/// Bytes of a JSON answer.
pub const ANSWER_LEN_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a socket path that every Unix takes.
const SOCKET_PATH_LEN_MAX: usize = 100;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Body of a request.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Names of the sockets in a data directory.
pub const GATEWAY_SOCKET: &str = "gateway.sock";
/// A provider's socket.
pub const PROVIDER_SOCKET: &str = "provider.sock";
/// A plain peer's socket.
pub const PEER_SOCKET: &str = "peer.sock";
/// A delegate's socket.
pub const DELEGATE_SOCKET: &str = "delegate.sock";
/// The ledger's socket.
pub const CHAIN_SOCKET: &str = "chain.sock";
/// The supervisor's socket in a localnet's directory.
pub const LOCALNET_SOCKET: &str = "localnet.sock";

/// A path short enough to bind or dial; the file keeps the directory's descriptor open meanwhile.
fn short(path: &Path) -> std::io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= SOCKET_PATH_LEN_MAX {
        return Ok((path.to_owned(), None));
    }
    let (dir, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let dir = File::open(dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name), Some(dir)))
}

/// A bound socket's file; dropping it takes the file away.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What stays is found dead by the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds `path` for its owner only. The caller holds the directory's lock, so what is there is a dead process's.
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(anyhow!(error).context(format!("cannot remove {}", path.display())));
        }
        _ => {}
    }
    let (near, _dir) = short(path).with_context(|| format!("cannot reach {}", path.display()))?;
    let listener = UnixListener::bind(&near).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&near, Permissions::from_mode(0o600)).with_context(|| format!("cannot chmod {}", path.display()))?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// Where to ask.
#[derive(Debug, Clone)]
pub struct Dialer {
    path: PathBuf,
    /// What to tell the person when nobody answers.
    remedy: String,
}

/// An answer that was not a success, as the daemons give it.
#[derive(Debug, serde::Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Debug, serde::Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
    #[serde(default)]
    remedy: String,
}

/// An answer with an error status, kept so that callers can branch on its code.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Code for programs, such as `NoSuchKey`.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Dialer {
    /// Asks the daemon behind `path`; `remedy` is shown when nobody answers there.
    pub fn new(path: impl Into<PathBuf>, remedy: impl Into<String>) -> Self {
        Dialer { path: path.into(), remedy: remedy.into() }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// Nobody listens, or the connection broke.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        let nobody = |error: std::io::Error| {
            let message = format!("nothing answers on {} ({error})", self.path.display());
            coded(ExitCode::Unavailable, message, self.remedy.clone())
        };
        let (near, _dir) = short(&self.path).map_err(nobody)?;
        let stream = UnixStream::connect(&near).await.map_err(nobody)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the daemon ended");
            }
        });
        sender.send_request(request).await.map_err(|error| {
            let (message, remedy) = ("the daemon broke off the connection".into(), "look at its log; then try again".into());
            anyhow!(error).context(Failure { code: ExitCode::Unavailable, message, remedy })
        })
    }

    /// Sends a request and turns an error answer into an error with its remedy.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Incoming>> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = body_bytes(response).await?;
        Err(refused(status, &bytes))
    }

    /// As [`Self::call`], with a JSON answer.
    pub async fn json<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T> {
        let bytes = body_bytes(self.call(request).await?).await?;
        serde_json::from_slice(if bytes.is_empty() { b"null" } else { &bytes }).context("the daemon's answer is not understood")
    }

    /// `GET path` with a JSON answer, within `deadline`.
    pub async fn get(&self, path: &str, deadline: Duration) -> Result<Value> {
        let late = || coded(ExitCode::Unavailable, format!("{} did not answer in time", self.path.display()), "look at its log");
        tokio::time::timeout(deadline, self.json(request(Method::GET, path, empty())?)).await.map_err(|_| late())?
    }
}

fn refused(status: StatusCode, bytes: &[u8]) -> anyhow::Error {
    let body = match serde_json::from_slice::<Refusal>(bytes) {
        Ok(refusal) => refusal.error,
        Err(_) => RefusalBody { code: "Unknown".into(), message: format!("the daemon answered {status}"), remedy: String::new() },
    };
    let code = match status {
        StatusCode::NOT_FOUND => ExitCode::NotFound,
        StatusCode::SERVICE_UNAVAILABLE => ExitCode::Unavailable,
        _ => ExitCode::Failure,
    };
    let refused = Refused { status: status.as_u16(), code: body.code, message: body.message.clone() };
    anyhow!(refused).context(Failure { code, message: body.message, remedy: body.remedy })
}

/// The code of a daemon's error answer, if this is one.
pub fn refusal_code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Refused>().map(|refused| refused.code.as_str())
}

/// The bytes of a bounded answer.
pub async fn body_bytes(response: Response<Incoming>) -> Result<Bytes> {
    let collected = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
    Ok(collected.map_err(|error| anyhow!("the daemon's answer broke off: {error}"))?.to_bytes())
}

/// A request to a path with its query.
pub fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>> {
    Ok(Request::builder().method(method).uri(path).header("host", "cairn").body(body)?)
}

/// A request with a JSON body.
pub fn json_request(method: Method, path: &str, value: &Value) -> Result<Request<Body>> {
    let mut request = request(method, path, full(serde_json::to_vec(value)?))?;
    request.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(request)
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that is at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// `path?name=value&…`, everything encoded.
pub fn with_query(path: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", fields.join("&"))
}

/// One component of a path or value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_carry_any_key() {
        assert_eq!(
            with_query("/v1/x", &[("bucket", "b"), ("key", "a b/ü+&=%?#")]),
            "/v1/x?bucket=b&key=a%20b%2F%C3%BC%2B%26%3D%25%3F%23"
        );
    }

    #[tokio::test]
    async fn a_socket_in_a_deep_directory_is_bound_for_its_owner_and_reached() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("x.sock");
        let (listener, file) = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let app =
            axum::Router::new().route("/v1/status", axum::routing::get(|| async { axum::Json(serde_json::json!({"a": 1})) }));
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let dialer = Dialer::new(&path, "start it");
        assert_eq!(dialer.get("/v1/status", Duration::from_secs(5)).await.unwrap()["a"], 1);
        assert_eq!(
            crate::outcome::exit_code(&dialer.get("/nowhere", Duration::from_secs(5)).await.unwrap_err()),
            ExitCode::NotFound
        );
        server.abort();
        let _ = server.await;
        let error = dialer.get("/v1/status", Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(crate::outcome::exit_code(&error), ExitCode::Unavailable);
        drop(bind(&path).unwrap());
        assert!(!path.exists());
        drop(file);
        let error = dialer.get("/v1/status", Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(crate::outcome::exit_code(&error), ExitCode::Unavailable);
        assert!(crate::outcome::report(&error).contains("start it"));
    }
}
