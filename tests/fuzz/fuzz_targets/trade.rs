//! A hostile client at a provider that is paid: agreements, vouchers, commitments and releases with any amounts at any moments. Each is
//! answered, and no voucher is forgotten.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_audit::ReleaseTree;
use cairn_fuzz::chain::{CONTRACTS, Chain, channel, wallet};
use cairn_fuzz::{CountedRng, NOW, noise, runtime};
use cairn_market::{EgressPrice, StoragePrice, Terms, Voucher};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::{Account, Agreement, Committed, Frame, Framed, Receipt, RefusalCode, account};
use cairn_provider::{Accounts, DiskConfig, Paid, Prices, Server, ServerConfig, Store, StoreConfig};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::shard_root;
use cairn_types::{Amount, ChannelId, Clock, DealId, NodeKey, ShardRoot, UnixMs};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Clients after which a provider is begun anew.
const CLIENTS_MAX: u64 = 200;
const HUNG: Duration = Duration::from_secs(30);

#[derive(Debug, Arbitrary)]
struct Input {
    dear: bool,
    deposit: u128,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Agree { deposit: Option<u128>, closing: bool, start: Moment, carried: u128, cheaper: bool },
    Put { seed: u8, len: u32 },
    Read { pick: u8, offset: u16, len: u16 },
    Commit(Moment),
    Account(Moment),
    Pay { cumulative: Sum, signer: u8 },
    Delete { picks: Vec<u8>, at: Moment, signer: u8 },
    Pass(u32),
}

#[derive(Debug, Arbitrary)]
enum Moment {
    Now,
    Ahead(u32),
    Behind(u32),
    At(u64),
}

#[derive(Debug, Arbitrary)]
enum Sum {
    More(u32),
    All,
    Of(u128),
}

struct MovingClock(AtomicU64);

impl Clock for MovingClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }
}

struct Market {
    server: Server,
    clock: Arc<MovingClock>,
    terms: Terms,
    clients: u64,
    _dir: TempDir,
}

impl Market {
    fn new(dear: bool) -> Market {
        let (dir, key) = (tempfile::tempdir().expect("a temporary directory"), NodeKey::from_secret([5; 32]));
        let clock = Arc::new(MovingClock(AtomicU64::new(NOW.0)));
        let disk = DiskConfig { path: dir.path().join("disk"), quota_len: 256 << 20, reserve_len: 0 };
        let config = StoreConfig::new(dir.path().join("data"), vec![disk]);
        let store = Store::open(config, key.id(), clock.clone(), &CountedRng::default()).expect("a fresh directory");
        let price = |cheap: u128| if dear { Amount::MAX } else { Amount::from_base_units(cheap) };
        let prices = Prices {
            storage: StoragePrice::per_gib_month(price(1 << 60)),
            egress: EgressPrice::per_gib(price(1 << 30)),
            collateral_per_gib: price(1_000_000),
            epoch_ms: 60_000,
            grace_ms: 10_000,
            region: "here".into(),
        };
        let paid = Paid::new(dir.path().join("ledger"), prices, wallet(2), Arc::new(Chain));
        let accounts = Accounts::open(store.clone(), key.clone(), paid).expect("a fresh ledger");
        let terms = accounts.terms().clone();
        let (patience, blink) = (Duration::from_secs(8), Duration::from_millis(20));
        let config = ServerConfig { idle: patience, stall: blink, linger: blink, ..ServerConfig::default() };
        Market { server: Server::paid(store, key, config, accounts), clock, terms, clients: 0, _dir: dir }
    }
}

fuzz_target!(|input: Input| {
    static MARKETS: OnceLock<[Mutex<Market>; 2]> = OnceLock::new();
    let markets = MARKETS.get_or_init(|| {
        let _ = runtime();
        [false, true].map(|dear| Mutex::new(Market::new(dear)))
    });
    let mut market = markets[usize::from(input.dear)].lock().unwrap_or_else(PoisonError::into_inner);
    if market.clients >= CLIENTS_MAX {
        *market = Market::new(input.dear);
    }
    market.clients += 1;
    market.clock.0.store(NOW.0, Ordering::SeqCst);
    let run = async { tokio::time::timeout(HUNG, Client::trade(&market, &input)).await };
    runtime().block_on(run).expect("the provider hangs");
});

struct Client<'a> {
    market: &'a Market,
    stream: Framed<Compat<DuplexStream>>,
    key: NodeKey,
    deal: DealId,
    channel: ChannelId,
    agreed: bool,
    /// The best voucher that was taken.
    paid: u128,
    shards: Vec<(ShardRoot, Vec<u8>)>,
}

impl<'a> Client<'a> {
    /// `None` when the stream ended early.
    async fn trade(market: &'a Market, input: &Input) -> Option<()> {
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&market.clients.to_be_bytes());
        let key = NodeKey::from_secret(secret);
        let mut client = Client {
            market,
            stream: connect(market, &key),
            deal: DealId([0; 32]),
            channel: channel_of(market.clients, input.deposit, false),
            key,
            agreed: false,
            paid: 0,
            shards: Vec::new(),
        };
        let open = shard::OpenDeal { nonce: Bytes::from_static(&[1; 16]), space_len: 100 << 20, writer_epoch: 0 };
        let response::Kind::Deal(deal) = client.ask(request::Kind::OpenDeal(open)).await else { panic!("a deal was due") };
        client.deal = DealId::from_slice(&deal.deal_id).expect("an id");
        let response::Kind::Offer(_) = client.ask(request::Kind::GetOffer(shard::GetOffer {})).await else { panic!("no offer") };
        for step in input.steps.iter().take(16) {
            client.step(step).await?;
        }
        if client.agreed {
            client.account(client.now()).await;
        }
        Some(())
    }

    fn now(&self) -> UnixMs {
        self.market.clock.now()
    }

    fn at(&self, moment: &Moment) -> UnixMs {
        match moment {
            Moment::Now => self.now(),
            Moment::Ahead(ms) => self.now().plus_ms((*ms).into()),
            Moment::Behind(ms) => UnixMs(self.now().0.saturating_sub((*ms).into())),
            Moment::At(ms) => UnixMs(*ms),
        }
    }

    async fn ask(&mut self, kind: request::Kind) -> response::Kind {
        self.stream.send(&Request { kind: Some(kind) }).await.expect("a provider that reads");
        let answer: Response = self.stream.control().await.expect("an answer");
        let kind = answer.kind.expect("an answer of a kind");
        if let response::Kind::Refusal(refusal) = &kind {
            let bad = [RefusalCode::Unspecified, RefusalCode::DiskError, RefusalCode::Stopping];
            assert!(!bad.contains(&refusal.code()), "{refusal:?}");
        }
        kind
    }

    async fn step(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Agree { deposit, closing, start, carried, cheaper } => {
                let channel = deposit.map_or(self.channel, |deposit| channel_of(self.market.clients, deposit, *closing));
                self.agree(channel, self.at(start), *carried, *cheaper).await;
            }
            Step::Put { seed, len } => self.put(&noise((*seed).into(), (*len % 200_000) as usize + 1)).await?,
            Step::Read { pick, offset, len } => self.read(*pick, (*offset).into(), (*len).into()).await?,
            Step::Commit(at) => {
                let commit = shard::Commit { deal_id: self.deal_id(), at_ms: self.at(at).0 };
                if let response::Kind::Commitment(wire) = self.ask(request::Kind::Commit(commit)).await {
                    let told = Committed::from_wire(&wire, self.channel).expect("a commitment");
                    let (now, signer) = (self.now().secs(), wallet(2).address());
                    assert_eq!(told.signed.verify(&CONTRACTS.court_domain(), signer, now), Ok(()));
                    assert_eq!(told.totals.entries, self.shards.len() as u64);
                }
            }
            Step::Account(at) => self.account(self.at(at)).await,
            Step::Pay { cumulative, signer } => self.pay(cumulative, *signer).await,
            Step::Delete { picks, at, signer } => self.delete(picks, self.at(at), *signer).await,
            Step::Pass(ms) => drop(self.market.clock.0.fetch_add((*ms).into(), Ordering::SeqCst)),
        }
        Some(())
    }

    fn deal_id(&self) -> Bytes {
        Bytes::copy_from_slice(self.deal.as_bytes())
    }

    async fn agree(&mut self, channel: ChannelId, start: UnixMs, carried: u128, cheaper: bool) {
        let mut terms = self.market.terms.clone();
        if cheaper {
            terms.egress = EgressPrice::per_gib(Amount::from_base_units(1));
        }
        let carried = if carried % 4 == 0 { Amount::ZERO } else { Amount::from_base_units(carried) };
        let agreement = Agreement { deal: self.deal, client: self.key.id(), terms, channel, start, carried };
        let answer = self.ask(request::Kind::Agree(agreement.propose(&self.key))).await;
        if let response::Kind::Agreement(signed) = answer {
            assert!(!cheaper, "terms that were never offered");
            assert_eq!(Agreement::signed(&signed), Ok(agreement));
            if self.channel != channel {
                self.paid = 0;
            }
            (self.agreed, self.channel) = (true, channel);
        }
    }

    async fn put(&mut self, data: &[u8]) -> Option<()> {
        let begin = shard::Store {
            deal_id: self.deal_id(),
            segment_id: Bytes::from_static(&[3; 16]),
            writer_epoch: 1,
            len_max: data.len() as u64,
        };
        self.stream.send(&Request { kind: Some(request::Kind::Store(begin)) }).await.ok()?;
        for frame in data.chunks(FRAME_LEN) {
            self.stream.send_body(frame).await.ok()?;
        }
        let root = shard_root(data);
        let root_id = Bytes::copy_from_slice(root.as_bytes());
        let end = shard::StoreEnd { root: root_id, len: data.len() as u64, label: Bytes::new() };
        self.stream.send(&Request { kind: Some(request::Kind::StoreEnd(end)) }).await.ok()?;
        match self.stream.control::<Response>().await.expect("an answer").kind {
            Some(response::Kind::Receipt(receipt)) => {
                assert!(self.agreed, "a shard that nobody pays for");
                Receipt::verify(&receipt, self.market.terms.node).expect("a receipt");
                if !self.shards.iter().any(|(held, _)| *held == root) {
                    self.shards.push((root, data.to_vec()));
                }
            }
            Some(response::Kind::Refusal(_)) => self.stream = connect(self.market, &self.key),
            other => panic!("{other:?}"),
        }
        Some(())
    }

    async fn read(&mut self, pick: u8, offset: u64, len: u64) -> Option<()> {
        let (root, data) = self.shards.get(usize::from(pick) % self.shards.len().max(1))?.clone();
        let (offset, len) = (offset % data.len() as u64, len.min(data.len() as u64 - offset % data.len() as u64));
        let root = Bytes::copy_from_slice(root.as_bytes());
        let read = shard::Read { deal_id: self.deal_id(), root, offset, len, proof: false };
        let response::Kind::ReadHead(_) = self.ask(request::Kind::Read(read)).await else { return Some(()) };
        let mut at = offset;
        while at < offset + len {
            match self.stream.next().await.expect("a frame")? {
                Frame::Body(body) => {
                    assert_eq!(body, data[at as usize..at as usize + body.len()]);
                    at += body.len() as u64;
                }
                // A payment is due in the middle of it.
                Frame::Control(_) => break,
            }
        }
        Some(())
    }

    async fn account(&mut self, at: UnixMs) {
        let get = shard::GetAccount { deal_id: self.deal_id(), at_ms: at.0 };
        if let response::Kind::Account(wire) = self.ask(request::Kind::GetAccount(get)).await {
            self.told(&wire);
        }
    }

    fn told(&self, wire: &shard::Account) {
        let told = Account::from_wire(wire, self.channel).expect("an account");
        let held = told.voucher.map_or(0, |signed| signed.voucher.cumulative.base_units());
        assert!(held >= self.paid, "{held} instead of {}", self.paid);
    }

    async fn pay(&mut self, cumulative: &Sum, signer: u8) {
        let units = match cumulative {
            Sum::More(more) => self.paid.saturating_add((*more).into()),
            Sum::All => u128::from_be_bytes(*self.channel.0.last_chunk().expect("an id is longer")),
            Sum::Of(units) => *units,
        };
        let voucher = Voucher { channel: self.channel, cumulative: Amount::from_base_units(units) };
        let signed = voucher.sign(&CONTRACTS.channels_domain(), &wallet(if signer % 8 == 0 { 9 } else { 4 }));
        if let response::Kind::Account(wire) = self.ask(request::Kind::Pay(account::pay(self.deal, &signed))).await {
            assert!(signer % 8 != 0, "a voucher of a stranger");
            self.paid = self.paid.max(units);
            self.told(&wire);
        }
    }

    async fn delete(&mut self, picks: &[u8], at: UnixMs, signer: u8) {
        let pick = |pick: &u8| self.shards.get(usize::from(*pick) % self.shards.len().max(1)).map(|(root, _)| *root);
        let mut roots: Vec<ShardRoot> = picks.iter().take(100).map(|name| pick(name).unwrap_or(ShardRoot([*name; 32]))).collect();
        roots.sort_unstable();
        roots.dedup();
        let Ok(tree) = ReleaseTree::new(roots.iter().copied()) else { return };
        let release = tree.release(self.channel, at.secs());
        let signed = release.sign(&CONTRACTS.court_domain(), &wallet(if signer % 8 == 0 { 9 } else { 4 }));
        let signature = Bytes::copy_from_slice(signed.signature.as_bytes());
        let delete = shard::Delete {
            deal_id: self.deal_id(),
            roots: roots.iter().map(|root| Bytes::copy_from_slice(root.as_bytes())).collect(),
            release: Some(shard::Release { released_at_ms: at.0, signature }),
            writer_epoch: 0,
        };
        if let response::Kind::Deleted(deleted) = self.ask(request::Kind::Delete(delete)).await {
            let before = self.shards.len();
            self.shards.retain(|(root, _)| !roots.contains(root));
            assert_eq!(deleted.removed as usize, before - self.shards.len());
            assert!(!self.agreed || deleted.removed == 0 || signer % 8 != 0, "a release of a stranger");
        }
    }
}

fn channel_of(client: u64, deposit: u128, closing: bool) -> ChannelId {
    let mut name = [0; 14];
    name[..8].copy_from_slice(&client.to_be_bytes());
    channel(name, deposit, closing)
}

fn connect(market: &Market, key: &NodeKey) -> Framed<Compat<DuplexStream>> {
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let (server, client) = (market.server.clone(), key.id());
    runtime().spawn(async move { server.serve_stream(client, Box::new(theirs.compat())).await });
    Framed::new(ours.compat())
}
