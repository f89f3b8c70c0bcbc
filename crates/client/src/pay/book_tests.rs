//! The book: what is owed, what is promised for reads, and which bills of a provider are believed.

use cairn_market::voucher::Voucher;
use cairn_market::{EgressPrice, StoragePrice};
use cairn_types::{Address, ChannelId, DealId, NodeId};

use super::*;

const GIB: u128 = 1 << 30;
const EPOCH_MS: u64 = 3_600_000;

fn units(amount: u128) -> Amount {
    Amount::from_base_units(amount)
}

/// A byte read costs a unit; a leaf for a month costs a unit for each of its bytes.
fn book() -> Book {
    let terms = Terms {
        node: NodeId([1; 32]),
        owner: Address([1; 20]),
        signer: Address([2; 20]),
        chain_id: 1,
        channels: Address([3; 20]),
        court: Address([4; 20]),
        providers: Address([5; 20]),
        storage: StoragePrice::per_gib_month(units(GIB)),
        egress: EgressPrice::per_gib(units(GIB)),
        collateral_per_gib: units(0),
        epoch_ms: EPOCH_MS,
        grace_ms: 0,
        region: String::new(),
    };
    let agreement = Agreement {
        deal: DealId([1; 32]),
        client: NodeId([2; 32]),
        terms,
        channel: ChannelId([3; 32]),
        start: UnixMs(1000),
        carried: units(50),
    };
    Book::new(agreement, units(10 << 30))
}

fn key() -> WalletKey {
    WalletKey::from_secret(&[7; 32]).expect("a key")
}

fn domain() -> Domain {
    Domain::channels(1, Address([3; 20]))
}

#[test]
fn reads_that_a_delegate_paid_for_are_taken_over_as_far_as_its_voucher_goes() {
    let mut book = book();
    book.received(1_000);
    let slack = BROKEN_LEN_MAX + WINDOW_LEN;
    assert_eq!(book.take_over_paid_reads(5_000 + slack), Ok(false), "nothing is promised for so much");
    let signed = Voucher { channel: book.agreement.channel, cumulative: units(50 + 5_000) }.sign(&domain(), &key());
    book.lift(&signed, units(10 << 30));
    assert_eq!(book.take_over_paid_reads(5_000), Ok(true));
    assert_eq!(
        (book.egress_len(), book.owed(UnixMs(1000))),
        (5_000, Ok(units(50 + 5_000))),
        "what follows is paid from there on"
    );
    assert_eq!(book.take_over_paid_reads(4_000), Ok(true));
    assert_eq!(book.egress_len(), 5_000, "less than we know is nothing new");
    assert_eq!(book.take_over_paid_reads(5_001 + slack), Ok(false));
    assert_eq!(book.egress_len(), 5_000);
}

#[test]
fn time_counts_from_the_receipt_and_not_before_the_terms() {
    let mut book = book();
    let roots = [1, 2].map(|byte| ShardRoot([byte; 32]));
    assert_eq!(book.stored(roots[0], 2048, UnixMs(10)), Ok(Some(UnixMs(1000))));
    assert_eq!(book.stored(roots[1], 1, UnixMs(3000)), Ok(Some(UnixMs(3000))));
    assert_eq!(book.stored(roots[1], 1, UnixMs(4000)), Ok(None), "stored again it keeps its first start");
    assert_eq!(book.leaf_ms(UnixMs(5000)), Ok(2 * 4000 + 2000));
    book.removed(roots[0], UnixMs(1000), UnixMs(6000)).expect("there");
    book.removed(roots[0], UnixMs(1000), UnixMs(7000)).expect("not there is fine");
    assert_eq!(book.leaf_ms(UnixMs(9000)), Ok(2 * 5000 + 6000));
    assert!(matches!(book.leaf_ms(UnixMs(5999)), Err(BookError::Meter(_))));
    assert!(matches!(book.stored(ShardRoot([3; 32]), 0, UnixMs(1)), Err(BookError::Empty(_))));
    assert!(matches!(book.stored(roots[1], 2, UnixMs(9000)), Err(BookError::Inventory(_))));
    assert_eq!(book.leaf_ms(UnixMs(9000)), Ok(2 * 5000 + 6000), "a refused shard is not metered");
}

#[test]
fn reads_are_paid_in_quarters_of_the_window_and_ahead_by_no_more_than_is_under_way() {
    let mut book = book();
    let paid = |book: &mut Book| {
        let due = book.reads_due().expect("countable")?;
        book.promise(due, &domain(), &key()).expect("within the deposit");
        Some(due.base_units() as u64 - 50)
    };
    book.asked(PAY_LEN - 1);
    assert_eq!(paid(&mut book), None);
    book.asked(3 * PREPAY_LEN_MAX + 1);
    assert_eq!(paid(&mut book), Some(PREPAY_LEN_MAX));
    book.received(PAY_LEN - 1);
    assert_eq!(paid(&mut book), None);
    book.received(1);
    assert_eq!(paid(&mut book), Some(PAY_LEN + PREPAY_LEN_MAX));
    book.received(2 * PREPAY_LEN_MAX);
    assert_eq!(paid(&mut book), Some(2 * PREPAY_LEN_MAX + PAY_LEN + PREPAY_LEN_MAX));
    let rest = book.outstanding_len;
    book.received(rest);
    assert_eq!(book.outstanding_len, 0);
    let all = book.received_len;
    let last = paid(&mut book);
    assert!(last.is_none_or(|last| last == all), "{last:?}: nothing is under way, so nothing is ahead");
    assert_eq!(book.audited(0), Ok(units(50 + u128::from(all))), "the next audit pays the rest, to the byte");
}

#[test]
fn a_providers_count_is_believed_as_far_as_reads_broke_off() {
    let mut book = book();
    book.asked(1000);
    book.received(400);
    assert_eq!(book.take_over_reads(1000), Ok(false), "under way explains it");
    assert_eq!(book.egress_len(), 400);
    book.broke_off(600);
    assert_eq!(book.take_over_reads(1000), Ok(true));
    assert_eq!((book.egress_len(), book.broken), (1000, 0));
    assert_eq!(book.take_over_reads(900), Ok(false), "less than ours is less");
    let most = 1000 + BROKEN_LEN_MAX;
    let refused = BookError::OverchargedReads { asked: most + 1, own: 1000, allowed: BROKEN_LEN_MAX };
    assert_eq!(book.take_over_reads(most + 1), Err(refused));
    assert_eq!(book.egress_len(), 1000, "our own count stays");
    assert!(matches!(book.take_over_reads(u64::MAX), Err(BookError::OverchargedReads { .. })));
    assert_eq!(book.take_over_reads(most), Ok(true));
}

#[test]
fn a_bill_above_our_meter_or_of_another_inventory_is_not_paid() {
    let mut book = book();
    book.stored(ShardRoot([1; 32]), 5000, UnixMs(2000)).expect("room");
    let (root, totals) = (book.inventory.root(), book.inventory.totals());
    let check = |book: &Book, root, totals, leaf_ms| book.compare(UnixMs(3000), root, totals, leaf_ms);
    assert_eq!(check(&book, root, totals, 5000), Ok(Compared::Same));
    assert_eq!(check(&book, root, totals, 4999), Ok(Compared::Same), "less is its own loss");
    assert_eq!(check(&book, root, totals, 5001), Ok(Compared::Overcharged { asked: 5001, own: 5000 }));
    let theirs = InventoryRoot([9; 32]);
    assert_eq!(check(&book, theirs, totals, 5000), Ok(Compared::OtherInventory { theirs }));
    let lied = Totals { bytes: totals.bytes + 1, ..totals };
    assert_eq!(check(&book, root, lied, 5000), Ok(Compared::OtherInventory { theirs: root }));
}

#[test]
fn a_voucher_of_ours_that_comes_back_is_promised_and_takes_over_no_more_than_it_proves() {
    let later = {
        let mut later = book();
        later.promise(units(5_000_000), &domain(), &key()).expect("within the deposit")
    };
    let mut book = book();
    book.stored(ShardRoot([1; 32]), 1024, UnixMs(1000)).expect("room");
    book.lift(&later, units(100));
    assert_eq!((book.payer.promised(), book.voucher), (units(5_000_000), Some(later)));
    let refused = book.promise(units(5_000_000), &domain(), &key());
    assert!(matches!(refused, Err(BookError::Promise(PromiseError::NotMore { .. }))), "never twice");
    let at = UnixMs(10_000);
    let most = 5_000_000 - 50 + BROKEN_LEN_MAX + WINDOW_LEN + 2;
    let slack = book.terms().storage.cost(2 * u128::from(EPOCH_MS)).expect("small").base_units() as u64;
    let (free_storage, own) = (book.leaf_ms(at).expect("after its start"), book.clone());
    assert_eq!(book.take_over(at, free_storage, most + slack + 1), Ok(false));
    assert_eq!(book.egress_len(), own.egress_len());
    assert_eq!(book.take_over(at, free_storage + 77, most - 10), Ok(true));
    assert_eq!((book.egress_len(), book.leaf_ms(at)), (most - 10, Ok(free_storage + 77)));
    assert_eq!(book.leaf_ms(UnixMs(10_001)), Ok(free_storage + 78), "and goes on from there");
}
