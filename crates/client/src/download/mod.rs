//! Download: a range of a blob as a stream of authenticated pieces, in order.
//!
//! Never: more read ahead than a few rows; a reader that is dropped stops its fetching.

pub(crate) mod lane;
mod open;
mod segment;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cairn_coding::{BlobKey, Decoder, Layout, Manifest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Inner;
use crate::error::ReadError;
use segment::SegmentReader;

/// The next segment's lanes start when this many rows of the present one are left.
const ROWS_LEFT_TO_PREFETCH: u32 = 8;
/// Pieces waiting for a slow caller.
const PIECES_AHEAD: usize = 8;

/// Reads a range of one blob.
pub struct BlobReader {
    job: Option<Job>,
    pieces: Option<mpsc::Receiver<Result<Bytes, ReadError>>>,
    task: Option<JoinHandle<()>>,
}

struct Job {
    inner: Arc<Inner>,
    manifest: Arc<Manifest>,
    range: Range<u64>,
}

impl BlobReader {
    pub(crate) fn new(inner: Arc<Inner>, manifest: Arc<Manifest>, range: Range<u64>) -> Self {
        let range = range.start..range.end.min(manifest.plain_len());
        BlobReader { job: Some(Job { inner, manifest, range }), pieces: None, task: None }
    }

    /// Next piece of the range, in order; `None` at its end. After an error the stream is over.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if let Some(job) = self.job.take() {
            let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
            self.pieces = Some(pieces);
            self.task = Some(tokio::spawn(job.run(sender)));
        }
        let next = self.pieces.as_mut()?.recv().await;
        if !matches!(next, Some(Ok(_))) {
            self.pieces = None;
            if let Some(Err(error)) = futures::future::OptionFuture::from(self.task.take()).await {
                tracing::error!(%error, "read task died");
                return Some(Err(ReadError::Stopped));
            }
        }
        next
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

type Pieces = mpsc::Sender<Result<Bytes, ReadError>>;

impl Job {
    async fn run(self, pieces: Pieces) {
        if let Err(error) = self.read(&pieces).await {
            let _ = pieces.send(Err(error)).await; // nobody listens any more
        }
    }

    async fn read(&self, pieces: &Pieces) -> Result<(), ReadError> {
        let _permit = self.inner.downloads.acquire().await.map_err(|_| ReadError::Stopped)?;
        let key = self.manifest.key.open(&self.inner.keys, self.manifest.blob).map_err(|_| ReadError::WrongKey)?;
        let mut parts = self.parts().into_iter();
        let mut present = parts.next().map(|(index, local)| self.open(&key, index, local)).transpose()?;
        while let Some(mut reader) = present {
            let mut following = None;
            while !reader.is_done() {
                if following.is_none() && reader.rows_left() <= ROWS_LEFT_TO_PREFETCH {
                    following = parts.next().map(|(index, local)| self.open(&key, index, local)).transpose()?;
                }
                for piece in reader.next().await? {
                    if pieces.send(Ok(piece)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            present = match following {
                Some(reader) => Some(reader),
                None => parts.next().map(|(index, local)| self.open(&key, index, local)).transpose()?,
            };
        }
        Ok(())
    }

    /// Segments that the range touches, each with the range inside it.
    fn parts(&self) -> Vec<(usize, Range<u64>)> {
        let mut start = 0;
        let mut parts = Vec::new();
        for (index, segment) in self.manifest.segments.iter().enumerate() {
            let end = start + segment.plain_len;
            let (from, to) = (self.range.start.max(start), self.range.end.min(end));
            if from < to {
                parts.push((index, from - start..to - start));
            }
            start = end;
        }
        parts
    }

    fn open(&self, key: &BlobKey, index: usize, local: Range<u64>) -> Result<SegmentReader, ReadError> {
        let segment = &self.manifest.segments[index];
        let layout =
            Layout::new(segment.redundancy, segment.plain_len).map_err(|error| ReadError::Manifest(error.to_string()))?;
        let decoder = Decoder::new(key, index as u32, layout);
        Ok(SegmentReader::start(self.inner.clone(), self.manifest.clone(), index, decoder, local))
    }
}
