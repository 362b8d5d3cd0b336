//! What makes a change.

use domain::{Actor, Timestamp};

/// What makes a change: when, by which request, and who.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The time.
    pub at: Timestamp,
    /// The request's id; none for what the service itself does.
    pub request_id: Option<String>,
    /// Who makes it.
    pub by: Actor,
}

impl Cause {
    /// What the service itself does at this time.
    #[must_use]
    pub const fn service(at: Timestamp) -> Self {
        Self { at, request_id: None, by: Actor::Service }
    }
}
