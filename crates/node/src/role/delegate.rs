//! `cairn delegate run`: hears gateways, and audits and pays for those that fall silent.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::routing::get;
use axum::{Json, Router};
use cairn_client::{Delegate, Parts, PayConfig, Paying};
use cairn_net::{Incoming, Network};
use serde_json::json;

use super::{About, Membership, join, raise_open_files, serve_status};
use crate::args::DelegateName;
use crate::config;
use crate::home::{Home, Role};
use crate::ledger::{self, Ledger};
use crate::socket::DELEGATE_SOCKET;
use crate::stop::{DRAIN_MS_MAX, Stop};
use crate::world::{SystemClock, SystemRng};

/// Runs until asked to stop.
pub async fn run(config: config::Delegate, network: config::Network, at_stdin_end: bool) -> Result<()> {
    let home = Home::open(&config.dir, Role::Delegate)?;
    let mut stop = Stop::listen(at_stdin_end, DRAIN_MS_MAX)?;
    raise_open_files();
    let membership = Membership { listen: config.listen.clone(), external: config.external.clone(), network };
    let (network, incoming) = join(&home, Role::Delegate, membership).await?;
    let (ledger, worker) = ledger::open(&home, &config.chain, config.contracts.as_deref()).await?;
    let delegate = open(&home, &network, &config, ledger)?;
    let (about, status_network, mut status_stop) = (About::new(Role::Delegate, &home), network.clone(), stop.clone());
    let name = name(&home).to_string();
    let shown = delegate.clone();
    let listed = move || std::future::ready(Json(json!({"id": name, "clients": shown.list()})));
    let more = Router::new().route("/v1/delegate", get(listed));
    serve_status(
        &home.path(DELEGATE_SOCKET),
        move || about.fields(&status_network),
        more,
        async move { status_stop.asked().await },
    )?;
    let hearing = tokio::spawn(hear(incoming, delegate.clone()));
    for address in network.listen_addresses() {
        tracing::info!(address = format!("{address}/p2p/{}", home.node_key().id()), "listening");
    }
    tracing::info!(id = %self::name(&home), clients = config.clients.len(), "delegate is up");
    stop.asked().await;
    tracing::info!("stopping");
    hearing.abort();
    network.shutdown().await;
    worker.stop().await;
    tokio::task::spawn_blocking(move || delegate.stop()).await.context("closing the ledgers")??;
    tracing::info!("stopped");
    Ok(())
}

/// By what name gateways know it.
pub fn name(home: &Home) -> DelegateName {
    DelegateName { node: home.node_key().id(), address: home.session_key().address() }
}

fn open(home: &Home, network: &Network, config: &config::Delegate, ledger: Ledger) -> Result<Delegate> {
    let parts = || Parts {
        transport: Arc::new(network.clone()),
        keys: home.data_keys(),
        rng: Arc::new(SystemRng),
        writer_epoch: 0,
        config: cairn_client::Config::default(),
    };
    let paying = |path| Paying {
        ledger: path,
        settlement: Arc::new(ledger.clone()),
        node: home.node_key(),
        session: home.session_key(),
        clock: Arc::new(SystemClock),
        court: None,
        acting: None,
        config: PayConfig::default(),
    };
    Ok(Delegate::open(&config.clients, home.path("clients"), parts, paying)?)
}

async fn hear(mut incoming: Incoming, delegate: Delegate) {
    while let Some((client, stream)) = incoming.next().await {
        let delegate = delegate.clone();
        tokio::spawn(async move { delegate.serve_stream(client, stream).await });
    }
}
