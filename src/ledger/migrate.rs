//! Creates and upgrades the ledger's schema: refinery runs the embedded migrations over a sqlx connection.
//!
//! Refinery takes no lock; the caller must hold the ledger's.

use std::cmp::Ordering;

use refinery_core::Migration;
use refinery_core::traits::r#async::{AsyncMigrate, AsyncQuery, AsyncTransaction};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::definitions::{DefinitionKind, definitions};
use super::migrations::{embedded_version, migrations, runner};
use crate::clock;
use crate::day::TimeZone;
use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, Context as _, Database};

/// SQL that creates daybook's roles and grants their privileges.
pub const ROLES_SQL: &str = include_str!("roles.sql");

/// The result of a migration.
#[derive(Debug)]
pub struct Migrated {
    /// Names of the migrations that were run.
    pub applied: Vec<String>,
    /// The schema's version afterwards.
    pub version: i32,
    pub ledger_id: Uuid,
    /// The time zone of its days.
    pub zone: TimeZone,
    /// Whether the roles exist and have their privileges; if not, why. Then somebody who may do so must run
    /// [`ROLES_SQL`].
    pub roles: Result<(), String>,
}

/// Upgrades the schema to this program's version. It can be repeated safely.
///
/// `zone` applies when the ledger is created. Later it must be absent or the same.
pub async fn migrate(
    connection: &mut Connection,
    zone: Option<TimeZone>,
) -> Result<Migrated, Error> {
    check_encoding(connection).await?;
    sqlx::raw_sql("SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS daybook")
        .execute(&mut *connection)
        .await
        .context("creating the schema daybook")?;
    match version(connection).await? {
        Some(found) if found > embedded_version() => return Err(newer(found)),
        Some(found) if found < embedded_version() && has_lost_its_record(connection).await? => {
            return Err(lost_record());
        }
        Some(_) => {}
        None => check_schema_is_empty(connection).await?,
    }
    let report = runner()
        .run_async(&mut Migrating(connection))
        .await
        .map_err(|error| {
            Error::new(
                ErrorKind::MigrationFailed,
                "migrating the ledger's schema failed; no migration is half-done",
            )
            .caused_by(error)
        })?;
    let (ledger_id, zone) = create_ledger(connection, zone).await?;
    let roles = create_roles(connection).await;
    Ok(Migrated {
        applied: report
            .applied_migrations()
            .iter()
            .map(ToString::to_string)
            .collect(),
        version: embedded_version(),
        ledger_id,
        zone,
        roles,
    })
}

/// Refuses a database that cannot hold text in every language, before anything is created in it.
pub async fn check_encoding(connection: &mut Connection) -> Result<(), Error> {
    let what = "asking for the encoding of the ledger's database";
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await
        .context(what)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::new(ErrorKind::LedgerUnusable, format!("the ledger's database has the encoding {encoding}: the ledger needs UTF8")).hint(
        "create another database for it: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 LOCALE 'C.UTF-8'; nothing was created in this one",
    ))
}

/// A schema without daybook's tables must be empty, and nobody else may create objects in it: they would run with the
/// privileges of everybody who uses the ledger.
async fn check_schema_is_empty(connection: &mut Connection) -> Result<(), Error> {
    if has_lost_its_record(connection).await? {
        return Err(lost_record());
    }
    let (owner, is_own, objects): (String, bool, i64) = sqlx::query_as(
        "SELECT pg_get_userbyid(n.nspowner)::text, pg_get_userbyid(n.nspowner) = current_user,
                (SELECT count(*) FROM pg_depend d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
         FROM pg_namespace n WHERE n.nspname = 'daybook'",
    )
    .fetch_one(&mut *connection)
    .await
    .context("inspecting the schema daybook")?;
    if objects > 0 {
        return Err(Error::new(ErrorKind::LedgerUnusable, format!(
            "the schema daybook exists already, with {objects} objects that are not daybook's"
        ))
        .hint("find out whose they are; then drop the schema, or give the ledger a database of its own"));
    }
    if !is_own {
        return Err(Error::new(ErrorKind::LedgerUnusable, format!("the schema daybook exists already and belongs to {owner}"))
            .hint("run `daybook migrate` as that login, or make the schema yours: ALTER SCHEMA daybook OWNER TO …"));
    }
    match creators(connection).await? {
        Some(others) => Err(Error::new(
            ErrorKind::LedgerUnusable,
            format!("others may create objects in the schema daybook: {others}"),
        )
        .hint(format!("REVOKE CREATE ON SCHEMA daybook FROM {others}"))),
        None => Ok(()),
    }
}

/// The roles that may create objects in the schema besides its owner, as SQL names them.
pub async fn creators(connection: &mut Connection) -> Result<Option<String>, Error> {
    sqlx::query_scalar(
        "SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ')
         FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) a
         WHERE n.nspname = 'daybook' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner",
    )
    .fetch_one(connection)
    .await
    .context("looking up who may create objects in the schema daybook")
}

/// Whether everything that the migrations define exists, although their record says otherwise.
pub async fn has_lost_its_record(connection: &mut Connection) -> Result<bool, Error> {
    let found = version(connection).await?;
    if found.is_some_and(|found| found >= embedded_version()) {
        return Ok(false);
    }
    let of_kind = |kind| {
        definitions()
            .into_iter()
            .filter(move |d| d.kind == kind)
            .map(|d| d.name)
            .collect::<Vec<_>>()
    };
    sqlx::query_scalar(
        "SELECT to_regclass('daybook.entry') IS NOT NULL
            AND ($3 OR (SELECT bool_and(EXISTS (SELECT FROM pg_proc p WHERE p.proname = f AND p.pronamespace = n.oid))
                        FROM unnest($1::text[]) f, pg_namespace n WHERE n.nspname = 'daybook')
                   AND (SELECT bool_and(to_regclass('daybook.' || v) IS NOT NULL) FROM unnest($2::text[]) v))",
    )
    .bind(of_kind(DefinitionKind::Function))
    .bind(of_kind(DefinitionKind::View))
    .bind(found.is_none())
    .fetch_one(connection)
    .await
    .context("comparing the schema daybook with the record of its migrations")
}

fn lost_record() -> Error {
    Error::new(ErrorKind::LedgerDamaged, "the schema daybook exists, but the record of its migrations (daybook.schema_version) is lost or changed").hint(
        "`daybook verify --ledger` reports what else was changed; restore the table from a backup, or run what `daybook migrate --print-definitions` prints",
    )
}

/// What is wrong with the record of the migrations, one text for each defect.
pub async fn check_record(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let what = "reading the record of the migrations";
    if version(connection).await?.is_none() {
        return Ok(vec!["the table is missing".to_owned()]);
    }
    let rows: Vec<(i32, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT version, name, checksum FROM daybook.schema_version ORDER BY version",
    )
    .fetch_all(connection)
    .await
    .context(what)?;
    let mut wrong = Vec::new();
    for migration in migrations() {
        let (version, name, checksum) = (
            migration.version(),
            migration.name(),
            migration.checksum().to_string(),
        );
        match rows.iter().find(|row| row.0 == version) {
            None => wrong.push(format!("migration {version} ({name}) is not in it")),
            Some((_, found_name, found))
                if (found_name.as_deref(), found.as_deref()) != (Some(name), Some(&checksum)) =>
            {
                wrong.push(format!(
                    "migration {version} is in it with another name or checksum than this program's"
                ));
            }
            Some(_) => {}
        }
    }
    let unknown = rows.iter().filter(|row| {
        migrations()
            .iter()
            .all(|migration| migration.version() != row.0)
    });
    wrong
        .extend(unknown.map(|row| format!("migration {} in it is unknown to this program", row.0)));
    Ok(wrong)
}

/// Fails unless the schema exists and has this program's version.
pub async fn check_version(connection: &mut Connection, database: &Database) -> Result<(), Error> {
    let (Some(found), expected) = (version(connection).await?, embedded_version()) else {
        return Err(not_migrated(database));
    };
    match found.cmp(&expected) {
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(newer(found)),
        Ordering::Less => Err(Error::new(
            ErrorKind::LedgerVersion,
            format!(
                "the ledger's schema is of version {found}, this program needs {expected} ({})",
                database.place()
            ),
        )
        .hint("run `daybook migrate` to upgrade it")),
    }
}

/// The version of the schema; none if there is no schema.
async fn version(connection: &mut Connection) -> Result<Option<i32>, Error> {
    let what = "reading the version of the ledger's schema";
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('daybook.schema_version') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await
            .context(what)?;
    if !exists {
        return Ok(None);
    }
    let version: Option<i32> =
        sqlx::query_scalar("SELECT max(version) FROM daybook.schema_version")
            .fetch_one(connection)
            .await
            .context(what)?;
    Ok(Some(version.unwrap_or(0)))
}

fn newer(found: i32) -> Error {
    let known = embedded_version();
    Error::new(
        ErrorKind::LedgerVersion,
        format!("the ledger's schema is of version {found}, this program knows {known}"),
    )
    .hint("it was migrated by a newer daybook: use that one, or a later one")
}

/// The error for a database without a ledger.
pub fn not_migrated(database: &Database) -> Error {
    Error::new(
        ErrorKind::LedgerMissing,
        format!("there is no ledger yet ({})", database.place()),
    )
    .hint("run `daybook migrate` once to create it, or check DAYBOOK_LEDGER_URL")
}

async fn create_ledger(
    connection: &mut Connection,
    zone: Option<TimeZone>,
) -> Result<(Uuid, TimeZone), Error> {
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
    .context(what)?;
    let (ledger_id, found): (Uuid, String) =
        sqlx::query_as("SELECT ledger_id, time_zone FROM daybook.ledger")
            .fetch_one(connection)
            .await
            .context(what)?;
    let found: TimeZone = found.parse().map_err(|error| {
        Error::new(
            ErrorKind::LedgerVersion,
            "the ledger's time zone is unknown to this program",
        )
        .caused_by(error)
    })?;
    if zone.is_some_and(|zone| zone != found) {
        return Err(Error::usage(format!("the ledger's time zone is {found}, not {wanted}"))
            .hint("a ledger keeps the zone it was created with: leave --time-zone out, or create another ledger in a database of its own"));
    }
    Ok((ledger_id, found))
}

/// Creates the roles and grants their privileges, if this login may; otherwise returns why not.
async fn create_roles(connection: &mut Connection) -> Result<(), String> {
    // Roles belong to the whole server, so the migration of another database may be creating them right now. That shows
    // as a unique violation or as a concurrently updated tuple. The next try finds them.
    const TRIES: usize = 5;
    let mut refused = String::new();
    for _ in 0..TRIES {
        match sqlx::raw_sql(ROLES_SQL).execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code)
                    .unwrap_or_default();
                refused = error.to_string();
                if !matches!(code.as_ref(), "23505" | "42710" | "XX000") {
                    break;
                }
            }
        }
    }
    Err(refused)
}

/// Adapts a connection to refinery's traits.
struct Migrating<'c>(&'c mut Connection);

impl AsyncTransaction for Migrating<'_> {
    type Error = sqlx::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, sqlx::Error> {
        // After an error the connection is not used again, and what is not committed is rolled back.
        sqlx::raw_sql("BEGIN").execute(&mut *self.0).await?;
        let mut done = 0;
        for query in queries {
            sqlx::raw_sql(AssertSqlSafe(query))
                .execute(&mut *self.0)
                .await?;
            done += 1;
        }
        sqlx::raw_sql("COMMIT").execute(&mut *self.0).await?;
        Ok(done)
    }
}

impl AsyncQuery<Vec<Migration>> for Migrating<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, sqlx::Error> {
        let rows = sqlx::query(AssertSqlSafe(query))
            .fetch_all(&mut *self.0)
            .await?;
        rows.iter().map(applied_migration).collect()
    }
}

impl AsyncMigrate for Migrating<'_> {}

fn applied_migration(row: &sqlx::postgres::PgRow) -> Result<Migration, sqlx::Error> {
    let applied_on: String = row.try_get("applied_on")?;
    let checksum: String = row.try_get("checksum")?;
    let applied_on =
        time::OffsetDateTime::parse(&applied_on, &time::format_description::well_known::Rfc3339)
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let checksum = checksum
        .parse()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Migration::applied(
        row.try_get("version")?,
        row.try_get("name")?,
        applied_on,
        checksum,
    ))
}
