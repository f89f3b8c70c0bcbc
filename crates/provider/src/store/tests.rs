//! The store's promises: what is acknowledged stays, what is not leaves nothing, and a wrong directory is refused.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::{shard_root, verify_block};
use cairn_types::{DealId, NodeKey, ShardRoot};
use proptest::prelude::*;

use super::disk::footprint_len;
use super::*;
use crate::testbed::*;

const SIZES: [usize; 8] = [1, 2048, 16 * 1024, 16 * 1024 + 1, FRAME_LEN, FRAME_LEN + 1, 4 * FRAME_LEN, 11 * FRAME_LEN - 5];

#[tokio::test(flavor = "multi_thread")]
async fn a_later_writer_shuts_earlier_ones_out_for_good() {
    let bed = Bed::new(2);
    let begin = |store: &Store, deal: DealId, writer_epoch: u64| {
        store.begin(CLIENT, NewShard { deal, segment: SegmentId([9; 16]), writer_epoch, len_max: 10 }).map(drop)
    };
    let stale = |writer_epoch: u64| StoreError::StaleWriter { writer_epoch, fence: 7 };
    {
        let store = bed.open().expect("fresh directories");
        let deal = store.open_deal(CLIENT, NONCE, 200 * MIB, 5).await.expect("room").id;
        begin(&store, deal, 5).expect("the only writer");
        store.open_deal(CLIENT, NONCE, 200 * MIB, 7).await.expect("a later one");
        assert_eq!(begin(&store, deal, 6), Err(stale(6)));
        assert_eq!(store.open_deal(CLIENT, NONCE, 200 * MIB, 6).await, Err(stale(6)));
    }
    let store = bed.open().expect("its own directories");
    let deal = store.open_deal(CLIENT, NONCE, 200 * MIB, 0).await.expect("who writes nothing may look").id;
    assert_eq!(store.check_writer(CLIENT, deal, 6), Err(stale(6)), "after a restart too");
    assert_eq!((begin(&store, deal, 7), store.check_writer(CLIENT, deal, 0)), (Ok(()), Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_come_back_after_a_restart() {
    let bed = Bed::new(2);
    let mut roots = Vec::new();
    {
        let store = bed.open().expect("fresh directories");
        let deal = open_deal(&store).await;
        for (seed, len) in SIZES.into_iter().enumerate() {
            let data = seeded(seed as u64, len);
            let stored = put(&store, deal, &data).await.expect("room");
            assert_eq!((stored.root, stored.len), (shard_root(&data), len as u64));
            roots.push((stored.root, data));
        }
    }
    let store = bed.open().expect("its own directories");
    let deal = deal_id(bed.key.id(), CLIENT, &NONCE);
    for (root, data) in &roots {
        assert_eq!(&get(&store, deal, *root).expect("stored"), data);
    }
    let status = store.status();
    let used_len: u64 = SIZES.iter().map(|len| footprint_len(*len as u64, 5)).sum();
    assert_eq!((status.shards, status.used_len, status.reserved_len), (SIZES.len() as u64, used_len, 0));
    assert_eq!((status.deals[0].shards, status.deals[0].used_len), (SIZES.len() as u64, used_len));
    assert!(status.disks.iter().all(|disk| disk.shards > 0), "both disks are used: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_is_proven_by_the_stored_hashes() {
    let bed = Bed::new(1);
    let store = bed.open().expect("a fresh directory");
    let deal = open_deal(&store).await;
    for (seed, len) in SIZES.into_iter().enumerate() {
        let data = seeded(seed as u64, len);
        let root = put(&store, deal, &data).await.expect("room").root;
        let reader = store.reader(CLIENT, deal, root, true).expect("stored");
        for (block, bytes) in data.chunks(FRAME_LEN).enumerate() {
            let path = reader.path(block as u64).expect("hashes were asked for");
            assert!(verify_block(&root, len as u64, block as u64, bytes, &path), "block {block} of {len} bytes");
        }
        assert!(reader.path(data.len().div_ceil(FRAME_LEN) as u64).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let bed = Bed::new(1);
    let store = bed.open().expect("a fresh directory");
    let deal = open_deal(&store).await;
    put(&store, deal, &seeded(1, 100_000)).await.expect("room");
    let before = allocated_len(&bed.disk_path(0));
    for frames in [1, 3, 9, 20] {
        let mut writer = store.begin(CLIENT, new_shard(deal, 2 * MIB)).expect("room");
        assert!(store.status().reserved_len > 2 * MIB);
        for frame in 0..frames {
            writer.push(seeded(frame, FRAME_LEN).into()).await.expect("room");
        }
        drop(writer);
        eventually("space is given back", || store.status().reserved_len == 0).await;
    }
    eventually("blocks are given back", || allocated_len(&bed.disk_path(0)) == before).await;
    assert_eq!(store.status().shards, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_endings_are_refused_and_leave_nothing() {
    let bed = Bed::new(1);
    let store = bed.open().expect("a fresh directory");
    let deal = open_deal(&store).await;
    for len in [100, 200_000] {
        let data = seeded(1, len);
        let root = shard_root(&data);
        let endings = [
            (ShardRoot([1; 32]), len as u64, 5, StoreError::WrongRoot { found: root, expected: ShardRoot([1; 32]) }),
            (root, len as u64 + 1, 5, StoreError::WrongLength { found: len as u64, expected: len as u64 + 1 }),
            (root, len as u64, 1025, StoreError::LabelTooLong { len: 1025, max: 1024 }),
        ];
        for (root, end_len, label_len, expected) in endings {
            let mut writer = store.begin(CLIENT, new_shard(deal, len as u64)).expect("room");
            for frame in data.chunks(FRAME_LEN) {
                writer.push(Bytes::copy_from_slice(frame)).await.expect("room");
            }
            assert_eq!(writer.finish(root, end_len, vec![0; label_len].into()).await, Err(expected));
        }
    }
    let mut writer = store.begin(CLIENT, new_shard(deal, 10)).expect("room");
    assert_eq!(writer.push(vec![0; 11].into()).await, Err(StoreError::WrongLength { found: 11, expected: 10 }));
    drop(writer);
    eventually("space is given back", || store.status().reserved_len == 0).await;
    eventually("blocks are given back", || allocated_len(&bed.disk_path(0)) == 0).await;
    assert_eq!(store.status().used_len, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_stored_again_takes_no_second_copy_and_its_last_label_counts() {
    let bed = Bed::new(2);
    let store = bed.open().expect("fresh directories");
    let deal = open_deal(&store).await;
    for len in [1000, 100_000] {
        let data = seeded(1, len);
        // The emptier disk takes each new shard, so the second copy would go to the other disk.
        for round in 0..3 {
            bed.clock.0.fetch_add(1, Ordering::SeqCst);
            let stored = put(&store, deal, &data).await.expect("room");
            assert_eq!(stored.stored_at, bed.clock.now(), "round {round}");
        }
    }
    eventually("second copies go back", || store.status().reserved_len == 0).await;
    let status = store.status();
    assert_eq!((status.shards, status.used_len), (2, footprint_len(1000, 5) + footprint_len(100_000, 5)));
    eventually("blocks are given back", || allocated_len(&bed.disk_path(0)) + allocated_len(&bed.disk_path(1)) == 25 * 4096)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_shards_give_their_blocks_back_and_stay_deleted() {
    let bed = Bed::new(1);
    let deal = {
        let store = bed.open().expect("a fresh directory");
        let deal = open_deal(&store).await;
        let (kept, gone, small) = (seeded(1, 300_000), seeded(2, 500_000), seeded(3, 3000));
        for data in [&kept, &gone, &small] {
            put(&store, deal, data).await.expect("room");
        }
        let roots = [shard_root(&gone), shard_root(&small), shard_root(&gone), ShardRoot([0; 32])];
        assert_eq!(store.delete(OTHER_CLIENT, deal, &roots).await, Err(StoreError::UnknownDeal(deal)));
        assert_eq!(store.delete(CLIENT, deal, &roots).await, Ok(2));
        assert_eq!(store.delete(CLIENT, deal, &roots).await, Ok(0));
        eventually("blocks are given back", || allocated_len(&bed.disk_path(0)) == 74 * 4096).await;
        assert_eq!(get(&store, deal, shard_root(&gone)), Err(StoreError::NotFound(shard_root(&gone))));
        assert_eq!(get(&store, deal, shard_root(&kept)), Ok(kept));
        deal
    };
    let store = bed.open().expect("its own directory");
    assert_eq!(store.status().used_len, footprint_len(300_000, 5));
    assert_eq!(store.list(CLIENT, deal, None, 10).expect("its deal").0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_a_row_are_collected_at_the_next_start() {
    let bed = Bed::new(1);
    let data = seeded(1, 300_000);
    {
        let store = bed.open().expect("a fresh directory");
        let deal = open_deal(&store).await;
        put(&store, deal, &data).await.expect("room");
    }
    // What a kill -9 in the middle of a Store leaves: bytes in the current volume past the last row, and a volume with no row.
    let volume = bed.disk_path(0).join("volumes/000000.vol");
    let file = std::fs::OpenOptions::new().write(true).open(volume).expect("the first volume");
    file.write_all_at(&[7; 200_000], 80 * 4096).expect("room");
    std::fs::write(bed.disk_path(0).join("volumes/000001.vol"), [7; 50_000]).expect("room");
    drop(file);
    let store = bed.open().expect("its own directory");
    assert_eq!(allocated_len(&bed.disk_path(0)), 74 * 4096);
    assert!(store.status().disks[0].collected_len >= 250_000);
    let deal = open_deal(&store).await;
    assert_eq!(get(&store, deal, shard_root(&data)), Ok(data));
    put(&store, deal, &seeded(2, 100_000)).await.expect("room");
    assert_eq!(allocated_len(&bed.disk_path(0)), (74 + 25) * 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_that_are_not_this_nodes_are_refused() {
    let bed = Bed::new(2);
    let disk = bed.disk_path(0);
    let store = bed.open().expect("fresh directories");
    assert!(matches!(bed.open_once(), Err(OpenError::InUse(path)) if path == disk));
    drop(store);
    let stranger = NodeKey::from_secret([6; 32]).id();
    assert!(matches!(bed.open_as(stranger), Err(OpenError::OtherIdentity { node, .. }) if node == stranger));

    let away = bed.dir.path().join("away");
    std::fs::rename(&disk, &away).expect("same file system");
    assert!(matches!(bed.open(), Err(OpenError::EmptyDisk { path, .. }) if path == disk), "unmounted");
    std::fs::create_dir(&disk).expect("a mount point");
    assert!(matches!(bed.open(), Err(OpenError::EmptyDisk { path, .. }) if path == disk), "mount point only");
    std::fs::remove_dir_all(&disk).expect("empty");
    let other = bed.disk_path(1);
    std::fs::rename(&other, &disk).expect("same file system");
    assert!(matches!(bed.open(), Err(OpenError::OtherDisk { path, .. }) if path == disk), "swapped");
    std::fs::rename(&disk, &other).expect("same file system");
    std::fs::rename(&away, &disk).expect("same file system");
    drop(bed.open().expect("all as it was"));

    std::fs::rename(disk.join("index"), &away).expect("same file system");
    assert!(matches!(bed.open(), Err(OpenError::IndexLost { path, .. }) if path == disk));
    std::fs::rename(other.join("index"), disk.join("index")).expect("same file system");
    assert!(matches!(bed.open(), Err(OpenError::Index { path, .. }) if path == disk), "another disk's index");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_the_last_number_there_is_is_damage() {
    let bed = Bed::new(1);
    drop(bed.open().expect("a fresh directory"));
    let foreign = bed.disk_path(0).join(format!("volumes/{}.vol", u32::MAX));
    std::fs::write(&foreign, "x").expect("room");
    assert!(matches!(bed.open(), Err(OpenError::Index { reason, .. }) if reason.contains("last number")));
    std::fs::remove_file(&foreign).expect("it is there");
    drop(bed.open().expect("all as it was"));
}

#[test]
fn a_disk_id_is_hex_digits_and_no_sign() {
    let read = |text: &str| serde_json::from_str::<disk::DiskId>(&format!("{text:?}")).ok();
    let id = "00112233445566778899aabbccddeeff";
    assert_eq!(read(&id.to_uppercase()).map(|id| id.to_string()).as_deref(), Some(id));
    for text in [&id.replacen("44", "+4", 1), &id[..30], &id.replacen("00", "é", 1), &id.replacen("00", " 0", 1)] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_cannot_be_meant_are_refused() {
    let bed = Bed::new(1);
    let with = |disks: Vec<DiskConfig>| Bed { config: StoreConfig { disks, ..bed.config.clone() }, ..Bed::new(0) };
    assert!(matches!(with(vec![]).open(), Err(OpenError::NoDisks)));
    let disk = bed.config.disks[0].clone();
    assert!(matches!(with(vec![disk.clone(), disk.clone()]).open(), Err(OpenError::NamedTwice(_))));
    std::fs::create_dir_all(&disk.path).expect("a directory");
    std::fs::write(disk.path.join("holiday.jpg"), b"mine").expect("room");
    assert!(matches!(with(vec![disk]).open(), Err(OpenError::ForeignFiles { found, .. }) if found == "holiday.jpg"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_broken_off_is_begun_again() {
    let bed = Bed::new(1);
    let disk = bed.disk_path(0);
    std::fs::create_dir_all(disk.join("index")).expect("a directory");
    std::fs::write(disk.join("initialising"), b"").expect("room");
    std::fs::write(disk.join("index/CURRENT"), b"MANIFEST-0").expect("room");
    let store = bed.open().expect("nothing was ever acknowledged from here");
    let deal = open_deal(&store).await;
    put(&store, deal, b"x").await.expect("room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_whose_sync_fails_acknowledges_nothing_more() {
    let bed = Bed::new(1);
    let kept = seeded(1, 100_000);
    {
        let store = bed.open().expect("a fresh directory");
        let deal = open_deal(&store).await;
        put(&store, deal, &kept).await.expect("room");
        store.0.disks[0].sync_fails.store(true, Ordering::SeqCst);
        assert!(matches!(put(&store, deal, &seeded(2, 100_000)).await, Err(StoreError::Disk(_))));
        // A later sync that works proves nothing for the pages of the failed one.
        store.0.disks[0].sync_fails.store(false, Ordering::SeqCst);
        store.0.disks[0].probe();
        assert!(matches!(put(&store, deal, &seeded(3, 100)).await, Err(StoreError::ReadOnly(_))));
        assert!(matches!(store.delete(CLIENT, deal, &[shard_root(&kept)]).await, Err(StoreError::ReadOnly(_))));
        let status = store.status();
        assert!(status.disks[0].read_only.as_ref().is_some_and(|reason| reason.contains("injected")), "{status:?}");
        assert!(!status.accepting && status.free_len == 0);
        assert_eq!(get(&store, deal, shard_root(&kept)).as_ref(), Ok(&kept));
    }
    let store = bed.open().expect("its own directory");
    assert_eq!(allocated_len(&bed.disk_path(0)), 25 * 4096);
    assert_eq!((store.status().shards, store.status().accepting), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_its_write_test_is_read_only_and_the_others_go_on() {
    let mut bed = Bed::new(2);
    bed.config.probe_every = Duration::from_millis(20);
    let store = bed.open().expect("fresh directories");
    let deal = open_deal(&store).await;
    // A directory in the probe's place: the write test gets a real error from the file system.
    // The write test may make its file again in between.
    let probe = bed.disk_path(0).join("probe");
    eventually("the probe is a directory", || {
        let _ = std::fs::remove_file(&probe);
        std::fs::create_dir(&probe).is_ok()
    })
    .await;
    eventually("the write test fails", || store.status().disks[0].read_only.is_some()).await;
    for seed in 0..4 {
        put(&store, deal, &seeded(seed, 50_000)).await.expect("the other disk");
    }
    let status = store.status();
    assert_eq!((status.disks[0].shards, status.disks[1].shards), (0, 4));
    assert!(status.disks[0].read_only.as_ref().is_some_and(|reason| reason.contains("write test")), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_reserve_and_deal_hold_against_what_is_only_announced() {
    let mut bed = Bed::new(1);
    bed.config.disks[0].quota_len = 10 * MIB;
    let store = bed.open().expect("a fresh directory");
    let deal = open_deal(&store).await;
    assert_eq!(store.status().deals[0].space_len, 10 * MIB, "no more is granted than is free");
    let first = store.begin(CLIENT, new_shard(deal, 6 * MIB)).expect("room");
    assert!(matches!(store.begin(CLIENT, new_shard(deal, 6 * MIB)), Err(StoreError::DealFull { .. })));
    let other = store.open_deal(OTHER_CLIENT, NONCE, 10 * MIB, 0).await.expect("room").id;
    assert!(
        matches!(store.begin(OTHER_CLIENT, new_shard(other, 5 * MIB)), Err(StoreError::DealFull { .. })),
        "granted what was free"
    );
    drop(first);
    let other_again = store.open_deal(OTHER_CLIENT, NONCE, 10 * MIB, 0).await.expect("room");
    assert_eq!((other_again.id, other_again.space_len), (other, 10 * MIB));
    let _first = store.begin(CLIENT, new_shard(deal, 6 * MIB)).expect("room");
    assert!(matches!(store.begin(OTHER_CLIENT, new_shard(other, 6 * MIB)), Err(StoreError::OverQuota { .. })));
    drop(_first);
    drop(store);
    bed.config.disks[0].reserve_len = u64::MAX / 2;
    let store = bed.open().expect("its own directory");
    assert!(matches!(store.begin(CLIENT, new_shard(deal, MIB)), Err(StoreError::DiskReserve { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn deals_are_named_by_client_and_nonce_and_bounded() {
    let mut bed = Bed::new(2);
    bed.config.deals = DealLimits { per_client: 3, total: 4 };
    let store = bed.open().expect("fresh directories");
    let deal = open_deal(&store).await;
    assert_eq!(deal, deal_id(bed.key.id(), CLIENT, &NONCE));
    assert_eq!(open_deal(&store).await, deal, "the same nonce is the same deal");
    assert!(matches!(store.begin(OTHER_CLIENT, new_shard(deal, 1)), Err(StoreError::UnknownDeal(_))));
    put(&store, deal, b"kept").await.expect("room");
    for nonce in 1..=2 {
        bed.clock.0.fetch_add(1, Ordering::SeqCst);
        store.open_deal(CLIENT, [nonce; 16], MIB, 0).await.expect("within the limit");
    }
    assert_eq!(store.open_deal(CLIENT, [3; 16], MIB, 0).await, Err(StoreError::TooManyDeals(3)));
    for nonce in 1..=3 {
        bed.clock.0.fetch_add(1, Ordering::SeqCst);
        store.open_deal(OTHER_CLIENT, [nonce; 16], MIB, 0).await.expect("unused deals make room");
    }
    let ids: Vec<DealId> = store.status().deals.iter().map(|deal| deal.id).collect();
    assert!(ids.len() == 4 && ids.contains(&deal), "a deal with shards stays");
    drop(store);
    let store = bed.open().expect("its own directories");
    assert_eq!(store.status().deals.iter().map(|deal| deal.id).collect::<Vec<_>>(), ids);
    assert_eq!(get(&store, deal, shard_root(b"kept")), Ok(b"kept".to_vec()));
    bed.clock.0.fetch_add(DEAL_VALID_MS + 1, Ordering::SeqCst);
    assert_eq!(put(&store, deal, b"more").await, Err(StoreError::DealEnded(deal)));
    assert_eq!(get(&store, deal, shard_root(b"kept")), Ok(b"kept".to_vec()));
    open_deal(&store).await;
    put(&store, deal, b"more").await.expect("renewed");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_at_once_are_all_answered() {
    let bed = Bed::new(1);
    let store = bed.open().expect("a fresh directory");
    let deal = open_deal(&store).await;
    let tasks: Vec<_> = (0..200u64)
        .map(|seed| {
            let store = store.clone();
            // Every tenth shard is the same one: groups meet the same key twice.
            let data = seeded(if seed % 10 == 0 { 0 } else { seed }, 3000 + 20_000 * (seed as usize % 3));
            let data = if seed % 10 == 0 { seeded(0, 30_000) } else { data };
            tokio::spawn(async move { put(&store, deal, &data).await.map(|stored| (stored.root, data)) })
        })
        .collect();
    for task in tasks {
        let (root, data) = task.await.expect("no panic").expect("room");
        assert_eq!(get(&store, deal, root), Ok(data));
    }
    assert_eq!(store.status().shards, 181);
    eventually("nothing is set aside", || store.status().reserved_len == 0).await;
}

#[derive(Debug, Clone)]
enum Op {
    Put { seed: u64, len: usize },
    Abandon { len: usize },
    Get { pick: usize },
    Delete { picks: Vec<usize> },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![1usize..20_000, 60_000usize..300_000];
    prop_oneof![
        5 => (0u64..12, len.clone()).prop_map(|(seed, len)| Op::Put { seed, len }),
        1 => len.prop_map(|len| Op::Abandon { len }),
        3 => (0usize..20).prop_map(|pick| Op::Get { pick }),
        2 => proptest::collection::vec(0usize..20, 1..5).prop_map(|picks| Op::Delete { picks }),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_like_a_map(ops in proptest::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        runtime.block_on(follow_the_model(ops));
    }
}

async fn follow_the_model(ops: Vec<Op>) {
    let bed = Bed::new(2);
    let mut store = Some(bed.open().expect("fresh directories"));
    let deal = open_deal(store.as_ref().expect("open")).await;
    let mut model = BTreeMap::<ShardRoot, Vec<u8>>::new();
    for op in ops {
        let open = store.as_ref().expect("open between ops");
        match op {
            Op::Put { seed, len } => {
                let data = seeded(seed, len);
                model.insert(put(open, deal, &data).await.expect("room").root, data);
            }
            Op::Abandon { len } => {
                let mut writer = open.begin(CLIENT, new_shard(deal, 2 * len as u64)).expect("room");
                for frame in seeded(99, len).chunks(FRAME_LEN) {
                    writer.push(Bytes::copy_from_slice(frame)).await.expect("room");
                }
            }
            Op::Get { pick } => {
                let root = model.keys().nth(pick).copied().unwrap_or(ShardRoot([pick as u8; 32]));
                assert_eq!(get(open, deal, root).ok().as_ref(), model.get(&root));
            }
            Op::Delete { picks } => {
                let mut roots: Vec<ShardRoot> = picks.iter().filter_map(|pick| model.keys().nth(*pick).copied()).collect();
                let there = roots.iter().filter(|root| model.remove(root).is_some()).count();
                roots.push(ShardRoot([0; 32]));
                assert_eq!(open.delete(CLIENT, deal, &roots).await, Ok(there as u32));
            }
            Op::Reopen => {
                drop(store.take());
                store = Some(bed.open().expect("its own directories"));
            }
        }
        let listed = store.as_ref().expect("open").list(CLIENT, deal, None, 100).expect("its deal").0;
        assert_eq!(listed.iter().map(|entry| entry.root).collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
    }
    let open = store.as_ref().expect("open");
    for (root, data) in &model {
        assert_eq!(get(open, deal, *root).as_ref(), Ok(data));
    }
    eventually("nothing is set aside", || open.status().reserved_len == 0).await;
    assert_eq!(open.status().used_len, model.values().map(|data| footprint_len(data.len() as u64, 5)).sum::<u64>());
    let blocks =
        model.values().filter(|data| data.len() > 16 * 1024).map(|data| data.len().div_ceil(4096) as u64 * 4096).sum::<u64>();
    eventually("no block without an owner", || allocated_len(&bed.disk_path(0)) + allocated_len(&bed.disk_path(1)) == blocks)
        .await;
}
