//! The databases of the bench.

use chrono::NaiveDate;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;

use crate::Error;

/// The URL with another database.
pub fn with_database(url: &str, database: &str) -> Result<String, Error> {
    let mut url: Url = url.parse()?;
    url.set_path(database);
    Ok(url.into())
}

pub async fn connect(url: &str) -> Result<PgConnection, Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

/// Creates the database anew, empty.
pub async fn create(url: &str) -> Result<(), Error> {
    drop(url).await?;
    let mut server = connect(&with_database(url, "postgres")?).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {}", name(url)?)))
        .execute(&mut server)
        .await?;
    Ok(())
}

pub async fn drop(url: &str) -> Result<(), Error> {
    let mut server = connect(&with_database(url, "postgres")?).await?;
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(url)?);
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut server)
        .await?;
    Ok(())
}

/// Makes the server write out its pending pages, so that it does not do so during the next measurement.
pub async fn settle(url: &str) -> Result<(), Error> {
    sqlx::raw_sql("CHECKPOINT")
        .execute(&mut connect(url).await?)
        .await?;
    Ok(())
}

/// The last day of the ledger, if any.
pub async fn last_day(url: &str) -> Result<Option<NaiveDate>, Error> {
    let mut server = connect(&with_database(url, "postgres")?).await?;
    let exists = sqlx::query("SELECT FROM pg_database WHERE datname = $1")
        .bind(name(url)?)
        .fetch_optional(&mut server);
    if exists.await?.is_none() {
        return Ok(None);
    }
    let mut ledger = connect(url).await?;
    let is_ledger: bool = sqlx::query_scalar("SELECT to_regclass('daybook.entry') IS NOT NULL")
        .fetch_one(&mut ledger)
        .await?;
    if !is_ledger {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT max(day) FROM daybook.entry")
        .fetch_one(&mut ledger)
        .await?)
}

pub async fn version(url: &str) -> Result<String, Error> {
    let mut server = connect(&with_database(url, "postgres")?).await?;
    Ok(
        sqlx::query_scalar("SELECT current_setting('server_version')")
            .fetch_one(&mut server)
            .await?,
    )
}

/// The name of a database that only the bench may drop.
fn name(url: &str) -> Result<String, Error> {
    let url: Url = url.parse()?;
    let name = url.path().trim_start_matches('/');
    if name.starts_with("daybook_demo_bench_")
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    {
        return Ok(name.to_owned());
    }
    Err(format!(
        "refused to make the database {name} anew: its name must start with daybook_demo_bench_"
    )
    .into())
}
