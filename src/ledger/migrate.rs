//! Creates and upgrades the ledger's schema: the embedded migrations, run by refinery over a sqlx connection.
//!
//! Refinery takes no lock of its own; the caller holds the ledger's.

use std::cmp::Ordering;

use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use refinery_core::{Migration, Runner};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use crate::clock;
use crate::database::{Attempt as _, Connection, Database};
use crate::day::TimeZone;
use crate::failure::Failure;

mod embedded {
    #![allow(clippy::pedantic, missing_docs)]
    refinery::embed_migrations!("migrations");
}

/// The roles that daybook knows and what they are granted, as SQL.
pub const ROLES_SQL: &str = include_str!("roles.sql");

const VERSION_TABLE: &str = "daybook.schema_version";

/// What a migration run did.
#[derive(Debug)]
pub struct Migrated {
    /// The migrations that were run, by name.
    pub applied: Vec<String>,
    /// The schema's version afterwards.
    pub version: i32,
    /// Which ledger it is.
    pub ledger_id: Uuid,
    /// The zone of its days.
    pub zone: TimeZone,
    /// Whether the roles are there and granted; if not, somebody with the right to must run [`ROLES_SQL`].
    pub roles: Result<(), String>,
}

/// Brings the schema to this program's version. Repeats safely.
///
/// `zone` is taken on creation; later it must be absent or the same.
pub async fn migrate(connection: &mut Connection, zone: Option<TimeZone>) -> Result<Migrated, Failure> {
    sqlx::raw_sql("SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS daybook")
        .execute(&mut *connection)
        .await
        .attempt("creating the schema daybook")?;
    let found = version(connection).await?.unwrap_or(0);
    if found > embedded_version() {
        return Err(newer(found));
    }
    let report = runner().run_async(&mut Migrating(connection)).await.map_err(|error| {
        Failure::failed("migrating the ledger's schema failed; no migration is half-done").caused_by(error)
    })?;
    let (ledger_id, zone) = create_ledger(connection, zone).await?;
    let roles = create_roles(connection).await;
    Ok(Migrated {
        applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
        version: embedded_version(),
        ledger_id,
        zone,
        roles,
    })
}

/// Makes sure that the schema is there and of this program's version.
pub async fn check_version(connection: &mut Connection, database: &Database) -> Result<(), Failure> {
    let (Some(found), expected) = (version(connection).await?, embedded_version()) else {
        return Err(not_migrated(database));
    };
    match found.cmp(&expected) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(newer(found)),
        Ordering::Less => Err(Failure::failed(format!(
            "the ledger's schema is of version {found}, this program needs {expected} ({})",
            database.place()
        ))
        .hint("run `daybook migrate` to upgrade it")),
    }
}

/// The version of the schema that is there; none if there is no schema.
async fn version(connection: &mut Connection) -> Result<Option<i32>, Failure> {
    let what = "reading the version of the ledger's schema";
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('daybook.schema_version') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .attempt(what)?;
    if !exists {
        return Ok(None);
    }
    let version: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM daybook.schema_version")
        .fetch_one(connection)
        .await
        .attempt(what)?;
    Ok(Some(version.unwrap_or(0)))
}

fn newer(found: i32) -> Failure {
    let known = embedded_version();
    Failure::failed(format!("the ledger's schema is of version {found}, this program knows {known}"))
        .hint("it was migrated by a newer daybook: use that one, or a later one")
}

/// The failure for a database without a ledger.
pub fn not_migrated(database: &Database) -> Failure {
    Failure::failed(format!("there is no ledger yet ({})", database.place()))
        .hint("run `daybook migrate` once to create it, or check DAYBOOK_LEDGER_URL")
}

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner().set_abort_divergent(true).set_abort_missing(true);
    runner.set_migration_table_name(VERSION_TABLE);
    runner
}

/// The version of the schema that this program knows.
pub fn embedded_version() -> i32 {
    runner().get_migrations().iter().map(Migration::version).max().unwrap_or(0)
}

async fn create_ledger(connection: &mut Connection, zone: Option<TimeZone>) -> Result<(Uuid, TimeZone), Failure> {
    let what = "creating the ledger";
    let wanted = zone.unwrap_or(TimeZone::UTC);
    sqlx::query(
        "INSERT INTO daybook.ledger (ledger_id, time_zone, created_at) SELECT $1, $2, $3
         WHERE NOT EXISTS (SELECT FROM daybook.ledger)",
    )
    .bind(Uuid::new_v4())
    .bind(wanted.to_string())
    .bind(clock::now())
    .execute(&mut *connection)
    .await
    .attempt(what)?;
    let (ledger_id, found): (Uuid, String) =
        sqlx::query_as("SELECT ledger_id, time_zone FROM daybook.ledger").fetch_one(connection).await.attempt(what)?;
    let found: TimeZone = found
        .parse()
        .map_err(|error| Failure::failed("the ledger's time zone is unknown to this program").caused_by(error))?;
    if zone.is_some_and(|zone| zone != found) {
        return Err(Failure::usage(format!("the ledger's time zone is {found}, not {wanted}"))
            .hint("a ledger keeps the zone it was created with: leave --time-zone out, or create another ledger in a database of its own"));
    }
    Ok((ledger_id, found))
}

/// Creates and grants the roles where this login may; where not, says why.
async fn create_roles(connection: &mut Connection) -> Result<(), String> {
    // Roles belong to the whole server: a migrate of another database may be creating them at this moment, which shows
    // as a unique violation or as a tuple updated concurrently. Then they are there the next time round.
    const TRIES: usize = 5;
    let mut refused = String::new();
    for _ in 0..TRIES {
        match sqlx::raw_sql(ROLES_SQL).execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
                refused = error.to_string();
                if !matches!(code.as_ref(), "23505" | "42710" | "XX000") {
                    break;
                }
            }
        }
    }
    Err(refused)
}

/// A connection as refinery wants it.
struct Migrating<'c>(&'c mut Connection);

impl AsyncTransaction for Migrating<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        // After an error nobody goes on with the connection, and what is not committed is rolled back.
        sqlx::raw_sql("BEGIN").execute(&mut *self.0).await?;
        let mut done = 0;
        for query in queries {
            sqlx::raw_sql(AssertSqlSafe(query)).execute(&mut *self.0).await?;
            done += 1;
        }
        sqlx::raw_sql("COMMIT").execute(&mut *self.0).await?;
        Ok(done)
    }
}

impl AsyncQuery<Vec<Migration>> for Migrating<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut *self.0).await?;
        rows.iter().map(applied_migration).collect()
    }
}

impl AsyncMigrate for Migrating<'_> {}

fn applied_migration(row: &sqlx::postgres::PgRow) -> Result<Migration, sqlx::Error> {
    let applied_on: String = row.try_get("applied_on")?;
    let checksum: String = row.try_get("checksum")?;
    let applied_on = time::OffsetDateTime::parse(&applied_on, &time::format_description::well_known::Rfc3339)
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let checksum = checksum.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Migration::applied(row.try_get("version")?, row.try_get("name")?, applied_on, checksum))
}
