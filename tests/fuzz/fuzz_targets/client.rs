//! Hostile providers at a whole client: reads, writes, deletions and collections against answers that are right, altered, cut or
//! made up. What a read gives is right or an error.
#![no_main]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_client::{Client, Config, Manifest, Parts, Redundancy, SegmentManifest, ShardPlace};
use cairn_coding::{BlobKey, Encoder, WrappedKey};
use cairn_fuzz::{CountedRng, NOW, noise, runtime};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::{Advert, BoxStream, Frame, Framed, Receipt, Transport, TransportError};
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::{block_hash, block_path, shard_root};
use cairn_types::{BlobId, DataKeys, DealId, NodeId, NodeKey, Phrase, SegmentId, ShardRoot};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::io::AsyncWriteExt;
use libfuzzer_sys::fuzz_target;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const PROVIDERS: usize = 4;
const PLAIN_LEN: usize = 150_000;
const DEAL: DealId = DealId([1; 32]);
const HUNG: Duration = Duration::from_secs(20);

#[derive(Debug, Arbitrary)]
struct Input {
    acts: Vec<Act>,
    answers: Vec<Answer>,
}

#[derive(Debug, Arbitrary)]
enum Act {
    Read { from: u32, to: u32 },
    Write { len: u16 },
    Delete,
    Collect,
}

/// What the next request, whoever gets it, is answered with; when none is left, all are right.
#[derive(Debug, Clone, Arbitrary)]
enum Answer {
    Right,
    Flipped { at: u16, with: u8 },
    Cut { at: u16 },
    Inserted { at: u16, bytes: Vec<u8> },
    Refused { code: i32, message: String },
    Listing { entries: Vec<Entry>, more: bool },
    OtherKind(u8),
    Raw(Vec<u8>),
    Silent,
}

#[derive(Debug, Clone, Arbitrary)]
struct Entry {
    root: [u8; 2],
    id_len: u8,
    len: u64,
    writer_epoch: u64,
}

fuzz_target!(|input: Input| {
    let blob = blob();
    let net = Arc::new(Net { answers: Arc::new(Mutex::new(input.answers.into())) });
    let parts = Parts { transport: net, keys: keys(), rng: Arc::new(CountedRng::default()), writer_epoch: 1, config: config() };
    let run = async {
        let client = Client::new(parts);
        for act in input.acts.iter().take(4) {
            match act {
                Act::Read { from, to } => read(&client, blob, u64::from(*from)..u64::from(*to)).await,
                Act::Write { len } => write(&client, (*len).into()).await,
                Act::Delete => drop(client.delete(&blob.manifest).await),
                Act::Collect => drop(client.collect(0, &|segment: &SegmentId, _: &ShardPlace| segment.0[0] % 2 == 0).await),
            }
            let _ = client.providers();
        }
    };
    runtime().block_on(async { tokio::time::timeout(HUNG, run).await }).expect("the client hangs");
});

async fn read(client: &Client, blob: &Blob, range: Range<u64>) {
    let mut reader = client.read(blob.manifest.clone(), range.clone());
    let end = range.end.min(PLAIN_LEN as u64);
    let mut at = range.start;
    while let Some(piece) = reader.next().await {
        let Ok(piece) = piece else { return };
        assert_eq!(piece, blob.plain.slice(at as usize..at as usize + piece.len()));
        at += piece.len() as u64;
    }
    assert!(at >= end || range.start >= end, "{at} of {range:?} and no error");
}

async fn write(client: &Client, len: usize) {
    let Ok(mut writer) = client.writer() else { return };
    for piece in noise(3, len).chunks(20_000) {
        if writer.write(Bytes::copy_from_slice(piece)).await.is_err() {
            return;
        }
    }
    if let Ok(stored) = writer.finish().await {
        assert_eq!(stored.plain_len(), len as u64);
    }
}

fn config() -> Config {
    let soon = Duration::from_millis(25);
    Config {
        redundancy: Some(Redundancy::new(2, 3).expect("2 of 3")),
        call_timeout: soon,
        stall_timeout: soon,
        receipt_timeout: soon,
        straggler_grace: Duration::from_millis(3),
        hedge_min: Duration::from_millis(3),
        hedge_max: Duration::from_millis(6),
        ..Config::default()
    }
}

fn keys() -> DataKeys {
    static KEYS: OnceLock<DataKeys> = OnceLock::new();
    KEYS.get_or_init(|| Phrase::from_entropy([1; 16]).data_keys()).clone()
}

fn provider(index: usize) -> NodeKey {
    NodeKey::from_secret([index as u8 + 1; 32])
}

/// A blob of one segment that lies at the first three providers.
struct Blob {
    plain: Bytes,
    manifest: Arc<Manifest>,
    shards: Vec<(ShardRoot, Vec<u8>)>,
}

fn blob() -> &'static Blob {
    static BLOB: OnceLock<Blob> = OnceLock::new();
    BLOB.get_or_init(|| {
        let redundancy = Redundancy::new(2, 3).expect("2 of 3");
        let (id, key, plain) = (BlobId([2; 16]), BlobKey::new([3; 32]), Bytes::from(noise(1, PLAIN_LEN)));
        let (mut encoder, mut rest, mut rows) = (Encoder::new(redundancy, &key, 0), plain.clone(), Vec::new());
        while !rest.is_empty() {
            rows.extend(encoder.push(&mut rest));
        }
        rows.extend(encoder.finish().0);
        let shard = |at: usize| rows.iter().flat_map(|row| row.cells[at].to_vec()).collect::<Vec<u8>>();
        let shards: Vec<(ShardRoot, Vec<u8>)> = (0..3).map(|at| (shard_root(&shard(at)), shard(at))).collect();
        let place = |(at, (root, _)): (usize, &(ShardRoot, Vec<u8>))| {
            Some(ShardPlace { root: *root, provider: provider(at).id(), deal: DEAL })
        };
        let places = shards.iter().enumerate().map(place).collect();
        let segment = SegmentManifest { id: SegmentId([4; 16]), redundancy, plain_len: PLAIN_LEN as u64, shards: places };
        let wrapped = WrappedKey::seal(&keys(), id, &key, [5; 24]);
        Blob { plain, manifest: Arc::new(Manifest { blob: id, key: wrapped, segments: vec![segment] }), shards }
    })
}

type Answers = Arc<Mutex<VecDeque<Answer>>>;

struct Net {
    answers: Answers,
}

impl Transport for Net {
    fn open(&self, peer: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        tokio::spawn(serve(peer, theirs.compat(), self.answers.clone()));
        futures::future::ready(Ok(Box::new(ours.compat()) as BoxStream)).boxed()
    }

    fn providers(&self) -> Vec<Advert> {
        let advert = |index: usize| Advert {
            node: provider(index).id(),
            addresses: Vec::new(),
            free_len: 1 << 40,
            total_len: 1 << 40,
            region: String::new(),
            operator: String::new(),
            issued_at: NOW,
            valid_until: NOW.plus_ms(3_600_000),
            accepting: true,
        };
        (0..PROVIDERS).map(advert).collect()
    }

    fn local(&self) -> NodeId {
        NodeId([0xc1; 32])
    }
}

/// One stream at one provider, until it has nothing more to say.
async fn serve(peer: NodeId, stream: Compat<DuplexStream>, answers: Answers) -> Option<()> {
    let key = (0..PROVIDERS).map(provider).find(|key| key.id() == peer)?;
    let mut framed = Framed::new(stream);
    loop {
        let request = framed.control::<Request>().await.ok()?.kind?;
        let right = match &request {
            request::Kind::Store(store) => receipt(&mut framed, store, &key).await?,
            request => right(request),
        };
        let answer = answers.lock().expect("nobody panics with it").pop_front().unwrap_or(Answer::Right);
        let bytes = altered(answer, right, &request)?;
        framed = {
            let mut stream = framed.into_inner();
            stream.write_all(&bytes).await.ok()?;
            stream.flush().await.ok()?;
            Framed::new(stream)
        };
    }
}

/// Bytes to be sent; `None` for a stream that just ends.
fn altered(answer: Answer, mut right: Vec<u8>, request: &request::Kind) -> Option<Vec<u8>> {
    match answer {
        Answer::Right => {}
        Answer::Flipped { at, with } => {
            let at = usize::from(at) % right.len().max(1);
            *right.get_mut(at)? ^= with;
        }
        Answer::Cut { at } => right.truncate(at.into()),
        Answer::Inserted { at, bytes } => {
            let at = usize::from(at).min(right.len());
            right.splice(at..at, bytes);
        }
        Answer::Refused { code, message } => right = said(response::Kind::Refusal(shard::Refusal { code, message })),
        Answer::Listing { entries, more } => {
            right = said(response::Kind::Listing(shard::Listing { entries: entries.iter().map(entry).collect(), more }));
        }
        Answer::OtherKind(kind) if kind % 2 == 0 => right = said(response::Kind::Deleted(shard::Deleted { removed: u32::MAX })),
        Answer::OtherKind(_) => right = said(response::Kind::ReadHead(shard::ReadHead { shard_len: u64::MAX })),
        Answer::Raw(bytes) => right = bytes,
        Answer::Silent if matches!(request, request::Kind::List(_)) => return None,
        Answer::Silent => right.clear(),
    }
    Some(right)
}

fn entry(entry: &Entry) -> shard::ListEntry {
    let id = |byte: u8, len: usize| Bytes::from(vec![byte; if entry.id_len == 0 { 7 } else { len }]);
    let mut root = vec![entry.root[0]; 32];
    root[31] = entry.root[1];
    shard::ListEntry {
        root: root.into(),
        len: entry.len,
        segment_id: id(entry.root[1], SegmentId::LEN),
        writer_epoch: entry.writer_epoch % 3,
        stored_at_ms: 0,
        label: Bytes::new(),
    }
}

fn said(kind: response::Kind) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut framed = Framed::new(futures::io::Cursor::new(&mut wire));
    // A message too long for a frame is not sent at all.
    let _ = futures::executor::block_on(framed.send(&Response { kind: Some(kind) }));
    wire
}

fn right(request: &request::Kind) -> Vec<u8> {
    match request {
        request::Kind::OpenDeal(open) => said(response::Kind::Deal(shard::Deal {
            deal_id: Bytes::copy_from_slice(DEAL.as_bytes()),
            space_len: open.space_len,
            valid_until_ms: u64::MAX,
        })),
        request::Kind::Read(read) => right_read(read),
        request::Kind::Delete(delete) => said(response::Kind::Deleted(shard::Deleted { removed: delete.roots.len() as u32 })),
        request::Kind::List(_) => said(response::Kind::Listing(shard::Listing::default())),
        // Stores are answered elsewhere; whoever was not offered anything asks for nothing that is paid for.
        _ => Vec::new(),
    }
}

fn right_read(read: &shard::Read) -> Vec<u8> {
    let Some((_, data)) = blob().shards.iter().find(|(root, _)| root.as_bytes() == &read.root[..]) else {
        let refusal = shard::Refusal { code: shard::RefusalCode::NotFound.into(), message: "no such shard".into() };
        return said(response::Kind::Refusal(refusal));
    };
    let mut wire = said(response::Kind::ReadHead(shard::ReadHead { shard_len: data.len() as u64 }));
    let hashes: Vec<_> = data.chunks(FRAME_LEN).enumerate().map(|(at, block)| block_hash(at as u64, block)).collect();
    let end = ((read.offset + read.len) as usize).min(data.len());
    let mut at = read.offset as usize;
    while at < end {
        let block = at / FRAME_LEN;
        if read.proof {
            let path = block_path(&hashes, block).expect("a block of the shard");
            let path = path.iter().map(|hash| Bytes::copy_from_slice(hash)).collect();
            wire.extend(said(response::Kind::BlockProof(shard::BlockProof { path })));
        }
        let body = &data[at..end.min((block + 1) * FRAME_LEN)];
        wire.push(1);
        wire.extend_from_slice(&(body.len() as u32).to_be_bytes());
        wire.extend_from_slice(body);
        at += body.len();
    }
    wire
}

/// Takes a shard and gives its receipt.
async fn receipt(framed: &mut Framed<Compat<DuplexStream>>, store: &shard::Store, key: &NodeKey) -> Option<Vec<u8>> {
    let end = loop {
        match framed.next().await.ok()?? {
            Frame::Body(_) => {}
            Frame::Control(payload) => match prost::Message::decode(payload).map(|request: Request| request.kind) {
                Ok(Some(request::Kind::StoreEnd(end))) => break end,
                _ => return None,
            },
        }
    };
    let receipt = Receipt {
        deal: DealId::from_slice(&store.deal_id)?,
        root: ShardRoot::from_slice(&end.root)?,
        len: end.len,
        segment: SegmentId::from_slice(&store.segment_id)?,
        stored_at: NOW,
    };
    Some(said(response::Kind::Receipt(receipt.sign(key))))
}
