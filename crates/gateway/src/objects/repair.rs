//! Repair: looks at every segment now and then and has those that lost too many shards built anew, the worst first.
//!
//! Never: a manifest changed that was changed meanwhile; an old place deleted before the catalog knows the new one.
//! Limits: [`DUE_MAX`] segments in a round, [`AT_ONCE`] at the same time; every manifest is looked at, a page at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_client::{Manifest, Repaired, SegmentHealth};
use cairn_types::{BlobId, DealId, NodeId};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Objects;
use super::core::Network;
use super::error::ObjectError;
use super::read::manifest;
use crate::catalog::Table;
use crate::catalog::table::{after_prefix, blob_row};

/// Segments that are repaired in one round.
const DUE_MAX: usize = 10_000;
/// Providers that were found since are claimed after this long.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// Segments repaired at the same time.
const AT_ONCE: usize = 2;
/// Manifests looked at in one go.
const PAGE: usize = 256;
/// Segments shown in a report.
const SHOWN_MAX: usize = 100;

/// How all segments stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Segments that the catalog refers to.
    pub segments: u64,
    /// All their shards are live.
    pub whole: u64,
    /// Some shards are lost or never were, and enough are live.
    pub degraded: u64,
    /// Repair is due.
    pub due: u64,
    /// Cannot be read now.
    pub lost: u64,
    /// Shards whose providers did not answer at the last look, and are not given up yet.
    pub silent: u64,
    /// The worst of those that are due or lost.
    pub at_risk: Vec<AtRisk>,
}

/// A segment that lost many shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AtRisk {
    /// Its blob.
    pub blob: BlobId,
    /// Its place in the blob.
    pub segment: usize,
    /// How it stands.
    #[serde(flatten)]
    pub health: SegmentHealth,
}

/// What a round of repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// Segments repaired.
    pub repaired: u64,
    /// Shards built anew.
    pub shards: u64,
    /// Segments that could not be repaired now.
    pub failed: u64,
    /// Why the last of them could not.
    pub reason: Option<String>,
    /// How all stand after it.
    pub health: HealthReport,
}

/// Opens the deals of providers as they are found, so that an earlier catalog of this account is shut out, or this one learns that it is the
/// earlier one; until `stop`.
pub(super) async fn claim(network: Arc<Network>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(CLAIM_EVERY)).await.is_some() {
        if stop.run_until_cancelled(network.client.claim()).await.is_none() || network.client.is_superseded() {
            return;
        }
    }
}

/// Repairs now and then, until `stop`.
pub(super) async fn run(network: Arc<Network>, every: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        match stop.run_until_cancelled(round(&network)).await {
            Some(Ok(report)) if report.repaired + report.failed > 0 => tracing::info!(
                repaired = report.repaired,
                shards = report.shards,
                failed = report.failed,
                reason = report.reason.as_deref().unwrap_or_default(),
                lost = report.health.lost,
                "repaired"
            ),
            Some(Err(error)) => tracing::warn!(%error, "repair will be tried again"),
            _ => {}
        }
    }
}

/// Asks all providers whether they are there, and repairs what is due.
async fn round(network: &Arc<Network>) -> Result<RepairReport, ObjectError> {
    let _turn = network.repair_turn.acquire().await.map_err(|_| ObjectError::Stopping)?;
    if network.client.is_superseded() {
        return Err(ObjectError::Unavailable("a later catalog of this account has taken over".into()));
    }
    network.client.check_providers(holders(network).await?).await;
    let (_, due) = survey(network).await?;
    let mut report = RepairReport::default();
    let repairs = stream::iter(due).map(|at_risk| async move { (at_risk, repair_one(network, &at_risk).await) });
    let mut repairs = std::pin::pin!(repairs.buffer_unordered(AT_ONCE));
    while let Some((at_risk, outcome)) = repairs.next().await {
        match outcome {
            Ok(shards) => {
                report.repaired += u64::from(shards > 0);
                report.shards += shards as u64;
            }
            Err(reason) => {
                tracing::warn!(blob = %at_risk.blob, segment = at_risk.segment, live = at_risk.health.live, reason, "not repaired");
                report.failed += 1;
                report.reason = Some(reason);
            }
        }
    }
    report.health = survey(network).await?.0;
    Ok(report)
}

/// Providers that hold something, each with its deal.
async fn holders(network: &Network) -> Result<Vec<(NodeId, DealId)>, ObjectError> {
    let mut found = HashSet::new();
    let mut from = Some(Vec::new());
    while let Some(first) = from {
        let (page, next) = manifests(network, first).await?;
        found.extend(
            page.iter()
                .flat_map(|manifest| &manifest.segments)
                .flat_map(|segment| segment.shards.iter().flatten().map(|place| (place.provider, place.deal))),
        );
        from = next;
    }
    Ok(found.into_iter().collect())
}

/// Looks at every segment. With the report come those that are due, the worst first.
async fn survey(network: &Network) -> Result<(HealthReport, Vec<AtRisk>), ObjectError> {
    let (mut report, mut due) = (HealthReport::default(), Vec::new());
    let mut from = Some(Vec::new());
    while let Some(first) = from {
        let (page, next) = manifests(network, first).await?;
        for manifest in &page {
            for (segment, shards) in manifest.segments.iter().enumerate() {
                let health = network.client.segment_health(shards);
                report.segments += 1;
                report.whole += u64::from(health.live == health.total);
                report.degraded += u64::from(health.live < health.total && !health.is_due() && !health.is_lost());
                report.due += u64::from(health.is_due());
                report.lost += u64::from(health.is_lost());
                report.silent += health.silent as u64;
                let at_risk = AtRisk { blob: manifest.blob, segment, health };
                if health.is_due() || health.is_lost() {
                    report.at_risk.push(at_risk);
                }
                if health.is_due() {
                    due.push(at_risk);
                }
            }
        }
        for list in [&mut due, &mut report.at_risk] {
            list.sort_by_key(|at_risk| (at_risk.health.is_lost(), at_risk.health.margin()));
        }
        due.truncate(DUE_MAX);
        report.at_risk.truncate(SHOWN_MAX);
        from = next;
    }
    Ok((report, due))
}

/// A page of the manifests that something refers to, and where the next begins.
async fn manifests(network: &Network, from: Vec<u8>) -> Result<(Vec<Manifest>, Option<Vec<u8>>), ObjectError> {
    let reading = network.catalog.read(move |db| {
        let mut page = Vec::new();
        for (seen, row) in db.scan(Table::Manifests, from, &[]).enumerate() {
            let (row, bytes) = row?;
            if db.get(Table::Trash, &row)?.is_none() {
                let read = Manifest::decode(&bytes);
                page.push(read.map_err(|error| ObjectError::Internal(format!("a damaged manifest: {error}")))?);
            }
            if seen + 1 == PAGE {
                return Ok((page, after_prefix(&row)));
            }
        }
        Ok((page, None))
    });
    reading.await
}

/// Repairs one segment; the number of its shards that lie elsewhere now.
async fn repair_one(network: &Arc<Network>, at_risk: &AtRisk) -> Result<usize, String> {
    // Held, so that it is not deleted meanwhile.
    let Some(_lease) = network.leases.hold(vec![at_risk.blob]) else { return Ok(0) };
    let known = manifest(network, at_risk.blob).await.map_err(|error| error.to_string())?;
    if !known.segments.get(at_risk.segment).is_some_and(|segment| network.client.segment_health(segment).is_due()) {
        return Ok(0);
    }
    let Repaired { segment, replaced, added, .. } =
        &network.client.repair(&known, at_risk.segment).await.map_err(|error| error.to_string())?;
    let mut changed = known.clone();
    changed.segments[at_risk.segment] = segment.clone();
    let row = blob_row(at_risk.blob);
    let (before, after) = (known.encode(), changed.encode());
    let committing = network.catalog.change(move |txn| {
        if txn.get(Table::Manifests, &row)?.as_deref() != Some(&before[..]) {
            return Err(ObjectError::Replaced);
        }
        txn.put(Table::Manifests, row, after.to_vec());
        Ok(())
    });
    let (outcome, doomed) = match committing.await {
        Ok(()) => (Ok(added.len()), replaced.clone()),
        Err(error) => (Err(error.to_string()), added.clone()),
    };
    // What a dead provider holds is the collector's, should it come back.
    let client = network.client.clone();
    tokio::spawn(async move { client.delete_places(doomed).await });
    outcome
}

impl Objects {
    /// How all segments stand by what is known of their providers.
    ///
    /// # Errors
    /// [`ObjectError`] when the catalog cannot be read.
    pub async fn health(&self) -> Result<HealthReport, ObjectError> {
        Ok(survey(&self.core.network).await?.0)
    }

    /// Looks at all providers and repairs what is due, now.
    ///
    /// # Errors
    /// [`ObjectError`] when the catalog cannot be read.
    pub async fn repair_now(&self) -> Result<RepairReport, ObjectError> {
        self.core.check_running()?;
        round(&self.core.network).await
    }
}
