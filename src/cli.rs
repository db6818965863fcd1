//! The command line: parses it and runs the command.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind as ParseErrorKind;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing::Instrument as _;

use crate::command::{
    apply, collect_stats, compare, config, doctor, export, fold, import, log, migrate, project,
    rebuild, report, reverse, show, status, totals, verify,
};
use crate::config::{Configuration, Settings, SettingsArgs};
use crate::error::{Error, ErrorKind, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::lock::run_span;
use crate::logging::logs_to_journal;
use crate::monitoring::{Ping, write_metrics};
use crate::output::Output;

/// A ledger of applied days: interaction counts that reapplying a day cannot double.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, about, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Log more: -v for progress, -vv for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Print results as JSON lines, each with a message_type
    #[arg(long, global = true)]
    pub json: bool,

    /// Options that idb accepts before its command.
    #[command(flatten)]
    pub of_idb: collect_stats::OptionsOfIdb,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Command {
    /// Create the ledger, or upgrade its schema
    Migrate(migrate::MigrateArgs),
    /// Apply days: post their deltas, then advance the projections
    Apply(apply::ApplyArgs),
    /// Count a day's events in files, without any server
    Fold(fold::FoldArgs),
    /// Drop-in replacement for `idb collect-stats`: apply the day before a date
    CollectStats(collect_stats::CollectStatsArgs),
    /// Advance the projections to the ledger's newest entry
    Project(project::ProjectArgs),
    /// Rebuild the indices from the ledger and switch the aliases
    Rebuild(rebuild::RebuildArgs),
    /// Export the ledger, or some of its days, to a file
    Export(export::ExportArgs),
    /// Import documents of the old system, or an export
    Import(import::ImportArgs),
    /// Compare documents of the old system with the ledger
    Compare(compare::CompareArgs),
    /// Reverse an entry: post its negation, once
    Reverse(reverse::ReverseArgs),
    /// Verify ledger, source and projections; report every difference
    Verify(verify::VerifyArgs),
    /// Check everything that a run needs, and name what to do next; change nothing
    Doctor(doctor::DoctorArgs),
    /// Show the state of the ledger and the projections
    Status(status::StatusArgs),
    /// List the newest entries of the journal
    Log(log::LogArgs),
    /// Show one entry and its sums
    Show(show::ShowArgs),
    /// Write pages that show the ledger or its recordsets
    Report(report::ReportArgs),
    /// Print a recordset's totals in the old aggregation format
    Totals(totals::TotalsArgs),
    /// Print the settings, and where each came from
    Config(config::ConfigArgs),
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let (cli, matches) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => return ExitCode::from(refuse(&error).code()),
    };
    let output = Output::new(cli.json);
    crate::logging::start(cli.verbose);
    let exit = run(cli, &matches, output).unwrap_or_else(|failure| {
        output.report_error(&failure);
        failure.exit()
    });
    ExitCode::from(exit.code())
}

/// What clap says instead of a command line. People get its own words on stderr; programs and the journal get an error
/// like any other.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Help and version are not errors. If stdout is closed, nothing more can be done.
        let _ = error.print();
        return Exit::Done;
    }
    crate::logging::start(0);
    let output = Output::new(wants_json(std::env::args_os()));
    if output.is_json() || logs_to_journal() {
        output.report_error(&as_error(error));
        return Exit::Usage;
    }
    let _ = if says_nothing(error) {
        write!(std::io::stderr(), "{}", Cli::command().render_help())
    } else {
        error.print()
    };
    Exit::Usage
}

/// Whether there is no command, so that clap has the help in place of a message.
fn says_nothing(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ParseErrorKind::MissingSubcommand
            | ParseErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// The option counts wherever it stands, as the command line was not understood.
fn wants_json(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.any(|argument| argument == "--json")
}

/// The first paragraph says what is wrong; tips and usage follow.
fn as_error(error: &clap::Error) -> Error {
    if says_nothing(error) {
        return Error::usage("there is no command").hint("daybook --help lists the commands");
    }
    let text = error.render().to_string();
    let (what, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let hints: Vec<String> = rest
        .split("\n\n")
        .filter(|paragraph| !paragraph.starts_with("For more information"))
        .map(on_one_line)
        .collect();
    Error::usage(on_one_line(what)).hint(hints.join("; "))
}

fn on_one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parse() -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// Runs the command until it is done or interrupted.
///
/// Commands that write handle interruptions themselves, to record them.
fn run(mut cli: Cli, matches: &ArgMatches, output: Output) -> Result<Exit, Error> {
    match cli.command {
        Command::CollectStats(_) => cli.of_idb.ignore(&mut cli.settings),
        _ => cli.of_idb.refuse()?,
    }
    let file = cli.settings.config.as_deref();
    let configuration = Configuration::read(Cli::command(), matches, file);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Internal, "starting the program's threads failed")
                .caused_by(error)
        })?;
    let span = run_span((&cli.command).into());
    let running = watched(cli.command, configuration, output).instrument(span);
    let exit = runtime.block_on(running);
    // Do not wait for encoders that are still running.
    runtime.shutdown_background();
    exit
}

impl Command {
    fn monitored(&self) -> Monitored {
        match self {
            Self::Apply(options) if options.dry_run => Monitored::No,
            Self::Apply(_) | Self::CollectStats(_) => Monitored::PingAndMetrics,
            Self::Project(_) | Self::Rebuild(_) | Self::Import(_) | Self::Reverse(_) => {
                Monitored::Metrics
            }
            Self::Migrate(_)
            | Self::Fold(_)
            | Self::Export(_)
            | Self::Compare(_)
            | Self::Verify(_)
            | Self::Doctor(_)
            | Self::Status(_)
            | Self::Log(_)
            | Self::Show(_)
            | Self::Report(_)
            | Self::Totals(_)
            | Self::Config(_) => Monitored::No,
        }
    }
}

/// What monitoring is told of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Monitored {
    /// A service waits for it, because the timer starts it; the metrics may be others afterwards.
    PingAndMetrics,
    /// The metrics may be others afterwards.
    Metrics,
    No,
}

/// Runs the command, and tells monitoring about it.
async fn watched(
    command: Command,
    configuration: Result<Configuration, Error>,
    output: Output,
) -> Result<Exit, Error> {
    let monitored = command.monitored();
    let args = configuration.as_ref().ok().map(|read| &read.args);
    let ping_url = args.and_then(|args| args.ping_url.as_ref());
    let ping_url = ping_url.filter(|_| monitored == Monitored::PingAndMetrics);
    let ping = ping_url.map(Ping::new).transpose()?;
    let metrics = args
        .filter(|_| monitored != Monitored::No)
        .and_then(|args| {
            args.metrics_file
                .clone()
                .zip(Settings::new(args.clone()).ok())
        });
    if let Some(ping) = &ping {
        ping.started().await;
    }
    let ended = Box::pin(dispatch(command, configuration, output)).await;
    if let Some((file, settings)) = metrics {
        write_metrics(&settings, &file).await;
    }
    if let Some(ping) = &ping {
        match &ended {
            Ok(Exit::Done) => ping.succeeded().await,
            Ok(exit) => ping.failed(format!("exit code {}", exit.code())).await,
            Err(error) => {
                let code = error.exit().code();
                ping.failed(format!("exit code {code}: {}", error.message()))
                    .await;
            }
        }
    }
    ended
}

async fn dispatch(
    command: Command,
    configuration: Result<Configuration, Error>,
    output: Output,
) -> Result<Exit, Error> {
    let configuration = match (configuration, &command) {
        // What is wrong with the settings is for it to tell.
        (Err(error), Command::Doctor(options)) => {
            return doctor::run(options.clone(), Err(error), None, output).await;
        }
        (configuration, _) => configuration?,
    };
    // `fold` and `config` run where nothing is configured.
    let settings = || Settings::new(configuration.args.clone());
    match command {
        Command::Config(options) => Ok(config::run(options, &configuration, output)),
        Command::Migrate(options) => {
            unless_interrupted(migrate::run(options, &settings()?, output)).await
        }
        Command::Apply(options) => apply::run(options, &settings()?, output).await,
        Command::CollectStats(options) => collect_stats::run(options, &settings()?, output).await,
        Command::Project(options) => Box::pin(project::run(options, &settings()?, output)).await,
        Command::Rebuild(options) => rebuild::run(options, &settings()?, output).await,
        Command::Export(options) => export::run(options, &settings()?, output).await,
        Command::Compare(options) => compare::run(options, &settings()?, output).await,
        Command::Import(options) => Box::pin(import::run(options, &settings()?, output)).await,
        Command::Reverse(options) => reverse::run(options, &settings()?, output).await,
        Command::Verify(options) => verify::run(options, &settings()?, output).await,
        Command::Doctor(options) => {
            let file = configuration.file.as_deref();
            let examining = doctor::run(options, settings(), file, output);
            Box::pin(unless_interrupted(examining)).await
        }
        Command::Status(options) => {
            unless_interrupted(status::run(options, &settings()?, output)).await
        }
        Command::Log(options) => unless_interrupted(log::run(options, &settings()?, output)).await,
        Command::Show(options) => {
            unless_interrupted(show::run(options, &settings()?, output)).await
        }
        Command::Report(options) => report::run(options, &settings()?, output).await,
        Command::Fold(options) => fold::run(options, configuration.args.memory, output).await,
        Command::Totals(options) => {
            unless_interrupted(totals::run(options, &settings()?, output)).await
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  daybook doctor                       check the set-up, and see what to do next
  daybook migrate                      create the ledger
  daybook apply                        catch up, as the timer does
  daybook apply --day 2020-02-16       one day; repeating it changes nothing
  daybook status                       see what is applied and what is behind

Exit codes:
  0  done, or nothing to do            11  another run holds the lock
  1  failed; no day is half posted     75  Postgres or Elasticsearch unavailable: retry
  2  wrong command line or setting    130  interrupted; no day is half posted
  3  posted, but a projection is behind
  4  verification found differences";
