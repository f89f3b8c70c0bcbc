//! Paid deals through the server's front door, against a naive model, over a chain in memory.

pub(crate) mod chain;
mod cheats;
mod crash;
mod delegate;
mod life;
mod random;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cairn_audit::{Entry, Inventory, ReleaseTree};
use cairn_market::voucher::{Parties, Voucher};
use cairn_market::{EgressPrice, Offer, StoragePrice, Terms};
use cairn_proto::shard::{self, request, response};
use cairn_proto::{Account, Agreement, Committed, Receipt, RefusalCode};
use cairn_types::merkle::{leaf_count, shard_root};
use cairn_types::{Amount, ChannelId, DealId, NodeKey, ShardRoot, UnixMs, WalletKey};

use super::{Accounts, Paid, Prices};
use crate::serve::Server;
use crate::serve::tests::*;
use crate::testbed::{Bed, MIB, NONCE};
use chain::{CONTRACTS, Chain};

pub(crate) const EPOCH_MS: u64 = 60_000;
/// A base unit a byte read.
const EGRESS: u128 = 1 << 30;
/// About 424 base units a leaf and millisecond.
const STORAGE: u128 = 1 << 60;

pub(crate) fn units(units: u128) -> Amount {
    Amount::from_base_units(units)
}

pub(crate) fn wallet(secret: u8) -> WalletKey {
    WalletKey::from_secret(&[secret; 32]).expect("in range")
}

/// A paid provider's directories, its chain and its client.
pub(crate) struct PaidBed {
    pub bed: Bed,
    pub chain: Arc<Chain>,
    pub client: NodeKey,
    pub prices: Prices,
    pub redeem_at: Amount,
    pub drop_after: Option<Duration>,
}

pub(crate) struct Serving {
    pub server: Server,
    pub accounts: Accounts,
}

impl PaidBed {
    pub fn new(disks: usize) -> PaidBed {
        let bed = Bed::new(disks);
        bed.clock.0.store(1_700_000_000_000, Ordering::SeqCst);
        let prices = Prices {
            storage: StoragePrice::per_gib_month(units(STORAGE)),
            egress: EgressPrice::per_gib(units(EGRESS)),
            collateral_per_gib: units(1_000_000),
            epoch_ms: EPOCH_MS,
            grace_ms: 10_000,
            region: "here".into(),
        };
        let chain = Arc::new(Chain::new(wallet(1).address()));
        let (redeem_at, drop_after) = (Amount::CREDIT, None);
        PaidBed { bed, chain, client: NodeKey::from_secret([0x77; 32]), prices, redeem_at, drop_after }
    }

    pub fn now(&self) -> UnixMs {
        UnixMs(self.bed.clock.0.load(Ordering::SeqCst))
    }

    pub fn pass(&self, ms: u64) {
        self.bed.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn serve(&self) -> Serving {
        let store = self.bed.open().expect("good directories");
        let mut paid = Paid::new(self.bed.config.data_dir.join("ledger"), self.prices.clone(), wallet(2), self.chain.clone());
        (paid.redeem_at, paid.drop_after) = (self.redeem_at, self.drop_after);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let accounts = loop {
            // What the server before this one was doing may hold the ledger for a moment.
            match Accounts::open(store.clone(), self.bed.key.clone(), paid.clone()) {
                Err(super::LedgerError::Rocks(_)) if std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => break opened.expect("a good ledger"),
            }
        };
        let config = crate::serve::ServerConfig { streams_per_peer: 50, ..quick() };
        Serving { server: Server::paid(store, self.bed.key.clone(), config, accounts.clone()), accounts }
    }

    /// A channel of this client to this provider.
    pub fn channel(&self, salt: u8, deposit: u128) -> ChannelId {
        let (payer, payee, signer) = (wallet(3).address(), wallet(1).address(), wallet(4).address());
        self.chain.open(Parties { payer, payee, signer, salt: [salt; 32] }, units(deposit))
    }

    pub fn connect(&self, serving: &Serving) -> Peer {
        connect(&serving.server, self.client.id())
    }

    /// A client that has agreed on a channel with this much in it.
    pub async fn agreed(&self, serving: &Serving, deposit: u128) -> Client {
        let mut peer = self.connect(serving);
        let deal = open_deal(&mut peer).await;
        let channel = self.channel(1, deposit);
        let terms = offer(&mut peer, self).await.terms;
        let mut client = Client { peer, deal, channel, terms, start: self.now(), key: self.client.clone() };
        let signed = client.agree(client.agreement()).await.expect("good terms");
        assert_eq!(Agreement::signed(&signed).expect("both signed"), client.agreement());
        client
    }
}

pub(crate) async fn open_deal(peer: &mut Peer) -> DealId {
    let open = shard::OpenDeal { nonce: b(&NONCE), space_len: 200 * MIB, writer_epoch: 0 };
    match ask(peer, request::Kind::OpenDeal(open)).await {
        response::Kind::Deal(deal) => DealId::from_slice(&deal.deal_id).expect("32 bytes"),
        other => panic!("no deal: {other:?}"),
    }
}

pub(crate) async fn offer(peer: &mut Peer, bed: &PaidBed) -> Offer {
    match ask(peer, request::Kind::GetOffer(shard::GetOffer {})).await {
        response::Kind::Offer(offer) => {
            cairn_proto::offer::verify(&offer, bed.bed.key.id(), bed.now().secs()).expect("a good offer")
        }
        other => panic!("no offer: {other:?}"),
    }
}

/// A client's side, as little of it as the provider's tests need.
pub(crate) struct Client {
    pub peer: Peer,
    pub deal: DealId,
    pub channel: ChannelId,
    pub terms: Terms,
    pub start: UnixMs,
    pub key: NodeKey,
}

type Answer<T> = Result<T, RefusalCode>;

impl Client {
    pub fn agreement(&self) -> Agreement {
        Agreement {
            deal: self.deal,
            client: self.key.id(),
            terms: self.terms.clone(),
            channel: self.channel,
            start: self.start,
            carried: Amount::ZERO,
        }
    }

    pub async fn agree(&mut self, agreement: Agreement) -> Answer<shard::SignedAgreement> {
        match ask(&mut self.peer, request::Kind::Agree(agreement.propose(&self.key))).await {
            response::Kind::Agreement(signed) => Ok(signed),
            other => Err(code(other)),
        }
    }

    pub async fn put(&mut self, data: &[u8]) -> Answer<Receipt> {
        match put(&mut self.peer, store(self.deal, data.len() as u64), data, end(data)).await {
            response::Kind::Receipt(receipt) => Ok(Receipt::verify(&receipt, self.terms.node).expect("signed by the provider")),
            other => Err(code(other)),
        }
    }

    pub async fn get(&mut self, data: &[u8]) -> Vec<u8> {
        get(&mut self.peer, self.deal, shard_root(data), 0, data.len() as u64, true).await
    }

    pub async fn commit(&mut self, at: UnixMs) -> Answer<Committed> {
        let commit = shard::Commit { deal_id: b(&self.deal.0), at_ms: at.0 };
        match ask(&mut self.peer, request::Kind::Commit(commit)).await {
            response::Kind::Commitment(wire) => Ok(Committed::from_wire(&wire, self.channel).expect("well formed")),
            other => Err(code(other)),
        }
    }

    pub async fn account(&mut self, at: UnixMs) -> Answer<Account> {
        let get = shard::GetAccount { deal_id: b(&self.deal.0), at_ms: at.0 };
        self.account_of(request::Kind::GetAccount(get)).await
    }

    pub async fn pay(&mut self, cumulative: u128) -> Answer<Account> {
        let pay = self.voucher(cumulative);
        self.account_of(request::Kind::Pay(pay)).await
    }

    pub fn voucher(&self, cumulative: u128) -> shard::Pay {
        let voucher = Voucher { channel: self.channel, cumulative: units(cumulative) };
        cairn_proto::account::pay(self.deal, &voucher.sign(&CONTRACTS.channels_domain(), &wallet(4)))
    }

    pub async fn account_of(&mut self, kind: request::Kind) -> Answer<Account> {
        match ask(&mut self.peer, kind).await {
            response::Kind::Account(wire) => Ok(Account::from_wire(&wire, self.channel).expect("well formed")),
            other => Err(code(other)),
        }
    }

    pub fn release(&self, roots: &[ShardRoot], at: UnixMs) -> shard::Release {
        let tree = ReleaseTree::new(roots.iter().copied()).expect("some and not too many");
        let signed = tree.release(self.channel, at.secs()).sign(&CONTRACTS.court_domain(), &wallet(4));
        shard::Release { released_at_ms: at.0, signature: Bytes::copy_from_slice(signed.signature.as_bytes()) }
    }

    pub async fn delete(&mut self, roots: &[ShardRoot], release: Option<shard::Release>) -> Answer<u32> {
        let delete = shard::Delete {
            deal_id: b(&self.deal.0),
            roots: roots.iter().map(|root| b(&root.0)).collect(),
            release,
            writer_epoch: 0,
        };
        match ask(&mut self.peer, request::Kind::Delete(delete)).await {
            response::Kind::Deleted(deleted) => Ok(deleted.removed),
            other => Err(code(other)),
        }
    }
}

/// What lay there from when to when, counted one by one.
#[derive(Debug, Default, Clone)]
pub(crate) struct Naive {
    pub here: BTreeMap<ShardRoot, (u64, u64)>,
    pub past_leaf_ms: u128,
    pub read_len: u64,
}

impl Naive {
    pub fn came(&mut self, root: ShardRoot, len: u64, at: UnixMs) {
        self.here.entry(root).or_insert((len, at.0));
    }

    pub fn went(&mut self, root: &ShardRoot, at: UnixMs) -> bool {
        let Some((len, start)) = self.here.remove(root) else { return false };
        self.past_leaf_ms += u128::from(leaf_count(len)) * u128::from(at.0.max(start) - start);
        true
    }

    pub fn leaf_ms(&self, at: UnixMs) -> u128 {
        let lying = self.here.values().map(|(len, start)| u128::from(leaf_count(*len)) * u128::from(at.0 - start));
        self.past_leaf_ms + lying.sum::<u128>()
    }

    /// Owed by the formulas themselves: `leaf_ms · 2^60 / (2^20 · month)` and a unit a byte.
    pub fn owed(&self, at: UnixMs) -> u128 {
        (self.leaf_ms(at) << 40) / 2_592_000_000 + u128::from(self.read_len)
    }

    pub fn inventory(&self) -> Inventory {
        let entries = self.here.iter().filter_map(|(root, (len, _))| Entry::new(*root, *len));
        Inventory::from_entries(entries).expect("real roots")
    }
}
