//! Whom an encrypted connection trusts: the authorities of the system, beside those that the client brings along.

use elasticsearch::cert::Certificate;
use rustls_native_certs::CertificateResult;

/// The certificates of the system's authorities, or nothing where there are none.
///
/// Reading them takes as long as everything else that a start takes, so nobody does who needs none.
pub(super) fn of_the_system() -> Option<Certificate> {
    let CertificateResult { certs, errors, .. } = rustls_native_certs::load_native_certs();
    for error in errors {
        tracing::warn!(error = &error as &dyn std::error::Error, "certificates of the system cannot be read");
    }
    // The client refuses to start with one that it cannot use, and systems keep ancient ones.
    let usable = certs.into_iter().filter(|cert| rustls::RootCertStore::empty().add(cert.clone()).is_ok());
    usable.filter_map(|cert| Certificate::from_der(&cert).ok()).reduce(|mut all, one| {
        all.append(one);
        all
    })
}
