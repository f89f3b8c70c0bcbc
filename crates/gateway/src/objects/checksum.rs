//! Checksums of S3: computing, combining, naming.
//!
//! Never: a checksum that was taken on trust; every value kept was computed here from the bytes or from parts computed here.

use base64::Engine;
use crc_fast::CrcAlgorithm;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::api::{Checksum, ChecksumAlgorithm, ChecksumKind};

impl ChecksumAlgorithm {
    /// Bytes of a value.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
            ChecksumAlgorithm::Crc64Nvme => 8,
            ChecksumAlgorithm::Sha1 => 20,
            ChecksumAlgorithm::Sha256 => 32,
        }
    }

    /// Name in S3: `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumAlgorithm::Crc32 => "CRC32",
            ChecksumAlgorithm::Crc32c => "CRC32C",
            ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
            ChecksumAlgorithm::Sha1 => "SHA1",
            ChecksumAlgorithm::Sha256 => "SHA256",
        }
    }

    /// Number on disk.
    pub(crate) fn number(self) -> u32 {
        match self {
            ChecksumAlgorithm::Crc32 => 1,
            ChecksumAlgorithm::Crc32c => 2,
            ChecksumAlgorithm::Crc64Nvme => 3,
            ChecksumAlgorithm::Sha1 => 4,
            ChecksumAlgorithm::Sha256 => 5,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        use ChecksumAlgorithm::*;
        [Crc32, Crc32c, Crc64Nvme, Sha1, Sha256].into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// Whether a multipart object may carry this algorithm's checksum of that kind: SHA cannot be combined from parts, and
    /// CRC-64/NVME has no composite form.
    pub fn allows(self, kind: ChecksumKind) -> bool {
        match (self, kind) {
            (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::Composite) => false,
            (ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256, ChecksumKind::FullObject) => false,
            (_, ChecksumKind::FullObject | ChecksumKind::Composite) => true,
        }
    }

    /// Kind of a multipart object's checksum unless another is asked for.
    pub fn default_kind(self) -> ChecksumKind {
        if self == ChecksumAlgorithm::Crc64Nvme { ChecksumKind::FullObject } else { ChecksumKind::Composite }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
        }
    }
}

impl std::fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ChecksumKind {
    /// Number on disk.
    pub(crate) fn number(self) -> u32 {
        match self {
            ChecksumKind::FullObject => 1,
            ChecksumKind::Composite => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [ChecksumKind::FullObject, ChecksumKind::Composite].into_iter().find(|kind| kind.number() == number)
    }
}

impl Checksum {
    /// As S3 writes it: base64, with `-N` behind a composite value.
    pub fn text(&self) -> String {
        let base64 = base64::engine::general_purpose::STANDARD.encode(&self.value);
        match self.kind {
            ChecksumKind::FullObject => base64,
            ChecksumKind::Composite => format!("{base64}-{}", self.parts),
        }
    }
}

/// A checksum being computed.
pub(crate) struct Hasher {
    algorithm: ChecksumAlgorithm,
    state: HasherState,
}

enum HasherState {
    Crc(Box<crc_fast::Digest>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub fn new(algorithm: ChecksumAlgorithm) -> Hasher {
        let state = match (algorithm.crc(), algorithm) {
            (Some(crc), _) => HasherState::Crc(Box::new(crc_fast::Digest::new(crc))),
            (None, ChecksumAlgorithm::Sha1) => HasherState::Sha1(Sha1::new()),
            (None, _) => HasherState::Sha256(Sha256::new()),
        };
        Hasher { algorithm, state }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            HasherState::Crc(digest) => digest.update(bytes),
            HasherState::Sha1(digest) => digest.update(bytes),
            HasherState::Sha256(digest) => digest.update(bytes),
        }
    }

    pub fn finish(self) -> Checksum {
        let value = match self.state {
            HasherState::Crc(digest) => crc_bytes(self.algorithm, digest.finalize()),
            HasherState::Sha1(digest) => digest.finalize().to_vec(),
            HasherState::Sha256(digest) => digest.finalize().to_vec(),
        };
        Checksum { algorithm: self.algorithm, kind: ChecksumKind::FullObject, value, parts: 0 }
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.len()..].to_vec()
}

/// Checksum of the concatenated checksums of parts: S3's composite.
pub(crate) fn composite(algorithm: ChecksumAlgorithm, parts: &[&Checksum]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(&part.value);
    }
    Checksum { kind: ChecksumKind::Composite, parts: parts.len() as u32, ..hasher.finish() }
}

/// CRC of the whole from the CRCs and lengths of its parts. `None` for algorithms that cannot be combined, and for no parts.
pub(crate) fn full_object(algorithm: ChecksumAlgorithm, parts: &[(&Checksum, u64)]) -> Option<Checksum> {
    let crc = algorithm.crc()?;
    let number = |checksum: &Checksum| checksum.value.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let (first, rest) = parts.split_first()?;
    let value = rest
        .iter()
        .fold(number(first.0), |whole, (checksum, len)| crc_fast::checksum_combine(crc, whole, number(checksum), *len));
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value: crc_bytes(algorithm, value), parts: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::*;

    fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn checksums_have_their_published_values() {
        // "123456789": the check values of the CRC catalogue; SHA from FIPS 180 implementations.
        for (algorithm, expected) in [
            (Crc32, "cbf43926"),
            (Crc32c, "e3069283"),
            (Crc64Nvme, "ae8b14860a799888"),
            (Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let checksum = of(algorithm, b"123456789");
            assert_eq!(hex::encode(&checksum.value), expected, "{algorithm}");
            assert_eq!(checksum.value.len(), algorithm.len());
            assert_eq!(ChecksumAlgorithm::from_number(algorithm.number()), Some(algorithm));
        }
        assert_eq!(of(Crc32, b"123456789").text(), "y/Q5Jg==");
    }

    #[test]
    fn crcs_of_parts_combine_to_the_crc_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
        for algorithm in [Crc32, Crc32c, Crc64Nvme] {
            for cuts in [vec![0, 100_000], vec![0, 1, 50_000, 100_000], vec![0, 0, 65_536, 65_536, 100_000]] {
                let parts: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
                let sums: Vec<_> = parts.iter().map(|part| (of(algorithm, part), part.len() as u64)).collect();
                let refs: Vec<_> = sums.iter().map(|(sum, len)| (sum, *len)).collect();
                assert_eq!(full_object(algorithm, &refs), Some(of(algorithm, &bytes)), "{algorithm} {cuts:?}");
            }
        }
        assert_eq!(full_object(Sha256, &[(&of(Sha256, b""), 0)]), None);
    }

    #[test]
    fn a_composite_is_the_checksum_of_checksums() {
        let (a, b) = (of(Sha256, b"a"), of(Sha256, b"b"));
        let whole = composite(Sha256, &[&a, &b]);
        assert_eq!(whole.value, of(Sha256, &[a.value, b.value].concat()).value);
        assert!(whole.text().ends_with("=-2"), "{}", whole.text());
    }
}
