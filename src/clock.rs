//! The one place that asks for the time.
//!
//! Everything else is handed the time, so that a test can hand in another one; `clippy.toml` bans the calls elsewhere.
//! No decision about what is in the ledger depends on the time but two: whether a day is over, and whether it is looked at
//! again. The clock of the ledger's server is a witness (`ledger/server_clock.rs`).

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now() + wrong_by()
}

/// By how much a test has set this machine's clock wrong: `DAYBOOK_CLOCK_OFFSET`, in seconds.
#[cfg(debug_assertions)]
fn wrong_by() -> TimeDelta {
    let seconds = std::env::var("DAYBOOK_CLOCK_OFFSET")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    seconds.and_then(TimeDelta::try_seconds).unwrap_or_default()
}

/// By nothing, in a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
fn wrong_by() -> TimeDelta {
    TimeDelta::zero()
}

/// Measures how long a stage takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Adds what the work takes to a duration.
pub async fn timed<T>(sum: &mut Duration, work: impl Future<Output = T>) -> T {
    let stopwatch = Stopwatch::start();
    let done = work.await;
    *sum += stopwatch.elapsed();
    done
}
