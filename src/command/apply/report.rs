//! What `daybook apply` prints, as text and JSON.

use crate::apply::date_ranges::LeftOut;
use crate::apply::{DayReport, Outcome, PostedReport};
use crate::day::Day;
use crate::output::Output;
use crate::text::{Grouped, counted};

/// The maximum number of event ids to print.
pub(super) const SHOWN_IDS: usize = 20;

pub(super) fn left_out(left_out: &LeftOut, output: Output) {
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

pub(super) fn out_of_time(ids: &[i64], output: Output) {
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

/// Prints what was done with a day, or would be.
pub(super) fn day(report: &DayReport, dry_run: bool, output: Output) {
    let message_type = if dry_run { "day_dry_run" } else { "day" };
    output.report(message_type, report, text(report, dry_run));
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
        counted(posted.sums.interactions, "interaction", "interactions"),
        counted(posted.sums.records, "record", "records"),
        counted(posted.sums.cells, "cell", "cells"),
    );
    text += &format!("; read in {:.2} s", posted.reading.as_secs_f64());
    if !dry_run {
        text += &format!(", posted in {:.2} s", posted.posting.as_secs_f64());
    }
    if let Some(counted_by) = &posted.counted_by {
        text += &format!("; counted by {counted_by}");
    }
    if let Some(hash) = &posted.entry_hash {
        text += &format!("; entry_hash {hash}");
    }
    text
}
