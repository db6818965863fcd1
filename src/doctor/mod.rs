//! Checks everything that a run needs, and changes nothing: no migration, no lock, only read-only sessions and requests
//! that read.
//!
//! The areas are checked at the same time, each within a time limit, so that a server that hangs is reported as such and
//! delays nothing else. Documents are compared with the ledger afterwards, if both were found. Within an area a check
//! that fails ends those that depend on it.

mod certificate;
mod check;
mod cluster;
mod documents;
mod ledger;
mod machine;
mod server;
mod source;
mod subject;

use std::time::Duration;

use tokio::time::timeout;

pub use self::check::{Area, Check, Checks, Level};
pub use self::subject::Subject;
use crate::elastic::Client;
use crate::error::{Error, ErrorKind};

/// How long the checks of an area may take. Two areas are checked one after the other at most.
const LONGEST: Duration = Duration::from_secs(4);

/// Checks everything, and returns the results in the order in which daybook is set up.
pub async fn examine(subject: &Subject<'_>) -> Vec<Check> {
    let mut of_ledger = Checks::new(Area::Ledger);
    let mut of_source = Checks::new(Area::Source);
    let mut of_cluster = Checks::new(Area::Elasticsearch);
    let mut of_machine = Checks::new(Area::Machine);
    let (found, (), serves, ()) = tokio::join!(
        within(
            ledger::examine(subject, &mut of_ledger),
            subject.ledger.place()
        ),
        async {
            let examining = source::examine(subject, &mut of_source);
            if let Err(silent) = within(examining, subject.source.place()).await {
                of_source.failed("answers", &silent.of_postgres("source"));
            }
        },
        async {
            let place = subject.elasticsearch.as_ref().map(Client::place);
            let examining = cluster::examine(subject, &mut of_cluster);
            match within(examining, place.unwrap_or_default()).await {
                Ok(serves) => serves,
                Err(silent) => {
                    of_cluster.failed("answers", &silent.of_elasticsearch());
                    false
                }
            }
        },
        async {
            if timeout(LONGEST, machine::examine(subject, &mut of_machine))
                .await
                .is_err()
            {
                of_machine.warning(
                    "answers",
                    "systemd does not answer",
                    "systemctl status shows whether it runs",
                );
            }
        },
    );
    let found = found.unwrap_or_else(|silent| {
        of_ledger.failed("answers", &silent.of_postgres("ledger"));
        None
    });
    let mut of_documents = Checks::new(Area::Documents);
    if let Some(found) = &found {
        machine::time_zone(found.ledger.zone, &mut of_machine);
    }
    if let (Some(mut found), Ok(client), true) = (found, &subject.elasticsearch, serves) {
        let examining = documents::examine(subject.plan, &mut found, client, &mut of_documents);
        if let Err(silent) = within(examining, client.place()).await {
            of_documents.failed("answers", &silent.of_elasticsearch());
        }
    }
    [of_ledger, of_source, of_cluster, of_documents, of_machine]
        .into_iter()
        .flat_map(Checks::into_found)
        .collect()
}

/// A server that did not answer within the time limit.
struct Silent {
    place: String,
}

impl Silent {
    fn of_postgres(&self, role: &str) -> Error {
        Error::new(
            ErrorKind::PostgresUnreachable,
            format!(
                "the {role} ({}) did not answer within {LONGEST:?}",
                self.place
            ),
        )
        .hint("check that the server runs, and what it is doing: pg_stat_activity shows it")
    }

    fn of_elasticsearch(&self) -> Error {
        Error::new(
            ErrorKind::ElasticsearchUnreachable,
            format!(
                "Elasticsearch ({}) did not answer within {LONGEST:?}",
                self.place
            ),
        )
        .hint("check the health of Elasticsearch")
    }
}

async fn within<T>(work: impl Future<Output = T>, place: String) -> Result<T, Silent> {
    timeout(LONGEST, work).await.map_err(|_| Silent { place })
}
