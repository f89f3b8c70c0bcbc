//! One change to the catalog while it is being made: reads see its own writes and those of the changes before it in the batch.
//!
//! Never: touch the disk but to read. Limits: one batch, see [`super::committer`].

use std::collections::BTreeMap;

use prost::Message;

use super::record::{self, Counters};
use super::table::Table;
use super::{CatalogError, Db};

type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// A row key and its value.
pub type RowValue = (Vec<u8>, Vec<u8>);

/// Rows that were put (`Some`) or deleted (`None`), by table.
#[derive(Default)]
pub(super) struct Layer {
    tables: [Rows; Table::COUNT],
    len: usize,
}

impl Layer {
    fn set(&mut self, table: Table, row: Vec<u8>, value: Option<Vec<u8>>) {
        self.len += row.len() + value.as_ref().map_or(0, Vec::len);
        self.tables[table as usize].insert(row, value);
    }

    fn merge(&mut self, above: Layer) {
        self.len += above.len;
        for (below, above) in self.tables.iter_mut().zip(above.tables) {
            below.extend(above);
        }
    }

    /// Bytes of rows and values, about.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (Table, &Vec<u8>, &Option<Vec<u8>>)> {
        Table::ALL.into_iter().flat_map(|table| self.tables[table as usize].iter().map(move |(row, value)| (table, row, value)))
    }
}

/// A change in the making.
pub struct Txn<'a> {
    db: &'a Db,
    layers: Vec<Layer>,
    /// Counters of the catalog; written with the batch.
    pub counters: Counters,
}

impl<'a> Txn<'a> {
    pub(super) fn new(db: &'a Db, counters: Counters) -> Self {
        Txn { db, layers: vec![Layer::default()], counters }
    }

    pub(super) fn into_parts(mut self) -> (Layer, Counters) {
        let layer = self.layers.pop().expect("the lowest layer is never popped before");
        (layer, self.counters)
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.layers.iter().map(Layer::len).sum()
    }

    /// Runs `change`; when it fails, everything it wrote is forgotten.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn attempt<T, E>(&mut self, change: impl FnOnce(&mut Txn<'a>) -> Result<T, E>) -> Result<T, E> {
        let counters = self.counters.clone();
        let depth = self.layers.len();
        self.layers.push(Layer::default());
        let outcome = change(self);
        let above = self.layers.pop().expect("pushed above");
        debug_assert_eq!(self.layers.len(), depth);
        match &outcome {
            Ok(_) => self.layers.last_mut().expect("the lowest layer").merge(above),
            Err(_) => self.counters = counters,
        }
        outcome
    }

    /// The value of a row.
    ///
    /// # Errors
    /// [`CatalogError`] of the disk.
    pub fn get(&self, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        for layer in self.layers.iter().rev() {
            if let Some(value) = layer.tables[table as usize].get(row) {
                return Ok(value.clone());
            }
        }
        self.db.get(table, row)
    }

    /// The record of a row.
    ///
    /// # Errors
    /// [`CatalogError`] of the disk or a damaged record.
    pub fn record<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, CatalogError> {
        match self.get(table, row)? {
            Some(value) => Ok(Some(record::decode(&value).map_err(|error| CatalogError::damaged(table, error))?)),
            None => Ok(None),
        }
    }

    /// Writes a row.
    pub fn put(&mut self, table: Table, row: Vec<u8>, value: Vec<u8>) {
        self.top().set(table, row, Some(value));
    }

    /// Writes a record.
    pub fn put_record(&mut self, table: Table, row: Vec<u8>, record: &impl Message) {
        self.put(table, row, record::encode(record));
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: Table, row: Vec<u8>) {
        self.top().set(table, row, None);
    }

    /// Rows that begin with `prefix`, ascending, at most `max`.
    ///
    /// # Errors
    /// [`CatalogError`] of the disk.
    pub fn scan(&self, table: Table, prefix: &[u8], max: usize) -> Result<Vec<RowValue>, CatalogError> {
        let mut written: BTreeMap<&[u8], &Option<Vec<u8>>> = BTreeMap::new();
        for layer in &self.layers {
            let rows = layer.tables[table as usize].range(prefix.to_vec()..);
            written.extend(rows.take_while(|(row, _)| row.starts_with(prefix)).map(|(row, value)| (row.as_slice(), value)));
        }
        let mut rows: Vec<RowValue> = Vec::new();
        let mut written = written.into_iter().peekable();
        let emit = |rows: &mut Vec<_>, row: &[u8], value: &Option<Vec<u8>>| {
            if let Some(value) = value {
                rows.push((row.to_vec(), value.clone()));
            }
        };
        for stored in self.db.scan(table, prefix.to_vec(), prefix) {
            let (row, value) = stored?;
            while let Some((own, own_value)) = written.next_if(|(own, _)| *own < &row[..]) {
                emit(&mut rows, own, own_value);
            }
            match written.next_if(|(own, _)| *own == &row[..]) {
                Some((own, own_value)) => emit(&mut rows, own, own_value),
                None => rows.push((row.into(), value.into())),
            }
            if rows.len() >= max {
                rows.truncate(max);
                return Ok(rows);
            }
        }
        for (own, own_value) in written {
            emit(&mut rows, own, own_value);
        }
        rows.truncate(max);
        Ok(rows)
    }

    fn top(&mut self) -> &mut Layer {
        self.layers.last_mut().expect("the lowest layer")
    }
}
