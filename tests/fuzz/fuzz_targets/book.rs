//! The address book as a damaged or hostile file. What is read is written and read again as it was.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use cairn_net::PEER_ADDRESSES_MAX;
use cairn_net::fuzzing::book;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fn path() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path().join("peers.json")
}

fuzz_target!(|text: &[u8]| {
    std::fs::write(path(), text).expect("room");
    let [read, again] = book(&path(), text.len() % 2 == 0);
    assert!(read.iter().all(|(_, addresses)| (1..=PEER_ADDRESSES_MAX).contains(&addresses.len())));
    assert_eq!(read, again);
});
