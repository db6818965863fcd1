//! Progress of long tasks, for people.

use std::io::IsTerminal as _;
use std::time::Duration;

use console::Term;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use crate::clock::Stopwatch;
use crate::projection::progress::Progress;
use crate::text::{Grouped, counted};

/// Shows a progress bar on a terminal; elsewhere logs a line from time to time.
pub(super) struct ProgressReporter {
    /// The unit of progress, in the singular and the plural.
    done: [&'static str; 2],
    /// The bars that are shown at the same time.
    bars: MultiProgress,
    bar: ProgressBar,
    stage: String,
    days: Option<u64>,
    started: Stopwatch,
    next_line: Duration,
}

const BETWEEN_LINES: Duration = Duration::from_secs(30);
const BETWEEN_TICKS: Duration = Duration::from_millis(200);

/// Columns that a bar needs beside its message.
const WIDE: u16 = 80;

impl ProgressReporter {
    /// `one` and `many` name the unit of progress.
    pub(super) fn of(one: &'static str, many: &'static str) -> Self {
        Self::among(MultiProgress::new(), [one, many])
    }

    fn among(bars: MultiProgress, done: [&'static str; 2]) -> Self {
        Self {
            done,
            bars,
            bar: ProgressBar::hidden(),
            stage: String::new(),
            days: None,
            started: Stopwatch::start(),
            next_line: BETWEEN_LINES,
        }
    }

    /// Hides the bars while `print` runs.
    pub(super) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }
}

impl Progress for ProgressReporter {
    fn begin(&mut self, stage: &str, days: Option<u64>) {
        stage.clone_into(&mut self.stage);
        self.days = days;
        self.started = Stopwatch::start();
        self.next_line = BETWEEN_LINES;
        tracing::info!(stage, "started");
        if !std::io::stderr().is_terminal() {
            return;
        }
        let is_narrow = Term::stderr().size().1 < WIDE;
        // The bar, or the message, takes the rest of the line: a line that wraps leaves its pieces on the screen.
        let template = match days {
            Some(_) if is_narrow => "{prefix} {pos}/{len} days{wide_msg}",
            Some(_) => "{prefix} {wide_bar} {pos}/{len} days{msg}",
            None => "{prefix} {spinner} {elapsed}{wide_msg}",
        };
        let bar = days.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        self.bar = self.bars.add(bar.with_prefix(stage.to_owned()));
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        // The time goes on while a server is silent.
        self.bar.enable_steady_tick(BETWEEN_TICKS);
    }

    fn at(&mut self, done: u64, days: u64) {
        let elapsed = self.started.elapsed();
        let rate = rate(done, elapsed);
        if !self.bar.is_hidden() {
            self.bar
                .set_position(if self.days.is_some() { days } else { done });
            let [one, many] = self.done;
            let done = counted(done, one, many);
            let left = self.days.and_then(|all| seconds_left(elapsed, days, all));
            let left = left.map(|seconds| HumanDuration(Duration::from_secs(seconds)));
            let left = left
                .map(|left| format!(", {left:#} left"))
                .unwrap_or_default();
            self.bar
                .set_message(format!(", {done} at {}/s{left}", Grouped(rate)));
        } else if elapsed >= self.next_line {
            self.next_line = elapsed + BETWEEN_LINES;
            let days_left = self.days.map(|all| all.saturating_sub(days));
            let seconds_left = self.days.and_then(|all| seconds_left(elapsed, days, all));
            let what = self.done[1];
            tracing::warn!(
                stage = self.stage,
                what,
                done,
                per_second = rate,
                days_left,
                seconds_left,
                "still running"
            );
        }
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
        tracing::info!(
            stage = self.stage,
            seconds = self.started.elapsed().as_secs_f64(),
            "done"
        );
    }

    fn another(&self) -> Self {
        Self::among(self.bars.clone(), self.done)
    }
}

fn rate(done: u64, elapsed: Duration) -> u64 {
    u64::try_from(u128::from(done) * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// The estimated remaining time.
fn seconds_left(elapsed: Duration, days: u64, all: u64) -> Option<u64> {
    let left = u128::from(all.saturating_sub(days));
    let milliseconds = elapsed
        .as_millis()
        .checked_mul(left)?
        .checked_div(u128::from(days))?;
    u64::try_from(milliseconds / 1000).ok()
}
