//! Ledger: what a client owes, promised and saw, in RocksDB. Format: `docs/formats/client-ledger.md`.
//!
//! A write is in the operating system's hands when it returns, so it outlives this process; once a second and at the end everything is
//! synced, so it outlives a power cut but for that second, and the provider's account closes that gap (it gives our best voucher back).
//! Never: a voucher sent before its row is written. Limits: [`record::RECORD_LEN_MAX`] a row, [`FAILURES_MAX`] failed probes an audit.

mod batch;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod record;
mod resume;
#[cfg(test)]
mod tests;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_audit::Entry;
use cairn_market::journal::{self, Journal, JournalError, Opening, Turnover};
use cairn_types::{Amount, DealId, NodeId, ShardRoot, UnixMs};
use prost::Message;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Direction, IteratorMode, Options, ReadOptions};

pub(crate) use batch::Batch;
use record::{AuditRecord, DealRecord, DisputeRow, GrantRecord, JournalRecord, MeterRecord, PaidRecord};

/// Failed probes kept of one audit; how many there were is kept besides.
pub const FAILURES_MAX: usize = 64;
/// How long an audit that passed is kept.
pub const PASSED_KEPT_MS: u64 = 90 * 24 * 3600 * 1000;
/// How long an audit that did not pass is kept.
pub const FAILED_KEPT_MS: u64 = 365 * 24 * 3600 * 1000;

/// Entries of the journal that are kept; older ones are rolled up.
pub const ENTRIES_KEPT_MAX: u64 = 65_536;
/// Entries that are rolled up in one go.
const ROLLED_UP_AT_ONCE: u64 = 256;

const VERSION: u8 = record::RECORD_VERSION;
const WRITE_BUFFER_LEN: usize = 4 << 20;
const BLOCK_CACHE_LEN: usize = 4 << 20;
const WAL_LEN_MAX: u64 = 32 << 20;

const META: u8 = b'm';
const DEAL: u8 = b'd';
const PAID: u8 = b'p';
const METER: u8 = b'n';
const SHARD: u8 = b'i';
const SENT: u8 = b's';
const RELEASED: u8 = b'x';
const AUDIT: u8 = b'a';
const ENTRY: u8 = b'j';
const TURNOVER: u8 = b't';
const ROLLED_UP: u8 = b'f';
const BUDGET: u8 = b'b';
const PROMISED: u8 = b'c';
const ALIVE: u8 = b'h';
const DISPUTE: u8 = b'q';
const GRANT: u8 = b'g';
const SILENCE: u8 = b'w';

/// Why the ledger cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The directory cannot be made.
    #[error("cannot use {path}: {reason}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// RocksDB refuses or the disk failed.
    #[error("ledger: {0}; is another client running on it?")]
    Disk(String),
    /// The ledger of somebody else.
    #[error("this ledger belongs to node {found}, we are {expected}; give the right data directory or phrase")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who we are.
        expected: NodeId,
    },
    /// A row that cannot be read.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// An entry that cannot be posted.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl LedgerError {
    pub(crate) fn damaged(what: impl Into<String>) -> LedgerError {
        LedgerError::Damaged(what.into())
    }
}

impl From<rocksdb::Error> for LedgerError {
    fn from(error: rocksdb::Error) -> Self {
        LedgerError::Disk(error.to_string())
    }
}

/// What the ledger keeps of one provider.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct AccountRows {
    pub deal: DealRecord,
    pub paid: PaidRecord,
    pub meter: MeterRecord,
}

/// A shard that lies at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub len: u64,
    pub start: UnixMs,
}

/// The ledger of one client.
pub(crate) struct Ledger {
    db: DB,
    journal: Mutex<Journal>,
    /// What is not kept of the journal. Taken after it.
    opening: Mutex<Opening>,
    /// Entries kept.
    kept_max: u64,
    /// Something was written since the last sync.
    dirty: AtomicBool,
    /// The last heartbeat before this opening.
    alive_before: UnixMs,
}

impl Ledger {
    /// Opens or makes the ledger of `node` in `path`.
    pub fn open(path: &Path, node: NodeId) -> Result<Ledger, LedgerError> {
        let directory = |error: std::io::Error| LedgerError::Directory { path: path.to_owned(), reason: error.to_string() };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(directory)?;
        let db = DB::open(&options(), path)?;
        let meta = [&[VERSION][..], node.as_bytes()].concat();
        match db.get([META])? {
            None => db.put([META], &meta)?,
            Some(found) if found == meta => {}
            Some(found) => {
                let found = found.get(1..).and_then(NodeId::from_slice).ok_or_else(|| LedgerError::damaged("its owner"))?;
                return Err(LedgerError::OtherNode { found, expected: node });
            }
        }
        let alive_before = match db.get([ALIVE])? {
            Some(value) => UnixMs(Fields::of(&value)?.u64()?),
            None => UnixMs(0),
        };
        let (journal, opening) = (Mutex::new(resume::journal(&db)?), Mutex::new(resume::opening(&db)?));
        Ok(Ledger { db, journal, opening, kept_max: ENTRIES_KEPT_MAX, dirty: AtomicBool::new(false), alive_before })
    }

    pub fn alive_before(&self) -> UnixMs {
        self.alive_before
    }

    /// Writes a group of changes, all or none.
    pub fn write(&self, batch: Batch) -> Result<(), LedgerError> {
        self.dirty.store(true, Ordering::Release);
        Ok(self.db.write(batch.into_rows())?)
    }

    /// Writes a group of changes together with entries of the journal, all or none. One at a time: sums go on from those before.
    pub fn post(&self, mut batch: Batch, entries: Vec<journal::Entry>) -> Result<(), LedgerError> {
        let mut journal = guard(&self.journal);
        let mut next = journal.clone();
        let mut opening = guard(&self.opening);
        let opened = self.roll_up(&opening, &mut next, &mut batch)?;
        for entry in entries {
            let posted = next.post(entry)?;
            batch.put_entry(&posted, &next);
        }
        for (month, more) in batch.take_promised() {
            let promised = self.promised_in(month)?.plus(more).unwrap_or(Amount::MAX);
            batch.put_promised(month, promised);
        }
        self.dirty.store(true, Ordering::Release);
        self.db.write(batch.into_rows())?;
        *journal = next;
        if let Some(opened) = opened {
            *opening = opened;
        }
        Ok(())
    }

    /// Has the oldest entries deleted and their sums kept, when there are too many; before others are posted, so that none of those grows.
    fn roll_up(&self, opening: &Opening, journal: &mut Journal, batch: &mut Batch) -> Result<Option<Opening>, LedgerError> {
        if journal.len().saturating_sub(opening.first()) < self.kept_max + ROLLED_UP_AT_ONCE {
            return Ok(None);
        }
        let mut opened = opening.clone();
        for (number, entry) in self.entries(opened.first(), ROLLED_UP_AT_ONCE as usize)? {
            if opened.take_in(number, &entry)? {
                batch.delete_entry(number);
            }
        }
        journal.settle_before(opened.first());
        batch.put_opening(&opened);
        Ok(Some(opened))
    }

    /// What an account of the journal holds.
    pub fn balance(&self, account: journal::Account) -> Amount {
        guard(&self.journal).balance(account)
    }

    /// What ever went into and out of an account of the journal.
    pub fn turnover(&self, account: journal::Account) -> Turnover {
        guard(&self.journal).turnover(account)
    }

    /// What is not kept of the journal any more.
    pub fn opening(&self) -> Opening {
        guard(&self.opening).clone()
    }

    /// All accounts of the journal.
    pub fn turnovers(&self) -> Vec<(journal::Account, Turnover)> {
        guard(&self.journal).accounts().collect()
    }

    pub fn is_conserved(&self) -> Option<bool> {
        guard(&self.journal).is_conserved()
    }

    /// Whether something was written since the last sync.
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Makes everything so far survive a power cut. Blocks on the disk.
    pub fn sync(&self) -> Result<(), LedgerError> {
        self.dirty.store(false, Ordering::Release);
        let synced = self.db.flush_wal(true);
        self.dirty.fetch_or(synced.is_err(), Ordering::AcqRel);
        Ok(synced?)
    }

    /// Writes a consistent copy into `path`, which must not exist. Blocks on the disk.
    pub fn copy_to(&self, path: &Path) -> Result<(), LedgerError> {
        Ok(rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(path)?)
    }

    /// All providers with their rows.
    pub fn accounts(&self) -> Result<Vec<(NodeId, AccountRows)>, LedgerError> {
        let mut accounts = Vec::new();
        self.scan(&[DEAL], &[DEAL], |key, value| {
            let node = NodeId::from_slice(&key[1..]).ok_or_else(|| LedgerError::damaged("a provider's name"))?;
            let deal = record::decode(value)?;
            accounts.push((node, AccountRows { deal, ..AccountRows::default() }));
            Ok(true)
        })?;
        for (node, rows) in &mut accounts {
            rows.paid = self.record(&key_of_node(PAID, *node))?.unwrap_or_default();
            rows.meter = self.record(&key_of_node(METER, *node))?.unwrap_or_default();
        }
        Ok(accounts)
    }

    fn record<R: Message + Default>(&self, key: &[u8]) -> Result<Option<R>, LedgerError> {
        self.db.get_pinned(key)?.map(|value| record::decode(&value)).transpose()
    }

    /// Shards of a deal that lie at its provider.
    pub fn shards(&self, deal: DealId) -> Result<Vec<Entry>, LedgerError> {
        let prefix = [&[SHARD][..], deal.as_bytes()].concat();
        let mut entries = Vec::new();
        self.scan(&prefix, &prefix, |key, value| {
            let root = root_of(key)?;
            let len = Fields::of(value)?.u64()?;
            entries.push(Entry::new(root, len).ok_or_else(|| LedgerError::damaged("an empty shard"))?);
            Ok(true)
        })?;
        Ok(entries)
    }

    /// One shard of a deal.
    pub fn shard(&self, deal: DealId, root: ShardRoot) -> Result<Option<Held>, LedgerError> {
        let Some(value) = self.db.get_pinned(key_of_shard(SHARD, deal, root))? else { return Ok(None) };
        let mut fields = Fields::of(&value)?;
        Ok(Some(Held { len: fields.u64()?, start: UnixMs(fields.u64()?) }))
    }

    /// Shards that were sent to their end and never receipted: (root, length, when).
    pub fn sent(&self, deal: DealId) -> Result<Vec<(ShardRoot, u64, UnixMs)>, LedgerError> {
        let prefix = [&[SENT][..], deal.as_bytes()].concat();
        let mut sent = Vec::new();
        self.scan(&prefix, &prefix, |key, value| {
            let mut fields = Fields::of(value)?;
            sent.push((root_of(key)?, fields.u64()?, UnixMs(fields.u64()?)));
            Ok(true)
        })?;
        Ok(sent)
    }

    /// Releases whose Delete was not answered: (root, when released).
    pub fn released(&self, deal: DealId) -> Result<Vec<(ShardRoot, UnixMs)>, LedgerError> {
        let prefix = [&[RELEASED][..], deal.as_bytes()].concat();
        let mut released = Vec::new();
        self.scan(&prefix, &prefix, |key, value| {
            released.push((root_of(key)?, UnixMs(Fields::of(value)?.u64()?)));
            Ok(true)
        })?;
        Ok(released)
    }

    /// Audits from `from` on, oldest first, until `each` says false.
    pub fn audits(&self, from: UnixMs, mut each: impl FnMut(AuditRecord) -> bool) -> Result<(), LedgerError> {
        let start = [&[AUDIT][..], &from.0.to_be_bytes()].concat();
        self.scan(&[AUDIT], &start, |_, value| Ok(each(record::decode(value)?)))
    }

    /// Disputes that were brought to court, oldest first.
    pub fn disputes(&self) -> Result<Vec<DisputeRow>, LedgerError> {
        let mut rows = Vec::new();
        self.scan(&[DISPUTE], &[DISPUTE], |_, value| {
            rows.push(record::decode(value)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// After which silence of its client a delegate acts, as it was told last.
    pub fn silence(&self) -> Result<Option<std::time::Duration>, LedgerError> {
        let Some(value) = self.db.get_pinned([SILENCE])? else { return Ok(None) };
        Ok(Some(std::time::Duration::from_millis(Fields::of(&value)?.u64()?)))
    }

    /// Who may act while this client is silent.
    pub fn grants(&self) -> Result<Vec<(NodeId, GrantRecord)>, LedgerError> {
        let mut grants = Vec::new();
        self.scan(&[GRANT], &[GRANT], |key, value| {
            let node = NodeId::from_slice(&key[1..]).ok_or_else(|| LedgerError::damaged("a delegate's name"))?;
            grants.push((node, record::decode(value)?));
            Ok(true)
        })?;
        Ok(grants)
    }

    /// Forgets audits that are old enough; at most `max` of each kind in one go.
    pub fn forget_audits(&self, now: UnixMs, max: usize) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        let mut left = max;
        self.audits(UnixMs(0), |audit| {
            let kept_ms = if audit.grade == 1 { PASSED_KEPT_MS } else { FAILED_KEPT_MS };
            if now.since_ms(UnixMs(audit.at_ms)) > kept_ms {
                batch.delete_audit(&audit);
                left -= 1;
            }
            left > 0 && now.since_ms(UnixMs(audit.at_ms)) > PASSED_KEPT_MS
        })?;
        self.write(batch)
    }

    /// Entries of the journal from number `from` on, at most `max`.
    pub fn entries(&self, from: u64, max: usize) -> Result<Vec<(u64, journal::Entry)>, LedgerError> {
        let start = [&[ENTRY][..], &from.to_be_bytes()].concat();
        let mut entries = Vec::new();
        self.scan(&[ENTRY], &start, |key, value| {
            if entries.len() >= max {
                return Ok(false);
            }
            let number = key[1..].try_into().map(u64::from_be_bytes).map_err(|_| LedgerError::damaged("an entry's number"))?;
            entries.push((number, record::decode::<JournalRecord>(value)?.entry()?));
            Ok(true)
        })?;
        Ok(entries)
    }

    /// When the budget was last charged, and with how much in that month.
    pub fn budget(&self) -> Result<Option<(UnixMs, Amount)>, LedgerError> {
        let Some(value) = self.db.get_pinned([BUDGET])? else { return Ok(None) };
        let mut fields = Fields::of(&value)?;
        Ok(Some((UnixMs(fields.u64()?), fields.amount()?)))
    }

    /// What was promised in each month (of 30 days since 1970), oldest first.
    pub fn promised_by_month(&self) -> Result<Vec<(u64, Amount)>, LedgerError> {
        let mut months = Vec::new();
        self.scan(&[PROMISED], &[PROMISED], |key, value| {
            let month = key[1..].try_into().map(u64::from_be_bytes).map_err(|_| LedgerError::damaged("a month"))?;
            months.push((month, Fields::of(value)?.amount()?));
            Ok(true)
        })?;
        Ok(months)
    }

    fn promised_in(&self, month: u64) -> Result<Amount, LedgerError> {
        match self.db.get_pinned(key_of_month(month))? {
            Some(value) => Fields::of(&value)?.amount(),
            None => Ok(Amount::ZERO),
        }
    }

    /// Calls `each` for the rows under `prefix` from `from` on, until it says false.
    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, LedgerError>,
    ) -> Result<(), LedgerError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        for row in self.db.iterator_opt(IteratorMode::From(from, Direction::Forward), options) {
            let (key, value) = row?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.sync() {
            tracing::error!(%error, "the ledger was not synced");
        }
        self.db.cancel_all_background_work(true);
    }
}

fn options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_LEN));
    table.set_cache_index_and_filter_blocks(true);
    table.set_bloom_filter(10.0, false);
    table.set_format_version(5);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(WRITE_BUFFER_LEN);
    options.set_max_write_buffer_number(2);
    options.set_max_total_wal_size(WAL_LEN_MAX);
    options.set_max_open_files(64);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    // A torn last record is one that the provider's account gives back; damage anywhere else must not be skipped silently.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of_node(kind: u8, node: NodeId) -> Vec<u8> {
    [&[kind][..], node.as_bytes()].concat()
}

fn key_of_shard(kind: u8, deal: DealId, root: ShardRoot) -> Vec<u8> {
    [&[kind][..], deal.as_bytes(), root.as_bytes()].concat()
}

fn key_of_month(month: u64) -> Vec<u8> {
    [&[PROMISED][..], &month.to_be_bytes()].concat()
}

fn root_of(key: &[u8]) -> Result<ShardRoot, LedgerError> {
    key.get(33..).and_then(ShardRoot::from_slice).ok_or_else(|| LedgerError::damaged("a shard's name"))
}

/// Fields of a row of fixed width, after its version.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(value: &'a [u8]) -> Result<Fields<'a>, LedgerError> {
        match value.split_first() {
            Some((&VERSION, rest)) => Ok(Fields(rest)),
            _ => Err(LedgerError::damaged("a row of an unknown version")),
        }
    }

    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], LedgerError> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(|| LedgerError::damaged("a row that is too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, LedgerError> {
        self.take().map(u64::from_be_bytes)
    }

    fn amount(&mut self) -> Result<Amount, LedgerError> {
        self.take().map(|bytes| Amount::from_base_units(u128::from_be_bytes(bytes)))
    }
}
