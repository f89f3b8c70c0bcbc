//! One segment on its way: n lanes, spares for those that fail, and the receipts.
//!
//! A lane that fails early is started anew at a spare provider with the rows kept so far; one that fails later is rebuilt from the
//! other shards once they are stored. Never: fewer receipts than asked without saying so; two shards at one provider.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_coding::{EncodedSegment, Label, Layout, Row, SegmentManifest, ShardPlace};
use cairn_market::{Tier, placement};
use cairn_types::{NodeId, SegmentId, port};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::task::JoinHandle;

use super::lane::{self, LaneEnd, LaneInput, LaneSpec};
use super::{BlobContext, needed, rebuild};
use crate::error::{PeerError, WriteError, reasons};

struct Lane {
    provider: NodeId,
    input: mpsc::Sender<LaneInput>,
    task: JoinHandle<Result<ShardPlace, PeerError>>,
}

/// Lanes that were told their ends: shard, provider, and what became of it.
type Closing = FuturesUnordered<BoxFuture<'static, (usize, NodeId, Result<ShardPlace, PeerError>)>>;

pub(crate) struct SegmentUpload {
    context: Arc<BlobContext>,
    id: SegmentId,
    index: u32,
    tier: Tier,
    len_max: u64,
    /// Shards without a byte, by the length that was expected.
    empty: usize,
    lanes: Vec<Option<Lane>>,
    spares: VecDeque<NodeId>,
    /// The rows sent so far, until they exceed the limit.
    replay: Option<Vec<Row>>,
    replay_len: usize,
    failures: Vec<(NodeId, String)>,
}

impl SegmentUpload {
    /// Places the shards and starts their lanes. `expected_len` is the segment's plaintext length at most.
    pub fn start(context: Arc<BlobContext>, index: u32, tier: Tier, expected_len: u64) -> Result<Self, WriteError> {
        let layout = Layout::new(tier.redundancy, expected_len).expect("the length was clamped to a segment's");
        let len_max = (0..tier.redundancy.total()).map(|shard| layout.shard_len(shard)).max().unwrap_or(0);
        let candidates = context.inner.candidates();
        let seed = u64::from_le_bytes(port::draw(&*context.inner.rng));
        let total = tier.redundancy.total();
        // With fewer providers than shards the remaining lanes stay empty, as long as enough receipts can still come.
        let count = total.min(candidates.iter().filter(|candidate| candidate.free_len >= len_max).count());
        if count < tier.receipts_min {
            return Err(WriteError::NotEnoughProviders { have: count, need: tier.receipts_min.max(needed(&context.inner)) });
        }
        let mut order: VecDeque<NodeId> = placement::choose(&candidates, count, len_max, seed)
            .map_err(|error| WriteError::NotEnoughProviders { have: error.have, need: error.need })?
            .into();
        let mut segment = SegmentUpload {
            id: SegmentId(port::draw(&*context.inner.rng)),
            context,
            index,
            tier,
            len_max,
            empty: (0..total).filter(|shard| layout.shard_len(*shard) == 0).count(),
            lanes: Vec::new(),
            spares: VecDeque::new(),
            replay: Some(Vec::new()),
            replay_len: 0,
            failures: Vec::new(),
        };
        // Shards without a byte (data shards of a very short segment) need no provider; give the others the first places.
        let wants: Vec<bool> = (0..total).map(|shard| layout.shard_len(shard) > 0).collect();
        let lanes = wants.iter().map(|wanted| if *wanted { order.pop_front() } else { None }).collect::<Vec<_>>();
        segment.lanes = lanes.into_iter().map(|provider| provider.map(|provider| segment.lane(provider, Vec::new()))).collect();
        segment.spares = order;
        Ok(segment)
    }

    pub fn id(&self) -> SegmentId {
        self.id
    }

    fn lane(&self, provider: NodeId, backlog: Vec<Bytes>) -> Lane {
        let (input, received) = mpsc::channel(self.context.inner.config.cells_ahead);
        let spec = LaneSpec { inner: self.context.inner.clone(), provider, segment: self.id, len_max: self.len_max };
        Lane { provider, input, task: tokio::spawn(lane::run(spec, backlog, received)) }
    }

    /// Hands one row to the lanes; waits for the slowest, but not longer than a stall.
    pub async fn send(&mut self, row: Row) -> Result<(), WriteError> {
        for shard in 0..self.lanes.len() {
            let cell = row.cells[shard].clone();
            if cell.is_empty() {
                continue;
            }
            while let Some(lane) = &self.lanes[shard] {
                let input = lane.input.clone();
                match input.send_timeout(LaneInput::Cell(cell.clone()), self.context.inner.config.stall_timeout).await {
                    Ok(()) => break,
                    Err(SendTimeoutError::Closed(_)) => {}
                    Err(SendTimeoutError::Timeout(_)) => self.cut(shard),
                }
                self.replace(shard).await?;
            }
        }
        self.keep(row);
        Ok(())
    }

    fn keep(&mut self, row: Row) {
        self.replay_len += row.cells.iter().map(Bytes::len).sum::<usize>();
        if self.replay_len > self.context.inner.config.replay_len_max {
            self.replay = None;
        }
        if let Some(rows) = &mut self.replay {
            rows.push(row);
        }
    }

    fn cut(&mut self, shard: usize) {
        if let Some(lane) = &self.lanes[shard] {
            tracing::warn!(provider = %lane.provider, segment = %self.id, shard, "provider takes no bytes: cut");
            lane.task.abort();
            self.context
                .inner
                .peers
                .failed(lane.provider, &PeerError::TimedOut(self.context.inner.config.stall_timeout.as_millis()));
        }
    }

    /// Ends a failed lane and starts it anew at a spare, if the rows so far are still there.
    async fn replace(&mut self, shard: usize) -> Result<(), WriteError> {
        let Some(lane) = self.lanes[shard].take() else { return Ok(()) };
        let why = match lane.task.await {
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(_)) => "receipt before the end".into(),
            Err(_) => "too slow".into(),
        };
        self.failed(lane.provider, shard, why);
        if let (Some(rows), Some(spare)) = (&self.replay, self.next_spare()) {
            let backlog = rows.iter().map(|row| row.cells[shard].clone()).filter(|cell| !cell.is_empty()).collect();
            self.lanes[shard] = Some(self.lane(spare, backlog));
        }
        self.check_hope()
    }

    fn next_spare(&self) -> Option<NodeId> {
        self.spares.front().copied()
    }

    fn failed(&mut self, provider: NodeId, shard: usize, why: String) {
        tracing::warn!(%provider, segment = %self.id, shard, why, "shard not stored");
        self.failures.push((provider, why));
        self.spares.retain(|spare| *spare != provider);
    }

    /// Fails as soon as too few lanes and spares are left.
    fn check_hope(&mut self) -> Result<(), WriteError> {
        let used: Vec<NodeId> = self.lanes.iter().flatten().map(|lane| lane.provider).collect();
        self.spares.retain(|spare| !used.contains(spare));
        let need = self.receipts_needed(self.empty);
        if used.len() + self.spares.len() < need {
            return Err(self.not_enough(used.len(), need));
        }
        Ok(())
    }

    /// Receipts without which the segment is not durable. Shards without a byte are known and need no provider, so a short
    /// segment has fewer shards than receipts are asked for; it then wants all of them, whoever is alive.
    fn receipts_needed(&self, empty: usize) -> usize {
        self.tier.receipts_min.min(self.tier.redundancy.total() - empty)
    }

    fn not_enough(&self, have: usize, need: usize) -> WriteError {
        WriteError::NotEnoughReceipts { segment: self.index, have, need, reasons: reasons(&self.failures) }
    }

    /// Closes all shards and waits for the receipts; failed and cut shards go to spares. On an error, what was stored is deleted.
    pub async fn finish(mut self, encoded: EncodedSegment, last: bool) -> Result<SegmentManifest, WriteError> {
        let total = self.tier.redundancy.total();
        let mut places: Vec<Option<ShardPlace>> = vec![None; total];
        let ends: Vec<LaneEnd> = (0..total).map(|shard| self.end(&encoded, shard, last)).collect();
        let need = self.receipts_needed(ends.iter().filter(|end| end.len == 0).count());
        let mut waiting = self.close_all(&ends);
        let outcome = self.receipts(&mut waiting, &ends, need, &mut places).await;
        let mut done =
            SegmentManifest { id: self.id, redundancy: self.tier.redundancy, plain_len: encoded.plain_len, shards: places };
        if outcome.is_ok() {
            // Dropping them breaks the stragglers' streams off.
            waiting.clear();
            rebuild::missing(&self.context.inner, &mut done, &ends, &mut self.spares, self.index, &mut self.failures).await;
        }
        let have = stored(&done.shards, &ends);
        if have >= need {
            return Ok(done);
        }
        self.undo(done, waiting);
        Err(self.not_enough(have, need))
    }

    /// Has what was stored deleted, with what is being stored just now: a provider that was told the end of a shard keeps it, whether
    /// its receipt is waited for or not.
    fn undo(&self, done: SegmentManifest, mut waiting: Closing) {
        let inner = self.context.inner.clone();
        let mut guard = inner.in_flight.guard();
        guard.add(self.id);
        let mut stored: Vec<ShardPlace> = done.shards.into_iter().flatten().collect();
        tokio::spawn(async move {
            let late = async {
                while let Some((_, _, result)) = waiting.next().await {
                    stored.extend(result);
                }
            };
            let _ = tokio::time::timeout(inner.config.receipt_timeout, late).await; // what comes later is the collector's
            crate::delete::in_background(&inner, stored, guard);
        });
    }

    fn end(&self, encoded: &EncodedSegment, shard: usize, last: bool) -> LaneEnd {
        let context = &self.context;
        let label = Label {
            blob: context.blob,
            kind: context.options.kind,
            segment_index: self.index,
            last_segment: last,
            shard_index: shard as u8,
            redundancy: self.tier.redundancy,
            plain_len: encoded.plain_len,
            key: context.wrapped,
            writer_epoch: context.inner.writer_epoch,
            sequence: context.options.sequence,
        };
        let sealed = label.seal(&context.inner.keys, port::draw(&*context.inner.rng));
        LaneEnd { root: encoded.shards[shard].root, len: encoded.shards[shard].len, label: sealed.into() }
    }

    /// Tells all lanes their ends.
    fn close_all(&mut self, ends: &[LaneEnd]) -> Closing {
        let lanes = self.lanes.iter_mut().zip(ends).enumerate();
        lanes.filter_map(|(shard, (lane, end))| Some(close(shard, lane.take()?, end.clone()).boxed())).collect()
    }

    async fn receipts(
        &mut self,
        waiting: &mut Closing,
        ends: &[LaneEnd],
        need: usize,
        places: &mut [Option<ShardPlace>],
    ) -> Result<(), WriteError> {
        let began = Instant::now();
        let mut enough_after = None;
        while !waiting.is_empty() {
            let patience = self.patience(began, enough_after);
            let Ok(next) = tokio::time::timeout_at(patience.into(), waiting.next()).await else {
                break;
            };
            let Some((shard, provider, result)) = next else { break };
            match result {
                Ok(place) => places[shard] = Some(place),
                Err(error) => {
                    self.failed(provider, shard, error.to_string());
                    // Without the rows a spare is not used up: its turn comes when the shard is rebuilt.
                    if let Some(rows) = &self.replay
                        && let Some(spare) = self.spares.pop_front()
                    {
                        let backlog = rows.iter().map(|row| row.cells[shard].clone()).filter(|cell| !cell.is_empty()).collect();
                        waiting.push(close(shard, self.lane(spare, backlog), ends[shard].clone()).boxed());
                    }
                }
            }
            let have = stored(places, ends);
            if have >= need && enough_after.is_none() {
                enough_after = Some(began.elapsed());
            }
            if have + waiting.len() + self.spares.len() < need {
                return Err(self.not_enough(have, need));
            }
        }
        Ok(())
    }

    /// Until when to wait for the next receipt. Stragglers are cut only when there is somebody to replace them.
    fn patience(&self, began: Instant, enough_after: Option<Duration>) -> Instant {
        let config = &self.context.inner.config;
        match enough_after {
            Some(took) if !self.spares.is_empty() => began + took + (took * 3).max(config.straggler_grace),
            _ => began + config.receipt_timeout,
        }
    }
}

impl Drop for SegmentUpload {
    fn drop(&mut self) {
        for lane in self.lanes.iter().flatten() {
            lane.task.abort();
        }
    }
}

/// Shards with bytes that have their receipt.
fn stored(places: &[Option<ShardPlace>], ends: &[LaneEnd]) -> usize {
    places.iter().zip(ends).filter(|(place, end)| place.is_some() && end.len > 0).count()
}

/// Tells a lane the end of its shard and waits for the outcome. Dropped, it takes the lane with it.
async fn close(shard: usize, lane: Lane, end: LaneEnd) -> (usize, NodeId, Result<ShardPlace, PeerError>) {
    struct AbortOnDrop(tokio::task::AbortHandle);
    impl Drop for AbortOnDrop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let Lane { provider, input, task } = lane;
    let _abort = AbortOnDrop(task.abort_handle());
    let _ = input.send(LaneInput::End(end)).await; // a lane that is gone says why through its task
    let result = task.await.unwrap_or(Err(PeerError::GivenUp));
    (shard, provider, result)
}
