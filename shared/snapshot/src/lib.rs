//! Snapshots: taken, verified, kept, restored and drilled. `docs/snapshots.md` is about what they hold.

pub mod batch;
pub mod drill;
mod error;
pub mod format;
pub mod keys;
pub mod lease;
pub mod lines;
pub mod objects;
pub mod restore;
pub mod tables;
pub mod verify;

pub use error::SnapshotError;
