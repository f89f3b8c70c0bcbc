//! Ledger: what was agreed, counted, promised, released and paid, in one RocksDB. Format: `docs/formats/provider-ledger.md`.
//!
//! Never: a change in part, or an answer before its sync; after a failed write nothing more is written until the next start.
//! Limits: [`WAITING_MAX`] changes that wait; the rows' own limits.

mod codec;
mod commit;
#[cfg(fuzzing)]
pub mod fuzzing;
mod row;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use cairn_market::journal::{Account, Entry, Journal, JournalError, Opening, Turnover};
use cairn_types::{ChannelId, DealId, NodeId, UnixSecs};
use rocksdb::{DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, Options, ReadOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub(crate) use commit::Change;
use commit::{Command, ENTRIES_KEPT_MAX, Writer};
pub(crate) use row::*;

/// Changes that may wait for the writer.
pub(crate) const WAITING_MAX: usize = 1024;

/// A ledger that does not open, or a change that was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// RocksDB said no.
    #[error("ledger: {0}")]
    Rocks(String),
    /// A row that this program did not write.
    #[error("a row of kind {0:?} of the ledger is damaged; restore the ledger from a copy")]
    Damaged(char),
    /// Another node's.
    #[error("the ledger belongs to node {owner}, this is node {node}")]
    OtherIdentity {
        /// Whose it is.
        owner: NodeId,
        /// Who we are.
        node: NodeId,
    },
    /// An entry that does not fit the accounts.
    #[error("journal: {0}")]
    Journal(#[from] JournalError),
    /// The index of the shards could not be read.
    #[error("the store: {0}")]
    Store(String),
    /// Terms that nobody would take.
    #[error("the terms of this provider: {0}")]
    Terms(String),
    /// A write failed, or the ledger is closing.
    #[error("the ledger takes no more changes: {0}")]
    Closed(String),
}

impl From<rocksdb::Error> for LedgerError {
    fn from(error: rocksdb::Error) -> LedgerError {
        LedgerError::Rocks(error.to_string())
    }
}

/// What the writer and the readers share.
struct Shared {
    db: DB,
    journal: Mutex<Journal>,
    /// What is not kept of the journal.
    opening: Mutex<Opening>,
    /// Entries kept.
    kept_max: u64,
    failed: Mutex<Option<String>>,
    /// Test hook at the file-system boundary: the next writes fail.
    fails: AtomicBool,
}

/// The ledger; its writer ends when it is dropped.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    queue: Arc<Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A place in the writer's queue.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A change that was handed to the writer.
pub(crate) struct Pending(oneshot::Receiver<Result<(), LedgerError>>);

impl Pending {
    /// Waits until the change is durable.
    pub async fn durable(self) -> Result<(), LedgerError> {
        self.0.await.unwrap_or_else(|_| Err(LedgerError::Closed("its writer ended".into())))
    }
}

impl Ledger {
    /// Opens the ledger of `node` in `dir`, made if it is not there. Blocking.
    pub fn open(dir: &Path, node: NodeId) -> Result<Ledger, LedgerError> {
        Ledger::open_keeping(dir, node, ENTRIES_KEPT_MAX)
    }

    fn open_keeping(dir: &Path, node: NodeId, kept_max: u64) -> Result<Ledger, LedgerError> {
        std::fs::create_dir_all(dir).map_err(|error| LedgerError::Rocks(error.to_string()))?;
        let db = DB::open(&options(), dir)?;
        match db.get_pinned([META])? {
            Some(bytes) => {
                let owner: NodeId = decode(&bytes)?;
                if owner != node {
                    return Err(LedgerError::OtherIdentity { owner, node });
                }
            }
            None => {
                let mut synced = rocksdb::WriteOptions::default();
                synced.set_sync(true);
                db.put_opt([META], encode(&node), &synced)?;
            }
        }
        let (journal, opening) = (Mutex::new(load_journal(&db)?), Mutex::new(load_opening(&db)?));
        let (failed, fails) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { db, journal, opening, kept_max, failed, fails });
        let (commands, received) = mpsc::channel();
        let writer = Writer::new(shared.clone());
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run(&received));
        let thread = thread.map_err(|error| LedgerError::Rocks(error.to_string()))?;
        Ok(Ledger { shared, commands, queue: Arc::new(Semaphore::new(WAITING_MAX)), writer: Mutex::new(Some(thread)) })
    }

    /// Waits for a place in the queue. With it a change can be handed over without waiting, so under a lock: changes are made in
    /// the order in which they were handed over.
    pub async fn place(&self) -> Result<Place, LedgerError> {
        let permit = self.queue.clone().acquire_owned().await;
        permit.map(|permit| Place { _permit: permit }).map_err(|_| LedgerError::Closed("it is closing".into()))
    }

    /// A place if there is one at once.
    pub fn place_now(&self) -> Option<Place> {
        self.queue.clone().try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Hands a change over.
    pub fn hand_over(&self, place: Place, change: Change) -> Pending {
        let (answer, answered) = oneshot::channel();
        // Without a writer the answer is dropped, and its waiter learns that nothing is durable.
        let _ = self.commands.send(Command::Write { change, answer, place });
        Pending(answered)
    }

    /// Makes a change durable.
    pub async fn write(&self, change: Change) -> Result<(), LedgerError> {
        self.hand_over(self.place().await?, change).durable().await
    }

    /// Whether changes are still made.
    pub fn check(&self) -> Result<(), LedgerError> {
        guard(&self.shared.failed).clone().map_or(Ok(()), |reason| Err(LedgerError::Closed(reason)))
    }

    /// A row by its key.
    pub fn row<R: Row>(&self, key: &[u8]) -> Result<Option<R>, LedgerError> {
        let bytes = self.shared.db.get_pinned(row_key::<R>(key))?;
        bytes.map(|bytes| decode(&bytes)).transpose()
    }

    /// Up to `max` rows whose keys begin with `prefix`, from `from` on, with the rest of their keys after the kind byte.
    pub fn rows<R: Row>(&self, prefix: &[u8], from: &[u8], max: usize) -> Result<Vec<(Vec<u8>, R)>, LedgerError> {
        scan(&self.shared.db, R::KIND, prefix, from, max, decode)
    }

    /// The last key that begins with `prefix`, without its kind byte.
    pub fn last_key<R: Row>(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(row_key::<R>(prefix)));
        let last = self.shared.db.iterator_opt(IteratorMode::End, options).next().transpose()?;
        Ok(last.map(|(key, _)| key[1..].to_vec()))
    }

    /// Removals that were begun and not finished: deal and number.
    pub fn pending(&self) -> Result<Vec<(DealId, u64)>, LedgerError> {
        let keys = scan(&self.shared.db, PENDING, &[], &[], usize::MAX, |_| Ok(()))?;
        keys.into_iter().map(|(key, ())| numbered_of(&key).ok_or(LedgerError::Damaged(char::from(PENDING)))).collect()
    }

    /// Number that the next payout gets; numbers are never given twice.
    pub fn next_payout(&self) -> Result<u64, LedgerError> {
        let Some(bytes) = self.shared.db.get_pinned([NEXT_PAYOUT])? else { return Ok(0) };
        let number = bytes.as_ref().try_into().map_err(|_| LedgerError::Damaged(char::from(NEXT_PAYOUT)))?;
        Ok(u64::from_be_bytes(number))
    }

    /// What ever went into and out of an account of the journal.
    pub fn turnover(&self, account: Account) -> Turnover {
        guard(&self.shared.journal).turnover(account)
    }

    /// Whether the journal's accounts hold what came in less what went out.
    pub fn is_conserved(&self) -> bool {
        guard(&self.shared.journal).is_conserved() == Some(true)
    }

    /// What is not kept of the journal any more.
    pub fn opening(&self) -> Opening {
        guard(&self.shared.opening).clone()
    }

    /// Up to `max` entries from number `from` on. Blocking.
    pub fn journal(&self, from: u64, max: usize) -> Result<Vec<(u64, Entry)>, LedgerError> {
        let rows = self.rows::<Entry>(&[], &from.to_be_bytes(), max)?;
        let number = |key: Vec<u8>| key.try_into().map(u64::from_be_bytes).map_err(|_| LedgerError::Damaged(char::from(JOURNAL)));
        rows.into_iter().map(|(key, entry)| Ok((number(key)?, entry))).collect()
    }

    #[cfg(test)]
    pub fn fail_writes(&self, fails: bool) {
        self.shared.fails.store(fails, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(writer) = guard(&self.writer).take() {
            let _ = writer.join();
        }
        self.shared.db.cancel_all_background_work(true);
    }
}

/// A poisoned lock guards values that are whole after every statement.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(4 << 20);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(16 << 20);
    options.set_max_open_files(64);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    // A torn last record is a write that was never acknowledged; damage anywhere else must not be skipped silently.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

fn load_journal(db: &DB) -> Result<Journal, LedgerError> {
    let damaged = || LedgerError::Damaged(char::from(TURNOVER));
    let turnovers = scan(db, TURNOVER, &[], &[], usize::MAX, decode::<Turnover>)?;
    let account = |key: Vec<u8>| key.try_into().ok().and_then(|key| account_of(&key)).ok_or_else(damaged);
    let accounts: Vec<(Account, Turnover)> =
        turnovers.into_iter().map(|(key, turnover)| Ok((account(key)?, turnover))).collect::<Result<_, LedgerError>>()?;
    let mut last = db.iterator(IteratorMode::From(&[JOURNAL + 1], Direction::Reverse));
    let entries = match last.next().transpose()? {
        Some((key, _)) if key.first() == Some(&JOURNAL) => {
            let number = key[1..].try_into().map_err(|_| LedgerError::Damaged(char::from(JOURNAL)))?;
            u64::from_be_bytes(number).saturating_add(1)
        }
        _ => 0,
    };
    Ok(Journal::resume(accounts, entries))
}

fn load_opening(db: &DB) -> Result<Opening, LedgerError> {
    let damaged = || LedgerError::Damaged(char::from(ROLLED_UP));
    let Some(first) = db.get_pinned([ROLLED_UP])? else { return Ok(Opening::default()) };
    let first = first.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
    let rows = scan(db, ROLLED_UP, &[], &[0], usize::MAX, decode::<Turnover>)?;
    let account = |key: Vec<u8>| key.try_into().ok().and_then(|key| account_of(&key)).ok_or_else(damaged);
    let accounts: Vec<(Account, Turnover)> =
        rows.into_iter().map(|(key, turnover)| Ok((account(key)?, turnover))).collect::<Result<_, LedgerError>>()?;
    Ok(Opening::resume(first, accounts))
}

fn scan<T>(
    db: &DB,
    kind: u8,
    prefix: &[u8],
    from: &[u8],
    max: usize,
    read: impl Fn(&[u8]) -> Result<T, LedgerError>,
) -> Result<Vec<(Vec<u8>, T)>, LedgerError> {
    let prefix = [&[kind], prefix].concat();
    let from = [&[kind], from].concat().max(prefix.clone());
    let mut options = ReadOptions::default();
    options.set_iterate_range(rocksdb::PrefixRange(prefix));
    let mut rows = Vec::new();
    for entry in db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options).take(max) {
        let (key, value) = entry?;
        rows.push((key[1..].to_vec(), read(&value)?));
    }
    Ok(rows)
}

fn row_key<R: Row>(key: &[u8]) -> Vec<u8> {
    [&[R::KIND], key].concat()
}

/// Key of a row that is one of many of a deal.
pub(crate) fn numbered(deal: &DealId, number: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(deal.as_bytes());
    key[32..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Reads what [`numbered`] made.
pub(crate) fn numbered_of(key: &[u8]) -> Option<(DealId, u64)> {
    let key: &[u8; 40] = key.try_into().ok()?;
    Some((DealId(*key.first_chunk()?), u64::from_be_bytes(*key.last_chunk()?)))
}

impl Change {
    /// Adds or replaces a row.
    pub fn put<R: Row>(&mut self, key: &[u8], row: &R) {
        self.puts.push((row_key::<R>(key), encode(row)));
    }

    /// Removes a row.
    pub fn delete<R: Row>(&mut self, key: &[u8]) {
        self.deletes.push(row_key::<R>(key));
    }

    /// Marks a removal as begun.
    pub fn begin_removal(&mut self, deal: &DealId, number: u64) {
        self.puts.push(([&[PENDING], &numbered(deal, number)[..]].concat(), vec![LEDGER_VERSION]));
    }

    /// Marks a removal as finished.
    pub fn end_removal(&mut self, deal: &DealId, number: u64) {
        self.deletes.push([&[PENDING], &numbered(deal, number)[..]].concat());
    }

    /// Counts payouts.
    pub fn put_next_payout(&mut self, number: u64) {
        self.puts.push((vec![NEXT_PAYOUT], number.to_be_bytes().to_vec()));
    }

    /// Keeps the account and the channel of a deal.
    pub fn put_account(&mut self, deal: &DealId, account: &AccountRow) {
        self.put(deal.as_bytes(), account);
    }

    /// Keeps a channel.
    pub fn put_channel(&mut self, channel: &ChannelId, row: &ChannelRow) {
        self.put(channel.as_bytes(), row);
    }

    /// Keeps until when an offer of these terms lives.
    pub fn put_offer(&mut self, terms_hash: &[u8; 32], valid_until: UnixSecs) {
        self.put(terms_hash, &valid_until);
    }
}
