//! The daemons: each opens its data directory, starts its network, serves, and drains when asked to stop.
//!
//! Never: two processes on one data directory. Limits: `stop::DRAIN_MS_MAX` from SIGTERM to the end.

pub mod chain;
pub mod delegate;
pub mod gateway;
pub mod offline;
pub mod peer;
pub mod provider;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use axum::routing::get;
use axum::{Json, Router};
use cairn_net::{Incoming, NetConfig, NetError, Network};
use cairn_types::{Clock, NodeKey, UnixMs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, Value, json};

use crate::config;
use crate::home::{Home, Role};
use crate::outcome::{ExitCode, Failure, failure};
use crate::socket;
use crate::world::SystemClock;

/// Open files that a busy node needs: connections, volumes and RocksDB tables.
const OPEN_FILES_WANTED: u64 = 65_536;

/// Where and how a daemon takes part in the network.
pub struct Membership {
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs at which others reach it.
    pub external: Vec<String>,
    /// How to find others.
    pub network: config::Network,
}

/// Joins the network.
pub async fn join(home: &Home, role: Role, membership: Membership) -> Result<(Network, Incoming)> {
    let Membership { listen, external, network } = membership;
    let psk = network.psk_file.as_deref().map(cairn_net::psk::read).transpose()?;
    let config = NetConfig {
        // QUIC has no pre-shared keys; its default addresses are left out rather than refused.
        listen: listen.into_iter().filter(|address| psk.is_none() || !address.contains("/quic-v1")).collect(),
        external,
        bootstrap: network.bootstrap,
        address_book: Some(home.path("peers.json")),
        psk,
        mdns: network.mdns,
        provider: role == Role::Provider,
        answers: role == Role::Delegate,
        dht_server: matches!(role, Role::Peer | Role::Delegate),
        network_id: network.network_id,
        ..NetConfig::new(home.node_key())
    };
    cairn_net::start(config, Arc::new(SystemClock)).await.map_err(|error| {
        let remedy = match &error {
            NetError::AddressInUse { .. } => "cairn doctor shows which ports are taken; choose another with --listen",
            NetError::Mdns(_) => "start without --mdns",
            _ => "correct the addresses given with --listen, --external or --bootstrap",
        };
        anyhow!(error).context(Failure {
            code: ExitCode::Failure,
            message: "cannot join the network".into(),
            remedy: remedy.into(),
        })
    })
}

/// What every daemon says of itself.
#[derive(Clone)]
struct About {
    role: Role,
    key: NodeKey,
    dir: std::path::PathBuf,
    started: UnixMs,
}

impl About {
    fn new(role: Role, home: &Home) -> About {
        About { role, key: home.node_key(), dir: home.dir().to_owned(), started: SystemClock.now() }
    }

    fn fields(&self, network: &Network) -> Map<String, Value> {
        let value = json!({
            "role": self.role.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "node": self.key.id(),
            "dir": self.dir,
            "started_at_ms": self.started,
            "net": network.status(),
        });
        match value {
            Value::Object(fields) => fields,
            _ => unreachable!("written as an object above"),
        }
    }
}

/// Serves `GET /v1/status` and the role's own routes on a daemon's control socket until `stop` is ready.
fn serve_status(
    path: &Path,
    status: impl Fn() -> Map<String, Value> + Clone + Send + Sync + 'static,
    more: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (listener, file) = socket::bind(path)?;
    let router = Router::new().route("/v1/status", get(move || std::future::ready(Json(Value::Object(status()))))).merge(more);
    tokio::spawn(async move {
        let _file = file;
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the control socket failed");
        }
    });
    Ok(())
}

/// Raises the limit on open files as far as the system lets.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
        tracing::debug!(from = limit.current, to = wanted, ?raised, "limit on open files");
    }
}

/// An error for a listener that cannot be bound.
pub fn cannot_bind(what: &str, address: &str, error: &std::io::Error) -> anyhow::Error {
    failure(
        format!("cannot listen on {address} for {what}: {error}"),
        "stop who holds it (cairn doctor), or choose another address",
    )
}
