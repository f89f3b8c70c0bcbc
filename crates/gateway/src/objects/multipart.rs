//! Multipart uploads: begin, find, list parts, give up.
//!
//! Never: a part that outlives its upload. Limits: [`super::limits::PART_NUMBER_MAX`] parts.

use cairn_types::{UnixMs, port};

use super::api::{ChecksumAlgorithm, ChecksumKind, Control, CreateUploadRequest, PartInfo, PartsPage, UploadInfo, UploadName};
use super::core::{bucket_in, bucket_of};
use super::error::ObjectError;
use super::limits::LIST_KEYS_MAX;
use super::{Objects, check, refs};
use crate::catalog::record::{self, PartRecord, UploadRecord, extents};
use crate::catalog::table::{number_of_part_row, parse_upload_row, part_row, upload_row};
use crate::catalog::{BucketId, Db, Table, Txn, UploadId};

impl Objects {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`]; [`ObjectError::InvalidRequest`] for a checksum kind its algorithm does not have.
    pub async fn create_upload(&self, request: CreateUploadRequest) -> Result<UploadInfo, ObjectError> {
        self.core.check_running()?;
        check::key(&request.key)?;
        check::meta(&request.meta)?;
        let checksum = checksum_of(request.checksum, request.checksum_kind)?;
        let initiated = self.core.network.now();
        let mut id = [0u8; 16];
        id[..8].copy_from_slice(&initiated.0.to_be_bytes());
        id[8..].copy_from_slice(&port::draw::<8>(&*self.core.network.rng));
        let id = UploadId(id);
        let info = UploadInfo {
            bucket: request.bucket.clone(),
            key: request.key.clone(),
            upload_id: id.to_string(),
            initiated,
            initiator: request.initiator.clone(),
            storage_class: request.meta.storage_class.clone(),
            checksum,
            control: request.control.clone(),
        };
        let record = UploadRecord {
            initiated_ms: initiated.0,
            initiator: request.initiator,
            meta: Some(request.meta.into()),
            algorithm: checksum.map_or(0, |(algorithm, _)| algorithm.number()),
            kind: checksum.map_or(0, |(_, kind)| kind.number()),
            completed: None,
            control: Some(request.control.record(false, false)),
        };
        let beginning = self.core.network.catalog.change(move |txn| {
            let bucket = bucket_of(txn, &request.bucket)?;
            txn.put_record(Table::Uploads, upload_row(bucket, &request.key, id), &record);
            txn.counters.uploads += 1;
            Ok(())
        });
        beginning.await?;
        Ok(info)
    }

    /// Finds an upload in progress.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    pub async fn head_upload(&self, upload: &UploadName) -> Result<UploadInfo, ObjectError> {
        let name = upload.clone();
        let looking = self.core.network.catalog.read(move |db| {
            let (_, id, record) = upload_in(db, &name)?;
            upload_info(name.bucket, name.key, id, &record)
        });
        looking.await
    }

    /// One page of an upload's parts: at most `max_parts` numbers greater than `after`.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    pub async fn list_parts(&self, upload: &UploadName, after: u32, max_parts: usize) -> Result<PartsPage, ObjectError> {
        let name = upload.clone();
        let listing = self.core.network.catalog.read(move |db| {
            let (_, id, record) = upload_in(db, &name)?;
            let upload = upload_info(name.bucket, name.key, id, &record)?;
            let mut page = PartsPage { upload, parts: Vec::new(), next: None };
            let Some(first) = after.checked_add(1) else { return Ok(page) };
            let max = max_parts.min(LIST_KEYS_MAX);
            if max == 0 {
                return Ok(page);
            }
            for row in db.scan(Table::Parts, part_row(id, first), &id.0) {
                let (row, value) = row?;
                if page.parts.len() == max {
                    page.next = page.parts.last().map(|part| part.number);
                    break;
                }
                page.parts.push(part_info(number_of(&row)?, &record::decode(&value)?)?);
            }
            Ok(page)
        });
        listing.await
    }

    /// Gives an upload up and deletes its parts.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    pub async fn abort_upload(&self, upload: &UploadName) -> Result<(), ObjectError> {
        self.core.check_running()?;
        let (name, now) = (upload.clone(), self.core.network.now());
        let aborting = self.core.network.catalog.change(move |txn| {
            let (row, id, _) = upload_of(txn, &name)?;
            drop_parts(txn, id, now, |_| true)?;
            txn.delete(Table::Uploads, row);
            txn.counters.uploads = txn.counters.uploads.saturating_sub(1);
            Ok(())
        });
        aborting.await?;
        self.core.network.wake_trash();
        Ok(())
    }
}

fn checksum_of(
    algorithm: Option<ChecksumAlgorithm>,
    kind: Option<ChecksumKind>,
) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, ObjectError> {
    match (algorithm, kind) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ObjectError::InvalidRequest("a checksum type needs a checksum algorithm".into())),
        (Some(algorithm), kind) => {
            let kind = kind.unwrap_or(algorithm.default_kind());
            if !algorithm.allows(kind) {
                return Err(ObjectError::InvalidRequest(format!("{algorithm} does not have checksums of type {kind:?}")));
            }
            Ok(Some((algorithm, kind)))
        }
    }
}

/// An upload in progress, for readers.
pub(crate) fn upload_in(db: &Db, name: &UploadName) -> Result<(BucketId, UploadId, UploadRecord), ObjectError> {
    let (bucket, id, record) = any_upload_in(db, name)?;
    if record.completed.is_some() { Err(ObjectError::NoSuchUpload) } else { Ok((bucket, id, record)) }
}

/// An upload in progress or lately completed, for readers.
pub(crate) fn any_upload_in(db: &Db, name: &UploadName) -> Result<(BucketId, UploadId, UploadRecord), ObjectError> {
    let (bucket, _) = bucket_in(db, &name.bucket)?;
    let id = UploadId::parse(&name.upload_id).ok_or(ObjectError::NoSuchUpload)?;
    let record = db.record(Table::Uploads, &upload_row(bucket, &name.key, id))?.ok_or(ObjectError::NoSuchUpload)?;
    Ok((bucket, id, record))
}

/// An upload in progress with its row, inside a change.
pub(crate) fn upload_of(txn: &Txn<'_>, name: &UploadName) -> Result<(Vec<u8>, UploadId, UploadRecord), ObjectError> {
    let bucket = bucket_of(txn, &name.bucket)?;
    let id = UploadId::parse(&name.upload_id).ok_or(ObjectError::NoSuchUpload)?;
    let row = upload_row(bucket, &name.key, id);
    let record: UploadRecord = txn.record(Table::Uploads, &row)?.ok_or(ObjectError::NoSuchUpload)?;
    if record.completed.is_some() { Err(ObjectError::NoSuchUpload) } else { Ok((row, id, record)) }
}

/// Checksum an upload was begun with.
pub(crate) fn checksum_of_upload(record: &UploadRecord) -> Option<(ChecksumAlgorithm, ChecksumKind)> {
    ChecksumAlgorithm::from_number(record.algorithm).zip(ChecksumKind::from_number(record.kind))
}

/// What an upload's record says, in the words of the API.
pub(crate) fn upload_info(bucket: String, key: String, id: UploadId, record: &UploadRecord) -> Result<UploadInfo, ObjectError> {
    Ok(UploadInfo {
        bucket,
        key,
        upload_id: id.to_string(),
        initiated: UnixMs(record.initiated_ms),
        initiator: record.initiator.clone(),
        storage_class: record.meta.as_ref().and_then(|meta| meta.storage_class.clone()),
        checksum: checksum_of_upload(record),
        control: record.control.as_ref().map(Control::try_from).transpose()?.unwrap_or_default(),
    })
}

/// What a part's record says, in the words of the API.
pub(crate) fn part_info(number: u32, record: &PartRecord) -> Result<PartInfo, ObjectError> {
    Ok(PartInfo {
        number,
        len: record.len,
        etag: record.etag.clone(),
        modified: UnixMs(record.modified_ms),
        checksums: record.checksums()?,
    })
}

/// Number in a part's row.
pub(crate) fn number_of(row: &[u8]) -> Result<u32, ObjectError> {
    number_of_part_row(row).ok_or_else(|| ObjectError::Internal("a damaged part row".into()))
}

/// Deletes the rows of an upload's parts and releases the bytes of those that `unused` names.
pub(crate) fn drop_parts(txn: &mut Txn<'_>, id: UploadId, now: UnixMs, unused: impl Fn(u32) -> bool) -> Result<(), ObjectError> {
    for (row, value) in txn.scan(Table::Parts, &id.0, usize::MAX)? {
        if unused(number_of(&row)?) {
            let part: PartRecord = record::decode(&value)?;
            for extent in extents(&part.extents)? {
                refs::release(txn, &extent, now)?;
            }
        }
        txn.delete(Table::Parts, row);
    }
    Ok(())
}

/// Gives up all uploads of a bucket that is being deleted.
pub(crate) fn drop_uploads(txn: &mut Txn<'_>, bucket: BucketId, now: UnixMs) -> Result<(), ObjectError> {
    for (row, value) in txn.scan(Table::Uploads, &bucket.0.to_be_bytes(), usize::MAX)? {
        let (_, id) = parse_upload_row(&row).ok_or_else(|| ObjectError::Internal("a damaged upload row".into()))?;
        let record: UploadRecord = record::decode(&value)?;
        if record.completed.is_none() {
            drop_parts(txn, id, now, |_| true)?;
            txn.counters.uploads = txn.counters.uploads.saturating_sub(1);
        }
        txn.delete(Table::Uploads, row);
    }
    Ok(())
}
