//! Crit-bit trie with sums, in two arrays: the shape behind an inventory.
//!
//! Never: recursion deeper than [`INVENTORY_DEPTH_MAX`], or a shape that depends on the order of operations.
//! Limits: [`INVENTORY_ENTRIES_MAX`] entries; a leaf takes 36 bytes and an inner node 56, and arrays grow by an eighth.

use cairn_types::ShardRoot;
use cairn_types::limits::{INVENTORY_DEPTH_MAX, INVENTORY_ENTRIES_MAX};
use cairn_types::merkle::Hash;

use crate::path::{Branch, Entry, InventoryStep, key_bit, node_hash};

/// A reference to a leaf or an inner node, told apart by the highest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Child(u32);

const LEAF_FLAG: u32 = 1 << 31;
const _: () = assert!(INVENTORY_ENTRIES_MAX < LEAF_FLAG as usize);

enum At {
    Leaf(usize),
    Node(usize),
}

impl Child {
    fn leaf(index: usize) -> Child {
        Child(index as u32 | LEAF_FLAG)
    }

    fn node(index: usize) -> Child {
        Child(index as u32)
    }

    fn at(self) -> At {
        let index = (self.0 & !LEAF_FLAG) as usize;
        if self.0 & LEAF_FLAG == 0 { At::Node(index) } else { At::Leaf(index) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Leaf {
    key: [u8; 32],
    byte_len: u32,
}

impl Leaf {
    fn of(entry: &Entry) -> Leaf {
        Leaf { key: entry.root().0, byte_len: u32::try_from(entry.byte_len()).expect("an inventory takes no longer shard") }
    }

    fn entry(&self) -> Entry {
        Entry::new(ShardRoot(self.key), u64::from(self.byte_len)).expect("made of an entry")
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    hash: Hash,
    sum: u64,
    left: Child,
    right: Child,
    bit: u8,
    height: u8,
}

impl Node {
    fn child(&self, right: bool) -> Child {
        if right { self.right } else { self.left }
    }
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    New,
    Present { byte_len: u64 },
    TooDeep,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Trie {
    top: Option<Child>,
    leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    free_leaves: Vec<u32>,
    free_nodes: Vec<u32>,
}

impl Trie {
    /// Builds the trie of entries that are sorted by key and distinct; `None` when it would be too deep.
    pub fn from_sorted(entries: &[Entry]) -> Option<Trie> {
        let mut trie = Trie::default();
        trie.leaves.reserve_exact(entries.len());
        trie.nodes.reserve_exact(entries.len().saturating_sub(1));
        if !entries.is_empty() {
            trie.top = Some(trie.build(entries, 0)?);
        }
        Some(trie)
    }

    fn build(&mut self, entries: &[Entry], depth: usize) -> Option<Child> {
        let (first, last) = (entries.first()?, entries.last()?);
        let Some(bit) = first_difference(&first.root().0, &last.root().0) else {
            self.leaves.push(Leaf::of(first));
            return Some(Child::leaf(self.leaves.len() - 1));
        };
        if depth == INVENTORY_DEPTH_MAX {
            return None;
        }
        let (left, right) = entries.split_at(entries.partition_point(|entry| !key_bit(&entry.root().0, bit)));
        let (left, right) = (self.build(left, depth + 1)?, self.build(right, depth + 1)?);
        let node = self.joined(bit, left, right);
        self.nodes.push(node);
        Some(Child::node(self.nodes.len() - 1))
    }

    pub fn insert(&mut self, entry: &Entry) -> Inserted {
        let key = entry.root().0;
        let Some(nearest) = self.nearest(&key) else {
            self.top = Some(self.add_leaf(entry));
            return Inserted::New;
        };
        let nearest = self.leaves[nearest];
        let Some(bit) = first_difference(&key, &nearest.key) else {
            return Inserted::Present { byte_len: u64::from(nearest.byte_len) };
        };
        let (mut above, mut below) = (Vec::with_capacity(INVENTORY_DEPTH_MAX), self.top.expect("not empty"));
        while let At::Node(index) = below.at() {
            if self.nodes[index].bit > bit {
                break;
            }
            above.push(index);
            below = self.nodes[index].child(key_bit(&key, self.nodes[index].bit));
        }
        if above.len() + 1 + self.height(below) > INVENTORY_DEPTH_MAX {
            return Inserted::TooDeep;
        }
        let leaf = self.add_leaf(entry);
        let (left, right) = if key_bit(&key, bit) { (below, leaf) } else { (leaf, below) };
        let node = self.joined(bit, left, right);
        let node = self.add_node(node);
        self.relink(&above, &key, node);
        Inserted::New
    }

    pub fn remove(&mut self, key: &[u8; 32]) -> Option<Entry> {
        let (mut above, leaf) = self.descend(key)?;
        let entry = self.leaves[leaf].entry();
        let kept = above.pop().map(|parent| {
            self.free_nodes.push(parent as u32);
            self.nodes[parent].child(!key_bit(key, self.nodes[parent].bit))
        });
        match kept {
            Some(sibling) => self.relink(&above, key, sibling),
            None => self.top = None,
        }
        self.free_leaves.push(leaf as u32);
        Some(entry)
    }

    pub fn get(&self, key: &[u8; 32]) -> Option<Entry> {
        let leaf = &self.leaves[self.nearest(key)?];
        (leaf.key == *key).then(|| leaf.entry())
    }

    /// Top hash; `None` when empty.
    pub fn top(&self) -> Option<Hash> {
        self.top.map(|top| self.branch(top).hash)
    }

    pub fn path(&self, key: &[u8; 32]) -> Option<Vec<InventoryStep>> {
        let (above, _) = self.descend(key)?;
        Some(self.steps(&above, key))
    }

    /// The entry that holds leaf number `number`, which must be below the sum, with the leaf's index in it.
    pub fn locate(&self, mut number: u64) -> Option<(Entry, u64)> {
        let mut child = self.top?;
        loop {
            match child.at() {
                At::Leaf(index) => return Some((self.leaves[index].entry(), number)),
                At::Node(index) => {
                    let node = &self.nodes[index];
                    let left_sum = self.sum(node.left);
                    let right = number >= left_sum;
                    number -= if right { left_sum } else { 0 };
                    child = node.child(right);
                }
            }
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { trie: self, open: self.top.into_iter().collect() }
    }

    /// Bytes of memory held.
    pub fn memory_len(&self) -> usize {
        self.leaves.capacity() * size_of::<Leaf>()
            + self.nodes.capacity() * size_of::<Node>()
            + (self.free_leaves.capacity() + self.free_nodes.capacity()) * size_of::<u32>()
    }

    /// The leaf that shares the longest prefix of tested bits with `key`.
    fn nearest(&self, key: &[u8; 32]) -> Option<usize> {
        let mut child = self.top?;
        loop {
            match child.at() {
                At::Leaf(index) => return Some(index),
                At::Node(index) => child = self.nodes[index].child(key_bit(key, self.nodes[index].bit)),
            }
        }
    }

    /// The nodes above the leaf of `key`, from the top, and the leaf.
    fn descend(&self, key: &[u8; 32]) -> Option<(Vec<usize>, usize)> {
        let (mut above, mut child) = (Vec::with_capacity(INVENTORY_DEPTH_MAX), self.top?);
        loop {
            match child.at() {
                At::Leaf(index) => return (self.leaves[index].key == *key).then_some((above, index)),
                At::Node(index) => {
                    above.push(index);
                    child = self.nodes[index].child(key_bit(key, self.nodes[index].bit));
                }
            }
        }
    }

    fn steps(&self, above: &[usize], key: &[u8; 32]) -> Vec<InventoryStep> {
        let step = |index: &usize| {
            let node = &self.nodes[*index];
            let sibling_is_left = key_bit(key, node.bit);
            let sibling = self.branch(node.child(!sibling_is_left));
            InventoryStep { bit: node.bit, sibling_is_left, sibling_sum: sibling.sum, sibling_hash: sibling.hash }
        };
        above.iter().rev().map(step).collect()
    }

    /// Puts `child` where `key` leaves the last node of `above`, and computes everything above it again.
    fn relink(&mut self, above: &[usize], key: &[u8; 32], mut child: Child) {
        for &index in above.iter().rev() {
            let node = self.nodes[index];
            let (left, right) = if key_bit(key, node.bit) { (node.left, child) } else { (child, node.right) };
            self.nodes[index] = self.joined(node.bit, left, right);
            child = Child::node(index);
        }
        self.top = Some(child);
    }

    fn joined(&self, bit: u8, left: Child, right: Child) -> Node {
        let branches = (self.branch(left), self.branch(right));
        let sum = branches.0.sum.checked_add(branches.1.sum).expect("the limits on entries and shards keep sums small");
        let height = 1 + self.height(left).max(self.height(right)) as u8;
        Node { hash: node_hash(bit, &branches.0, &branches.1), sum, left, right, bit, height }
    }

    fn branch(&self, child: Child) -> Branch {
        match child.at() {
            At::Leaf(index) => {
                let entry = self.leaves[index].entry();
                Branch { sum: entry.leaf_count(), hash: entry.hash() }
            }
            At::Node(index) => Branch { sum: self.nodes[index].sum, hash: self.nodes[index].hash },
        }
    }

    fn sum(&self, child: Child) -> u64 {
        match child.at() {
            At::Leaf(index) => self.leaves[index].entry().leaf_count(),
            At::Node(index) => self.nodes[index].sum,
        }
    }

    fn height(&self, child: Child) -> usize {
        match child.at() {
            At::Leaf(_) => 0,
            At::Node(index) => usize::from(self.nodes[index].height),
        }
    }

    fn add_leaf(&mut self, entry: &Entry) -> Child {
        Child::leaf(add(&mut self.leaves, &mut self.free_leaves, Leaf::of(entry)))
    }

    fn add_node(&mut self, node: Node) -> Child {
        Child::node(add(&mut self.nodes, &mut self.free_nodes, node))
    }
}

/// Puts an item into a free place of an array, or at its end.
fn add<T>(items: &mut Vec<T>, free: &mut Vec<u32>, item: T) -> usize {
    if let Some(index) = free.pop() {
        items[index as usize] = item;
        return index as usize;
    }
    if items.len() == items.capacity() {
        items.reserve_exact(items.len() / 8 + 16);
    }
    items.push(item);
    items.len() - 1
}

/// Index of the first bit at which two keys differ.
fn first_difference(a: &[u8; 32], b: &[u8; 32]) -> Option<u8> {
    let byte = a.iter().zip(b).position(|(a, b)| a != b)?;
    Some((8 * byte) as u8 + (a[byte] ^ b[byte]).leading_zeros() as u8)
}

/// Entries in the order of their keys.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'a> {
    trie: &'a Trie,
    open: Vec<Child>,
}

impl Iterator for Iter<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            match self.open.pop()?.at() {
                At::Leaf(index) => return Some(self.trie.leaves[index].entry()),
                At::Node(index) => {
                    let node = &self.trie.nodes[index];
                    self.open.extend([node.right, node.left]);
                }
            }
        }
    }
}
