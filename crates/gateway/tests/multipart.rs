//! Multipart uploads on a real network in one process.

mod net;

use bytes::Bytes;
use cairn_gateway::objects::Objects;
use cairn_gateway::objects::api::*;
use md5::Digest;
use net::*;

const BUCKET: &str = "bucket";
const MIN: usize = 5 << 20;

async fn begin(objects: &Objects, key: &str, checksum: Option<ChecksumAlgorithm>, kind: Option<ChecksumKind>) -> UploadName {
    let request = CreateUploadRequest {
        bucket: BUCKET.into(),
        key: key.into(),
        meta: ObjectMeta { storage_class: Some("GLACIER".into()), ..Default::default() },
        checksum,
        checksum_kind: kind,
        initiator: "me".into(),
        control: Default::default(),
    };
    let upload = objects.create_upload(request).await.expect("begun");
    UploadName { bucket: BUCKET.into(), key: key.into(), upload_id: upload.upload_id }
}

async fn part(objects: &Objects, upload: &UploadName, number: u32, bytes: &Bytes) -> PartInfo {
    objects.upload_part(upload, number, BodyChecks::default(), body(bytes)).await.expect("stored")
}

fn named(parts: &[&PartInfo]) -> Vec<CompletePart> {
    parts.iter().map(|part| CompletePart { number: part.number, etag: part.etag.clone(), checksums: vec![] }).collect()
}

fn complete(upload: &UploadName, parts: Vec<CompletePart>) -> CompleteRequest {
    CompleteRequest { upload: upload.clone(), parts, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    let upload = begin(&objects, "k", None, None).await;
    let pieces = [bytes(MIN, 1), bytes(MIN + 77, 2), bytes(1000, 3)];
    let replaced = part(&objects, &upload, 7, &bytes(300_000, 9)).await;
    let third = part(&objects, &upload, 9, &pieces[2]).await;
    let first = part(&objects, &upload, 2, &pieces[0]).await;
    let second = part(&objects, &upload, 7, &pieces[1]).await;
    let unused = part(&objects, &upload, 10, &bytes(70_000, 4)).await;

    let page = objects.list_parts(&upload, 0, 2).await.expect("a page");
    assert_eq!((page.parts, page.next), (vec![first.clone(), second.clone()], Some(7)));
    let page = objects.list_parts(&upload, 7, 2).await.expect("a page");
    assert_eq!((page.parts, page.next), (vec![third.clone(), unused.clone()], None));

    let good = named(&[&first, &second, &third]);
    type Check = fn(&ObjectError) -> bool;
    let refused: [(&str, Vec<CompletePart>, Check); 6] = [
        ("order", named(&[&second, &first]), |error| matches!(error, ObjectError::InvalidPartOrder)),
        ("twice", named(&[&first, &first]), |error| matches!(error, ObjectError::InvalidPartOrder)),
        ("replaced", named(&[&first, &replaced]), |error| matches!(error, ObjectError::InvalidPart { number: 7 })),
        ("small", named(&[&first, &third, &unused]), |error| matches!(error, ObjectError::EntityTooSmall { number: 9, .. })),
        ("none", vec![], |error| matches!(error, ObjectError::InvalidArgument { .. })),
        ("unknown", vec![CompletePart { number: 3, etag: first.etag.clone(), checksums: vec![] }], |error| {
            matches!(error, ObjectError::InvalidPart { number: 3 })
        }),
    ];
    for (name, parts, check) in refused {
        let error = objects.complete_upload(complete(&upload, parts)).await.expect_err(name);
        assert!(check(&error), "{name}: {error:?}");
    }
    let info = objects.complete_upload(complete(&upload, good.clone())).await.expect("completed");
    let mut etags = md5::Md5::new();
    pieces.iter().for_each(|piece| etags.update(md5::Md5::digest(piece)));
    assert_eq!(info.etag, format!("{}-3", hex::encode(etags.finalize())));
    assert_eq!(info.meta.storage_class.as_deref(), Some("GLACIER"));
    let again = objects.complete_upload(complete(&upload, good)).await.expect("the same answer");
    assert_eq!((again.etag, again.version), (info.etag.clone(), info.version));
    assert!(matches!(objects.head_upload(&upload).await, Err(ObjectError::NoSuchUpload)));
    assert!(matches!(objects.abort_upload(&upload).await, Err(ObjectError::NoSuchUpload)));

    let info = objects.get(BUCKET, "k").await.expect("known");
    let whole: Bytes = pieces.concat().into();
    assert_eq!(read(&objects, &info, 0..info.len).await.expect("readable"), whole);
    let across = MIN - 10..MIN + MIN + 77 + 10;
    assert_eq!(read(&objects, &info, across.start as u64..across.end as u64).await.expect("readable"), whole[across]);
    assert_eq!(info.part_range(7), Some(MIN as u64..(MIN + MIN + 77) as u64));
    assert_eq!(info.part_range(3), None);
    drop(info);
    assert!(objects.delete(BUCKET, "k", WriteConditions::default()).await.expect("deleted").existed);
    world.expect_no_shards(&objects).await;
    assert_eq!((objects.stats().blobs, objects.stats().uploads), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_make_the_checksum_of_the_whole() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    let pieces = [bytes(MIN, 1), bytes(999, 2)];
    let whole = pieces.concat();
    let crc = |bytes: &[u8]| (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_be_bytes().to_vec();
    let composite = crc(&[crc(&pieces[0]), crc(&pieces[1])].concat());
    for (kind, expected) in [(ChecksumKind::FullObject, crc(&whole)), (ChecksumKind::Composite, composite)] {
        let upload = begin(&objects, "k", Some(ChecksumAlgorithm::Crc32), Some(kind)).await;
        let mut parts = Vec::new();
        for (number, piece) in (1..).zip(&pieces) {
            parts.push(part(&objects, &upload, number, piece).await);
        }
        assert_eq!(parts[0].checksums[0].value, crc(&pieces[0]), "computed though the request named none");
        let mut wrong = complete(&upload, named(&[&parts[0], &parts[1]]));
        wrong.checksum = Some((ChecksumAlgorithm::Crc32, vec![0; 4]));
        assert!(matches!(objects.complete_upload(wrong).await, Err(ObjectError::ChecksumMismatch { .. })));
        let mut wrong = complete(&upload, named(&[&parts[0], &parts[1]]));
        wrong.parts[1].checksums = vec![(ChecksumAlgorithm::Crc32, vec![0; 4])];
        assert!(matches!(objects.complete_upload(wrong).await, Err(ObjectError::InvalidPart { number: 2 })));
        let mut right = complete(&upload, named(&[&parts[0], &parts[1]]));
        right.checksum = Some((ChecksumAlgorithm::Crc32, expected.clone()));
        right.len = Some(whole.len() as u64);
        let info = objects.complete_upload(right).await.expect("completed");
        assert_eq!((info.checksums[0].kind, &info.checksums[0].value), (kind, &expected));
    }
    let impossible = CreateUploadRequest {
        bucket: BUCKET.into(),
        key: "k".into(),
        checksum: Some(ChecksumAlgorithm::Sha256),
        checksum_kind: Some(ChecksumKind::FullObject),
        ..Default::default()
    };
    assert!(matches!(objects.create_upload(impossible).await, Err(ObjectError::InvalidRequest(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_by_reference() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    let (large, small) = (bytes(MIN + 500_000, 1), bytes(3000, 2));
    put(&objects, BUCKET, "large", &large).await.expect("stored");
    put(&objects, BUCKET, "small", &small).await.expect("stored");
    let used = world.used_len();
    let upload = begin(&objects, "k", Some(ChecksumAlgorithm::Crc64Nvme), None).await;
    let copy = |number, source: &str, range| CopyPartRequest {
        upload: upload.clone(),
        number,
        source_bucket: BUCKET.into(),
        source_key: source.into(),
        range,
        ..Default::default()
    };
    let first = objects.copy_part(copy(1, "large", Some(100..100 + MIN as u64))).await.expect("copied");
    assert_eq!(first.etag, hex::encode(md5::Md5::digest(&large[100..100 + MIN])));
    let second = objects.copy_part(copy(2, "small", None)).await.expect("copied");
    let outside = objects.copy_part(copy(3, "small", Some(10..3001))).await;
    assert!(matches!(outside, Err(ObjectError::InvalidRange { len: 3000 })));
    for key in ["large", "small"] {
        assert!(objects.delete(BUCKET, key, WriteConditions::default()).await.expect("deleted").existed);
    }
    objects.complete_upload(complete(&upload, named(&[&first, &second]))).await.expect("completed");
    objects.empty_trash().await.expect("all providers are there");
    assert!(world.used_len() < used + 100_000, "no bytes moved: {} {used}", world.used_len());
    let expected: Bytes = [&large[100..100 + MIN], &small[..]].concat().into();
    assert_eq!(get(&objects, BUCKET, "k").await.expect("readable"), expected);
    assert!(objects.delete(BUCKET, "k", WriteConditions::default()).await.expect("deleted").existed);
    world.expect_no_shards(&objects).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_in_order_and_given_up_without_a_trace() {
    let world = World::new(5);
    let objects = world.open(quiet()).await;
    objects.create_bucket(BUCKET, "me", "").await.expect("a new bucket");
    let mut names = Vec::new();
    for key in ["a", "a", "a/x", "a/y", "b\0", "b"] {
        names.push(begin(&objects, key, None, None).await);
    }
    let mut expected: Vec<(String, String)> = names.iter().map(|name| (name.key.clone(), name.upload_id.clone())).collect();
    expected.sort();
    for max_uploads in [1, 2, 3, 1000] {
        let mut seen = Vec::new();
        let mut request = ListUploadsRequest { bucket: BUCKET.into(), max_uploads, ..Default::default() };
        loop {
            let page = objects.list_uploads(request.clone()).await.expect("a page");
            assert!(page.uploads.len() <= max_uploads);
            seen.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload_id)));
            let Some((key, id)) = page.next else { break };
            (request.key_marker, request.upload_id_marker) = (Some(key), Some(id));
        }
        assert_eq!(seen, expected, "pages of {max_uploads}");
    }
    let folded = ListUploadsRequest { bucket: BUCKET.into(), delimiter: Some("/".into()), max_uploads: 10, ..Default::default() };
    let page = objects.list_uploads(folded).await.expect("a page");
    assert_eq!((page.common_prefixes, page.uploads.len()), (vec!["a/".to_owned()], 4));
    let within = ListUploadsRequest { bucket: BUCKET.into(), prefix: "a/".into(), max_uploads: 10, ..Default::default() };
    assert_eq!(objects.list_uploads(within).await.expect("a page").uploads.len(), 2);

    for (number, name) in (1..).zip(&names) {
        part(&objects, name, number, &bytes(80_000, number as u8)).await;
    }
    let broken_off = objects.upload_part(&names[0], 1, BodyChecks::default(), broken(&bytes(200_000, 1))).await;
    assert!(matches!(broken_off, Err(ObjectError::Body(_))));
    assert_eq!(objects.list_parts(&names[0], 0, 10).await.expect("a page").parts[0].len, 80_000, "the part before is kept");
    for number in [0, 10_001] {
        let outside = objects.upload_part(&names[0], number, BodyChecks::default(), body(&Bytes::new())).await;
        assert!(matches!(outside, Err(ObjectError::InvalidArgument { .. })));
    }
    let stranger = UploadName { key: "elsewhere".into(), ..names[0].clone() };
    let lost = objects.upload_part(&stranger, 1, BodyChecks::default(), body(&bytes(10, 1))).await;
    assert!(matches!(lost, Err(ObjectError::NoSuchUpload)));
    for name in &names {
        objects.abort_upload(name).await.expect("given up");
        assert!(matches!(objects.abort_upload(name).await, Err(ObjectError::NoSuchUpload)));
    }
    world.expect_no_shards(&objects).await;
    assert_eq!((objects.stats().blobs, objects.stats().uploads), (0, 0));
}
