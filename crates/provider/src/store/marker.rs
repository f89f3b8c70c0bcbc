//! Whose directory is this: the marker in each disk's directory, its lock, and the list of disks the node has ever had.
//!
//! Never: a disk that is missing, swapped, another node's or in use taken for a fresh one.
//! Limits: [`MARKER_LEN_MAX`] for the marker, [`LIST_LEN_MAX`] for the list.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cairn_types::NodeId;
use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::disk::DiskId;
use super::error::OpenError;
use super::volume::sync_dir;

/// Version of the directory layout.
pub(crate) const LAYOUT_VERSION: u32 = 1;
const MARKER: &str = "cairn-disk.json";
const LOCK: &str = "lock";
const BEGUN: &str = "initialising";
const LIST: &str = "disks.json";
const MARKER_LEN_MAX: u64 = 4096;
const LIST_LEN_MAX: u64 = 1 << 20;

/// What the marker file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub version: u32,
    pub disk: DiskId,
    pub node: NodeId,
}

/// A disk the node has had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownDisk {
    pub disk: DiskId,
    pub path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct KnownDisks {
    version: u32,
    disks: Vec<KnownDisk>,
}

/// The list of disks in the node's data directory.
pub(crate) struct DiskList {
    path: PathBuf,
    disks: Vec<KnownDisk>,
}

/// A directory that this process holds alone.
#[derive(Debug)]
pub(crate) struct Claim {
    pub marker: Marker,
    /// True until [`Claim::complete`]: the directory is fresh and its index has yet to be made.
    pub fresh: bool,
    dir: PathBuf,
    _lock: File,
}

impl DiskList {
    pub fn open(data_dir: &Path) -> Result<DiskList, OpenError> {
        std::fs::create_dir_all(data_dir).map_err(OpenError::io(data_dir))?;
        let path = data_dir.join(LIST);
        let disks = match read_json::<KnownDisks>(&path, LIST_LEN_MAX)? {
            Some(list) if list.version != LAYOUT_VERSION => {
                return Err(OpenError::UnknownVersion { path, version: list.version, known: LAYOUT_VERSION });
            }
            Some(list) => list.disks,
            None => Vec::new(),
        };
        Ok(DiskList { path, disks })
    }

    /// Remembers where a disk is.
    pub fn remember(&mut self, disk: DiskId, path: &Path) -> Result<(), OpenError> {
        let known = KnownDisk { disk, path: path.to_path_buf() };
        if self.disks.contains(&known) {
            return Ok(());
        }
        self.disks.retain(|known| known.disk != disk && known.path != path);
        self.disks.push(known);
        write_json(&self.path, &KnownDisks { version: LAYOUT_VERSION, disks: self.disks.clone() })
    }

    /// Disks that were there once and are none of `present`.
    pub fn absent(&self, present: &[DiskId]) -> Vec<KnownDisk> {
        self.disks.iter().filter(|known| !present.contains(&known.disk)).cloned().collect()
    }

    fn at(&self, path: &Path) -> Option<&KnownDisk> {
        self.disks.iter().find(|known| known.path == path)
    }
}

impl Claim {
    /// Locks a directory and makes sure that it is this node's, or fresh. `path` is absolute; `new` names the disk if it is fresh.
    pub fn take(path: &Path, node: NodeId, new: DiskId, list: &DiskList) -> Result<Claim, OpenError> {
        let known = list.at(path);
        let empty_disk =
            |known: &KnownDisk| OpenError::EmptyDisk { path: path.into(), disk: known.disk, list: list.path.clone() };
        if !path.exists() {
            if let Some(known) = known {
                return Err(empty_disk(known));
            }
            std::fs::create_dir_all(path).map_err(OpenError::io(path))?;
        }
        let marker = read_marker(path)?;
        if let (None, Some(known)) = (&marker, known) {
            return Err(empty_disk(known));
        }
        if marker.is_none() && !path.join(BEGUN).exists() {
            refuse_foreign_files(path)?;
        }
        let lock = lock(path)?;
        match marker {
            Some(marker) => Claim::existing(path, node, marker, list, lock),
            None => Claim::fresh(path, node, new, lock),
        }
    }

    fn existing(path: &Path, node: NodeId, marker: Marker, list: &DiskList, lock: File) -> Result<Claim, OpenError> {
        if marker.version != LAYOUT_VERSION {
            return Err(OpenError::UnknownVersion { path: path.into(), version: marker.version, known: LAYOUT_VERSION });
        }
        if marker.node != node {
            return Err(OpenError::OtherIdentity { path: path.into(), owner: marker.node, node });
        }
        if let Some(known) = list.at(path).filter(|known| known.disk != marker.disk) {
            let (found, expected) = (marker.disk, known.disk);
            return Err(OpenError::OtherDisk { path: path.into(), found, expected, list: list.path.clone() });
        }
        if !index_dir(path).join("CURRENT").exists() || !volumes_dir(path).is_dir() {
            return Err(OpenError::IndexLost { path: path.into(), list: list.path.clone() });
        }
        Ok(Claim { marker, fresh: false, dir: path.into(), _lock: lock })
    }

    /// A first start that was broken off is begun again: without a marker nothing was ever acknowledged from here.
    fn fresh(path: &Path, node: NodeId, disk: DiskId, lock: File) -> Result<Claim, OpenError> {
        File::create(path.join(BEGUN)).map_err(OpenError::io(path))?;
        for dir in [index_dir(path), volumes_dir(path)] {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(OpenError::Io { path: dir, source: error }),
                _ => {}
            }
        }
        std::fs::create_dir(volumes_dir(path)).map_err(OpenError::io(path))?;
        let marker = Marker { version: LAYOUT_VERSION, disk, node };
        Ok(Claim { marker, fresh: true, dir: path.into(), _lock: lock })
    }

    /// Writes the marker; from now on the directory must hold its data. Called when the index is there.
    pub fn complete(&mut self) -> Result<(), OpenError> {
        if self.fresh {
            write_json(&self.dir.join(MARKER), &self.marker)?;
            std::fs::remove_file(self.dir.join(BEGUN)).map_err(OpenError::io(&self.dir))?;
            self.fresh = false;
        }
        Ok(())
    }
}

/// The marker of a disk, if it has one.
pub(super) fn read_marker(disk: &Path) -> Result<Option<Marker>, OpenError> {
    read_json(&disk.join(MARKER), MARKER_LEN_MAX)
}

/// Where a disk has its index.
pub(crate) fn index_dir(disk: &Path) -> PathBuf {
    disk.join("index")
}

/// Where a disk has its volume files.
pub(crate) fn volumes_dir(disk: &Path) -> PathBuf {
    disk.join("volumes")
}

fn refuse_foreign_files(path: &Path) -> Result<(), OpenError> {
    for entry in std::fs::read_dir(path).map_err(OpenError::io(path))? {
        let name = entry.map_err(OpenError::io(path))?.file_name().to_string_lossy().into_owned();
        if name != LOCK && name != "lost+found" {
            return Err(OpenError::ForeignFiles { path: path.into(), found: name });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(OpenError::io(&path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(dir.into())),
        Err(error) => Err(OpenError::Io { path, source: error.into() }),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, len_max: u64) -> Result<Option<T>, OpenError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(OpenError::io(path))?,
    };
    let mut text = Vec::new();
    file.take(len_max + 1).read_to_end(&mut text).map_err(OpenError::io(path))?;
    let damaged = |reason: String| OpenError::Damaged { path: path.into(), reason };
    if text.len() as u64 > len_max {
        return Err(damaged(format!("longer than {len_max} bytes")));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Replaces a file whole, durably.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), OpenError> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain structs have a JSON form");
    text.push(b'\n');
    let new = path.with_extension("new");
    let replace = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), sync_dir)
    };
    replace().map_err(OpenError::io(path))
}
