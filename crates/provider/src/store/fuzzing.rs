//! Doors for the fuzz targets in `tests/fuzz`.
//!
//! Never: in a build without `--cfg fuzzing`.

use std::path::Path;

use super::index::{Batch, Index};
use super::marker::{DiskList, index_dir, read_marker};
use super::row::{self, IndexError};

/// Reads one row of the index as its kind asks; a shard's row must be written back as it came. True when it is a row.
pub fn row(key: &[u8], value: &[u8]) -> bool {
    let Some(kind) = key.first() else { return false };
    let read: Result<(), IndexError> = match *kind {
        row::META => row::decode_meta(value).map(drop),
        row::ROW => row::decode_listed(key, value).map(|(_, row)| assert_eq!(row::encode_row(&row), value)),
        row::HASHES => row::decode_hashes(value).map(|hashes| assert_eq!(hashes.concat(), value)),
        row::EXTENT | row::TOMBSTONE => {
            row::decode_extent(*kind, key, value).map(|extent| assert!(extent.end() >= extent.offset))
        }
        row::VOLUME => row::decode_volume(key, value).map(drop),
        row::NEXT_VOLUME => row::Reader(value, *kind).u32().map(drop),
        row::DISK_USAGE => row::decode_usage(*kind, value).map(drop),
        row::DEAL_USAGE => row::decode_deal_usage(key, value).map(drop),
        row::DEAL => row::decode_deal(key, value).map(drop),
        _ => return false,
    };
    read.is_ok()
}

/// Writes rows into the index of a disk that no store has open.
///
/// # Errors
/// What RocksDB said.
pub fn plant(disk: &Path, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), String> {
    let index = Index::open(&index_dir(disk), false).map_err(|error| error.to_string())?;
    let mut batch = Batch::default();
    rows.iter().for_each(|(key, value)| batch.0.put(key, value));
    index.write(batch.0).map_err(|error| error.to_string())
}

/// Reads the marker of a disk and writes it as this program would; `None` when it is none.
pub fn marker(disk: &Path) -> Option<String> {
    let marker = read_marker(disk).ok()??;
    Some(serde_json::to_string(&marker).expect("a plain struct has a JSON form"))
}

/// Reads the list of disks in a data directory; true when it is one.
pub fn disk_list(data_dir: &Path) -> bool {
    DiskList::open(data_dir).is_ok()
}
