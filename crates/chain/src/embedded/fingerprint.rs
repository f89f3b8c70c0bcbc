//! Fingerprint: one hash of the whole state that follows from its content alone and is kept up to date by what changed.
//!
//! A lattice hash (LtHash with 1,024 lanes of 16 bits, Bellare–Micciancio's construction as Solana and Meta use it): the lane-wise sum
//! of an expanded hash of every row. It stands where Ethereum has the root of a trie; a trie would cost ten node writes for each changed row
//! and buys proofs (`eth_getProof`) that nobody asks a single sequencer for.
//! Never: depends on the order of changes. Limits: [`FINGERPRINT_LEN`] bytes.

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

const LANES: usize = 1024;
/// Bytes of a fingerprint in the journal.
pub const FINGERPRINT_LEN: usize = LANES * 2;
const ROW_TAG: u8 = 0x40;
const LANE_TAG: u8 = 0x41;
const ROOT_TAG: u8 = 0x42;

/// The sum over all rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(Box<[u16; LANES]>);

impl Default for Fingerprint {
    fn default() -> Self {
        Fingerprint(Box::new([0; LANES]))
    }
}

impl Fingerprint {
    /// Takes a row in.
    pub fn add(&mut self, row: &[u8], value: &[u8]) {
        self.each_lane(row, value, u16::wrapping_add);
    }

    /// Takes a row out that was taken in before.
    pub fn remove(&mut self, row: &[u8], value: &[u8]) {
        self.each_lane(row, value, u16::wrapping_sub);
    }

    /// The hash that goes into a block's header as its state root.
    pub fn root(&self) -> B256 {
        let mut hash = Sha256::new();
        hash.update([ROOT_TAG]);
        hash.update(self.to_bytes());
        B256::from_slice(&hash.finalize())
    }

    /// As the journal keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_be_bytes()).collect()
    }

    /// What [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Fingerprint> {
        if bytes.len() != FINGERPRINT_LEN {
            return None;
        }
        let mut fingerprint = Fingerprint::default();
        for (lane, pair) in fingerprint.0.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = u16::from_be_bytes([pair[0], pair[1]]);
        }
        Some(fingerprint)
    }

    fn each_lane(&mut self, row: &[u8], value: &[u8], merge: fn(u16, u16) -> u16) {
        let mut seed = Sha256::new();
        seed.update([ROW_TAG]);
        seed.update((row.len() as u32).to_be_bytes());
        seed.update(row);
        seed.update(value);
        let seed = seed.finalize();
        for (count, lanes) in self.0.chunks_exact_mut(16).enumerate() {
            let mut expanded = Sha256::new();
            expanded.update([LANE_TAG]);
            expanded.update(seed);
            expanded.update((count as u32).to_be_bytes());
            for (lane, pair) in lanes.iter_mut().zip(expanded.finalize().chunks_exact(2)) {
                *lane = merge(*lane, u16::from_be_bytes([pair[0], pair[1]]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_follows_from_the_content_alone() {
        let rows: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"2"), (b"ab", b"")];
        let (mut forward, mut backward) = (Fingerprint::default(), Fingerprint::default());
        for (row, value) in rows {
            forward.add(row, value);
        }
        for (row, value) in rows.into_iter().rev() {
            backward.add(row, b"other");
            backward.add(row, value);
            backward.remove(row, b"other");
        }
        assert_eq!(forward.root(), backward.root());
        crate::golden::check("fingerprint", forward.root().as_slice());
        assert_eq!(Fingerprint::from_bytes(&forward.to_bytes()).map(|read| read.root()), Some(forward.root()));
        let mut other = Fingerprint::default();
        other.add(b"a", b"b1"); // the same bytes, cut elsewhere
        let mut another = Fingerprint::default();
        another.add(b"ab", b"1");
        assert_ne!(other.root(), another.root());
        for (row, value) in rows {
            forward.remove(row, value);
        }
        assert_eq!(forward.root(), Fingerprint::default().root());
        assert!(Fingerprint::from_bytes(&[0; FINGERPRINT_LEN - 1]).is_none());
    }
}
