//! `daybook apply`: posts the deltas of days, then advances the projections. Safe to repeat.

mod days;
mod options;
mod report;

pub use self::options::ApplyArgs;

use self::days::Work;
use super::arguments::DateRangeArgs;
use super::recorded::finish_with;
use crate::clock;
use crate::config::Settings;
use crate::day::{Day, Period};
use crate::error::{Error, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::Run;
use crate::output::Output;

/// Runs the command.
pub async fn run(options: ApplyArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    run_as("apply", options, settings, output).await
}

/// Applies days as a run of `command`.
pub async fn run_as(
    command: &str,
    options: ApplyArgs,
    settings: &Settings,
    output: Output,
) -> Result<Exit, Error> {
    // Report missing settings for the projections before posting.
    let client = (!options.no_project && !options.dry_run)
        .then(|| settings.elasticsearch())
        .transpose()?;
    let mut work = unless_interrupted(Work::open(settings, output)).await?;
    let today = work.ledger.zone.day_of(clock::now());
    check_days(&options, today)?;
    unless_interrupted(work.open_deltas(&options)).await?;
    if options.dry_run {
        let posting = async {
            work.reader
                .clocks()
                .await?
                .check(settings.max_clock_skew, &work.ledger.database)?;
            let posted = work.post_days(None, &options, today).await;
            work.close_source().await;
            posted
        };
        return unless_interrupted(posting).await.map(|()| Exit::Done);
    }
    let mut run = Run::start_posting(&work.ledger, command, settings.max_clock_skew).await?;
    let applied = unless_interrupted(work.apply(&mut run, client.as_ref(), &options, today)).await;
    let figures = serde_json::json!(work.into_figures());
    finish_with(
        run,
        applied.map(|()| (Exit::Done, &figures)),
        figures.clone(),
    )
    .await
}

fn check_days(options: &ApplyArgs, today: Day) -> Result<(), Error> {
    let DateRangeArgs { from, to } = options.date_range;
    if let (Some(from), Some(to)) = (from, to)
        && Period::new(from, to).is_none()
    {
        return Err(Error::usage(format!("--from {from} is after --to {to}")).hint("swap them"));
    }
    for day in [options.day, from, to].into_iter().flatten() {
        if day > today {
            return Err(
                Error::usage(format!("{day} has not begun yet: today is {today}"))
                    .hint("give a day that is over"),
            );
        }
    }
    match options.day.or(to) {
        Some(day) if day == today && !options.day_open => Err(Error::usage(format!("{day} is not over yet"))
            .hint("wait until it is over, or add --day-open: later events are then posted as a correction")),
        _ => Ok(()),
    }
}
