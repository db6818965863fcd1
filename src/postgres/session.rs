//! A session with Postgres: what it sets for itself, and how long the server may keep silent in it.
//!
//! A login may have settings of its own (`ALTER ROLE … SET`), meant for people or for other programs: limits that end a
//! session in the middle of a long day, other forms of dates, hidden rows. So each session sets what it needs, and all of
//! it here.
//!
//! Silence: a statement may take hours, and a connection that leads nowhere says just as little. So whenever nothing has
//! come for half of the time that a setting grants, the server is asked over another connection what the session is
//! doing. If the server does not answer, or the session has ended, or waits for us just as we wait for it, twice in a row,
//! then nothing more will come: the connection is given up, with an error that says so.

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

/// What every session sets before all else: names are found in pg_catalog, and in no schema in which somebody else may
/// create something of the same name. So every statement names other schemas in full.
pub const SEARCH_PATH: &str = "SET search_path = pg_catalog, pg_temp";

/// What every session sets, whatever the login or the database has set.
const SETTINGS: &[(&str, &str)] = &[
    // What row level security would hide is an error rather than a count that is too low.
    ("row_security", "off"),
    // The forms in which values are read and written.
    ("standard_conforming_strings", "on"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    // What a transaction is where nothing else is said.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
];

/// What every session sets unless the connection's own `options` say otherwise, with the version of Postgres that first
/// had it. A session may be idle for as long as a day takes, and a day takes as long as it takes: whether anybody is still
/// there is found out in another way, see above, and by the server with its keepalives.
const LIMITS: &[(&str, &str, u32)] = &[
    ("statement_timeout", "0", 0),
    ("idle_in_transaction_session_timeout", "0", 0),
    ("idle_session_timeout", "0", 14_00_00),
    ("transaction_timeout", "0", 17_00_00),
    // Whoever waits for a lock for longer than this ends with 75 and gives back what it holds itself.
    ("lock_timeout", "'10min'", 0),
    // The server notices within two minutes that this machine is gone, and gives the ledger's lock back.
    ("tcp_keepalives_idle", "60", 0),
    ("tcp_keepalives_interval", "10", 0),
    ("tcp_keepalives_count", "6", 0),
];

/// A connection to Postgres. Statements are executed on it as on the driver's own.
#[derive(Debug)]
pub struct Connection {
    inner: PgConnection,
    watch: Watch,
}

/// Rows on their way into a table.
#[must_use = "without finish() the server takes none of the rows"]
pub struct CopyIn<'c> {
    inner: PgCopyIn<&'c mut PgConnection>,
    watch: &'c Watch,
}

/// Whose silence ended a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// The server did not even answer over a new connection.
    #[error("the server has been silent for {0:?}, and does not answer over a new connection")]
    Server(Duration),
    /// The server answers, but the session is not there any more.
    #[error("the server has been silent for {0:?}: it has ended the session")]
    EndedSession(Duration),
    /// The session waits for us, or cannot get rid of its answer.
    #[error(
        "the server has been silent for {0:?}, although it has nothing left to do: the connection does not carry its answer"
    )]
    Connection(Duration),
}

impl Connection {
    /// Opens a session and sets what it needs. None if the server is not what is asked for.
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
            // Whether the server hears it or not.
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

    /// Starts a `COPY … TO STDOUT`. A stream that is not read to its end leaves the connection good for nothing.
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

    /// Says goodbye to the server, which would log an unexpected end otherwise. Whether it is heard changes nothing:
    /// what is committed is committed, and all the rest is rolled back.
    pub async fn close(self) {
        let Self { inner, watch } = self;
        let _ = tokio::time::timeout(watch.limits.connect, inner.close()).await;
    }
}

impl CopyIn<'_> {
    /// Sends a part of the data.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), sqlx::Error> {
        self.watch.wait(self.inner.send(data)).await.map(drop)
    }

    /// Ends the data; returns how many rows arrived.
    pub async fn finish(self) -> Result<u64, sqlx::Error> {
        self.watch.wait(self.inner.finish()).await
    }
}

/// The statements that set a session up. Its first row: process id, whether the server is a standby, whether it was set to
/// read-only.
fn set_up(asked: &[String], server_version: u32) -> String {
    let limits = LIMITS.iter().filter(|(name, _, since)| {
        server_version >= *since && !asked.iter().any(|asked| asked == name)
    });
    let settings = SETTINGS
        .iter()
        .map(|(name, value)| format!("SET {name} = '{value}'"));
    let settings = settings.chain(limits.map(|(name, value, _)| format!("SET {name} = {value}")));
    // Functions by their schema: who knows what the search_path of the login leads to.
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

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For a connection, until it can be used.
    pub(super) connect: Duration,
    /// For a server that keeps silent.
    pub(super) silence: Duration,
}

/// Watches over the answers of one session.
struct Watch {
    options: PgConnectOptions,
    /// The server's process.
    pid: i32,
    limits: Limits,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options have the password in them.
        f.debug_struct("Watch")
            .field("pid", &self.pid)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the server says about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It works, or waits for something of the server's own, such as a lock.
    Working,
    /// It waits for its client: to be told something, or to get rid of something.
    WaitingForUs,
    /// It is not there.
    Gone,
    /// The server does not tell.
    Unknown,
}

impl Watch {
    /// Waits for an answer, for as long as one can be expected.
    async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.wait_for(answer).await?
    }

    async fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Result<T, sqlx::Error> {
        let mut answer = pin!(answer);
        // Most is there already: no timer for that.
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

    /// Waits for each item of a stream; ends after an error.
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

    /// Asks the server over a connection of its own what the session is doing.
    async fn look(&self) -> Result<Doing, Silence> {
        let silence = || Silence::Server(self.limits.silence);
        let looked = tokio::time::timeout(self.limits.connect, self.ask())
            .await
            .map_err(|_| silence())?;
        let doing = match looked {
            Ok(doing) => doing,
            // It refuses, as when it has no connection left: so it is there, and nothing is known.
            Err(sqlx::Error::Database(error))
                if !error.code().is_some_and(|code| code.starts_with("57P")) =>
            {
                tracing::debug!(
                    error = error.message(),
                    "the server does not tell what a session is doing"
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
            "a statement takes long; asked the server about it"
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
