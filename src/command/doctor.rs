//! `daybook doctor`: checks everything that a run needs, and names the way out. Changes nothing.

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

/// Runs the command. The settings may be what is wrong.
pub async fn run(
    options: DoctorArgs,
    settings: Result<Settings, Error>,
    output: Output,
) -> Result<Exit, Error> {
    let mut of_settings = Checks::new(Area::Settings);
    let settings = of_settings.take("settings", settings);
    for problem in super::config::ignored() {
        of_settings.warning("settings", problem, "correct its name");
    }
    let mut checks = of_settings.into_found();
    if let Some(settings) = settings {
        checks.extend(Box::pin(examine(&subject(&settings))).await);
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
