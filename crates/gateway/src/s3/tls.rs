//! TLS of the S3 endpoint: a certificate chain and its key from PEM files, read again when they change.
//!
//! Never: plain HTTP where TLS was asked for; a renewed pair of files taken while they do not fit together. Limits: [`FILE_LEN_MAX`].

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// Bytes of a certificate or key file.
pub const FILE_LEN_MAX: u64 = 1 << 20;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// HTTP/2 and HTTP/1.1, as they are called in a TLS handshake.
pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Why the endpoint cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{path} holds no {what} in PEM form")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key are of different pairs, or of a kind that cannot be used.
    #[error("the certificate of {cert} and the key of {key} do not fit together: {reason}")]
    Pair {
        /// Certificate.
        cert: PathBuf,
        /// Key.
        key: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A certificate with its key, as the endpoint shows it. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.files.cert).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a certificate chain, leaf first, and its key. Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(cert: &Path, key: &Path) -> Result<Tls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let shown = RwLock::new(Arc::new(certified(cert, key, &provider)?));
        let files = Arc::new(Files { cert: cert.to_owned(), key: key.to_owned(), shown });
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has the usual versions");
        let mut config = builder.with_no_client_auth().with_cert_resolver(files.clone());
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Tls { files, config: Arc::new(config) })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Shows what is in the files after each change of theirs, until `stop`. A pair that does not fit is left for the next look.
    pub async fn keep(self, stop: CancellationToken) {
        let mut known = self.changed();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let (files, before) = (self.clone(), known);
            let looked = tokio::task::spawn_blocking(move || {
                let now = files.changed();
                (now != before).then(|| (now, files.read_again()))
            });
            match looked.await {
                Ok(Some((now, Ok(())))) => {
                    known = now;
                    tracing::info!(cert = %self.files.cert.display(), "the certificate was renewed");
                }
                Ok(Some((_, Err(error)))) => tracing::warn!(%error, "the old certificate is shown on"),
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn changed(&self) -> [Option<SystemTime>; 2] {
        [&self.files.cert, &self.files.key].map(|path| path.metadata().and_then(|found| found.modified()).ok())
    }

    pub(super) fn read_again(&self) -> Result<(), TlsError> {
        let read = certified(&self.files.cert, &self.files.key, self.config.crypto_provider())?;
        *self.files.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
        Ok(())
    }
}

fn certified(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(cert)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or(TlsError::NotPem { path: cert.to_owned(), what: "certificate" })?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?);
    let private = private.map_err(|_| TlsError::NotPem { path: key.to_owned(), what: "private key" })?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| TlsError::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_LEN_MAX).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).expect("room");
        std::fs::write(&key, made.key_pair.serialize_pem()).expect("room");
        (cert, key)
    }

    #[test]
    fn files_that_are_missing_or_do_not_fit_say_so_and_a_renewed_pair_is_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = write(dir.path(), "one");
        let (other_cert, other_key) = write(dir.path(), "two");
        assert!(matches!(Tls::load(&dir.path().join("none"), &key), Err(TlsError::File { .. })));
        assert!(matches!(Tls::load(&key, &key), Err(TlsError::NotPem { what: "certificate", .. })));
        assert!(matches!(Tls::load(&cert, &cert), Err(TlsError::NotPem { what: "private key", .. })));
        assert!(matches!(Tls::load(&cert, &other_key), Err(TlsError::Pair { .. })));
        let tls = Tls::load(&cert, &key).expect("a pair");
        let shown = |tls: &Tls| tls.files.shown.read().expect("nobody panics").cert[0].clone();
        let before = shown(&tls);
        std::fs::copy(&other_cert, &cert).expect("room");
        assert!(tls.read_again().is_err() && shown(&tls) == before, "half a renewal is none");
        std::fs::copy(&other_key, &key).expect("room");
        tls.read_again().expect("the other pair");
        assert!(shown(&tls) != before);
    }
}
