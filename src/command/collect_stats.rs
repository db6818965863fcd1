//! `daybook collect-stats`: the command line of the collector that daybook replaces, for scripts that call it.

use super::apply;
use crate::clock;
use crate::config::Settings;
use crate::day::Day;
use crate::failure::{Exit, Failure};
use crate::ledger::Ledger;
use crate::output::Output;

/// What can be typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  daybook collect-stats                    collect yesterday
  daybook collect-stats -d 2020-02-17      collect 2020-02-16
  daybook collect-stats -d '*'             collect every closed day")]
pub struct Options {
    /// Collect the day before this date, YYYY-MM-DD; '*' for every day [default: today]
    #[arg(short, long, value_name = "DATE")]
    date: Option<Date>,

    /// Taken for compatibility: indices and mappings are created when they are needed
    #[arg(short, long)]
    mapping: bool,
}

#[derive(Clone, Copy, Debug)]
enum Date {
    Every,
    Of(Day),
}

impl std::str::FromStr for Date {
    type Err = crate::day::DayError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::Every) } else { text.parse().map(Self::Of) }
    }
}

/// Collects.
pub async fn run(options: Options, settings: &Settings, output: Output) -> Result<Exit, Failure> {
    let mut translated = apply::Options::default();
    match options.date {
        Some(Date::Every) => translated.all = true,
        Some(Date::Of(date)) => translated.day = Some(date.previous()),
        None => {
            let zone = Ledger::open(&settings.ledger).await?.zone;
            translated.day = Some(zone.day_of(clock::now()).previous());
        }
    }
    apply::run_as("collect-stats", translated, settings, output).await
}
