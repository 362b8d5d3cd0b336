//! Snapshots: taken, verified, kept, restored and drilled. `docs/snapshots.md` is about what they hold.

mod error;
pub mod format;
pub mod lease;
pub mod lines;
pub mod objects;

pub use error::SnapshotError;
