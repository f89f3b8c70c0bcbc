//! Where an object's shards are.

use std::collections::HashSet;

use cairn_client::SegmentHealth;
use cairn_types::{BlobId, NodeId};
use serde::Serialize;

use super::Objects;
use super::control::VersionRef;
use super::error::ObjectError;
use super::read::manifest;

/// Segments that are told of one object; a larger object has more.
pub const PLACES_MAX: usize = 1000;

/// A segment that holds bytes of an object; small objects share one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentPlaces {
    /// Its blob.
    pub blob: BlobId,
    /// Its place in the blob.
    pub segment: usize,
    /// How it stands.
    #[serde(flatten)]
    pub health: SegmentHealth,
    /// Its shards that are somewhere.
    pub shards: Vec<PlacedShard>,
}

/// A shard and its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlacedShard {
    /// Its place in the segment.
    pub index: usize,
    /// Who has it.
    pub provider: NodeId,
    /// Whether it can be relied on.
    pub live: bool,
}

impl Objects {
    /// The segments of an object, at most [`PLACES_MAX`], by what is known of their providers.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::NoSuchKey`], [`ObjectError::NoSuchVersion`].
    pub async fn places(&self, bucket: &str, key: &str, version: Option<VersionRef>) -> Result<Vec<SegmentPlaces>, ObjectError> {
        let (info, network) = (self.get_version(bucket, key, version).await?, &self.core.network);
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for extent in info.extents.iter() {
            let manifest = manifest(network, extent.blob).await?;
            let mut begins = 0;
            for (segment, of) in manifest.segments.iter().enumerate() {
                let ends = begins + of.plain_len;
                let touched = begins < extent.offset + extent.len && extent.offset < ends;
                begins = ends;
                if !touched || !seen.insert((extent.blob, segment)) {
                    continue;
                }
                if found.len() == PLACES_MAX {
                    return Ok(found);
                }
                let placed = of.shards.iter().enumerate().filter_map(|(index, place)| Some((index, (*place)?)));
                let shards = placed.map(|(index, place)| PlacedShard {
                    index,
                    provider: place.provider,
                    live: network.client.relies_on(place.provider),
                });
                let health = network.client.segment_health(of);
                found.push(SegmentPlaces { blob: extent.blob, segment, health, shards: shards.collect() });
            }
        }
        Ok(found)
    }
}
