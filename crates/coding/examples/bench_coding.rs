//! Micro-benchmark: megabytes of plaintext per second, one core, of each stage alone and of the whole encoder and decoder.
//!
//! `cargo run --release -p cairn-coding --example bench_coding [seconds per measurement]`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cairn_coding::{BlobKey, Decoder, Encoder, Layout, Row, RowHasher};
use cairn_types::Redundancy;
use cairn_types::limits::{FRAME_DATA_LEN, FRAME_LEN, SEGMENT_LEN_MAX};
use cairn_types::merkle::ShardHasher;
use reed_solomon_erasure::galois_8::ReedSolomon;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Plaintext coded in one pass: short, so that some passes are not disturbed on a busy machine.
const PASS_LEN: usize = 4 << 20;
/// What bodies from a socket look like.
const INPUT_LEN: usize = 128 << 10;

/// Nanoseconds per plaintext byte: the best of all passes, since whatever disturbs a pass only makes it longer.
fn measure(seconds: f64, plain_len: usize, mut pass: impl FnMut()) -> f64 {
    pass();
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while begin.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        pass();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9 / plain_len as f64
}

fn input() -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let bytes: Vec<u8> = (0..PASS_LEN)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    bytes.into()
}

fn raw_seal(seconds: f64) -> f64 {
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes are a key"));
    let mut frame = vec![0u8; FRAME_DATA_LEN];
    let frames = PASS_LEN / FRAME_DATA_LEN;
    measure(seconds, frames * FRAME_DATA_LEN, || {
        for counter in 0..frames {
            let mut nonce = [0u8; 12];
            nonce[..8].copy_from_slice(&counter.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = cipher.seal_in_place_separate_tag(nonce, Aad::empty(), &mut frame).expect("short enough");
            black_box(tag.as_ref());
        }
    })
}

/// The library alone: all rows of a pass, cells reused so that they are as warm as they can be.
fn raw_code(seconds: f64, redundancy: Redundancy, block_len: usize) -> f64 {
    let code = ReedSolomon::new(redundancy.data(), redundancy.parity()).expect("with parity");
    let data = vec![vec![3u8; FRAME_LEN]; redundancy.data()];
    let mut parity = vec![vec![0u8; FRAME_LEN]; redundancy.parity()];
    let rows = (PASS_LEN / (redundancy.data() * FRAME_DATA_LEN)).max(1);
    measure(seconds, rows * redundancy.data() * FRAME_DATA_LEN, || {
        for _ in 0..rows {
            for start in (0..FRAME_LEN).step_by(block_len) {
                let inputs: Vec<&[u8]> = data.iter().map(|cell| &cell[start..start + block_len]).collect();
                let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(|cell| &mut cell[start..start + block_len]).collect();
                code.encode_sep(&inputs, &mut outputs).expect("equal lengths");
            }
        }
        black_box(&parity);
    })
}

/// Merkle roots of all n shards.
fn raw_hash(seconds: f64, redundancy: Redundancy) -> f64 {
    let cell = vec![5u8; FRAME_LEN];
    let rows = (PASS_LEN / (redundancy.data() * FRAME_DATA_LEN)).max(1);
    measure(seconds, rows * redundancy.data() * FRAME_DATA_LEN, || {
        let mut hashers = vec![ShardHasher::new(); redundancy.total()];
        for _ in 0..rows {
            for hasher in &mut hashers {
                hasher.push_block(&cell).expect("a full block");
            }
        }
        black_box(hashers.iter().map(ShardHasher::root).collect::<Vec<_>>());
    })
}

fn whole_encoder(seconds: f64, redundancy: Redundancy, input: &Bytes) -> f64 {
    measure(seconds, PASS_LEN, || {
        let mut encoder = Encoder::new(redundancy, &BlobKey::new([7; 32]), 0);
        for start in (0..PASS_LEN).step_by(INPUT_LEN) {
            let mut piece = input.slice(start..start + INPUT_LEN);
            while !piece.is_empty() {
                black_box(encoder.push(&mut piece));
            }
        }
        black_box(encoder.finish());
    })
}

/// The same on two threads: one seals and codes, one hashes. Wall time of a whole segment: with the few rows of a short pass, most of what is
/// measured would be how long the second thread waits for its first row.
fn split_encoder(seconds: f64, redundancy: Redundancy, input: &Bytes) -> f64 {
    measure(seconds, SEGMENT_LEN_MAX as usize, || {
        let (mut sealer, mut hasher) = Encoder::new(redundancy, &BlobKey::new([7; 32]), 0).split();
        let (sender, rows) = mpsc::sync_channel::<Row>(2);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                rows.iter().for_each(|row| hasher.push(&row));
                black_box(RowHasher::finish(&hasher));
            });
            for start in (0..SEGMENT_LEN_MAX as usize).step_by(INPUT_LEN) {
                let start = start % PASS_LEN;
                let mut piece = input.slice(start..start + INPUT_LEN);
                while !piece.is_empty() {
                    sealer.push(&mut piece).into_iter().for_each(|row| sender.send(row).expect("the hasher listens"));
                }
            }
            sealer.finish().0.into_iter().for_each(|row| sender.send(row).expect("the hasher listens"));
            drop(sender);
        });
    })
}

/// Reads a pass back from the shards of `present`; every cell arrives in a buffer of its own, as from the wire.
fn decoder(seconds: f64, redundancy: Redundancy, input: &Bytes, present: std::ops::Range<usize>) -> f64 {
    let mut encoder = Encoder::new(redundancy, &BlobKey::new([7; 32]), 0);
    let (mut rows, mut rest) = (Vec::new(), input.clone());
    while !rest.is_empty() {
        rows.extend(encoder.push(&mut rest));
    }
    rows.extend(encoder.finish().0);
    let layout = Layout::new(redundancy, PASS_LEN as u64).expect("shorter than a segment");
    let decoder = Decoder::new(&BlobKey::new([7; 32]), 0, layout);
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while begin.elapsed().as_secs_f64() < seconds {
        let mut pass = Duration::ZERO;
        for row in &rows {
            let arrived = |(shard, cell): (usize, &Bytes)| present.contains(&shard).then(|| BytesMut::from(&cell[..]).freeze());
            let mut cells: Vec<Option<Bytes>> = row.cells.iter().enumerate().map(arrived).collect();
            let start = Instant::now();
            decoder.rebuild_row(row.index, &mut cells).expect("k cells");
            for (shard, cell) in cells.into_iter().enumerate().take(redundancy.data()) {
                let frame = row.index * redundancy.data() as u32 + shard as u32;
                if frame < layout.frame_count() {
                    black_box(decoder.open_frame(frame, cell.expect("rebuilt")).expect("as sealed"));
                }
            }
            pass += start.elapsed();
        }
        best = best.min(pass);
    }
    best.as_secs_f64() * 1e9 / PASS_LEN as f64
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let input = input();
    let seal = raw_seal(seconds);
    println!("MB/s of plaintext on one core, best pass of {seconds} s each; raw ChaCha20-Poly1305 seal {:.0}", 1e3 / seal);
    println!(
        "redundancy | RS encode | Merkle of n | encoder | ÷ slowest stage | ÷ sum of stages | 2 threads | ÷ slowest | decode, data | decode, parity"
    );
    for (data, total) in [(2, 4), (4, 8), (10, 30)] {
        let redundancy = Redundancy::new(data, total).expect("a possible redundancy");
        let (code, hash) = (raw_code(seconds, redundancy, 16 << 10), raw_hash(seconds, redundancy));
        let (whole, split) = (whole_encoder(seconds, redundancy, &input), split_encoder(seconds, redundancy, &input));
        let slowest = seal.max(code).max(hash);
        let healthy = decoder(seconds, redundancy, &input, 0..data);
        let parity = decoder(seconds, redundancy, &input, total - data..total);
        println!(
            "{:>10} | {:9.0} | {:11.0} | {:7.0} | {:15.2} | {:15.2} | {:9.0} | {:9.2} | {:12.0} | {:.0}",
            redundancy.to_string(),
            1e3 / code,
            1e3 / hash,
            1e3 / whole,
            whole / slowest,
            whole / (seal + code + hash),
            1e3 / split,
            split / slowest,
            1e3 / healthy,
            1e3 / parity,
        );
    }
}
