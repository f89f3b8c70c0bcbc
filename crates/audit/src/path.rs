//! Hashes of an inventory and the path that proves one entry of it.
//!
//! Format: `docs/formats/inventory.md`; vectors: `tests/vectors/inventory.json`.
//! Never: a panic on a path from somebody else. Limits: [`INVENTORY_DEPTH_MAX`] steps.

use cairn_types::limits::INVENTORY_DEPTH_MAX;
use cairn_types::merkle::{self, Hash};
use cairn_types::{InventoryRoot, ShardRoot};
use sha2::{Digest, Sha256};

const TAG_ENTRY: u8 = 0x10;
const TAG_NODE: u8 = 0x11;
const TAG_ROOT: u8 = 0x12;

/// One shard of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    root: ShardRoot,
    byte_len: u64,
}

impl Entry {
    /// The shard named `root` of `byte_len` bytes; `None` for an empty one, which has nothing to prove.
    pub fn new(root: ShardRoot, byte_len: u64) -> Option<Entry> {
        (byte_len > 0).then_some(Entry { root, byte_len })
    }

    /// Name of the shard.
    pub fn root(&self) -> ShardRoot {
        self.root
    }

    /// Bytes of the shard.
    pub fn byte_len(&self) -> u64 {
        self.byte_len
    }

    /// Leaves of the shard.
    pub fn leaf_count(&self) -> u64 {
        merkle::leaf_count(self.byte_len)
    }

    /// `H(0x10 ‖ shard root ‖ leaf count ‖ byte length)`.
    pub fn hash(&self) -> Hash {
        let mut bytes = [TAG_ENTRY; 49];
        bytes[1..33].copy_from_slice(&self.root.0);
        bytes[33..41].copy_from_slice(&self.leaf_count().to_be_bytes());
        bytes[41..].copy_from_slice(&self.byte_len.to_be_bytes());
        Sha256::digest(bytes).into()
    }
}

/// What an inventory holds altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Shards.
    pub entries: u64,
    /// Leaves of all shards.
    pub leaves: u64,
    /// Bytes of all shards.
    pub bytes: u64,
}

impl Totals {
    /// `H(0x12 ‖ entries ‖ leaves ‖ bytes ‖ top)`: the root of an inventory with this top.
    pub fn root(&self, top: &Hash) -> InventoryRoot {
        let mut bytes = [TAG_ROOT; 57];
        bytes[1..9].copy_from_slice(&self.entries.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.leaves.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.bytes.to_be_bytes());
        bytes[25..].copy_from_slice(top);
        InventoryRoot(Sha256::digest(bytes).into())
    }
}

/// One side of an inner node: leaves below it and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Branch {
    pub sum: u64,
    pub hash: Hash,
}

/// `H(0x11 ‖ bit ‖ left sum ‖ left hash ‖ right sum ‖ right hash)`.
pub(crate) fn node_hash(bit: u8, left: &Branch, right: &Branch) -> Hash {
    let mut bytes = [TAG_NODE; 82];
    bytes[1] = bit;
    bytes[2..10].copy_from_slice(&left.sum.to_be_bytes());
    bytes[10..42].copy_from_slice(&left.hash);
    bytes[42..50].copy_from_slice(&right.sum.to_be_bytes());
    bytes[50..].copy_from_slice(&right.hash);
    Sha256::digest(bytes).into()
}

/// Bit `index` of a key, the most significant first.
pub(crate) fn key_bit(key: &[u8; 32], index: u8) -> bool {
    key[usize::from(index / 8)] >> (7 - index % 8) & 1 == 1
}

/// One step from an entry up to the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InventoryStep {
    /// The bit at which the two sides of this node differ.
    pub bit: u8,
    /// Whether the sibling is the left side.
    pub sibling_is_left: bool,
    /// Leaves below the sibling.
    pub sibling_sum: u64,
    /// Hash of the sibling.
    pub sibling_hash: Hash,
}

/// Why a path does not prove its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Too many steps.
    #[error("{0} steps, at most {INVENTORY_DEPTH_MAX} are allowed")]
    TooLong(usize),
    /// Bits do not strictly decrease on the way up.
    #[error("step {step} is about bit {bit}, which is not above the step before it")]
    BitOrder {
        /// The step.
        step: usize,
        /// Its bit.
        bit: u8,
    },
    /// The entry's key belongs on the other side.
    #[error("step {step}: the shard's root has another bit {bit} than a key on this side")]
    WrongSide {
        /// The step.
        step: usize,
        /// Its bit.
        bit: u8,
    },
    /// The sums of the path overflow.
    #[error("the leaf numbers of step {step} overflow")]
    Overflow {
        /// The step.
        step: usize,
    },
    /// The sums of the path are not the inventory's.
    #[error("the path adds up to {got} leaves, the inventory has {expected}")]
    WrongSum {
        /// Leaves of the inventory.
        expected: u64,
        /// Leaves of the path.
        got: u64,
    },
    /// The hashes do not lead to the root.
    #[error("the path leads to {got}, not to {expected}")]
    WrongRoot {
        /// The inventory's root.
        expected: InventoryRoot,
        /// The path's root.
        got: InventoryRoot,
    },
}

/// Checks that `path` proves `entry` in the inventory `root` with these totals, and gives the number of the entry's first leaf.
///
/// # Errors
/// [`PathError`] says what does not fit.
pub fn verify_path(root: &InventoryRoot, totals: &Totals, entry: &Entry, path: &[InventoryStep]) -> Result<u64, PathError> {
    if path.len() > INVENTORY_DEPTH_MAX {
        return Err(PathError::TooLong(path.len()));
    }
    let (mut below, mut first_leaf) = (Branch { sum: entry.leaf_count(), hash: entry.hash() }, 0u64);
    let mut bit_below = None;
    for (index, step) in path.iter().enumerate() {
        let bit = step.bit;
        if bit_below.is_some_and(|below| bit >= below) {
            return Err(PathError::BitOrder { step: index, bit });
        }
        if key_bit(&entry.root.0, bit) != step.sibling_is_left {
            return Err(PathError::WrongSide { step: index, bit });
        }
        let sibling = Branch { sum: step.sibling_sum, hash: step.sibling_hash };
        let sum = below.sum.checked_add(sibling.sum).ok_or(PathError::Overflow { step: index })?;
        let hash = if step.sibling_is_left {
            first_leaf += sibling.sum; // at most the sum just checked
            node_hash(bit, &sibling, &below)
        } else {
            node_hash(bit, &below, &sibling)
        };
        (below, bit_below) = (Branch { sum, hash }, Some(bit));
    }
    if below.sum != totals.leaves {
        return Err(PathError::WrongSum { expected: totals.leaves, got: below.sum });
    }
    let got = totals.root(&below.hash);
    if got == *root { Ok(first_leaf) } else { Err(PathError::WrongRoot { expected: *root, got }) }
}
