//! `cairn peer`: a plain node of the DHT, such as one that others bootstrap from.

use anyhow::Result;

use super::{About, Membership, join, raise_open_files, serve_status};
use crate::config;
use crate::home::{Home, Role};
use crate::socket::PEER_SOCKET;
use crate::stop::{DRAIN_MS_MAX, Stop};

/// Runs until asked to stop.
pub async fn run(config: config::Peer, network: config::Network, at_stdin_end: bool) -> Result<()> {
    let home = Home::open(&config.dir, Role::Peer)?;
    let mut stop = Stop::listen(at_stdin_end, DRAIN_MS_MAX)?;
    raise_open_files();
    let (network, _incoming) =
        join(&home, Role::Peer, Membership { listen: config.listen, external: config.external, network }).await?;
    let (about, status_network, mut status_stop) = (About::new(Role::Peer, &home), network.clone(), stop.clone());
    serve_status(&home.path(PEER_SOCKET), move || about.fields(&status_network), axum::Router::new(), async move {
        status_stop.asked().await
    })?;
    for address in network.listen_addresses() {
        tracing::info!(address = format!("{address}/p2p/{}", home.node_key().id()), "listening");
    }
    stop.asked().await;
    tracing::info!("stopping");
    network.shutdown().await;
    Ok(())
}
