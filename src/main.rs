//! The program: parses the command line, runs the command, ends with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use daybook::cli::Cli;
use daybook::command;
use daybook::error::Exit;
use daybook::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; whether anybody reads them is not ours.
            let _ = match error.kind() {
                ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    write!(std::io::stderr(), "{}", Cli::command().render_help())
                }
                _ => error.print(),
            };
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(Exit::Usage.code()),
            };
        }
    };
    let output = Output::new(cli.json);
    daybook::logging::start(cli.verbose);
    let exit = command::run(cli, output).unwrap_or_else(|failure| {
        output.report_error(&failure);
        failure.exit()
    });
    ExitCode::from(exit.code())
}
