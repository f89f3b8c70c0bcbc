//! Parts of an upload: uploaded, or copied by reference from a stored object.
//!
//! Never: a part visible before its bytes are durable; a replaced part's bytes kept. Limits: one part is at most
//! [`super::limits::PUT_LEN_MAX`] bytes.

use std::sync::Arc;

use super::api::{Body, BodyChecks, ChecksumAlgorithm, CopyPartRequest, PartInfo, UploadName};
use super::core::Core;
use super::error::ObjectError;
use super::limits::PUT_LEN_MAX;
use super::multipart::{checksum_of_upload, part_info, upload_in, upload_of};
use super::put::discard;
use super::receive::{Content, receive};
use super::{Objects, check, refs};
use crate::catalog::record::{BlobKind, Extent, PartRecord, extents};
use crate::catalog::table::part_row;
use crate::catalog::{Table, Txn};

impl Objects {
    /// Stores a part, in place of an earlier one of the same number.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`], [`ObjectError::InvalidArgument`] for the number; those of the body and the network.
    pub async fn upload_part(
        &self,
        upload: &UploadName,
        number: u32,
        checks: BodyChecks,
        body: Body,
    ) -> Result<PartInfo, ObjectError> {
        let core = &self.core;
        core.check_running()?;
        check::part_number(number)?;
        let checks = self.with_checksum_of(upload, checks).await?;
        // A part is a blob of its own, however short: small_max is zero.
        let received = receive(core, body, checks, 0).await?;
        let blob = match received.content {
            Content::Blob(blob) => Some(blob),
            Content::Small(_) => None, // empty
        };
        let whole: Vec<Extent> = blob.iter().map(|blob| Extent { blob: blob.blob, offset: 0, len: received.len }).collect();
        let record = PartRecord {
            len: received.len,
            etag: hex::encode(received.digests.md5),
            modified_ms: core.network.now().0,
            checksums: received.digests.checksums.iter().map(Into::into).collect(),
            extents: whole.iter().map(|extent| (*extent).into()).collect(),
        };
        let (core, upload) = (core.clone(), upload.clone());
        let work = async move {
            let stored = blob.clone();
            let row = record.clone();
            let committing = core.network.catalog.change(move |txn| {
                upload_of(txn, &upload)?;
                if let Some(stored) = &stored {
                    refs::insert(txn, stored, BlobKind::Data);
                }
                set_part(txn, &upload, number, &row)
            });
            let committed = committing.await;
            if let (Err(_), Some(blob)) = (&committed, &blob) {
                discard(&core, blob).await;
            }
            core.network.wake_trash();
            committed?;
            part_info(number, &record)
        };
        self.core.to_the_end(work).await
    }

    /// Makes a part of a range of a stored object. The bytes are read to compute the part's MD5 and checksum, unless the whole of
    /// a plain object is taken; they are not stored again.
    ///
    /// # Errors
    /// As [`Self::upload_part`], and those of the source; [`ObjectError::InvalidRange`].
    pub async fn copy_part(&self, request: CopyPartRequest) -> Result<PartInfo, ObjectError> {
        let core = &self.core;
        core.check_running()?;
        check::part_number(request.number)?;
        let upload = request.upload.clone();
        let algorithm = self.head_upload(&upload).await?.checksum.map(|(algorithm, _)| algorithm);
        let source = self.get_version(&request.source_bucket, &request.source_key, request.source_version).await?;
        request.source_conditions.check_source(&source.etag, source.modified)?;
        let range = request.range.unwrap_or(0..source.len);
        if range.start >= range.end && source.len > 0 || range.end > source.len {
            return Err(ObjectError::InvalidRange { len: source.len });
        }
        let len = range.end - range.start;
        if len > PUT_LEN_MAX {
            return Err(ObjectError::EntityTooLarge { max: PUT_LEN_MAX });
        }
        let whole_of_plain = len == source.len && source.parts.is_empty() && algorithm.is_none();
        let (etag, checksums) = if whole_of_plain {
            (source.etag.clone(), Vec::new())
        } else {
            let digests = self.digests(&source, range.clone(), algorithm).await?;
            (hex::encode(digests.md5), digests.checksums)
        };
        let record = PartRecord {
            len,
            etag,
            modified_ms: core.network.now().0,
            checksums: checksums.iter().map(Into::into).collect(),
            extents: super::read::plan(&source.extents, range).into_iter().map(Into::into).collect(),
        };
        let number = request.number;
        let row = record.clone();
        core.to_the_end(commit_copy(core.clone(), upload, number, row, source)).await?;
        part_info(number, &record)
    }

    /// Adds the upload's own algorithm to the checks, so that every part has that checksum.
    async fn with_checksum_of(&self, upload: &UploadName, mut checks: BodyChecks) -> Result<BodyChecks, ObjectError> {
        let name = upload.clone();
        let looking =
            self.core.network.catalog.read(move |db| upload_in(db, &name).map(|(_, _, record)| checksum_of_upload(&record)));
        if let Some((algorithm, _)) = looking.await?
            && !names(&checks, algorithm)
        {
            checks.checksums.push((algorithm, None));
        }
        Ok(checks)
    }
}

fn names(checks: &BodyChecks, algorithm: ChecksumAlgorithm) -> bool {
    checks.checksums.iter().any(|(named, _)| *named == algorithm)
}

async fn commit_copy(
    core: Arc<Core>,
    upload: UploadName,
    number: u32,
    record: PartRecord,
    source: super::api::ObjectInfo,
) -> Result<(), ObjectError> {
    let committing = core.network.catalog.change(move |txn| {
        upload_of(txn, &upload)?;
        set_part(txn, &upload, number, &record)
    });
    let committed = committing.await;
    drop(source); // the lease: from here on the part's own references hold the bytes
    core.network.wake_trash();
    committed
}

/// Puts a part's row, retains its bytes and releases those of the part it replaces.
fn set_part(txn: &mut Txn<'_>, upload: &UploadName, number: u32, record: &PartRecord) -> Result<(), ObjectError> {
    let (_, id, _) = upload_of(txn, upload)?;
    let row = part_row(id, number);
    for extent in extents(&record.extents)? {
        refs::retain(txn, &extent)?;
    }
    if let Some(replaced) = txn.record::<PartRecord>(Table::Parts, &row)? {
        for extent in extents(&replaced.extents)? {
            refs::release(txn, &extent, cairn_types::UnixMs(record.modified_ms))?;
        }
    }
    txn.put_record(Table::Parts, row, record);
    Ok(())
}
