//! Session tokens: `AssumeRole` makes a temporary key of whoever asks, which opens what their own key opens and ends by itself.
//!
//! Never: a temporary key that opens more, or longer, than the key it was made with. Limits: 15 minutes to 12 hours.

use async_trait::async_trait;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use s3s::dto::{AssumeRoleOutput, AssumedRoleUser, Credentials};
use s3s::route::S3Route;
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{custom, refused, s3_error};
use super::headers::timestamp;
use crate::objects::Objects;

const FORM: &str = "application/x-www-form-urlencoded";
/// Bytes of a request; the S3 library takes no more either.
const BODY_LEN_MAX: usize = 8 << 10;
const SECS_MIN: u64 = 15 * 60;
const SECS_MAX: u64 = 12 * 60 * 60;
const SECS_DEFAULT: u64 = 60 * 60;

/// Answers the requests of the security token service.
pub(super) struct Sts {
    pub(super) objects: Objects,
    /// Name of the user whose keys name none.
    pub(super) account: String,
}

/// The fields of a form.
fn fields(body: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = body.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decode(name), decode(value))).collect()
}

fn invalid(message: &str) -> s3s::S3Error {
    custom("ValidationError", StatusCode::BAD_REQUEST, message)
}

#[async_trait]
impl S3Route for Sts {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        let form = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(FORM.as_bytes()));
        *method == Method::POST && uri.path() == "/" && form
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        let denied = |message: &str| Err(refused(S3ErrorCode::AccessDenied, message.to_owned()));
        match (&request.credentials, request.service.as_deref()) {
            (None, _) => denied("Signature is required"),
            (Some(_), Some("sts")) if request.headers.contains_key("x-amz-security-token") => {
                denied("A temporary key makes no other")
            }
            (Some(_), Some("sts")) => super::auth::check_signed(&request.headers, &request.uri),
            (Some(_), _) => denied("The request must be signed for the service sts"),
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let S3Request { input: mut body, credentials, .. } = request;
        let body = body.store_all_limited(BODY_LEN_MAX).await.map_err(|_| invalid("The request is too long"))?;
        let fields = fields(std::str::from_utf8(&body).map_err(|_| invalid("The request is not UTF-8"))?);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if field("Action") != Some("AssumeRole") {
            return Err(custom("InvalidAction", StatusCode::BAD_REQUEST, "The only action here is AssumeRole"));
        }
        if field("Policy").is_some() || fields.iter().any(|(name, _)| name.starts_with("PolicyArns")) {
            let message = "Session policies are not supported: limit the key with cairn key create instead";
            return Err(refused(S3ErrorCode::NotImplemented, message));
        }
        let session = field("RoleSessionName").filter(|name| (2..=64).contains(&name.len()));
        let session = session.ok_or_else(|| invalid("RoleSessionName has 2 to 64 characters"))?;
        let secs = match field("DurationSeconds") {
            None => SECS_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|secs| (SECS_MIN..=SECS_MAX).contains(secs))
                .ok_or_else(|| invalid("DurationSeconds must be between 900 and 43200"))?,
        };
        let access_key = credentials.map(|credentials| credentials.access_key).unwrap_or_default();
        let made = self.objects.create_session(&access_key, session, secs * 1000).await.map_err(s3_error)?;
        let user = if made.user.is_empty() { &self.account } else { &made.user };
        let output = AssumeRoleOutput {
            assumed_role_user: Some(AssumedRoleUser {
                arn: format!("arn:aws:sts::{user}:assumed-role/{user}/{session}"),
                assumed_role_id: format!("{}:{session}", made.key.access_key),
            }),
            credentials: Some(Credentials {
                access_key_id: made.key.access_key,
                expiration: timestamp(made.expires),
                secret_access_key: made.key.secret_key,
                session_token: made.token,
            }),
            ..Default::default()
        };
        let mut response = S3Response::new(Body::from(super::config::to_xml(&output)?));
        response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let read = fields("Action=AssumeRole&RoleSessionName=a+b%2Bc&&Flag");
        let expected = [("Action", "AssumeRole"), ("RoleSessionName", "a b+c"), ("Flag", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
