//! The only module that reads the clock.
//!
//! All other code gets the time as an argument, so that tests can choose it; `clippy.toml` bans the calls elsewhere. Only
//! two decisions about the ledger depend on the time: whether a day is over, and whether it is compared with its source
//! again. The clock of the ledger's server confirms this machine's (`ledger/server_clock.rs`).

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the only module that may")]
pub fn now() -> DateTime<Utc> {
    Utc::now() + wrong_by()
}

/// How far a test shifts this machine's clock: `DAYBOOK_CLOCK_OFFSET`, in seconds.
#[cfg(debug_assertions)]
fn wrong_by() -> TimeDelta {
    let seconds = std::env::var("DAYBOOK_CLOCK_OFFSET")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    seconds.and_then(TimeDelta::try_seconds).unwrap_or_default()
}

/// Zero in a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
fn wrong_by() -> TimeDelta {
    TimeDelta::zero()
}

/// Measures elapsed time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the only module that may")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Runs the work and adds the time it takes to `sum`.
pub async fn timed<T>(sum: &mut Duration, work: impl Future<Output = T>) -> T {
    let stopwatch = Stopwatch::start();
    let done = work.await;
    *sum += stopwatch.elapsed();
    done
}
