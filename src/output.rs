//! Results on stdout, as text or as JSON lines.
//!
//! Each JSON line is an object with a `message_type`. Fields may be added, but are never removed. All output passes
//! [`printable`], so that it cannot control a terminal. Text from outside also passes [`one_line`], so that it cannot fake
//! a line of output.

use std::fmt;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::logging::logs_to_journal;
use crate::printable::{one_line, printable};

/// The form of the results.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

#[derive(Serialize)]
struct Message<'a, T> {
    message_type: &'a str,
    #[serde(flatten)]
    fields: T,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// Reports a result: `text` for people, `fields` in JSON. An empty text is not printed.
    pub fn report(self, message_type: &str, fields: impl Serialize, text: impl fmt::Display) {
        if self.json {
            let message = Message {
                message_type,
                fields,
            };
            match serde_json::to_string(&message) {
                Ok(line) => print_line(&line),
                Err(error) => {
                    tracing::error!(message_type, %error, "a message cannot be written as JSON");
                }
            }
        } else {
            let text = text.to_string();
            if !text.is_empty() {
                print_line(&text);
            }
        }
    }

    /// Prints a line for people only, such as how many results were not shown.
    pub fn remark(self, text: impl fmt::Display) {
        if !self.json {
            print_line(&text.to_string());
        }
    }

    /// Reports an error: on stderr or in the journal, and as a message in JSON. Its kind leads to the runbook.
    pub fn report_error(self, failure: &Error) {
        #[derive(Serialize)]
        struct Fields<'a> {
            exit_code: u8,
            kind: &'a str,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let (message, hint) = (failure.message(), failure.hint_text());
        let (kind, exit_code) = (failure.kind().name(), failure.exit().code());
        if self.json {
            let fields = Fields {
                exit_code,
                kind,
                message: &message,
                hint,
            };
            self.report("error", fields, "");
        }
        if logs_to_journal() {
            // With fields, so that journalctl can filter by them; the hint on a line of its own, so that it shows them.
            tracing::error!(kind, exit_code, "{message}");
            let hint = hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
            tracing::warn!(kind, "{hint}see docs/runbook.md#{kind}");
            return;
        }
        let mut stderr = io::stderr().lock();
        // If stderr is closed, nothing more can be done.
        let _ = writeln!(stderr, "daybook: {}", one_line(&message));
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "  {}", one_line(hint));
        }
        if failure.kind() != ErrorKind::Interrupted {
            let _ = writeln!(stderr, "  see docs/runbook.md#{kind}");
        }
    }
}

/// Prints a line. A closed pipe (`| head`) is not an error.
fn print_line(line: &str) {
    let line = printable(line);
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::error!(%error, "cannot write to stdout");
    }
}
