//! Versions of a key inside a change: where each one's record lies, what a new one does to the others.
//!
//! The current object of a key is its row in `objects`; every other version, and every delete marker, is a row in `versions`. A key whose
//! latest version is a delete marker has no row in `objects`. At most one version of a key has no id of its own: the `null` version.
//! Never: a version that goes without its references; a key without a row in `objects` whose latest version has bytes.
//! Limits: looking for a `null` version that is not the current one reads the key's versions.

use cairn_client::Client;
use cairn_types::UnixMs;
use prost::Message;

use super::api::{Control, VersionId, VersionRef, Versioning, WriteConditions};
use super::error::ObjectError;
use super::{budget, refs};
use crate::catalog::record::{self, ControlRecord, ObjectRecord};
use crate::catalog::table::{object_row, uploads_of_key, version_row};
use crate::catalog::{BucketId, CatalogError, Db, RowValue, Table, Txn};

/// What reads rows: the database, or a change in the making.
pub(crate) trait Reads {
    /// The record of a row.
    fn record_of<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, CatalogError>;
    /// The first rows that begin with `prefix`.
    fn rows(&self, table: Table, prefix: &[u8], max: usize) -> Result<Vec<RowValue>, CatalogError>;
}

impl Reads for Db {
    fn record_of<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, CatalogError> {
        self.record(table, row)
    }

    fn rows(&self, table: Table, prefix: &[u8], max: usize) -> Result<Vec<RowValue>, CatalogError> {
        let rows = self.scan(table, prefix.to_vec(), prefix).take(max);
        rows.map(|row| row.map(|(row, value)| (row.into_vec(), value.into_vec()))).collect()
    }
}

impl Reads for Txn<'_> {
    fn record_of<R: Message + Default>(&self, table: Table, row: &[u8]) -> Result<Option<R>, CatalogError> {
        self.record(table, row)
    }

    fn rows(&self, table: Table, prefix: &[u8], max: usize) -> Result<Vec<RowValue>, CatalogError> {
        self.scan(table, prefix, max)
    }
}

/// A key of a bucket, and whether the bucket keeps versions.
#[derive(Clone, Copy)]
pub(crate) struct KeyAt<'a> {
    pub bucket: BucketId,
    pub versioning: Versioning,
    pub key: &'a str,
}

/// A version and where its record lies.
pub(crate) struct Found {
    pub table: Table,
    pub row: Vec<u8>,
    pub record: ObjectRecord,
}

impl Found {
    /// How S3 names it.
    pub fn name(&self) -> VersionRef {
        name_of(&self.record)
    }
}

/// How S3 names a version.
pub(crate) fn name_of(record: &ObjectRecord) -> VersionRef {
    if record.named() { VersionRef::Id(record.version()) } else { VersionRef::Null }
}

/// What governs a version.
pub(crate) fn control_of(record: &ObjectRecord) -> Result<Control, ObjectError> {
    Ok(record.control.as_ref().map(Control::try_from).transpose()?.unwrap_or_default())
}

impl KeyAt<'_> {
    /// The version that is asked for; without a name the latest, be it a delete marker.
    pub fn find(&self, rows: &impl Reads, version: Option<VersionRef>) -> Result<Option<Found>, ObjectError> {
        match version {
            None => match self.current(rows)? {
                None if self.versioning != Versioning::Off => Ok(self.others(rows, 1)?.pop()),
                current => Ok(current),
            },
            Some(VersionRef::Id(id)) => Ok(self.by_id(rows, id)?.filter(|found| found.record.named())),
            Some(VersionRef::Null) => self.null(rows),
        }
    }

    /// The version written under `id`, whatever S3 calls it.
    pub fn by_id(&self, rows: &impl Reads, id: VersionId) -> Result<Option<Found>, ObjectError> {
        if let Some(current) = self.current(rows)?.filter(|found| found.record.version() == id) {
            return Ok(Some(current));
        }
        let row = version_row(self.bucket, self.key, id);
        let record: Option<ObjectRecord> = rows.record_of(Table::Versions, &row)?;
        Ok(record.map(|record| Found { table: Table::Versions, row, record }))
    }

    fn current(&self, rows: &impl Reads) -> Result<Option<Found>, ObjectError> {
        let row = object_row(self.bucket, self.key);
        let record: Option<ObjectRecord> = rows.record_of(Table::Objects, &row)?;
        Ok(record.map(|record| Found { table: Table::Objects, row, record }))
    }

    fn null(&self, rows: &impl Reads) -> Result<Option<Found>, ObjectError> {
        match self.current(rows)? {
            Some(current) if !current.record.named() => return Ok(Some(current)),
            _ if self.versioning == Versioning::Off => return Ok(None),
            _ => {}
        }
        Ok(self.others(rows, usize::MAX)?.into_iter().find(|found| !found.record.named()))
    }

    /// The latest of the versions that are not the current object.
    fn others(&self, rows: &impl Reads, max: usize) -> Result<Vec<Found>, ObjectError> {
        let read = |(row, value): RowValue| Ok(Found { table: Table::Versions, row, record: record::decode(&value)? });
        rows.rows(Table::Versions, &uploads_of_key(self.bucket, self.key), max)?.into_iter().map(read).collect()
    }

    /// Adds a version. Everything its record refers to is already retained. When a later one is there already, it takes its place
    /// below that one; in a bucket without versions it counts as replaced at once.
    ///
    /// # Errors
    /// Those of `conditions`; [`ObjectError::BudgetReached`]; [`ObjectError::Replaced`] when the bucket began or ceased to keep versions
    /// since the record was made.
    pub fn insert(
        &self,
        txn: &mut Txn<'_>,
        client: &Client,
        record: &ObjectRecord,
        conditions: &WriteConditions,
        now: UnixMs,
    ) -> Result<(), ObjectError> {
        let present = self.current(txn)?;
        conditions.check(present.as_ref().map(|present| present.record.etag.as_str()))?;
        let keeps = self.versioning != Versioning::Off;
        if record.named() != (self.versioning == Versioning::Enabled) || (record.delete_marker() && !keeps) {
            return Err(ObjectError::Replaced);
        }
        let replaced = if record.named() { None } else { self.null(txn)? };
        if replaced.as_ref().is_some_and(|replaced| replaced.record.version() > record.version()) {
            return refs::release_object(txn, record, now);
        }
        budget::count(txn, client, self.bucket, replaced.as_ref().map_or(0, |found| found.record.len), record.len)?;
        if let Some(replaced) = replaced {
            take_out(txn, &replaced, now)?;
        }
        if !record.delete_marker() {
            txn.counters.objects += 1;
            txn.counters.object_bytes = txn.counters.object_bytes.saturating_add(record.len);
        }
        self.place(txn, record)
    }

    /// Puts a record where it belongs among the versions that are there.
    fn place(&self, txn: &mut Txn<'_>, record: &ObjectRecord) -> Result<(), ObjectError> {
        let row = object_row(self.bucket, self.key);
        if self.versioning == Versioning::Off {
            txn.put_record(Table::Objects, row, record);
            return Ok(());
        }
        let present = self.current(txn)?;
        let newest = match &present {
            Some(present) => Some(present.record.version()),
            None => self.others(txn, 1)?.first().map(|found| found.record.version()),
        };
        if record.delete_marker() || newest.is_some_and(|newest| newest > record.version()) {
            txn.put_record(Table::Versions, version_row(self.bucket, self.key, record.version()), record);
        }
        if newest.is_some_and(|newest| newest > record.version()) {
            return Ok(());
        }
        if let Some(present) = present {
            txn.put_record(Table::Versions, version_row(self.bucket, self.key, present.record.version()), &present.record);
            txn.delete(Table::Objects, present.row);
        }
        if !record.delete_marker() {
            txn.put_record(Table::Objects, row, record);
        }
        Ok(())
    }

    /// Takes a version away for good; the next one becomes the current object.
    pub fn remove(&self, txn: &mut Txn<'_>, client: &Client, found: &Found, now: UnixMs) -> Result<(), ObjectError> {
        take_out(txn, found, now)?;
        budget::count(txn, client, self.bucket, found.record.len, 0)?;
        if self.versioning == Versioning::Off || self.current(txn)?.is_some() {
            return Ok(());
        }
        let next = self.others(txn, 1)?.pop().filter(|next| !next.record.delete_marker());
        if let Some(next) = next {
            txn.delete(Table::Versions, next.row);
            txn.put_record(Table::Objects, object_row(self.bucket, self.key), &next.record);
        }
        Ok(())
    }
}

/// Deletes a version's row, its references and what it counts for.
fn take_out(txn: &mut Txn<'_>, found: &Found, now: UnixMs) -> Result<(), ObjectError> {
    refs::release_object(txn, &found.record, now)?;
    txn.delete(found.table, found.row.clone());
    if !found.record.delete_marker() {
        txn.counters.objects = txn.counters.objects.saturating_sub(1);
        txn.counters.object_bytes = txn.counters.object_bytes.saturating_sub(found.record.len);
    }
    Ok(())
}

/// The record of a delete marker.
pub(crate) fn delete_marker(version: VersionId, named: bool, owner: &str, now: UnixMs) -> ObjectRecord {
    let control = ControlRecord { named, delete_marker: true, owner: owner.to_owned(), ..Default::default() };
    ObjectRecord {
        writer_epoch: version.writer_epoch,
        sequence: version.sequence,
        modified_ms: now.0,
        control: Some(control),
        ..Default::default()
    }
}
