//! What tests of paid deals share: prices, rules, blobs, and what they should cost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{Client, Config, Manifest, PayConfig, StoredBlob, WriteError};
use cairn_coding::Layout;
use cairn_market::{EgressPrice, StoragePrice};
use cairn_provider::Prices;
use cairn_types::{Amount, NodeId, Redundancy};

use super::Network;

pub const MIB: usize = 1024 * 1024;
pub const HOUR_MS: u64 = 3_600_000;

pub fn prices(_: usize) -> Option<Prices> {
    Some(Prices {
        storage: StoragePrice::per_gib_month("0.37 CRD".parse().expect("an amount")),
        egress: EgressPrice::per_gib("0.011 CRD".parse().expect("an amount")),
        collateral_per_gib: Amount::CREDIT,
        epoch_ms: HOUR_MS,
        grace_ms: 600_000,
        region: "test".into(),
    })
}

pub fn only_storage(at: usize) -> Option<Prices> {
    prices(at).map(|prices| Prices { egress: EgressPrice::default(), ..prices })
}

pub fn config() -> Config {
    Config {
        redundancy: Some(Redundancy::new(2, 4).expect("possible")),
        hedge_min: Duration::from_secs(20),
        hedge_max: Duration::from_secs(20),
        call_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

pub fn rules() -> PayConfig {
    PayConfig {
        audits: false,
        spread: Some(Duration::ZERO),
        retry: Some(Duration::from_millis(10)),
        sweep_epochs: 0,
        ..PayConfig::default()
    }
}

pub fn sample(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

pub async fn put(client: &Client, data: &Bytes) -> Result<StoredBlob, WriteError> {
    let mut writer = client.writer()?;
    for part in data.chunks(100_000) {
        writer.write(data.slice_ref(part)).await?;
    }
    writer.finish().await
}

pub async fn assert_reads(client: &Client, manifest: &Manifest, data: &Bytes) {
    let mut reader = client.read(Arc::new(manifest.clone()), 0..u64::MAX);
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await {
        read.extend_from_slice(&piece.expect("readable"));
    }
    assert!(read == data[..], "{} bytes read, {} written", read.len(), data.len());
}

/// Leaves of a manifest's shards at one provider.
pub fn leaves(manifest: &Manifest, node: NodeId) -> u64 {
    let of_segment = |segment: &cairn_client::SegmentManifest| {
        let layout = Layout::new(segment.redundancy, segment.plain_len).expect("a stored segment");
        let places = segment.shards.iter().enumerate();
        let here = places.filter(|(_, place)| place.as_ref().is_some_and(|place| place.provider == node));
        here.map(|(shard, _)| layout.shard_len(shard).div_ceil(1024)).sum::<u64>()
    };
    manifest.segments.iter().map(of_segment).sum()
}

/// `leaf_ms` and `egress_len` at these prices, rounded down once each.
pub fn cost(prices: &Prices, leaf_ms: u128, egress_len: u64) -> Amount {
    let month_leaf_ms = (1u128 << 20) * 30 * 24 * 3_600_000;
    let storage = leaf_ms * prices.storage.amount().base_units() / month_leaf_ms;
    let egress = u128::from(egress_len) * prices.egress.amount().base_units() / (1 << 30);
    Amount::from_base_units(storage + egress)
}

pub async fn audit_all(client: &Client, grade: &str) {
    for deal in client.deals() {
        let audit = client.audit_now(deal.provider).await.expect("an audit");
        assert_eq!(audit.grade, grade, "{audit:?}");
    }
}

pub fn deal(client: &Client, node: NodeId) -> cairn_client::DealView {
    client.deals().into_iter().find(|deal| deal.provider == node).expect("a deal")
}

/// Checks that client and provider come to the same, to the base unit.
pub fn assert_settled(network: &Network, client: &Client) {
    assert_settled_but_for(network, client, |_| 0);
}

/// As [`assert_settled`], where a provider that was killed may have forgotten so many bytes of reads that were not paid yet: it keeps
/// their count lazily. The client keeps its own, and pays by that.
pub fn assert_settled_but_for(network: &Network, client: &Client, forgotten: impl Fn(NodeId) -> u64) {
    for deal in client.deals() {
        let provider = network.provider(deal.provider);
        let theirs = provider.account();
        assert_eq!((Some(deal.promised), deal.shards), (deal.owed, theirs.totals.entries));
        let more_len = deal.egress_len.checked_sub(theirs.egress_len).expect("nothing that the provider counts is left out");
        assert!(more_len <= forgotten(deal.provider), "{more_len} bytes more than the provider counts: {deal:?}");
        let more = deal.promised.minus(theirs.owed).expect("all that is owed is promised");
        let egress = |len| EgressPrice::per_gib(deal.egress_price).cost(len).expect("countable");
        assert_eq!(more, egress(deal.egress_len).minus_or_zero(egress(theirs.egress_len)), "{deal:?} {theirs:?}");
    }
    assert!(client.money().expect("a paying client").conserved);
}

/// The most that reads of an audit come to; vouchers for them are due whatever the audit finds.
pub fn reads_of_an_audit() -> Amount {
    cost(&prices(0).expect("paid"), 0, 9 * MIB as u64)
}

/// The ledger's lock is free once the last task of the client before is gone.
pub async fn reopened(network: &Arc<Network>, ledger: &str) -> Client {
    for _ in 0..200 {
        match network.payer(config(), rules(), ledger) {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the ledger stays locked");
}
