//! Errors: the one place where an error of the object store or of a request body becomes an S3 error.
//!
//! Never: text of an internal error to a client; it is logged instead. Limits: every case of [`ObjectError`] is spelled out.

use std::error::Error as StdError;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{BodySizeLimitExceeded, S3Error, S3ErrorCode};

use super::stall::BodyStalled;
use crate::objects::api::{BodyError, ObjectError};

/// Why a body was refused, as S3 names it. Travels through the object store inside [`BodyError::Refused`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct BodyRefusal {
    code: &'static str,
    message: &'static str,
}

const SHA256_MISMATCH: BodyRefusal = BodyRefusal {
    code: "XAmzContentSHA256Mismatch",
    message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
};
const SIGNATURE: BodyRefusal = BodyRefusal {
    code: "SignatureDoesNotMatch",
    message: "The signature of a chunk or of the trailer does not match what was computed.",
};
const INCOMPLETE: BodyRefusal = BodyRefusal {
    code: "IncompleteBody",
    message: "You did not provide the number of bytes specified by the Content-Length HTTP header.",
};
const FRAMING: BodyRefusal =
    BodyRefusal { code: "InvalidRequest", message: "The aws-chunked framing of the body or its trailer is malformed." };
const CHUNK_TOO_LARGE: BodyRefusal =
    BodyRefusal { code: "EntityTooLarge", message: "A chunk of the aws-chunked body is larger than this gateway takes." };
const TOO_LARGE: BodyRefusal =
    BodyRefusal { code: "EntityTooLarge", message: "Your proposed upload exceeds the maximum allowed object size." };
const STALLED: BodyRefusal = BodyRefusal {
    code: "RequestTimeout",
    message: "Your socket connection to the server was not read from or written to within the timeout period.",
};

/// What a sender hears whose body stopped arriving.
pub(super) fn stalled() -> S3Error {
    custom(STALLED.code, StatusCode::BAD_REQUEST, STALLED.message)
}

/// What is wrong with a body that ended in `error`.
pub(super) fn body_error(error: Box<dyn StdError + Send + Sync>) -> BodyError {
    match refusal(error.as_ref()) {
        Some(refusal) => BodyError::Refused(Arc::new(refusal)),
        None => BodyError::Broken(error.to_string()),
    }
}

fn refusal(error: &(dyn StdError + 'static)) -> Option<BodyRefusal> {
    if let Some(error) = error.downcast_ref::<UploadStreamError>() {
        return match error {
            UploadStreamError::Underlying(source) => refusal(source.as_ref()),
            UploadStreamError::Sha256Mismatch => Some(SHA256_MISMATCH),
            UploadStreamError::LengthMismatch | UploadStreamError::Incomplete => Some(INCOMPLETE),
        };
    }
    if let Some(error) = error.downcast_ref::<AwsChunkedStreamError>() {
        return match error {
            AwsChunkedStreamError::Underlying(source) => refusal(source.as_ref()),
            AwsChunkedStreamError::SignatureMismatch => Some(SIGNATURE),
            AwsChunkedStreamError::Incomplete | AwsChunkedStreamError::LengthMismatch => Some(INCOMPLETE),
            AwsChunkedStreamError::ChunkDataTooLarge(..) => Some(CHUNK_TOO_LARGE),
            AwsChunkedStreamError::FormatError
            | AwsChunkedStreamError::ChunkMetaTooLarge(..)
            | AwsChunkedStreamError::TrailersTooLarge(..)
            | AwsChunkedStreamError::TooManyTrailerHeaders(..) => Some(FRAMING),
        };
    }
    if error.is::<BodySizeLimitExceeded>() {
        return Some(TOO_LARGE);
    }
    error.is::<BodyStalled>().then_some(STALLED)
}

/// An S3 error by its name; `status` is for a name that the S3 library does not know.
pub(super) fn custom(code: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let known = S3ErrorCode::from_bytes(code.as_bytes());
    let mut error = refused(known.unwrap_or_else(|| S3ErrorCode::Custom(code.into())), message);
    if error.status_code().is_none() {
        error.set_status_code(status);
    }
    error
}

/// The body is not the one that was signed.
pub(super) fn hash_mismatch() -> S3Error {
    custom(SHA256_MISMATCH.code, StatusCode::BAD_REQUEST, SHA256_MISMATCH.message)
}

/// An S3 error with a message.
pub(super) fn refused(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// The S3 error for what the object store answered.
pub(super) fn s3_error(error: ObjectError) -> S3Error {
    use ObjectError as E;
    use S3ErrorCode as C;
    let text = error.to_string();
    match error {
        E::NoSuchBucket => refused(C::NoSuchBucket, "The specified bucket does not exist"),
        E::NoSuchKey => refused(C::NoSuchKey, "The specified key does not exist."),
        E::NoSuchVersion => refused(C::NoSuchVersion, "The specified version does not exist."),
        E::DeleteMarker { version, modified, by_id } => delete_marker(version, modified, by_id),
        E::Locked => refused(C::AccessDenied, "Access Denied because object protected by object lock."),
        E::InvalidBucketState(_) => refused(C::InvalidBucketState, text),
        E::NoSuchUpload => refused(
            C::NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        ),
        E::BucketAlreadyExists => C::BucketAlreadyExists.into(),
        E::BucketAlreadyOwned => C::BucketAlreadyOwnedByYou.into(),
        E::BucketNotEmpty => refused(C::BucketNotEmpty, "The bucket you tried to delete is not empty"),
        E::InvalidBucketName => refused(C::InvalidBucketName, text),
        E::TooManyBuckets { .. } => refused(C::TooManyBuckets, text),
        E::KeyTooLong { .. } => refused(C::KeyTooLongError, text),
        E::InvalidArgument { .. } => refused(C::InvalidArgument, text),
        E::InvalidRequest(_) => refused(C::InvalidRequest, text),
        E::MetadataTooLarge { .. } => refused(C::MetadataTooLarge, text),
        E::InvalidPart { .. } => refused(C::InvalidPart, text),
        E::InvalidPartOrder => refused(C::InvalidPartOrder, text),
        E::EntityTooSmall { .. } => refused(C::EntityTooSmall, text),
        E::EntityTooLarge { .. } => refused(C::EntityTooLarge, text),
        E::BadDigest => refused(C::BadDigest, "The Content-MD5 you specified did not match what we received."),
        E::ChecksumMismatch { .. } => refused(C::BadDigest, text),
        E::IncompleteBody { .. } => refused(C::IncompleteBody, text),
        E::Body(error) => body_refused(error),
        E::PreconditionFailed { .. } => refused(C::PreconditionFailed, text),
        E::NotModified => C::NotModified.into(),
        E::InvalidRange { len } => range_error(len),
        E::NoSuchPart { .. } => custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, text),
        E::Replaced => refused(C::OperationAborted, text),
        E::BudgetReached { .. } => custom("QuotaExceeded", StatusCode::FORBIDDEN, text),
        E::NotEnoughProviders(_) | E::Unavailable(_) => {
            tracing::warn!(error = %text, "the network cannot serve a request");
            refused(C::ServiceUnavailable, text)
        }
        E::Stopping => refused(C::ServiceUnavailable, text),
        E::NoSuchAccessKey => C::InvalidAccessKeyId.into(),
        E::Internal(_) => {
            tracing::error!(error = %text, "a request failed inside the gateway");
            refused(C::InternalError, "We encountered an internal error. Please try again.")
        }
    }
}

fn body_refused(error: BodyError) -> S3Error {
    match error {
        BodyError::Broken(reason) => refused(S3ErrorCode::IncompleteBody, format!("The request body broke off: {reason}")),
        BodyError::Refused(source) => match source.downcast_ref::<BodyRefusal>() {
            Some(refusal) => custom(refusal.code, StatusCode::BAD_REQUEST, refusal.message),
            None => refused(S3ErrorCode::InvalidRequest, "The request body was refused."),
        },
    }
}

/// What S3 answers about a delete marker: 404 for the object, 405 for the marker itself, with headers that say which it is.
fn delete_marker(version: crate::objects::api::VersionRef, modified: cairn_types::UnixMs, by_id: bool) -> S3Error {
    let mut error = match by_id {
        true => refused(S3ErrorCode::MethodNotAllowed, "The specified method is not allowed against this resource."),
        false => refused(S3ErrorCode::NoSuchKey, "The specified key does not exist."),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(value) = HeaderValue::try_from(version.to_string()) {
        headers.insert("x-amz-version-id", value);
    }
    if by_id {
        headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
        headers.extend(super::headers::last_modified(modified).map(|value| (header::LAST_MODIFIED, value)));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(headers);
    error
}

/// 416 with the length of the object, as RFC 9110 §14.4 wants it.
pub(super) fn range_error(len: u64) -> S3Error {
    let mut error = refused(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::api::ChecksumAlgorithm;

    #[test]
    fn each_answer_of_the_store_has_its_s3_code_and_status() {
        let text = || "x".to_owned();
        for (error, code, status) in [
            (ObjectError::NoSuchBucket, "NoSuchBucket", 404),
            (ObjectError::NoSuchKey, "NoSuchKey", 404),
            (ObjectError::BudgetReached { cost: Default::default(), max: Default::default() }, "QuotaExceeded", 403),
            (ObjectError::NoSuchUpload, "NoSuchUpload", 404),
            (ObjectError::BucketAlreadyExists, "BucketAlreadyExists", 409),
            (ObjectError::BucketAlreadyOwned, "BucketAlreadyOwnedByYou", 409),
            (ObjectError::BucketNotEmpty, "BucketNotEmpty", 409),
            (ObjectError::InvalidBucketName, "InvalidBucketName", 400),
            (ObjectError::TooManyBuckets { max: 1 }, "TooManyBuckets", 400),
            (ObjectError::KeyTooLong { len: 2, max: 1 }, "KeyTooLongError", 400),
            (ObjectError::InvalidArgument { name: "a", reason: text() }, "InvalidArgument", 400),
            (ObjectError::InvalidRequest(text()), "InvalidRequest", 400),
            (ObjectError::MetadataTooLarge { what: "a", len: 2, max: 1 }, "MetadataTooLarge", 400),
            (ObjectError::InvalidPart { number: 1 }, "InvalidPart", 400),
            (ObjectError::InvalidPartOrder, "InvalidPartOrder", 400),
            (ObjectError::EntityTooSmall { number: 1, len: 1, min: 2 }, "EntityTooSmall", 400),
            (ObjectError::EntityTooLarge { max: 1 }, "EntityTooLarge", 400),
            (ObjectError::BadDigest, "BadDigest", 400),
            (ObjectError::ChecksumMismatch { algorithm: ChecksumAlgorithm::Crc32 }, "BadDigest", 400),
            (ObjectError::IncompleteBody { received: 1, expected: 2 }, "IncompleteBody", 400),
            (ObjectError::Body(BodyError::Broken(text())), "IncompleteBody", 400),
            (ObjectError::PreconditionFailed { condition: "If-Match" }, "PreconditionFailed", 412),
            (ObjectError::NotModified, "NotModified", 304),
            (ObjectError::InvalidRange { len: 1 }, "InvalidRange", 416),
            (ObjectError::NoSuchPart { number: 1 }, "InvalidPartNumber", 416),
            (ObjectError::Replaced, "OperationAborted", 409),
            (ObjectError::NotEnoughProviders(text()), "ServiceUnavailable", 503),
            (ObjectError::Unavailable(text()), "ServiceUnavailable", 503),
            (ObjectError::Stopping, "ServiceUnavailable", 503),
            (ObjectError::NoSuchAccessKey, "InvalidAccessKeyId", 403),
            (ObjectError::Internal("a path on disk".into()), "InternalError", 500),
        ] {
            let shown = format!("{error:?}");
            let mapped = s3_error(error);
            assert_eq!(mapped.code().as_str(), code, "{shown}");
            assert_eq!(mapped.status_code().map(|status| status.as_u16()), Some(status), "{shown}");
            assert!(!mapped.message().unwrap_or_default().contains("path on disk"), "an internal text went out");
        }
    }

    #[test]
    fn each_failure_of_a_body_has_its_s3_code() {
        let cases: Vec<(Box<dyn StdError + Send + Sync>, &str, u16)> = vec![
            (Box::new(UploadStreamError::Sha256Mismatch), "XAmzContentSHA256Mismatch", 400),
            (Box::new(UploadStreamError::Incomplete), "IncompleteBody", 400),
            (Box::new(UploadStreamError::LengthMismatch), "IncompleteBody", 400),
            (Box::new(UploadStreamError::Underlying(Box::new(BodyStalled))), "RequestTimeout", 400),
            (Box::new(UploadStreamError::Underlying("reset by peer".into())), "IncompleteBody", 400),
            (Box::new(AwsChunkedStreamError::SignatureMismatch), "SignatureDoesNotMatch", 403),
            (Box::new(AwsChunkedStreamError::Incomplete), "IncompleteBody", 400),
            (Box::new(AwsChunkedStreamError::LengthMismatch), "IncompleteBody", 400),
            (Box::new(AwsChunkedStreamError::FormatError), "InvalidRequest", 400),
            (Box::new(AwsChunkedStreamError::ChunkDataTooLarge(2, 1)), "EntityTooLarge", 400),
            (Box::new(AwsChunkedStreamError::Underlying(Box::new(BodyStalled))), "RequestTimeout", 400),
            (Box::new(BodySizeLimitExceeded { size: 2, limit: 1 }), "EntityTooLarge", 400),
            (Box::new(BodyStalled), "RequestTimeout", 400),
            ("connection reset".into(), "IncompleteBody", 400),
        ];
        for (error, code, status) in cases {
            let shown = format!("{error:?}");
            let mapped = s3_error(ObjectError::Body(body_error(error)));
            assert_eq!(mapped.code().as_str(), code, "{shown}");
            assert_eq!(mapped.status_code().map(|status| status.as_u16()), Some(status), "{shown}");
        }
    }
}
