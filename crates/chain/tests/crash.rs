//! `kill -9` of a process that serves the embedded chain, under load, at random moments: whatever was acknowledged is there.
//!
//! A child is this test itself. `CAIRN_CRASH_ROUNDS` (6) and `CAIRN_CRASH_SEED` (the process id) can be given.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, TxKind, U256, hex as hexes};
use alloy_sol_types::SolCall;
use cairn_chain::bindings::{CreditToken, Faucet};
use cairn_chain::embedded::{Embedded, EmbeddedConfig, GRANT};
use cairn_chain::{CHAIN_ID, Contracts, Endpoint, EndpointConfig};
use cairn_types::eip712::keccak256;
use cairn_types::{Address, Clock, Rng, UnixMs, WalletKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const DIR: &str = "CAIRN_TEST_CHAIN_DIR";
const NAME: &str = "kill_9_loses_no_acknowledged_transaction";
const WALLETS: u64 = 4;
const PAYEE: Address = Address([0x77; 20]);

struct System;

impl Clock for System {
    fn now(&self) -> UnixMs {
        UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
    }
}

impl Rng for System {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// SplitMix64.
fn mixed(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn key(wallet: u64) -> WalletKey {
    WalletKey::from_secret(&keccak256(wallet.to_be_bytes())).unwrap()
}

fn open(dir: &Path) -> Embedded {
    Embedded::open(EmbeddedConfig::new(dir.to_owned()), Arc::new(System), &System).unwrap()
}

async fn serve(chain: Embedded) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { chain.serve(listener, CancellationToken::new()).await });
    url
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(EndpointConfig { tries_max: 1, ..EndpointConfig::new(url, CHAIN_ID) }).unwrap()
}

/// Every wallet begins with the faucet; then coin and credits in turn.
fn raw(key: &WalletKey, nonce: u64) -> String {
    let at = Contracts::at_genesis();
    let to = |address: Address| TxKind::Call(address.0.into());
    let tx = TxEip1559 { chain_id: CHAIN_ID, nonce, gas_limit: 200_000, ..TxEip1559::default() };
    let tx = match nonce {
        0 => TxEip1559 {
            to: to(at.faucet.unwrap()),
            input: Faucet::dripCall { to: key.address().0.into() }.abi_encode().into(),
            ..tx
        },
        odd if odd % 2 == 1 => TxEip1559 { to: to(PAYEE), value: U256::from(nonce), ..tx },
        _ => {
            let call = CreditToken::transferCall { to: PAYEE.0.into(), value: U256::from(nonce) };
            TxEip1559 { to: to(at.token), input: call.abi_encode().into(), ..tx }
        }
    };
    let signature = key.sign_digest(&tx.signature_hash().0).0;
    let (r, s) = (U256::from_be_slice(&signature[..32]), U256::from_be_slice(&signature[32..64]));
    let envelope = TxEnvelope::from(tx.into_signed(Signature::new(r, s, signature[64] == 28)));
    hexes::encode_prefixed(envelope.encoded_2718())
}

async fn nonce(node: &Endpoint, wallet: u64) -> u64 {
    let count: String = node.ask("eth_getTransactionCount", json!([key(wallet).address().to_string(), "latest"])).await.unwrap();
    u64::from_str_radix(&count[2..], 16).unwrap()
}

/// Sends until the chain is gone; answers hash by (wallet, nonce) of all that was acknowledged.
async fn load(url: String) -> BTreeMap<(u64, u64), String> {
    let wallets = (0..WALLETS).map(|wallet| {
        let node = endpoint(&url);
        tokio::spawn(async move {
            let mut acknowledged = BTreeMap::new();
            let Ok(count) =
                node.ask::<String>("eth_getTransactionCount", json!([key(wallet).address().to_string(), "latest"])).await
            else {
                return acknowledged;
            };
            for nonce in u64::from_str_radix(&count[2..], 16).unwrap().. {
                match node.ask::<String>("eth_sendRawTransaction", json!([raw(&key(wallet), nonce)])).await {
                    Ok(hash) => drop(acknowledged.insert((wallet, nonce), hash)),
                    Err(error) if error.is_refusal() => panic!("wallet {wallet}, nonce {nonce}: {error}"),
                    Err(_) => break,
                }
            }
            acknowledged
        })
    });
    let mut all = BTreeMap::new();
    for wallet in wallets.collect::<Vec<_>>() {
        all.extend(wallet.await.unwrap());
    }
    all
}

async fn credits(node: &Endpoint, call: impl SolCall<Return = U256>) -> U256 {
    let token = Contracts::at_genesis().token.to_string();
    node.ask("eth_call", json!([{"to": token, "input": hexes::encode_prefixed(call.abi_encode())}, "latest"])).await.unwrap()
}

/// Everything acknowledged is there with its receipt, nonces have no gap, coin and credits are conserved.
async fn check(dir: &Path, acknowledged: &BTreeMap<(u64, u64), String>) {
    let chain = open(dir);
    let verified = chain.clone();
    tokio::task::spawn_blocking(move || verified.verify().unwrap()).await.unwrap();
    let node = endpoint(&serve(chain).await);
    for ((wallet, nonce), hash) in acknowledged {
        let receipt: Value = node.ask("eth_getTransactionReceipt", json!([hash])).await.unwrap();
        assert_eq!(receipt["status"], "0x1", "wallet {wallet}, nonce {nonce}: {receipt}");
    }
    let (mut coin, mut held, mut mined) = (U256::ZERO, U256::ZERO, 0);
    let everybody = (0..WALLETS).map(|wallet| key(wallet).address()).chain([PAYEE]);
    for address in everybody {
        coin += node.ask::<U256>("eth_getBalance", json!([address.to_string(), "latest"])).await.unwrap();
        held += credits(&node, CreditToken::balanceOfCall { account: address.0.into() }).await;
    }
    for wallet in 0..WALLETS {
        let (next, known) = (nonce(&node, wallet).await, acknowledged.range((wallet, 0)..(wallet + 1, 0)).count() as u64);
        let last = acknowledged.range((wallet, 0)..(wallet + 1, 0)).next_back().map_or(0, |((_, nonce), _)| nonce + 1);
        assert!(next >= last, "wallet {wallet}: next nonce {next}, {last} were acknowledged");
        assert!(known <= next);
        mined += next;
    }
    assert_eq!(coin, GRANT * U256::from(WALLETS + 1));
    assert_eq!(held, credits(&node, CreditToken::totalSupplyCall {}).await);
    let head: String = node.ask("eth_blockNumber", json!([])).await.unwrap();
    assert_eq!(u64::from_str_radix(&head[2..], 16).unwrap(), 5 + mined, "a block for every transaction");
}

#[test]
fn kill_9_loses_no_acknowledged_transaction() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(dir) = std::env::var(DIR) {
        let chain = open(Path::new(&dir));
        runtime.block_on(async {
            println!("\nurl {}", serve(chain).await);
            std::future::pending::<()>().await;
        });
    }
    let (rounds, seed) = (number("CAIRN_CRASH_ROUNDS", 6), number("CAIRN_CRASH_SEED", std::process::id().into()));
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("url ").map(str::to_owned)).expect("the child serves");
        let life_ms = 50 + mixed(seed.wrapping_mul(1000) + round) % 700;
        let new = runtime.block_on(async {
            let load = tokio::spawn(load(url));
            tokio::time::sleep(Duration::from_millis(life_ms)).await;
            child.kill().unwrap();
            load.await.unwrap()
        });
        assert!(child.wait().unwrap().code().is_none(), "round {round}: the child ended by itself");
        println!("seed {seed}, round {round}: killed after {life_ms} ms, {} acknowledged", new.len());
        acknowledged.extend(new);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(dir.path(), &acknowledged));
        runtime.shutdown_timeout(Duration::from_secs(10)); // its tasks hold the chain open
    }
    assert!(acknowledged.len() > 10, "{} acknowledged: nothing was tested", acknowledged.len());
}
