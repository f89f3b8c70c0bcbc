//! The endpoint over TLS: HTTP/1.1 and HTTP/2 by signed requests and by links, and who does not speak TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_gateway::s3::{S3Config, Tls};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::Ask;
use crate::world::World;

struct Secured {
    world: World,
    cert: CertificateDer<'static>,
    _dir: tempfile::TempDir,
}

impl Secured {
    async fn start(config: S3Config) -> Secured {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("crt"), dir.path().join("key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
        let tls = Some(Tls::load(&cert, &key).unwrap());
        let world = World::with(S3Config { tls, ..config }).await;
        Secured { world, cert: made.cert.der().clone(), _dir: dir }
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.world.address.port())
    }

    async fn connect(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let mut config =
            builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.world.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends what was signed, by the protocol, and gives status and body.
    async fn send(&self, protocol: &[u8], ask: &Ask, head: &[u8]) -> (u16, Bytes) {
        let io = TokioIo::new(self.connect(protocol).await);
        let request = self.request(ask, head, protocol == b"h2");
        let answer = if protocol == b"h2" {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// A head of HTTP/1.1 as a request of either protocol.
    fn request(&self, ask: &Ask, head: &[u8], http2: bool) -> http::Request<Full<Bytes>> {
        let head = String::from_utf8(head.to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let uri = if http2 { format!("https://{}{target}", self.host()) } else { target };
        let mut request = http::Request::builder().method(ask.method).uri(uri);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let hop = name.eq_ignore_ascii_case("connection") || (http2 && name.eq_ignore_ascii_case("host"));
            if !hop {
                request = request.header(name, value.trim());
            }
        }
        request.body(Full::new(ask.body.clone().into())).unwrap()
    }

    async fn ask(&self, protocol: &[u8], ask: Ask) -> (u16, Bytes) {
        let (head, _) = ask.signed(&self.world.scope(), &self.host());
        self.send(protocol, &ask, &head).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_store_and_read_over_tls_by_signatures_and_links() {
    let secured = Secured::start(S3Config::default()).await;
    assert_eq!(secured.ask(b"h2", Ask::new("PUT", "/bucket")).await.0, 200);
    let content = vec![7u8; 3_000_000];
    for (protocol, key) in [(&b"h2"[..], "two"), (b"http/1.1", "one")] {
        let put = Ask::new("PUT", &format!("/bucket/{key}")).body(&content);
        assert_eq!(secured.ask(protocol, put).await.0, 200, "{key}");
        let (status, body) = secured.ask(protocol, Ask::new("GET", &format!("/bucket/{key}"))).await;
        assert!(status == 200 && body == content, "{key}: {status}, {} bytes", body.len());
        let link = Ask::new("GET", &format!("/bucket/{key}"));
        let head = link.presigned(&secured.world.scope(), &secured.host(), 60);
        let (status, body) = secured.send(protocol, &link, &head).await;
        assert!(status == 200 && body == content, "{key} by a link: {status}");
        let (status, body) = secured.ask(protocol, Ask::new("GET", "/bucket/missing")).await;
        assert!(status == 404 && String::from_utf8_lossy(&body).contains("NoSuchKey"), "{key}: {status}");
    }
    // Signed for another host than the one that is asked.
    let ask = Ask::new("GET", "/bucket/two");
    let (head, _) = ask.signed(&secured.world.scope(), "elsewhere.example");
    assert_eq!(secured.send(b"h2", &ask, &head).await.0, 403);
    secured.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_tls_gets_no_answer_and_no_place_for_long() {
    let config = S3Config { connections_max: 1, head_timeout: Duration::from_millis(300), ..S3Config::default() };
    let secured = Secured::start(config).await;
    let mut plain = secured.world.connect().await;
    plain.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(plain.read("GET").await.is_err(), "plain HTTP is answered");
    let silent = TcpStream::connect(secured.world.address).await.unwrap();
    assert_eq!(secured.ask(b"h2", Ask::new("GET", "/")).await.0, 200, "a silent connection holds the only place");
    drop(silent);
    secured.world.stop().await;
}
