//! Bytes to store: reproducible from a seed, so that gigabytes need no second copy to compare with.
//!
//! Never: a random source but the given seed. Limits: 64-bit state; good enough to be incompressible, not secret.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

/// A small seeded random source (splitmix64).
#[derive(Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is not zero).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// `count` different numbers below `bound`.
    pub fn distinct(&mut self, count: usize, bound: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..bound).collect();
        for at in 0..count.min(bound) {
            let other = at + self.below((bound - at) as u64) as usize;
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }
}

/// `len` bytes that follow from `seed`, as a reader.
pub struct Stream {
    source: Seeded,
    left: u64,
    word: [u8; 8],
    word_used: usize,
}

impl Stream {
    /// The stream of `seed`, cut at `len` bytes.
    pub fn new(seed: u64, len: u64) -> Self {
        Self { source: Seeded::new(seed), left: len, word: [0; 8], word_used: 8 }
    }

    /// Fills as much of `buffer` as the stream still has.
    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.left.min(buffer.len() as u64) as usize;
        let mut at = 0;
        while at < len {
            if self.word_used == 8 {
                self.word = self.source.draw().to_le_bytes();
                self.word_used = 0;
            }
            let take = (8 - self.word_used).min(len - at);
            buffer[at..at + take].copy_from_slice(&self.word[self.word_used..self.word_used + take]);
            self.word_used += take;
            at += take;
        }
        self.left -= len as u64;
        len
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.fill(buffer))
    }
}

/// `len` bytes that follow from `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    Stream::new(seed, len as u64).fill(&mut out);
    out
}

/// SHA-256 of bytes, as hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Length and SHA-256 (hex) of all that a reader gives.
pub fn sha256_of(mut reader: impl Read) -> Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut len = 0;
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            return Ok((len, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        len += read as u64;
    }
}

/// Reads a body to its end and fails at the first byte that differs from the stream of `seed`.
pub fn check_stream(mut reader: impl Read, seed: u64, len: u64) -> Result<()> {
    let mut expected = Stream::new(seed, len);
    let (mut got, mut want) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    let mut at = 0u64;
    loop {
        let read = reader.read(&mut got).with_context(|| format!("body broke off after {at} of {len} bytes"))?;
        if read == 0 {
            ensure!(at == len, "body ended after {at} of {len} bytes");
            return Ok(());
        }
        ensure!(expected.fill(&mut want[..read]) == read, "body is longer than {len} bytes");
        ensure!(got[..read] == want[..read], "bytes differ within {read} bytes after offset {at}");
        at += read as u64;
    }
}

/// Writes the stream of `seed` to a new file.
pub fn write_file(path: &Path, seed: u64, len: u64) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    io::copy(&mut Stream::new(seed, len), &mut file)?;
    file.flush()?;
    Ok(())
}

/// Object keys that have broken storage systems before, each also a possible path of a file; the last is 1,024 bytes long.
pub fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "with space/and more  spaces.txt",
        "plus+percent%41&amp;#hash?question=1.txt",
        "quote'double\"back\\slash!~(1)[2]{3}.txt",
        "a..b/..hidden/trailing..",
        "...",
        "Grüße/привет/你好/🪨.txt",
        "decomposed-u\u{308}.txt",
        "semi;colon:at@comma,equals=star*",
        "-starts-with-dash",
        "empty.bin",
    ]
    .map(String::from)
    .to_vec();
    names.push(key_of_len(1024));
    names
}

/// A key of exactly `len` bytes whose path components fit a file system.
pub fn key_of_len(len: usize) -> String {
    let mut key = "long".to_string();
    while key.len() < len {
        let room = len - key.len();
        match room {
            1 => key.push('x'),
            _ => {
                key.push('/');
                key.extend(std::iter::repeat_n('k', (room - 1).min(180)));
            }
        }
    }
    key
}

/// A directory as users have them: `small` small files, the odd names, and one file of `large_len` bytes (none if zero).
pub fn write_tree(root: &Path, seed: u64, small: usize, large_len: u64) -> Result<()> {
    let mut sizes = Seeded::new(seed);
    for index in 0..small {
        let len = match index % 10 {
            0 => sizes.below(200_000),
            1 => 0,
            _ => sizes.below(8_000),
        };
        write_file(&root.join(format!("small/{:02}/{index:04}.bin", index % 37)), seed + 1 + index as u64, len)?;
    }
    for (index, name) in odd_names().iter().enumerate() {
        let len = if name == "empty.bin" { 0 } else { 100 + sizes.below(70_000) };
        write_file(&root.join(name), seed + 100_000 + index as u64, len)?;
    }
    if large_len > 0 {
        write_file(&root.join("large.bin"), seed + 200_000, large_len)?;
    }
    Ok(())
}

/// Every file under a directory as (path relative to it, length, SHA-256), sorted.
pub fn digest_tree(root: &Path) -> Result<Vec<(PathBuf, u64, String)>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let (len, sha) = sha256_of(fs::File::open(&path)?)?;
                found.push((path.strip_prefix(root)?.to_path_buf(), len, sha));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Fails naming the first file that is missing, surplus or different.
pub fn check_same_tree(left: &Path, right: &Path) -> Result<()> {
    let (left, right) = (digest_tree(left)?, digest_tree(right)?);
    for (a, b) in left.iter().zip(&right) {
        ensure!(a == b, "trees differ: {a:?} is not {b:?}");
    }
    ensure!(left.len() == right.len(), "trees differ: {} files and {} files", left.len(), right.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_read() {
        let whole = bytes(7, 1000);
        let mut stream = Stream::new(7, 1000);
        let mut parts = Vec::new();
        for len in [1, 3, 8, 13, 64, 911, 5] {
            let mut part = vec![0; len];
            let read = stream.read(&mut part).expect("a Stream does not fail");
            parts.extend_from_slice(&part[..read]);
        }
        assert_eq!(parts, whole);
        assert!(check_stream(&whole[..], 7, 1000).is_ok());
    }

    #[test]
    fn a_wrong_short_or_long_body_is_noticed() {
        let mut wrong = bytes(7, 1000);
        wrong[999] ^= 1;
        for (body, len) in [(&wrong[..], 1000), (&bytes(7, 999)[..], 1000), (&bytes(7, 1001)[..], 1000)] {
            assert!(check_stream(body, 7, len).is_err(), "{} of {len}", body.len());
        }
    }

    #[test]
    fn odd_names_end_with_a_key_of_the_greatest_length() {
        let names = odd_names();
        let last = names.last().expect("the list is not empty");
        assert_eq!(last.len(), 1024);
        assert!(names.iter().all(|name| name.split('/').all(|part| part.len() <= 200)));
    }
}
