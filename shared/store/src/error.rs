//! The errors of the store: refusals, sorted by what the caller can do about them, and failures of the service.

use domain::Challenge;
use domain::user::{User, Version};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a caller can do about a refusal. `functions` gives each kind its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Correct the request: a part of it is malformed or no longer supported.
    Invalid,
    /// Authenticate.
    Unauthenticated,
    /// Nothing: this caller does not have the permission.
    Forbidden,
    /// Name a thing that exists.
    NotFound,
    /// Read what is stored and decide again: the request does not fit the stored state.
    Conflict,
    /// Start again: the named thing existed, and has ended for good.
    Gone,
    /// Read again: the stored state has changed since the caller read it.
    Changed,
    /// Use a method that the path supports.
    Method,
    /// Send the request faster.
    Late,
    /// Send a smaller body.
    TooLarge,
    /// Send the body in another format.
    Format,
    /// Use one of this server's own host names.
    Misdirected,
    /// Use a new key: this one belongs to another request.
    Reused,
    /// Wait: the caller has made too many such calls.
    Limited,
    /// Wait for a newer version: the operation is not implemented yet.
    Unwritten,
    /// Try again later: the service is busy, or cannot reach what it needs.
    Unavailable,
    /// Give up: the service failed.
    Internal,
}

/// One reason to refuse. Each is a constant beside the subject to which it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller can do about it.
    pub kind: Kind,
    /// A stable code for programs.
    pub code: &'static str,
    /// The same as a text for people.
    pub detail: &'static str,
    /// Seconds after which a retry may succeed, if waiting can help.
    pub retry_after_s: Option<u16>,
}

impl Refusal {
    /// A refusal of this kind.
    #[must_use]
    pub const fn new(kind: Kind, code: &'static str, detail: &'static str) -> Self {
        Self { kind, code, detail, retry_after_s: None }
    }

    /// The same refusal with a time in seconds after which the client may retry.
    #[must_use]
    pub const fn retry_after(self, seconds: u16) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}

/// The state of an agent: the number and challenge that its next attestation must have, and its person's claim.
#[derive(Debug)]
pub struct NextAttestation {
    /// The number of the next attestation.
    pub expected: u64,
    /// The challenge that it must repeat.
    pub challenge: Challenge,
    /// The person's state.
    pub user: User,
}

/// The details that a refusal shows.
#[derive(Debug)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// The field that is malformed, and the rule it broke.
    Field(&'static str, &'static str),
    /// The version that is stored now. `None`: there is no state.
    Version(Option<Version>),
    /// The state of the agent.
    NextAttestation(Box<NextAttestation>),
}

/// Why the store did not do what was requested.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request was refused; [`Refusal::kind`] says what the caller can do.
    #[error("{}", .0.detail)]
    Refused(Refusal, Shown),
    /// Try again later: the store is throttling, unreachable or out of space.
    #[error("store unavailable")]
    Unavailable(#[source] Source),
    /// Give up: a stored item cannot be read.
    #[error("stored item is not readable: attribute {attribute}")]
    Corrupt {
        /// The attribute that is missing or malformed.
        attribute: &'static str,
    },
    /// Give up: the store refused a request that we believe to be correct.
    #[error("store refused the request")]
    Internal(#[source] Source),
}

impl StoreError {
    /// Whether this is a refusal for that reason.
    #[must_use]
    pub fn is(&self, reason: Refusal) -> bool {
        matches!(self, Self::Refused(refusal, _) if *refusal == reason)
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, Shown::Nothing)
    }
}
