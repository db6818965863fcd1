//! What a diagnosis wants to know of the ledger's schema. Only reads, and also works where there is no ledger.

use sqlx::Row as _;

use crate::columns::from_row;
use crate::error::Error;
use crate::postgres::{Connection, Context as _};

/// The role that the job's login must have.
pub const JOB_ROLE: &str = "daybook_job";

/// Whether there is a schema, and what the login may do about it.
#[derive(Debug)]
pub struct SchemaFacts {
    pub exists: bool,
    /// Whether the login may use it.
    pub usable: bool,
    /// Whether the login may create it.
    pub may_create: bool,
    /// The owner of the database.
    pub database_owner: String,
    /// Whether the role of the job exists on the server.
    pub has_job_role: bool,
    /// Whether the server can compress with LZ4.
    pub can_lz4: bool,
}

from_row!(SchemaFacts {
    exists,
    usable,
    may_create,
    database_owner,
    has_job_role,
    can_lz4
});

/// Reads whether there is a schema.
pub async fn schema_facts(connection: &mut Connection) -> Result<SchemaFacts, Error> {
    sqlx::query_as(
        "SELECT n.oid IS NOT NULL AS exists, coalesce(has_schema_privilege(n.oid, 'USAGE'), false) AS usable,
                has_database_privilege(d.oid, 'CREATE') AS may_create,
                quote_ident(pg_get_userbyid(d.datdba)) AS database_owner,
                EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_job') AS has_job_role,
                EXISTS (SELECT FROM pg_settings
                        WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) AS can_lz4
         FROM pg_database d LEFT JOIN pg_namespace n ON n.nspname = 'daybook' WHERE d.datname = current_database()",
    )
    .fetch_one(connection)
    .await
    .context("looking for the schema daybook")
}

/// The privileges that the job needs and the login lacks, such as `INSERT ON daybook.entry`.
pub async fn missing_privileges(connection: &mut Connection) -> Result<Vec<String>, Error> {
    const WHAT: &str = "looking up the login's privileges on the ledger";
    let rows = sqlx::query(
        "SELECT format('%s ON daybook.%I', p.name, c.relname) AS missing
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'daybook'
         CROSS JOIN (VALUES ('SELECT'), ('INSERT')) p (name)
         WHERE c.relkind IN ('r', 'p', 'v')
           AND (p.name = 'SELECT'
                OR c.relname IN ('run_start', 'run_end', 'entry', 'interaction_delta', 'rejected_event'))
           AND NOT has_table_privilege(c.oid, p.name)
         ORDER BY c.relname, p.name",
    )
    .fetch_all(connection)
    .await
    .context(WHAT)?;
    rows.iter()
        .map(|row| row.try_get("missing").context(WHAT))
        .collect()
}
