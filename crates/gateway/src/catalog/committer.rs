//! The one thread that changes the catalog: it takes every change that waits, applies them one after the other to one batch,
//! writes the batch with one disk sync, and only then answers them.
//!
//! A single writer instead of optimistic transactions, because every change has to wait for a sync anyway: in one thread changes
//! are serial without conflicts or retries, and those that arrive during a sync share the next one.
//!
//! Never: an answer before the sync. Limits: [`BATCH_CHANGES_MAX`], [`BATCH_LEN_MAX`], a queue of [`QUEUE_MAX`].

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use super::record::{self, Counters};
use super::table::Table;
use super::txn::Txn;
use super::{COUNTERS_ROW, CatalogError, CommitStats, Db};
use crate::objects::error::ObjectError;

/// Changes in one batch.
const BATCH_CHANGES_MAX: usize = 512;
/// Bytes after which a batch takes no further change.
const BATCH_LEN_MAX: usize = 8 << 20;
/// Changes that wait.
pub(super) const QUEUE_MAX: usize = 1024;

/// A change whose result type does not matter.
pub(super) trait Change: Send {
    /// Applies it; what it answers is kept.
    fn apply(&mut self, txn: &mut Txn<'_>);
    /// Sends the answer, or what went wrong with the batch.
    fn answer(self: Box<Self>, written: &Result<(), CatalogError>);
}

/// A change as a closure.
pub(super) struct Typed<T, F> {
    pub(super) change: Option<F>,
    pub(super) outcome: Option<Result<T, ObjectError>>,
    pub(super) reply: oneshot::Sender<Result<T, ObjectError>>,
}

impl<T: Send, F: FnOnce(&mut Txn<'_>) -> Result<T, ObjectError> + Send> Change for Typed<T, F> {
    fn apply(&mut self, txn: &mut Txn<'_>) {
        if let Some(change) = self.change.take() {
            self.outcome = Some(txn.attempt(change));
        }
    }

    fn answer(self: Box<Self>, written: &Result<(), CatalogError>) {
        let outcome = match (written, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Err(error), _) => Err(error.clone().into()),
            (Ok(()), None) => Err(ObjectError::Internal("a change was not applied".into())),
        };
        // Whoever asked may be gone; the change stands all the same.
        let _ = reply(self.reply, outcome);
    }
}

fn reply<T>(sender: oneshot::Sender<T>, value: T) -> Result<(), T> {
    sender.send(value)
}

/// What the committer shares with readers: counters and how many syncs were spent.
#[derive(Default)]
pub(super) struct Published {
    pub(super) counters: Counters,
    pub(super) stats: CommitStats,
}

/// Runs until every sender is gone.
pub(super) fn run(db: Arc<Db>, mut queue: mpsc::Receiver<Box<dyn Change>>, published: Arc<Mutex<Published>>) {
    while let Some(first) = queue.blocking_recv() {
        let before = published.lock().expect("no holder of this lock panics").counters.clone();
        let mut txn = Txn::new(&db, before.clone());
        let mut changes = vec![first];
        changes[0].apply(&mut txn);
        while changes.len() < BATCH_CHANGES_MAX && txn.len() < BATCH_LEN_MAX {
            let Ok(mut change) = queue.try_recv() else { break };
            change.apply(&mut txn);
            changes.push(change);
        }
        let (layer, counters) = txn.into_parts();
        let written = if layer.len() == 0 { Ok(()) } else { write(&db, &layer, &before, &counters) };
        {
            let mut published = published.lock().expect("no holder of this lock panics");
            if written.is_ok() {
                published.counters = counters;
            }
            published.stats.commits += u64::from(layer.len() > 0);
            published.stats.changes += changes.len() as u64;
        }
        for change in changes {
            change.answer(&written);
        }
    }
}

fn write(db: &Db, layer: &super::txn::Layer, before: &Counters, counters: &Counters) -> Result<(), CatalogError> {
    let mut batch = rocksdb::WriteBatch::default();
    for (table, row, value) in layer.rows() {
        match value {
            Some(value) => batch.put_cf(db.family(table), row, value),
            None => batch.delete_cf(db.family(table), row),
        }
    }
    if before != counters {
        batch.put_cf(db.family(Table::Meta), COUNTERS_ROW, record::encode(counters));
    }
    db.write_synced(batch)
}
