//! Sizes that both ends of the wire and the disk formats agree on. All lengths are bytes unless the name says otherwise.
//!
//! Never: a limit that is only a habit; the compiler checks the relations between them below.

/// One unit of proof: a Merkle leaf.
pub const LEAF_LEN: usize = 1024;
/// Tag that ChaCha20-Poly1305 adds to each frame.
pub const TAG_LEN: usize = 16;
/// A full frame as it travels and lies on disk, tag included.
pub const FRAME_LEN: usize = 64 * 1024;
/// Object bytes inside a full frame.
pub const FRAME_DATA_LEN: usize = FRAME_LEN - TAG_LEN;
/// Leaves in a full frame; a power of two, so that a frame is one aligned subtree of its shard's Merkle tree.
pub const FRAME_LEAVES: usize = FRAME_LEN / LEAF_LEN;
/// Object bytes in one segment.
pub const SEGMENT_LEN_MAX: u64 = 64 * 1024 * 1024;
/// Shards of one segment; reed-solomon-erasure works in GF(2^8).
pub const SHARDS_MAX: usize = 128;
/// One shard: a segment at `k = 1`, rounded up by tags and the last row's padding.
pub const SHARD_LEN_MAX: u64 = SEGMENT_LEN_MAX + 1024 * 1024;
/// Sealed label stored beside a shard.
pub const LABEL_LEN_MAX: usize = 1024;
/// One control message on the wire.
pub const CONTROL_LEN_MAX: usize = 64 * 1024;
/// One body frame on the wire.
pub const BODY_LEN_MAX: usize = FRAME_LEN;
/// Segments of one object (5 TiB of 64 MiB segments fit).
pub const SEGMENTS_MAX: usize = 100_000;
/// A signed advert, encoded.
pub const ADVERT_LEN_MAX: usize = 2048;
/// Entries of one listing page.
pub const LIST_PAGE_MAX: usize = 40;
/// Steps from an entry of an inventory up to its top.
pub const INVENTORY_DEPTH_MAX: usize = 64;
/// Entries of one inventory.
pub const INVENTORY_ENTRIES_MAX: usize = 1 << 30;
/// Shards of one release.
pub const RELEASE_SHARDS_MAX: usize = 65_536;
/// Leaves drawn in one audit.
pub const AUDIT_SAMPLES_MAX: usize = 4096;
/// Life of a commitment, in seconds.
pub const COMMITMENT_LIFE_SECS_MAX: u64 = 72 * 60 * 60;
/// How far back a provider dates its commitments, in seconds, so that a client whose clock is behind takes them too.
pub const COMMITMENT_BACKDATE_SECS: u64 = 10 * 60;

const _: () = assert!(SHARD_LEN_MAX <= u32::MAX as u64);
const _: () = assert!((SHARD_LEN_MAX / LEAF_LEN as u64) < u64::MAX / INVENTORY_ENTRIES_MAX as u64);
const _: () = assert!(FRAME_LEAVES.is_power_of_two());
const _: () = assert!(FRAME_LEN.is_multiple_of(LEAF_LEN));
const _: () = assert!(FRAME_LEN <= BODY_LEN_MAX);
const _: () = assert!(LIST_PAGE_MAX * (LABEL_LEN_MAX + 128) < CONTROL_LEN_MAX);
