//! The clock of the ledger's server: a witness against this machine's.
//!
//! Which days are over is decided by this machine's clock, and a day that is posted before its time stands for good. So a run
//! that posts asks the server what time it is, and posts nothing if the two disagree. Which of them is wrong cannot be told
//! from here.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, Context as _, Database};

/// What the two clocks say.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// This machine's.
    pub here: DateTime<Utc>,
    /// The ledger's server's.
    pub server: DateTime<Utc>,
    /// What they differ by at least, however long the answer was under way.
    pub apart: TimeDelta,
}

impl Clocks {
    /// Looks at both.
    pub async fn read(connection: &mut Connection) -> Result<Self, Error> {
        let before = clock::now();
        let server = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(connection)
            .await
            .context("asking the ledger's server what time it is")?;
        Ok(Self::new(before, server, clock::now()))
    }

    /// Where the server looked at its clock between two looks at this machine's.
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

    /// Whether they differ by no more than that.
    pub fn agree(&self, within: Duration) -> bool {
        TimeDelta::from_std(within).is_ok_and(|within| self.apart <= within)
    }

    /// Fails unless they agree. That is worth trying again: a machine that has just started may not have set its clock yet.
    pub fn check(&self, within: Duration, database: &Database) -> Result<(), Error> {
        if self.agree(within) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("{} ({}): nothing was posted", self.text(), database.place())).hint(
            "set the clock that is wrong (`timedatectl` says whether this machine's is synchronized), then run the command again; --max-clock-skew says how much they may disagree",
        ))
    }

    /// What they say, in words.
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
