//! Why a node gave no answer, as types: no decision depends on the text of a message.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

/// Why a node gave no answer.
#[derive(Debug)]
pub(super) enum Reason {
    /// No connection: nothing was sent. With the system's message.
    NotConnected(String),
    /// No connection within the limit: nothing was sent.
    ConnectTimedOut(Duration),
    /// No encrypted connection.
    Tls(TlsProblem, String),
    /// The answer was not complete within the limit. `begun` says whether any of it arrived.
    TimedOut { limit: Duration, begun: bool },
    /// The answer stopped in the middle.
    Stalled(Duration),
    /// The answer has more than this number of bytes.
    TooLarge(usize),
    /// The connection broke, or the answer was not HTTP.
    Broken(String),
    /// The request could not be sent.
    Unsendable(String),
}

/// What is wrong with an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsProblem {
    /// The certificate is signed by an authority that is not trusted.
    UnknownAuthority,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate has expired, or is not valid yet.
    OutOfDate,
    /// The server refuses the client's certificate, or requires one.
    ClientCertificate,
    /// The server does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

impl Reason {
    /// Classifies an error of the HTTP library.
    pub(super) fn of(error: &reqwest::Error, connect_limit: Duration) -> Self {
        if let Some(error) = chain(error).find_map(rustls_error) {
            return Self::Tls(TlsProblem::of(error), error.to_string());
        }
        let words = innermost(error);
        if error.is_builder() {
            Self::Unsendable(words)
        } else if error.is_connect() && error.is_timeout() {
            Self::ConnectTimedOut(connect_limit)
        } else if error.is_connect() {
            Self::NotConnected(words)
        } else {
            Self::Broken(words)
        }
    }

    /// Whether the node has certainly not seen the request.
    pub(super) fn is_undelivered(&self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::ConnectTimedOut(_))
    }

    /// Whether the node did not answer within a time limit.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Stalled(_))
    }

    /// Whether it may pass within seconds: a restart, a stale connection.
    pub(super) fn is_brief(&self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::Broken(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(words) => write!(f, "no connection: {words}"),
            Self::ConnectTimedOut(limit) => write!(f, "no connection within {limit:?}"),
            Self::Tls(_, words) => write!(f, "no encrypted connection: {words}"),
            Self::TimedOut {
                limit,
                begun: false,
            } => write!(f, "no answer within {limit:?}"),
            Self::TimedOut { limit, begun: true } => {
                write!(f, "the answer was not complete within {limit:?}")
            }
            Self::Stalled(limit) => write!(
                f,
                "the answer stopped in the middle: nothing came for {limit:?}"
            ),
            Self::TooLarge(limit) => write!(f, "the answer has more than {limit} bytes"),
            Self::Broken(words) => write!(f, "the connection broke: {words}"),
            Self::Unsendable(words) => write!(f, "the request cannot be sent: {words}"),
        }
    }
}

impl TlsProblem {
    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                // `Other` is a self-signed authority that is used as the server's certificate.
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
                    Self::UnknownAuthority
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongHost,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::OutOfDate,
                _ => Self::Other,
            },
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::NoCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                // It is signed by somebody who only uses the name of an authority.
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => Self::ClientCertificate,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        }
    }
}

/// The error and its sources.
fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), beneath)
}

fn beneath<'e>(error: &&'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let error: &'e (dyn StdError + 'static) = *error;
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        // Its source() would leave out the error that it wraps.
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn rustls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref()
}

fn innermost(error: &reqwest::Error) -> String {
    chain(error).last().unwrap_or(error).to_string()
}
