//! The error of a cluster that gave no answer, and its hint.

use std::error::Error as StdError;
use std::fmt;

use super::reason::Reason;
use super::remedy::Remedy;
use super::wording::Wording;
use crate::error::Error;

/// The cluster gave no answer.
#[derive(Debug)]
pub struct NoAnswer {
    /// The configured addresses.
    pub(super) place: String,
    /// The proxy that was used, without credentials.
    pub(super) proxy: Option<String>,
    /// The nodes that were tried, each with its last failure.
    pub(super) tried: Vec<Tried>,
    pub(super) wording: Wording,
}

/// A node that gave no answer.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) address: String,
    pub(super) reason: Reason,
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
    /// The error, with what was attempted.
    pub fn during(self, what: &str) -> Error {
        let remedies = self
            .tried
            .iter()
            .map(|Tried { reason, .. }| Remedy::of_reason(reason));
        // It is enough if one node recovers.
        let remedy = remedies
            .max_by_key(|remedy| remedy.kind().is_transient())
            .unwrap_or(Remedy::UNREACHABLE);
        let mut hint = remedy.hint(self.wording).unwrap_or_default();
        if let (None, Some(variable)) = (&self.proxy, proxy_of_the_environment()) {
            hint += &format!(
                "; {variable} is set, but not used: set DAYBOOK_ELASTICSEARCH_PROXY to use a proxy"
            );
        }
        Error::new(remedy.kind(), what).caused_by(self).hint(hint)
    }

    /// Whether it may pass within seconds.
    pub(super) fn is_brief(&self) -> bool {
        self.tried.iter().any(|tried| tried.reason.is_brief())
            && !self.tried.iter().any(|tried| tried.reason.is_silence())
    }
}

/// The environment variable that names a proxy.
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
