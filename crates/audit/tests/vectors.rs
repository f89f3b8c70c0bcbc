//! The golden vectors of `tests/vectors` are what this code gives: they are remade here and compared.
//!
//! After a deliberate change of format (with a new version): `CAIRN_WRITE_VECTORS=1 cargo test -p cairn-audit --test vectors`.

mod common;

use cairn_audit::{Entry, Inventory, ReleaseTree, draw};
use cairn_types::{ChannelId, ShardRoot, UnixSecs};
use common::{check_vectors, hex0x, path_json, shard};
use serde_json::{Value, json};

fn entry_json(entry: &Entry) -> Value {
    json!({
        "byteLen": entry.byte_len(), "leafCount": entry.leaf_count(),
        "shardRoot": hex0x(entry.root().as_bytes()), "hash": hex0x(&entry.hash()),
    })
}

/// Entries with keys that differ early, late, in one bit only, and at the first and the last bit.
fn shapes() -> Vec<(&'static str, Vec<Entry>)> {
    let random = |count: u64| (0..count).map(|number| Entry::new(shard(number), 1 + number * 700).expect("not empty")).collect();
    let keys = |keys: &[[u8; 32]]| {
        keys.iter().zip(1..).map(|(key, number)| Entry::new(ShardRoot(*key), 1500 * number).expect("not empty")).collect()
    };
    let with = |index: usize, byte: u8| {
        let mut key = [0u8; 32];
        key[index] = byte;
        key
    };
    let ladder: Vec<[u8; 32]> = (0..9).map(|bit| with(bit / 8, 0x80 >> (bit % 8))).chain([[0; 32]]).collect();
    vec![
        ("empty", vec![]),
        ("one", random(1)),
        ("two", random(2)),
        ("first and last bit differ", keys(&[[0; 32], with(31, 1), with(0, 0x80), [0xff; 32]])),
        ("a ladder, one step for each bit", keys(&ladder)),
        ("ten", random(10)),
        ("a hundred", random(100)),
    ]
}

#[test]
fn inventories_are_as_stored() {
    let one = |(name, entries): (&str, Vec<Entry>)| {
        let inventory = Inventory::from_entries(entries.iter().copied()).expect("good entries");
        let totals = inventory.totals();
        let paths: Vec<Value> = inventory
            .iter()
            .step_by(1 + entries.len() / 10)
            .map(|entry| {
                let path = inventory.path(&entry.root()).expect("there");
                let first = cairn_audit::verify_path(&inventory.root(), &totals, &entry, &path).expect("a good path");
                json!({"entry": entry_json(&entry), "firstLeaf": first, "path": path_json(&path)})
            })
            .collect();
        let numbers = [0, totals.leaves / 3, totals.leaves / 2, totals.leaves.saturating_sub(1)];
        let located: Vec<Value> = numbers
            .iter()
            .filter_map(|number| inventory.locate(*number).map(|found| (number, found)))
            .map(|(number, found)| json!({"leaf": found.leaf, "number": number, "shardRoot": hex0x(found.entry.root().as_bytes())}))
            .collect();
        json!({
            "name": name, "entries": entries.iter().map(entry_json).collect::<Vec<_>>(), "paths": paths, "located": located,
            "byteSum": totals.bytes, "entryCount": totals.entries, "leafSum": totals.leaves, "root": hex0x(inventory.root().as_bytes()),
        })
    };
    let made: Vec<Value> = shapes().into_iter().map(one).collect();
    check_vectors("inventory", &json!({"format": "docs/formats/inventory.md", "inventories": made}));
}

#[test]
fn draws_are_as_stored() {
    let one = |(seed, sum): ([u8; 32], u64)| {
        let words: Vec<Value> = (0..8u32)
            .map(|index| {
                let number = draw::leaf_number(&seed, index, sum).expect("a sum");
                json!({"index": index, "leafNumber": number.to_string(), "word": hex0x(&draw::word(&seed, index))})
            })
            .collect();
        let distinct: Vec<String> = draw::distinct(&seed, 6, sum).iter().map(u64::to_string).collect();
        json!({"seed": hex0x(&seed), "leafSum": sum.to_string(), "words": words, "distinctSix": distinct})
    };
    let seeds = [[0u8; 32], [0xff; 32], shard(1).0, shard(2).0];
    let sums = [1u64, 2, 6, 7, 97, 65_536, 1_000_003, (1 << 53) + 1, u64::MAX];
    let made: Vec<Value> = seeds.iter().flat_map(|seed| sums.map(|sum| (*seed, sum))).map(one).collect();
    check_vectors("draw", &json!({"format": "docs/formats/inventory.md", "draws": made}));
}

#[test]
fn release_trees_are_as_stored() {
    let one = |count: u64| {
        let tree = ReleaseTree::new((0..count).map(shard)).expect("some");
        let release = tree.release(ChannelId([1; 32]), UnixSecs(1));
        let picked = [0, count / 2, count - 1].map(|index| tree.shards()[index as usize]);
        let paths: Vec<Value> = picked
            .iter()
            .map(|shard| {
                let (index, path) = tree.path(shard).expect("in the tree");
                assert!(release.covers(shard, index, &path));
                let path: Vec<String> = path.iter().map(|hash| hex0x(hash)).collect();
                json!({"index": index, "path": path, "shardRoot": hex0x(shard.as_bytes())})
            })
            .collect();
        let shards: Vec<String> = tree.shards().iter().map(|shard| hex0x(shard.as_bytes())).collect();
        json!({"paths": paths, "shardCount": count, "shards": shards, "shardsRoot": hex0x(&tree.root())})
    };
    let made: Vec<Value> = [1, 2, 3, 4, 5, 7, 8, 9, 33].into_iter().map(one).collect();
    check_vectors("release", &json!({"format": "docs/formats/commitment.md", "releases": made}));
}
