//! Presigned links: AWS Signature Version 4 in the query, for reading one object.
//!
//! From docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
//! Never: a link for writing. Limits: [`PRESIGNED_SECS_MAX`].

use cairn_types::UnixMs;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::server::PRESIGNED_SECS_MAX;
use crate::objects::api::{NewAccessKey, VersionRef};

const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/');

/// Where the S3 endpoint is, as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://host:port`, without a slash at its end.
    pub url: String,
    /// Region it claims.
    pub region: String,
}

/// What a link opens.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Bucket.
    pub bucket: &'a str,
    /// Key.
    pub key: &'a str,
    /// A version of it; without, the latest at the time of reading.
    pub version: Option<VersionRef>,
    /// From when on.
    pub at: UnixMs,
    /// For how long, at most [`PRESIGNED_SECS_MAX`].
    pub expires_s: u32,
}

impl Link<'_> {
    /// Whether S3 knows links that are good for so long.
    pub fn is_fit(&self) -> bool {
        (1..=PRESIGNED_SECS_MAX).contains(&self.expires_s)
    }
}

impl Endpoint {
    /// A link for whoever has it, signed with `key`; `None` when it is not fit, or its time is beyond the calendar.
    pub fn presign(&self, key: &NewAccessKey, link: &Link<'_>) -> Option<String> {
        if !link.is_fit() {
            return None;
        }
        let (_, host) = self.url.split_once("://")?;
        let date = amz_date(link.at)?;
        let scope = format!("{}/{}/s3/aws4_request", &date[..8], self.region);
        let path = format!("/{}/{}", link.bucket, utf8_percent_encode(link.key, PATH));
        let mut query = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{scope}", key.access_key)),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", link.expires_s.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ];
        // Behind the others by the order of bytes, as the signature wants them.
        query.extend(link.version.map(|version| ("versionId", version.to_string())));
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, VALUE))).collect();
        let query = pairs.join("&");
        let request = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let signature = signature(&key.secret_key, &date, &self.region, &request);
        Some(format!("{}{path}?{query}&X-Amz-Signature={signature}", self.url))
    }
}

/// Signature of a canonical request at `date`.
fn signature(secret: &str, date: &str, region: &str, request: &str) -> String {
    let scope = format!("{}/{region}/s3/aws4_request", &date[..8]);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let steps = [&date[..8], region, "s3", "aws4_request", &to_sign];
    hex::encode(steps.iter().fold(format!("AWS4{secret}").into_bytes(), |key, step| hmac(&key, step.as_bytes())))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// `YYYYMMDDTHHMMSSZ`; `None` beyond the calendar.
fn amz_date(at: UnixMs) -> Option<String> {
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(at.0 / 1000).ok()?).ok()?;
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    Some(format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the page named above.
    #[test]
    fn a_request_is_signed_as_the_description_has_it() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
            X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host";
        let request = format!("GET\n/test.txt\n{query}\nhost:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD");
        assert_eq!(
            signature("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524T000000Z", "us-east-1", &request),
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn a_link_names_its_object_and_is_good_for_a_week_at_most() {
        let endpoint = Endpoint { url: "https://examplebucket.s3.amazonaws.com".into(), region: "us-east-1".into() };
        let key = NewAccessKey {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        };
        let date = amz_date(UnixMs(1_369_353_600_000)).unwrap();
        assert_eq!(date, "20130524T000000Z");
        let link = Link { bucket: "b", key: "a b/ü+", version: None, at: UnixMs(1_369_353_600_000), expires_s: 86_400 };
        let url = endpoint.presign(&key, &link).unwrap();
        let credential = "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request";
        assert!(
            url.starts_with("https://examplebucket.s3.amazonaws.com/b/a%20b/%C3%BC%2B?X-Amz-Algorithm=AWS4-HMAC-SHA256&"),
            "{url}"
        );
        assert!(url.contains(credential), "{url}");
        for expires_s in [0, PRESIGNED_SECS_MAX + 1] {
            assert_eq!(endpoint.presign(&key, &Link { expires_s, ..link }), None);
        }
    }
}
