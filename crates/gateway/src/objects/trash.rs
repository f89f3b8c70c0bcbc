//! Upkeep: blobs nobody refers to are deleted from their providers; shards nobody knows are collected; ended uploads forgotten.
//!
//! Never: delete a blob that is being read; forget a blob while a provider may still hold a shard of it.
//! Limits: `trash_in_flight` blobs at once, a page of [`TRASH_PAGE`] rows in memory, back-off up to [`RETRY_MAX`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_client::{CollectReport, Manifest, SegmentId, ShardPlace};
use cairn_types::BlobId;
use futures::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Objects;
use super::core::Network;
use super::error::ObjectError;
use super::read::{manifest, manifest_in};
use super::refs;
use crate::catalog::record::{self, UploadRecord};
use crate::catalog::table::{after_prefix, segment_row};
use crate::catalog::{Catalog, Table};

const TRASH_PAGE: usize = 256;
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Blobs whose next attempt is remembered; beyond that they are tried again on the next round.
const RETRIES_MAX: usize = 65_536;
/// A completed upload is remembered this long, so that a repeated completion gets the same answer.
const COMPLETED_MS: u64 = 24 * 3600 * 1000;
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// How one attempt on a blob ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Gone from all its providers and from the catalog; or not in the trash any more.
    Gone,
    /// Some provider could not be reached.
    Left,
    /// Being read.
    Held,
}

/// When blobs may be tried again.
#[derive(Default)]
struct Retries(HashMap<BlobId, (u32, Instant)>);

impl Retries {
    fn due(&self, blob: &BlobId, now: Instant) -> bool {
        self.0.get(blob).is_none_or(|(_, at)| *at <= now)
    }

    fn note(&mut self, blob: BlobId, attempt: Attempt, now: Instant) {
        match attempt {
            Attempt::Gone => {
                self.0.remove(&blob);
            }
            Attempt::Held => {
                self.0.insert(blob, (0, now + RETRY_MIN));
            }
            Attempt::Left => {
                let tries = self.0.get(&blob).map_or(0, |(tries, _)| *tries);
                let wait = RETRY_MIN.saturating_mul(1 << tries.min(16)).min(RETRY_MAX);
                if self.0.len() < RETRIES_MAX {
                    self.0.insert(blob, (tries + 1, now + wait));
                }
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, at)| *at).min()
    }
}

/// Empties the trash whenever there is something in it, until `stop`.
pub(super) async fn run_trash(network: Arc<Network>, in_flight: usize, stop: CancellationToken) {
    let mut retries = Retries::default();
    loop {
        if network.catalog.counters().trash > 0
            && let Err(error) = round(&network, in_flight, &mut retries, &stop).await
        {
            tracing::warn!(%error, "the trash could not be worked on");
        }
        let due = retries.next().unwrap_or_else(|| Instant::now() + RETRY_MAX);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = network.trash.notified() => {}
            () = tokio::time::sleep_until(due.max(Instant::now() + Duration::from_millis(50))) => {}
        }
    }
}

/// One attempt on every blob in the trash that is due. How many are left that were tried.
async fn round(
    network: &Arc<Network>,
    in_flight: usize,
    retries: &mut Retries,
    stop: &CancellationToken,
) -> Result<usize, ObjectError> {
    let _turn = network.trash_turn.acquire().await.map_err(|_| ObjectError::Stopping)?;
    let mut after: Option<BlobId> = None;
    let mut left = 0;
    loop {
        let page = trash_page(network, after).await?;
        let Some(last) = page.last() else { return Ok(left) };
        after = Some(*last);
        let now = Instant::now();
        let due: Vec<BlobId> = page.into_iter().filter(|blob| retries.due(blob, now)).collect();
        let attempts = stream::iter(due).map(|blob| async move { (blob, attempt(network, blob).await) });
        let mut attempts = std::pin::pin!(attempts.buffer_unordered(in_flight.max(1)).take_until(stop.cancelled()));
        while let Some((blob, outcome)) = attempts.next().await {
            let outcome = outcome?;
            left += usize::from(outcome != Attempt::Gone);
            retries.note(blob, outcome, Instant::now());
        }
        if stop.is_cancelled() {
            return Ok(left);
        }
    }
}

async fn trash_page(network: &Network, after: Option<BlobId>) -> Result<Vec<BlobId>, ObjectError> {
    let first = after.map_or_else(|| Some(Vec::new()), |blob| after_prefix(&blob.0));
    let Some(first) = first else { return Ok(Vec::new()) };
    let reading = network.catalog.read(move |db| {
        let mut page = Vec::new();
        for row in db.scan(Table::Trash, first, &[]).take(TRASH_PAGE) {
            let blob = BlobId::from_slice(&row?.0);
            page.push(blob.ok_or_else(|| ObjectError::Internal("a damaged trash row".into()))?);
        }
        Ok(page)
    });
    reading.await
}

async fn attempt(network: &Arc<Network>, blob: BlobId) -> Result<Attempt, ObjectError> {
    let Some(_deleting) = network.leases.begin_delete(blob) else { return Ok(Attempt::Held) };
    // Whoever brought the blob back from the trash held a lease and has let go of it by now, so the row tells the truth.
    let in_trash = network.catalog.read(move |db| Ok(db.get(Table::Trash, &blob.0)?.is_some())).await?;
    if !in_trash {
        return Ok(Attempt::Gone);
    }
    let manifest: Manifest = manifest(network, blob).await?;
    if !network.client.delete(&manifest).await.is_empty() {
        return Ok(Attempt::Left);
    }
    let segments: Vec<SegmentId> = manifest.segments.iter().map(|segment| segment.id).collect();
    network.catalog.change(move |txn| refs::forget(txn, blob, &segments)).await?;
    Ok(Attempt::Gone)
}

/// Collects every `every` until `stop`.
pub(super) async fn run_collector(network: Arc<Network>, every: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        stop.run_until_cancelled(collect(&network)).await;
    }
}

/// Deletes shards under our deals that lie at no place known to the catalog and belong to no running upload.
pub(super) async fn collect(network: &Network) -> CollectReport {
    let known = match Known::read(network).await {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(%error, "nothing was collected: the catalog cannot be read");
            return CollectReport::default();
        }
    };
    let report = network.client.collect(network.catalog.born_epoch(), &|segment, place| known.place(*segment, place)).await;
    if report.from_later_catalog > 0 {
        tracing::error!(
            shards = report.from_later_catalog,
            writer_epoch = network.catalog.writer_epoch(),
            "providers hold shards of a later catalog than this one, which was rolled back: nothing was collected there"
        );
    } else {
        if report.from_earlier_catalog > 0 {
            tracing::warn!(
                shards = report.from_earlier_catalog,
                "providers hold shards of an earlier catalog of this account; they are left alone: cairn recover, in an empty directory, brings its objects back"
            );
        }
        tracing::info!(
            listed = report.listed,
            removed = report.removed,
            removed_len = report.removed_len,
            unreachable = report.unreachable.len(),
            "collected"
        );
    }
    report
}

/// What the catalog says of shards and their places.
struct Known {
    catalog: Catalog,
    /// A mark of each place that the catalog knew at the beginning, sorted. A mark in common keeps garbage until the next time, no more.
    marks: Vec<u64>,
}

impl Known {
    async fn read(network: &Network) -> Result<Known, ObjectError> {
        let reading = network.catalog.read(|db| {
            let mut marks = Vec::new();
            for row in db.scan(Table::Manifests, Vec::new(), &[]) {
                let manifest =
                    Manifest::decode(&row?.1).map_err(|error| ObjectError::Internal(format!("a manifest: {error}")))?;
                marks.extend(manifest.segments.iter().flat_map(|segment| segment.shards.iter().flatten()).map(mark));
            }
            marks.sort_unstable();
            Ok(marks)
        });
        Ok(Known { marks: reading.await?, catalog: network.catalog.clone() })
    }

    /// Whether `place` is one of `segment`'s. What was not there at the beginning may have come since: the catalog is asked again.
    fn place(&self, segment: SegmentId, place: &ShardPlace) -> bool {
        if self.marks.binary_search(&mark(place)).is_ok() {
            return true;
        }
        let db = self.catalog.db();
        let blob = match db.get(Table::Segments, &segment_row(segment)) {
            Ok(Some(blob)) => BlobId::from_slice(&blob),
            Ok(None) => return false,
            Err(_) => None, // when the catalog cannot be read, nothing is garbage
        };
        let Some(Ok(manifest)) = blob.map(|blob| manifest_in(db, blob)) else { return true };
        let found = manifest.segments.iter().find(|found| found.id == segment);
        let same = |known: &ShardPlace| known.provider == place.provider && known.root == place.root;
        found.is_some_and(|found| found.shards.iter().flatten().any(same))
    }
}

fn mark(place: &ShardPlace) -> u64 {
    let front = |bytes: &[u8; 32]| u64::from_be_bytes(*bytes.first_chunk().expect("32 bytes hold 8"));
    front(&place.root.0) ^ front(&place.provider.0).rotate_left(32)
}

/// Forgets completed uploads after a day, until `stop`.
pub(super) async fn run_sweeper(network: Arc<Network>, stop: CancellationToken) {
    loop {
        if let Some(Err(error)) = stop.run_until_cancelled(sweep(&network)).await {
            tracing::warn!(%error, "completed uploads could not be forgotten");
        }
        if stop.run_until_cancelled(tokio::time::sleep(SWEEP_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn sweep(network: &Network) -> Result<(), ObjectError> {
    let now = network.now();
    let mut first = Vec::new();
    loop {
        let from = std::mem::take(&mut first);
        let (ended, next) = network
            .catalog
            .read(move |db| {
                let mut ended = Vec::new();
                let mut next = None;
                for (seen, row) in db.scan(Table::Uploads, from, &[]).enumerate() {
                    let (row, value) = row?;
                    if seen == TRASH_PAGE {
                        next = Some(row.to_vec());
                        break;
                    }
                    let upload: UploadRecord = record::decode(&value)?;
                    if upload.completed.is_some_and(|completed| completed.at_ms.saturating_add(COMPLETED_MS) < now.0) {
                        ended.push(row.to_vec());
                    }
                }
                Ok((ended, next))
            })
            .await?;
        if !ended.is_empty() {
            let forgetting = network.catalog.change(move |txn| {
                ended.into_iter().for_each(|row| txn.delete(Table::Uploads, row));
                Ok(())
            });
            forgetting.await?;
        }
        match next {
            Some(next) => first = next,
            None => return Ok(()),
        }
    }
}

impl Objects {
    /// Collects now: see `cairn_client::Client::collect`.
    pub async fn collect_now(&self) -> CollectReport {
        collect(&self.core.network).await
    }

    /// Tries every blob in the trash once, whether it is due or not.
    ///
    /// # Errors
    /// [`ObjectError::Unavailable`] when some are left, because they are being read or a provider could not be reached.
    pub async fn empty_trash(&self) -> Result<(), ObjectError> {
        let (network, in_flight) = (&self.core.network, self.core.config.trash_in_flight);
        let left = round(network, in_flight, &mut Retries::default(), &CancellationToken::new()).await?;
        if left == 0 { Ok(()) } else { Err(ObjectError::Unavailable(format!("{left} blobs could not be deleted yet"))) }
    }
}
