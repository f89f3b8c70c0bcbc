//! A hostile client at a whole provider: any requests in any order with any bodies, and bytes that are none. What the provider says
//! of shards is held against a model of them.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_fuzz::provider::Provider;
use cairn_fuzz::{noise, runtime};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::{DELETE_ROOTS_MAX, Frame, Framed, Receipt, RefusalCode};
use cairn_provider::store::deal_id;
use cairn_types::limits::{FRAME_LEN, LABEL_LEN_MAX, LIST_PAGE_MAX};
use cairn_types::merkle::{shard_root, verify_block};
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot};
use futures::io::AsyncWriteExt;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const CLIENT: NodeId = NodeId([0xc1; 32]);
/// Deals of the client after which the provider is begun anew: it allows 16.
const DEALS_MAX: usize = 12;
const HUNG: Duration = Duration::from_secs(20);

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    OpenDeal {
        nonce: u8,
        space_len: u64,
    },
    Store(Store<'a>),
    Read {
        deal: u8,
        root: u8,
        offset: u32,
        len: u32,
        proof: bool,
    },
    Delete {
        deal: u8,
        roots: Vec<u8>,
    },
    List {
        deal: u8,
        after: Option<[u8; 2]>,
        max: u32,
    },
    /// An encoded request of any kind, in a frame.
    Control(&'a [u8]),
    /// Bytes without a frame.
    Raw(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Store<'a> {
    deal: u8,
    segment: &'a [u8],
    writer_epoch: u64,
    len_max: Option<u64>,
    full_frames: u8,
    last_len: u16,
    seed: u8,
    /// Frame after which one of another length is slipped in.
    odd_frame: Option<(u8, u16)>,
    root: Option<[u8; 2]>,
    len: Option<u64>,
    label_len: u16,
}

/// What the provider should hold.
type Shards = BTreeMap<(DealId, ShardRoot), Vec<u8>>;
type Stream = Framed<Compat<DuplexStream>>;

struct Session {
    stream: Stream,
    provider: NodeId,
    shards: Shards,
}

/// The session goes on, or its stream is of no use any more.
type Outcome = Option<()>;

fuzz_target!(|steps: Vec<Step>| {
    static PROVIDER: OnceLock<Mutex<Provider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Mutex::new(Provider::new(5)));
    let mut provider = provider.lock().unwrap_or_else(PoisonError::into_inner);
    let run = async {
        let opened = provider.server.store().open_deal(CLIENT, [0; 16], 200 << 20, 0).await;
        opened.expect("a store with room");
        let stream = Framed::new(provider.connect(CLIENT));
        let mut session = Session { stream, provider: provider.key.id(), shards: Shards::new() };
        for step in steps.iter().take(16) {
            if session.step(step).await.is_none() {
                break;
            }
        }
        drop(session);
        clean(&provider).await
    };
    let deals = runtime().block_on(async { tokio::time::timeout(HUNG, run).await }).expect("the provider hangs");
    if deals > DEALS_MAX {
        *provider = Provider::new(5);
    }
});

/// Removes all shards, so that one input does not see another's; says how many deals there are.
async fn clean(provider: &Provider) -> usize {
    let store = provider.server.store();
    // What a stream held goes back a moment after it: a write may be under way.
    while provider.server.status().streams > 0 || store.status().reserved_len > 0 {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    let deals = store.status().deals;
    for deal in deals.iter().filter(|deal| deal.shards > 0) {
        let (entries, _) = store.list(deal.client, deal.id, None, 1000).expect("a good disk");
        let roots: Vec<ShardRoot> = entries.iter().map(|entry| entry.root).collect();
        store.delete(deal.client, deal.id, &roots).await.expect("a good disk");
    }
    let status = store.status();
    assert_eq!((status.used_len, status.reserved_len, status.shards), (0, 0, 0), "an empty store that is not empty");
    deals.len()
}

impl Session {
    fn deal(&self, name: u8) -> DealId {
        // One of eight is a deal that nobody opened.
        if name % 8 == 7 { DealId([9; 32]) } else { deal_id(self.provider, CLIENT, &[name % 4; 16]) }
    }

    /// A root that is there, if there is any, or one that is not.
    fn root(&self, name: u8) -> ShardRoot {
        let known: Vec<ShardRoot> = self.shards.keys().map(|(_, root)| *root).collect();
        if known.is_empty() || name % 8 == 7 { ShardRoot([name; 32]) } else { known[usize::from(name) % known.len()] }
    }

    async fn step(&mut self, step: &Step<'_>) -> Outcome {
        match step {
            Step::OpenDeal { nonce, space_len } => self.open_deal(*nonce, *space_len).await,
            Step::Store(store) => self.store(store).await,
            Step::Read { deal, root, offset, len, proof } => {
                self.read(self.deal(*deal), self.root(*root), (*offset).into(), (*len).into(), *proof).await
            }
            Step::Delete { deal, roots } => self.delete(self.deal(*deal), roots).await,
            Step::List { deal, after, max } => self.list(self.deal(*deal), *after, *max).await,
            Step::Control(payload) => {
                let head = [&[0][..], &(payload.len() as u32).to_be_bytes()].concat();
                self.blind(&[&head[..], payload].concat()).await
            }
            Step::Raw(bytes) => self.blind(bytes).await,
        }
    }

    async fn ask(&mut self, kind: request::Kind) -> Option<response::Kind> {
        self.stream.send(&Request { kind: Some(kind) }).await.ok()?;
        self.answer().await
    }

    async fn answer(&mut self) -> Option<response::Kind> {
        let answer: Response = self.stream.control().await.expect("an answer to a request in good form");
        let kind = answer.kind.expect("an answer of a kind");
        if let response::Kind::Refusal(refusal) = &kind {
            assert!(!refusal.message.is_empty() && refusal.message.len() <= cairn_proto::REFUSAL_MESSAGE_LEN_MAX);
            assert!(refusal.code() != RefusalCode::Unspecified && refusal.code() != RefusalCode::DiskError, "{refusal:?}");
            assert!(refusal.code() != RefusalCode::Stopping, "{refusal:?}");
        }
        Some(kind)
    }

    async fn open_deal(&mut self, nonce: u8, space_len: u64) -> Outcome {
        let nonce = [nonce % 4; 16];
        let open = shard::OpenDeal { nonce: Bytes::copy_from_slice(&nonce), space_len, writer_epoch: 0 };
        match self.ask(request::Kind::OpenDeal(open)).await? {
            response::Kind::Deal(deal) => {
                assert_eq!(deal.deal_id, deal_id(self.provider, CLIENT, &nonce).as_bytes());
                assert!(deal.space_len <= space_len);
            }
            response::Kind::Refusal(refusal) => assert_eq!(refusal.code(), RefusalCode::OverQuota),
            other => panic!("{other:?}"),
        }
        Some(())
    }

    async fn store(&mut self, store: &Store<'_>) -> Outcome {
        let deal = self.deal(store.deal);
        let data = noise(store.seed.into(), usize::from(store.full_frames % 6) * FRAME_LEN + usize::from(store.last_len));
        let len_max = store.len_max.unwrap_or(data.len() as u64);
        let begin = shard::Store {
            deal_id: Bytes::copy_from_slice(deal.as_bytes()),
            segment_id: Bytes::copy_from_slice(store.segment),
            writer_epoch: store.writer_epoch,
            len_max,
        };
        self.stream.send(&Request { kind: Some(request::Kind::Store(begin)) }).await.ok()?;
        let mut odd = false;
        for (at, frame) in data.chunks(FRAME_LEN).enumerate() {
            if let Some((_, len)) = store.odd_frame.filter(|(after, _)| usize::from(*after) == at) {
                odd = true;
                self.stream.send_body(&noise(1, len.into())).await.ok()?;
            }
            self.stream.send_body(frame).await.ok()?;
        }
        let root = store.root.map_or(shard_root(&data), |[a, b]| ShardRoot([a ^ b; 32]));
        let (len, label) = (store.len.unwrap_or(data.len() as u64), vec![7; usize::from(store.label_len)]);
        let end = shard::StoreEnd { root: Bytes::copy_from_slice(root.as_bytes()), len, label: label.into() };
        let answer = self.ask(request::Kind::StoreEnd(end)).await?;
        let good = root == shard_root(&data)
            && len == data.len() as u64
            && (1..=len_max).contains(&len)
            && usize::from(store.label_len) <= LABEL_LEN_MAX
            && store.segment.len() == SegmentId::LEN
            && !odd;
        match answer {
            response::Kind::Receipt(receipt) => {
                let receipt = Receipt::verify(&receipt, self.provider).expect("a receipt of this provider");
                assert!(good, "a receipt for {store:?}");
                assert_eq!((receipt.deal, receipt.root, receipt.len), (deal, root, len));
                self.shards.insert((deal, root), data);
                Some(())
            }
            response::Kind::Refusal(refusal) => {
                use RefusalCode::{BadRequest, DealFull, OverQuota, UnknownDeal};
                let of_space = matches!(refusal.code(), DealFull | OverQuota | UnknownDeal);
                assert!(!good || of_space || (len_max > (65 << 20) && refusal.code() == BadRequest), "{refusal:?} to {store:?}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    async fn read(&mut self, deal: DealId, root: ShardRoot, offset: u64, len: u64, proof: bool) -> Outcome {
        let (deal_id, root_id) = (Bytes::copy_from_slice(deal.as_bytes()), Bytes::copy_from_slice(root.as_bytes()));
        let read = shard::Read { deal_id, root: root_id, offset, len, proof };
        let data = self.shards.get(&(deal, root)).cloned();
        let frame = FRAME_LEN as u64;
        let fits = data.as_ref().is_some_and(|data| {
            let (end, shard_len) = (offset + len, data.len() as u64);
            let whole = len > 0 && offset.is_multiple_of(frame) && (end.is_multiple_of(frame) || end == shard_len);
            end <= shard_len && (!proof || whole)
        });
        let head = match self.ask(request::Kind::Read(read)).await? {
            response::Kind::ReadHead(head) => head,
            response::Kind::Refusal(refusal) => {
                assert!(!fits, "{refusal:?}");
                return Some(());
            }
            other => panic!("{other:?}"),
        };
        assert!(fits, "bytes that should not be there");
        let data = data.expect("it fits");
        assert_eq!(head.shard_len, data.len() as u64);
        let mut at = offset;
        while at < offset + len {
            let path = if proof { Some(self.path().await) } else { None };
            let Ok(Some(Frame::Body(body))) = self.stream.next().await else { panic!("a body was due") };
            assert_eq!(body, data[at as usize..at as usize + body.len()]);
            assert!(path.is_none_or(|path| verify_block(&root, head.shard_len, at / frame, &body, &path)));
            at += body.len() as u64;
        }
        Some(())
    }

    async fn path(&mut self) -> Vec<[u8; 32]> {
        let Some(response::Kind::BlockProof(proof)) = self.answer().await else { panic!("a proof was due") };
        proof.path.iter().map(|hash| hash[..].try_into().expect("a hash")).collect()
    }

    async fn delete(&mut self, deal: DealId, names: &[u8]) -> Outcome {
        let roots: Vec<ShardRoot> = names.iter().take(DELETE_ROOTS_MAX).map(|name| self.root(*name)).collect();
        let wire = roots.iter().map(|root| Bytes::copy_from_slice(root.as_bytes())).collect();
        let delete = shard::Delete { deal_id: Bytes::copy_from_slice(deal.as_bytes()), roots: wire, release: None, writer_epoch: 0 };
        let expected = roots.iter().filter(|root| self.shards.remove(&(deal, **root)).is_some()).count();
        match self.ask(request::Kind::Delete(delete)).await? {
            response::Kind::Deleted(deleted) => assert_eq!(deleted.removed as usize, expected),
            response::Kind::Refusal(refusal) => assert!(expected == 0, "{refusal:?}"),
            other => panic!("{other:?}"),
        }
        Some(())
    }

    async fn list(&mut self, deal: DealId, after: Option<[u8; 2]>, max: u32) -> Outcome {
        let after = after.map(|[name, add]| ShardRoot(self.root(name).0.map(|byte| byte.wrapping_add(add % 2))));
        let list = shard::List {
            deal_id: Bytes::copy_from_slice(deal.as_bytes()),
            after: after.map(|root| Bytes::copy_from_slice(root.as_bytes())).unwrap_or_default(),
            max,
        };
        let of_deal = self.shards.iter().filter(|((of, _), _)| *of == deal);
        let held: Vec<_> = of_deal.filter(|((_, root), _)| after.is_none_or(|after| *root > after)).collect();
        let page = (max as usize).clamp(1, LIST_PAGE_MAX);
        let expected: Vec<_> = held.iter().take(page).map(|((_, root), data)| (root.0.to_vec(), data.len() as u64)).collect();
        let more = held.len() > page;
        match self.ask(request::Kind::List(list)).await? {
            response::Kind::Listing(listing) => {
                let listed: Vec<_> = listing.entries.iter().map(|entry| (entry.root.to_vec(), entry.len)).collect();
                assert_eq!((listed, listing.more), (expected, more));
            }
            response::Kind::Refusal(refusal) => assert!(expected.is_empty(), "{refusal:?}"),
            other => panic!("{other:?}"),
        }
        Some(())
    }

    /// Says what may mean anything, ends, and takes whatever comes, as long as it is in frames.
    async fn blind(&mut self, bytes: &[u8]) -> Outcome {
        let (dead, _) = tokio::io::duplex(1);
        let mut stream = std::mem::replace(&mut self.stream, Framed::new(dead.compat())).into_inner();
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let mut stream = Framed::new(stream);
        while let Some(frame) = stream.next().await.expect("a provider speaks in frames") {
            if let Frame::Control(payload) = frame {
                assert!(Response::decode(payload).expect("a response").kind.is_some());
            }
        }
        None
    }
}
