//! A check and its result.

use std::fmt;

use serde::Serialize;

use crate::error::Error;

/// What is checked. The order is that of setting daybook up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Settings,
    Ledger,
    Source,
    Elasticsearch,
    Documents,
    Machine,
}

impl Area {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Ledger => "ledger",
            Self::Source => "source",
            Self::Elasticsearch => "elasticsearch",
            Self::Documents => "documents",
            Self::Machine => "machine",
        }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, but not as it should, or not for long.
    Warning,
    /// A run would fail.
    Failed,
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub area: Area,
    /// What was checked.
    pub check: &'static str,
    pub level: Level,
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// The kind of the error that a run would end with.
    pub kind: Option<&'static str>,
}

impl Check {
    fn new(area: Area, check: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self {
            area,
            check,
            level,
            message: message.into(),
            hint: None,
            kind: None,
        }
    }

    fn of_error(area: Area, check: &'static str, level: Level, error: &Error) -> Self {
        Self {
            hint: error.hint_text().map(str::to_owned),
            kind: Some(error.kind().name()),
            ..Self::new(area, check, level, error.message())
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::printable::one_line;
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failed => "failed",
        };
        let (area, check) = (self.area.name(), self.check);
        let message = one_line(&self.message);
        write!(f, "{level:<8} {area:<13}  {check:<11}  {message}")?;
        match &self.hint {
            Some(hint) => write!(f, "\n{:>9}{}", "", one_line(hint)),
            None => Ok(()),
        }
    }
}

/// The checks of one area, in their order. What was found before a time limit stays.
#[derive(Debug)]
pub struct Checks {
    area: Area,
    found: Vec<Check>,
}

impl Checks {
    pub fn new(area: Area) -> Self {
        Self {
            area,
            found: Vec::new(),
        }
    }

    pub fn into_found(self) -> Vec<Check> {
        self.found
    }

    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.found
            .push(Check::new(self.area, check, Level::Ok, message));
    }

    pub fn warning(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Check {
            hint: Some(hint.into()),
            ..Check::new(self.area, check, Level::Warning, message)
        });
    }

    /// A check that fails as a run would.
    pub fn failed(&mut self, check: &'static str, error: &Error) {
        self.found
            .push(Check::of_error(self.area, check, Level::Failed, error));
    }

    /// A check that could not be made, although a run may succeed.
    pub fn unknown(&mut self, check: &'static str, error: &Error) {
        self.found
            .push(Check::of_error(self.area, check, Level::Warning, error));
    }

    /// The value, or nothing and a failed check.
    pub fn take<T>(&mut self, check: &'static str, outcome: Result<T, Error>) -> Option<T> {
        outcome.map_err(|error| self.failed(check, &error)).ok()
    }
}
