//! The server through its front door: every refusal by its code, keep-alive, dead and hostile peers, draining.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use cairn_proto::frame::{Frame, Framed};
use cairn_proto::shard::{self, Request, Response, request, response};
use cairn_proto::{Receipt, RefusalCode};
use cairn_types::limits::{FRAME_LEN, LABEL_LEN_MAX, LIST_PAGE_MAX, SHARD_LEN_MAX};
use cairn_types::merkle::{shard_root, verify_block};
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use proptest::prelude::*;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{Server, ServerConfig};
use crate::store::DEAL_VALID_MS;
use crate::testbed::*;

pub(crate) type Peer = Framed<Compat<DuplexStream>>;

pub(crate) fn quick() -> ServerConfig {
    ServerConfig {
        streams_per_peer: 3,
        streams_total: 100,
        idle: Duration::from_secs(10),
        stall: Duration::from_millis(300),
        linger: Duration::from_millis(300),
    }
}

fn serve(bed: &Bed) -> Server {
    Server::new(bed.open().expect("good directories"), bed.key.clone(), quick())
}

pub(crate) fn connect(server: &Server, peer: NodeId) -> Peer {
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let server = server.clone();
    tokio::spawn(async move { server.serve_stream(peer, Box::new(theirs.compat())).await });
    Framed::new(ours.compat())
}

pub(crate) async fn send(peer: &mut Peer, kind: request::Kind) {
    peer.send(&Request { kind: Some(kind) }).await.expect("a server that reads");
}

pub(crate) async fn ask(peer: &mut Peer, kind: request::Kind) -> response::Kind {
    send(peer, kind).await;
    answer(peer).await
}

pub(crate) async fn answer(peer: &mut Peer) -> response::Kind {
    peer.control::<Response>().await.expect("an answer").kind.expect("of a known kind")
}

pub(crate) fn code(answer: response::Kind) -> RefusalCode {
    match answer {
        response::Kind::Refusal(refusal) => {
            assert!(!refusal.message.is_empty() && !refusal.message.contains("/tmp"), "{refusal:?}");
            refusal.code()
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn b(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn delete(deal_id: &[u8], roots: Vec<Bytes>) -> request::Kind {
    request::Kind::Delete(shard::Delete { deal_id: b(deal_id), roots, release: None, writer_epoch: 0 })
}

async fn deal(peer: &mut Peer) -> DealId {
    let open = shard::OpenDeal { nonce: b(&NONCE), space_len: 100 * MIB, writer_epoch: 0 };
    let response::Kind::Deal(deal) = ask(peer, request::Kind::OpenDeal(open)).await else { panic!("no deal") };
    DealId::from_slice(&deal.deal_id).expect("32 bytes")
}

pub(crate) fn store(deal: DealId, len_max: u64) -> shard::Store {
    shard::Store { deal_id: b(&deal.0), segment_id: b(&[9; 16]), writer_epoch: 3, len_max }
}

pub(crate) fn end(data: &[u8]) -> shard::StoreEnd {
    shard::StoreEnd { root: b(&shard_root(data).0), len: data.len() as u64, label: b(b"label") }
}

pub(crate) fn read(deal: DealId, root: ShardRoot, offset: u64, len: u64, proof: bool) -> request::Kind {
    request::Kind::Read(shard::Read { deal_id: b(&deal.0), root: b(&root.0), offset, len, proof })
}

/// Sends a whole shard and returns the answer.
pub(crate) async fn put(peer: &mut Peer, store: shard::Store, data: &[u8], end: shard::StoreEnd) -> response::Kind {
    send(peer, request::Kind::Store(store)).await;
    for frame in data.chunks(FRAME_LEN) {
        peer.send_body(frame).await.expect("a server that reads");
    }
    ask(peer, request::Kind::StoreEnd(end)).await
}

async fn put_ok(server: &Server, peer: &mut Peer, deal: DealId, data: &[u8]) -> Receipt {
    match put(peer, store(deal, data.len() as u64), data, end(data)).await {
        response::Kind::Receipt(receipt) => Receipt::verify(&receipt, server.store().node()).expect("signed by the provider"),
        other => panic!("no receipt: {other:?}"),
    }
}

/// Reads a range and checks how it is framed.
pub(crate) async fn get(peer: &mut Peer, deal: DealId, root: ShardRoot, offset: u64, len: u64, proof: bool) -> Vec<u8> {
    let response::Kind::ReadHead(head) = ask(peer, read(deal, root, offset, len, proof)).await else { panic!("no head") };
    let mut data = Vec::new();
    while (data.len() as u64) < len {
        let at = offset + data.len() as u64;
        let path = match proof {
            true => match answer(peer).await {
                response::Kind::BlockProof(proof) => Some(proof.path),
                other => panic!("no proof: {other:?}"),
            },
            false => None,
        };
        let Some(Frame::Body(body)) = peer.next().await.expect("a body") else { panic!("no body") };
        assert_eq!(body.len() as u64, (FRAME_LEN as u64 - at % FRAME_LEN as u64).min(offset + len - at), "cut at frames");
        if let Some(path) = path {
            let path: Vec<[u8; 32]> = path.iter().map(|hash| hash[..].try_into().expect("32 bytes")).collect();
            assert!(verify_block(&root, head.shard_len, at / FRAME_LEN as u64, &body, &path), "block at {at}");
        }
        data.extend_from_slice(&body);
    }
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_stores_reads_lists_and_deletes() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let mut peer = connect(&server, CLIENT);
    let deal = deal(&mut peer).await;
    let mut stored = Vec::new();
    for (seed, len) in [1, 5000, 16_385, FRAME_LEN, 3 * FRAME_LEN + 7, 20 * FRAME_LEN].into_iter().enumerate() {
        let data = seeded(seed as u64, len);
        let receipt = put_ok(&server, &mut peer, deal, &data).await;
        assert_eq!((receipt.deal, receipt.root, receipt.len), (deal, shard_root(&data), len as u64));
        assert_eq!(receipt.segment, SegmentId([9; 16]));
        stored.push((receipt.root, data));
    }
    for (root, data) in &stored {
        let len = data.len() as u64;
        for (offset, range_len) in [(0, len), (0, 0), (len / 2, len - len / 2), (len - 1, 1), (len / 3, len / 3)] {
            let expected = &data[offset as usize..(offset + range_len) as usize];
            assert_eq!(get(&mut peer, deal, *root, offset, range_len, false).await, expected, "{offset}+{range_len} of {len}");
        }
        assert_eq!(&get(&mut peer, deal, *root, 0, len, true).await, data);
    }
    let last = stored[5].0;
    assert_eq!(
        get(&mut peer, deal, last, FRAME_LEN as u64, 9 * FRAME_LEN as u64, true).await,
        stored[5].1[FRAME_LEN..10 * FRAME_LEN]
    );

    stored.sort_unstable_by_key(|(root, _)| *root);
    let mut listed = Vec::new();
    loop {
        let after = listed.last().map(|root: &ShardRoot| b(&root.0)).unwrap_or_default();
        let list = shard::List { deal_id: b(&deal.0), after, max: 4 };
        let response::Kind::Listing(page) = ask(&mut peer, request::Kind::List(list)).await else { panic!("no listing") };
        for entry in &page.entries {
            assert_eq!((&entry.label[..], entry.writer_epoch, &entry.segment_id[..]), (&b"label"[..], 3, &[9; 16][..]));
            listed.push(ShardRoot::from_slice(&entry.root).expect("32 bytes"));
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, stored.iter().map(|(root, _)| *root).collect::<Vec<_>>());

    let roots = listed.iter().map(|root| b(&root.0)).collect();
    assert_eq!(ask(&mut peer, delete(&deal.0, roots)).await, response::Kind::Deleted(shard::Deleted { removed: 6 }));
    assert_eq!(code(ask(&mut peer, read(deal, last, 0, 1, false)).await), RefusalCode::NotFound);
    assert_eq!(server.store().status().used_len, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_store_is_refused_by_its_own_code() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let deal = deal(&mut connect(&server, CLIENT)).await;
    let data = seeded(1, 70_000);
    let len = data.len() as u64;
    let good = || (store(deal, len), data.clone(), end(&data));
    let mut cases = Vec::new();
    let (s, d, mut e) = good();
    e.root = b(&[1; 32]);
    cases.push((RefusalCode::WrongRoot, s, d, e));
    let (s, d, mut e) = good();
    e.len -= 1;
    cases.push((RefusalCode::WrongLength, s, d, e));
    let (s, _, e) = good();
    cases.push((RefusalCode::WrongLength, s, seeded(1, 70_001), e));
    let (s, d, mut e) = good();
    e.label = b(&[0; LABEL_LEN_MAX + 1]);
    cases.push((RefusalCode::LabelTooLong, s, d, e));
    let (_, d, e) = good();
    cases.push((RefusalCode::UnknownDeal, store(DealId([1; 32]), len), d, e));
    let (_, d, e) = good();
    cases.push((RefusalCode::BadRequest, store(deal, SHARD_LEN_MAX + 1), d.clone(), e.clone()));
    cases.push((RefusalCode::BadRequest, store(deal, 0), vec![], e.clone()));
    cases.push((RefusalCode::BadRequest, shard::Store { segment_id: b(&[9; 15]), ..store(deal, len) }, d.clone(), e.clone()));
    cases.push((RefusalCode::BadRequest, store(deal, len), d.clone(), shard::StoreEnd { root: b(&[1; 31]), ..e.clone() }));
    cases.push((RefusalCode::BadRequest, store(deal, len), vec![], shard::StoreEnd { len: 0, ..e }));
    // The deal holds one largest shard and not two.
    let mut holder = connect(&server, CLIENT);
    send(&mut holder, request::Kind::Store(store(deal, SHARD_LEN_MAX))).await;
    eventually("the first is set aside", || server.store().status().reserved_len > SHARD_LEN_MAX).await;
    let mut second = connect(&server, CLIENT);
    assert_eq!(code(ask(&mut second, request::Kind::Store(store(deal, SHARD_LEN_MAX))).await), RefusalCode::DealFull);
    for (expected, store, data, end) in cases {
        let mut peer = connect(&server, CLIENT);
        assert_eq!(code(put(&mut peer, store, &data, end).await), expected);
        assert!(matches!(peer.next().await, Ok(None)), "a refused Store ends the stream");
    }
    drop(holder);
    eventually("nothing is set aside", || server.store().status().reserved_len == 0).await;
    eventually("nothing is on the disk", || allocated_len(&bed.disk_path(0)) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_failed_and_stopping_providers_refuse_by_code() {
    let mut bed = Bed::new(1);
    bed.config.disks[0].quota_len = 10 * MIB;
    let refused = async |server: &Server, peer: NodeId, deal: DealId, len_max: u64| {
        let mut peer = connect(server, peer);
        code(ask(&mut peer, request::Kind::Store(store(deal, len_max))).await)
    };
    {
        let server = serve(&bed);
        let mine = deal(&mut connect(&server, CLIENT)).await;
        let other = deal(&mut connect(&server, OTHER_CLIENT)).await;
        let mut holder = connect(&server, CLIENT);
        send(&mut holder, request::Kind::Store(store(mine, 6 * MIB))).await;
        eventually("the first is set aside", || server.store().status().reserved_len > 6 * MIB).await;
        assert_eq!(refused(&server, OTHER_CLIENT, other, 6 * MIB).await, RefusalCode::OverQuota);
        assert_eq!(refused(&server, OTHER_CLIENT, mine, 1).await, RefusalCode::UnknownDeal);
        bed.clock.0.fetch_add(DEAL_VALID_MS, Ordering::SeqCst);
        assert_eq!(refused(&server, CLIENT, mine, 1).await, RefusalCode::DealEnded);
        deal(&mut connect(&server, CLIENT)).await;

        let drain = tokio::spawn({
            let server = server.clone();
            async move { server.drain().await }
        });
        eventually("stopping", || server.status().stopping).await;
        // The request is there before the server looks, so it is answered and not closed as idle.
        let (ours, theirs) = tokio::io::duplex(1024);
        let mut late = Framed::new(ours.compat());
        send(&mut late, request::Kind::Store(store(mine, 1))).await;
        tokio::spawn({
            let server = server.clone();
            async move { server.serve_stream(CLIENT, Box::new(theirs.compat())).await }
        });
        assert_eq!(code(answer(&mut late).await), RefusalCode::Stopping);
        assert!(!drain.is_finished(), "a shard is still arriving");
        let data = seeded(1, 100_000);
        for frame in data.chunks(FRAME_LEN) {
            holder.send_body(frame).await.expect("a server that reads");
        }
        let receipt = ask(&mut holder, request::Kind::StoreEnd(end(&data))).await;
        assert!(matches!(receipt, response::Kind::Receipt(_)), "{receipt:?}");
        drain.await.expect("drained");
    }
    let probe = bed.disk_path(0).join("probe");
    std::fs::remove_file(&probe).expect("the probe");
    std::fs::create_dir(&probe).expect("room");
    {
        let server = serve(&bed);
        let mine = deal(&mut connect(&server, CLIENT)).await;
        assert_eq!(refused(&server, CLIENT, mine, 1).await, RefusalCode::ReadOnly);
    }
    std::fs::remove_dir(&probe).expect("the directory");
    bed.config.disks[0].reserve_len = u64::MAX / 2;
    let server = serve(&bed);
    let mine = deal(&mut connect(&server, CLIENT)).await;
    assert_eq!(refused(&server, CLIENT, mine, 1).await, RefusalCode::DiskReserve);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_reads_lists_and_deletes_are_refused_and_the_stream_goes_on() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let mut peer = connect(&server, CLIENT);
    let deal_id = deal(&mut peer).await;
    let data = seeded(1, 5 * FRAME_LEN);
    let root = put_ok(&server, &mut peer, deal_id, &data).await.root;
    let (len, frame) = (data.len() as u64, FRAME_LEN as u64);
    let list =
        |deal_id: &[u8], after: &[u8]| request::Kind::List(shard::List { deal_id: b(deal_id), after: b(after), max: u32::MAX });
    let bad_nonce = request::Kind::OpenDeal(shard::OpenDeal { nonce: b(&[1; 15]), space_len: 1, writer_epoch: 0 });
    let cases = [
        (read(deal_id, root, 0, len + 1, false), RefusalCode::BadRequest),
        (read(deal_id, root, len + 1, 0, false), RefusalCode::BadRequest),
        (read(deal_id, root, u64::MAX, u64::MAX, false), RefusalCode::BadRequest),
        (read(deal_id, root, 1, len - 1, true), RefusalCode::BadRequest),
        (read(deal_id, root, 0, frame + 1, true), RefusalCode::BadRequest),
        (read(deal_id, root, 0, 0, true), RefusalCode::BadRequest),
        (read(deal_id, ShardRoot([1; 32]), 0, 1, false), RefusalCode::NotFound),
        (read(DealId([1; 32]), root, 0, 1, false), RefusalCode::UnknownDeal),
        (delete(&[1; 32], vec![b(&root.0)]), RefusalCode::UnknownDeal),
        (delete(&deal_id.0, vec![b(&[1; 33])]), RefusalCode::BadRequest),
        (delete(&deal_id.0, vec![b(&[1; 32]); cairn_proto::DELETE_ROOTS_MAX + 1]), RefusalCode::BadRequest),
        (list(&[1; 32], &[]), RefusalCode::UnknownDeal),
        (list(&[1; 31], &[]), RefusalCode::BadRequest),
        (list(&deal_id.0, &[1]), RefusalCode::BadRequest),
        (bad_nonce, RefusalCode::BadRequest),
    ];
    for (request, expected) in cases {
        let text = format!("{request:?}");
        assert_eq!(code(ask(&mut peer, request).await), expected, "{text:.200}");
    }
    assert_eq!(get(&mut peer, deal_id, root, 0, len, false).await, data);
    let mut stranger = connect(&server, OTHER_CLIENT);
    assert_eq!(code(ask(&mut stranger, read(deal_id, root, 0, 1, false)).await), RefusalCode::UnknownDeal);

    // Lost bytes: the head is out already, so the refusal comes where a body was due.
    let volume = bed.disk_path(0).join("volumes/000000.vol");
    let file = std::fs::OpenOptions::new().write(true).open(volume).expect("the volume");
    file.set_len(4 * frame + 1).expect("a good disk");
    let head = ask(&mut peer, read(deal_id, root, 0, len, false)).await;
    assert!(matches!(head, response::Kind::ReadHead(_)));
    for _ in 0..4 {
        assert!(matches!(peer.next().await, Ok(Some(Frame::Body(_)))));
    }
    assert_eq!(code(answer(&mut peer).await), RefusalCode::DiskError);
    assert_eq!(get(&mut peer, deal_id, root, 0, frame, false).await, data[..FRAME_LEN]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_framing_is_refused_and_ends_the_stream() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let deal = deal(&mut connect(&server, CLIENT)).await;
    let cases: [(bool, Vec<u8>, RefusalCode); 7] = [
        (true, vec![1, 0, 1, 0, 1], RefusalCode::FrameTooLong),
        (false, vec![0, 0, 1, 0, 1], RefusalCode::FrameTooLong),
        (false, vec![9, 0, 0, 0, 0], RefusalCode::BadRequest),
        (false, vec![1, 0, 0, 0, 1, 7], RefusalCode::BadRequest),
        (false, vec![0, 0, 0, 0, 2, 0xff, 0xff], RefusalCode::BadRequest),
        (false, vec![0, 0, 0, 0, 0], RefusalCode::BadRequest),
        // Two short frames in a row cannot both be the last block.
        (true, vec![1, 0, 0, 0, 1, 7, 1, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0], RefusalCode::BadRequest),
    ];
    for (in_store, bytes, expected) in cases {
        let mut peer = connect(&server, CLIENT);
        if in_store {
            send(&mut peer, request::Kind::Store(store(deal, 1000))).await;
        }
        let mut raw = peer.into_inner();
        raw.write_all(&bytes).await.expect("a server that reads");
        let mut peer = Framed::new(raw);
        assert_eq!(code(answer(&mut peer).await), expected, "{bytes:?}");
        assert!(matches!(peer.next().await, Ok(None)), "{bytes:?}");
    }
    eventually("nothing is set aside", || server.store().status().reserved_len == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_too_many_streams_is_told_so_and_others_are_served() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut peer = connect(&server, CLIENT);
        deal(&mut peer).await;
        held.push(peer);
    }
    let mut fourth = connect(&server, CLIENT);
    assert_eq!(code(answer(&mut fourth).await), RefusalCode::TooManyStreams);
    assert!(matches!(fourth.next().await, Ok(None)));
    deal(&mut connect(&server, OTHER_CLIENT)).await;
    held.pop();
    eventually("the place is free", || server.status().streams == 2).await;
    deal(&mut connect(&server, CLIENT)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_or_stalls_releases_everything() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let deal = deal(&mut connect(&server, CLIENT)).await;
    for stall in [false, true] {
        let mut peer = connect(&server, CLIENT);
        send(&mut peer, request::Kind::Store(store(deal, 2 * MIB))).await;
        for seed in 0..9 {
            peer.send_body(&seeded(seed, FRAME_LEN)).await.expect("a server that reads");
        }
        eventually("the shard is arriving", || server.store().status().reserved_len > 0).await;
        if stall {
            assert!(matches!(peer.next().await, Ok(None)), "a silent peer is cut off");
        }
        drop(peer);
        eventually("nothing is set aside", || server.store().status().reserved_len == 0).await;
        eventually("nothing is on the disk", || allocated_len(&bed.disk_path(0)) == 0).await;
        eventually("no stream is open", || server.status().streams == 0 && server.status().stores == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_or_takes_nothing_is_let_go() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let mut peer = connect(&server, CLIENT);
    let deal = deal(&mut peer).await;
    let data = seeded(1, 2 * MIB as usize);
    let root = put_ok(&server, &mut peer, deal, &data).await.root;
    send(&mut peer, read(deal, root, 0, 2 * MIB, false)).await;
    eventually("a reader that takes nothing is let go", || server.status().streams == 0).await;
    let mut peer = connect(&server, CLIENT);
    send(&mut peer, read(deal, root, 0, 2 * MIB, false)).await;
    peer.next().await.expect("a head");
    drop(peer);
    eventually("a reader that went away is let go", || server.status().streams == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_page_of_the_longest_labels_fits_a_message() {
    let bed = Bed::new(1);
    let server = serve(&bed);
    let mut peer = connect(&server, CLIENT);
    let deal = deal(&mut peer).await;
    for seed in 0..LIST_PAGE_MAX as u64 + 1 {
        let data = seeded(seed, 100);
        let end = shard::StoreEnd { label: b(&[7; LABEL_LEN_MAX]), ..end(&data) };
        let stored = put(&mut peer, shard::Store { writer_epoch: u64::MAX, ..store(deal, 100) }, &data, end).await;
        assert!(matches!(stored, response::Kind::Receipt(_)));
    }
    let list = shard::List { deal_id: b(&deal.0), after: Bytes::new(), max: u32::MAX };
    let response::Kind::Listing(page) = ask(&mut peer, request::Kind::List(list)).await else { panic!("no listing") };
    assert_eq!((page.entries.len(), page.more), (LIST_PAGE_MAX, true));
}

fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let garbage = proptest::collection::vec(any::<u8>(), 0..200);
    let framed = (0u8..3, proptest::collection::vec(any::<u8>(), 0..120)).prop_map(|(kind, payload)| {
        let mut frame = vec![kind];
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(&payload);
        frame
    });
    let field = prop_oneof![Just(32usize), Just(16), 0usize..40].prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len));
    let known =
        (0u8..6, field.clone(), field, any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(kind, one, two, x, y, flag)| {
            let (one, two) = (Bytes::from(one), Bytes::from(two));
            let kind = match kind {
                0 => request::Kind::OpenDeal(shard::OpenDeal { nonce: one, space_len: x, writer_epoch: y }),
                1 => request::Kind::Store(shard::Store { deal_id: one, segment_id: two, writer_epoch: x, len_max: y }),
                2 => request::Kind::StoreEnd(shard::StoreEnd { root: one, len: x, label: two }),
                3 => request::Kind::Read(shard::Read { deal_id: one, root: two, offset: x, len: y, proof: flag }),
                4 => request::Kind::Delete(shard::Delete { deal_id: one, roots: vec![two], release: None, writer_epoch: y }),
                _ => request::Kind::List(shard::List { deal_id: one, after: two, max: x as u32 }),
            };
            let message = prost::Message::encode_to_vec(&Request { kind: Some(kind) });
            [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat()
        });
    proptest::collection::vec(prop_oneof![1 => garbage, 2 => framed, 5 => known], 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn whatever_a_peer_sends_the_server_goes_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let bed = Bed::new(1);
    let server = runtime.block_on(async { serve(&bed) });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(&hostile_bytes(), |bytes| {
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let serving = tokio::spawn({
                let server = server.clone();
                async move { server.serve_stream(CLIENT, Box::new(theirs.compat())).await }
            });
            let mut ours = ours.compat();
            let _ = ours.write_all(&bytes).await;
            let _ = ours.close().await;
            let mut answers = Vec::new();
            let _ = ours.read_to_end(&mut answers).await;
            serving.await.expect("the server does not panic");
        });
        Ok(())
    });
    run.expect("no case fails");
    runtime.block_on(async {
        let mut peer = connect(&server, OTHER_CLIENT); // the other has all the deals it may have
        let deal = deal(&mut peer).await;
        put_ok(&server, &mut peer, deal, b"still here").await;
        eventually("nothing is set aside", || server.store().status().reserved_len == 0).await;
    });
}
