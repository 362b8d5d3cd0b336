//! Takes, verifies, keeps, restores and drills snapshots. `docs/snapshots.md` describes their content.

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
