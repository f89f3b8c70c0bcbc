//! One segment on its way back: lanes for the data shards the range needs, more lanes when one is slow, missing or wrong.
//!
//! Cells arrive as events; a row is done when its wanted frames are open, either straight from their cells or rebuilt from any k.
//! Never: a provider blamed without a failed check; more cells in memory than the lanes' credits.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_coding::{Decoder, Manifest, SegmentManifest};
use cairn_types::NodeId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::lane::{self, LaneEvent, LaneSpec, rows_with_bytes};
use super::open::{self, Cells, RowDone, RowJob};
use crate::Inner;
use crate::error::{PeerError, ReadError, reasons};

/// Rows opened in one trip to the blocking threads.
const ROWS_AT_ONCE: u32 = 4;

struct Lane {
    shard: usize,
    rows: Range<u32>,
    /// The next row it will deliver.
    next_row: u32,
    alive: bool,
    slow: bool,
    credits: Arc<Semaphore>,
    task: JoinHandle<()>,
}

pub(crate) struct SegmentReader {
    inner: Arc<Inner>,
    manifest: Arc<Manifest>,
    index: usize,
    decoder: Arc<Decoder>,
    local: Range<u64>,
    frames: Range<u32>,
    row: u32,
    row_end: u32,
    rows: HashMap<u32, Cells>,
    /// Frames of the present row that are open already, kept over a failed attempt.
    opened: HashMap<u32, Bytes>,
    lanes: Vec<Lane>,
    dead: HashSet<usize>,
    degraded: bool,
    failures: Vec<(NodeId, String)>,
    events: mpsc::Receiver<LaneEvent>,
    sender: mpsc::Sender<LaneEvent>,
}

impl SegmentReader {
    /// Starts the lanes that `local`, a non-empty range inside the segment, needs when all is well.
    pub fn start(inner: Arc<Inner>, manifest: Arc<Manifest>, index: usize, decoder: Decoder, local: Range<u64>) -> Self {
        let layout = *decoder.layout();
        let frames = layout.frames_for(local.clone());
        let (row, row_end) = (layout.frame(frames.start).row, layout.frame(frames.end - 1).row + 1);
        let (sender, events) = mpsc::channel(layout.redundancy().total() * 2);
        let mut reader = SegmentReader {
            inner,
            manifest,
            index,
            decoder: Arc::new(decoder),
            local,
            frames,
            row,
            row_end,
            rows: HashMap::new(),
            opened: HashMap::new(),
            lanes: Vec::new(),
            dead: HashSet::new(),
            degraded: false,
            failures: Vec::new(),
            events,
            sender,
        };
        reader.start_data_lanes();
        reader
    }

    pub fn is_done(&self) -> bool {
        self.row >= self.row_end
    }

    pub fn rows_left(&self) -> u32 {
        self.row_end - self.row
    }

    /// Plaintext of the next rows, cut to the range.
    pub async fn next(&mut self) -> Result<Vec<Bytes>, ReadError> {
        self.top_up()?;
        let mut waiting_since = Instant::now();
        loop {
            if let Some(pieces) = self.complete().await? {
                return Ok(pieces);
            }
            self.top_up()?;
            match tokio::time::timeout_at((waiting_since + self.hedge_after()).into(), self.events.recv()).await {
                Ok(Some(event)) => self.apply(event),
                Ok(None) => return Err(ReadError::Stopped), // cannot be: this reader holds a sender
                Err(_) => {
                    self.mark_slow();
                    waiting_since = Instant::now();
                }
            }
        }
    }

    fn segment(&self) -> &SegmentManifest {
        &self.manifest.segments[self.index]
    }

    fn start_data_lanes(&mut self) {
        let layout = *self.decoder.layout();
        for shard in 0..layout.redundancy().data() {
            let rows: Vec<u32> =
                self.frames.clone().map(|frame| layout.frame(frame)).filter(|f| f.shard == shard).map(|f| f.row).collect();
            if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
                self.start_lane(shard, *first..*last + 1);
            }
        }
    }

    /// Starts a lane; a shard without a place counts as dead.
    fn start_lane(&mut self, shard: usize, rows: Range<u32>) -> bool {
        let layout = *self.decoder.layout();
        let rows = rows_with_bytes(&layout, shard, rows);
        let Some(place) = self.segment().shards.get(shard).copied().flatten() else {
            self.dead.insert(shard);
            return false;
        };
        if rows.is_empty() {
            return false;
        }
        let credits = Arc::new(Semaphore::new(self.inner.config.cells_ahead));
        let proof = shard >= layout.redundancy().data();
        let lane = self.lanes.len();
        let spec = LaneSpec { inner: self.inner.clone(), layout, place, shard, rows: rows.clone(), proof, lane };
        let task = tokio::spawn(lane::run(spec, credits.clone(), self.sender.clone()));
        self.lanes.push(Lane { shard, next_row: rows.start, rows, alive: true, slow: false, credits, task });
        true
    }

    fn apply(&mut self, event: LaneEvent) {
        let lane = &mut self.lanes[event.lane];
        match event.outcome {
            Ok((row, cell)) => {
                lane.next_row = row + 1;
                lane.slow = false;
                lane.alive &= lane.next_row < lane.rows.end;
                if row < self.row {
                    lane.credits.add_permits(1); // came too late to matter
                    return;
                }
                let total = self.decoder.layout().redundancy().total();
                self.rows.entry(row).or_insert_with(|| vec![None; total])[event.shard] = Some(cell);
            }
            Err(error) => {
                lane.alive = false;
                self.blame(event.shard, &error);
            }
        }
    }

    fn blame(&mut self, shard: usize, error: &PeerError) {
        self.degraded = true;
        self.dead.insert(shard);
        if let Some(place) = self.segment().shards[shard] {
            let (blob, segment) = (self.manifest.blob, self.segment().id);
            tracing::warn!(provider = %place.provider, shard = %place.root, %blob, %segment, index = shard, %error, "bad shard: read around");
            self.failures.push((place.provider, error.to_string()));
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.shard == shard) {
            lane.alive = false;
            lane.task.abort();
        }
    }

    /// Frames of `row` that the range needs.
    fn wanted(&self, row: u32) -> Range<u32> {
        let data = self.decoder.layout().redundancy().data() as u32;
        (row * data).max(self.frames.start)..((row + 1) * data).min(self.frames.end)
    }

    fn has(&self, row: u32, shard: usize) -> bool {
        self.rows.get(&row).is_some_and(|cells| cells[shard].is_some())
    }

    fn is_systematic(&self, row: u32) -> bool {
        let layout = self.decoder.layout();
        row < self.row_end
            && self.wanted(row).all(|frame| self.opened.contains_key(&frame) || self.has(row, layout.frame(frame).shard))
    }

    /// Cells of `row` at hand, those that hold no byte included.
    fn cells_at_hand(&self, row: u32) -> usize {
        let layout = self.decoder.layout();
        (0..layout.redundancy().total()).filter(|shard| layout.cell_len(row, *shard) == 0 || self.has(row, *shard)).count()
    }

    /// Opens the rows that can be; `None` when the next row still lacks cells or turned out to be wrong.
    async fn complete(&mut self) -> Result<Option<Vec<Bytes>>, ReadError> {
        let count = (self.row..self.row + ROWS_AT_ONCE).take_while(|row| self.is_systematic(*row)).count() as u32;
        let rebuild = count == 0;
        if rebuild && (!self.degraded || self.cells_at_hand(self.row) < self.decoder.layout().redundancy().data()) {
            return Ok(None);
        }
        let jobs: Vec<RowJob> = (self.row..self.row + count.max(1)).map(|row| self.job(row)).collect();
        let frames: usize = jobs.iter().map(|job| job.wanted.len()).sum();
        let decoder = self.decoder.clone();
        let work = move || -> Vec<RowDone> {
            let each = if rebuild { open::rebuilt } else { open::systematic };
            jobs.into_iter().map(|job| each(&decoder, job)).collect()
        };
        // One frame is opened faster than another thread is woken.
        let done = if frames <= 1 && !rebuild { work() } else { crate::upload::blocking(work).await };
        self.take_over(done)
    }

    fn job(&mut self, row: u32) -> RowJob {
        let total = self.decoder.layout().redundancy().total();
        let cells = self.rows.remove(&row).unwrap_or_else(|| vec![None; total]);
        let wanted = self.wanted(row).map(|frame| (frame, self.opened.remove(&frame))).collect();
        RowJob { row, cells, wanted }
    }

    fn take_over(&mut self, done: Vec<RowDone>) -> Result<Option<Vec<Bytes>>, ReadError> {
        let mut pieces = Vec::new();
        let mut clean = true;
        for RowDone { job, bad, undecodable } in done {
            if undecodable {
                return Err(ReadError::Undecodable { segment: self.index as u32 });
            }
            for shard in &bad {
                let error = PeerError::WrongBytes { row: job.row };
                if let Some(place) = &self.segment().shards[*shard] {
                    self.inner.peers.failed(place.provider, &error);
                }
                self.blame(*shard, &error);
            }
            clean &= bad.is_empty() && job.wanted.iter().all(|(_, open)| open.is_some());
            if clean {
                pieces.extend(job.wanted.into_iter().filter_map(|(frame, open)| self.cut(frame, open?)));
                self.finish_row(job.row);
            } else {
                self.opened.extend(job.wanted.into_iter().filter_map(|(frame, open)| Some((frame, open?))));
                self.rows.insert(job.row, job.cells);
            }
        }
        Ok((!pieces.is_empty()).then_some(pieces))
    }

    fn finish_row(&mut self, row: u32) {
        self.row = row + 1;
        self.rows.remove(&row);
        for lane in self.lanes.iter().filter(|lane| lane.rows.contains(&row) && row < lane.next_row) {
            lane.credits.add_permits(1);
        }
    }

    /// The part of a frame's plaintext that lies in the range.
    fn cut(&self, frame: u32, data: Bytes) -> Option<Bytes> {
        let start = self.decoder.layout().frame(frame).data_offset;
        let from = self.local.start.saturating_sub(start).min(data.len() as u64) as usize;
        let to = (self.local.end - start).min(data.len() as u64) as usize;
        (from < to).then(|| data.slice(from..to))
    }

    fn hedge_after(&self) -> Duration {
        let config = &self.inner.config;
        let usual = self
            .lanes
            .iter()
            .filter(|lane| lane.alive && !lane.slow)
            .filter_map(|lane| self.segment().shards[lane.shard].as_ref())
            .map(|place| self.inner.peers.latency(place.provider))
            .max()
            .unwrap_or_default();
        (usual * 8).clamp(config.hedge_min, config.hedge_max)
    }

    /// The lanes whose cell the present row still waits for are slow: others are asked too.
    fn mark_slow(&mut self) {
        self.degraded = true;
        let row = self.row;
        for lane in self.lanes.iter_mut().filter(|lane| lane.alive && lane.rows.contains(&row) && lane.next_row <= row) {
            lane.slow = true;
        }
    }

    fn is_coming(&self, row: u32, shard: usize, slow_too: bool) -> bool {
        let delivers = |lane: &&Lane| lane.alive && lane.rows.contains(&row) && lane.next_row <= row && (slow_too || !lane.slow);
        self.lanes.iter().filter(|lane| lane.shard == shard).any(|lane| delivers(&lane))
    }

    /// Once anything went wrong: sees to it that k cells of the present row are at hand or coming.
    fn top_up(&mut self) -> Result<(), ReadError> {
        let layout = *self.decoder.layout();
        let (data, total, row) = (layout.redundancy().data(), layout.redundancy().total(), self.row);
        self.degraded |= self.wanted(row).any(|frame| self.dead.contains(&layout.frame(frame).shard));
        if !self.degraded || self.is_done() || self.is_systematic(row) {
            return Ok(());
        }
        let sure = |reader: &Self, shard: usize, slow_too: bool| {
            layout.cell_len(row, shard) == 0 || reader.has(row, shard) || reader.is_coming(row, shard, slow_too)
        };
        let mut have = (0..total).filter(|shard| sure(self, *shard, false)).count();
        let mut others: Vec<usize> = (0..total).filter(|shard| !sure(self, *shard, true) && !self.dead.contains(shard)).collect();
        others.sort_by_key(|shard| self.segment().shards[*shard].as_ref().map(|place| self.inner.peers.latency(place.provider)));
        for shard in others {
            if have >= data {
                break;
            }
            // A shard that is being read further down lacks only this row's cell, which was used up.
            let read_further = self.lanes.iter().any(|lane| lane.alive && lane.shard == shard && lane.next_row > row);
            let end = if read_further { row + 1 } else { self.row_end };
            have += usize::from(self.start_lane(shard, row..end));
        }
        let possible = (0..total).filter(|shard| sure(self, *shard, true)).count();
        if possible < data {
            return Err(ReadError::NotEnoughShards {
                segment: self.index as u32,
                row,
                have: possible,
                need: data,
                reasons: reasons(&self.failures),
            });
        }
        Ok(())
    }
}

impl Drop for SegmentReader {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.task.abort();
        }
    }
}
