//! Decoder: opens the frames of one segment and rebuilds those whose shards are missing.
//!
//! Never: plaintext out of a frame that was not authenticated, or an allocation beyond one row. Every input may be hostile.

use bytes::{Bytes, BytesMut};

use crate::frame::FrameCipher;
use crate::key::BlobKey;
use crate::layout::Layout;
use crate::rebuild::Rebuilder;

/// Cells that do not give a segment's bytes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the bytes that were sealed as this frame.
    #[error("frame {frame} is not what was sealed: read its shard elsewhere or rebuild its row")]
    BadFrame {
        /// The frame.
        frame: u32,
    },
    /// A row beyond the segment's end.
    #[error("the segment has no row {row}")]
    NoSuchRow {
        /// The row asked for.
        row: u32,
    },
    /// Not one entry per shard.
    #[error("{cells} cells, a row of this segment has {expected}")]
    WrongCellCount {
        /// Entries given.
        cells: usize,
        /// Shards of the segment.
        expected: usize,
    },
    /// A cell of a length it cannot have.
    #[error("cell of shard {shard} in row {row} has {len} bytes instead of {expected}")]
    WrongCell {
        /// The row.
        row: u32,
        /// The shard.
        shard: usize,
        /// Its length.
        len: usize,
        /// The length the layout gives it.
        expected: usize,
    },
    /// Fewer cells than the redundancy needs.
    #[error("row {row} has {present} cells, {needed} are needed")]
    TooFewCells {
        /// The row.
        row: u32,
        /// Cells present, empty ones included.
        present: usize,
        /// Cells that suffice.
        needed: usize,
    },
    /// At least one of the cells used is wrong; their proofs tell which.
    #[error("the cells of row {row} do not belong together: at least one is wrong")]
    BadRow {
        /// The row.
        row: u32,
    },
}

/// Opens one segment. Shared freely between threads.
pub struct Decoder {
    cipher: FrameCipher,
    rebuilder: Rebuilder,
}

impl Decoder {
    /// For segment `segment_index` of the blob sealed with `key`.
    pub fn new(key: &BlobKey, segment_index: u32, layout: Layout) -> Decoder {
        Decoder { cipher: FrameCipher::new(key, segment_index), rebuilder: Rebuilder::new(layout) }
    }

    /// Shape of the segment.
    pub fn layout(&self) -> &Layout {
        self.rebuilder.layout()
    }

    /// Authenticates and opens one data frame as it came from its shard. Bytes of which the caller is the only holder are opened
    /// in place.
    ///
    /// # Errors
    /// [`DecodeError::BadFrame`] when the bytes are not exactly what was sealed as this frame of this segment of this blob.
    pub fn open_frame(&self, frame: u32, sealed: impl Into<Bytes>) -> Result<Bytes, DecodeError> {
        let (layout, sealed) = (self.layout(), sealed.into());
        if frame >= layout.frame_count() || sealed.len() != layout.frame(frame).sealed_len {
            return Err(DecodeError::BadFrame { frame });
        }
        let sealed = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        match self.cipher.open(frame, layout.is_last(frame), sealed) {
            Some(data) => Ok(data.freeze()),
            None => Err(DecodeError::BadFrame { frame }),
        }
    }

    /// Fills every missing data cell of `row`; see [`Rebuilder::rebuild_data`]. Open the frames next: a rebuilt cell is only as
    /// right as those it came from.
    ///
    /// # Errors
    /// Any [`DecodeError`] but `BadFrame`.
    pub fn rebuild_row(&self, row: u32, cells: &mut [Option<Bytes>]) -> Result<(), DecodeError> {
        self.rebuilder.rebuild_data(row, cells)
    }
}
