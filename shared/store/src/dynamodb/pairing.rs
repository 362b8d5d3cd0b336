//! Pairing: the page shows a code, an agent enrols with it, and the browser's token attaches the agent to a person.

use super::agents::{
    AGENT, AGENT_NOT_FOUND, AGENT_REVOKED, Agent, Agents, BINDING, EVIDENCE, TRIES_MAX, agent, expiry, extended, lives,
    said,
};
use super::cause::Cause;
use super::expression::{absent, is};
use super::item::{bytes, checked, integer, is_expired, names, user};
use super::keys;
use super::table::Write;
use super::users::{USER_NOT_FOUND, barred, missing, unexpired};
use crate::{Kind, Refusal, StoreError};
use domain::user::User;
use domain::{AgentId, Challenge, Enrolment, Fingerprint, PairingCode, Timestamp, UserId, WitnessToken};

/// 401: the code is wrong, used, expired or another person's.
pub const CODE_INVALID: Refusal = Refusal::new(
    Kind::Unauthenticated,
    "code_invalid",
    "this code is wrong, used, expired or another person's; ask for a new one",
);
/// 409: an agent already uses this key.
pub const KEY_BOUND: Refusal =
    Refusal::new(Kind::Conflict, "key_bound", "this key belongs to an agent already; make a new one");

impl Agents {
    /// Starts a pairing. Until `until`, the code can enrol one agent; afterwards, the token can attach that agent. An
    /// earlier code becomes invalid.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]
    pub async fn start_pairing(
        &self,
        id: &UserId,
        code: &PairingCode,
        token: &WitnessToken,
        until: Timestamp,
        cause: &Cause,
    ) -> Result<(), StoreError> {
        let pairing = Write::update(keys::user(id))
            .own(cause)
            .set("pairingCode", code.fingerprint())
            .set("pairingWitness", token.fingerprint())
            .set("pairingUntil", until)
            .remove(&["pairingAgent"])
            .when(unexpired(cause.at).and(absent(keys::WAITING)));
        let Err(old) = self.table.write(pairing).await? else { return Ok(()) };
        if !old.is_empty() {
            barred(&old, cause)?;
        }
        Err(missing(cause).into())
    }

    /// Pairs an agent with the browser that showed the code, and uses the code up. The agent is not attached yet: only
    /// the browser's token can do that. Repeating the same enrolment changes nothing while the code is valid.
    ///
    /// # Errors
    /// [`CODE_INVALID`] if the code is not valid; [`KEY_BOUND`] if an agent already uses the key; [`AGENT_REVOKED`] if
    /// that agent was revoked in the meantime.
    pub async fn enroll(&self, enrolment: &Enrolment, cause: &Cause) -> Result<(), StoreError> {
        let (id, now) = (AgentId::of(&enrolment.public_key), cause.at);
        let code = enrolment.code.fingerprint();
        for _ in 0..TRIES_MAX {
            let mut item = self.read_user(&enrolment.user_id, now).await?.ok_or(CODE_INVALID)?;
            if !item.contains_key("pairingCode")
                || Fingerprint::from(bytes(&item, "pairingCode")?) != code
                || integer(&item, "pairingUntil")? <= now.ms()
            {
                return Err(CODE_INVALID.into());
            }
            match checked::<AgentId>(&mut item, "pairingAgent")? {
                None => {}
                Some(agent) if agent == id => {
                    let agent = self.get(&id, now).await?;
                    return if agent.revoked { Err(AGENT_REVOKED.into()) } else { Ok(()) };
                }
                Some(_) => return Err(CODE_INVALID.into()),
            }
            let token = Fingerprint::from(bytes(&item, "pairingWitness")?);
            let birth = Write::put(keys::agent(&id))
                .set("publicKey", enrolment.public_key)
                .set("witness", token)
                .set("expiresAt", expiry(now))
                .set(keys::CHANGED_BY, cause.by.to_string())
                .when(absent(keys::PK));
            let key = Write::put(keys::witness(&token))
                .set("agentId", &id)
                .set("expiresAt", expiry(now))
                .when(absent(keys::PK));
            // A used code is kept until it expires, so that an enrolment whose answer was lost can be repeated.
            let use_up = Write::update(keys::user(&enrolment.user_id))
                .by(cause)
                .set("pairingAgent", &id)
                .when(is("pairingCode", code).and(absent("pairingAgent")));
            if self.table.transact(vec![birth, key, use_up]).await? {
                return Ok(());
            }
            // Either the key already has an agent, or another enrolment came first: read again.
        }
        match self.get(&id, now).await {
            Ok(_) => Err(KEY_BOUND.into()),
            Err(error) if error.is(AGENT_NOT_FOUND) => {
                Err(StoreError::Unavailable("other enrolments kept coming first".into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Attaches the agent that was enrolled with this token's code to a user, in place of the user's previous agent,
    /// and detaches it from its previous user, in one transaction. It also renews the pairing. Repeating the call
    /// changes nothing else.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]; [`AGENT_NOT_FOUND`] if no agent was enrolled with the token's code; [`AGENT_REVOKED`] if
    /// that agent was revoked, or its pairing expired.
    pub async fn attach(
        &self,
        id: &UserId,
        token: &WitnessToken,
        challenge: Challenge,
        cause: &Cause,
    ) -> Result<User, StoreError> {
        let token = token.fingerprint();
        let now = cause.at;
        for _ in 0..TRIES_MAX {
            // The agent is read first: an attachment that comes in between is then seen in the user's item, and not made
            // twice. Whether the caller may act is told first.
            let agent = self.agent_of(&token, now).await;
            let item = self.read_own(id, cause).await?;
            let agent = agent?;
            let is_attached =
                names(&item, &agent.id) && !item.contains_key("agentRevoked") && agent.user_id.as_ref() == Some(id);
            let mut writes = vec![served(&agent, id, !is_attached, cause), extended(&token, now)];
            if !is_attached {
                writes.push(gained(id, &agent, challenge, cause));
                if let Some(before) = agent.user_id.as_ref().filter(|before| *before != id)
                    && self.table.get_now(keys::user(before)).await?.is_some_and(|item| names(&item, &agent.id))
                {
                    writes.push(lost(before, &agent.id, cause));
                }
            }
            // The agent was revoked or attached in the meantime, or the user is gone: read again.
            if !self.table.transact(writes).await? {
                continue;
            }
            let item = self.read_user(id, now).await?.ok_or(USER_NOT_FOUND)?;
            return user(item, self.policy, now);
        }
        Err(StoreError::Unavailable("others kept attaching this agent".into()))
    }

    /// The agent that was enrolled with this token's code.
    async fn agent_of(&self, token: &Fingerprint, now: Timestamp) -> Result<Agent, StoreError> {
        let mut key = self.table.get_now(keys::witness(token)).await?.ok_or(AGENT_NOT_FOUND)?;
        if is_expired(&key, now)? {
            return Err(AGENT_REVOKED.into());
        }
        let id = checked(&mut key, "agentId")?.ok_or(StoreError::Corrupt { attribute: "agentId" })?;
        let item = self.table.get_now(keys::agent(&id)).await?.ok_or(AGENT_REVOKED)?;
        Some(agent(&id, item, now)?).filter(|agent| !agent.revoked).ok_or(AGENT_REVOKED.into())
    }
}

/// A write to the agent's item: the user whom it serves from now on.
fn served(agent: &Agent, id: &UserId, is_new: bool, cause: &Cause) -> Write {
    let same = match agent.attachments {
        0 => absent("attachments"),
        last => is("attachments", last),
    };
    Write::update(keys::agent(&agent.id))
        .set("userId", id)
        .set("expiresAt", expiry(cause.at))
        .set("attachments", agent.attachments + u64::from(is_new))
        .set(keys::CHANGED_BY, cause.by.to_string())
        .when(lives().and(same))
}

/// A write to the user's item: a new agent without evidence. The stored device binding of this agent applies again.
fn gained(id: &UserId, agent: &Agent, challenge: Challenge, cause: &Cause) -> Write {
    said(Write::update(keys::user(id)), agent.binding.as_ref())
        .own(cause)
        .set("agentId", &agent.id)
        .set("agentSeq", 0)
        .set("challenge", challenge)
        .remove(&["agentRevoked", "attested"])
        .remove(EVIDENCE)
        .when(unexpired(cause.at))
}

/// A write to the previous user's item: the agent is detached.
fn lost(id: &UserId, agent: &AgentId, cause: &Cause) -> Write {
    let write = Write::update(keys::user(id)).by(cause).remove(AGENT).remove(EVIDENCE).remove(BINDING);
    write.when(is("agentId", agent))
}
