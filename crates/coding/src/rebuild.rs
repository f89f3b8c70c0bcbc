//! Rebuilding: parity from data cells, and missing cells from any `k`. Knows no key: cells are sealed bytes to it.
//!
//! Reed–Solomon over GF(2^8) of `reed-solomon-erasure` (Vandermonde, systematic), called on blocks that stay in the cache.
//! Never: trust that cells are right. What is rebuilt from wrong cells is wrong; frames are authenticated by [`crate::Decoder`],
//! shards by their root. Limits: one row in memory. Format: `docs/formats/segment.md`.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use cairn_types::Redundancy;
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::decode::DecodeError;
use crate::layout::Layout;

/// Bytes of each shard coded in one library call; longer calls fall out of the cache and run at half the speed.
const CODE_BLOCK_LEN: usize = 16 * 1024;
static ZEROS: [u8; CODE_BLOCK_LEN] = [0; CODE_BLOCK_LEN];

/// The code of one redundancy. Its matrix is made at the first use: a systematic read never needs it.
pub(crate) struct Code {
    redundancy: Redundancy,
    matrix: OnceLock<ReedSolomon>,
}

impl Code {
    pub(crate) fn new(redundancy: Redundancy) -> Self {
        Self { redundancy, matrix: OnceLock::new() }
    }

    /// Parity cells of one row. `data` are its frames, at most `k`, all of one length; missing ones count as zeros.
    pub(crate) fn parity(&self, data: &[BytesMut]) -> Vec<BytesMut> {
        let (data_count, len) = (self.redundancy.data(), data[0].len());
        let mut parity: Vec<BytesMut> = (0..self.redundancy.parity()).map(|_| BytesMut::zeroed(len)).collect();
        if parity.is_empty() {
            return parity;
        }
        for start in (0..len).step_by(CODE_BLOCK_LEN) {
            let end = len.min(start + CODE_BLOCK_LEN);
            let mut inputs: Vec<&[u8]> = data.iter().map(|cell| &cell[start..end]).collect();
            inputs.resize(data_count, &ZEROS[..end - start]);
            let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(|cell| &mut cell[start..end]).collect();
            self.matrix().encode_sep(&inputs, &mut outputs).expect("k inputs and n − k outputs of one length");
        }
        parity
    }

    /// Fills the cells marked `false`; parity only where its buffer is not empty. At least `k` are marked `true`.
    fn rebuild(&self, cells: &mut [(BytesMut, bool)], len: usize, with_parity: bool) {
        for start in (0..len).step_by(CODE_BLOCK_LEN) {
            let end = len.min(start + CODE_BLOCK_LEN);
            let mut blocks: Vec<(&mut [u8], bool)> = cells
                .iter_mut()
                .map(|(cell, present)| if cell.is_empty() { (&mut cell[..], false) } else { (&mut cell[start..end], *present) })
                .collect();
            let outcome =
                if with_parity { self.matrix().reconstruct(&mut blocks) } else { self.matrix().reconstruct_data(&mut blocks) };
            outcome.expect("at least k blocks of one length are present");
        }
    }

    fn matrix(&self) -> &ReedSolomon {
        self.matrix.get_or_init(|| {
            ReedSolomon::new(self.redundancy.data(), self.redundancy.parity())
                .expect("1 ≤ k < n ≤ 128: a code without parity is never asked for")
        })
    }
}

/// Rebuilds cells of one segment's rows without its key, as a repair does.
pub struct Rebuilder {
    layout: Layout,
    code: Code,
}

impl Rebuilder {
    /// For segments of this shape.
    pub fn new(layout: Layout) -> Rebuilder {
        Rebuilder { layout, code: Code::new(layout.redundancy()) }
    }

    /// Shape of the segment.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Fills every missing data cell of `row` from any `k` cells. `cells` has one entry a shard; data cells that the last row does
    /// not need count as present. Cells of which the caller is the only holder are not copied.
    ///
    /// # Errors
    /// [`DecodeError`] when the cells are not of this row's shape, too few, or do not belong together. No cell is filled then.
    pub fn rebuild_data(&self, row: u32, cells: &mut [Option<Bytes>]) -> Result<(), DecodeError> {
        self.rebuild(row, cells, false)
    }

    /// As [`Self::rebuild_data`], and fills the missing parity cells too.
    ///
    /// # Errors
    /// As [`Self::rebuild_data`].
    pub fn rebuild_all(&self, row: u32, cells: &mut [Option<Bytes>]) -> Result<(), DecodeError> {
        self.rebuild(row, cells, true)
    }

    fn rebuild(&self, row: u32, cells: &mut [Option<Bytes>], with_parity: bool) -> Result<(), DecodeError> {
        self.check_cells(row, cells)?;
        let (data_count, row_len) = (self.layout.redundancy().data(), self.layout.cell_len(row, 0));
        let wanted = |shard: usize| shard < data_count || with_parity;
        let missing =
            |(shard, cell): (usize, &Option<Bytes>)| cell.is_none() && self.layout.cell_len(row, shard) > 0 && wanted(shard);
        if !cells.iter().enumerate().any(missing) {
            return Ok(());
        }
        let mut work: Vec<(BytesMut, bool)> = Vec::with_capacity(cells.len());
        for (shard, cell) in cells.iter_mut().enumerate() {
            let absent = self.layout.cell_len(row, shard) == 0;
            work.push(match cell.take() {
                Some(bytes) => (padded(bytes, row_len), true),
                None if absent || wanted(shard) => (BytesMut::zeroed(row_len), absent),
                None => (BytesMut::new(), false),
            });
        }
        self.code.rebuild(&mut work, row_len, with_parity);
        let mut fits = true; // what lies behind a short frame was zeros when the parity was made
        for (shard, (bytes, _)) in work.iter().enumerate() {
            let len = self.layout.cell_len(row, shard).min(bytes.len());
            fits &= bytes[len..].iter().all(|byte| *byte == 0);
        }
        for (shard, (mut bytes, present)) in work.into_iter().enumerate() {
            let len = self.layout.cell_len(row, shard);
            if len > 0 && !bytes.is_empty() && (present || fits) {
                bytes.truncate(len);
                cells[shard] = Some(bytes.freeze());
            }
        }
        if fits { Ok(()) } else { Err(DecodeError::BadRow { row }) }
    }

    fn check_cells(&self, row: u32, cells: &[Option<Bytes>]) -> Result<(), DecodeError> {
        let redundancy = self.layout.redundancy();
        if row >= self.layout.rows() {
            return Err(DecodeError::NoSuchRow { row });
        }
        if cells.len() != redundancy.total() {
            return Err(DecodeError::WrongCellCount { cells: cells.len(), expected: redundancy.total() });
        }
        let mut present = 0;
        for (shard, cell) in cells.iter().enumerate() {
            let expected = self.layout.cell_len(row, shard);
            if let Some(len) = cell.as_ref().map(Bytes::len).filter(|len| *len != expected) {
                return Err(DecodeError::WrongCell { row, shard, len, expected });
            }
            present += usize::from(cell.is_some() || expected == 0);
        }
        if present < redundancy.data() {
            return Err(DecodeError::TooFewCells { row, present, needed: redundancy.data() });
        }
        Ok(())
    }
}

fn padded(bytes: Bytes, len: usize) -> BytesMut {
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| {
        let mut copy = BytesMut::with_capacity(len);
        copy.extend_from_slice(&shared);
        copy
    });
    bytes.resize(len, 0);
    bytes
}
