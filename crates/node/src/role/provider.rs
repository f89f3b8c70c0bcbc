//! `cairn provider`: store, server, advert and control socket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_net::{AdvertTemplate, Incoming, Network};
use cairn_provider::store::DiskConfig;
use cairn_provider::{Server, ServerConfig, Store, StoreConfig, StoreStatus};
use serde_json::json;

use super::{About, Membership, join, raise_open_files, serve_status};
use crate::config;
use crate::dashboard;
use crate::dashboard::nodes::{Kind, Node};
use crate::home::{Home, Role};
use crate::ledger::earning::{self, Earning};
use crate::outcome::{ExitCode, coded};
use crate::socket::PROVIDER_SOCKET;
use crate::stop::{DRAIN_MS_MAX, Stop};
use crate::world::{SystemClock, SystemRng};

/// What streams in flight may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(7);
/// How often the store is looked at for the advert; the network paces what goes out.
const ADVERT_EVERY: Duration = Duration::from_secs(1);

/// Runs until asked to stop.
pub async fn run(
    config: config::Provider,
    network: config::Network,
    dashboard: config::Dashboard,
    at_stdin_end: bool,
) -> Result<()> {
    if config.space.is_empty() {
        return Err(coded(
            ExitCode::Usage,
            "no space to rent out is named",
            "add --space DIRECTORY=LENGTH, such as --space /mnt/a=500GiB",
        ));
    }
    let home = Home::open(&config.dir, Role::Provider)?;
    let mut stop = Stop::listen(at_stdin_end, DRAIN_MS_MAX)?;
    raise_open_files();
    let store = open_store(&home, &config).await?;
    let membership = Membership { listen: config.listen.clone(), external: config.external.clone(), network };
    let (network, incoming) = join(&home, Role::Provider, membership).await?;
    let earning = match &config.chain {
        Some(url) => Some(earning::open(&home, &store, &config, url).await?),
        None => None,
    };
    let server = match &earning {
        Some(earning) => Server::paid(store.clone(), home.node_key(), ServerConfig::default(), earning.accounts()),
        None => Server::new(store.clone(), home.node_key(), ServerConfig::default()),
    };
    let registered = earning.as_ref().map(Earning::registered);

    let (about, status_network, status_server, mut status_stop) =
        (About::new(Role::Provider, &home), network.clone(), server.clone(), stop.clone());
    let status = move || {
        let mut fields = about.fields(&status_network);
        fields.insert("store".into(), json!(status_server.store().status()));
        fields.insert("server".into(), json!(status_server.status()));
        fields.insert("registered".into(), json!(registered.as_ref().map(|registered| registered())));
        fields
    };
    let more = earning.as_ref().map(Earning::router).unwrap_or_default();
    serve_status(&home.path(PROVIDER_SOCKET), status, more, async move { status_stop.asked().await })?;
    let dashboard = dashboard::start(&dashboard, home.dir(), vec![Node::new("provider", Kind::Provider, home.dir())]).await?;
    network.set_advert(template(&config, &store.status(), true)).await;
    let accepting = tokio::spawn(accept(incoming, server.clone()));
    for address in network.listen_addresses() {
        tracing::info!(address = format!("{address}/p2p/{}", home.node_key().id()), "listening");
    }

    tokio::select! {
        () = stop.asked() => {}
        () = keep_advert(&network, &store, &config) => {}
    }
    tracing::info!("stopping: streams in flight may finish");
    if let Some(dashboard) = dashboard {
        tokio::spawn(dashboard.stop());
    }
    network.set_advert(template(&config, &store.status(), false)).await;
    if tokio::time::timeout(DRAIN, server.drain()).await.is_err() {
        tracing::warn!("streams in flight did not finish in time and are cut off");
    }
    accepting.abort();
    network.shutdown().await;
    if let Some(earning) = earning {
        drop(server);
        earning.stop().await;
    }
    tracing::info!("stopped");
    Ok(())
}

async fn open_store(home: &Home, config: &config::Provider) -> Result<Store> {
    let disk =
        |space: &config::Space| DiskConfig { path: space.path.clone(), quota_len: space.len.0, reserve_len: config.reserve.0 };
    let store = StoreConfig::new(home.dir(), config.space.iter().map(disk).collect());
    let node = home.node_key().id();
    let opened = tokio::task::spawn_blocking(move || Store::open(store, node, Arc::new(SystemClock), &SystemRng)).await;
    Ok(opened.context("opening the store")??)
}

async fn accept(mut incoming: Incoming, server: Server) {
    while let Some((client, stream)) = incoming.next().await {
        let server = server.clone();
        tokio::spawn(async move { server.serve_stream(client, stream).await });
    }
}

async fn keep_advert(network: &Network, store: &Store, config: &config::Provider) {
    let mut told = template(config, &store.status(), true);
    let mut ticks = tokio::time::interval(ADVERT_EVERY);
    loop {
        ticks.tick().await;
        let now = template(config, &store.status(), true);
        if now != told {
            if now.accepting != told.accepting {
                tracing::info!(accepting = now.accepting, "what the store can take has changed");
            }
            told = now.clone();
            network.set_advert(now).await;
        }
    }
}

fn template(config: &config::Provider, status: &StoreStatus, running: bool) -> AdvertTemplate {
    AdvertTemplate {
        free_len: status.free_len,
        total_len: status.total_len,
        region: config.region.clone(),
        operator: config.operator.clone(),
        accepting: running && status.accepting,
    }
}
