//! Agents. An agent's identity is on an item of its own; its evidence is on its user's item. So accepting an
//! attestation takes one conditional write, and a verdict needs no second read.
//!
//! An agent is paired with a browser, which holds a witness token, and attached to at most one user at a time. The
//! user's item decides to whom it is attached; the agent's own item only stores its last attachment.

use super::cause::Cause;
use super::expression::{Condition, absent, below, exists, is};
use super::item::{Item, binding, bytes, checked, integer, is_expired, names, seconds, user};
use super::keys;
use super::lists::present;
use super::table::{Table, Write};
use super::users::{barred, missing, unexpired};
use crate::{Kind, NextAttestation, Refusal, Shown, StoreError};
use aws_sdk_dynamodb::Client;
use domain::user::User;
use domain::verdict::Policy;
use domain::{
    AgentId, Attestation, Challenge, Condition as Measured, DeviceBinding, Fingerprint, PublicKey, Route, Timestamp,
    UserId,
};
use std::time::Duration;

/// 404: there is no such agent.
pub const AGENT_NOT_FOUND: Refusal = Refusal::new(Kind::NotFound, "agent_not_found", "there is no such agent");
/// 410: the agent may no longer attest. Its person can pair it again.
pub const AGENT_REVOKED: Refusal =
    Refusal::new(Kind::Gone, "agent_revoked", "this agent was revoked, or its pairing expired; pair it again");
/// 409: no person has attached the agent.
pub const AGENT_IDLE: Refusal =
    Refusal::new(Kind::Conflict, "agent_idle", "no person has attached this agent").retry_after(IDLE_S);
/// 409: this is not the next attestation. The refusal shows the agent's state.
pub const SEQUENCE_CONFLICT: Refusal = Refusal::new(
    Kind::Conflict,
    "sequence_conflict",
    "this is not the next attestation; measure again with expectedSeq and challenge",
);
/// 409: the window ends no later than the window of the last attestation. The refusal shows the agent's state.
pub const WINDOW_NOT_NEWER: Refusal = Refusal::new(
    Kind::Conflict,
    "window_not_newer",
    "toMs must be later than that of the last attestation; measure again",
);
/// Seconds after which an agent that is attached to nobody asks again.
const IDLE_S: u16 = 30;

/// The attributes of a user's item that hold evidence.
pub(super) const EVIDENCE: &[&str] = &[
    "heardAt",
    "heardVersion",
    "heardFlag",
    "heardSignal",
    "heardCondition",
    "heardRoute",
    "heardId",
    "heardLabel",
    "heardTwin",
    "heardSilentSince",
];
/// The attributes of a user's item that name its agent and describe the next attestation.
pub(super) const AGENT: &[&str] = &["agentId", "agentSeq", "agentRevoked", "challenge", "attested"];
/// The attributes that hold a person's device binding.
pub(super) const BINDING: &[&str] = &["boundDeviceId", "boundAgentDeviceId"];
/// Attempts when another pairing or attachment happens between a read and the write.
pub(super) const TRIES_MAX: usize = 3;
/// How long an agent stays paired with its browser after it was attached or renewed.
const PAIRED_FOR: Duration = Duration::from_hours(30 * 24);
/// An agent that attests renews its pairing when less than this is left, so that the renewal is written twice a month.
const RENEW_BELOW: Duration = Duration::from_hours(15 * 24);

/// The agents of the `state` table.
#[derive(Debug, Clone)]
pub struct Agents {
    pub(super) table: Table,
    pub(super) policy: Policy,
}

/// An agent, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// The user to whom it was attached last; that user's item says whether it still is.
    pub user_id: Option<UserId>,
    /// The key that signs its attestations.
    pub public_key: PublicKey,
    /// It may no longer attest: it was revoked, or its pairing expired.
    pub revoked: bool,
    expires_at: Timestamp,
    pub(super) binding: Option<DeviceBinding>,
    /// Number of attachments so far. Two concurrent attachments write the same number, so one of them is refused.
    pub(super) attachments: u64,
    /// Fingerprint of the token of the browser with which it is paired.
    witness: Option<Fingerprint>,
}

/// An accepted attestation, new or repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The user's state with the verdicts that hold now.
    pub user: User,
    /// The number of this attestation.
    pub seq: u64,
    /// The challenge that the next attestation must repeat.
    pub next_challenge: Challenge,
}

impl Agents {
    /// Agents in `table`; `policy` judges their evidence.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { table: Table::new(client, table), policy }
    }

    /// The policy that judges evidence.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Reads an agent.
    ///
    /// # Errors
    /// [`AGENT_NOT_FOUND`]; [`AGENT_REVOKED`] if only a tombstone of it is left.
    pub async fn get(&self, id: &AgentId, now: Timestamp) -> Result<Agent, StoreError> {
        agent(id, self.table.get(keys::agent(id)).await?.ok_or(AGENT_NOT_FOUND)?, now)
    }

    /// The user to whom an agent was attached last. `None`: it never was attached, or only a tombstone of it is left.
    ///
    /// # Errors
    /// [`AGENT_NOT_FOUND`].
    pub async fn owner(&self, id: &AgentId, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        match self.get(id, now).await {
            Err(error) if error.is(AGENT_REVOKED) => Ok(None),
            found => Ok(found?.user_id),
        }
    }

    /// Accepts an attestation by one conditional write. The conditions: its number is the next one, it answers the last
    /// challenge, and its window ends after the last window. `body` is the signed text, `next` the challenge for the
    /// following attestation.
    ///
    /// # Errors
    /// [`AGENT_IDLE`] if the agent is attached to nobody, or its person has left; [`AGENT_REVOKED`];
    /// [`SEQUENCE_CONFLICT`], also as the answer to number 0, and [`WINDOW_NOT_NEWER`]; both show the expected number
    /// and challenge.
    pub async fn attest(
        &self,
        agent: &Agent,
        attestation: Attestation,
        body: &[u8],
        next: Challenge,
        cause: &Cause,
    ) -> Result<Attested, StoreError> {
        let now = cause.at;
        let user_id = agent.user_id.as_ref().ok_or(AGENT_IDLE)?;
        if attestation.seq == 0 {
            // Number 0 carries no evidence: it asks for the next number and challenge.
            let item = self.read_user(user_id, now).await?.ok_or(AGENT_IDLE)?;
            if is_gone(&item, now)? {
                return Err(AGENT_IDLE.into());
            }
            return Err(self.refusal(agent, item, None, now)?);
        }
        let (seq, fingerprint) = (attestation.seq, Fingerprint::of(body));
        let challenge = attestation.challenge;
        let evidence = attestation.evidence(now);
        let device = evidence.device.as_ref();
        let is_next = is("agentId", &agent.id).and(is("agentSeq", seq - 1)).and(is("challenge", challenge));
        let attested = Write::update(keys::user(user_id))
            .by(cause)
            .set("agentSeq", seq)
            .set("challenge", next)
            .set("attested", fingerprint)
            .set("heardAt", evidence.observed_at)
            .set("heardVersion", evidence.version)
            .set("heardFlag", evidence.flag.as_str())
            .set("heardSignal", evidence.signal.as_str())
            // The most common values are stored as no attribute at all.
            .set_or_remove("heardCondition", unless(evidence.condition, Measured::Measured).map(Measured::as_str))
            .set_or_remove("heardRoute", unless(evidence.route, Route::Direct).map(Route::as_str))
            .set_or_remove("heardId", device.map(|device| device.id.as_str()))
            .set_or_remove("heardLabel", device.map(|device| device.label.as_str()))
            .set_or_remove("heardTwin", device.and_then(|device| unless(!device.unique, false)))
            .set_or_remove("heardSilentSince", evidence.silent_since)
            .when(is_next.and(absent("agentRevoked")).and(present(now)))
            .when(absent("heardAt").or(below("heardAt", evidence.observed_at)));
        match self.table.change(attested).await? {
            Ok(item) => {
                self.renew(agent, now).await;
                Ok(Attested { user: user(item, self.policy, now)?, seq, next_challenge: next })
            }
            Err(old) if old.is_empty() || is_gone(&old, now)? => Err(AGENT_IDLE.into()),
            Err(old) => {
                let is_this_one = names(&old, &agent.id) && !old.contains_key("agentRevoked");
                if is_this_one
                    && integer(&old, "agentSeq")? == seq
                    && Fingerprint::from(bytes(&old, "attested")?) == fingerprint
                {
                    let next_challenge = bytes(&old, "challenge")?.into();
                    return Ok(Attested { user: user(old, self.policy, now)?, seq, next_challenge });
                }
                Err(self.refusal(agent, old, Some((seq, challenge)), now)?)
            }
        }
    }

    /// Why the user's item refuses this agent's attestation.
    fn refusal(
        &self,
        agent: &Agent,
        item: Item,
        said: Option<(u64, Challenge)>,
        now: Timestamp,
    ) -> Result<StoreError, StoreError> {
        if !names(&item, &agent.id) {
            return Ok(AGENT_IDLE.into());
        }
        if item.contains_key("agentRevoked") {
            return Ok(AGENT_REVOKED.into());
        }
        let (expected, challenge) = (integer(&item, "agentSeq")? + 1, bytes(&item, "challenge")?.into());
        let next = Box::new(NextAttestation { expected, challenge, user: user(item, self.policy, now)? });
        let is_next = said == Some((expected, challenge));
        Ok(StoreError::Refused(
            if is_next { WINDOW_NOT_NEWER } else { SEQUENCE_CONFLICT },
            Shown::NextAttestation(next),
        ))
    }

    /// Prolongs the pairing of an agent that is in use. If that fails, the next attestation tries again.
    async fn renew(&self, agent: &Agent, now: Timestamp) {
        if agent.expires_at > now.plus(RENEW_BELOW) {
            return;
        }
        let renewal = Write::update(keys::agent(&agent.id)).set("expiresAt", expiry(now)).when(lives());
        // The token goes first: an agent that outlives its browser's token could never be attached again.
        for write in agent.witness.iter().map(|token| extended(token, now)).chain([renewal]) {
            if let Err(error) = self.table.write(write).await {
                tracing::warn!(error = %telemetry::Chain(&error), "failed to renew an agent's pairing");
                return;
            }
        }
    }

    /// Stores a person's statement that a device of the browser and a device of the agent are the same. It holds for
    /// this user, and for every user to whom the agent is attached later.
    ///
    /// # Errors
    /// [`AGENT_REVOKED`]; [`AGENT_IDLE`] if the agent is attached to nobody.
    pub async fn bind(&self, agent: &Agent, word: DeviceBinding, cause: &Cause) -> Result<User, StoreError> {
        let (id, now) = (&agent.id, cause.at);
        if agent.revoked {
            return Err(AGENT_REVOKED.into());
        }
        let user_id = agent.user_id.as_ref().ok_or(AGENT_IDLE)?;
        for _ in 0..TRIES_MAX {
            let is_attached = is("agentId", id).and(absent("agentRevoked")).and(unexpired(now));
            let told = said(Write::update(keys::user(user_id)), Some(&word)).own(cause).when(is_attached);
            let remembered = said(Write::update(keys::agent(id)), Some(&word));
            let remembered = remembered.set(keys::CHANGED_BY, cause.by.to_string()).when(lives());
            let made = self.table.transact(vec![told, remembered]).await?;
            let item = self.read_user(user_id, now).await?.filter(|item| names(item, id)).ok_or(AGENT_IDLE)?;
            barred(&item, cause)?;
            if item.contains_key("agentRevoked") {
                return Err(AGENT_REVOKED.into());
            }
            if made {
                return user(item, self.policy, now);
            }
        }
        Err(StoreError::Unavailable("others kept changing this agent".into()))
    }

    /// Revokes an agent: first on its own item, which alone decides, then on its user's item, from which its evidence
    /// is removed. The call is idempotent, and repeating it completes an interrupted one.
    ///
    /// # Errors
    /// [`AGENT_NOT_FOUND`]
    pub async fn revoke(&self, id: &AgentId, cause: &Cause) -> Result<(), StoreError> {
        let ended = self.table.change(ending(id, cause).when(exists(keys::PK))).await?;
        let mut item = ended.map_err(|_| AGENT_NOT_FOUND)?;
        match checked(&mut item, "userId")? {
            Some(user_id) => self.forget(&user_id, id, cause).await,
            None => Ok(()),
        }
    }

    /// Revokes the agent that a user's state names, even if nothing else is left of it. If the agent's item is already
    /// gone, a tombstone keeps its key from being enrolled again for [`PAIRED_FOR`].
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`](super::USER_NOT_FOUND); [`AGENT_NOT_FOUND`] if the state names no agent.
    pub async fn revoke_of(&self, id: &UserId, cause: &Cause) -> Result<(), StoreError> {
        let mut item = self.read_own(id, cause).await?;
        let agent = checked(&mut item, "agentId")?.ok_or(AGENT_NOT_FOUND)?;
        let mut ended = self.table.change(ending(&agent, cause)).await?.unwrap_or_default();
        // The agent may have been attached to another user in the meantime.
        if let Some(other) = checked(&mut ended, "userId")?.filter(|other| other != id) {
            self.forget(&other, &agent, cause).await?;
        }
        self.forget(id, &agent, cause).await
    }

    /// Removes the evidence of a revoked agent from its user's item.
    async fn forget(&self, id: &UserId, agent: &AgentId, cause: &Cause) -> Result<(), StoreError> {
        let forgotten = Write::update(keys::user(id))
            .by(cause)
            .set("agentRevoked", true)
            .remove(&["attested"])
            .remove(EVIDENCE)
            .remove(BINDING)
            .when(is("agentId", agent).and(absent("agentRevoked")));
        // A refusal means that the user's item is gone, names another agent, or was changed already.
        self.table.write(forgotten).await.map(drop)
    }

    /// The caller's own item, read consistently.
    pub(super) async fn read_own(&self, id: &UserId, cause: &Cause) -> Result<Item, StoreError> {
        let item = self.read_user(id, cause.at).await?.ok_or(missing(cause))?;
        barred(&item, cause)?;
        Ok(item)
    }

    /// A user's item, read consistently. `None`: there is none, or it has expired.
    pub(super) async fn read_user(&self, id: &UserId, now: Timestamp) -> Result<Option<Item>, StoreError> {
        let Some(item) = self.table.get_now(keys::user(id)).await? else { return Ok(None) };
        Ok(if is_expired(&item, now)? { None } else { Some(item) })
    }
}

/// A write to the token's item that prolongs it as long as the pairing.
pub(super) fn extended(token: &Fingerprint, now: Timestamp) -> Write {
    Write::update(keys::witness(token)).set("expiresAt", expiry(now)).when(exists("agentId"))
}

/// A write to the agent's item that revokes it. From then on nobody can attach it.
fn ending(id: &AgentId, cause: &Cause) -> Write {
    let write = Write::update(keys::agent(id)).set("revoked", true).set("expiresAt", expiry(cause.at));
    write.set(keys::CHANGED_BY, cause.by.to_string())
}

/// Sets or removes a person's device binding.
pub(super) fn said(write: Write, word: Option<&DeviceBinding>) -> Write {
    write
        .set_or_remove("boundDeviceId", word.map(|word| String::from(word.device_id.clone())))
        .set_or_remove("boundAgentDeviceId", word.map(|word| String::from(word.agent_device_id.clone())))
}

/// A condition on an agent's item: it is not a tombstone, and not revoked.
pub(super) fn lives() -> Condition {
    exists("publicKey").and(absent("revoked"))
}

/// The value, unless it is the usual one.
fn unless<T: Copy + PartialEq>(value: T, usual: T) -> Option<T> {
    (value != usual).then_some(value)
}

pub(super) fn expiry(now: Timestamp) -> u64 {
    seconds(now.plus(PAIRED_FOR))
}

/// Whether the person of a user's item has left: the item or the lease has expired. An agent does not listen then.
fn is_gone(item: &Item, now: Timestamp) -> Result<bool, StoreError> {
    let lapsed = item.contains_key("leaseUntil") && integer(item, "leaseUntil")? <= now.ms();
    Ok(lapsed || is_expired(item, now)?)
}

/// Reads an agent's item.
pub(super) fn agent(id: &AgentId, mut item: Item, now: Timestamp) -> Result<Agent, StoreError> {
    let revoked = item.contains_key("revoked");
    if revoked && !item.contains_key("publicKey") {
        return Err(AGENT_REVOKED.into());
    }
    Ok(Agent {
        id: id.clone(),
        public_key: bytes(&item, "publicKey")?.into(),
        // The table removes expired items only within days. Until then, an expired agent may not attest either.
        revoked: revoked || is_expired(&item, now)?,
        expires_at: Timestamp::from_ms(integer(&item, "expiresAt")?.saturating_mul(1000)),
        attachments: if item.contains_key("attachments") { integer(&item, "attachments")? } else { 0 },
        witness: item.contains_key("witness").then(|| bytes(&item, "witness").map(Fingerprint::from)).transpose()?,
        user_id: checked(&mut item, "userId")?,
        binding: binding(&mut item)?,
    })
}
