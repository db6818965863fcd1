//! `daybook import`: brings in a file.

use std::path::PathBuf;

use crate::config::Settings;
use crate::exchange;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What can be typed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What `daybook export` wrote, for an empty ledger; compressed or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Imports.
pub async fn run(options: Options, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    if exchange::is_export(&options.file)? {
        return exchange::import(&options.file, settings, output).await;
    }
    Err(Failure::failed(format!("{} is no export of daybook; nothing was imported", options.file.display()))
        .hint("give the file that `daybook export --output FILE` wrote"))
}
