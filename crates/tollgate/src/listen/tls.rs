//! TLS of a listener: rustls with ring, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, and certificates that are read
//! again when their files change.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tollgate_telemetry::events::CertificateReloaded;

use super::Stop;
use super::clients::{self, ClientAuthorities, Shown};

/// HTTP/2 as ALPN names it (RFC 9113, section 3.2).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";
/// How often the files are looked at. Two calls of `stat` cost nothing, and see what notifications miss: network
/// file systems, and the swapped symbolic links of mounted secrets.
const LOOK: Duration = Duration::from_secs(1);

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// PEM: the certificate, then its intermediates.
    pub(crate) certificate: PathBuf,
    /// PEM: the private key.
    pub(crate) key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read, or holds nothing fitting.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is of a kind that is not supported, or not the certificate's.
    #[error("{certificate} and {key} cannot be used together: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What rustls says.
        reason: rustls::Error,
    },
    /// No cipher suite fits.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The certificate of a listener, and whose certificates its clients may show.
pub(crate) struct Certificates {
    plane: &'static str,
    files: CertificateFiles,
    clients: Mutex<Option<ClientAuthorities>>,
    /// The files as they were just before they were last read.
    traces: Mutex<Traces>,
    current: Arc<Current>,
    /// What handshakes go by now.
    accepting: watch::Sender<Accepting>,
}

/// What handshakes go by.
#[derive(Clone)]
struct Accepting {
    acceptor: TlsAcceptor,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The certificate that handshakes use now.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// Reads the files. Clients are asked for certificates if `clients` says whose.
    ///
    /// # Errors
    /// Files that cannot be read or do not belong together.
    pub(crate) fn load(
        plane: &'static str,
        files: CertificateFiles,
        clients: Option<ClientAuthorities>,
    ) -> Result<Arc<Self>, CertificateError> {
        let traces = Mutex::new(traces(&files, clients.as_ref()));
        let current = Arc::new(Current(ArcSwap::from_pointee(read(&files)?)));
        let accepting = watch::Sender::new(Accepting::new(&current, clients.as_ref())?);
        let clients = Mutex::new(clients);
        Ok(Arc::new(Self { plane, files, clients, traces, current, accepting }))
    }

    /// Which listener it is.
    pub(crate) fn plane(&self) -> &'static str {
        self.plane
    }

    /// Performs a handshake with the current certificates.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.accepting.borrow().acceptor.clone()
    }

    /// Tells of every change of what handshakes go by.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.accepting.subscribe())
    }

    /// Asks clients for the certificates of others from now on.
    pub(crate) fn ask_clients(&self, clients: Option<ClientAuthorities>) {
        let before = {
            let mut asked = self.clients();
            if *asked == clients {
                return;
            }
            std::mem::replace(&mut *asked, clients)
        };
        if !self.reload() {
            *self.clients() = before;
        }
    }

    fn clients(&self) -> MutexGuard<'_, Option<ClientAuthorities>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again. If they cannot be used, the old ones stay and the log says why.
    pub(crate) fn reload(&self) -> bool {
        let clients = self.clients().clone();
        let taken =
            read(&self.files).and_then(|key| Ok((key, Accepting::new(&self.current, clients.as_ref())?)));
        match taken {
            Ok((key, accepting)) => {
                self.current.0.store(Arc::new(key));
                self.accepting.send_replace(accepting);
                CertificateReloaded { plane: self.plane, failure: None }.emit();
                true
            }
            Err(error) => {
                CertificateReloaded { plane: self.plane, failure: Some(&error.to_string()) }.emit();
                false
            }
        }
    }

    /// Reads the files again whenever they change, until told to stop.
    pub(crate) async fn follow(self: Arc<Self>, stop: Stop) {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.requested() => return,
            }
            let now = traces(&self.files, self.clients().as_ref());
            let before = {
                let mut seen = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *seen, now)
            };
            if before != now {
                self.reload();
            }
        }
    }
}

impl Accepting {
    fn new(current: &Arc<Current>, clients: Option<&ClientAuthorities>) -> Result<Self, CertificateError> {
        let clients = clients.map(clients::read).transpose()?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Setup)?;
        let config = match &clients {
            Some(verifier) => config.with_client_cert_verifier(Arc::clone(verifier)),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::clone(current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        if clients.is_some() {
            // A resumed session carries the certificate of its first handshake, which nobody verifies again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), clients })
    }
}

/// What handshakes go by, from a moment on.
pub(crate) struct Changes(watch::Receiver<Accepting>);

impl Changes {
    /// Waits until nobody vouches any more for what a client has shown; for ever if it has shown nothing.
    pub(crate) async fn disown(&mut self, shown: Option<&Shown>) {
        let Some(shown) = shown else { return std::future::pending().await };
        while self.0.changed().await.is_ok() {
            let clients = self.0.borrow_and_update().clients.clone();
            if clients.is_none_or(|clients| !shown.is_vouched_for(&*clients)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// What tells one version of the files from the next: when each was written, its size, and which file it is.
type Traces = [Option<(SystemTime, u64, u64)>; 3];

fn traces(files: &CertificateFiles, clients: Option<&ClientAuthorities>) -> Traces {
    [Some(&files.certificate), Some(&files.key), clients.map(|clients| &clients.ca)].map(|path| {
        let metadata = std::fs::metadata(path?).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    })
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let wrong =
        |path: &Path, reason: String| CertificateError::File { path: path.display().to_string(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, "no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => "no private key in it, or one that is encrypted".to_owned(),
            error => error.to_string(),
        };
        wrong(&files.key, reason)
    })?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|reason| CertificateError::Pair {
        certificate: files.certificate.display().to_string(),
        key: files.key.display().to_string(),
        reason,
    })
}
