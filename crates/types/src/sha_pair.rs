//! SHA-256 of two messages at a time, for the Merkle trees: a CPU's SHA unit takes a new round while the last one is still under
//! way, and one message alone cannot give it one. About twice as fast as one after the other.
//!
//! Never: another result than `sha2`'s; where the CPU has no such unit the caller hashes one by one.
//! Limits: messages already padded to whole blocks, as FIPS 180-4 §5.1.1 has it, and equally many of them.

/// One block of the compression function.
pub(crate) type Block = [u8; 64];

/// Hashes two padded messages of equally many blocks. `None` when this CPU has no SHA unit we know.
#[cfg(target_arch = "x86_64")]
pub(crate) fn digest_pair<const BLOCKS: usize>(messages: &[[Block; BLOCKS]; 2]) -> Option<[[u8; 32]; 2]> {
    if !available() {
        return None;
    }
    // SAFETY: `available` has just seen every feature that `x86::digest_pair` is compiled for, and that is all it asks.
    #[allow(unsafe_code)]
    Some(unsafe { x86::digest_pair(messages) })
}

/// Whether [`digest_pair`] works here.
#[cfg(target_arch = "x86_64")]
pub(crate) fn available() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("sha") && has!("ssse3") && has!("sse4.1")
}

/// No pairs on this architecture; `sha2` uses its own acceleration for single messages.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn digest_pair<const BLOCKS: usize>(_messages: &[[Block; BLOCKS]; 2]) -> Option<[[u8; 32]; 2]> {
    None
}

/// Whether [`digest_pair`] works here.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn available() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Block;

    /// Round constants, FIPS 180-4 §4.2.2.
    const K: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
        0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
        0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
        0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
        0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
        0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];
    /// Initial hash value, FIPS 180-4 §5.3.3.
    const H: [u32; 8] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

    /// One group of four rounds for both messages: the schedule word `w[i]` is used, and replaced by `w[i + 4]` while needed.
    macro_rules! four_rounds {
        ($group:literal, $w:ident, $abef:ident, $cdgh:ident) => {
            let k = words(K[4 * $group + 3], K[4 * $group + 2], K[4 * $group + 1], K[4 * $group]);
            for lane in 0..2 {
                let wk = _mm_add_epi32($w[lane][$group % 4], k);
                $cdgh[lane] = _mm_sha256rnds2_epu32($cdgh[lane], $abef[lane], wk);
                $abef[lane] = _mm_sha256rnds2_epu32($abef[lane], $cdgh[lane], _mm_shuffle_epi32::<0x0E>(wk));
                if $group < 12 {
                    let (w0, w1, w2, w3) = (
                        $w[lane][$group % 4],
                        $w[lane][($group + 1) % 4],
                        $w[lane][($group + 2) % 4],
                        $w[lane][($group + 3) % 4],
                    );
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                    $w[lane][$group % 4] = _mm_sha256msg2_epu32(sum, w3);
                }
            }
        };
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    pub(super) fn digest_pair<const BLOCKS: usize>(messages: &[[Block; BLOCKS]; 2]) -> [[u8; 32]; 2] {
        let mut abef = [words(H[0], H[1], H[4], H[5]); 2];
        let mut cdgh = [words(H[2], H[3], H[6], H[7]); 2];
        for (first, second) in messages[0].iter().zip(&messages[1]) {
            let before = (abef, cdgh);
            let mut w = [load(first), load(second)];
            four_rounds!(0, w, abef, cdgh);
            four_rounds!(1, w, abef, cdgh);
            four_rounds!(2, w, abef, cdgh);
            four_rounds!(3, w, abef, cdgh);
            four_rounds!(4, w, abef, cdgh);
            four_rounds!(5, w, abef, cdgh);
            four_rounds!(6, w, abef, cdgh);
            four_rounds!(7, w, abef, cdgh);
            four_rounds!(8, w, abef, cdgh);
            four_rounds!(9, w, abef, cdgh);
            four_rounds!(10, w, abef, cdgh);
            four_rounds!(11, w, abef, cdgh);
            four_rounds!(12, w, abef, cdgh);
            four_rounds!(13, w, abef, cdgh);
            four_rounds!(14, w, abef, cdgh);
            four_rounds!(15, w, abef, cdgh);
            for lane in 0..2 {
                abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
            }
        }
        [hash(abef[0], cdgh[0]), hash(abef[1], cdgh[1])]
    }

    /// Four words, the first in the highest place, as the SHA instructions want their state.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn words(a: u32, b: u32, c: u32, d: u32) -> __m128i {
        _mm_set_epi32(a as i32, b as i32, c as i32, d as i32)
    }

    /// The 16 big-endian words of a block, the first of each four in the lowest place.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn load(block: &Block) -> [__m128i; 4] {
        let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
        let (halves, _) = block.as_chunks::<8>();
        let quarter = |i: usize| {
            let lanes = _mm_set_epi64x(i64::from_le_bytes(halves[2 * i + 1]), i64::from_le_bytes(halves[2 * i]));
            _mm_shuffle_epi8(lanes, swap)
        };
        [quarter(0), quarter(1), quarter(2), quarter(3)]
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn hash(abef: __m128i, cdgh: __m128i) -> [u8; 32] {
        let [a, b, e, f] = [
            _mm_extract_epi32::<3>(abef),
            _mm_extract_epi32::<2>(abef),
            _mm_extract_epi32::<1>(abef),
            _mm_extract_epi32::<0>(abef),
        ];
        let [c, d, g, h] = [
            _mm_extract_epi32::<3>(cdgh),
            _mm_extract_epi32::<2>(cdgh),
            _mm_extract_epi32::<1>(cdgh),
            _mm_extract_epi32::<0>(cdgh),
        ];
        let mut bytes = [0u8; 32];
        for (place, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d, e, f, g, h]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn padded<const BLOCKS: usize>(message: &[u8]) -> [Block; BLOCKS] {
        let mut bytes = message.to_vec();
        bytes.push(0x80);
        bytes.resize(BLOCKS * 64 - 8, 0);
        bytes.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
        let blocks: Vec<Block> = bytes.chunks_exact(64).map(|block| block.try_into().expect("64 bytes")).collect();
        blocks.try_into().expect("as many blocks as asked for")
    }

    fn check<const BLOCKS: usize>(a: &[u8], b: &[u8]) {
        let Some(hashes) = digest_pair::<BLOCKS>(&[padded(a), padded(b)]) else { return };
        let expected: [[u8; 32]; 2] = [Sha256::digest(a).into(), Sha256::digest(b).into()];
        assert_eq!(hashes, expected, "{} and {} bytes", a.len(), b.len());
    }

    #[test]
    fn pairs_hash_as_one_by_one() {
        let data: Vec<u8> = (0..2000usize).map(|i| (i * 7 + i / 256) as u8).collect();
        check::<1>(b"abc", b"");
        check::<1>(&data[..55], &data[100..130]);
        check::<2>(&data[..65], &data[65..130]);
        check::<17>(&data[..1037], &data[500..1537]);
        check::<31>(&data[..1920], &data[9..1930]);
    }
}
