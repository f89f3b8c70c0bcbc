//! A raw HTTP/1.1 client: one socket, requests as bytes, answers as they came.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::signer::{Scope, canonical_query, encode, sha256};

pub struct Connection {
    pub stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Text of the first XML element of this name.
    pub fn xml(&self, name: &str) -> Option<String> {
        let text = self.text();
        let begin = text.find(&format!("<{name}>"))? + name.len() + 2;
        let end = text[begin..].find(&format!("</{name}>"))?;
        Some(text[begin..begin + end].to_owned())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Checks status and error code, and that the request id in the XML is the one in the header.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Answer {
        let answer = self.expect(status);
        assert_eq!(answer.xml("Code").as_deref(), Some(code), "{}", answer.text());
        assert_eq!(answer.xml("RequestId").as_deref(), answer.header("x-amz-request-id"));
        answer
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Connection {
        Connection { stream: BufReader::new(TcpStream::connect(address).await.unwrap()) }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    pub async fn read(&mut self, method: &str) -> std::io::Result<Answer> {
        let mut status;
        let mut headers;
        loop {
            let line = self.line().await?;
            status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            headers = Vec::new();
            loop {
                let line = self.line().await?;
                let Some((name, value)) = line.split_once(':') else { break };
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status != 100 {
                break;
            }
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.line().await?;
                let len = usize::from_str_radix(&line, 16).map_err(std::io::Error::other)?;
                let mut chunk = vec![0; len];
                self.stream.read_exact(&mut chunk).await?;
                answer.body.extend_from_slice(&chunk);
                while len > 0 && !self.line().await?.is_empty() {}
                if len == 0 {
                    while !self.line().await?.is_empty() {}
                    return Ok(answer);
                }
            }
        }
        let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        answer.body = vec![0; len];
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// How a request names its payload.
#[derive(Clone)]
pub enum Payload {
    /// Its hash.
    Hashed,
    /// As it stands here.
    Named(String),
}

/// A request to be signed and sent.
#[derive(Clone)]
pub struct Ask {
    pub method: &'static str,
    /// Encoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub unsigned: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub payload: Payload,
    pub sign_host: bool,
}

impl Ask {
    /// `target` is a plain path, encoded here, and maybe a query of `a=b` pairs without special characters.
    pub fn new(method: &'static str, target: &str) -> Ask {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| pair.split_once('=').map_or((pair.into(), String::new()), |(a, b)| (a.into(), b.into()));
        Ask {
            method,
            path: encode(path, true),
            query: pairs.map(pair).collect(),
            headers: Vec::new(),
            unsigned: Vec::new(),
            body: Vec::new(),
            payload: Payload::Hashed,
            sign_host: true,
        }
    }

    pub fn query(mut self, name: &str, value: &str) -> Ask {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Ask {
        self.unsigned.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Ask {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn payload(mut self, name: &str) -> Ask {
        self.payload = Payload::Named(name.into());
        self
    }

    /// Signs by header; gives the bytes of the head and the signature.
    pub fn signed(&self, scope: &Scope, host: &str) -> (Vec<u8>, String) {
        let payload = match &self.payload {
            Payload::Hashed => sha256(&self.body),
            Payload::Named(name) => name.clone(),
        };
        let mut headers = self.headers.clone();
        if self.sign_host {
            headers.push(("host".into(), host.into()));
        }
        headers.push(("x-amz-date".into(), scope.amz_date()));
        headers.push(("x-amz-content-sha256".into(), payload.clone()));
        let signature = scope.signature(self.method, &self.path, &self.query, &headers, &payload);
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            scope.access_key,
            scope.credential_scope(),
            names.join(";")
        );
        if !self.sign_host {
            headers.push(("host".into(), host.into()));
        }
        headers.push(("authorization".into(), authorization));
        (self.head(&headers, &canonical_query(&self.query)), signature)
    }

    /// Signs by query; gives the bytes of the head.
    pub fn presigned(&self, scope: &Scope, host: &str, expires_secs: u64) -> Vec<u8> {
        let mut headers = self.headers.clone();
        if self.sign_host {
            headers.push(("host".into(), host.into()));
        }
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let mut query = self.query.clone();
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{}", scope.access_key, scope.credential_scope())),
            ("X-Amz-Date", scope.amz_date()),
            ("X-Amz-Expires", expires_secs.to_string()),
            ("X-Amz-SignedHeaders", names.join(";")),
        ] {
            query.push((name.into(), value));
        }
        let signature = scope.signature(self.method, &self.path, &query, &headers, "UNSIGNED-PAYLOAD");
        let target = format!("{}&X-Amz-Signature={signature}", canonical_query(&query));
        if !self.sign_host {
            headers.push(("host".into(), host.into()));
        }
        self.head(&headers, &target)
    }

    /// The head without any signature.
    pub fn anonymous(&self, host: &str) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.push(("host".into(), host.into()));
        self.head(&headers, &canonical_query(&self.query))
    }

    fn head(&self, headers: &[(String, String)], query: &str) -> Vec<u8> {
        let target = if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        let named = |name: &str| headers.iter().chain(&self.unsigned).any(|(key, _)| key.eq_ignore_ascii_case(name));
        for (name, value) in headers.iter().chain(&self.unsigned) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !named("content-length") && !named("transfer-encoding") && self.method != "GET" && self.method != "HEAD" {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// An `aws-chunked` body of `data` in chunks of `chunk_len`, with signatures chained to `seed` when there is one, and a trailer.
pub fn aws_chunked(scope: &Scope, seed: Option<&str>, data: &[u8], chunk_len: usize, trailer: Option<(&str, &str)>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut previous = seed.map(str::to_owned);
    for chunk in data.chunks(chunk_len).chain([&[][..]]) {
        let signature = previous.as_deref().map(|previous| scope.chunk_signature(previous, chunk));
        let extension = signature.as_ref().map_or(String::new(), |signature| format!(";chunk-signature={signature}"));
        body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        if !chunk.is_empty() {
            body.extend_from_slice(b"\r\n");
        }
        previous = signature.or(previous);
    }
    if let Some((name, value)) = trailer {
        body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
        if let Some(previous) = previous {
            let signature = scope.trailer_signature(&previous, &format!("{name}:{value}\n"));
            body.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
    }
    body.extend_from_slice(b"\r\n");
    body
}
