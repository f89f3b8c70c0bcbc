//! A chain with our contracts, and wallets on it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_chain::embedded::{Embedded, EmbeddedConfig};
use cairn_chain::ledger::{Chain, ChainConfig, Worker};
use cairn_chain::{CHAIN_ID, CommandId, CommandState, Endpoint, EndpointConfig, LedgerEvent, genesis};
use cairn_types::{Address, Amount, Clock, Rng, UnixMs, WalletKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long a command may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct System;

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

enum Host {
    Embedded { stop: CancellationToken },
    Anvil { child: Child },
}

pub struct World {
    pub url: String,
    pub endpoint: Endpoint,
    pub dir: TempDir,
    host: Host,
}

impl Drop for World {
    fn drop(&mut self) {
        match &mut self.host {
            Host::Embedded { stop } => stop.cancel(),
            Host::Anvil { child } => {
                // npm's wrapper passes SIGTERM on to anvil and ends with it; killed, it would leave anvil behind.
                let ended = Command::new("kill").arg(child.id().to_string()).status();
                if !ended.is_ok_and(|status| status.success()) {
                    let _ = child.kill();
                }
                let _ = child.wait();
            }
        }
    }
}

/// An embedded chain in `dir`, served until the token is cancelled.
pub async fn serve(dir: &Path) -> (String, Embedded, CancellationToken) {
    let config = EmbeddedConfig { test_clock: true, ..EmbeddedConfig::new(dir.join("chain")) };
    let chain = tokio::task::spawn_blocking(move || Embedded::open(config, Arc::new(System), &System).unwrap()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, stop) = (format!("http://{}", listener.local_addr().unwrap()), CancellationToken::new());
    let (serving, stopping) = (chain.clone(), stop.clone());
    tokio::spawn(async move { serving.serve(listener, stopping).await });
    (url, chain, stop)
}

pub fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(EndpointConfig::new(url, CHAIN_ID)).unwrap()
}

impl World {
    pub async fn embedded() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (url, _, stop) = serve(dir.path()).await;
        World { endpoint: endpoint(&url), url, dir, host: Host::Embedded { stop } }
    }

    /// None only if `CAIRN_NO_ANVIL=1` says so.
    pub async fn anvil() -> Option<World> {
        let Ok(program) = std::env::var("CAIRN_ANVIL") else {
            let told = std::env::var("CAIRN_NO_ANVIL").is_ok_and(|value| value == "1");
            assert!(
                told,
                "CAIRN_ANVIL must name anvil (npm install @foundry-rs/anvil), or CAIRN_NO_ANVIL=1 must say that it is not tested"
            );
            println!("NOT TESTED on anvil: CAIRN_NO_ANVIL=1");
            return None;
        };
        let mut child = Command::new(&program)
            .args(["--port", "0", "--chain-id", &CHAIN_ID.to_string(), "--hardfork", "cancun", "--accounts", "1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned)).unwrap();
        std::thread::spawn(move || lines.for_each(drop)); // or its pipe fills up
        let url = format!("http://{listening}");
        let world = World { endpoint: endpoint(&url), url, dir: tempfile::tempdir().unwrap(), host: Host::Anvil { child } };
        world.deploy().await;
        Some(world)
    }

    pub fn is_embedded(&self) -> bool {
        matches!(self.host, Host::Embedded { .. })
    }

    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.endpoint.ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Coin for gas; on the embedded chain everybody has some.
    pub async fn fund(&self, address: Address) {
        if !self.is_embedded() {
            self.ask("anvil_setBalance", json!([address.to_string(), "0x56bc75e2d63100000"])).await;
        }
    }

    async fn deploy(&self) {
        let key = genesis::deployer();
        self.fund(key.address()).await;
        for (nonce, deployment) in (0..).zip(genesis::deployments()) {
            let raw = genesis::deploy_raw(&deployment, CHAIN_ID, nonce, 10_000_000_000, &key);
            let hash = self.ask("eth_sendRawTransaction", json!([format!("0x{}", hex::encode(raw))])).await;
            let receipt = self.receipt(&hash).await;
            assert_eq!(receipt["status"], "0x1", "{}: {receipt}", deployment.name);
        }
    }

    /// The receipt of a transaction that is about to be mined.
    pub async fn receipt(&self, hash: &Value) -> Value {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
                if !receipt.is_null() {
                    return receipt;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{hash} was not mined"))
    }

    /// Moves the chain's time on and mines a block there.
    pub async fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.ask("evm_mine", json!([])).await;
    }

    pub fn config(&self, name: &str, key: &WalletKey) -> ChainConfig {
        let path = self.dir.path().join(name);
        ChainConfig { poll: Duration::from_millis(50), ..ChainConfig::embedded(self.url.clone(), key.clone(), path) }
    }

    /// A wallet that is at work, with coin for gas.
    pub async fn wallet(&self, name: &str) -> Wallet {
        let key = key(name);
        self.fund(key.address()).await;
        Wallet::open(self.config(name, &key), key).await
    }
}

pub fn key(name: &str) -> WalletKey {
    WalletKey::from_secret(&cairn_types::eip712::keccak256(name)).unwrap()
}

/// A ledger with its worker.
pub struct Wallet {
    pub chain: Chain,
    pub key: WalletKey,
    stop: CancellationToken,
    worker: Option<tokio::task::JoinHandle<()>>,
}

/// Opens a ledger that may have been closed a moment ago: a write that was on its way then ends by itself.
pub async fn open(config: ChainConfig) -> (Chain, Worker) {
    for _ in 0..100 {
        let again = config.clone();
        match tokio::task::spawn_blocking(move || Chain::open(again, Arc::new(System))).await.unwrap() {
            Ok(opened) => return opened,
            Err(error) if error.to_string().contains("lock") => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the ledger is still open");
}

impl Wallet {
    pub async fn open(config: ChainConfig, key: WalletKey) -> Wallet {
        let (chain, worker) = open(config).await;
        let stop = CancellationToken::new();
        let worker = Some(tokio::spawn(worker.run(stop.clone())));
        Wallet { chain, key, stop, worker }
    }

    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Ends the worker and closes the database.
    pub async fn close(mut self) {
        self.stop.cancel();
        if let Some(worker) = self.worker.take() {
            worker.await.unwrap();
        }
    }

    pub async fn done(&self, id: CommandId) {
        let state = self.end(id).await;
        assert!(matches!(state, CommandState::Done { .. }), "{id}: {state:?}");
    }

    /// How a command ended.
    pub async fn end(&self, id: CommandId) -> CommandState {
        self.chain.finished(id, PATIENCE).await.unwrap_or_else(|error| panic!("{error}; {:?}", self.chain.health()))
    }

    pub async fn refused(&self, id: CommandId, reason: &str) {
        match self.end(id).await {
            CommandState::Failed { reason: found, .. } => assert!(found.contains(reason), "{found}"),
            state => panic!("{id}: {state:?}"),
        }
    }

    /// 1,000 credits from the faucet.
    pub async fn drip(&self) {
        let id = CommandId::of(&format!("drip/{}", self.address()));
        self.chain.drip(id, self.address()).await.unwrap();
        self.done(id).await;
    }

    pub async fn credits(&self) -> Amount {
        self.chain.credits(self.address()).await.unwrap()
    }

    /// Waits until the events told so far satisfy `enough`, and answers them.
    pub async fn events(&self, enough: impl Fn(&[LedgerEvent]) -> bool) -> Vec<LedgerEvent> {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let notices = self.chain.notices(0, 1000).await.unwrap();
                assert!(notices.iter().all(|notice| notice.happened), "nothing is taken back here");
                let events: Vec<_> = notices.into_iter().map(|notice| notice.event).collect();
                if enough(&events) {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("the events did not come; {:?}", self.chain.health()))
    }
}

/// Rounds until a command has ended; anvil mines a moment after it has answered.
pub async fn settle(chain: &Chain, worker: &mut Worker, id: CommandId) -> CommandState {
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            worker.round().await;
            match chain.command(id).await.unwrap() {
                Some(state) if state.is_final() => return state,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    ended.await.unwrap_or_else(|_| panic!("{id} has not ended: {:?}", chain.health()))
}

/// [`settle`], and it is done by a transaction.
pub async fn settle_done(chain: &Chain, worker: &mut Worker, id: CommandId) {
    let state = settle(chain, worker, id).await;
    assert!(matches!(state, CommandState::Done { tx: Some(_), .. }), "{id}: {state:?}");
}

pub fn crd(credits: u64) -> Amount {
    Amount::from_credits(credits)
}

pub fn id(text: &str) -> CommandId {
    CommandId::of(text)
}
