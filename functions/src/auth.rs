//! Identifies the caller of a request and decides whether an act is permitted. No other file does.

use crate::http::open_user;
use crate::{ApiError, Context, Request};
use config::AuthMode;
use domain::{Actor, AgentId, PublicKey, Purpose, RoomId, RoomToken, SIGNATURE_HEADER, UserId};
use lambda_http::http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use std::fmt;
use std::sync::{Arc, OnceLock};
use store::dynamodb::TOKEN_INVALID;
use store::{Kind, Refusal};

/// 401: the call needs a token.
pub(crate) const AUTHENTICATION_REQUIRED: Refusal =
    Refusal::new(Kind::Unauthenticated, "authentication_required", "this call needs a bearer token");
/// 401: the agent's key did not sign this body.
pub(crate) const SIGNATURE_INVALID: Refusal = Refusal::new(
    Kind::Unauthenticated,
    "signature_invalid",
    "the signature does not match this agent; if its pairing has expired, pair it again",
);
/// 400: the body is signed by protocol 1.
const PROTOCOL_UNSUPPORTED: Refusal = Refusal::new(
    Kind::Invalid,
    "protocol_unsupported",
    "this agent speaks protocol 1, and this server needs protocol 2; update the agent",
);
/// 403: the caller is known, and may not do this.
pub(crate) const FORBIDDEN: Refusal = Refusal::new(Kind::Forbidden, "forbidden", "this caller may not do this");

/// The body of a request that says only who makes it.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Acting {
    /// Who makes the request. Needed if no token is sent, and otherwise equal to the token's subject.
    #[serde(default)]
    pub(crate) participant_id: Option<UserId>,
}

/// The caller of a request, as far as the request proves it.
///
/// An account gets a variant of its own when accounts exist: [`Caller::of`] reads it from `Authorization`, and
/// [`Caller::must`] compares its subject with the ids of the act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody without a token, in open mode.
    Anybody,
    /// A participant of a room, by their token. Whether they are still in the room is decided where their item is read
    /// or written.
    Participant(Box<RoomToken>),
    /// The agent whose key signed the request.
    Agent(AgentId),
}

/// An act that needs permission, with the ids that decide it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act<'a> {
    /// Read a user's state.
    ReadUser(&'a UserId),
    /// Change or remove a user's state.
    ChangeUser(&'a UserId),
    /// Bind or revoke an agent.
    ManageAgent {
        /// Which agent.
        agent: &'a AgentId,
        /// The user to whom it belongs: the one to whom it was attached last.
        owner: Option<&'a UserId>,
    },
    /// Enroll or attest as this agent.
    BeAgent(&'a AgentId),
    /// See who is in a room, its history, its messages and its questions.
    ReadRoom(&'a RoomId),
    /// Be and act in a room as this user, or leave it.
    BePresent(&'a RoomId, &'a UserId),
    /// See all users of all rooms.
    ListAll,
    /// See all active rooms.
    ListRooms,
    /// Read the metrics of the service.
    ReadMetrics,
}

impl Caller {
    /// The caller of a request.
    ///
    /// # Errors
    /// 401 in strict mode without a token, and in either mode with one that is not valid. The answer does not tell why.
    pub(crate) fn of(context: &Context, request: &Request) -> Result<Self, ApiError> {
        let mut sent = request.headers().get_all(header::AUTHORIZATION).iter();
        let caller = match (sent.next(), context.config.auth_mode) {
            (None, AuthMode::Open) => Self::Anybody,
            (None, AuthMode::Strict) => return Err(AUTHENTICATION_REQUIRED.into()),
            (Some(value), _) => {
                let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
                let text = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text);
                let token = text
                    .filter(|_| sent.next().is_none())
                    .and_then(|text| context.config.rooms.token_keys.verify(text.trim(), (context.clock)()));
                Self::Participant(Box::new(token.ok_or(TOKEN_INVALID)?))
            }
        };
        Ok(caller.noted(request))
    }

    /// The caller, who wants to read what is in a room. Whether a participant is still there may be seen some moments
    /// late.
    ///
    /// # Errors
    /// 401 no caller, or one who is not in the room any more; 403 a token of another room, or somebody in the lobby.
    pub(crate) async fn reads(context: &Context, request: &Request, room: &RoomId) -> Result<Self, ApiError> {
        let caller = Self::of(context, request)?.must(Act::ReadRoom(room))?;
        if let Self::Participant(token) = &caller {
            context.rooms.look(token, (context.clock)()).await?;
        }
        Ok(caller)
    }

    /// The caller, for a write that does not touch their own item, where the token's epoch would be compared.
    ///
    /// # Errors
    /// As [`Caller::of`], and 401 a participant who is not in the room any more, 403 one who waits in the lobby.
    pub(crate) async fn current(context: &Context, request: &Request) -> Result<Self, ApiError> {
        let caller = Self::of(context, request)?;
        if let Self::Participant(token) = &caller {
            context.rooms.look_now(token, (context.clock)()).await?;
        }
        Ok(caller)
    }

    /// The participant in whose name the caller acts in a room: the token's, or without a token the one that the body
    /// names.
    ///
    /// # Errors
    /// 400 if the body names a reserved id; 401 if neither is there; 403 if the body names another person than the token, or
    /// the token is of another room.
    pub(crate) fn acts_as(self, room: &RoomId, named: Option<UserId>) -> Result<(Self, UserId), ApiError> {
        let participant = match (&self, named) {
            (Self::Participant(token), None) => token.participant.clone(),
            (_, Some(named)) => open_user("participantId", named)?,
            (_, None) => return Err(AUTHENTICATION_REQUIRED.into()),
        };
        let caller = self.must(Act::BePresent(room, &participant))?;
        Ok((caller, participant))
    }

    /// The epoch of the caller's token.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Participant(token) => Some(token.epoch),
            Self::Anybody | Self::Agent(_) => None,
        }
    }

    /// The agent whose key signed exactly the bytes of the request's body, for this purpose.
    ///
    /// # Errors
    /// 401 if the signature does not match; 400 if it was made by a protocol that is no longer supported.
    pub(crate) fn signed(request: &Request, purpose: Purpose, key: &PublicKey) -> Result<Self, ApiError> {
        let signature = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        let (signature, body) = (signature.unwrap_or_default(), request.body().as_ref());
        if purpose.verify(key, body, signature) {
            Ok(Self::Agent(AgentId::of(key)).noted(request))
        } else if purpose.verify_superseded(key, body, signature) {
            Err(PROTOCOL_UNSUPPORTED.into())
        } else {
            Err(SIGNATURE_INVALID.into())
        }
    }

    /// Notes the caller for the log line of the request.
    fn noted(self, request: &Request) -> Self {
        if let Some(SeenCaller(seen)) = request.extensions().get() {
            seen.get_or_init(|| self.actor());
        }
        self
    }

    /// Checks that the caller may do this, and returns the caller.
    ///
    /// A decision that depends on a role that is stored with an item belongs in the condition of the write.
    ///
    /// # Errors
    /// 401 if only a signature allows it; 403 if the caller is known and may not.
    pub(crate) fn must(self, act: Act<'_>) -> Result<Self, ApiError> {
        match (&self, act) {
            (Self::Agent(agent), Act::BeAgent(wanted)) if agent == wanted => Ok(self),
            (Self::Anybody, Act::BeAgent(_)) => Err(SIGNATURE_INVALID.into()),
            // A room that somebody created may have a password.
            (Self::Anybody, Act::ReadRoom(room)) if room.is_created() => Err(AUTHENTICATION_REQUIRED.into()),
            (Self::Anybody, _) => Ok(self),
            (Self::Participant(token), act) if may(token, act) => Ok(self),
            (Self::Agent(_) | Self::Participant(_), _) => {
                tracing::debug!(caller = %self.actor(), %act, "refused");
                Err(FORBIDDEN.into())
            }
        }
    }

    /// The name under which limits count the caller, with a prefix for its kind. `None`: the address counts. A key of an
    /// agent is no name, because anybody can make any number of keys.
    pub(crate) fn subject(&self) -> Option<String> {
        match self {
            Self::Participant(token) => Some(format!("p:{}", token.participant)),
            Self::Anybody | Self::Agent(_) => None,
        }
    }

    /// The caller as the maker of a change.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Anybody => Actor::Open,
            Self::Participant(token) => Actor::Person(token.participant.clone()),
            Self::Agent(id) => Actor::Agent(id.clone()),
        }
    }
}

/// Whether the holder of a token may do this.
fn may(token: &RoomToken, act: Act<'_>) -> bool {
    match act {
        Act::ReadUser(user) | Act::ChangeUser(user) => *user == token.participant,
        Act::ManageAgent { owner, .. } => owner == Some(&token.participant),
        Act::ReadRoom(room) => *room == token.room,
        Act::BePresent(room, user) => *room == token.room && *user == token.participant,
        Act::BeAgent(_) | Act::ListAll | Act::ListRooms | Act::ReadMetrics => false,
    }
}

impl fmt::Display for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadUser(user) => write!(f, "read user {user}"),
            Self::ChangeUser(user) => write!(f, "change user {user}"),
            Self::ManageAgent { agent, owner: Some(owner) } => write!(f, "manage agent {agent} of user {owner}"),
            Self::ManageAgent { agent, owner: None } => write!(f, "manage agent {agent} without an owner"),
            Self::BeAgent(agent) => write!(f, "be agent {agent}"),
            Self::ReadRoom(room) => write!(f, "read room {room}"),
            Self::BePresent(room, user) => write!(f, "be in room {room} as user {user}"),
            Self::ListAll => f.write_str("list all users"),
            Self::ListRooms => f.write_str("list all rooms"),
            Self::ReadMetrics => f.write_str("read metrics"),
        }
    }
}

/// The place where the caller is noted for the log line of the request. It is an extension of the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenCaller(Arc<OnceLock<Actor>>);

impl SeenCaller {
    /// The caller; none if the endpoint checks no caller, or the caller proved nothing.
    pub(crate) fn get(&self) -> Option<&Actor> {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_may_act_for_itself_alone() {
        let [own, other] = [[7; 32], [8; 32]].map(|key| AgentId::of(&PublicKey::from(key)));
        let (user, room) = ("ada".parse::<UserId>().unwrap(), "demo".parse::<RoomId>().unwrap());
        let agent = Caller::Agent(own.clone());
        assert_eq!(agent.clone().must(Act::BeAgent(&own)).unwrap(), agent);
        let others = [
            Act::BeAgent(&other),
            Act::ReadUser(&user),
            Act::ChangeUser(&user),
            Act::ManageAgent { agent: &own, owner: Some(&user) },
            Act::ReadRoom(&room),
            Act::BePresent(&room, &user),
            Act::ListAll,
            Act::ReadMetrics,
        ];
        for act in others {
            assert_eq!(agent.clone().must(act).unwrap_err().refusal(), FORBIDDEN, "{act}");
        }
    }

    #[test]
    fn anybody_may_do_everything_but_be_an_agent() {
        let agent = AgentId::of(&PublicKey::from([7; 32]));
        assert!(Caller::Anybody.must(Act::ManageAgent { agent: &agent, owner: None }).is_ok());
        assert!(Caller::Anybody.must(Act::ListAll).is_ok());
        let refused = Caller::Anybody.must(Act::BeAgent(&agent)).unwrap_err();
        assert_eq!(refused.refusal(), SIGNATURE_INVALID);
    }
}
