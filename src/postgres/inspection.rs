//! What a session and its server are like, for a diagnosis. Only reads.

use sqlx::postgres::PgSslMode;

use super::session::Connection;
use super::{Context as _, Database};
use crate::columns::from_row;
use crate::error::Error;

/// Makes sure that nothing in the session can write, and that no statement outlasts the diagnosis.
const READ_ONLY: &str =
    "SET default_transaction_read_only = on; SET statement_timeout = '5s'; SET lock_timeout = '5s'";

/// Facts about a session and its server.
#[derive(Debug)]
pub struct ServerFacts {
    /// The version as people write it.
    pub version: String,
    /// The version as a number: 180001 for 18.1.
    pub version_number: i32,
    /// The login, quoted for SQL.
    pub login: String,
    /// The protocol of the encryption; none if the connection is not encrypted.
    pub tls: Option<String>,
    /// Whether the connection stays on this machine.
    pub is_local: bool,
    /// Whether the server is a standby.
    pub is_standby: bool,
    /// The encoding of the database.
    pub encoding: String,
    /// How many more connections the server accepts.
    pub free_connections: i64,
}

from_row!(ServerFacts {
    version,
    version_number,
    login,
    tls,
    is_local,
    is_standby,
    encoding,
    free_connections
});

impl Connection {
    /// Prepares the session for a diagnosis, and reads what it and the server are like.
    pub async fn inspect(&mut self, role: &str) -> Result<ServerFacts, Error> {
        sqlx::raw_sql(READ_ONLY)
            .execute(&mut *self)
            .await
            .context(format!("preparing to inspect the {role}"))?;
        sqlx::query_as(
            "SELECT current_setting('server_version') AS version,
                    current_setting('server_version_num')::int AS version_number,
                    quote_ident(current_user) AS login,
                    (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid() AND s.ssl) AS tls,
                    coalesce(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() <<= '::1', true) AS is_local,
                    pg_is_in_recovery() AS is_standby,
                    current_setting('server_encoding') AS encoding,
                    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS free_connections",
        )
        .fetch_one(self)
        .await
        .context(format!("asking the {role}'s server for its version and settings"))
    }
}

impl Database {
    /// Whether every server must present a certificate that is trusted and valid.
    pub fn verifies_certificates(&self) -> bool {
        self.servers.iter().all(|server| {
            let mode = server.get_ssl_mode();
            matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull)
        })
    }

    /// The servers that are reached over the network.
    pub fn hosts(&self) -> impl Iterator<Item = (String, u16)> {
        let hosts = self
            .servers
            .iter()
            .map(|server| (server.get_host().to_owned(), server.get_port()));
        hosts.filter(|(host, _)| !host.starts_with('/'))
    }

    /// Whether every server must prove by its certificate that it is the one in the address.
    pub fn verifies_server(&self) -> bool {
        self.servers
            .iter()
            .all(|server| matches!(server.get_ssl_mode(), PgSslMode::VerifyFull))
    }
}
