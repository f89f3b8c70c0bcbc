//! Both sides of a channel: what is promised, accepted and served.

use proptest::prelude::*;

use super::*;

const CHANNEL: ChannelId = ChannelId([1; 32]);
const DOMAIN: Domain = Domain::channels(1, Address([9; 20]));
const MIB: u64 = 1 << 20;
const GIB: u128 = 1 << 30;

fn key(secret: u8) -> WalletKey {
    WalletKey::from_secret(&[secret; 32]).expect("in range")
}

fn units(units: u128) -> Amount {
    Amount::from_base_units(units)
}

fn signed(cumulative: u128) -> SignedVoucher {
    Voucher { channel: CHANNEL, cumulative: units(cumulative) }.sign(&DOMAIN, &key(3))
}

/// A base unit a byte.
fn payee(deposit: u128) -> Payee {
    let price = EgressPrice::per_gib(units(GIB));
    Payee::new(CHANNEL, key(3).address(), units(deposit), price, Amount::ZERO, Amount::ZERO)
}

#[test]
fn a_payee_goes_on_where_it_was_before_a_restart() {
    let mut before = payee(10 << 20);
    before.serve(500_000).expect("within the window");
    before.stored(units(40_000));
    before.accept(&signed(520_000), &DOMAIN).expect("more");
    let price = EgressPrice::per_gib(units(GIB));
    let fresh = Payee::new(CHANNEL, key(3).address(), before.deposit(), price, before.accepted(), Amount::ZERO);
    let after = fresh.resumed(before.owed().storage, before.storage_paid(), before.read_len());
    assert_eq!(after, Ok(before));
}

#[test]
fn a_payer_promises_more_each_time_and_never_beyond_the_deposit() {
    let mut payer = Payer::new(CHANNEL, units(100), units(10));
    payer.deposited(units(50));
    assert_eq!(payer.remaining(), units(90), "a deposit never shrinks");
    let mut promise = |cumulative: u128| payer.promise(units(cumulative), &DOMAIN, &key(3));
    assert_eq!(promise(10), Err(PromiseError::NotMore { cumulative: units(10), promised: units(10) }));
    assert_eq!(promise(101), Err(PromiseError::OverDeposit { cumulative: units(101), deposit: units(100) }));
    assert_eq!(promise(100), Ok([PayerEffect::Persist(signed(100)), PayerEffect::Send(signed(100))]), "persisted first");
    assert_eq!(promise(100), Err(PromiseError::NotMore { cumulative: units(100), promised: units(100) }));
    assert_eq!((payer.remaining(), payer.promised()), (Amount::ZERO, units(100)));
    payer.deposited(units(150));
    assert_eq!(payer.remaining(), units(50));
    payer.closing(true);
    assert_eq!(payer.promise(units(120), &DOMAIN, &key(3)), Err(PromiseError::Closing));
    payer.closing(false);
    assert!(payer.promise(units(120), &DOMAIN, &key(3)).is_ok());
}

#[test]
fn a_bill_above_our_own_count_is_not_paid() {
    assert_eq!(Payer::agree(units(5), units(5)), Ok(units(5)));
    assert_eq!(Payer::agree(units(4), units(5)), Ok(units(4)));
    assert_eq!(Payer::agree(units(6), units(5)), Err(PromiseError::Overcharged { asked: units(6), owed: units(5) }));
}

#[test]
fn a_payee_takes_only_more_from_the_signer_within_the_deposit() {
    let mut payee = payee(100);
    payee.deposited(units(30));
    let effects = [PayeeEffect::Persist(signed(40)), PayeeEffect::Credit { accepted: units(40) }];
    assert_eq!(payee.accept(&signed(40), &DOMAIN), Ok(effects), "persisted first");
    let before = payee;
    for cumulative in [0, 39, 40] {
        let error = Refusal::Stale { cumulative: units(cumulative), accepted: units(40) };
        assert_eq!(payee.accept(&signed(cumulative), &DOMAIN), Err(error), "the same voucher twice counts once");
    }
    let error = Refusal::OverDeposit { cumulative: units(101), deposit: units(100) };
    assert_eq!(payee.accept(&signed(101), &DOMAIN), Err(error));
    let elsewhere = Voucher { channel: ChannelId([2; 32]), cumulative: units(50) }.sign(&DOMAIN, &key(3));
    let error = Refusal::OtherChannel { expected: CHANNEL, got: ChannelId([2; 32]) };
    assert_eq!(payee.accept(&elsewhere, &DOMAIN), Err(error));
    let voucher = Voucher { channel: CHANNEL, cumulative: units(50) };
    let others = [
        voucher.sign(&DOMAIN, &key(4)),
        voucher.sign(&Domain::channels(2, DOMAIN.contract), &key(3)),
        voucher.sign(&Domain::channels(1, Address([8; 20])), &key(3)),
        voucher.sign(&Domain::court(1, DOMAIN.contract), &key(3)),
        SignedVoucher { voucher, ..signed(51) },
    ];
    for other in others {
        assert!(matches!(payee.accept(&other, &DOMAIN), Err(Refusal::WrongSigner { .. })), "{other:?}");
    }
    assert_eq!(payee, before, "a refusal changes nothing");
    payee.closing(true);
    assert!(payee.accept(&signed(50), &DOMAIN).is_ok(), "a closing channel still takes what is owed");
}

#[test]
fn reads_are_served_within_the_window_and_the_deposit() {
    let mut payee = payee(10 * u128::from(MIB));
    assert_eq!(payee.serve(MIB), Ok(()));
    let error = Refusal::Unpaid { unpaid: units(u128::from(MIB) + 1), window: units(u128::from(MIB)) };
    assert_eq!(payee.serve(1), Err(error));
    payee.accept(&signed(u128::from(MIB)), &DOMAIN).expect("owed");
    assert_eq!((payee.unpaid(), payee.serve(MIB)), (Amount::ZERO, Ok(())));
    payee.accept(&signed(10 * u128::from(MIB)), &DOMAIN).expect("paid ahead");
    assert_eq!(payee.serve(8 * MIB), Ok(()), "what is paid ahead is served");
    assert!(matches!(payee.serve(1), Err(Refusal::OverDeposit { .. })));
    payee.deposited(units(20 * u128::from(MIB)));
    payee.closing(true);
    assert_eq!(payee.serve(1), Err(Refusal::Closing));
    payee.closing(false);
    assert_eq!(payee.serve(1), Ok(()));
    assert_eq!(payee.serve(u64::MAX), Err(Refusal::Overflow));
}

#[test]
fn unpaid_storage_does_not_stop_the_reads_of_an_audit() {
    let mut payee = payee(1 << 40);
    payee.stored(units(1 << 30));
    assert_eq!(payee.serve(MIB), Ok(()));
    assert!(matches!(payee.serve(1), Err(Refusal::Unpaid { .. })), "unpaid reads do");
    payee.accept(&signed(u128::from(MIB)), &DOMAIN).expect("the reads alone");
    assert_eq!(payee.serve(MIB), Ok(()), "reads are paid first");
    payee.accept(&signed((1 << 30) + 2 * u128::from(MIB)), &DOMAIN).expect("all");
    assert_eq!((payee.unpaid(), payee.owed().storage), (Amount::ZERO, units(1 << 30)));
    assert_eq!(payee.serve(MIB), Ok(()));
    assert!(matches!(payee.serve(1), Err(Refusal::Unpaid { .. })), "what was paid for storage buys no reads");
    payee.stored(units(5));
    assert_eq!(payee.owed().storage, units(1 << 30), "storage never gets cheaper");
}

#[test]
fn a_frame_is_served_even_when_the_window_rounds_to_nothing() {
    let price = EgressPrice::per_gib(units(1));
    let mut cheap = Payee::new(CHANNEL, key(3).address(), units(100), price, units(9), units(9));
    assert_eq!(cheap.serve(1024 * MIB - 1), Ok(()), "less than a unit");
    let error = Refusal::Unpaid { unpaid: units(1), window: Amount::ZERO };
    assert_eq!(cheap.serve(MIB), Err(error));
    assert_eq!(cheap.serve(FRAME_LEN as u64), Ok(()));
    assert_eq!(cheap.serve(FRAME_LEN as u64), Err(error));
    let dear = EgressPrice::per_gib(Amount::MAX);
    let mut dear = Payee::new(CHANNEL, key(3).address(), Amount::MAX, dear, Amount::ZERO, Amount::ZERO);
    assert!(matches!(dear.serve(u64::MAX), Err(Refusal::Cost(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is read and paid: never more is owed than the deposit, never more reads are unpaid than the window.
    #[test]
    fn exposure_is_bounded(steps in prop::collection::vec((0u8..3, 0u64..3 << 20), 0..60), deposit in 0u128..1 << 25) {
        let mut payee = payee(deposit);
        for (kind, size) in steps {
            match kind {
                0 | 1 => {
                    let before = payee;
                    if payee.serve(size).is_err() {
                        prop_assert_eq!(payee, before);
                    }
                }
                _ => {
                    let accepted = payee.accepted();
                    let ok = payee.accept(&signed(u128::from(size)), &DOMAIN).is_ok();
                    prop_assert_eq!(ok, units(u128::from(size)) > accepted && u128::from(size) <= deposit);
                }
            }
            prop_assert!(payee.owed().total().expect("small") <= units(deposit));
            prop_assert!(payee.unpaid() <= units(u128::from(WINDOW_LEN)));
        }
    }
}
