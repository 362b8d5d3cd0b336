//! The cause of a change.

use domain::{Actor, Timestamp};

/// The cause of a change: its time, its request and its actor.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The time.
    pub at: Timestamp,
    /// The request's id. `None`: the service itself makes the change.
    pub request_id: Option<String>,
    /// The actor.
    pub by: Actor,
    /// The epoch of the participant's token that came with the request. `None`: no such token came.
    pub epoch: Option<u64>,
}

impl Cause {
    /// A change that the service itself makes at this time.
    #[must_use]
    pub const fn service(at: Timestamp) -> Self {
        Self { at, request_id: None, by: Actor::Service, epoch: None }
    }
}
