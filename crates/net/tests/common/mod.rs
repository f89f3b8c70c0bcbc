//! Real nodes on loopback, and waiting for conditions instead of sleeping.

#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_net::{AdvertTemplate, Incoming, NetConfig, Network, start};
use cairn_proto::{Framed, Transport};
use cairn_types::{Clock, NodeId, NodeKey, UnixMs};
use futures::io::{AsyncReadExt, AsyncWriteExt};

/// Generous, because the build machine may be busy; conditions are met much sooner.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The system's clock.
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        UnixMs(since.as_millis() as u64)
    }
}

pub fn key(n: u8) -> NodeKey {
    NodeKey::from_secret([n; 32])
}

pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A provider that listens on a free TCP port.
pub fn provider(n: u8, bootstrap: &[String]) -> NetConfig {
    NetConfig {
        listen: vec![TCP.to_owned()],
        provider: true,
        network_id: "test".to_owned(),
        bootstrap: bootstrap.to_vec(),
        ..NetConfig::new(key(n))
    }
}

/// A node that only knows others.
pub fn bootstrap(n: u8) -> NetConfig {
    NetConfig { provider: false, dht_server: true, ..provider(n, &[]) }
}

/// A node that neither listens nor serves.
pub fn client(n: u8, bootstrap: &[String]) -> NetConfig {
    NetConfig { listen: Vec::new(), provider: false, ..provider(n, bootstrap) }
}

pub async fn run(config: NetConfig) -> (Network, Incoming) {
    start(config, Arc::new(Wall)).await.unwrap()
}

/// Starts a provider that advertises itself and echoes every stream.
pub async fn run_provider(config: NetConfig) -> Network {
    let (network, incoming) = run(config).await;
    tokio::spawn(echo(incoming));
    network.set_advert(template()).await;
    network
}

pub fn template() -> AdvertTemplate {
    AdvertTemplate { free_len: 1 << 30, total_len: 1 << 30, region: "test".into(), operator: String::new(), accepting: true }
}

/// Sends back what comes, stream by stream.
pub async fn echo(mut incoming: Incoming) {
    while let Some((_, mut stream)) = incoming.next().await {
        tokio::spawn(async move {
            let mut bytes = vec![0u8; 4096];
            while let Ok(len @ 1..) = stream.read(&mut bytes).await {
                if stream.write_all(&bytes[..len]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            let _ = stream.close().await;
        });
    }
}

/// Opens a stream, sends some bytes and reads them back.
pub async fn round_trip(network: &Network, peer: NodeId) -> Result<(), String> {
    let mut stream = network.open(peer).await.map_err(|error| error.to_string())?;
    let sent = *b"are you there?";
    let talk = async {
        stream.write_all(&sent).await?;
        stream.flush().await?;
        let mut back = [0u8; 14];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, sent);
        stream.close().await
    };
    tokio::time::timeout(DEADLINE, talk).await.map_err(|_| "timed out".to_owned())?.map_err(|error| error.to_string())
}

/// Where a node listens, with its name.
pub fn address(network: &Network) -> String {
    format!("{}/p2p/{}", network.listen_addresses()[0], network.local())
}

/// Waits until `met` holds; panics with `what` after [`DEADLINE`].
pub async fn until(what: &str, mut met: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !met() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

pub fn knows(network: &Network, node: NodeId) -> bool {
    network.providers().iter().any(|advert| advert.node == node)
}

pub fn framed(stream: cairn_proto::BoxStream) -> Framed<cairn_proto::BoxStream> {
    Framed::new(stream)
}
