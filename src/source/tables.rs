//! Where the source's tables are, and whether their columns can be read.

use crate::error::{Error, ErrorKind};
use crate::postgres::{self, Connection, Context as _, Database};

/// The tables' qualified names, for statements.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) stats: String,
    pub(super) queries: String,
    /// Whether dates have a time zone.
    pub(super) date_is_zoned: bool,
}

/// The columns that daybook reads, by table, with the types it can read.
const COLUMNS: [(&str, &str, &[&str]); 9] = [
    ("stats", "id", &["bigint", "integer"]),
    (
        "stats",
        "date",
        &["timestamp without time zone", "timestamp with time zone"],
    ),
    ("stats", "type", &["text", "character varying"]),
    ("stats", "record_type", &["text", "character varying"]),
    ("stats", "payload", &["json", "jsonb"]),
    ("stats", "ip_geocode", &["json", "jsonb"]),
    ("stats", "query_id", &["bigint", "integer"]),
    ("queries", "id", &["bigint", "integer"]),
    (
        "queries",
        "query_hash",
        &["text", "character varying", "uuid"],
    ),
];

fn missing(what: &str, database: &Database) -> Error {
    Error::new(ErrorKind::SourceUnusable, format!("the source ({}) has no {what}", database.place())).hint("point DAYBOOK_SOURCE_URL at the database with the search API's tables stats and queries; a schema other than public goes into the URL as ?options=-c%20search_path%3DNAME")
}

/// The schemas in which the login finds tables, in order, as set for the login, for its role or in the URL.
struct SearchPath {
    schemas: Vec<String>,
    /// The schema with the login's own name, if the path contains it only through `$user`.
    own: Option<String>,
}

impl SearchPath {
    /// Reads the login's search path. Everything else in the session uses daybook's own.
    async fn of_login(connection: &mut Connection) -> Result<Self, Error> {
        const WHAT: &str = "looking up where the source's login finds its tables";
        sqlx::raw_sql("RESET search_path")
            .execute(&mut *connection)
            .await
            .context(WHAT)?;
        let schemas = sqlx::query_scalar("SELECT pg_catalog.current_schemas(true)")
            .fetch_one(&mut *connection)
            .await;
        sqlx::raw_sql(postgres::SEARCH_PATH)
            .execute(&mut *connection)
            .await
            .context(WHAT)?;
        let own = sqlx::query_scalar(
            "SELECT current_user::text FROM pg_settings WHERE name = 'search_path' AND strpos(reset_val, '$user') > 0",
        )
        .fetch_optional(connection)
        .await
        .context(WHAT)?;
        Ok(Self {
            schemas: schemas.context(WHAT)?,
            own,
        })
    }

    /// The table's qualified name. If the login finds a table only because a schema has the login's name, it does not
    /// take precedence over another one: its owner may not be the one who logs the events.
    async fn find(
        &self,
        connection: &mut Connection,
        table: &str,
        database: &Database,
    ) -> Result<String, Error> {
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, format('%I.%I', n.nspname, c.relname)
             FROM unnest($1::text[]) WITH ORDINALITY AS p (schema, place)
             JOIN pg_namespace n ON n.nspname = p.schema
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             ORDER BY p.place",
        )
        .bind(&self.schemas)
        .bind(table)
        .fetch_all(connection)
        .await
        .context(format!("looking for {table} in the source"))?;
        match &found[..] {
            [] => Err(missing(
                &format!("table {table} with a column id"),
                database,
            )),
            [(own, first), (_, second), ..] if self.own.as_ref() == Some(own) => Err(Error::new(
                ErrorKind::SourceUnusable,
                format!(
                    "the source ({}) has two tables {table} to choose from: {first} and {second}",
                    database.place()
                ),
            )
            .hint("name the schema in DAYBOOK_SOURCE_URL: ?options=-c%20search_path%3DNAME")),
            [(_, name), ..] => Ok(name.clone()),
        }
    }
}

impl Tables {
    /// Finds the tables, and checks that daybook can read them.
    pub(super) async fn find(
        connection: &mut Connection,
        database: &Database,
    ) -> Result<Self, Error> {
        let path = SearchPath::of_login(connection).await?;
        let stats = path.find(connection, "stats", database).await?;
        let queries = path.find(connection, "queries", database).await?;
        let date_is_zoned = check_columns(connection, &stats, &queries, database).await?;
        Ok(Self {
            stats,
            queries,
            date_is_zoned,
        })
    }
}

/// Checks that each column exists and has a type that daybook can read. Returns whether dates have a time zone.
async fn check_columns(
    connection: &mut Connection,
    stats: &str,
    queries: &str,
    database: &Database,
) -> Result<bool, Error> {
    let mut date_is_zoned = false;
    for (table, column, types) in COLUMNS {
        let full_name = if table == "stats" { stats } else { queries };
        let found: Option<(String, bool, String)> = sqlx::query_as(
            "SELECT format_type(a.atttypid, NULL), has_column_privilege(a.attrelid, a.attname, 'SELECT'),
                    quote_ident(current_user)
             FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped",
        )
        .bind(full_name)
        .bind(column)
        .fetch_optional(&mut *connection)
        .await
        .context(format!("looking for {table}.{column} in the source"))?;
        let place = database.place();
        let Some((found, may_read, login)) = found else {
            return Err(missing(&format!("column {table}.{column}"), database));
        };
        if !types.contains(&found.as_str()) {
            let expected = types.join(" or ");
            return Err(Error::new(
                ErrorKind::SourceUnusable,
                format!(
                    "the source's column {table}.{column} is of type {found}, expected {expected} ({place})"
                ),
            ));
        }
        if !may_read {
            return Err(Error::new(
                ErrorKind::PostgresPrivilegeMissing,
                format!("no permission to read {table}.{column} in the source ({place})"),
            )
            .hint(format!(
                "as the tables' owner: GRANT SELECT ON {stats}, {queries} TO {login}"
            )));
        }
        if column == "date" {
            date_is_zoned = found.ends_with("with time zone");
        }
    }
    Ok(date_is_zoned)
}
