//! The nodes of a cluster, and which of them a request tries first. No IO.
//!
//! Requests take turns on the nodes that work. A node that failed is skipped for a while, which doubles with each
//! further failure. If no other node is left, it is tried as well.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use url::Url;

use crate::clock::Stopwatch;

/// How long a node is skipped after its first failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The node that the next request tries first.
    next: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Node {
    /// Without credentials, ending with a slash.
    address: String,
    failures: Mutex<Option<Failures>>,
}

/// The failures of a node since its last answer.
#[derive(Clone, Copy, Debug)]
struct Failures {
    number: u32,
    since_the_last: Stopwatch,
}

impl Nodes {
    /// The addresses must not contain credentials.
    pub(super) fn new(addresses: Vec<Url>) -> Self {
        let nodes = addresses.into_iter().map(Node::new).collect();
        Self {
            nodes,
            next: AtomicUsize::new(0),
        }
    }

    /// The order in which a request tries them: first the nodes that work, each request starting with another one; then
    /// those that failed, the one with the shortest remaining pause first.
    pub(super) fn in_order(&self) -> Vec<&Node> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let mut nodes: Vec<&Node> = self.nodes[first..]
            .iter()
            .chain(&self.nodes[..first])
            .collect();
        // The sort is stable.
        nodes.sort_by_key(|node| node.pause_left());
        nodes
    }

    /// The addresses, without credentials.
    pub(super) fn place(&self) -> String {
        self.nodes
            .iter()
            .map(|node| node.address.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Node {
    fn new(address: Url) -> Self {
        let mut address = String::from(address);
        if !address.ends_with('/') {
            address.push('/');
        }
        Self {
            address,
            failures: Mutex::new(None),
        }
    }

    /// Without credentials.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The URL of a path on this node.
    pub(super) fn url_of(&self, path: &str) -> String {
        format!("{}{}", self.address, path.trim_start_matches('/'))
    }

    pub(super) fn answered(&self) {
        *self.failures() = None;
    }

    pub(super) fn failed(&self) {
        let mut failures = self.failures();
        let number = failures
            .map_or(0, |failures| failures.number)
            .saturating_add(1);
        *failures = Some(Failures {
            number,
            since_the_last: Stopwatch::start(),
        });
    }

    /// How much longer it is skipped.
    fn pause_left(&self) -> Duration {
        self.failures().map_or(
            Duration::ZERO,
            |Failures {
                 number,
                 since_the_last,
             }| { pause_after(number).saturating_sub(since_the_last.elapsed()) },
        )
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Option<Failures>> {
        // No code that holds the lock can panic half-way.
        self.failures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Nodes {
        Nodes::new(
            ["http://a:1", "http://b:1", "http://c:1/es"]
                .map(|url| url.parse().unwrap())
                .into(),
        )
    }

    fn order(nodes: &Nodes) -> Vec<&str> {
        nodes.in_order().into_iter().map(Node::address).collect()
    }

    #[test]
    fn requests_go_round_the_nodes() {
        let nodes = nodes();
        assert_eq!(
            order(&nodes),
            ["http://a:1/", "http://b:1/", "http://c:1/es/"]
        );
        assert_eq!(
            order(&nodes),
            ["http://b:1/", "http://c:1/es/", "http://a:1/"]
        );
        assert_eq!(
            nodes.in_order()[0].url_of("/x/_search?y"),
            "http://c:1/es/x/_search?y"
        );
    }

    #[test]
    fn a_node_that_failed_comes_last_until_it_answers() {
        let nodes = nodes();
        nodes.nodes[1].failed();
        for _ in 0..4 {
            assert_eq!(order(&nodes)[2], "http://b:1/");
        }
        nodes.nodes[1].answered();
        assert!((0..3).any(|_| order(&nodes)[0] == "http://b:1/"));
    }

    #[test]
    fn pauses_double_and_are_bounded() {
        assert_eq!(pause_after(1), FIRST_PAUSE);
        assert_eq!(pause_after(2), 2 * FIRST_PAUSE);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }
}
