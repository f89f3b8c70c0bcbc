//! Encoder: plaintext of one segment in, rows of sealed and coded cells out, the shards' roots at the end.
//!
//! A pull machine: it takes what it can hold and says when a row is ready. The newest full row is held back until it is known
//! whether more follows, because the segment's last frame is sealed as such.
//! [`Encoder`] is [`Sealer`] and [`RowHasher`] in one; they also stand alone, so that hashing can run on another thread.
//! Never: encode other bytes under a key and segment index that were used before (the nonces would repeat).
//! Limits: two rows in memory; [`SEGMENT_LEN_MAX`] bytes a segment. Format: `docs/formats/segment.md`.

use bytes::{Buf, Bytes, BytesMut};
use cairn_types::limits::{FRAME_DATA_LEN, FRAME_LEN, SEGMENT_LEN_MAX, TAG_LEN};
use cairn_types::merkle::ShardHasher;
use cairn_types::{Redundancy, ShardRoot};

use crate::frame::FrameCipher;
use crate::key::BlobKey;
use crate::layout::Layout;
use crate::rebuild::Code;

/// One row: the cell of each shard, in shard order. Data cells that the last row does not need are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counts rows from the segment's start.
    pub index: u32,
    /// `n` cells; each owns its memory, so that a slow provider holds on to no other's cell.
    pub cells: Vec<Bytes>,
}

/// What is known of a segment once it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSegment {
    /// Plaintext bytes taken. 0 when nothing was taken: there is no such segment, and nothing to store.
    pub plain_len: u64,
    /// The shards, in order.
    pub shards: Vec<EncodedShard>,
}

/// One shard's name and length. A shard of length 0 needs no storing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedShard {
    /// Its name.
    pub root: ShardRoot,
    /// Bytes.
    pub len: u64,
}

/// Seals and codes one segment; leaves the hashing to a [`RowHasher`].
pub struct Sealer {
    redundancy: Redundancy,
    cipher: FrameCipher,
    code: Code,
    /// Plaintext of the row under construction, cut into frames; each has room for its tag.
    frames: Vec<BytesMut>,
    rows: u32,
    plain_len: u64,
}

impl Sealer {
    /// For segment `segment_index` of the blob of `key`. A pair of key and index is used for one plaintext and one redundancy only.
    pub fn new(redundancy: Redundancy, key: &BlobKey, segment_index: u32) -> Sealer {
        Sealer {
            redundancy,
            cipher: FrameCipher::new(key, segment_index),
            code: Code::new(redundancy),
            frames: Vec::with_capacity(redundancy.data()),
            rows: 0,
            plain_len: 0,
        }
    }

    /// Takes bytes from the front of `input`, up to what the row and the segment can hold, and returns a row when one became full
    /// and more follows. Call again until `input` is empty or [`Self::is_full`].
    pub fn push(&mut self, input: &mut Bytes) -> Option<Row> {
        let room = input.len().min((SEGMENT_LEN_MAX - self.plain_len) as usize);
        if room == 0 {
            return None;
        }
        let row = self.row_is_full().then(|| self.take_row(false));
        let mut taken = 0;
        while taken < room && !self.row_is_full() {
            taken += fill(&mut self.frames, &input[taken..room], FRAME_DATA_LEN, FRAME_LEN);
        }
        input.advance(taken);
        self.plain_len += taken as u64;
        row
    }

    /// Whether the segment holds all it can; what follows belongs to the next one.
    pub fn is_full(&self) -> bool {
        self.plain_len == SEGMENT_LEN_MAX
    }

    /// Plaintext bytes taken so far.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Ends the segment: its last row, `None` when nothing was taken, and its length.
    pub fn finish(mut self) -> (Option<Row>, u64) {
        if self.plain_len == 0 {
            return (None, 0);
        }
        let layout = Layout::new(self.redundancy, self.plain_len).expect("a segment takes at most SEGMENT_LEN_MAX bytes");
        if !self.row_is_full() && layout.tail_data_len() < FRAME_DATA_LEN {
            self.frames = recut(&self.frames, layout.tail_data_len());
        }
        (Some(self.take_row(true)), self.plain_len)
    }

    fn row_is_full(&self) -> bool {
        self.frames.len() == self.redundancy.data() && self.frames.last().is_some_and(|frame| frame.len() == FRAME_DATA_LEN)
    }

    /// Seals and codes the frames of the row under construction.
    fn take_row(&mut self, last: bool) -> Row {
        let k = self.redundancy.data();
        let mut frames = std::mem::replace(&mut self.frames, Vec::with_capacity(k));
        let (count, first_counter) = (frames.len(), self.rows * k as u32);
        for (place, frame) in frames.iter_mut().enumerate() {
            self.cipher.seal(first_counter + place as u32, last && place + 1 == count, frame);
        }
        let row_len = frames[0].len();
        let last_len = frames[count - 1].len();
        frames[count - 1].resize(row_len, 0);
        let parity = self.code.parity(&frames);
        frames[count - 1].truncate(last_len);
        let mut cells: Vec<Bytes> = frames.into_iter().map(BytesMut::freeze).collect();
        cells.resize(k, Bytes::new());
        cells.extend(parity.into_iter().map(BytesMut::freeze));
        self.rows += 1;
        Row { index: self.rows - 1, cells }
    }
}

/// Computes the roots of a segment's shards from its rows, given in order.
pub struct RowHasher {
    shards: Vec<ShardHasher>,
}

impl RowHasher {
    /// For a segment of this redundancy.
    pub fn new(redundancy: Redundancy) -> RowHasher {
        RowHasher { shards: vec![ShardHasher::new(); redundancy.total()] }
    }

    /// Takes the next row.
    pub fn push(&mut self, row: &Row) {
        for (shard, cell) in self.shards.iter_mut().zip(&row.cells) {
            if !cell.is_empty() {
                shard.push_block(cell).expect("an encoder's cells are full frames but for the last row");
            }
        }
    }

    /// Names and lengths of the shards, in order.
    pub fn finish(&self) -> Vec<EncodedShard> {
        self.shards.iter().map(|shard| EncodedShard { root: shard.root(), len: shard.byte_len() }).collect()
    }
}

/// Seals, codes and hashes one segment.
pub struct Encoder {
    sealer: Sealer,
    hasher: RowHasher,
}

impl Encoder {
    /// As [`Sealer::new`].
    pub fn new(redundancy: Redundancy, key: &BlobKey, segment_index: u32) -> Encoder {
        Encoder { sealer: Sealer::new(redundancy, key, segment_index), hasher: RowHasher::new(redundancy) }
    }

    /// As [`Sealer::push`].
    pub fn push(&mut self, input: &mut Bytes) -> Option<Row> {
        self.sealer.push(input).inspect(|row| self.hasher.push(row))
    }

    /// Whether the segment holds all it can; what follows belongs to the next one.
    pub fn is_full(&self) -> bool {
        self.sealer.is_full()
    }

    /// Plaintext bytes taken so far.
    pub fn plain_len(&self) -> u64 {
        self.sealer.plain_len()
    }

    /// Ends the segment: its last row, `None` when nothing was taken, and its shards' names.
    pub fn finish(mut self) -> (Option<Row>, EncodedSegment) {
        let (row, plain_len) = self.sealer.finish();
        row.iter().for_each(|row| self.hasher.push(row));
        (row, EncodedSegment { plain_len, shards: self.hasher.finish() })
    }

    /// Splits an encoder that has taken nothing yet into its two stages, to run them on two threads.
    pub fn split(self) -> (Sealer, RowHasher) {
        (self.sealer, self.hasher)
    }
}

/// Appends the front of `input` to the last frame, or to a new one when that holds `data_len`; says how much was taken.
fn fill(frames: &mut Vec<BytesMut>, input: &[u8], data_len: usize, capacity: usize) -> usize {
    if frames.last().is_none_or(|frame| frame.len() == data_len) {
        frames.push(BytesMut::with_capacity(capacity));
    }
    let frame = frames.last_mut().expect("one was pushed if there was none");
    let taken = input.len().min(data_len - frame.len());
    frame.extend_from_slice(&input[..taken]);
    taken
}

/// Cuts the plaintext of a partial row into frames of `data_len` bytes.
fn recut(frames: &[BytesMut], data_len: usize) -> Vec<BytesMut> {
    let mut smaller = Vec::new();
    for frame in frames {
        let mut taken = 0;
        while taken < frame.len() {
            taken += fill(&mut smaller, &frame[taken..], data_len, data_len + TAG_LEN);
        }
    }
    smaller
}
