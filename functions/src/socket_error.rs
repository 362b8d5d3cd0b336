//! Why a WebSocket client is refused: a code for its program, a sentence for its developer.

use state::{Chain, StateError};
use std::borrow::Cow;

/// A refusal. Each stands as a constant beside the rule that it is about.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// As HTTP counts them: for the log, and for a client whose connection is not opened.
    pub(crate) status: u16,
    /// Stable; part of the contract.
    pub(crate) code: &'static str,
    /// What is wrong and what to do.
    pub(crate) detail: Cow<'static, str>,
    /// What could have been sent instead.
    pub(crate) events: &'static [&'static str],
}

impl Refusal {
    /// A refusal that always says the same.
    pub(crate) const fn new(status: u16, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: Cow::Borrowed(detail), events: &[] }
    }

    /// The refusal of a message that has to be corrected: `field` breaks `rule`.
    pub(crate) fn invalid(field: &'static str, rule: impl std::fmt::Display) -> Self {
        Self { detail: format!("{field} {rule}").into(), ..INVALID }
    }
}

const INVALID: Refusal = Refusal::new(400, "validation_failed", "");
const UNAVAILABLE: Refusal = Refusal::new(503, "unavailable", "the service is busy; try again");
const INTERNAL: Refusal = Refusal::new(500, "internal_error", "try again; report the time if this persists");

/// Why an event was not answered as asked.
#[derive(Debug)]
pub enum SocketError {
    /// The client can correct it.
    Refusal(Refusal),
    /// The store did not do it.
    State(StateError),
    /// The handler panicked.
    Panic,
}

impl From<Refusal> for SocketError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<StateError> for SocketError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl SocketError {
    /// What the client is told. Our insides go to the log.
    pub(crate) fn refusal(self, request_id: &str) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal,
            Self::State(error @ StateError::Unavailable(_)) => {
                tracing::error!(requestId = request_id, error = %Chain(&error), "state store unavailable");
                UNAVAILABLE
            }
            Self::State(error) => {
                tracing::error!(requestId = request_id, error = %Chain(&error), "state store failed");
                INTERNAL
            }
            // The panic hook has logged where.
            Self::Panic => INTERNAL,
        }
    }
}
