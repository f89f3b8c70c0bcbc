//! The marker of a disk and the list of disks, as damaged or foreign files. A marker says no other disk than its text.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use cairn_provider::store::fuzzing::{disk_list, marker};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

fn dir() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().expect("a temporary directory")).path()
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, text)) = input.split_first() else { return };
    if mode % 2 == 0 {
        std::fs::write(dir().join("disks.json"), text).expect("room");
        let _ = disk_list(dir());
        return;
    }
    std::fs::write(dir().join("cairn-disk.json"), text).expect("room");
    let Some(written) = marker(dir()) else { return };
    let value: serde_json::Value = serde_json::from_str(&written).expect("its own JSON");
    let said = String::from_utf8_lossy(text);
    let disk = value["disk"].as_str().expect("a marker names its disk");
    assert!(said.contains('\\') || said.to_ascii_lowercase().contains(disk), "{said:?} is not {disk}");
    std::fs::write(dir().join("cairn-disk.json"), &written).expect("room");
    assert_eq!(marker(dir()), Some(written));
});
