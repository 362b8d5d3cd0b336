//! Failures of storage, sorted by what the caller can do about them.

use domain::{Challenge, Version};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Correct the request: there is no such user.
    #[error("no such user")]
    UserNotFound,
    /// Correct the request: there is no such agent.
    #[error("no such agent")]
    AgentNotFound,
    /// Pair anew: the agent was revoked, or another one took its place.
    #[error("the agent was revoked")]
    AgentRevoked,
    /// Ask for a new code: this one is wrong, used or expired, or another person's.
    #[error("the pairing code is not good")]
    PairingCode,
    /// Make a new key: this one has an agent already.
    #[error("the key has an agent already")]
    KeyBound,
    /// Measure again: this attestation is not the one that comes next.
    #[error("the attestation is not the next one")]
    Sequence {
        /// The number of the next one.
        expected: u64,
        /// What it must repeat.
        challenge: Challenge,
    },
    /// Read again: the state is not at the version the caller expected.
    #[error("the state has changed")]
    VersionConflict {
        /// The version now stored; none if there is no state.
        current: Option<Version>,
    },
    /// Start over: this is not a cursor of this list.
    #[error("the cursor is not one of this list")]
    Cursor,
    /// Try again later: the store is throttling, out of reach or out of space.
    #[error("store unavailable")]
    Unavailable(#[source] Source),
    /// Give up: a stored item cannot be read.
    #[error("stored item is not readable: attribute {attribute}")]
    Corrupt {
        /// The attribute that is missing or malformed.
        attribute: &'static str,
    },
    /// Give up: the store refused a request that should be right.
    #[error("store refused the request")]
    Internal(#[source] Source),
}

/// Shows an error with all its causes, for a log line.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
