//! A session with Postgres: its settings, and how long the server may be silent.
//!
//! A login may have its own settings (`ALTER ROLE … SET`), meant for people or other programs: limits that end a
//! session in the middle of a long day, other date formats, hidden rows. So each session sets everything it needs,
//! here.
//!
//! A statement may take hours, and a dead connection is just as silent. So when nothing has arrived for half of the
//! allowed time, daybook asks the server over another connection what the session is doing. It gives up the connection
//! with an error if the server does not answer, if the session has ended, or if the session is found waiting for
//! daybook twice in a row, while daybook waits for it.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgCopyIn, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
    Postgres,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Either, Execute, Executor, Row as _,
    SqlStr,
};

use super::address::SessionAttributes;

/// Set first in every session. Names are found in `pg_catalog`, not in a schema where somebody else may create an
/// object of the same name. So statements must qualify all other names.
pub const SEARCH_PATH: &str = "SET search_path = pg_catalog, pg_temp";

/// Set in every session, whatever the login or the database sets.
const SETTINGS: &[(&str, &str)] = &[
    // If row level security would hide rows, fail instead of counting too little.
    ("row_security", "off"),
    // The formats of values.
    ("standard_conforming_strings", "on"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    // The defaults for transactions.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
];

/// Set in every session unless the connection's own `options` set it, with the first version of Postgres that has the
/// setting. A session may be idle for as long as counting a day takes. Dead connections are detected in another way
/// (see the module), and by the server's keepalives.
const LIMITS: &[(&str, &str, u32)] = &[
    ("statement_timeout", "0", 0),
    ("idle_in_transaction_session_timeout", "0", 0),
    ("idle_session_timeout", "0", 14_00_00),
    ("transaction_timeout", "0", 17_00_00),
    // Waiting longer for a lock ends the run with 75, which releases its own locks.
    ("lock_timeout", "'10min'", 0),
    // The server notices within two minutes that this machine is gone, and releases the ledger's lock.
    ("tcp_keepalives_idle", "60", 0),
    ("tcp_keepalives_interval", "10", 0),
    ("tcp_keepalives_count", "6", 0),
];

/// A connection to Postgres. It executes statements like the driver's own.
#[derive(Debug)]
pub struct Connection {
    inner: PgConnection,
    watch: Watch,
}

/// A COPY into a table in progress.
#[must_use = "without finish() the server discards the rows"]
pub struct CopyIn<'c> {
    inner: PgCopyIn<&'c mut PgConnection>,
    watch: &'c Watch,
}

/// Why daybook gave up a silent session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// The server did not answer over a new connection, either.
    #[error("the server has been silent for {0:?}, and does not answer over a new connection")]
    Server(Duration),
    /// The server answers, but the session has ended.
    #[error("the server has been silent for {0:?}: it has ended the session")]
    EndedSession(Duration),
    /// The session waits for daybook, or cannot send its response.
    #[error(
        "the server has been silent for {0:?}, although it has nothing left to do: its response does not arrive over the connection"
    )]
    Connection(Duration),
}

impl Connection {
    /// Opens a session and applies its settings. None if the server is not of the wanted kind.
    pub(super) async fn open(
        options: &PgConnectOptions,
        asked: &[String],
        wanted: SessionAttributes,
        limits: Limits,
    ) -> Result<Option<Self>, sqlx::Error> {
        let mut inner = options.connect().await?;
        let set_up = set_up(asked, inner.server_version_num().unwrap_or(0));
        let row = sqlx::raw_sql(AssertSqlSafe(set_up))
            .fetch_one(&mut inner)
            .await?;
        let (pid, standby, read_only): (i32, bool, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if !wanted.are_those_of(standby, read_only == "on") {
            // An error while closing does not matter.
            let _ = inner.close().await;
            return Ok(None);
        }
        Ok(Some(Self {
            inner,
            watch: Watch {
                options: options.clone(),
                pid,
                limits,
            },
        }))
    }

    /// Starts a `COPY … FROM STDIN`.
    pub async fn copy_in_raw(&mut self, statement: &str) -> Result<CopyIn<'_>, sqlx::Error> {
        let inner = self
            .watch
            .wait(Box::pin(self.inner.copy_in_raw(statement)))
            .await?;
        Ok(CopyIn {
            inner,
            watch: &self.watch,
        })
    }

    /// Starts a `COPY … TO STDOUT`. A stream that is not read to its end makes the connection unusable.
    pub async fn copy_out_raw(
        &mut self,
        statement: &str,
    ) -> Result<BoxStream<'_, Result<Bytes, sqlx::Error>>, sqlx::Error> {
        let stream = self
            .watch
            .wait(Box::pin(self.inner.copy_out_raw(statement)))
            .await?;
        Ok(self.watch.stream(stream))
    }

    /// Closes the connection, so that the server does not log an unexpected end. An error does not matter: what is
    /// committed stays, and everything else is rolled back.
    pub async fn close(self) {
        let Self { inner, watch } = self;
        let _ = tokio::time::timeout(watch.limits.connect, inner.close()).await;
    }

    /// The same, after a last statement. A server that has fallen silent is not waited for as long as for an answer.
    pub async fn close_after(self, statement: &'static str) {
        let Self { mut inner, watch } = self;
        let closing = async {
            sqlx::raw_sql(statement).execute(&mut inner).await?;
            inner.close().await
        };
        let _ = tokio::time::timeout(watch.limits.connect, closing).await;
    }
}

impl CopyIn<'_> {
    /// Sends a part of the data.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), sqlx::Error> {
        self.watch.wait(self.inner.send(data)).await.map(drop)
    }

    /// Ends the data, and returns how many rows arrived.
    pub async fn finish(self) -> Result<u64, sqlx::Error> {
        self.watch.wait(self.inner.finish()).await
    }
}

/// The statements that set up a session. The first row has the process id, whether the server is a standby, and whether
/// it is read-only by default.
fn set_up(asked: &[String], server_version: u32) -> String {
    let limits = LIMITS.iter().filter(|(name, _, since)| {
        server_version >= *since && !asked.iter().any(|asked| asked == name)
    });
    let settings = SETTINGS
        .iter()
        .map(|(name, value)| format!("SET {name} = '{value}'"));
    let settings = settings.chain(limits.map(|(name, value, _)| format!("SET {name} = {value}")));
    // Functions are qualified: the login's `search_path` may lead anywhere.
    let facts = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(),
                        pg_catalog.current_setting('default_transaction_read_only')";
    [facts.to_owned(), SEARCH_PATH.to_owned()]
        .into_iter()
        .chain(settings)
        .collect::<Vec<_>>()
        .join(";\n")
}

impl SessionAttributes {
    fn are_those_of(self, standby: bool, read_only: bool) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !standby && !read_only,
            Self::ReadOnly => standby || read_only,
            Self::Primary => !standby,
            Self::Standby => standby,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until a new connection can be used.
    pub(super) connect: Duration,
    /// For a silent server.
    pub(super) silence: Duration,
}

/// Watches over the responses of a session.
struct Watch {
    options: PgConnectOptions,
    /// The process id of the server's backend.
    pid: i32,
    limits: Limits,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options contain the password.
        f.debug_struct("Watch")
            .field("pid", &self.pid)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the server reports about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It is working, or waits for something in the server, such as a lock.
    Working,
    /// It waits for the client to send or to receive something.
    WaitingForUs,
    /// It has ended.
    Gone,
    /// The server does not say.
    Unknown,
}

impl Watch {
    /// Waits for a response as long as one can be expected.
    async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.wait_for(answer).await?
    }

    async fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Result<T, sqlx::Error> {
        let mut answer = pin!(answer);
        // Most responses are there already and need no timer.
        if let std::task::Poll::Ready(answer) = futures_util::poll!(answer.as_mut()) {
            return Ok(answer);
        }
        let mut suspected = false;
        loop {
            if let Ok(answer) = tokio::time::timeout(self.limits.silence / 2, answer.as_mut()).await
            {
                return Ok(answer);
            }
            let doing = tokio::select! {
                answer = answer.as_mut() => return Ok(answer),
                doing = Box::pin(self.look()) => doing.map_err(given_up)?,
            };
            match doing {
                Doing::Gone => return Err(given_up(Silence::EndedSession(self.limits.silence))),
                Doing::WaitingForUs if suspected => {
                    return Err(given_up(Silence::Connection(self.limits.silence)));
                }
                Doing::WaitingForUs => suspected = true,
                Doing::Working | Doing::Unknown => suspected = false,
            }
        }
    }

    /// Waits for each item of a stream. The stream ends after an error.
    fn stream<'s, T: Send + 's>(
        &'s self,
        items: impl Stream<Item = Result<T, sqlx::Error>> + Send + Unpin + 's,
    ) -> BoxStream<'s, Result<T, sqlx::Error>> {
        stream::unfold(Some(items), async move |items| {
            let mut items = items?;
            match self.wait_for(items.next()).await {
                Ok(Some(item)) => Some((item, Some(items))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Asks the server, over another connection, what the session is doing.
    async fn look(&self) -> Result<Doing, Silence> {
        let silence = || Silence::Server(self.limits.silence);
        let looked = tokio::time::timeout(self.limits.connect, self.ask())
            .await
            .map_err(|_| silence())?;
        let doing = match looked {
            Ok(doing) => doing,
            // The server refuses, for example because it has no connection left: it is alive, but the state is unknown.
            Err(sqlx::Error::Database(error))
                if !error.code().is_some_and(|code| code.starts_with("57P")) =>
            {
                tracing::debug!(
                    error = error.message(),
                    "the server does not say what a session is doing"
                );
                Doing::Unknown
            }
            Err(error) => {
                tracing::debug!(%error, "the server does not answer");
                return Err(silence());
            }
        };
        tracing::info!(
            pid = self.pid,
            ?doing,
            "a statement is taking long; asked the server about it"
        );
        Ok(doing)
    }

    async fn ask(&self) -> Result<Doing, sqlx::Error> {
        let mut connection = self
            .options
            .clone()
            .application_name("daybook watching")
            .connect()
            .await?;
        let sql = format!(
            "SELECT a.wait_event_type FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.=) {}",
            self.pid
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_optional(&mut connection)
            .await?;
        let doing = match row
            .map(|row| row.try_get::<Option<String>, _>(0))
            .transpose()?
        {
            None => Doing::Gone,
            Some(Some(event)) if event == "Client" => Doing::WaitingForUs,
            Some(_) => Doing::Working,
        };
        let _ = connection.close().await;
        Ok(doing)
    }
}

fn given_up(silence: Silence) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, silence))
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        self.watch.stream(self.inner.fetch_many(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.watch.wait(self.inner.fetch_optional(query)))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(self.watch.wait(self.inner.prepare_with(sql, parameters)))
    }
}
