//! Serves an embedded chain with a test clock from a directory, for trying wallets and tools by hand: `serve_chain DIR [ADDRESS]`.
//!
//! Never: for anything of worth; anybody who reaches it can move its time.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_chain::embedded::{Embedded, EmbeddedConfig};
use cairn_types::{Clock, Rng, UnixMs};
use tokio_util::sync::CancellationToken;

struct System;

impl Clock for System {
    fn now(&self) -> UnixMs {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(elapsed.as_millis() as u64)
    }
}

impl Rng for System {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: serve_chain DIR [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8545".into());
    let config = EmbeddedConfig { test_clock: true, ..EmbeddedConfig::new(dir.into()) };
    let chain = Embedded::open(config, Arc::new(System), &System)?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("chain {} at http://{}", chain.chain_id(), listener.local_addr()?);
    println!("{:#?}", chain.contracts());
    chain.serve(listener, CancellationToken::new()).await;
    Ok(())
}
