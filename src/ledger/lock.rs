//! The locks of the ledger: one run at a time posts, one projects, one rebuilds.
//!
//! Each is a session-level advisory lock on its own connection. It is held during a run and released at its end, or with
//! the connection, however the process ends. Writers require a [`Run`] as proof that the lock is held. If the connection is
//! lost unnoticed, the ledger stays correct: a posting is refused unless it follows the entry on which it was decided.

use std::time::Duration;

use serde_json::Value;
use tracing::{Span, field};
use uuid::Uuid;

use super::handle::Ledger;
use super::known_balances::BalancesAsOf;
use super::server_clock::Clocks;
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Exit};
use crate::failpoint;
use crate::postgres::{Connection, Context as _, Database};

/// What a lock protects. The value is the key of the advisory lock, which is per database: "daybook" in ASCII, and the
/// two numbers after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum LockKind {
    /// Posting. Held during the whole run.
    Posting = 0x64_61_79_62_6f_6f_6b,
    /// Writing to the indices behind the aliases. Held only while writing; other runs wait.
    Projecting = 0x64_61_79_62_6f_6f_6c,
    /// Rebuilding and verifying documents. Held during the whole run, while others may post.
    Rebuilding = 0x64_61_79_62_6f_6f_6d,
}

impl LockKind {
    fn key(self) -> i64 {
        self as i64
    }
}

/// How long a run that holds the posting lock waits for the projecting lock.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How often a run asks for its lock while it finds it free again each time.
const MOST_QUESTIONS: usize = 10;
/// How often a waiting run tries again, and how often it logs that it waits.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(100);
const BETWEEN_WARNINGS: Duration = Duration::from_secs(if cfg!(debug_assertions) { 1 } else { 30 });

/// The program's version, as stored with runs and entries.
pub const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    connection: Connection,
    run_id: Uuid,
}

impl Lock {
    /// Takes the lock, or fails and names its holder.
    pub async fn take(
        database: &Database,
        purpose: LockKind,
        command: &str,
    ) -> Result<Self, Error> {
        let run_id = Uuid::new_v4();
        let mut connection = database.connect(&session_name(command, run_id)).await?;
        let mut held_by = None;
        for _ in 0..MOST_QUESTIONS {
            let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(purpose.key())
                .fetch_one(&mut connection)
                .await
                .context("taking the ledger's lock")?;
            if taken {
                return Ok(Self { connection, run_id });
            }
            held_by = holder(&mut connection, purpose).await?;
            if held_by.is_some() {
                break;
            }
            // It has just been released.
        }
        let holder = held_by.unwrap_or_else(|| "a run that has just ended".to_owned());
        Err(Error::new(
            ErrorKind::Locked,
            format!("another run holds the ledger's lock: {holder}"),
        )
        .hint("let it finish, then run the command again; `daybook status` shows how it went"))
    }

    /// Releases the lock and closes the connection. The server ends a session that was closed some time after its client
    /// has gone on: whoever starts the next run at once must not find it locked.
    pub async fn release(self) {
        self.connection
            .close_after("SELECT pg_advisory_unlock_all()")
            .await;
    }

    /// The connection that holds the lock. Never use COPY on it: a failed COPY makes the connection unusable.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Fails if the lock is no longer held.
    pub async fn check(&mut self) -> Result<(), Error> {
        sqlx::query("SELECT 1")
            .execute(&mut self.connection)
            .await
            .map(drop)
            .context("the connection that holds the ledger's lock is lost; nothing was posted")
    }
}

/// The connection of a committed posting, without an open transaction, and the balances after it. Connecting costs more
/// than posting a quiet day.
#[derive(Debug)]
pub(super) struct LastPosting {
    pub(super) connection: Connection,
    pub(super) balances: BalancesAsOf,
}

/// The span of a command, which carries the run's id once it has started.
pub fn run_span(command: &'static str) -> Span {
    tracing::info_span!("run", command, run_id = field::Empty)
}

/// A run of a command: recorded in the ledger, and holding a lock.
#[derive(Debug)]
pub struct Run {
    lock: Lock,
    since: Stopwatch,
    purpose: LockKind,
    /// What the last posting has left for the next one.
    posting: Option<LastPosting>,
}

impl Run {
    /// Takes the lock and records the start of the run.
    pub async fn start(ledger: &Ledger, purpose: LockKind, command: &str) -> Result<Self, Error> {
        let lock = Lock::take(&ledger.database, purpose, command).await?;
        Self::record_start(lock, purpose, command).await
    }

    async fn record_start(mut lock: Lock, purpose: LockKind, command: &str) -> Result<Self, Error> {
        let recorded = sqlx::query(
            "INSERT INTO daybook.run_start (run_id, command, version) VALUES ($1, $2, $3)",
        )
        .bind(lock.run_id)
        .bind(command)
        .bind(TOOL_VERSION)
        .execute(&mut lock.connection)
        .await
        .context("recording the start of the run");
        if let Err(error) = recorded {
            lock.release().await;
            return Err(error);
        }
        Span::current().record("run_id", field::display(lock.run_id));
        failpoint::reach("run.started");
        Ok(Self {
            lock,
            since: Stopwatch::start(),
            purpose,
            posting: None,
        })
    }

    /// Takes the posting lock and records the start of the run. Fails if the clocks of this machine and of the server
    /// differ by more than `max_clock_skew`.
    pub async fn start_posting(
        ledger: &Ledger,
        command: &str,
        max_clock_skew: Duration,
    ) -> Result<Self, Error> {
        let mut lock = Lock::take(&ledger.database, LockKind::Posting, command).await?;
        let clocks = Clocks::read(lock.connection()).await;
        match clocks.and_then(|clocks| clocks.check(max_clock_skew, &ledger.database)) {
            Ok(()) => Self::record_start(lock, LockKind::Posting, command).await,
            Err(error) => {
                lock.release().await;
                Err(error)
            }
        }
    }

    pub fn run_id(&self) -> Uuid {
        self.lock.run_id
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Fails if the lock is no longer held.
    pub async fn check_lock(&mut self) -> Result<(), Error> {
        self.lock.check().await
    }

    /// What the last posting has left. After an error, do not give it back.
    pub(super) fn take_last_posting(&mut self) -> Option<LastPosting> {
        self.posting.take()
    }

    /// Keeps what a committed posting leaves for the next one.
    pub(super) fn keep_last_posting(&mut self, last: LastPosting) {
        self.posting = Some(last);
    }

    /// Closes the connection of the last posting, if there is one.
    async fn close_posting_connection(&mut self) {
        if let Some(LastPosting { connection, .. }) = self.posting.take() {
            // Everything is committed, so an error while closing does not matter.
            connection.close().await;
        }
    }

    /// Takes the projecting lock, waiting until it is free. A run that holds the posting lock gives up after a while. A
    /// rebuild does not: it would lose what it has built, and it does not keep others from posting.
    ///
    /// This polls, because a session that waits inside the server does not notice that its process is gone, and would
    /// keep its other locks.
    pub async fn lock_projections(&mut self) -> Result<(), Error> {
        // Projecting comes after all posting, and needs its own connections.
        self.close_posting_connection().await;
        let waiting = Stopwatch::start();
        let mut warned = Duration::ZERO;
        loop {
            let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                .bind(LockKind::Projecting.key())
                .fetch_one(&mut self.lock.connection)
                .await
                .context("waiting for another run to finish projecting")?;
            if taken {
                return Ok(());
            }
            let waited = waiting.elapsed();
            let gives_up = self.purpose == LockKind::Posting && waited > LONGEST_WAIT;
            if gives_up || waited > warned + BETWEEN_WARNINGS {
                warned = waited;
                let holder = holder(&mut self.lock.connection, LockKind::Projecting)
                    .await?
                    .unwrap_or_default();
                let seconds = waited.as_secs();
                if gives_up {
                    let what = format!("another run has been projecting for {seconds} s: {holder}");
                    return Err(Error::new(ErrorKind::Locked, what)
                        .hint("let it finish, then run the command again"));
                }
                tracing::warn!(
                    holder,
                    seconds,
                    "waiting for another run to finish projecting"
                );
            }
            tokio::time::sleep(BETWEEN_QUESTIONS).await;
        }
    }

    /// Releases the projecting lock.
    pub async fn unlock_projections(&mut self) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(LockKind::Projecting.key())
            .execute(&mut self.lock.connection)
            .await
            .map(drop)
            .context("releasing the projecting lock")
    }

    /// Records the end of the run and releases the lock. The outcome is that of the run, even if it cannot be recorded.
    pub async fn finish(mut self, exit: Exit, outcome: &str, figures: Value) -> Result<(), Error> {
        failpoint::reach("run.ending");
        self.close_posting_connection().await;
        let recorded = sqlx::query("INSERT INTO daybook.run_end (run_id, exit_code, outcome, figures) VALUES ($1, $2, $3, $4)")
            .bind(self.lock.run_id)
            .bind(i32::from(exit.code()))
            .bind(outcome.replace('\0', "\u{fffd}"))
            .bind(figures)
            .execute(&mut self.lock.connection)
            .await
            .context("recording the end of the run");
        self.lock.release().await;
        recorded.map(drop)
    }
}

/// The session's name in `pg_stat_activity`, where other runs look up the lock's holder.
fn session_name(command: &str, run_id: Uuid) -> String {
    format!("daybook {command} {run_id}")
}

/// Describes the session that holds a lock; none if the lock is free.
pub async fn holder(
    connection: &mut Connection,
    purpose: LockKind,
) -> Result<Option<String>, Error> {
    let (high, low) = (purpose.key() >> 32, purpose.key() & 0xffff_ffff);
    sqlx::query_scalar(
        "SELECT format('%s, server process %s%s', coalesce(nullif(a.application_name, ''), 'a session without a name'), l.pid,
                       coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', '\", since \"YYYY-MM-DD HH24:MI:SS\" UTC\"'), ''))
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $1 AND l.objid::bigint = $2 AND l.objsubid = 1
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(high)
    .bind(low)
    .fetch_optional(connection)
    .await
    .context("looking up who holds the ledger's lock")
}
