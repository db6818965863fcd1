//! Where the events of a day come from: the source's tables, or delta sets for which something else has counted them.

use std::sync::Arc;

use crate::day::Day;
use crate::error::Error;
use crate::fold::DeltaSets;
use crate::source::{DaySnapshot, Fingerprint};

/// The events of a day.
#[derive(Debug)]
pub enum Events<'a> {
    /// In the source's tables.
    Source(DaySnapshot<'a>),
    /// Already counted.
    Counted(Arc<DeltaSets>),
}

/// The same without the events, for decisions and messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Source,
    Deltas,
}

impl Events<'_> {
    pub fn day(&self) -> Day {
        match self {
            Self::Source(snapshot) => snapshot.day(),
            Self::Counted(sets) => sets.day(),
        }
    }

    pub fn origin(&self) -> Origin {
        match self {
            Self::Source(_) => Origin::Source,
            Self::Counted(_) => Origin::Deltas,
        }
    }

    pub(super) async fn fingerprint(&mut self) -> Result<Fingerprint, Error> {
        match self {
            Self::Source(snapshot) => snapshot.fingerprint().await,
            Self::Counted(sets) => sets.fingerprint(),
        }
    }

    /// By what they were counted, if not by this program as it read them.
    pub(super) fn counted_by(&self) -> Option<String> {
        match self {
            Self::Source(_) => None,
            Self::Counted(sets) => Some(sets.counted_by()),
        }
    }
}

impl Origin {
    /// As the subject of a sentence.
    pub(super) fn subject(self) -> &'static str {
        match self {
            Self::Source => "the source",
            Self::Deltas => "the deltas",
        }
    }

    /// As the verb for having events.
    pub(super) fn has(self) -> &'static str {
        match self {
            Self::Source => "has",
            Self::Deltas => "count",
        }
    }

    /// The same in the past.
    pub(super) fn had(self) -> &'static str {
        match self {
            Self::Source => "had",
            Self::Deltas => "there were",
        }
    }

    /// As the subject of a sentence with the verb to be.
    pub(super) fn is(self) -> &'static str {
        match self {
            Self::Source => "the source is",
            Self::Deltas => "the deltas are",
        }
    }

    /// The options of `apply` that name them.
    pub(super) fn options(self, day: Day) -> String {
        match self {
            Self::Source => format!("--day {day}"),
            Self::Deltas => format!("--day {day} --deltas DIR"),
        }
    }
}
