//! What one connection carries on loopback: MB/s of 64 KiB body frames over 1 and 8 streams, and how long a small
//! request takes, on a new stream and on a kept one.
//!
//! `cargo run --release -p cairn-net --example bench_stream [tcp|quic] [MiB]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_net::{AdvertTemplate, Incoming, NetConfig, Network, start};
use cairn_proto::shard::{List, Read, ReadHead, Request, Response, request, response};
use cairn_proto::{BoxStream, Frame, Framed, Transport};
use cairn_types::{Clock, NodeId, NodeKey, UnixMs};

const FRAME: usize = 64 * 1024;

struct Wall;

impl Clock for Wall {
    fn now(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
    }
}

async fn serve(mut incoming: Incoming) {
    while let Some((_, stream)) = incoming.next().await {
        tokio::spawn(answer(Framed::new(stream)));
    }
}

/// A `Read` is answered by as many bytes as it asks for, a `List` by an empty body frame.
async fn answer(mut framed: Framed<BoxStream>) -> Option<()> {
    let body = vec![7u8; FRAME];
    while let Ok(Request { kind: Some(kind) }) = framed.control::<Request>().await {
        match kind {
            request::Kind::Read(read) => {
                let head = Response { kind: Some(response::Kind::ReadHead(ReadHead { shard_len: read.len })) };
                framed.send(&head).await.ok()?;
                let mut left = read.len as usize;
                while left > 0 {
                    let len = left.min(FRAME);
                    framed.send_body(&body[..len]).await.ok()?;
                    left -= len;
                }
                framed.flush().await.ok()?;
            }
            _ => {
                framed.send_body(&[]).await.ok()?;
                framed.flush().await.ok()?;
            }
        }
    }
    Some(())
}

async fn read(framed: &mut Framed<BoxStream>, len: u64) {
    let read = request::Kind::Read(Read { len, ..Read::default() });
    framed.send(&Request { kind: Some(read) }).await.unwrap();
    let _: Response = framed.control().await.unwrap();
    let mut got = 0u64;
    while got < len {
        let Some(Frame::Body(body)) = framed.next().await.unwrap() else { panic!("not a body") };
        got += body.len() as u64;
    }
}

async fn ping(framed: &mut Framed<BoxStream>) {
    framed.send(&Request { kind: Some(request::Kind::List(List::default())) }).await.unwrap();
    framed.next().await.unwrap().unwrap();
}

async fn throughput(network: &Network, node: NodeId, streams: usize, len: u64) {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..streams {
        let network = network.clone();
        tasks.push(tokio::spawn(async move {
            let mut framed = Framed::new(network.open(node).await.unwrap());
            read(&mut framed, len / streams as u64).await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    println!("{streams} stream(s): {:.0} MB/s", len as f64 / 1e6 / begun.elapsed().as_secs_f64());
}

fn show(what: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!("{what}: p50 {:.0} us, p99 {:.0} us", at(0.5), at(0.99));
}

async fn latency(network: &Network, node: NodeId) {
    let mut fresh = Vec::new();
    let mut range = Vec::new();
    let mut kept = Vec::new();
    let mut framed = Framed::new(network.open(node).await.unwrap());
    for _ in 0..3000 {
        let begun = Instant::now();
        let mut other = Framed::new(network.open(node).await.unwrap());
        ping(&mut other).await;
        fresh.push(begun.elapsed());
        let begun = Instant::now();
        ping(&mut framed).await;
        kept.push(begun.elapsed());
        let begun = Instant::now();
        read(&mut framed, FRAME as u64).await;
        range.push(begun.elapsed());
    }
    show("open + tiny request", fresh);
    show("tiny request on a kept stream", kept);
    show("64 KiB read on a kept stream", range);
}

#[tokio::main]
async fn main() {
    let transport = std::env::args().nth(1).unwrap_or_else(|| "tcp".to_owned());
    let mib: u64 = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(2048);
    let listen = if transport == "quic" { "/ip4/127.0.0.1/udp/0/quic-v1" } else { "/ip4/127.0.0.1/tcp/0" };
    let config = NetConfig { listen: vec![listen.to_owned()], provider: true, ..NetConfig::new(NodeKey::from_secret([1; 32])) };
    let (server, incoming) = start(config, Arc::new(Wall)).await.unwrap();
    tokio::spawn(serve(incoming));
    server.set_advert(AdvertTemplate { accepting: true, ..AdvertTemplate::default() }).await;
    let address = format!("{}/p2p/{}", server.listen_addresses()[0], server.local());
    let config = NetConfig { bootstrap: vec![address], ..NetConfig::new(NodeKey::from_secret([2; 32])) };
    let (client, _incoming) = start(config, Arc::new(Wall)).await.unwrap();
    client.wait_for_providers(1, Duration::from_secs(10)).await.unwrap();
    println!("{transport}, both ends in this process");
    latency(&client, server.local()).await;
    for streams in [1, 8] {
        throughput(&client, server.local(), streams, mib << 20).await;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}
