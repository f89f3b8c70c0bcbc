//! Index of one disk: RocksDB rows that say what is stored, where, for whom, and how much. Format: `docs/formats/provider-index.md`.
//!
//! Never: a row that is durable before the volume bytes it names; the committer sees to that order.
//! Limits: about 24 MiB of memory (two write buffers and the block cache); labels, hashes and inline bytes are bounded by the shard limits.

use std::path::Path;

use bytes::Bytes;
use cairn_types::merkle::Hash;
use cairn_types::{DealId, ShardRoot};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

pub(crate) use super::row::*;
use super::volume::{Extent, VolumeId};

const WRITE_BUFFER_LEN: usize = 8 << 20;
const BLOCK_CACHE_LEN: usize = 8 << 20;
const WAL_LEN_MAX: u64 = 32 << 20;

/// The rows of one disk.
pub(crate) struct Index {
    db: DB,
}

impl Index {
    /// Opens the index in `path`; only `create` makes a new one.
    pub fn open(path: &Path, create: bool) -> Result<Index, IndexError> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_LEN));
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);
        let mut options = Options::default();
        options.create_if_missing(create);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(WRITE_BUFFER_LEN);
        options.set_max_write_buffer_number(2);
        options.set_max_total_wal_size(WAL_LEN_MAX);
        options.set_max_open_files(64);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_stats_dump_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        // A torn last record is a write that was never acknowledged; damage anywhere else must not be skipped silently.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        Ok(Index { db: DB::open(&options, path)? })
    }

    /// Makes a group of changes durable, all or none.
    pub fn write_synced(&self, batch: WriteBatch) -> Result<(), IndexError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    /// Writes a group of changes that may be lost in a power cut.
    pub fn write(&self, batch: WriteBatch) -> Result<(), IndexError> {
        Ok(self.db.write_opt(batch, &WriteOptions::default())?)
    }

    pub fn row(&self, key: &ShardKey) -> Result<Option<Row>, IndexError> {
        let Some(value) = self.db.get_pinned(shard_key(ROW, key))? else { return Ok(None) };
        decode_row(&value).map(Some)
    }

    pub fn hashes(&self, key: &ShardKey) -> Result<Vec<Hash>, IndexError> {
        let Some(value) = self.db.get_pinned(shard_key(HASHES, key))? else { return Ok(Vec::new()) };
        decode_hashes(&value)
    }

    pub fn inline(&self, key: &ShardKey) -> Result<Option<Bytes>, IndexError> {
        Ok(self.db.get(shard_key(INLINE, key))?.map(Bytes::from))
    }

    /// Up to `max` rows of `deal` with roots above `after`, ascending.
    pub fn list(&self, deal: &DealId, after: Option<ShardRoot>, max: usize) -> Result<Vec<(ShardRoot, Row)>, IndexError> {
        let mut from = [&[ROW][..], deal.as_bytes()].concat();
        let prefix = from.clone();
        if let Some(after) = after {
            from.extend_from_slice(after.as_bytes());
            from.push(0);
        }
        let mut rows = Vec::new();
        self.scan(&prefix, &from, |key, value| {
            rows.push(decode_listed(key, value)?);
            Ok(rows.len() < max)
        })?;
        Ok(rows)
    }

    /// Calls `each` for every shard of `deal`, ascending by root.
    pub fn each(&self, deal: &DealId, mut each: impl FnMut(ShardRoot, Row)) -> Result<(), IndexError> {
        let prefix = [&[ROW][..], deal.as_bytes()].concat();
        self.scan(&prefix, &prefix, |key, value| {
            each(ShardRoot::from_slice(&key[33..]).ok_or(IndexError::Damaged(ROW.into()))?, decode_row(value)?);
            Ok(true)
        })
    }

    /// Extents of one volume in the order of their offsets.
    pub fn extents(&self, volume: VolumeId) -> Result<Vec<Extent>, IndexError> {
        let prefix = [&[EXTENT], volume.to_be_bytes().as_slice()].concat();
        let mut extents = Vec::new();
        self.scan(&prefix, &prefix, |key, value| {
            extents.push(decode_extent(EXTENT, key, value)?);
            Ok(true)
        })?;
        Ok(extents)
    }

    /// Extents whose rows are gone and whose bytes may still be there.
    pub fn tombstones(&self) -> Result<Vec<Extent>, IndexError> {
        let mut extents = Vec::new();
        self.scan(&[TOMBSTONE], &[TOMBSTONE], |key, value| {
            extents.push(decode_extent(TOMBSTONE, key, value)?);
            Ok(true)
        })?;
        Ok(extents)
    }

    pub fn volumes(&self) -> Result<Vec<(VolumeId, VolumeRow)>, IndexError> {
        let mut volumes = Vec::new();
        self.scan(&[VOLUME], &[VOLUME], |key, value| {
            volumes.push(decode_volume(key, value)?);
            Ok(true)
        })?;
        Ok(volumes)
    }

    /// Number that the next volume gets; numbers are never given twice.
    pub fn next_volume(&self) -> Result<VolumeId, IndexError> {
        match self.db.get_pinned([NEXT_VOLUME])? {
            Some(value) => Reader(&value, NEXT_VOLUME).u32(),
            None => Ok(0),
        }
    }

    pub fn disk_usage(&self) -> Result<Usage, IndexError> {
        match self.db.get_pinned([DISK_USAGE])? {
            Some(value) => decode_usage(DISK_USAGE, &value),
            None => Ok(Usage::default()),
        }
    }

    pub fn deal_usages(&self) -> Result<Vec<(DealId, Usage)>, IndexError> {
        let mut usages = Vec::new();
        self.scan(&[DEAL_USAGE], &[DEAL_USAGE], |key, value| {
            usages.push(decode_deal_usage(key, value)?);
            Ok(true)
        })?;
        Ok(usages)
    }

    pub fn deal_usage(&self, deal: &DealId) -> Result<Usage, IndexError> {
        match self.db.get_pinned([&[DEAL_USAGE][..], deal.as_bytes()].concat())? {
            Some(value) => decode_usage(DEAL_USAGE, &value),
            None => Ok(Usage::default()),
        }
    }

    pub fn deals(&self) -> Result<Vec<(DealId, DealRow)>, IndexError> {
        let mut deals = Vec::new();
        self.scan(&[DEAL], &[DEAL], |key, value| {
            deals.push(decode_deal(key, value)?);
            Ok(true)
        })?;
        Ok(deals)
    }

    pub fn meta(&self) -> Result<Option<MetaRow>, IndexError> {
        let Some(value) = self.db.get_pinned([META])? else { return Ok(None) };
        decode_meta(&value).map(Some)
    }

    /// Calls `each` for the rows under `prefix` from `from` on, until it says false.
    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, IndexError>,
    ) -> Result<(), IndexError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let start = IteratorMode::From(from, rocksdb::Direction::Forward);
        for entry in self.db.iterator_opt(start, options) {
            let (key, value) = entry?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.db.cancel_all_background_work(true);
    }
}

/// Changes to the index in this program's words; applied together.
#[derive(Default)]
pub(crate) struct Batch(pub WriteBatch);

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn put_row(&mut self, key: &ShardKey, row: &Row) {
        self.0.put(shard_key(ROW, key), encode_row(row));
    }

    /// Adds a shard: its row, its bytes or extent, and the hashes of its blocks where there is more than one.
    pub fn put_shard(&mut self, key: &ShardKey, row: &Row, inline: &[u8], hashes: &[Hash]) {
        self.put_row(key, row);
        match row.location {
            Location::Inline => self.0.put(shard_key(INLINE, key), inline),
            Location::Volume(extent) => {
                let value = [extent.len.to_be_bytes().as_slice(), key.deal.as_bytes(), key.root.as_bytes()].concat();
                self.0.put(extent_key(EXTENT, &extent), value);
            }
        }
        if hashes.len() > 1 {
            self.0.put(shard_key(HASHES, key), hashes.concat());
        }
    }

    /// Removes a shard; its extent becomes a tombstone until the bytes are punched.
    pub fn remove_shard(&mut self, key: &ShardKey, row: &Row) {
        self.0.delete(shard_key(ROW, key));
        self.0.delete(shard_key(HASHES, key));
        match row.location {
            Location::Inline => self.0.delete(shard_key(INLINE, key)),
            Location::Volume(extent) => {
                self.0.delete(extent_key(EXTENT, &extent));
                self.0.put(extent_key(TOMBSTONE, &extent), extent.len.to_be_bytes());
            }
        }
    }

    pub fn remove_tombstone(&mut self, extent: &Extent) {
        self.0.delete(extent_key(TOMBSTONE, extent));
    }

    pub fn put_volume(&mut self, volume: VolumeId, row: &VolumeRow) {
        let mut value = vec![u8::from(row.sealed)];
        value.extend_from_slice(&row.shards.to_be_bytes());
        self.0.put([&[VOLUME], volume.to_be_bytes().as_slice()].concat(), value);
    }

    pub fn remove_volume(&mut self, volume: VolumeId) {
        self.0.delete([&[VOLUME], volume.to_be_bytes().as_slice()].concat());
    }

    pub fn put_next_volume(&mut self, volume: VolumeId) {
        self.0.put([NEXT_VOLUME], volume.to_be_bytes());
    }

    pub fn put_disk_usage(&mut self, usage: Usage) {
        self.0.put([DISK_USAGE], encode_usage(usage));
    }

    pub fn put_deal_usage(&mut self, deal: &DealId, usage: Usage) {
        let key = [&[DEAL_USAGE][..], deal.as_bytes()].concat();
        if usage == Usage::default() {
            self.0.delete(key);
        } else {
            self.0.put(key, encode_usage(usage));
        }
    }

    pub fn put_deal(&mut self, deal: &DealId, row: &DealRow) {
        let mut value = vec![INDEX_VERSION];
        value.extend_from_slice(row.client.as_bytes());
        value.extend_from_slice(&row.nonce);
        value.extend_from_slice(&row.space_len.to_be_bytes());
        value.extend_from_slice(&row.valid_until.0.to_be_bytes());
        value.extend_from_slice(&row.fence.to_be_bytes());
        self.0.put([&[DEAL][..], deal.as_bytes()].concat(), value);
    }

    pub fn remove_deal(&mut self, deal: &DealId) {
        self.0.delete([&[DEAL][..], deal.as_bytes()].concat());
    }

    pub fn put_meta(&mut self, meta: &MetaRow) {
        let mut value = vec![INDEX_VERSION];
        value.extend_from_slice(&meta.disk.0);
        value.extend_from_slice(meta.node.as_bytes());
        self.0.put([META], value);
    }
}

#[cfg(test)]
mod tests {
    use cairn_types::{SegmentId, UnixMs};

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
    fn a_listing_stays_inside_its_deal_and_goes_on_after_a_root() {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::open(dir.path(), true).expect("a new index");
        let mut batch = Batch::default();
        for deal in [[0; 32], [1; 32], [0xff; 32]] {
            for root in [[0; 32], [7; 32], [0xff; 32]] {
                batch.put_shard(&ShardKey { deal: DealId(deal), root: ShardRoot(root) }, &row(Location::Inline), b"x", &[]);
            }
        }
        index.write_synced(batch.0).expect("a good disk");
        for deal in [[0; 32], [1; 32], [0xff; 32]] {
            let roots = |after: Option<[u8; 32]>, max| -> Vec<u8> {
                let rows = index.list(&DealId(deal), after.map(ShardRoot), max).expect("a good disk");
                rows.iter().map(|(root, _)| root.0[0]).collect()
            };
            assert_eq!(roots(None, 10), [0, 7, 0xff]);
            assert_eq!(roots(None, 2), [0, 7]);
            assert_eq!(roots(Some([7; 32]), 10), [0xff]);
            assert_eq!(roots(Some([8; 32]), 10), [0xff]);
            assert_eq!(roots(Some([0xff; 32]), 10), [0u8; 0]);
        }
    }
}
