//! Layout: where each byte of a segment lies in its frames, rows and shards. Arithmetic only.
//!
//! Plaintext is cut into rows of `k` frames of [`FRAME_DATA_LEN`] bytes. What is left forms one last row of smaller frames: sealed
//! length ⌈⌈rest/k⌉ + 16⌉ up to the next leaf, the very last frame shorter; so a short segment expands by about n/k as a long one does.
//! A shard is the concatenation of its cells, one a row: cell `j < k` of a row is its frame `j`, the others are parity as long as
//! the row's first frame. Data cells that the last row does not need are empty and count as zeros.
//! Limits: 1 ..= [`SEGMENT_LEN_MAX`] bytes of plaintext. Format: `docs/formats/segment.md`.

use std::ops::Range;

use cairn_types::Redundancy;
use cairn_types::limits::{FRAME_DATA_LEN, FRAME_LEN, LEAF_LEN, SEGMENT_LEN_MAX, SHARD_LEN_MAX, TAG_LEN};

/// Shape of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    redundancy: Redundancy,
    plain_len: u64,
    /// Rows whose frames are all full.
    full_rows: u32,
    /// Frames of the last, smaller row; 0 when there is none.
    tail_frames: u32,
    /// Plaintext bytes of each frame of the smaller row but its last.
    tail_data_len: usize,
}

/// One data frame: where it lies and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSpec {
    /// Counts frames from the segment's start; also the counter in its nonce.
    pub index: u32,
    /// Row it belongs to.
    pub row: u32,
    /// Data shard that holds it.
    pub shard: usize,
    /// Where it starts in that shard.
    pub shard_offset: u64,
    /// Bytes in the shard, tag included.
    pub sealed_len: usize,
    /// Where its plaintext starts in the segment.
    pub data_offset: u64,
    /// Plaintext bytes.
    pub data_len: usize,
}

/// A length that no segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment holds 1 to {SEGMENT_LEN_MAX} bytes, not {plain_len}")]
pub struct LayoutError {
    /// The length asked for.
    pub plain_len: u64,
}

// k = 1 makes the longest shard: every frame of the segment with its tag.
const _: () = assert!(SEGMENT_LEN_MAX + SEGMENT_LEN_MAX.div_ceil(FRAME_DATA_LEN as u64) * TAG_LEN as u64 <= SHARD_LEN_MAX);

impl Layout {
    /// Shape of a segment of `plain_len` bytes.
    ///
    /// # Errors
    /// [`LayoutError`] for a length out of 1 ..= [`SEGMENT_LEN_MAX`].
    pub fn new(redundancy: Redundancy, plain_len: u64) -> Result<Layout, LayoutError> {
        if plain_len == 0 || plain_len > SEGMENT_LEN_MAX {
            return Err(LayoutError { plain_len });
        }
        let row_len = (redundancy.data() * FRAME_DATA_LEN) as u64;
        let full_rows = (plain_len / row_len) as u32;
        let tail = (plain_len % row_len) as usize;
        let tail_data_len = (tail.div_ceil(redundancy.data()) + TAG_LEN).next_multiple_of(LEAF_LEN) - TAG_LEN;
        let tail_frames = tail.div_ceil(tail_data_len) as u32;
        Ok(Layout { redundancy, plain_len, full_rows, tail_frames, tail_data_len })
    }

    /// Shards needed and stored.
    pub fn redundancy(&self) -> Redundancy {
        self.redundancy
    }

    /// Plaintext bytes of the segment.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Rows, the smaller last one included.
    pub fn rows(&self) -> u32 {
        self.full_rows + u32::from(self.tail_frames > 0)
    }

    /// Data frames of all rows.
    pub fn frame_count(&self) -> u32 {
        self.full_rows * self.redundancy.data() as u32 + self.tail_frames
    }

    /// The data frame `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Self::frame_count`].
    pub fn frame(&self, index: u32) -> FrameSpec {
        assert!(index < self.frame_count(), "a frame index comes from frames_for or is below frame_count");
        let k = self.redundancy.data() as u32;
        let row = index / k;
        let frame_data_len = if row < self.full_rows { FRAME_DATA_LEN } else { self.tail_data_len };
        let data_offset = self.row_data_offset(row) + u64::from(index % k) * frame_data_len as u64;
        let data_len = (frame_data_len as u64).min(self.plain_len - data_offset) as usize;
        FrameSpec {
            index,
            row,
            shard: (index % k) as usize,
            shard_offset: self.cell_offset(row),
            sealed_len: data_len + TAG_LEN,
            data_offset,
            data_len,
        }
    }

    /// Bytes of one shard's cell in one row; 0 for a data cell the last row does not need, and outside the segment.
    pub fn cell_len(&self, row: u32, shard: usize) -> usize {
        if row >= self.rows() || shard >= self.redundancy.total() {
            return 0;
        }
        let k = self.redundancy.data();
        let index = row * k as u32 + if shard < k { shard as u32 } else { 0 };
        if index < self.frame_count() { self.frame(index).sealed_len } else { 0 }
    }

    /// Bytes of one shard. 0 for a data shard of a segment so short that it gets no frame: there is nothing to store.
    pub fn shard_len(&self, shard: usize) -> u64 {
        if shard >= self.redundancy.total() {
            return 0;
        }
        self.cell_offset(self.full_rows) + self.cell_len(self.full_rows, shard) as u64
    }

    /// Where the cells of `row` start in every shard.
    pub fn cell_offset(&self, row: u32) -> u64 {
        u64::from(row) * FRAME_LEN as u64
    }

    /// Exactly the frames that hold the plaintext bytes of `range`, clipped to the segment.
    pub fn frames_for(&self, range: Range<u64>) -> Range<u32> {
        let end = range.end.min(self.plain_len);
        if range.start >= end {
            return 0..0;
        }
        self.frame_at(range.start)..self.frame_at(end - 1) + 1
    }

    /// Whether `index` is the segment's last frame, which is sealed as such.
    pub(crate) fn is_last(&self, index: u32) -> bool {
        index + 1 == self.frame_count()
    }

    /// Plaintext bytes of each frame but the last in the row after the full ones.
    pub(crate) fn tail_data_len(&self) -> usize {
        self.tail_data_len
    }

    fn frame_at(&self, offset: u64) -> u32 {
        let full_len = self.row_data_offset(self.full_rows);
        if offset < full_len {
            (offset / FRAME_DATA_LEN as u64) as u32
        } else {
            self.full_rows * self.redundancy.data() as u32 + ((offset - full_len) / self.tail_data_len as u64) as u32
        }
    }

    fn row_data_offset(&self, row: u32) -> u64 {
        u64::from(row) * (self.redundancy.data() * FRAME_DATA_LEN) as u64
    }
}
