//! What is examined, and what is found on the way.

use std::time::Duration;

use crate::elastic::Client;
use crate::error::Error;
use crate::ledger::{Ledger, Reader};
use crate::memory::Memory;
use crate::postgres::Database;
use crate::projection::Plan;

/// What is examined.
#[derive(Debug)]
pub struct Subject<'s> {
    pub ledger: &'s Database,
    pub source: &'s Database,
    /// None if Elasticsearch is not configured, or not as it should be.
    pub elasticsearch: Result<Client, Error>,
    pub plan: &'s Plan,
    pub memory: Memory,
    pub max_clock_skew: Duration,
}

/// The ledger that was found, and a connection to read it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ledger: Ledger,
    pub(super) reader: Reader,
    /// Whether any day is applied.
    pub(super) has_entries: bool,
}
