//! A delegate whose client says what it likes: briefs whose signatures are good and whose fields are not, words, and bytes of no form.
//! Whatever it hears, what it promises stays below the mandates, and its ledger opens again.
#![no_main]

use std::path::PathBuf;
use std::sync::Arc;

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_client::{Config, Delegate, LedgerError, Parts, PayConfig, Paying};
use cairn_fuzz::chain::{CONTRACTS, Chain, channel, wallet};
use cairn_fuzz::{CountedRng, NOW, Peer, StillClock, runtime};
use cairn_market::voucher::Mandate;
use cairn_market::{EgressPrice, StoragePrice, Terms};
use cairn_proto::delegation::put_mandate;
use cairn_proto::shard::{Brief, BriefDeal, Request, request};
use cairn_proto::{Advert, Agreement, BoxStream, Delegation, Transport, TransportError};
use cairn_types::{Amount, DataKeys, DealId, NodeId, NodeKey, Phrase, UnixMs, UnixSecs};
use futures::FutureExt;
use futures::future::BoxFuture;
use libfuzzer_sys::fuzz_target;
use prost::Message;

#[derive(Debug, Arbitrary)]
struct Input {
    said: Vec<Said>,
}

#[derive(Debug, Arbitrary)]
enum Said {
    Raw(Vec<u8>),
    Body(Vec<u8>),
    Word { silent_ms: u64, deals: Vec<Vec<u8>>, audits_after_ms: u64 },
    Deal(Box<Told>),
}

#[derive(Debug, Arbitrary)]
struct Told {
    deal: u8,
    provider: u8,
    deposit: u64,
    cap: u64,
    until: u32,
    /// Rows of the fuzzer's own instead of good ones.
    deal_row: Option<Vec<u8>>,
    paid_row: Vec<u8>,
    meter_row: Vec<u8>,
    foreign_signer: bool,
    foreign_delegate: bool,
    entry_count: u16,
    /// Bytes of entries that follow.
    entries: Vec<u8>,
}

struct NoNetwork(NodeId);

impl Transport for NoNetwork {
    fn open(&self, _: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        std::future::ready(Err(TransportError::Closed)).boxed()
    }
    fn providers(&self) -> Vec<Advert> {
        Vec::new()
    }
    fn local(&self) -> NodeId {
        self.0
    }
}

fn client() -> NodeKey {
    NodeKey::from_secret([3; 32])
}

fn own() -> NodeKey {
    NodeKey::from_secret([5; 32])
}

fn keys() -> DataKeys {
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    Phrase::parse(words).expect("a phrase").data_keys()
}

fn open(dir: PathBuf) -> Delegate {
    try_open(dir).expect("an empty directory")
}

fn try_open(dir: PathBuf) -> Result<Delegate, LedgerError> {
    let parts = || Parts {
        transport: Arc::new(NoNetwork(own().id())),
        keys: keys(),
        rng: Arc::new(CountedRng::default()),
        writer_epoch: 0,
        config: Config::default(),
    };
    let paying = |ledger| Paying {
        ledger,
        settlement: Arc::new(Chain),
        node: own(),
        session: wallet(9),
        clock: Arc::new(StillClock),
        court: None,
        config: PayConfig { audits: false, ..PayConfig::default() },
        acting: None,
    };
    Delegate::open(&[client().id()], dir, parts, paying)
}

fn told(told: &Told) -> BriefDeal {
    let provider = NodeKey::from_secret([told.provider.max(1); 32]);
    let channel = channel([told.deal; 14], told.deposit.into(), false);
    let terms = Terms {
        node: provider.id(),
        owner: wallet(1).address(),
        signer: wallet(2).address(),
        chain_id: CONTRACTS.chain_id,
        channels: CONTRACTS.channels,
        court: CONTRACTS.court,
        providers: CONTRACTS.providers,
        storage: StoragePrice::per_gib_month(Amount::from_base_units(1 << 60)),
        egress: EgressPrice::per_gib(Amount::from_base_units(1 << 30)),
        collateral_per_gib: Amount::ZERO,
        epoch_ms: 60_000,
        grace_ms: 10_000,
        region: String::new(),
    };
    let deal = DealId([told.deal; 32]);
    let agreement = Agreement { deal, client: client().id(), terms, channel, start: UnixMs(1), carried: Amount::ZERO };
    let signed = Agreement::accept(&agreement.propose(&client()), &provider);
    let row = cairn_client::ledger_fuzzing::deal_row(deal, channel, told.deposit.into(), &signed);
    let until = UnixSecs(NOW.secs().0 + u64::from(told.until));
    let delegate = if told.foreign_delegate { wallet(8).address() } else { wallet(9).address() };
    let mandate = Mandate { channel, delegate, cumulative_max: Amount::from_base_units(told.cap.into()), valid_until: until };
    let given = Delegation { deal, client: client().id(), delegate: own().id(), valid_until: until };
    BriefDeal {
        provider: Bytes::copy_from_slice(provider.id().as_bytes()),
        deal_row: told.deal_row.clone().map_or(row, Bytes::from),
        paid_row: [&[1][..], &told.paid_row].concat().into(),
        meter_row: [&[1][..], &told.meter_row].concat().into(),
        client_signer: Bytes::copy_from_slice(wallet(if told.foreign_signer { 7 } else { 4 }).address().as_bytes()),
        mandate: Some(put_mandate(&mandate.sign(&CONTRACTS.channels_domain(), &wallet(4)))),
        present: Some(given.sign(&client())),
        entry_count: told.entry_count.into(),
    }
}

fn framed(kind: u8, bytes: &[u8], said: &mut Vec<u8>) {
    said.push(kind);
    said.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    said.extend_from_slice(bytes);
}

fuzz_target!(|input: Input| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bytes = Vec::new();
    for one in input.said {
        match one {
            Said::Raw(raw) => bytes.extend_from_slice(&raw),
            Said::Body(body) => framed(1, &body, &mut bytes),
            Said::Word { silent_ms, deals, audits_after_ms } => {
                let deals = deals.into_iter().map(Bytes::from).collect();
                brief(Brief { deal: None, silent_ms, deals, audits_after_ms }, &mut bytes);
            }
            Said::Deal(deal) => {
                brief(Brief { deal: Some(told(&deal)), ..Brief::default() }, &mut bytes);
                framed(1, &deal.entries, &mut bytes);
            }
        }
    }
    runtime().block_on(async {
        let delegate = open(dir.path().to_owned());
        let (peer, _) = Peer::saying(bytes);
        delegate.serve_stream(client().id(), Box::new(peer)).await;
        let heard = delegate.list();
        delegate.stop().expect("a disk");
        let count = heard[0].deals.len();
        drop((delegate, heard));
        // The tasks of its client end with their next look.
        let again = loop {
            match try_open(dir.path().to_owned()) {
                Ok(again) => break again,
                Err(LedgerError::Disk(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => panic!("it does not open again: {error}"),
            }
        };
        assert_eq!(again.list()[0].deals.len(), count, "a deal was forgotten");
    });
});

fn brief(brief: Brief, bytes: &mut Vec<u8>) {
    framed(0, &Request { kind: Some(request::Kind::Brief(brief)) }.encode_to_vec(), bytes);
}
