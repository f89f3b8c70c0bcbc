//! The nodes that one dashboard shows, and the way to their control sockets: `/api/nodes/{name}/v1/…`.
//!
//! A page asks the same routes as the command line, so both show the same numbers. A node that is down is an error of its own and of no other.
//! Never: what a client stored as anything that a browser would run; `POST /v1/wallet/withdraw`, which the command line alone may send.
//! Limits: bodies stream; a node that takes no connection is answered for at once.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::guard::OBJECT_POLICY;
use crate::answer::Refused;
use crate::home::{Role, peek_role};
use crate::outcome::{Failure, report};
use crate::socket::{CHAIN_SOCKET, DELEGATE_SOCKET, Dialer, GATEWAY_SOCKET, PEER_SOCKET, PROVIDER_SOCKET};
use crate::text::text_in_serde;

/// Headers that go on to a node.
const TO_NODE: [HeaderName; 6] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_NONE_MATCH];
/// Headers that come back from it.
const FROM_NODE: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
    HeaderName::from_static("x-cairn-modified-ms"),
];
/// What a browser may show in a page of ours; the policy that goes with it lets nothing run.
const SHOWN: [&str; 17] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/bmp",
    "image/svg+xml",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/flac",
    "audio/mp4",
    "audio/webm",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
];

/// What a node is: a role of the network, or the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Rents out disks.
    Provider,
    /// Stores files.
    Gateway,
    /// Helps others to find each other.
    Peer,
    /// Audits and pays for gateways that are silent.
    Delegate,
    /// The ledger.
    Chain,
}

impl Kind {
    /// The file of its control socket.
    fn socket(self) -> &'static str {
        match self {
            Kind::Provider => PROVIDER_SOCKET,
            Kind::Gateway => GATEWAY_SOCKET,
            Kind::Peer => PEER_SOCKET,
            Kind::Delegate => DELEGATE_SOCKET,
            Kind::Chain => CHAIN_SOCKET,
        }
    }

    fn of_socket(path: &Path) -> Option<Kind> {
        let name = path.file_name()?.to_str()?;
        [Kind::Provider, Kind::Gateway, Kind::Peer, Kind::Delegate, Kind::Chain].into_iter().find(|kind| kind.socket() == name)
    }
}

impl From<Role> for Kind {
    fn from(role: Role) -> Kind {
        match role {
            Role::Provider => Kind::Provider,
            Role::Gateway => Kind::Gateway,
            Role::Peer => Kind::Peer,
            Role::Delegate => Kind::Delegate,
        }
    }
}

/// A node that the dashboard shows.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is called here.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its control socket.
    pub dialer: Dialer,
}

impl Node {
    /// The node whose data directory is `dir`.
    pub fn new(name: impl Into<String>, kind: Kind, dir: &Path) -> Node {
        Node::at(name, kind, dir.join(kind.socket()))
    }

    fn at(name: impl Into<String>, kind: Kind, socket: PathBuf) -> Node {
        Node { name: name.into(), kind, dialer: Dialer::new(socket, "look at its log, and start it again") }
    }
}

/// Another node of this machine, as flags and files name it: `NAME=DIRECTORY`, or `NAME=SOCKET` for one that was forwarded from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    name: String,
    path: PathBuf,
}

impl FromStr for Other {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no node; write NAME=DIRECTORY, such as attic=/srv/attic/provider");
        let (name, path) = text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(format!("{name:?} is no name for a node: 1 to 64 letters, digits and -_."));
        }
        Ok(Other { name: name.into(), path: path.into() })
    }
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.path.display())
    }
}

text_in_serde!(Other);

impl Other {
    /// The node, once what lies there tells what it is.
    pub fn find(&self) -> anyhow::Result<Node> {
        if let Some(kind) = Kind::of_socket(&self.path) {
            return Ok(Node::at(&self.name, kind, self.path.clone()));
        }
        let kind = peek_role(&self.path).map(Kind::from).ok_or_else(|| {
            let message = format!("{} is neither a node's data directory nor a control socket", self.path.display());
            crate::outcome::failure(
                message,
                "give the --dir of a provider or gateway, or the path of a *.sock that it listens on",
            )
        })?;
        Ok(Node::new(&self.name, kind, &self.path))
    }
}

/// All nodes of a dashboard, in the order in which they are shown.
pub type Nodes = Arc<[Node]>;

/// `GET /api/nodes`
pub async fn list(State(nodes): State<Nodes>) -> Json<Value> {
    Json(json!({"nodes": nodes.iter().map(|node| json!({"name": node.name, "kind": node.kind})).collect::<Vec<_>>()}))
}

/// A node by its name.
pub fn find<'a>(nodes: &'a Nodes, name: &str) -> Result<&'a Node, Refused> {
    nodes.iter().find(|node| node.name == name).ok_or_else(|| {
        Refused::new(StatusCode::NOT_FOUND, "NoSuchNode", format!("there is no node {name:?}"), "GET /api/nodes lists them")
    })
}

/// A node that does not answer.
pub fn unavailable(node: &Node, error: &anyhow::Error) -> Refused {
    let remedy = error.downcast_ref::<Failure>().map(|failure| failure.remedy.clone()).unwrap_or_default();
    let message = format!("{} does not answer: {}", node.name, report(error).lines().next().unwrap_or_default());
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "NodeUnavailable", message, remedy)
}

/// `/api/nodes/{name}/v1/…`: asks that node.
pub async fn pass(
    State(nodes): State<Nodes>,
    UrlPath((name, _)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let node = find(&nodes, &name)?;
    let (parts, body) = request.into_parts();
    // As it was written, because keys and cursors are encoded in it.
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let target = target.splitn(5, '/').nth(4).unwrap_or_default();
    let path = format!("/{target}");
    let route = path.split('?').next().unwrap_or_default();
    if route == "/v1/wallet/withdraw" {
        let remedy = "cairn wallet withdraw, on the machine itself, sends credits";
        return Err(Refused::new(StatusCode::FORBIDDEN, "NotFromHere", "credits are not sent from a browser", remedy));
    }
    let body = body.map_err(std::io::Error::other).boxed_unsync();
    let mut asked = crate::socket::request(parts.method.clone(), &path, body).map_err(|error| {
        Refused::new(StatusCode::BAD_REQUEST, "BadRequest", format!("the address cannot be passed on: {error:#}"), "")
    })?;
    copy(&parts.headers, asked.headers_mut(), &TO_NODE);
    let answer = node.dialer.send(asked).await.map_err(|error| unavailable(node, &error))?;
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    copy(&head.headers, response.headers_mut(), &FROM_NODE);
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let headers = response.headers_mut();
    if route == "/v1/object" && (parts.method == Method::GET || parts.method == Method::HEAD) {
        // With every answer: a browser takes the headers of a 304 over to what it has kept.
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OBJECT_POLICY));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if head.status.is_success() {
            as_object(headers, kind, parts.uri.query().unwrap_or_default());
            return Ok(response);
        }
    }
    if !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name, value.clone());
        }
    }
}

/// What goes out with the bytes of an object: a type that a browser shows without running anything, or a file to keep.
fn as_object(headers: &mut HeaderMap, kind: &str, query: &str) {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let preview = query.split('&').any(|pair| pair == "preview" || pair == "preview=");
    let shown = match kind.as_str() {
        kind if SHOWN.contains(&kind) => Some(kind.to_owned()),
        kind if kind.starts_with("text/") || kind == "application/json" => Some("text/plain; charset=utf-8".to_owned()),
        _ => None,
    };
    let (kind, disposition) = match shown.filter(|_| preview) {
        Some(kind) => (kind, "inline"),
        None => ("application/octet-stream".to_owned(), "attachment"),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(kind).expect("one of the types above"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
}
