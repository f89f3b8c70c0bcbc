//! Challenge: which blocks an audit reads, drawn by a nonce that only the client knows.
//!
//! Off chain an audit is nothing but ordinary block reads with proof, in an order that tells nothing, so that a provider cannot serve audits
//! and refuse readers. Against a provider that lacks a share *a* of the leaves, *n* samples notice it with probability 1 − (1 − a)^n:
//! 99 % for 5 % and the least number of samples, 99.86 % for the usual number.
//! Never: a nonce on the wire. Limits: [`SAMPLES_MIN`] to [`AUDIT_SAMPLES_MAX`] samples, [`SWEEP_BLOCKS_MAX`] blocks of a sweep.

use std::collections::BTreeMap;
use std::fmt;

use cairn_types::limits::{AUDIT_SAMPLES_MAX, FRAME_LEAVES, FRAME_LEN};
use cairn_types::merkle::{self, Hash, PATH_LEN_MAX};
use cairn_types::{InventoryRoot, ShardRoot};
use sha2::{Digest, Sha256};

use crate::draw;
use crate::inventory::Inventory;
use crate::path::{Entry, Totals};

/// Leaves drawn by an audit.
pub const SAMPLES: usize = 128;
/// Fewest leaves that an audit may draw.
pub const SAMPLES_MIN: usize = 90;
/// Blocks of one sweep.
pub const SWEEP_BLOCKS_MAX: usize = 1024;

const TAG_ORDER: u8 = 0x21;
const _: () = assert!(SAMPLES_MIN <= SAMPLES && SAMPLES <= AUDIT_SAMPLES_MAX);

/// A client's private random number behind one audit. `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditNonce(pub [u8; 32]);

impl fmt::Debug for AuditNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditNonce(hidden)")
    }
}

/// One block to be read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The shard.
    pub shard: Entry,
    /// The block, counted from the shard's start.
    pub block: u64,
    /// The drawn leaves in it, counted from the shard's start, ascending.
    pub leaves: Vec<u64>,
}

/// The reads of one audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The inventory that the client believes in.
    pub inventory_root: InventoryRoot,
    /// What is in it.
    pub totals: Totals,
    /// Blocks, each once, in the order in which they are to be asked for.
    pub probes: Vec<Probe>,
}

/// A number of samples that makes no audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an audit draws {SAMPLES_MIN} to {AUDIT_SAMPLES_MAX} leaves, not {0}")]
pub struct SamplesError(pub usize);

/// Why what came back is not the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProbeFailure {
    /// The provider believes the shard to be of another length.
    #[error("the shard is {expected} bytes long, not {got}")]
    ShardLen {
        /// Bytes of the shard.
        expected: u64,
        /// What was said.
        got: u64,
    },
    /// Too few or too many bytes.
    #[error("the block is {expected} bytes long, not {got}")]
    BlockLen {
        /// Bytes of the block.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// More hashes than a path of the largest shard has.
    #[error("the path has {0} hashes, at most {PATH_LEN_MAX} are possible")]
    PathLen(usize),
    /// Bytes and path do not lead to the shard's root.
    #[error("bytes and path do not lead to the shard's root")]
    WrongBytes,
}

impl Plan {
    /// An audit of `samples` leaves drawn by `nonce`. An inventory of nothing gives no probes.
    ///
    /// # Errors
    /// [`SamplesError`] for too few or too many samples.
    pub fn new(inventory: &Inventory, nonce: &AuditNonce, samples: usize) -> Result<Plan, SamplesError> {
        if !(SAMPLES_MIN..=AUDIT_SAMPLES_MAX).contains(&samples) {
            return Err(SamplesError(samples));
        }
        let numbers = draw::distinct(&nonce.0, samples, inventory.totals().leaves);
        let mut probes = probes(inventory, numbers);
        probes.sort_by_cached_key(|probe| order_key(nonce, probe));
        Ok(Plan { inventory_root: inventory.root(), totals: inventory.totals(), probes })
    }

    /// The next blocks of a walk over everything, from leaf number `cursor` on; with the cursor of the walk after it.
    /// At most [`SWEEP_BLOCKS_MAX`] blocks; past the end the walk begins again, and ends where it began.
    pub fn sweep(inventory: &Inventory, cursor: u64, blocks: usize) -> (Plan, u64) {
        let leaves = inventory.totals().leaves;
        let (mut next, mut numbers, mut walked) = (if cursor < leaves { cursor } else { 0 }, Vec::new(), 0);
        while numbers.len() < blocks.min(SWEEP_BLOCKS_MAX) && walked < leaves {
            let Some(found) = inventory.locate(next) else { break };
            numbers.push(next);
            let block_leaves = FRAME_LEAVES as u64;
            let step = (block_leaves - found.leaf % block_leaves).min(found.entry.leaf_count() - found.leaf);
            walked += step;
            next = if next + step < leaves { next + step } else { 0 };
        }
        let probes = probes(inventory, numbers);
        (Plan { inventory_root: inventory.root(), totals: inventory.totals(), probes }, next)
    }
}

fn probes(inventory: &Inventory, numbers: Vec<u64>) -> Vec<Probe> {
    let mut blocks: BTreeMap<(ShardRoot, u64), Probe> = BTreeMap::new();
    for found in numbers.into_iter().filter_map(|number| inventory.locate(number)) {
        let block = found.leaf / FRAME_LEAVES as u64;
        let probe =
            blocks.entry((found.entry.root(), block)).or_insert_with(|| Probe { shard: found.entry, block, leaves: Vec::new() });
        probe.leaves.push(found.leaf);
    }
    let mut probes: Vec<Probe> = blocks.into_values().collect();
    probes.iter_mut().for_each(|probe| probe.leaves.sort_unstable());
    probes
}

/// `H(0x21 ‖ nonce ‖ shard root ‖ block)`: sorted by it, probes stand in an order that only the nonce's owner could foretell.
fn order_key(nonce: &AuditNonce, probe: &Probe) -> Hash {
    let mut bytes = [TAG_ORDER; 73];
    bytes[1..33].copy_from_slice(&nonce.0);
    bytes[33..65].copy_from_slice(&probe.shard.root().0);
    bytes[65..].copy_from_slice(&probe.block.to_be_bytes());
    Sha256::digest(bytes).into()
}

impl Probe {
    /// Bytes of the block.
    pub fn block_len(&self) -> usize {
        let before = self.block.saturating_mul(FRAME_LEN as u64);
        self.shard.byte_len().saturating_sub(before).min(FRAME_LEN as u64) as usize
    }

    /// Checks what a provider sent: the shard's length by its word, the block's bytes, and its path.
    ///
    /// # Errors
    /// [`ProbeFailure`].
    pub fn check(&self, shard_len: u64, data: &[u8], path: &[Hash]) -> Result<(), ProbeFailure> {
        let (byte_len, expected) = (self.shard.byte_len(), self.block_len());
        if shard_len != byte_len {
            return Err(ProbeFailure::ShardLen { expected: byte_len, got: shard_len });
        }
        if data.len() != expected {
            return Err(ProbeFailure::BlockLen { expected, got: data.len() });
        }
        if path.len() > PATH_LEN_MAX {
            return Err(ProbeFailure::PathLen(path.len()));
        }
        let good = merkle::verify_block(&self.shard.root(), byte_len, self.block, data, path);
        good.then_some(()).ok_or(ProbeFailure::WrongBytes)
    }
}
