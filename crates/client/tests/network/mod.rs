//! A network of real providers in one process: streams are pipes in memory, disks are directories, faults are switched on at the pipe.
//!
//! With prices, they are paid out of channels on a chain in memory, and a clock that stands still until a test moves it counts for all.
//! Never: a stand-in for a provider; what answers is `cairn_provider::Server` over its own store.

#![allow(dead_code)] // each test binary uses its part

pub mod chain;
pub mod cheat;
pub mod deals;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use cairn_client::{Client, Config, LedgerError, Parts, PayConfig, Paying};
use cairn_proto::{Advert, BoxStream, Transport, TransportError};
use cairn_provider::{Accounts, DealAccount, DiskConfig, Paid, Prices, Server, ServerConfig, Store, StoreConfig};
use cairn_types::{Address, Amount, Clock, NodeId, NodeKey, Phrase, Rng, UnixMs, WalletKey};
use chain::Chain;
use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_util::compat::TokioAsyncReadCompatExt;

pub struct WallClock;
impl Clock for WallClock {
    fn now(&self) -> UnixMs {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        UnixMs(now.as_millis() as u64)
    }
}

/// A clock that a test moves.
pub struct HandClock(AtomicU64);
impl HandClock {
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}
impl Clock for HandClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

pub struct OsRng;
impl Rng for OsRng {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

/// One provider and the switches of its faults.
pub struct Provider {
    pub key: NodeKey,
    pub dir: PathBuf,
    pub quota_len: u64,
    server: Mutex<Option<(Server, Store)>>,
    streams: Mutex<Vec<AbortHandle>>,
    /// Streams opened so far.
    pub opened: AtomicU64,
    /// Bytes read from it so far.
    pub served_len: AtomicU64,
    /// Bytes on their way to the client are held back.
    pub frozen: Arc<AtomicBool>,
    /// What is sent to it arrives at once, and the sender is told so this much later.
    pub flush_takes: Arc<Mutex<Option<Duration>>>,
    /// Kill the provider after this many more bytes were sent to it.
    pub dies_after: Arc<Mutex<Option<u64>>>,
    /// Kill the provider after this many more bytes were read from it.
    pub dies_after_serving: Arc<Mutex<Option<u64>>>,
    /// What it is paid.
    pub prices: Mutex<Option<Prices>>,
    pub accounts: Mutex<Option<Accounts>>,
    /// What it does differently.
    pub cheat: Mutex<Option<Arc<dyn cheat::Cheat>>>,
    chain: Arc<Chain>,
    clock: Arc<dyn Clock>,
}

impl Provider {
    pub fn start(&self) {
        let disk = DiskConfig { path: self.dir.join("disk"), quota_len: self.quota_len, reserve_len: 0 };
        let config = StoreConfig::new(self.dir.join("data"), vec![disk]);
        // The locks of a provider that was killed are free once its last stream is gone.
        let open = || Store::open(config.clone(), self.key.id(), self.clock.clone(), &OsRng);
        let again = || {
            std::thread::sleep(Duration::from_millis(50));
            open().ok()
        };
        let store = open().ok().or_else(|| (0..100).find_map(|_| again())).expect("the store opens");
        let config = ServerConfig { stall: Duration::from_secs(5), ..ServerConfig::default() };
        let server = match &self.prices() {
            None => Server::new(store.clone(), self.key.clone(), ServerConfig::default()),
            Some(prices) => {
                let settlement = self.chain.wallet(self.owner());
                let paid = Paid::new(self.dir.join("ledger"), prices.clone(), self.signer(), settlement);
                let accounts = Accounts::open(store.clone(), self.key.clone(), paid).expect("the accounts open");
                *self.accounts.lock().expect("no holder of this lock panics") = Some(accounts.clone());
                Server::paid(store.clone(), self.key.clone(), config, accounts)
            }
        };
        *self.server.lock().expect("no holder of this lock panics") = Some((server, store));
    }

    pub fn prices(&self) -> Option<Prices> {
        self.prices.lock().expect("no holder of this lock panics").clone()
    }

    /// Its account of its only paid deal.
    pub fn account(&self) -> DealAccount {
        self.first_account().expect("a deal")
    }

    /// None: nobody has a deal with it yet.
    pub fn first_account(&self) -> Option<DealAccount> {
        let accounts = self.accounts.lock().expect("no holder of this lock panics").clone();
        accounts.expect("it is alive").list().expect("countable").into_iter().next()
    }

    fn secret(&self, number: u8) -> WalletKey {
        let mut secret = [number; 32];
        secret[..8].copy_from_slice(&self.key.id().0[..8]);
        WalletKey::from_secret(&secret).expect("a key")
    }

    pub fn owner(&self) -> Address {
        self.secret(1).address()
    }

    pub fn signer(&self) -> WalletKey {
        self.secret(2)
    }

    /// As kill -9 looks from outside: every stream breaks, nothing answers.
    pub fn kill(&self) {
        self.server.lock().expect("no holder of this lock panics").take();
        self.accounts.lock().expect("no holder of this lock panics").take();
        for stream in self.streams.lock().expect("no holder of this lock panics").drain(..) {
            stream.abort();
        }
    }

    /// What it does differently on streams that are opened from now on.
    pub fn set_cheat(&self, cheat: Option<Arc<dyn cheat::Cheat>>) {
        *self.cheat.lock().expect("no holder of this lock panics") = cheat;
    }

    /// Breaks all open streams.
    pub fn break_streams(&self) {
        for stream in self.streams.lock().expect("no holder of this lock panics").drain(..) {
            stream.abort();
        }
    }

    pub fn is_alive(&self) -> bool {
        self.server.lock().expect("no holder of this lock panics").is_some()
    }

    /// Bytes of all shards stored; `None` for a dead provider.
    pub fn used_len(&self) -> Option<u64> {
        let store = self.server.lock().expect("no holder of this lock panics").as_ref().map(|(_, store)| store.clone());
        store.map(|store| store.status().used_len)
    }

    /// Takes `len` from what is left of a fault's bytes; the provider dies when nothing is.
    fn spend(&self, left: &Mutex<Option<u64>>, len: usize) {
        let mut left = left.lock().expect("no holder of this lock panics");
        if let Some(bytes) = left.as_mut() {
            *bytes = bytes.saturating_sub(len as u64);
            if *bytes == 0 {
                *left = None;
                drop(left);
                self.kill();
            }
        }
    }
}

/// The client's wallet.
pub const PAYER: Address = Address([0x77; 20]);

fn client_key() -> NodeKey {
    NodeKey::from_secret([200; 32])
}

pub fn session_key() -> WalletKey {
    WalletKey::from_secret(&[201; 32]).expect("a key")
}

/// The network as one client sees it.
pub struct Network {
    pub providers: Vec<Arc<Provider>>,
    by_node: HashMap<NodeId, Arc<Provider>>,
    local: NodeId,
    pub chain: Arc<Chain>,
    pub clock: Arc<HandClock>,
    pub dir: tempfile::TempDir,
}

impl Network {
    pub fn new(count: usize) -> Arc<Network> {
        Self::with_quota(count, 1 << 30)
    }

    pub fn with_quota(count: usize, quota_len: u64) -> Arc<Network> {
        Self::build(count, quota_len, &|_| None)
    }

    /// Providers with prices, registered and with collateral; the client's wallet holds 10,000 credits.
    pub fn paid(count: usize, prices: &dyn Fn(usize) -> Option<Prices>) -> Arc<Network> {
        Self::build(count, 1 << 30, prices)
    }

    fn build(count: usize, quota_len: u64, prices: &dyn Fn(usize) -> Option<Prices>) -> Arc<Network> {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(HandClock(AtomicU64::new(WallClock.now().0)));
        let chain = Chain::new(clock.clone());
        let provider = |index: usize| {
            let provider = Provider {
                key: NodeKey::from_secret([index as u8 + 1; 32]),
                dir: dir.path().join(format!("p{index}")),
                quota_len,
                server: Mutex::default(),
                streams: Mutex::default(),
                opened: AtomicU64::new(0),
                served_len: AtomicU64::new(0),
                frozen: Arc::default(),
                flush_takes: Arc::default(),
                dies_after: Arc::default(),
                dies_after_serving: Arc::default(),
                prices: Mutex::new(prices(index)),
                accounts: Mutex::default(),
                cheat: Mutex::default(),
                chain: chain.clone(),
                clock: clock.clone(),
            };
            if provider.prices().is_some() {
                let signer = provider.signer().address();
                chain.register(provider.owner(), provider.key.id(), signer, Amount::from_credits(1_000_000));
            }
            std::fs::create_dir_all(&provider.dir).expect("a directory");
            provider.start();
            Arc::new(provider)
        };
        let providers: Vec<_> = (0..count).map(provider).collect();
        let by_node = providers.iter().map(|provider| (provider.key.id(), provider.clone())).collect();
        chain.mint(PAYER, Amount::from_credits(10_000));
        Arc::new(Network { providers, by_node, local: client_key().id(), chain, clock, dir })
    }

    pub fn client(self: &Arc<Self>, config: Config) -> Client {
        Client::new(self.parts(config))
    }

    fn parts(self: &Arc<Self>, config: Config) -> Parts {
        Parts {
            transport: Arc::new(Seen(self.clone())),
            keys: Phrase::from_entropy([9; 16]).data_keys(),
            rng: Arc::new(OsRng),
            writer_epoch: 1,
            config,
        }
    }

    /// A client that pays, over the ledger of this name.
    pub fn payer(self: &Arc<Self>, config: Config, pay: PayConfig, ledger: &str) -> Result<Client, LedgerError> {
        let paying = Paying {
            ledger: self.dir.path().join(ledger),
            settlement: self.chain.wallet(PAYER),
            node: client_key(),
            session: session_key(),
            clock: self.clock.clone(),
            court: None,
            acting: None,
            config: pay,
        };
        Client::paid(self.parts(config), paying)
    }

    pub fn provider(&self, node: NodeId) -> &Arc<Provider> {
        &self.by_node[&node]
    }

    /// A stream to a provider on which the peer at this end is somebody else than the client.
    pub fn stream_as(&self, peer: NodeId, to: NodeId) -> BoxStream {
        let server =
            self.provider(to).server.lock().expect("no holder of this lock panics").as_ref().expect("it is alive").0.clone();
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        tokio::spawn(async move { server.serve_stream(peer, Box::new(theirs.compat())).await });
        Box::new(ours.compat())
    }

    pub fn used_len(&self) -> u64 {
        self.providers.iter().filter_map(|provider| provider.used_len()).sum()
    }

    pub fn served_len(&self) -> u64 {
        self.providers.iter().map(|provider| provider.served_len.load(Ordering::Relaxed)).sum()
    }

    pub async fn until(&self, what: &str, mut met: impl FnMut(&Network) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !met(self) {
            assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn volume_files(provider: &Provider) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, found);
                } else if path.extension().is_some_and(|extension| extension == "vol") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&provider.dir, &mut found);
        found
    }
}

struct Seen(Arc<Network>);

impl Transport for Seen {
    fn open(&self, peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        Box::pin(async move {
            let unreachable = || TransportError::Unreachable { peer, reason: "connection refused".into() };
            let provider = self.0.by_node.get(&peer).ok_or_else(unreachable)?.clone();
            let server = provider
                .server
                .lock()
                .expect("no holder of this lock panics")
                .as_ref()
                .map(|(server, _)| server.clone())
                .ok_or_else(unreachable)?;
            provider.opened.fetch_add(1, Ordering::Relaxed);
            let (ours, theirs) = tokio::io::duplex(256 * 1024);
            let local = self.0.local;
            let cheat = provider.cheat.lock().expect("no holder of this lock panics").clone();
            let mut theirs: BoxStream = Box::new(theirs.compat());
            if let Some(cheat) = cheat {
                let (edge, inner) = tokio::io::duplex(256 * 1024);
                let task = tokio::spawn(cheat::stand(theirs, Box::new(edge.compat()), cheat));
                provider.streams.lock().expect("no holder of this lock panics").push(task.abort_handle());
                theirs = Box::new(inner.compat());
            }
            let task = tokio::spawn(async move { server.serve_stream(local, theirs).await });
            provider.streams.lock().expect("no holder of this lock panics").push(task.abort_handle());
            Ok(Box::new(Faulty { stream: ours.compat(), provider, flush: None }) as BoxStream)
        })
    }

    fn providers(&self) -> Vec<Advert> {
        let now = WallClock.now();
        let alive = self.0.providers.iter().filter_map(|provider| Some((provider, provider.used_len()?)));
        alive
            .map(|(provider, used_len)| Advert {
                node: provider.key.id(),
                addresses: vec!["/ip4/127.0.0.1/tcp/1".into()],
                free_len: provider.quota_len - used_len,
                total_len: provider.quota_len,
                region: String::new(),
                operator: String::new(),
                issued_at: now,
                valid_until: now.plus_ms(60_000),
                accepting: true,
            })
            .collect()
    }

    fn local(&self) -> NodeId {
        self.0.local
    }
}

/// The client's end of a pipe, with the provider's faults.
struct Faulty {
    stream: tokio_util::compat::Compat<tokio::io::DuplexStream>,
    provider: Arc<Provider>,
    flush: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        if self.provider.frozen.load(Ordering::Relaxed) {
            return Poll::Pending; // nobody wakes it: the provider has gone quiet
        }
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(read)) = &result {
            self.provider.served_len.fetch_add(*read as u64, Ordering::Relaxed);
            self.provider.spend(&self.provider.dies_after_serving, *read);
        }
        result
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &result {
            self.provider.spend(&self.provider.dies_after, *written);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let takes = *self.provider.flush_takes.lock().expect("no holder of this lock panics");
        if let Some(takes) = takes {
            let timer = self.flush.get_or_insert_with(|| Box::pin(tokio::time::sleep(takes)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.flush = None;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
