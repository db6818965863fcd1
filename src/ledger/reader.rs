//! A connection that reads the ledger. Its queries are in [`journal`](super::journal), [`rows`](super::rows) and
//! [`balances`](super::balances).

use super::entry::EntryId;
use super::handle::Ledger;
use super::migrate;
use super::posted_rows::PostedRows;
use super::server_clock::Clocks;
use crate::day::{Day, Period};
use crate::error::Error;
use crate::postgres::{Connection, Context as _, Database};

#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    pub(super) posted_rows: Option<PostedRows>,
}

impl Reader {
    /// Opens a connection for reading.
    pub async fn open(ledger: &Ledger, name: &str) -> Result<Self, Error> {
        Self::over(ledger.database.connect(name).await?).await
    }

    /// Opens more of them until there are `wanted`, or the server allows no more.
    pub async fn open_more(readers: &mut Vec<Self>, wanted: usize, ledger: &Ledger, name: &str) {
        while readers.len() < wanted
            && let Ok(another) = Self::open(ledger, name).await
        {
            readers.push(another);
        }
    }

    pub(super) async fn over(mut connection: Connection) -> Result<Self, Error> {
        // Compiling takes the server up to a second for each worker, which no query here is worth.
        sqlx::raw_sql("SET default_transaction_read_only = on; SET jit = off")
            .execute(&mut connection)
            .await
            .context("preparing to read the ledger")?;
        Ok(Self {
            connection,
            posted_rows: None,
        })
    }

    /// From now on, rows of this entry, or of its day up to this entry, come from memory. Use it for making documents.
    pub fn remember(&mut self, posted_rows: Option<PostedRows>) {
        self.posted_rows = posted_rows;
    }

    /// The connection itself, for queries that only one command needs.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub async fn clocks(&mut self) -> Result<Clocks, Error> {
        Clocks::read(&mut self.connection).await
    }

    /// The newest entry; [`EntryId::NONE`] in an empty ledger.
    pub async fn head(&mut self) -> Result<EntryId, Error> {
        let head: Option<EntryId> = sqlx::query_scalar("SELECT max(entry_id) FROM daybook.entry")
            .fetch_one(&mut self.connection)
            .await
            .context("reading the ledger's newest entry")?;
        Ok(head.unwrap_or(EntryId::NONE))
    }

    /// The days from the ledger's first to its last; none in an empty ledger.
    pub async fn period(&mut self) -> Result<Option<Period>, Error> {
        let (first, last): (Option<Day>, Option<Day>) =
            sqlx::query_as("SELECT min(day), max(day) FROM daybook.entry")
                .fetch_one(&mut self.connection)
                .await
                .context("reading the ledger's last day")?;
        Ok(first
            .zip(last)
            .and_then(|(first, last)| Period::new(first, last)))
    }

    /// The last day with an entry, up to `through`.
    pub async fn last_day(&mut self, through: Day) -> Result<Option<Day>, Error> {
        sqlx::query_scalar("SELECT max(day) FROM daybook.entry WHERE day <= $1")
            .bind(through)
            .fetch_one(&mut self.connection)
            .await
            .context("reading the ledger's last closed day")
    }
}

impl Ledger {
    /// Opens the ledger, and a reader over the same connection.
    pub async fn open_for_reading(
        database: &Database,
        name: &str,
    ) -> Result<(Self, Reader), Error> {
        let mut connection = database.connect(name).await?;
        let ledger = Self::at(&mut connection, database).await?;
        Ok((ledger, Reader::over(connection).await?))
    }

    /// The same for a verification, which reports a lost or changed record of the migrations as a finding.
    pub async fn open_for_verifying(
        database: &Database,
        name: &str,
    ) -> Result<(Self, Reader), Error> {
        let mut connection = database.connect(name).await?;
        if let Err(error) = migrate::check_version(&mut connection, database).await
            && !migrate::has_lost_its_record(&mut connection).await?
        {
            return Err(error);
        }
        let ledger = Self::identify(&mut connection, database).await?;
        Ok((ledger, Reader::over(connection).await?))
    }
}
