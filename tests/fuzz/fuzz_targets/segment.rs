//! A segment of any shape, with cells lost and altered, and cells of any shape: what comes back is right or an error, never something else.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use cairn_coding::{BlobKey, Decoder, Encoder, Layout, Rebuilder, Row};
use cairn_types::Redundancy;
use libfuzzer_sys::fuzz_target;

const PLAIN_LEN_MAX: u32 = 300_000;

#[derive(Debug, Arbitrary)]
struct Input {
    data: u8,
    total: u8,
    len: u32,
    lost: u64,
    altered: Vec<(u8, u32, u8)>,
    row: u32,
    frame: u32,
    cells: Vec<Option<Vec<u8>>>,
}

fuzz_target!(|input: Input| {
    let Ok(redundancy) = Redundancy::new(usize::from(input.data % 12), usize::from(input.total % 24)) else { return };
    let Ok(layout) = Layout::new(redundancy, u64::from(input.len % PLAIN_LEN_MAX)) else { return };
    let plain: Bytes = (0..layout.plain_len()).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect::<Vec<_>>().into();
    let key = BlobKey::new([3; 32]);
    let decoder = Decoder::new(&key, 5, layout);
    for row in encode(redundancy, &key, plain.clone()) {
        check_row(&input, &decoder, row, &plain);
    }
    hostile_shapes(&input, &decoder);
});

fn encode(redundancy: Redundancy, key: &BlobKey, mut rest: Bytes) -> Vec<Row> {
    let mut encoder = Encoder::new(redundancy, key, 5);
    let mut rows = Vec::new();
    while !rest.is_empty() {
        rows.extend(encoder.push(&mut rest));
    }
    rows.extend(encoder.finish().0);
    rows
}

/// Alters and loses cells of one row, rebuilds it, and opens what it gives.
fn check_row(input: &Input, decoder: &Decoder, mut row: Row, plain: &Bytes) {
    let layout = *decoder.layout();
    for (shard, at, flip) in &input.altered {
        let shard = usize::from(*shard) % row.cells.len();
        let mut cell = row.cells[shard].to_vec();
        if let Some(last) = cell.len().checked_sub(1) {
            cell[(*at as usize).min(last)] ^= flip;
        }
        row.cells[shard] = cell.into();
    }
    let lost = |shard: usize| input.lost >> (shard % 64) & 1 == 1;
    let mut cells: Vec<Option<Bytes>> =
        row.cells.iter().enumerate().map(|(shard, cell)| (!lost(shard)).then(|| cell.clone())).collect();
    if decoder.rebuild_row(row.index, &mut cells).is_err() {
        return;
    }
    for spec in (0..layout.frame_count()).map(|frame| layout.frame(frame)).filter(|spec| spec.row == row.index) {
        let cell = cells[spec.shard].clone().expect("a rebuilt row has all its data cells");
        match decoder.open_frame(spec.index, cell) {
            Ok(opened) => {
                let start = spec.data_offset as usize;
                assert_eq!(opened, plain.slice(start..start + spec.data_len));
            }
            Err(_) => assert!(input.altered.iter().any(|(_, _, flip)| *flip != 0), "unaltered cells do not open"),
        }
    }
}

/// Cells that no encoder made.
fn hostile_shapes(input: &Input, decoder: &Decoder) {
    let cells: Vec<Option<Bytes>> = input.cells.iter().map(|cell| cell.clone().map(Bytes::from)).collect();
    for row in [input.row, input.row % decoder.layout().rows()] {
        let _ = decoder.rebuild_row(row, &mut cells.clone());
        let _ = Rebuilder::new(*decoder.layout()).rebuild_all(row, &mut cells.clone());
    }
    for cell in cells.into_iter().flatten() {
        for frame in [input.frame, input.frame % decoder.layout().frame_count()] {
            assert!(decoder.open_frame(frame, cell.clone()).is_err(), "nobody can seal without the key");
        }
    }
}
