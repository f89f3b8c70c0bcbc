//! Https: clients of HTTP/1.1 servers that are known by the system's certificates, or by those in the file that `SSL_CERT_FILE` names.
//!
//! Never: goes on without a certificate that it knows. Limits: connecting takes as long as the caller says, idle connections are kept 5 s.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Asks servers over `http` and `https`. Cheap to clone.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>;

/// The system has no certificates to know an https server by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificates to know https servers by ({0}): install ca-certificates, or name a file in SSL_CERT_FILE")]
pub struct NoCertificates(pub String);

/// An absolute `http` or `https` URL; `None` when it is something else.
pub fn http_uri(text: &str) -> Option<Uri> {
    text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// A client that may take `connect_time` to connect; certificates are looked for only `for_https`.
///
/// # Errors
/// [`NoCertificates`].
pub fn http_client(connect_time: Duration, for_https: bool) -> Result<HttpClient, NoCertificates> {
    let mut roots = RootCertStore::empty();
    if for_https {
        let found = rustls_native_certs::load_native_certs();
        if roots.add_parsable_certificates(found.certs).0 == 0 {
            return Err(NoCertificates(found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string)));
        }
    }
    Ok(trusting(connect_time, roots))
}

/// As [`http_client`], for servers whose certificates are signed by one of `roots`.
pub(crate) fn trusting(connect_time: Duration, roots: RootCertStore) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_time));
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().expect("the provider has the usual versions");
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(4)
        .build(connector)
}

/// An error with what it comes from, at most `chars` characters: of a connection that fails the outermost says little.
pub fn with_sources(error: &dyn std::error::Error, chars: usize) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}")).chars().take(chars).collect()
}
