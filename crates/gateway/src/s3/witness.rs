//! Witness: hashes a small request body as it passes, so that a body other than the signed one can be told from our own failure.
//!
//! Never: for objects; their bodies are judged where they are stored. Limits: requests by POST, and those by PUT that write a bucket or a configuration: their bodies are XML or JSON.
//!
//! The S3 library answers InternalError when the hash of an XML body is wrong; it checks the hash, it only names it badly.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};

/// Queries of requests by PUT that do not store an object.
const CONFIGURATIONS: [&str; 17] = [
    "accelerate",
    "acl",
    "cors",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
    "website",
];

/// Body of a request that makes a bucket.
const BUCKET_LEN_MAX: u64 = 64 << 10;

fn len(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What was claimed of a body and what came.
#[derive(Clone)]
pub(super) struct Witness {
    claimed: [u8; 32],
    seen: Arc<Mutex<Sha256>>,
}

impl Witness {
    /// For a request that names the hash of its XML body.
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Witness> {
        let names =
            |query: &str| query.split('&').any(|pair| CONFIGURATIONS.contains(&pair.split('=').next().unwrap_or_default()));
        let small = match *method {
            Method::POST => true,
            Method::PUT if uri.query().is_some_and(names) => true,
            // a bucket; or, by the host's name, an object, and then only a small one is hashed twice
            Method::PUT => !uri.path().trim_matches('/').contains('/') && len(headers).is_some_and(|len| len <= BUCKET_LEN_MAX),
            _ => false,
        };
        let claimed = headers.get("x-amz-content-sha256").filter(|_| small)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(claimed.as_bytes(), &mut hash).ok()?;
        Some(Witness { claimed: hash, seen: Arc::default() })
    }

    /// Whether the bytes that came are not the ones that were signed.
    pub(super) fn contradicts(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.finalize().as_slice() != self.claimed
    }
}

/// A body whose bytes are shown to a witness, if there is one.
pub(super) struct WitnessedBody<B> {
    inner: B,
    witness: Option<Witness>,
}

impl<B> WitnessedBody<B> {
    pub(super) fn new(inner: B, witness: Option<Witness>) -> WitnessedBody<B> {
        WitnessedBody { inner, witness }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for WitnessedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let (Some(witness), Some(Ok(frame))) = (&self.witness, &frame)
            && let Some(bytes) = frame.data_ref()
        {
            witness.seen.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
