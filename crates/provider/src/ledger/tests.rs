//! Rows survive their bytes, damaged ones are typed errors, and groups of changes are durable whole.

use cairn_audit::{Commitment, SignedCommitment, Totals};
use cairn_market::Meter;
use cairn_market::settlement::ChannelState;
use cairn_market::voucher::{Mandate, SignedMandate, SignedVoucher, Voucher};
use cairn_types::{Address, Amount, EvmSignature, InventoryRoot, ShardRoot, UnixMs};

use super::*;

fn units(units: u128) -> Amount {
    Amount::from_base_units(units)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check<R: Row + PartialEq + std::fmt::Debug>(row: R, golden: &str) {
    let bytes = encode(&row);
    assert_eq!(hex(&bytes), golden.replace([' ', '\n'], ""), "{row:?}");
    assert_eq!(decode::<R>(&bytes).as_ref(), Ok(&row));
    let later = [&[LEDGER_VERSION + 1], &bytes[1..]].concat();
    assert_eq!(decode::<R>(&later), Err(LedgerError::Damaged(char::from(R::KIND))));
    for len in 0..bytes.len() {
        assert_ne!(decode::<R>(&bytes[..len]).as_ref(), Ok(&row), "{len} bytes of {row:?}");
    }
}

/// The golden vectors of `docs/formats/provider-ledger.md`.
#[test]
fn the_row_formats_are_the_documented_ones() {
    let (r, one) = ("11".repeat(65), EvmSignature([0x11; 65]));
    let mut gone = Meter::new();
    gone.add(3, UnixMs(5)).and_then(|()| gone.remove(3, UnixMs(5), UnixMs(9))).expect("small");
    check(NodeId([7; 32]), &format!("01 {}", "07".repeat(32)));
    check(UnixSecs(258), "01 0000000000000102");
    check(UnixMs(258), "01 0000000000000102");
    check(
        AgreementRow {
            agreement: (&b"body"[..]).into(),
            client_signature: vec![1; 2].into(),
            provider_signature: vec![2; 3].into(),
        },
        "01 0002 0101 0003 020202 0004 626f6479",
    );
    let account = AccountRow {
        storage: units(1),
        storage_paid: units(2),
        read_len: 3,
        gone,
        covered_at: UnixMs(4),
        committed_at: UnixMs(5),
        issued_at: UnixSecs(6),
        committed: units(7),
        bound_until: UnixSecs(8),
    };
    let amount = |n: u128| format!("{n:032x}");
    let long = |n: u64| format!("{n:016x}");
    let meter = [long(3), long(3), amount(15), amount(27), long(9)].concat();
    check(
        account,
        &["01", &amount(1), &amount(2), &long(3), &meter, &long(4), &long(5), &long(6), &amount(7), &long(8)].concat(),
    );
    let channel = ChannelRow {
        deal: DealId([1; 32]),
        payer: Address([2; 20]),
        signer: Address([3; 20]),
        deposit: units(4),
        settled: units(5),
        state: ChannelState::Closing { closes_at: UnixSecs(6) },
        carried: units(7),
        voucher: Some((units(8), one)),
        mandate: None,
    };
    let ids = ["01".repeat(32), "02".repeat(20), "03".repeat(20)].concat();
    check(channel, &["01", &ids, &amount(4), &amount(5), &amount(7), "01", &long(6), &amount(8), &r].concat());
    let mandate = mandate();
    let mandated = ChannelRow { mandate: Some(mandate), ..channel };
    let by = ["05".repeat(32), "06".repeat(20), amount(7), long(8), "33".repeat(65)].concat();
    check(mandated, &["01", &ids, &amount(4), &amount(5), &amount(7), "01", &long(6), &amount(8), &r, &by].concat());
    let voucher = Voucher { channel: ChannelId([1; 32]), cumulative: units(2) };
    check(
        PayoutRow { vouchers: vec![SignedVoucher { voucher, signature: one, mandate: Some(mandate) }] },
        &["01", &"01".repeat(32), &amount(2), &r, &by].concat(),
    );
    let fresh = ChannelRow { state: ChannelState::Open, voucher: None, ..channel };
    check(fresh, &["01", &ids, &amount(4), &amount(5), &amount(7), "00", &long(0)].concat());
}

fn mandate() -> SignedMandate {
    let (channel, delegate) = (ChannelId([5; 32]), Address([6; 20]));
    let mandate = Mandate { channel, delegate, cumulative_max: Amount::from_base_units(7), valid_until: UnixSecs(8) };
    SignedMandate { mandate, signature: EvmSignature([0x33; 65]) }
}

#[test]
fn the_formats_of_evidence_and_payouts_are_the_documented_ones() {
    let (r, s) = ("11".repeat(65), "22".repeat(65));
    let (one, two) = (EvmSignature([0x11; 65]), EvmSignature([0x22; 65]));
    let amount = |n: u128| format!("{n:032x}");
    let long = |n: u64| format!("{n:016x}");
    let release = ReleaseRow {
        kept_until: UnixMs(1),
        channel: ChannelId([2; 32]),
        released_at: UnixMs(3),
        signature: Some(two),
        roots: vec![ShardRoot([4; 32]), ShardRoot([5; 32])],
        removed: vec![Removed { index: 1, len: 6, stored_at: UnixMs(7) }],
    };
    let roots = ["04".repeat(32), "05".repeat(32)].concat();
    let tail = ["0001", &long(6), &long(7)].concat();
    check(release, &["01", &long(1), &"02".repeat(32), &long(3), "01", &s, "0002", &roots, &tail].concat());
    let totals = Totals { entries: 3, leaves: 4, bytes: 5 };
    let commitment = Commitment {
        channel: ChannelId([1; 32]),
        inventory_root: InventoryRoot([2; 32]),
        leaf_count: 4,
        issued_at: UnixSecs(6),
        valid_until: UnixSecs(7),
        at_risk: units(8),
    };
    let signed = SignedCommitment { commitment, signature: one };
    let numbers = [long(3), long(4), long(5), long(6), long(7), amount(8)].concat();
    check(
        CommitmentRow { kept_until: UnixMs(9), signed, totals },
        &["01", &long(9), &"01".repeat(32), &"02".repeat(32), &numbers, &r].concat(),
    );
    let voucher = Voucher { channel: ChannelId([1; 32]), cumulative: units(2) };
    check(
        PayoutRow { vouchers: vec![SignedVoucher { voucher, signature: one, mandate: None }; 2] },
        &["01", &["01".repeat(32), amount(2), r.clone()].concat().repeat(2)].concat(),
    );
    let entry = Entry::transfer(UnixMs(1), "pay", Account::Outside, Account::Receivable(ChannelId([2; 32])), units(3));
    let lines = ["00", "04", &"02".repeat(32), &amount(3), "01", "00", &"00".repeat(32), &amount(3)].concat();
    check(entry.expect("balanced"), &["01", &long(1), "03", "706179", &lines].concat());
    check(Turnover { debits: units(1), credits: units(2) }, &["01", &amount(1), &amount(2)].concat());
}

#[test]
fn damaged_rows_are_typed_errors_whatever_they_hold() {
    let mut state = 1u64;
    for len in 0..400 {
        let mut bytes = vec![LEDGER_VERSION];
        bytes.extend((0..len).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8 % if len % 2 == 0 { 4 } else { 255 }
        }));
        let _ = decode::<AgreementRow>(&bytes);
        let _ = decode::<AccountRow>(&bytes);
        let _ = decode::<ChannelRow>(&bytes);
        let _ = decode::<ReleaseRow>(&bytes);
        let _ = decode::<CommitmentRow>(&bytes);
        let _ = decode::<PayoutRow>(&bytes);
        let _ = decode::<Entry>(&bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_whole_in_order_and_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let channel = ChannelId([1; 32]);
    let entry = |amount: u128| Entry::transfer(UnixMs(1), "x", Account::Outside, Account::Receivable(channel), units(amount));
    let too_much = Entry::transfer(UnixMs(1), "x", Account::Wallet, Account::Outside, units(1)).expect("balanced");
    for round in 0..3u64 {
        let ledger = Ledger::open(dir.path(), NodeId([1; 32])).expect("a good directory");
        assert_eq!(ledger.turnover(Account::Receivable(channel)).debits, units(u128::from(round) * 3));
        assert_eq!(ledger.journal(0, 100).expect("good").len() as u64, round * 2);
        let mut waiting = Vec::new();
        for amount in [1, 2] {
            let mut change = Change { entry: entry(amount).ok(), ..Change::default() };
            change.put(b"key", &UnixMs(round * 10 + amount as u64));
            waiting.push(ledger.hand_over(ledger.place().await.expect("room"), change));
        }
        let mut refused = Change { entry: Some(too_much.clone()), ..Change::default() };
        refused.put(b"key", &UnixMs(99));
        assert!(matches!(ledger.write(refused).await, Err(LedgerError::Journal(_))));
        for pending in waiting {
            pending.durable().await.expect("a good disk");
        }
        assert_eq!(ledger.row::<UnixMs>(b"key"), Ok(Some(UnixMs(round * 10 + 2))), "the last one handed over");
        assert!(ledger.is_conserved());
    }
    let other = Ledger::open(dir.path(), NodeId([2; 32])).err();
    assert_eq!(other, Some(LedgerError::OtherIdentity { owner: NodeId([1; 32]), node: NodeId([2; 32]) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_are_rolled_up_and_no_sum_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let channels = [1u8, 2, 3].map(|byte| ChannelId([byte; 32]));
    for round in 1..4u128 {
        let ledger = Ledger::open_keeping(dir.path(), NodeId([1; 32]), 300).expect("a good directory");
        let mut waiting = Vec::new();
        for number in 0..3_000u64 {
            // Three vouchers of a channel in a row are one entry; a payout stands between.
            let channel = channels[(number / 4) as usize % 3];
            let entry = match number % 4 {
                3 => Entry::transfer(UnixMs(number), "redeemed", Account::Receivable(channel), Account::Wallet, units(2)),
                _ => Entry::transfer(UnixMs(number), "voucher", Account::Outside, Account::Receivable(channel), units(1))
                    .map(|entry| entry.growing(1 << 40)),
            };
            let change = Change { entry: entry.ok(), lazy: number % 7 > 0, ..Change::default() };
            waiting.push(ledger.hand_over(ledger.place().await.expect("room"), change));
            if waiting.len() > 100 {
                for pending in waiting.drain(..) {
                    pending.durable().await.expect("a good disk");
                }
            }
        }
        for pending in waiting {
            pending.durable().await.expect("a good disk");
        }
        let (mut sums, entries) = (ledger.opening(), ledger.journal(0, 100_000).expect("good rows"));
        assert!(sums.first() > 0 && entries[0].0 == sums.first(), "the first that is kept");
        assert!(entries.len() < 300 + 256 + 256, "{} entries", entries.len());
        for (number, entry) in &entries {
            assert_eq!(sums.take_in(*number, entry), Ok(true));
        }
        let turnover = |account| ledger.turnover(account);
        assert!(
            sums.accounts().all(|(account, sum)| sum == turnover(account)),
            "opening and entries come to what the accounts say"
        );
        assert_eq!(turnover(Account::Wallet).debits, units(round * 750 * 2));
        assert_eq!(turnover(Account::Outside).credits, units(round * 750 * 3));
        assert!(ledger.is_conserved());
    }
}
