//! The modules stand in layers, and a module uses only what is below it. No file takes part in a circle.
//!
//! The sources are read as text: every path that starts with `crate::`, `super::` or `self::`, in `use` declarations and
//! elsewhere, is an arrow from the file that it stands in to the file that the path names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// From top to bottom. Modules on one line must not use each other.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["command"],
    &["monitoring"],
    &["config", "output"],
    &[
        "doctor", "exchange", "import", "report", "reverse", "verify",
    ],
    &["apply"],
    &["fold", "projection"],
    &["ledger"],
    &["source"],
    &["elastic", "postgres"],
    &["aggregate"],
    &["event", "sums"],
    &[
        "destination",
        "interrupt",
        "logging",
        "text",
        "unpack",
        "workspace",
    ],
    &[
        "certificate",
        "day",
        "error",
        "failpoint",
        "hash",
        "memory",
        "printable",
    ],
    &["clock", "columns", "fuzzing"],
];

/// Where SQL may be: these modules know the ledger's or the source's tables.
const WITH_SQL: &[&str] = &[
    "columns", "day", "import", "ledger", "postgres", "source", "verify",
];

/// The program's modules by their path, `ledger::post` for example, with their code: no comments, no unit tests.
fn modules() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let Some(name) = name.strip_suffix(".rs") else {
                continue;
            };
            let module = name.strip_suffix("/mod").unwrap_or(name).replace('/', "::");
            if !matches!(module.as_str(), "lib" | "main") && !module.ends_with("::tests") {
                modules.insert(module, code(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(modules.len() > 100, "{} modules were found", modules.len());
    modules
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that a `use` declaration or an expression names: `crate::a::{b, c::d}` names `crate::a::b` and
/// `crate::a::c::d`.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                expand(&code[at..], "", &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths at the start of a text, and gives how much of it they take.
fn expand(text: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !(path.ends_with("::") && text[end..].starts_with('{')) {
        paths.push(path);
        return end;
    }
    let mut at = end + 1;
    while !text[at..].starts_with('}') {
        let skipped = text[at..]
            .find(|c: char| c.is_alphanumeric() || c == '_' || c == '}' || c == '{')
            .unwrap();
        at += skipped;
        if text[at..].starts_with('}') {
            break;
        }
        at += expand(&text[at..], &path, paths).max(1);
    }
    at + 1
}

/// The module that a path in another one names.
fn resolve<'m>(
    modules: &'m BTreeMap<String, String>,
    from: &str,
    path: &str,
) -> Option<&'m String> {
    let mut parts = path.split("::").collect::<Vec<_>>();
    let mut of = from.split("::").collect::<Vec<_>>();
    if parts[0] == "crate" {
        of.clear();
        parts.remove(0);
    }
    while let Some(part @ ("super" | "self")) = parts.first().copied() {
        if part == "super" {
            of.pop();
        }
        parts.remove(0);
    }
    of.extend(parts);
    (1..=of.len())
        .rev()
        .find_map(|length| modules.get_key_value(&of[..length].join("::")))
        .map(|(name, _)| name)
}

/// What each module uses.
fn arrows(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, code) in modules {
        let used = arrows.entry(from).or_default();
        for path in paths(code) {
            if let Some(to) = resolve(modules, from, &path)
                && to != from
            {
                used.insert(to);
            }
        }
        // A folder's own module hands on what its files have: `pub use post::Posting;`
        for line in code.lines() {
            let declared = line
                .trim_start_matches("pub ")
                .trim_start_matches("pub(crate) ");
            if let Some(path) = declared.strip_prefix("use ")
                && let Some(child) = path.split("::").next()
                && let Some((to, _)) = modules.get_key_value(&format!("{from}::{child}"))
            {
                used.insert(to);
            }
        }
    }
    assert!(arrows["apply"].contains("ledger"), "{:?}", arrows["apply"]);
    arrows
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&top(module)))
        .unwrap_or_else(|| panic!("{module} is in no layer: give it one in {}", file!()))
}

#[test]
fn a_module_uses_only_what_is_below_it() {
    let modules = modules();
    let mut wrong = Vec::new();
    for (from, used) in arrows(&modules) {
        for to in used {
            if top(from) != top(to) && layer(from) >= layer(to) {
                wrong.push(format!("{from} uses {to}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that do not point down: {wrong:#?}"
    );
    for name in LAYERS.iter().copied().flatten() {
        assert!(modules.contains_key(*name), "there is no module {name}");
    }
}

#[test]
fn no_file_takes_part_in_a_circle() {
    let modules = modules();
    let mut arrows = arrows(&modules);
    // What uses nothing that is left is in no circle.
    loop {
        let done: Vec<&str> = arrows
            .iter()
            .filter(|(_, used)| used.is_empty())
            .map(|(name, _)| *name)
            .collect();
        if done.is_empty() {
            break;
        }
        arrows.retain(|name, _| !done.contains(name));
        for used in arrows.values_mut() {
            used.retain(|name| !done.contains(name));
        }
    }
    assert!(arrows.is_empty(), "circles are among: {arrows:#?}");
}

#[test]
fn sql_stands_where_the_tables_are_known() {
    for (name, code) in modules() {
        let has_sql = code.contains("sqlx::query") || code.contains("sqlx::raw_sql");
        assert!(
            !has_sql || WITH_SQL.contains(&top(&name)),
            "{name} has SQL: put it into one of {WITH_SQL:?}"
        );
    }
}

/// The map lists each module of the program's first level as `name` or `name/`, and nothing that is not there.
#[test]
fn the_map_of_the_architecture_is_that_of_the_sources() {
    const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
    let map = ARCHITECTURE
        .split("<!-- map -->")
        .nth(1)
        .expect("ARCHITECTURE.md has its map between two marks <!-- map -->");
    let listed: BTreeSet<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '/']).next())
        .collect();
    let modules = modules();
    let there: BTreeSet<&str> = modules.keys().map(|name| top(name)).collect();
    assert_eq!(listed, there);
}
