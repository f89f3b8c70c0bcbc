//! What a provider shows of its store: to adverts, to `cairn status`, to the log.
//!
//! Never: anything about a client but its id and its sums.

use std::path::PathBuf;

use cairn_types::{DealId, NodeId, UnixMs};
use serde::{Deserialize, Serialize};

use super::disk::DiskId;

/// The store at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Quotas of all disks, bytes.
    pub total_len: u64,
    /// Bytes taken by shards and their rows.
    pub used_len: u64,
    /// Bytes promised to shards that are arriving.
    pub reserved_len: u64,
    /// Bytes that new shards can still take on writable disks.
    pub free_len: u64,
    /// Shards stored.
    pub shards: u64,
    /// Whether at least one disk takes new shards.
    pub accepting: bool,
    /// Each disk, in the order of the configuration.
    pub disks: Vec<DiskStatus>,
    /// Each deal, by id.
    pub deals: Vec<DealStatus>,
}

/// One disk at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Its directory.
    pub path: PathBuf,
    /// Its name.
    pub id: DiskId,
    /// Bytes it rents out.
    pub quota_len: u64,
    /// Bytes taken by shards and their rows.
    pub used_len: u64,
    /// Bytes promised to shards that are arriving.
    pub reserved_len: u64,
    /// Bytes new shards can still take: the least of what quota and file system leave; 0 when read-only.
    pub free_len: u64,
    /// Bytes the file system keeps free.
    pub reserve_len: u64,
    /// Why it takes no writes, if so.
    pub read_only: Option<String>,
    /// Shards stored.
    pub shards: u64,
    /// Bytes without an owner that the last start gave back.
    pub collected_len: u64,
}

/// One deal at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealStatus {
    /// Its id.
    pub id: DealId,
    /// Whose it is.
    pub client: NodeId,
    /// Bytes granted.
    pub space_len: u64,
    /// Bytes taken.
    pub used_len: u64,
    /// Shards stored.
    pub shards: u64,
    /// From when on it takes no more shards.
    pub valid_until: UnixMs,
}
