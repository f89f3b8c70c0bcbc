//! What the tests of this crate share: encoding a whole segment and reading it back through the public interface.
#![allow(dead_code)]

use bytes::Bytes;
use cairn_coding::{BlobKey, DecodeError, Decoder, EncodedSegment, Encoder, Layout, Row};
use cairn_types::Redundancy;

/// Deterministic bytes: byte `i` is `(31·i + ⌊i/251⌋ + seed) mod 256`.
pub fn sample(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251 + usize::from(seed)) as u8).collect()
}

pub fn redundancy(data: usize, total: usize) -> Redundancy {
    Redundancy::new(data, total).expect("a possible redundancy")
}

/// A whole segment held in memory.
pub struct Encoded {
    pub layout: Layout,
    pub rows: Vec<Row>,
    pub segment: EncodedSegment,
}

/// Encodes `data` given in pieces of `piece_len`, and checks that no more than a row is ever held back.
pub fn encode_in_pieces(redundancy: Redundancy, key: &BlobKey, segment_index: u32, data: &[u8], piece_len: usize) -> Encoded {
    let row_len = (redundancy.data() * cairn_types::limits::FRAME_DATA_LEN) as u64;
    let mut encoder = Encoder::new(redundancy, key, segment_index);
    let mut rows = Vec::new();
    for piece in data.chunks(piece_len) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            rows.extend(encoder.push(&mut piece));
            assert!(encoder.plain_len() - rows.len() as u64 * row_len <= row_len, "more than a row is held back");
        }
    }
    let (last, segment) = encoder.finish();
    rows.extend(last);
    Encoded { layout: Layout::new(redundancy, segment.plain_len).expect("not empty"), rows, segment }
}

pub fn encode(redundancy: Redundancy, key: &BlobKey, segment_index: u32, data: &[u8]) -> Encoded {
    encode_in_pieces(redundancy, key, segment_index, data, 1 << 20)
}

impl Encoded {
    /// All bytes of one shard.
    pub fn shard(&self, shard: usize) -> Vec<u8> {
        self.rows.iter().flat_map(|row| row.cells[shard].to_vec()).collect()
    }

    /// The cell that holds a data frame.
    pub fn frame(&self, frame: u32) -> Bytes {
        let spec = self.layout.frame(frame);
        self.rows[spec.row as usize].cells[spec.shard].clone()
    }

    /// The cells of one row as a reader has them who got only the shards of `present`.
    pub fn cells(&self, row: u32, present: &[usize]) -> Vec<Option<Bytes>> {
        let cells = &self.rows[row as usize].cells;
        (0..cells.len()).map(|shard| present.contains(&shard).then(|| cells[shard].clone())).collect()
    }
}

/// Reads a whole segment of which only the shards of `present` are left.
pub fn decode(decoder: &Decoder, encoded: &Encoded, present: &[usize]) -> Result<Vec<u8>, DecodeError> {
    let layout = *decoder.layout();
    let mut data = Vec::new();
    for row in 0..layout.rows() {
        let mut cells = encoded.cells(row, present);
        decoder.rebuild_row(row, &mut cells)?;
        let k = layout.redundancy().data() as u32;
        for frame in (row * k)..((row + 1) * k).min(layout.frame_count()) {
            let cell = cells[layout.frame(frame).shard].clone().expect("rebuild_row fills every data cell");
            data.extend_from_slice(&decoder.open_frame(frame, cell)?);
        }
    }
    Ok(data)
}
