//! What a command tells: results on stdout, for people or as JSON lines.
//!
//! In JSON every line is an object with a `message_type`; fields are only ever added. Whatever is told passes
//! [`printable`], so that nothing in it can steer a terminal. Text from outside that is put into a line also passes
//! [`one_line`], so that it cannot pretend to be a line of ours.

use std::fmt;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::Error;
use crate::logging::stderr_is_journal;
use crate::printable::{one_line, printable};

/// Where results go, and in which form.
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
    /// Text for people, or JSON lines.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are JSON lines.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Tells a result: as text for people, as fields for machines.
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

    /// Tells people how many things were not told; machines are told all of them.
    pub fn remark(self, text: impl fmt::Display) {
        if !self.json {
            print_line(&text.to_string());
        }
    }

    /// Tells a failure: on stderr for people, as a message for machines.
    pub fn report_error(self, failure: &Error) {
        #[derive(Serialize)]
        struct Fields<'a> {
            exit_code: u8,
            message: &'a str,
            hint: Option<&'a str>,
        }
        let (message, hint) = (failure.message(), failure.hint_text());
        if self.json {
            let fields = Fields {
                exit_code: failure.exit().code(),
                message: &message,
                hint,
            };
            self.report("error", fields, "");
        }
        // The journal takes a line's priority from its start: error, and notice for the way out.
        let (error, notice) = if stderr_is_journal() {
            ("<3>", "<5>")
        } else {
            ("", "")
        };
        let message = one_line(&message);
        let mut stderr = io::stderr().lock();
        // If nobody reads stderr there is nobody left to tell.
        let _ = writeln!(stderr, "{error}daybook: {message}");
        if let Some(hint) = hint {
            let _ = writeln!(stderr, "{notice}  {}", one_line(hint));
        }
    }
}

/// Prints a line. A reader that has gone away (`| head`) is not an error.
fn print_line(line: &str) {
    let line = printable(line);
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::error!(%error, "cannot write to stdout");
    }
}
