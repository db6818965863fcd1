//! What `status` reports, as it is printed in JSON.

use serde::Serialize;
use uuid::Uuid;

use crate::day::Day;
use crate::error::ErrorKind;
use crate::ledger::{EntryId, Past, RunStatus};
use crate::projection::index::Index;
use crate::projection::{Plan, Projection};

#[derive(Serialize)]
pub(super) struct LedgerStatus {
    pub(super) ledger_id: Uuid,
    pub(super) time_zone: String,
    pub(super) newest_entry: EntryId,
    pub(super) first_day: Option<Day>,
    pub(super) last_day: Option<Day>,
    /// Interactions of all entries, from the totals in their headers.
    pub(super) count: i128,
    /// Records involved in them.
    pub(super) total: i128,
    /// Closed days after the last applied one.
    pub(super) days_behind: usize,
    /// Days that have entries but have not begun yet, as ranges.
    pub(super) days_to_come: Vec<(Day, Day)>,
    /// The difference between the clocks of this machine and the server.
    pub(super) clock_skew_seconds: i64,
    /// Both times, if the clocks differ too much.
    pub(super) clock_problem: Option<String>,
    pub(super) gaps: Vec<Day>,
    pub(super) rejected_events: i64,
    #[serde(flatten)]
    pub(super) past: Past,
    /// Days whose events the source no longer has; none if it was not checked.
    pub(super) sealed: Option<Sealed>,
    /// Why the source was not checked.
    pub(super) source_problem: Option<String>,
    /// The run that is posting or projecting.
    pub(super) running: Option<String>,
    /// The run that is rebuilding or verifying documents.
    pub(super) rebuilding: Option<String>,
}

/// Days whose events were purged from the source: only the ledger has their counts.
#[derive(Serialize)]
pub(super) struct Sealed {
    pub(super) days: usize,
    pub(super) first: Option<Day>,
    pub(super) last: Option<Day>,
}

#[derive(Serialize)]
pub(super) struct ProjectionStatus {
    pub(super) projection: Projection,
    pub(super) alias: String,
    pub(super) index: Option<String>,
    pub(super) applied_through: Option<EntryId>,
    pub(super) behind: Option<i64>,
    /// Documents that are too large for the cluster, and so were written without their lists.
    pub(super) lists_omitted: u64,
    /// The newest of them.
    pub(super) lists_omitted_ids: Vec<String>,
    pub(super) problem: Option<String>,
    /// The kind of the problem.
    pub(super) problem_kind: Option<&'static str>,
}

impl LedgerStatus {
    /// The sessions that hold a lock.
    pub(super) fn holders(&self) -> impl Iterator<Item = &String> {
        self.running.iter().chain(&self.rebuilding)
    }

    /// Whether the run holds a lock: the name of its session contains its id.
    pub(super) fn is_running(&self, run: &RunStatus) -> bool {
        let run_id = run.run_id.to_string();
        self.holders().any(|holder| holder.contains(&run_id))
    }
}

impl ProjectionStatus {
    pub(super) fn unknown(kind: Projection, plan: &Plan) -> Self {
        let alias = plan.alias(kind);
        Self {
            projection: kind,
            alias,
            index: None,
            applied_through: None,
            behind: None,
            lists_omitted: 0,
            lists_omitted_ids: Vec::new(),
            problem: None,
            problem_kind: None,
        }
    }

    pub(super) fn set_problem(&mut self, problem: String, kind: ErrorKind) {
        self.problem = Some(problem);
        self.problem_kind = Some(kind.name());
    }

    pub(super) fn set_index(&mut self, index: Option<&Index>, newest_entry: EntryId) {
        let applied_through = index.map(|index| index.checkpoint.applied_through);
        self.behind = Some(newest_entry.number() - applied_through.map_or(0, EntryId::number));
        self.applied_through = applied_through;
        self.index = index.map(|index| index.physical.clone());
    }
}
