//! The figures of the bench: each goal and its baseline, measured in turn in the same run.
//!
//! `script/bench` sets everything up and runs this; docs/performance.md explains each figure. The sources exist already
//! (daybook_demo_bench_s, _m, _l, _h). Ledgers and indices (prefix `bench`) are created anew for every run, except the
//! ledger of H, which is created once. The program is measured from outside, by its command line and its JSON output.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "results on stdout, progress on stderr"
)]

mod baselines;
mod day;
mod documents;
mod elastic;
mod history;
mod ledger;
mod machine;
mod page;
mod peers;
mod postgres;
mod process;
mod program;
mod setting;
mod table;

use setting::{Setting, Size};
use table::Table;

/// The error of a part of the bench: it is reported and ends the bench.
type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setting = Setting::from_arguments()?;
    let mut table = Table::new(setting.json, !setting.smoke);
    let machine = machine::facts(&setting).await?;
    table.open(&machine);
    if setting.includes(Size::S) {
        program::measure(&setting, &mut table)?;
        peers::compare_counts(&setting).await?;
        day::measure_small(&setting, &mut table).await?;
    }
    if setting.includes(Size::M) {
        day::measure_large(&setting, Size::M, &mut table).await?;
    }
    // In a smoke run, L would be the same as M.
    if setting.includes(Size::L) && !setting.smoke {
        day::measure_large(&setting, Size::L, &mut table).await?;
    }
    if setting.includes(Size::H) && (setting.wants("rebuild") || setting.wants("report")) {
        history::measure(&setting, &mut table).await?;
    }
    table.close(&machine);
    setting.clean_up().await
}
