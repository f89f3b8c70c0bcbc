//! Repair: which shards of a segment can be relied on, and those that cannot built anew at other providers.
//!
//! Works from ciphertext alone, by `upload/rebuild`. Never: a place given up before its shard lies elsewhere; a shard that was not proven
//! against its root. Limits: [`CHECKS_MAX`] providers asked at once; the rebuild's own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use cairn_coding::{Label, Layout, Manifest, SegmentManifest, ShardPlace};
use cairn_market::{Tier, placement};
use cairn_proto::shard::{List, request, response};
use cairn_types::{BlobId, DealId, NodeId, SegmentId, ShardRoot, port};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::Inner;
use crate::error::{PeerError, reasons};
use crate::in_flight::InFlightGuard;
use crate::upload::lane::LaneEnd;
use crate::upload::rebuild;

/// Repair is due when fewer than so many shards more may be lost.
const MARGIN_MIN: usize = 2;
/// Providers asked at once whether they are there.
const CHECKS_MAX: usize = 16;

/// How a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SegmentHealth {
    /// Shards with bytes whose providers are there and to be trusted.
    pub live: usize,
    /// Those of them whose provider did not answer at the last look, and is not given up yet.
    pub silent: usize,
    /// Shards with bytes whose providers are not.
    pub lost: usize,
    /// Shards that must be live for the segment to be read.
    pub needed: usize,
    /// Shards with bytes that a whole segment has.
    pub total: usize,
    /// Below so many live shards repair is due.
    pub repair_below: usize,
}

impl SegmentHealth {
    /// Whether shards should be built anew.
    pub fn is_due(&self) -> bool {
        self.lost > 0 && self.live < self.repair_below && self.live >= self.needed
    }

    /// Whether it cannot be read now.
    pub fn is_lost(&self) -> bool {
        self.live < self.needed
    }

    /// Shards that may still be lost.
    pub fn margin(&self) -> usize {
        self.live.saturating_sub(self.needed)
    }
}

/// A segment whose lost shards lie elsewhere now. While it lives, the collector leaves the new shards alone: keep it until the catalog
/// knows the new places.
#[derive(Debug)]
pub struct Repaired {
    /// With the new places.
    pub segment: SegmentManifest,
    /// Old places that are to be deleted once the catalog knows the new ones.
    pub replaced: Vec<ShardPlace>,
    /// New places, to be deleted if the catalog does not take them.
    pub added: Vec<ShardPlace>,
    _guard: InFlightGuard,
}

/// Why a segment was not repaired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// No such segment.
    #[error("the blob {0} has no segment {1}")]
    NoSegment(BlobId, usize),
    /// Fewer shards than it takes.
    #[error("{have} of the {need} shards that it takes can be had; it is repaired when more of them are back")]
    TooFew {
        /// At live providers.
        have: usize,
        /// Needed.
        need: usize,
    },
    /// No provider that has none of its shards.
    #[error("no other provider takes a shard; more providers are needed")]
    NoSpares,
    /// The shards' label is not to be had.
    #[error("no provider gives the label of a shard: {0}")]
    NoLabel(String),
    /// No shard could be stored.
    #[error("no shard was rebuilt: {0}")]
    Failed(String),
}

/// Providers that do not answer, and since when.
#[derive(Debug, Default)]
pub(crate) struct Absent(Mutex<HashMap<NodeId, Instant>>);

impl Absent {
    fn note(&self, node: NodeId, answers: bool) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers {
            map.remove(&node);
        } else {
            map.entry(node).or_insert_with(Instant::now);
        }
    }

    fn since(&self, node: NodeId) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }
}

/// Asks each provider whether it is there. One that is not is given up after `lost_after`.
pub(crate) async fn check(inner: &Arc<Inner>, providers: Vec<(NodeId, DealId)>) {
    let asked = stream::iter(providers).map(|(node, deal)| async move {
        let list = List { deal_id: Bytes::copy_from_slice(deal.as_bytes()), after: Bytes::new(), max: 1 };
        let answer = inner.peers.call(node, request::Kind::List(list)).await;
        // A refusal is an answer too, except that there is no such deal: then there is nothing of ours.
        let answers = match &answer {
            Ok(_) => true,
            Err(PeerError::Refused { code, .. }) => *code != cairn_proto::RefusalCode::UnknownDeal,
            Err(_) => false,
        };
        inner.absent.note(node, answers);
    });
    asked.buffer_unordered(CHECKS_MAX).collect::<()>().await;
}

fn is_lost(inner: &Inner, provider: NodeId) -> bool {
    let gone = inner.absent.since(provider).is_some_and(|since| since.elapsed() >= inner.config.lost_after);
    gone || inner.pay.as_ref().is_some_and(|pay| pay.has_lost(provider))
}

pub(crate) fn health(inner: &Inner, segment: &SegmentManifest) -> SegmentHealth {
    let mut health = SegmentHealth { live: 0, silent: 0, lost: 0, needed: 0, total: 0, repair_below: 0 };
    let Ok(layout) = Layout::new(segment.redundancy, segment.plain_len) else { return health };
    for (shard, place) in segment.shards.iter().enumerate() {
        if layout.shard_len(shard) == 0 {
            continue;
        }
        health.total += 1;
        match place {
            Some(place) if is_lost(inner, place.provider) => health.lost += 1,
            Some(place) => {
                health.live += 1;
                health.silent += usize::from(inner.absent.since(place.provider).is_some());
            }
            None => {}
        }
    }
    let empty = segment.redundancy.total() - health.total;
    health.needed = segment.redundancy.data().saturating_sub(empty);
    // A short segment has fewer shards; it may lose as many as a full one. Whatever the tier says, two may be lost while it is repaired.
    let by_tier = Tier::fixed(segment.redundancy).repair_below.saturating_sub(empty);
    health.repair_below = by_tier.max(health.needed + MARGIN_MIN).min(health.total);
    health
}

/// Builds the lost shards of segment `index` anew.
pub(crate) async fn repair(inner: &Arc<Inner>, manifest: &Manifest, index: usize) -> Result<Repaired, RepairError> {
    let segment = manifest.segments.get(index).ok_or(RepairError::NoSegment(manifest.blob, index))?;
    let health = health(inner, segment);
    if health.is_lost() {
        return Err(RepairError::TooFew { have: health.live, need: health.needed });
    }
    let layout = Layout::new(segment.redundancy, segment.plain_len).map_err(|error| RepairError::Failed(error.to_string()))?;
    let lost = |place: &ShardPlace| is_lost(inner, place.provider);
    let label = label_of(inner, segment, manifest.blob).await?;
    let mut working = segment.clone();
    let mut guard = inner.in_flight.guard();
    guard.add(segment.id);
    let mut ends = Vec::with_capacity(segment.shards.len());
    for (shard, place) in segment.shards.iter().enumerate() {
        // A shard that never was has a root that nobody knows any more: it is left out.
        let len = if place.is_some() { layout.shard_len(shard) } else { 0 };
        let label = Label { shard_index: shard as u8, ..label.clone() };
        let sealed = label.seal(&inner.keys, port::draw(&*inner.rng)).into();
        let root = place.as_ref().map_or(ShardRoot([0; 32]), |place| place.root);
        ends.push(LaneEnd { root, len, label: sealed });
        if place.as_ref().is_some_and(lost) {
            working.shards[shard] = None;
        }
    }
    let mut spares = spares(inner, segment, &ends, &working)?;
    let mut failures = Vec::new();
    rebuild::missing(inner, &mut working, &ends, &mut spares, index as u32, &mut failures).await;
    let (mut replaced, mut added) = (Vec::new(), Vec::new());
    for (old, new) in segment.shards.iter().zip(&mut working.shards) {
        match (old, &*new) {
            (Some(old), Some(new)) if old != new => {
                replaced.push(*old);
                added.push(*new);
            }
            (Some(old), None) => *new = Some(*old), // not rebuilt: its provider may come back
            _ => {}
        }
    }
    if added.is_empty() {
        return Err(RepairError::Failed(reasons(&failures)));
    }
    Ok(Repaired { segment: working, replaced, added, _guard: guard })
}

/// Providers without a shard of this segment, in the order in which they are to be used.
fn spares(
    inner: &Inner,
    segment: &SegmentManifest,
    ends: &[LaneEnd],
    working: &SegmentManifest,
) -> Result<VecDeque<NodeId>, RepairError> {
    let missing = ends.iter().zip(&working.shards).filter(|(end, place)| end.len > 0 && place.is_none());
    let len_max = missing.clone().map(|(end, _)| end.len).max().unwrap_or(0);
    let mut candidates = inner.candidates();
    let holds = |node: NodeId| segment.shards.iter().flatten().any(|place| place.provider == node);
    candidates.retain(|candidate| {
        !holds(candidate.node) && candidate.free_len >= len_max && inner.absent.since(candidate.node).is_none()
    });
    let count = missing.count().min(candidates.len());
    let seed = u64::from_le_bytes(port::draw(&*inner.rng));
    match placement::choose(&candidates, count, len_max, seed) {
        Ok(order) if !order.is_empty() => Ok(order.into()),
        _ => Err(RepairError::NoSpares),
    }
}

/// What the segment's labels say, from any live shard; only the shard's number differs between them.
async fn label_of(inner: &Arc<Inner>, segment: &SegmentManifest, blob: BlobId) -> Result<Label, RepairError> {
    let mut last = String::from("no shard is live");
    for place in segment.shards.iter().flatten().filter(|place| !is_lost(inner, place.provider)) {
        match label_at(inner, place, segment.id).await {
            Ok(label) if label.blob == blob && label.plain_len == segment.plain_len => return Ok(label),
            Ok(_) => last = format!("{} gives the label of something else", place.provider),
            Err(error) => last = format!("{}: {error}", place.provider),
        }
    }
    Err(RepairError::NoLabel(last))
}

async fn label_at(inner: &Arc<Inner>, place: &ShardPlace, segment: SegmentId) -> Result<Label, PeerError> {
    let mut after = place.root.0;
    // The root before this one, so that the list begins with it.
    for byte in after.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    let list = List { deal_id: Bytes::copy_from_slice(place.deal.as_bytes()), after: Bytes::copy_from_slice(&after), max: 1 };
    let response::Kind::Listing(listing) = inner.peers.call(place.provider, request::Kind::List(list)).await? else {
        return Err(PeerError::Unexpected);
    };
    let entry = listing.entries.first().filter(|entry| entry.root[..] == place.root.as_bytes()[..]);
    let entry = entry.filter(|entry| entry.segment_id[..] == segment.as_bytes()[..]).ok_or(PeerError::Unexpected)?;
    Label::open(&entry.label, &inner.keys).map_err(|_| PeerError::Unexpected)
}

impl crate::Client {
    /// Asks each provider whether it is there; what does not answer for long counts as lost. Call now and then, before
    /// [`crate::Client::segment_health`].
    pub async fn check_providers(&self, providers: Vec<(NodeId, DealId)>) {
        check(&self.0, providers).await;
    }

    /// Whether shards at a provider count as live.
    pub fn relies_on(&self, provider: NodeId) -> bool {
        !is_lost(&self.0, provider)
    }

    /// How a segment stands by what is known of its providers.
    pub fn segment_health(&self, segment: &SegmentManifest) -> SegmentHealth {
        health(&self.0, segment)
    }

    /// Builds the lost shards of a segment anew at providers that have none of it. The manifest is the caller's to change.
    ///
    /// # Errors
    /// [`RepairError`]; nothing has changed then.
    pub async fn repair(&self, manifest: &Manifest, index: usize) -> Result<Repaired, RepairError> {
        repair(&self.0, manifest, index).await
    }
}
