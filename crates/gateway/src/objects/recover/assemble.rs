//! Manifests from labels: which shards belong to which segment of which blob.
//!
//! A label is sealed, so it says what we wrote; but a provider can put it beside other bytes. Of several shards that say to be the same one,
//! those that share the segment's tag with most of the others are believed, the latest of them first; a read checks every frame.
//! Never: a manifest with a segment missing.

use std::collections::{BTreeMap, HashMap};

use cairn_client::{BlobKind, Client, FoundShard, Manifest, Redundancy, SegmentId, SegmentManifest, ShardPlace, WrappedKey};
use cairn_types::{BlobId, UnixMs};

/// Writer epoch and sequence of a blob: later is greater.
pub(super) type Written = (u64, u64);

struct Claim {
    place: ShardPlace,
    segment: SegmentId,
    stored_at: UnixMs,
}

struct Segment {
    redundancy: Redundancy,
    plain_len: u64,
    claims: BTreeMap<u8, Vec<Claim>>,
}

struct Blob {
    kind: BlobKind,
    key: WrappedKey,
    written: Written,
    segments: BTreeMap<u32, Segment>,
    last: Option<u32>,
}

/// All blobs that shards tell of.
pub(super) struct Blobs(HashMap<BlobId, Blob>);

impl Blobs {
    pub fn assemble(shards: Vec<FoundShard>) -> Blobs {
        let mut blobs: HashMap<BlobId, Blob> = HashMap::new();
        for FoundShard { place, segment, stored_at, label } in shards {
            let blob = blobs.entry(label.blob).or_insert_with(|| Blob {
                kind: label.kind,
                key: label.key,
                written: (label.writer_epoch, label.sequence),
                segments: BTreeMap::new(),
                last: None,
            });
            if label.last_segment {
                blob.last = Some(blob.last.map_or(label.segment_index, |last| last.max(label.segment_index)));
            }
            let part = blob.segments.entry(label.segment_index).or_insert_with(|| Segment {
                redundancy: label.redundancy,
                plain_len: label.plain_len,
                claims: BTreeMap::new(),
            });
            part.claims.entry(label.shard_index).or_default().push(Claim { place, segment, stored_at });
        }
        Blobs(blobs)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Blobs of a kind and when they were written.
    pub fn of_kind(&self, kind: BlobKind) -> impl Iterator<Item = (BlobId, Written)> {
        self.0.iter().filter(move |(_, blob)| blob.kind == kind).map(|(id, blob)| (*id, blob.written))
    }

    /// The kind of a blob.
    pub fn kind(&self, id: BlobId) -> Option<BlobKind> {
        self.0.get(&id).map(|blob| blob.kind)
    }

    /// The manifest of a blob that can be read now; else why not.
    pub fn manifest(&self, client: &Client, id: BlobId) -> Result<Manifest, String> {
        let blob = self.0.get(&id).ok_or_else(|| format!("no provider that answers has a shard of blob {id}"))?;
        let last = blob.last.ok_or_else(|| format!("the last segment of blob {id} is at no provider that answers"))?;
        let segment = |index: u32| {
            let found = blob.segments.get(&index);
            let segment = found.ok_or_else(|| format!("segment {index} of blob {id} is at no provider that answers"))?.manifest();
            let health = client.segment_health(&segment);
            if health.is_lost() {
                return Err(format!(
                    "{} of the {} shards that segment {index} of blob {id} takes are there",
                    health.live, health.needed
                ));
            }
            Ok(segment)
        };
        let segments = (0..=last).map(segment).collect::<Result<Vec<_>, String>>()?;
        Ok(Manifest { blob: id, key: blob.key, segments })
    }
}

impl Segment {
    fn manifest(&self) -> SegmentManifest {
        let mut votes: BTreeMap<SegmentId, usize> = BTreeMap::new();
        for claims in self.claims.values() {
            // One vote for a shard, however many providers claim it.
            let mut tags: Vec<SegmentId> = claims.iter().map(|claim| claim.segment).collect();
            tags.sort_unstable();
            tags.dedup();
            tags.into_iter().for_each(|tag| *votes.entry(tag).or_default() += 1);
        }
        let id = votes.into_iter().max_by_key(|(_, count)| *count).map(|(tag, _)| tag).expect("a segment has a claim");
        let best = |claims: &Vec<Claim>| {
            claims.iter().max_by_key(|claim| (claim.segment == id, claim.stored_at)).map(|claim| claim.place)
        };
        let shards = (0..self.redundancy.total()).map(|index| self.claims.get(&(index as u8)).and_then(best)).collect();
        SegmentManifest { id, redundancy: self.redundancy, plain_len: self.plain_len, shards }
    }
}
