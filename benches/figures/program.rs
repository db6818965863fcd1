//! The program itself: its size and its start-up time.

use std::process::Command;

use crate::Error;
use crate::process::{DAYBOOK, run};
use crate::setting::Setting;
use crate::table::{Figure, Goal, Table};

pub fn measure(setting: &Setting, table: &mut Table) -> Result<(), Error> {
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = std::fs::metadata(DAYBOOK)?.len() as f64 / 1e6;
    table.add(Figure::new("binary", "MB", vec![megabytes]).goal(Goal::MedianAtMost(25.0)));
    // Printing help builds the whole command line, as the start of every command does.
    for (name, argument) in [
        ("start: daybook --version", "--version"),
        ("start: daybook apply --help", "--help"),
    ] {
        let mut milliseconds = Vec::new();
        for _ in 0..setting.runs(20) {
            let mut command = Command::new(DAYBOOK);
            if argument == "--help" {
                command.arg("apply");
            }
            milliseconds.push(run(command.arg(argument))?.seconds * 1000.0);
        }
        table.add(Figure::new(name, "ms", milliseconds).goal(Goal::MedianAtMost(20.0)));
    }
    Ok(())
}
