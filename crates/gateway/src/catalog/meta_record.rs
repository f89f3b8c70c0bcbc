//! Records of the tables `meta` and `budgets`: which catalog this is, and sums that change with what they count.
//!
//! Never: reuse a tag. Encoded as every other record (see [`super::record`]).

use cairn_types::Amount;
use prost::Message;

use super::record::RecordError;

/// Row `state` of `meta`: which catalog this is.
#[derive(Clone, PartialEq, Message)]
pub struct StateRecord {
    /// 32 bytes: the node whose catalog this is.
    #[prost(bytes = "vec", tag = "1")]
    pub node: Vec<u8>,
    /// Grows with each opening.
    #[prost(uint64, tag = "2")]
    pub writer_epoch: u64,
    /// Its first epoch: shards of earlier ones are of a catalog that it knows nothing of. Zero: it knows of all.
    #[prost(uint64, tag = "3")]
    pub born_epoch: u64,
}

/// Rows `checkpoint-…` of `meta`: the latest checkpoint of a part of the catalog.
#[derive(Clone, PartialEq, Message)]
pub struct CheckpointRecord {
    /// 16 bytes: its blob.
    #[prost(bytes = "vec", tag = "1")]
    pub blob: Vec<u8>,
    /// The blob's bytes.
    #[prost(uint64, tag = "2")]
    pub len: u64,
    /// When it was begun.
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
    /// SHA-256 of what it says.
    #[prost(bytes = "vec", tag = "4")]
    pub hash: Vec<u8>,
}

/// Row `counters` of `meta`: changed in the same batch as what it counts.
#[derive(Clone, PartialEq, Message)]
pub struct Counters {
    /// Number of the next bucket.
    #[prost(uint64, tag = "1")]
    pub next_bucket: u64,
    /// Buckets.
    #[prost(uint64, tag = "2")]
    pub buckets: u64,
    /// Objects.
    #[prost(uint64, tag = "3")]
    pub objects: u64,
    /// Their bytes.
    #[prost(uint64, tag = "4")]
    pub object_bytes: u64,
    /// Uploads in progress.
    #[prost(uint64, tag = "5")]
    pub uploads: u64,
    /// Blobs with references.
    #[prost(uint64, tag = "6")]
    pub blobs: u64,
    /// Their bytes.
    #[prost(uint64, tag = "7")]
    pub blob_bytes: u64,
    /// Packs among them.
    #[prost(uint64, tag = "8")]
    pub packs: u64,
    /// Bytes in packs that nothing refers to.
    #[prost(uint64, tag = "9")]
    pub pack_waste: u64,
    /// Blobs in the trash.
    #[prost(uint64, tag = "10")]
    pub trash: u64,
    /// Access keys, revoked ones included.
    #[prost(uint64, tag = "11")]
    pub keys: u64,
}

/// Row of `budgets`: what the contents of a bucket may cost.
#[derive(Clone, PartialEq, Message)]
pub struct BudgetRecord {
    /// Most for a month of 30 days, in base units: 16 bytes, big-endian.
    #[prost(bytes = "vec", tag = "1")]
    pub month_max: Vec<u8>,
    /// Bytes of the bucket's objects: changed in the same batch as they are.
    #[prost(uint64, tag = "2")]
    pub stored_len: u64,
}

impl BudgetRecord {
    /// A budget of a bucket with so many bytes in it.
    pub fn new(month_max: Amount, stored_len: u64) -> BudgetRecord {
        BudgetRecord { month_max: month_max.base_units().to_be_bytes().to_vec(), stored_len }
    }

    /// Most for a month.
    ///
    /// # Errors
    /// [`RecordError::Damaged`].
    pub fn month_max(&self) -> Result<Amount, RecordError> {
        let units = self.month_max.as_slice().try_into().map_err(|_| RecordError::Damaged("budget".into()))?;
        Ok(Amount::from_base_units(u128::from_be_bytes(units)))
    }
}
