//! What can go wrong with the store: [`OpenError`] keeps it from starting, [`StoreError`] refuses one request.
//!
//! Never: an error without the path or id it is about, or without the remedy where there is one.

use std::path::PathBuf;

use cairn_types::merkle::BlockError;
use cairn_types::{DealId, NodeId, ShardRoot};

use super::disk::DiskId;

/// Why a store does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No disk was named.
    #[error("no disk to rent out; name one, such as --space /mnt/disk=500GiB")]
    NoDisks,
    /// The same directory twice.
    #[error("{0} is named twice")]
    NamedTwice(PathBuf),
    /// The directory holds another node's shards.
    #[error("{path} belongs to node {owner}, this is node {node}; start the provider that owns it or name another directory")]
    OtherIdentity {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who we are.
        node: NodeId,
    },
    /// A directory that held shards has none of them now.
    #[error(
        "{path} is empty where the data of disk {disk} should be; mount the disk, or, if its data is lost, \
         remove its entry from {list} and start again"
    )]
    EmptyDisk {
        /// The directory.
        path: PathBuf,
        /// The disk that was there.
        disk: DiskId,
        /// The file that remembers it.
        list: PathBuf,
    },
    /// The marker is there and the index is not.
    #[error("{path} has lost its index; restore {path}/index, or empty the directory and remove its entry from {list}")]
    IndexLost {
        /// The directory.
        path: PathBuf,
        /// The file that remembers the disk.
        list: PathBuf,
    },
    /// The path was another disk before.
    #[error("{path} holds disk {found}, disk {expected} was there before; mount the right one, or remove its entry from {list}")]
    OtherDisk {
        /// The directory.
        path: PathBuf,
        /// The disk that is there.
        found: DiskId,
        /// The disk that was there.
        expected: DiskId,
        /// The file that remembers it.
        list: PathBuf,
    },
    /// The directory holds things that are not ours.
    #[error("{path} is not empty and no disk of a provider (it holds {found:?}); name an empty directory")]
    ForeignFiles {
        /// The directory.
        path: PathBuf,
        /// One of the things.
        found: String,
    },
    /// Another process has the directory open.
    #[error("{0} is in use by another process; stop the other provider first")]
    InUse(PathBuf),
    /// Written by a later version.
    #[error("{path} has format version {version}, this program knows versions up to {known}; use a newer program")]
    UnknownVersion {
        /// The directory or file.
        path: PathBuf,
        /// What it says.
        version: u32,
        /// What we can read.
        known: u32,
    },
    /// A file of ours that cannot be read.
    #[error("{path} is damaged: {reason}; restore it from a copy")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system cannot give space back.
    #[error("the file system of {0} cannot punch holes; use ext4, xfs, btrfs or tmpfs")]
    NoHolePunch(PathBuf),
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// RocksDB said no.
    #[error("index of {path}: {reason}")]
    Index {
        /// The disk.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

impl OpenError {
    /// Wraps an I/O error with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.into();
        move |source| OpenError::Io { path, source }
    }
}

/// Why a request to the store is refused. Each maps to one refusal code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such deal, or another client's.
    #[error("deal {0} is unknown here; open it again")]
    UnknownDeal(DealId),
    /// A later catalog of the same account writes here.
    #[error("writer epoch {writer_epoch} is over: a catalog of epoch {fence} has taken this deal over")]
    StaleWriter {
        /// Who asks.
        writer_epoch: u64,
        /// Who may.
        fence: u64,
    },
    /// Its time is over.
    #[error("deal {0} has ended; open it again to store more")]
    DealEnded(DealId),
    /// The deal's space is used up.
    #[error("deal {deal} has {free_len} bytes left, {need_len} needed; delete something or open the deal again with more space")]
    DealFull {
        /// Which deal.
        deal: DealId,
        /// What is left of it.
        free_len: u64,
        /// What the shard may need.
        need_len: u64,
    },
    /// This client or this provider has as many deals as it may.
    #[error("no more than {0} deals; use one of the open ones")]
    TooManyDeals(usize),
    /// No disk has that much of its quota left.
    #[error("{need_len} bytes needed, no disk has more than {free_len} of its quota left")]
    OverQuota {
        /// What the shard may need.
        need_len: u64,
        /// The most that any disk has.
        free_len: u64,
    },
    /// The file system is nearly full.
    #[error("the file system has {free_len} bytes free and keeps {reserve_len} of them in reserve")]
    DiskReserve {
        /// What it has, minus what is being written.
        free_len: u64,
        /// What has to stay.
        reserve_len: u64,
    },
    /// The disk or disks take no writes.
    #[error("read-only: {0}")]
    ReadOnly(String),
    /// The bytes that came have another root.
    #[error("the bytes have root {found}, root {expected} was announced")]
    WrongRoot {
        /// Root over what came.
        found: ShardRoot,
        /// Root that was to come.
        expected: ShardRoot,
    },
    /// More or fewer bytes than announced.
    #[error("{found} bytes came, {expected} were announced")]
    WrongLength {
        /// What came.
        found: u64,
        /// What was to come.
        expected: u64,
    },
    /// A length out of its limits.
    #[error("a shard has 1 to {max} bytes, {len} were announced")]
    BadLength {
        /// What was announced.
        len: u64,
        /// What a shard may have.
        max: u64,
    },
    /// Body frames that do not cut the shard into blocks.
    #[error(transparent)]
    BadBlock(#[from] BlockError),
    /// A label over its limit.
    #[error("label of {len} bytes, at most {max} allowed")]
    LabelTooLong {
        /// What came.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// No such shard under this deal.
    #[error("no shard {0} under this deal")]
    NotFound(ShardRoot),
    /// A read past the end, or a proof of part of a block.
    #[error("bytes {offset}+{len} cannot be read from a shard of {shard_len}{}", if *proof { " with proof" } else { "" })]
    BadRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes there are.
        shard_len: u64,
        /// Whether a proof was asked for.
        proof: bool,
    },
    /// The disk failed under this request.
    #[error("disk: {0}")]
    Disk(String),
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}
