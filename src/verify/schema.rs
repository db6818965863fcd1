//! Compares the schema with this program's migrations: tables, indices, functions, views, triggers, the privileges of
//! the roles, and the record of the migrations.
//!
//! Each version of Postgres prints definitions in its own way. So the server itself defines each table, index, function
//! and view once more, as a temporary object, and must print both in the same way. A view is also defined from the
//! server's own print of it, because that is what restoring a dump does. All of it is rolled back.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::finding::Finding;
use crate::columns::from_row;
use crate::error::Error;
use crate::ledger::definitions::{Definition, DefinitionKind, definitions};
use crate::ledger::{Ledger, migrate};
use crate::postgres::{Connection, Context as _};

/// The result of the comparison.
#[derive(Debug, Default)]
pub(super) struct SchemaCheck {
    pub(super) findings: Vec<Finding>,
    /// Why tables, functions and views could not be compared, if so.
    pub(super) not_compared: Option<String>,
}

const WHAT: &str = "comparing the ledger's schema with the migrations";

/// How to repair what was changed.
const RESTORE: &str = "find out who changed it, then run as the owner what `daybook migrate --print-definitions` prints";

/// How to repair a table, whose rows must not be lost.
const RESTORE_TABLE: &str = "find out who changed it, then restore it as the owner by ALTER TABLE or CREATE INDEX, or restore a backup";

pub(super) async fn check(ledger: &Ledger) -> Result<SchemaCheck, Error> {
    let mut connection = ledger
        .database
        .connect("daybook verifying the schema")
        .await?;
    let mut check = SchemaCheck::default();
    for wrong in migrate::check_record(&mut connection).await? {
        let what = format!("{wrong}: restore it from a backup, or {RESTORE}");
        check.findings.push(Finding::new(
            "the record of the migrations, daybook.schema_version".to_owned(),
            &what,
        ));
    }
    if let Some(others) = migrate::creators(&mut connection).await? {
        let what = format!(
            "others may create objects in it: REVOKE CREATE ON SCHEMA daybook FROM {others}"
        );
        check
            .findings
            .push(Finding::new("the schema daybook".to_owned(), &what));
    }
    check
        .findings
        .extend(check_triggers(&mut connection).await?);
    check.findings.extend(check_tables(&mut connection).await?);
    check.not_compared = compare_definitions(&mut connection, &mut check.findings).await?;
    // Nothing was written, so an error while closing does not matter.
    connection.close().await;
    Ok(check)
}

/// A trigger as found in the schema.
#[derive(Debug)]
struct Trigger {
    table: String,
    name: String,
    sql: String,
    /// When it fires: `A` always, `O` not on a replica, `R` only on a replica, `D` never.
    enabled: String,
}

from_row!(Trigger {
    table,
    name,
    sql,
    enabled
});

/// Each trigger must exist as defined, and must fire always.
async fn check_triggers(connection: &mut Connection) -> Result<Vec<Finding>, Error> {
    let found: Vec<Trigger> = sqlx::query_as(
        "SELECT c.relname::text AS table, t.tgname::text AS name, pg_get_triggerdef(t.oid) AS sql, t.tgenabled::text AS enabled
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = 'daybook'::regnamespace AND NOT t.tgisinternal ORDER BY c.relname, t.tgname",
    )
    .fetch_all(connection)
    .await
    .context(WHAT)?;
    let mut found: BTreeMap<_, _> = found
        .into_iter()
        .map(|trigger| ((trigger.table.clone(), trigger.name.clone()), trigger))
        .collect();
    let mut findings = Vec::new();
    for Definition {
        name, table, sql, ..
    } in of_kind(DefinitionKind::Trigger)
    {
        let table = table.unwrap_or_default();
        let place = format!("trigger {name} of daybook.{table}");
        let enable = format!("ALTER TABLE daybook.{table} ENABLE ALWAYS TRIGGER {name}");
        let wrong = match found.remove(&(table, name)) {
            None => format!("it is missing: {RESTORE}"),
            Some(trigger) if trigger.sql != sql => {
                format!("it is not as it was migrated: {RESTORE}")
            }
            Some(Trigger { enabled, .. }) => match enabled.as_str() {
                "A" => continue,
                "D" => format!("it is disabled: {enable}"),
                _ => format!(
                    "it does not fire always (after a restore with --disable-triggers, say): {enable}"
                ),
            },
        };
        findings.push(Finding::new(place, &wrong));
    }
    for ((table, name), _) in found {
        let what = format!(
            "it is not daybook's: find out what it does and who made it, then DROP TRIGGER {name} ON daybook.{table}"
        );
        findings.push(Finding::new(
            format!("trigger {name} of daybook.{table}"),
            &what,
        ));
    }
    Ok(findings)
}

/// Checks for other ways to make the server ignore or change statements: rules, row level security, privileges,
/// disabled foreign keys.
async fn check_tables(connection: &mut Connection) -> Result<Vec<Finding>, Error> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "WITH tables AS (SELECT * FROM pg_class WHERE relnamespace = 'daybook'::regnamespace AND relkind IN ('r', 'p'))
         SELECT format('rule %s of daybook.%s', r.rulename, t.relname),
                format('it is not daybook''s: find out what it does and who made it, then DROP RULE %I ON daybook.%I', r.rulename, t.relname)
         FROM tables t JOIN pg_rewrite r ON r.ev_class = t.oid
         UNION ALL
         SELECT format('daybook.%s', t.relname), format('row level security may hide rows of it: ALTER TABLE daybook.%I DISABLE ROW LEVEL SECURITY', t.relname)
         FROM tables t WHERE t.relrowsecurity
         UNION ALL
         SELECT format('daybook.%s', t.relname), format('%s may %s it: REVOKE %2$s ON daybook.%I FROM %1$I', r.rolname, p.privilege, t.relname)
         FROM tables t
         CROSS JOIN (VALUES ('daybook_job', 'UPDATE'), ('daybook_job', 'DELETE'), ('daybook_job', 'TRUNCATE'), ('daybook_job', 'TRIGGER'),
                            ('daybook_auditor', 'INSERT'), ('daybook_auditor', 'UPDATE'), ('daybook_auditor', 'DELETE'),
                            ('daybook_auditor', 'TRUNCATE'), ('daybook_auditor', 'TRIGGER')) AS p (role, privilege)
         JOIN pg_roles r ON r.rolname = p.role AND r.oid <> t.relowner
         WHERE has_table_privilege(r.oid, t.oid, p.privilege)
            OR p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(r.oid, t.oid, p.privilege)
         UNION ALL
         SELECT DISTINCT format('daybook.%s', t.relname),
                format('its foreign keys are not enforced, as their triggers are disabled: ALTER TABLE daybook.%I ENABLE TRIGGER ALL, then enable daybook''s own ALWAYS', t.relname)
         FROM tables t JOIN pg_trigger i ON i.tgrelid = t.oid WHERE i.tgisinternal AND i.tgenabled = 'D'
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .context(WHAT)?;
    Ok(found
        .into_iter()
        .map(|(place, what)| Finding::new(place, &what))
        .collect())
}

/// Defines everything but triggers once more and compares it. Returns the reason if that is not possible.
async fn compare_definitions(
    connection: &mut Connection,
    findings: &mut Vec<Finding>,
) -> Result<Option<String>, Error> {
    sqlx::raw_sql("BEGIN READ WRITE")
        .execute(&mut *connection)
        .await
        .context(WHAT)?;
    for definition in definitions() {
        let Definition { kind, name, .. } = &definition;
        if *kind == DefinitionKind::Trigger {
            continue;
        }
        sqlx::raw_sql("SAVEPOINT definition")
            .execute(&mut *connection)
            .await
            .context(WHAT)?;
        let Err(error) = define(connection, &definition).await else {
            continue;
        };
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .unwrap_or_default()
            .into_owned();
        match code.as_str() {
            // This login may not create temporary objects, or the server is a standby.
            "42501" | "25006" => {
                sqlx::raw_sql("ROLLBACK")
                    .execute(&mut *connection)
                    .await
                    .context(WHAT)?;
                return Ok(Some(error.to_string()));
            }
            // What it depends on is missing or different.
            code if code.starts_with("42") => {
                sqlx::raw_sql("ROLLBACK TO SAVEPOINT definition")
                    .execute(&mut *connection)
                    .await
                    .context(WHAT)?;
                findings.push(Finding::new(
                    format!("{} daybook.{name}", word(*kind)),
                    &format!("it cannot be as it was migrated ({error}): {RESTORE}"),
                ));
            }
            _ => return Err(crate::postgres::query_error(error, WHAT)),
        }
    }
    let differing: Vec<(String, String, Option<bool>)> = sqlx::query_as(DIFFERING)
        .fetch_all(&mut *connection)
        .await
        .context(WHAT)?;
    sqlx::raw_sql("ROLLBACK")
        .execute(connection)
        .await
        .context(WHAT)?;
    for (kind, name, is_there) in differing {
        let place = format!("{kind} daybook.{name}");
        // Objects that could not be defined are reported already.
        if findings.iter().any(|told| place.starts_with(&told.place)) {
            continue;
        }
        let is_of_table = matches!(kind.as_str(), "table" | "column" | "constraint" | "index");
        let restore = if is_of_table { RESTORE_TABLE } else { RESTORE };
        let what = match is_there {
            None => format!("it is not as it was migrated: {restore}"),
            Some(false) => format!("it is missing: {restore}"),
            Some(true) => {
                let drop = match name.split_once('.') {
                    Some((table, part)) if is_of_table => {
                        format!(
                            "ALTER TABLE daybook.{table} DROP {} {part}",
                            kind.to_uppercase()
                        )
                    }
                    _ => format!("DROP {} daybook.{name}", kind.to_uppercase()),
                };
                format!("it is not daybook's: find out what it does and who made it, then {drop}")
            }
        };
        findings.push(Finding::new(place, &what));
    }
    Ok(None)
}

/// Creates the temporary object; for a view, also one as a dump would restore it.
async fn define(connection: &mut Connection, definition: &Definition) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(definition.as_temporary()))
        .execute(&mut *connection)
        .await?;
    if definition.kind == DefinitionKind::View {
        let restored = "SELECT format('CREATE VIEW pg_temp.%I AS %s', $1 || ' restored', pg_get_viewdef(format('pg_temp.%I', $1)::regclass))";
        let restored: String = sqlx::query_scalar(restored)
            .bind(&definition.name)
            .fetch_one(&mut *connection)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(restored))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// What differs between the schema and the temporary objects: kind, name, and true if it should not exist, false if it
/// is missing, NULL if both exist. An added index changes nothing and is not reported.
const DIFFERING: &str = "
    WITH relation AS (
        SELECT oid, relname, relnamespace, relkind, reloptions FROM pg_class
        WHERE relnamespace IN ('daybook'::regnamespace, pg_my_temp_schema())),
    object AS (
        SELECT 'function' AS kind, p.pronamespace AS schema,
               p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
               ARRAY[p.prolang::text, p.prokind::text, p.prosecdef::text, p.proleakproof::text, p.proisstrict::text, p.provolatile::text,
                     p.proparallel::text, p.procost::text, p.prorows::text, p.prosupport::text, p.proconfig::text, p.prosrc, p.probin,
                     pg_get_function_result(p.oid), pg_get_function_arguments(p.oid), pg_get_function_sqlbody(p.oid)] AS definition
        FROM pg_proc p WHERE p.pronamespace IN ('daybook'::regnamespace, pg_my_temp_schema())
        UNION ALL
        SELECT 'view', c.relnamespace, c.relname::text, ARRAY[pg_get_viewdef(c.oid), c.reloptions::text]
        FROM relation c WHERE c.relkind IN ('v', 'm')
        UNION ALL
        SELECT 'table', c.relnamespace, c.relname::text, ARRAY[c.relkind::text]
        FROM relation c WHERE c.relkind IN ('r', 'p', 'f')
        UNION ALL
        SELECT 'column', c.relnamespace, c.relname || '.' || a.attname,
               ARRAY[format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.attcollation::text, a.attidentity::text, a.attgenerated::text,
                     pg_get_expr(d.adbin, d.adrelid)]
        FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'f')
        UNION ALL
        SELECT 'constraint', c.relnamespace, c.relname || '.' || o.conname,
               ARRAY[o.contype::text, o.convalidated::text, o.condeferrable::text,
                     regexp_replace(pg_get_constraintdef(o.oid), '(daybook|pg_temp[_0-9]*)\\.', '', 'g')]
        FROM relation c JOIN pg_constraint o ON o.conrelid = c.oid AND o.contype IN ('c', 'f', 'p', 'u', 'x')
        UNION ALL
        SELECT 'index', c.relnamespace, c.relname || '.' || i.relname,
               ARRAY[x.indisvalid::text, regexp_replace(pg_get_indexdef(x.indexrelid), '(daybook|pg_temp[_0-9]*)\\.', '', 'g')]
        FROM relation c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid WHERE c.relkind IN ('r', 'p')),
    there AS (SELECT * FROM object WHERE schema = 'daybook'::regnamespace AND split_part(name, '.', 1) <> 'schema_version'),
    defined AS (SELECT * FROM object WHERE schema = pg_my_temp_schema() AND name NOT LIKE '% restored')
    SELECT kind, name, CASE WHEN t.schema IS NULL THEN true WHEN d.schema IS NULL THEN false END
    FROM there d FULL JOIN defined t USING (kind, name)
    WHERE (d.schema IS NULL OR t.schema IS NULL AND kind NOT IN ('table', 'index')
        OR d.definition <> t.definition AND NOT EXISTS (
           SELECT FROM object r WHERE r.schema = t.schema AND r.name = d.name || ' restored' AND r.definition = d.definition))
       -- Of what is missing or is not daybook's, the whole says enough.
       AND NOT EXISTS (
           SELECT FROM there w FULL JOIN defined v USING (kind, name)
           WHERE kind = 'table' AND (w.schema IS NULL OR v.schema IS NULL) AND name = split_part(coalesce(d.name, t.name), '.', 1)
             AND coalesce(d.name, t.name) LIKE '%.%' AND coalesce(d.kind, t.kind) <> 'function')
    ORDER BY kind, name";

fn of_kind(kind: DefinitionKind) -> impl Iterator<Item = Definition> {
    definitions()
        .into_iter()
        .filter(move |definition| definition.kind == kind)
}

fn word(kind: DefinitionKind) -> &'static str {
    match kind {
        DefinitionKind::Table => "table",
        DefinitionKind::Index => "index",
        DefinitionKind::Function => "function",
        DefinitionKind::View => "view",
        DefinitionKind::Trigger => "trigger",
    }
}
