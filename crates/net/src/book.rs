//! Address book: the peers a node knew, kept in a file so that a restart needs no bootstrap node.
//!
//! JSON, see docs/formats/address-book.md. Written to a temporary file, synced and renamed; a file that cannot be read is
//! kept aside under `.bad` and the book starts empty.
//! Never: fail a start because of the book. Limits: [`ENTRIES_MAX`], [`FILE_LEN_MAX`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn_types::{NodeId, UnixMs};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::PEER_ADDRESSES_MAX;
use crate::address::dialable_all;

/// Peers kept.
pub(crate) const ENTRIES_MAX: usize = 1000;
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;
const VERSION: u32 = 1;

/// One remembered peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) node: NodeId,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) seen_at_ms: UnixMs,
    pub(crate) provider: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    peers: Vec<Entry>,
}

/// Cuts a book to its limit: providers first, then whoever was seen last.
pub(crate) fn trim(entries: &mut Vec<Entry>) {
    entries.sort_by_key(|entry| (!entry.provider, std::cmp::Reverse(entry.seen_at_ms)));
    entries.truncate(ENTRIES_MAX);
}

/// Reads the book; an absent one is empty, a bad one is moved aside.
pub(crate) fn load(path: &Path, private: bool) -> Vec<Entry> {
    match read(path) {
        Ok(mut entries) => {
            trim(&mut entries);
            for entry in &mut entries {
                entry.addresses = dialable_all(&entry.addresses, private);
                entry.addresses.truncate(PEER_ADDRESSES_MAX);
            }
            entries.retain(|entry| !entry.addresses.is_empty());
            entries
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let aside = beside(path, "bad");
            let kept = fs::rename(path, &aside).is_ok();
            tracing::warn!(path = %path.display(), %error, kept_as = %aside.display(), kept, "address book unreadable; starting empty");
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let len = fs::metadata(path)?.len();
    if len > FILE_LEN_MAX {
        return Err(invalid(format!("{len} bytes are too long for an address book")));
    }
    let file: File = serde_json::from_slice(&fs::read(path)?).map_err(|error| invalid(error.to_string()))?;
    if file.version != VERSION {
        return Err(invalid(format!("version {} is not known", file.version)));
    }
    Ok(file.peers)
}

/// Writes the book so that a crash leaves the old one or the new one.
pub(crate) fn save(path: &Path, mut peers: Vec<Entry>) -> io::Result<()> {
    trim(&mut peers);
    let text = serde_json::to_vec_pretty(&File { version: VERSION, peers }).map_err(io::Error::other)?;
    let temporary = beside(path, "tmp");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u16, provider: bool) -> Entry {
        Entry {
            node: NodeId([n as u8; 32]),
            addresses: vec![format!("/ip4/127.0.0.1/tcp/{}", n + 1).parse().expect("a multiaddr")],
            seen_at_ms: UnixMs(u64::from(n)),
            provider,
        }
    }

    #[test]
    fn a_saved_book_reads_back_within_its_limit_providers_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("book.json");
        assert_eq!(load(&path, false), Vec::new());
        let many: Vec<Entry> = (0..2000).map(|n| entry(n, n < 10)).collect();
        save(&path, many).expect("saved");
        let read = load(&path, false);
        assert_eq!(read.len(), ENTRIES_MAX);
        assert!(read[..10].iter().all(|entry| entry.provider));
        assert_eq!(read[10].seen_at_ms, UnixMs(1999));
    }

    #[test]
    fn a_bad_book_is_kept_aside_and_an_empty_one_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = NodeId([1; 32]);
        let cases = [
            "not json".to_owned(),
            r#"{"version":2,"peers":[]}"#.to_owned(),
            r#"{"version":1,"peers":[],"more":1}"#.to_owned(),
            format!(r#"{{"version":1,"peers":[{{"node":"{node}","addresses":["x"],"seen_at_ms":1,"provider":true}}]}}"#),
            "[".repeat(100_000),
            " ".repeat(FILE_LEN_MAX as usize + 1),
        ];
        for (n, text) in cases.into_iter().enumerate() {
            let path = dir.path().join(format!("book{n}.json"));
            fs::write(&path, &text).expect("written");
            assert_eq!(load(&path, false), Vec::new(), "case {n}");
            assert!(!path.exists(), "case {n}");
            assert_eq!(fs::read_to_string(beside(&path, "bad")).expect("kept"), text, "case {n}");
        }
    }

    #[test]
    fn golden_file_reads() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("book.json");
        let text = r#"{"version":1,"peers":[{"node":"12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
            "addresses":["/ip4/192.0.2.1/tcp/4001","/ip4/192.0.2.1/udp/4001/quic-v1"],"seen_at_ms":7,"provider":true}]}"#;
        fs::write(&path, text).expect("written");
        assert_eq!(load(&path, false)[0].addresses.len(), 2);
        assert_eq!(load(&path, true)[0].addresses.len(), 1, "QUIC is of no use in a private network");
    }
}
