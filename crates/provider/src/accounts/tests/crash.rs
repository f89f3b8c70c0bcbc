//! What a crash leaves between two durable steps, and what a failed write leaves.

use super::*;
use crate::ledger::{Change, numbered};
use crate::testbed::seeded;

const DEPOSIT: u128 = 1 << 60;

/// Ends a server and opens it again, with the same client on it.
async fn again(bed: &PaidBed, serving: Serving, client: Client) -> (Serving, Client) {
    let Client { peer, deal, channel, terms, start, key } = client;
    drop((serving, peer));
    let serving = bed.serve();
    let peer = bed.connect(&serving);
    (serving, Client { peer, deal, channel, terms, start, key })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_broke_off_is_finished_and_its_shards_count_no_longer() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let (kept, gone) = (seeded(1, 30_000), seeded(2, 70_000));
    let mut naive = Naive::default();
    for data in [&kept, &gone] {
        let receipt = client.put(data).await.expect("paid");
        naive.came(receipt.root, receipt.len, receipt.stored_at);
    }
    bed.pass(5_000);
    let (root, at) = (shard_root(&gone), bed.now());
    // The release is durable, the row stays: the disk fails.
    serving.server.store().fail_syncs(true);
    let release = client.release(&[root], at);
    assert_eq!(client.delete(&[root], Some(release)).await, Ok(1), "released is released");
    assert!(naive.went(&root, at));
    bed.pass(5_000);
    for _ in 0..2 {
        let account = client.account(bed.now()).await.expect("agreed");
        assert_eq!(account.leaf_ms, naive.leaf_ms(bed.now()));
    }
    let (serving, mut client) = again(&bed, serving, client).await;
    assert_eq!(serving.server.store().status().shards, 2, "the row is still there");
    assert_eq!(client.account(bed.now()).await.expect("agreed").leaf_ms, naive.leaf_ms(bed.now()), "and does not count");
    let committed = client.commit(bed.now()).await.expect("agreed");
    assert_eq!(committed.signed.commitment.inventory_root, naive.inventory().root());
    assert_eq!(client.put(&gone).await.map(|_| ()), Err(RefusalCode::ReadOnly), "not while it is being removed");
    serving.accounts.finish_removals().await.expect("a good ledger");
    assert_eq!(serving.server.store().status().shards, 1);
    client.peer = bed.connect(&serving);
    let receipt = client.put(&gone).await.expect("removed before");
    assert_eq!(receipt.stored_at, bed.now(), "it is new");
    naive.came(receipt.root, receipt.len, receipt.stored_at);

    // The rows are gone, the removal is still marked as begun, and the shard came again since.
    let mut change = Change::default();
    change.begin_removal(&client.deal, 0);
    serving.accounts.0.ledger.write(change).await.expect("a good ledger");
    let (serving, mut client) = again(&bed, serving, client).await;
    serving.accounts.finish_removals().await.expect("a good ledger");
    assert_eq!(serving.accounts.0.ledger.pending(), Ok(vec![]));
    assert_eq!(client.get(&gone).await, gone, "what came again stays");
    bed.pass(1_000);
    let committed = client.commit(bed.now()).await.expect("agreed");
    assert_eq!(committed.signed.commitment.inventory_root, naive.inventory().root());
    assert_eq!(committed.account.leaf_ms, naive.leaf_ms(bed.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_written_did_not_happen() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let data = seeded(1, 50_000);
    let root = client.put(&data).await.expect("paid").root;
    client.pay(1_000).await.expect("the first");
    bed.pass(1_000);
    serving.accounts.0.ledger.fail_writes(true);
    let release = client.release(&[root], bed.now());
    assert_eq!(client.pay(2_000).await.map(|_| ()), Err(RefusalCode::DiskError));
    assert_eq!(serving.accounts.list().expect("one")[0].sums.accrued, units(1_000), "not credited");
    assert_eq!(client.delete(&[root], Some(release.clone())).await, Err(RefusalCode::DiskError));
    assert_eq!(client.commit(bed.now()).await.map(|_| ()), Err(RefusalCode::DiskError));
    serving.accounts.0.ledger.fail_writes(false);
    assert_eq!(client.pay(2_000).await.map(|_| ()), Err(RefusalCode::DiskError), "no second try after a failed write");
    assert_eq!(client.put(b"more").await.map(|_| ()), Err(RefusalCode::DiskError), "nothing is stored that cannot be accounted");

    let (serving, mut client) = again(&bed, serving, client).await;
    let account = client.account(bed.now()).await.expect("agreed");
    assert_eq!(account.voucher.map(|signed| signed.voucher.cumulative), Some(units(1_000)));
    assert_eq!(account.leaf_ms, u128::from(leaf_count(50_000)) * 1_000, "it was not released");
    assert_eq!(client.get(&data).await, data);
    assert_eq!(client.delete(&[root], Some(release)).await, Ok(1));
    client.pay(2_000).await.expect("more");
    assert_eq!(serving.accounts.sums().expect("small").accrued, units(2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_on_an_earlier_channel_keep_released_bytes_until_they_end() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let root = client.put(&seeded(1, 50_000)).await.expect("paid").root;
    client.commit(bed.now()).await.expect("agreed");
    (client.channel, client.start) = (bed.channel(2, DEPOSIT), bed.now());
    client.agree(client.agreement()).await.expect("nothing is owed yet");
    bed.pass(1_000);
    let release = client.release(&[root], bed.now());
    assert_eq!(client.delete(&[root], Some(release)).await, Ok(1));
    assert_eq!(client.commit(bed.now()).await.expect("agreed").totals.entries, 0, "it does not count");
    let (serving, client) = again(&bed, serving, client).await;
    serving.accounts.finish_removals().await.expect("a good ledger");
    assert_eq!(serving.server.store().status().shards, 1, "the old commitment could be challenged");
    bed.pass(72 * 60 * 60 * 1000);
    serving.accounts.finish_removals().await.expect("a good ledger");
    assert_eq!(serving.server.store().status().shards, 0);
    assert!(serving.accounts.0.ledger.row::<crate::ledger::ReleaseRow>(&numbered(&client.deal, 1)).expect("good").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_kept_for_six_days_and_then_makes_room() {
    let bed = PaidBed::new(1);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let rows = |deal: DealId| {
        let rows = serving.accounts.0.ledger.rows::<crate::ledger::CommitmentRow>(&deal.0, &deal.0, usize::MAX);
        rows.expect("a good ledger").len()
    };
    for _ in 0..10 {
        client.commit(bed.now()).await.expect("agreed");
    }
    bed.pass(super::super::EVIDENCE_MS - 1);
    client.commit(bed.now()).await.expect("agreed");
    assert_eq!(rows(client.deal), 11, "none is old enough");
    bed.pass(1);
    for kept in [8, 5, 4, 5] {
        client.commit(bed.now()).await.expect("agreed");
        assert_eq!(rows(client.deal), kept, "four old ones go for each that comes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_two_streams_brought_to_two_disks_counts_once_and_goes_whole() {
    let bed = PaidBed::new(2);
    let serving = bed.serve();
    let mut client = bed.agreed(&serving, DEPOSIT).await;
    let mut roots = Vec::new();
    for seed in 0..12 {
        let data = seeded(seed, 20_000);
        let mut both = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (mut peer, deal, data) = (bed.connect(&serving), client.deal, data.clone());
            both.spawn(async move { put(&mut peer, store(deal, 20_000), &data, end(&data)).await });
        }
        let answers = both.join_all().await;
        assert!(answers.iter().all(|answer| matches!(answer, response::Kind::Receipt(_))), "{answers:?}");
        roots.push(shard_root(&data));
    }
    roots.sort_unstable();
    bed.pass(1_000);
    let leaf_ms = 12 * u128::from(leaf_count(20_000)) * 1_000;
    assert_eq!(client.account(bed.now()).await.expect("agreed").leaf_ms, leaf_ms);
    let (serving, mut client) = again(&bed, serving, client).await;
    assert_eq!(client.account(bed.now()).await.expect("agreed").leaf_ms, leaf_ms);
    let release = client.release(&roots, bed.now());
    assert_eq!(client.delete(&roots, Some(release)).await, Ok(12));
    assert_eq!(serving.server.store().status().shards, 0, "no copy stays");
    assert_eq!(client.account(bed.now()).await.expect("agreed").leaf_ms, leaf_ms);
}
