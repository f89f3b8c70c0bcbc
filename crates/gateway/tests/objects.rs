//! Objects on a real network in one process: what was acknowledged comes back, what was refused leaves nothing.

mod net;

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_gateway::objects::api::*;
use cairn_gateway::objects::{Objects, ObjectsConfig};
use futures::future::join_all;
use md5::Digest;
use net::*;

const BUCKET: &str = "bucket";

async fn start(world: &World) -> Objects {
    let objects = world.open(quiet()).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    objects
}

fn etag(bytes: &[u8]) -> String {
    hex::encode(md5::Md5::digest(bytes))
}

async fn delete(objects: &Objects, key: &str) -> Result<bool, ObjectError> {
    objects.delete(BUCKET, key, WriteConditions::default()).await.map(|deleted| deleted.existed)
}

/// The state without any object: no blob in the catalog, no shard at any provider.
async fn expect_empty(world: &World, objects: &Objects) {
    world.expect_no_shards(objects).await;
    let stats = objects.stats();
    let left =
        (stats.objects, stats.object_bytes, stats.blobs, stats.blob_bytes, stats.packs, stats.pack_waste_bytes, stats.trash);
    assert_eq!(left, (0, 0, 0, 0, 0, 0, 0), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_sizes_come_back_also_after_a_restart() {
    let world = World::new(5);
    let objects = start(&world).await;
    let sizes = [0, 1, 1024, 65_535, 65_536, 65_537, 262_080, 262_081, 3_000_000];
    for (seed, len) in sizes.into_iter().enumerate() {
        let bytes = bytes(len, seed as u8);
        let info = put(&objects, BUCKET, &format!("k{len}"), &bytes).await.expect("stored");
        assert_eq!((info.len, &info.etag), (len as u64, &etag(&bytes)));
    }
    objects.stop().await;
    assert!(matches!(put(&objects, BUCKET, "late", &Bytes::new()).await, Err(ObjectError::Stopping)));
    drop(objects);
    let objects = world.open(quiet()).await;
    for (seed, len) in sizes.into_iter().enumerate() {
        let expected = bytes(len, seed as u8);
        let info = objects.get(BUCKET, &format!("k{len}")).await.expect("known");
        assert_eq!((info.len, &info.etag), (len as u64, &etag(&expected)));
        assert_eq!(read(&objects, &info, 0..info.len).await.expect("readable"), expected, "{len}");
        for (from, to) in [(0, len.min(1)), (len / 3, len / 2), (len.saturating_sub(7), len)] {
            let part = read(&objects, &info, from as u64..to as u64).await.expect("readable");
            assert_eq!(part, expected[from..to], "{from}..{to} of {len}");
        }
        assert!(matches!(read(&objects, &info, 0..info.len + 1).await, Err(ObjectError::InvalidRange { .. })));
    }
    for len in sizes {
        assert!(delete(&objects, &format!("k{len}")).await.expect("deleted"));
    }
    assert!(!delete(&objects, "k0").await.expect("no error"));
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_checksums_are_given_back() {
    let world = World::new(5);
    let objects = start(&world).await;
    let meta = ObjectMeta {
        headers: ContentHeaders { content_type: Some("text/plain".into()), expires: Some("never".into()), ..Default::default() },
        user: BTreeMap::from([("colour".into(), "blåu".into())]),
        tags: BTreeMap::from([("a".into(), "b".into())]),
        storage_class: Some("STANDARD_IA".into()),
    };
    let crc = hex::decode("cbf43926").expect("hex");
    let late = crc.clone();
    let checks = BodyChecks {
        checksums: vec![(ChecksumAlgorithm::Crc32, None), (ChecksumAlgorithm::Sha256, None)],
        late: Some(Box::new(move || Ok(vec![(ChecksumAlgorithm::Crc32, late)]))),
        ..Default::default()
    };
    let key = "odd/../ key//\u{1F600}\0";
    let request = PutRequest { meta: meta.clone(), checks, ..request(BUCKET, key) };
    objects.put(request, body(&Bytes::from_static(b"123456789"))).await.expect("stored");
    let info = objects.head(BUCKET, key).await.expect("known");
    assert_eq!(info.meta, meta);
    assert_eq!(info.checksums.len(), 2);
    assert_eq!((info.checksums[0].algorithm, &info.checksums[0].value), (ChecksumAlgorithm::Crc32, &crc));
    assert_eq!((info.part_range(1), info.part_range(2)), (Some(0..9), None));
    let page = objects.list(ListRequest { bucket: BUCKET.into(), max_keys: 10, ..Default::default() }).await.expect("a page");
    assert_eq!((page.objects[0].key.as_str(), page.objects[0].storage_class.as_deref()), (key, Some("STANDARD_IA")));
    assert_eq!(page.objects[0].checksums.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_leaves_nothing() {
    let world = World::new(5);
    let objects = start(&world).await;
    for len in [10usize, 400_000] {
        let bytes = bytes(len, 1);
        let announced = |n: usize| BodyChecks { len: Some(n as u64), ..Default::default() };
        let wrong = |late: bool| BodyChecks {
            checksums: vec![(ChecksumAlgorithm::Crc32c, (!late).then(|| vec![0; 4]))],
            late: late.then(|| Box::new(|| Ok(vec![(ChecksumAlgorithm::Crc32c, vec![1u8; 4])])) as LateChecksums),
            ..Default::default()
        };
        let uncomputed =
            BodyChecks { late: Some(Box::new(|| Ok(vec![(ChecksumAlgorithm::Sha1, vec![1u8; 20])]))), ..Default::default() };
        let cases: [(&str, &str, BodyChecks, Body); 8] = [
            ("md5", "md5", BodyChecks { md5: Some([0; 16]), ..Default::default() }, body(&bytes)),
            ("checksum", "checksum", wrong(false), body(&bytes)),
            ("trailing checksum", "checksum", wrong(true), body(&bytes)),
            ("trailing checksum nobody announced", "checksum", uncomputed, body(&bytes)),
            ("shorter than announced", "length", announced(len + 1), body(&bytes)),
            ("longer than announced", "length", announced(len - 1), body(&bytes)),
            ("broken", "broken", announced(len), broken(&bytes)),
            ("too long", "too long", BodyChecks { len: Some((5 << 30) + 1), ..Default::default() }, body(&bytes)),
        ];
        for (name, expected, checks, body) in cases {
            let outcome = objects.put(PutRequest { checks, ..request(BUCKET, "k") }, body).await;
            let seen = match &outcome {
                Err(ObjectError::BadDigest) => "md5",
                Err(ObjectError::ChecksumMismatch { .. }) => "checksum",
                Err(ObjectError::IncompleteBody { .. }) => "length",
                Err(ObjectError::Body(BodyError::Broken(_))) => "broken",
                Err(ObjectError::EntityTooLarge { .. }) => "too long",
                _ => "other",
            };
            assert_eq!(seen, expected, "{name} of {len}: {outcome:?}");
            assert!(matches!(objects.head(BUCKET, "k").await, Err(ObjectError::NoSuchKey)), "{name}");
        }
    }
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_providers_fail_a_put_and_leave_nothing() {
    let world = World::new(5);
    let objects = start(&world).await;
    world.set_up(0, false);
    world.set_up(1, false);
    for len in [10usize, 400_000] {
        let outcome = put(&objects, BUCKET, "k", &bytes(len, 1)).await;
        let expected = matches!(outcome, Err(ObjectError::NotEnoughProviders(_) | ObjectError::Unavailable(_)));
        assert!(expected, "{len}: {outcome:?}");
    }
    world.set_up(0, true);
    world.set_up(1, true);
    assert!(matches!(objects.head(BUCKET, "k").await, Err(ObjectError::NoSuchKey)));
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_puts_one_wins_and_nothing_leaks() {
    let world = World::new(5);
    let objects = start(&world).await;
    for len in [100usize, 200_000] {
        let writes = (0..8u8).map(|seed| {
            let objects = objects.clone();
            async move { put(&objects, BUCKET, "k", &bytes(len + usize::from(seed), seed)).await.expect("stored") }
        });
        let written = join_all(writes).await;
        let info = objects.get(BUCKET, "k").await.expect("known");
        let winner = written.iter().find(|written| written.version == info.version).expect("one of them");
        assert_eq!(info.etag, winner.etag);
        assert!(written.iter().all(|written| written.version <= info.version), "the latest version wins");
        assert_eq!(etag(&read(&objects, &info, 0..info.len).await.expect("readable")), info.etag);
        assert_eq!(objects.stats().objects, 1);
    }
    assert!(delete(&objects, "k").await.expect("deleted"));
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_writes_let_one_through() {
    let world = World::new(5);
    let objects = start(&world).await;
    let absent = WriteConditions { if_none_match: Some(EtagMatch::Any), ..Default::default() };
    for len in [10usize, 200_000] {
        let key = format!("k{len}");
        let writes = (0..6u8).map(|seed| {
            let request = PutRequest { conditions: absent.clone(), ..request(BUCKET, &key) };
            objects.put(request, body(&bytes(len, seed)))
        });
        let (won, lost): (Vec<_>, Vec<_>) = join_all(writes).await.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|lost| matches!(lost, Err(ObjectError::PreconditionFailed { .. }))), "{lost:?}");
        let of_other = WriteConditions { if_match: Some(EtagMatch::parse("\"0\"")), ..Default::default() };
        assert!(matches!(objects.delete(BUCKET, &key, of_other).await, Err(ObjectError::PreconditionFailed { .. })));
        let own = won[0].as_ref().expect("partitioned").etag.clone();
        let of_own = WriteConditions { if_match: Some(EtagMatch::OneOf(vec![own])), ..Default::default() };
        assert!(objects.delete(BUCKET, &key, of_own).await.expect("its own ETag").existed);
    }
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_its_version_whole_though_it_is_replaced_and_deleted() {
    let world = World::new(5);
    let objects = start(&world).await;
    for len in [1000usize, 2_000_000] {
        let (old, new) = (bytes(len, 1), bytes(len, 2));
        put(&objects, BUCKET, "k", &old).await.expect("stored");
        let held = objects.get(BUCKET, "k").await.expect("known");
        let seen = objects.head(BUCKET, "k").await.expect("known");
        let mut reader = objects.read(&held, 0..held.len).await.expect("a reader");
        put(&objects, BUCKET, "k", &new).await.expect("replaced");
        assert!(delete(&objects, "k").await.expect("deleted"));
        assert!(matches!(objects.empty_trash().await, Err(ObjectError::Unavailable(_))), "held");
        let mut read_back = Vec::new();
        while let Some(piece) = reader.next().await {
            read_back.extend_from_slice(&piece.expect("held bytes are there"));
        }
        assert_eq!(read_back, old);
        drop((held, reader));
        objects.empty_trash().await.expect("no longer held");
        assert!(matches!(objects.read(&seen, 0..seen.len).await, Err(ObjectError::Replaced)));
    }
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_puts_share_packs_and_syncs() {
    let world = World::new(5);
    let objects = start(&world).await;
    let before = objects.stats();
    let writes = (0..64u8).map(|seed| {
        let objects = objects.clone();
        async move { put(&objects, BUCKET, &format!("k{seed}"), &bytes(1024, seed)).await.expect("stored") }
    });
    join_all(writes).await;
    let stats = objects.stats();
    assert_eq!(stats.objects, 64);
    assert!(stats.packs <= 16, "{} packs for 64 concurrent PUTs", stats.packs);
    assert!(stats.commits - before.commits <= stats.packs, "a pack is one change: {stats:?}");
    for seed in 0..64u8 {
        assert_eq!(get(&objects, BUCKET, &format!("k{seed}")).await.expect("readable"), bytes(1024, seed));
    }
    // Waste is counted while a pack is partly dead.
    for seed in 0..63u8 {
        assert!(delete(&objects, &format!("k{seed}")).await.expect("deleted"));
    }
    let stats = objects.stats();
    assert_eq!((stats.objects, stats.packs), (1, 1));
    let only = get(&objects, BUCKET, "k63").await.expect("readable");
    assert_eq!(only, bytes(1024, 63));
    assert!(delete(&objects, "k63").await.expect("deleted"));
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repacking_frees_mostly_dead_packs() {
    const KEPT: [u8; 5] = [3, 11, 17, 23, 30];
    let world = World::new(5);
    // One pack at a time, so that the PUTs share packs. The first few may not; of five that stay, two at least are in company.
    let objects = world.open(ObjectsConfig { packs_in_flight: 1, ..quiet() }).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    let writes = (0..40u8).map(|seed| {
        let objects = objects.clone();
        async move { put(&objects, BUCKET, &format!("k{seed}"), &bytes(20_000, seed)).await.expect("stored") }
    });
    join_all(writes).await;
    let copy = CopyRequest {
        source_bucket: BUCKET.into(),
        source_key: "k7".into(),
        bucket: BUCKET.into(),
        key: "copy".into(),
        ..Default::default()
    };
    objects.copy(copy).await.expect("copied");
    for seed in (0..40u8).filter(|seed| !KEPT.contains(seed)) {
        assert!(delete(&objects, &format!("k{seed}")).await.expect("deleted"));
    }
    objects.empty_trash().await.expect("all providers are there");
    let (before, used_before) = (objects.stats(), world.used_len());
    assert!(objects.repack_now(90).await.expect("repacked") >= 2);
    objects.empty_trash().await.expect("all providers are there");
    let after = objects.stats();
    assert!(after.pack_waste_bytes < before.pack_waste_bytes, "{before:?} {after:?}");
    assert!(world.used_len() < used_before, "{} {used_before}", world.used_len());
    for (key, seed) in KEPT.map(|seed| (format!("k{seed}"), seed)).into_iter().chain([("copy".to_owned(), 7)]) {
        assert_eq!(get(&objects, BUCKET, &key).await.expect("readable"), bytes(20_000, seed), "{key}");
        assert!(delete(&objects, &key).await.expect("deleted"));
    }
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_share_bytes_until_the_last_is_gone() {
    let world = World::new(5);
    let objects = start(&world).await;
    objects.create_bucket("other", "me", "").await.expect("a new bucket");
    for len in [0usize, 500, 300_000] {
        let expected = bytes(len, 9);
        let source = PutRequest {
            meta: ObjectMeta { user: BTreeMap::from([("n".into(), "1".into())]), ..Default::default() },
            ..request(BUCKET, "a")
        };
        objects.put(source, body(&expected)).await.expect("stored");
        let used = world.used_len();
        let copy = |bucket: &str, key: &str, meta| CopyRequest {
            source_bucket: BUCKET.into(),
            source_key: "a".into(),
            bucket: bucket.into(),
            key: key.into(),
            meta,
            ..Default::default()
        };
        let replaced = ObjectMeta { user: BTreeMap::from([("n".into(), "2".into())]), ..Default::default() };
        objects.copy(copy("other", "b", None)).await.expect("copied");
        objects.copy(copy(BUCKET, "c", Some(replaced.clone()))).await.expect("copied");
        assert!(matches!(objects.copy(copy(BUCKET, "a", None)).await, Err(ObjectError::InvalidRequest(_))));
        objects.copy(copy(BUCKET, "a", Some(replaced.clone()))).await.expect("copied onto itself");
        assert!(world.used_len() < used + 150_000, "three records, no bytes: {} {used}", world.used_len());
        let unlike = ReadConditions { if_match: Some(EtagMatch::parse("x")), ..Default::default() };
        let refused = objects.copy(CopyRequest { source_conditions: unlike, ..copy("other", "d", None) }).await;
        assert!(matches!(refused, Err(ObjectError::PreconditionFailed { .. })));
        for (bucket, key, n) in [(BUCKET, "a", "2"), ("other", "b", "1"), (BUCKET, "c", "2")] {
            let info = objects.get(bucket, key).await.expect("known");
            assert_eq!((info.meta.user["n"].as_str(), &info.etag), (n, &etag(&expected)), "{key}");
            drop(info);
            objects.empty_trash().await.expect("all providers are there");
            assert_eq!(get(&objects, bucket, key).await.expect("readable"), expected, "{key}");
            assert!(objects.delete(bucket, key, WriteConditions::default()).await.expect("deleted").existed);
        }
        expect_empty(&world, &objects).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trash_waits_for_a_provider_and_survives_a_restart() {
    let world = World::new(5);
    let objects = start(&world).await;
    put(&objects, BUCKET, "k", &bytes(200_000, 1)).await.expect("stored");
    for provider in 0..5 {
        world.set_up(provider, false);
    }
    drop(objects);
    let objects = world.open(quiet()).await;
    assert!(delete(&objects, "k").await.expect("deleting needs no provider"));
    assert!(objects.empty_trash().await.is_err());
    assert!(objects.stats().trash > 0);
    drop(objects);
    for provider in 0..5 {
        world.set_up(provider, true);
    }
    let objects = world.open(quiet()).await;
    assert!(objects.stats().trash > 0);
    expect_empty(&world, &objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_and_batches_answer_as_s3_does() {
    let world = World::new(5);
    let objects = start(&world).await;
    assert!(matches!(objects.create_bucket(BUCKET, "me", "").await, Err(ObjectError::BucketAlreadyOwned)));
    assert!(matches!(objects.create_bucket(BUCKET, "you", "").await, Err(ObjectError::BucketAlreadyExists)));
    assert!(matches!(objects.create_bucket("No", "me", "").await, Err(ObjectError::InvalidBucketName)));
    assert!(matches!(put(&objects, "nowhere", "k", &Bytes::new()).await, Err(ObjectError::NoSuchBucket)));
    assert!(matches!(put(&objects, BUCKET, &"k".repeat(1025), &Bytes::new()).await, Err(ObjectError::KeyTooLong { .. })));
    assert!(matches!(objects.head("nowhere", "k").await, Err(ObjectError::NoSuchBucket)));
    assert!(matches!(
        objects.list(ListRequest { bucket: "nowhere".into(), ..Default::default() }).await,
        Err(ObjectError::NoSuchBucket)
    ));
    put(&objects, BUCKET, "a", &bytes(10, 1)).await.expect("stored");
    put(&objects, BUCKET, "b", &bytes(10, 2)).await.expect("stored");
    assert!(matches!(objects.delete_bucket(BUCKET).await, Err(ObjectError::BucketNotEmpty)));
    let item = |key: &str, tag: Option<&str>| DeleteItem {
        key: key.into(),
        conditions: WriteConditions { if_match: tag.map(EtagMatch::parse), ..Default::default() },
        ..Default::default()
    };
    let items = vec![item("a", None), item("b", Some("x")), item("c", None)];
    let results = objects.delete_many(BUCKET, items, "").await.expect("a batch");
    let existed: Vec<_> = results.iter().map(|result| result.as_ref().map(|deleted| deleted.existed)).collect();
    assert!(matches!(&existed[..], [Ok(true), Err(ObjectError::PreconditionFailed { .. }), Ok(false)]), "{results:?}");
    let many = vec![item("k", None); 1001];
    assert!(matches!(objects.delete_many(BUCKET, many, "").await, Err(ObjectError::InvalidArgument { .. })));
    assert!(delete(&objects, "b").await.expect("deleted"));
    let upload = CreateUploadRequest { bucket: BUCKET.into(), key: "u".into(), ..Default::default() };
    let upload = objects.create_upload(upload).await.expect("begun");
    let name = UploadName { bucket: BUCKET.into(), key: "u".into(), upload_id: upload.upload_id };
    objects.upload_part(&name, 1, BodyChecks::default(), body(&bytes(100_000, 3))).await.expect("stored");
    objects.delete_bucket(BUCKET).await.expect("empty but for an upload");
    assert!(matches!(objects.head_bucket(BUCKET).await, Err(ObjectError::NoSuchBucket)));
    assert_eq!(objects.stats().uploads, 0);
    expect_empty(&world, &objects).await;
    objects.create_bucket(BUCKET, "you", "eu").await.expect("free again");
    let listed = objects.list_buckets().await.expect("listed");
    assert_eq!(
        listed.iter().map(|bucket| (&*bucket.name, &*bucket.owner, &*bucket.region)).collect::<Vec<_>>(),
        [(BUCKET, "you", "eu")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn access_keys_open_until_revoked_also_after_a_restart() {
    let world = World::new(4);
    let objects = start(&world).await;
    let (kept, gone) = (objects.create_key("kept").await.expect("made"), objects.create_key("gone").await.expect("made"));
    assert_eq!((kept.access_key.len(), kept.secret_key.len()), (20, 40));
    assert_ne!(kept, gone);
    objects.revoke_key(&gone.access_key).await.expect("known");
    assert!(matches!(objects.revoke_key("CKNOBODY").await, Err(ObjectError::NoSuchAccessKey)));
    let check = |objects: &Objects| {
        assert_eq!(objects.secret_for(&kept.access_key), Some(kept.secret_key.clone()));
        assert_eq!(objects.secret_for(&gone.access_key), None);
        assert_eq!(objects.secret_for(""), None);
    };
    check(&objects);
    drop(objects);
    let objects = world.open(quiet()).await;
    check(&objects);
    let keys = objects.list_keys().await.expect("listed");
    assert_eq!(keys.iter().filter(|key| key.revoked).map(|key| &*key.label).collect::<Vec<_>>(), ["gone"]);
    assert_eq!(keys.len(), 2);
}
