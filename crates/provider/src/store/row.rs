//! Rows of a disk's index as bytes. Format: `docs/formats/provider-index.md`.
//!
//! Never: a row read that this version did not write. Limits: those of labels and shards.

use bytes::Bytes;
use cairn_types::merkle::Hash;
use cairn_types::{DealId, NodeId, SegmentId, ShardRoot, UnixMs};

use super::disk::DiskId;
use super::error::StoreError;
use super::volume::{Extent, VolumeId};

/// Version of every row this program writes.
pub(crate) const INDEX_VERSION: u8 = 1;

pub(super) const META: u8 = b'm';
pub(super) const ROW: u8 = b'r';
pub(super) const HASHES: u8 = b'h';
pub(super) const INLINE: u8 = b'd';
pub(super) const EXTENT: u8 = b'x';
pub(super) const TOMBSTONE: u8 = b't';
pub(super) const VOLUME: u8 = b'v';
pub(super) const NEXT_VOLUME: u8 = b'n';
pub(super) const DISK_USAGE: u8 = b'a';
pub(super) const DEAL_USAGE: u8 = b'u';
pub(super) const DEAL: u8 = b'e';

/// RocksDB failed, or a row is not what this program writes.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("{0}")]
    Rocks(#[from] rocksdb::Error),
    #[error("a row of kind {0:?} is damaged")]
    Damaged(char),
}

/// What names a shard at this provider: the same root under two deals is two shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardKey {
    pub deal: DealId,
    pub root: ShardRoot,
}

/// Where a shard's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the index itself.
    Inline,
    /// In a volume file.
    Volume(Extent),
}

/// What the index says of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub len: u64,
    pub segment: SegmentId,
    pub writer_epoch: u64,
    pub stored_at: UnixMs,
    pub location: Location,
    pub label: Bytes,
}

/// Shards and the bytes they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub shards: u64,
    pub len: u64,
}

/// What the index says of one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct VolumeRow {
    /// No shard will be added, and nothing but rows' extents is allocated in it.
    pub sealed: bool,
    pub shards: u64,
}

/// A deal as it is kept on every disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DealRow {
    pub client: NodeId,
    pub nonce: [u8; 16],
    pub space_len: u64,
    pub valid_until: UnixMs,
    /// No writer of an earlier epoch stores or deletes.
    pub fence: u64,
}

impl DealRow {
    /// Nobody of before the deal's fence writes.
    pub fn check_writer(&self, writer_epoch: u64) -> Result<(), StoreError> {
        let fence = self.fence;
        if writer_epoch < fence { Err(StoreError::StaleWriter { writer_epoch, fence }) } else { Ok(()) }
    }
}

/// Identity of the disk, to notice an index that was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaRow {
    pub disk: DiskId,
    pub node: NodeId,
}

pub(super) fn shard_key(kind: u8, key: &ShardKey) -> [u8; 65] {
    let mut bytes = [kind; 65];
    bytes[1..33].copy_from_slice(key.deal.as_bytes());
    bytes[33..].copy_from_slice(key.root.as_bytes());
    bytes
}

pub(super) fn extent_key(kind: u8, extent: &Extent) -> [u8; 13] {
    let mut bytes = [kind; 13];
    bytes[1..5].copy_from_slice(&extent.volume.to_be_bytes());
    bytes[5..].copy_from_slice(&extent.offset.to_be_bytes());
    bytes
}

pub(super) fn decode_extent(kind: u8, key: &[u8], value: &[u8]) -> Result<Extent, IndexError> {
    let mut key = Reader(&key[1..], kind);
    Ok(Extent { volume: key.u32()?, offset: key.u64()?, len: Reader(value, kind).u64()? })
}

pub(super) fn encode_usage(usage: Usage) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&usage.shards.to_be_bytes());
    bytes[8..].copy_from_slice(&usage.len.to_be_bytes());
    bytes
}

pub(super) fn decode_usage(kind: u8, value: &[u8]) -> Result<Usage, IndexError> {
    let mut value = Reader(value, kind);
    Ok(Usage { shards: value.u64()?, len: value.u64()? })
}

pub(super) fn encode_row(row: &Row) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + row.label.len());
    bytes.push(INDEX_VERSION);
    bytes.extend_from_slice(&row.len.to_be_bytes());
    bytes.extend_from_slice(row.segment.as_bytes());
    bytes.extend_from_slice(&row.writer_epoch.to_be_bytes());
    bytes.extend_from_slice(&row.stored_at.0.to_be_bytes());
    match row.location {
        Location::Inline => bytes.push(0),
        Location::Volume(extent) => {
            bytes.push(1);
            bytes.extend_from_slice(&extent.volume.to_be_bytes());
            bytes.extend_from_slice(&extent.offset.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&row.label);
    bytes
}

pub(super) fn decode_row(value: &[u8]) -> Result<Row, IndexError> {
    let mut value = Reader(value, ROW);
    value.version()?;
    let len = value.u64()?;
    let segment = SegmentId(value.array()?);
    let writer_epoch = value.u64()?;
    let stored_at = UnixMs(value.u64()?);
    let location = match value.u8()? {
        0 => Location::Inline,
        1 => Location::Volume(Extent { volume: value.u32()?, offset: value.u64()?, len }),
        _ => return Err(IndexError::Damaged(ROW.into())),
    };
    Ok(Row { len, segment, writer_epoch, stored_at, location, label: Bytes::copy_from_slice(value.0) })
}

/// A row of a listing: the root in its key, and what it says.
pub(super) fn decode_listed(key: &[u8], value: &[u8]) -> Result<(ShardRoot, Row), IndexError> {
    let root = key.get(33..).and_then(ShardRoot::from_slice).ok_or(IndexError::Damaged(ROW.into()))?;
    Ok((root, decode_row(value)?))
}

pub(super) fn decode_hashes(value: &[u8]) -> Result<Vec<Hash>, IndexError> {
    let (hashes, rest) = value.as_chunks::<32>();
    if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(IndexError::Damaged(HASHES.into())) }
}

pub(super) fn decode_volume(key: &[u8], value: &[u8]) -> Result<(VolumeId, VolumeRow), IndexError> {
    let (mut key, mut value) = (Reader(&key[1..], VOLUME), Reader(value, VOLUME));
    Ok((key.u32()?, VolumeRow { sealed: value.u8()? != 0, shards: value.u64()? }))
}

pub(super) fn decode_deal_usage(key: &[u8], value: &[u8]) -> Result<(DealId, Usage), IndexError> {
    let deal = DealId::from_slice(&key[1..]).ok_or(IndexError::Damaged(DEAL_USAGE.into()))?;
    Ok((deal, decode_usage(DEAL_USAGE, value)?))
}

pub(super) fn decode_deal(key: &[u8], value: &[u8]) -> Result<(DealId, DealRow), IndexError> {
    let deal = DealId::from_slice(&key[1..]).ok_or(IndexError::Damaged(DEAL.into()))?;
    let mut value = Reader(value, DEAL);
    value.version()?;
    let row = DealRow {
        client: NodeId(value.array()?),
        nonce: value.array()?,
        space_len: value.u64()?,
        valid_until: UnixMs(value.u64()?),
        // Rows of before there were fences have none.
        fence: if value.0.is_empty() { 0 } else { value.u64()? },
    };
    Ok((deal, row))
}

pub(super) fn decode_meta(value: &[u8]) -> Result<MetaRow, IndexError> {
    let mut value = Reader(value, META);
    value.version()?;
    Ok(MetaRow { disk: DiskId(value.array()?), node: NodeId(value.array()?) })
}

/// Reads fixed-width fields off the front of a value of the given row kind.
pub(super) struct Reader<'a>(pub &'a [u8], pub u8);

impl Reader<'_> {
    pub fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], IndexError> {
        let (head, rest) = self.0.split_first_chunk::<LEN>().ok_or(IndexError::Damaged(self.1.into()))?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, IndexError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Result<u32, IndexError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, IndexError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn version(&mut self) -> Result<(), IndexError> {
        if self.u8()? == INDEX_VERSION { Ok(()) } else { Err(IndexError::Damaged(self.1.into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(location: Location) -> Row {
        Row {
            len: 77,
            segment: SegmentId([3; 16]),
            writer_epoch: 9,
            stored_at: UnixMs(123),
            location,
            label: Bytes::from_static(b"label"),
        }
    }

    #[test]
    fn rows_survive_their_bytes_and_damaged_ones_are_typed_errors() {
        for location in [Location::Inline, Location::Volume(Extent { volume: 5, offset: 8192, len: 77 })] {
            let row = row(location);
            let bytes = encode_row(&row);
            assert_eq!(decode_row(&bytes).expect("own bytes"), row);
            for len in 0..bytes.len() - row.label.len() {
                assert!(decode_row(&bytes[..len]).is_err(), "{len} bytes of {location:?}");
            }
            let later = [&[INDEX_VERSION + 1], &bytes[1..]].concat();
            assert!(decode_row(&later).is_err());
        }
    }

    /// The golden vector of `docs/formats/provider-index.md`.
    #[test]
    fn the_row_format_is_the_documented_one() {
        let golden = concat!(
            "01",
            "000000000000004d",
            "03030303030303030303030303030303",
            "0000000000000009",
            "000000000000007b",
            "01",
            "00000005",
            "0000000000002000",
            "6c6162656c"
        );
        let bytes = encode_row(&row(Location::Volume(Extent { volume: 5, offset: 8192, len: 77 })));
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), golden);
    }
}
