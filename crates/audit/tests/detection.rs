//! A provider that lost 5 % is found out by one audit, whatever way it lost them; an honest one always passes.

mod common;

use std::collections::{BTreeMap, HashSet};

use cairn_audit::challenge::{SAMPLES, SWEEP_BLOCKS_MAX};
use cairn_audit::verdict::{Committed, Effect, Event, Outcome};
use cairn_audit::{Audit, AuditNonce, Entry, Grade, Inventory, Plan, Probe};
use cairn_types::ShardRoot;
use cairn_types::limits::{FRAME_LEAVES, FRAME_LEN, LEAF_LEN};
use cairn_types::merkle::{self, Hash};
use common::{sample, shard};
use sha2::{Digest, Sha256};

const SEEDS: u64 = 100;
const SHARDS: u64 = 60;

/// Numbers that look random and are the same every time.
fn mix(parts: &[u64]) -> u64 {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
    u64::from_be_bytes(Sha256::digest(bytes)[..8].try_into().expect("8 bytes"))
}

struct Provider {
    inventory: Inventory,
    shards: BTreeMap<ShardRoot, (Vec<u8>, Vec<Hash>)>,
}

impl Provider {
    fn new() -> Provider {
        let shards: BTreeMap<ShardRoot, (Vec<u8>, Vec<Hash>)> = (0..SHARDS)
            .map(|number| {
                let mut data = sample(1 + mix(&[number]) as usize % 120_000, number as u8);
                data[0] = number as u8;
                let blocks = data.chunks(FRAME_LEN).enumerate().map(|(i, block)| merkle::block_hash(i as u64, block)).collect();
                (merkle::shard_root(&data), (data, blocks))
            })
            .collect();
        let entries = shards.iter().map(|(root, (data, _))| Entry::new(*root, data.len() as u64).expect("not empty"));
        Provider { inventory: Inventory::from_entries(entries).expect("good entries"), shards }
    }

    /// What comes back when the leaves of these numbers are lost: it still has every hash, and zeros for bytes.
    fn audit(&self, plan: &Plan, lost: &HashSet<u64>) -> Grade {
        let firsts: BTreeMap<ShardRoot, u64> = self
            .inventory
            .iter()
            .scan(0, |next, entry| {
                let first = *next;
                *next += entry.leaf_count();
                Some((entry.root(), first))
            })
            .collect();
        let mut audit = Audit::new(plan.probes.len());
        for (number, probe) in plan.probes.iter().enumerate() {
            let (data, blocks) = &self.shards[&probe.shard.root()];
            let mut block = data.chunks(FRAME_LEN).nth(probe.block as usize).expect("in range").to_vec();
            let first = firsts[&probe.shard.root()] + probe.block * FRAME_LEAVES as u64;
            for (leaf, bytes) in block.chunks_mut(LEAF_LEN).enumerate() {
                if lost.contains(&(first + leaf as u64)) {
                    bytes.fill(0);
                }
            }
            let path = merkle::block_path(blocks, probe.block as usize).expect("in range");
            let outcome = match probe.check(data.len() as u64, &block, &path) {
                Ok(()) => Outcome::Good,
                Err(reason) => Outcome::Corrupt { leaf: probe.leaves[0], reason },
            };
            audit.apply(Event::Answered { probe: number, outcome }).expect("a probe of the plan");
        }
        match audit.apply(Event::Committed(Committed::Matching)).expect("not over").as_slice() {
            [Effect::Conclude(verdict)] => verdict.grade,
            other => panic!("all probes are final, yet {other:?}"),
        }
    }
}

/// Leaf numbers that are lost in one way.
type Loss = fn(&Inventory, u64) -> HashSet<u64>;

fn random_leaves(inventory: &Inventory, seed: u64) -> HashSet<u64> {
    let leaves = inventory.totals().leaves;
    let mut order: Vec<u64> = (0..leaves).collect();
    order.sort_by_key(|leaf| mix(&[seed, *leaf]));
    order.into_iter().take(leaves.div_ceil(20) as usize).collect()
}

fn one_region(inventory: &Inventory, seed: u64) -> HashSet<u64> {
    let leaves = inventory.totals().leaves;
    (0..leaves.div_ceil(20)).map(|at| (mix(&[seed]) % leaves + at) % leaves).collect()
}

fn whole_shards(inventory: &Inventory, seed: u64) -> HashSet<u64> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for entry in inventory.iter() {
        let first = spans.last().map_or(0, |(first, count)| first + count);
        spans.push((first, entry.leaf_count()));
    }
    spans.sort_by_key(|(first, _)| mix(&[seed, *first]));
    let (mut lost, wanted) = (HashSet::new(), inventory.totals().leaves.div_ceil(20) as usize);
    for (first, count) in spans {
        if lost.len() < wanted {
            lost.extend(first..first + count);
        }
    }
    lost
}

#[test]
fn a_loss_of_five_percent_is_noticed_by_one_audit() {
    let provider = Provider::new();
    let inventory = &provider.inventory;
    let losses: [(&str, Loss); 3] =
        [("random leaves", random_leaves), ("one region", one_region), ("whole shards", whole_shards)];
    for (name, loss) in losses {
        let (mut caught, mut drawn) = (0, 0);
        for seed in 0..SEEDS {
            let lost = loss(inventory, seed);
            let plan = Plan::new(inventory, &AuditNonce(shard(seed).0), SAMPLES).expect("enough samples");
            caught += u64::from(provider.audit(&plan, &lost) == Grade::Corrupt);
            // As if the provider could serve a block without its other leaves, as in court: only the drawn leaves count.
            let numbers = cairn_audit::draw::distinct(&shard(seed).0, SAMPLES, inventory.totals().leaves);
            drawn += u64::from(numbers.iter().any(|number| lost.contains(number)));
        }
        assert!(caught >= 99, "{name}: {caught} of {SEEDS} audits noticed");
        assert!(drawn >= 99, "{name}: {drawn} of {SEEDS} draws fell on a lost leaf");
    }
}

#[test]
fn a_provider_that_has_everything_passes_every_audit() {
    let provider = Provider::new();
    for seed in 0..SEEDS {
        let plan = Plan::new(&provider.inventory, &AuditNonce(shard(seed).0), SAMPLES).expect("enough samples");
        assert_eq!(provider.audit(&plan, &HashSet::new()), Grade::Passed, "seed {seed}");
    }
}

#[test]
fn a_sweep_finds_a_single_lost_leaf_and_reads_every_block_once() {
    let provider = Provider::new();
    let leaves = provider.inventory.totals().leaves;
    let lost = HashSet::from([mix(&[1]) % leaves]);
    let (mut cursor, mut probes, mut corrupt) = (0, Vec::new(), 0);
    loop {
        let (plan, next) = Plan::sweep(&provider.inventory, cursor, 10);
        corrupt += usize::from(provider.audit(&plan, &lost) == Grade::Corrupt);
        probes.extend(plan.probes);
        if next <= cursor {
            break;
        }
        cursor = next;
    }
    assert_eq!(corrupt, 1);
    let blocks: HashSet<(ShardRoot, u64)> = probes.iter().map(|probe| (probe.shard.root(), probe.block)).collect();
    let expected: u64 = provider.inventory.iter().map(|entry| merkle::block_count(entry.byte_len())).sum();
    assert_eq!(blocks.len() as u64, expected);
    assert!(probes.len() as u64 <= expected + 10, "the last step may begin again");
    let (all, next) = Plan::sweep(&provider.inventory, 0, SWEEP_BLOCKS_MAX);
    assert_eq!((all.probes.len() as u64, next), (expected, 0), "one walk over everything ends where it began");
    assert!(Plan::sweep(&provider.inventory, u64::MAX, usize::MAX).0.probes.len() <= SWEEP_BLOCKS_MAX);
    assert_eq!(
        Plan::sweep(&Inventory::new(), 5, 10),
        (Plan::new(&Inventory::new(), &AuditNonce([0; 32]), 90).expect("enough"), 0)
    );
}

#[test]
fn a_plan_asks_for_each_block_once_in_an_order_of_its_own() {
    let provider = Provider::new();
    let plan = |nonce: u8| Plan::new(&provider.inventory, &AuditNonce([nonce; 32]), SAMPLES).expect("enough samples").probes;
    let probes = plan(1);
    let blocks: HashSet<(ShardRoot, u64)> = probes.iter().map(|probe| (probe.shard.root(), probe.block)).collect();
    assert_eq!(blocks.len(), probes.len(), "no block twice");
    assert_eq!(probes.iter().map(|probe| probe.leaves.len()).sum::<usize>(), SAMPLES);
    let in_block = |probe: &Probe| probe.leaves.iter().all(|leaf| leaf / FRAME_LEAVES as u64 == probe.block);
    assert!(probes.iter().all(in_block));
    assert!(!probes.is_sorted_by_key(|probe| probe.shard.root()), "not in the order of the inventory");
    assert_eq!(plan(1), probes);
    assert_ne!(plan(2), probes);
    for samples in [0, 89, 4097, usize::MAX] {
        assert!(Plan::new(&provider.inventory, &AuditNonce([1; 32]), samples).is_err(), "{samples} samples");
    }
    assert_eq!(format!("{:?}", AuditNonce([1; 32])), "AuditNonce(hidden)");
}

#[test]
fn a_probe_says_what_is_wrong() {
    use cairn_audit::ProbeFailure as F;
    let data = sample(2 * FRAME_LEN + 5, 1);
    let blocks: Vec<Hash> = data.chunks(FRAME_LEN).enumerate().map(|(i, block)| merkle::block_hash(i as u64, block)).collect();
    let entry = Entry::new(merkle::shard_root(&data), data.len() as u64).expect("not empty");
    let probe = Probe { shard: entry, block: 2, leaves: vec![128] };
    let (len, path) = (data.len() as u64, merkle::block_path(&blocks, 2).expect("in range"));
    let bytes = &data[2 * FRAME_LEN..];
    assert_eq!(probe.check(len, bytes, &path), Ok(()));
    assert_eq!(probe.check(len + 1, bytes, &path), Err(F::ShardLen { expected: len, got: len + 1 }));
    assert_eq!(probe.check(len, &data[..FRAME_LEN], &path), Err(F::BlockLen { expected: 5, got: FRAME_LEN }));
    assert_eq!(probe.check(len, bytes, &[[0; 32]; 12]), Err(F::PathLen(12)));
    assert_eq!(probe.check(len, &[0; 5], &path), Err(F::WrongBytes));
    assert_eq!(probe.check(len, bytes, &[]), Err(F::WrongBytes));
    let beyond = Probe { block: u64::MAX, ..probe };
    assert_eq!(beyond.check(len, &[], &[]), Err(F::WrongBytes));
}
