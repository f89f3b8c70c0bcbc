//! Catalog: which bytes of which blobs every key of every bucket is, in RocksDB under `<dir>/catalog`.
//!
//! Readers see the last synced batch; all changes go through one thread ([`committer`]).
//! Never: an unsynced change that was answered. Limits: [`record::RECORD_LEN_MAX`], [`committer`]'s batch.

mod committer;
mod control_record;
mod meta_record;
pub mod record;
pub mod table;
#[cfg(test)]
mod tests;
mod txn;

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_types::NodeId;
use prost::Message;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamily, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use table::{BucketId, Table, UploadId};
pub use txn::{RowValue, Txn};

use crate::objects::error::ObjectError;
use committer::{Change, Published, Typed};
use record::{Counters, RecordError, StateRecord};

const STATE_ROW: &[u8] = b"state";
const COUNTERS_ROW: &[u8] = b"counters";
/// Threads that read the catalog for async callers at once.
const READS_IN_FLIGHT_MAX: usize = 32;
const BLOCK_CACHE_LEN: usize = 32 << 20;
const WRITE_BUFFER_LEN: usize = 4 << 20;
/// Of all tables together.
const WRITE_BUFFERS_LEN: usize = 24 << 20;
const WAL_LEN_MAX: u64 = 64 << 20;

/// Why a catalog cannot be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or is not ours alone.
    #[error("cannot use {path}: {reason}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// RocksDB refuses; often because another process has it open.
    #[error("cannot open the catalog in {path}: {reason}; is another gateway running on it?")]
    Database {
        /// Which.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
    /// The catalog of somebody else.
    #[error("the catalog in {path} belongs to node {found}, this is {expected}; give the right data directory or phrase")]
    OtherNode {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: NodeId,
    },
    /// A record that must be readable is not.
    #[error("the catalog in {path} cannot be read: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// What went wrong inside an open catalog.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// RocksDB or the disk below it.
    #[error("catalog: {0}")]
    Disk(String),
    /// A record that cannot be read.
    #[error("catalog, table {table}: {reason}")]
    Damaged {
        /// In which table.
        table: &'static str,
        /// What is wrong.
        reason: RecordError,
    },
}

impl CatalogError {
    /// A record of `table` that cannot be read.
    pub fn damaged(table: Table, reason: RecordError) -> CatalogError {
        CatalogError::Damaged { table: table.name(), reason }
    }
}

impl From<CatalogError> for ObjectError {
    fn from(error: CatalogError) -> Self {
        ObjectError::Internal(error.to_string())
    }
}

impl From<RecordError> for ObjectError {
    fn from(error: RecordError) -> Self {
        ObjectError::Internal(error.to_string())
    }
}

/// How the committer fared since the catalog was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Batches, one disk sync each.
    pub commits: u64,
    /// Changes in them.
    pub changes: u64,
}

/// One row of a scan.
pub type Row = (Box<[u8]>, Box<[u8]>);

/// The database, for reading.
pub struct Db {
    db: DB,
}

impl Db {
    /// The value of a row.
    ///
    /// # Errors
    /// [`CatalogError::Disk`].
    pub fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        self.db.get_cf(self.family(table), row).map_err(disk)
    }

    /// The record of a row.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn record<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, CatalogError> {
        match self.db.get_pinned_cf(self.family(table), row).map_err(disk)? {
            Some(value) => Ok(Some(record::decode(&value).map_err(|error| CatalogError::damaged(table, error))?)),
            None => Ok(None),
        }
    }

    /// Rows from `from` on (inclusive) that begin with `prefix`, ascending, of one moment's state.
    pub fn scan<'a>(
        &'a self,
        table: Table,
        from: Vec<u8>,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = Result<Row, CatalogError>> + 'a {
        self.db
            .iterator_cf(self.family(table), IteratorMode::From(&from, Direction::Forward))
            .map(|row| row.map_err(disk))
            .take_while(move |row| row.as_ref().map_or(true, |(row, _)| row.starts_with(prefix)))
    }

    /// A cursor over a table, of one moment's state; for callers that skip.
    pub fn cursor(&self, table: Table) -> rocksdb::DBRawIterator<'_> {
        self.db.raw_iterator_cf(self.family(table))
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table is opened with the database")
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), CatalogError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(disk)
    }
}

fn disk(error: rocksdb::Error) -> CatalogError {
    CatalogError::Disk(error.to_string())
}

/// An open catalog. Cheap to clone; it is closed when the last clone is dropped, which waits for the changes still in its queue.
#[derive(Clone)]
pub struct Catalog {
    db: Arc<Db>,
    committer: Arc<CommitterHandle>,
    published: Arc<Mutex<Published>>,
    readers: Arc<Semaphore>,
    path: Arc<Path>,
    node: NodeId,
    writer_epoch: u64,
    born_epoch: u64,
}

/// The way to the committer thread. The last holder waits for the thread's end: a process that left it behind while exiting would
/// pull RocksDB's globals from under it.
struct CommitterHandle {
    queue: Option<mpsc::Sender<Box<dyn Change>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for CommitterHandle {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join(); // its panic was reported where it happened
        }
    }
}

impl Catalog {
    /// Opens or makes the catalog of `node` under `<dir>/catalog` and counts this opening. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: &Path, node: NodeId) -> Result<Catalog, OpenError> {
        // The clock makes the epochs of a catalog that begins anew greater than those of the one before it, which nobody knows any more. In
        // milliseconds, because a catalog that is opened often must not overtake it.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or_default();
        Catalog::open_as(dir, node, StateRecord { writer_epoch: now, born_epoch: now + 1, ..StateRecord::default() })
    }

    /// As [`Self::open`]; a catalog that is new here takes the place of an earlier one whose last epoch was `after`, and will know all of it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_after(dir: &Path, node: NodeId, after: u64) -> Result<Catalog, OpenError> {
        Catalog::open_as(dir, node, StateRecord { writer_epoch: after, born_epoch: 0, ..StateRecord::default() })
    }

    fn open_as(dir: &Path, node: NodeId, fresh: StateRecord) -> Result<Catalog, OpenError> {
        let path = dir.join("catalog");
        make_private(&path)?;
        let db = open_db(&path)?;
        let (StateRecord { writer_epoch, born_epoch, .. }, counters) = begin_epoch(&db, &path, node, fresh)?;
        let db = Arc::new(db);
        let published = Arc::new(Mutex::new(Published { counters, stats: CommitStats::default() }));
        let (queue, changes) = mpsc::channel(committer::QUEUE_MAX);
        let (thread_db, thread_published) = (db.clone(), published.clone());
        let thread = std::thread::Builder::new()
            .name("catalog".into())
            .spawn(move || committer::run(thread_db, changes, thread_published))
            .map_err(|error| OpenError::Directory { path: path.clone(), reason: error.to_string() })?;
        let readers = Arc::new(Semaphore::new(READS_IN_FLIGHT_MAX));
        let committer = Arc::new(CommitterHandle { queue: Some(queue), thread: Some(thread) });
        Ok(Catalog { db, committer, published, readers, path: path.into(), node, writer_epoch, born_epoch })
    }

    /// Grows with each opening of this catalog, this one included.
    pub fn writer_epoch(&self) -> u64 {
        self.writer_epoch
    }

    /// The first epoch that this catalog knows of.
    pub fn born_epoch(&self) -> u64 {
        self.born_epoch
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose catalog this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The database, for callers that may block.
    pub fn db(&self) -> &Arc<Db> {
        &self.db
    }

    /// Counters as of the last batch.
    pub fn counters(&self) -> Counters {
        self.published.lock().expect("no holder of this lock panics").counters.clone()
    }

    /// How the committer fared.
    pub fn commit_stats(&self) -> CommitStats {
        self.published.lock().expect("no holder of this lock panics").stats
    }

    /// Runs `read` on a thread that may block, behind a permit.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&Db) -> Result<T, ObjectError> + Send + 'static,
    {
        let permit = self.readers.clone().acquire_owned().await.map_err(|_| ObjectError::Stopping)?;
        let db = self.db.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&db)
        });
        outcome.await.map_err(|error| ObjectError::Internal(format!("reading the catalog: {error}")))?
    }

    /// Applies `change` after all changes before it and answers when it is on disk. All or nothing; once this was polled, it
    /// happens even if the caller goes away.
    ///
    /// # Errors
    /// Those of `change`, or the disk's.
    pub async fn change<T, F>(&self, change: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T, ObjectError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change = Box::new(Typed { change: Some(change), outcome: None, reply });
        let queue = self.committer.queue.as_ref().ok_or(ObjectError::Stopping)?;
        queue.send(change).await.map_err(|_| ObjectError::Stopping)?;
        answer.await.map_err(|_| ObjectError::Stopping)?
    }
}

fn make_private(path: &Path) -> Result<(), OpenError> {
    let wrong = |error: std::io::Error| OpenError::Directory { path: path.to_owned(), reason: error.to_string() };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(wrong)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(wrong)
}

fn open_db(path: &Path) -> Result<Db, OpenError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(256);
    options.set_max_total_wal_size(WAL_LEN_MAX);
    options.set_db_write_buffer_size(WRITE_BUFFERS_LEN);
    options.set_keep_log_file_num(2);
    let cache = Cache::new_lru_cache(BLOCK_CACHE_LEN);
    let families = Table::ALL.map(|table| {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.set_write_buffer_size(WRITE_BUFFER_LEN);
        options.set_block_based_table_factory(&blocks);
        rocksdb::ColumnFamilyDescriptor::new(table.name(), options)
    });
    DB::open_cf_descriptors(&options, path, families)
        .map(|db| Db { db })
        .map_err(|error| OpenError::Database { path: path.to_owned(), reason: error.to_string() })
}

fn begin_epoch(db: &Db, path: &Path, node: NodeId, fresh: StateRecord) -> Result<(StateRecord, Counters), OpenError> {
    let damaged = |error: CatalogError| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let mut state = db.record::<StateRecord>(Table::Meta, STATE_ROW).map_err(damaged)?.unwrap_or(fresh);
    if state.node.is_empty() {
        state.node = node.as_bytes().to_vec();
    }
    if state.node != node.as_bytes() {
        let found = NodeId::from_slice(&state.node).map_or_else(|| hex::encode(&state.node), |node| node.to_string());
        return Err(OpenError::OtherNode { path: path.to_owned(), found, expected: node });
    }
    state.writer_epoch += 1;
    let mut batch = WriteBatch::default();
    batch.put_cf(db.family(Table::Meta), STATE_ROW, record::encode(&state));
    db.write_synced(batch).map_err(damaged)?;
    let counters = db.record::<Counters>(Table::Meta, COUNTERS_ROW).map_err(damaged)?.unwrap_or_default();
    Ok((state, counters))
}
