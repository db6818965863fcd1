//! Ctrl-C and SIGTERM.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, ErrorKind};

/// Does the work, but drops it and fails when the program is interrupted. The server then rolls back an uncommitted
/// posting.
pub async fn unless_interrupted<T>(
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Error::new(ErrorKind::Internal, "listening for signals failed").caused_by(error)
        })
    };
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    }
}

fn interrupted() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "interrupted; nothing is half-posted",
    )
    .hint("run the command again to continue")
}
