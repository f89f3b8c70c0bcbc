//! Volume files of one disk: append-only, sparse, cut in extents that start at multiples of [`ALIGN_LEN`]. Format: `docs/formats/volume.md`.
//!
//! Never: a byte range of a volume used for two shards, even after the first was deleted; a volume number used twice.
//! Limits: [`HANDLES_MAX`] open files; a volume is retired at [`VOLUME_WRITTEN_MAX`] written bytes or [`VOLUME_SPAN_MAX`] bytes of span.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

/// Number of a volume file on its disk.
pub(crate) type VolumeId = u32;

/// Where extents may start; the block size of the common file systems, so that a punched extent gives all its blocks back.
pub(crate) const ALIGN_LEN: u64 = 4096;
/// Written bytes after which a volume takes no more shards.
pub(crate) const VOLUME_WRITTEN_MAX: u64 = 1 << 30;
/// Span (holes of unused reservations included) after which a volume takes no more shards.
pub(crate) const VOLUME_SPAN_MAX: u64 = 16 << 30;
/// Volume files held open for reading.
pub(crate) const HANDLES_MAX: usize = 128;

/// Bytes of one shard inside a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Extent {
    pub volume: VolumeId,
    /// A multiple of [`ALIGN_LEN`].
    pub offset: u64,
    /// Shard bytes; the extent owns the rest of its last block too.
    pub len: u64,
}

impl Extent {
    /// First byte after the blocks this extent owns.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(align_up(self.len))
    }
}

/// `len` rounded up to whole blocks.
pub(crate) fn align_up(len: u64) -> u64 {
    len.saturating_add(ALIGN_LEN - 1) / ALIGN_LEN * ALIGN_LEN
}

/// The volume files in one directory.
pub(crate) struct Volumes {
    dir: PathBuf,
    handles: Mutex<Handles>,
}

#[derive(Default)]
struct Handles {
    open: HashMap<VolumeId, (Arc<File>, u64)>,
    uses: u64,
}

impl Volumes {
    pub fn new(dir: PathBuf) -> Volumes {
        Volumes { dir, handles: Mutex::default() }
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.dir.join(format!("{volume:06}.vol"))
    }

    /// Numbers of the files that are there, ascending.
    pub fn found(&self) -> io::Result<Vec<VolumeId>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".vol")).and_then(|stem| stem.parse().ok()) {
                found.push(number);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Makes a new file whose directory entry is durable.
    pub fn create(&self, volume: VolumeId) -> io::Result<Arc<File>> {
        let file = Arc::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.path(volume))?);
        sync_dir(&self.dir)?;
        self.remember(volume, &file);
        Ok(file)
    }

    /// The open file of a volume.
    pub fn open(&self, volume: VolumeId) -> io::Result<Arc<File>> {
        {
            let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
            handles.uses += 1;
            let uses = handles.uses;
            if let Some((file, used)) = handles.open.get_mut(&volume) {
                *used = uses;
                return Ok(file.clone());
            }
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(volume))?);
        self.remember(volume, &file);
        Ok(file)
    }

    /// Deletes an empty volume; its number stays used.
    pub fn unlink(&self, volume: VolumeId) -> io::Result<()> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&volume);
        match std::fs::remove_file(self.path(volume)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Gives the blocks of an extent back to the file system. Done twice, it does no harm.
    pub fn punch(&self, extent: &Extent) -> io::Result<()> {
        match self.open(extent.volume) {
            Ok(file) => punch(&file, extent.offset, extent.end() - extent.offset),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives back every written byte of a volume that belongs to none of `owned` (ascending). Returns how many there were.
    pub fn punch_unowned(&self, volume: VolumeId, owned: &[Extent]) -> io::Result<u64> {
        let file = self.open(volume)?;
        let file_len = file.metadata()?.len();
        let mut punched = 0;
        let mut gap_start = 0;
        for extent in owned {
            punched += punch_data(&file, gap_start, extent.offset.min(file_len))?;
            gap_start = extent.end().max(gap_start);
        }
        Ok(punched + punch_data(&file, gap_start, file_len)?)
    }

    fn remember(&self, volume: VolumeId, file: &Arc<File>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.open.len() >= HANDLES_MAX {
            let oldest = handles.open.iter().min_by_key(|(_, (_, used))| *used).map(|(volume, _)| *volume);
            oldest.and_then(|volume| handles.open.remove(&volume));
        }
        let uses = handles.uses;
        handles.open.insert(volume, (file.clone(), uses));
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Frees the blocks of a byte range and keeps the file's length.
pub(crate) fn punch(file: &File, offset: u64, len: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?)
}

/// Punches what is written in `start..end` and returns how many bytes that was.
fn punch_data(file: &File, start: u64, end: u64) -> io::Result<u64> {
    let mut punched = 0;
    let mut at = start;
    while at < end {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data < end => data,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data))?.min(end);
        // Whole blocks only past the end of the file: the last block of a volume is ours to free even when the file ends in it.
        punch(file, data, if hole == end { align_up(hole) - data } else { hole - data })?;
        punched += hole - data;
        at = hole;
    }
    Ok(punched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn only_unowned_bytes_are_punched() {
        let dir = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::new(dir.path().to_path_buf());
        let file = volumes.create(0).expect("a new volume");
        for block in [0u64, 1, 4, 9, 10] {
            file.write_all_at(&[7; 4096], block * 4096).expect("room");
        }
        file.write_all_at(&[7; 100], 12 * 4096).expect("room");
        let owned = [Extent { volume: 0, offset: 4096, len: 10 }, Extent { volume: 0, offset: 9 * 4096, len: 5000 }];
        assert_eq!(volumes.punch_unowned(0, &owned).expect("a good file"), 2 * 4096 + 100);
        file.sync_all().expect("a good disk");
        assert_eq!(file.metadata().expect("an open file").blocks() * 512, 3 * 4096);
        let mut block = [0; 4096];
        for (at, byte) in [(0, 0), (1, 7), (4, 0), (9, 7), (10, 7)] {
            file.read_exact_at(&mut block, at * 4096).expect("within the file");
            assert!(block.iter().all(|b| *b == byte), "block {at}");
        }
    }

    #[test]
    fn the_oldest_handle_is_closed_when_there_are_too_many() {
        let dir = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::new(dir.path().to_path_buf());
        for volume in 0..HANDLES_MAX as u32 + 10 {
            volumes.create(volume).expect("a new volume");
        }
        assert!(volumes.create(3).is_err(), "a volume is never made twice");
        assert_eq!(volumes.handles.lock().expect("no panic").open.len(), HANDLES_MAX);
        assert_eq!(volumes.found().expect("a directory").len(), HANDLES_MAX + 10);
        volumes.open(0).expect("a closed one opens again");
    }
}
