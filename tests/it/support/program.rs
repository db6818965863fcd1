//! Runs the program as an operator would.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

/// So little memory for counting that a day of some megabytes exceeds it.
pub const LITTLE_MEMORY: (&str, &str) = ("DAYBOOK_COUNTING_BYTES", "2000000");

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The messages of a run with `--json`.
    pub fn messages(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// The messages of one type.
    pub fn messages_of(&self, message_type: &str) -> Vec<Value> {
        self.messages()
            .into_iter()
            .filter(|message| message["message_type"] == message_type)
            .collect()
    }

    /// Panics with the program's output unless it ended with this code.
    #[track_caller]
    pub fn assert_exit(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Panics unless stdout contains each of the texts.
    #[track_caller]
    pub fn tells(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stdout.contains(text),
                "'{text}' is missing in: {}",
                self.stdout
            );
        }
        self
    }

    /// Panics unless stderr contains each of the texts.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "'{text}' is missing in: {}",
                self.stderr
            );
        }
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// The program with only these settings: it gets no other environment variables.
pub fn command(settings: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook"));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .args(arguments);
    command
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}
