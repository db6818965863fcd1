//! What can be typed.

use clap::{Parser, Subcommand};

use crate::command::{
    apply, collect_stats, compare, export, import, log, migrate, project, rebuild, reverse, show,
    status, totals, verify,
};
use crate::config::SettingsArgs;

/// A ledger of applied days: interaction counts that reapplying a day cannot double.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, about, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingsArgs,

    /// Log more: -v what is done, -vv also how
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Print results as JSON lines, each with a message_type
    #[arg(long, global = true)]
    pub json: bool,

    /// What the old program takes before its command.
    #[command(flatten)]
    pub of_idb: collect_stats::OptionsOfIdb,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the ledger, or upgrade its schema
    Migrate(migrate::MigrateArgs),
    /// Apply days: post what their events add, then advance the projections
    Apply(apply::ApplyArgs),
    /// The command line of the old collector: collect the day before a date
    CollectStats(collect_stats::CollectStatsArgs),
    /// Advance the projections to the ledger's newest entry
    Project(project::ProjectArgs),
    /// Make new indices from the ledger alone and let the aliases stand for them
    Rebuild(rebuild::RebuildArgs),
    /// Write days or the whole ledger to a file
    Export(export::ExportArgs),
    /// Bring in what the old system left, or an export
    Import(import::ImportArgs),
    /// Compare what the old system left with the ledger
    Compare(compare::CompareArgs),
    /// Take an entry back: post its exact opposite
    Reverse(reverse::ReverseArgs),
    /// Recompute and compare ledger, source and projections; name what differs
    Verify(verify::VerifyArgs),
    /// Where ledger and projections stand
    Status(status::StatusArgs),
    /// The journal: the newest entries
    Log(log::LogArgs),
    /// One entry, with what it adds
    Show(show::ShowArgs),
    /// What a recordset's counts are, as the old aggregation object
    Totals(totals::TotalsArgs),
}

const AFTER_HELP: &str = "\
Examples:
  daybook migrate                      create the ledger
  daybook apply                        what the timer runs: catch up, pick up late events, advance
  daybook apply --day 2020-02-16       one day; repeating it changes nothing
  daybook status                       where everything stands

Exit codes:
  0  done, or nothing to do         11  another run holds the lock
  1  failed; nothing half-posted    75  Postgres or Elasticsearch not reachable: try again
  2  usage                         130  interrupted; nothing half-posted
  3  the ledger is committed, a projection is behind
  4  a verification found a divergence";
