//! What to measure, and where everything is.

use std::path::PathBuf;

use chrono::NaiveDate;

use crate::Error;
use crate::elastic::Elastic;
use crate::postgres;

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The published day.
    S,
    /// 140,000 events, 5 M interactions.
    M,
    /// Ten times M.
    L,
    /// Ten years of days like the published one.
    H,
}

/// What to measure of a large day, and of the history; `--only` selects some of it, for working on one.
const PARTS: [&str; 5] = ["steps", "apply", "terms", "rebuild", "report"];

pub struct Setting {
    pub json: bool,
    pub smoke: bool,
    size: Option<Size>,
    only: Option<String>,
    runs: Option<usize>,
    /// Days of history in H.
    pub history_days: u64,
    /// Whether to keep the ledger of H for another bench.
    pub keep_history: bool,
    /// Whether the cluster has processors of its own.
    pub apart: bool,
    /// First day of H, and the (first) day of M and L.
    pub first_day: NaiveDate,
    /// Any database of the server; its name is replaced.
    server_url: String,
    pub elastic: Elastic,
    /// The Python interpreter with the peers' packages.
    pub python: PathBuf,
}

const USAGE: &str = "usage: figures [S|M|L|H] [--json] [--smoke] [--only steps|apply|terms|rebuild|report]; see script/bench";
/// The published day.
pub const REAL_DAY: &str = "2020-02-16";
/// The prefix of the indices.
pub const PREFIX: &str = "bench";

impl Setting {
    pub fn from_arguments() -> Result<Self, Error> {
        let (mut size, mut json, mut smoke, mut only) = (None, false, false, None);
        // cargo adds --bench to the arguments.
        let mut arguments = std::env::args()
            .skip(1)
            .filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "S" => size = Some(Size::S),
                "M" => size = Some(Size::M),
                "L" => size = Some(Size::L),
                "H" => size = Some(Size::H),
                "--json" => json = true,
                "--smoke" => smoke = true,
                "--only" => {
                    only = Some(
                        arguments
                            .next()
                            .filter(|part| PARTS.contains(&part.as_str()))
                            .ok_or(USAGE)?,
                    );
                }
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Self {
            json,
            smoke,
            size,
            only,
            runs: number("BENCH_RUNS")?,
            history_days: number("BENCH_HISTORY_DAYS")?
                .ok_or("BENCH_HISTORY_DAYS is not set: run script/bench")?,
            keep_history: std::env::var("BENCH_KEEP_HISTORY").is_ok_and(|keep| keep == "1"),
            apart: std::env::var("BENCH_APART").is_ok_and(|apart| !apart.is_empty()),
            first_day: variable("BENCH_FIRST_DAY")?.parse()?,
            server_url: variable("DAYBOOK_LEDGER_URL")?,
            elastic: Elastic::new(&variable("DAYBOOK_ELASTICSEARCH_URL")?)?,
            python: variable("BENCH_PYTHON")?.into(),
        })
    }

    pub fn includes(&self, size: Size) -> bool {
        self.size.is_none_or(|chosen| chosen == size)
    }

    /// Whether to measure everything.
    pub fn wants_all(&self) -> bool {
        self.only.is_none()
    }

    /// Whether to measure this part.
    pub fn wants(&self, part: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == part)
    }

    /// How often to measure a figure: `usual` times by default.
    pub fn runs(&self, usual: usize) -> usize {
        if self.smoke {
            1
        } else {
            self.runs.unwrap_or(usual).max(1)
        }
    }

    /// Days that come after H: a figure of each, as a day takes a second or two.
    pub fn more_days(&self) -> u64 {
        if self.smoke { 1 } else { 5 }
    }

    /// The connection URL of a database of the bench.
    pub fn database(&self, name: &str) -> Result<String, Error> {
        postgres::with_database(&self.server_url, &format!("daybook_demo_bench_{name}"))
    }

    /// The database with a workload's source tables, filled by script/bench.
    pub fn source(&self, size: Size) -> Result<String, Error> {
        self.database(match size {
            Size::S => "s",
            Size::M => "m",
            Size::L => "l",
            Size::H => "h",
        })
    }

    /// The ledger of H.
    pub fn history(&self) -> Result<String, Error> {
        self.database(if self.smoke {
            "history_smoke"
        } else {
            "history"
        })
    }

    /// Removes the indices and the ledgers, except the ledger of H if it is to be kept. The sources stay for
    /// inspection; the next bench creates them anew.
    pub async fn clean_up(&self) -> Result<(), Error> {
        self.elastic.delete_all(PREFIX).await?;
        postgres::drop(&self.database("ledger")?).await?;
        if self.includes(Size::H) && !self.keep_history {
            postgres::drop(&self.history()?).await?;
        }
        Ok(())
    }
}

fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| format!("{name} is not set: run script/bench").into())
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>, Error> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("{name} is {text}, which is no number").into()),
        Err(_) => Ok(None),
    }
}
