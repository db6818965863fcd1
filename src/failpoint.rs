//! Failpoints: named places at which a test can end the process as a power cut would.
//!
//! Only in builds with debug assertions; a release has none. `DAYBOOK_FAILPOINT=NAME` ends the process when it reaches the
//! place of that name, `NAME:N` when it does so for the N-th time. A test (`tests/it/failpoints.rs`) finds every place
//! in the sources by itself.

/// Ends the process here, if it was asked to.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);

    let Ok(wanted) = std::env::var("DAYBOOK_FAILPOINT") else {
        return;
    };
    let (place, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if place == name && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == nth.parse().unwrap_or(1) {
        // No destructors, no goodbyes to servers.
        std::process::abort();
    }
}

/// Ends the process here, if it was asked to: never, in a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: &str) {}
