//! The storage of Greenroom, and its errors.

pub mod dynamodb;
mod error;
mod random;

pub use error::{Kind, NextAttestation, Refusal, Shown, StoreError};
pub use random::random;
