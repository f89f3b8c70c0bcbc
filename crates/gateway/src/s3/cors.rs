//! CORS: the configuration, what a browser asks before it sends a request, and the headers under the answers to those it sent.
//!
//! Never: an answer to a preflight that says more than the rule. Limits: those of [`crate::rules::cors`].

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::Mapper;
use super::access::Access;
use super::config;
use super::errors::{custom, refused, s3_error};
use crate::objects::Objects;
use crate::rules::cors::{self, Ask, CorsError};
use crate::rules::names;

pub(super) async fn get(_mapper: &Mapper, request: S3Request<GetBucketCorsInput>) -> S3Result<GetBucketCorsOutput> {
    let bucket = Access::of(&request.extensions)?.bucket()?;
    let absent = custom("NoSuchCORSConfiguration", StatusCode::NOT_FOUND, "The CORS configuration does not exist");
    let configuration: CORSConfiguration = config::kept(bucket, names::CORS, absent)?;
    Ok(GetBucketCorsOutput { cors_rules: Some(configuration.cors_rules) })
}

pub(super) async fn put(mapper: &Mapper, request: S3Request<PutBucketCorsInput>) -> S3Result<PutBucketCorsOutput> {
    cors::check(&request.input.cors_configuration).map_err(|error| match error {
        CorsError::Rules => S3ErrorCode::MalformedXML.into(),
        CorsError::Method(_) | CorsError::Wildcards(..) => refused(S3ErrorCode::InvalidRequest, error.to_string()),
    })?;
    let xml = config::to_xml(&request.input.cors_configuration)?;
    config::write(mapper, &request, names::CORS, Some(xml)).await?;
    Ok(PutBucketCorsOutput {})
}

pub(super) async fn delete(mapper: &Mapper, request: S3Request<DeleteBucketCorsInput>) -> S3Result<DeleteBucketCorsOutput> {
    config::write(mapper, &request, names::CORS, None).await?;
    Ok(DeleteBucketCorsOutput {})
}

/// Finds a request's bucket and adds what its CORS rules say.
#[derive(Clone)]
pub(super) struct Cors {
    pub(super) objects: Objects,
    /// Base domain of virtual-hosted buckets.
    pub(super) domain: Option<String>,
}

impl Cors {
    /// The bucket a request is about, by its host or its path.
    pub(super) fn bucket_name(&self, parts: &Parts) -> Option<String> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(parts.uri.host()).unwrap_or_default();
        let by_host = self.domain.as_ref().and_then(|domain| {
            let host = if domain.contains(':') { host } else { host.split(':').next().unwrap_or(host) };
            host.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned)
        });
        by_host.or_else(|| {
            let first = parts.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
            (!first.is_empty()).then(|| percent_encoding::percent_decode_str(first).decode_utf8_lossy().into_owned())
        })
    }

    /// The headers that a request from another origin gets, if a rule allows it.
    pub(super) async fn headers(&self, parts: &Parts) -> S3Result<Option<HeaderMap>> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(origin), Some(bucket)) = (text(header::ORIGIN), self.bucket_name(parts)) else { return Ok(None) };
        let bucket = self.objects.bucket(&bucket).await.map_err(s3_error)?;
        let method = text(header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(parts.method.as_str());
        let ask = Ask { origin, method, headers: text(header::ACCESS_CONTROL_REQUEST_HEADERS) };
        let Some(found) = bucket.rules().cors.as_ref().and_then(|rules| cors::answer(rules, &ask)) else { return Ok(None) };
        let mut headers = HeaderMap::new();
        for (name, value) in found {
            let value = HeaderValue::try_from(value).map_err(S3Error::internal_error)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(Some(headers))
    }

    /// Answers `OPTIONS`.
    ///
    /// # Errors
    /// BadRequest without an origin or a method; AccessForbidden; NoSuchBucket.
    pub(super) async fn preflight(&self, parts: &Parts) -> S3Result<Response<s3s::Body>> {
        let insufficient = |message: &str| custom("BadRequest", StatusCode::BAD_REQUEST, message);
        if !parts.headers.contains_key(header::ORIGIN) {
            return Err(insufficient("Insufficient information. Origin request header needed."));
        }
        if !parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(insufficient("Invalid Access-Control-Request-Method: null"));
        }
        let message = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method \
                       / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
        let headers = self.headers(parts).await?;
        let headers = headers.ok_or_else(|| custom("AccessForbidden", StatusCode::FORBIDDEN, message))?;
        let mut response = Response::new(s3s::Body::empty());
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Adds to an answer what the rules say of its request.
    pub(super) async fn extend(&self, parts: &Parts, response: &mut Response<s3s::Body>) {
        if !parts.headers.contains_key(header::ORIGIN) || response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        if let Ok(Some(headers)) = self.headers(parts).await {
            response.headers_mut().extend(headers);
        }
    }
}

/// What of a request is looked at after it was handed on.
pub(super) fn outline(parts: &Parts) -> Parts {
    let (mut outline, _) = http::Request::new(Body::empty()).into_parts();
    outline.method = parts.method.clone();
    outline.uri = parts.uri.clone();
    for name in [header::ORIGIN, header::HOST, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS] {
        if let Some(value) = parts.headers.get(&name) {
            outline.headers.insert(name, value.clone());
        }
    }
    outline
}
