//! Draw: a seed chooses leaf numbers, the same off chain and in the court.
//!
//! Word `i` is `H(0x20 ‖ seed ‖ i: u32)`, its leaf number is the word as a 256-bit number modulo the leaf sum.
//! Format: `docs/formats/inventory.md`; vectors: `tests/vectors/draw.json`. Limits: [`AUDIT_SAMPLES_MAX`] numbers in one draw.

use std::collections::HashSet;

use cairn_types::limits::AUDIT_SAMPLES_MAX;
use sha2::{Digest, Sha256};

const TAG_DRAW: u8 = 0x20;

/// Word `index` of a seed.
pub fn word(seed: &[u8; 32], index: u32) -> [u8; 32] {
    let mut bytes = [TAG_DRAW; 37];
    bytes[1..33].copy_from_slice(seed);
    bytes[33..].copy_from_slice(&index.to_be_bytes());
    Sha256::digest(bytes).into()
}

/// Leaf number `index` of a seed over `leaf_sum` leaves; `None` when there are none.
pub fn leaf_number(seed: &[u8; 32], index: u32, leaf_sum: u64) -> Option<u64> {
    let modulus = u128::from(leaf_sum);
    if modulus == 0 {
        return None;
    }
    let bytes = word(seed, index);
    let (limbs, _) = bytes.as_chunks::<8>();
    let rest = limbs.iter().fold(0u128, |rest, limb| (rest << 64 | u128::from(u64::from_be_bytes(*limb))) % modulus);
    Some(rest as u64) // below a 64-bit modulus
}

/// `count` distinct leaf numbers in the order of the draw, or all in ascending order when there are no more than `count`.
/// `count` above [`AUDIT_SAMPLES_MAX`] counts as that.
pub fn distinct(seed: &[u8; 32], count: usize, leaf_sum: u64) -> Vec<u64> {
    let count = count.min(AUDIT_SAMPLES_MAX);
    if leaf_sum <= count as u64 {
        return (0..leaf_sum).collect();
    }
    let mut seen = HashSet::with_capacity(count);
    (0..=u32::MAX)
        .filter_map(|index| leaf_number(seed, index, leaf_sum))
        .filter(|number| seen.insert(*number))
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_word_modulo_the_sum() {
        let slow =
            |word: [u8; 32], sum: u64| word.iter().fold(0u128, |rest, byte| (rest * 256 + u128::from(*byte)) % u128::from(sum));
        for sum in [1, 2, 3, 1000, 1 << 32, u64::MAX - 58, u64::MAX] {
            for index in 0..50 {
                let number = leaf_number(&[7; 32], index, sum).expect("a sum");
                assert_eq!(u128::from(number), slow(word(&[7; 32], index), sum), "word {index} modulo {sum}");
            }
        }
        assert_eq!(leaf_number(&[7; 32], 0, 0), None);
    }

    #[test]
    fn a_draw_is_distinct_and_as_long_as_there_are_leaves() {
        for (count, sum, expected) in
            [(128, 0, 0), (128, 1, 1), (128, 128, 128), (128, 129, 128), (90, u64::MAX, 90), (9999, 4097, 4096)]
        {
            let mut numbers = distinct(&[1; 32], count, sum);
            assert_eq!(numbers.len(), expected, "{count} of {sum}");
            assert!(numbers.iter().all(|number| *number < sum));
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), expected, "{count} of {sum} are distinct");
        }
        assert_ne!(distinct(&[1; 32], 5, 1000), distinct(&[2; 32], 5, 1000));
    }
}
