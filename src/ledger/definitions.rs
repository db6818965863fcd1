//! The definitions in the text of the migrations: tables, indices, functions, views and triggers. No IO.
//!
//! A verification compares the schema with them. Running them again repairs what was changed, except tables and
//! indices. The migrations keep to a form that is easy to parse: `CREATE` starts a line; a table ends with a line `);`,
//! a function with a line `END;` or `$$;`, a view with the first line that ends with `;`; an index or a trigger is one
//! line. A `CREATE TABLE` contains all constraints of its table.

use std::fmt::Write as _;

use super::migrations::{VERSION_TABLE, migrations};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionKind {
    /// A table, with its constraints.
    Table,
    Index,
    Function,
    View,
    Trigger,
}

/// The definition of one object in the schema `daybook`.
#[derive(Clone, Debug)]
pub struct Definition {
    pub kind: DefinitionKind,
    /// The name, without the schema. Triggers of different tables may have the same name.
    pub name: String,
    /// The table of an index or a trigger, without the schema.
    pub table: Option<String>,
    /// The statement that creates the object, without its semicolon.
    pub sql: String,
}

impl Definition {
    /// The statement that creates the same object as a temporary one.
    pub fn as_temporary(&self) -> String {
        match self.kind {
            // A temporary table can refer to temporary tables only.
            DefinitionKind::Table | DefinitionKind::Index => {
                self.sql.replace("daybook.", "pg_temp.")
            }
            _ => self.sql.replacen("daybook.", "pg_temp.", 1),
        }
    }

    /// Whether the object can be created again without losing data.
    fn can_be_restored(&self) -> bool {
        !matches!(self.kind, DefinitionKind::Table | DefinitionKind::Index)
    }

    /// The statements that create or restore the object.
    fn restore(&self) -> String {
        let Self {
            kind,
            name,
            table,
            sql,
        } = self;
        match (kind, table) {
            (DefinitionKind::Trigger, Some(table)) => {
                let on = format!("daybook.{table}");
                format!(
                    "DROP TRIGGER IF EXISTS {name} ON {on};\n{sql};\nALTER TABLE {on} ENABLE ALWAYS TRIGGER {name};\n"
                )
            }
            _ => format!("{};\n", sql.replacen("CREATE ", "CREATE OR REPLACE ", 1)),
        }
    }
}

/// All definitions, in an order in which they can be created.
pub fn definitions() -> Vec<Definition> {
    let mut found: Vec<Definition> = Vec::new();
    for migration in migrations() {
        for definition in taken_from(migration.sql().unwrap_or_default()) {
            // A later migration may redefine an object.
            found.retain(|other| (other.kind, &other.name, &other.table) != definition.key());
            found.push(definition);
        }
    }
    found
}

impl Definition {
    fn key(&self) -> (DefinitionKind, &String, &Option<String>) {
        (self.kind, &self.name, &self.table)
    }
}

/// SQL that restores functions, views, triggers and the record of the migrations.
pub fn restoring_sql() -> String {
    let mut sql = "BEGIN;\nSET LOCAL search_path = pg_catalog, pg_temp;\n\n".to_owned();
    for definition in definitions()
        .into_iter()
        .filter(Definition::can_be_restored)
    {
        sql += &definition.restore();
        sql.push('\n');
    }
    // Writing to a String does not fail.
    let _ = writeln!(
        sql,
        "CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255), checksum varchar(255));"
    );
    for migration in migrations() {
        let (version, name, checksum) =
            (migration.version(), migration.name(), migration.checksum());
        let _ = writeln!(
            sql,
            "INSERT INTO {VERSION_TABLE} (version, name, applied_on, checksum)
    VALUES ({version}, '{name}', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{checksum}')
    ON CONFLICT (version) DO UPDATE SET name = excluded.name, checksum = excluded.checksum;"
        );
    }
    sql + "\nCOMMIT;"
}

/// The definitions in the text of a migration.
fn taken_from(sql: &str) -> Vec<Definition> {
    let mut found = Vec::new();
    let mut lines = sql.lines();
    while let Some(line) = lines.next() {
        let Some(words) = line
            .strip_prefix("CREATE OR REPLACE ")
            .or_else(|| line.strip_prefix("CREATE "))
        else {
            continue;
        };
        let (kind, named) = match words.split_once(' ') {
            Some(("TABLE", named)) => (DefinitionKind::Table, named),
            Some(("INDEX", named)) => (DefinitionKind::Index, named),
            Some(("UNIQUE", named)) => (DefinitionKind::Index, named.trim_start_matches("INDEX ")),
            Some(("FUNCTION", named)) => (DefinitionKind::Function, named),
            Some(("VIEW", named)) => (DefinitionKind::View, named),
            Some(("TRIGGER", named)) => (DefinitionKind::Trigger, named),
            Some(("CONSTRAINT", named)) => (
                DefinitionKind::Trigger,
                named.trim_start_matches("TRIGGER "),
            ),
            _ => continue,
        };
        let mut sql = format!("CREATE {words}");
        while !is_complete(kind, &sql) {
            let Some(line) = lines.next() else { break };
            sql.push('\n');
            sql += line;
        }
        let name = up_to(named.trim_start_matches("daybook."), &[' ', '(']);
        let table = matches!(kind, DefinitionKind::Trigger | DefinitionKind::Index)
            .then(|| {
                words
                    .split_once(" ON daybook.")
                    .map(|(_, rest)| up_to(rest, &[' ']))
            })
            .flatten();
        found.push(Definition {
            kind,
            name,
            table,
            sql: sql.trim_end_matches(';').to_owned(),
        });
    }
    found
}

fn is_complete(kind: DefinitionKind, sql: &str) -> bool {
    match kind {
        DefinitionKind::Function => sql.ends_with("\nEND;") || sql.ends_with("\n$$;"),
        DefinitionKind::Table => sql.ends_with(");"),
        DefinitionKind::View | DefinitionKind::Trigger | DefinitionKind::Index => {
            sql.ends_with(';')
        }
    }
}

fn up_to(text: &str, ends: &[char]) -> String {
    text.split(ends).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_taken_out_whole_and_the_last_definition_counts() {
        let found = taken_from(
            "CREATE TABLE daybook.t (\n    a int REFERENCES daybook.u\n);\nCREATE UNIQUE INDEX i ON daybook.t (a);\nCREATE FUNCTION daybook.f(a int) RETURNS int\nLANGUAGE sql\nBEGIN ATOMIC\n    SELECT 1;\nEND;\n\
             COMMENT ON FUNCTION daybook.f(int) IS '';\nCREATE OR REPLACE FUNCTION daybook.g() RETURNS trigger AS $$\nBEGIN\n    a;\nEND\n$$;\n\
             CREATE VIEW daybook.v AS\n    SELECT 1\n    FROM t;\nCREATE CONSTRAINT TRIGGER c AFTER INSERT ON daybook.t EXECUTE FUNCTION daybook.g();\n",
        );
        let told: Vec<_> = found
            .iter()
            .map(|d| (d.name.as_str(), d.table.as_deref(), d.sql.lines().count()))
            .collect();
        let of_table = [("t", None, 3), ("i", Some("t"), 1)];
        assert_eq!(told[..2], of_table);
        assert_eq!(
            told[2..],
            [
                ("f", None, 5),
                ("g", None, 5),
                ("v", None, 3),
                ("c", Some("t"), 1)
            ]
        );
        assert_eq!(
            found[0].as_temporary(),
            "CREATE TABLE pg_temp.t (\n    a int REFERENCES pg_temp.u\n)"
        );
        assert_eq!(
            found[1].as_temporary(),
            "CREATE UNIQUE INDEX i ON pg_temp.t (a)"
        );
        assert!(
            found[2]
                .as_temporary()
                .starts_with("CREATE FUNCTION pg_temp.f(a int)")
        );
        assert!(
            found[3]
                .restore()
                .starts_with("CREATE OR REPLACE FUNCTION daybook.g()")
        );
        assert!(found[4].sql.ends_with("FROM t"));
        let names: Vec<String> = definitions()
            .into_iter()
            .map(|definition| definition.name)
            .collect();
        assert!(
            names.iter().any(|name| name == "entry_follows_head")
                && names.iter().any(|name| name == "entry_check")
        );
    }
}
