//! The ledger: immutable entries in Postgres, one per posting, with the delta rows they consist of.
//!
//! [`post`] writes entries and [`copy_in`] those of another ledger's export; nothing else does, and both only insert. Whoever posts must hold the [`lock`].

pub mod copy_in;
pub mod copy_out;
pub mod current_entry;
pub mod day_read;
pub mod definitions;
pub mod lock;
pub mod map;
pub mod migrate;
pub mod post;
mod posted_rows;
pub mod read;
pub mod rejected_hash;
mod row_bytes;
pub mod row_hash;
pub mod server_clock;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

use crate::day::TimeZone;
use crate::error::Error;
use crate::postgres::{Connection, Context as _, Database};
pub use posted_rows::PostedRows;
use read::Reader;

/// Position of an entry in the journal: 1, 2, 3, … without gaps. A day a posting, 64 bits outlast the sun.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    serde::Deserialize,
    sqlx::Type,
)]
#[sqlx(transparent)]
#[serde(transparent)]
pub struct EntryId(i64);

impl EntryId {
    /// Before the first entry: the head of an empty ledger, the checkpoint of an empty projection.
    pub const NONE: Self = Self(0);

    /// The entry after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As the number it is, which is also the version of the documents that the entry makes.
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!(
                "'{text}' is not an entry id: give a number from 1, `daybook log` lists them"
            )),
        }
    }
}

/// Why an entry was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The first posting of a day.
    Apply,
    /// The difference between what the source has now and what was posted.
    Correction,
    /// From files.
    Import,
    /// The exact opposite of another entry.
    Reversal,
}

impl EntryKind {
    /// The name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Correction => "correction",
            Self::Import => "import",
            Self::Reversal => "reversal",
        }
    }
}

/// A ledger that is known to be there and of this program's version.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Where it is.
    pub database: Database,
    /// Which one it is.
    pub ledger_id: Uuid,
    /// The zone of its days.
    pub zone: TimeZone,
}

impl Ledger {
    /// Finds the ledger and checks its schema version.
    pub async fn open(database: &Database) -> Result<Self, Error> {
        Self::at(&mut database.connect("daybook").await?, database).await
    }

    /// The same, and goes on reading it over that connection.
    pub async fn open_for_reading(
        database: &Database,
        name: &str,
    ) -> Result<(Self, Reader), Error> {
        let mut connection = database.connect(name).await?;
        let ledger = Self::at(&mut connection, database).await?;
        Ok((ledger, Reader::over(connection).await?))
    }

    /// The same for whoever verifies: that the record of the migrations is lost or changed is then one of the findings.
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

    async fn at(connection: &mut Connection, database: &Database) -> Result<Self, Error> {
        migrate::check_version(connection, database).await?;
        Self::identify(connection, database).await
    }

    async fn identify(connection: &mut Connection, database: &Database) -> Result<Self, Error> {
        let row: Option<(Uuid, String)> =
            sqlx::query_as("SELECT ledger_id, time_zone FROM daybook.ledger")
                .fetch_optional(connection)
                .await
                .context("reading which ledger this is")?;
        let (ledger_id, zone) = row.ok_or_else(|| migrate::not_migrated(database))?;
        let zone = zone.parse().map_err(|error| {
            Error::failed(format!(
                "the ledger's time zone is unknown to this program ({})",
                database.place()
            ))
            .caused_by(error)
        })?;
        Ok(Self {
            database: database.clone(),
            ledger_id,
            zone,
        })
    }
}
