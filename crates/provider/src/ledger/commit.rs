//! Writer: one thread that makes groups of changes durable and answers them together.
//!
//! A group is one batch of rows, one sync, then the answers. Never: an answer before the sync, or a second try after a failed one.
//! Limits: [`GROUP_MAX`] changes per group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use cairn_market::journal::{Account, Entry, Line, Opening};
use rocksdb::{WriteBatch, WriteOptions};
use tokio::sync::oneshot;
use tracing::error;

use super::row::{JOURNAL, ROLLED_UP, TURNOVER, account_key, decode, encode};
use super::{LedgerError, Place, Shared, guard, scan};

/// Entries of the journal that are kept; older ones are rolled up.
pub(crate) const ENTRIES_KEPT_MAX: u64 = 65_536;
/// Entries that are rolled up in one go.
pub(super) const ROLLED_UP_AT_ONCE: u64 = 256;
/// Changes answered together.
pub(crate) const GROUP_MAX: usize = 256;

/// Rows and an entry of the journal that become durable together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) deletes: Vec<Vec<u8>>,
    /// One at most, so that an entry that does not fit refuses the whole change.
    pub entry: Option<Entry>,
    /// May be lost in a power cut; a group of such changes alone is written and not synced.
    pub lazy: bool,
}

/// What the writer is asked to do.
pub(super) enum Command {
    Write { change: Change, answer: oneshot::Sender<Result<(), LedgerError>>, place: Place },
    Stop,
}

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
}

/// A change that is in the batch, and who waits for it.
type Waiting = (oneshot::Sender<Result<(), LedgerError>>, Place);

impl Writer {
    pub fn new(shared: Arc<Shared>) -> Writer {
        Writer { shared }
    }

    /// Runs until [`Command::Stop`] or until nobody can send any more.
    pub fn run(self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let (mut group, mut next, mut stop) = (Vec::new(), Some(first), false);
            while let Some(command) = next.take() {
                match command {
                    Command::Write { change, answer, place } => group.push((change, (answer, place))),
                    Command::Stop => stop = true,
                }
                if group.len() < GROUP_MAX {
                    next = commands.try_recv().ok();
                }
            }
            self.apply(group);
            if stop {
                return;
            }
        }
    }

    fn apply(&self, group: Vec<(Change, Waiting)>) {
        let failed = guard(&self.shared.failed).clone();
        if let Some(reason) = failed {
            return answer(group.into_iter().map(|(_, waiting)| waiting), &Err(LedgerError::Closed(reason)));
        }
        let synced = group.iter().any(|(change, _)| !change.lazy);
        let (mut batch, mut waiting, mut accounts) = (WriteBatch::default(), Vec::new(), BTreeSet::new());
        let opened = match self.roll_up(&mut batch) {
            Ok(opened) => opened,
            Err(error) => {
                error!(%error, "the journal grows beyond its bounds");
                None
            }
        };
        for (change, waiter) in group {
            match self.stage(change, &mut batch, &mut accounts) {
                Ok(()) => waiting.push(waiter),
                Err(error) => answer([waiter], &Err(error)),
            }
        }
        for account in accounts {
            let turnover = guard(&self.shared.journal).turnover(account);
            batch.put([&[TURNOVER], &account_key(account)[..]].concat(), encode(&turnover));
        }
        let written = self.write(batch, synced);
        if let Err(reason) = &written {
            error!(reason, "the ledger takes no more changes");
            *guard(&self.shared.failed) = Some(reason.clone());
        } else if let Some(opened) = opened {
            *guard(&self.shared.opening) = opened;
        }
        answer(waiting, &written.map_err(LedgerError::Closed));
    }

    /// Has the oldest entries of the journal deleted and their sums kept, when there are too many. Before others are posted: what is in
    /// the database is then what was posted, and none of those entries grows any more.
    fn roll_up(&self, batch: &mut WriteBatch) -> Result<Option<Opening>, LedgerError> {
        let mut opened = guard(&self.shared.opening).clone();
        let kept = guard(&self.shared.journal).len().saturating_sub(opened.first());
        if kept < self.shared.kept_max + ROLLED_UP_AT_ONCE {
            return Ok(None);
        }
        let from = opened.first().to_be_bytes();
        let oldest = scan(&self.shared.db, JOURNAL, &[], &from, ROLLED_UP_AT_ONCE as usize, decode::<Entry>)?;
        let mut gone = Vec::new();
        for (key, entry) in oldest {
            let number =
                key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| LedgerError::Damaged(char::from(JOURNAL)))?;
            if opened.take_in(number, &entry)? {
                gone.push(number);
            }
        }
        for number in gone {
            batch.delete([&[JOURNAL], number.to_be_bytes().as_slice()].concat());
        }
        batch.put([ROLLED_UP], opened.first().to_be_bytes());
        for (account, turnover) in opened.accounts() {
            batch.put([&[ROLLED_UP], &account_key(account)[..]].concat(), encode(&turnover));
        }
        guard(&self.shared.journal).settle_before(opened.first());
        Ok(Some(opened))
    }

    /// Puts a change into the batch, or leaves the batch as it was.
    fn stage(&self, change: Change, batch: &mut WriteBatch, accounts: &mut BTreeSet<Account>) -> Result<(), LedgerError> {
        if let Some(entry) = change.entry {
            let posted = guard(&self.shared.journal).post(entry)?;
            batch.put([&[JOURNAL], posted.number.to_be_bytes().as_slice()].concat(), encode(&posted.entry));
            accounts.extend(posted.entry.lines().iter().map(|line| {
                let (Line::Debit(account, _) | Line::Credit(account, _)) = line;
                *account
            }));
        }
        for (key, value) in change.puts {
            batch.put(key, value);
        }
        for key in change.deletes {
            batch.delete(key);
        }
        Ok(())
    }

    fn write(&self, batch: WriteBatch, synced: bool) -> Result<(), String> {
        if self.shared.fails.load(Ordering::SeqCst) {
            return Err("injected write failure".into());
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        self.shared.db.write_opt(batch, &options).map_err(|error| error.to_string())
    }
}

fn answer(waiting: impl IntoIterator<Item = Waiting>, result: &Result<(), LedgerError>) {
    for (answer, place) in waiting {
        let _ = answer.send(result.clone());
        drop(place);
    }
}
