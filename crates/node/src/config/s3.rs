//! How the S3 endpoint shows itself: its certificate, and the URL by which others reach it.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use cairn_chain::https::http_uri;
use serde::Serialize;

use crate::outcome::{ExitCode, coded};
use crate::text::text_in_serde;

/// Files of a certificate and its key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct S3Tls {
    /// Chain, leaf first.
    #[serde(rename = "s3-tls-cert")]
    pub cert: PathBuf,
    /// Key.
    #[serde(rename = "s3-tls-key")]
    pub key: PathBuf,
}

impl S3Tls {
    /// Both files, or none.
    ///
    /// # Errors
    /// Only one is given.
    pub fn of(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<S3Tls>> {
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(S3Tls { cert, key })),
            (None, None) => Ok(None),
            _ => Err(coded(
                ExitCode::Usage,
                "TLS needs a certificate and its key",
                "give both --s3-tls-cert and --s3-tls-key, or none",
            )),
        }
    }
}

/// `http://host` or `https://host`, with a port if need be, and nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Url(String);

impl FromStr for S3Url {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim_end_matches('/');
        let uri = http_uri(trimmed).filter(|uri| {
            uri.authority().is_some_and(|host| !host.as_str().contains('@')) && uri.path() == "/" && uri.query().is_none()
        });
        uri.map(|_| S3Url(trimmed.to_owned()))
            .ok_or_else(|| format!("{text:?} is no URL of an S3 endpoint; write https://HOST or https://HOST:PORT"))
    }
}

impl std::fmt::Display for S3Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

text_in_serde!(S3Url);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_scheme_and_a_host_and_nothing_behind() {
        for (text, read) in [
            ("https://s3.example.org", Some("https://s3.example.org")),
            ("http://[::1]:8333/", Some("http://[::1]:8333")),
            ("s3.example.org", None),
            ("ftp://s3.example.org", None),
            ("https://s3.example.org/path", None),
            ("https://s3.example.org?x", None),
            ("https://me@s3.example.org", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<S3Url>().ok().map(|url| url.to_string()).as_deref(), read, "{text}");
        }
        assert!(S3Tls::of(Some("/c".into()), None).is_err() && S3Tls::of(None, Some("/k".into())).is_err());
        assert_eq!(S3Tls::of(None, None).expect("none"), None);
    }
}
