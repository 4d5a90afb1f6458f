//! Client certificates: which authorities vouch for them, read again when their file changes.
//!
//! A handshake is a proof at one moment. What could outlive it is looked after: TLS sessions are not resumed where client
//! certificates are asked for, since a resumed one is not verified anew; and a connection ends once the authorities that
//! are trusted by then do not vouch for the certificate that it was opened with.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CommonState, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::tls::CertificateError;

/// Whose certificates clients may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientAuthorities {
    /// PEM: the authorities that vouch for clients. None else do.
    pub(crate) ca: PathBuf,
    /// Whether a client without a certificate is turned away in the handshake.
    pub(crate) required: bool,
}

/// What a client has shown: its certificate, and the intermediate ones that it sent along.
#[derive(Debug)]
pub(crate) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    leaf: Arc<[u8]>,
}

impl Shown {
    /// What was shown in this handshake and verified; none if the client has shown nothing.
    pub(crate) fn of(handshake: &CommonState) -> Option<Self> {
        let chain = handshake.peer_certificates()?.to_vec();
        let leaf = Arc::from(chain.first()?.as_ref());
        Some(Self { chain, leaf })
    }

    /// The client's own certificate, in DER.
    pub(crate) fn leaf(&self) -> &Arc<[u8]> {
        &self.leaf
    }

    /// Whether it would be taken now.
    pub(crate) fn is_vouched_for(&self, verifier: &dyn ClientCertVerifier) -> bool {
        let Some((leaf, intermediates)) = self.chain.split_first() else { return false };
        verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
    }
}

/// Reads the authorities.
pub(crate) fn read(clients: &ClientAuthorities) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let wrong = |reason: String| CertificateError::File { path: clients.ca.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(&clients.ca).map_err(|error| wrong(error.to_string()))?;
    for authority in authorities {
        let authority = authority.map_err(|error| wrong(error.to_string()))?;
        roots.add(authority).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    let provider = Arc::new(ring::default_provider());
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !clients.required {
        verifier = verifier.allow_unauthenticated();
    }
    verifier.build().map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
