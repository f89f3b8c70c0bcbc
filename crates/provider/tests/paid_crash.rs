//! `kill -9` in the middle of a paid deal: no voucher that was accepted is lost, and every leaf is metered to the millisecond.
//!
//! The test runs itself as a child that stores, reads, deletes, commits and pays until it is killed, and writes down what was
//! acknowledged; then it opens the provider and compares its account with what is listed and what was released.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_audit::ReleaseTree;
use cairn_market::settlement::*;
use cairn_market::voucher::{SignedVoucher, Voucher};
use cairn_market::{EgressPrice, StoragePrice};
use cairn_proto::frame::{Frame, Framed};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::{Account, Agreement, Receipt};
use cairn_provider::store::{DiskConfig, Store, StoreConfig};
use cairn_provider::{Accounts, OpenError, Paid, Prices, Server, ServerConfig};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::{leaf_count, shard_root};
use cairn_types::*;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const DIR: &str = "CAIRN_PAID_CRASH_DIR";
const ROUND: &str = "CAIRN_PAID_CRASH_ROUND";
const ROUNDS: u64 = 8;
const CHANNEL: ChannelId = ChannelId([9; 32]);
const CONTRACTS: Contracts = Contracts {
    chain_id: 7,
    token: Address([1; 20]),
    channels: Address([2; 20]),
    providers: Address([3; 20]),
    court: Address([4; 20]),
};

fn wallet(secret: u8) -> WalletKey {
    WalletKey::from_secret(&[secret; 32]).expect("in range")
}

fn units(units: u128) -> Amount {
    Amount::from_base_units(units)
}

fn b(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

struct SystemClock;
impl Clock for SystemClock {
    fn now(&self) -> UnixMs {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        UnixMs(since.as_millis() as u64)
    }
}

struct CountingRng(AtomicU64);
impl Rng for CountingRng {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

/// One channel with all the credits that a voucher can name; nothing is ever redeemed.
struct OneChannel;
impl Settlement for OneChannel {
    fn contracts(&self) -> Contracts {
        CONTRACTS
    }
    fn wallet(&self) -> Address {
        wallet(1).address()
    }
    fn balance(&self, _: Address) -> Settled<'_, Amount> {
        Box::pin(async { Ok(Amount::ZERO) })
    }
    fn channel(&self, id: ChannelId) -> Settled<'_, Option<ChannelRecord>> {
        let (payer, payee, signer) = (wallet(3).address(), wallet(1).address(), wallet(4).address());
        let (deposit, settled, state) = (units(1 << 120), Amount::ZERO, ChannelState::Open);
        let record = ChannelRecord { payer, payee, signer, deposit, settled, state };
        Box::pin(async move { Ok((id == CHANNEL).then_some(record)) })
    }
    fn provider(&self, _: Address) -> Settled<'_, Option<ProviderRecord>> {
        Box::pin(async { Ok(None) })
    }
    fn signer_valid(&self, _: Address, _: Address, _: UnixSecs) -> Settled<'_, bool> {
        Box::pin(async { Ok(true) })
    }
    fn open_channel(&self, _: CommandId, _: OpenChannel) -> Settled<'_, ChannelId> {
        Box::pin(async { Ok(CHANNEL) })
    }
    fn top_up(&self, _: CommandId, _: ChannelId, _: Amount) -> Settled<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn redeem<'a>(&'a self, _: CommandId, _: &'a [SignedVoucher]) -> Settled<'a, ()> {
        Box::pin(async { Err(SettlementError::Refused("not in this test".into())) })
    }
    fn request_close(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn withdraw(&self, _: CommandId, _: ChannelId) -> Settled<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn node_key() -> NodeKey {
    NodeKey::from_secret([5; 32])
}

fn client_key() -> NodeKey {
    NodeKey::from_secret([6; 32])
}

fn open(dir: &Path) -> (Server, Accounts) {
    let disk = |name: &str| DiskConfig { path: dir.join(name), quota_len: 8 << 30, reserve_len: 1 << 20 };
    let config = StoreConfig::new(dir.join("data"), vec![disk("a"), disk("b")]);
    // The kernel lets go of a killed child's locks when it has torn it down.
    let deadline = Instant::now() + Duration::from_secs(20);
    let store = loop {
        match Store::open(config.clone(), node_key().id(), Arc::new(SystemClock), &CountingRng(AtomicU64::new(1))) {
            Err(OpenError::InUse(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            opened => break opened.expect("own directories"),
        }
    };
    let prices = Prices {
        storage: StoragePrice::per_gib_month(units(1 << 60)),
        egress: EgressPrice::per_gib(units(1 << 30)),
        collateral_per_gib: units(1),
        epoch_ms: 3_600_000,
        grace_ms: 10_000,
        region: String::new(),
    };
    let mut paid = Paid::new(dir.join("data/ledger"), prices, wallet(2), Arc::new(OneChannel));
    paid.redeem_at = Amount::MAX;
    let accounts = Accounts::open(store.clone(), node_key(), paid).expect("a good ledger");
    (Server::paid(store, node_key(), ServerConfig::default(), accounts.clone()), accounts)
}

/// The client's end of a stream.
struct Peer(Framed<Compat<DuplexStream>>);

impl Peer {
    fn new(server: &Server) -> Peer {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let server = server.clone();
        tokio::spawn(async move { server.serve_stream(client_key().id(), Box::new(theirs.compat())).await });
        Peer(Framed::new(ours.compat()))
    }

    async fn ask(&mut self, kind: request::Kind) -> response::Kind {
        self.0.send(&Request { kind: Some(kind) }).await.expect("a server that reads");
        self.0.control::<Response>().await.expect("an answer").kind.expect("of a kind")
    }

    async fn deal(&mut self) -> DealId {
        let open = shard::OpenDeal { nonce: b(&[0; 16]), space_len: 8 << 30, writer_epoch: 0 };
        let response::Kind::Deal(deal) = self.ask(request::Kind::OpenDeal(open)).await else { panic!("no deal") };
        DealId::from_slice(&deal.deal_id).expect("32 bytes")
    }

    async fn put(&mut self, deal: DealId, data: &[u8]) -> Receipt {
        let store = shard::Store { deal_id: b(&deal.0), segment_id: b(&[0; 16]), writer_epoch: 0, len_max: data.len() as u64 };
        self.0.send(&Request { kind: Some(request::Kind::Store(store)) }).await.expect("a server that reads");
        for frame in data.chunks(FRAME_LEN) {
            self.0.send_body(frame).await.expect("a server that reads");
        }
        let end = shard::StoreEnd { root: b(&shard_root(data).0), len: data.len() as u64, label: Bytes::new() };
        match self.ask(request::Kind::StoreEnd(end)).await {
            response::Kind::Receipt(receipt) => Receipt::verify(&receipt, node_key().id()).expect("signed"),
            other => panic!("no receipt: {other:?}"),
        }
    }

    async fn get(&mut self, deal: DealId, root: ShardRoot, len: u64) {
        let read = shard::Read { deal_id: b(&deal.0), root: b(&root.0), offset: 0, len, proof: false };
        let head = self.ask(request::Kind::Read(read)).await;
        assert!(matches!(head, response::Kind::ReadHead(_)), "{head:?}");
        let mut got = 0;
        while got < len {
            match self.0.next().await.expect("a good stream").expect("not ended") {
                Frame::Body(body) => got += body.len() as u64,
                Frame::Control(_) => panic!("refused after {got} bytes"),
            }
        }
    }

    async fn account(&mut self, kind: request::Kind) -> Account {
        match self.ask(kind).await {
            response::Kind::Account(account) => Account::from_wire(&account, CHANNEL).expect("well formed"),
            other => panic!("no account: {other:?}"),
        }
    }

    async fn account_now(&mut self, deal: DealId) -> Account {
        let at_ms = SystemClock.now().0;
        self.account(request::Kind::GetAccount(shard::GetAccount { deal_id: b(&deal.0), at_ms })).await
    }

    async fn pay(&mut self, deal: DealId, cumulative: u128) {
        let voucher = Voucher { channel: CHANNEL, cumulative: units(cumulative) };
        let signed = voucher.sign(&CONTRACTS.channels_domain(), &wallet(4));
        self.account(request::Kind::Pay(cairn_proto::account::pay(deal, &signed))).await;
    }

    async fn delete(&mut self, deal: DealId, root: ShardRoot, released_at: UnixMs) {
        let tree = ReleaseTree::new([root]).expect("one");
        let signed = tree.release(CHANNEL, released_at.secs()).sign(&CONTRACTS.court_domain(), &wallet(4));
        let release = shard::Release { released_at_ms: released_at.0, signature: b(signed.signature.as_bytes()) };
        let delete = shard::Delete { deal_id: b(&deal.0), roots: vec![b(&root.0)], release: Some(release), writer_epoch: 0 };
        let deleted = self.ask(request::Kind::Delete(delete)).await;
        assert_eq!(deleted, response::Kind::Deleted(shard::Deleted { removed: 1 }));
    }
}

async fn agree(server: &Server) -> (DealId, UnixMs) {
    let mut peer = Peer::new(server);
    let deal = peer.deal().await;
    let response::Kind::Offer(offer) = peer.ask(request::Kind::GetOffer(shard::GetOffer {})).await else { panic!("no offer") };
    let start = SystemClock.now();
    let terms = cairn_proto::offer::verify(&offer, node_key().id(), start.secs()).expect("a good offer").terms;
    let agreement = Agreement { deal, client: client_key().id(), terms, channel: CHANNEL, start, carried: Amount::ZERO };
    let agreed = peer.ask(request::Kind::Agree(agreement.propose(&client_key()))).await;
    assert!(matches!(agreed, response::Kind::Agreement(_)), "{agreed:?}");
    (deal, start)
}

/// The shard of a seed: some inline, some of a few frames.
fn data_of(seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let len = 1 + (state >> 20) % if seed.is_multiple_of(3) { 400_000 } else { 15_000 };
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

/// Works for ever on three streams, and says what was acknowledged.
async fn work(server: Server, first_seed: u64) {
    let next = Arc::new(AtomicU64::new(first_seed));
    let mut tasks = tokio::task::JoinSet::<()>::new();
    // What is owed is far below 2^100, so that the vouchers' growth pays every read in advance.
    let (mut peer, mut payer) = (Peer::new(&server), Peer::new(&server));
    let deal = peer.deal().await;
    let promised = payer.account_now(deal).await.voucher.map_or(1 << 100, |signed| signed.voucher.cumulative.base_units());
    tasks.spawn(async move {
        for step in 1.. {
            let cumulative = promised + step * (1 << 40);
            payer.pay(deal, cumulative).await;
            println!("\npaid {cumulative} end");
        }
    });
    for _ in 0..3 {
        let (mut peer, next) = (Peer::new(&server), next.clone());
        tasks.spawn(async move {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let data = data_of(seed);
                let receipt = peer.put(deal, &data).await;
                println!("\nstored {seed} {} end", receipt.stored_at.0);
                peer.get(deal, receipt.root, receipt.len).await;
                println!("\nread {} end", receipt.len);
                if seed.is_multiple_of(2) {
                    let at = SystemClock.now();
                    println!("\ndeleting {seed} {} end", at.0);
                    peer.delete(deal, receipt.root, at).await;
                    println!("\ndeleted {seed} end");
                }
            }
        });
    }
    tasks.join_next().await.expect("four tasks").expect("works until it is killed");
}

/// Numbers in the child's complete lines of one kind.
fn said(output: &str, word: &str) -> Vec<Vec<u128>> {
    let numbers = |line: &str| -> Option<Vec<u128>> {
        let line = line.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix(" end")?;
        line.split(' ').map(|number| number.parse().ok()).collect()
    };
    output.lines().filter_map(numbers).collect()
}

/// What was acknowledged so far.
#[derive(Default)]
struct Acked {
    stored: BTreeMap<u64, u64>,
    deleting: BTreeMap<u64, u64>,
    deleted: Vec<u64>,
    paid: u128,
    read_len: u64,
}

impl Acked {
    fn learn(&mut self, output: &str) {
        self.stored.extend(said(output, "stored").iter().map(|line| (line[0] as u64, line[1] as u64)));
        self.deleting.extend(said(output, "deleting").iter().map(|line| (line[0] as u64, line[1] as u64)));
        self.deleted.extend(said(output, "deleted").iter().map(|line| line[0] as u64));
        self.paid = said(output, "paid").iter().map(|line| line[0]).max().unwrap_or(0).max(self.paid);
        self.read_len += said(output, "read").iter().map(|line| line[0] as u64).sum::<u64>();
    }

    /// Compares the account with what is listed and what was released.
    async fn check(&mut self, server: &Server, deal: DealId, start: UnixMs) {
        let mut peer = Peer::new(server);
        let (listed, more) = server.store().list(client_key().id(), deal, None, 1_000_000).expect("its deal");
        assert!(!more);
        let account = peer.account_now(deal).await;
        let leaves = |len: u64| u128::from(leaf_count(len));
        let mut leaf_ms: u128 =
            listed.iter().map(|entry| leaves(entry.len) * u128::from(account.at.0 - entry.stored_at.max(start).0)).sum();
        for (seed, stored_at) in &self.stored {
            let data = data_of(*seed);
            if listed.binary_search_by_key(&shard_root(&data), |entry| entry.root).is_ok() {
                assert!(!self.deleted.contains(seed), "deleted shard {seed} is back");
                continue;
            }
            let released_at = self.deleting.get(seed).unwrap_or_else(|| panic!("acknowledged shard {seed} is lost"));
            leaf_ms += leaves(data.len() as u64) * u128::from(*released_at.max(stored_at) - stored_at);
        }
        assert_eq!(account.leaf_ms, leaf_ms, "every leaf is metered to the millisecond");
        let best = account.voucher.map_or(0, |signed| signed.voucher.cumulative.base_units());
        assert!(best >= self.paid, "a voucher over {} was accepted, {best} is remembered", self.paid);
        let window = 1 << 20;
        assert!(account.egress_len + window >= self.read_len, "{} of {} are remembered", account.egress_len, self.read_len);
        self.read_len = account.egress_len;
    }
}

#[test]
fn kill_9_loses_no_voucher_and_no_metered_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    if let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) {
        let (server, _accounts) = open(Path::new(&dir));
        return runtime.block_on(work(server, round.parse::<u64>().expect("a number") * 1_000_000));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (deal, start) = runtime.block_on(async { agree(&open(dir.path()).0).await });
    let seed = u64::from(std::process::id());
    let mut acked = Acked::default();
    for round in 1..=ROUNDS {
        let output = dir.path().join("output");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "kill_9_loses_no_voucher_and_no_metered_time", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(std::fs::File::create(&output).expect("room"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("this test again");
        let life_ms = 600 + seed.wrapping_mul(round).wrapping_mul(0x9e37_79b9) % 900;
        std::thread::sleep(Duration::from_millis(life_ms));
        child.kill().expect("still working");
        assert!(child.wait().expect("a child").code().is_none(), "round {round}: the child ended by itself");
        acked.learn(&std::fs::read_to_string(&output).expect("its output"));
        runtime.block_on(async {
            let (server, accounts) = open(dir.path());
            // One pass finishes what was begun.
            let (_stop, stopping) = tokio::sync::watch::channel(true);
            accounts.run(stopping).await;
            acked.check(&server, deal, start).await;
            assert!(accounts.is_conserved());
        });
        eprintln!(
            "seed {seed}, round {round}: killed after {life_ms} ms, {} stored, {} deleted, {} paid",
            acked.stored.len(),
            acked.deleted.len(),
            acked.paid
        );
    }
    assert!(acked.stored.len() > 10 && acked.deleted.len() > 3 && acked.paid > 0, "nothing was tested");
}
