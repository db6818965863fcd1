//! Logs: to stderr, or to the journal under systemd.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts to log: warnings, with -v also what is done, with -vv also how.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,daybook=info",
        _ => "info,daybook=debug",
    };
    let registry = tracing_subscriber::registry().with(EnvFilter::new(level));
    // systemd sets JOURNAL_STREAM for a service whose stderr goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    if let Some(journal) = journal {
        registry.with(journal).init();
    } else {
        let stderr = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        registry.with(stderr).init();
    }
}
