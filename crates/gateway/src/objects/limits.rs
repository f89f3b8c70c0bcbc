//! Limits of the object store: S3's own numbers and ours.
//!
//! Never: a number of these written elsewhere.

/// Bytes of a key in UTF-8, as in S3.
pub const KEY_LEN_MAX: usize = 1024;
/// One PUT or one part: 5 GiB, as in S3.
pub const PUT_LEN_MAX: u64 = 5 << 30;
/// One object: 5 TiB, as in S3.
pub const OBJECT_LEN_MAX: u64 = 5 << 40;
/// Every part but the last: 5 MiB, as in S3.
pub const PART_LEN_MIN: u64 = 5 << 20;
/// Highest part number, as in S3.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// Keys on one listing page, as in S3.
pub const LIST_KEYS_MAX: usize = 1000;
/// Keys in one batch delete, as in S3.
pub const DELETE_KEYS_MAX: usize = 1000;
/// User metadata names and values together, as in S3 (2 KiB there; metadata of s3fs and Hadoop exceed it, so four times as much).
pub const USER_META_LEN_MAX: usize = 8 * 1024;
/// All content headers of one object together.
pub const HEADERS_LEN_MAX: usize = 16 * 1024;
/// Tags of one object, as in S3 (10 of ≤ 128 + 256 characters).
pub const TAGS_MAX: usize = 10;
/// Buckets of one gateway.
pub const BUCKETS_MAX: u64 = 100_000;
/// Access keys of one gateway, revoked ones included.
pub const ACCESS_KEYS_MAX: u64 = 10_000;
