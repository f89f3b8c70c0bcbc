//! Journal: all that the embedded chain knows, in RocksDB: state, what it was before each block, code, blocks with receipts.
//!
//! A block is one part of one synced batch with everything that follows from it, so that a crash leaves whole blocks only.
//! Never: an unsynced block that was answered, a state row that its fingerprint does not count. Limits: one process (RocksDB's lock).
//! Layout: `docs/formats/chain.md`.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, Bytes, U256};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, ReadOptions, Snapshot,
    WriteBatch, WriteOptions,
};

use super::block::{Block, BlockError};
use super::fingerprint::Fingerprint;

/// Version of the layout.
const FORMAT: u8 = 1;
const FORMAT_ROW: &[u8] = b"format";
const HEAD_ROW: &[u8] = b"head";
const FINGERPRINT_ROW: &[u8] = b"fingerprint";
const CLOCK_ROW: &[u8] = b"clock";
const BLOCK_CACHE_LEN: usize = 16 << 20;
const WRITE_BUFFERS_LEN: usize = 24 << 20;
const WAL_LEN_MAX: u64 = 64 << 20;
const ACCOUNT_TAG: u8 = 0x00;
const SLOT_TAG: u8 = 0x01;
const ABSENT: u8 = 0x00;
const PRESENT: u8 = 0x01;

/// Column families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Format, head, fingerprint, test clock.
    Meta,
    /// Row → value, as of the head.
    State,
    /// Row ‖ block number → what the row was before that block.
    History,
    /// Code hash → code.
    Code,
    /// Number → block.
    Blocks,
    /// Block hash → number.
    Numbers,
    /// Transaction hash → number.
    Txs,
}

impl Table {
    const ALL: [Table; 7] = [Table::Meta, Table::State, Table::History, Table::Code, Table::Blocks, Table::Numbers, Table::Txs];

    fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::State => "state",
            Table::History => "history",
            Table::Code => "code",
            Table::Blocks => "blocks",
            Table::Numbers => "numbers",
            Table::Txs => "txs",
        }
    }
}

/// Why a journal cannot be opened.
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
    #[error("cannot open the chain in {path}: {reason}; does another process serve it?")]
    Database {
        /// Which.
        path: PathBuf,
        /// What RocksDB said.
        reason: String,
    },
    /// The journal of another chain.
    #[error("the chain in {path} has id {found}, this is {expected}; give the right directory or chain id")]
    OtherChain {
        /// Which.
        path: PathBuf,
        /// What is there.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// Written by a later version, or not readable.
    #[error("the chain in {path} cannot be read: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The contracts could not be put on the chain.
    #[error("genesis: {0}")]
    Genesis(String),
}

/// What went wrong inside an open journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// RocksDB or the disk below it.
    #[error("journal: {0}")]
    Disk(String),
    /// A record that cannot be read.
    #[error("journal, table {table}: {reason}")]
    Damaged {
        /// In which table.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl revm::database_interface::DBErrorMarker for JournalError {}

fn disk(error: rocksdb::Error) -> JournalError {
    JournalError::Disk(error.to_string())
}

fn damaged(table: Table, reason: impl ToString) -> JournalError {
    JournalError::Damaged { table: table.name(), reason: reason.to_string() }
}

/// Row of an account.
pub(super) fn account_row(address: &Address) -> Vec<u8> {
    [&[ACCOUNT_TAG], address.as_slice()].concat()
}

/// Row of a storage slot.
pub(super) fn slot_row(address: &Address, slot: &U256) -> Vec<u8> {
    [&[SLOT_TAG], address.as_slice(), &slot.to_be_bytes::<32>()].concat()
}

/// An open journal.
pub(super) struct Journal {
    db: DB,
}

impl Journal {
    /// Opens or makes the journal of chain `chain_id` under `path`. Blocks on the disk.
    pub(super) fn open(path: &Path, chain_id: u64) -> Result<Journal, OpenError> {
        make_private(path)?;
        let journal = Journal { db: open_db(path)? };
        let wrong = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
        match journal.db.get_cf(journal.family(Table::Meta), FORMAT_ROW).map_err(|error| wrong(error.to_string()))? {
            None => {
                let mut batch = WriteBatch::default();
                let row = [&[FORMAT], chain_id.to_be_bytes().as_slice()].concat();
                batch.put_cf(journal.family(Table::Meta), FORMAT_ROW, row);
                journal.write_synced(batch).map_err(|error| wrong(error.to_string()))?;
            }
            Some(row) if row.len() == 9 && row[0] == FORMAT => {
                let found = u64::from_be_bytes(row[1..].try_into().expect("eight bytes follow the version"));
                if found != chain_id {
                    return Err(OpenError::OtherChain { path: path.to_owned(), found, expected: chain_id });
                }
            }
            Some(row) => return Err(wrong(format!("format row {row:02x?} is not of this version"))),
        }
        Ok(journal)
    }

    pub(super) fn family(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table is opened with the database")
    }

    /// Writes `batch` and waits for the disk.
    pub(super) fn write_synced(&self, batch: WriteBatch) -> Result<(), JournalError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(disk)
    }

    /// A view of one moment, for many reads that belong together.
    pub(super) fn view(&self) -> View<'_> {
        View { journal: self, snapshot: self.db.snapshot() }
    }

    pub(super) fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        self.db.get_cf(self.family(table), row).map_err(disk)
    }

    /// The sum over all state rows as the last block left it.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, JournalError> {
        match self.get(Table::Meta, FINGERPRINT_ROW)? {
            None => Ok(Fingerprint::default()),
            Some(bytes) => Fingerprint::from_bytes(&bytes).ok_or_else(|| damaged(Table::Meta, "fingerprint has a wrong length")),
        }
    }

    /// Counts the fingerprint anew from every row. Reads the whole state.
    pub(super) fn recount(&self) -> Result<Fingerprint, JournalError> {
        let mut fingerprint = Fingerprint::default();
        for row in self.db.iterator_cf(self.family(Table::State), IteratorMode::Start) {
            let (row, value) = row.map_err(disk)?;
            fingerprint.add(&row, &value);
        }
        Ok(fingerprint)
    }

    /// Seconds by which the test clock runs ahead.
    pub(super) fn clock_ahead_s(&self) -> Result<u64, JournalError> {
        match self.get(Table::Meta, CLOCK_ROW)? {
            None => Ok(0),
            Some(bytes) => bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged(Table::Meta, "clock has a wrong length")),
        }
    }

    /// Stages the test clock.
    pub(super) fn put_clock_ahead_s(&self, batch: &mut WriteBatch, ahead_s: u64) {
        batch.put_cf(self.family(Table::Meta), CLOCK_ROW, ahead_s.to_be_bytes());
    }

    /// Stages a state row and what it was before block `number`.
    pub(super) fn put_row(&self, batch: &mut WriteBatch, number: u64, row: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        let history = [row, &number.to_be_bytes()].concat();
        let old = before.map_or_else(|| vec![ABSENT], |value| [&[PRESENT], value].concat());
        batch.put_cf(self.family(Table::History), history, old);
        match after {
            Some(value) => batch.put_cf(self.family(Table::State), row, value),
            None => batch.delete_cf(self.family(Table::State), row),
        }
    }

    /// Stages code.
    pub(super) fn put_code(&self, batch: &mut WriteBatch, hash: &B256, code: &[u8]) {
        batch.put_cf(self.family(Table::Code), hash, code);
    }

    /// Stages a block as the new head.
    pub(super) fn put_block(&self, batch: &mut WriteBatch, block: &Block, fingerprint: &Fingerprint) {
        let number = block.header.number.to_be_bytes();
        batch.put_cf(self.family(Table::Blocks), number, block.encode());
        batch.put_cf(self.family(Table::Numbers), block.hash, number);
        if let Some(tx) = &block.tx {
            batch.put_cf(self.family(Table::Txs), tx.envelope.tx_hash(), number);
        }
        batch.put_cf(self.family(Table::Meta), HEAD_ROW, number);
        batch.put_cf(self.family(Table::Meta), FINGERPRINT_ROW, fingerprint.to_bytes());
    }
}

/// The journal at one moment.
pub(super) struct View<'a> {
    journal: &'a Journal,
    snapshot: Snapshot<'a>,
}

impl View<'_> {
    fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        self.snapshot.get_cf(self.journal.family(table), row).map_err(disk)
    }

    fn number(&self, table: Table, row: &[u8]) -> Result<Option<u64>, JournalError> {
        match self.get(table, row)? {
            None => Ok(None),
            Some(bytes) => {
                bytes.try_into().map(|bytes| Some(u64::from_be_bytes(bytes))).map_err(|_| damaged(table, "not a number"))
            }
        }
    }

    /// Number of the newest block; none before genesis.
    pub(super) fn head_number(&self) -> Result<Option<u64>, JournalError> {
        self.number(Table::Meta, HEAD_ROW)
    }

    /// A block by its number.
    pub(super) fn block(&self, number: u64) -> Result<Option<Block>, JournalError> {
        let bytes = self.get(Table::Blocks, &number.to_be_bytes())?;
        bytes.map(|bytes| Block::decode(&bytes).map_err(|error: BlockError| damaged(Table::Blocks, error))).transpose()
    }

    /// The newest block; none before genesis.
    pub(super) fn head(&self) -> Result<Option<Block>, JournalError> {
        match self.head_number()? {
            None => Ok(None),
            Some(number) => self.block(number)?.map(Some).ok_or_else(|| damaged(Table::Blocks, "the head is missing")),
        }
    }

    /// Which block has this hash.
    pub(super) fn number_of_block(&self, hash: &B256) -> Result<Option<u64>, JournalError> {
        self.number(Table::Numbers, hash.as_slice())
    }

    /// Which block has this transaction.
    pub(super) fn number_of_tx(&self, hash: &B256) -> Result<Option<u64>, JournalError> {
        self.number(Table::Txs, hash.as_slice())
    }

    /// A state row as it was when block `number` was the head.
    pub(super) fn row_at(&self, row: &[u8], number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let from = [row, &number.saturating_add(1).to_be_bytes()].concat();
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(false);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut later = self.snapshot.iterator_cf_opt(self.journal.family(Table::History), options, mode);
        if let Some(entry) = later.next() {
            let (key, old) = entry.map_err(disk)?;
            if key.len() == row.len() + 8 && key.starts_with(row) {
                return match old.split_first() {
                    Some((&ABSENT, [])) => Ok(None),
                    Some((&PRESENT, value)) => Ok(Some(value.to_vec())),
                    _ => Err(damaged(Table::History, "neither absent nor present")),
                };
            }
        }
        self.get(Table::State, row)
    }

    /// Code by its hash.
    pub(super) fn code(&self, hash: &B256) -> Result<Option<Bytes>, JournalError> {
        Ok(self.get(Table::Code, hash.as_slice())?.map(Bytes::from))
    }
}

fn make_private(path: &Path) -> Result<(), OpenError> {
    let wrong = |error: std::io::Error| OpenError::Directory { path: path.to_owned(), reason: error.to_string() };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(wrong)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(wrong)
}

fn open_db(path: &Path) -> Result<DB, OpenError> {
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
        options.set_block_based_table_factory(&blocks);
        ColumnFamilyDescriptor::new(table.name(), options)
    });
    DB::open_cf_descriptors(&options, path, families)
        .map_err(|error| OpenError::Database { path: path.to_owned(), reason: error.to_string() })
}
