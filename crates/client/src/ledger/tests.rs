//! Rows of the ledger: their golden form, what becomes of damaged ones, and that everything comes back.

use bytes::Bytes;
use cairn_market::deal::{Cause, Deal, End, Epoch};
use cairn_market::journal::Account;
use cairn_market::price::MONTH_MS;
use cairn_types::{ChannelId, UnixMs};

use super::record::*;
use super::*;

fn node(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

fn open(dir: &tempfile::TempDir) -> Result<Ledger, LedgerError> {
    Ledger::open(&dir.path().join("ledger"), node(1))
}

fn bytes<const LEN: usize>(byte: u8) -> Bytes {
    Bytes::copy_from_slice(&[byte; LEN])
}

fn deal_record() -> DealRecord {
    DealRecord {
        deal: bytes::<32>(1),
        round: 2,
        channel: bytes::<32>(3),
        deposit: put_amount(Amount::from_credits(4)),
        settled: put_amount(Amount::from_base_units(5)),
        agreement: Bytes::from_static(b"agreement"),
        client_signature: bytes::<64>(6),
        provider_signature: bytes::<64>(7),
        life: put_life(Deal::Suspect { since: Epoch(8), cause: Cause::Lost }),
        score: bytes::<48>(9),
        sweep: 10,
        committed_ms: 11,
        audited_ms: 12,
        closing: true,
        top_ups: 13,
        client_signer: Bytes::new(),
        mandate: None,
        present: None,
    }
}

fn mandate() -> cairn_proto::shard::Mandate {
    cairn_proto::shard::Mandate {
        delegate: bytes::<20>(14),
        cumulative_max: put_amount(Amount::from_base_units(15)),
        valid_until_s: 16,
        signature: bytes::<65>(17),
    }
}

fn delegates_deal_record() -> DealRecord {
    let present = cairn_proto::shard::Present { delegation: Bytes::from_static(b"delegation"), signature: bytes::<64>(18) };
    DealRecord { client_signer: bytes::<20>(19), mandate: Some(mandate()), present: Some(present), ..deal_record() }
}

fn grant_record() -> GrantRecord {
    GrantRecord {
        address: bytes::<20>(1),
        for_s: 2,
        cap: put_amount(Amount::from_base_units(3)),
        since_ms: 4,
        audits_until_ms: 5,
    }
}

fn paid_record() -> PaidRecord {
    PaidRecord {
        cumulative: put_amount(Amount::from_base_units(77)),
        signature: bytes::<65>(1),
        storage: put_amount(Amount::from_base_units(70)),
        received_len: 65_536,
        lost_len: 1024,
        broken: 2,
        mandate: None,
    }
}

fn audit_record(at_ms: u64, grade: u32) -> AuditRecord {
    AuditRecord {
        id: bytes::<16>(1),
        at_ms,
        provider: bytes::<32>(2),
        deal: bytes::<32>(3),
        channel: bytes::<32>(4),
        grade,
        probes: 128,
        held: 127,
        reason: "one".into(),
        commitment: Bytes::from_static(b"commitment"),
        failures: vec![FailureRecord { root: bytes::<32>(5), block: 6, leaf: 390, reason: "gone".into() }],
        failed: 1,
        promised: put_amount(Amount::from_base_units(9)),
        ended_ms: at_ms + 1,
        inventory_root: bytes::<32>(6),
        leaf_ms: bytes::<16>(7),
        egress_len: 8,
        signature: bytes::<64>(9),
    }
}

fn transfer(at: u64, from: Account, to: Account, credits: u64) -> journal::Entry {
    journal::Entry::transfer(UnixMs(at), "test", from, to, Amount::from_credits(credits)).expect("balanced")
}

#[test]
fn records_have_their_golden_form() {
    let journal = transfer(3, Account::Wallet, Account::Deposit(ChannelId([2; 32])), 1);
    let meter = MeterRecord { meter: bytes::<56>(1), adopted: bytes::<16>(2) };
    let dispute = DisputeRow {
        id: bytes::<32>(1),
        provider: bytes::<32>(2),
        deal: bytes::<32>(3),
        channel: bytes::<32>(4),
        audit: bytes::<16>(5),
        secret: bytes::<32>(6),
        commitment: Bytes::from_static(b"commitment"),
        begun_ms: 7,
        restituted_before: put_amount(Amount::from_base_units(8)),
        outcome: 2,
        ended_ms: 9,
        restituted: put_amount(Amount::from_base_units(10)),
        reason: "upheld".into(),
    };
    let records = [
        ("deal", encode(&deal_record())),
        ("paid", encode(&paid_record())),
        ("meter", encode(&meter)),
        ("audit", encode(&audit_record(5, 4))),
        ("entry", encode(&JournalRecord::of(&journal))),
        ("dispute", encode(&dispute)),
        ("mandated", encode(&delegates_deal_record())),
        ("paid-by", encode(&PaidRecord { mandate: Some(mandate()), ..paid_record() })),
        ("grant", encode(&grant_record())),
    ];
    let written: String = records.iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes))).collect();
    assert_eq!(written, include_str!("golden.txt"));
}

#[test]
fn damaged_and_foreign_rows_are_typed_errors() {
    let good = encode(&deal_record());
    assert_eq!(decode::<DealRecord>(&good), Ok(deal_record()));
    let long = vec![RECORD_VERSION; RECORD_LEN_MAX + 1];
    for bad in [&[][..], &[2, 0], &good[..20], &long] {
        assert!(matches!(decode::<DealRecord>(bad), Err(LedgerError::Damaged(_))), "{} bytes", bad.len());
    }
    for bytes in [
        &[][..],
        &[3],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[7, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 6, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    ] {
        assert!(get_life(bytes).is_err(), "{bytes:?}");
    }
    for bytes in [&[][..], &[3], &[1, 1], &[11]] {
        assert!(get_account(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn lives_and_accounts_come_back() {
    let ends = [End::Declined, End::Left, End::Expired, End::Silent, End::Lost, End::Closed];
    let lives = [
        Deal::Proposed,
        Deal::Agreed,
        Deal::Active { due: Epoch(u64::MAX) },
        Deal::Late { since: Epoch(3) },
        Deal::Suspect { since: Epoch(4), cause: Cause::Silent },
        Deal::Suspect { since: Epoch(4), cause: Cause::Lost },
    ];
    let over = ends.into_iter().flat_map(|end| [Deal::Ending { end }, Deal::Ended { end }]);
    for life in lives.into_iter().chain(over) {
        assert_eq!(get_life(&put_life(life)), Ok(life));
    }
    let channel = ChannelId([8; 32]);
    use Account as A;
    let accounts = [A::Outside, A::Wallet, A::Deposit(channel), A::Promised(channel), A::Receivable(channel)];
    for account in accounts.into_iter().chain([A::Collateral, A::Spent, A::Earned, A::Fees, A::Burned]) {
        assert_eq!(get_account(&put_account(account)), Ok(account));
    }
}

#[test]
fn a_ledger_comes_back_as_it_was_and_belongs_to_one_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let (deal, root) = (DealId([1; 32]), ShardRoot([2; 32]));
    let channel = ChannelId([3; 32]);
    {
        let ledger = open(&dir).expect("a new ledger");
        let mut batch = Batch::default();
        batch.put_deal(node(5), &deal_record());
        batch.put_paid(node(5), &paid_record());
        batch.put_shard(deal, root, Held { len: 77, start: UnixMs(8) });
        batch.put_sent(deal, ShardRoot([4; 32]), 9, UnixMs(10));
        batch.put_released(deal, root, UnixMs(11));
        batch.put_budget(UnixMs(12), Amount::from_credits(3));
        batch.promise(UnixMs(MONTH_MS + 1), Amount::from_credits(1));
        batch.promise(UnixMs(2 * MONTH_MS), Amount::from_credits(7));
        batch.put_alive(UnixMs(13));
        let entries =
            vec![transfer(1, Account::Outside, Account::Wallet, 5), transfer(2, Account::Wallet, Account::Deposit(channel), 4)];
        ledger.post(batch, entries).expect("balanced");
        let mut more = Batch::default();
        more.promise(UnixMs(2 * MONTH_MS - 1), Amount::from_credits(1));
        ledger.post(more, vec![]).expect("nothing to balance");
        assert!(matches!(open(&dir), Err(LedgerError::Disk(_))), "one at a time");
        let over = vec![transfer(3, Account::Wallet, Account::Spent, 2)];
        assert!(matches!(ledger.post(Batch::default(), over), Err(LedgerError::Journal(_))));
    }
    let ledger = open(&dir).expect("the same ledger");
    let accounts = ledger.accounts().expect("rows");
    assert_eq!(accounts.len(), 1);
    assert_eq!((accounts[0].0, &accounts[0].1.deal, &accounts[0].1.paid), (node(5), &deal_record(), &paid_record()));
    assert_eq!(ledger.shard(deal, root), Ok(Some(Held { len: 77, start: UnixMs(8) })));
    assert_eq!(ledger.shards(deal).map(|shards| shards.len()), Ok(1));
    assert_eq!(ledger.sent(deal), Ok(vec![(ShardRoot([4; 32]), 9, UnixMs(10))]));
    assert_eq!(ledger.released(deal), Ok(vec![(root, UnixMs(11))]));
    assert_eq!(ledger.budget(), Ok(Some((UnixMs(12), Amount::from_credits(3)))));
    assert_eq!(ledger.promised_by_month(), Ok(vec![(1, Amount::from_credits(2)), (2, Amount::from_credits(7))]));
    assert_eq!(ledger.alive_before(), UnixMs(13));
    assert_eq!(ledger.balance(Account::Wallet), Amount::from_credits(1));
    assert_eq!(ledger.is_conserved(), Some(true));
    let entries = ledger.entries(1, 10).expect("rows");
    assert_eq!(entries, vec![(1, transfer(2, Account::Wallet, Account::Deposit(channel), 4))]);
    ledger.post(Batch::default(), vec![transfer(4, Account::Wallet, Account::Spent, 1)]).expect("enough");
    assert_eq!(ledger.entries(0, 10).map(|entries| entries.len()), Ok(3));
    drop(ledger);
    let other = Ledger::open(&dir.path().join("ledger"), node(2));
    assert_eq!(other.err(), Some(LedgerError::OtherNode { found: node(1), expected: node(2) }));
}

#[test]
fn audits_that_passed_are_forgotten_before_those_that_did_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(&dir).expect("a new ledger");
    let day = 24 * 3600 * 1000;
    let mut batch = Batch::default();
    for (at, grade) in [(0, 1), (1, 5), (50 * day, 1), (51 * day, 4)] {
        batch.put_audit(&audit_record(at, grade));
    }
    ledger.write(batch).expect("written");
    let left = |now: u64| {
        ledger.forget_audits(UnixMs(now), 100).expect("written");
        let mut left = Vec::new();
        ledger
            .audits(UnixMs(0), |audit| {
                left.push(audit.at_ms);
                true
            })
            .expect("readable");
        left
    };
    assert_eq!(left(89 * day), vec![0, 1, 50 * day, 51 * day]);
    assert_eq!(left(91 * day), vec![1, 50 * day, 51 * day]);
    assert_eq!(left(141 * day), vec![1, 51 * day]);
    assert_eq!(left(366 * day), vec![51 * day]);
}

#[test]
fn a_copy_is_a_ledger_of_its_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(&dir).expect("a new ledger");
    ledger.post(Batch::default(), vec![transfer(1, Account::Outside, Account::Wallet, 5)]).expect("balanced");
    ledger.copy_to(&dir.path().join("copy")).expect("a copy");
    ledger.post(Batch::default(), vec![transfer(2, Account::Wallet, Account::Spent, 5)]).expect("enough");
    let copy = Ledger::open(&dir.path().join("copy"), node(1)).expect("a ledger");
    assert_eq!((copy.balance(Account::Wallet), ledger.balance(Account::Wallet)), (Amount::from_credits(5), Amount::ZERO));
}

#[test]
fn old_entries_are_rolled_up_and_no_sum_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let channels = [1u8, 2, 3].map(|byte| ChannelId([byte; 32]));
    let mut posted = 0u64;
    for _ in 0..3 {
        let mut ledger = open(&dir).expect("a good ledger");
        ledger.kept_max = 300;
        for round in 0..700u64 {
            let channel = channels[round as usize % 3];
            let into = transfer(round, Account::Outside, Account::Wallet, 3);
            let deposit = transfer(round, Account::Wallet, Account::Deposit(channel), 3);
            let voucher =
                |amount| transfer(round, Account::Deposit(channel), Account::Promised(channel), amount).growing(1 << 40);
            ledger.post(Batch::default(), vec![into, deposit, voucher(1)]).expect("in order");
            ledger.post(Batch::default(), vec![voucher(1)]).expect("in order");
            posted += 3; // the second voucher is in the entry of the first
            assert!(ledger.entries(0, 10_000).expect("good rows").len() as u64 <= 300 + ROLLED_UP_AT_ONCE + 3);
        }
        let (mut sums, entries) = (ledger.opening(), ledger.entries(0, 10_000).expect("good rows"));
        assert!(sums.first() > 0 && entries[0].0 == sums.first(), "the first that is kept");
        for (number, entry) in &entries {
            assert_eq!(sums.take_in(*number, entry), Ok(true));
        }
        assert!(sums.accounts().eq(ledger.turnovers()), "opening and entries come to what the accounts say");
        assert_eq!((sums.first(), ledger.is_conserved()), (posted, Some(true)));
    }
    let ledger = open(&dir).expect("a good ledger");
    assert_eq!(ledger.turnover(Account::Wallet).debits, Amount::from_credits(3 * 3 * 700));
}
