//! What Greenroom measures of itself, and how it words what failed.

mod chain;
pub mod lag;
pub mod metrics;
pub mod process;

pub use chain::Chain;
