//! Answers of the native API: one mapping from object errors to status, code and remedy.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::objects::api::ObjectError;

/// An error as the native API gives it: `{"error":{"code","message","remedy"}}`.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    remedy: &'static str,
}

impl Refused {
    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Refused { status: StatusCode::BAD_REQUEST, code: "BadRequest", message: message.into(), remedy: "" }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message, "remedy": self.remedy}});
        (self.status, Json(body)).into_response()
    }
}

impl From<ObjectError> for Refused {
    fn from(error: ObjectError) -> Self {
        let (status, code, remedy) = classify(&error);
        if status.is_server_error() {
            tracing::warn!(%error, code, "native request failed");
        }
        Refused { status, code, message: error.to_string(), remedy }
    }
}

fn classify(error: &ObjectError) -> (StatusCode, &'static str, &'static str) {
    use ObjectError as E;
    use StatusCode as S;
    match error {
        E::NoSuchBucket => (S::NOT_FOUND, "NoSuchBucket", "cairn ls shows the buckets, cairn mb makes one"),
        E::NoSuchKey => (S::NOT_FOUND, "NoSuchKey", "cairn ls shows the objects of a bucket"),
        E::NoSuchVersion => (S::NOT_FOUND, "NoSuchVersion", ""),
        E::DeleteMarker { .. } => (S::NOT_FOUND, "NoSuchKey", "the bucket keeps versions: an older one may be there"),
        E::Locked => (S::FORBIDDEN, "Locked", "wait until its retention is over, or take the legal hold away"),
        E::InvalidBucketState(_) => (S::CONFLICT, "InvalidBucketState", ""),
        E::NoSuchUpload => (S::NOT_FOUND, "NoSuchUpload", ""),
        E::NoSuchAccessKey => (S::NOT_FOUND, "NoSuchAccessKey", "cairn key list shows the keys"),
        E::BucketAlreadyExists => (S::CONFLICT, "BucketAlreadyExists", "choose another name"),
        E::BucketAlreadyOwned => (S::CONFLICT, "BucketAlreadyOwned", ""),
        E::BucketNotEmpty => (S::CONFLICT, "BucketNotEmpty", "cairn rm -r BUCKET deletes its objects and the bucket"),
        E::InvalidBucketName => (S::BAD_REQUEST, "InvalidBucketName", "choose another name"),
        E::TooManyBuckets { .. } => (S::BAD_REQUEST, "TooManyBuckets", "delete a bucket"),
        E::KeyTooLong { .. } => (S::BAD_REQUEST, "KeyTooLong", "choose a shorter key"),
        E::InvalidArgument { .. } => (S::BAD_REQUEST, "InvalidArgument", ""),
        E::InvalidRequest(_) => (S::BAD_REQUEST, "InvalidRequest", ""),
        E::MetadataTooLarge { .. } => (S::BAD_REQUEST, "MetadataTooLarge", ""),
        E::InvalidPart { .. } => (S::BAD_REQUEST, "InvalidPart", ""),
        E::InvalidPartOrder => (S::BAD_REQUEST, "InvalidPartOrder", ""),
        E::EntityTooSmall { .. } => (S::BAD_REQUEST, "EntityTooSmall", ""),
        E::EntityTooLarge { .. } => (S::BAD_REQUEST, "EntityTooLarge", "store it in parts (multipart)"),
        E::BadDigest => (S::BAD_REQUEST, "BadDigest", "send it again"),
        E::ChecksumMismatch { .. } => (S::BAD_REQUEST, "ChecksumMismatch", "send it again"),
        E::IncompleteBody { .. } => (S::BAD_REQUEST, "IncompleteBody", "send it again"),
        E::Body(_) => (S::BAD_REQUEST, "BrokenBody", "send it again"),
        E::PreconditionFailed { .. } => (S::PRECONDITION_FAILED, "PreconditionFailed", "the object changed: look at it again"),
        E::NotModified => (S::NOT_MODIFIED, "NotModified", ""),
        E::InvalidRange { .. } => (S::RANGE_NOT_SATISFIABLE, "InvalidRange", ""),
        E::NoSuchPart { .. } => (S::RANGE_NOT_SATISFIABLE, "NoSuchPart", ""),
        E::Replaced => (S::CONFLICT, "Replaced", "ask again"),
        E::BudgetReached { .. } => (
            S::FORBIDDEN,
            "BudgetReached",
            "delete something from the bucket, or raise its budget: cairn bucket BUCKET --budget CREDITS/month",
        ),
        E::NotEnoughProviders(_) => (
            S::SERVICE_UNAVAILABLE,
            "NotEnoughProviders",
            "wait until more providers can be reached, or add space; cairn status shows who is there",
        ),
        E::Unavailable(_) => {
            (S::SERVICE_UNAVAILABLE, "Unavailable", "try again later; cairn status shows which providers are there")
        }
        E::Stopping => (S::SERVICE_UNAVAILABLE, "Stopping", "try again when the gateway is back"),
        _ => (S::INTERNAL_SERVER_ERROR, "Internal", "the gateway's log says more"),
    }
}

/// Any other path.
pub async fn no_such_route() -> Refused {
    Refused { status: StatusCode::NOT_FOUND, code: "NoSuchRoute", message: "the native API has no such path".into(), remedy: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind() {
        for (error, status, code) in [
            (ObjectError::NoSuchKey, 404, "NoSuchKey"),
            (ObjectError::BucketNotEmpty, 409, "BucketNotEmpty"),
            (ObjectError::NotEnoughProviders("3 of 8".into()), 503, "NotEnoughProviders"),
            (ObjectError::InvalidRange { len: 3 }, 416, "InvalidRange"),
            (ObjectError::BudgetReached { cost: Default::default(), max: Default::default() }, 403, "BudgetReached"),
            (ObjectError::Internal("disk".into()), 500, "Internal"),
        ] {
            let refused = Refused::from(error);
            assert_eq!((refused.status.as_u16(), refused.code), (status, code));
        }
    }
}
