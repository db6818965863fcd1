//! TLS certificates: whom a connection trusts, and what it logs in with.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_native_certs::CertificateResult;

use crate::error::Error;

/// A client certificate and its key: PEM files.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// With the certificates of its authorities, if the server needs them.
    pub certificate: PathBuf,
    /// Must not be encrypted.
    pub key: PathBuf,
}

/// Trusts the authorities in a file and no others; without a file, those of the system and the built-in ones.
pub fn trust(http: ClientBuilder, authority: Option<&Path>) -> Result<ClientBuilder, Error> {
    let (http, certificates) = match authority {
        Some(file) => (http.tls_built_in_root_certs(false), of_file(file)?),
        None => (http, of_the_system()),
    };
    Ok(certificates
        .into_iter()
        .fold(http, ClientBuilder::add_root_certificate))
}

/// Logs in with a client certificate.
pub(super) fn identify(
    http: ClientBuilder,
    with: &ClientCertificate,
) -> Result<ClientBuilder, Error> {
    let ClientCertificate { certificate, key } = with;
    let mut pem = read(key)?;
    pem.push(b'\n');
    pem.extend(read(certificate)?);
    let identity = Identity::from_pem(&pem).map_err(|error| {
        Error::setting(format!(
            "the client certificate {} and its key {} cannot be used",
            certificate.display(),
            key.display()
        ))
        .caused_by(error)
        .hint("both must be in PEM, and the key must not be encrypted")
    })?;
    Ok(http.identity(identity))
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| {
        Error::setting(format!(
            "the certificate file {} cannot be read",
            file.display()
        ))
        .caused_by(error)
    })
}

fn of_file(file: &Path) -> Result<Vec<Certificate>, Error> {
    let unusable = || {
        Error::setting(format!("{} is not a file of certificates", file.display()))
            .hint("--elasticsearch-ca takes the certificates of authorities in PEM: -----BEGIN CERTIFICATE-----")
    };
    let pem = read(file)?;
    let certificates: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable().caused_by(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable());
    }
    certificates
        .into_iter()
        .map(|certificate| {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| unusable().caused_by(error))?;
            Certificate::from_der(&certificate).map_err(|error| unusable().caused_by(error))
        })
        .collect()
}

/// The certificate authorities of the system; there may be none.
///
/// Reading them takes as long as the rest of the start, so it happens only if they are needed.
fn of_the_system() -> Vec<Certificate> {
    let CertificateResult { certs, errors, .. } = rustls_native_certs::load_native_certs();
    for error in errors {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "certificates of the system cannot be read"
        );
    }
    // The client refuses to start with a certificate that it cannot use, and systems keep ancient ones.
    let usable = certs
        .into_iter()
        .filter(|cert| RootCertStore::empty().add(cert.clone()).is_ok());
    usable
        .filter_map(|cert| Certificate::from_der(&cert).ok())
        .collect()
}
