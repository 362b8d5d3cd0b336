//! The makers of changes.

use crate::{AgentId, Refused, UserId};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The maker of a change. `changedBy` of a stored item holds its text, and so does `actor` of a ledger entry.
///
/// When accounts have tokens, they get a variant, `account:<accountId>`. `user:<id>`
/// is not an actor: a ledger entry contains it if the maker of the change is unknown, and it then names the user whose
/// state changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// `open`: a caller without a token, which `AUTH_MODE=open` lets act for anybody.
    Open,
    /// `person:<participantId>`: the participant whose token came with the request.
    Person(UserId),
    /// `agent:<id>`: the agent that signed the request.
    Agent(AgentId),
    /// `service`: Greenroom itself, such as its canary, a restore, or the removal of an item past its time.
    Service,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Service => f.write_str("service"),
        }
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Actor {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text.split_once(':') {
            None if text == "open" => Ok(Self::Open),
            None if text == "service" => Ok(Self::Service),
            Some(("person", id)) => id.parse().map(Self::Person),
            Some(("agent", id)) => id.parse().map(Self::Agent),
            _ => Err(Refused("be open, service, person:<id> or agent:<id>")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_back_as_it_was_written() {
        let ada = Actor::Person("ada".parse().unwrap());
        for actor in [Actor::Open, ada, Actor::Agent(AgentId::from_bits(7)), Actor::Service] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        for bad in ["", "Open", "open:", "agent", "agent:", "agent:ada", "user:ada", "service:x"] {
            assert!(bad.parse::<Actor>().is_err(), "{bad}");
        }
    }
}
