//! Logs: to stderr, or to the journal under systemd.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::printable::one_line;

/// Starts to log: warnings, with -v also what is done, with -vv also how.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,daybook=info",
        _ => "info,daybook=debug",
    };
    let registry = tracing_subscriber::registry().with(EnvFilter::new(level));
    let journal = stderr_is_journal().then(|| tracing_journald::layer().ok()).flatten();
    if let Some(journal) = journal {
        registry.with(journal).init();
    } else {
        let stderr = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .fmt_fields(debug_fn(write_field).delimited(" "));
        registry.with(stderr).init();
    }
}

/// Writes a field of a log line, which may hold text from outside.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = one_line(&value);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{}={value}", name.strip_prefix("r#").unwrap_or(name)),
    }
}

/// Whether stderr goes to systemd's journal: `JOURNAL_STREAM` names the device and inode of the stream that does. The
/// variable alone is not enough, children inherit it whatever their stderr is.
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/dev/stderr") else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}
