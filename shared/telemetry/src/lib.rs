//! The metrics of Greenroom, the figures of its process, and the formatting of errors.

mod chain;
pub mod lag;
pub mod metrics;
pub mod process;

pub use chain::Chain;
