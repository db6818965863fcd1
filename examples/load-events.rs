//! Loads events into the source tables of a database, to try out daybook.
//!
//! `cargo run --example load-events -- [--fresh] FOLDER` creates the tables `stats` and `queries` (from
//! source-tables.sql) in the database of DAYBOOK_LEDGER_URL if they do not exist, and loads FOLDER's `stats.ndjson.gz`
//! and `queries.ndjson.gz`: JSON lines with the tables' columns. Rows whose id exists already are left alone. A file of
//! SQL can stand in place of FOLDER. With
//! `--fresh` the database is dropped and created first; its name must start with `daybook_demo`.

#![expect(clippy::print_stdout, reason = "it prints what it did")]

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const SOURCE_TABLES: &str = include_str!("../example-objects/source-tables.sql");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let fresh = arguments
        .first()
        .is_some_and(|argument| argument == "--fresh");
    let folder = arguments
        .pop()
        .filter(|folder| folder != "--fresh")
        .ok_or("usage: load-events [--fresh] FOLDER")?;
    let url = std::env::var("DAYBOOK_LEDGER_URL")
        .map_err(|_| "set DAYBOOK_LEDGER_URL: eval \"$(script/stack env)\"")?;
    if fresh {
        create_anew(&url).await?;
    }
    let mut connection = PgConnection::connect(&url).await?;
    // Otherwise a login named `daybook` would use the schema of the ledger.
    sqlx::raw_sql("SET search_path = public")
        .execute(&mut connection)
        .await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('stats') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        sqlx::raw_sql(SOURCE_TABLES)
            .execute(&mut connection)
            .await?;
    }
    let folder = Path::new(&folder);
    if folder
        .extension()
        .is_some_and(|extension| extension == "sql")
    {
        let statements = std::fs::read_to_string(folder)?;
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut connection)
            .await?;
        println!("loaded {}", folder.display());
        return Ok(());
    }
    let queries = load(
        &mut connection,
        &folder.join("queries.ndjson.gz"),
        "INSERT INTO queries SELECT r.* FROM json_populate_recordset(NULL::queries, $1::json) r ON CONFLICT DO NOTHING",
    )
    .await?;
    let events = load(
        &mut connection,
        &folder.join("stats.ndjson.gz"),
        "INSERT INTO stats SELECT r.* FROM json_populate_recordset(NULL::stats, $1::json) r ON CONFLICT DO NOTHING",
    )
    .await?;
    println!(
        "loaded {events} events and {queries} queries from {}",
        folder.display()
    );
    Ok(())
}

/// Drops and creates the database of a connection URL.
async fn create_anew(url: &str) -> Result<(), Box<dyn Error>> {
    let mut server: url::Url = url.parse()?;
    let database = server.path().trim_start_matches('/').to_owned();
    if !database.starts_with("daybook_demo")
        || !database
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Err(format!(
            "--fresh drops the database {database}: refused, its name must start with daybook_demo"
        )
        .into());
    }
    server.set_path("postgres");
    let mut connection = PgConnection::connect(server.as_str()).await?;
    for statement in [
        format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        format!("CREATE DATABASE {database}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}

/// Loads a file of JSON lines. Returns the number of new rows.
async fn load(
    connection: &mut PgConnection,
    file: &Path,
    insert: &'static str,
) -> Result<u64, Box<dyn Error>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(File::open(file)?).read_to_string(&mut text)?;
    let array = format!("[{}]", text.lines().collect::<Vec<_>>().join(","));
    Ok(sqlx::query(insert)
        .bind(array)
        .execute(connection)
        .await?
        .rows_affected())
}
