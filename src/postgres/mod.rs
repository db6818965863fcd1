//! Connections to Postgres, and the exit codes and hints of its errors.

mod address;
pub mod batches;
pub mod copy_out;
mod error_class;
pub mod inspection;
mod passfile;
mod session;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::{Error, ErrorKind};
use address::{Address, Server, SessionAttributes};
pub use session::{Connection, SEARCH_PATH};
use session::{Limits, Silence};

/// Time limit for opening a connection, unless `connect_timeout` sets another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a database is and how to log in.
#[derive(Clone)]
pub struct Database {
    /// How to connect to each server, in the order in which they are tried.
    servers: Vec<PgConnectOptions>,
    attributes: SessionAttributes,
    /// The names of the settings in the address.
    asked: Vec<String>,
    limits: Limits,
    /// What it is used for: "ledger" or "source".
    role: &'static str,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The driver's own format shows the password.
        f.debug_struct("Database")
            .field("role", &self.role)
            .field("place", &self.place())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// From a connection URL; the standard `PG*` variables add what it leaves open. A server may be silent for
    /// `silence` before daybook gives up.
    pub fn new(
        role: &'static str,
        url: Option<&SecretString>,
        silence: Duration,
    ) -> Result<Self, Error> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = Address::new(url.map(ExposeSecret::expose_secret), &environment).map_err(
            |refusal| {
                let what = if refusal.of_environment {
                    refusal.what
                } else {
                    format!(
                        "the {role}'s connection URL cannot be used: {}",
                        refusal.what
                    )
                };
                Error::setting(what).hint(refusal.hint)
            },
        )?;
        check_files(role, &address)?;
        let servers = address
            .servers
            .iter()
            .map(|server| connect_options(server, &address))
            .collect();
        let connect = address.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let limits = Limits { connect, silence };
        let asked = address.options.into_iter().map(|(name, _)| name).collect();
        Ok(Self {
            servers,
            attributes: address.attributes,
            asked,
            limits,
            role,
        })
    }

    /// Opens a connection, with `name` as its application name. Tries several servers in their order.
    pub async fn connect(&self, name: &str) -> Result<Connection, Error> {
        let mut failure = None;
        // The preferred servers, then any.
        let passes: &[_] = match self.attributes {
            SessionAttributes::PreferStandby => {
                &[SessionAttributes::Standby, SessionAttributes::Any]
            }
            ref wanted => std::slice::from_ref(wanted),
        };
        for (wanted, server) in passes
            .iter()
            .flat_map(|wanted| self.servers.iter().map(|server| (*wanted, server)))
        {
            match Box::pin(self.connect_to(server, wanted, name)).await {
                Ok(connection) => return Ok(connection),
                // If one server refuses the login, the others would, too.
                Err(error) if !error.kind().is_transient() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                format!("the {} has no server", self.role),
            )
        }))
    }

    async fn connect_to(
        &self,
        server: &PgConnectOptions,
        wanted: SessionAttributes,
        name: &str,
    ) -> Result<Connection, Error> {
        let options = server.clone().application_name(name);
        let place = place(std::slice::from_ref(server));
        let what = format!("cannot connect to the {} ({place})", self.role);
        let connecting = Connection::open(&options, &self.asked, wanted, self.limits);
        match tokio::time::timeout(self.limits.connect, connecting).await {
            Ok(Ok(Some(connection))) => Ok(connection),
            Ok(Ok(None)) => Err(Error::new(
                ErrorKind::PostgresReadOnly,
                format!("the {} ({place}) is not what target_session_attrs asks for", self.role),
            )
            .hint("name every server of the cluster in the connection URL; after a failover it takes a while until one of them matches: then run the command again")),
            // The server closed the connection during startup.
            Ok(Err(sqlx::Error::Protocol(text))) if !text.contains("unsupported") => Err(Error::new(ErrorKind::PostgresUnreachable, what)
                .caused_by(sqlx::Error::Protocol(text))
                .hint("check that Postgres runs there and is not just starting or stopping, then run the command again")),
            Ok(Err(error)) => Err(query_error(error, what)),
            Err(_) => Err(Error::new(
                ErrorKind::PostgresUnreachable,
                format!("the {} ({place}) did not answer for {:?}", self.role, self.limits.connect),
            )
            .hint("check that the server is running and that the address is right, then run the command again")),
        }
    }

    /// The address, without the password.
    pub fn place(&self) -> String {
        place(&self.servers)
    }
}

fn place(servers: &[PgConnectOptions]) -> String {
    let host = |server: &PgConnectOptions| match server.get_host() {
        socket if socket.starts_with('/') => socket.to_owned(),
        address if address.contains(':') => format!("[{address}]:{}", server.get_port()),
        name => format!("{name}:{}", server.get_port()),
    };
    let hosts = servers.iter().map(host).collect::<Vec<_>>().join(",");
    let user = servers.first().map_or("", PgConnectOptions::get_username);
    let database = servers
        .first()
        .and_then(PgConnectOptions::get_database)
        .unwrap_or(user);
    format!("database {database} on {hosts} as {user}")
}

/// The driver's options for a server.
fn connect_options(server: &Server, address: &Address) -> PgConnectOptions {
    let Address {
        user,
        password,
        database,
        tls,
        passfile,
        ..
    } = address;
    let host = server
        .host
        .clone()
        .unwrap_or_else(|| default_host(server.port));
    // Formats of values are set with the session's other settings: some poolers refuse them at startup.
    let mut connect = PgConnectOptions::new_without_pgpass()
        .host(&host)
        .port(server.port)
        .extra_float_digits(None);
    if let Some(user) = user {
        connect = connect.username(user);
    }
    if let Some(database) = database {
        connect = connect.database(database);
    }
    let login = passfile::Login {
        host: &host,
        port: server.port,
        database: database.as_deref().unwrap_or(connect.get_username()),
        user: connect.get_username(),
    };
    if let Some(password) = password
        .clone()
        .or_else(|| passfile::look_up(passfile.as_deref(), &login))
    {
        connect = connect.password(&password);
    }
    // A socket cannot be intercepted, and the server does not encrypt on it.
    connect = connect.ssl_mode(if host.starts_with('/') {
        PgSslMode::Disable
    } else {
        tls.mode
    });
    if let Some(root) = &tls.root {
        connect = connect.ssl_root_cert(root);
    }
    if let Some((certificate, key)) = &tls.client {
        connect = connect.ssl_client_cert(certificate).ssl_client_key(key);
    }
    if !address.options_of_environment {
        connect = connect.options(address.options.iter().map(|(name, value)| (name, value)));
    }
    connect.disable_statement_logging()
}

/// The default host: a Unix socket in one of the usual folders, or this machine.
fn default_host(port: u16) -> String {
    let folders = ["/run/postgresql", "/var/run/postgresql", "/tmp"];
    let has_socket = |folder: &&&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    folders
        .iter()
        .find(has_socket)
        .map_or("localhost", |folder| *folder)
        .to_owned()
}

/// Checks the files with certificates: the driver would report a missing one as a server that cannot be reached.
fn check_files(role: &str, address: &Address) -> Result<(), Error> {
    let unusable = |name: &str, path: &Path| {
        Error::setting(format!(
            "the file that {name} names for the {role} cannot be used: {}",
            path.display()
        ))
    };
    let read = |name: &str, path: &Path| {
        std::fs::read(path).map_err(|error| unusable(name, path).caused_by(error))
    };
    let certificates = address.tls.root.iter().map(|path| ("sslrootcert", path));
    for (name, path) in
        certificates.chain(address.tls.client.iter().map(|(path, _)| ("sslcert", path)))
    {
        let bytes = read(name, path)?;
        let mut found = CertificateDer::pem_slice_iter(&bytes);
        if found.next().is_none_or(|first| first.is_err()) || found.any(|one| one.is_err()) {
            return Err(unusable(name, path).hint(
                "it must contain certificates in PEM format, each starting with -----BEGIN CERTIFICATE-----",
            ));
        }
    }
    if let Some((_, path)) = &address.tls.client {
        let bytes = read("sslkey", path)?;
        if rustls::pki_types::PrivateKeyDer::from_pem_slice(&bytes).is_err() {
            return Err(unusable("sslkey", path)
                .hint("it must contain an unencrypted private key in PEM format"));
        }
    }
    Ok(())
}

/// Converts an error of the driver, and adds the exit code and hint for its kind.
pub fn query_error(error: sqlx::Error, what: impl Into<String>) -> Error {
    let (exit, hint) = error_class::classify(&error);
    let failure = Error::new(exit, what).caused_by(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Adds what was attempted to a driver's error.
pub trait Context<T> {
    /// Says what was attempted, and on what.
    fn context(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> Context<T> for Result<T, sqlx::Error> {
    fn context(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|error| query_error(error, what))
    }
}
