//! Checks of the ledger: its database, schema and privileges, clocks and days.

use super::check::Checks;
use super::server;
use super::subject::{Found, Subject};
use crate::clock;
use crate::day::Period;
use crate::error::{Error, ErrorKind};
use crate::ledger::inspection::{JOB_ROLE, SchemaFacts, missing_privileges, schema_facts};
use crate::ledger::migrations::embedded_version;
use crate::ledger::{Ledger, Reader, migrate};
use crate::postgres::inspection::ServerFacts;
use crate::postgres::{Connection, Database};
use crate::text::counted;

/// Checks the ledger, and opens it for what is checked afterwards.
pub(super) async fn examine(subject: &Subject<'_>, checks: &mut Checks) -> Option<Found> {
    let (mut connection, server) = server::examine(subject.ledger, "ledger", checks).await?;
    if server.is_standby {
        let error = Error::new(ErrorKind::PostgresReadOnly, "the server is a standby");
        checks.failed(
            "writable",
            &error.hint("name all servers in the URL, with target_session_attrs=read-write"),
        );
    }
    let encoded = migrate::check_encoding(&mut connection).await;
    if checks.take("encoding", encoded).is_some() {
        checks.ok("encoding", server.encoding.clone());
    }
    let schema = checks.take("schema", schema_facts(&mut connection).await)?;
    compression(&schema, checks);
    if schema.exists && !schema.usable {
        checks.failed(
            "privileges",
            &lacking(&server, &schema, "USAGE ON SCHEMA daybook"),
        );
        return None;
    }
    let version = migrate::check_version(&mut connection, subject.ledger).await;
    let version = version.map_err(|error| for_this_login(error, &schema, &server, subject.ledger));
    checks.take("schema", version)?;
    checks.ok("schema", format!("version {}", embedded_version()));
    privileges(&mut connection, &server, &schema, checks).await;
    connection.close().await;
    let opening = Ledger::open_for_reading(subject.ledger, "daybook doctor").await;
    let (ledger, mut reader) = checks.take("schema", opening)?;
    clocks(subject, &mut reader, checks).await;
    let has_entries = days(&ledger, &mut reader, checks).await.unwrap_or_default();
    Some(Found {
        ledger,
        reader,
        has_entries,
    })
}

fn compression(schema: &SchemaFacts, checks: &mut Checks) {
    if schema.can_lz4 {
        checks.ok("compression", "LZ4");
    } else {
        checks.warning(
            "compression",
            "the server cannot compress with LZ4: posting takes much longer",
            "choose a server built with LZ4, as Debian's is, before the ledger is created",
        );
    }
}

/// The command that creates or upgrades the ledger, for a login that may not do so.
fn for_this_login(
    error: Error,
    schema: &SchemaFacts,
    server: &ServerFacts,
    database: &Database,
) -> Error {
    let is_missing = error.kind() == ErrorKind::LedgerMissing;
    if is_missing && schema.may_create {
        return error.hint(
            "run `daybook migrate` to create it (with --time-zone ZONE, if its days are not to be those of UTC: the zone cannot be changed later), or check DAYBOOK_LEDGER_URL",
        );
    }
    let must_migrate = matches!(
        error.kind(),
        ErrorKind::LedgerMissing | ErrorKind::LedgerVersion
    );
    if !must_migrate || schema.may_create || schema.exists {
        return error;
    }
    error.hint(format!(
        "{login} may not create it: run `daybook migrate` as {owner}, who owns the database ({place}): --ledger-url postgres://{owner}@HOST/DATABASE",
        login = server.login,
        owner = schema.database_owner,
        place = database.place()
    ))
}

async fn privileges(
    connection: &mut Connection,
    server: &ServerFacts,
    schema: &SchemaFacts,
    checks: &mut Checks,
) {
    let Some(missing) = checks.take("privileges", missing_privileges(connection).await) else {
        return;
    };
    match &missing[..] {
        [] => checks.ok("privileges", format!("{} may read and post", server.login)),
        [first, others @ ..] => {
            let more = match others.len() {
                0 => String::new(),
                more => format!(" and {}", counted(more, "other", "others")),
            };
            checks.failed(
                "privileges",
                &lacking(server, schema, &format!("{first}{more}")),
            );
        }
    }
}

fn lacking(server: &ServerFacts, schema: &SchemaFacts, what: &str) -> Error {
    let login = &server.login;
    let error = Error::new(
        ErrorKind::PostgresPrivilegeMissing,
        format!("{login} lacks privileges in the ledger: {what}"),
    );
    let grant = format!("GRANT {JOB_ROLE} TO {login}");
    error.hint(if schema.has_job_role {
        format!(
            "as the database's owner ({}): {grant}",
            schema.database_owner
        )
    } else {
        format!("an administrator runs what `daybook migrate --print-roles` prints, then: {grant}")
    })
}

async fn clocks(subject: &Subject<'_>, reader: &mut Reader, checks: &mut Checks) {
    let Some(clocks) = checks.take("clocks", reader.clocks().await) else {
        return;
    };
    match clocks.check(subject.max_clock_skew, subject.ledger) {
        Ok(()) => checks.ok("clocks", format!("{} s apart", clocks.apart.num_seconds())),
        Err(error) => checks.failed("clocks", &error),
    }
}

/// Checks which days are applied. Returns whether any is.
async fn days(ledger: &Ledger, reader: &mut Reader, checks: &mut Checks) -> Option<bool> {
    checks.ok("time zone", format!("days are those of {}", ledger.zone));
    let Some(period) = checks.take("days", reader.period().await)? else {
        checks.warning(
            "days",
            "nothing is applied yet",
            "`daybook apply` begins with yesterday; `daybook apply --all` with the source's first day (add --dry-run to see what it would post)",
        );
        return Some(false);
    };
    let yesterday = ledger.zone.day_of(clock::now()).previous();
    let last_closed = checks.take("days", reader.last_day(yesterday).await)?;
    let gaps = checks.take("days", reader.gaps().await)?.len();
    let missing = last_closed.and_then(|last| Period::new(last.next(), yesterday));
    let behind = missing.map_or(0, Period::day_count);
    let applied = format!("{} to {} are applied", period.from(), period.to());
    if behind > 1 {
        let days = counted(behind, "closed day is", "closed days are");
        checks.warning(
            "days",
            format!("{applied}; {days} missing after them"),
            "`daybook apply`",
        );
    } else {
        checks.ok("days", applied);
    }
    if gaps > 0 {
        checks.warning(
            "gaps",
            format!(
                "{} no entry",
                counted(gaps, "earlier day has", "earlier days have")
            ),
            "`daybook status` names them; `daybook apply --day DAY` for each",
        );
    }
    Some(true)
}
