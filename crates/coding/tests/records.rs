//! Manifests and labels come back as written, and hostile bytes are typed errors.

mod common;

use cairn_coding::{
    BlobKey, BlobKind, LABEL_LEN, Label, LabelError, Manifest, ManifestError, SegmentManifest, ShardPlace, WrappedKey,
};
use cairn_types::limits::{SEGMENT_LEN_MAX, SEGMENTS_MAX};
use cairn_types::{BlobId, DataKeys, DealId, NodeId, SegmentId, ShardRoot};
use common::redundancy;
use proptest::prelude::*;

fn keys() -> DataKeys {
    DataKeys { wrap: [1; 32], label: [2; 32] }
}

fn wrapped() -> WrappedKey {
    WrappedKey::seal(&keys(), BlobId([3; 16]), &BlobKey::new([4; 32]), [5; 24])
}

prop_compose! {
    fn any_place()(root: [u8; 32], who in 0u8..20) -> ShardPlace {
        ShardPlace { root: ShardRoot(root), provider: NodeId([who; 32]), deal: DealId([who / 2; 32]) }
    }
}

fn any_segment() -> impl Strategy<Value = SegmentManifest> {
    let shards = |total| prop::collection::vec(prop::option::weighted(0.8, any_place()), total);
    let shape = (1usize..6, 0usize..6).prop_flat_map(move |(data, parity)| (Just(data), shards(data + parity)));
    (any::<[u8; 16]>(), 1..=SEGMENT_LEN_MAX, shape).prop_map(|(id, plain_len, (data, shards))| SegmentManifest {
        id: SegmentId(id),
        redundancy: redundancy(data, shards.len()),
        plain_len,
        shards,
    })
}

prop_compose! {
    fn any_manifest()(blob: [u8; 16], segments in prop::collection::vec(any_segment(), 0..6)) -> Manifest {
        Manifest { blob: BlobId(blob), key: wrapped(), segments }
    }
}

prop_compose! {
    fn any_label()(
        blob: [u8; 16], pack: bool, segment_index: u32, last_segment: bool, (data, total, shard) in (1usize..=64, 64usize..=128, 0u8..64),
        plain_len in 1..=SEGMENT_LEN_MAX, writer_epoch: u64, sequence: u64,
    ) -> Label {
        Label {
            blob: BlobId(blob), kind: if pack { BlobKind::Pack } else { BlobKind::Data }, segment_index, last_segment,
            shard_index: shard, redundancy: redundancy(data, total), plain_len, key: wrapped(), writer_epoch, sequence,
        }
    }
}

proptest! {
    #[test]
    fn manifests_come_back_as_written(manifest in any_manifest()) {
        let encoded = manifest.encode();
        prop_assert_eq!(Manifest::decode(&encoded), Ok(manifest.clone()));
        prop_assert_eq!(manifest.plain_len(), manifest.segments.iter().map(|s| s.plain_len).sum::<u64>());
    }

    #[test]
    fn damaged_manifests_never_panic(manifest in any_manifest(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut: prop::sample::Index) {
        let mut bytes = manifest.encode().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = Manifest::decode(&bytes) {
            prop_assert!(read.segments.iter().all(|s| s.shards.len() == s.redundancy.total() && s.plain_len <= SEGMENT_LEN_MAX));
        }
        let _ = Manifest::decode(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), fit: bool) {
        let _ = Manifest::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        let _ = Manifest::decode(&bytes);
        if fit {
            bytes.resize(LABEL_LEN, 0);
        }
        prop_assert!(Label::open(&bytes, &keys()).is_err());
        if let Some(key) = WrappedKey::from_slice(&bytes) {
            prop_assert!(key.open(&keys(), BlobId([0; 16])).is_err());
        }
    }

    #[test]
    fn labels_come_back_as_written_and_only_for_their_account(label in any_label(), nonce: [u8; 24], at in 0..LABEL_LEN, bit in 0u8..8) {
        let sealed = label.seal(&keys(), nonce);
        prop_assert_eq!(sealed.len(), LABEL_LEN);
        prop_assert_eq!(Label::open(&sealed, &keys()), Ok(label));
        let stranger = DataKeys { wrap: [1; 32], label: [9; 32] };
        prop_assert_eq!(Label::open(&sealed, &stranger), Err(LabelError::Sealed));
        let mut altered = sealed;
        altered[at] ^= 1 << bit;
        prop_assert!(Label::open(&altered, &keys()).is_err());
        prop_assert_eq!(Label::open(&altered[1..], &keys()), Err(LabelError::WrongLength { len: LABEL_LEN - 1 }));
    }
}

#[test]
fn the_largest_label_fits() {
    let label = Label {
        blob: BlobId([255; 16]),
        kind: BlobKind::Pack,
        segment_index: u32::MAX,
        last_segment: true,
        shard_index: 127,
        redundancy: redundancy(128, 128),
        plain_len: SEGMENT_LEN_MAX,
        key: wrapped(),
        writer_epoch: u64::MAX,
        sequence: u64::MAX,
    };
    assert_eq!(Label::open(&label.seal(&keys(), [9; 24]), &keys()), Ok(label));
}

fn segment(shards: Vec<Option<ShardPlace>>) -> SegmentManifest {
    SegmentManifest { id: SegmentId([6; 16]), redundancy: redundancy(4, 8), plain_len: SEGMENT_LEN_MAX, shards }
}

fn places(count: u8) -> Vec<Option<ShardPlace>> {
    let place = |n: u8| ShardPlace { root: ShardRoot([n; 32]), provider: NodeId([n; 32]), deal: DealId([n; 32]) };
    (0..count).map(|n| Some(place(n))).collect()
}

#[test]
fn a_shard_costs_a_manifest_little_more_than_its_root() {
    let manifest = |count| Manifest { blob: BlobId([3; 16]), key: wrapped(), segments: vec![segment(places(8)); count] };
    let growth = (manifest(1001).encode().len() - manifest(1).encode().len()) / 1000;
    assert!(growth <= 8 * 33 + 48, "{growth} bytes a segment");
}

#[test]
fn manifests_beyond_the_limits_are_refused() {
    let one = Manifest { blob: BlobId([3; 16]), key: wrapped(), segments: vec![segment(places(8))] };
    let malformed = |manifest: &Manifest| matches!(Manifest::decode(&manifest.encode()), Err(ManifestError::Malformed(_)));
    assert!(!malformed(&one));
    let with = |change: fn(&mut SegmentManifest)| {
        let mut manifest = one.clone();
        change(&mut manifest.segments[0]);
        manifest
    };
    assert!(malformed(&with(|s| s.plain_len = SEGMENT_LEN_MAX + 1)));
    assert!(malformed(&with(|s| s.plain_len = 0)));
    assert!(malformed(&with(|s| s.shards.truncate(7))));
    assert!(malformed(&with(|s| s.shards = places(9))));
    assert!(malformed(&Manifest { segments: vec![segment(vec![None; 8]); SEGMENTS_MAX + 1], ..one.clone() }));
    let mut next = one.encode().to_vec();
    next[0] = 2;
    assert_eq!(Manifest::decode(&next), Err(ManifestError::UnknownVersion { version: Some(2) }));
    assert_eq!(Manifest::decode(&[]), Err(ManifestError::UnknownVersion { version: None }));
}
