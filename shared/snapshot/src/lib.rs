//! Snapshots: taken, verified, kept, restored and drilled. `docs/snapshots.md` is about what they hold.

pub mod batch;
mod error;
pub mod format;
pub mod lease;
pub mod lines;
pub mod objects;

pub mod keys;
pub mod tables;

pub use error::SnapshotError;
