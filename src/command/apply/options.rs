//! The options of `daybook apply`.

use std::path::PathBuf;

use crate::command::arguments::DateRangeArgs;
use crate::day::Day;

/// The command's arguments.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ApplyArgs {
    /// Apply only this day, YYYY-MM-DD
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to", "all"])]
    pub day: Option<Day>,

    /// The days to apply.
    #[command(flatten)]
    pub date_range: DateRangeArgs,

    /// Apply every closed day of the source
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub all: bool,

    /// Report what would be posted; post nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not advance the projections
    #[arg(long)]
    pub no_project: bool,

    /// Also apply a day that is not over; later events are posted as a correction
    #[arg(long)]
    pub day_open: bool,

    /// Accept that the source now has fewer or different events, and post the correction
    #[arg(long, requires = "day")]
    pub accept_decrease: bool,

    /// Replace what was imported for the day: post the difference from the source
    #[arg(long, requires = "day")]
    pub replace: bool,

    /// Post what `daybook fold` has counted, from these directories, instead of reading the source
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "day")]
    pub deltas: Vec<PathBuf>,

    /// Days for which late events are awaited: until a day has been compared with its source this long after its end, every catch-up compares it again
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub lookback: u32,

    /// Also post gaps of a year or more, and the few events before them
    #[arg(long)]
    pub include_gaps: bool,
}

const EXAMPLES: &str = "\
Without --day, --from, --to or --all, apply catches up. It applies every closed day after the last
applied one (yesterday, if the ledger is empty), retries failed days, and posts late events of days
that were last compared with their source within --lookback days of their end.

A gap of a year or more is reported and not posted, and neither are the few events before it: their
date may be wrong. Correct it in the source, or post everything with --include-gaps.

Examples:
  daybook apply
  daybook apply --day 2020-02-16
  daybook apply --from 2020-02-01 --to 2020-02-29 --no-project
  daybook apply --all --dry-run";
