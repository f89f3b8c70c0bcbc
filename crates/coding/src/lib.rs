//! Object bytes to sealed, erasure-coded shards and back.
//!
//! The way in: [`Encoder`] cuts a segment into rows of `k` frames, seals each frame, adds `n − k` parity cells a row and computes
//! the shards' roots. The way out: [`Layout`] says which frames of which shards a range needs, [`Decoder`] opens them and rebuilds
//! what is missing. [`Manifest`] remembers where a blob's shards are, [`Label`] tells the same beside each shard.
//!
//! Never: a runtime, a file, a socket, a clock or a random source; plaintext or a key in an error or in `Debug`.
//! Limits: memory of one segment's encoding or decoding is a few rows; lengths and counts in [`cairn_types::limits`].

pub mod decode;
pub mod encode;
mod frame;
pub mod key;
pub mod label;
pub mod layout;
pub mod manifest;
pub mod rebuild;

pub use decode::{DecodeError, Decoder};
pub use encode::{EncodedSegment, EncodedShard, Encoder, Row, RowHasher, Sealer};
pub use key::{BlobKey, KeyError, WrappedKey};
pub use label::{BlobKind, LABEL_LEN, Label, LabelError};
pub use layout::{FrameSpec, Layout, LayoutError};
pub use manifest::{MANIFEST_LEN_MAX, Manifest, ManifestError, SegmentManifest, ShardPlace};
pub use rebuild::Rebuilder;
