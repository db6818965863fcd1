//! For how long a cluster is waited for.

use std::time::Duration;

/// How often a request is made that no node takes.
const ROUNDS: u32 = 4;

/// For how long the cluster is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until there is a connection.
    pub connect: Duration,
    /// From the sending of a request to the end of its answer.
    pub answer: Duration,
    /// In the middle of an answer, until more of it comes.
    pub stall: Duration,
    /// How often a request is made that no node takes.
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
    /// Those of somebody who waits for the answer: seconds at most.
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
