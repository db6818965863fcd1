//! The documents: links lead somewhere, commands parse, every option, variable, file and message that a page names exists,
//! and the examples run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use daybook::Cli;

use crate::commands::days_ago;
use crate::support::program::Ended;
use crate::support::{Event, RECORDSET, World};

/// Pages about the repository rather than the program: their options belong to scripts.
const ABOUT_DEVELOPMENT: [&str; 4] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/performance.md",
];

/// Options of other programs that pages name by themselves.
const OPTIONS_OF_OTHERS: [&str; 1] = ["--disable-triggers"];

/// A variable that the program reads where an option has no value.
const VARIABLES_WITHOUT_OPTION: [&str; 1] = ["DAYBOOK_FROM_INDEX"];

/// A page, by its path in the repository.
struct Page {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder, as paths in the repository.
fn files_in(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"))
    {
        let path = format!(
            "{folder}/{}",
            entry.unwrap().file_name().into_string().unwrap()
        );
        if root().join(&path).is_dir() {
            found.extend(files_in(&path, extension));
        } else if path.ends_with(extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<Page> {
    let mut paths = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ]
    .map(str::to_owned)
    .to_vec();
    for folder in ["docs", "benches/results", "example-objects"] {
        paths.extend(files_in(folder, ".md"));
    }
    paths
        .into_iter()
        .map(|path| Page {
            text: read(&path),
            path,
        })
        .collect()
}

impl Page {
    /// Its lines of prose, and its lines of code in a shell (a continued line in one).
    fn lines(&self) -> (Vec<&str>, Vec<String>) {
        let (mut prose, mut shell) = (Vec::new(), Vec::new());
        let mut language = None;
        let mut continued = String::new();
        for line in self.text.lines() {
            if let Some(rest) = line.trim_start().strip_prefix("```") {
                language = if language.is_some() { None } else { Some(rest) };
                prose.push("");
                continue;
            }
            match language {
                None => prose.push(line),
                Some("sh" | "") => {
                    continued += line.trim_end_matches('\\');
                    if !line.ends_with('\\') {
                        shell.push(std::mem::take(&mut continued));
                    }
                }
                Some(_) => {}
            }
        }
        assert!(language.is_none(), "{}: a block does not end", self.path);
        (prose, shell)
    }

    /// What stands in backticks, a paragraph or a row at a time.
    fn spans(&self) -> Vec<String> {
        let (prose, _) = self.lines();
        let mut spans = Vec::new();
        for paragraph in prose.split(|line| line.is_empty()) {
            let text = paragraph.join(" ");
            let parts: Vec<&str> = text.split('`').collect();
            assert!(
                parts.len() % 2 == 1,
                "{}: a backtick is missing in: {text}",
                self.path
            );
            spans.extend(parts.into_iter().skip(1).step_by(2).map(str::to_owned));
        }
        spans
    }

    /// The targets of its links within the repository.
    fn links(&self) -> Vec<String> {
        let (prose, _) = self.lines();
        let text = prose.join("\n");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target);
        targets
            .filter(|target| !target.contains("://"))
            .map(str::to_owned)
            .collect()
    }

    /// The anchors of its headings, as GitHub names them.
    fn anchors(&self) -> BTreeSet<String> {
        let (prose, _) = self.lines();
        let headings = prose.iter().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

/// A path relative to a page's folder, as a path in the repository.
fn resolved(page: &str, target: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in target.split('/') {
        match part {
            ".." => assert!(path.pop(), "{page}: {target} leaves the repository"),
            part => path.push(part),
        }
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            let (target, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let path = if target.is_empty() {
                page.path.clone()
            } else {
                resolved(&page.path, target)
            };
            let leads = root().join(&path).exists()
                && (fragment.is_empty()
                    || pages
                        .iter()
                        .any(|other| other.path == path && other.anchors().contains(fragment)));
            if !leads {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_page_is_linked_from_the_index() {
    let index = Page {
        path: "docs/README.md".to_owned(),
        text: read("docs/README.md"),
    };
    let linked: BTreeSet<String> = index
        .links()
        .iter()
        .map(|link| resolved(&index.path, link))
        .collect();
    let missing: Vec<String> = files_in("docs", ".md")
        .into_iter()
        .filter(|path| *path != index.path && !linked.contains(path))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// The commands of a line: without comments, a pipe's or list's each by itself, as words. What follows `>` counts as one.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let (mut word, mut quote) = (None::<String>, None);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '>') => {
                commands.last_mut().unwrap().extend(word.take());
                if c != ' ' {
                    commands.push(vec![]);
                }
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    commands
}

/// A word of a page as somebody would type it.
fn typed(word: &str) -> String {
    let hash = "0123456789abcdef".repeat(4);
    let typed = [
        ("DAY", "2020-02-16"),
        ("ENTRY", "5"),
        ("HASH", &hash),
        ("RECORDSET", RECORDSET),
        ("COMMAND", "apply"),
    ];
    typed
        .into_iter()
        .fold(word.to_owned(), |word, (placeholder, value)| {
            word.replace(placeholder, value)
        })
}

/// Why a command of daybook's does not parse.
fn refusal(words: &[String]) -> Option<clap::Error> {
    let words = words.iter().map(|word| typed(word));
    let error = Cli::try_parse_from(words).err()?;
    (!matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ))
    .then_some(error)
}

pub fn is_of_daybook(words: &[String]) -> bool {
    words
        .first()
        .is_some_and(|program| program == "daybook" || program.ends_with("/daybook"))
}

#[test]
fn every_command_of_daybook_parses() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in pages() {
        let (_, shell) = page.lines();
        for words in shell
            .iter()
            .flat_map(|line| commands(line))
            .filter(|words| is_of_daybook(words))
        {
            checked += 1;
            wrong.extend(refusal(&words).map(|error| format!("{}: {words:?}: {error}", page.path)));
        }
        for span in page.spans() {
            // A sentence may leave out what does not matter to it.
            let is_whole = |error: &clap::Error| error.kind() != ErrorKind::MissingRequiredArgument;
            for words in commands(&span)
                .into_iter()
                .filter(|words| is_of_daybook(words) && words.len() > 1)
            {
                checked += 1;
                let error = refusal(&words).filter(is_whole);
                wrong.extend(error.map(|error| format!("{}: {words:?}: {error}", page.path)));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(checked > 100, "{checked} commands were found");
}

/// All options and variables of the program and its commands.
fn arguments(command: &clap::Command) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut options, mut variables) = (
        BTreeSet::from(["--help".to_owned(), "--version".to_owned()]),
        BTreeSet::new(),
    );
    for argument in command.get_arguments() {
        options.extend(argument.get_long().map(|name| format!("--{name}")));
        variables.extend(
            argument
                .get_env()
                .map(|name| name.to_str().unwrap().to_owned()),
        );
    }
    for subcommand in command.get_subcommands() {
        let (more_options, more_variables) = arguments(subcommand);
        options.extend(more_options);
        variables.extend(more_variables);
    }
    (options, variables)
}

/// The names in a text that begin with a prefix.
fn names<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(prefix).map(|(at, _)| {
        let rest = &text[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn every_option_and_variable_that_a_page_names_exists() {
    let (options, variables) = arguments(&Cli::command());
    let job = read("engines/spark/count_day.py");
    let mut wrong = Vec::new();
    for page in pages() {
        for name in names(&page.text, "DAYBOOK_").filter(|name| !name.ends_with('_')) {
            let exists = variables.contains(name)
                || variables.contains(&format!("{name}_FILE"))
                || VARIABLES_WITHOUT_OPTION.contains(&name);
            if !exists {
                wrong.push(format!("{}: {name}", page.path));
            }
        }
        if ABOUT_DEVELOPMENT.contains(&page.path.as_str()) || page.path.starts_with("benches") {
            continue;
        }
        for span in page.spans().iter().filter(|span| span.starts_with("--")) {
            let name = names(span, "--").next().unwrap_or_default();
            let is_of_job = job.contains(&format!("\"{name}\""));
            if !options.contains(name) && !OPTIONS_OF_OTHERS.contains(&name) && !is_of_job {
                wrong.push(format!("{}: {name}", page.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_reference_has_a_row_for_every_command_setting_and_message() {
    let reference = read("docs/reference.md");
    let rows = reference.lines().filter(|line| line.starts_with("| `"));
    let first_cells: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).collect();
    let is_missing = |name: &str| {
        !first_cells
            .iter()
            .any(|cell| cell.contains(&format!("`{name}`")))
    };
    let program = Cli::command();
    let (_, variables) = arguments(&program);
    let commands = program
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(|name| name != "help");
    let messages = messages();
    assert!(messages.len() > 30, "{messages:?}");
    let all = commands.chain(variables).chain(messages);
    let missing: Vec<String> = all.filter(|name| is_missing(name)).collect();
    assert_eq!(missing, [""; 0]);
}

/// The types of the messages that the sources write.
fn messages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in files_in("src", ".rs") {
        let source = read(&path);
        let reported = source.split(".report(").skip(1);
        let after = reported.filter_map(|rest| rest.trim_start().strip_prefix('"'));
        found.extend(
            after
                .filter_map(|rest| rest.split_once('"'))
                .map(|(name, _)| name.to_owned()),
        );
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn every_message_of_the_reference_is_in_the_sources() {
    let reference = read("docs/reference.md");
    let table = reference
        .split_once("\n## JSON messages\n")
        .expect("the section JSON messages")
        .1;
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let first_cells = rows.filter_map(|row| row.split(" | ").next());
    let names: BTreeSet<&str> = first_cells
        .flat_map(|cell| cell.trim_start_matches("| ").split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let sources: String = files_in("src", ".rs")
        .iter()
        .map(|path| read(path))
        .collect();
    let unknown: Vec<&&str> = names
        .iter()
        .filter(|name| !sources.contains(&format!("\"{name}\"")))
        .collect();
    assert!(
        names.len() > 30 && unknown.is_empty(),
        "{unknown:?} of {names:?}"
    );
}

#[test]
fn the_exit_codes_of_the_reference_are_retried_as_the_unit_says() {
    let unit = read("systemd/idb-interaction-telemetry-aggregator.service");
    let not_retried: BTreeSet<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("RestartPreventExitStatus="))
        .flat_map(str::split_whitespace)
        .collect();
    let reference = read("docs/reference.md");
    let section = reference
        .split_once("\n## Exit codes\n")
        .expect("the section Exit codes")
        .1;
    let mut codes = BTreeSet::new();
    for row in section
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if cells[0].parse::<u8>().is_ok_and(|code| code != 0) {
            assert_eq!(
                cells[2] == "retries",
                !not_retried.contains(cells[0]),
                "{row}"
            );
            codes.insert(cells[0]);
        }
    }
    assert_eq!(
        codes,
        BTreeSet::from(["1", "2", "3", "4", "11", "75", "101", "130"])
    );
}

#[test]
fn every_line_of_the_status_that_the_handbook_explains_is_in_the_sources() {
    let handbook = read("docs/operating.md");
    let table = handbook
        .split_once("| line | meaning |")
        .expect("the table of lines")
        .1;
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| "));
    let sources: String = files_in("src", ".rs")
        .iter()
        .map(|path| read(path))
        .collect();
    let (mut checked, mut unknown) = (0, Vec::new());
    for cell in rows.filter_map(|row| row.trim_start_matches("| ").split(" | ").next()) {
        for words in cell
            .split('`')
            .skip(1)
            .step_by(2)
            .flat_map(|span| span.split('…'))
        {
            checked += 1;
            if !sources.contains(words.trim()) {
                unknown.push(words);
            }
        }
    }
    assert_eq!(unknown, [""; 0]);
    assert!(checked > 15, "{checked} texts were found");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut wrong = Vec::new();
    for page in pages() {
        for span in page.spans() {
            let is_path = [
                "src/",
                "tests/",
                "benches/",
                "script/",
                "docs/",
                "migrations/",
                "systemd/",
                "example-objects/",
            ]
            .iter()
            .any(|folder| span.starts_with(folder));
            let path = span.split(' ').next().unwrap_or_default();
            if is_path && !root().join(path).exists() {
                wrong.push(format!("{}: {path}", page.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_readme_is_short_and_the_architecture_has_no_measured_figure() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
    let architecture = read("ARCHITECTURE.md");
    let units = [
        " ms",
        " s ",
        " s,",
        " s.",
        " MB",
        " GB",
        " %",
        "documents a second",
    ];
    let is_figure = |line: &str| {
        units.iter().any(|unit| {
            line.match_indices(unit)
                .any(|(at, _)| line[..at].ends_with(|c: char| c.is_ascii_digit()))
        })
    };
    let figures: Vec<&str> = architecture
        .lines()
        .filter(|line| is_figure(line))
        .collect();
    assert_eq!(figures, [""; 0]);
}

/// Types the commands of daybook's in a text one after the other, in a folder. Each ends well.
async fn type_all(world: &World, folder: &Path, text: &str) {
    let page = Page {
        path: "the text".to_owned(),
        text: text.to_owned(),
    };
    let (_, shell) = page.lines();
    for words in shell.iter().flat_map(|line| commands(line)) {
        if !is_of_daybook(&words) {
            continue;
        }
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = world
            .command(&arguments)
            .current_dir(folder)
            .output()
            .await
            .expect("run the program");
        assert_eq!(Ended::from(output).code, Some(0), "{words:?}");
    }
}

#[tokio::test]
async fn the_examples_of_the_page_about_exports_run() {
    let world = World::new().await;
    let (from, to) = (days_ago(3), days_ago(1));
    let event = Event::search(1, &to, RECORDSET, 5);
    world.log(&[event]).await;
    let apply = ["apply", "--from", &from, "--to", &to, "--no-project"];
    world.run(&apply).await.assert_exit(0);
    let folder = std::env::temp_dir().join(format!("daybook-documents-{}", world.prefix));
    std::fs::create_dir(&folder).unwrap();
    let exchange = read("docs/exchange.md");
    let (exporting, importing) = exchange
        .split_once("\n## Importing\n")
        .expect("the section Importing");
    type_all(&world, &folder, exporting).await;
    let copy = World::unmigrated().await;
    type_all(&copy, &folder, importing).await;
    let newest =
        "SELECT encode(entry_hash, 'hex') FROM daybook.entry ORDER BY entry_id DESC LIMIT 1";
    assert_eq!(world.value(newest).await, copy.value(newest).await);
    std::fs::remove_dir_all(folder).unwrap();
    copy.end().await;
    world.end().await;
}
