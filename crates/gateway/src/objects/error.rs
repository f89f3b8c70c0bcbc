//! Everything that can go wrong with an object, one case per answer a caller must give.
//!
//! Never: a text that a caller has to parse.

use std::sync::Arc;

/// Why a body ended early or is not what its sender signed. Given by the front, handed back inside [`ObjectError::Body`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// The connection broke or the sender stopped.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// Signature, content hash or framing of the body is wrong; the front knows which S3 error that is.
    #[error("the body was refused: {0}")]
    Refused(Arc<dyn std::error::Error + Send + Sync>),
}

/// What the object store answers when it does not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// 404.
    #[error("there is no bucket of that name")]
    NoSuchBucket,
    /// 404.
    #[error("there is no object of that key")]
    NoSuchKey,
    /// 404.
    #[error("the object has no such version")]
    NoSuchVersion,
    /// 404, or 405 when it was asked for by its id.
    #[error("the object was deleted: version {version} is a delete marker")]
    DeleteMarker {
        /// Its name.
        version: super::api::VersionRef,
        /// When the object was deleted.
        modified: cairn_types::UnixMs,
        /// It was asked for by its id.
        by_id: bool,
    },
    /// 409.
    #[error("{0}")]
    InvalidBucketState(String),
    /// 403.
    #[error("the version is locked: it is under retention or a legal hold")]
    Locked,
    /// 404: unknown, aborted, or of another key.
    #[error("there is no such upload; it may have been aborted or completed")]
    NoSuchUpload,
    /// 409: owned by somebody else.
    #[error("the bucket name is taken")]
    BucketAlreadyExists,
    /// 409 (200 in us-east-1): owned by who asks.
    #[error("the bucket is already yours")]
    BucketAlreadyOwned,
    /// 409.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// 400.
    #[error("a bucket name has 3 to 63 of a-z 0-9 . - and begins and ends with a letter or digit")]
    InvalidBucketName,
    /// 400.
    #[error("more than {max} buckets")]
    TooManyBuckets {
        /// The limit.
        max: u64,
    },
    /// 400.
    #[error("the key has {len} bytes; at most {max} are allowed")]
    KeyTooLong {
        /// What came.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// 400 InvalidArgument (an empty key, a part number out of range, more than 1000 keys, an expected value of wrong length …).
    #[error("{name}: {reason}")]
    InvalidArgument {
        /// Which argument.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// 400 InvalidRequest (copy onto itself without a change, a checksum kind an algorithm does not have …).
    #[error("{0}")]
    InvalidRequest(String),
    /// 400 MetadataTooLarge.
    #[error("{what} have {len} bytes; at most {max} are allowed")]
    MetadataTooLarge {
        /// User metadata, headers or tags.
        what: &'static str,
        /// What came.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// 400 InvalidPart.
    #[error("part {number} was not found or its ETag or checksum is another")]
    InvalidPart {
        /// Which part.
        number: u32,
    },
    /// 400.
    #[error("the list of parts was not in ascending order")]
    InvalidPartOrder,
    /// 400.
    #[error("part {number} has {len} bytes; every part but the last has at least {min}")]
    EntityTooSmall {
        /// Which part.
        number: u32,
        /// Its length.
        len: u64,
        /// The limit.
        min: u64,
    },
    /// 400.
    #[error("more than {max} bytes")]
    EntityTooLarge {
        /// The limit.
        max: u64,
    },
    /// 400 BadDigest: `Content-MD5`.
    #[error("the Content-MD5 does not match what was received")]
    BadDigest,
    /// 400 BadDigest (XAmzContentChecksumMismatch): an `x-amz-checksum-*`.
    #[error("the {algorithm} checksum does not match what was received")]
    ChecksumMismatch {
        /// Which.
        algorithm: super::api::ChecksumAlgorithm,
    },
    /// 400: fewer or more bytes than were announced.
    #[error("{received} bytes came of {expected} announced")]
    IncompleteBody {
        /// What came.
        received: u64,
        /// What was announced.
        expected: u64,
    },
    /// The body stream failed: see [`BodyError`].
    #[error(transparent)]
    Body(#[from] BodyError),
    /// 412.
    #[error("a precondition does not hold: {condition}")]
    PreconditionFailed {
        /// The header's name.
        condition: &'static str,
    },
    /// 304.
    #[error("not modified")]
    NotModified,
    /// 416.
    #[error("the range lies outside the object's {len} bytes")]
    InvalidRange {
        /// Length of the object.
        len: u64,
    },
    /// 416 InvalidPartNumber.
    #[error("the object has no part {number}")]
    NoSuchPart {
        /// Which.
        number: u32,
    },
    /// 409 OperationAborted, worth a retry: the object was replaced or deleted between `head` and `read`.
    #[error("the object was replaced or deleted meanwhile")]
    Replaced,
    /// 403 QuotaExceeded: the bucket has a budget.
    #[error("the bucket's contents would cost {cost} a month; its budget is {max} a month")]
    BudgetReached {
        /// What they would cost.
        cost: cairn_types::Amount,
        /// The budget.
        max: cairn_types::Amount,
    },
    /// 503: too few providers to store durably.
    #[error("not enough providers: {0}")]
    NotEnoughProviders(String),
    /// 503: providers that hold the bytes cannot be reached now.
    #[error("the network cannot do it now: {0}")]
    Unavailable(String),
    /// 503: the gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
    /// 403: unknown access key.
    #[error("there is no such access key")]
    NoSuchAccessKey,
    /// 500: the catalog's disk failed, a record cannot be read.
    #[error("internal: {0}")]
    Internal(String),
}
