//! What tells an operator's tools how runs go: a summary in the log, a file of metrics, pings to a service that misses them.
//!
//! None of it can make a run fail: a problem is a warning.

mod exposition;
mod figures;
mod metrics;
mod ping;

pub use figures::RunFigures;
pub use metrics::write_metrics;
pub use ping::Ping;
