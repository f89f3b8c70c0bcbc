//! Blobs over a network of real providers, in health and in every kind of trouble.

mod network;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_client::{Client, Config, Manifest, ReadError, SegmentId, ShardPlace, StoredBlob, WriteError};
use cairn_types::NodeId;
use network::Network;

const MIB: usize = 1024 * 1024;

fn sample(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

async fn put(client: &Client, data: &Bytes) -> Result<StoredBlob, WriteError> {
    let mut writer = client.writer()?;
    for part in data.chunks(100_000) {
        writer.write(data.slice_ref(part)).await?;
    }
    writer.finish().await
}

async fn get(client: &Client, manifest: &Manifest, from: u64, to: u64) -> Result<Vec<u8>, ReadError> {
    let mut reader = client.read(Arc::new(manifest.clone()), from..to);
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece?);
    }
    Ok(data)
}

async fn assert_reads(client: &Client, manifest: &Manifest, data: &Bytes) {
    let read = get(client, manifest, 0, u64::MAX).await.expect("readable");
    assert!(read == data[..], "{} bytes read, {} written", read.len(), data.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_of_every_shape_come_back() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    for len in [0, 1, 1000, 1008, 1009, 4032, 65_520, 262_080, 262_081, 3 * MIB + 17, 64 * MIB, 64 * MIB + 1, 70 * MIB] {
        let data = sample(len, len as u64);
        let stored = put(&client, &data).await.expect("stored");
        assert_eq!(stored.plain_len(), len as u64);
        assert_reads(&client, &stored, &data).await;
        let decoded = Manifest::decode(&stored.encode()).expect("its own bytes");
        for (from, to) in [(0, 1), (len / 2, len / 2 + 70_000), (len.saturating_sub(5), len + 9), (len / 3, len)] {
            let part = get(&client, &decoded, from as u64, to as u64).await.expect("readable");
            assert!(part == data[from.min(len)..to.min(len)], "{from}..{to} of {len}");
        }
        assert_eq!(client.delete(&decoded).await, []);
    }
    assert_eq!(network.used_len(), 0, "everything was deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_range_asks_only_the_providers_that_hold_it() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let data = sample(20 * MIB, 5);
    let stored = put(&client, &data).await.expect("stored");
    for start in [0u64, 65_520, 1_000_000, 10_000_001, 80 * 262_080 - 65_536] {
        let before: u64 = client.providers().iter().map(|provider| provider.reads).sum();
        let part = get(&client, &stored, start, start + 65_536).await.expect("readable");
        assert!(part == data[start as usize..start as usize + 65_536]);
        let asked: u64 = client.providers().iter().map(|provider| provider.reads).sum::<u64>() - before;
        assert!(asked <= 2, "{asked} reads for the range at {start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_four_of_eight_providers_may_die_and_a_fifth_is_a_clear_error() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let data = sample(3 * MIB + 5, 1);
    let stored = put(&client, &data).await.expect("stored");
    for dead in 0..4 {
        network.providers[dead * 2].kill();
        assert_reads(&client, &stored, &data).await;
    }
    network.providers[1].kill();
    let started = Instant::now();
    match get(&client, &stored, 0, u64::MAX).await {
        Err(ReadError::NotEnoughShards { have: 3, need: 4, reasons, .. }) => assert!(reasons.contains("12D3KooW"), "{reasons}"),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    match put(&client, &data).await {
        Err(WriteError::NotEnoughProviders { have: 3, need: 4 }) => {}
        other => panic!("{other:?}"),
    }
}

/// Four are known to be dead and a fifth is not: ten bytes make three shards at 2/4, which the three that live would hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_is_not_chosen_by_a_provider_that_died_unnoticed() {
    for round in 0..20 {
        let network = Network::new(8);
        let client = network.client(Config::default());
        for provider in &network.providers[..4] {
            provider.kill();
        }
        let _ = put(&client, &sample(10, round)).await; // notices the dead
        network.providers[4].kill();
        match put(&client, &sample(10, round)).await {
            Err(WriteError::NotEnoughProviders { have: 3, need: 4 } | WriteError::NotEnoughReceipts { .. }) => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_providers_dying_midway_do_not_fail_an_upload_and_four_fail_it_without_a_trace() {
    for (deaths, succeeds) in [(1, true), (2, true), (4, false)] {
        let network = Network::new(8);
        let client = network.client(Config::default());
        let data = sample(24 * MIB, deaths);
        for provider in &network.providers[..deaths as usize] {
            *provider.dies_after.lock().unwrap() = Some(MIB as u64 * 3);
        }
        match put(&client, &data).await {
            Ok(stored) if succeeds => assert_reads(&client, &stored, &data).await,
            Err(WriteError::NotEnoughReceipts { need: 6, .. }) if !succeeds => {
                network.until("nothing is left", |network| network.used_len() == 0).await;
            }
            other => panic!("{deaths} deaths: {other:?}"),
        }
    }
}

/// A blob of one frame has five shards with bytes; the three without are no receipts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tiny_blob_is_not_stored_with_fewer_providers_than_it_has_shards() {
    for (deaths, succeeds) in [(3, true), (4, false), (5, false)] {
        let network = Network::new(8);
        let client = network.client(Config::default());
        // Nobody knows yet that they are dead: they die at the first bytes they get.
        for provider in &network.providers[..deaths] {
            *provider.dies_after.lock().unwrap() = Some(1);
        }
        let data = sample(10, deaths as u64);
        match put(&client, &data).await {
            Ok(stored) if succeeds => {
                assert_eq!(places(&stored).len(), 5);
                assert_reads(&client, &stored, &data).await;
            }
            Err(WriteError::NotEnoughReceipts { need: 5, .. }) if !succeeds => {
                network.until("nothing is left", |network| network.used_len() == 0).await;
            }
            other => panic!("{deaths} deaths: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_dying_midway_is_replaced_when_there_is_another() {
    for at in [1000u64, 3 * MIB as u64] {
        let network = Network::new(12);
        let client = network.client(Config::default());
        let data = sample(24 * MIB, at);
        // Whoever is chosen, some of these are among them.
        for provider in &network.providers[..5] {
            *provider.dies_after.lock().unwrap() = Some(at);
        }
        for provider in &network.providers[2..5] {
            *provider.dies_after.lock().unwrap() = None;
        }
        let stored = put(&client, &data).await.expect("stored");
        let segment = &stored.segments[0];
        let places: HashSet<_> = segment.shards.iter().flatten().map(|place| place.provider).collect();
        assert_eq!(places.len(), 8, "all eight shards, at eight providers, after deaths at {at}");
        assert!(places.iter().all(|node| network.provider(*node).is_alive()));
        for node in places.into_iter().take(4) {
            network.provider(node).kill();
        }
        assert_reads(&client, &stored, &data).await;
    }
}

/// An upload past the bytes that are kept for a second try, and the providers that take it.
async fn midway(network: &Arc<Network>, client: &Client, data: &Bytes) -> (cairn_client::BlobWriter, Vec<NodeId>) {
    let mut writer = client.writer().expect("enough providers");
    for part in data[..12 * MIB].chunks(100_000) {
        writer.write(data.slice_ref(part)).await.expect("taken");
    }
    let opened = |provider: &&Arc<network::Provider>| provider.opened.load(Ordering::Relaxed) > 0;
    network.until("eight lanes are open", |network| network.providers.iter().filter(opened).count() == 8).await;
    (writer, network.providers.iter().filter(opened).map(|provider| provider.key.id()).collect())
}

async fn rest(mut writer: cairn_client::BlobWriter, data: &Bytes) -> StoredBlob {
    for part in data[12 * MIB..].chunks(100_000) {
        writer.write(data.slice_ref(part)).await.expect("taken");
    }
    writer.finish().await.expect("stored")
}

fn places(stored: &StoredBlob) -> HashSet<NodeId> {
    stored.segments[0].shards.iter().flatten().map(|place| place.provider).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_may_come_before_the_flush_of_what_it_answers_returns() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    for provider in &network.providers {
        *provider.flush_takes.lock().unwrap() = Some(Duration::from_millis(300));
    }
    let data = sample(100_000, 1);
    let stored = put(&client, &data).await.expect("stored");
    assert_eq!(places(&stored).len(), 8);
    assert_reads(&client, &stored, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spare_has_its_turn_when_spares_die_too() {
    let network = Network::new(12);
    let client = network.client(Config::default());
    let data = sample(24 * MIB, 7);
    let (writer, chosen) = midway(&network, &client, &data).await;
    *network.provider(chosen[3]).dies_after.lock().unwrap() = Some(MIB as u64);
    let spares: Vec<_> = network.providers.iter().filter(|provider| !chosen.contains(&provider.key.id())).collect();
    for spare in &spares[..3] {
        *spare.dies_after.lock().unwrap() = Some(3 * MIB as u64);
    }
    let stored = rest(writer, &data).await;
    let places = places(&stored);
    assert_eq!(places.len(), 8);
    assert!(places.contains(&spares[3].key.id()), "the one spare that lives has the shard");
    assert_reads(&client, &stored, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_rebuilt_from_others_when_its_sources_die() {
    let network = Network::new(9);
    let client = network.client(Config::default());
    let data = sample(24 * MIB, 8);
    let (writer, chosen) = midway(&network, &client, &data).await;
    *network.provider(chosen[0]).dies_after.lock().unwrap() = Some(MIB as u64);
    for source in &chosen[1..4] {
        *network.provider(*source).dies_after_serving.lock().unwrap() = Some(MIB as u64);
    }
    let stored = rest(writer, &data).await;
    assert_eq!(places(&stored).len(), 8);
    assert!(!places(&stored).contains(&chosen[0]));
    assert_reads(&client, &stored, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_disks_are_read_around_and_named() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let data = sample(5 * MIB, 3);
    let stored = put(&client, &data).await.expect("stored");
    let victims: Vec<_> = stored.segments[0].shards[..3].iter().flatten().map(|place| place.provider).collect();
    for node in &victims {
        for file in Network::volume_files(network.provider(*node)) {
            let mut bytes = std::fs::read(&file).expect("a volume");
            for byte in bytes.iter_mut().step_by(4096) {
                *byte ^= 0x40;
            }
            std::fs::write(&file, bytes).expect("a volume");
        }
    }
    assert_reads(&client, &stored, &data).await;
    let status = client.providers();
    for node in victims {
        let provider = status.iter().find(|provider| provider.node == node).expect("known");
        assert!(provider.last_failure.as_deref().is_some_and(|why| why.contains("wrong bytes")), "{provider:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_provider_is_hedged() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let data = sample(5 * MIB, 4);
    let stored = put(&client, &data).await.expect("stored");
    for place in stored.segments[0].shards[..2].iter().flatten() {
        network.provider(place.provider).frozen.store(true, Ordering::Relaxed);
    }
    let started = Instant::now();
    assert_reads(&client, &stored, &data).await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_writer_or_aborting_leaves_nothing() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    for abort in [false, true] {
        let mut writer = client.writer().expect("enough providers");
        for index in 0..20 {
            writer.write(sample(4 * MIB, index)).await.expect("taken");
        }
        assert!(network.providers.iter().any(|provider| provider.opened.load(Ordering::Relaxed) > 0));
        if abort {
            writer.abort().await;
        } else {
            drop(writer);
        }
        network.until("nothing is left", |network| network.used_len() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_dropped_stops_the_fetching() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let data = sample(60 * MIB, 4);
    let stored = put(&client, &data).await.expect("stored");
    let before = network.served_len();
    let mut reader = client.read(Arc::new((*stored).clone()), 0..u64::MAX);
    reader.next().await.expect("a piece").expect("good");
    tokio::time::sleep(Duration::from_millis(300)).await; // time in which an unbounded reader would fetch it all
    let held = network.served_len() - before;
    assert!(held < 8 * MIB as u64, "{held} bytes fetched for a reader that stopped");
    drop(reader);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(network.served_len() - before < held + MIB as u64, "nothing more is fetched for a reader that is gone");
    assert_reads(&client, &stored, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_takes_what_nobody_knows_and_nothing_else() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let (kept, held, lost) = (sample(MIB, 1), sample(MIB, 2), sample(MIB, 3));
    let mut kept_blob = put(&client, &kept).await.expect("stored").into_manifest();
    let held_blob = put(&client, &held).await.expect("stored"); // not yet committed by its owner
    let lost_blob = put(&client, &lost).await.expect("stored").into_manifest();
    // As after a straggler was replaced: the segment is known, one of its places is not.
    let straggler = kept_blob.segments[0].shards[7].expect("eight shards");
    kept_blob.segments[0].shards[7] = None;
    let known: HashMap<_, _> = kept_blob.segments.iter().map(|segment| (segment.id, segment.shards.clone())).collect();
    let live = move |id: &SegmentId, place: &ShardPlace| known.get(id).is_some_and(|shards| shards.contains(&Some(*place)));
    let report = client.collect(0, &live).await;
    assert_eq!((report.removed, report.unreachable.len(), report.from_later_catalog), (9, 0, 0), "{report:?}");
    let again = client.collect(0, &live).await;
    assert_eq!((again.listed, again.removed), (7 + 8, 0), "{again:?}");
    assert_eq!(client.delete_places(vec![straggler]).await, [], "what is gone may be deleted again");
    assert_reads(&client, &kept_blob, &kept).await;
    assert_reads(&client, &held_blob, &held).await;
    assert!(matches!(get(&client, &lost_blob, 0, 10).await, Err(ReadError::NotEnoughShards { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_account_cannot_open_a_blob() {
    let network = Network::new(8);
    let client = network.client(Config::default());
    let stored = put(&client, &sample(1000, 1)).await.expect("stored");
    let mut other = (*stored).clone();
    other.blob.0[0] ^= 1;
    assert!(matches!(get(&client, &other, 0, 10).await, Err(ReadError::WrongKey)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_providers_fail_an_upload_clearly() {
    let network = Network::with_quota(8, 2 * MIB as u64);
    let client = network.client(Config::default());
    match put(&client, &sample(12 * MIB, 1)).await {
        Err(WriteError::NotEnoughReceipts { .. } | WriteError::NotEnoughProviders { .. }) => {}
        other => panic!("{other:?}"),
    }
    network.until("nothing is left", |network| network.used_len() == 0).await;
}
