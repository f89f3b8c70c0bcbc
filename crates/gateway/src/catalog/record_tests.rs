//! Records: their golden form, and what becomes of damaged ones.

use super::*;

fn object() -> ObjectRecord {
    ObjectRecord {
        writer_epoch: 3,
        sequence: 9,
        len: 5,
        etag: "5d41402abc4b2a76b9719d911017c592".into(),
        modified_ms: 1_700_000_000_123,
        checksums: vec![ChecksumRecord { algorithm: 1, kind: 1, value: vec![0x36, 0x10, 0xa6, 0x86], parts: 0 }],
        meta: Some(MetaRecord {
            content_type: Some("text/plain".into()),
            user: BTreeMap::from([("colour".into(), "blue".into())]),
            ..Default::default()
        }),
        extents: vec![Extent { blob: BlobId([7; 16]), offset: 40, len: 5 }.into()],
        parts: vec![],
        entry: Some(Extent { blob: BlobId([7; 16]), offset: 0, len: 45 }.into()),
        control: None,
    }
}

#[test]
fn records_have_their_golden_form() {
    let golden = include_str!("golden.txt");
    let records = [
        ("object", encode(&object())),
        ("budget", encode(&BudgetRecord::new(cairn_types::Amount::from_base_units(7), 5))),
        (
            "bucket",
            encode(&BucketRecord { id: 1, created_ms: 2, owner: "owner".into(), region: "eu".into(), ..Default::default() }),
        ),
        (
            "part",
            encode(&PartRecord {
                len: 5,
                etag: "aa".into(),
                modified_ms: 6,
                checksums: vec![],
                extents: vec![Extent { blob: BlobId([1; 16]), offset: 2, len: 3 }.into()],
            }),
        ),
        ("blob", encode(&BlobRecord { refs: 2, kind: BlobKind::Pack as i32, len: 100, live: 60 })),
        ("key", encode(&KeyRecord { secret: "s".into(), created_ms: 1, label: "l".into(), revoked: true, ..Default::default() })),
        ("state", encode(&StateRecord { node: vec![9; 32], writer_epoch: 4, born_epoch: 0 })),
        ("state-born", encode(&StateRecord { node: vec![9; 32], writer_epoch: 4, born_epoch: 3 })),
        ("checkpoint", encode(&CheckpointRecord { blob: vec![8; 16], len: 9, at_ms: 10, hash: vec![7; 32] })),
        ("counters", encode(&Counters { next_bucket: 2, buckets: 1, objects: 3, keys: 1, ..Default::default() })),
    ];
    let written: String = records.iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes))).collect();
    assert_eq!(written, golden);
}

#[test]
fn a_summary_is_read_from_a_whole_record() {
    let summary: ObjectSummary = decode(&encode(&object())).expect("a subset of the fields");
    assert_eq!((summary.len, summary.modified_ms), (5, 1_700_000_000_123));
    assert_eq!(summary.etag, object().etag);
}

#[test]
fn damaged_records_are_typed_errors() {
    let good = encode(&object());
    assert_eq!(decode::<ObjectRecord>(&good), Ok(object()));
    assert!(matches!(decode::<ObjectRecord>(&[]), Err(RecordError::Damaged(_))));
    assert!(matches!(decode::<ObjectRecord>(&[2, 0]), Err(RecordError::UnknownVersion(2))));
    for len in 1..good.len() {
        // A cut may fall between two fields; what must not happen is a panic or the whole record.
        assert_ne!(decode::<ObjectRecord>(&good[..len]), Ok(object()), "cut to {len}");
    }
    let short_id = ExtentRecord { blob: Bytes::from_static(b"short"), offset: 0, len: 1 };
    assert!(Extent::try_from(&short_id).is_err());
    let endless = ExtentRecord { blob: Bytes::from_static(&[0; 16]), offset: u64::MAX, len: 1 };
    assert!(Extent::try_from(&endless).is_err());
}
