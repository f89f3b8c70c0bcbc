//! Connections: dead peers fail fast and come back, limits hold, private networks are closed, many streams fit.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use cairn_net::{ConnectionLimits, NetConfig, NetError, start};
use cairn_proto::{Transport, TransportError};
use common::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_provider_fails_fast_is_left_out_and_works_again_soon_after_its_restart() {
    let network = run_provider(provider(10, &[])).await;
    let (node, at) = (network.local(), network.listen_addresses()[0].clone());
    let (gateway, _) = run(client(2, &[address(&network)])).await;
    gateway.wait_for_providers(1, DEADLINE).await.unwrap();
    round_trip(&gateway, node).await.unwrap();

    network.shutdown().await;
    let gone = until("the provider is left out", || !knows(&gateway, node)).await;
    assert!(gone < Duration::from_secs(1), "took {gone:?}");
    let begun = Instant::now();
    for _ in 0..100 {
        let error = gateway.open(node).await.err().expect("nobody is there");
        assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "100 opens took {:?}", begun.elapsed());

    let again = NetConfig { listen: vec![at], ..provider(10, &[]) };
    let network = run_provider(again).await;
    let back = until("the provider is back", || knows(&gateway, node)).await;
    assert!(back < Duration::from_secs(4), "took {back:?}");
    round_trip(&gateway, node).await.unwrap();
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_peer_is_a_typed_error_and_does_not_wait_for_ever() {
    let network = run_provider(provider(10, &[])).await;
    let (gateway, _) = run(client(2, &[address(&network)])).await;
    gateway.wait_for_providers(1, DEADLINE).await.unwrap();
    let begun = Instant::now();
    let error = gateway.open(key(99).id()).await.err().expect("nobody is there");
    assert!(matches!(error, TransportError::Unreachable { .. } | TransportError::TimedOut { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(12));
    let error = network.open(network.local()).await.err().expect("itself");
    assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stores_nothing_does_not_speak_the_shard_protocol() {
    let (center, _) = run(bootstrap(1)).await;
    let (gateway, _) = run(client(2, &[])).await;
    gateway.dial(&address(&center).replace("/ip4/127.0.0.1/", "/dns4/localhost/")).await.unwrap();
    until("the peer has identified itself", || gateway.status().connected.iter().any(|peer| peer.agent.is_some())).await;
    let error = gateway.open(center.local()).await.err().expect("it stores nothing");
    assert!(matches!(error, TransportError::Unsupported { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_address_only_the_dht_knows_is_found() {
    let (center, _) = run(bootstrap(1)).await;
    let hidden = run(provider(10, &[address(&center)])).await;
    tokio::spawn(echo(hidden.1));
    until("the bootstrap node has it", || center.status().dht_peers == 1).await;
    let (gateway, _) = run(client(2, &[address(&center)])).await;
    until("the gateway has the bootstrap node", || gateway.status().dht_peers >= 1).await;
    round_trip(&gateway, hidden.0.local()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_network_admits_only_those_with_its_key() {
    let psk = cairn_net::psk::parse(&cairn_net::psk::generate([7; 32])).unwrap();
    let network = run_provider(NetConfig { psk: Some(psk), ..provider(10, &[]) }).await;
    let friend = run(NetConfig { psk: Some(psk), ..client(2, &[]) }).await.0;
    friend.dial(&address(&network)).await.unwrap();
    round_trip(&friend, network.local()).await.unwrap();
    for (n, psk) in [(3, None), (4, Some([8; 32]))] {
        let stranger = run(NetConfig { psk, ..client(n, &[]) }).await.0;
        let error = stranger.dial(&address(&network)).await.expect_err("no admittance");
        assert!(matches!(error, NetError::Unreachable { .. } | NetError::TimedOut { .. }), "{error}");
        assert_eq!(stranger.status().connected.len(), 0);
    }
    until("the friend alone is connected", || network.status().connected.len() == 1).await;
    assert_eq!(network.status().connected[0].node, friend.local());
    let quic = NetConfig { psk: Some(psk), listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()], ..provider(11, &[]) };
    assert!(matches!(start(quic, std::sync::Arc::new(Wall)).await.err(), Some(NetError::QuicWithKey { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_alone_is_enough_and_tcp_is_preferred_where_both_are_offered() {
    let quic = "/ip4/127.0.0.1/udp/0/quic-v1".to_owned();
    let only_quic = run_provider(NetConfig { listen: vec![quic.clone()], ..provider(10, &[]) }).await;
    let both = run_provider(NetConfig { listen: vec![quic, TCP.to_owned()], ..provider(11, &[address(&only_quic)]) }).await;
    let (gateway, _) = run(client(2, &[address(&only_quic)])).await;
    gateway.wait_for_providers(2, DEADLINE).await.unwrap();
    round_trip(&gateway, only_quic.local()).await.unwrap();
    round_trip(&gateway, both.local()).await.unwrap();
    until("TCP is in use", || {
        let status = gateway.status();
        status.connected.iter().any(|peer| peer.node == both.local() && peer.address.contains("/tcp/"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_limits_hold_per_peer_and_in_total() {
    let limits = ConnectionLimits { per_peer: 2, total_in: 3, ..ConnectionLimits::default() };
    let network = run_provider(NetConfig { limits, ..provider(10, &[]) }).await;
    let one = run(client(2, &[])).await.0;
    for _ in 0..6 {
        // The third and later are closed by the other side, which the dialler may see as a success at first.
        let _ = one.dial(&address(&network)).await;
    }
    let connections = |node| {
        let status = network.status();
        status.connected.iter().find(|peer| peer.node == node).map_or(0, |peer| peer.connections)
    };
    until("two connections stand", || connections(one.local()) == 2).await;
    round_trip(&one, network.local()).await.unwrap();
    let mut others = Vec::new();
    for n in 3..8 {
        let other = run(client(n, &[])).await.0;
        let _ = other.dial(&address(&network)).await;
        others.push(other);
        let total: usize = network.status().connected.iter().map(|peer| peer.connections).sum();
        assert!(total <= 3 && connections(one.local()) <= 2, "{total} connections");
    }
    until("the third connection stands", || network.status().connected.iter().map(|peer| peer.connections).sum::<usize>() == 3)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_streams_opened_at_once_all_work() {
    let network = run_provider(provider(10, &[])).await;
    let mut gateways = Vec::new();
    for n in 2..5 {
        let gateway = run(client(n, &[address(&network)])).await.0;
        gateway.wait_for_providers(1, DEADLINE).await.unwrap();
        gateways.push(gateway);
    }
    let node = network.local();
    let mut held = Vec::new();
    let trips = gateways.iter().flat_map(|gateway| (0..300).map(move |_| gateway.clone())).map(|gateway| {
        tokio::spawn(async move {
            let mut stream = gateway.open(node).await.map_err(|error| error.to_string())?;
            futures::io::AsyncWriteExt::write_all(&mut stream, b"x").await.map_err(|error| error.to_string())?;
            futures::io::AsyncWriteExt::flush(&mut stream).await.map_err(|error| error.to_string())?;
            let mut back = [0u8; 1];
            let read = futures::io::AsyncReadExt::read_exact(&mut stream, &mut back);
            tokio::time::timeout(DEADLINE, read).await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            Ok::<_, String>(stream)
        })
    });
    for trip in trips.collect::<Vec<_>>() {
        held.push(trip.await.unwrap().unwrap());
    }
    assert_eq!(held.len(), 900, "all open at the same time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_reset_and_room_comes_back() {
    let limits = ConnectionLimits { streams_per_connection: 4, ..ConnectionLimits::default() };
    let network = run_provider(NetConfig { limits, ..provider(10, &[]) }).await;
    let (gateway, _) = run(client(2, &[address(&network)])).await;
    gateway.wait_for_providers(1, DEADLINE).await.unwrap();
    let node = network.local();
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = gateway.open(node).await.unwrap();
        let mut back = [0u8; 1];
        futures::io::AsyncWriteExt::write_all(&mut stream, b"x").await.unwrap();
        futures::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        futures::io::AsyncReadExt::read_exact(&mut stream, &mut back).await.unwrap();
        held.push(stream);
    }
    assert!(round_trip(&gateway, node).await.is_err(), "the fifth is refused");
    held.clear();
    let begun = Instant::now();
    while round_trip(&gateway, node).await.is_err() {
        assert!(begun.elapsed() < DEADLINE, "room does not come back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_typed_errors() {
    let (network, _incoming) = run(provider(10, &[])).await;
    let taken = network.listen_addresses()[0].clone();
    let (quic, _quic_incoming) =
        run(NetConfig { listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()], ..provider(12, &[]) }).await;
    let udp_taken = quic.listen_addresses()[0].clone();
    let listen = |address: &str| NetConfig { listen: vec![address.to_owned()], ..provider(11, &[]) };
    let error = |config| async { start(config, std::sync::Arc::new(Wall)).await.err().expect("refused") };
    assert!(matches!(error(listen(&taken)).await, NetError::AddressInUse { .. }));
    assert!(matches!(error(listen(&udp_taken)).await, NetError::AddressInUse { .. }));
    assert!(matches!(error(listen("127.0.0.1:4001")).await, NetError::BadAddress { .. }));
    assert!(matches!(error(listen("/ip4/127.0.0.1/tcp/4001/ws")).await, NetError::BadAddress { .. }));
    assert!(matches!(error(listen("/ip4/192.0.2.1/tcp/4001")).await, NetError::Listen { .. }));
    assert!(matches!(error(provider(11, &["nowhere".into()])).await, NetError::BadAddress { .. }));
    let named = NetConfig { external: vec!["/dns4/example.org/tcp/4001".into()], ..provider(11, &[]) };
    assert!(matches!(error(named).await, NetError::BadAddress { .. }));
    let id = NetConfig { network_id: "a/b".into(), ..provider(11, &[]) };
    assert!(matches!(error(id).await, NetError::BadNetworkId(_)));
}
