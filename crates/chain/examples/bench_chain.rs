//! Transactions a second of the embedded chain with a disk sync before each answer: `bench_chain DIR`, over HTTP on loopback.
//!
//! Never: shares its directory with anything. Limits: 2,000 transactions for each number of clients.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, TxKind, U256, hex};
use alloy_sol_types::SolCall;
use cairn_chain::bindings::{CreditToken, Faucet};
use cairn_chain::embedded::{Embedded, EmbeddedConfig};
use cairn_chain::{CHAIN_ID, Contracts, Endpoint, EndpointConfig};
use cairn_types::eip712::keccak256;
use cairn_types::{Clock, Rng, UnixMs, WalletKey};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const TXS: u64 = 2000;

type Error = Box<dyn std::error::Error + Send + Sync>;

struct System;

impl Clock for System {
    fn now(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
    }
}

impl Rng for System {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

/// The faucet first, then transfers of credits.
fn raw(key: &WalletKey, nonce: u64) -> String {
    let at = Contracts::at_genesis();
    let to = |address: cairn_types::Address| TxKind::Call(address.0.into());
    let tx = TxEip1559 { chain_id: CHAIN_ID, nonce, gas_limit: 200_000, ..TxEip1559::default() };
    let tx = if nonce == 0 {
        let input = Faucet::dripCall { to: key.address().0.into() }.abi_encode();
        TxEip1559 { to: to(at.faucet.unwrap_or(at.token)), input: input.into(), ..tx }
    } else {
        let input = CreditToken::transferCall { to: [0x77; 20].into(), value: U256::from(1) }.abi_encode();
        TxEip1559 { to: to(at.token), input: input.into(), ..tx }
    };
    let signature = key.sign_digest(&tx.signature_hash().0).0;
    let (r, s) = (U256::from_be_slice(&signature[..32]), U256::from_be_slice(&signature[32..64]));
    hex::encode_prefixed(TxEnvelope::from(tx.into_signed(Signature::new(r, s, signature[64] == 28))).encoded_2718())
}

async fn client(url: String, key: WalletKey, count: u64) -> Result<Duration, Error> {
    let node = Endpoint::new(EndpointConfig::new(url, CHAIN_ID))?;
    let raws: Vec<_> = (0..count).map(|nonce| raw(&key, nonce)).collect();
    let begun = Instant::now();
    for raw in raws {
        let _: String = node.ask("eth_sendRawTransaction", json!([raw])).await?;
    }
    Ok(begun.elapsed())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let dir = std::env::args().nth(1).ok_or("usage: bench_chain DIR")?;
    let chain = Embedded::open(EmbeddedConfig::new(dir.into()), Arc::new(System), &System)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (served, stop) = (chain.clone(), CancellationToken::new());
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { served.serve(listener, stop).await }
    });
    for clients in [1u64, 4, 16, 64] {
        let begun = Instant::now();
        let tasks = (0..clients).map(|client_number| {
            let secret = keccak256([clients.to_be_bytes(), client_number.to_be_bytes()].concat());
            WalletKey::from_secret(&secret).map(|key| tokio::spawn(client(url.clone(), key, TXS / clients)))
        });
        let tasks: Vec<_> = tasks.collect::<Option<_>>().ok_or("a hash beyond the order")?;
        for task in tasks {
            task.await??;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{clients:3} clients: {:6.0} transactions/s", (TXS / clients * clients) as f64 / seconds);
    }
    let begun = Instant::now();
    chain.verify()?;
    println!("verified {} blocks in {:.2} s", chain.head()?.0, begun.elapsed().as_secs_f64());
    stop.cancel();
    serving.await?;
    Ok(())
}
