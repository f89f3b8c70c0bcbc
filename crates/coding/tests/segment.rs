//! A segment's bytes come back from any k shards, and no other bytes ever do.

mod common;

use bytes::Bytes;
use cairn_coding::{BlobKey, DecodeError, Decoder, Encoder, Layout, Rebuilder};
use cairn_types::limits::{FRAME_DATA_LEN, FRAME_LEN, LEAF_LEN, SEGMENT_LEN_MAX, SHARD_LEN_MAX};
use cairn_types::{Redundancy, merkle};
use common::{Encoded, decode, encode, encode_in_pieces, redundancy, sample};
use proptest::prelude::*;
use proptest::sample::subsequence;

fn key() -> BlobKey {
    BlobKey::new([7; 32])
}

/// Redundancies from 1/1 to 6/12.
fn any_redundancy() -> impl Strategy<Value = Redundancy> {
    (1usize..=6, 0usize..=6).prop_map(|(data, parity)| redundancy(data, data + parity))
}

/// Lengths around every edge there is: leaves, frames, rows, and anything between.
fn any_len(redundancy: Redundancy) -> impl Strategy<Value = usize> {
    let row_len = redundancy.data() * FRAME_DATA_LEN;
    let edge = prop_oneof![Just(1008 * redundancy.data()), Just(FRAME_DATA_LEN), Just(row_len), Just(2 * row_len)];
    prop_oneof![
        1usize..3000,
        1usize..=row_len,
        1usize..=2 * row_len + 5000,
        (edge, -2i32..=2).prop_map(|(edge, shift)| edge.saturating_add_signed(shift as isize).max(1)),
    ]
}

#[derive(Debug, Clone)]
struct Case {
    redundancy: Redundancy,
    len: usize,
    seed: u8,
    /// k distinct shards.
    present: Vec<usize>,
}

fn any_case() -> impl Strategy<Value = Case> {
    any_redundancy().prop_flat_map(|redundancy| {
        let all: Vec<usize> = (0..redundancy.total()).collect();
        (any_len(redundancy), any::<u8>(), subsequence(all, redundancy.data())).prop_map(move |(len, seed, present)| Case {
            redundancy,
            len,
            seed,
            present,
        })
    })
}

fn decoder(case: &Case, encoded: &Encoded) -> Decoder {
    Decoder::new(&key(), case.seed.into(), Layout::new(case.redundancy, encoded.segment.plain_len).expect("a length"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_k_of_n_shards_give_the_bytes_back(case in any_case(), piece_len in 1usize..200_000) {
        let data = sample(case.len, case.seed);
        let encoded = encode_in_pieces(case.redundancy, &key(), case.seed.into(), &data, piece_len.max(case.len / 50));
        prop_assert_eq!(encoded.segment.plain_len, case.len as u64);
        prop_assert_eq!(encoded.rows.len() as u32, encoded.layout.rows());
        for (shard, named) in encoded.segment.shards.iter().enumerate() {
            let bytes = encoded.shard(shard);
            prop_assert_eq!(named.len, bytes.len() as u64);
            prop_assert_eq!(named.len, encoded.layout.shard_len(shard));
            prop_assert_eq!(named.root, merkle::shard_root(&bytes));
            for row in &encoded.rows {
                prop_assert_eq!(row.cells[shard].len(), encoded.layout.cell_len(row.index, shard));
            }
        }
        prop_assert_eq!(decode(&decoder(&case, &encoded), &encoded, &case.present), Ok(data));
    }

    #[test]
    fn a_repair_rebuilds_every_cell_as_it_was(case in any_case()) {
        let encoded = encode(case.redundancy, &key(), case.seed.into(), &sample(case.len, case.seed));
        let rebuilder = Rebuilder::new(encoded.layout);
        for row in &encoded.rows {
            let mut cells = encoded.cells(row.index, &case.present);
            rebuilder.rebuild_all(row.index, &mut cells).expect("k cells are enough");
            let cells: Vec<Bytes> = cells.into_iter().map(Option::unwrap_or_default).collect();
            prop_assert_eq!(&cells, &row.cells);
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed(case in any_case(), shard: prop::sample::Index, at: prop::sample::Index, bit in 0u8..8) {
        let mut encoded = encode(case.redundancy, &key(), case.seed.into(), &sample(case.len, case.seed));
        let shard = case.present[shard.index(case.present.len())];
        let bytes = encoded.shard(shard);
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        let row = &mut encoded.rows[at / FRAME_LEN];
        let mut cell = row.cells[shard].to_vec();
        cell[at % FRAME_LEN] ^= 1 << bit;
        row.cells[shard] = cell.into();
        prop_assert_ne!(merkle::shard_root(&encoded.shard(shard)), encoded.segment.shards[shard].root);
        // A parity cell matters only when it is used: when a data cell of its row is missing.
        let row_index = (at / FRAME_LEN) as u32;
        let used = shard < case.redundancy.data()
            || encoded.cells(row_index, &case.present).iter().enumerate().any(|(shard, cell)| {
                shard < case.redundancy.data() && cell.is_none() && encoded.layout.cell_len(row_index, shard) > 0
            }) && used_cells(&encoded, row_index, &case).contains(&shard);
        let outcome = decode(&decoder(&case, &encoded), &encoded, &case.present);
        if used {
            let noticed = matches!(outcome, Err(DecodeError::BadFrame { .. } | DecodeError::BadRow { .. }));
            prop_assert!(noticed, "{:?}", outcome.map(|_| ()));
        } else {
            prop_assert_eq!(outcome, Ok(sample(case.len, case.seed)));
        }
    }

    #[test]
    fn a_frame_opens_only_in_its_own_place(case in any_case(), (a, b) in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let data = sample(case.len, case.seed);
        let encoded = encode(case.redundancy, &key(), case.seed.into(), &data);
        let own = decoder(&case, &encoded);
        let (a, b) = (a.index(own.layout().frame_count() as usize) as u32, b.index(own.layout().frame_count() as usize) as u32);
        let bad = |frame| Err(DecodeError::BadFrame { frame });
        prop_assert!(own.open_frame(a, encoded.frame(a)).is_ok());
        if a != b {
            prop_assert_eq!(own.open_frame(b, encoded.frame(a)), bad(b), "reordered");
        }
        prop_assert_eq!(own.open_frame(a, encoded.frame(a).slice(1..)), bad(a), "cut off in front");
        prop_assert_eq!(own.open_frame(a, encoded.frame(a).slice(..encoded.frame(a).len() - 1)), bad(a), "cut off behind");
        prop_assert_eq!(own.open_frame(own.layout().frame_count(), encoded.frame(a)), bad(own.layout().frame_count()));
        let other_segment = Decoder::new(&key(), u32::from(case.seed) + 1, encoded.layout);
        prop_assert_eq!(other_segment.open_frame(a, encoded.frame(a)), bad(a), "another segment");
        let other_blob = Decoder::new(&BlobKey::new([8; 32]), case.seed.into(), encoded.layout);
        prop_assert_eq!(other_blob.open_frame(a, encoded.frame(a)), bad(a), "another blob");
    }

    #[test]
    fn a_segment_cut_short_or_prolonged_is_noticed(redundancy in any_redundancy(), rows in 1u64..3, more in 1u64..70_000) {
        let row_len = (redundancy.data() * FRAME_DATA_LEN) as u64;
        let (short, long) = (rows * row_len, rows * row_len + more);
        let cases = [(short, long), (long, short)];
        for (true_len, claimed_len) in cases {
            let encoded = encode(redundancy, &key(), 0, &sample(true_len as usize, 1));
            let claimed = Decoder::new(&key(), 0, Layout::new(redundancy, claimed_len).expect("a length"));
            let frame = Layout::new(redundancy, short).expect("a length").frame_count() - 1;
            prop_assert_eq!(claimed.open_frame(frame, encoded.frame(frame)), Err(DecodeError::BadFrame { frame }));
        }
    }

    #[test]
    fn a_range_touches_exactly_the_frames_that_hold_it(case in any_case(), (a, b) in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let layout = Layout::new(case.redundancy, case.len as u64).expect("a length");
        let (a, b) = (a.index(case.len + 1) as u64, b.index(case.len + 1) as u64);
        let range = a.min(b)..a.max(b);
        let frames = layout.frames_for(range.clone());
        for index in 0..layout.frame_count() {
            let frame = layout.frame(index);
            let data_end = frame.data_offset + frame.data_len as u64;
            let holds = frame.data_offset.max(range.start) < data_end.min(range.end);
            prop_assert_eq!(frames.contains(&index), holds, "frame {}", index);
        }
        prop_assert_eq!(layout.frames_for(range.start..u64::MAX), layout.frames_for(range.start..case.len as u64));
        prop_assert_eq!(layout.frames_for(case.len as u64..u64::MAX), 0..0);
    }

    #[test]
    fn frames_tile_the_segment_and_cells_tile_the_shards(case in any_case()) {
        let layout = Layout::new(case.redundancy, case.len as u64).expect("a length");
        let mut offset = 0;
        for index in 0..layout.frame_count() {
            let frame = layout.frame(index);
            prop_assert_eq!((frame.index, frame.data_offset), (index, offset));
            prop_assert!(frame.data_len > 0 && frame.sealed_len <= FRAME_LEN);
            prop_assert_eq!(layout.cell_len(frame.row, frame.shard), frame.sealed_len);
            prop_assert_eq!(layout.cell_offset(frame.row), frame.shard_offset);
            offset += frame.data_len as u64;
        }
        prop_assert_eq!(offset, case.len as u64);
        for shard in 0..case.redundancy.total() {
            let cells: u64 = (0..layout.rows()).map(|row| layout.cell_len(row, shard) as u64).sum();
            prop_assert_eq!(layout.shard_len(shard), cells);
        }
        prop_assert_eq!(layout.cell_len(layout.rows(), 0) + layout.cell_len(0, case.redundancy.total()), 0);
    }

    #[test]
    fn cells_of_any_shape_are_a_typed_error_or_a_row(
        case in any_case(), row in 0u32..4, lens in prop::collection::vec(prop::option::of(0usize..2000), 0..14)
    ) {
        let layout = Layout::new(case.redundancy, case.len as u64).expect("a length");
        let decoder = Decoder::new(&key(), 0, layout);
        let mut cells: Vec<Option<Bytes>> = lens.iter().map(|len| len.map(|len| sample(len, case.seed).into())).collect();
        match decoder.rebuild_row(row, &mut cells) {
            Ok(()) => {
                for (shard, cell) in cells.iter().enumerate().take(case.redundancy.data()) {
                    prop_assert_eq!(cell.as_ref().map_or(0, Bytes::len), layout.cell_len(row, shard));
                }
            }
            Err(error) => {
                let of_a_frame = matches!(error, DecodeError::BadFrame { .. });
                prop_assert!(!of_a_frame, "{}", error);
            }
        }
        for (frame, len) in lens.iter().enumerate() {
            prop_assert!(decoder.open_frame(frame as u32, sample(len.unwrap_or(0), 0)).is_err());
        }
    }
}

/// The cells a rebuild draws on: the first k that are present, empty ones included.
fn used_cells(encoded: &Encoded, row: u32, case: &Case) -> Vec<usize> {
    let present = |shard: &usize| case.present.contains(shard) || encoded.layout.cell_len(row, *shard) == 0;
    (0..case.redundancy.total()).filter(present).take(case.redundancy.data()).collect()
}

#[test]
fn too_few_or_foreign_cells_are_refused() {
    let case = Case { redundancy: redundancy(4, 8), len: 300_000, seed: 0, present: vec![] };
    let encoded = encode(case.redundancy, &key(), 0, &sample(case.len, 0));
    let decoder = decoder(&case, &encoded);
    let refused = |row, cells: &mut [Option<Bytes>]| decoder.rebuild_row(row, cells).expect_err("refused");
    assert_eq!(refused(0, &mut encoded.cells(0, &[1, 6, 7])), DecodeError::TooFewCells { row: 0, present: 3, needed: 4 });
    assert_eq!(refused(2, &mut encoded.cells(0, &[0, 1, 2, 3])), DecodeError::NoSuchRow { row: 2 });
    assert_eq!(refused(0, &mut encoded.cells(0, &[0, 1, 2, 3])[..7]), DecodeError::WrongCellCount { cells: 7, expected: 8 });
    let wrong = DecodeError::WrongCell { row: 0, shard: 5, len: encoded.rows[1].cells[5].len(), expected: FRAME_LEN };
    let mut mixed = encoded.cells(0, &[0, 1, 2]);
    mixed[5] = Some(encoded.rows[1].cells[5].clone());
    assert_eq!(refused(0, &mut mixed), wrong);
}

#[test]
fn a_failed_rebuild_leaves_the_cells_as_they_were() {
    let case = Case { redundancy: redundancy(2, 4), len: 3000, seed: 0, present: vec![0, 2] };
    let mut encoded = encode(case.redundancy, &key(), 0, &sample(case.len, 0));
    let mut parity = encoded.rows[0].cells[2].to_vec();
    *parity.last_mut().expect("not empty") ^= 1; // behind the end of the short last frame, which is missing
    encoded.rows[0].cells[2] = parity.into();
    let mut cells = encoded.cells(0, &case.present);
    assert_eq!(decoder(&case, &encoded).rebuild_row(0, &mut cells), Err(DecodeError::BadRow { row: 0 }));
    assert_eq!(cells, encoded.cells(0, &case.present));
}

#[test]
fn a_short_segment_expands_by_about_n_over_k() {
    for (data, total) in [(1, 1), (2, 4), (4, 8), (10, 30), (20, 60), (29, 80)] {
        let redundancy = redundancy(data, total);
        for len in [1, 100, 1000, 4096, 10_000, 65_520, 65_536, 100_000, 1_000_000, 1 << 22, SEGMENT_LEN_MAX] {
            let layout = Layout::new(redundancy, len).expect("a length");
            let stored: u64 = (0..total).map(|shard| layout.shard_len(shard)).sum();
            let sealed = len + u64::from(layout.frame_count()) * 16;
            let ideal = sealed * total as u64 / data as u64;
            assert!(stored <= ideal + (total * LEAF_LEN) as u64, "{redundancy}, {len} bytes: {stored} stored, {ideal} ideal");
            assert!((0..total).all(|shard| layout.shard_len(shard) <= SHARD_LEN_MAX));
        }
    }
}

#[test]
fn a_segment_takes_what_it_can_hold_and_not_more() {
    let redundancy = redundancy(1, 1);
    assert!(Layout::new(redundancy, 0).is_err());
    assert!(Layout::new(redundancy, SEGMENT_LEN_MAX + 1).is_err());
    let mut encoder = Encoder::new(redundancy, &key(), 0);
    let mut input = Bytes::from(vec![1u8; SEGMENT_LEN_MAX as usize + 9]);
    let mut rows = 0;
    while !encoder.is_full() {
        rows += u32::from(encoder.push(&mut input).is_some());
    }
    assert_eq!(input.len(), 9);
    assert!(encoder.push(&mut input).is_none());
    assert_eq!(input.len(), 9);
    let (last, segment) = encoder.finish();
    let layout = Layout::new(redundancy, segment.plain_len).expect("the largest segment");
    assert_eq!((segment.plain_len, rows + 1), (SEGMENT_LEN_MAX, layout.rows()));
    assert_eq!(segment.shards[0].len, layout.shard_len(0));
    assert_eq!(last.map(|row| row.index), Some(rows));
    let (nothing, empty) = Encoder::new(redundancy, &key(), 0).finish();
    assert_eq!((nothing, empty.plain_len, empty.shards[0].len), (None, 0, 0));
}

#[test]
fn both_machines_may_move_between_threads_and_the_decoder_may_be_shared() {
    fn moves<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    moves::<Encoder>();
    shared::<Decoder>();
    shared::<Rebuilder>();
}
