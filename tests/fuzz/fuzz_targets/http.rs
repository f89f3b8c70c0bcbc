//! Hostile callers at a whole gateway over a real provider: S3 requests, signed or not, and requests of the native API, in any order.
//! None is answered with an internal error.
#![no_main]

use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use axum::Router;
use axum::body::Body;
use cairn_client::{Client, Config, Parts, Redundancy};
use cairn_fuzz::provider::Provider;
use cairn_fuzz::signer::{Scope, canonical_query, encode, sha256};
use cairn_fuzz::{CountedRng, NOW, StillClock, runtime};
use cairn_gateway::catalog::Catalog;
use cairn_gateway::native::{Native, fuzzing_router};
use cairn_gateway::objects::api::NewAccessKey;
use cairn_gateway::objects::{Objects, ObjectsConfig};
use cairn_gateway::s3::{Endpoint, S3Config, router};
use cairn_proto::{Advert, BoxStream, Transport, TransportError};
use cairn_types::{NodeId, Phrase};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tower::ServiceExt;

/// Inputs after which the world is begun anew, so that it stays small.
const INPUTS_MAX: usize = 400;
const HUNG: Duration = Duration::from_secs(60);
const HOST: &str = "localhost";
const LOCAL: NodeId = NodeId([0xc1; 32]);

#[derive(Debug, Arbitrary)]
struct Call<'a> {
    door: Door,
    method: u8,
    path: Path<'a>,
    query: Vec<(Name<'a>, Value<'a>)>,
    headers: Vec<(Name<'a>, Value<'a>)>,
    body: Content<'a>,
}

#[derive(Debug, Arbitrary, Clone, Copy, PartialEq)]
enum Door {
    Signed,
    Presigned,
    Unsigned,
    Native,
}

#[derive(Debug, Arbitrary)]
enum Path<'a> {
    Root,
    Bucket(u8),
    Object(u8, u8),
    Named(u8, &'a str),
    Native(u8),
    NativeId(u8),
    Raw(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Name<'a> {
    Known(u8),
    Any(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Empty,
    Known(u8),
    Number(i64),
    Upload,
    ETag,
    Any(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Empty,
    Zeros(u32),
    Raw(&'a [u8]),
    Delete(Vec<(u8, bool)>),
    Complete(Vec<u16>),
    Json(u8, &'a str),
}

const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "HEAD", "GET", "PUT", "PATCH"];
const QUERY: [&str; 32] = [
    "list-type",
    "uploads",
    "uploadId",
    "partNumber",
    "delete",
    "versioning",
    "location",
    "acl",
    "tagging",
    "attributes",
    "max-keys",
    "prefix",
    "delimiter",
    "marker",
    "continuation-token",
    "start-after",
    "encoding-type",
    "versionId",
    "versions",
    "key-marker",
    "upload-id-marker",
    "max-uploads",
    "max-parts",
    "part-number-marker",
    "bucket",
    "key",
    "cursor",
    "max",
    "after",
    "response-content-type",
    "fetch-owner",
    "x-id",
];
const HEADERS: [&str; 32] = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-tagging",
    "x-amz-meta-a",
    "content-md5",
    "content-type",
    "content-encoding",
    "x-amz-checksum-crc32",
    "x-amz-checksum-sha256",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-decoded-content-length",
    "x-amz-storage-class",
    "x-amz-acl",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
    "x-amz-object-attributes",
    "x-amz-checksum-mode",
    "expect",
    "x-amz-copy-source-if-match",
    "x-amz-mp-object-size",
    "cache-control",
    "x-amz-content-sha256",
    "content-length",
    "x-amz-website-redirect-location",
];
const VALUES: [&str; 32] = [
    "2",
    "url",
    "/",
    "k",
    "null",
    "bytes=0-",
    "bytes=-1",
    "bytes=1-2",
    "*",
    "\"\"",
    "/bucket0/key0",
    "bucket0/key1",
    "bucket0",
    "key0",
    "COPY",
    "REPLACE",
    "a=1&b=2",
    "CRC32",
    "SHA256",
    "COMPOSITE",
    "FULL_OBJECT",
    "AAAAAA==",
    "aws-chunked",
    "STANDARD",
    "private",
    "ETag,Checksum,ObjectParts",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "x-amz-checksum-crc32",
    "ENABLED",
];
const NATIVE: [&str; 8] = ["status", "collect", "keys", "buckets", "objects", "stat", "object", "uploads"];
const NATIVE_IDS: [&str; 6] =
    ["buckets/bucket0", "buckets/bucket1", "keys/k", "uploads/{}", "uploads/{}/complete", "uploads/{}/parts/1"];

struct World {
    s3: Router,
    native: Router,
    key: NewAccessKey,
    inputs: usize,
    upload: String,
    etag: String,
    _objects: Objects,
    _net: Arc<Net>,
    _dir: TempDir,
}

struct Net(Provider);

impl Transport for Net {
    fn open(&self, _: NodeId) -> BoxFuture<'_, Result<BoxStream, TransportError>> {
        futures::future::ready(Ok(Box::new(self.0.connect(LOCAL)) as BoxStream)).boxed()
    }

    fn providers(&self) -> Vec<Advert> {
        vec![Advert {
            node: self.0.key.id(),
            addresses: Vec::new(),
            free_len: 1 << 30,
            total_len: 1 << 30,
            region: String::new(),
            operator: String::new(),
            issued_at: NOW,
            valid_until: NOW.plus_ms(3_600_000),
            accepting: true,
        }]
    }

    fn local(&self) -> NodeId {
        LOCAL
    }
}

fuzz_target!(|calls: Vec<Call>| {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    let world = WORLD.get_or_init(|| Mutex::new(runtime().block_on(World::new())));
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.inputs += 1;
    if world.inputs > INPUTS_MAX {
        *world = runtime().block_on(World::new());
    }
    for call in calls.iter().take(6) {
        let answered = async { tokio::time::timeout(HUNG, world.call(call)).await };
        runtime().block_on(answered).expect("the gateway hangs");
    }
});

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let net = Arc::new(Net(Provider::new(6)));
        let catalog = Catalog::open(dir.path(), LOCAL).expect("a fresh directory");
        let redundancy = Some(Redundancy::new(1, 1).expect("one of one"));
        let client = Client::new(Parts {
            transport: net.clone(),
            keys: Phrase::from_entropy([1; 16]).data_keys(),
            rng: Arc::new(CountedRng::default()),
            writer_epoch: catalog.writer_epoch(),
            config: Config { redundancy, ..Config::default() },
        });
        let quiet = ObjectsConfig { collect_every_ms: 0, checkpoint_every_ms: 0, repack_below_percent: 0, pack_window_ms: 0, ..ObjectsConfig::default() };
        let rng = Arc::new(CountedRng::default());
        let objects = Objects::open(catalog, client.clone(), quiet, Arc::new(StillClock), rng).await.expect("an object store");
        let key = objects.create_key("fuzz").await.expect("a fresh catalog");
        objects.create_bucket("bucket0", "cairn", "").await.expect("a fresh catalog");
        let (about, more) = (Arc::new(serde_json::Map::new), Router::new());
        let s3 = Endpoint { url: format!("http://{HOST}"), region: "us-east-1".into() };
        let native = Native { objects: objects.clone(), client, owner: "cairn".into(), about, s3, more };
        World {
            s3: router(objects.clone(), &S3Config::default()).expect("the default configuration"),
            native: fuzzing_router(native),
            key,
            inputs: 0,
            upload: "0".repeat(32),
            etag: String::new(),
            _objects: objects,
            _net: net,
            _dir: dir,
        }
    }

    async fn call(&mut self, call: &Call<'_>) {
        let Some(request) = self.request(call) else { return };
        let router = if call.door == Door::Native { &self.native } else { &self.s3 };
        let response = router.clone().oneshot(request).await.expect("a router answers");
        let status = response.status().as_u16();
        if let Some(etag) = response.headers().get("etag").and_then(|etag| etag.to_str().ok()) {
            self.etag = etag.trim_matches('"').to_owned();
        }
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        assert!(status != 500, "{text}\nto {call:?}");
        let id = text.split_once("<UploadId>").map(|(_, rest)| rest.split('<').next().unwrap_or_default());
        let id = id.or_else(|| text.split_once("\"upload_id\":\"").map(|(_, rest)| rest.split('"').next().unwrap_or_default()));
        if let Some(id) = id {
            self.upload = id.to_owned();
        }
    }

    fn request(&self, call: &Call<'_>) -> Option<Request<Body>> {
        let method = METHODS[usize::from(call.method) % METHODS.len()];
        let path = self.path(&call.path);
        let mut query: Vec<(String, String)> =
            call.query.iter().take(8).map(|(name, value)| (name.of(&QUERY), self.value(value))).collect();
        let mut headers: Vec<(String, String)> = call
            .headers
            .iter()
            .take(8)
            .map(|(name, value)| (name.of(&HEADERS).to_ascii_lowercase(), self.value(value)))
            .collect();
        headers.retain(|(name, _)| name != "host" && name != "x-amz-date" && name != "authorization");
        let body = self.body(&call.body);
        match call.door {
            Door::Signed => self.sign(method, &path, &query, &mut headers, &body),
            Door::Presigned => self.presign(method, &path, &mut query, &mut headers),
            Door::Unsigned | Door::Native => headers.push(("host".into(), HOST.into())),
        }
        let uri = if query.is_empty() { path } else { format!("{path}?{}", canonical_query(&query)) };
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).ok()?).uri(uri);
        // A body that is not as long as announced breaks off, as the server of HTTP has it.
        let announced = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse::<u64>().ok());
        let broken = announced.is_some_and(|len| len != body.len() as u64);
        for (name, value) in headers {
            request = request.header(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        let end = broken.then(|| Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
        match broken {
            true => request.body(Body::from_stream(futures::stream::iter([Ok(bytes::Bytes::from(body))].into_iter().chain(end)))).ok(),
            false => request.body(Body::from(body)).ok(),
        }
    }

    fn scope(&self) -> Scope {
        Scope {
            access_key: self.key.access_key.clone(),
            secret_key: self.key.secret_key.clone(),
            region: "us-east-1".into(),
            service: "s3".into(),
            time: time::OffsetDateTime::now_utc().unix_timestamp(),
        }
    }

    fn sign(&self, method: &str, path: &str, query: &[(String, String)], headers: &mut Vec<(String, String)>, body: &[u8]) {
        let scope = self.scope();
        if !headers.iter().any(|(name, _)| name == "x-amz-content-sha256") {
            headers.push(("x-amz-content-sha256".into(), sha256(body)));
        }
        if !headers.iter().any(|(name, _)| name == "content-length") {
            headers.push(("content-length".into(), body.len().to_string()));
        }
        headers.push(("host".into(), HOST.into()));
        headers.push(("x-amz-date".into(), scope.amz_date()));
        let payload = headers.iter().find(|(name, _)| name == "x-amz-content-sha256").map(|(_, value)| value.clone());
        let signature = scope.signature(method, path, query, headers, &payload.unwrap_or_default());
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={signature}",
            scope.access_key,
            scope.credential_scope(),
            names.join(";")
        );
        headers.push(("authorization".into(), authorization));
    }

    fn presign(&self, method: &str, path: &str, query: &mut Vec<(String, String)>, headers: &mut Vec<(String, String)>) {
        let scope = self.scope();
        let host = vec![("host".to_owned(), HOST.to_owned())];
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{}/{}", scope.access_key, scope.credential_scope())),
            ("X-Amz-Date", scope.amz_date()),
            ("X-Amz-Expires", "600".to_owned()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ] {
            query.push((name.to_owned(), value));
        }
        let signature = scope.signature(method, path, query, &host, "UNSIGNED-PAYLOAD");
        query.push(("X-Amz-Signature".into(), signature));
        headers.extend(host);
    }

    fn path(&self, path: &Path<'_>) -> String {
        match path {
            Path::Root => "/".into(),
            Path::Bucket(bucket) => format!("/bucket{}", bucket % 3),
            Path::Object(bucket, key) => format!("/bucket{}/key{}", bucket % 2, key % 4),
            Path::Named(bucket, key) => format!("/bucket{}/{}", bucket % 2, encode(key, true)),
            Path::Native(route) => format!("/v1/{}", NATIVE[usize::from(*route) % NATIVE.len()]),
            Path::NativeId(route) => {
                format!("/v1/{}", NATIVE_IDS[usize::from(*route) % NATIVE_IDS.len()].replace("{}", &self.upload))
            }
            Path::Raw(path) => format!("/{path}"),
        }
    }

    fn value(&self, value: &Value<'_>) -> String {
        match value {
            Value::Empty => String::new(),
            Value::Known(at) => VALUES[usize::from(*at) % VALUES.len()].to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Upload => self.upload.clone(),
            Value::ETag => self.etag.clone(),
            Value::Any(text) => (*text).to_owned(),
        }
    }

    fn body(&self, body: &Content<'_>) -> Vec<u8> {
        let mut text = String::new();
        match body {
            Content::Empty => {}
            Content::Zeros(len) => return vec![0; (*len % 200_000) as usize],
            Content::Raw(bytes) => return bytes.to_vec(),
            Content::Delete(keys) => {
                for (key, _) in keys.iter().take(20) {
                    let _ = write!(text, "<Object><Key>key{}</Key></Object>", key % 4);
                }
                let quiet = keys.first().is_some_and(|(_, quiet)| *quiet);
                text = format!("<Delete>{text}<Quiet>{quiet}</Quiet></Delete>");
            }
            Content::Complete(parts) => {
                for part in parts.iter().take(20) {
                    let _ = write!(text, "<Part><PartNumber>{part}</PartNumber><ETag>\"{}\"</ETag></Part>", self.etag);
                }
                text = format!("<CompleteMultipartUpload>{text}</CompleteMultipartUpload>");
            }
            Content::Json(part, any) => {
                text = format!("{{\"parts\":[{{\"number\":{part},\"etag\":\"{}\"}}],\"label\":\"{any}\"}}", self.etag);
            }
        }
        text.into_bytes()
    }
}

impl Name<'_> {
    fn of(&self, known: &[&str]) -> String {
        match self {
            Name::Known(at) => known[usize::from(*at) % known.len()].to_owned(),
            Name::Any(name) => (*name).to_owned(),
        }
    }
}
