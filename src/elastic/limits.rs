//! How long to wait for a cluster.

use std::time::Duration;

/// Attempts at a request that no node accepts.
const ROUNDS: u32 = 4;

/// How long to wait for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// From sending a request to the end of its answer.
    pub answer: Duration,
    /// In the middle of an answer, until more of it arrives.
    pub stall: Duration,
    /// Attempts at a request that no node accepts.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            answer: seconds(120),
            stall: seconds(30),
            rounds: ROUNDS,
        }
    }
}

impl Limits {
    /// The limits for a person who waits for the answer: at most seconds.
    #[must_use]
    pub fn quick(self) -> Self {
        let at_most = |limit: Duration, seconds| limit.min(Duration::from_secs(seconds));
        Self {
            connect: at_most(self.connect, 2),
            answer: at_most(self.answer, 5),
            stall: at_most(self.stall, 2),
            rounds: 1,
        }
    }
}
