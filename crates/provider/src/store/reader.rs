//! A stored shard, open for reading.
//!
//! Never: a check of the bytes; the reader verifies them against the root or by its own seals.
//! Limits: the caller's buffer; one file handle.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use cairn_types::ShardRoot;
use cairn_types::merkle::{self, Hash};

use super::error::StoreError;

/// A shard's bytes, and the hashes of its blocks where they were asked for.
#[derive(Debug)]
pub struct ShardReader {
    pub(crate) root: ShardRoot,
    pub(crate) len: u64,
    pub(crate) source: Source,
    pub(crate) hashes: Vec<Hash>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Inline(Bytes),
    Volume(Arc<File>, u64),
}

impl ShardReader {
    /// Length of the whole shard.
    pub fn shard_len(&self) -> u64 {
        self.len
    }

    /// Fills `out` with the bytes from `offset` on. Blocking.
    ///
    /// # Errors
    /// [`StoreError::BadRange`] past the end, [`StoreError::Disk`].
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        let len = out.len() as u64;
        let bad_range = StoreError::BadRange { offset, len, shard_len: self.len, proof: false };
        let end = offset.checked_add(len).filter(|end| *end <= self.len).ok_or(bad_range)?;
        match &self.source {
            Source::Inline(bytes) => {
                let lost = || StoreError::Disk(format!("shard {} lacks bytes in the index", self.root));
                out.copy_from_slice(bytes.get(offset as usize..end as usize).ok_or_else(lost)?);
                Ok(())
            }
            Source::Volume(file, start) => {
                file.read_exact_at(out, start + offset).map_err(|error| StoreError::Disk(format!("shard {}: {error}", self.root)))
            }
        }
    }

    /// Sibling hashes from block `index` up to the top; the shard must have been opened with its hashes.
    ///
    /// # Errors
    /// [`StoreError::Disk`] when the hashes are not those of this shard.
    pub fn path(&self, index: u64) -> Result<Vec<Hash>, StoreError> {
        if merkle::block_count(self.len) == 1 && index == 0 {
            return Ok(Vec::new());
        }
        let complete = self.hashes.len() as u64 == merkle::block_count(self.len);
        let path = if complete { merkle::block_path(&self.hashes, index as usize) } else { None };
        path.ok_or_else(|| StoreError::Disk(format!("shard {} lacks hashes in the index", self.root)))
    }
}
