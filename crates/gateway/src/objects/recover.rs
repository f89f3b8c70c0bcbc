//! Recovery: a catalog from the network alone. Shards name their blobs by sealed labels; checkpoints say what there was; packs that began
//! after them have the records of what came since.
//!
//! The new catalog is built beside the place of the old one and moved there when it is whole: a gateway that opened half of one would
//! collect the other half. What was deleted after the last checkpoint may be there again.
//! Never: an object in the catalog whose bytes are not known to be there; a catalog that misses objects, unless that is asked for.
//! Limits: [`CHECKPOINT_LEN_MAX`]; the records of all objects are in memory.

mod assemble;
mod replay;
mod rows;

use std::fs::File;
use std::path::Path;

use cairn_client::{BlobKind, Client, FoundShard};
use cairn_types::{NodeId, UnixMs};
use futures::{StreamExt, stream};
use serde::Serialize;

use super::checkpoint::Part;
use super::error::ObjectError;
use super::repack::{PACK_LEN_MAX, read_all};
use crate::catalog::{Catalog, OpenError};
use assemble::Blobs;
use replay::{Checkpoint, Replay};

/// Bytes of a checkpoint.
pub const CHECKPOINT_LEN_MAX: u64 = 8 << 30;
/// Where the new catalog is built, below the data directory.
const BUILT_IN: &str = "recovering";
/// Packs read at the same time.
const READS_AT_ONCE: usize = 8;

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is a catalog already.
    #[error("{0} has a catalog already")]
    NotEmpty(std::path::PathBuf),
    /// Providers have nothing of this account.
    #[error("none of the {providers} providers that answer has anything of this account")]
    Nothing {
        /// How many answer.
        providers: usize,
    },
    /// Some of what was acknowledged cannot be read now.
    #[error("{count} objects cannot be read now; the first is {first}: {reason}")]
    Missing {
        /// How many.
        count: u64,
        /// One of them.
        first: String,
        /// Why.
        reason: String,
    },
    /// The catalog's disk.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading, or writing the catalog.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The directory.
    #[error("cannot put the catalog in its place: {0}")]
    Disk(#[from] std::io::Error),
}

/// What a recovery found and made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// Shards of this account.
    pub shards: u64,
    /// Blobs that they belong to.
    pub blobs: u64,
    /// Checkpoints that were used.
    pub checkpoints: u64,
    /// Packs that were replayed.
    pub packs: u64,
    /// Buckets.
    pub buckets: u64,
    /// Access keys.
    pub keys: u64,
    /// Versions of objects, delete markers among them.
    pub versions: u64,
    /// Versions left out because their bytes cannot be read now.
    pub missing: u64,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many packs were read, of all.
    Reading(u64, u64),
    /// So many keys are in the catalog, of all.
    Writing(u64, u64),
}

/// What to recover, and from what.
pub struct Source<'a> {
    /// For reading.
    pub client: &'a Client,
    /// All shards of the account.
    pub shards: Vec<FoundShard>,
    /// Providers that answered.
    pub providers: usize,
    /// Whose catalog it is.
    pub node: NodeId,
    /// Name of the account that owns buckets which no checkpoint knows.
    pub owner: &'a str,
    /// Leave out what cannot be read now instead of failing.
    pub allow_missing: bool,
    /// The moment.
    pub now: UnixMs,
}

/// What cannot be read now.
#[derive(Default)]
struct Missing {
    count: u64,
    first: Option<(String, String)>,
}

impl Missing {
    fn add(&mut self, what: impl FnOnce() -> String, reason: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| (what(), reason.to_owned()));
    }
}

/// Builds the catalog of `dir` anew.
///
/// # Errors
/// [`RecoverError`]; `dir` has no catalog then, as before.
pub async fn recover(dir: &Path, source: Source<'_>, progress: &(dyn Fn(Progress) + Sync)) -> Result<Recovered, RecoverError> {
    if dir.join("catalog").exists() {
        return Err(RecoverError::NotEmpty(dir.to_owned()));
    }
    if source.shards.is_empty() {
        return Err(RecoverError::Nothing { providers: source.providers });
    }
    let mut report = Recovered { shards: source.shards.len() as u64, ..Recovered::default() };
    let written = source.shards.iter().map(|shard| shard.label.writer_epoch).max().unwrap_or_default();
    // The earlier catalog may have been opened since it last wrote; its epochs began at the clock and count its openings.
    let last_epoch = written.max(source.now.0);
    let blobs = Blobs::assemble(source.shards);
    report.blobs = blobs.len() as u64;

    let (mut replay, mut missing) = (Replay::new(source.owner), Missing::default());
    take_checkpoints(source.client, &blobs, &mut replay, &mut report).await;
    take_packs(source.client, &blobs, &mut replay, &mut missing, &mut report, progress).await?;
    let kept = rows::readable(replay.kept(), source.client, &blobs, &mut missing);
    report.missing = missing.count;
    if let Some((first, reason)) = missing.first.filter(|_| !source.allow_missing) {
        return Err(RecoverError::Missing { count: missing.count, first, reason });
    }

    let built_in = dir.join(BUILT_IN);
    match std::fs::remove_dir_all(&built_in) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::fs::create_dir(&built_in)?;
    let (at, node) = (built_in.clone(), source.node);
    let opening = tokio::task::spawn_blocking(move || Catalog::open_after(&at, node, last_epoch)).await;
    let catalog = opening.map_err(|error| ObjectError::Internal(error.to_string()))??;
    rows::write(&catalog, source.client, kept, &mut report, progress).await?;
    // Closing it waits for its thread.
    tokio::task::spawn_blocking(move || drop(catalog)).await.map_err(|error| ObjectError::Internal(error.to_string()))?;
    std::fs::rename(built_in.join("catalog"), dir.join("catalog"))?;
    File::open(dir)?.sync_all()?;
    std::fs::remove_dir(&built_in)?;
    Ok(report)
}

/// The latest checkpoint of each part that can be read.
async fn take_checkpoints(client: &Client, blobs: &Blobs, replay: &mut Replay<'_>, report: &mut Recovered) {
    let mut found: Vec<_> = blobs.of_kind(BlobKind::Checkpoint).collect();
    found.sort_unstable_by_key(|(_, written)| std::cmp::Reverse(*written));
    let mut parts = Vec::new();
    for (id, written) in found {
        if parts.len() == Part::ALL.len() {
            return;
        }
        let read = async {
            let manifest = blobs.manifest(client, id)?;
            let bytes = read_all(client, manifest, CHECKPOINT_LEN_MAX).await.map_err(|error| error.to_string())?;
            Checkpoint::parse(bytes)
        };
        match read.await {
            Ok(checkpoint) if !parts.contains(&checkpoint.part) => {
                tracing::info!(part = ?checkpoint.part, epoch = written.0, sequence = written.1, "checkpoint read");
                parts.push(checkpoint.part);
                report.checkpoints += 1;
                replay.take_checkpoint(checkpoint);
            }
            Ok(_) => {}
            Err(reason) => tracing::warn!(blob = %id, reason, "a checkpoint cannot be read; an older one will do"),
        }
    }
}

/// Packs that began after the checkpoint of objects.
async fn take_packs(
    client: &Client,
    blobs: &Blobs,
    replay: &mut Replay<'_>,
    missing: &mut Missing,
    report: &mut Recovered,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), RecoverError> {
    let packs: Vec<_> = blobs.of_kind(BlobKind::Pack).filter(|(_, written)| replay.is_wanted(*written)).collect();
    let all = packs.len() as u64;
    let reads = packs.into_iter().map(|(id, written)| async move {
        let read = match blobs.manifest(client, id) {
            Ok(manifest) => read_all(client, manifest, PACK_LEN_MAX).await.map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        (id, written, read)
    });
    let mut reads = std::pin::pin!(stream::iter(reads).buffer_unordered(READS_AT_ONCE));
    while let Some((id, written, read)) = reads.next().await {
        let taken = read.and_then(|bytes| replay.take_pack(id, written, bytes));
        if let Err(reason) = taken {
            missing.add(|| format!("the objects of pack {id}"), &reason);
        }
        report.packs += 1;
        progress(Progress::Reading(report.packs, all));
    }
    Ok(())
}
