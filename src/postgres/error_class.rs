//! What an error of Postgres means to the operator: the exit code and the way out, by SQLSTATE.
//!
//! One rule decides: what time heals ends with 75 and is tried again, what needs a person ends with 1.

use std::error::Error as StdError;
use std::io;

use sqlx::postgres::PgDatabaseError;

use super::Silence;
use crate::error::ErrorKind;

/// An exit code and a way out.
pub(super) type Meaning = (ErrorKind, Option<&'static str>);

const AGAIN: Option<&str> = Some(
    "check that Postgres runs and can be reached, then run the command again: nothing is half-posted",
);
const NOTHING_POSTED: Option<&str> = Some("nothing was posted; run the command again");
const STANDBY: Option<&str> = Some(
    "the server is a standby, or was made read-only: after a failover the address must lead to the new primary (several hosts with target_session_attrs=read-write find it). It is worth another try: nothing was posted",
);
const LIBRARY: Option<&str> = Some(
    "the server cannot load one of its own libraries, as after an upgrade of its package under it: it heals with the server's restart; then run the command again",
);

/// SQLSTATE classes (two characters) and codes (five). The longest that fits counts; what is not here needs a person.
const MEANINGS: &[(&str, Meaning)] = &[
    // Connection exceptions.
    ("08", (ErrorKind::Unavailable, AGAIN)),
    // A standby, or a server that was made read-only for a while.
    ("25006", (ErrorKind::Unavailable, STANDBY)),
    // The server has ended the session: idle in a transaction, a transaction that took too long.
    ("25P03", (ErrorKind::Unavailable, AGAIN)),
    ("25P04", (ErrorKind::Unavailable, AGAIN)),
    (
        "28",
        (
            ErrorKind::Failed,
            Some(
                "check the user and the password in the connection URL, PGPASSWORD or ~/.pgpass; if the server refuses the connection as such, its pg_hba.conf: it may want an encrypted one (sslmode=verify-full)",
            ),
        ),
    ),
    (
        "28P01",
        (
            ErrorKind::Failed,
            Some("check the user and the password in the connection URL, PGPASSWORD or ~/.pgpass"),
        ),
    ),
    (
        "3D000",
        (
            ErrorKind::Failed,
            Some("create the database first, or name another one in the connection URL"),
        ),
    ),
    // Serialization failures, deadlocks, conflicts of a standby's queries with its recovery.
    ("40", (ErrorKind::Unavailable, NOTHING_POSTED)),
    (
        "42501",
        (
            ErrorKind::Failed,
            Some(
                "grant the role what it lacks: `daybook migrate --print-roles` shows the grants that daybook needs",
            ),
        ),
    ),
    // Of connections, memory, other resources.
    ("53", (ErrorKind::Unavailable, AGAIN)),
    (
        "53100",
        (
            ErrorKind::Failed,
            Some("free space on the database server, then run the command again"),
        ),
    ),
    (
        "53400",
        (
            ErrorKind::Failed,
            Some("raise the server's limit that the message names, then run the command again"),
        ),
    ),
    ("55006", (ErrorKind::Unavailable, NOTHING_POSTED)),
    (
        "55P03",
        (
            ErrorKind::Unavailable,
            Some(
                "another session holds a lock that is needed: let it end, then run the command again; pg_blocking_pids() tells which",
            ),
        ),
    ),
    (
        "57014",
        (
            ErrorKind::Failed,
            Some(
                "somebody cancelled the statement, or a statement_timeout in the connection's options did; then run the command again",
            ),
        ),
    ),
    // The server is starting, stopping, or has ended the session.
    ("57P01", (ErrorKind::Unavailable, AGAIN)),
    ("57P02", (ErrorKind::Unavailable, AGAIN)),
    ("57P03", (ErrorKind::Unavailable, AGAIN)),
    ("57P05", (ErrorKind::Unavailable, AGAIN)),
    // A file of the server's own is not there.
    ("58P01", (ErrorKind::Unavailable, LIBRARY)),
    ("72000", (ErrorKind::Unavailable, NOTHING_POSTED)),
];

/// What a driver's error means.
pub(super) fn classify(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Io(error) => of_transport(error),
        sqlx::Error::Tls(error) => (ErrorKind::Failed, Some(of_tls(error.as_ref()))),
        sqlx::Error::Database(database) => {
            let code = database.code();
            match database.try_downcast_ref::<PgDatabaseError>() {
                Some(error) if is_row_security(error) => (ErrorKind::Failed, Some(ROW_SECURITY)),
                // "Incompatible library" has no code of its own, and its words are the server's language's.
                Some(error) if error.file() == Some("dfmgr.c") => (ErrorKind::Unavailable, LIBRARY),
                _ => of_code(code.as_deref().unwrap_or("")),
            }
        }
        sqlx::Error::Protocol(text) if text.contains("unsupported") => {
            (ErrorKind::Failed, Some(AUTHENTICATION))
        }
        _ => (ErrorKind::Failed, None),
    }
}

const ROW_SECURITY: &str = "row level security would hide rows of that table from this login, and every count would be too low: let an administrator run ALTER ROLE … BYPASSRLS for it; a policy that shows all rows does not do, since the server cannot tell that it does";
const SILENT: &str = "check the server and what is between it and this machine, then run the command again: nothing is half-posted. --postgres-timeout says how long it may be silent";
const AUTHENTICATION: &str = "daybook logs in with a password (SCRAM, MD5, plain) or a client certificate: ask for another line in the server's pg_hba.conf";

/// Refused because `row_security` is off and rows would be hidden.
fn is_row_security(error: &PgDatabaseError) -> bool {
    error.code() == "42501" && error.routine() == Some("check_enable_rls")
}

fn of_code(code: &str) -> Meaning {
    let fitting = MEANINGS.iter().filter(|(known, _)| code.starts_with(known));
    fitting
        .max_by_key(|(known, _)| known.len())
        .map_or((ErrorKind::Failed, None), |(_, meaning)| *meaning)
}

/// What goes wrong below the protocol: mostly a server that cannot be reached, but also who it turns out to be.
fn of_transport(error: &io::Error) -> Meaning {
    if let Some(error) = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>())
    {
        return (ErrorKind::Failed, Some(of_tls(error)));
    }
    if error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Silence>())
        .is_some()
    {
        return (ErrorKind::Unavailable, Some(SILENT));
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => (
            ErrorKind::Failed,
            Some(
                "this user may not connect there: look at the rights on the socket, or at the sandbox of the unit",
            ),
        ),
        io::ErrorKind::InvalidInput => (
            ErrorKind::Failed,
            Some("check the host in the connection URL"),
        ),
        _ => (ErrorKind::Unavailable, AGAIN),
    }
}

fn of_tls(error: &(dyn StdError + 'static)) -> &'static str {
    use rustls::CertificateError as Certificate;
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            Certificate::UnknownIssuer | Certificate::BadSignature => {
                "the server's certificate is of an authority that is not trusted: name the file of the right one in sslrootcert; if you did, somebody else answers at this address"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: write the host in the connection URL as the certificate has it; if you did, somebody else answers at this address"
            }
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => {
                "the server's certificate is not valid today: have it renewed, and check this machine's clock"
            }
            _ => "have the server's certificate looked at: it cannot be verified",
        },
        Some(rustls::Error::AlertReceived(_)) => {
            "the server refused the encrypted connection: it may want a client certificate (sslcert and sslkey), or not accept the one that is given"
        }
        _ => "check that the server has ssl = on, and the files of sslrootcert, sslcert and sslkey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, code by code: those that Postgres has for what befalls a server, and some that need a person.
    #[test]
    fn what_time_heals_is_tried_again_and_what_needs_a_person_is_not() {
        let again = [
            "08000", "08001", "08003", "08004", "08006", "25006", "25P03", "25P04", "40000",
            "40001", "40003", "40P01", "53000", "53200", "53300", "55006", "55P03", "57P01",
            "57P02", "57P03", "57P05", "58P01", "72000",
        ];
        for code in again {
            let (exit, hint) = of_code(code);
            assert_eq!(exit, ErrorKind::Unavailable, "{code}");
            assert!(hint.is_some(), "{code} has no way out");
        }
        let person = [
            "", "0A000", "22021", "22P02", "23505", "23514", "25001", "28000", "28P01", "3D000",
            "42501", "42P01", "42703", "53100", "53400", "54000", "55000", "57014", "57P04",
            "58030", "P0001", "XX000", "XX001",
        ];
        for code in person {
            assert_eq!(of_code(code).0, ErrorKind::Failed, "{code}");
        }
    }

    #[test]
    fn the_longest_that_fits_counts() {
        assert!(
            of_code("28000")
                .1
                .is_some_and(|hint| hint.contains("pg_hba.conf"))
        );
        assert!(
            of_code("28P01")
                .1
                .is_some_and(|hint| !hint.contains("pg_hba.conf"))
        );
        for (known, _) in MEANINGS {
            assert!(
                matches!(known.len(), 2 | 5),
                "{known} is neither a class nor a code"
            );
            assert_eq!(
                MEANINGS.iter().filter(|(other, _)| other == known).count(),
                1,
                "{known} stands twice"
            );
        }
    }
}
