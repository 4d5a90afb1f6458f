//! Whom to trust.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::EgressError;

/// A TLS configuration that trusts the authorities in this PEM text, or the platform's.
pub(crate) fn tls_config(ca_pem: Option<&str>) -> Result<ClientConfig, EgressError> {
    let wrong = |reason: String| EgressError::Roots(reason);
    let roots = trusted(ca_pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The authorities in this PEM text, or the platform's.
///
/// # Errors
/// [`EgressError::Roots`] if there is none, or one of the text cannot be read.
pub fn trusted(ca_pem: Option<&str>) -> Result<Arc<RootCertStore>, EgressError> {
    let Some(pem) = ca_pem else { return platform_roots() };
    let wrong = |reason: String| EgressError::Roots(reason);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is none".to_owned()));
    }
    Ok(Arc::new(roots))
}

/// The platform's authorities, read once per process.
fn platform_roots() -> Result<Arc<RootCertStore>, EgressError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Platforms carry certificates that no verifier reads; those are left out, as browsers do.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(EgressError::Roots(reason));
    }
    Ok(Arc::clone(ROOTS.get_or_init(|| Arc::new(roots))))
}
