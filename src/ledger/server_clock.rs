//! Compares this machine's clock with that of the ledger's server.
//!
//! This machine's clock decides which days are over, and an entry that is posted too early cannot be removed. So a run
//! that posts asks the server for the time, and posts nothing if the two clocks disagree. daybook cannot know which of
//! them is wrong.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, Context as _, Database};

/// The times of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// This machine's.
    pub here: DateTime<Utc>,
    /// The server's.
    pub server: DateTime<Utc>,
    /// By how much they differ at least, however long the answer took to arrive.
    pub apart: TimeDelta,
}

impl Clocks {
    /// Reads both clocks.
    pub async fn read(connection: &mut Connection) -> Result<Self, Error> {
        let before = clock::now();
        let server = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(connection)
            .await
            .context("asking the ledger's server what time it is")?;
        Ok(Self::new(before, server, clock::now()))
    }

    /// The server's clock was read between `before` and `after`.
    fn new(before: DateTime<Utc>, server: DateTime<Utc>, after: DateTime<Utc>) -> Self {
        let (here, apart) = if server < before {
            (before, before - server)
        } else if server > after {
            (after, server - after)
        } else {
            (server, TimeDelta::zero())
        };
        Self {
            here,
            server,
            apart,
        }
    }

    /// Whether they differ by at most `within`.
    pub fn agree(&self, within: Duration) -> bool {
        TimeDelta::from_std(within).is_ok_and(|within| self.apart <= within)
    }

    /// Fails unless they agree. The error can be retried: a machine that has just started may not have set its clock
    /// yet.
    pub fn check(&self, within: Duration, database: &Database) -> Result<(), Error> {
        if self.agree(within) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ClocksDiffer, format!("{} ({}): nothing was posted", self.text(), database.place())).hint(
            "correct the clock that is wrong (`timedatectl` shows whether this machine's is synchronized), then run the command again; --max-clock-skew sets how much they may differ",
        ))
    }

    /// Both times and their difference, as text.
    pub fn text(&self) -> String {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!(
            "this machine's clock says {} and that of the ledger's server {}: they are {} apart",
            time(self.here),
            time(self.server),
            duration_text(self.apart)
        )
    }
}

fn duration_text(duration: TimeDelta) -> String {
    match (
        duration.num_days(),
        duration.num_hours(),
        duration.num_minutes(),
    ) {
        (0, 0, 0) => format!("{} s", duration.num_seconds()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_600_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn what_the_answer_was_under_way_for_is_no_difference() {
        let apart = |before, server, after| {
            Clocks::new(at(before), at(server), at(after))
                .apart
                .num_seconds()
        };
        assert_eq!(
            [
                apart(0, 0, 0),
                apart(0, 7, 10),
                apart(0, 12, 10),
                apart(0, -3, 10)
            ],
            [0, 0, 2, 3]
        );
    }

    #[test]
    fn clocks_agree_up_to_the_bound_in_either_direction() {
        for server in [300, -300] {
            let clocks = Clocks::new(at(0), at(server), at(0));
            assert!(
                clocks.agree(Duration::from_secs(300)) && !clocks.agree(Duration::from_secs(299))
            );
        }
    }

    #[test]
    fn the_difference_is_told_in_units_that_fit() {
        let text = |seconds| duration_text(TimeDelta::seconds(seconds));
        assert_eq!(
            [59, 61, 7_260, 90_000].map(text),
            ["59 s", "1 min", "2 h 1 min", "1 d 1 h"]
        );
    }
}
