//! Complete answers to disputes, good and bad, as the contract `Court` must judge them too: `tests/vectors/court.json`.
//!
//! After a deliberate change of format (with a new version): `CAIRN_WRITE_VECTORS=1 cargo test -p cairn-audit --test court`.

mod common;

use cairn_audit::court::{self, Answer, Counts, CourtError, Dispute, EntryClaim, Place, Question, ReleasedAnswer};
use cairn_audit::{Commitment, Entry, Inventory, PathError, ReleaseTree};
use cairn_types::eip712::keccak256;
use cairn_types::limits::FRAME_LEN;
use cairn_types::merkle::{self, Hash};
use cairn_types::{Address, Amount, ChannelId, Domain, ShardRoot, UnixSecs, WalletKey};
use common::{check_vectors, hex0x, path_json, sample};
use serde_json::{Value, json};

const ISSUED_SECS: u64 = 1_790_000_000;
const LENS: [usize; 7] = [1, 1024, 1025, 3000, 65_536, 65_537, 3 * 65_536 + 700];
const COURT: Domain = Domain::court(31_337, Address([0xc2; 20]));

fn key(byte: u8) -> WalletKey {
    WalletKey::from_secret(&[byte; 32]).expect("in range")
}

fn channel() -> ChannelId {
    ChannelId(keccak256("a channel"))
}

fn shards() -> Vec<Vec<u8>> {
    LENS.iter().zip(0u8..).map(|(len, seed)| sample(*len, seed)).collect()
}

fn inventory() -> Inventory {
    let entry = |data: &Vec<u8>| Entry::new(merkle::shard_root(data), data.len() as u64).expect("not empty");
    Inventory::from_entries(shards().iter().map(entry)).expect("good entries")
}

fn dispute(number: u64) -> Dispute {
    let inventory = inventory();
    let (inventory_root, leaf_count) = (inventory.root(), inventory.totals().leaves);
    let (issued_at, valid_until) = (UnixSecs(ISSUED_SECS), UnixSecs(ISSUED_SECS + 3600));
    let commitment =
        Commitment { channel: channel(), inventory_root, leaf_count, issued_at, valid_until, at_risk: Amount::CREDIT };
    let seed = court::seed(&keccak256("secret"), &keccak256("entropy"), &court::dispute_id(channel(), number));
    Dispute { commitment, seed }
}

fn question(dispute: &Dispute, index: u32) -> Question {
    Question::new(dispute, &inventory(), index).expect("the inventory committed to")
}

fn answer(dispute: &Dispute, index: u32) -> Answer {
    let question = question(dispute, index);
    let data = shards().into_iter().find(|data| merkle::shard_root(data) == question.place.entry.shard_root).expect("ours");
    let blocks: Vec<Hash> = data.chunks(FRAME_LEN).enumerate().map(|(i, block)| merkle::block_hash(i as u64, block)).collect();
    let block = question.block() as usize;
    let bytes = data.chunks(FRAME_LEN).nth(block).expect("in range");
    question.answer(bytes, &merkle::block_path(&blocks, block).expect("in range")).expect("a good block")
}

fn released(dispute: &Dispute, index: u32, by: &WalletKey, released_at: u64) -> ReleasedAnswer {
    released_place(question(dispute, index).place, by, released_at)
}

fn released_place(place: Place, by: &WalletKey, released_at: u64) -> ReleasedAnswer {
    let others = (100..104u64).map(common::shard);
    let tree = ReleaseTree::new(others.chain([place.entry.shard_root])).expect("five");
    let release = tree.release(channel(), UnixSecs(released_at)).sign(&COURT, by);
    let (index, release_path) = tree.path(&place.entry.shard_root).expect("in the tree");
    ReleasedAnswer { place, release, index, release_path }
}

fn place_json(dispute: &Dispute, index: u32, place: &Place) -> Value {
    let counts = json!({"byteSum": place.counts.bytes, "entryCount": place.counts.entries});
    let entry = place.entry;
    let entry =
        json!({"byteLen": entry.byte_len, "leafCount": entry.leaf_count, "shardRoot": hex0x(entry.shard_root.as_bytes())});
    json!({
        "counts": counts, "entry": entry, "index": index, "inventoryPath": path_json(&place.path),
        "inventoryRoot": hex0x(dispute.commitment.inventory_root.as_bytes()), "leafCount": dispute.commitment.leaf_count,
        "seed": hex0x(&dispute.seed),
    })
}

fn with(mut value: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    value.as_object_mut().expect("an object").extend(more);
    value
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| hex0x(hash)).collect()
}

/// The kind of an error, without its values.
fn kind(error: &CourtError) -> String {
    let text = format!("{error:?}");
    let text = text.strip_prefix("Path(").unwrap_or(&text);
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn judged(dispute: &Dispute, name: &str, index: u32, answer: &Answer) -> Value {
    let verdict = dispute.judge(index, answer);
    let more = json!({
        "error": verdict.as_ref().err().map(kind), "leaf": hex0x(&answer.leaf), "name": name, "ok": verdict.is_ok(),
        "shardPath": hexes(&answer.shard_path),
    });
    with(place_json(dispute, index, &answer.place), more)
}

fn judged_released(dispute: &Dispute, name: &str, index: u32, answer: &ReleasedAnswer) -> Value {
    let signers = [key(0x11).address(), key(0x33).address()];
    let verdict = dispute.judge_released(index, answer, &COURT, &signers);
    let release = answer.release.release;
    let more = json!({
        "error": verdict.as_ref().err().map(kind), "name": name, "ok": verdict.is_ok(), "releaseIndex": answer.index,
        "releasePath": hexes(&answer.release_path), "signature": answer.release.signature.to_string(),
        "release": {
            "channelId": hex0x(release.channel.as_bytes()), "releasedAt": release.released_at.0,
            "shardCount": release.shard_count, "shardsRoot": hex0x(&release.shards_root),
        },
    });
    with(place_json(dispute, index, &answer.place), more)
}

/// The shards before and after this one in the inventory's order.
fn neighbours(root: &ShardRoot) -> (ShardRoot, ShardRoot) {
    let roots: Vec<ShardRoot> = inventory().iter().map(|entry| entry.root()).collect();
    let at = roots.iter().position(|other| other == root).expect("ours");
    (roots[at.checked_sub(1).expect("not the first")], roots[at + 1])
}

/// The place of a shard, whatever was drawn.
fn place_of(root: &ShardRoot) -> Place {
    let (inventory, totals) = (inventory(), inventory().totals());
    let entry = inventory.get(root).expect("ours");
    let claim = EntryClaim { shard_root: *root, leaf_count: entry.leaf_count(), byte_len: entry.byte_len() };
    let counts = Counts { entries: totals.entries, bytes: totals.bytes };
    Place { entry: claim, path: inventory.path(root).expect("ours"), counts }
}

/// Answers with one thing changed, each with the kind of refusal that it must meet.
fn altered(dispute: &Dispute) -> Vec<(&'static str, &'static str, u32, Answer)> {
    let index = (0..court::DRAWS).find(|index| answer(dispute, *index).shard_path.len() > 6).expect("a shard of more blocks");
    let good = answer(dispute, index);
    let change = |edit: &dyn Fn(&mut Answer)| {
        let mut answer = good.clone();
        edit(&mut answer);
        answer
    };
    let (before, after) = neighbours(&good.place.entry.shard_root);
    let at = |root: &ShardRoot| Answer { place: place_of(root), ..good.clone() };
    vec![
        ("a byte of the leaf", "WrongLeaf", index, change(&|a| a.leaf[7] ^= 1)),
        ("a leaf cut short", "WrongLeaf", index, change(&|a| a.leaf.truncate(a.leaf.len() - 1))),
        ("a leaf made longer", "WrongLeaf", index, change(&|a| a.leaf.push(0))),
        ("a hash in place of the leaf", "WrongLeaf", index, change(&|a| a.leaf.truncate(32))),
        ("a byte of the shard path", "WrongLeaf", index, change(&|a| a.shard_path[3][31] ^= 0x80)),
        ("a shard path too short", "WrongLeaf", index, change(&|a| a.shard_path.truncate(a.shard_path.len() - 1))),
        ("a shard path too long", "WrongLeaf", index, change(&|a| a.shard_path.push([0; 32]))),
        ("another length of the shard", "WrongRoot", index, change(&|a| a.place.entry.byte_len -= 1)),
        ("leaves that do not fit the length", "BadEntry", index, change(&|a| a.place.entry.leaf_count += 1)),
        ("an empty shard", "BadEntry", index, change(&|a| (a.place.entry.byte_len, a.place.entry.leaf_count) = (0, 0))),
        ("a bit of the inventory path", "BitOrder", index, change(&|a| a.place.path[1].bit = a.place.path[0].bit)),
        ("the side of a sibling", "WrongSide", index, change(&|a| a.place.path[0].sibling_is_left ^= true)),
        ("a sum of the inventory path", "WrongSum", index, change(&|a| a.place.path[0].sibling_sum += 1)),
        ("a sum that overflows", "Overflow", index, change(&|a| a.place.path[0].sibling_sum = u64::MAX)),
        ("a hash of the inventory path", "WrongRoot", index, change(&|a| a.place.path[0].sibling_hash[0] ^= 1)),
        ("an inventory path too short", "WrongSum", index, change(&|a| a.place.path.truncate(1))),
        ("an inventory path too long", "TooLong", index, change(&|a| a.place.path = vec![a.place.path[0]; 65])),
        ("other entry count", "WrongRoot", index, change(&|a| a.place.counts.entries += 1)),
        ("other byte sum", "WrongRoot", index, change(&|a| a.place.counts.bytes += 1)),
        ("the shard before the one drawn", "OtherShard", index, at(&before)),
        ("the shard after the one drawn", "OtherShard", index, at(&after)),
        ("a draw that does not exist", "NoSuchDraw", court::DRAWS, good.clone()),
    ]
}

fn release_cases() -> Vec<(&'static str, Option<&'static str>, u32, ReleasedAnswer)> {
    let dispute = dispute(0);
    let (payer, signer, stranger) = (key(0x11), key(0x33), key(0x22));
    let good = released(&dispute, 0, &payer, ISSUED_SECS);
    let mut wrong_path = good.clone();
    wrong_path.release_path[0][5] ^= 1;
    let mut long_path = good.clone();
    long_path.release_path.push([0; 32]);
    let wrong_index = ReleasedAnswer { index: good.index ^ 1, ..good.clone() };
    let drawn = (0..court::DRAWS).find(|index| answer(&dispute, *index).shard_path.len() > 6).expect("a shard of more blocks");
    let (before, after) = neighbours(&question(&dispute, drawn).place.entry.shard_root);
    let other = |root: &ShardRoot| released_place(place_of(root), &payer, ISSUED_SECS);
    let mut elsewhere = good.clone();
    elsewhere.release = cairn_audit::Release { channel: ChannelId([9; 32]), ..good.release.release }.sign(&COURT, &payer);
    let mut forged = good.clone();
    forged.release.release.shard_count += 1;
    vec![
        ("released by the payer", None, 0, good),
        ("released by the signer", None, 1, released(&dispute, 1, &signer, ISSUED_SECS + 7200)),
        ("released before the commitment", Some("OldRelease"), 0, released(&dispute, 0, &payer, ISSUED_SECS - 1)),
        ("released by a stranger", Some("NotTheirRelease"), 0, released(&dispute, 0, &stranger, ISSUED_SECS)),
        ("a release changed after it was signed", Some("NotTheirRelease"), 0, forged),
        ("a release for another channel", Some("OtherChannel"), 0, elsewhere),
        ("a byte of the release path", Some("NotReleased"), 0, wrong_path),
        ("a release path too long", Some("NotReleased"), 0, long_path),
        ("the shard before the one drawn is released", Some("OtherShard"), drawn, other(&before)),
        ("the shard after the one drawn is released", Some("OtherShard"), drawn, other(&after)),
        ("another number in the release", Some("NotReleased"), 0, wrong_index),
    ]
}

#[test]
fn answers_are_judged_as_stored() {
    let mut answers = Vec::new();
    for number in 0..5 {
        let dispute = dispute(number);
        for index in 0..court::DRAWS {
            answers.push(judged(&dispute, "good", index, &answer(&dispute, index)));
        }
    }
    assert!(answers.iter().all(|answer| answer["ok"] == true));
    let dispute = dispute(0);
    for (name, expected, index, answer) in altered(&dispute) {
        let judged = judged(&dispute, name, index, &answer);
        assert_eq!(judged["error"], expected, "{name}");
        answers.push(judged);
    }
    let released = release_cases().into_iter().map(|(name, expected, index, answer)| {
        let judged = judged_released(&dispute, name, index, &answer);
        assert_eq!(judged["error"].as_str(), expected, "{name}");
        judged
    });
    let (secret, entropy) = (keccak256("secret"), keccak256("entropy"));
    let id = court::dispute_id(channel(), 3);
    let seeds = json!({
        "channelId": hex0x(channel().as_bytes()), "disputeNumber": 3, "disputeId": hex0x(&id), "entropy": hex0x(&entropy),
        "secret": hex0x(&secret), "secretHash": hex0x(&court::secret_hash(&secret, channel())),
        "seed": hex0x(&court::seed(&secret, &entropy, &id)),
    });
    let made = json!({
        "format": "docs/formats/inventory.md, docs/formats/commitment.md", "seeds": seeds,
        "channel": {"channelId": hex0x(channel().as_bytes()), "payer": key(0x11).address(), "signer": key(0x33).address()},
        "court": {"chainId": COURT.chain_id, "contract": COURT.contract, "issuedAt": ISSUED_SECS},
        "answers": answers, "released": released.collect::<Vec<_>>(),
    });
    check_vectors("court", &made);
}

#[test]
fn any_altered_bit_of_an_answer_is_refused() {
    let dispute = dispute(1);
    for index in 0..court::DRAWS {
        let good = answer(&dispute, index);
        assert_eq!(dispute.judge(index, &good), Ok(()));
        for at in 0..good.leaf.len() {
            let mut changed = good.clone();
            changed.leaf[at] ^= 1 << (at % 8);
            assert!(dispute.judge(index, &changed).is_err(), "byte {at} of the leaf");
        }
        for at in 0..32 * good.shard_path.len() {
            let mut changed = good.clone();
            changed.shard_path[at / 32][at % 32] ^= 1 << (at % 8);
            assert!(dispute.judge(index, &changed).is_err(), "byte {at} of the path");
        }
        for bit in 0..64 {
            let changed = |edit: &dyn Fn(&mut Place)| {
                let mut answer = good.clone();
                edit(&mut answer.place);
                dispute.judge(index, &answer)
            };
            assert!(changed(&|place| place.entry.byte_len ^= 1 << bit).is_err());
            assert!(changed(&|place| place.entry.leaf_count ^= 1 << bit).is_err());
            assert!(changed(&|place| place.counts.entries ^= 1 << bit).is_err());
            assert!(changed(&|place| place.counts.bytes ^= 1 << bit).is_err());
            assert!(changed(&|place| place.entry.shard_root.0[bit / 2] ^= 1 << (bit % 8)).is_err());
        }
    }
}

#[test]
fn a_provider_answers_only_with_what_it_committed_to_and_has() {
    let dispute = dispute(0);
    let mut grown = inventory();
    grown.insert(Entry::new(ShardRoot([1; 32]), 5).expect("not empty")).expect("room");
    assert_eq!(Question::new(&dispute, &grown, 0), None);
    let one = shards().into_iter().find(|data| data.len() == 1).expect("a shard of one byte");
    grown.remove(&merkle::shard_root(&one)).expect("ours");
    assert_eq!(grown.totals().leaves, dispute.commitment.leaf_count);
    assert_eq!(Question::new(&dispute, &grown, 0), None, "as many leaves, but others");
    assert_eq!(Question::new(&dispute, &inventory(), court::DRAWS), None);
    let question = question(&dispute, 0);
    assert_eq!(question.answer(&[0; 100], &[]), None);
    let nothing = Dispute { commitment: Commitment { leaf_count: 0, ..dispute.commitment }, ..dispute };
    assert_eq!(nothing.leaf_number(0), Err(CourtError::NoSuchDraw(0)));
    assert_eq!(nothing.judge(0, &answer(&dispute, 0)), Err(CourtError::NoSuchDraw(0)), "there is nothing to draw from");
    let other = Dispute { commitment: Commitment { leaf_count: 1, ..dispute.commitment }, ..dispute };
    assert!(matches!(other.judge(0, &answer(&dispute, 0)), Err(CourtError::Path(PathError::WrongSum { expected: 1, .. }))));
}
