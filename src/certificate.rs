//! Until when the certificate of a TLS server is valid.
//!
//! On a connection of its own, on which nothing is sent but the greeting: no library hands out the certificates of the
//! connections that a run uses. Whether the server is to be trusted is for those to tell, and is not checked here.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Asks a Postgres server to encrypt the connection.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The year 9999: every certificate has expired by then.
const FAR_FUTURE: Duration = Duration::from_secs(253_370_764_800);

/// How TLS begins on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    AtOnce,
    /// As Postgres does: the client asks for it.
    AsPostgres,
}

/// When the server's certificate expires. None if that cannot be found out.
pub async fn expiry(host: &str, port: u16, begin: Begin) -> Option<DateTime<Utc>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((host, port)).await.ok()?;
    if begin == Begin::AsPostgres {
        stream.write_all(&SSL_REQUEST).await.ok()?;
        if stream.read_u8().await.ok()? != b'S' {
            return None;
        }
    }
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let connector = TlsConnector::from(Arc::new(anybody().ok()?));
    let stream = connector.connect(name.clone(), stream).await.ok()?;
    let certificates = stream.get_ref().1.peer_certificates()?;
    not_after(certificates.first()?, &name)
}

/// Takes part in the greeting of every server.
fn anybody() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth())
}

/// The end of a certificate's validity: what is wrong with it in the far future, if it is its own authority.
fn not_after(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Option<DateTime<Utc>> {
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate.clone().into_owned()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider)
        .build()
        .ok()?;
    let then = UnixTime::since_unix_epoch(FAR_FUTURE);
    match verifier.verify_server_cert(certificate, &[], name, &[], then) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            DateTime::from_timestamp(i64::try_from(not_after.as_secs()).ok()?, 0)
        }
        _ => None,
    }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
