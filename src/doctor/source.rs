//! Checks of the source: its tables, privileges and the index on dates.

use super::check::Checks;
use super::server;
use super::subject::Subject;
use crate::day::TimeZone;
use crate::error::{Error, ErrorKind};
use crate::source::{Source, StatsFacts};

/// Checks the source.
pub(super) async fn examine(subject: &Subject<'_>, checks: &mut Checks) {
    let Some((connection, server)) = server::examine(subject.source, "source", checks).await else {
        return;
    };
    connection.close().await;
    // The tables are the same in each time zone.
    let opening = Source::open(subject.source, TimeZone::UTC, "daybook doctor").await;
    let Some(mut source) = checks.take("tables", opening) else {
        return;
    };
    let facts = checks.take("tables", source.inspect().await);
    source.close().await;
    let Some(facts) = facts else {
        return;
    };
    checks.ok("tables", format!("{} may be read", facts.table));
    row_security(&facts, &server.login, checks);
    index(&facts, checks);
    if facts.encoding != "UTF8" {
        checks.ok(
            "encoding",
            format!("{}: converted when it is read", facts.encoding),
        );
    }
}

fn row_security(facts: &StatsFacts, login: &str, checks: &mut Checks) {
    if facts.hides_rows {
        let error = Error::new(
            ErrorKind::PostgresPrivilegeMissing,
            format!("row-level security would hide events from {login}"),
        );
        checks.failed(
            "privileges",
            &error.hint(format!("as an administrator: ALTER ROLE {login} BYPASSRLS")),
        );
    }
}

fn index(facts: &StatsFacts, checks: &mut Checks) {
    let table = &facts.table;
    if facts.date_is_indexed {
        checks.ok("index", format!("{table} has an index on date"));
    } else if facts.is_table {
        checks.warning(
            "index",
            format!("{table} has no index on date: each day reads the whole table"),
            format!("as the table's owner: CREATE INDEX CONCURRENTLY ON {table} (date)"),
        );
    } else {
        checks.ok(
            "index",
            format!("{table} is not a table: see that what it reads has an index on date"),
        );
    }
}
