//! Listing: one page of a bucket's versions and delete markers, folded by a delimiter. Keys ascend; the versions of a key, latest first.
//!
//! Never: a version at or before the marker. Limits: [`LIST_KEYS_MAX`] entries.

use rocksdb::DBRawIterator;

use super::Objects;
use super::api::{ListVersionsRequest, ListedVersion, VersionRef, VersionsPage};
use super::core::key_at;
use super::error::ObjectError;
use super::limits::LIST_KEYS_MAX;
use super::listing::{fold, listed};
use super::versions::KeyAt;
use crate::catalog::record::{self, ObjectSummary};
use crate::catalog::table::{
    after_prefix, key_of_object_row, object_row, parse_version_row, uploads_of_key, uploads_of_prefix, version_row,
};
use crate::catalog::{BucketId, Db, Table};

impl Objects {
    /// One page of a bucket's versions and delete markers.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn list_versions(&self, request: ListVersionsRequest) -> Result<VersionsPage, ObjectError> {
        let listing = self.core.network.catalog.read(move |db| {
            let at = key_at(db, &request.bucket, &request.key_marker)?;
            page(db, at, &request)
        });
        listing.await
    }
}

/// Where both tables are read.
struct Cursors<'a> {
    bucket: BucketId,
    objects: DBRawIterator<'a>,
    versions: DBRawIterator<'a>,
}

impl<'a> Cursors<'a> {
    /// At the first entry behind the request's marker. `at` is the marker's key.
    fn begin(db: &'a Db, at: KeyAt<'_>, request: &ListVersionsRequest) -> Result<Cursors<'a>, ObjectError> {
        let bucket = at.bucket;
        let mut cursors = Cursors { bucket, objects: db.cursor(Table::Objects), versions: db.cursor(Table::Versions) };
        let marker = request.key_marker.as_str();
        let folded =
            marker.starts_with(&request.prefix).then(|| fold(marker, &request.prefix, request.delimiter.as_deref())).flatten();
        if marker.is_empty() || marker < request.prefix.as_str() {
            cursors.seek(&request.prefix);
        } else if let Some(common) = folded {
            cursors.seek_behind_prefix(common);
        } else {
            cursors.seek_behind(marker);
            let version = match request.version_marker {
                Some(name @ VersionRef::Null) => at.find(db, Some(name))?.map(|found| found.record.version()),
                Some(VersionRef::Id(id)) => Some(id),
                None => return Ok(cursors),
            };
            match version {
                Some(version) => {
                    let mut row = version_row(bucket, marker, version);
                    row.push(0);
                    cursors.versions.seek(row);
                }
                // The null version went meanwhile: the key is listed anew, rather than versions of it left out.
                None => {
                    cursors.objects.seek(object_row(bucket, marker));
                    cursors.versions.seek(uploads_of_key(bucket, marker));
                }
            }
        }
        Ok(cursors)
    }

    fn seek(&mut self, prefix: &str) {
        self.objects.seek(object_row(self.bucket, prefix));
        self.versions.seek(uploads_of_prefix(self.bucket, prefix));
    }

    fn seek_behind(&mut self, key: &str) {
        let mut row = object_row(self.bucket, key);
        row.push(0);
        self.objects.seek(row);
        if let Some(row) = after_prefix(&uploads_of_key(self.bucket, key)) {
            self.versions.seek(row);
        }
    }

    fn seek_behind_prefix(&mut self, prefix: &str) {
        if let Some(row) = after_prefix(&object_row(self.bucket, prefix)) {
            self.objects.seek(row);
        }
        if let Some(row) = after_prefix(&uploads_of_prefix(self.bucket, prefix)) {
            self.versions.seek(row);
        }
    }

    /// The next key in each table, within the bucket.
    fn keys(&self) -> Result<(Option<String>, Option<String>), ObjectError> {
        let damaged = || ObjectError::Internal("a damaged version row".into());
        let of = self.bucket.0.to_be_bytes();
        let object = self.objects.key().filter(|row| row.starts_with(&of));
        let version = self.versions.key().filter(|row| row.starts_with(&of));
        let object = object.map(|row| key_of_object_row(row).map(str::to_owned).ok_or_else(damaged)).transpose()?;
        let version = version.map(|row| parse_version_row(row).map(|(key, _)| key).ok_or_else(damaged)).transpose()?;
        Ok((object, version))
    }

    fn check(&self) -> Result<(), ObjectError> {
        for cursor in [&self.objects, &self.versions] {
            cursor.status().map_err(|error| ObjectError::Internal(format!("listing versions: {error}")))?;
        }
        Ok(())
    }
}

fn page(db: &Db, at: KeyAt<'_>, request: &ListVersionsRequest) -> Result<VersionsPage, ObjectError> {
    let max = request.max_keys.min(LIST_KEYS_MAX);
    let mut page = VersionsPage::default();
    if max == 0 {
        return Ok(page);
    }
    let mut cursors = Cursors::begin(db, at, request)?;
    let mut last: Option<(String, Option<VersionRef>)> = None;
    loop {
        let (object, version) = cursors.keys()?;
        let in_objects = object.is_some() && version.as_ref().is_none_or(|version| object.as_ref() <= Some(version));
        let Some(key) = (if in_objects { object } else { version }).filter(|key| key.starts_with(&request.prefix)) else { break };
        if page.versions.len() + page.common_prefixes.len() == max {
            page.next = last;
            break;
        }
        if let Some(common) = fold(&key, &request.prefix, request.delimiter.as_deref()) {
            page.common_prefixes.push(common.to_owned());
            last = Some((common.to_owned(), None));
            cursors.seek_behind_prefix(common);
            continue;
        }
        let cursor = if in_objects { &mut cursors.objects } else { &mut cursors.versions };
        let latest = in_objects || is_latest(db, at.bucket, &key, cursor.key())?;
        let entry = entry(&key, cursor.value().unwrap_or_default(), latest)?;
        last = Some((key, Some(entry.version)));
        page.versions.push(entry);
        cursor.next();
    }
    cursors.check()?;
    Ok(page)
}

/// Whether a row of `versions` is the first of its key and there is no current object.
fn is_latest(db: &Db, bucket: BucketId, key: &str, row: Option<&[u8]>) -> Result<bool, ObjectError> {
    if db.get(Table::Objects, &object_row(bucket, key))?.is_some() {
        return Ok(false);
    }
    let of_key = uploads_of_key(bucket, key);
    let first = db.scan(Table::Versions, of_key.clone(), &of_key).next().transpose()?;
    Ok(first.is_some_and(|(first, _)| Some(&*first) == row))
}

fn entry(key: &str, value: &[u8], latest: bool) -> Result<ListedVersion, ObjectError> {
    let name: VersionName = record::decode(value)?;
    let control = record::decode::<ObjectSummary>(value)?.control.unwrap_or_default();
    let id = crate::objects::api::VersionId { writer_epoch: name.writer_epoch, sequence: name.sequence };
    Ok(ListedVersion {
        object: listed(key, value)?,
        id,
        version: if control.named { VersionRef::Id(id) } else { VersionRef::Null },
        latest,
        delete_marker: control.delete_marker,
    })
}

/// The name in an object's record, alone.
#[derive(Clone, PartialEq, prost::Message)]
struct VersionName {
    #[prost(uint64, tag = "1")]
    writer_epoch: u64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
}
