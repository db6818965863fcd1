//! The exit code and the hint for an error of Postgres, by SQLSTATE.
//!
//! One rule decides: what can be retried ends with 75, what needs a person ends with 1.

use std::error::Error as StdError;
use std::io;

use sqlx::postgres::PgDatabaseError;

use super::Silence;
use crate::error::ErrorKind;

/// An exit code and a hint.
pub(super) type Meaning = (ErrorKind, Option<&'static str>);

const AGAIN: Option<&str> = Some(
    "check that Postgres runs and can be reached, then run the command again: nothing is half-posted",
);
const NOTHING_POSTED: Option<&str> = Some("nothing was posted; run the command again");
const STANDBY: Option<&str> = Some(
    "the server is a standby, or was made read-only: after a failover the address must lead to the new primary (several hosts with target_session_attrs=read-write find it). Nothing was posted; run the command again",
);
const LIBRARY: Option<&str> = Some(
    "the server cannot load one of its own libraries, as after an upgrade of its package: restart the server, then run the command again",
);

/// SQLSTATE classes (two characters) and codes (five). The longest match counts; everything else needs a person.
const MEANINGS: &[(&str, Meaning)] = &[
    // Connection exceptions.
    ("08", (ErrorKind::PostgresUnreachable, AGAIN)),
    // A standby, or a server that is temporarily read-only.
    ("25006", (ErrorKind::PostgresReadOnly, STANDBY)),
    // The server closed the session: it was idle in a transaction, or a transaction took too long.
    ("25P03", (ErrorKind::PostgresUnreachable, AGAIN)),
    ("25P04", (ErrorKind::PostgresUnreachable, AGAIN)),
    (
        "28",
        (
            ErrorKind::PostgresLoginRefused,
            Some(
                "check the user and the password in the connection URL, PGPASSWORD or ~/.pgpass; if the server refuses the connection itself, check its pg_hba.conf: it may require encryption (sslmode=verify-full)",
            ),
        ),
    ),
    (
        "28P01",
        (
            ErrorKind::PostgresLoginRefused,
            Some("check the user and the password in the connection URL, PGPASSWORD or ~/.pgpass"),
        ),
    ),
    (
        "3D000",
        (
            ErrorKind::PostgresDatabaseMissing,
            Some("create the database first, or name another one in the connection URL"),
        ),
    ),
    // Serialization failures, deadlocks, and queries on a standby that conflict with its recovery.
    ("40", (ErrorKind::PostgresBusy, NOTHING_POSTED)),
    (
        "42501",
        (
            ErrorKind::PostgresPrivilegeMissing,
            Some(
                "grant the role what it lacks: `daybook migrate --print-roles` shows the grants that daybook needs",
            ),
        ),
    ),
    // Connections, memory or other resources are exhausted.
    ("53", (ErrorKind::PostgresBusy, AGAIN)),
    (
        "53100",
        (
            ErrorKind::PostgresDiskFull,
            Some("free space on the database server, then run the command again"),
        ),
    ),
    (
        "53400",
        (
            ErrorKind::PostgresRefused,
            Some("raise the server's limit that the message names, then run the command again"),
        ),
    ),
    ("55006", (ErrorKind::PostgresBusy, NOTHING_POSTED)),
    (
        "55P03",
        (
            ErrorKind::PostgresBusy,
            Some(
                "another session holds a lock that daybook needs: let it finish, then run the command again; pg_blocking_pids() shows which one",
            ),
        ),
    ),
    (
        "57014",
        (
            ErrorKind::PostgresRefused,
            Some(
                "somebody cancelled the statement, or it exceeded a statement_timeout in the connection's options: correct that, then run the command again",
            ),
        ),
    ),
    // The server is starting or stopping, or closed the session.
    ("57P01", (ErrorKind::PostgresUnreachable, AGAIN)),
    ("57P02", (ErrorKind::PostgresUnreachable, AGAIN)),
    ("57P03", (ErrorKind::PostgresUnreachable, AGAIN)),
    ("57P05", (ErrorKind::PostgresUnreachable, AGAIN)),
    // One of the server's own files is missing.
    ("58P01", (ErrorKind::PostgresBusy, LIBRARY)),
    ("72000", (ErrorKind::PostgresBusy, NOTHING_POSTED)),
];

/// Classifies an error of the driver.
pub(super) fn classify(error: &sqlx::Error) -> Meaning {
    match error {
        sqlx::Error::Io(error) => of_transport(error),
        sqlx::Error::Tls(error) => (ErrorKind::PostgresUntrusted, Some(of_tls(error.as_ref()))),
        sqlx::Error::Database(database) => {
            let code = database.code();
            match database.try_downcast_ref::<PgDatabaseError>() {
                Some(error) if is_row_security(error) => {
                    (ErrorKind::PostgresPrivilegeMissing, Some(ROW_SECURITY))
                }
                // "Incompatible library" has no code of its own, and the text depends on the server's language.
                Some(error) if error.file() == Some("dfmgr.c") => {
                    (ErrorKind::PostgresBusy, LIBRARY)
                }
                _ => of_code(code.as_deref().unwrap_or("")),
            }
        }
        sqlx::Error::Protocol(text) if text.contains("unsupported") => {
            (ErrorKind::PostgresLoginRefused, Some(AUTHENTICATION))
        }
        _ => (ErrorKind::PostgresRefused, None),
    }
}

const ROW_SECURITY: &str = "row level security would hide rows of that table from this login, and every count would be too low: let an administrator run ALTER ROLE … BYPASSRLS for it; a policy that shows all rows is not enough, since the server does not know that it does";
const SILENT: &str = "check the server and the network between it and this machine, then run the command again: nothing is half-posted. --postgres-timeout sets how long the server may be silent";
const AUTHENTICATION: &str = "daybook logs in with a password (SCRAM, MD5, plain) or a client certificate: the server's pg_hba.conf must allow one of them";

/// Refused because `row_security` is off and rows would be hidden.
fn is_row_security(error: &PgDatabaseError) -> bool {
    error.code() == "42501" && error.routine() == Some("check_enable_rls")
}

fn of_code(code: &str) -> Meaning {
    let fitting = MEANINGS.iter().filter(|(known, _)| code.starts_with(known));
    fitting
        .max_by_key(|(known, _)| known.len())
        .map_or((ErrorKind::PostgresRefused, None), |(_, meaning)| *meaning)
}

/// Errors below the protocol: mostly an unreachable server, but also one that is not trusted.
fn of_transport(error: &io::Error) -> Meaning {
    if let Some(error) = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>())
    {
        return (ErrorKind::PostgresUntrusted, Some(of_tls(error)));
    }
    if error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Silence>())
        .is_some()
    {
        return (ErrorKind::PostgresUnreachable, Some(SILENT));
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => (
            ErrorKind::PostgresLoginRefused,
            Some(
                "this user may not connect there: check the permissions of the socket, or the sandbox of the unit",
            ),
        ),
        io::ErrorKind::InvalidInput => (
            ErrorKind::InvalidSetting,
            Some("check the host in the connection URL"),
        ),
        _ => (ErrorKind::PostgresUnreachable, AGAIN),
    }
}

fn of_tls(error: &(dyn StdError + 'static)) -> &'static str {
    use rustls::CertificateError as Certificate;
    match error.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            Certificate::UnknownIssuer | Certificate::BadSignature => {
                "the server's certificate was issued by an authority that is not trusted: name the file of the right authority in sslrootcert; if you did, another server answers at this address"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: write the host in the connection URL as in the certificate; if you did, another server answers at this address"
            }
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => {
                "the server's certificate has expired or is not valid yet: check this machine's clock, or renew the certificate"
            }
            _ => "the server's certificate cannot be verified: check it on the server",
        },
        Some(rustls::Error::AlertReceived(_)) => {
            "the server refused the encrypted connection: it may require a client certificate (sslcert and sslkey), or not accept the given one"
        }
        _ => "check that the server has ssl = on, and the files of sslrootcert, sslcert and sslkey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, code by code: the codes of a server's transient errors, and some that need a person.
    #[test]
    fn what_time_heals_is_tried_again_and_what_needs_a_person_is_not() {
        let again = [
            "08000", "08001", "08003", "08004", "08006", "25006", "25P03", "25P04", "40000",
            "40001", "40003", "40P01", "53000", "53200", "53300", "55006", "55P03", "57P01",
            "57P02", "57P03", "57P05", "58P01", "72000",
        ];
        for code in again {
            let (exit, hint) = of_code(code);
            assert!(exit.is_transient(), "{code}");
            assert!(hint.is_some(), "{code} has no hint");
        }
        let person = [
            "", "0A000", "22021", "22P02", "23505", "23514", "25001", "28000", "28P01", "3D000",
            "42501", "42P01", "42703", "53100", "53400", "54000", "55000", "57014", "57P04",
            "58030", "P0001", "XX000", "XX001",
        ];
        for code in person {
            assert!(of_code(code).0.needs_a_person(), "{code}");
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
                "{known} is a duplicate"
            );
        }
    }
}
