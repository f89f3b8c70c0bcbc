//! SHA-256 Merkle tree that names a shard, over leaves of [`LEAF_LEN`] bytes.
//!
//! Leaf `H(0x00 ‖ index: u64 BE ‖ len: u32 BE ‖ data)`, node `H(0x01 ‖ left ‖ right)`,
//! root `H(0x02 ‖ leaf_count: u64 BE ‖ byte_len: u64 BE ‖ top)`. The tree over more than one leaf splits at the largest power of
//! two below the leaf count, as RFC 6962 does; so a frame of [`FRAME_LEAVES`] leaves is one subtree, called a *block* here.
//! Format: `docs/formats/merkle.md`; vectors: `tests/vectors/merkle.json`.
//!
//! Never: more memory than one hash per tree level while hashing (plus one hash per block where asked for).

use sha2::{Digest, Sha256};

use crate::id::ShardRoot;
use crate::limits::{FRAME_LEAVES, FRAME_LEN, LEAF_LEN, SHARD_LEN_MAX};
use crate::sha_pair;

/// A SHA-256 hash inside the tree.
pub type Hash = [u8; 32];

/// Levels above the blocks of the largest shard.
pub const PATH_LEN_MAX: usize = 11;
const _: () = assert!(SHARD_LEN_MAX / FRAME_LEN as u64 <= 1 << PATH_LEN_MAX);
/// Levels above the leaves of the largest shard.
pub const LEAF_PATH_LEN_MAX: usize = PATH_LEN_MAX + FRAME_LEAVES.ilog2() as usize;

/// Hash of one leaf. `data` is [`LEAF_LEN`] bytes, fewer only for a shard's last leaf.
pub fn leaf_hash(index: u64, data: &[u8]) -> Hash {
    let mut head = [0u8; 13];
    head[1..9].copy_from_slice(&index.to_be_bytes());
    head[9..].copy_from_slice(&(data.len() as u32).to_be_bytes());
    Sha256::new().chain_update(head).chain_update(data).finalize().into()
}

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1u8; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// Name of a shard of `byte_len` bytes with the given top hash.
pub fn root_hash(byte_len: u64, top: &Hash) -> ShardRoot {
    let mut bytes = [2u8; 49];
    bytes[1..9].copy_from_slice(&leaf_count(byte_len).to_be_bytes());
    bytes[9..17].copy_from_slice(&byte_len.to_be_bytes());
    bytes[17..].copy_from_slice(top);
    ShardRoot(Sha256::digest(bytes).into())
}

/// Leaves of a shard of `byte_len` bytes.
pub fn leaf_count(byte_len: u64) -> u64 {
    byte_len.div_ceil(LEAF_LEN as u64)
}

/// Blocks (full frames, the last one perhaps shorter) of a shard of `byte_len` bytes.
pub fn block_count(byte_len: u64) -> u64 {
    byte_len.div_ceil(FRAME_LEN as u64)
}

/// Top hash of the subtree of one block. `index` counts blocks from the shard's start; `data` is 1 ..= [`FRAME_LEN`] bytes.
pub fn block_hash(index: u64, data: &[u8]) -> Hash {
    let first_leaf = index * FRAME_LEAVES as u64;
    if sha_pair::available() && data.len() <= FRAME_LEN {
        return paired_block_hash(first_leaf, data);
    }
    let mut tree = Stack::default();
    for (offset, leaf) in data.chunks(LEAF_LEN).enumerate() {
        tree.push(leaf_hash(first_leaf + offset as u64, leaf));
    }
    tree.top()
}

/// As [`block_hash`] one by one, two hashes at a time. Level by level with the odd hash carried up is RFC 6962's tree.
fn paired_block_hash(first_leaf: u64, data: &[u8]) -> Hash {
    let mut hashes = [[0u8; 32]; FRAME_LEAVES];
    let mut count = data.len().div_ceil(LEAF_LEN);
    let mut messages = [padded_leaf(), padded_leaf()];
    for (pair, leaves) in data.chunks(2 * LEAF_LEN).enumerate() {
        let at = 2 * pair;
        let leaf = first_leaf + at as u64;
        let whole = if leaves.len() == 2 * LEAF_LEN { leaf_pair(&mut messages, leaf, leaves) } else { None };
        match whole {
            Some(pair) => hashes[at..at + 2].copy_from_slice(&pair),
            None => {
                for (offset, data) in leaves.chunks(LEAF_LEN).enumerate() {
                    hashes[at + offset] = leaf_hash(leaf + offset as u64, data);
                }
            }
        }
    }
    while count > 1 {
        let parents = count / 2;
        for parent in (0..parents).step_by(2) {
            let four = &hashes[2 * parent..(2 * parent + 4).min(FRAME_LEAVES)];
            match if parent + 1 < parents { node_pair(four) } else { None } {
                Some(pair) => hashes[parent..parent + 2].copy_from_slice(&pair),
                None => hashes[parent] = node_hash(&four[0], &four[1]),
            }
        }
        if count % 2 == 1 {
            hashes[parents] = hashes[count - 1];
        }
        count = count.div_ceil(2);
    }
    if data.is_empty() { Sha256::digest([]).into() } else { hashes[0] }
}

/// Blocks of a padded leaf: 13 bytes of head, the leaf, 0x80, zeros, 8 bytes of length.
const LEAF_BLOCKS: usize = (13 + LEAF_LEN + 9).div_ceil(64);
type PaddedLeaf = [sha_pair::Block; LEAF_BLOCKS];

fn padded_leaf() -> PaddedLeaf {
    let mut blocks = [[0u8; 64]; LEAF_BLOCKS];
    let bytes = blocks.as_flattened_mut();
    bytes[9..13].copy_from_slice(&(LEAF_LEN as u32).to_be_bytes());
    bytes[13 + LEAF_LEN] = 0x80;
    bytes[LEAF_BLOCKS * 64 - 8..].copy_from_slice(&((13 + LEAF_LEN as u64) * 8).to_be_bytes());
    blocks
}

/// Hashes two whole leaves; `messages` are padded leaves that are used again and again.
fn leaf_pair(messages: &mut [PaddedLeaf; 2], first_leaf: u64, leaves: &[u8]) -> Option<[Hash; 2]> {
    for (message, (leaf, data)) in messages.iter_mut().zip((first_leaf..).zip(leaves.chunks_exact(LEAF_LEN))) {
        let bytes = message.as_flattened_mut();
        bytes[1..9].copy_from_slice(&leaf.to_be_bytes());
        bytes[13..13 + LEAF_LEN].copy_from_slice(data);
    }
    sha_pair::digest_pair(messages)
}

/// Hashes the parents of four hashes.
fn node_pair(four: &[Hash]) -> Option<[Hash; 2]> {
    let mut messages = [[[0u8; 64]; 2]; 2];
    for (message, children) in messages.iter_mut().zip(four.chunks_exact(2)) {
        let bytes = message.as_flattened_mut();
        bytes[0] = 1;
        bytes[1..65].copy_from_slice(children.as_flattened());
        bytes[65] = 0x80;
        bytes[120..].copy_from_slice(&(65u64 * 8).to_be_bytes());
    }
    sha_pair::digest_pair(&messages)
}

/// Computes a shard's root while its bytes arrive in blocks.
#[derive(Debug, Clone, Default)]
pub struct ShardHasher {
    tree: Stack,
    blocks: u64,
    byte_len: u64,
    ended: bool,
}

impl ShardHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next block and returns its hash. Every block but the last is exactly [`FRAME_LEN`] bytes.
    ///
    /// # Errors
    /// [`BlockError`] when a block follows a short one, is empty, or is longer than a frame.
    pub fn push_block(&mut self, data: &[u8]) -> Result<Hash, BlockError> {
        if self.ended || data.is_empty() || data.len() > FRAME_LEN {
            return Err(BlockError { block: self.blocks, len: data.len() });
        }
        let hash = block_hash(self.blocks, data);
        self.tree.push(hash);
        self.blocks += 1;
        self.byte_len += data.len() as u64;
        self.ended = data.len() < FRAME_LEN;
        Ok(hash)
    }

    /// Bytes seen so far.
    pub fn byte_len(&self) -> u64 {
        self.byte_len
    }

    /// The root over all bytes seen.
    pub fn root(&self) -> ShardRoot {
        root_hash(self.byte_len, &self.tree.clone().top())
    }
}

/// A block that does not fit where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block {block} has {len} bytes: each but the last is {FRAME_LEN}, none is empty, and none follows a shorter one")]
pub struct BlockError {
    block: u64,
    len: usize,
}

/// Root of a whole shard held in memory.
pub fn shard_root(data: &[u8]) -> ShardRoot {
    let mut hasher = ShardHasher::new();
    for block in data.chunks(FRAME_LEN) {
        hasher.push_block(block).expect("chunks are frames, and only the last is shorter");
    }
    hasher.root()
}

/// Sibling hashes from block `index` up to the top, over the hashes of all blocks of a shard. `None` when out of range.
pub fn block_path(blocks: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= blocks.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut span, mut index) = (blocks, index);
    while span.len() > 1 {
        let split = span.len().next_power_of_two() / 2;
        let (left, right) = span.split_at(split);
        if index < split {
            path.push(top_of(right));
            span = left;
        } else {
            path.push(top_of(left));
            span = right;
            index -= split;
        }
    }
    path.reverse();
    Some(path)
}

/// Whether `data` is block `index` of the shard named `root`, which is `byte_len` bytes long. Paths of any other length fail.
pub fn verify_block(root: &ShardRoot, byte_len: u64, index: u64, data: &[u8], path: &[Hash]) -> bool {
    let count = block_count(byte_len);
    let expected_len = byte_len.saturating_sub(index.saturating_mul(FRAME_LEN as u64)).min(FRAME_LEN as u64);
    if index >= count || byte_len > SHARD_LEN_MAX || data.len() as u64 != expected_len || path.len() > PATH_LEN_MAX {
        return false;
    }
    top_by_path(count, index, block_hash(index, data), path, node_hash).is_some_and(|top| root_hash(byte_len, &top) == *root)
}

/// Path of leaf `leaf` (counted inside the block) up to the shard's top, nearest first: the path inside the block, then the block's.
/// `None` when the block has no such leaf.
pub fn leaf_path(block: u64, data: &[u8], leaf: usize, block_path_up: &[Hash]) -> Option<Vec<Hash>> {
    let first_leaf = block.checked_mul(FRAME_LEAVES as u64).filter(|first| *first < u64::MAX - FRAME_LEAVES as u64)?;
    let leaves: Vec<Hash> =
        (first_leaf..).zip(data.chunks(LEAF_LEN)).map(|(index, leaf)| leaf_hash(index, leaf)).take(FRAME_LEAVES).collect();
    let mut path = block_path(&leaves, leaf)?;
    path.extend_from_slice(block_path_up);
    Some(path)
}

/// Length of leaf `index` of a shard of `byte_len` bytes; `None` when there is no such leaf.
pub fn leaf_len(byte_len: u64, index: u64) -> Option<usize> {
    let before = index.checked_mul(LEAF_LEN as u64).filter(|before| *before < byte_len)?;
    Some((byte_len - before).min(LEAF_LEN as u64) as usize)
}

/// Whether `data` is leaf `index` of the shard named `root`, which is `byte_len` bytes long. Paths of any other length fail.
pub fn verify_leaf(root: &ShardRoot, byte_len: u64, index: u64, data: &[u8], path: &[Hash]) -> bool {
    leaf_len(byte_len, index) == Some(data.len())
        && top_by_path(leaf_count(byte_len), index, leaf_hash(index, data), path, node_hash)
            .is_some_and(|top| root_hash(byte_len, &top) == *root)
}

/// Top of an RFC-6962 tree of `count` items, from the hash of item `index` and its siblings, nearest first. Which side a sibling is on
/// and how many there are follows from count and index; `None` for an index out of range and for a path of another length.
pub fn top_by_path(count: u64, index: u64, item: Hash, path: &[Hash], node: impl Fn(&Hash, &Hash) -> Hash) -> Option<Hash> {
    let mut sides = Vec::with_capacity(LEAF_PATH_LEN_MAX); // from the top down; true: the sibling is on the right
    let (mut span, mut at) = (count, index);
    if at >= span {
        return None;
    }
    while span > 1 {
        let split = 1 << (span - 1).ilog2(); // largest power of two below the span
        sides.push(at < split);
        if at < split {
            span = split;
        } else {
            span -= split;
            at -= split;
        }
    }
    let climb = |hash, (right, sibling): (&bool, &Hash)| if *right { node(&hash, sibling) } else { node(sibling, &hash) };
    (sides.len() == path.len()).then(|| sides.iter().rev().zip(path).fold(item, climb))
}

fn top_of(hashes: &[Hash]) -> Hash {
    let mut tree = Stack::default();
    for hash in hashes {
        tree.push(*hash);
    }
    tree.top()
}

/// Left-complete tree under construction: one hash per set bit of the count, as in a binary counter.
#[derive(Debug, Clone, Default)]
struct Stack {
    count: u64,
    hashes: Vec<Hash>,
}

impl Stack {
    fn push(&mut self, mut hash: Hash) {
        let mut carry = self.count;
        while carry & 1 == 1 {
            let left = self.hashes.pop().expect("one hash per set bit of the count");
            hash = node_hash(&left, &hash);
            carry >>= 1;
        }
        self.hashes.push(hash);
        self.count += 1;
    }

    fn top(mut self) -> Hash {
        let Some(mut top) = self.hashes.pop() else { return Sha256::digest([]).into() };
        while let Some(left) = self.hashes.pop() {
            top = node_hash(&left, &top);
        }
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    /// RFC 6962's definition, written the slow way.
    fn reference_top(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                node_hash(&reference_top(left), &reference_top(right))
            }
        }
    }

    #[test]
    fn streaming_root_equals_the_recursive_definition() {
        for len in [0, 1, 1023, 1024, 1025, 65_535, 65_536, 65_537, 3 * 65_536, 5 * 65_536 + 2049, 13 * 65_536 - 1] {
            let data = sample(len);
            let leaves: Vec<Hash> = data.chunks(LEAF_LEN).enumerate().map(|(i, leaf)| leaf_hash(i as u64, leaf)).collect();
            assert_eq!(shard_root(&data), root_hash(len as u64, &reference_top(&leaves)), "{len} bytes");
        }
    }

    #[test]
    fn a_block_of_any_length_hashes_as_its_leaves_do() {
        let data = sample(FRAME_LEN);
        for len in (0..FRAME_LEN).step_by(509).chain([1, 1024, 2048, 3072, 3073, FRAME_LEN - 1, FRAME_LEN]) {
            let leaves: Vec<Hash> =
                data[..len].chunks(LEAF_LEN).enumerate().map(|(i, leaf)| leaf_hash(3 * 64 + i as u64, leaf)).collect();
            assert_eq!(block_hash(3, &data[..len]), reference_top(&leaves), "{len} bytes");
        }
    }

    #[test]
    fn every_block_proves_itself_and_nothing_else() {
        for blocks in 1..=9usize {
            let data = sample(blocks * FRAME_LEN - 700);
            let root = shard_root(&data);
            let hashes: Vec<Hash> = data.chunks(FRAME_LEN).enumerate().map(|(i, b)| block_hash(i as u64, b)).collect();
            for (index, block) in data.chunks(FRAME_LEN).enumerate() {
                let path = block_path(&hashes, index).expect("in range");
                let check = |at: u64, block: &[u8], path: &[Hash]| verify_block(&root, data.len() as u64, at, block, path);
                assert!(check(index as u64, block, &path));
                assert!(!check(index as u64 + 1, block, &path));
                let mut flipped = block.to_vec();
                flipped[block.len() / 2] ^= 1;
                assert!(!check(index as u64, &flipped, &path));
                assert!(!check(index as u64, &block[1..], &path));
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert!(!check(index as u64, block, &longer));
                assert!(!verify_block(&root, data.len() as u64 + 1, index as u64, block, &path));
            }
            assert!(block_path(&hashes, blocks).is_none());
        }
    }

    #[test]
    fn every_leaf_proves_itself_and_nothing_else() {
        for len in [1, 1023, 1024, 1025, 65_536, 65_537, 3 * FRAME_LEN + 2049] {
            let data = sample(len);
            let root = shard_root(&data);
            let blocks: Vec<Hash> = data.chunks(FRAME_LEN).enumerate().map(|(i, b)| block_hash(i as u64, b)).collect();
            for (index, leaf) in data.chunks(LEAF_LEN).enumerate() {
                let (block, inside) = (index / FRAME_LEAVES, index % FRAME_LEAVES);
                let bytes = data.chunks(FRAME_LEN).nth(block).expect("in range");
                let up = block_path(&blocks, block).expect("in range");
                let path = leaf_path(block as u64, bytes, inside, &up).expect("in range");
                let check = |at: u64, leaf: &[u8], path: &[Hash]| verify_leaf(&root, len as u64, at, leaf, path);
                assert!(check(index as u64, leaf, &path), "leaf {index} of {len} bytes");
                assert!(!check(index as u64 + 1, leaf, &path));
                assert!(!check(index as u64, &leaf[1..], &path));
                assert!(!check(index as u64, leaf, &[path.clone(), vec![[0; 32]]].concat()));
                assert!(!verify_leaf(&root, len as u64 + 1, index as u64, leaf, &path));
                let mut flipped = leaf.to_vec();
                flipped[leaf.len() / 2] ^= 1;
                assert!(!check(index as u64, &flipped, &path));
                assert!(path.is_empty() || !check(index as u64, leaf, &path[1..]));
            }
            assert!(leaf_path(0, &data[..1], 1, &[]).is_none());
        }
    }

    #[test]
    fn counts_and_indices_of_any_size_are_bounded() {
        let top = |count, index, len| top_by_path(count, index, [0; 32], &vec![[0; 32]; len], node_hash).is_some();
        assert!(top(u64::MAX, 0, 64) && top(u64::MAX, u64::MAX - 1, 63) && top(1, 0, 0));
        assert!(!top(u64::MAX, u64::MAX, 64) && !top(0, 0, 0) && !top(1, 1, 0) && !top(u64::MAX, 0, 63));
        assert_eq!((leaf_len(u64::MAX, u64::MAX), leaf_len(0, 0), leaf_len(1025, 1)), (None, None, Some(1)));
        assert!(!verify_leaf(&ShardRoot([0; 32]), u64::MAX, u64::MAX / 1024, &[0; 1023], &[]));
    }

    #[test]
    fn blocks_out_of_shape_are_refused() {
        let mut hasher = ShardHasher::new();
        assert!(hasher.push_block(&[]).is_err());
        assert!(hasher.push_block(&sample(FRAME_LEN + 1)).is_err());
        hasher.push_block(&sample(10)).expect("a short last block");
        assert!(hasher.push_block(&sample(10)).is_err());
    }
}
