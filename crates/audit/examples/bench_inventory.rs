//! Time and memory of an inventory of a million shards: `cargo run --release -p cairn-audit --example bench_inventory`.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::time::Instant;

use cairn_audit::{AuditNonce, Entry, Inventory, Plan, verify_path};
use cairn_types::ShardRoot;
use sha2::{Digest, Sha256};

const ENTRIES: u64 = 1_000_000;
const CHANGES: u64 = 100_000;

fn entry(number: u64) -> Entry {
    let root = ShardRoot(Sha256::digest(number.to_be_bytes()).into());
    Entry::new(root, 1 + number * 7919 % (16 << 20)).expect("not empty")
}

fn timed<T>(what: &str, count: u64, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = run();
    let took = start.elapsed();
    println!("{what:<44} {:>9.3} s {:>10.2} µs each", took.as_secs_f64(), took.as_secs_f64() * 1e6 / count as f64);
    done
}

fn main() {
    let entries: Vec<Entry> = (0..ENTRIES).map(entry).collect();
    let mut inventory =
        timed("build from entries", ENTRIES, || Inventory::from_entries(entries.iter().copied()).expect("good entries"));
    println!("{:<44} {:>9.1} bytes an entry", "memory, built at once", inventory.memory_len() as f64 / ENTRIES as f64);
    let grown = timed("insert one by one", ENTRIES, || {
        let mut grown = Inventory::new();
        for entry in &entries {
            grown.insert(*entry).expect("room");
        }
        grown
    });
    assert_eq!(grown.root(), inventory.root());
    println!("{:<44} {:>9.1} bytes an entry", "memory, grown", grown.memory_len() as f64 / ENTRIES as f64);
    let deepest = entries.iter().step_by(97).filter_map(|entry| inventory.path(&entry.root())).map(|path| path.len()).max();
    println!("{:<44} {:>9} steps", "deepest of every 97th", deepest.unwrap_or_default());
    timed("remove", CHANGES, || (0..CHANGES).for_each(|number| assert!(inventory.remove(&entry(number).root()).is_some())));
    timed("insert again", CHANGES, || (0..CHANGES).for_each(|number| assert_eq!(inventory.insert(entry(number)), Ok(true))));
    assert_eq!(grown.root(), inventory.root());
    let leaves = inventory.totals().leaves;
    timed("locate a leaf number", CHANGES, || {
        (0..CHANGES).for_each(|number| assert!(inventory.locate(number * 1_000_003 % leaves).is_some()));
    });
    let paths = timed("path", CHANGES, || {
        (0..CHANGES).map(|number| inventory.path(&entry(number).root()).expect("there")).collect::<Vec<_>>()
    });
    let (root, totals) = (inventory.root(), inventory.totals());
    timed("verify a path", CHANGES, || {
        (0..CHANGES).zip(&paths).for_each(|(number, path)| assert!(verify_path(&root, &totals, &entry(number), path).is_ok()));
    });
    timed("plan an audit of 128 leaves", 1000, || {
        (0..1000u64).for_each(|number| {
            let nonce = AuditNonce(entry(number).root().0);
            assert!(Plan::new(&inventory, &nonce, 128).is_ok());
        });
    });
}
