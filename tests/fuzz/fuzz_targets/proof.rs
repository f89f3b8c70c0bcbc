//! Merkle proofs from a hostile provider: a block proves itself under the root that RFC 6962's definition gives, and nothing else does.
#![no_main]

use arbitrary::Arbitrary;
use cairn_fuzz::noise;
use cairn_types::ShardRoot;
use cairn_types::limits::{FRAME_LEAVES, FRAME_LEN, LEAF_LEN, SHARD_LEN_MAX};
use cairn_types::merkle::{
    Hash, block_count, block_hash, block_path, leaf_path, node_hash, root_hash, verify_block, verify_leaf,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    byte_len: u32,
    index: u16,
    seed: u8,
    wrong: Wrong,
    free: Free,
}

/// What is changed of a true proof.
#[derive(Debug, Arbitrary)]
enum Wrong {
    Len(u64),
    Index(u64),
    Byte(u16, u8),
    Cut(u16),
    Hash(u8, u8, u8),
    LongerPath(u8),
    ShorterPath,
    Swap(u8, u8),
}

/// A proof made of nothing.
#[derive(Debug, Arbitrary)]
struct Free {
    root: [u8; 32],
    len: u64,
    index: u64,
    path: Vec<[u8; 32]>,
    data: Vec<u8>,
}

fn reference_top(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => unreachable!("a shard with a block"),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&reference_top(left), &reference_top(right))
        }
    }
}

fuzz_target!(|input: Input| {
    let free = &input.free;
    assert!(!verify_block(&ShardRoot(free.root), free.len, free.index, &free.data, &free.path));
    assert!(!verify_leaf(&ShardRoot(free.root), free.len, free.index, &free.data, &free.path));
    let byte_len = u64::from(input.byte_len) % SHARD_LEN_MAX + 1;
    let blocks = block_count(byte_len);
    let index = u64::from(input.index) % blocks;
    let len = (byte_len - index * FRAME_LEN as u64).min(FRAME_LEN as u64) as usize;
    let data = noise(input.seed.into(), len);
    // The other blocks' bytes do not matter to the one that is proven; their hashes do.
    let mut hashes: Vec<Hash> = (0..blocks).map(|block| Hash::try_from(noise(block + 1, 32)).expect("32 bytes")).collect();
    hashes[index as usize] = block_hash(index, &data);
    let root = root_hash(byte_len, &reference_top(&hashes));
    let path = block_path(&hashes, index as usize).expect("in range");
    assert!(verify_block(&root, byte_len, index, &data, &path));
    leaf(&root, byte_len, index, &data, &path, &input.wrong);
    let (mut claim, changed) = ((byte_len, index, data.clone(), path.clone()), (byte_len, index, data, path));
    change(&input.wrong, &mut claim);
    let (byte_len, index, data, path) = &claim;
    assert_eq!(verify_block(&root, *byte_len, *index, data, path), claim == changed, "{:?}", input.wrong);
});

/// The block's last leaf proves itself, and nothing else does.
fn leaf(root: &ShardRoot, byte_len: u64, block: u64, data: &[u8], path: &[Hash], wrong: &Wrong) {
    let inside = data.len().div_ceil(LEAF_LEN) - 1;
    let leaf = data[inside * LEAF_LEN..].to_vec();
    let path = leaf_path(block, data, inside, path).expect("a leaf of the block");
    let true_claim = (byte_len, block * FRAME_LEAVES as u64 + inside as u64, leaf, path);
    let mut claim = true_claim.clone();
    change(wrong, &mut claim);
    let (byte_len, index, data, path) = &claim;
    assert_eq!(verify_leaf(root, *byte_len, *index, data, path), claim == true_claim, "{wrong:?}");
}

fn change(wrong: &Wrong, claim: &mut (u64, u64, Vec<u8>, Vec<Hash>)) {
    let (byte_len, index, data, path) = claim;
    match *wrong {
        Wrong::Len(len) => *byte_len = len,
        Wrong::Index(other) => *index = other,
        Wrong::Byte(at, flip) => {
            let at = usize::from(at) % data.len();
            data[at] ^= flip;
        }
        Wrong::Cut(by) => data.truncate(data.len().saturating_sub(by.into())),
        Wrong::Hash(at, byte, flip) if !path.is_empty() => {
            let at = usize::from(at) % path.len();
            path[at][usize::from(byte) % 32] ^= flip;
        }
        Wrong::Hash(..) => {}
        Wrong::LongerPath(byte) => path.push([byte; 32]),
        Wrong::ShorterPath => drop(path.pop()),
        Wrong::Swap(a, b) if !path.is_empty() => {
            let (a, b) = (usize::from(a) % path.len(), usize::from(b) % path.len());
            path.swap(a, b);
        }
        Wrong::Swap(..) => {}
    }
}
