//! The questions of docs/auditing.md, taken out of the document.

const DOCUMENT: &str = include_str!("../../../docs/auditing.md");

/// How much of the ledger the document says that a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// What an index leads to.
    ByIndex,
    /// Every entry's header.
    EveryHeader,
    /// Every delta row.
    WholeLedger,
}

/// A query of the document, its variables replaced as psql does it.
#[derive(Debug)]
pub struct Question {
    pub heading: String,
    pub reads: Reads,
    /// As it is pasted.
    pub sql: String,
    /// Without the line that makes it safe to paste.
    pub query: String,
}

/// How each begins.
const SAFE: &str = "SET search_path = pg_catalog, pg_temp;\n";

/// All queries, in the order of the document.
pub fn document() -> Vec<Question> {
    let mut questions = Vec::new();
    let mut variables: Vec<(&str, &str)> = Vec::new();
    let (mut heading, mut reads) = ("", Reads::ByIndex);
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let mut block = || {
            lines
                .by_ref()
                .take_while(|line| *line != "```")
                .collect::<Vec<_>>()
        };
        match line {
            "<!-- reads every header -->" => reads = Reads::EveryHeader,
            "<!-- reads the whole ledger -->" => reads = Reads::WholeLedger,
            "```psql" => variables.extend(block().into_iter().map(variable)),
            "```sql" => {
                let sql = replaced(&block().join("\n"), &variables);
                let reads = std::mem::replace(&mut reads, Reads::ByIndex);
                let query = sql
                    .strip_prefix(SAFE)
                    .unwrap_or_else(|| panic!("not safe to paste: {sql}"))
                    .to_owned();
                questions.push(Question {
                    heading: heading.to_owned(),
                    reads,
                    sql,
                    query,
                });
            }
            // A statement for somebody else than the auditor.
            "```" => drop(block()),
            _ => {
                assert!(
                    !line.starts_with("<!--") && !line.starts_with("```"),
                    "what does '{line}' mean?"
                );
                heading = line.strip_prefix("## ").unwrap_or(heading);
            }
        }
    }
    questions
}

/// A line like `\set day '2020-02-16'`.
fn variable(line: &str) -> (&str, &str) {
    let (name, value) = line
        .strip_prefix("\\set ")
        .and_then(|line| line.split_once(' '))
        .expect("\\set NAME VALUE");
    (name, value.trim_matches('\''))
}

/// `:'name'` becomes a literal, `:"name"` a name, `:name` the value as it is.
fn replaced(sql: &str, variables: &[(&str, &str)]) -> String {
    let mut sql = sql.to_owned();
    for (name, value) in variables {
        sql = sql.replace(&format!(":'{name}'"), &format!("'{value}'"));
        sql = sql.replace(&format!(":\"{name}\""), &format!("\"{value}\""));
        let reference = format!(":{name}");
        let mut parts = sql.split(&reference);
        let mut done = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // Neither a cast (`::day`) nor the start of a longer name.
            let stands_alone = !done.ends_with(':')
                && !part.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            done += if stands_alone { value } else { &reference };
            done += part;
        }
        sql = done;
    }
    assert!(
        !sql.contains(":'") && !sql.contains(":\""),
        "a variable is not set: {sql}"
    );
    sql
}
