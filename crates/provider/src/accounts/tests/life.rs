//! A deal's whole life, and what changes in it: terms, channels, payouts.

use cairn_audit::ReleaseTree;
use cairn_market::journal::Account as Place;
use cairn_types::limits::FRAME_LEN;

use super::chain::Trouble;
use super::*;
use crate::testbed::{eventually, seeded};

const DEPOSIT: u128 = 1 << 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_is_agreed_filled_committed_paid_and_redeemed_to_the_base_unit() {
    let bed = PaidBed::new(2);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let again = client.agree(client.agreement()).await.expect("the same");
    assert_eq!(Agreement::signed(&again).expect("both signed"), client.agreement(), "the same proposal, the same answer");

    let mut naive = Naive::default();
    let mut shards = Vec::new();
    for (seed, len) in [1, 1024, 5000, 16_385, FRAME_LEN, 3 * FRAME_LEN + 7].into_iter().enumerate() {
        bed.pass(700);
        let data = seeded(seed as u64, len);
        let receipt = client.put(&data).await.expect("paid");
        assert_eq!(receipt.stored_at, bed.now());
        naive.came(receipt.root, receipt.len, receipt.stored_at);
        shards.push(data);
    }
    bed.pass(5_000);
    let first = naive.here[&shard_root(&shards[2])].1;
    assert_eq!(client.put(&shards[2]).await.expect("again").stored_at.0, first, "stored again it is as old as it was");
    for data in &shards {
        assert_eq!(&client.get(data).await, data);
        naive.read_len += data.len() as u64;
    }
    bed.pass(54_321);
    let gone = [shard_root(&shards[1]), shard_root(&shards[4]), ShardRoot([9; 32])];
    let mut gone = gone.to_vec();
    gone.sort_unstable();
    let at = bed.now();
    let release = client.release(&gone, at);
    assert_eq!(client.delete(&gone, Some(release)).await, Ok(2), "one was never there");
    assert_eq!(gone.iter().filter(|root| naive.went(root, at)).count(), 2);

    bed.pass(10_000);
    let at = bed.now();
    let committed = client.commit(at).await.expect("agreed");
    let inventory = naive.inventory();
    assert_eq!(committed.signed.commitment.inventory_root, inventory.root());
    assert_eq!(committed.totals, inventory.totals());
    assert_eq!(committed.signed.commitment.at_risk, units(1_000_000), "a begun GiB counts whole");
    committed.signed.verify(&CONTRACTS.court_domain(), wallet(2).address(), at.secs()).expect("by the offer's signer");
    assert_eq!((committed.account.at, committed.account.leaf_ms), (at, naive.leaf_ms(at)));
    assert_eq!(committed.account.egress_len, naive.read_len);

    let owed = naive.owed(at);
    assert_eq!(serving.accounts.list().expect("one")[0].owed, units(owed));
    let account = client.pay(owed).await.expect("more than before");
    assert_eq!(account.voucher.map(|signed| signed.voucher.cumulative), Some(units(owed)));
    let shown = &serving.accounts.list().expect("one")[0];
    assert_eq!((shown.sums.potential, shown.sums.accrued, shown.sums.redeemed), (units(0), units(owed), units(0)));

    let payout = serving.accounts.redeem_now().await.expect("a good chain");
    assert_eq!((payout.vouchers, payout.redeemed), (1, units(owed)));
    assert_eq!(bed.chain.balance_of(wallet(1).address()), units(owed));
    assert_eq!(serving.accounts.redeem_now().await.expect("a good chain").vouchers, 0, "nothing is left");
    let sums = serving.accounts.sums().expect("small");
    assert_eq!((sums.accrued, sums.redeemed), (units(0), units(owed)));
    assert!(bed.chain.is_conserved() && serving.accounts.is_conserved());
    let memos: Vec<String> =
        serving.accounts.journal(0, 10).expect("a good ledger").iter().map(|(_, entry)| entry.memo().to_owned()).collect();
    assert_eq!(memos, ["voucher", "redeemed"]);
    assert_eq!(serving.accounts.0.ledger.turnover(Place::Wallet).debits, units(owed));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_wait_for_the_old_ones_to_be_paid_and_carry_what_they_came_to() {
    let mut bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let data = seeded(1, 100_000);
    let mut naive = Naive::default();
    naive.came(shard_root(&data), 100_000, client.put(&data).await.expect("paid").stored_at);
    bed.pass(1_000);
    let next = |client: &Client, carried: u128| Agreement { start: bed.now(), carried: units(carried), ..client.agreement() };
    let owed = naive.owed(bed.now());
    let proposal = next(&client, owed);
    assert_eq!(client.agree(proposal).await, Err(RefusalCode::PaymentDue));
    client.pay(owed).await.expect("owed");
    let (less, before) = (next(&client, owed - 1), Agreement { start: UnixMs(bed.now().0 - 1_001), ..next(&client, owed) });
    assert_eq!(client.agree(less).await, Err(RefusalCode::WrongAgreement), "less than was owed");
    assert_eq!(client.agree(before).await, Err(RefusalCode::WrongAgreement), "before the last change");
    let same_channel = next(&client, owed);
    client.agree(same_channel.clone()).await.expect("paid up");
    client.start = same_channel.start;
    bed.pass(1_000);
    let account = client.account(bed.now()).await.expect("agreed");
    assert_eq!(account.leaf_ms, u128::from(leaf_count(100_000)) * 1_000, "metered anew");
    let shown = &serving.accounts.list().expect("one")[0];
    assert_eq!(shown.owed, units(owed + ((account.leaf_ms << 40) / 2_592_000_000)));

    // Another price after a restart: the old offer lives on, the new one is another. Then another channel.
    let owed = shown.owed.base_units();
    drop((serving, client));
    bed.prices.egress = EgressPrice::per_gib(units(7 << 30));
    let serving = bed.serve();
    let mut peer = bed.connect(&serving);
    let deal = open_deal(&mut peer).await;
    let terms = offer(&mut peer, &bed).await.terms;
    let (channel, start, key) = (same_channel.channel, bed.now(), bed.client.clone());
    let mut client = Client { peer, deal, channel, terms, start, key };
    client.pay(owed).await.expect("owed");
    let old = client.channel;
    client.channel = bed.channel(2, DEPOSIT);
    let proposal = Agreement { carried: units(0), ..client.agreement() };
    client.agree(proposal).await.expect("paid up, on another channel");
    assert_eq!(client.account(bed.now()).await.expect("agreed").voucher, None, "nothing was promised on this one");
    assert_eq!(client.get(&data).await, data);
    client.pay(7 * 100_000).await.expect("at the new price");
    assert_eq!(serving.accounts.redeem_now().await.expect("a good chain").vouchers, 2, "the old channel is not forgotten");
    let balance = bed.chain.balance_of(wallet(1).address());
    assert_eq!(balance, units(owed + 700_000));
    let back = Agreement { channel: old, start: bed.now(), carried: units(owed - 1), ..client.agreement() };
    assert_eq!(client.agree(back).await, Err(RefusalCode::WrongAgreement), "what was owed there stays owed there");
}

#[tokio::test(flavor = "multi_thread")]
async fn vouchers_are_redeemed_by_threshold_daily_and_at_once_when_a_channel_closes() {
    let mut bed = PaidBed::new(1);
    bed.redeem_at = units(1_000);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn({
        let accounts = serving.accounts.clone();
        async move { accounts.run(stopping).await }
    });
    let owner = wallet(1).address();
    let balance = || bed.chain.balance_of(owner);
    let step = async |client: &mut Client, cumulative: u128| {
        client.pay(cumulative).await.expect("more");
        serving.accounts.notice();
    };
    step(&mut client, 999).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(balance(), units(0), "below the threshold");
    step(&mut client, 1_000).await;
    eventually("the threshold is reached", || balance() == units(1_000)).await;
    step(&mut client, 1_001).await;
    bed.pass(24 * 60 * 60 * 1000);
    serving.accounts.notice();
    eventually("a day has passed", || balance() == units(1_001)).await;
    step(&mut client, 1_002).await;
    bed.chain.begin_close(client.channel);
    serving.accounts.notice();
    eventually("the channel is closing", || balance() == units(1_002)).await;
    assert_eq!(client.put(b"more").await, Err(RefusalCode::AgreementDue), "nothing is stored on a closing channel");
    client.peer = bed.connect(&serving);
    client.pay(1_003).await.expect("vouchers are still taken");
    serving.accounts.notice();
    eventually("and redeemed", || balance() == units(1_003)).await;
    client.pay(1_005).await.expect("vouchers are still taken");
    bed.chain.close(client.channel);
    serving.accounts.notice();
    let lost = || serving.accounts.sums().expect("small").accrued == units(0);
    eventually("what a closed channel did not pay is lost", lost).await;
    assert!(bed.chain.is_conserved() && serving.accounts.is_conserved());
    stop.send_replace(true);
    running.await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn dear_gas_keeps_vouchers_waiting_until_they_are_worth_it_and_a_closing_channel_does_not_wait() {
    let mut bed = PaidBed::new(1);
    bed.redeem_at = units(100);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    bed.chain.gas(units(50)); // so 100 for one voucher, and 20 times that is worth it
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn({
        let accounts = serving.accounts.clone();
        async move { accounts.run(stopping).await }
    });
    let balance = || bed.chain.balance_of(wallet(1).address());
    let from = serving.accounts.redeem_from().await.expect("a good chain");
    assert_eq!((from.amount, from.cost), (units(2_000), units(100)));
    client.pay(1_999).await.expect("more");
    for _ in 0..2 {
        serving.accounts.notice();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((balance(), bed.chain.calls()), (units(0), 0), "above the threshold, and not worth the gas");
        bed.pass(24 * 60 * 60 * 1000); // nor is it a day later
    }
    client.peer = bed.connect(&serving);
    client.pay(2_000).await.expect("more");
    serving.accounts.notice();
    eventually("it is worth the gas", || balance() == units(2_000)).await;
    client.pay(2_200).await.expect("more");
    bed.chain.gas(units(5));
    serving.accounts.notice();
    eventually("gas is cheap again", || balance() == units(2_200)).await;
    bed.chain.gas(units(1_000));
    client.pay(2_201).await.expect("more");
    assert_eq!(serving.accounts.redeem_now().await.expect("a good chain").redeemed, units(1), "who asks for it gets it");
    client.pay(2_202).await.expect("more");
    bed.chain.begin_close(client.channel);
    serving.accounts.notice();
    eventually("the channel is closing", || balance() == units(2_202)).await;
    assert!(bed.chain.is_conserved() && serving.accounts.is_conserved());
    stop.send_replace(true);
    running.await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_is_made_once_whatever_breaks_off() {
    let bed = PaidBed::new(1);
    let mut serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let mut paid = 0;
    for trouble in [Trouble::Unreachable, Trouble::AnswerLost, Trouble::None] {
        paid += 500;
        client.pay(paid).await.expect("more");
        bed.chain.trouble(Trouble::None);
        // The look at the channel works, the payout does not.
        let vouchers = serving.accounts.due_now().await;
        assert_eq!(vouchers, 1);
        bed.chain.trouble(trouble);
        let redeemed = serving.accounts.redeem_begun().await;
        assert_eq!(redeemed.is_ok(), trouble == Trouble::None);
        bed.chain.trouble(Trouble::None);
        let (deal, channel, terms, start, key) =
            (client.deal, client.channel, client.terms.clone(), client.start, client.key.clone());
        drop((serving, client));
        serving = bed.serve();
        client = Client { peer: bed.connect(&serving), deal, channel, terms, start, key };
        serving.accounts.redeem_now().await.expect("a good chain");
        assert_eq!(bed.chain.balance_of(wallet(1).address()), units(paid), "{trouble:?}");
        let sums = serving.accounts.sums().expect("small");
        assert_eq!((sums.accrued, sums.redeemed), (units(0), units(paid)), "{trouble:?}");
        assert!(bed.chain.is_conserved() && serving.accounts.is_conserved());
    }
    // Somebody else redeems for us.
    let voucher = client.account(bed.now()).await.expect("agreed").voucher.expect("the best");
    assert_eq!(voucher.voucher.cumulative, units(paid));
    client.pay(paid + 7).await.expect("more");
    let best = client.account(bed.now()).await.expect("agreed").voucher.expect("the best");
    bed.chain.redeem_by_anyone(&[best]).expect("anyone may");
    let before = bed.chain.calls();
    serving.accounts.redeem_now().await.expect("a good chain");
    assert_eq!((bed.chain.calls(), serving.accounts.sums().expect("small").redeemed), (before, units(paid + 7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_unpaid_for_too_long_are_dropped_when_no_commitment_names_them() {
    let mut bed = PaidBed::new(1);
    bed.drop_after = Some(Duration::from_millis(EPOCH_MS));
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let data = seeded(1, 50_000);
    client.put(&data).await.expect("paid");
    client.commit(bed.now()).await.expect("agreed");
    bed.pass(2 * EPOCH_MS + 9_999);
    client.put(b"in time").await.expect("nothing is overdue");
    bed.pass(1);
    assert_eq!(client.put(b"late").await, Err(RefusalCode::PaymentDue));
    client.peer = bed.connect(&serving);
    bed.pass(10 * EPOCH_MS);
    serving.accounts.drop_now().await;
    assert_eq!(serving.server.store().status().shards, 2, "a commitment still names them");
    bed.pass(73 * 60 * 60 * 1000);
    serving.accounts.drop_now().await;
    assert_eq!(serving.server.store().status().shards, 0);
    let tree = ReleaseTree::new([shard_root(&data)]).expect("one");
    assert_eq!(client.delete(tree.shards(), Some(client.release(tree.shards(), bed.now()))).await, Ok(0));
}
