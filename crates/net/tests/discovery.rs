//! Nodes find each other: through one bootstrap node, after it died, and from the address book alone.

#![allow(clippy::unwrap_used)]

mod common;

use cairn_net::{NetConfig, Network};
use cairn_proto::Transport;
use common::*;

async fn providers(first: u8, count: u8, bootstrap: &[String]) -> Vec<Network> {
    let mut networks = Vec::new();
    for n in first..first + count {
        networks.push(run_provider(provider(n, bootstrap)).await);
    }
    networks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_found_through_one_bootstrap_node() {
    let (center, _) = run(bootstrap(1)).await;
    let start = [address(&center)];
    let networks = providers(10, 7, &start).await;
    let (gateway, _) = run(client(2, &start)).await;
    gateway.wait_for_providers(7, DEADLINE).await.unwrap();
    for network in &networks {
        network.wait_for_providers(6, DEADLINE).await.unwrap();
        assert!(!knows(network, network.local()), "a provider does not offer itself to itself");
        round_trip(&gateway, network.local()).await.unwrap();
    }
    until("the status shows the connections", || gateway.status().connected.len() >= 8).await;
    until("and their round trips", || gateway.status().connected.iter().all(|peer| peer.rtt_us.is_some())).await;
    let status = gateway.status();
    assert!(status.connected.iter().all(|peer| peer.agent.is_some()));
    assert!(status.dht_peers >= 7, "{status:?}");
    assert!(gateway.discover().await >= 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_goes_on_after_the_bootstrap_node_died() {
    let (center, center_incoming) = run(bootstrap(1)).await;
    let start = [address(&center)];
    let networks = providers(10, 5, &start).await;
    let (gateway, _) = run(client(2, &start)).await;
    gateway.wait_for_providers(5, DEADLINE).await.unwrap();
    drop(center_incoming);
    center.shutdown().await;
    let newcomer = run_provider(provider(40, &[address(&networks[3])])).await;
    until("the gateway finds the newcomer", || knows(&gateway, newcomer.local())).await;
    for network in &networks {
        until("every provider finds the newcomer", || knows(network, newcomer.local())).await;
    }
    newcomer.wait_for_providers(5, DEADLINE).await.unwrap();
    round_trip(&gateway, newcomer.local()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_needs_no_bootstrap_node() {
    let dir = tempfile::tempdir().unwrap();
    let book = dir.path().join("book.json");
    let (center, _) = run(bootstrap(1)).await;
    let start = [address(&center)];
    let networks = providers(10, 4, &start).await;
    let with_book = |bootstrap: &[String]| NetConfig { address_book: Some(book.clone()), ..client(2, bootstrap) };
    let (gateway, _) = run(with_book(&start)).await;
    gateway.wait_for_providers(4, DEADLINE).await.unwrap();
    gateway.shutdown().await;
    center.shutdown().await;
    let (gateway, _) = run(with_book(&[])).await;
    gateway.wait_for_providers(4, DEADLINE).await.unwrap();
    round_trip(&gateway, networks[0].local()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_of_different_names_do_not_mix() {
    let ours = run_provider(provider(10, &[])).await;
    let theirs = run_provider(NetConfig { network_id: "other".to_owned(), ..provider(11, &[address(&ours)]) }).await;
    let (gateway, _) = run(client(2, &[address(&ours), address(&theirs)])).await;
    gateway.wait_for_providers(1, DEADLINE).await.unwrap();
    until("the other network's node is let go", || gateway.status().connected.len() == 1).await;
    assert!(!knows(&gateway, theirs.local()) && !knows(&ours, theirs.local()) && !knows(&theirs, ours.local()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_advert_reaches_connected_peers_at_once() {
    let network = run_provider(provider(10, &[])).await;
    let (gateway, _) = run(client(2, &[address(&network)])).await;
    gateway.wait_for_providers(1, DEADLINE).await.unwrap();
    network.set_advert(cairn_net::AdvertTemplate { accepting: false, ..template() }).await;
    until("the change arrives", || gateway.providers().iter().all(|advert| !advert.accepting)).await;
}
