//! What the other side of an audit or a payment says: inventory paths, answers in court, releases, signatures. A true one is believed,
//! an altered one is not.
#![no_main]

use arbitrary::Arbitrary;
use cairn_audit::court::{Answer, Dispute, Question};
use cairn_audit::{Commitment, Entry, Inventory, InventoryStep, Release, ReleaseTree, verify_path};
use cairn_fuzz::noise;
use cairn_types::merkle::shard_root;
use cairn_types::{Address, Amount, ChannelId, Domain, EvmSignature, ShardRoot, UnixSecs, WalletKey};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    /// Shards: name or seed, length.
    shards: Vec<([u8; 2], u16)>,
    pick: u8,
    draw: u8,
    seed: [u8; 32],
    wrong: Wrong,
    free_path: Vec<(u8, bool, u64, u8)>,
    count: u64,
    index: u64,
    hashes: Vec<[u8; 32]>,
    signature: Vec<u8>,
    digest: [u8; 32],
}

#[derive(Debug, Arbitrary)]
enum Wrong {
    Nothing,
    Bit(u8, u8),
    Side(u8),
    Sum(u8, u64),
    Hash(u8, u8, u8),
    Longer(u8, bool, u64),
    Shorter,
    Len(u64),
}

fuzz_target!(|input: Input| {
    signature(&input);
    release(&input);
    let shards: Vec<Vec<u8>> =
        input.shards.iter().take(32).map(|([a, b], len)| noise(u64::from(*a) << 8 | u64::from(*b), (*len).into())).collect();
    let entries = shards.iter().filter_map(|data| Entry::new(shard_root(data), data.len() as u64));
    let Ok(inventory) = Inventory::from_entries(entries) else { return };
    let entries: Vec<Entry> = inventory.iter().collect();
    if entries.is_empty() {
        return;
    }
    path(&input, &inventory, &entries);
    court(&input, &inventory, &shards);
});

fn path(input: &Input, inventory: &Inventory, entries: &[Entry]) {
    let (root, totals) = (inventory.root(), inventory.totals());
    let at = usize::from(input.pick) % entries.len();
    let entry = entries[at];
    let steps = inventory.path(&entry.root()).expect("an entry of the inventory");
    let first: u64 = entries[..at].iter().map(Entry::leaf_count).sum();
    assert_eq!(verify_path(&root, &totals, &entry, &steps), Ok(first));
    let (mut changed, mut other) = (steps.clone(), entry);
    change(&input.wrong, &mut changed, &mut other);
    assert_eq!(verify_path(&root, &totals, &other, &changed).is_ok(), changed == steps && other == entry, "{:?}", input.wrong);
    let free: Vec<InventoryStep> = input.free_path.iter().map(step).collect();
    assert_eq!(verify_path(&root, &totals, &entry, &free).is_ok(), free == steps);
}

fn step((bit, sibling_is_left, sibling_sum, hash): &(u8, bool, u64, u8)) -> InventoryStep {
    InventoryStep { bit: *bit, sibling_is_left: *sibling_is_left, sibling_sum: *sibling_sum, sibling_hash: [*hash; 32] }
}

fn change(wrong: &Wrong, steps: &mut Vec<InventoryStep>, entry: &mut Entry) {
    let len = steps.len();
    let at = |name: u8| usize::from(name) % len.max(1);
    match *wrong {
        Wrong::Nothing => {}
        Wrong::Longer(bit, left, sum) => steps.push(step(&(bit, left, sum, 7))),
        Wrong::Shorter => drop(steps.pop()),
        Wrong::Len(len) => *entry = Entry::new(entry.root(), len).unwrap_or(*entry),
        _ if steps.is_empty() => {}
        Wrong::Bit(name, bit) => steps[at(name)].bit = bit,
        Wrong::Side(name) => steps[at(name)].sibling_is_left ^= true,
        Wrong::Sum(name, sum) => steps[at(name)].sibling_sum = sum,
        Wrong::Hash(name, byte, flip) => steps[at(name)].sibling_hash[usize::from(byte) % 32] ^= flip,
    }
}

/// A provider that has the shard answers the court; with another path, leaf or length it does not.
fn court(input: &Input, inventory: &Inventory, shards: &[Vec<u8>]) {
    let commitment = Commitment {
        channel: ChannelId([1; 32]),
        inventory_root: inventory.root(),
        leaf_count: inventory.totals().leaves,
        issued_at: UnixSecs(1),
        valid_until: UnixSecs(2),
        at_risk: Amount::ZERO,
    };
    let (dispute, draw) = (Dispute { commitment, seed: input.seed }, input.draw.into());
    let Some(question) = Question::new(&dispute, inventory, draw) else { return };
    let data = shards.iter().find(|data| shard_root(data) == question.place.entry.shard_root).expect("an entry is a shard");
    // A shard of up to 64 KiB is one block.
    let answer = question.answer(data, &[]).expect("the block that was asked for");
    assert_eq!(dispute.judge(draw, &answer), Ok(()));
    let mut other: Answer = answer.clone();
    let mut entry = Entry::new(other.place.entry.shard_root, other.place.entry.byte_len).expect("not empty");
    change(&input.wrong, &mut other.place.path, &mut entry);
    other.place.entry.byte_len = entry.byte_len();
    if let (Wrong::Hash(_, at, flip), false) = (&input.wrong, other.leaf.is_empty()) {
        let at = usize::from(*at) % other.leaf.len();
        other.leaf[at] ^= flip;
    }
    assert_eq!(dispute.judge(draw, &other).is_ok(), other == answer);
}

fn release(input: &Input) {
    let claim =
        Release { channel: ChannelId([1; 32]), shards_root: input.digest, shard_count: input.count, released_at: UnixSecs(1) };
    assert!(!claim.covers(&ShardRoot([2; 32]), input.index, &input.hashes));
    let shards = input.shards.iter().map(|([a, b], _)| ShardRoot([a ^ b; 32]));
    let Ok(tree) = ReleaseTree::new(shards) else { return };
    let release = tree.release(ChannelId([1; 32]), UnixSecs(1));
    let shard = tree.shards()[usize::from(input.pick) % tree.shards().len()];
    let (index, path) = tree.path(&shard).expect("a shard of the release");
    assert!(release.covers(&shard, index, &path));
    assert_eq!(release.covers(&shard, input.index, &path), input.index == index);
    assert_eq!(release.covers(&shard, index, &input.hashes), input.hashes == path);
}

/// Whoever a signature is by, its other form (the other s, the other v) is by nobody.
fn signature(input: &Input) {
    let Some(signature) = EvmSignature::from_slice(&input.signature) else { return };
    if let Some(signer) = signature.recover(&input.digest) {
        assert!(signer != Address::ZERO && signature.is_by(signer, &input.digest));
        let mut other = signature;
        other.0[64] ^= 27 ^ 28;
        assert!(!other.is_by(signer, &input.digest));
    }
    let key = WalletKey::from_secret(&[7; 32]).expect("in range");
    let commitment = Commitment {
        channel: ChannelId(input.digest),
        inventory_root: cairn_types::InventoryRoot([0; 32]),
        leaf_count: input.count,
        issued_at: UnixSecs(input.index / 2),
        valid_until: UnixSecs(input.index / 2 + u64::from(input.draw)),
        at_risk: Amount::ZERO,
    };
    let (domain, now) = (Domain::court(1, Address([9; 20])), UnixSecs(input.index / 2));
    let mut signed = commitment.sign(&domain, &key);
    assert_eq!(signed.verify(&domain, key.address(), now).is_ok(), input.draw > 0);
    signed.signature = signature;
    assert!(signed.verify(&domain, key.address(), now).is_err());
}
