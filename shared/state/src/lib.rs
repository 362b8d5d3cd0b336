//! What Greenroom remembers, and how it is told what to be.

pub mod config;
pub mod deadline;
pub mod dynamodb;
mod error;
pub mod metrics;
pub mod process;
mod random;

pub use config::Config;
pub use error::{Chain, Kind, Place, Refusal, Shown, StateError};
pub use random::random;
