//! Upload: a blob's bytes become rows while they arrive, and each row's cells go to n providers at once.
//!
//! Never: a finished blob with a segment short of receipts; a row kept after it was sent, but for the first few of a segment.
//! Limits: a few rows of input, [`FINISHING_MAX`] segments waiting for their receipts.

pub(crate) mod lane;
pub(crate) mod rebuild;
mod segment;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use cairn_coding::{BlobKey, BlobKind, EncodedSegment, Manifest, Row, RowHasher, Sealer, SegmentManifest, WrappedKey};
use cairn_market::Tier;
use cairn_types::limits::{FRAME_DATA_LEN, SEGMENT_LEN_MAX, SEGMENTS_MAX};
use cairn_types::{BlobId, port};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Inner;
use crate::error::WriteError;
use crate::in_flight::InFlightGuard;
use segment::SegmentUpload;

/// Segments of one blob that wait for their receipts while the next is being sent.
const FINISHING_MAX: usize = 2;
/// Rows coded in one go off the async threads.
const ROWS_AT_ONCE: usize = 4;

/// What is known of a blob before its bytes come.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// What the blob holds; told to a later recovery by the labels.
    pub kind: BlobKind,
    /// The catalog's count for this blob; told to a later recovery by the labels.
    pub sequence: u64,
    /// Length of the blob, if known: providers then reserve no more than needed.
    pub len_hint: Option<u64>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions { kind: BlobKind::Data, sequence: 0, len_hint: None }
    }
}

/// What all segments of one blob share.
pub(crate) struct BlobContext {
    pub inner: Arc<Inner>,
    pub blob: BlobId,
    pub key: BlobKey,
    pub wrapped: WrappedKey,
    pub options: WriterOptions,
}

enum Input {
    Data(Bytes),
    Finish,
}

/// Writes one blob. Dropped before `finish`, it stops and has its shards deleted.
pub struct BlobWriter {
    blob: BlobId,
    input: mpsc::Sender<Input>,
    task: JoinHandle<Result<StoredBlob, WriteError>>,
}

/// A blob that is durable on the network. While it lives, the collector treats its segments as in flight:
/// keep it until the catalog knows the blob.
#[derive(Debug)]
pub struct StoredBlob {
    manifest: Manifest,
    guard: InFlightGuard,
}

impl Deref for StoredBlob {
    type Target = Manifest;
    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

impl StoredBlob {
    /// The manifest alone; from here on the collector may take the blob for garbage unless the catalog knows it.
    pub fn into_manifest(self) -> Manifest {
        drop(self.guard);
        self.manifest
    }
}

impl BlobWriter {
    pub(crate) fn start(inner: Arc<Inner>, options: WriterOptions) -> Result<BlobWriter, WriteError> {
        if inner.peers.is_superseded() {
            return Err(WriteError::Superseded);
        }
        let have = inner.candidates().len();
        if inner.tier(have).is_none() {
            return Err(WriteError::NotEnoughProviders { have, need: needed(&inner) });
        }
        let blob = inner.draw_blob_id();
        let key = BlobKey::new(port::draw(&*inner.rng));
        let wrapped = WrappedKey::seal(&inner.keys, blob, &key, port::draw(&*inner.rng));
        let (input, received) = mpsc::channel(8);
        let context = Arc::new(BlobContext { inner, blob, key, wrapped, options });
        let task = tokio::spawn(Writing::new(context).run(received));
        Ok(BlobWriter { blob, input, task })
    }

    /// Name of the blob being written.
    pub fn blob_id(&self) -> BlobId {
        self.blob
    }

    /// Takes the next bytes; waits while the providers are slower than the caller.
    ///
    /// # Errors
    /// [`WriteError`] as soon as the blob cannot succeed any more; the writer is then of no further use.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        // Large buffers are cut so that what waits in the channel stays small.
        let mut rest = data;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(4 * FRAME_DATA_LEN));
            if self.input.send(Input::Data(part)).await.is_err() {
                return Err(self.failure().await);
            }
        }
        Ok(())
    }

    /// Ends the blob and waits until it is durable. An empty blob has no segments and is durable at once.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the blob remains visible, its shards are deleted in the background.
    pub async fn finish(mut self) -> Result<StoredBlob, WriteError> {
        if self.input.send(Input::Finish).await.is_err() {
            return Err(self.failure().await);
        }
        (&mut self.task).await.unwrap_or(Err(WriteError::Stopped))
    }

    /// Stops the upload and waits until its shards have been asked to be deleted.
    pub async fn abort(self) {
        let BlobWriter { input, task, .. } = self;
        drop(input);
        if let Ok(Ok(stored)) = task.await {
            drop(stored); // cannot be: a writer that was not told to finish does not
        }
    }

    async fn failure(&mut self) -> WriteError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            _ => WriteError::Stopped,
        }
    }
}

pub(crate) fn needed(inner: &Inner) -> usize {
    inner.config.redundancy.map_or(cairn_market::PROVIDERS_MIN, |redundancy| Tier::fixed(redundancy).receipts_min)
}

type Finishing = JoinHandle<Result<SegmentManifest, WriteError>>;

/// The task behind a writer.
struct Writing {
    context: Arc<BlobContext>,
    guard: InFlightGuard,
    tier: Option<Tier>,
    sealer: Option<Sealer>,
    /// Hashes the rows sent last, while the next are being sealed.
    hashing: Option<JoinHandle<RowHasher>>,
    segment: Option<SegmentUpload>,
    segments: u32,
    pending: VecDeque<Bytes>,
    pending_len: usize,
    finishing: VecDeque<Finishing>,
    done: Vec<SegmentManifest>,
}

impl Writing {
    fn new(context: Arc<BlobContext>) -> Self {
        Writing {
            guard: context.inner.in_flight.guard(),
            context,
            tier: None,
            sealer: None,
            hashing: None,
            segment: None,
            segments: 0,
            pending: VecDeque::new(),
            pending_len: 0,
            finishing: VecDeque::new(),
            done: Vec::new(),
        }
    }

    async fn run(mut self, input: mpsc::Receiver<Input>) -> Result<StoredBlob, WriteError> {
        let permits = self.context.inner.uploads.clone();
        let _permit = permits.acquire_owned().await.map_err(|_| WriteError::Stopped)?;
        match self.transfer(input).await {
            Ok(()) => {
                let manifest = Manifest { blob: self.context.blob, key: self.context.wrapped, segments: self.done };
                Ok(StoredBlob { manifest, guard: self.guard })
            }
            Err(error) => {
                self.undo().await;
                Err(error)
            }
        }
    }

    async fn transfer(&mut self, mut input: mpsc::Receiver<Input>) -> Result<(), WriteError> {
        loop {
            match input.recv().await {
                Some(Input::Data(data)) => {
                    if self.tier.is_none() {
                        self.tier = Some(self.context.inner.tier_now().await?);
                    }
                    self.pending_len += data.len();
                    self.pending.push_back(data);
                    if self.pending_len >= self.batch_len() {
                        self.encode(false).await?;
                    }
                }
                Some(Input::Finish) => break,
                None => return Err(WriteError::Stopped),
            }
        }
        self.encode(true).await?;
        while let Some(task) = self.finishing.pop_front() {
            self.collect(task).await?;
        }
        Ok(())
    }

    /// Input worth a trip to the blocking threads.
    fn batch_len(&self) -> usize {
        let data = self.tier().redundancy.data();
        data * FRAME_DATA_LEN * ROWS_AT_ONCE.min(1.max(16 / data))
    }

    /// Decided at the first byte.
    fn tier(&self) -> Tier {
        self.tier.expect("there was a byte")
    }

    /// Codes what is pending. A full segment is ended only when it is known whether another follows.
    async fn encode(&mut self, last: bool) -> Result<(), WriteError> {
        while self.pending_len > 0 {
            if self.sealer.as_ref().is_some_and(Sealer::is_full) {
                self.end_segment(false).await?;
            }
            self.begin_segment(last).await?;
            let mut sealer = self.sealer.take().expect("a segment was just begun");
            let mut pending = std::mem::take(&mut self.pending);
            let (sealer, pending, rows) = blocking(move || {
                let mut rows = Vec::new();
                while let Some(front) = pending.front_mut() {
                    rows.extend(sealer.push(front));
                    if front.is_empty() {
                        pending.pop_front();
                    } else if sealer.is_full() {
                        break;
                    }
                }
                (sealer, pending, rows)
            })
            .await;
            self.sealer = Some(sealer);
            self.pending_len = pending.iter().map(Bytes::len).sum();
            self.pending = pending;
            self.hash(rows.clone()).await;
            self.send(rows).await?;
        }
        if last && self.sealer.is_some() {
            self.end_segment(true).await?;
        }
        Ok(())
    }

    /// Hashes rows on a thread of their own, after those before them.
    async fn hash(&mut self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let mut hasher = self.hasher().await;
        self.hashing = Some(tokio::task::spawn_blocking(move || {
            rows.iter().for_each(|row| hasher.push(row));
            hasher
        }));
    }

    /// The segment's hasher, once it took all rows so far.
    async fn hasher(&mut self) -> RowHasher {
        match self.hashing.take() {
            Some(task) => joined(task).await,
            None => RowHasher::new(self.tier().redundancy),
        }
    }

    async fn begin_segment(&mut self, last: bool) -> Result<(), WriteError> {
        if self.sealer.is_some() {
            return Ok(());
        }
        if self.segments as usize >= SEGMENTS_MAX {
            return Err(WriteError::TooLong(SEGMENTS_MAX));
        }
        let tier = self.tier();
        let before = u64::from(self.segments) * SEGMENT_LEN_MAX;
        let expected = match (last, self.context.options.len_hint) {
            (true, _) => self.pending_len as u64,
            (false, Some(len)) => len.saturating_sub(before).max(self.pending_len as u64),
            (false, None) => SEGMENT_LEN_MAX,
        };
        let segment = SegmentUpload::start(self.context.clone(), self.segments, tier, expected.clamp(1, SEGMENT_LEN_MAX))?;
        self.guard.add(segment.id());
        self.sealer = Some(Sealer::new(tier.redundancy, &self.context.key, self.segments));
        self.segment = Some(segment);
        self.segments += 1;
        Ok(())
    }

    async fn send(&mut self, rows: Vec<Row>) -> Result<(), WriteError> {
        let segment = self.segment.as_mut().expect("rows come from a begun segment");
        for row in rows {
            segment.send(row).await?;
        }
        Ok(())
    }

    async fn end_segment(&mut self, last: bool) -> Result<(), WriteError> {
        let sealer = self.sealer.take().expect("called for a begun segment");
        let mut hasher = self.hasher().await;
        let (row, encoded) = blocking(move || {
            let (row, plain_len) = sealer.finish();
            row.iter().for_each(|row| hasher.push(row));
            (row, EncodedSegment { plain_len, shards: hasher.finish() })
        })
        .await;
        self.send(row.into_iter().collect()).await?;
        let segment = self.segment.take().expect("a sealer has its segment");
        self.finishing.push_back(tokio::spawn(segment.finish(encoded, last)));
        while self.finishing.len() > FINISHING_MAX {
            let oldest = self.finishing.pop_front().expect("more than one");
            self.collect(oldest).await?;
        }
        Ok(())
    }

    async fn collect(&mut self, task: Finishing) -> Result<(), WriteError> {
        self.done.push(task.await.unwrap_or(Err(WriteError::Stopped))?);
        Ok(())
    }

    /// Has everything stored so far deleted.
    async fn undo(mut self) {
        drop(self.segment.take()); // its lanes end without a receipt
        for task in self.finishing.drain(..) {
            self.done.extend(task.await.ok().and_then(Result::ok));
        }
        let places = self.done.iter().flat_map(|segment| segment.shards.iter().flatten().cloned()).collect();
        crate::delete::in_background(&self.context.inner, places, self.guard);
    }
}

/// Runs CPU work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work)).await
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await, // the runtime is shutting down and takes this task with it
    }
}
