//! Opening rows: CPU work of a download, off the async threads.
//!
//! Never: a piece that was not authenticated.

use bytes::Bytes;
use cairn_coding::Decoder;

/// Cells of one row as they came, one entry a shard.
pub(crate) type Cells = Vec<Option<Bytes>>;

/// A row that is to be opened.
pub(crate) struct RowJob {
    pub row: u32,
    pub cells: Cells,
    /// Frames of the row that the range needs, with what is already open.
    pub wanted: Vec<(u32, Option<Bytes>)>,
}

/// A row after the attempt.
pub(crate) struct RowDone {
    pub job: RowJob,
    /// Data shards whose cells are not what was sealed.
    pub bad: Vec<usize>,
    /// Cells that all prove right and yet do not decode.
    pub undecodable: bool,
}

/// Opens the wanted frames straight from their cells; opened cells are used up.
pub(crate) fn systematic(decoder: &Decoder, mut job: RowJob) -> RowDone {
    let mut bad = Vec::new();
    for (frame, open) in job.wanted.iter_mut().filter(|(_, open)| open.is_none()) {
        let shard = decoder.layout().frame(*frame).shard;
        let Some(cell) = job.cells[shard].take() else { continue };
        match decoder.open_frame(*frame, cell) {
            Ok(data) => *open = Some(data),
            Err(_) => bad.push(shard),
        }
    }
    RowDone { job, bad, undecodable: false }
}

/// Opens what is there, rebuilds the rest from any k cells. Parity cells were proven by their lanes; data cells are authenticated here.
pub(crate) fn rebuilt(decoder: &Decoder, mut job: RowJob) -> RowDone {
    let layout = *decoder.layout();
    let data = layout.redundancy().data();
    let mut bad = Vec::new();
    for shard in 0..data {
        let Some(cell) = job.cells[shard].clone() else { continue };
        let frame = job.row * data as u32 + shard as u32;
        if layout.cell_len(job.row, shard) == 0 {
            continue;
        }
        match decoder.open_frame(frame, cell) {
            Ok(opened) => {
                if let Some((_, open)) = job.wanted.iter_mut().find(|(wanted, _)| *wanted == frame) {
                    *open = Some(opened);
                }
            }
            Err(_) => {
                job.cells[shard] = None;
                bad.push(shard);
            }
        }
    }
    if bad.is_empty() && job.wanted.iter().any(|(_, open)| open.is_none()) {
        if decoder.rebuild_row(job.row, &mut job.cells).is_err() {
            return RowDone { job, bad, undecodable: true };
        }
        let done = systematic(decoder, job);
        let undecodable = !done.bad.is_empty();
        return RowDone { job: done.job, bad: Vec::new(), undecodable };
    }
    RowDone { job, bad, undecodable: false }
}
