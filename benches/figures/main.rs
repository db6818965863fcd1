//! The figures of the bench: each goal measured side by side with its baseline, in turn, in the same run.
//!
//! `script/bench` sets everything up and calls this; docs/performance.md says what each figure means. The sources are
//! there already (daybook_demo_bench_s, _m, _l, _h); ledgers and indices (prefix `bench`) are made anew for every run, but
//! the ledger of H once.
//! The program is measured from outside: what it is told on its command line, and what it says in JSON.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "results on stdout, what is going on on stderr"
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

/// What a part of the bench fails with: it is told and ends the bench.
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
    // A tiny L is a tiny M.
    if setting.includes(Size::L) && !setting.smoke {
        day::measure_large(&setting, Size::L, &mut table).await?;
    }
    if setting.includes(Size::H) {
        history::measure(&setting, &mut table).await?;
    }
    table.close(&machine);
    setting.clean_up().await
}
