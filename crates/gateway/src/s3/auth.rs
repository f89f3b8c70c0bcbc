//! Who asks: access keys, what a signature must cover, and the rights of the request before its operation is looked at.
//!
//! Never: a secret in a log or an error. Limits: those of [`super::access`].
//!
//! The S3 library checks the signature itself, its region, service, age and body hash, and refuses unsigned `x-amz-*` headers.
//! What it leaves open is refused here: an unsigned `host`, session tokens, and requests that ask for a protection this gateway does not
//! have, which must fail instead of being ignored.

use async_trait::async_trait;
use http::{HeaderMap, Uri, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3ErrorCode, S3Result};
use sha2::{Digest, Sha256};

use super::access::{Access, Facts};
use super::errors::refused;
use crate::objects::Objects;
use crate::objects::api::KeyScope;

/// Finds the secret of an access key.
pub(super) struct Keys {
    pub(super) objects: Objects,
}

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.objects.secret_for(access_key).ok_or(S3ErrorCode::InvalidAccessKeyId)?;
        Ok(SecretKey::from(secret))
    }
}

/// Judges each request after its signature was verified and before its operation runs.
pub(super) struct Guard {
    pub(super) objects: Objects,
    /// Name of the user whose keys name none.
    pub(super) account: String,
}

#[async_trait]
impl S3Access for Guard {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let (user, scope) = match context.credentials() {
            Some(credentials) => {
                let scope = self.objects.scope_of(&credentials.access_key).ok_or(S3ErrorCode::InvalidAccessKeyId)?;
                let posted = context.s3_op().name() == "PostObject";
                if !posted {
                    check_signed(context.headers(), context.uri())?;
                    check_service(context.headers(), context.uri())?;
                }
                let token = self.objects.session_token(&credentials.access_key);
                check_token(token.as_deref(), context.headers(), context.uri())?;
                let user = if scope.user.is_empty() { self.account.clone() } else { scope.user.clone() };
                (Some(user), scope)
            }
            None => (None, KeyScope::default()),
        };
        let path = match (context.s3_path().as_object(), context.s3_path().as_bucket()) {
            (Some((bucket, key)), _) => (Some(bucket.to_owned()), Some(key.to_owned())),
            (None, bucket) => (bucket.map(str::to_owned), None),
        };
        let operation = context.s3_op().name().to_owned();
        let (headers, uri) = (context.headers().clone(), context.uri().clone());
        let facts = Facts::of(&headers, &uri, context.extensions_mut());
        let names = (path.0.as_deref(), path.1.as_deref());
        let access = Access::judge(&self.objects, &operation, names, (user, scope), facts).await?;
        context.extensions_mut().insert(access);
        check_wishes(&headers)?;
        if matches!(operation.as_str(), "GetObject" | "HeadObject") && headers.contains_key("x-amz-server-side-encryption") {
            let message = "x-amz-server-side-encryption header is not supported for this operation.";
            return Err(refused(S3ErrorCode::InvalidArgument, message));
        }
        Ok(())
    }
}

/// A temporary key opens nothing without its token, and a token belongs to no other key.
fn check_token(token: Option<&str>, headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
    let in_header = headers.get("x-amz-security-token").map(|value| value.to_str().unwrap_or_default().to_owned());
    let shown = in_header.or_else(|| query_value(uri, "X-Amz-Security-Token"));
    let same = |token: &str, shown: &str| Sha256::digest(token) == Sha256::digest(shown);
    match (token, shown) {
        (None, None) => Ok(()),
        (Some(token), Some(shown)) if same(token, &shown) => Ok(()),
        _ => Err(refused(S3ErrorCode::InvalidToken, "The provided token is malformed or otherwise invalid.")),
    }
}

/// What is signed for the token service opens nothing here.
fn check_service(headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
    let in_header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header =
        in_header.and_then(|value| value.split("Credential=").nth(1)).map(|value| value.split(',').next().unwrap_or(value));
    let scope = query_value(uri, "X-Amz-Credential").or_else(|| in_header.map(str::to_owned)).unwrap_or_default();
    match scope.split('/').nth(3) {
        Some("s3") => Ok(()),
        _ => Err(refused(S3ErrorCode::AuthorizationHeaderMalformed, "The request must be signed for the service s3")),
    }
}

/// The signature must bind the host: else what is signed for one gateway opens another with the same key.
pub(super) fn check_signed(headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
    let in_query = query_value(uri, "X-Amz-SignedHeaders");
    let in_header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(signed_headers);
    let names = in_query.as_deref().or(in_header).unwrap_or_default();
    if names.split(';').any(|name| name.trim().eq_ignore_ascii_case("host")) {
        return Ok(());
    }
    Err(refused(S3ErrorCode::AccessDenied, "The host header must be among the signed headers"))
}

fn signed_headers(authorization: &str) -> Option<&str> {
    let fields = authorization.strip_prefix("AWS4-HMAC-SHA256")?;
    fields.split(',').find_map(|field| field.trim().strip_prefix("SignedHeaders="))
}

fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Refuses by header what this gateway cannot keep.
pub(super) fn check_wishes(headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default();
        let refusal = match name.as_str() {
            "x-amz-server-side-encryption" if value.starts_with("aws:kms") => {
                (S3ErrorCode::NotImplemented, "Objects are sealed with the account's own keys; KMS keys are not supported")
            }
            "x-amz-server-side-encryption" if value != "AES256" => {
                (S3ErrorCode::InvalidArgument, "The encryption method specified is not supported")
            }
            name if name.starts_with("x-amz-server-side-encryption-aws-kms") => {
                (S3ErrorCode::NotImplemented, "Encryption with KMS keys is not supported")
            }
            "x-amz-write-offset-bytes" => {
                (S3ErrorCode::NotImplemented, "A header you provided implies functionality that is not implemented")
            }
            _ => continue,
        };
        return Err(refused(refusal.0, refusal.1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn the_host_must_be_signed() {
        let signed =
            |names: &str| format!("AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request, SignedHeaders={names}, Signature=0");
        for (authorization, uri, good) in [
            (Some(signed("host;x-amz-date")), "/b/k", true),
            (Some(signed("Host;x-amz-date")), "/b/k", true),
            (Some(signed("x-amz-date")), "/b/k", false),
            (Some(signed("x-forwarded-host")), "/b/k", false),
            (None, "/b/k?X-Amz-SignedHeaders=host&X-Amz-Signature=0", true),
            (None, "/b/k?X-Amz-SignedHeaders=content-type%3Bhost&X-Amz-Signature=0", true),
            (None, "/b/k?X-Amz-SignedHeaders=content-type&X-Amz-Signature=0", false),
            (Some(signed("host")), "/b/k?X-Amz-SignedHeaders=x&X-Amz-Signature=0", false),
            (None, "/b/k", false),
        ] {
            let given = authorization.as_deref().map(|value| headers(&[("authorization", value)])).unwrap_or_default();
            assert_eq!(check_signed(&given, &uri.parse().expect("a uri")).is_ok(), good, "{authorization:?} {uri}");
        }
    }

    #[test]
    fn wishes_that_cannot_be_kept_are_refused() {
        for (name, value, expected) in [
            ("x-amz-server-side-encryption", "AES256", None),
            ("x-amz-server-side-encryption", "aws:kms", Some("NotImplemented")),
            ("x-amz-server-side-encryption", "aes", Some("InvalidArgument")),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k", Some("NotImplemented")),
            ("x-amz-meta-anything", "x", None),
        ] {
            let seen = check_wishes(&headers(&[(name, value)])).err().map(|error| error.code().as_str().to_owned());
            assert_eq!(seen.as_deref(), expected, "{name}: {value}");
        }
    }
}
