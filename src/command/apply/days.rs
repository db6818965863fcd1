//! Which days a run of `daybook apply` takes, and posting them one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Instrument as _;

use super::options::ApplyArgs;
use super::report;
use crate::apply::{
    Applied, DayReport, Events, Outcome, PostedReport, Refused, Rules, apply_day, date_ranges,
};
use crate::clock;
use crate::command::progress::ProgressReporter;
use crate::command::project::Projecting;
use crate::config::Settings;
use crate::day::{Day, Period};
use crate::elastic::Client;
use crate::error::{Error, ErrorKind};
use crate::fold::DeltaSets;
use crate::ledger::day_read::ranges;
use crate::ledger::lock::Run;
use crate::ledger::{Ledger, PostedRows, Reader};
use crate::output::Output;
use crate::projection::progress::Progress as _;
use crate::source::Source;

/// What a run did, as recorded with its end.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    days: usize,
    entries_posted: usize,
    days_failed: usize,
    /// The events of the entries that were posted.
    events: i64,
    counted: i64,
    ignored: i64,
    rejected: i64,
    #[serde(rename = "read_seconds", serialize_with = "crate::text::as_seconds")]
    reading: Duration,
    #[serde(rename = "post_seconds", serialize_with = "crate::text::as_seconds")]
    posting: Duration,
    /// The days that were compared with their source, as ranges. They determine what the next run compares again.
    days_read: Vec<(Day, Day)>,
    /// The results of the projections.
    #[serde(flatten)]
    projections: Map<String, Value>,
}

impl Figures {
    fn add(&mut self, posted: &PostedReport) {
        self.entries_posted += 1;
        self.events += posted.events;
        self.counted += posted.counted;
        self.ignored += posted.ignored;
        self.rejected += posted.rejected;
        self.reading += posted.reading;
        self.posting += posted.posting;
    }
}

/// The connections and the state of a run of `apply`.
pub(super) struct Work<'s> {
    pub(super) ledger: Ledger,
    source: Option<Source>,
    /// What was counted elsewhere, if that is to be posted.
    deltas: Option<Arc<DeltaSets>>,
    pub(super) reader: Reader,
    settings: &'s Settings,
    output: Output,
    /// The rows of the last day's entry, if this run has posted it and they are in memory.
    posted_rows: Option<PostedRows>,
    /// The days that were compared with their source, and agree with it or need a person's decision.
    pub(super) read: BTreeSet<Day>,
    figures: Figures,
}

impl<'s> Work<'s> {
    pub(super) async fn open(settings: &'s Settings, output: Output) -> Result<Self, Error> {
        let (ledger, reader) =
            Ledger::open_for_reading(&settings.ledger, "daybook reading").await?;
        Ok(Self {
            ledger,
            source: None,
            deltas: None,
            reader,
            settings,
            output,
            posted_rows: None,
            read: BTreeSet::new(),
            figures: Figures::default(),
        })
    }

    /// Opens what was counted elsewhere. It must be of the day, as the ledger understands days.
    pub(super) async fn open_deltas(&mut self, options: &ApplyArgs) -> Result<(), Error> {
        if options.deltas.is_empty() {
            return Ok(());
        }
        let directories = options.deltas.clone();
        let opening = tokio::task::spawn_blocking(move || DeltaSets::open(&directories)).await;
        let sets = opening.map_err(|error| {
            Error::new(ErrorKind::Internal, "reading deltas was aborted").caused_by(error)
        })??;
        sets.check_expected(options.day, Some(self.ledger.zone))?;
        sets.check_whole()?;
        self.deltas = Some(Arc::new(sets));
        Ok(())
    }

    /// Posts, then advances the projections.
    pub(super) async fn apply(
        &mut self,
        run: &mut Run,
        client: Option<&Client>,
        options: &ApplyArgs,
        today: Day,
    ) -> Result<(), Error> {
        let posted = self.post_days(Some(&mut *run), options, today).await;
        // The source is not needed any more: its server should not keep a snapshot while projections advance.
        self.close_source().await;
        // Publish the other days if one failed, but not if a database is unreachable.
        let stopped = matches!(&posted, Err(error) if !error.kind().needs_a_person());
        let projected = match client {
            Some(client) if !stopped => {
                let posted_rows = self.posted_rows.take();
                let projecting = Projecting {
                    ledger: &self.ledger,
                    client,
                    settings: self.settings,
                    output: self.output,
                };
                let figures = &mut self.figures.projections;
                let advancing = projecting.bring_up_to_date(run, posted_rows, figures);
                Box::pin(advancing).await.map_err(Error::after_posting)
            }
            _ => Ok(()),
        };
        match (posted, projected) {
            (posted, Ok(())) => posted,
            (Ok(()), Err(error)) => Err(error),
            (Err(error), Err(behind)) => {
                // Report both. The failed day determines the exit code: the next run advances the projection anyway.
                self.output.report_error(&behind);
                Err(error)
            }
        }
    }

    /// Posts the chosen days, one after the other. A day that fails does not stop the others, unless a database is
    /// unreachable.
    pub(super) async fn post_days(
        &mut self,
        mut run: Option<&mut Run>,
        options: &ApplyArgs,
        today: Day,
    ) -> Result<(), Error> {
        let rules = Rules {
            accept_decrease: options.accept_decrease,
            replace: options.replace,
            anew: options.day.is_some(),
        };
        let mut failed: Vec<(Day, Error)> = Vec::new();
        let days = self.choose_days(options, today).await?;
        let mut progress = ProgressReporter::of("event", "events");
        let several = days.len() > 1;
        if several {
            progress.begin("applying", Some(days.len() as u64));
        }
        let mut events = 0;
        if !days.is_empty() && self.deltas.is_none() {
            // Report a problem of the whole source once, not for each day.
            open_source(&mut self.source, self.settings, &self.ledger).await?;
        }
        for day in days {
            self.figures.days += 1;
            let posting = self
                .post_day(run.as_deref_mut(), day, rules)
                .instrument(tracing::info_span!("day", %day));
            match posting.await {
                Ok(day) => {
                    if let Outcome::Posted(posted) = &day.outcome {
                        self.figures.add(posted);
                        events += u64::try_from(posted.events).unwrap_or(0);
                    }
                    progress.beside(|| report::day(&day, options.dry_run, self.output));
                }
                Err(error) if !error.kind().needs_a_person() => return Err(error),
                Err(error) => {
                    // The connection may be out of sync after an interrupted stream.
                    self.source = None;
                    self.figures.days_failed += 1;
                    failed.push((day, error));
                }
            }
            if several {
                progress.at(events, self.figures.days as u64);
            }
        }
        progress.end();
        if self.figures.days == 0 {
            self.output.report(
                "nothing_to_do",
                serde_json::json!({}),
                "no closed day to apply",
            );
        }
        sum_up_failures(failed, self.figures.days, self.output)
    }

    /// What the run has done, also if it failed.
    pub(super) fn into_figures(self) -> Figures {
        let days_read = ranges(self.read);
        Figures {
            days_read,
            ..self.figures
        }
    }

    /// Closes the connection to the source. It is reopened when needed.
    pub(super) async fn close_source(&mut self) {
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
        let events = if let Some(deltas) = &self.deltas {
            Events::Counted(Arc::clone(deltas))
        } else {
            let source = open_source(&mut self.source, self.settings, &self.ledger).await?;
            Events::Source(source.day(day).await?)
        };
        let applying = Box::pin(apply_day(
            &self.ledger,
            events,
            &mut self.reader,
            run,
            rules,
            &self.settings.workspace,
        ));
        let applied = applying.await?;
        // A day that was counted elsewhere is still to be compared with the source, if there is one.
        if self.deltas.is_none() {
            self.read.insert(day);
        }
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
            let out_of_time = source
                .ids_out_of_time(today.next(), report::SHOWN_IDS + 1)
                .await?;
            report::out_of_time(&out_of_time, self.output);
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
            report::left_out(left_out, self.output);
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
    Err(Error::new(
        ErrorKind::DaysFailed,
        format!(
            "{} of {days} days failed: {}",
            failed.len(),
            names.join(", ")
        ),
    )
    .hint(if failed.len() == days {
        "see each day's message above"
    } else {
        "the other days are applied; see each day's message above"
    }))
}
