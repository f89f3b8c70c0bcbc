//! Paid deals over a network of real providers: every credit is right to the base unit, whatever is killed, restored or renewed.

mod network;

use std::sync::Arc;

use cairn_client::{Client, PayConfig, PayError};
use cairn_market::StoragePrice;
use cairn_provider::Prices;
use cairn_types::{Amount, NodeId};
use network::Network;
use network::deals::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_credit_is_price_times_bytes_times_time_to_the_base_unit() {
    let network = Network::paid(4, &prices);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let data = sample(9 * MIB + 7, 1);
    let first = put(&client, &data).await.expect("stored");
    assert_eq!(network.chain.transactions(), 4, "a channel each");
    network.clock.advance(HOUR_MS);
    assert_reads(&client, &first, &data).await;
    audit_all(&client, "passed").await;
    let second = put(&client, &sample(3 * MIB, 2)).await.expect("stored");
    let transactions = network.chain.transactions();
    for _ in 0..3 {
        network.clock.advance(HOUR_MS + 17);
        audit_all(&client, "passed").await;
    }
    assert_eq!(network.chain.transactions(), transactions, "an epoch makes no transaction");
    network.clock.advance(777);
    assert_eq!(client.delete(&second).await, []);
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    assert_eq!(network.chain.transactions(), 4);
    let (lived, second_lived) = (5 * HOUR_MS + 3 * 17 + 777, 3 * HOUR_MS + 3 * 17 + 777);
    for provider in &network.providers {
        let node = provider.key.id();
        let deal = client.deals().into_iter().find(|deal| deal.provider == node).expect("a deal");
        let leaf_ms =
            u128::from(leaves(&first, node)) * u128::from(lived) + u128::from(leaves(&second, node)) * u128::from(second_lived);
        let theirs = provider.account();
        assert_eq!(theirs.leaf_ms, leaf_ms);
        assert_eq!(theirs.egress_len, deal.egress_len);
        let owed = cost(&provider.prices().expect("paid"), leaf_ms, theirs.egress_len);
        assert!(!owed.is_zero());
        assert_eq!((deal.promised, theirs.sums.accrued, theirs.owed), (owed, owed, owed));
        assert_eq!((deal.owed, deal.potential), (Some(owed), Amount::ZERO));
    }
    let money = client.money().expect("a paying client");
    assert!(money.conserved);
    assert_eq!(client.spending().expect("readable").iter().map(|month| month.promised).max(), Some(money.promised));
    assert!(network.chain.is_conserved());
    assert_reads(&client, &first, &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_read_is_paid_while_it_runs() {
    let network = Network::paid(4, &prices);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let data = sample(48 * MIB, 3);
    let stored = put(&client, &data).await.expect("stored");
    for _ in 0..2 {
        assert_reads(&client, &stored, &data).await;
    }
    for deal in client.deals().into_iter().filter(|deal| deal.egress_len > 0) {
        let owed = deal.owed.expect("countable");
        let window = cost(&prices(0).expect("paid"), 0, MIB as u64);
        assert!(deal.egress_len > 40 * MIB as u64 && deal.potential <= window, "{deal:?}");
        assert!(owed.plus(window).expect("small") >= deal.promised, "{deal:?}");
    }
    assert_eq!(network.chain.transactions(), 4);
    audit_all(&client, "passed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_providers_and_clients_without_a_wallet_work_as_before() {
    let network = Network::paid(6, &|at| prices(at).filter(|_| at >= 4));
    let data = sample(MIB, 4);
    let free = network.client(config());
    for _ in 0..4 {
        let stored = put(&free, &data).await.expect("four providers are free");
        assert_reads(&free, &stored, &data).await;
    }
    let payer = network.payer(config(), rules(), "client").expect("a ledger");
    for _ in 0..8 {
        let stored = put(&payer, &data).await.expect("stored");
        assert_reads(&payer, &stored, &data).await;
        assert_eq!(payer.delete(&stored).await, []);
    }
    assert!(payer.deals().iter().all(|deal| network.provider(deal.provider).prices().is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_whose_offer_is_refused_is_left_out_with_a_reason() {
    let dear = |at: usize| {
        let mut prices = prices(at)?;
        if at == 5 {
            prices.storage = StoragePrice::per_gib_month(Amount::from_credits(100));
        }
        Some(prices)
    };
    let network = Network::paid(7, &dear);
    let unregistered = network.providers[6].owner();
    network.chain.register(unregistered, NodeId([1; 32]), network.providers[6].signer().address(), Amount::CREDIT);
    let limits = PayConfig { storage_price_max: Some(Amount::from_credits(1)), ..rules() };
    let client = network.payer(config(), limits, "client").expect("a ledger");
    for provider in &network.providers {
        let agreed = client.agree(provider.key.id()).await;
        let index = network.providers.iter().position(|other| Arc::ptr_eq(other, provider));
        match index {
            Some(5) => assert!(matches!(agreed, Err(PayError::TooDear { .. })), "{agreed:?}"),
            Some(6) => assert!(matches!(agreed, Err(PayError::Registration(_))), "{agreed:?}"),
            _ => assert!(agreed.expect("agreed")),
        }
    }
    assert_eq!(network.chain.channels(), 5, "nothing was paid in for the refused");
    let barred: Vec<usize> = (0..7)
        .filter(|at| {
            let node = network.providers[*at].key.id();
            let status = client.providers().into_iter().find(|status| status.node == node).expect("known");
            assert_eq!(status.usable, status.barred.is_none());
            status.barred.is_some()
        })
        .collect();
    assert_eq!(barred, [5, 6]);
    let stored = put(&client, &sample(MIB, 5)).await.expect("the others suffice");
    let refused = [5, 6].map(|at| network.providers[at].key.id());
    assert!(stored.segments.iter().flat_map(|segment| segment.shards.iter().flatten()).all(|p| !refused.contains(&p.provider)));
    let estimate = client.estimate(1 << 30).expect("enough offers");
    assert!(estimate.month > "0.73 CRD".parse().expect("an amount") && estimate.month < "0.76 CRD".parse().expect("an amount"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_of_the_month_is_the_end_of_new_channels() {
    let network = Network::paid(4, &prices);
    let limits = PayConfig { month_max: Some(Amount::from_credits(3)), ..rules() };
    let client = network.payer(config(), limits, "client").expect("a ledger");
    let mut refused = 0;
    for provider in &network.providers {
        match client.agree(provider.key.id()).await {
            Ok(agreed) => assert!(agreed),
            Err(PayError::Budget(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let money = client.money().expect("a paying client");
    assert_eq!((refused, network.chain.channels()), (1, 3), "{money:?}");
    assert_eq!((money.deposited, money.month_left), (Amount::from_credits(3), Some(Amount::ZERO)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_goes_on_from_its_ledger_and_from_an_older_copy() {
    let network = Network::paid(4, &prices);
    let data = sample(5 * MIB, 9);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let first = put(&client, &data).await.expect("stored");
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    client.copy_ledger(&network.dir.path().join("copy")).expect("a copy");
    let second = put(&client, &sample(2 * MIB, 10)).await.expect("stored");
    assert_reads(&client, &first, &data).await;
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    let promised: Vec<_> = client.deals().iter().map(|deal| deal.promised).collect();
    let egress: Vec<_> = client.deals().iter().map(|deal| deal.egress_len).collect();
    drop(client);
    for ledger in ["client", "copy"] {
        network.clock.advance(1000);
        let client = reopened(&network, ledger).await;
        if ledger == "client" {
            assert_eq!(client.deals().iter().map(|deal| deal.promised).collect::<Vec<_>>(), promised);
            assert_eq!(client.deals().iter().map(|deal| deal.egress_len).collect::<Vec<_>>(), egress);
        } else {
            assert!(client.deals().iter().zip(&promised).all(|(deal, promised)| deal.promised < *promised), "it is older");
        }
        audit_all(&client, "passed").await;
        for deal in client.deals() {
            let provider = network.provider(deal.provider);
            let theirs = provider.account();
            assert_eq!((deal.promised, deal.egress_len), (theirs.owed, theirs.egress_len), "{ledger}: paid once, and all");
            assert!(deal.promised >= *promised.iter().min().expect("four"));
        }
        let money = client.money().expect("a paying client");
        assert!(money.conserved);
        assert_reads(&client, &first, &data).await;
    }
    let client = reopened(&network, "copy").await;
    assert_eq!(client.delete(&second).await, []);
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    assert_eq!(network.chain.transactions(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_come_by_themselves_and_a_dead_provider_is_late_and_not_guilty() {
    let short = |at: usize| prices(at).map(|prices| Prices { epoch_ms: 2000, grace_ms: 100, ..prices });
    let network = Network::paid(4, &short);
    let timed = PayConfig { audits: true, ..rules() };
    let client = network.payer(config(), timed, "client").expect("a ledger");
    put(&client, &sample(MIB, 11)).await.expect("stored");
    let passed = |client: &Client| {
        client.audits(&Default::default()).expect("readable").iter().filter(|audit| audit.grade == "passed").count()
    };
    for round in 1..=3 {
        network.clock.advance(2001);
        let target = 4 * round;
        network.until("every deal was audited", |_| passed(&client) >= target).await;
    }
    network.providers[1].kill();
    network.clock.advance(2001);
    let late = |client: &Client| {
        let audits = client.audits(&Default::default()).expect("readable");
        audits.iter().any(|audit| audit.grade == "late" && audit.failures.is_empty())
    };
    network.until("the dead one is late", |_| late(&client)).await;
    let dead = deal(&client, network.providers[1].key.id());
    assert!(dead.barred.is_some() && dead.durability.permille >= 500, "{dead:?}");
    network.providers[1].start();
    network.clock.advance(2001);
    network.until("it is trusted again", |network| deal(&client, network.providers[1].key.id()).barred.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_topped_up_in_time_and_closed_with_the_rest_coming_back() {
    let network = Network::paid(4, &|at| {
        prices(at).map(|prices| Prices { storage: StoragePrice::per_gib_month(Amount::from_credits(20_000)), ..prices })
    });
    let limits = PayConfig { deposit_epochs: 2, top_up_below_epochs: 1, deposit_min: Amount::from_credits(1), ..rules() };
    let client = network.payer(config(), limits, "client").expect("a ledger");
    put(&client, &sample(40 * MIB, 12)).await.expect("stored");
    for _ in 0..120 {
        network.clock.advance(2 * HOUR_MS);
        let node = network.providers[2].key.id();
        assert_eq!(client.audit_now(node).await.expect("an audit").grade, "passed");
    }
    let node = network.providers[2].key.id();
    let topped = deal(&client, node);
    assert!(network.chain.transactions() > 4 && topped.promised <= topped.deposit, "{topped:?}");
    assert_eq!(topped.potential, Amount::ZERO);
    client.close_channel(node).await.expect("closing");
    assert!(client.withdraw(node).await.is_err(), "not before the grace is over");
    network.clock.advance(24 * HOUR_MS + 1000);
    client.withdraw(node).await.expect("over");
    assert!(network.chain.is_conserved() && client.money().expect("a paying client").conserved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_ledger_finds_its_paid_deals_again_and_pays_on() {
    let network = Network::paid(4, &prices);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let data = sample(12 * MIB, 14);
    let stored = put(&client, &data).await.expect("stored");
    assert_reads(&client, &stored, &data).await;
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    let promised = client.money().expect("a paying client").promised;
    drop(client);
    network.clock.advance(HOUR_MS);
    let client = network.payer(config(), rules(), "another").expect("a new ledger");
    assert!(client.deals().is_empty());
    for _ in 0..2 {
        assert_reads(&client, &stored, &data).await;
    }
    assert_eq!(client.delete(&put(&client, &data).await.expect("stored")).await, []);
    network.clock.advance(HOUR_MS);
    audit_all(&client, "passed").await;
    assert_settled(&network, &client);
    assert_eq!((network.chain.transactions(), client.deals().len()), (4, 4), "the same channels");
    assert!(client.money().expect("a paying client").promised > promised);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_terms_begin_where_the_old_ones_are_paid_up() {
    let network = Network::paid(4, &prices);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let data = sample(6 * MIB, 15);
    let stored = put(&client, &data).await.expect("stored");
    assert_reads(&client, &stored, &data).await;
    network.clock.advance(HOUR_MS);
    let (provider, before) = (&network.providers[3], prices(0).expect("paid"));
    let node = provider.key.id();
    client.audit_now(node).await.expect("an audit");
    network.clock.advance(HOUR_MS / 2);
    provider.kill();
    let dearer = Prices { storage: StoragePrice::per_gib_month("0.74 CRD".parse().expect("an amount")), ..before.clone() };
    *provider.prices.lock().expect("no holder of this lock panics") = Some(dearer.clone());
    provider.start();
    client.renew(node).await.expect("agreed anew");
    client.renew(node).await.expect("and again, which changes nothing");
    let egress_len = {
        let theirs = provider.account();
        assert_eq!((theirs.egress_len, theirs.leaf_ms), (0, 0), "counted anew");
        deal(&client, node).egress_len
    };
    assert_eq!(egress_len, 0);
    let carried = deal(&client, node).promised;
    let storage = cost(&before, u128::from(leaves(&stored, node)) * u128::from(HOUR_MS * 3 / 2), 0);
    assert!(carried >= storage);
    network.clock.advance(HOUR_MS);
    assert_eq!(client.audit_now(node).await.expect("an audit").grade, "passed");
    let deal = deal(&client, node);
    let since = cost(&dearer, u128::from(leaves(&stored, node)) * u128::from(HOUR_MS), deal.egress_len);
    assert_eq!(deal.promised, carried.plus(since).expect("small"));
    assert_eq!((deal.storage_price, deal.owed), (dearer.storage.amount(), Some(deal.promised)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_killed_while_it_reads_agrees_on_the_count_and_pays_it_once() {
    let network = Network::paid(4, &prices);
    let client = network.payer(config(), rules(), "client").expect("a ledger");
    let data = sample(30 * MIB, 17);
    let stored = put(&client, &data).await.expect("stored");
    network.clock.advance(HOUR_MS);
    for pieces in [1, 40, 150] {
        let mut reader = client.read(Arc::new((*stored).clone()), 0..u64::MAX);
        for _ in 0..pieces {
            reader.next().await.expect("more").expect("readable");
        }
    }
    drop(client);
    let client = reopened(&network, "client").await;
    // A read that waited for a voucher may be woken by the audit's and be counted before its stream is found broken: the next audit settles it.
    for _ in 0..2 {
        network.clock.advance(HOUR_MS);
        audit_all(&client, "passed").await;
    }
    // What was paid ahead and never came is used up by the reads of the audit.
    assert_settled(&network, &client);
    assert!(client.deals().iter().all(|deal| deal.alarm.is_none()), "{:?}", client.deals());
}
