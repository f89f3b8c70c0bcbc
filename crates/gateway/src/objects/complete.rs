//! Completing an upload: its parts become one object, without moving a byte.
//!
//! Never: an object of parts that changed after they were checked; parts left behind. Limits: S3's, see [`super::limits`].

use std::sync::Arc;

use bytes::Bytes;
use cairn_client::Client;
use cairn_types::UnixMs;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::api::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CompletePart, CompleteRequest, Control, ObjectInfo, ObjectMeta, ObjectPart,
    UploadName, Versioning, WriteConditions,
};
use super::checksum::{composite, full_object};
use super::core::{Core, key_at};
use super::error::ObjectError;
use super::limits::{OBJECT_LEN_MAX, PART_LEN_MIN, PART_NUMBER_MAX};
use super::multipart::{any_upload_in, checksum_of_upload, drop_parts, upload_of};
use super::put::{NewObject, place_record};
use super::read::info_of;
use super::receive::check_value_len;
use super::{Objects, refs};
use crate::catalog::record::{CompletedRecord, Extent, ObjectRecord, PartRecord, UploadRecord, extents};
use crate::catalog::table::part_row;
use crate::catalog::{Db, Table, Txn, UploadId};

/// The object that an upload would become.
struct Assembled {
    meta: ObjectMeta,
    control: Control,
    len: u64,
    etag: String,
    checksums: Vec<Checksum>,
    parts: Vec<ObjectPart>,
    extents: Vec<Extent>,
    /// Number and record of each part, to be found unchanged at the commit.
    used: Vec<(u32, PartRecord)>,
}

enum Found {
    Open(Box<Assembled>),
    Completed(Box<ObjectInfo>),
}

impl Objects {
    /// Makes an object of an upload's parts. Repeated with the same parts, it gives the same answer.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`], [`ObjectError::InvalidPart`], [`ObjectError::InvalidPartOrder`],
    /// [`ObjectError::EntityTooSmall`], [`ObjectError::EntityTooLarge`], [`ObjectError::ChecksumMismatch`], [`ObjectError::PreconditionFailed`].
    pub async fn complete_upload(&self, request: CompleteRequest) -> Result<ObjectInfo, ObjectError> {
        let core = &self.core;
        core.check_running()?;
        check_list(&request.parts)?;
        let digest = digest_of(&request.parts);
        let (upload, conditions, wanted) = (request.upload.clone(), request.conditions.clone(), digest.clone());
        let found = core.network.catalog.read(move |db| find(db, &request, &wanted)).await?;
        let assembled = match found {
            Found::Completed(info) => return Ok(*info),
            Found::Open(assembled) => *assembled,
        };
        let versioning = self.check_early(&upload.bucket, &upload.key, &conditions, 0).await?;
        let named = versioning == Versioning::Enabled;
        core.to_the_end(commit(core.clone(), upload, (assembled, named), conditions, digest)).await
    }
}

fn check_list(parts: &[CompletePart]) -> Result<(), ObjectError> {
    if parts.is_empty() || parts.len() > PART_NUMBER_MAX as usize {
        let reason = format!("{} parts; between 1 and {PART_NUMBER_MAX} are allowed", parts.len());
        return Err(ObjectError::InvalidArgument { name: "parts", reason });
    }
    if parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(ObjectError::InvalidPartOrder);
    }
    Ok(())
}

fn digest_of(parts: &[CompletePart]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.number.to_be_bytes());
        hash.update((part.etag.len() as u64).to_be_bytes());
        hash.update(part.etag.as_bytes());
    }
    hash.finalize().to_vec()
}

fn find(db: &Db, request: &CompleteRequest, digest: &[u8]) -> Result<Found, ObjectError> {
    let (_, id, upload) = any_upload_in(db, &request.upload)?;
    if let Some(completed) = upload.completed {
        let (true, Some(object)) = (completed.parts_digest == digest, completed.object) else {
            return Err(ObjectError::NoSuchUpload);
        };
        let info = info_of(request.upload.bucket.clone(), request.upload.key.clone(), object)?;
        return Ok(Found::Completed(Box::new(info)));
    }
    assemble(db, request, id, upload).map(|assembled| Found::Open(Box::new(assembled)))
}

fn assemble(db: &Db, request: &CompleteRequest, id: UploadId, upload: UploadRecord) -> Result<Assembled, ObjectError> {
    let checksum = checksum_of_upload(&upload);
    let mut assembled = Assembled {
        control: upload.control.as_ref().map(Control::try_from).transpose()?.unwrap_or_default(),
        meta: upload.meta.map(Into::into).unwrap_or_default(),
        len: 0,
        etag: String::new(),
        checksums: Vec::new(),
        parts: Vec::with_capacity(request.parts.len()),
        extents: Vec::new(),
        used: Vec::with_capacity(request.parts.len()),
    };
    let mut etags = Md5::new();
    for (at, wanted) in request.parts.iter().enumerate() {
        let number = wanted.number;
        let part: PartRecord = db.record(Table::Parts, &part_row(id, number))?.ok_or(ObjectError::InvalidPart { number })?;
        let checksums = part.checksums()?;
        if part.etag != wanted.etag || !confirms(wanted, &checksums) {
            return Err(ObjectError::InvalidPart { number });
        }
        if part.len < PART_LEN_MIN && at + 1 < request.parts.len() {
            return Err(ObjectError::EntityTooSmall { number, len: part.len, min: PART_LEN_MIN });
        }
        etags.update(hex::decode(&part.etag).map_err(|_| ObjectError::Internal("a part's ETag is not hex".into()))?);
        assembled.len = assembled.len.saturating_add(part.len);
        assembled.extents.extend(extents(&part.extents)?);
        assembled.parts.push(ObjectPart { number, len: part.len, checksums });
        assembled.used.push((number, part));
    }
    if assembled.len > OBJECT_LEN_MAX {
        return Err(ObjectError::EntityTooLarge { max: OBJECT_LEN_MAX });
    }
    if let Some(expected) = request.len.filter(|expected| *expected != assembled.len) {
        let reason = format!("the parts have {} bytes, the request says {expected}", assembled.len);
        return Err(ObjectError::InvalidRequest(reason));
    }
    assembled.etag = format!("{}-{}", hex::encode(etags.finalize()), request.parts.len());
    assembled.checksums = checksum_of_whole(request, checksum, &assembled.parts)?.into_iter().collect();
    Ok(assembled)
}

fn confirms(wanted: &CompletePart, checksums: &[Checksum]) -> bool {
    // A value of an algorithm that the part does not have cannot be confirmed.
    wanted
        .checksums
        .iter()
        .all(|(algorithm, value)| checksums.iter().any(|sum| sum.algorithm == *algorithm && &sum.value == value))
}

fn checksum_of_whole(
    request: &CompleteRequest,
    upload: Option<(ChecksumAlgorithm, ChecksumKind)>,
    parts: &[ObjectPart],
) -> Result<Option<Checksum>, ObjectError> {
    let Some((algorithm, kind)) = upload else {
        // Nothing was computed along the way, so an expected value cannot be confirmed.
        return match &request.checksum {
            Some((algorithm, _)) => {
                Err(ObjectError::InvalidRequest(format!("the upload was not begun with {algorithm} checksums")))
            }
            None => Ok(None),
        };
    };
    if request.checksum_kind.is_some_and(|named| named != kind) {
        return Err(ObjectError::InvalidRequest(format!("the upload was begun with checksums of type {kind:?}")));
    }
    let mut sums = Vec::with_capacity(parts.len());
    for part in parts {
        let sum = part.checksums.iter().find(|sum| sum.algorithm == algorithm);
        sums.push((sum.ok_or(ObjectError::InvalidPart { number: part.number })?, part.len));
    }
    let whole = match kind {
        ChecksumKind::Composite => Some(composite(algorithm, &sums.iter().map(|(sum, _)| *sum).collect::<Vec<_>>())),
        ChecksumKind::FullObject => full_object(algorithm, &sums),
    };
    let whole = whole.ok_or_else(|| ObjectError::Internal(format!("{algorithm} does not combine")))?;
    if let Some((named, value)) = &request.checksum {
        check_value_len(*named, Some(value))?;
        if *named != algorithm || *value != whole.value {
            return Err(ObjectError::ChecksumMismatch { algorithm: *named });
        }
    }
    Ok(Some(whole))
}

async fn commit(
    core: Arc<Core>,
    upload: UploadName,
    (assembled, named): (Assembled, bool),
    conditions: WriteConditions,
    digest: Vec<u8>,
) -> Result<ObjectInfo, ObjectError> {
    let Assembled { meta, control, len, etag, checksums, parts, extents, used } = assembled;
    let object = NewObject {
        bucket: upload.bucket.clone(),
        key: upload.key.clone(),
        version: core.network.next_version(),
        named,
        control,
        len,
        etag,
        modified: core.network.now(),
        meta,
        checksums,
        parts,
    };
    let mut record = object.record(&extents);
    let head = object.head(&record, 0)?;
    let (now, client) = (object.modified, core.network.client.clone());
    let committing = core.packer.append(
        head,
        Bytes::new(),
        Box::new(move |txn, placed| {
            place_record(&mut record, placed, false);
            finish(txn, &client, (&upload, &used), &record, digest, &conditions, now)
        }),
    );
    committing.await?;
    Ok(object.info(extents))
}

fn finish(
    txn: &mut Txn<'_>,
    client: &Client,
    (upload, used): (&UploadName, &[(u32, PartRecord)]),
    record: &ObjectRecord,
    digest: Vec<u8>,
    conditions: &WriteConditions,
    now: UnixMs,
) -> Result<(), ObjectError> {
    let (row, id, mut ended) = upload_of(txn, upload)?;
    for (number, part) in used {
        if txn.record::<PartRecord>(Table::Parts, &part_row(id, *number))?.as_ref() != Some(part) {
            return Err(ObjectError::InvalidPart { number: *number });
        }
    }
    // The object takes its references before the parts give theirs up.
    for extent in extents(&record.extents)? {
        refs::retain(txn, &extent)?;
    }
    key_at(txn, &upload.bucket, &upload.key)?.insert(txn, client, record, conditions, now)?;
    drop_parts(txn, id, now, |_| true)?;
    let brief = ObjectRecord { extents: Vec::new(), parts: Vec::new(), entry: None, ..record.clone() };
    ended.completed = Some(CompletedRecord { parts_digest: digest, object: Some(brief), at_ms: now.0 });
    txn.put_record(Table::Uploads, row, &ended);
    txn.counters.uploads = txn.counters.uploads.saturating_sub(1);
    Ok(())
}
