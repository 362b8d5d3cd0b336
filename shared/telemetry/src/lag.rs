//! How far the history is behind, where one process changes the states and writes the history.

use domain::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the oldest change was made that is not in the history yet. Whoever writes the history says so.
#[derive(Debug, Default)]
pub struct Lag(AtomicU64);

/// No time of ours: all changes are in the history.
const NONE: u64 = 0;

impl Lag {
    /// Notes the oldest change that is still to be written; none if all are.
    pub fn note(&self, oldest: Option<Timestamp>) {
        self.0.store(oldest.map_or(NONE, Timestamp::ms), Ordering::Relaxed);
    }

    /// The oldest change that is still to be written; none if all are.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Relaxed)).filter(|ms| *ms != NONE).map(Timestamp::from_ms)
    }
}
