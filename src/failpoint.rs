//! Failpoints: named locations at which a test can end the process as a power cut would.
//!
//! They exist only in builds with debug assertions. `DAYBOOK_FAILPOINT=NAME` ends the process at that failpoint,
//! `NAME:N` when it is reached for the Nth time. `tests/it/failpoints.rs` finds all failpoints in the sources.

/// Ends the process here if `DAYBOOK_FAILPOINT` says so.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TIMES: AtomicU64 = AtomicU64::new(0);

    let Ok(wanted) = std::env::var("DAYBOOK_FAILPOINT") else {
        return;
    };
    let (place, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if place == name && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == nth.parse().unwrap_or(1) {
        // No destructors run, and no connection is closed properly.
        std::process::abort();
    }
}

/// Does nothing in a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_: &str) {}
