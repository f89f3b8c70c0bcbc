//! Listing: one page of a bucket's keys, or of its uploads, folded by a delimiter.
//!
//! A common prefix is skipped by one seek, so a page costs as many steps as it has entries, however many keys lie behind them.
//! Never: a key or common prefix at or before the marker. Limits: [`LIST_KEYS_MAX`] entries.

use super::Objects;
use super::api::{Checksum, ListPage, ListRequest, ListUploadsRequest, ListedObject, UploadsPage};
use super::core::bucket_in;
use super::error::ObjectError;
use super::limits::LIST_KEYS_MAX;
use super::multipart::upload_info;
use crate::catalog::record::{self, ObjectSummary, UploadRecord};
use crate::catalog::table::{
    after_prefix, key_of_object_row, object_row, parse_upload_row, upload_row, uploads_of_key, uploads_of_prefix,
};
use crate::catalog::{BucketId, Db, Table, UploadId};
use cairn_types::UnixMs;

impl Objects {
    /// One page of a bucket's keys.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, ObjectError> {
        let listing = self.core.network.catalog.read(move |db| {
            let (bucket, _) = bucket_in(db, &request.bucket)?;
            page(db, bucket, &request)
        });
        listing.await
    }

    /// One page of a bucket's uploads in progress.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidArgument`] for an upload id marker that is no upload id.
    pub async fn list_uploads(&self, request: ListUploadsRequest) -> Result<UploadsPage, ObjectError> {
        let listing = self.core.network.catalog.read(move |db| {
            let (bucket, _) = bucket_in(db, &request.bucket)?;
            uploads_page(db, bucket, &request)
        });
        listing.await
    }
}

/// The common prefix that folds `key`, if any.
pub(crate) fn fold<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let at = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// The first row that may be on the page; `None` when there can be none.
fn first_row(bucket: BucketId, request: &ListRequest) -> Option<Vec<u8>> {
    let from_prefix = object_row(bucket, &request.prefix);
    let Some(marker) = request.start_after.as_deref() else { return Some(from_prefix) };
    if marker < request.prefix.as_str() {
        return Some(from_prefix);
    }
    let folded =
        marker.starts_with(&request.prefix).then(|| fold(marker, &request.prefix, request.delimiter.as_deref())).flatten();
    match folded {
        // The marker is, or lies within, a common prefix, and that one is not greater than the marker.
        Some(common) => after_prefix(&object_row(bucket, common)),
        None => {
            let mut row = object_row(bucket, marker);
            row.push(0); // the smallest row after the marker's own
            Some(row)
        }
    }
}

/// One page of `bucket`.
pub(crate) fn page(db: &Db, bucket: BucketId, request: &ListRequest) -> Result<ListPage, ObjectError> {
    let max = request.max_keys.min(LIST_KEYS_MAX);
    let mut page = ListPage::default();
    let within = object_row(bucket, &request.prefix);
    let (Some(first), true) = (first_row(bucket, request), max > 0) else { return Ok(page) };
    let mut cursor = db.cursor(Table::Objects);
    cursor.seek(&first);
    let mut last = None;
    while let Some((row, value)) = cursor.item() {
        if !row.starts_with(&within) {
            break;
        }
        if page.objects.len() + page.common_prefixes.len() == max {
            page.next = last;
            break;
        }
        let key = key_of_object_row(row).ok_or_else(|| ObjectError::Internal("a key is not UTF-8".into()))?;
        if let Some(common) = fold(key, &request.prefix, request.delimiter.as_deref()) {
            let common = common.to_owned();
            let behind = after_prefix(&object_row(bucket, &common));
            page.common_prefixes.push(common.clone());
            last = Some(common);
            match behind {
                Some(behind) => cursor.seek(behind),
                None => break,
            }
        } else {
            last = Some(key.to_owned());
            page.objects.push(listed(key, value)?);
            cursor.next();
        }
    }
    cursor.status().map_err(|error| ObjectError::Internal(format!("listing: {error}")))?;
    Ok(page)
}

pub(crate) fn listed(key: &str, value: &[u8]) -> Result<ListedObject, ObjectError> {
    let summary: ObjectSummary = record::decode(value)?;
    let mut checksums = Vec::with_capacity(summary.checksums.len());
    for checksum in &summary.checksums {
        let checksum = Checksum::try_from(checksum)?;
        checksums.push((checksum.algorithm, checksum.kind));
    }
    let meta = summary.meta.unwrap_or_default();
    Ok(ListedObject {
        key: key.to_owned(),
        len: summary.len,
        etag: summary.etag,
        modified: UnixMs(summary.modified_ms),
        storage_class: meta.storage_class,
        checksums,
        tags: meta.tags,
        owner: summary.control.map(|control| control.owner).unwrap_or_default(),
    })
}

fn first_upload_row(bucket: BucketId, request: &ListUploadsRequest) -> Result<Option<Vec<u8>>, ObjectError> {
    let from_prefix = uploads_of_prefix(bucket, &request.prefix);
    let Some(marker) = request.key_marker.as_deref().filter(|marker| !marker.is_empty()) else { return Ok(Some(from_prefix)) };
    if marker < request.prefix.as_str() {
        return Ok(Some(from_prefix));
    }
    if let Some(id) = request.upload_id_marker.as_deref().filter(|id| !id.is_empty()) {
        let id = UploadId::parse(id)
            .ok_or_else(|| ObjectError::InvalidArgument { name: "upload-id-marker", reason: "not an upload id".into() })?;
        let mut row = upload_row(bucket, marker, id);
        row.push(0);
        return Ok(Some(row));
    }
    let folded =
        marker.starts_with(&request.prefix).then(|| fold(marker, &request.prefix, request.delimiter.as_deref())).flatten();
    Ok(match folded {
        Some(common) => after_prefix(&uploads_of_prefix(bucket, common)),
        None => after_prefix(&uploads_of_key(bucket, marker)),
    })
}

/// One page of the uploads in progress in `bucket`.
pub(crate) fn uploads_page(db: &Db, bucket: BucketId, request: &ListUploadsRequest) -> Result<UploadsPage, ObjectError> {
    let max = request.max_uploads.min(LIST_KEYS_MAX);
    let mut page = UploadsPage::default();
    let within = uploads_of_prefix(bucket, &request.prefix);
    let (Some(first), true) = (first_upload_row(bucket, request)?, max > 0) else { return Ok(page) };
    let mut cursor = db.cursor(Table::Uploads);
    cursor.seek(&first);
    let mut last = None;
    while let Some((row, value)) = cursor.item() {
        if !row.starts_with(&within) {
            break;
        }
        let upload: UploadRecord = record::decode(value)?;
        if upload.completed.is_some() {
            cursor.next();
            continue;
        }
        if page.uploads.len() + page.common_prefixes.len() == max {
            page.next = last;
            break;
        }
        let (key, id) = parse_upload_row(row).ok_or_else(|| ObjectError::Internal("a damaged upload row".into()))?;
        if let Some(common) = fold(&key, &request.prefix, request.delimiter.as_deref()) {
            page.common_prefixes.push(common.to_owned());
            last = Some((common.to_owned(), String::new()));
            match after_prefix(&uploads_of_prefix(bucket, common)) {
                Some(behind) => cursor.seek(behind),
                None => break,
            }
        } else {
            last = Some((key.clone(), id.to_string()));
            page.uploads.push(upload_info(request.bucket.clone(), key, id, &upload)?);
            cursor.next();
        }
    }
    cursor.status().map_err(|error| ObjectError::Internal(format!("listing uploads: {error}")))?;
    Ok(page)
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
