//! The one place that asks for the time.
//!
//! Everything else is handed the time, so that a test can hand in another one; `clippy.toml` bans the calls elsewhere.
//! No decision about what is in the ledger depends on the time but one: whether a day is over.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
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
