//! Multipart uploads: create, parts, complete, abort, and their listings.
//!
//! Never: a completion that a broken connection stops halfway. Limits: 10,000 parts.

use std::time::Duration;

use http::{HeaderMap, header};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::access::Access;
use super::checksum::{self, algorithm_name, body_checks, kind_name, show_checksums, shown_kind};
use super::errors::{refused, s3_error};
use super::front::RequestId;
use super::headers::{STANDARD, etag, object_meta, signed_len, take_content_headers, timestamp, write_conditions};
use super::list::{Encoding, common_prefixes, page_len};
use super::put::{body, new_control};
use super::sse::{self, customer_key, show_encryption};
use super::{Mapper, shown_owner};
use crate::objects::api::{
    ChecksumAlgorithm as Algorithm, CompletePart, CompleteRequest, CreateUploadRequest, ListUploadsRequest, ObjectInfo,
    UploadInfo, UploadName,
};
use crate::objects::limits;

/// A completion that takes longer than this answers 200 first and keeps the connection alive with white space.
const QUIET_MAX: Duration = Duration::from_secs(5);

pub(super) async fn create(
    mapper: &Mapper,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let S3Request { mut input, extensions, .. } = request;
    let access = Access::of(&extensions)?;
    let content = take_content_headers!(input);
    let meta = object_meta(content, input.metadata.take(), input.tagging.as_deref(), input.storage_class.as_ref())?;
    let key = customer_key!(input)?;
    let control = new_control!(mapper, access, input, key.as_ref());
    let encryption = control.encryption;
    let create = CreateUploadRequest {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        meta,
        checksum: input.checksum_algorithm.map(|name| checksum::algorithm(name.as_str())).transpose()?,
        checksum_kind: input.checksum_type.map(|name| checksum::kind(name.as_str())).transpose()?,
        control,
        initiator: access.user_name().to_owned(),
    };
    if !super::list::fits_xml(&input.key) {
        // Its answers name the key, and have no other way to write it.
        let message = "A key with characters that XML cannot hold cannot be uploaded in parts; put it in one request";
        return Err(refused(S3ErrorCode::InvalidArgument, message));
    }
    let upload = mapper.objects.create_upload(create).await.map_err(s3_error)?;
    let mut output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: upload.checksum.map(|(_, kind)| kind_name(kind)),
        key: Some(input.key),
        upload_id: Some(upload.upload_id),
        ..Default::default()
    };
    show_encryption!(output, encryption, key);
    Ok(output)
}

/// A part number that can exist.
pub(super) fn part_number(number: i32) -> S3Result<u32> {
    let known = u32::try_from(number).ok().filter(|number| (1..=limits::PART_NUMBER_MAX).contains(number));
    let message = "Part number must be an integer between 1 and 10000, inclusive";
    known.ok_or_else(|| refused(S3ErrorCode::InvalidArgument, message))
}

pub(super) async fn upload_part(mapper: &Mapper, request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let S3Request { input, headers, trailing_headers, .. } = request;
    let number = part_number(input.part_number)?;
    let checks = body_checks(&headers, trailing_headers, input.content_length, input.content_md5.as_deref())?;
    let upload = UploadName { bucket: input.bucket.clone(), key: input.key.clone(), upload_id: input.upload_id.clone() };
    let key = customer_key!(input)?;
    let encryption = sse::check_upload(mapper, &upload, key.as_ref()).await?;
    let part = mapper.objects.upload_part(&upload, number, checks, body(input.body)).await.map_err(s3_error)?;
    let mut output = UploadPartOutput { e_tag: Some(etag(&part.etag)), ..Default::default() };
    show_checksums!(output, &part.checksums);
    show_encryption!(output, encryption, key);
    Ok(output)
}

/// The checksums named beside a part.
fn part_checksums(part: &CompletedPart) -> S3Result<Vec<(Algorithm, Vec<u8>)>> {
    let named = [
        (Algorithm::Crc32, &part.checksum_crc32),
        (Algorithm::Crc32c, &part.checksum_crc32c),
        (Algorithm::Crc64Nvme, &part.checksum_crc64nvme),
        (Algorithm::Sha1, &part.checksum_sha1),
        (Algorithm::Sha256, &part.checksum_sha256),
    ];
    let values = named.into_iter().filter_map(|(algorithm, text)| Some((algorithm, text.as_deref()?)));
    values.map(|(algorithm, text)| Ok((algorithm, checksum::value(algorithm, text)?))).collect()
}

fn complete_request(input: CompleteMultipartUploadInput, headers: &HeaderMap) -> S3Result<CompleteRequest> {
    let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > limits::PART_NUMBER_MAX as usize {
        return Err(S3ErrorCode::MalformedXML.into());
    }
    let part = |part: CompletedPart| -> S3Result<CompletePart> {
        let checksums = part_checksums(&part)?;
        let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
            return Err(S3ErrorCode::MalformedXML.into());
        };
        Ok(CompletePart { number: part_number(number)?, etag: etag.into_value(), checksums })
    };
    let len = input.mpu_object_size.map(u64::try_from).transpose();
    let len = len.map_err(|_| refused(S3ErrorCode::InvalidRequest, "Value for x-amz-mp-object-size header is invalid."))?;
    Ok(CompleteRequest {
        parts: parts.into_iter().map(part).collect::<S3Result<_>>()?,
        upload: UploadName { bucket: input.bucket, key: input.key, upload_id: input.upload_id },
        checksum: checksum::in_headers(headers)?,
        checksum_kind: input.checksum_type.map(|name| checksum::kind(name.as_str())).transpose()?,
        len,
        conditions: write_conditions(input.if_match, input.if_none_match),
    })
}

pub(super) async fn complete(
    mapper: &Mapper,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let S3Request { input, headers, extensions, .. } = request;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let location = format!("http://{host}/{}/{}", input.bucket, input.key);
    let key = customer_key!(input)?;
    let complete = complete_request(input, &headers)?;
    check_complete(mapper, &complete.upload, key.as_ref()).await?;
    let objects = mapper.objects.clone();
    // in a task of its own: the client may go away, the completion does not
    let mut running = tokio::spawn(async move { objects.complete_upload(complete).await });
    let finish = move |done: Result<Result<ObjectInfo, _>, tokio::task::JoinError>| -> S3Result<_> {
        let stored = done.map_err(S3Error::internal_error)?.map_err(s3_error)?;
        Ok(completed(&stored, location))
    };
    match tokio::time::timeout(QUIET_MAX, &mut running).await {
        Ok(done) => finish(done),
        Err(_) => {
            let id = extensions.get::<RequestId>().cloned();
            let late = async move {
                finish(running.await).map_err(|mut error| {
                    if let Some(RequestId(id)) = id {
                        error.set_request_id(&*id);
                    }
                    error
                })
            };
            Ok(CompleteMultipartUploadOutput { future: Some(Box::pin(late)), ..Default::default() })
        }
    }
}

/// An upload with a customer's key that keeps checksums is completed with that key, as in S3.
async fn check_complete(mapper: &Mapper, upload: &UploadName, key: Option<&sse::CustomerKey>) -> S3Result<()> {
    match mapper.objects.head_upload(upload).await {
        Ok(begun) if key.is_some() || begun.checksum.is_some() => sse::check_read(begun.control.encryption, key),
        _ => Ok(()), // what else is wrong is said by the completion
    }
}

fn completed(stored: &ObjectInfo, location: String) -> CompleteMultipartUploadOutput {
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(stored.bucket.clone()),
        checksum_type: shown_kind(&stored.checksums),
        e_tag: Some(etag(&stored.etag)),
        key: Some(stored.key.clone()),
        location: Some(location),
        version_id: stored.named.then(|| stored.version.to_string()),
        ..Default::default()
    };
    if stored.control.encryption == crate::objects::api::Encryption::Named {
        output.server_side_encryption = Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256));
    }
    show_checksums!(output, &stored.checksums);
    output
}

pub(super) async fn abort(
    mapper: &Mapper,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let input = request.input;
    let upload = UploadName { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
    mapper.objects.abort_upload(&upload).await.map_err(s3_error)?;
    Ok(AbortMultipartUploadOutput::default())
}

fn initiator(name: &str) -> Initiator {
    Initiator { display_name: Some(name.to_owned()), id: Some(name.to_owned()) }
}

/// Who will own the object.
fn owner_of<'a>(upload: &'a UploadInfo, bucket_owner: &'a str) -> &'a str {
    if upload.control.owner.is_empty() { bucket_owner } else { &upload.control.owner }
}

fn class(upload: &UploadInfo) -> StorageClass {
    StorageClass::from(upload.storage_class.clone().unwrap_or_else(|| STANDARD.to_owned()))
}

pub(super) async fn list_parts(mapper: &Mapper, request: S3Request<ListPartsInput>) -> S3Result<ListPartsOutput> {
    let S3Request { input, extensions, .. } = request;
    let bucket_owner = Access::of(&extensions)?.bucket()?.info.owner.clone();
    let max_parts = page_len(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let after = u32::try_from(marker)
        .map_err(|_| refused(S3ErrorCode::InvalidArgument, "Argument part-number-marker must not be negative"))?;
    let name = UploadName { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
    let page = mapper.objects.list_parts(&name, after, max_parts).await.map_err(s3_error)?;
    let part = |part: &crate::objects::api::PartInfo| {
        let mut shown = Part {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified)),
            part_number: i32::try_from(part.number).ok(),
            size: Some(signed_len(part.len)),
            ..Default::default()
        };
        show_checksums!(shown, &part.checksums);
        shown
    };
    Ok(ListPartsOutput {
        checksum_algorithm: page.upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: page.upload.checksum.map(|(_, kind)| kind_name(kind)),
        initiator: Some(initiator(&page.upload.initiator)),
        is_truncated: Some(page.next.is_some()),
        max_parts: i32::try_from(max_parts).ok(),
        next_part_number_marker: page.next.and_then(|next| i32::try_from(next).ok()),
        owner: Some(shown_owner(owner_of(&page.upload, &bucket_owner))),
        part_number_marker: Some(marker),
        parts: Some(page.parts.iter().map(part).collect()),
        storage_class: Some(class(&page.upload)),
        bucket: Some(name.bucket),
        key: Some(name.key),
        upload_id: Some(name.upload_id),
        ..Default::default()
    })
}

pub(super) async fn list_uploads(
    mapper: &Mapper,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let S3Request { input, extensions, .. } = request;
    let bucket_owner = Access::of(&extensions)?.bucket()?.info.owner.clone();
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let max_uploads = page_len(input.max_uploads, "max-uploads")?;
    let prefix = input.prefix.unwrap_or_default();
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let list = ListUploadsRequest {
        bucket: input.bucket.clone(),
        prefix: prefix.clone(),
        delimiter: delimiter.clone(),
        key_marker: input.key_marker.clone().filter(|marker| !marker.is_empty()),
        upload_id_marker: input.upload_id_marker.clone().filter(|marker| !marker.is_empty()),
        max_uploads,
    };
    let page = mapper.objects.list_uploads(list).await.map_err(s3_error)?;
    let keys = page.uploads.iter().map(|upload| &*upload.key).chain(page.common_prefixes.iter().map(|prefix| &**prefix));
    let asked = [Some(&*prefix), delimiter.as_deref(), input.key_marker.as_deref()].into_iter().flatten();
    let encoding = encoding.for_all(keys.chain(asked));
    let upload = |upload: &UploadInfo| MultipartUpload {
        checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
        checksum_type: upload.checksum.map(|(_, kind)| kind_name(kind)),
        initiated: Some(timestamp(upload.initiated)),
        initiator: Some(initiator(&upload.initiator)),
        key: Some(encoding.key(&upload.key)),
        owner: Some(shown_owner(owner_of(upload, &bucket_owner))),
        storage_class: Some(class(upload)),
        upload_id: Some(upload.upload_id.clone()),
    };
    let (next_key, next_upload) = page.next.clone().unzip();
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(common_prefixes(&page.common_prefixes, encoding)),
        delimiter: delimiter.map(|delimiter| encoding.key(&delimiter)),
        encoding_type: encoding.shown(),
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(encoding.key(&input.key_marker.unwrap_or_default())),
        max_uploads: i32::try_from(max_uploads).ok(),
        next_key_marker: next_key.map(|key| encoding.key(&key)),
        next_upload_id_marker: next_upload,
        prefix: Some(encoding.key(&prefix)),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        uploads: Some(page.uploads.iter().map(upload).collect()),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(parts: Vec<CompletedPart>) -> CompleteMultipartUploadInput {
        CompleteMultipartUploadInput {
            bucket: "b".into(),
            key: "k".into(),
            upload_id: "u".into(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
            ..Default::default()
        }
    }

    fn part(number: Option<i32>, tag: Option<&str>) -> CompletedPart {
        CompletedPart { part_number: number, e_tag: tag.map(etag), ..Default::default() }
    }

    #[test]
    fn completions_are_read_or_refused() {
        let no_headers = HeaderMap::new();
        let good = complete_request(request(vec![part(Some(1), Some("a")), part(Some(3), Some("b"))]), &no_headers);
        let numbers: Vec<u32> = good.expect("good").parts.iter().map(|part| part.number).collect();
        assert_eq!(numbers, [1, 3]);
        let checksummed = CompletedPart { checksum_crc32: Some("not base64".into()), ..part(Some(1), Some("a")) };
        for (parts, expected) in [
            (vec![], "MalformedXML"),
            (vec![part(None, Some("a"))], "MalformedXML"),
            (vec![part(Some(1), None)], "MalformedXML"),
            (vec![part(Some(0), Some("a"))], "InvalidArgument"),
            (vec![part(Some(10_001), Some("a"))], "InvalidArgument"),
            (vec![checksummed], "BadDigest"),
        ] {
            let error = complete_request(request(parts), &no_headers).err().expect("it is refused");
            assert_eq!(error.code().as_str(), expected);
        }
        let negative = CompleteMultipartUploadInput { mpu_object_size: Some(-1), ..request(vec![part(Some(1), Some("a"))]) };
        assert!(complete_request(negative, &no_headers).is_err());
    }
}
