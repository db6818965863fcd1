//! Connections to Postgres, and what its errors mean to the operator.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::failure::{Exit, Failure};

/// What every session sets first: names are found in pg_catalog, and in no schema in which somebody else may create
/// something of the same name. So every statement names other schemas in full.
pub const SEARCH_PATH: &str = "SET search_path = pg_catalog, pg_temp";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a database is and how to log in.
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
    /// What it is to the operator: "ledger" or "source".
    role: &'static str,
}

impl Database {
    /// From a connection URL, or from the standard `PG*` variables where none is given.
    pub fn new(role: &'static str, url: Option<&SecretString>) -> Result<Self, Failure> {
        let options = match url {
            Some(url) if !is_postgres_url(url) => {
                return Err(Failure::usage(format!(
                    "the {role}'s connection URL cannot be read: it is none of Postgres"
                ))
                .hint("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
            }
            Some(url) => PgConnectOptions::from_str(url.expose_secret()).map_err(|error| {
                Failure::usage(format!("the {role}'s connection URL cannot be read"))
                    .caused_by(error)
                    .hint("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            })?,
            None => PgConnectOptions::new(),
        };
        Ok(Self { options: options.disable_statement_logging(), role })
    }

    /// Opens a connection that is shown to the server's operators under `name`.
    pub async fn connect(&self, name: &str) -> Result<PgConnection, Failure> {
        let options = self.options.clone().application_name(name);
        let connecting = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::raw_sql(SEARCH_PATH).execute(&mut connection).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            // A server that hangs up in the middle of the greeting.
            Ok(Err(error @ sqlx::Error::Protocol(_))) => Err(Failure::new(
                Exit::Unreachable,
                format!("cannot connect to the {} ({})", self.role, self.place()),
            )
            .caused_by(error)
            .hint("check that Postgres runs there and is not just starting or stopping, then run the command again")),
            Ok(Err(error)) => Err(failure(error, format!("cannot connect to the {} ({})", self.role, self.place()))),
            Err(_) => Err(Failure::new(
                Exit::Unreachable,
                format!("the {} ({}) did not answer for {} s", self.role, self.place(), CONNECT_TIMEOUT.as_secs()),
            )
            .hint("check that the server runs and the address is right, then run the command again")),
        }
    }

    /// The address without the password.
    pub fn place(&self) -> String {
        let host = self.options.get_socket().map_or_else(
            || format!("{}:{}", self.options.get_host(), self.options.get_port()),
            |socket| socket.display().to_string(),
        );
        let database = self.options.get_database().unwrap_or_else(|| self.options.get_username());
        format!("database {database} on {host} as {}", self.options.get_username())
    }
}

fn is_postgres_url(url: &SecretString) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme))
}

/// Turns a driver's error into a failure, with the exit code and the way out that its kind calls for.
pub fn failure(error: sqlx::Error, what: impl Into<String>) -> Failure {
    let (exit, hint) = classify(&error);
    let failure = Failure::new(exit, what).caused_by(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Adds what was attempted to a driver's error.
pub trait Attempt<T> {
    /// Names what was attempted, and on what.
    fn attempt(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T> Attempt<T> for Result<T, sqlx::Error> {
    fn attempt(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| failure(error, what))
    }
}

fn classify(error: &sqlx::Error) -> (Exit, Option<&'static str>) {
    const TRY_AGAIN: Option<&str> =
        Some("check that Postgres runs and can be reached, then run the command again: nothing is half-posted");
    match error {
        sqlx::Error::Io(_) => (Exit::Unreachable, TRY_AGAIN),
        sqlx::Error::Database(database) => match database.code().as_deref().unwrap_or("") {
            // 57P01..57P05: the server is starting, stopping or has ended the session; 53300: no connection left.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" => (Exit::Unreachable, TRY_AGAIN),
            code if code.starts_with("08") => (Exit::Unreachable, TRY_AGAIN),
            "28P01" | "28000" => {
                (Exit::Failed, Some("check the user and the password in the connection URL, PGPASSWORD or ~/.pgpass"))
            }
            "3D000" => (Exit::Failed, Some("create the database first, or name another one in the connection URL")),
            "42501" => (
                Exit::Failed,
                Some(
                    "grant the role what it lacks: `daybook migrate --print-roles` shows the grants that daybook needs",
                ),
            ),
            "53100" => (Exit::Failed, Some("free space on the database server, then run the command again")),
            "23514" | "40001" => (Exit::Failed, Some("nothing was posted; run the command again")),
            _ => (Exit::Failed, None),
        },
        _ => (Exit::Failed, None),
    }
}
