//! Snapshots: taken, verified, kept, restored and drilled. `docs/snapshots.md` is about what they hold.

pub mod batch;
pub mod drill;
mod error;
pub mod format;
pub mod keep;
pub mod keys;
pub mod lease;
pub mod lines;
pub mod mark;
pub mod objects;
pub mod pace;
pub mod restore;
pub mod revoke;
mod scan;
pub mod tables;
pub mod take;
pub mod verify;

pub use error::SnapshotError;
