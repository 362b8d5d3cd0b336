//! Why something was not done: refusals, sorted by what the caller can do about them, and failures, which are ours.

use domain::Challenge;
use domain::user::{User, Version};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a caller can do about a refusal. `functions` makes a status of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Correct the request: a part of it is malformed, or not supported any more.
    Invalid,
    /// Prove who calls.
    Unauthenticated,
    /// Nothing: this caller may not do this.
    Forbidden,
    /// Name something that exists.
    NotFound,
    /// Look at what is stored, and decide again: the request does not fit it.
    Conflict,
    /// Begin anew: what is named existed, and has ended for good.
    Gone,
    /// Read again: what is stored has changed since the caller read it.
    Changed,
    /// Use a method that the path has.
    Method,
    /// Send the request faster.
    Late,
    /// Send a smaller body.
    TooLarge,
    /// Send the body in another format.
    Format,
    /// Ask this server by a name of its own.
    Misdirected,
    /// Wait for a newer version: the operation is not written yet.
    Unwritten,
    /// Try again later: the service is busy, or cannot reach what it needs.
    Unavailable,
    /// Give up: the service failed.
    Internal,
}

/// One reason to refuse. Each is a constant beside the subject that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller can do about it.
    pub kind: Kind,
    /// Its stable name, for programs.
    pub code: &'static str,
    /// The same for people.
    pub detail: &'static str,
    /// Seconds after which the same request makes sense again, if time alone may help.
    pub retry_after_s: Option<u16>,
}

impl Refusal {
    /// A refusal of this kind.
    #[must_use]
    pub const fn new(kind: Kind, code: &'static str, detail: &'static str) -> Self {
        Self { kind, code, detail, retry_after_s: None }
    }

    /// The same, with the seconds after which to ask again.
    #[must_use]
    pub const fn retry_after(self, seconds: u16) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}

/// Where an agent stands: what its next attestation must be, and whose claim it is about.
#[derive(Debug)]
pub struct NextAttestation {
    /// The number of the next one.
    pub expected: u64,
    /// What it must repeat.
    pub challenge: Challenge,
    /// The person's state.
    pub user: User,
}

/// What a refusal shows of what is stored, or of the request.
#[derive(Debug)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// The field that is malformed, and the rule it broke.
    Field(&'static str, &'static str),
    /// The version now stored; none if there is no state.
    Version(Option<Version>),
    /// Where the agent stands.
    NextAttestation(Box<NextAttestation>),
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was refused; [`Refusal::kind`] says what the caller can do.
    #[error("{}", .0.detail)]
    Refused(Refusal, Shown),
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
