//! A small blocking S3 client: signs (SigV4, header form), sends, and shows status, headers and body as they came.
//!
//! Never: retries, hides an error status, normalises a key.
//! Limits: path-style addressing over plain HTTP; single-chunk bodies with `UNSIGNED-PAYLOAD`.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use ureq::http;

/// What a request carries.
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A reader of a known length.
    Reader(&'a mut dyn Read, u64),
}

/// One response, its body not yet read.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    inner: http::Response<ureq::Body>,
}

impl Answer {
    /// A header's value, or the empty string.
    pub fn header(&self, name: &str) -> &str {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body as a reader.
    pub fn reader(&mut self) -> impl Read + '_ {
        self.inner.body_mut().as_reader()
    }

    /// The whole body; for small ones.
    pub fn bytes(mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.inner.body_mut().as_reader().read_to_end(&mut out).context("read the body")?;
        Ok(out)
    }

    /// The whole body as text.
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// Fails, showing the body, unless the status is `status`.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        if self.status != status {
            let got = self.status;
            bail!("expected HTTP {status}, got {got}: {}", self.text().unwrap_or_default());
        }
        Ok(self)
    }
}

/// A signing client for one endpoint and one key pair.
#[derive(Clone)]
pub struct S3 {
    agent: ureq::Agent,
    host: String,
    region: String,
    access_key: String,
    secret_key: String,
}

impl S3 {
    /// A client; `endpoint` is `http://host:port`.
    pub fn new(endpoint: &str, region: &str, access_key: &str, secret_key: &str) -> Result<Self> {
        let host = endpoint.trim_end_matches('/').strip_prefix("http://").context("endpoint is not http://…")?.to_string();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            .max_redirects(0)
            .build();
        Ok(Self {
            agent: config.into(),
            host,
            region: region.into(),
            access_key: access_key.into(),
            secret_key: secret_key.into(),
        })
    }

    /// The same endpoint with another key pair.
    pub fn with_keys(&self, access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), ..self.clone() }
    }

    /// Signs and sends one request; an error here means that no response came.
    pub fn send(
        &self,
        method: &str,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Result<Answer> {
        let path = match key {
            "" => format!("/{bucket}"),
            key => format!("/{bucket}/{}", encode(key, true)),
        };
        let mut pairs: Vec<String> = query.iter().map(|(k, v)| format!("{}={}", encode(k, false), encode(v, false))).collect();
        pairs.sort();
        let query = pairs.join("&");
        let stamp = Stamp::now();
        let mut signed: Vec<(String, String)> = headers.iter().map(|(k, v)| (k.to_lowercase(), v.trim().to_string())).collect();
        signed.push(("host".into(), self.host.clone()));
        signed.push(("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into()));
        signed.push(("x-amz-date".into(), stamp.full.clone()));
        signed.sort();
        let authorization = self.authorization(method, &path, &query, &signed, &stamp);

        let uri = format!("http://{}{path}{}{query}", self.host, if query.is_empty() { "" } else { "?" });
        let mut request = http::Request::builder().method(method).uri(uri).header("authorization", authorization);
        for (name, value) in signed.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let response = match body {
            Body::Empty if method == "PUT" || method == "POST" => {
                self.agent.run(request.header("content-length", "0").body(ureq::SendBody::none())?)
            }
            Body::Empty => self.agent.run(request.body(ureq::SendBody::none())?),
            Body::Bytes(bytes) => self.agent.run(request.header("content-length", bytes.len()).body(bytes)?),
            Body::Reader(reader, len) => {
                self.agent.run(request.header("content-length", len).body(ureq::SendBody::from_reader(reader))?)
            }
        };
        let inner = response.with_context(|| format!("{method} {path}"))?;
        Ok(Answer { status: inner.status().as_u16(), inner })
    }

    fn authorization(&self, method: &str, path: &str, query: &str, signed: &[(String, String)], stamp: &Stamp) -> String {
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD");
        let scope = format!("{}/{}/s3/aws4_request", stamp.day, self.region);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", stamp.full, hex::encode(Sha256::digest(canonical)));
        let mut key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), &stamp.day);
        for part in [self.region.as_str(), "s3", "aws4_request"] {
            key = hmac(&key, part);
        }
        let signature = hex::encode(hmac(&key, &text));
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.access_key)
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        self.send("PUT", bucket, "", &[], &[], Body::Empty)?.expect_status(200)?;
        Ok(())
    }

    /// Puts bytes and demands a 200.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        self.send("PUT", bucket, key, &[], &[], Body::Bytes(bytes))?.expect_status(200)?;
        Ok(())
    }

    /// Puts the stream of `seed` and gives the answer, whatever its status.
    pub fn put_stream(&self, bucket: &str, key: &str, seed: u64, len: u64) -> Result<Answer> {
        let mut stream = crate::data::Stream::new(seed, len);
        self.send("PUT", bucket, key, &[], &[], Body::Reader(&mut stream, len))
    }

    /// Gets a whole object and compares it with the stream of `seed`.
    pub fn check_stream(&self, bucket: &str, key: &str, seed: u64, len: u64) -> Result<()> {
        let mut answer = self.send("GET", bucket, key, &[], &[], Body::Empty)?.expect_status(200)?;
        crate::data::check_stream(answer.reader(), seed, len).with_context(|| format!("{bucket}/{key}"))
    }

    /// Gets a whole object.
    pub fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        self.send("GET", bucket, key, &[], &[], Body::Empty)?.expect_status(200)?.bytes()
    }

    /// Deletes one object and demands a 204.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        self.send("DELETE", bucket, key, &[], &[], Body::Empty)?.expect_status(204)?;
        Ok(())
    }

    /// All keys of a bucket, in the order of the listing, over as many pages as it takes.
    pub fn list(&self, bucket: &str) -> Result<Vec<String>> {
        let (mut keys, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("list-type", "2")];
            if let Some(token) = &token {
                query.push(("continuation-token", token));
            }
            let page = self.send("GET", bucket, "", &query, &[], Body::Empty)?.expect_status(200)?.text()?;
            ensure!(page.contains("<ListBucketResult"), "not a listing: {page}");
            keys.extend(elements(&page, "Key"));
            if elements(&page, "IsTruncated") != ["true"] {
                return Ok(keys);
            }
            let next = elements(&page, "NextContinuationToken").pop();
            ensure!(next.is_some() && next != token, "a truncated listing without a new continuation token: {page}");
            token = next;
        }
    }

    /// Uploads the stream of `seed` in parts of `part_len` bytes, one after another.
    pub fn put_multipart(&self, bucket: &str, key: &str, seed: u64, len: u64, part_len: u64) -> Result<()> {
        let begun = self.send("POST", bucket, key, &[("uploads", "")], &[], Body::Empty)?.expect_status(200)?.text()?;
        let upload = elements(&begun, "UploadId").pop().with_context(|| format!("no UploadId in {begun}"))?;
        let mut stream = crate::data::Stream::new(seed, len);
        let (mut left, mut number, mut list) = (len, 1u32, String::new());
        while left > 0 {
            let this = left.min(part_len);
            let number_text = number.to_string();
            let query = [("partNumber", number_text.as_str()), ("uploadId", upload.as_str())];
            let answer = self.send("PUT", bucket, key, &query, &[], Body::Reader(&mut (&mut stream).take(this), this))?;
            let answer = answer.expect_status(200).with_context(|| format!("part {number}"))?;
            list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", answer.header("etag"));
            (left, number) = (left - this, number + 1);
        }
        let xml = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let done = self.send("POST", bucket, key, &[("uploadId", &upload)], &[], Body::Bytes(xml.as_bytes()))?;
        let done = done.expect_status(200)?.text()?;
        ensure!(done.contains("<CompleteMultipartUploadResult"), "completing failed: {done}");
        Ok(())
    }
}

/// The texts of all elements of one name, with XML entities resolved.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split_once(&close))
        .map(|(text, _)| {
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")]
                .iter()
                .fold(text.to_string(), |text, (from, to)| text.replace(from, to))
        })
        .collect()
}

/// Percent-encoding as SigV4 wants it: everything but unreserved characters, and slashes where they separate a path.
fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if keep_slash => out.push('/'),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The present time as SigV4 writes it.
struct Stamp {
    full: String,
    day: String,
}

impl Stamp {
    fn now() -> Self {
        Self::at(SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs())
    }

    /// Civil date from days since 1970: Howard Hinnant, "chrono-compatible low-level date algorithms".
    fn at(seconds: u64) -> Self {
        let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let date = format!("{year:04}{month:02}{day:02}");
        Self { full: format!("{date}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60), day: date }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (seconds, text) in [(0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (1_735_689_599, "20241231T235959Z")] {
            assert_eq!(Stamp::at(seconds).full, text);
        }
    }

    #[test]
    fn keys_are_encoded_as_the_signature_wants() {
        for (text, encoded) in [("a b/c+d", "a%20b/c%2Bd"), ("ü~", "%C3%BC~"), ("a..b", "a..b")] {
            assert_eq!(encode(text, true), encoded);
        }
        assert_eq!(encode("a/b", false), "a%2Fb");
    }

    #[test]
    fn elements_are_found_and_unescaped() {
        assert_eq!(elements("<Key>a&amp;b</Key><x/><Key>c</Key>", "Key"), ["a&b", "c"]);
        assert!(elements("<Key>open", "Key").is_empty());
    }
}
