//! What the accounts of paid deals need of a store: who holds what since when, and removal that was decided elsewhere.
//!
//! Never: a decision about money. Limits: one scan of a deal's rows when its account opens.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_types::{Clock, DealId, NodeId, ShardRoot, UnixMs};
use tokio::sync::oneshot;

use super::commit::Command;
use super::deals::Watch;
use super::error::StoreError;
use super::index::{IndexError, Row, ShardKey};
use super::writer::{answer_of, permit};
use super::{Inner, Store};

/// A shard that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub root: ShardRoot,
    pub len: u64,
    pub stored_at: UnixMs,
}

impl Store {
    /// Has `watch` told of every new shard. Called once, before the first one arrives.
    pub(crate) fn watch(&self, watch: Arc<dyn Watch>) {
        let _ = self.0.deals.watch.set(watch);
    }

    /// Lets the next syncs of all disks fail, or not.
    #[cfg(test)]
    pub(crate) fn fail_syncs(&self, fails: bool) {
        self.0.disks.iter().for_each(|disk| disk.sync_fails.store(fails, std::sync::atomic::Ordering::SeqCst));
    }

    /// The clock by which shards are dated.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    /// Whether the deal is one of `client`.
    pub(crate) fn check_deal(&self, client: NodeId, deal: DealId) -> Result<(), StoreError> {
        self.0.deals.get(&deal, client).map(|_| ())
    }

    /// Calls `each` for every shard of a deal; for one that lies on two disks, twice. Blocking.
    pub(crate) fn each_held(&self, deal: &DealId, mut each: impl FnMut(Held)) -> Result<(), StoreError> {
        for disk in &self.0.disks {
            let each = |root, row: Row| each(Held { root, len: row.len, stored_at: row.stored_at });
            disk.index.each(deal, each).map_err(|error| StoreError::Disk(error.to_string()))?;
        }
        Ok(())
    }

    /// Those of `roots` that are there, in their order, the first moment first; one that lies on two disks comes twice. Blocking.
    pub(crate) fn held(&self, deal: DealId, roots: &[ShardRoot]) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::new();
        for root in roots {
            let first = held.len();
            for disk in &self.0.disks {
                let row = disk.index.row(&ShardKey { deal, root: *root }).map_err(|error| StoreError::Disk(error.to_string()))?;
                held.extend(row.map(|row| Held { root: *root, len: row.len, stored_at: row.stored_at }));
            }
            held[first..].sort_unstable_by_key(|shard| shard.stored_at);
        }
        Ok(held)
    }

    /// Removes shards that are dated as `dated` says; one that was stored again since is another and stays.
    pub(crate) async fn remove_dated(&self, deal: DealId, dated: HashSet<(ShardRoot, UnixMs)>) -> Result<u32, StoreError> {
        let mut roots: Vec<ShardRoot> = dated.iter().map(|(root, _)| *root).collect();
        roots.sort_unstable();
        roots.dedup();
        let is_it = move |root: &ShardRoot, row: Result<Option<Row>, IndexError>| match row {
            Ok(Some(row)) => dated.contains(&(*root, row.stored_at)),
            Ok(None) => false,
            Err(_) => true, // the committer meets the error again and says so
        };
        self.0.remove(deal, roots, is_it).await
    }
}

impl Inner {
    /// Removes those of `roots` whose rows are wanted from every disk.
    pub(super) async fn remove(
        &self,
        deal: DealId,
        roots: Vec<ShardRoot>,
        is_wanted: impl Fn(&ShardRoot, Result<Option<Row>, IndexError>) -> bool + Send + Sync + 'static,
    ) -> Result<u32, StoreError> {
        let (mut removed, mut failed) = (0, None);
        let (roots, is_wanted) = (Arc::new(roots), Arc::new(is_wanted));
        for disk in &self.disks {
            let (there, wanted, is_wanted) = (disk.clone(), roots.clone(), is_wanted.clone());
            let present = self
                .blocking(move || {
                    let is_there = |root: &&ShardRoot| is_wanted(root, there.index.row(&ShardKey { deal, root: **root }));
                    wanted.iter().filter(is_there).copied().collect::<Vec<_>>()
                })
                .await?;
            if present.is_empty() {
                continue;
            }
            let (permit, (answer, answered)) = (permit(&disk.queue).await?, oneshot::channel());
            let command = Command::Delete { deal, roots: present, answer, permit };
            disk.commands.send(command).map_err(|_| StoreError::Closed)?;
            match answer_of(disk, answered).await {
                Ok(count) => removed += count,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(removed), Err)
    }
}
