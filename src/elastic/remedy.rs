//! What to do about a failure of Elasticsearch, and whether it passes without a person: one table, by HTTP status and
//! by the reason for no answer.

use super::reason::{Reason, TlsProblem};
use super::wording::Wording;
use crate::error::{Error, ErrorKind};

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remedy {
    kind: ErrorKind,
    /// What the operator can do, with names in braces for [`Wording`]; may be empty.
    hint: &'static str,
}

impl Remedy {
    /// For a cluster that cannot be reached.
    pub(super) const UNREACHABLE: Self = remedy(
        ErrorKind::ElasticsearchUnreachable,
        "check that Elasticsearch runs and {address} is right, then {afterwards}",
    );
    const BUSY: Self = remedy(
        ErrorKind::ElasticsearchBusy,
        "Elasticsearch is overloaded or starting: wait for it, then {afterwards}",
    );
    const SILENT: Self = remedy(
        ErrorKind::ElasticsearchUnreachable,
        "check the health of Elasticsearch, then {afterwards}; --elasticsearch-timeout sets how long to wait for an answer",
    );

    /// By the status of an unsuccessful answer.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            408 | 429 | 502 | 503 | 504 => Self::BUSY,
            300..=399 => remedy(
                ErrorKind::ElasticsearchRefused,
                "redirects are not followed: if it points to the cluster, set {address} to that address",
            ),
            401 => remedy(
                ErrorKind::ElasticsearchLoginRefused,
                "check the user and the password in {address}, or the API key, token or certificate that is given",
            ),
            403 => remedy(
                ErrorKind::ElasticsearchPrivilegeMissing,
                "give the user the privileges {privileges}",
            ),
            407 => remedy(
                ErrorKind::ElasticsearchLoginRefused,
                "check the user and the password in DAYBOOK_ELASTICSEARCH_PROXY",
            ),
            _ => remedy(ErrorKind::ElasticsearchRefused, ""),
        }
    }

    /// By the status of an answer that names a block of the cluster or of the index.
    pub(super) fn of_block(status: u16) -> Self {
        match status {
            429 => remedy(
                ErrorKind::ElasticsearchDiskFull,
                "the disk of a node of Elasticsearch is nearly full: free space there or add a node, then {afterwards}",
            ),
            403 => remedy(
                ErrorKind::IndexBlocked,
                "somebody has blocked the index: set the block that is named (index.blocks.write, index.blocks.read_only, …) to null in its settings, then {afterwards}",
            ),
            status => Self::of_status(status),
        }
    }

    /// By the reason for no answer.
    pub(super) fn of_reason(reason: &Reason) -> Self {
        match reason {
            Reason::NotConnected(_) | Reason::ConnectTimedOut(_) | Reason::Broken(_) => {
                Self::UNREACHABLE
            }
            Reason::TimedOut { .. } | Reason::Stalled(_) => Self::SILENT,
            Reason::Tls(problem, _) => Self::of_tls(*problem),
            Reason::TooLarge(_) => remedy(
                ErrorKind::ElasticsearchRefused,
                "check that {address} is the address of Elasticsearch; if its documents are that large, raise --memory",
            ),
            Reason::Unsendable(_) => remedy(ErrorKind::InvalidSetting, "check {address}"),
        }
    }

    fn of_tls(problem: TlsProblem) -> Self {
        remedy(
            ErrorKind::ElasticsearchUntrusted,
            match problem {
                TlsProblem::UnknownAuthority => {
                    "name the certificate of the authority that signed the cluster's: --elasticsearch-ca FILE, or DAYBOOK_ELASTICSEARCH_CA"
                }
                TlsProblem::WrongHost => {
                    "write {address} with a host name that the certificate is for"
                }
                TlsProblem::OutOfDate => {
                    "renew the certificate of the cluster, and check the clock of this machine"
                }
                TlsProblem::ClientCertificate => {
                    "the cluster wants a client certificate that it trusts: {options}-client-cert FILE and {options}-client-key FILE"
                }
                TlsProblem::NotTls => {
                    "what listens there is not encrypted: write http:// in {address}"
                }
                TlsProblem::Other => "check the certificates and the TLS settings of the cluster",
            },
        )
    }

    pub(super) fn kind(self) -> ErrorKind {
        self.kind
    }

    /// What the operator can do, with the names of the client's settings.
    pub(super) fn hint(self, wording: Wording) -> Option<String> {
        (!self.hint.is_empty()).then(|| wording.fill(self.hint))
    }

    /// The error, with this remedy as its hint.
    pub(super) fn error(self, what: impl Into<String>, wording: Wording) -> Error {
        let error = Error::new(self.kind(), what);
        match self.hint(wording) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

const fn remedy(kind: ErrorKind, hint: &'static str) -> Remedy {
    Remedy { kind, hint }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_heals_what_is_busy_and_nothing_that_is_refused() {
        for status in [408, 429, 502, 503, 504] {
            assert!(Remedy::of_status(status).kind().is_transient(), "{status}");
        }
        for status in [
            301, 302, 307, 308, 400, 401, 403, 404, 405, 407, 409, 413, 500, 501,
        ] {
            assert!(
                Remedy::of_status(status).kind().needs_a_person(),
                "{status}"
            );
        }
    }

    #[test]
    fn time_heals_a_full_disk_and_no_block_that_somebody_has_set() {
        assert_eq!(
            [429, 403, 503].map(|status| Remedy::of_block(status).kind()),
            {
                [
                    ErrorKind::ElasticsearchDiskFull,
                    ErrorKind::IndexBlocked,
                    ErrorKind::ElasticsearchBusy,
                ]
            }
        );
    }

    #[test]
    fn time_heals_silence_and_no_certificate() {
        let some = || String::from("words");
        let limit = Duration::from_secs(1);
        let healing = [
            Reason::NotConnected(some()),
            Reason::ConnectTimedOut(limit),
            Reason::TimedOut {
                limit,
                begun: false,
            },
            Reason::TimedOut { limit, begun: true },
            Reason::Stalled(limit),
            Reason::Broken(some()),
        ];
        for reason in healing {
            assert_eq!(
                Remedy::of_reason(&reason).kind(),
                ErrorKind::ElasticsearchUnreachable,
                "{reason:?}"
            );
        }
        let problems = [
            TlsProblem::UnknownAuthority,
            TlsProblem::WrongHost,
            TlsProblem::OutOfDate,
            TlsProblem::ClientCertificate,
            TlsProblem::NotTls,
            TlsProblem::Other,
        ];
        let lasting = problems.map(|problem| Reason::Tls(problem, some()));
        for reason in lasting
            .into_iter()
            .chain([Reason::TooLarge(1), Reason::Unsendable(some())])
        {
            let remedy = Remedy::of_reason(&reason);
            assert!(!remedy.kind().is_transient(), "{reason:?}");
            for wording in [Wording::PROJECTIONS, Wording::OLD_INDEX] {
                let hint = remedy.hint(wording).unwrap();
                assert!(!hint.contains(['{', '}']), "{hint}");
            }
        }
    }
}
