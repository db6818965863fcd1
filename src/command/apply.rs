//! `daybook apply`: posts the deltas of days, then advances the projections. Safe to repeat.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::DateRangeArgs;
use super::progress::ProgressReporter;
use super::project;
use super::recorded::finish_with;
use crate::apply::date_ranges::{self, LeftOut};
use crate::apply::{Applied, DayReport, Outcome, PostedReport, Refused, Rules, apply_day};
use crate::clock;
use crate::config::Settings;
use crate::day::{Day, Period};
use crate::elastic::Client;
use crate::error::{Error, ErrorKind, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::day_read::ranges;
use crate::ledger::lock::Run;
use crate::ledger::{Ledger, PostedRows, Reader};
use crate::output::Output;
use crate::projection::rebuild::Progress as _;
use crate::source::Source;
use crate::text::{Grouped, counted};

/// The command's arguments.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// Apply only this day, YYYY-MM-DD
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to", "all"])]
    pub day: Option<Day>,

    /// The days to apply.
    #[command(flatten)]
    pub date_range: DateRangeArgs,

    /// Apply every closed day of the source
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub all: bool,

    /// Report what would be posted; post nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not advance the projections
    #[arg(long)]
    pub no_project: bool,

    /// Also apply a day that is not over; later events are posted as a correction
    #[arg(long)]
    pub day_open: bool,

    /// Accept that the source now has fewer or different events, and post the correction
    #[arg(long, requires = "day")]
    pub accept_decrease: bool,

    /// Replace what was imported for the day: post the difference from the source
    #[arg(long, requires = "day")]
    pub replace: bool,

    /// Days for which late events are awaited: until a day has been compared with its source this long after its end, every catch-up compares it again
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub lookback: u32,

    /// Also post gaps of a year or more, and the few events before them
    #[arg(long)]
    pub include_gaps: bool,
}

const EXAMPLES: &str = "\
Without --day, --from, --to or --all, apply catches up. It applies every closed day after the last
applied one (yesterday, if the ledger is empty), retries failed days, and posts late events of days
that were last compared with their source within --lookback days of their end.

A gap of a year or more is reported and not posted, and neither are the few events before it: their
date may be wrong. Correct it in the source, or post everything with --include-gaps.

Examples:
  daybook apply
  daybook apply --day 2020-02-16
  daybook apply --from 2020-02-01 --to 2020-02-29 --no-project
  daybook apply --all --dry-run";

#[derive(Debug, Default, Serialize)]
struct Figures {
    days: usize,
    entries_posted: usize,
    days_failed: usize,
    /// The days that were compared with their source, as ranges. They determine what the next run compares again.
    days_read: Vec<(Day, Day)>,
    /// The results of the projections.
    #[serde(flatten)]
    projections: Map<String, Value>,
}

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
        return unless_interrupted(posting).await.map(|_| Exit::Done);
    }
    let mut run = Run::start_posting(&work.ledger, command, settings.max_clock_skew).await?;
    let applied = unless_interrupted(work.apply(&mut run, client.as_ref(), &options, today)).await;
    let days_read = ranges(work.read.iter().copied());
    let figures_of_failed = serde_json::json!({ "days_read": &days_read });
    let applied = applied.map(|figures| {
        (
            Exit::Done,
            Figures {
                days_read,
                ..figures
            },
        )
    });
    finish_with(run, applied, figures_of_failed).await
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

struct Work<'s> {
    ledger: Ledger,
    source: Option<Source>,
    reader: Reader,
    settings: &'s Settings,
    output: Output,
    /// The rows of the last day's entry, if this run has posted it and they are in memory.
    posted_rows: Option<PostedRows>,
    /// The days that were compared with their source, and agree with it or need a person's decision.
    read: BTreeSet<Day>,
}

impl<'s> Work<'s> {
    async fn open(settings: &'s Settings, output: Output) -> Result<Self, Error> {
        let (ledger, reader) =
            Ledger::open_for_reading(&settings.ledger, "daybook reading").await?;
        Ok(Self {
            ledger,
            source: None,
            reader,
            settings,
            output,
            posted_rows: None,
            read: BTreeSet::new(),
        })
    }

    /// Posts, then advances the projections.
    async fn apply(
        &mut self,
        run: &mut Run,
        client: Option<&Client>,
        options: &ApplyArgs,
        today: Day,
    ) -> Result<Figures, Error> {
        let posted = self.post_days(Some(&mut *run), options, today).await;
        // The source is not needed any more: its server should not keep a snapshot while projections advance.
        self.close_source().await;
        // Publish the other days if one failed, but not if a database is unreachable.
        let stopped = matches!(&posted, Err(error) if error.kind() != ErrorKind::Failed);
        let projected = match client {
            Some(client) if !stopped => {
                let posted_rows = self.posted_rows.take();
                let advancing = project::bring_up_to_date(
                    &self.ledger,
                    client,
                    self.settings,
                    run,
                    posted_rows,
                    self.output,
                );
                Box::pin(advancing)
                    .await
                    .map_err(|error| error.with_kind(ErrorKind::ProjectionBehind))
            }
            _ => Ok(Map::new()),
        };
        match (posted, projected) {
            (Ok(figures), Ok(projections)) => Ok(Figures {
                projections,
                ..figures
            }),
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(behind)) => {
                // Report both. The failed day determines the exit code: the next run advances the projection anyway.
                self.output.report_error(&behind);
                Err(error)
            }
        }
    }

    /// Posts the chosen days, one after the other. A day that fails does not stop the others, unless a database is
    /// unreachable.
    async fn post_days(
        &mut self,
        mut run: Option<&mut Run>,
        options: &ApplyArgs,
        today: Day,
    ) -> Result<Figures, Error> {
        let mut figures = Figures::default();
        let rules = Rules {
            accept_decrease: options.accept_decrease,
            replace: options.replace,
            anew: options.day.is_some(),
            memory: self.settings.memory,
        };
        let mut failed: Vec<(Day, Error)> = Vec::new();
        let days = self.choose_days(options, today).await?;
        let mut progress = ProgressReporter::of("event", "events");
        let several = days.len() > 1;
        if several {
            progress.begin("applying", Some(days.len() as u64));
        }
        let mut events = 0;
        if !days.is_empty() {
            // Report a problem of the whole source once, not for each day.
            open_source(&mut self.source, self.settings, &self.ledger).await?;
        }
        for day in days {
            figures.days += 1;
            match self.post_day(run.as_deref_mut(), day, rules).await {
                Ok(report) => {
                    if let Outcome::Posted(posted) = &report.outcome {
                        figures.entries_posted += 1;
                        events += u64::try_from(posted.events).unwrap_or(0);
                    }
                    let tell = || {
                        self.output.report(
                            message_type(options),
                            &report,
                            text(&report, options.dry_run),
                        );
                    };
                    progress.beside(tell);
                }
                Err(error) if error.kind() != ErrorKind::Failed => return Err(error),
                Err(error) => {
                    // The connection may be out of sync after an interrupted stream.
                    self.source = None;
                    figures.days_failed += 1;
                    failed.push((day, error));
                }
            }
            if several {
                progress.at(events, figures.days as u64);
            }
        }
        progress.end();
        if figures.days == 0 {
            self.output.report(
                "nothing_to_do",
                serde_json::json!({}),
                "no closed day to apply",
            );
        }
        sum_up_failures(failed, figures.days, self.output)?;
        Ok(figures)
    }

    /// Closes the connection to the source. It is reopened when needed.
    async fn close_source(&mut self) {
        if let Some(source) = self.source.take() {
            source.close().await;
        }
    }

    async fn post_day(
        &mut self,
        run: Option<&mut Run>,
        day: Day,
        rules: Rules,
    ) -> Result<DayReport, Error> {
        // Free the memory for this day.
        self.posted_rows = None;
        let source = open_source(&mut self.source, self.settings, &self.ledger).await?;
        let applying = Box::pin(apply_day(
            &self.ledger,
            source,
            &mut self.reader,
            run,
            day,
            rules,
        ));
        let applied = applying.await?;
        self.read.insert(day);
        let Applied {
            report,
            posted_rows,
        } = applied.map_err(|Refused(error)| error)?;
        self.posted_rows = posted_rows;
        Ok(report)
    }

    async fn choose_days(&mut self, options: &ApplyArgs, today: Day) -> Result<Vec<Day>, Error> {
        if let Some(day) = options.day {
            return Ok(vec![day]);
        }
        let last_closed = if options.day_open {
            today
        } else {
            today.previous()
        };
        if !options.all && options.date_range.is_open() {
            return self.days_to_catch_up(options, last_closed).await;
        }
        // The defaults are the first day of the source and the last closed day.
        let source = open_source(&mut self.source, self.settings, &self.ledger).await?;
        let of_source = source.period().await?;
        let from = options
            .date_range
            .from
            .or_else(|| of_source.map(Period::from));
        let to = options.date_range.to.unwrap_or(last_closed);
        if options.date_range.from.is_none() {
            let out_of_time = source.ids_out_of_time(today.next(), SHOWN_IDS + 1).await?;
            tell_out_of_time(&out_of_time, self.output);
        }
        let Some(period) = from.and_then(|from| Period::new(from, to)) else {
            return Ok(Vec::new());
        };
        self.without_gaps(period, options, options.date_range.from.is_none())
            .await
    }

    async fn days_to_catch_up(
        &mut self,
        options: &ApplyArgs,
        last_closed: Day,
    ) -> Result<Vec<Day>, Error> {
        let (Some(applied), Some(last)) = (
            self.reader.period().await?,
            self.reader.last_day(last_closed).await?,
        ) else {
            return Ok(vec![last_closed]);
        };
        // Compare applied days again, and retry failed ones.
        let read = self.reader.days_read(last_closed, clock::now()).await?;
        let due = read
            .iter()
            .filter(|read| read.is_due(self.ledger.zone, options.lookback))
            .map(|read| read.day);
        let mut days = BTreeSet::from_iter(self.reader.undecided(&due.collect::<Vec<_>>()).await?);
        let since = applied.from().max(last.minus(options.lookback));
        if let Some(recent) = Period::new(since, last_closed) {
            let wanted = self.without_gaps(recent, options, false).await?;
            let without_entry = self.reader.days_without_entry(recent).await?;
            days.extend(
                without_entry
                    .into_iter()
                    .filter(|day| wanted.binary_search(day).is_ok()),
            );
        }
        Ok(days.into_iter().collect())
    }

    /// The days of a period without long gaps in the source; reports what it skips.
    async fn without_gaps(
        &mut self,
        period: Period,
        options: &ApplyArgs,
        strays: bool,
    ) -> Result<Vec<Day>, Error> {
        if options.include_gaps || period.day_count() < date_ranges::LONG {
            return Ok(period.days().collect());
        }
        let source = open_source(&mut self.source, self.settings, &self.ledger).await?;
        let left_out = date_ranges::find(source, period, strays).await?;
        for left_out in &left_out {
            tell_left_out(left_out, self.output);
        }
        let is_left_out = |day: &Day| {
            left_out
                .iter()
                .any(|left_out| left_out.period().contains(*day))
        };
        Ok(period.days().filter(|day| !is_left_out(day)).collect())
    }
}

async fn open_source<'a>(
    source: &'a mut Option<Source>,
    settings: &Settings,
    ledger: &Ledger,
) -> Result<&'a mut Source, Error> {
    let open = match source.take() {
        Some(open) => open,
        None => Source::open(&settings.source, ledger.zone, "daybook source").await?,
    };
    Ok(source.insert(open))
}

/// The maximum number of event ids to print.
const SHOWN_IDS: usize = 20;

fn tell_left_out(left_out: &LeftOut, output: Output) {
    let period = left_out.period();
    let (from, to, days) = (period.from(), period.to(), period.day_count());
    let named = counted(days, "day", "days");
    match left_out {
        LeftOut::Empty(_) => output.report(
            "gap_left_out",
            serde_json::json!({ "from": from, "to": to, "days": days }),
            format!("{from} to {to}  skipped: the source has no events on these {named}; --include-gaps posts them"),
        ),
        LeftOut::Stray { ids, .. } => output.report(
            "strays_left_out",
            serde_json::json!({ "from": from, "to": to, "source_ids": ids }),
            format!(
                "{from} to {to}  skipped: {} dated a year or more before all later ones: {}; correct the date, or post with --include-gaps",
                counted(ids.len(), "event", "events"),
                ids_text(ids),
            ),
        ),
    }
}

fn tell_out_of_time(ids: &[i64], output: Output) {
    if ids.is_empty() {
        return;
    }
    let text = format!(
        "not applied: events without a date, or dated before 1970-01-02 or after tomorrow: {}; they are counted once their date is corrected",
        ids_text(ids)
    );
    let shown = &ids[..ids.len().min(SHOWN_IDS)];
    output.report(
        "events_out_of_time",
        serde_json::json!({ "source_ids": shown }),
        text,
    );
}

/// The first ids as text.
fn ids_text(ids: &[i64]) -> String {
    let shown: Vec<String> = ids.iter().take(SHOWN_IDS).map(i64::to_string).collect();
    let more = if ids.len() > SHOWN_IDS { ", …" } else { "" };
    let noun = if ids.len() == 1 { "id" } else { "ids" };
    format!("{noun} {}{more}", shown.join(", "))
}

/// If the only day failed, returns its error. Of several days, reports each error and returns a summary.
fn sum_up_failures(
    mut failed: Vec<(Day, Error)>,
    days: usize,
    output: Output,
) -> Result<(), Error> {
    if days == 1
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    if failed.is_empty() {
        return Ok(());
    }
    for (_, error) in &failed {
        output.report_error(error);
    }
    let names: Vec<String> = failed.iter().map(|(day, _)| day.to_string()).collect();
    Err(Error::failed(format!(
        "{} of {days} days failed: {}",
        failed.len(),
        names.join(", ")
    ))
    .hint(if failed.len() == days {
        "see each day's message above"
    } else {
        "the other days are applied; see each day's message above"
    }))
}

fn message_type(options: &ApplyArgs) -> &'static str {
    if options.dry_run {
        "day_dry_run"
    } else {
        "day"
    }
}

fn text(report: &DayReport, dry_run: bool) -> String {
    let day = report.day;
    match &report.outcome {
        Outcome::AlreadyApplied { entry_id } => {
            format!("{day}  already applied as entry {entry_id}")
        }
        Outcome::Sealed {
            entry_id,
            posted_events,
        } => {
            let events = counted(*posted_events, "event", "events");
            format!(
                "{day}  applied as entry {entry_id}; the source no longer has its {events}: kept as posted"
            )
        }
        Outcome::TakenBack { entry_id } => {
            format!(
                "{day}  reversed by entry {entry_id}: not applied again; `daybook apply --day {day}` applies it"
            )
        }
        Outcome::Imported { entry_id } => {
            format!("{day}  imported as entry {entry_id}; the source has no events for this day")
        }
        Outcome::Posted(posted) => posted_text(day, posted, dry_run),
    }
}

fn posted_text(day: Day, posted: &PostedReport, dry_run: bool) -> String {
    let what = match posted.entry_id {
        Some(entry_id) => format!("entry {entry_id} ({})", posted.kind.name()),
        None => format!("would post: {}", posted.kind.name()),
    };
    let mut text = format!(
        "{day}  {what}: {} ({} counted, {} ignored, {} rejected) → {}, {}, {}",
        counted(posted.events, "event", "events"),
        Grouped(posted.counted),
        Grouped(posted.ignored),
        Grouped(posted.rejected),
        counted(
            i64::try_from(posted.sums.interactions).unwrap_or(i64::MAX),
            "interaction",
            "interactions"
        ),
        counted(
            i64::try_from(posted.sums.records).unwrap_or(i64::MAX),
            "record",
            "records"
        ),
        counted(
            i64::try_from(posted.sums.cells).unwrap_or(i64::MAX),
            "cell",
            "cells"
        ),
    );
    text += &format!("; read in {:.2} s", posted.reading.as_secs_f64());
    if !dry_run {
        text += &format!(", posted in {:.2} s", posted.posting.as_secs_f64());
    }
    if let Some(hash) = &posted.entry_hash {
        text += &format!("; entry_hash {hash}");
    }
    text
}
