//! A provider's disk with hostile rows in its index and files among its volumes: a store opens on it or says why not, and if it
//! opens, whatever a client asks is answered without a panic, and it opens again.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_fuzz::{CountedRng, Peer, StillClock, panics_are_findings, runtime};
use cairn_proto::Framed;
use cairn_proto::shard::{Delete, List, OpenDeal, Read, Request, request::Kind};
use cairn_provider::store::{deal_id, fuzzing};
use cairn_provider::{DiskConfig, Server, ServerConfig, Store, StoreConfig};
use cairn_types::{DealId, NodeId, NodeKey};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const CLIENT: NodeId = NodeId([0xc1; 32]);
const NONCE: [u8; 16] = [7; 16];

#[derive(Debug, Arbitrary)]
struct Input {
    rows: Vec<Row>,
    /// Volume files: number, length in blocks.
    files: Vec<(u32, u8)>,
}

#[derive(Debug, Arbitrary)]
enum Row {
    Raw(Vec<u8>, Vec<u8>),
    Shard { root: u8, len: u64, place: Option<(u32, u64)>, label: Vec<u8> },
    Inline { root: u8, bytes: Vec<u8> },
    Hashes { root: u8, bytes: Vec<u8> },
    Extent { volume: u32, offset: u64, len: u64, root: u8 },
    Tombstone { volume: u32, offset: u64, len: u64 },
    Volume { volume: u32, sealed: u8, shards: u64 },
    NextVolume(u32),
    DiskUsage(u64, u64),
    DealUsage(u64, u64),
    Deal { space_len: u64, valid_until: u64 },
}

fuzz_target!(|input: Input| {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = dir.path().join("disk");
    copy(template(), &disk);
    if fuzzing::plant(&disk, &input.rows.iter().map(planted).collect::<Vec<_>>()).is_err() {
        return;
    }
    for (number, blocks) in input.files.iter().take(8) {
        std::fs::write(disk.join(format!("volumes/{number:06}.vol")), vec![7; usize::from(*blocks) * 4096]).expect("room");
    }
    for _ in 0..2 {
        let Some(store) = open(&dir) else { return };
        let asked = ask();
        let (peer, _) = Peer::saying(asked);
        let server = Server::new(store, key(), ServerConfig::default());
        runtime().block_on(server.serve_stream(CLIENT, Box::new(peer)));
        let status = server.store().status();
        assert!(status.free_len <= status.total_len);
    }
});

fn key() -> NodeKey {
    NodeKey::from_secret([5; 32])
}

fn deal() -> DealId {
    deal_id(key().id(), CLIENT, &NONCE)
}

fn open(dir: &TempDir) -> Option<Store> {
    let disk = DiskConfig { path: dir.path().join("disk"), quota_len: 64 << 20, reserve_len: 0 };
    let config = StoreConfig::new(dir.path().join("data"), vec![disk]);
    Store::open(config, key().id(), Arc::new(StillClock), &CountedRng::default()).ok()
}

/// A disk that was used once, closed.
fn template() -> &'static Path {
    static DIR: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DIR.get_or_init(|| {
        panics_are_findings();
        let dir = tempfile::tempdir().expect("a temporary directory");
        drop(open(&dir).expect("a fresh directory"));
        let path = dir.path().join("disk");
        (dir, path)
    });
    path
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("room");
    for entry in std::fs::read_dir(from).expect("the template") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("room");
        }
    }
}

fn root(name: u8) -> [u8; 32] {
    [name % 4; 32]
}

/// A row as `docs/formats/provider-index.md` says.
fn planted(row: &Row) -> (Vec<u8>, Vec<u8>) {
    let of_shard = |kind: u8, name: u8| [&[kind][..], deal().as_bytes(), &root(name)].concat();
    let at = |kind: u8, volume: u32, offset: u64| [&[kind][..], &volume.to_be_bytes(), &offset.to_be_bytes()].concat();
    let pair = |a: u64, b: u64| [a.to_be_bytes(), b.to_be_bytes()].concat();
    match row {
        Row::Raw(key, value) => (key.clone(), value.clone()),
        Row::Shard { root, len, place, label } => {
            let mut value = [&[1][..], &len.to_be_bytes(), &[3; 16], &[0; 8], &[0; 8]].concat();
            match place {
                None => value.push(0),
                Some((volume, offset)) => value.extend(at(1, *volume, *offset)),
            }
            (of_shard(b'r', *root), [&value[..], label].concat())
        }
        Row::Inline { root, bytes } => (of_shard(b'd', *root), bytes.clone()),
        Row::Hashes { root, bytes } => (of_shard(b'h', *root), bytes.clone()),
        Row::Extent { volume, offset, len, root: name } => {
            (at(b'x', *volume, *offset), [&len.to_be_bytes()[..], deal().as_bytes(), &root(*name)].concat())
        }
        Row::Tombstone { volume, offset, len } => (at(b't', *volume, *offset), len.to_be_bytes().to_vec()),
        Row::Volume { volume, sealed, shards } => {
            ([&[b'v'][..], &volume.to_be_bytes()].concat(), [&[*sealed][..], &shards.to_be_bytes()].concat())
        }
        Row::NextVolume(volume) => (vec![b'n'], volume.to_be_bytes().to_vec()),
        Row::DiskUsage(shards, len) => (vec![b'a'], pair(*shards, *len)),
        Row::DealUsage(shards, len) => ([&[b'u'][..], deal().as_bytes()].concat(), pair(*shards, *len)),
        Row::Deal { space_len, valid_until } => {
            let value = [&[1][..], CLIENT.as_bytes(), &NONCE, &pair(*space_len, *valid_until)].concat();
            ([&[b'e'][..], deal().as_bytes()].concat(), value)
        }
    }
}

/// What the client asks: its deal, a listing, each shard with and without proof, and to delete them.
fn ask() -> Vec<u8> {
    let deal_id = Bytes::copy_from_slice(deal().as_bytes());
    let roots: Vec<Bytes> = (0..4).map(|name| Bytes::copy_from_slice(&root(name))).collect();
    let mut asked = vec![
        Kind::OpenDeal(OpenDeal { nonce: Bytes::from_static(&NONCE), space_len: 1 << 20, writer_epoch: 0 }),
        Kind::List(List { deal_id: deal_id.clone(), after: Bytes::new(), max: 40 }),
    ];
    for (at, root) in roots.iter().enumerate() {
        for (offset, len, proof) in [(0, 1, false), (65_536, 65_536, true), (0, 65_536, true), (at as u64, 70_000, false)] {
            asked.push(Kind::Read(Read { deal_id: deal_id.clone(), root: root.clone(), offset, len, proof }));
        }
    }
    asked.push(Kind::Delete(Delete { deal_id, roots, release: None, writer_epoch: 0 }));
    let mut wire = Vec::new();
    let mut framed = Framed::new(futures::io::Cursor::new(&mut wire));
    for kind in asked {
        futures::executor::block_on(framed.send(&Request { kind: Some(kind) })).expect("a short request");
    }
    wire
}
