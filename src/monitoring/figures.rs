//! The figures of a run, read back from what its command has recorded.

use serde::Deserialize;
use serde_json::Value;

/// What a run did. Figures that its command does not have are zero.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RunFigures {
    pub days: u64,
    pub entries_posted: u64,
    pub days_failed: u64,
    pub events: u64,
    pub rejected: u64,
    pub read_seconds: f64,
    pub post_seconds: f64,
    /// What was written to each projection.
    projected: Vec<ProjectionFigures>,
    /// The same, for projections that were rebuilt.
    rebuilt: Vec<ProjectionFigures>,
}

/// What was written to a projection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProjectionFigures {
    pub projection: String,
    pub documents: u64,
    pub bytes: u64,
    pub retries: u64,
    pub seconds: f64,
}

impl RunFigures {
    /// From the figures that the end of a run records. Commands that do something else have others.
    pub fn new(recorded: &Value) -> Self {
        Self::deserialize(recorded).unwrap_or_default()
    }

    /// All projections that were written to, each once.
    pub fn projections(&self) -> Vec<ProjectionFigures> {
        let mut sums: Vec<ProjectionFigures> = Vec::new();
        for written in self.projected.iter().chain(&self.rebuilt) {
            let known = sums
                .iter_mut()
                .find(|sum| sum.projection == written.projection);
            match known {
                Some(sum) => sum.add(written),
                None => sums.push(written.clone()),
            }
        }
        sums
    }

    /// A figure of all projections.
    pub fn sum(&self, of: fn(&ProjectionFigures) -> u64) -> u64 {
        self.projections().iter().map(of).sum()
    }
}

impl ProjectionFigures {
    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.seconds += other.seconds;
    }
}
