//! The lines of `status` for people, the worst first, and the one line for monitors.

use std::fmt;

use super::state::{LedgerStatus, ProjectionStatus, Sealed};
use crate::day::{Day, Period};
use crate::error::Exit;
use crate::ledger::{Past, RunStatus};
use crate::printable::one_line;
use crate::text::{Grouped, counted};

/// How much a line matters. The worst is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Somebody has to act: a monitor raises an alarm.
    Problem,
    /// It passes, or is worth knowing.
    Note,
    /// As it should be.
    Fine,
}

/// A line of the status.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) severity: Severity,
    label: String,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16} {}", self.label, self.text)
    }
}

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, severity: Severity, label: impl Into<String>, text: impl Into<String>) {
        self.0.push(Line {
            severity,
            label: label.into(),
            text: text.into(),
        });
    }

    /// Adds a problem of the whole command.
    pub(super) fn add_problem(&mut self, label: &str, text: &str) {
        self.add(Severity::Problem, label, one_line(text));
    }

    pub(super) fn add_remark(&mut self, label: &str, text: &str) {
        self.add(Severity::Fine, label, text);
    }

    /// All lines, the worst first; those that matter as much in their order.
    pub(super) fn worst_first(mut self) -> Vec<Line> {
        self.0.sort_by_key(|line| line.severity);
        self.0
    }

    /// The problems, each on one line.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = self
            .0
            .iter()
            .filter(|line| line.severity == Severity::Problem);
        problems
            .map(|line| format!("{}: {}", line.label, line.text))
            .collect()
    }

    /// Adds the state of the ledger. Up to `max_lag` closed days may be missing.
    pub(super) fn add_ledger(&mut self, status: &LedgerStatus, max_lag: usize) {
        let LedgerStatus {
            ledger_id,
            time_zone,
            newest_entry,
            ..
        } = status;
        self.add(
            Severity::Fine,
            "ledger",
            format!("{ledger_id}, days in {time_zone}"),
        );
        match (status.first_day, status.last_day) {
            (Some(first), Some(last)) => {
                let text = format!("{first} to {last}, newest entry {newest_entry}");
                self.add(Severity::Fine, "applied", text);
                let (count, total) = (Grouped(status.count), Grouped(status.total));
                let text = format!("{count} interactions, {total} records involved");
                self.add(Severity::Fine, "counted", text);
            }
            _ => self.add(
                Severity::Note,
                "applied",
                "nothing yet: `daybook apply` posts the first day",
            ),
        }
        if status.days_behind > 0 {
            let severity = if status.days_behind > max_lag {
                Severity::Problem
            } else {
                Severity::Note
            };
            let days = counted(status.days_behind, "closed day", "closed days");
            self.add(severity, "behind", format!("{days}: run `daybook apply`"));
        }
        if let Some(problem) = &status.clock_problem {
            let text = format!("{problem}: nothing is posted until they agree");
            self.add(Severity::Problem, "clocks", text);
        }
        if !status.days_to_come.is_empty() {
            let days = to_come(&status.days_to_come);
            let text = format!(
                "{days}: posted while a clock was wrong; compared with the source again once they are over"
            );
            self.add(Severity::Note, "to come", text);
        }
        if !status.gaps.is_empty() {
            self.add(Severity::Problem, "gaps", gaps(&status.gaps));
        }
        self.add_past(status);
        for holder in status.holders() {
            self.add(Severity::Note, "running now", holder.clone());
        }
    }

    fn add_past(&mut self, status: &LedgerStatus) {
        if status.rejected_events > 0 {
            let events = counted(status.rejected_events, "event", "events");
            let text = format!("{events}: SELECT * FROM daybook.rejected_event");
            self.add(Severity::Fine, "rejected", text);
        }
        if let Some(text) = past(&status.past) {
            self.add(Severity::Fine, "days", text);
        }
        if let Some(problem) = &status.source_problem {
            let text = format!("not checked: {}", one_line(problem));
            self.add(Severity::Problem, "source", text);
        } else if let Some(text) = status.sealed.as_ref().and_then(sealed) {
            self.add(Severity::Fine, "sealed", text);
        }
    }

    /// Adds a run.
    pub(super) fn add_run(&mut self, run: &RunStatus, is_running: bool) {
        let started = run.started_at.format("%Y-%m-%d %H:%M:%S UTC");
        let end = match (&run.outcome, run.exit_code) {
            (Some(outcome), Some(code)) => {
                let kind = run.error_kind.as_ref().map(|kind| format!(" ({kind})"));
                format!(
                    "exit {code}{}, {}",
                    kind.unwrap_or_default(),
                    one_line(outcome)
                )
            }
            _ if is_running => "still running".to_owned(),
            _ if run.command == "rebuild" => {
                "did not finish: it was killed; `daybook rebuild --resume` resumes it".to_owned()
            }
            _ => "did not finish: it was killed; run it again".to_owned(),
        };
        let text = format!("{} at {started}: {end}", run.command);
        self.add(severity_of(run, is_running), "last run", text);
    }

    /// Adds a projection. While a run is at work, it may be behind.
    pub(super) fn add_projection(&mut self, status: &ProjectionStatus, is_running: bool) {
        let behind = if is_running {
            Severity::Note
        } else {
            Severity::Problem
        };
        let (severity, text) = match (
            &status.problem,
            &status.index,
            status.applied_through,
            status.behind,
        ) {
            (Some(problem), ..) => (Severity::Problem, one_line(problem).into_owned()),
            (None, Some(index), Some(through), Some(0)) => (
                Severity::Fine,
                format!("up to date with entry {through} ({index})"),
            ),
            (None, Some(index), Some(through), Some(entries)) => (
                behind,
                format!("at entry {through}, {entries} behind: run `daybook project` ({index})"),
            ),
            _ => {
                let has_entries = status.behind.is_some_and(|behind| behind > 0);
                let severity = if has_entries { behind } else { Severity::Note };
                (
                    severity,
                    "no index yet: `daybook project` creates it".to_owned(),
                )
            }
        };
        self.add(severity, &status.alias, text);
        if status.lists_omitted > 0 {
            self.add(Severity::Note, &status.alias, lists_omitted(status));
        }
    }
}

/// A run of the timer that failed for good, or that was killed, needs somebody.
fn severity_of(run: &RunStatus, is_running: bool) -> Severity {
    let is_regular = matches!(
        run.command.as_str(),
        "apply" | "collect-stats" | "project" | "rebuild" | "verify"
    );
    let is = |exit: Exit| run.exit_code == Some(i32::from(exit.code()));
    // What is retried shows in what is behind, if it persists.
    let is_retried = [Exit::ProjectionBehind, Exit::Locked, Exit::Unavailable]
        .into_iter()
        .any(is);
    if is(Exit::Done) {
        Severity::Fine
    } else if is_running || is_retried || is(Exit::Interrupted) || !is_regular {
        Severity::Note
    } else {
        Severity::Problem
    }
}

/// The days of the line `to come`.
fn to_come(ranges: &[(Day, Day)]) -> String {
    let days: usize = ranges
        .iter()
        .filter_map(|(first, last)| Period::new(*first, *last))
        .map(Period::day_count)
        .sum();
    let named = |(first, last): &(Day, Day)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first} to {last}")
        }
    };
    let ranges: Vec<String> = ranges.iter().map(named).collect();
    format!(
        "{}, {}, with entries",
        ranges.join(", "),
        counted(days, "day", "days")
    )
}

fn past(past: &Past) -> Option<String> {
    let kinds = [
        (past.days_corrected, "corrected"),
        (past.days_imported, "imported"),
        (past.days_taken_back, "reversed"),
    ];
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(days, _)| *days > 0)
        .map(|(days, what)| format!("{} {what}", Grouped(days)))
        .collect();
    (!kinds.is_empty()).then(|| kinds.join(", "))
}

fn sealed(sealed: &Sealed) -> Option<String> {
    let Sealed { days, first, last } = sealed;
    let (first, last) = (first.as_ref()?, last.as_ref()?);
    let days = counted(*days, "day", "days");
    Some(format!(
        "{days}, {first} to {last}: no longer in the source, kept as posted"
    ))
}

fn gaps(gaps: &[Day]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = gaps.iter().take(SHOWN).map(Day::to_string).collect();
    let more = if gaps.len() > SHOWN { ", …" } else { "" };
    let days = counted(gaps.len(), "day has", "days have");
    format!(
        "{days} no entry: {}{more}; run `daybook apply --day DAY`",
        names.join(", ")
    )
}

fn lists_omitted(status: &ProjectionStatus) -> String {
    let documents = counted(status.lists_omitted, "document is", "documents are");
    let more = if status.lists_omitted > status.lists_omitted_ids.len() as u64 {
        ", …"
    } else {
        ""
    };
    format!(
        "{documents} too large for Elasticsearch and without lists: {}{more}; raise http.max_content_length, then run `daybook rebuild --only stats`",
        status.lists_omitted_ids.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_run_that_nobody_retries_is_a_problem() {
        let severity = |command: &str, exit_code: Option<i32>, is_running| {
            let run = RunStatus {
                run_id: Uuid::nil(),
                command: command.to_owned(),
                started_at: DateTime::UNIX_EPOCH,
                finished_at: None,
                exit_code,
                outcome: None,
                error_kind: None,
            };
            severity_of(&run, is_running)
        };
        for (command, exit_code, expected) in [
            ("apply", Some(0), Severity::Fine),
            ("apply", Some(1), Severity::Problem),
            ("apply", Some(3), Severity::Note),
            ("collect-stats", Some(75), Severity::Note),
            ("project", Some(11), Severity::Note),
            ("apply", Some(130), Severity::Note),
            ("verify", Some(4), Severity::Problem),
            ("apply", None, Severity::Problem),
            // Whoever ran it by hand has seen it.
            ("reverse", Some(1), Severity::Note),
        ] {
            assert_eq!(
                severity(command, exit_code, false),
                expected,
                "{command} {exit_code:?}"
            );
        }
        assert_eq!(severity("apply", None, true), Severity::Note);
    }
}
