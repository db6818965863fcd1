//! The commands, a file each: `Options` is what can be typed after the command's name, `run` does it.

pub mod apply;
pub mod collect_stats;
pub mod log;
pub mod migrate;
pub mod project;
pub mod show;
pub mod status;
pub mod totals;

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};
use crate::config::Settings;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// Runs the command until it is done or interrupted.
pub fn run(cli: Cli, output: Output) -> Result<Exit, Failure> {
    let settings = Settings::new(&cli.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("starting the program's threads failed").caused_by(error))?;
    let exit = runtime.block_on(until_interrupted(dispatch(cli.command, &settings, output)));
    // Encoders that are still at work have nobody to work for.
    runtime.shutdown_background();
    exit
}

async fn dispatch(command: Command, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    match command {
        Command::Migrate(options) => migrate::run(options, settings, output).await,
        Command::Apply(options) => apply::run(options, settings, output).await,
        Command::CollectStats(options) => collect_stats::run(options, settings, output).await,
        Command::Project(options) => project::run(options, settings, output).await,
        Command::Status(options) => status::run(options, settings, output).await,
        Command::Log(options) => log::run(options, settings, output).await,
        Command::Show(options) => show::run(options, settings, output).await,
        Command::Totals(options) => totals::run(options, settings, output).await,
    }
}

/// Drops the work at Ctrl-C or SIGTERM. A posting that is not committed is rolled back by the server.
async fn until_interrupted(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::failed("listening for signals failed").caused_by(error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        outcome = work => outcome,
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; nothing is half-posted").hint("run the command again to go on")
}
