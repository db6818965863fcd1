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

/// Defines the kinds with their names and exit codes: one table.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal => $exit:ident,)*) => {
        /// What kind of failure an error is. The exit code follows from it, and so does whatever the program does about
        /// it. Its name never changes: it stands in the JSON message and in the log, and docs/runbook.md has an entry
        /// for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorKind {
            $($(#[doc = $doc])* $kind,)*
        }

        impl ErrorKind {
            /// All kinds.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name for programs and for the runbook.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The exit code of a command that fails in this way.
            pub fn exit(self) -> Exit {
                match self {
                    $(Self::$kind => Exit::$exit,)*
                }
            }
        }
    };
}

kinds! {
    /// The command line cannot be used.
    InvalidArguments = "invalid-arguments" => Usage,
    /// A setting is missing or cannot be used.
    InvalidSetting = "invalid-setting" => Usage,

    /// No connection to Postgres, or it was lost or stayed silent.
    PostgresUnreachable = "postgres-unreachable" => Unavailable,
    /// Postgres lacks resources, or another session is in the way.
    PostgresBusy = "postgres-busy" => Unavailable,
    /// The server is a standby or read-only.
    PostgresReadOnly = "postgres-read-only" => Unavailable,
    /// The clocks of this machine and the ledger's server differ.
    ClocksDiffer = "clocks-differ" => Unavailable,
    /// No answer of Elasticsearch.
    ElasticsearchUnreachable = "elasticsearch-unreachable" => Unavailable,
    /// Elasticsearch answers, but cannot do the work now.
    ElasticsearchBusy = "elasticsearch-busy" => Unavailable,
    /// A disk of Elasticsearch is nearly full.
    ElasticsearchDiskFull = "elasticsearch-disk-full" => Unavailable,

    /// Another run holds the lock.
    Locked = "locked" => Locked,
    /// Ctrl-C or SIGTERM.
    Interrupted = "interrupted" => Interrupted,

    /// Postgres refuses the user or the connection.
    PostgresLoginRefused = "postgres-login-refused" => Failed,
    /// The server's certificate is not trusted, or the server cannot encrypt.
    PostgresUntrusted = "postgres-untrusted" => Failed,
    /// The database does not exist.
    PostgresDatabaseMissing = "postgres-database-missing" => Failed,
    /// The role lacks a privilege.
    PostgresPrivilegeMissing = "postgres-privilege-missing" => Failed,
    /// The disk of Postgres is full.
    PostgresDiskFull = "postgres-disk-full" => Failed,
    /// Postgres refuses a statement, for any other reason.
    PostgresRefused = "postgres-refused" => Failed,

    /// The database has no ledger.
    LedgerMissing = "ledger-missing" => Failed,
    /// The ledger and the program are of different versions.
    LedgerVersion = "ledger-version" => Failed,
    /// The ledger cannot be created in this database.
    LedgerUnusable = "ledger-unusable" => Failed,
    /// Creating or upgrading the schema failed.
    MigrationFailed = "migration-failed" => Failed,
    /// The ledger contradicts itself.
    LedgerDamaged = "ledger-damaged" => Failed,

    /// The source's tables or columns are missing or of another type.
    SourceUnusable = "source-unusable" => Failed,
    /// The source has fewer or other events than were posted.
    SourceDecreased = "source-decreased" => Failed,
    /// The source has events of a day that was imported.
    DayImported = "day-imported" => Failed,
    /// Some of several days failed.
    DaysFailed = "days-failed" => Failed,
    /// Another run posted an entry after this one had decided.
    PostedMeanwhile = "posted-meanwhile" => Failed,
    /// A sum exceeds 64 bits.
    FigureTooLarge = "figure-too-large" => Failed,
    /// There is no such entry.
    EntryMissing = "entry-missing" => Failed,
    /// The entry was reversed before.
    AlreadyReversed = "already-reversed" => Failed,

    /// A file or an index to read is damaged, incomplete or something else.
    InputUnusable = "input-unusable" => Failed,
    /// A file cannot be written.
    OutputUnwritable = "output-unwritable" => Failed,
    /// Days or a whole export were refused by an import.
    ImportRefused = "import-refused" => Failed,

    /// Elasticsearch or its proxy refuses the credentials.
    ElasticsearchLoginRefused = "elasticsearch-login-refused" => Failed,
    /// The user lacks a privilege.
    ElasticsearchPrivilegeMissing = "elasticsearch-privilege-missing" => Failed,
    /// No encrypted connection: a certificate is not accepted.
    ElasticsearchUntrusted = "elasticsearch-untrusted" => Failed,
    /// A version that is not supported.
    ElasticsearchVersion = "elasticsearch-version" => Failed,
    /// Elasticsearch refuses a request, for any other reason.
    ElasticsearchRefused = "elasticsearch-refused" => Failed,

    /// Somebody has blocked an index.
    IndexBlocked = "index-blocked" => Failed,
    /// An index has the name that an alias of daybook should have.
    IndexInsteadOfAlias = "index-instead-of-alias" => Failed,
    /// An alias points to more than one index.
    AliasAmbiguous = "alias-ambiguous" => Failed,
    /// The index behind the alias is not of this ledger.
    IndexForeign = "index-foreign" => Failed,
    /// The index contains entries that the ledger lacks.
    IndexAhead = "index-ahead" => Failed,
    /// The index was made with another mapping or for other terms.
    IndexOutdated = "index-outdated" => Failed,
    /// An index template changed the index.
    IndexAltered = "index-altered" => Failed,
    /// Somebody else has written to the index or moved its alias.
    IndexEdited = "index-edited" => Failed,
    /// There is no index to switch back to.
    NoPreviousIndex = "no-previous-index" => Failed,
    /// A new index differs from the ledger.
    RebuildDiffers = "rebuild-differs" => Failed,
    /// A document exceeds what Elasticsearch takes.
    DocumentTooLarge = "document-too-large" => Failed,
    /// Elasticsearch refuses a document.
    DocumentRefused = "document-refused" => Failed,

    /// A check of the program's own work failed.
    Internal = "internal" => Failed,
}

impl ErrorKind {
    /// Whether it can pass without a person: a later try may succeed.
    pub fn is_transient(self) -> bool {
        self.exit() == Exit::Unavailable
    }

    /// Whether a person has to act.
    pub fn needs_a_person(self) -> bool {
        self.exit() == Exit::Failed
    }
}

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a command failed.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    /// Whether everything was posted before it happened.
    after_posting: bool,
    what: String,
    hint: Option<String>,
    cause: Option<Cause>,
}

impl Error {
    /// `what` says what went wrong, and names what it went wrong with.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            after_posting: false,
            what: what.into(),
            hint: None,
            cause: None,
        }))
    }

    /// An error on the command line.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArguments, what)
    }

    /// An error in a setting.
    pub fn setting(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidSetting, what)
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

    /// Notes that everything was posted before: only a projection is behind.
    #[must_use]
    pub fn after_posting(mut self) -> Self {
        self.0.after_posting = true;
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The exit code: that of the kind, unless only a projection is behind.
    pub fn exit(&self) -> Exit {
        if self.0.after_posting {
            Exit::ProjectionBehind
        } else {
            self.0.kind.exit()
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const RUNBOOK: &str = include_str!("../docs/runbook.md");

    /// The text beneath a heading of the runbook, up to the next heading.
    fn entry(heading: &str) -> Option<&'static str> {
        let (_, rest) = RUNBOOK.split_once(&format!("\n### {heading}\n"))?;
        Some(rest.split("\n#").next().unwrap_or(rest))
    }

    fn assert_complete(heading: &str) {
        let entry = entry(heading).unwrap_or_else(|| panic!("no entry '{heading}'"));
        for part in ["- Means: ", "- State: ", "- Do: "] {
            assert!(entry.contains(part), "'{heading}' lacks '{part}'");
        }
    }

    #[test]
    fn the_runbook_has_an_entry_for_each_kind_and_each_exit_code() {
        let names: BTreeSet<&str> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len(), "names are unique");
        for name in names {
            assert_complete(name);
        }
        let codes: BTreeSet<u8> = ErrorKind::ALL
            .iter()
            .map(|kind| kind.exit().code())
            .chain([Exit::ProjectionBehind.code(), Exit::Diverged.code(), 101])
            .collect();
        for code in codes {
            assert_complete(&format!("Exit code {code}"));
        }
    }

    #[test]
    fn the_runbook_has_no_entry_for_an_unknown_kind() {
        let of_kinds = RUNBOOK
            .split_once("\n## Kinds of errors\n")
            .and_then(|(_, rest)| rest.split_once("\n## "))
            .expect("the section")
            .0;
        for heading in of_kinds
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
        {
            let is_known = ErrorKind::ALL.iter().any(|kind| kind.name() == heading);
            assert!(is_known, "{heading}");
        }
    }

    #[test]
    fn an_error_after_posting_keeps_its_kind() {
        let error = Error::new(ErrorKind::ElasticsearchUnreachable, "x").after_posting();
        assert_eq!(
            (error.kind().name(), error.exit()),
            ("elasticsearch-unreachable", Exit::ProjectionBehind)
        );
    }
}
