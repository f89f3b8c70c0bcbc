//! The golden vectors of `tests/vectors` are what this code gives: they are remade here and compared.
//!
//! After a deliberate change of format (with a new version): `CAIRN_WRITE_VECTORS=1 cargo test -p cairn-coding --test vectors`.

mod common;

use cairn_coding::{BlobKey, BlobKind, Decoder, Label, Manifest, SegmentManifest, ShardPlace, WrappedKey};
use cairn_types::limits::{FRAME_LEN, LEAF_LEN, SEGMENT_LEN_MAX};
use cairn_types::merkle::{self, Hash};
use cairn_types::{BlobId, DataKeys, DealId, NodeId, SegmentId, ShardRoot};
use common::{decode, encode, redundancy, sample};
use serde_json::{Value, json};

const SAMPLE: &str = "sample(len, seed): byte i is (31*i + floor(i/251) + seed) mod 256";

fn check(name: &str, made: &Value) {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CAIRN_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON of JSON") + "\n";
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let stored: Value = serde_json::from_str(&text).expect("JSON");
    assert!(&stored == made, "{path} is not what this code gives: a stored format has changed");
}

fn array<const LEN: usize>(seed: u8) -> [u8; LEN] {
    sample(LEN, seed).try_into().expect("as long as asked for")
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(hex::encode).collect()
}

fn paths(key: &str, hashes: &[Hash]) -> Vec<Value> {
    let last = hashes.len().saturating_sub(1);
    let mut picked = vec![0, last / 2, last];
    picked.dedup();
    let path = |index: usize| merkle::block_path(hashes, index).map(|path| json!({key: index, "path": hexes(&path)}));
    picked.into_iter().filter_map(path).collect()
}

#[test]
fn merkle_trees_are_as_stored() {
    let shard = |len: usize| {
        let data = sample(len, 0);
        let leaves: Vec<Hash> = data.chunks(LEAF_LEN).enumerate().map(|(i, leaf)| merkle::leaf_hash(i as u64, leaf)).collect();
        let blocks: Vec<Hash> =
            data.chunks(FRAME_LEN).enumerate().map(|(i, block)| merkle::block_hash(i as u64, block)).collect();
        for (index, block) in data.chunks(FRAME_LEN).enumerate() {
            let path = merkle::block_path(&blocks, index).expect("in range");
            assert!(merkle::verify_block(&merkle::shard_root(&data), len as u64, index as u64, block, &path));
        }
        let few = if leaves.len() <= 5 { hexes(&leaves) } else { vec![] };
        json!({
            "data": format!("sample({len}, 0)"), "byte_len": len, "leaf_count": merkle::leaf_count(len as u64),
            "leaves": few, "blocks": hexes(&blocks), "root": merkle::shard_root(&data).to_string(),
            "leaf_paths": paths("leaf", &leaves), "block_paths": paths("block", &blocks),
        })
    };
    let lens = [0, 1, 1023, 1024, 1025, 2048, 3000, 5 * 1024, 65_535, 65_536, 65_537, 3 * 65_536 + 700, 7 * 65_536];
    let (left, right): (Hash, Hash) = (array(1), array(2));
    check(
        "merkle",
        &json!({
            "format": "docs/formats/merkle.md", "sample": SAMPLE,
            "leaf": {"index": 258, "data": "sample(1024, 3)", "hash": hex::encode(merkle::leaf_hash(258, &sample(1024, 3)))},
            "node": {"left": hex::encode(left), "right": hex::encode(right), "hash": hex::encode(merkle::node_hash(&left, &right))},
            "root": {"byte_len": 66_000, "top": hex::encode(left), "root": merkle::root_hash(66_000, &left).to_string()},
            "shards": lens.map(shard),
        }),
    );
}

#[test]
fn segments_are_as_stored() {
    let segment = |(data, total, plain_len, segment_index): (usize, usize, usize, u32)| {
        let key = BlobKey::new(array(9));
        let plain = sample(plain_len, 4);
        let encoded = encode(redundancy(data, total), &key, segment_index, &plain);
        let decoder = Decoder::new(&key, segment_index, encoded.layout);
        let last_shards: Vec<usize> = (total - data..total).collect();
        assert_eq!(decode(&decoder, &encoded, &last_shards), Ok(plain));
        let layout = encoded.layout;
        let frame = |index| {
            let f = layout.frame(index);
            json!([f.row, f.shard, f.shard_offset, f.sealed_len, f.data_offset, f.data_len])
        };
        let shard = |(index, shard): (usize, &cairn_coding::EncodedShard)| {
            let bytes = if plain_len <= 100 { Value::from(hex::encode(encoded.shard(index))) } else { Value::Null };
            json!({"len": shard.len, "root": shard.root.to_string(), "bytes": bytes})
        };
        json!({
            "data_shards": data, "total_shards": total, "plain": format!("sample({plain_len}, 4)"), "key": "sample(32, 9)",
            "segment_index": segment_index, "rows": layout.rows(),
            "frames": (0..layout.frame_count()).map(frame).collect::<Vec<_>>(),
            "shards": encoded.segment.shards.iter().enumerate().map(shard).collect::<Vec<_>>(),
        })
    };
    let cases = [
        (1, 1, 1, 0),
        (2, 3, 100, 1),
        (2, 4, 3000, 0x0102_0304),
        (4, 8, 4 * 65_520, 0),
        (4, 8, 4 * 65_520 + 1, 0),
        (3, 5, 400_000, 7),
        (10, 30, 10_000, 2),
        (29, 80, 100_000, 3),
    ];
    check(
        "segment",
        &json!({
            "format": "docs/formats/segment.md", "sample": SAMPLE,
            "frames": "[row, shard, shard_offset, sealed_len, data_offset, data_len]",
            "segments": cases.map(segment),
        }),
    );
}

fn keys() -> DataKeys {
    DataKeys { wrap: array(5), label: array(6) }
}

fn wrapped() -> WrappedKey {
    WrappedKey::seal(&keys(), BlobId(array(7)), &BlobKey::new(array(9)), array(8))
}

#[test]
fn labels_are_as_stored() {
    let label = |kind, segment_index, last_segment, shard_index, plain_len| Label {
        blob: BlobId(array(7)),
        kind,
        segment_index,
        last_segment,
        shard_index,
        redundancy: redundancy(4, 8),
        plain_len,
        key: wrapped(),
        writer_epoch: 3,
        sequence: 1 << 40,
    };
    let case = |label: Label| {
        let sealed = label.seal(&keys(), array(10));
        assert_eq!(Label::open(&sealed, &keys()), Ok(label.clone()));
        json!({
            "kind": format!("{:?}", label.kind), "segment_index": label.segment_index, "last_segment": label.last_segment,
            "shard_index": label.shard_index, "data_shards": 4, "total_shards": 8, "plain_len": label.plain_len,
            "writer_epoch": label.writer_epoch, "sequence": label.sequence, "sealed": hex::encode(sealed),
        })
    };
    check(
        "label",
        &json!({
            "format": "docs/formats/label.md", "sample": SAMPLE, "wrap_key": "sample(32, 5)", "label_key": "sample(32, 6)",
            "blob": "sample(16, 7)", "blob_key": "sample(32, 9)", "wrap_nonce": "sample(24, 8)", "label_nonce": "sample(24, 10)",
            "wrapped_key": hex::encode(wrapped().as_bytes()),
            "labels": [
                case(label(BlobKind::Data, 0, false, 0, SEGMENT_LEN_MAX)),
                case(label(BlobKind::Pack, 99_999, true, 7, 1)),
            ],
        }),
    );
}

#[test]
fn manifests_are_as_stored() {
    let place = |n: u8| ShardPlace { root: ShardRoot(array(n)), provider: NodeId([n % 3; 32]), deal: DealId([n % 3 + 100; 32]) };
    let segment = |id: u8, plain_len, present: &[u8]| SegmentManifest {
        id: SegmentId([id; 16]),
        redundancy: redundancy(2, 4),
        plain_len,
        shards: (0..4).map(|n| present.contains(&n).then(|| place(10 * id + n))).collect(),
    };
    let manifest = |segments| Manifest { blob: BlobId(array(7)), key: wrapped(), segments };
    let case = |manifest: Manifest| {
        let encoded = manifest.encode();
        assert_eq!(Manifest::decode(&encoded), Ok(manifest.clone()));
        let segment = |segment: &SegmentManifest| {
            json!({
                "id": segment.id.to_string(), "data_shards": 2, "total_shards": 4, "plain_len": segment.plain_len,
                "shards": segment.shards.iter().map(|place| place.map(|place| json!({
                    "root": place.root.to_string(), "provider": hex::encode(place.provider.as_bytes()), "deal": place.deal.to_string(),
                }))).collect::<Vec<_>>(),
            })
        };
        let segments: Vec<Value> = manifest.segments.iter().map(segment).collect();
        json!({"segments": segments, "plain_len": manifest.plain_len(), "encoded": hex::encode(encoded)})
    };
    let manifests = [
        manifest(vec![]),
        manifest(vec![segment(1, 1, &[0, 2, 3])]),
        manifest(vec![segment(1, SEGMENT_LEN_MAX, &[0, 1, 2, 3]), segment(2, 70_000, &[1, 3])]),
    ];
    check(
        "manifest",
        &json!({
            "format": "docs/formats/manifest.md", "sample": SAMPLE, "blob": "sample(16, 7)",
            "wrapped_key": hex::encode(wrapped().as_bytes()),
            "manifests": manifests.map(case),
        }),
    );
}
