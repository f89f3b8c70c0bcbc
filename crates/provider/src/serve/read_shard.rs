//! Answers Read: the head and body frames, read from the disk some frames ahead of the peer.
//!
//! Frames are laid out in the buffer as they travel, so bytes are copied once, by the kernel, on their way from the disk.
//! Never: a check of the bytes (the client's seals and proofs do that). Limits: [`CHUNK_FRAMES`] frames in each of two buffers.

use std::sync::Arc;

use bytes::Bytes;
use cairn_proto::frame::FRAME_HEAD_LEN;
use cairn_proto::shard::{self, Response, response};
use cairn_proto::transport::BoxStream;
use cairn_types::NodeId;
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::PATH_LEN_MAX;
use futures::io::AsyncWriteExt;
use prost::Message;

use super::Server;
use super::refusal::Failure;
use super::session::{deal_of, in_time, root_of};
use crate::store::{ShardReader, Store, StoreError};

/// Frames read from the disk in one go.
const CHUNK_FRAMES: usize = 4;
const KIND_CONTROL: u8 = 0;
const KIND_BODY: u8 = 1;
/// The longest proof: its hashes with their tags, and the messages around them.
const PROOF_LEN_MAX: usize = FRAME_HEAD_LEN + 16 + PATH_LEN_MAX * 34;
/// The longest read head.
const READ_HEAD_LEN_MAX: usize = FRAME_HEAD_LEN + 24;

/// What is left to send.
struct Plan {
    reader: Arc<ShardReader>,
    next: u64,
    end: u64,
    proof: bool,
    chunk_frames: usize,
}

/// Bytes to send, in a buffer that is cleared once and reused.
struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
    /// Bytes of the shard among those filled: what is paid for.
    body_len: u64,
    failed: Option<StoreError>,
}

pub(super) async fn answer(server: &Server, peer: NodeId, read: shard::Read, stream: &mut BoxStream) -> Result<(), Failure> {
    let (deal, root) = (deal_of(&read.deal_id)?, root_of(&read.root)?);
    let (store, stall) = (&server.0.store, server.0.config.stall);
    let memory = if read.len > FRAME_LEN as u64 { store.spare_memory(2 * CHUNK_FRAMES as u32) } else { None };
    let chunk_frames = if memory.is_some() { CHUNK_FRAMES } else { 1 };
    let opened = store.clone();
    let first = move || open(&opened, peer, deal, root, &read, chunk_frames);
    let (mut plan, mut sending) = store.blocking(first).await??;
    let paid = server.0.accounts.as_ref().and_then(|accounts| Some((accounts, accounts.slot(&deal)?)));
    let mut spare = None;
    loop {
        if let Some((accounts, slot)) = &paid {
            accounts.read(slot, sending.body_len, stall).await?;
        }
        let ahead = async {
            if plan.next == plan.end || sending.failed.is_some() {
                return Ok(None);
            }
            let mut chunk = spare.take().unwrap_or_else(|| Chunk::for_frames(plan.chunk_frames, plan.proof));
            let filled = store.blocking(move || {
                plan.fill(&mut chunk);
                (plan, chunk)
            });
            filled.await.map(Some)
        };
        let write = in_time(stall, stream.write_all(&sending.bytes[..sending.filled]));
        let (written, filled) = if memory.is_some() {
            tokio::join!(write, ahead)
        } else {
            write.await?;
            (Ok(()), ahead.await)
        };
        written?;
        if let Some(error) = sending.failed {
            return Err(error.into());
        }
        match filled? {
            None => break,
            Some((rest, chunk)) => {
                spare = Some(std::mem::replace(&mut sending, chunk));
                plan = rest;
            }
        }
    }
    in_time(stall, stream.flush()).await
}

/// Finds the shard, checks the range, and fills the first chunk.
fn open(
    store: &Store,
    peer: NodeId,
    deal: cairn_types::DealId,
    root: cairn_types::ShardRoot,
    read: &shard::Read,
    chunk_frames: usize,
) -> Result<(Plan, Chunk), StoreError> {
    let reader = store.reader(peer, deal, root, read.proof)?;
    let shard_len = reader.shard_len();
    let bad_range = StoreError::BadRange { offset: read.offset, len: read.len, shard_len, proof: read.proof };
    let Some(end) = read.offset.checked_add(read.len).filter(|end| *end <= shard_len) else { return Err(bad_range) };
    let whole = |at: u64| at.is_multiple_of(FRAME_LEN as u64);
    if read.proof && (read.len == 0 || !whole(read.offset) || !(whole(end) || end == shard_len)) {
        return Err(bad_range);
    }
    let mut plan = Plan { reader: Arc::new(reader), next: read.offset, end, proof: read.proof, chunk_frames };
    let frames = end.div_ceil(FRAME_LEN as u64) - read.offset / FRAME_LEN as u64;
    let mut chunk = if frames <= 1 {
        Chunk::with_len(READ_HEAD_LEN_MAX + FRAME_HEAD_LEN + PROOF_LEN_MAX + read.len as usize)
    } else {
        Chunk::for_frames(chunk_frames, read.proof)
    };
    chunk.put_control(response::Kind::ReadHead(shard::ReadHead { shard_len }));
    plan.fill_more(&mut chunk);
    Ok((plan, chunk))
}

impl Plan {
    /// Fills a chunk anew with the next frames. Blocking.
    fn fill(&mut self, chunk: &mut Chunk) {
        (chunk.filled, chunk.body_len) = (0, 0);
        self.fill_more(chunk);
    }

    fn fill_more(&mut self, chunk: &mut Chunk) {
        for _ in 0..self.chunk_frames {
            if self.next == self.end {
                return;
            }
            let before = chunk.filled;
            if let Err(error) = self.fill_frame(chunk) {
                chunk.filled = before;
                chunk.failed = Some(error);
                return;
            }
        }
    }

    /// Frames end at multiples of [`FRAME_LEN`] of the shard, and where the range ends.
    fn fill_frame(&mut self, chunk: &mut Chunk) -> Result<(), StoreError> {
        let block = self.next / FRAME_LEN as u64;
        let frame_end = ((block + 1) * FRAME_LEN as u64).min(self.end);
        let len = (frame_end - self.next) as usize;
        if self.proof {
            let path = self.reader.path(block)?.iter().map(|hash| Bytes::copy_from_slice(hash)).collect();
            chunk.put_control(response::Kind::BlockProof(shard::BlockProof { path }));
        }
        chunk.put_head(KIND_BODY, len);
        self.reader.read_at(self.next, chunk.space(len))?;
        self.next = frame_end;
        chunk.body_len += len as u64;
        Ok(())
    }
}

impl Chunk {
    fn with_len(len: usize) -> Chunk {
        Chunk { bytes: vec![0; len], filled: 0, body_len: 0, failed: None }
    }

    fn for_frames(frames: usize, proof: bool) -> Chunk {
        let proof_len = if proof { PROOF_LEN_MAX } else { 0 };
        Chunk::with_len(READ_HEAD_LEN_MAX + frames * (FRAME_HEAD_LEN + FRAME_LEN + proof_len))
    }

    fn space(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        if self.bytes.len() < self.filled {
            self.bytes.resize(self.filled, 0);
        }
        &mut self.bytes[start..self.filled]
    }

    fn put_head(&mut self, kind: u8, len: usize) {
        let [a, b, c, d] = (len as u32).to_be_bytes();
        self.space(FRAME_HEAD_LEN).copy_from_slice(&[kind, a, b, c, d]);
    }

    fn put_control(&mut self, kind: response::Kind) {
        let message = Response { kind: Some(kind) }.encode_to_vec();
        self.put_head(KIND_CONTROL, message.len());
        self.space(message.len()).copy_from_slice(&message);
    }
}
