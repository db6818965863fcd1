//! Checks of a Postgres server and the connection to it.

use super::certificate;
use super::check::Checks;
use crate::certificate::Begin;
use crate::error::{Error, ErrorKind};
use crate::postgres::inspection::ServerFacts;
use crate::postgres::{Connection, Database};

/// The oldest version that the tests run on.
const OLDEST: i32 = 15_00_00;
/// The connections of a run that updates the indices.
const CONNECTIONS_OF_A_RUN: i64 = 5;

/// Connects and checks the server. None if nothing more can be checked.
pub(super) async fn examine(
    database: &Database,
    role: &'static str,
    checks: &mut Checks,
) -> Option<(Connection, ServerFacts)> {
    let connecting = database.connect("daybook doctor").await;
    let mut connection = checks.take("reachable", connecting)?;
    let facts = checks.take("reachable", connection.inspect(role).await)?;
    checks.ok("reachable", database.place());
    if facts.version_number < OLDEST {
        let error = Error::new(
            ErrorKind::PostgresRefused,
            format!("Postgres {} is too old", facts.version),
        );
        checks.failed("version", &error.hint("use Postgres 15 or newer"));
    } else {
        checks.ok("version", format!("Postgres {}", facts.version));
    }
    encryption(database, &facts, checks);
    // One that nobody looks at may expire.
    if facts.tls.is_some() && database.verifies_certificates() {
        certificate::examine(database.hosts(), Begin::AsPostgres, checks).await;
    }
    if facts.free_connections < CONNECTIONS_OF_A_RUN {
        checks.warning(
            "connections",
            format!(
                "the server has {} connections left; a run uses up to {CONNECTIONS_OF_A_RUN}",
                facts.free_connections.max(0)
            ),
            "raise max_connections, or end idle sessions",
        );
    }
    Some((connection, facts))
}

fn encryption(database: &Database, facts: &ServerFacts, checks: &mut Checks) {
    const WAY_OUT: &str = "add sslmode=verify-full (and sslrootcert=FILE for an authority of your own) to the connection URL";
    match &facts.tls {
        Some(tls) if facts.is_local || database.verifies_server() => {
            checks.ok("encryption", tls.clone());
        }
        Some(tls) => checks.warning(
            "encryption",
            format!("{tls}, but any server would be accepted"),
            WAY_OUT,
        ),
        None if facts.is_local => checks.ok("encryption", "none; the server is on this machine"),
        None => checks.warning(
            "encryption",
            "none: others can read the password and the events",
            WAY_OUT,
        ),
    }
}
