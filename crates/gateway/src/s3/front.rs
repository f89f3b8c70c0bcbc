//! Front: what happens to each request before and after the S3 library: an id, a guard on its body, a log line.
//!
//! Never: a query string in a log; it may hold a signature. Limits: only bodies of errors are looked into, and they are small.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use s3s::service::S3Service;
use s3s::{S3Error, S3ErrorCode};

use super::cors::{Cors, outline};
use super::errors::{hash_mismatch, refused};
use super::server::PRESIGNED_SECS_MAX;
use super::stall::GuardedBody;
use super::witness::{Witness, WitnessedBody};
use crate::drained::Drained;

/// Id of one request: in the `x-amz-request-id` header, in the XML of an error, in the log.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// Hands out request ids: unique within a process, and likely among all.
struct RequestIds {
    mask: u64,
    count: AtomicU64,
}

impl RequestIds {
    fn next(&self) -> RequestId {
        // an odd factor permutes u64, so ids do not repeat and do not look like a counter
        let count = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        RequestId(format!("{:016X}", count ^ self.mask).into())
    }
}

/// The S3 service as axum mounts it.
#[derive(Clone)]
pub(super) struct Front {
    service: S3Service,
    ids: Arc<RequestIds>,
    region: HeaderValue,
    body_idle: Duration,
    cors: Cors,
}

impl Front {
    /// `region` goes into `x-amz-bucket-region`; clients that guessed another one learn it there.
    pub(super) fn new(service: S3Service, region: HeaderValue, body_idle: Duration, cors: Cors) -> Front {
        let ids = Arc::new(RequestIds { mask: rand::random(), count: AtomicU64::new(0) });
        Front { service, ids, region, body_idle, cors }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let begun = Instant::now();
        let id = self.ids.next();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let bodiless_expect = request.headers().contains_key(header::EXPECT) && hyper::body::Body::is_end_stream(request.body());
        let (parts, body) = request.into_parts();
        let body = Drained::new(body, &parts.headers);
        let outline = outline(&parts);
        let mut response = match early_refusal(&parts) {
            Some(error) => error_response(error),
            None if method == Method::OPTIONS => self.cors.preflight(&parts).await.unwrap_or_else(error_response),
            None => self.pass_on(parts, body, &id).await,
        };
        self.cors.extend(&outline, &mut response).await;
        self.finish(&mut response, &method, &path, &id);
        if bodiless_expect {
            // With nothing to wait for, HTTP allows a final answer without `100 Continue`; botocore then misreads the next answer.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status().as_u16();
        let head_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match status {
            500.. => tracing::warn!(request_id = %id.0, %method, path, status, head_ms, "request failed"),
            400.. => tracing::info!(request_id = %id.0, %method, path, status, head_ms, "request refused"),
            _ => tracing::debug!(request_id = %id.0, %method, path, status, head_ms, "request answered"),
        }
        response.map(Body::new)
    }

    async fn pass_on(&self, mut parts: Parts, body: Drained<Body>, id: &RequestId) -> Response<s3s::Body> {
        parts.extensions.insert(id.clone());
        let witness = Witness::of(&parts.method, &parts.uri, &parts.headers);
        let mut broken = Arc::default();
        let body = match hyper::body::Body::is_end_stream(&body) {
            true => s3s::Body::empty(),
            false => {
                let guarded = GuardedBody::new(body, self.body_idle);
                broken = guarded.broken();
                s3s::Body::http_body_unsync(WitnessedBody::new(guarded, witness.clone()))
            }
        };
        let response = self.service.call(Request::from_parts(parts, body)).await.unwrap_or_else(|error| {
            tracing::error!(request_id = %id.0, %error, "the S3 library failed");
            error_response(S3ErrorCode::InternalError.into())
        });
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR && broken.load(Ordering::Relaxed) {
            return error_response(super::errors::stalled());
        }
        match witness {
            Some(witness) if response.status() == StatusCode::INTERNAL_SERVER_ERROR && witness.contradicts() => {
                error_response(hash_mismatch())
            }
            _ => policy_refusal(&response).unwrap_or(response),
        }
    }

    fn finish(&self, response: &mut Response<s3s::Body>, method: &Method, path: &str, id: &RequestId) {
        let status = response.status();
        if status.as_u16() >= 400
            && let Some(body) = response.body().bytes()
            && let Some(named) = name_error(&body, path, id, self.region.to_str().unwrap_or_default())
        {
            response.headers_mut().remove(header::CONTENT_LENGTH);
            *response.body_mut() = s3s::Body::from(named);
        }
        // the S3 library always answers HEAD with 200
        if *method == Method::HEAD && status == StatusCode::OK && response.headers().contains_key(header::CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let headers = response.headers_mut();
        headers.insert("x-amz-request-id", HeaderValue::try_from(&*id.0).expect("hex digits are a header value"));
        headers.insert(header::SERVER, HeaderValue::from_static("Cairn"));
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
            headers.insert("x-amz-bucket-region", self.region.clone());
        }
    }
}

/// A form that its own policy does not allow: the S3 library calls the policy invalid, S3 denies the upload.
fn policy_refusal(response: &Response<s3s::Body>) -> Option<Response<s3s::Body>> {
    if response.status() != StatusCode::BAD_REQUEST {
        return None;
    }
    let body = response.body().bytes()?;
    let text = std::str::from_utf8(&body).ok().filter(|text| text.contains("<Code>InvalidPolicyDocument</Code>"))?;
    let failed = text.contains("<Message>Policy condition ") || text.contains("<Message>Bucket in form field ");
    failed.then(|| error_response(refused(S3ErrorCode::AccessDenied, "Invalid according to Policy: Policy Condition failed")))
}

/// Refuses what must not reach the S3 library: it would hold the file of a form of unknown length in memory, and fails over its own words.
fn early_refusal(request: &Parts) -> Option<S3Error> {
    let form = request
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data"));
    if request.method == Method::POST && form && !request.headers.contains_key(header::CONTENT_LENGTH) {
        return Some(refused(S3ErrorCode::MissingContentLength, "You must provide the Content-Length HTTP header."));
    }
    let query = || request.uri.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let authorization = request.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    if authorization.is_some_and(|value| value.starts_with(b"AWS ")) || query().any(|(name, _)| name == "AWSAccessKeyId") {
        let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        return Some(refused(S3ErrorCode::InvalidRequest, message));
    }
    // The library's refusals repeat what they refuse, and XML could not hold this.
    let unspeakable = |(name, value): (&str, &str)| {
        let text = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        !LISTED.contains(&name) && !super::list::fits_xml(&text)
    };
    if let Some((name, _)) = query().find(|pair| unspeakable(*pair)) {
        return Some(refused(S3ErrorCode::InvalidArgument, format!("The value of {name} has a character that XML cannot hold")));
    }
    let expires = query().find(|(name, _)| *name == "X-Amz-Expires");
    if expires.is_some_and(|(_, secs)| !secs.parse().is_ok_and(|secs: u32| (1..=PRESIGNED_SECS_MAX).contains(&secs))) {
        return Some(refused(S3ErrorCode::AccessDenied, "X-Amz-Expires must be between 1 second and a week"));
    }
    None
}

/// Parameters of listings, whose answers can be url-encoded, so that any value will do.
const LISTED: [&str; 6] = ["prefix", "delimiter", "marker", "start-after", "key-marker", "upload-id-marker"];

fn error_response(error: S3Error) -> Response<s3s::Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(s3s::Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Adds resource and request id to the XML of an error, and the right region when it is about a wrong one.
fn name_error(body: &[u8], path: &str, id: &RequestId, region: &str) -> Option<Vec<u8>> {
    const END: &[u8] = b"</Error>";
    let open = body.strip_suffix(END)?;
    let mut named = open.to_vec();
    let contains = |needle: &[u8]| body.windows(needle.len()).any(|window| window == needle);
    if contains(b"<Code>AuthorizationHeaderMalformed</Code>") {
        push_element(&mut named, "Region", region);
    }
    push_element(&mut named, "Resource", path);
    if !contains(b"<RequestId>") {
        push_element(&mut named, "RequestId", &id.0);
    }
    named.extend_from_slice(END);
    Some(named)
}

fn push_element(xml: &mut Vec<u8>, name: &str, text: &str) {
    xml.extend_from_slice(format!("<{name}>").as_bytes());
    for character in text.chars() {
        match character {
            '<' => xml.extend_from_slice(b"&lt;"),
            '>' => xml.extend_from_slice(b"&gt;"),
            '&' => xml.extend_from_slice(b"&amp;"),
            character if character.is_control() => {}
            character => xml.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    xml.extend_from_slice(format!("</{name}>").as_bytes());
}

impl tower::Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ() {
        let ids = RequestIds { mask: 7, count: AtomicU64::new(0) };
        let seen: std::collections::HashSet<String> = (0..1000).map(|_| ids.next().0.to_string()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|id| id.len() == 16));
    }

    #[test]
    fn the_xml_of_an_error_gains_its_id_once() {
        let id = RequestId("00AA".into());
        let named =
            |body: &str| name_error(body.as_bytes(), "/b/<&>", &id, "eu").map(|xml| String::from_utf8(xml).expect("text"));
        let expected = "<Error><Code>A</Code><Resource>/b/&lt;&amp;&gt;</Resource><RequestId>00AA</RequestId></Error>";
        assert_eq!(named("<Error><Code>A</Code></Error>").as_deref(), Some(expected));
        assert!(named("<Error><Code>AuthorizationHeaderMalformed</Code></Error>").expect("xml").contains("<Region>eu</Region>"));
        assert_eq!(named("<Error><RequestId>1</RequestId></Error>").expect("xml").matches("<RequestId>").count(), 1);
        assert_eq!(named("not xml"), None);
    }
}
