//! Arguments that several commands share.

use clap::Args;
use uuid::Uuid;

use crate::day::{Bounds, Day, Period};
use crate::error::Error;
use crate::ledger::EntryId;

/// A date range, both ends included.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DateRangeArgs {
    /// First day, YYYY-MM-DD
    #[arg(long, value_name = "DAY")]
    pub from: Option<Day>,

    /// Last day, YYYY-MM-DD
    #[arg(long, value_name = "DAY")]
    pub to: Option<Day>,
}

impl DateRangeArgs {
    /// The days of the range. An end that is not given defaults to that of `whole`. None if neither end is given.
    pub fn within(self, whole: Option<Period>) -> Result<Option<Period>, Error> {
        if self.is_open() {
            return Ok(None);
        }
        let from = self.from.or_else(|| whole.map(Period::from).min(self.to));
        let to = self.to.or_else(|| whole.map(Period::to).max(self.from));
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(None);
        };
        let period = Period::new(from, to);
        period.map(Some).ok_or_else(|| {
            Error::usage(format!("--from {from} is after --to {to}")).hint("swap them")
        })
    }

    /// The range as given.
    pub fn bounds(self) -> Bounds {
        Bounds {
            from: self.from,
            to: self.to,
        }
    }

    /// Whether neither end is given.
    pub fn is_open(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Parses a recordset id.
pub fn recordset(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| format!("'{text}' is not a recordset id: give its UUID"))
}

/// Parses an entry id.
pub fn entry_id(text: &str) -> Result<EntryId, String> {
    text.parse()
}
