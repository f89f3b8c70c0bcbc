//! `cairn chain`: the embedded ledger, served over JSON-RPC to one machine or to friends on a LAN.
//!
//! Never: two processes on one journal. Limits: those of `cairn_chain::embedded`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_chain::Deployed;
use cairn_chain::embedded::{Embedded, EmbeddedConfig};
use cairn_types::Clock;
use serde_json::{Map, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{cannot_bind, serve_status};
use crate::config;
use crate::home::{make_private_dir, take_lock, write_private};
use crate::ledger::deploy;
use crate::socket::CHAIN_SOCKET;
use crate::stop::{DRAIN_MS_MAX, Stop};
use crate::world::{SystemClock, SystemRng};

/// What requests in flight may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs until asked to stop.
pub async fn run(config: config::Chain, at_stdin_end: bool) -> Result<()> {
    make_private_dir(&config.dir)?;
    let _lock = take_lock(&config.dir)?;
    let mut stop = Stop::listen(at_stdin_end, DRAIN_MS_MAX)?;
    let listener = TcpListener::bind(&config.listen).await;
    let listener = listener.map_err(|error| cannot_bind("the ledger", &config.listen, &error))?;
    let url = format!("http://{}", listener.local_addr()?);
    let opening = EmbeddedConfig {
        chain_id: config.chain_id,
        test_clock: config.test_clock,
        ..EmbeddedConfig::new(config.dir.join("chain"))
    };
    let opened = tokio::task::spawn_blocking(move || Embedded::open(opening, Arc::new(SystemClock), &SystemRng)).await;
    let embedded = opened.context("opening the ledger")??;
    // For daemons of a ledger whose number is not the usual one.
    let deployed = Deployed::new(embedded.chain_id(), 0, 0, embedded.contracts());
    write_private(&config.dir.join(deploy::FILE_NAME), &deployed.to_bytes())?;

    let (about, mut status_stop, started) = (embedded.clone(), stop.clone(), SystemClock.now());
    let (dir, status_url) = (config.dir.clone(), url.clone());
    let status = move || {
        let contracts = about.contracts();
        let value = json!({
            "role": "chain",
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "dir": dir,
            "started_at_ms": started,
            "url": status_url,
            "chain_id": about.chain_id(),
            "block": about.head().map(|(number, _)| number).ok(),
            "contracts": {
                "token": contracts.token,
                "faucet": contracts.faucet,
                "channels": contracts.channels,
                "providers": contracts.providers,
                "court": contracts.court,
            },
        });
        value.as_object().cloned().unwrap_or_else(Map::new)
    };
    serve_status(&config.dir.join(CHAIN_SOCKET), status, axum::Router::new(), async move { status_stop.asked().await })?;
    let shutdown = CancellationToken::new();
    let server = embedded.clone();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { server.serve(listener, shutdown).await }
    });
    tracing::info!(url, chain_id = config.chain_id, "the ledger is up");
    stop.asked().await;
    tracing::info!("stopping");
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, serving).await.is_err() {
        tracing::warn!("requests in flight did not finish in time and are cut off");
    }
    // Waits for the sequencer, so that the journal is closed before the lock is gone.
    tokio::task::spawn_blocking(move || drop(embedded)).await.context("closing the ledger")?;
    tracing::info!("stopped");
    Ok(())
}
