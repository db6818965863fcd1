//! What a diagnosis wants to know of the source's tables. Only reads.

use super::connection::Source;
use crate::columns::from_row;
use crate::error::Error;
use crate::postgres::Context as _;

/// What the table of events is like.
#[derive(Debug)]
pub struct StatsFacts {
    /// The qualified name.
    pub table: String,
    /// Whether it is a table: only tables have indexes.
    pub is_table: bool,
    /// Whether an index begins with its date.
    pub date_is_indexed: bool,
    /// Whether row-level security would hide rows of it, or of `queries`, from the login.
    pub hides_rows: bool,
    /// The encoding of the database.
    pub encoding: String,
}

from_row!(StatsFacts {
    table,
    is_table,
    date_is_indexed,
    hides_rows,
    encoding
});

impl Source {
    /// Inspects the table of events.
    pub async fn inspect(&mut self) -> Result<StatsFacts, Error> {
        const WHAT: &str = "inspecting the source's table of events";
        self.begin(WHAT).await?;
        let (stats, queries) = (self.tables.stats.clone(), self.tables.queries.clone());
        sqlx::query_as(
            "SELECT $1::text AS table, c.relkind IN ('r', 'p') AS is_table,
                    EXISTS (SELECT FROM pg_index i
                            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                            WHERE i.indrelid = c.oid AND a.attname = 'date' AND i.indisvalid AND i.indpred IS NULL)
                        AS date_is_indexed,
                    row_security_active(c.oid) OR row_security_active(to_regclass($2)::oid) AS hides_rows,
                    getdatabaseencoding()::text AS encoding
             FROM pg_class c WHERE c.oid = to_regclass($1)",
        )
        .bind(stats)
        .bind(queries)
        .fetch_one(&mut self.connection)
        .await
        .context(WHAT)
    }
}
