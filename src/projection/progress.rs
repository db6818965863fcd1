//! How far long work on documents is, for people.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Receives the progress of a rebuild or a comparison.
pub trait Progress {
    /// A stage begins. `days` is the number of days that it goes through, if it goes day by day.
    fn begin(&mut self, stage: &str, days: Option<u64>);
    /// Reports the documents and days done in this stage.
    fn at(&mut self, documents: u64, days: u64);
    /// The stage is over.
    fn end(&mut self);
    /// Another receiver, for a stage at the same time.
    fn another(&self) -> Self;
}

/// How much is done of work that goes on in several places.
pub(super) struct SharedProgress<P> {
    progress: Mutex<P>,
    documents: AtomicU64,
    days: AtomicU64,
}

impl<P: Progress> SharedProgress<P> {
    pub(super) fn begin(mut progress: P, stage: &str, days: Option<u64>) -> Self {
        progress.begin(stage, days);
        Self {
            progress: Mutex::new(progress),
            documents: AtomicU64::new(0),
            days: AtomicU64::new(0),
        }
    }

    fn progress(&self) -> MutexGuard<'_, P> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, documents: u64, days: u64) {
        let documents = self.documents.fetch_add(documents, Ordering::Relaxed) + documents;
        let days = self.days.fetch_add(days, Ordering::Relaxed) + days;
        self.progress().at(documents, days);
    }

    pub(super) fn end(&self) {
        self.progress().end();
    }
}
