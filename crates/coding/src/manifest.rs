//! Manifest: a blob's id, wrapped key and segments, and where each of their shards lies.
//!
//! One version byte, then the protobuf message `Manifest` of `docs/formats/manifest.md`. Providers and deals stand once in a table;
//! a shard costs its root and an index into it.
//! Never: an allocation beyond a small multiple of the input's length. Limits: [`MANIFEST_LEN_MAX`], [`SEGMENTS_MAX`],
//! `SHARDS_MAX`, segments of 1 ..= `SEGMENT_LEN_MAX` bytes. Encoding a manifest over these limits gives bytes that decode refuses.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use cairn_types::limits::{SEGMENTS_MAX, SHARDS_MAX};
use cairn_types::{BlobId, DealId, NodeId, Redundancy, SegmentId, ShardRoot};
use prost::Message;
use serde::Serialize;

use crate::key::WrappedKey;
use crate::layout::Layout;

const VERSION: u8 = 1;
const PLACE_LEN: usize = NodeId::LEN + DealId::LEN;
/// Most bytes of one encoded segment: a root and a 4-byte index per shard, 64 for the rest.
const SEGMENT_WIRE_LEN_MAX: usize = SHARDS_MAX * (ShardRoot::LEN + 4) + 64;
/// An encoded manifest.
pub const MANIFEST_LEN_MAX: usize = 512 * 1024 * 1024;
const _: () = assert!(SEGMENTS_MAX * SEGMENT_WIRE_LEN_MAX < MANIFEST_LEN_MAX);

/// Where the bytes of one blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The blob.
    pub blob: BlobId,
    /// Its key, sealed for its owner.
    pub key: WrappedKey,
    /// Its segments, in the order of their bytes; the place in this list is the segment's index.
    pub segments: Vec<SegmentManifest>,
}

/// One segment of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentManifest {
    /// Its tag at the providers.
    pub id: SegmentId,
    /// Shards needed and stored.
    pub redundancy: Redundancy,
    /// Plaintext bytes.
    pub plain_len: u64,
    /// One entry a shard; `None` where no receipt came, and for shards of length 0.
    pub shards: Vec<Option<ShardPlace>>,
}

/// A shard and who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct ShardPlace {
    /// Name of the shard.
    pub root: ShardRoot,
    /// Who holds it.
    pub provider: NodeId,
    /// Under which agreement.
    pub deal: DealId,
}

/// Bytes that are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Longer than any manifest.
    #[error("manifest of {len} bytes, at most {MANIFEST_LEN_MAX} allowed")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Empty, or of a version this program does not know.
    #[error("manifest of unknown version {version:?}: a newer program wrote it, or the bytes are damaged")]
    UnknownVersion {
        /// Its first byte.
        version: Option<u8>,
    },
    /// Not decodable, or a field out of its limits.
    #[error("manifest is malformed: {0}")]
    Malformed(&'static str),
}

#[derive(Clone, PartialEq, Message)]
struct ManifestWire {
    #[prost(bytes = "bytes", tag = "1")]
    blob_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    wrapped_key: Bytes,
    /// Provider (32) ‖ deal (32), repeated.
    #[prost(bytes = "bytes", tag = "3")]
    places: Bytes,
    /// Each an encoded `Segment`, which protobuf writes as it writes bytes: so each is checked before the next is decoded.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    segments: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct SegmentWire {
    #[prost(bytes = "bytes", tag = "1")]
    segment_id: Bytes,
    #[prost(uint32, tag = "2")]
    data_shards: u32,
    #[prost(uint32, tag = "3")]
    total_shards: u32,
    #[prost(uint64, tag = "4")]
    plain_len: u64,
    /// Roots of the shards that have a place, in shard order.
    #[prost(bytes = "bytes", tag = "5")]
    roots: Bytes,
    /// One entry a shard: 0 for none, else 1 + index into the table of places.
    #[prost(uint32, repeated, tag = "6")]
    places: Vec<u32>,
}

/// Table of distinct places, in the order of their first use.
#[derive(Default)]
struct Places {
    bytes: BytesMut,
    indices: HashMap<(NodeId, DealId), u32>,
}

impl Places {
    fn index_of(&mut self, place: &ShardPlace) -> u32 {
        let next = self.indices.len() as u32 + 1;
        *self.indices.entry((place.provider, place.deal)).or_insert_with(|| {
            self.bytes.put_slice(place.provider.as_bytes());
            self.bytes.put_slice(place.deal.as_bytes());
            next
        })
    }
}

impl Manifest {
    /// Plaintext bytes of the blob.
    pub fn plain_len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.plain_len).sum()
    }

    /// The manifest as stored. The same manifest always gives the same bytes.
    pub fn encode(&self) -> Bytes {
        let mut places = Places::default();
        let segments = self.segments.iter().map(|segment| segment.to_wire(&mut places)).collect();
        let wire = ManifestWire {
            blob_id: Bytes::copy_from_slice(self.blob.as_bytes()),
            wrapped_key: Bytes::copy_from_slice(self.key.as_bytes()),
            places: places.bytes.freeze(),
            segments,
        };
        let mut bytes = BytesMut::with_capacity(1 + wire.encoded_len());
        bytes.put_u8(VERSION);
        wire.encode(&mut bytes).expect("the buffer grows as needed");
        bytes.freeze()
    }

    /// Reads a stored manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MANIFEST_LEN_MAX {
            return Err(ManifestError::TooLong { len: bytes.len() });
        }
        let Some((&VERSION, body)) = bytes.split_first() else {
            return Err(ManifestError::UnknownVersion { version: bytes.first().copied() });
        };
        let malformed = ManifestError::Malformed;
        let wire = ManifestWire::decode(Bytes::copy_from_slice(body)).map_err(|_| malformed("not a manifest message"))?;
        if wire.segments.len() > SEGMENTS_MAX {
            return Err(malformed("too many segments"));
        }
        if !wire.places.len().is_multiple_of(PLACE_LEN) {
            return Err(malformed("table of places"));
        }
        Ok(Manifest {
            blob: BlobId::from_slice(&wire.blob_id).ok_or(malformed("blob id"))?,
            key: WrappedKey::from_slice(&wire.wrapped_key).ok_or(malformed("wrapped key"))?,
            segments: wire
                .segments
                .into_iter()
                .map(|segment| SegmentManifest::from_wire(segment, &wire.places))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl SegmentManifest {
    fn to_wire(&self, places: &mut Places) -> Bytes {
        let roots: Vec<u8> = self.shards.iter().flatten().flat_map(|place| place.root.0).collect();
        SegmentWire {
            segment_id: Bytes::copy_from_slice(self.id.as_bytes()),
            data_shards: self.redundancy.data() as u32,
            total_shards: self.redundancy.total() as u32,
            plain_len: self.plain_len,
            roots: roots.into(),
            places: self.shards.iter().map(|place| place.as_ref().map_or(0, |place| places.index_of(place))).collect(),
        }
        .encode_to_vec()
        .into()
    }

    fn from_wire(encoded: Bytes, table: &[u8]) -> Result<SegmentManifest, ManifestError> {
        let malformed = ManifestError::Malformed;
        if encoded.len() > SEGMENT_WIRE_LEN_MAX {
            return Err(malformed("a segment is too long"));
        }
        let wire = SegmentWire::decode(encoded).map_err(|_| malformed("not a segment message"))?;
        let redundancy =
            Redundancy::new(wire.data_shards as usize, wire.total_shards as usize).map_err(|_| malformed("redundancy"))?;
        Layout::new(redundancy, wire.plain_len).map_err(|_| malformed("segment length"))?;
        if wire.places.len() != redundancy.total() {
            return Err(malformed("not one place per shard"));
        }
        let (roots, rest) = wire.roots.as_chunks::<{ ShardRoot::LEN }>();
        let mut roots = roots.iter();
        let mut shards = Vec::with_capacity(redundancy.total());
        for index in wire.places {
            shards.push(if index == 0 {
                None
            } else {
                Some(place(table, index - 1, roots.next()).ok_or(malformed("place of a shard"))?)
            });
        }
        if roots.next().is_some() || !rest.is_empty() {
            return Err(malformed("more roots than places"));
        }
        let id = SegmentId::from_slice(&wire.segment_id).ok_or(malformed("segment id"))?;
        Ok(SegmentManifest { id, redundancy, plain_len: wire.plain_len, shards })
    }
}

fn place(table: &[u8], index: u32, root: Option<&[u8; ShardRoot::LEN]>) -> Option<ShardPlace> {
    let entry = table.chunks_exact(PLACE_LEN).nth(index as usize)?;
    let (provider, deal) = entry.split_at(NodeId::LEN);
    Some(ShardPlace { root: ShardRoot(*root?), provider: NodeId::from_slice(provider)?, deal: DealId::from_slice(deal)? })
}
