//! Why there is no answer, as types: nothing is decided by the text of a message.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::remedy::Remedy;
use super::wording::Wording;
use crate::error::Error;

/// The cluster gave no answer.
#[derive(Debug)]
pub struct NoAnswer {
    /// The addresses that were given.
    pub(super) place: String,
    /// The proxy that was used, without credentials.
    pub(super) proxy: Option<String>,
    /// The nodes that were tried, each with its last failure.
    pub(super) tried: Vec<Tried>,
    pub(super) wording: Wording,
}

/// A node that was tried in vain.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) address: String,
    pub(super) reason: Reason,
}

/// Why a node gave no answer.
#[derive(Debug)]
pub(super) enum Reason {
    /// There was no connection: nothing was sent. With the system's words.
    NotConnected(String),
    /// No connection came about within the limit: nothing was sent.
    ConnectTimedOut(Duration),
    /// The server and this program did not agree on an encrypted connection.
    Tls(TlsProblem, String),
    /// The answer was not complete within the limit. Whether any of it came.
    TimedOut { limit: Duration, begun: bool },
    /// The answer came to a halt.
    Stalled(Duration),
    /// The answer is larger than what was asked for can be, in bytes.
    TooLarge(usize),
    /// The connection broke, or what came was not HTTP.
    Broken(String),
    /// The request could not be made at all.
    Unsendable(String),
}

/// What is wrong with an encrypted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsProblem {
    /// The certificate is signed by an authority that is not trusted.
    UnknownAuthority,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate is no longer, or not yet, valid.
    OutOfDate,
    /// The server refuses the client's certificate, or wants one.
    ClientCertificate,
    /// What answers does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

impl Reason {
    /// What the HTTP library says, as a type.
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

    /// Whether it is certain that the node has not seen the request.
    pub(super) fn is_undelivered(&self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::ConnectTimedOut(_))
    }

    /// Whether the node was waited for in vain.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Stalled(_))
    }

    /// Whether it may be over within seconds: a restart, a connection that had gone stale.
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

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elasticsearch ({}) gave no answer", self.place)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through the proxy {proxy}")?;
        }
        match &self.tried[..] {
            [Tried { reason, .. }] => write!(f, ": {reason}"),
            tried => tried
                .iter()
                .try_for_each(|Tried { address, reason }| write!(f, "; {address}: {reason}")),
        }
    }
}

impl StdError for NoAnswer {}

impl NoAnswer {
    /// The failure of what was attempted.
    pub fn during(self, what: &str) -> Error {
        let remedies = self
            .tried
            .iter()
            .map(|Tried { reason, .. }| Remedy::of_reason(reason));
        // One node that comes back is enough.
        let remedy = remedies
            .max_by_key(|remedy| remedy.heals)
            .unwrap_or(Remedy::UNREACHABLE);
        let mut hint = remedy.hint(self.wording).unwrap_or_default();
        if let (None, Some(variable)) = (&self.proxy, proxy_of_the_environment()) {
            hint += &format!(
                "; {variable} is set, but not used: set DAYBOOK_ELASTICSEARCH_PROXY if the way leads through a proxy"
            );
        }
        Error::new(remedy.exit(), what).caused_by(self).hint(hint)
    }

    /// Whether it may be over within seconds.
    pub(super) fn is_brief(&self) -> bool {
        self.tried.iter().any(|tried| tried.reason.is_brief())
            && !self.tried.iter().any(|tried| tried.reason.is_silence())
    }
}

/// The variable by which the environment names a proxy.
fn proxy_of_the_environment() -> Option<&'static str> {
    [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ]
    .into_iter()
    .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl TlsProblem {
    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                // `Other` is a certificate that names itself its authority, where no authority at all is expected.
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
                // It is signed by somebody who only has an authority's name.
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => Self::ClientCertificate,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::Other,
        }
    }
}

/// The error and all beneath it.
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
        // Its source() would leave out what it wraps.
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
