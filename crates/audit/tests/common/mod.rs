//! What the tests share: golden vectors, and shards made of a number.
#![allow(dead_code, reason = "each test file uses some of these")]

use cairn_audit::InventoryStep;
use cairn_types::ShardRoot;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Compares what was made with `tests/vectors/<name>.json`, or writes it there when `CAIRN_WRITE_VECTORS` is set.
pub fn check_vectors(name: &str, made: &Value) {
    let path = format!("{}/../../tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CAIRN_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).expect("JSON of JSON") + "\n";
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let stored: Value = serde_json::from_str(&text).expect("JSON");
    assert!(&stored == made, "{path} is not what this code gives: a stored format has changed");
}

pub fn path_json(path: &[InventoryStep]) -> Value {
    let step = |step: &InventoryStep| {
        json!({
            "bit": step.bit, "siblingHash": hex0x(&step.sibling_hash),
            "siblingIsLeft": step.sibling_is_left, "siblingSum": step.sibling_sum,
        })
    };
    path.iter().map(step).collect()
}

pub fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A root as random as a hash.
pub fn shard(number: u64) -> ShardRoot {
    ShardRoot(Sha256::digest(number.to_be_bytes()).into())
}

/// Byte `i` is `31·i + ⌊i/251⌋ + seed` modulo 256.
pub fn sample(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + usize::from(seed)) as u8).collect()
}
