//! `daybook doctor`: checks everything that a run needs, and names the way out. Changes nothing.

use std::path::Path;

use serde::Serialize;

use crate::config::Settings;
use crate::doctor::{Area, Check, Checks, Level, Subject, examine};
use crate::error::{Error, Exit};
use crate::output::Output;
use crate::printable::one_line;
use crate::text::counted;

/// The command's arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// Show only what is not ok
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Summary<'c> {
    ok: usize,
    warnings: usize,
    failed: usize,
    /// What to do first.
    next: Option<&'c str>,
}

/// Runs the command. The settings may be what is wrong; `file` is the configuration file that was read.
pub async fn run(
    options: DoctorArgs,
    settings: Result<Settings, Error>,
    file: Option<&Path>,
    output: Output,
) -> Result<Exit, Error> {
    let mut of_settings = Checks::new(Area::Settings);
    if let Some(file) = file {
        of_settings.ok("file", format!("{} was read", file.display()));
    }
    let settings = of_settings.take("settings", settings);
    for problem in super::config::ignored() {
        of_settings.warning("settings", problem, "correct its name");
    }
    let mut checks = of_settings.into_found();
    if let Some(settings) = settings {
        checks.extend(Box::pin(examine(&subject(&settings))).await);
    }
    if let Some(file) = file {
        for hint in checks.iter_mut().filter_map(|check| check.hint.as_mut()) {
            name_key(hint, file);
        }
    }
    for check in checks
        .iter()
        .filter(|check| !options.quiet || check.level != Level::Ok)
    {
        output.report("check", check, check);
    }
    let summary = summarize(&checks);
    output.report("doctor", &summary, text(&summary));
    Ok(if summary.failed > 0 {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Adds to a hint that says which variable to set, what its key in the configuration file is.
fn name_key(hint: &mut String, file: &Path) {
    if let Some((_, rest)) = hint.split_once("set DAYBOOK_") {
        let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let key = rest[..end].to_lowercase();
        let file = file.display();
        *hint += &format!("; its key in {file} is {key}");
    }
}

fn subject(settings: &Settings) -> Subject<'_> {
    Subject {
        ledger: &settings.ledger,
        source: &settings.source,
        elasticsearch: settings.elasticsearch_quick(),
        plan: &settings.plan,
        memory: settings.workspace.memory,
        max_clock_skew: settings.max_clock_skew,
    }
}

fn summarize(checks: &[Check]) -> Summary<'_> {
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    // What fails comes first: a warning may follow from it. Then what leads on to an applied day.
    let hints = |level| {
        checks
            .iter()
            .filter(move |check| check.level == level)
            .filter_map(|check| check.hint.as_deref())
    };
    let next = hints(Level::Failed)
        .next()
        .or_else(|| hints(Level::Warning).find(|hint| hint.contains("`daybook ")))
        .or_else(|| hints(Level::Warning).next());
    Summary {
        ok: count(Level::Ok),
        warnings: count(Level::Warning),
        failed: count(Level::Failed),
        next,
    }
}

fn text(summary: &Summary<'_>) -> String {
    let Summary {
        ok,
        warnings,
        failed,
        next,
    } = summary;
    let warnings = counted(*warnings, "warning", "warnings");
    let mut text = format!("\n{ok} ok, {warnings}, {failed} failed");
    if let Some(next) = next {
        text += &format!("\nnext: {}", one_line(next));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_key_in_the_file() {
        let named = |hint: &str| {
            let mut hint = hint.to_owned();
            name_key(&mut hint, Path::new("/a.toml"));
            hint
        };
        assert_eq!(
            named("set DAYBOOK_LEDGER_URL (or --ledger-url) to x"),
            "set DAYBOOK_LEDGER_URL (or --ledger-url) to x; its key in /a.toml is ledger_url"
        );
        assert_eq!(named("set it"), "set it");
    }
}
