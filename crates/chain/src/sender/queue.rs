//! Queue: the commands on disk. Everybody may submit; only the sender moves them on.
//!
//! Never: a change outside one synced batch, or two commands with one id. Limits: [`OPEN_MAX`] commands that are not done.

use std::sync::{Arc, Mutex};

use alloy_primitives::B256;
use rocksdb::WriteBatch;

use super::SendError;
use super::command::{Command, CommandId, CommandRow, CommandState, DONE_WHEN_MAX, INPUT_LEN_MAX, RowError};
use super::core::Mined;
use crate::endpoint::{Endpoint, EndpointError};
use crate::store::{Store, StoreError, Table};

/// Commands that are not done.
pub const OPEN_MAX: usize = 1024;
/// Transactions that are kept after they were mined, newest first.
pub const KEPT_MAX: u64 = 1024;
const SEQ_ROW: &[u8] = b"command";
const NONCE_ROW: &[u8] = b"nonce";
const PLACE_ROW: &[u8] = b"place";

impl From<RowError> for SendError {
    fn from(error: RowError) -> Self {
        SendError::Store(StoreError::Damaged { table: "commands", reason: error.to_string() })
    }
}

/// The way to the queue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    store: Arc<Store>,
    /// Held while rows are read and written again; never across an await.
    turn: Arc<Mutex<()>>,
}

/// The queue at one moment.
#[derive(Debug, Clone)]
pub(super) struct Book {
    /// All nonces below are accounted for.
    pub(super) next_nonce: u64,
    /// A block at which the wallet's nonce was not above `next_nonce`.
    pub(super) place: u64,
    /// Commands that are not done, in order.
    pub(super) open: Vec<CommandRow>,
}

impl Queue {
    pub(crate) fn new(store: Arc<Store>) -> Queue {
        Queue { store, turn: Arc::default() }
    }

    /// Puts a command at the end, or says how far the one with this id is. One that failed is planned again.
    pub(crate) async fn submit(&self, command: Command) -> Result<CommandState, SendError> {
        if command.input.len() > INPUT_LEN_MAX || command.done_when.len() > DONE_WHEN_MAX {
            return Err(SendError::TooLarge { len: command.input.len(), len_max: INPUT_LEN_MAX });
        }
        self.change(move |store, batch| {
            let known: Option<CommandRow> = store.record(Table::Commands, &command.id.0)?;
            if let Some(row) = known.filter(|row| !row.failed()) {
                return Ok(row.state()?);
            }
            let open = store.scan_raw(Table::Open).take(OPEN_MAX).count();
            if open >= OPEN_MAX {
                return Err(SendError::Full(OPEN_MAX));
            }
            let seq = store.number(SEQ_ROW)?.unwrap_or_default() + 1;
            let row = CommandRow::planned(seq, &command);
            store.put_number(batch, SEQ_ROW, seq);
            store.put_raw(batch, Table::Open, &seq.to_be_bytes(), &command.id.0);
            store.put(batch, Table::Commands, &command.id.0, &row);
            Ok(row.state()?)
        })
        .await
    }

    /// How far a command is; none if it was never submitted and the chain has not shown it.
    pub(crate) async fn state(&self, id: CommandId) -> Result<Option<CommandState>, SendError> {
        let row = self.read(move |store| Ok(store.record::<CommandRow>(Table::Commands, &id.0)?)).await?;
        Ok(row.map(|row| row.state()).transpose()?)
    }

    /// Makes sure that the node serves the chain that this ledger is of.
    pub(super) async fn check_chain(&self, endpoint: &Endpoint) -> Result<(), SendError> {
        endpoint.check_chain().await?;
        let found = endpoint.genesis().await?;
        let expected = self.read(move |store| Ok(store.genesis(found.0)?)).await?.into();
        if expected == found { Ok(()) } else { Err(EndpointError::OtherGenesis { expected, found }.into()) }
    }

    pub(super) async fn book(&self) -> Result<Book, SendError> {
        self.read(|store| {
            let mut open = Vec::new();
            for row in store.scan_raw(Table::Open).take(OPEN_MAX) {
                let (_, id) = row?;
                let row: Option<CommandRow> = store.record(Table::Commands, &id)?;
                open.push(row.ok_or(RowError("row"))?);
            }
            let next_nonce = store.number(NONCE_ROW)?.unwrap_or_default();
            Ok(Book { next_nonce, place: store.number(PLACE_ROW)?.unwrap_or_default(), open })
        })
        .await
    }

    /// Writes a command back.
    pub(super) async fn put(&self, row: CommandRow) -> Result<(), SendError> {
        self.change(move |store, batch| put(store, batch, &row)).await
    }

    /// Puts a command that nobody submitted, signed, at the end.
    pub(super) async fn put_new(
        &self,
        sign: impl FnOnce(u64) -> Result<CommandRow, SendError> + Send + 'static,
    ) -> Result<(), SendError> {
        self.change(move |store, batch| {
            let seq = store.number(SEQ_ROW)?.unwrap_or_default() + 1;
            let row = sign(seq)?;
            store.put_number(batch, SEQ_ROW, seq);
            store.put_raw(batch, Table::Open, &seq.to_be_bytes(), &row.id);
            put(store, batch, &row)
        })
        .await
    }

    /// Accounts for `nonce`: `found` is the transaction that used it, `id` the command in its tail.
    pub(super) async fn account(&self, nonce: u64, found: Mined, id: Option<CommandId>) -> Result<(), SendError> {
        self.change(move |store, batch| {
            for row in store.scan_raw(Table::Open).take(OPEN_MAX) {
                let (_, open) = row?;
                let row: Option<CommandRow> = store.record(Table::Commands, &open)?;
                let mut row = row.ok_or(RowError("row"))?;
                if row.state == super::command::SIGNED && row.nonce == nonce && id != Some(row.id()?) {
                    tracing::warn!(nonce, command = %row.id()?, "something else used the nonce of this command; it is signed again");
                    row.unsign();
                    put(store, batch, &row)?;
                }
            }
            if let Some(id) = id {
                let known: Option<CommandRow> = store.record(Table::Commands, &id.0)?;
                let mut row = known.unwrap_or_else(|| CommandRow::unknown(&id));
                row.finish(&found);
                put(store, batch, &row)?;
                if row.is_kept() {
                    store.put_raw(batch, Table::Used, &nonce.to_be_bytes(), &id.0);
                }
            }
            drop_kept(store, batch, nonce)?;
            store.put_number(batch, NONCE_ROW, nonce + 1);
            store.put_number(batch, PLACE_ROW, found.number);
            Ok(())
        })
        .await
    }

    /// Opens again what used the nonces from `found` up to `known`, which the chain has taken back. False if not all of it is kept.
    pub(super) async fn reopen(&self, found: u64, known: u64) -> Result<bool, SendError> {
        self.change(move |store, batch| {
            for nonce in found..known {
                let id = store.get(Table::Used, &nonce.to_be_bytes())?;
                let row = id.map(|id| store.record::<CommandRow>(Table::Commands, &id)).transpose()?.flatten();
                let Some(mut row) = row.filter(|row| row.is_kept() && row.nonce == nonce) else {
                    *batch = WriteBatch::default();
                    return Ok(false);
                };
                row.reopen();
                store.put_raw(batch, Table::Open, &row.seq.to_be_bytes(), &row.id);
                put(store, batch, &row)?;
            }
            store.put_number(batch, NONCE_ROW, found);
            store.put_number(batch, PLACE_ROW, 0);
            Ok(true)
        })
        .await
    }

    /// Takes the chain's word for the next nonce, although more was confirmed before.
    pub(super) async fn adopt(&self, next_nonce: u64) -> Result<(), SendError> {
        self.change(move |store, batch| {
            store.put_number(batch, NONCE_ROW, next_nonce);
            store.put_number(batch, PLACE_ROW, 0);
            Ok(())
        })
        .await
    }

    async fn read<T, F>(&self, read: F) -> Result<T, SendError>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> Result<T, SendError> + Send + 'static,
    {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || read(&store)).await.map_err(|_| SendError::Stopping)?
    }

    async fn change<T, F>(&self, stage: F) -> Result<T, SendError>
    where
        T: Send + 'static,
        F: FnOnce(&Store, &mut WriteBatch) -> Result<T, SendError> + Send + 'static,
    {
        let (store, turn) = (self.store.clone(), self.turn.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn.lock().expect("no holder of this lock panics");
            let mut batch = WriteBatch::default();
            let outcome = stage(&store, &mut batch)?;
            if !batch.is_empty() {
                store.write(batch)?;
            }
            Ok(outcome)
        });
        done.await.map_err(|_| SendError::Stopping)?
    }
}

fn put(store: &Store, batch: &mut WriteBatch, row: &CommandRow) -> Result<(), SendError> {
    store.put(batch, Table::Commands, &row.id, row);
    if row.is_final() && row.seq > 0 {
        store.delete(batch, Table::Open, &row.seq.to_be_bytes());
    }
    Ok(())
}

/// Lets go of the transaction that is too old to be taken back.
fn drop_kept(store: &Store, batch: &mut WriteBatch, nonce: u64) -> Result<(), SendError> {
    let Some(old) = nonce.checked_sub(KEPT_MAX) else { return Ok(()) };
    let Some(id) = store.get(Table::Used, &old.to_be_bytes())? else { return Ok(()) };
    store.delete(batch, Table::Used, &old.to_be_bytes());
    if let Some(mut row) = store.record::<CommandRow>(Table::Commands, &id)?.filter(|row| row.is_final() && row.nonce == old) {
        row.attempts.clear();
        put(store, batch, &row)?;
    }
    Ok(())
}

/// Where the node has seen one of a command's attempts.
pub(super) fn hashes(row: &CommandRow) -> Result<Vec<B256>, SendError> {
    row.attempts.iter().rev().map(|attempt| attempt.hash().map_err(SendError::from)).collect()
}
