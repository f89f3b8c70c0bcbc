//! An inventory is the set it was given, whatever happened to it on the way.

mod common;

use std::collections::BTreeMap;

use cairn_audit::path::Totals;
use cairn_audit::{Entry, Inventory, InventoryError, InventoryStep, PathError, verify_path};
use cairn_types::limits::{INVENTORY_DEPTH_MAX, SHARD_LEN_MAX};
use cairn_types::merkle::Hash;
use cairn_types::{InventoryRoot, ShardRoot};
use common::shard;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn entry(root: ShardRoot, byte_len: u64) -> Entry {
    Entry::new(root, byte_len).expect("not empty")
}

/// The format's definition, written the slow way over a sorted list: (sum, hash).
fn naive_top(entries: &[(ShardRoot, u64)], from_bit: usize) -> (u64, Hash) {
    let bit = |root: &ShardRoot, at: usize| root.0[at / 8] >> (7 - at % 8) & 1;
    if let [(root, byte_len)] = entries {
        let leaves = byte_len.div_ceil(1024);
        let bytes = [&[0x10], root.0.as_slice(), &leaves.to_be_bytes(), &byte_len.to_be_bytes()].concat();
        return (leaves, Sha256::digest(bytes).into());
    }
    let (left, right): (Vec<_>, Vec<_>) = entries.iter().partition(|(root, _)| bit(root, from_bit) == 0);
    if left.is_empty() || right.is_empty() {
        return naive_top(entries, from_bit + 1);
    }
    let (left, right) = (naive_top(&left, from_bit + 1), naive_top(&right, from_bit + 1));
    let node = [&[0x11, from_bit as u8], &left.0.to_be_bytes()[..], &left.1, &right.0.to_be_bytes(), &right.1].concat();
    (left.0 + right.0, Sha256::digest(node).into())
}

fn naive_root(model: &BTreeMap<ShardRoot, u64>) -> InventoryRoot {
    let entries: Vec<_> = model.iter().map(|(root, len)| (*root, *len)).collect();
    let (sum, top) = if entries.is_empty() { (0, [0; 32]) } else { naive_top(&entries, 0) };
    let bytes: u64 = model.values().sum();
    let root = [&[0x12], &(entries.len() as u64).to_be_bytes()[..], &sum.to_be_bytes(), &bytes.to_be_bytes(), &top].concat();
    InventoryRoot(Sha256::digest(root).into())
}

/// Keys that differ in few bits, so that every shape of trie comes up, and some as random as hashes.
fn roots() -> impl Strategy<Value = ShardRoot> {
    let close = (any::<u8>(), 0usize..32, any::<bool>()).prop_map(|(byte, at, high)| {
        let mut key = [if high { 0xff } else { 0 }; 32];
        key[at] = byte;
        ShardRoot(key)
    });
    prop_oneof![close, (0u64..40).prop_map(shard)]
}

fn operations() -> impl Strategy<Value = Vec<(ShardRoot, u64, bool)>> {
    let len = prop_oneof![1u64..5000, Just(1024), Just(SHARD_LEN_MAX)];
    prop::collection::vec((roots(), len, prop::bool::weighted(0.7)), 0..120)
}

/// Whether everything about the inventory is what the model says.
fn check(inventory: &Inventory, model: &BTreeMap<ShardRoot, u64>) {
    let leaves = |len: &u64| len.div_ceil(1024);
    let totals = Totals { entries: model.len() as u64, leaves: model.values().map(leaves).sum(), bytes: model.values().sum() };
    assert_eq!(inventory.totals(), totals);
    assert_eq!(inventory.root(), naive_root(model));
    assert!(inventory.iter().map(|entry| (entry.root(), entry.byte_len())).eq(model.iter().map(|(root, len)| (*root, *len))));
    let mut first = 0;
    for (root, len) in model {
        let path = inventory.path(root).expect("there");
        let held = inventory.get(root).expect("there");
        assert_eq!(held.byte_len(), *len);
        assert_eq!(verify_path(&inventory.root(), &totals, &held, &path), Ok(first));
        for (number, leaf) in [(first, 0), (first + leaves(len) - 1, leaves(len) - 1)] {
            let found = inventory.locate(number).expect("in range");
            assert_eq!((found.entry, found.leaf), (held, leaf));
        }
        first += leaves(len);
    }
    assert_eq!(inventory.locate(first), None);
    assert_eq!(inventory.locate(u64::MAX), None);
}

proptest! {
    #[test]
    fn an_inventory_equals_the_naive_set(operations in operations()) {
        let (mut inventory, mut model) = (Inventory::new(), BTreeMap::new());
        for (root, len, add) in operations {
            if add {
                match model.get(&root) {
                    None => prop_assert_eq!(inventory.insert(entry(root, len)), Ok(true)),
                    Some(held) if *held == len => prop_assert_eq!(inventory.insert(entry(root, len)), Ok(false)),
                    Some(held) => {
                        let error = InventoryError::OtherLength { root, held: *held, offered: len };
                        prop_assert_eq!(inventory.insert(entry(root, len)), Err(error));
                    }
                }
                model.entry(root).or_insert(len);
            } else {
                prop_assert_eq!(inventory.remove(&root).map(|entry| entry.byte_len()), model.remove(&root));
            }
            prop_assert_eq!(inventory.root(), naive_root(&model));
        }
        check(&inventory, &model);
        let built = Inventory::from_entries(model.iter().map(|(root, len)| entry(*root, *len))).expect("good entries");
        check(&built, &model);
    }

    #[test]
    fn order_does_not_matter(entries in prop::collection::btree_map(roots(), 1u64..5000, 0..60), seed: u64) {
        let mut shuffled: Vec<Entry> = entries.iter().map(|(root, len)| entry(*root, *len)).collect();
        let sorted = Inventory::from_entries(shuffled.iter().copied()).expect("good entries");
        shuffled.sort_by_key(|entry| Sha256::digest([entry.hash().as_slice(), &seed.to_be_bytes()].concat()).to_vec());
        let mut one_by_one = Inventory::new();
        for entry in &shuffled {
            prop_assert_eq!(one_by_one.insert(*entry), Ok(true));
        }
        prop_assert_eq!(one_by_one.root(), sorted.root());
        for entry in &shuffled[shuffled.len() / 2..] {
            prop_assert_eq!(one_by_one.remove(&entry.root()), Some(*entry));
        }
        let half = Inventory::from_entries(shuffled[..shuffled.len() / 2].iter().copied()).expect("good entries");
        prop_assert_eq!(one_by_one.root(), half.root());
    }

    #[test]
    fn whatever_is_altered_in_a_proof_is_refused(count in 2u64..60, which: prop::sample::Index, at: prop::sample::Index, bit in 0usize..512) {
        let inventory = Inventory::from_entries((0..count).map(|number| entry(shard(number), 1 + number * 600))).expect("good entries");
        let (root, totals) = (inventory.root(), inventory.totals());
        let held = inventory.get(&shard(which.index(count as usize) as u64)).expect("there");
        let path = inventory.path(&held.root()).expect("there");
        let first = verify_path(&root, &totals, &held, &path).expect("unaltered");
        let mut changed = path.clone();
        let step = &mut changed[at.index(path.len())];
        match bit {
            0..8 => step.bit ^= 1 << bit,
            8 => step.sibling_is_left ^= true,
            9..73 => step.sibling_sum ^= 1 << (bit - 9),
            _ => step.sibling_hash[(bit - 73) / 8 % 32] ^= 1 << ((bit - 73) % 8),
        }
        prop_assert!(verify_path(&root, &totals, &held, &changed).is_err());
        let mut key = held.root();
        key.0[bit / 8 % 32] ^= 1 << (bit % 8);
        prop_assert!(verify_path(&root, &totals, &entry(key, held.byte_len()), &path).is_err());
        prop_assert!(verify_path(&root, &totals, &entry(held.root(), held.byte_len() ^ (1 << (bit % 20)) | 1 << 21), &path).is_err());
        prop_assert!(verify_path(&root, &totals, &held, &path[1..]).is_err());
        prop_assert!(verify_path(&root, &totals, &held, &[path.as_slice(), &path[path.len() - 1..]].concat()).is_err());
        for totals in [
            Totals { entries: totals.entries + 1, ..totals },
            Totals { leaves: totals.leaves + 1, ..totals },
            Totals { bytes: totals.bytes - 1, ..totals },
        ] {
            prop_assert!(verify_path(&root, &totals, &held, &path).is_err());
        }
        let other = inventory.iter().find(|other| *other != held).expect("two at least");
        prop_assert!(verify_path(&root, &totals, &other, &path) != Ok(first));
    }

    #[test]
    fn no_path_panics(steps in prop::collection::vec((any::<u8>(), any::<bool>(), any::<u64>(), any::<[u8; 32]>()), 0..70), len in 1u64.., key: [u8; 32], leaves: u64) {
        let steps: Vec<InventoryStep> = steps.into_iter().map(|(bit, sibling_is_left, sibling_sum, sibling_hash)| InventoryStep { bit, sibling_is_left, sibling_sum, sibling_hash }).collect();
        let totals = Totals { entries: u64::MAX, leaves, bytes: u64::MAX };
        prop_assert!(verify_path(&InventoryRoot([0; 32]), &totals, &entry(ShardRoot(key), len), &steps).is_err());
    }
}

/// A key of zeros but for one bit.
fn rung(bit: usize) -> ShardRoot {
    let mut key = [0u8; 32];
    key[bit / 8] = 0x80 >> (bit % 8);
    ShardRoot(key)
}

#[test]
fn a_trie_made_deep_on_purpose_is_refused_at_the_limit_and_stays_whole() {
    let zero = entry(ShardRoot([0; 32]), 1);
    let rungs = |count: usize| (0..count).map(|bit| entry(rung(bit), 1024)).chain([zero]);
    for reverse in [false, true] {
        let mut inventory = Inventory::new();
        let mut bits: Vec<usize> = (0..INVENTORY_DEPTH_MAX).collect();
        if reverse {
            bits.reverse();
        }
        inventory.insert(zero).expect("room");
        for bit in bits {
            assert_eq!(inventory.insert(entry(rung(bit), 1024)), Ok(true), "bit {bit}");
        }
        let before = inventory.root();
        assert_eq!(inventory.path(&zero.root()).expect("there").len(), INVENTORY_DEPTH_MAX);
        for bit in [64, 100, 255] {
            assert_eq!(inventory.insert(entry(rung(bit), 1024)), Err(InventoryError::TooDeep), "bit {bit}");
        }
        assert_eq!((inventory.root(), inventory.totals().entries), (before, 65));
        assert_eq!(Inventory::from_entries(rungs(64)).map(|inventory| inventory.root()), Ok(before));
        assert_eq!(inventory.insert(entry(ShardRoot([0xff; 32]), 5)), Ok(true), "elsewhere there is room");
        assert!(inventory.remove(&rung(7)).is_some());
        assert_eq!(inventory.insert(entry(rung(255), 1024)), Ok(true), "a free step is used again");
    }
    assert_eq!(Inventory::from_entries(rungs(65)).err(), Some(InventoryError::TooDeep));
}

#[test]
fn a_split_above_a_deep_subtree_counts_its_depth() {
    let mut inventory =
        Inventory::from_entries((1..=64).map(|bit| entry(rung(bit), 1)).chain([entry(ShardRoot([0; 32]), 1)])).expect("64 deep");
    assert_eq!(inventory.insert(entry(rung(0), 1)), Err(InventoryError::TooDeep));
    inventory.remove(&rung(64)).expect("there");
    assert_eq!(inventory.insert(entry(rung(0), 1)), Ok(true));
}

#[test]
fn entries_out_of_shape_are_refused() {
    assert!(Entry::new(shard(1), 0).is_none());
    let long = entry(shard(1), SHARD_LEN_MAX + 1);
    let error = InventoryError::TooLong { root: shard(1), byte_len: SHARD_LEN_MAX + 1 };
    assert_eq!(Inventory::new().insert(long), Err(error));
    assert_eq!(Inventory::from_entries([long]).err(), Some(error));
    let twice = [entry(shard(1), 5), entry(shard(2), 6), entry(shard(1), 7)];
    let error = InventoryError::OtherLength { root: shard(1), held: 5, offered: 7 };
    assert_eq!(Inventory::from_entries(twice).err(), Some(error));
    assert_eq!(Inventory::from_entries([twice[0], twice[0]]).map(|inventory| inventory.totals().entries), Ok(1));
}

#[test]
fn paths_out_of_shape_say_why() {
    let inventory = Inventory::from_entries((0..4).map(|number| entry(shard(number), 1))).expect("good entries");
    let (root, totals) = (inventory.root(), inventory.totals());
    let held = inventory.get(&shard(0)).expect("there");
    let path = inventory.path(&shard(0)).expect("there");
    let fails = |path: &[InventoryStep]| verify_path(&root, &totals, &held, path).expect_err("altered");
    assert_eq!(fails(&[path[0]; 65]), PathError::TooLong(65));
    assert_eq!(fails(&[path[0], path[0]]), PathError::BitOrder { step: 1, bit: path[0].bit });
    let mut other = path.clone();
    other[0].sibling_is_left ^= true;
    assert_eq!(fails(&other), PathError::WrongSide { step: 0, bit: path[0].bit });
    let mut other = path.clone();
    other[0].sibling_sum = u64::MAX;
    assert_eq!(fails(&other), PathError::Overflow { step: 0 });
    assert_eq!(fails(&[]), PathError::WrongSum { expected: 4, got: 1 });
    let mut other = path.clone();
    other[0].sibling_hash = [0; 32];
    assert!(matches!(fails(&other), PathError::WrongRoot { expected, .. } if expected == root));
}
