//! Inventory: all shards that a provider holds under one deal, under one root, with every leaf numbered.
//!
//! A Merkle-sum trie over a *set* of entries: a leaf number leads to exactly one leaf of one shard, and client and provider come to the
//! same root in whatever order they learnt of the shards. Format: `docs/formats/inventory.md`; vectors: `tests/vectors/inventory.json`.
//! Never: more than O(depth) work for one change, one path or one number; the depth of n random roots is about log2 n + 2.
//! Limits: [`INVENTORY_ENTRIES_MAX`] entries, [`INVENTORY_DEPTH_MAX`] deep; memory is measured by `examples/bench_inventory.rs`.

use cairn_types::limits::{INVENTORY_DEPTH_MAX, INVENTORY_ENTRIES_MAX, SHARD_LEN_MAX};
use cairn_types::{InventoryRoot, ShardRoot};

use crate::path::{Entry, InventoryStep, Totals};
use crate::trie::{Inserted, Trie};

/// The set of shards of one deal.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    trie: Trie,
    totals: Totals,
}

/// A shard that an inventory does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// A shard of this root is there with another length.
    #[error("shard {root} is {held} bytes long here, not {offered}")]
    OtherLength {
        /// The shard.
        root: ShardRoot,
        /// Its length in the inventory.
        held: u64,
        /// The length offered.
        offered: u64,
    },
    /// A shard longer than any can be.
    #[error("shard {root} would be {byte_len} bytes long, at most {SHARD_LEN_MAX} are possible")]
    TooLong {
        /// The shard.
        root: ShardRoot,
        /// Its length.
        byte_len: u64,
    },
    /// Too many shards.
    #[error("an inventory takes {INVENTORY_ENTRIES_MAX} shards and is full")]
    Full,
    /// Roots that share so many leading bits that somebody made them on purpose.
    #[error("the trie would be deeper than {INVENTORY_DEPTH_MAX}: these roots are not hashes of data")]
    TooDeep,
}

/// Where a leaf number leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The shard.
    pub entry: Entry,
    /// The leaf, counted from the shard's start.
    pub leaf: u64,
}

impl Inventory {
    /// An inventory of nothing.
    pub fn new() -> Inventory {
        Inventory::default()
    }

    /// The inventory of many entries at once, in any order; an entry may come twice. Hashes every node only once.
    ///
    /// # Errors
    /// [`InventoryError`] for the first entry that does not fit, or when all together do not.
    pub fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Result<Inventory, InventoryError> {
        let mut sorted: Vec<Entry> = Vec::new();
        for entry in entries {
            check_len(&entry)?;
            sorted.push(entry);
        }
        sorted.sort_unstable();
        sorted.dedup();
        if let Some([held, offered]) = sorted.array_windows().find(|[a, b]| a.root() == b.root()) {
            return Err(InventoryError::OtherLength { root: held.root(), held: held.byte_len(), offered: offered.byte_len() });
        }
        if sorted.len() > INVENTORY_ENTRIES_MAX {
            return Err(InventoryError::Full);
        }
        let totals = sorted.iter().fold(Totals::default(), |totals, entry| totals.with(entry));
        Ok(Inventory { trie: Trie::from_sorted(&sorted).ok_or(InventoryError::TooDeep)?, totals })
    }

    /// Adds a shard; `false` when it was there already.
    ///
    /// # Errors
    /// [`InventoryError`]; the inventory is as before.
    pub fn insert(&mut self, entry: Entry) -> Result<bool, InventoryError> {
        check_len(&entry)?;
        let root = entry.root();
        if self.totals.entries as usize >= INVENTORY_ENTRIES_MAX && !self.contains(&root) {
            return Err(InventoryError::Full);
        }
        match self.trie.insert(&entry) {
            Inserted::New => {
                self.totals = self.totals.with(&entry);
                Ok(true)
            }
            Inserted::Present { byte_len } if byte_len == entry.byte_len() => Ok(false),
            Inserted::Present { byte_len } => {
                Err(InventoryError::OtherLength { root, held: byte_len, offered: entry.byte_len() })
            }
            Inserted::TooDeep => Err(InventoryError::TooDeep),
        }
    }

    /// Takes a shard out; `None` when it was not there.
    pub fn remove(&mut self, root: &ShardRoot) -> Option<Entry> {
        let entry = self.trie.remove(&root.0)?;
        self.totals = self.totals.without(&entry);
        Some(entry)
    }

    /// Whether the shard is there.
    pub fn contains(&self, root: &ShardRoot) -> bool {
        self.get(root).is_some()
    }

    /// The entry of a shard.
    pub fn get(&self, root: &ShardRoot) -> Option<Entry> {
        self.trie.get(&root.0)
    }

    /// Shards, leaves and bytes.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether there is no shard.
    pub fn is_empty(&self) -> bool {
        self.totals.entries == 0
    }

    /// Name of the whole.
    pub fn root(&self) -> InventoryRoot {
        self.totals.root(&self.trie.top().unwrap_or_default())
    }

    /// The steps from a shard's entry up to the top, nearest first; see [`crate::path::verify_path`].
    pub fn path(&self, root: &ShardRoot) -> Option<Vec<InventoryStep>> {
        self.trie.path(&root.0)
    }

    /// The shard and its leaf that leaf number `number` leads to; `None` when there are not so many leaves.
    pub fn locate(&self, number: u64) -> Option<Located> {
        let (entry, leaf) = if number < self.totals.leaves { self.trie.locate(number)? } else { return None };
        Some(Located { entry, leaf })
    }

    /// All entries, by root.
    pub fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        self.trie.iter()
    }

    /// Bytes of memory that the arrays hold.
    pub fn memory_len(&self) -> usize {
        size_of::<Inventory>() + self.trie.memory_len()
    }
}

fn check_len(entry: &Entry) -> Result<(), InventoryError> {
    if entry.byte_len() > SHARD_LEN_MAX {
        return Err(InventoryError::TooLong { root: entry.root(), byte_len: entry.byte_len() });
    }
    Ok(())
}

impl Totals {
    fn with(self, entry: &Entry) -> Totals {
        let (entries, leaves) = (self.entries + 1, self.leaves + entry.leaf_count());
        Totals { entries, leaves, bytes: self.bytes + entry.byte_len() } // the limits keep all three far below 2^64
    }

    fn without(self, entry: &Entry) -> Totals {
        let (entries, leaves) = (self.entries - 1, self.leaves - entry.leaf_count());
        Totals { entries, leaves, bytes: self.bytes - entry.byte_len() }
    }
}
