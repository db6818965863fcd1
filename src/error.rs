//! Errors: what failed, why, a hint for the operator, and the exit code.

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;

/// The program's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed; nothing is half-posted.
    Failed = 1,
    /// The command line or a setting is wrong.
    Usage = 2,
    /// The ledger is committed, but a projection is behind it.
    ProjectionBehind = 3,
    /// A verification or comparison found differences.
    Diverged = 4,
    /// Another run holds the lock.
    Locked = 11,
    /// Postgres or Elasticsearch is unavailable: try again.
    Unavailable = 75,
    /// Interrupted; nothing is half-posted.
    Interrupted = 130,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What kind of failure an error is. The exit code follows from it, and so does whatever the program does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Refused or failed: a person has to act.
    Failed,
    /// An index has the name that an alias of daybook should have.
    IndexInsteadOfAlias,
    /// The command line or a setting is wrong.
    Usage,
    /// The ledger is committed, a projection is behind it.
    ProjectionBehind,
    /// Another run holds the lock.
    Locked,
    /// Postgres or Elasticsearch is unavailable: retry later.
    Unavailable,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

impl ErrorKind {
    /// The exit code of a command that fails in this way.
    pub fn exit(self) -> Exit {
        match self {
            Self::Failed | Self::IndexInsteadOfAlias => Exit::Failed,
            Self::Usage => Exit::Usage,
            Self::ProjectionBehind => Exit::ProjectionBehind,
            Self::Locked => Exit::Locked,
            Self::Unavailable => Exit::Unavailable,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a command failed.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    what: String,
    hint: Option<String>,
    cause: Option<Cause>,
}

impl Error {
    /// `what` says what went wrong, and names what it went wrong with.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            what: what.into(),
            hint: None,
            cause: None,
        }))
    }

    /// A refusal or a failure of no more specific kind.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, what)
    }

    /// An error on the command line or in a setting.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds what the operator can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Replaces the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.0.kind.exit()
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What went wrong with all its causes, on one line.
    pub fn message(&self) -> String {
        let mut line = self.0.what.clone();
        let mut beneath = self.0.cause.as_deref().map(|cause| cause as &dyn StdError);
        while let Some(cause) = beneath {
            let text = cause.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            beneath = cause.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .cause
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}
