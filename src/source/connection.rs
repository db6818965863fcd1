//! The connection to the source.

use super::characters::Converter;
use super::tables::Tables;
use crate::day::{Day, Period, TimeZone};
use crate::error::Error;
use crate::postgres::{Connection, Context as _, Database};

/// The source tables, read in the ledger's time zone.
#[derive(Debug)]
pub struct Source {
    pub(super) connection: Connection,
    pub(super) converter: Converter,
    pub(super) zone: TimeZone,
    pub(super) tables: Tables,
    in_transaction: bool,
}

impl Source {
    /// Connects, and checks that daybook can read the tables.
    pub async fn open(database: &Database, zone: TimeZone, name: &str) -> Result<Self, Error> {
        let mut connection = database.connect(name).await?;
        // JIT compilation is not worth it for any statement here.
        sqlx::raw_sql("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'")
            .execute(&mut connection)
            .await
            .context("preparing the connection to the source")?;
        let tables = Tables::find(&mut connection, database).await?;
        let converter = Converter::of(&mut connection, database).await?;
        Ok(Self {
            connection,
            converter,
            zone,
            tables,
            in_transaction: false,
        })
    }

    pub(super) async fn begin(&mut self, what: &str) -> Result<(), Error> {
        let statements = if std::mem::replace(&mut self.in_transaction, false) {
            "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        };
        sqlx::raw_sql(statements)
            .execute(&mut self.connection)
            .await
            .context(what)?;
        self.in_transaction = true;
        Ok(())
    }

    pub(super) fn condition_of(&self, period: Period) -> String {
        let ([from, _], [_, next]) = (self.bounds(period.from()), self.bounds(period.to()));
        let date = self.date_type();
        format!("s.date >= '{from}'::{date} AND s.date < '{next}'::{date}")
    }

    pub(super) fn condition(&self, day: Day) -> String {
        let ([from, to], date) = (self.bounds(day), self.date_type());
        format!("s.date >= '{from}'::{date} AND s.date < '{to}'::{date}")
    }

    /// The first instants of a day and of the next one. A `timestamp` without time zone is read in the ledger's zone,
    /// so its bounds are the dates themselves.
    pub(super) fn bounds(&self, day: Day) -> [String; 2] {
        [day, day.next()].map(|day| {
            if self.tables.date_is_zoned {
                self.zone
                    .start_of(day)
                    .format("%Y-%m-%dT%H:%M:%S+00")
                    .to_string()
            } else {
                day.to_string()
            }
        })
    }

    pub(super) fn date_type(&self) -> &'static str {
        if self.tables.date_is_zoned {
            "timestamptz"
        } else {
            "timestamp"
        }
    }

    /// Closes the connection, so that the server does not log an unexpected end. Not needed for correctness.
    pub async fn close(self) {
        // The transaction was read-only, so an error while closing does not matter.
        self.connection.close().await;
        self.converter.close().await;
    }
}
