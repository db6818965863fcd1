//! Opening a ledger: checks that it exists and that its schema has this program's version.

use uuid::Uuid;

use super::migrate;
use crate::day::TimeZone;
use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, Context as _, Database};

/// A ledger that exists and whose schema has this program's version.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub database: Database,
    pub ledger_id: Uuid,
    /// The time zone of its days.
    pub zone: TimeZone,
}

impl Ledger {
    /// Finds the ledger and checks its schema version.
    pub async fn open(database: &Database) -> Result<Self, Error> {
        Self::at(&mut database.connect("daybook").await?, database).await
    }

    pub(super) async fn at(
        connection: &mut Connection,
        database: &Database,
    ) -> Result<Self, Error> {
        migrate::check_version(connection, database).await?;
        Self::identify(connection, database).await
    }

    pub(super) async fn identify(
        connection: &mut Connection,
        database: &Database,
    ) -> Result<Self, Error> {
        let row: Option<(Uuid, String)> =
            sqlx::query_as("SELECT ledger_id, time_zone FROM daybook.ledger")
                .fetch_optional(connection)
                .await
                .context("reading which ledger this is")?;
        let (ledger_id, zone) = row.ok_or_else(|| migrate::not_migrated(database))?;
        let zone = zone.parse().map_err(|error| {
            Error::new(
                ErrorKind::LedgerVersion,
                format!(
                    "the ledger's time zone is unknown to this program ({})",
                    database.place()
                ),
            )
            .caused_by(error)
        })?;
        Ok(Self {
            database: database.clone(),
            ledger_id,
            zone,
        })
    }
}
