//! Tables of the catalog and the layout of their row keys. See `docs/formats/catalog.md`.
//!
//! Never: a row key built anywhere else.

use cairn_types::{BlobId, SegmentId};

use crate::objects::api::VersionId;

/// One column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Table {
    /// Format version, node, writer epoch, counters.
    Meta = 0,
    /// Bucket name → bucket.
    Buckets,
    /// Bucket, key → object.
    Objects,
    /// Bucket, key, upload id → upload.
    Uploads,
    /// Upload id, part number → part.
    Parts,
    /// Blob → how much of it is in use.
    Blobs,
    /// Blob → its manifest.
    Manifests,
    /// Segment → blob.
    Segments,
    /// Blob → since when nothing refers to it.
    Trash,
    /// Access key → secret.
    Keys,
    /// Bucket → what its contents may cost, and their bytes.
    Budgets,
    /// Bucket, key, version → object version that is not the key's current object.
    Versions,
    /// Bucket, name → configuration.
    Configs,
}

impl Table {
    /// How many there are.
    pub const COUNT: usize = 13;
    /// All of them, in the order of their discriminants.
    pub const ALL: [Table; Table::COUNT] = [
        Table::Meta,
        Table::Buckets,
        Table::Objects,
        Table::Uploads,
        Table::Parts,
        Table::Blobs,
        Table::Manifests,
        Table::Segments,
        Table::Trash,
        Table::Keys,
        Table::Budgets,
        Table::Versions,
        Table::Configs,
    ];

    /// Name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Buckets => "buckets",
            Table::Objects => "objects",
            Table::Uploads => "uploads",
            Table::Parts => "parts",
            Table::Blobs => "blobs",
            Table::Manifests => "manifests",
            Table::Segments => "segments",
            Table::Trash => "trash",
            Table::Keys => "keys",
            Table::Budgets => "budgets",
            Table::Versions => "versions",
            Table::Configs => "configs",
        }
    }
}

/// A bucket's number inside this catalog; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u64);

/// A multipart upload: 8 bytes of its beginning (ms, big-endian) and 8 random ones, so that ids sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    /// Reads 32 lower-case hex digits; anything else names no upload.
    pub fn parse(text: &str) -> Option<UploadId> {
        let mut bytes = [0u8; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        (text.len() == 32 && hex::encode(bytes) == text).then_some(UploadId(bytes))
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Row of an object: fixed-width bucket, then the key's own bytes, so rows sort as S3 lists.
pub fn object_row(bucket: BucketId, key: &str) -> Vec<u8> {
    [&bucket.0.to_be_bytes()[..], key.as_bytes()].concat()
}

/// Row of a bucket's budget.
pub fn budget_row(bucket: BucketId) -> Vec<u8> {
    bucket.0.to_be_bytes().to_vec()
}

/// Key in an object row; `None` if the row is not one.
pub fn key_of_object_row(row: &[u8]) -> Option<&str> {
    std::str::from_utf8(row.get(8..)?).ok()
}

/// Row of an upload: bucket, escaped key, id. Sorts by key, then by beginning.
pub fn upload_row(bucket: BucketId, key: &str, upload: UploadId) -> Vec<u8> {
    let mut row = uploads_of_key(bucket, key);
    row.extend_from_slice(&upload.0);
    row
}

/// What the rows of all uploads of one key begin with. A zero byte inside a key becomes `00 ff`; `00 01` ends the key, so
/// that a key sorts before the keys it is a prefix of.
pub fn uploads_of_key(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut row = uploads_of_prefix(bucket, key);
    row.extend_from_slice(&[0, 1]);
    row
}

/// What the rows of all uploads under a key prefix begin with.
pub fn uploads_of_prefix(bucket: BucketId, prefix: &str) -> Vec<u8> {
    let mut row = Vec::with_capacity(8 + prefix.len() + 18);
    row.extend_from_slice(&bucket.0.to_be_bytes());
    for &byte in prefix.as_bytes() {
        row.push(byte);
        if byte == 0 {
            row.push(0xff);
        }
    }
    row
}

/// Key and id in an upload row; `None` if the row is not one.
pub fn parse_upload_row(row: &[u8]) -> Option<(String, UploadId)> {
    let mut key = Vec::new();
    let mut bytes = row.get(8..)?.iter();
    loop {
        match *bytes.next()? {
            0 => match *bytes.next()? {
                0xff => key.push(0),
                1 => break,
                _ => return None,
            },
            byte => key.push(byte),
        }
    }
    let id = bytes.as_slice().try_into().ok()?;
    Some((String::from_utf8(key).ok()?, UploadId(id)))
}

/// Row of a version: bucket, escaped key, and its name with all bits turned, so that later ones come first.
pub fn version_row(bucket: BucketId, key: &str, version: VersionId) -> Vec<u8> {
    let mut row = uploads_of_key(bucket, key);
    row.extend_from_slice(&(!version.writer_epoch).to_be_bytes());
    row.extend_from_slice(&(!version.sequence).to_be_bytes());
    row
}

/// Key and version in a version row; `None` if the row is not one.
pub fn parse_version_row(row: &[u8]) -> Option<(String, VersionId)> {
    let (key, UploadId(turned)) = parse_upload_row(row)?;
    let (epoch, sequence) = turned.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    Some((key, VersionId { writer_epoch: !number(epoch)?, sequence: !number(sequence)? }))
}

/// Row of a bucket's configuration.
pub fn config_row(bucket: BucketId, name: &str) -> Vec<u8> {
    [&bucket.0.to_be_bytes()[..], name.as_bytes()].concat()
}

/// Row of a part.
pub fn part_row(upload: UploadId, number: u32) -> Vec<u8> {
    [&upload.0[..], &number.to_be_bytes()].concat()
}

/// Number in a part row; `None` if the row is not one.
pub fn number_of_part_row(row: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(row.get(16..)?.try_into().ok()?))
}

/// Row of a blob, in `blobs`, `manifests` and `trash`.
pub fn blob_row(blob: BlobId) -> Vec<u8> {
    blob.0.to_vec()
}

/// Row of a segment.
pub fn segment_row(segment: SegmentId) -> Vec<u8> {
    segment.0.to_vec()
}

/// The first row after all rows that begin with `prefix`; `None` when there is none (only 0xff bytes).
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut row = prefix.to_vec();
    while let Some(last) = row.pop() {
        if last < 0xff {
            row.push(last + 1);
            return Some(row);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_their_numbers() {
        for (at, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, at, "{table:?}");
        }
    }

    #[test]
    fn upload_rows_sort_by_key_then_age_and_read_back() {
        let keys = ["", "a", "a\0", "a\0\0", "a\0b", "a\u{1}", "a/", "ab", "é", "\u{10ffff}"];
        let ids = [UploadId([0; 16]), UploadId([0, 1, 2, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), UploadId([0xff; 16])];
        let mut rows = Vec::new();
        for key in keys {
            for id in ids {
                let row = upload_row(BucketId(7), key, id);
                assert_eq!(parse_upload_row(&row), Some((key.to_owned(), id)), "{key:?}");
                rows.push((key.to_owned(), id, row));
            }
        }
        let by_meaning = {
            let mut rows = rows.clone();
            rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
            rows
        };
        rows.sort_by(|a, b| a.2.cmp(&b.2));
        assert_eq!(rows, by_meaning);
    }

    #[test]
    fn damaged_rows_are_none() {
        for row in
            [&[][..], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1, 0], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 2], &[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 9]]
        {
            assert_eq!(parse_upload_row(row), None, "{row:?}");
        }
        assert_eq!(UploadId::parse("AB"), None);
        assert_eq!(UploadId::parse(&"A".repeat(32)), None);
        assert_eq!(number_of_part_row(&[1; 19]), None);
    }

    #[test]
    fn after_prefix_is_the_next_row_outside() {
        assert_eq!(after_prefix(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
    }
}
