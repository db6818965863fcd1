//! The commands, a file each: `Options` is what can be typed after the command's name, `run` does it.

pub mod apply;
pub mod arguments;
pub mod collect_stats;
pub mod compare;
pub mod export;
pub mod import;
pub mod log;
pub mod migrate;
mod progress;
pub mod project;
pub mod rebuild;
mod recorded;
pub mod reverse;
pub mod show;
pub mod status;
pub mod totals;
pub mod verify;

use crate::cli::{Cli, Command};
use crate::config::Settings;
use crate::error::{Error, Exit};
use crate::interrupt::unless_interrupted;
use crate::output::Output;

/// Runs the command until it is done or interrupted.
///
/// What writes listens for interruptions itself, to record them.
pub fn run(mut cli: Cli, output: Output) -> Result<Exit, Error> {
    match cli.command {
        Command::CollectStats(_) => cli.of_idb.ignore(&mut cli.settings),
        _ => cli.of_idb.refuse()?,
    }
    let settings = Settings::new(&cli.settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("starting the program's threads failed").caused_by(error))?;
    let exit = runtime.block_on(dispatch(cli.command, &settings, output));
    // Encoders that are still at work have nobody to work for.
    runtime.shutdown_background();
    exit
}

async fn dispatch(command: Command, settings: &Settings, output: Output) -> Result<Exit, Error> {
    match command {
        Command::Migrate(options) => {
            unless_interrupted(migrate::run(options, settings, output)).await
        }
        Command::Apply(options) => apply::run(options, settings, output).await,
        Command::CollectStats(options) => collect_stats::run(options, settings, output).await,
        Command::Project(options) => project::run(options, settings, output).await,
        Command::Rebuild(options) => rebuild::run(options, settings, output).await,
        Command::Export(options) => export::run(options, settings, output).await,
        Command::Compare(options) => compare::run(options, settings, output).await,
        Command::Import(options) => Box::pin(import::run(options, settings, output)).await,
        Command::Reverse(options) => reverse::run(options, settings, output).await,
        Command::Verify(options) => verify::run(options, settings, output).await,
        Command::Status(options) => {
            unless_interrupted(status::run(options, settings, output)).await
        }
        Command::Log(options) => unless_interrupted(log::run(options, settings, output)).await,
        Command::Show(options) => unless_interrupted(show::run(options, settings, output)).await,
        Command::Totals(options) => {
            unless_interrupted(totals::run(options, settings, output)).await
        }
    }
}
