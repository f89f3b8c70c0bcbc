//! Store: the ledger's own rows in RocksDB: how far the chain was followed, what it told, and the commands to it.
//!
//! Never: a change that is not in one synced batch. Limits: one process (RocksDB's lock). Layout: `docs/formats/chain.md`.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use prost::Message;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};

const RECORD_VERSION: u8 = 1;
/// Any row's value.
pub(crate) const RECORD_LEN_MAX: usize = 4 << 20;
const OWNER_ROW: &[u8] = b"owner";
const GENESIS_ROW: &[u8] = b"genesis";

/// Column families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// Whose ledger this is, and single values.
    Meta,
    /// Number → a followed block.
    Blocks,
    /// Number ‖ log index → an event of a block that can still be taken back.
    Events,
    /// Sequence → what readers are told.
    Notices,
    /// Command id → command.
    Commands,
    /// Sequence → id of a command that is not done.
    Open,
    /// Nonce → id of the command that used it, while its transaction is kept.
    Used,
}

impl Table {
    const ALL: [Table; 7] =
        [Table::Meta, Table::Blocks, Table::Events, Table::Notices, Table::Commands, Table::Open, Table::Used];

    fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Blocks => "blocks",
            Table::Events => "events",
            Table::Notices => "notices",
            Table::Commands => "commands",
            Table::Open => "open",
            Table::Used => "used",
        }
    }
}

/// What can go wrong with the ledger's own rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The directory, RocksDB or the disk below it.
    #[error("the ledger's database in {path}: {reason}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A row that cannot be read.
    #[error("the ledger's table {table}: {reason}")]
    Damaged {
        /// In which table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The ledger of another wallet or chain.
    #[error("the ledger in {path} belongs to {found}, this is {expected}")]
    OtherOwner {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: String,
    },
}

/// A row as it lies there: key and value.
pub(crate) type RawRow = (Box<[u8]>, Box<[u8]>);

/// The open database.
pub(crate) struct Store {
    db: DB,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the ledger of `owner` (chain, contracts and wallet, as one line). Blocks on the disk.
    pub(crate) fn open(path: &Path, owner: &str) -> Result<Store, StoreError> {
        let disk = |reason: String| StoreError::Disk { path: path.to_owned(), reason };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| disk(error.to_string()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(|error| disk(error.to_string()))?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(64);
        options.set_db_write_buffer_size(8 << 20);
        options.set_max_total_wal_size(16 << 20);
        options.set_keep_log_file_num(2);
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), Options::default()));
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|error| disk(error.to_string()))?;
        let store = Store { db, path: path.to_owned() };
        match store.get(Table::Meta, OWNER_ROW)? {
            None => {
                let mut batch = WriteBatch::default();
                store.put_raw(&mut batch, Table::Meta, OWNER_ROW, owner.as_bytes());
                store.write(batch)?;
            }
            Some(found) if found == owner.as_bytes() => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(StoreError::OtherOwner { path: path.to_owned(), found, expected: owner.to_owned() });
            }
        }
        Ok(store)
    }

    /// The hash of the chain's block 0 as it was at first; `now` if this is the first time.
    pub(crate) fn genesis(&self, now: [u8; 32]) -> Result<[u8; 32], StoreError> {
        if let Some(known) = self.get(Table::Meta, GENESIS_ROW)? {
            return known.try_into().map_err(|_| StoreError::Damaged { table: "meta", reason: "genesis is not 32 bytes".into() });
        }
        let mut batch = WriteBatch::default();
        self.put_raw(&mut batch, Table::Meta, GENESIS_ROW, &now);
        self.write(batch)?;
        Ok(now)
    }

    fn disk(&self, error: rocksdb::Error) -> StoreError {
        StoreError::Disk { path: self.path.clone(), reason: error.to_string() }
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table is opened with the database")
    }

    pub(crate) fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(table), row).map_err(|error| self.disk(error))
    }

    pub(crate) fn number(&self, row: &[u8]) -> Result<Option<u64>, StoreError> {
        let bytes = self.get(Table::Meta, row)?;
        let wrong = |_| StoreError::Damaged { table: "meta", reason: "not a number".into() };
        bytes.map(|bytes| bytes.try_into().map(u64::from_be_bytes).map_err(wrong)).transpose()
    }

    pub(crate) fn record<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, StoreError> {
        self.get(table, row)?.map(|bytes| decode(table, &bytes)).transpose()
    }

    /// Rows from `from` on, ascending.
    pub(crate) fn scan<R: Message + Default>(
        &self,
        table: Table,
        from: impl AsRef<[u8]>,
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), StoreError>> {
        self.db.iterator_cf(self.family(table), IteratorMode::From(from.as_ref(), Direction::Forward)).map(move |row| {
            let (key, value) = row.map_err(|error| self.disk(error))?;
            Ok((key, decode(table, &value)?))
        })
    }

    /// All rows, ascending, undecoded.
    pub(crate) fn scan_raw(&self, table: Table) -> impl Iterator<Item = Result<RawRow, StoreError>> + '_ {
        self.db.iterator_cf(self.family(table), IteratorMode::Start).map(|row| row.map_err(|error| self.disk(error)))
    }

    pub(crate) fn put(&self, batch: &mut WriteBatch, table: Table, row: &[u8], record: &impl Message) {
        let mut bytes = vec![RECORD_VERSION];
        record.encode(&mut bytes).expect("a Vec grows");
        self.put_raw(batch, table, row, &bytes);
    }

    pub(crate) fn put_raw(&self, batch: &mut WriteBatch, table: Table, row: &[u8], value: &[u8]) {
        batch.put_cf(self.family(table), row, value);
    }

    pub(crate) fn put_number(&self, batch: &mut WriteBatch, row: &[u8], value: u64) {
        self.put_raw(batch, Table::Meta, row, &value.to_be_bytes());
    }

    pub(crate) fn delete(&self, batch: &mut WriteBatch, table: Table, row: &[u8]) {
        batch.delete_cf(self.family(table), row);
    }

    /// Writes and waits for the disk.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|error| self.disk(error))
    }
}

fn decode<R: Message + Default>(table: Table, bytes: &[u8]) -> Result<R, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { table: table.name(), reason };
    if bytes.len() > RECORD_LEN_MAX {
        return Err(damaged(format!("{} bytes", bytes.len())));
    }
    match bytes.split_first() {
        Some((&RECORD_VERSION, body)) => R::decode(body).map_err(|error| damaged(error.to_string())),
        Some((&version, _)) => Err(damaged(format!("record version {version} is unknown"))),
        None => Err(damaged("empty".into())),
    }
}
