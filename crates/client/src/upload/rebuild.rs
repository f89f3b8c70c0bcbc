//! Rebuilds shards whose provider failed late: reads k of the shards already stored, codes the missing ones anew, stores them at spares.
//!
//! Works from ciphertext alone. Never: a cell that was not proven against its shard's root; more than a few rows in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cairn_coding::{Layout, Rebuilder, SegmentManifest, ShardPlace};
use cairn_types::NodeId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::blocking;
use super::lane::{self as store_lane, LaneEnd, LaneInput};
use crate::Inner;
use crate::download::lane::{self as read_lane, LaneEvent};
use crate::error::PeerError;

/// Fills `segment.shards` as far as spares reach. What fails is noted in `failures`; the caller counts what is there.
pub(crate) async fn missing(
    inner: &Arc<Inner>,
    segment: &mut SegmentManifest,
    ends: &[LaneEnd],
    spares: &mut VecDeque<NodeId>,
    index: u32,
    failures: &mut Vec<(NodeId, String)>,
) {
    // Shards that could not be read back; each round that fails adds one, so the rounds end.
    let mut unreadable = Vec::new();
    loop {
        let lost: Vec<usize> = (0..ends.len()).filter(|shard| segment.shards[*shard].is_none() && ends[*shard].len > 0).collect();
        let used: Vec<NodeId> = segment.shards.iter().flatten().map(|place| place.provider).collect();
        spares.retain(|spare| !used.contains(spare));
        if lost.is_empty() || spares.is_empty() {
            return;
        }
        let count = lost.len().min(spares.len());
        let targets: Vec<(usize, NodeId)> = lost.into_iter().zip(spares.drain(..count)).collect();
        tracing::info!(segment = %segment.id, index, shards = targets.len(), "rebuilding shards at other providers");
        let stored = match rebuild(inner, segment, ends, &targets, &unreadable).await {
            Ok(stored) => stored,
            Err(Failed::Source { shard, error }) => {
                let holder = segment.shards[shard].as_ref().map_or(targets[0].1, |place| place.provider);
                failures.push((holder, format!("rebuild, reading shard {shard}: {error}")));
                unreadable.push(shard);
                targets.into_iter().rev().for_each(|(_, spare)| spares.push_front(spare));
                continue;
            }
            Err(Failed::Rebuild(error)) => {
                failures.push((targets[0].1, format!("rebuild: {error}")));
                return;
            }
        };
        for ((shard, node), result) in targets.into_iter().zip(stored) {
            match result {
                Ok(place) => segment.shards[shard] = Some(place),
                Err(error) => failures.push((node, error.to_string())),
            }
        }
    }
}

/// Why no shard was rebuilt.
enum Failed {
    /// A shard that was to be read is not to be had; others may do.
    Source { shard: usize, error: PeerError },
    /// No other choice of sources helps.
    Rebuild(PeerError),
}

/// Stores each target shard; the outcomes are in the order of `targets`. Reads none of the `unreadable` shards.
async fn rebuild(
    inner: &Arc<Inner>,
    segment: &SegmentManifest,
    ends: &[LaneEnd],
    targets: &[(usize, NodeId)],
    unreadable: &[usize],
) -> Result<Vec<Result<ShardPlace, PeerError>>, Failed> {
    let layout = Layout::new(segment.redundancy, segment.plain_len).map_err(|_| Failed::Rebuild(PeerError::Unexpected))?;
    let mut source = Source::start(inner, segment, layout, unreadable).map_err(Failed::Rebuild)?;
    let config = &inner.config;
    let mut stores = JoinSet::new();
    let mut inputs = Vec::new();
    for (at, (shard, provider)) in targets.iter().enumerate() {
        let (input, received) = mpsc::channel(config.cells_ahead);
        let spec =
            store_lane::LaneSpec { inner: inner.clone(), provider: *provider, segment: segment.id, len_max: ends[*shard].len };
        stores.spawn(async move { (at, store_lane::run(spec, Vec::new(), received).await) });
        inputs.push(input);
    }
    let rebuilder = Arc::new(Rebuilder::new(layout));
    for row in 0..layout.rows() {
        let mut cells = source.row(row).await?;
        let rebuilder = rebuilder.clone();
        let cells = blocking(move || rebuilder.rebuild_all(row, &mut cells).map(|()| cells))
            .await
            .map_err(|_| Failed::Rebuild(PeerError::WrongBytes { row }))?;
        for ((shard, _), input) in targets.iter().zip(&inputs) {
            if let Some(cell) = cells[*shard].clone().filter(|cell| !cell.is_empty()) {
                let _ = input.send(LaneInput::Cell(cell)).await; // a failed lane says so at the end
            }
        }
    }
    for ((shard, _), input) in targets.iter().zip(&inputs) {
        let _ = input.send(LaneInput::End(ends[*shard].clone())).await;
    }
    let mut outcomes: Vec<Result<ShardPlace, PeerError>> = targets.iter().map(|_| Err(PeerError::GivenUp)).collect();
    while let Some(joined) = stores.join_next().await {
        if let Ok((at, outcome)) = joined {
            outcomes[at] = outcome;
        }
    }
    Ok(outcomes)
}

/// Proven cells of k stored shards, row by row.
struct Source {
    layout: Layout,
    /// Aborted when dropped.
    _lanes: JoinSet<()>,
    credits: Vec<Arc<Semaphore>>,
    events: mpsc::Receiver<LaneEvent>,
    early: VecDeque<(usize, u32, Bytes)>,
    sources: Vec<usize>,
}

impl Source {
    fn start(inner: &Arc<Inner>, segment: &SegmentManifest, layout: Layout, unreadable: &[usize]) -> Result<Source, PeerError> {
        let total = layout.redundancy().total();
        let empty = (0..total).filter(|shard| layout.shard_len(*shard) == 0).count();
        let needed = layout.redundancy().data().saturating_sub(empty);
        let held = segment.shards.iter().enumerate().filter_map(|(shard, place)| Some((shard, (*place)?)));
        let chosen: Vec<(usize, ShardPlace)> = held.filter(|(shard, _)| !unreadable.contains(shard)).take(needed).collect();
        if chosen.len() < needed {
            return Err(PeerError::GivenUp);
        }
        let (sender, events) = mpsc::channel(total * 2);
        let mut lanes = JoinSet::new();
        let mut credits = Vec::new();
        let sources = chosen.iter().map(|(shard, _)| *shard).collect();
        for (lane, (shard, place)) in chosen.into_iter().enumerate() {
            let credit = Arc::new(Semaphore::new(inner.config.cells_ahead));
            let rows = 0..layout.rows();
            let spec = read_lane::LaneSpec { inner: inner.clone(), layout, place, shard, rows, proof: true, lane };
            lanes.spawn(read_lane::run(spec, credit.clone(), sender.clone()));
            credits.push(credit);
        }
        Ok(Source { layout, _lanes: lanes, credits, events, early: VecDeque::new(), sources })
    }

    async fn row(&mut self, row: u32) -> Result<Vec<Option<Bytes>>, Failed> {
        let mut cells: Vec<Option<Bytes>> = vec![None; self.layout.redundancy().total()];
        let mut missing = self.sources.iter().filter(|shard| self.layout.cell_len(row, **shard) > 0).count();
        for _ in 0..self.early.len() {
            match self.early.pop_front() {
                Some((shard, at, cell)) if at == row => {
                    cells[shard] = Some(cell);
                    missing -= 1;
                }
                Some(later) => self.early.push_back(later),
                None => {}
            }
        }
        while missing > 0 {
            let event = self.events.recv().await.ok_or(Failed::Rebuild(PeerError::GivenUp))?;
            let (at, cell) = event.outcome.map_err(|error| Failed::Source { shard: event.shard, error })?;
            if at == row {
                cells[event.shard] = Some(cell);
                missing -= 1;
            } else {
                self.early.push_back((event.shard, at, cell));
            }
        }
        for credit in &self.credits {
            credit.add_permits(1);
        }
        Ok(cells)
    }
}
