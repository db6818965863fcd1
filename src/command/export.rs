//! `daybook export`: writes days, or the whole ledger, to a file.

use std::path::PathBuf;

use super::arguments::DateRangeArgs;
use crate::config::Settings;
use crate::day::{Day, Period};
use crate::error::{Error, Exit};
use crate::exchange::{Exported, Target, export};
use crate::interrupt::unless_interrupted;
use crate::ledger::Ledger;
use crate::output::Output;
use crate::printable::one_line;
use crate::text::counted;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --day, --from and --to, the whole ledger is exported, and `daybook import` can make an exact copy
of it.

Examples:
  daybook export --output ledger.ndjson.zst
  daybook export --day 2020-02-16 | less")]
pub struct ExportArgs {
    /// Export only this day, YYYY-MM-DD
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    day: Option<Day>,

    /// The days to export.
    #[command(flatten)]
    date_range: DateRangeArgs,

    /// Output file, compressed if its name ends in .gz or .zst [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(options: ExportArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let (ledger, mut reader) = unless_interrupted(Ledger::open_for_reading(
        &settings.ledger,
        "daybook reading",
    ))
    .await?;
    let of_ledger = unless_interrupted(reader.period()).await?;
    let period = match options.day {
        Some(day) => Period::new(day, day),
        None => options.date_range.within(of_ledger)?,
    };
    let target = options.output.map_or(Target::Stdout, Target::File);
    let exported = export(&ledger, period, &target).await?;
    // On stdout there is only the export.
    if let Target::File(path) = target {
        let fields =
            serde_json::json!({ "file": path.display().to_string(), "exported": exported });
        output.report(
            "exported",
            fields,
            format!(
                "{}: {}",
                one_line(&path.display().to_string()),
                text(&exported)
            ),
        );
    }
    Ok(Exit::Done)
}

fn text(exported: &Exported) -> String {
    let whole = if exported.whole {
        "the whole ledger"
    } else {
        "a part of the ledger"
    };
    format!(
        "{whole}, {}, {}, {}; sha256 {}",
        counted(exported.entries, "entry", "entries"),
        counted(exported.delta_rows, "row", "rows"),
        counted(
            exported.rejected_events,
            "rejected event",
            "rejected events"
        ),
        exported.sha256,
    )
}
