//! A small AWS Signature Version 4 signer: headers, presigned URLs, chunks and trailers of `aws-chunked` bodies.
//! From the description at docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a signature is made with.
#[derive(Clone)]
pub struct Scope {
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub service: String,
    /// Seconds since 1970.
    pub time: i64,
}

impl Scope {
    /// `YYYYMMDDTHHMMSSZ`.
    pub fn amz_date(&self) -> String {
        let at = time::OffsetDateTime::from_unix_timestamp(self.time).unwrap();
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second())
    }

    pub fn credential_scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", &self.amz_date()[..8], self.region, self.service)
    }

    fn key(&self) -> Vec<u8> {
        let date = hmac(format!("AWS4{}", self.secret_key).as_bytes(), &self.amz_date().as_bytes()[..8]);
        let region = hmac(&date, self.region.as_bytes());
        let service = hmac(&region, self.service.as_bytes());
        hmac(&service, b"aws4_request")
    }

    fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(hmac(&self.key(), string_to_sign.as_bytes()))
    }

    /// Signature of a request; `headers` are sorted here, `query` must not hold the signature.
    pub fn signature(
        &self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        headers: &[(String, String)],
        payload: &str,
    ) -> String {
        let mut headers: Vec<(String, &str)> =
            headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
        headers.sort();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let request = format!("{method}\n{path}\n{}\n{lines}\n{}\n{payload}", canonical_query(query), names.join(";"));
        self.sign(&format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.amz_date(), self.credential_scope(), sha256(request.as_bytes())))
    }

    /// Signature of one chunk, chained to the one before.
    pub fn chunk_signature(&self, previous: &str, data: &[u8]) -> String {
        let (date, scope) = (self.amz_date(), self.credential_scope());
        self.sign(&format!("AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{EMPTY_SHA256}\n{}", sha256(data)))
    }

    /// Signature of a trailer, chained to the last chunk.
    pub fn trailer_signature(&self, previous: &str, trailer: &str) -> String {
        let (date, scope) = (self.amz_date(), self.credential_scope());
        self.sign(&format!("AWS4-HMAC-SHA256-TRAILER\n{date}\n{scope}\n{previous}\n{}", sha256(trailer.as_bytes())))
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

pub fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// Percent-encodes as SigV4 wants it.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            b'/' if keep_slash => encoded.push('/'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

pub fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    pairs.sort();
    pairs.join("&")
}
