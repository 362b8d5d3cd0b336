//! Agents: who they are on an item of their own, what they saw on their user's, so that accepting an attestation is one
//! conditional write and a verdict needs no second read.
//!
//! An agent is paired with a browser, which holds a witness token, and attached to at most one user at a time: the user's
//! item names it. The agent's own item remembers where it was attached last; the user's item decides.

use super::cause::Cause;
use super::expression::{Condition, absent, below, exists, is};
use super::item::{Item, binding, bytes, checked, integer, is_expired, names, seconds, user};
use super::keys;
use super::lists::present;
use super::table::{Table, Write};
use super::users::{USER_NOT_FOUND, unexpired};
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
/// 410: the agent may not attest any more. Its person pairs it again.
pub const AGENT_REVOKED: Refusal =
    Refusal::new(Kind::Gone, "agent_revoked", "this agent was revoked, or its pairing expired; pair it again");
/// 409: no person has attached the agent.
pub const AGENT_IDLE: Refusal =
    Refusal::new(Kind::Conflict, "agent_idle", "no person has attached this agent").retry_after(IDLE_S);
/// 409: the attestation is not the one that comes next. It shows where the agent stands.
pub const SEQUENCE_CONFLICT: Refusal = Refusal::new(
    Kind::Conflict,
    "sequence_conflict",
    "this is not the next attestation; measure again with expectedSeq and challenge",
);
/// 409: the window ends no later than that of the last attestation. It shows where the agent stands.
pub const WINDOW_NOT_NEWER: Refusal = Refusal::new(
    Kind::Conflict,
    "window_not_newer",
    "toMs must be later than that of the last attestation; measure again",
);
/// Seconds after which an agent that nobody has attached asks again.
const IDLE_S: u16 = 30;

/// What an attestation writes on the user's item.
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
/// Which agent is attached to a user, and what its next attestation must be.
pub(super) const AGENT: &[&str] = &["agentId", "agentSeq", "agentRevoked", "challenge", "attested"];
/// What a person said about the agent's device.
pub(super) const BINDING: &[&str] = &["boundDeviceId", "boundAgentDeviceId"];
/// Tries when another pairing or attachment came between reading and writing.
pub(super) const TRIES_MAX: usize = 3;
/// How long an agent stays paired with its browser after it was attached or renewed.
const PAIRED_FOR: Duration = Duration::from_hours(30 * 24);
/// An agent that attests renews its pairing when less than this is left, so that it is written twice a month.
const RENEW_BELOW: Duration = Duration::from_hours(15 * 24);

/// The agents of the `state` table.
#[derive(Debug, Clone)]
pub struct Agents {
    pub(super) table: Table,
    pub(super) policy: Policy,
}

/// An agent as it was paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Which one.
    pub id: AgentId,
    /// Whom it was attached to last; that user's item says whether it still is.
    pub user_id: Option<UserId>,
    /// The key that signs its attestations.
    pub public_key: PublicKey,
    /// It may not attest any more: it was revoked, or its pairing lapsed.
    pub revoked: bool,
    expires_at: Timestamp,
    pub(super) binding: Option<DeviceBinding>,
    /// How often it was attached to somebody: two attachments at once have the same number, so one of them is refused.
    pub(super) attachments: u64,
    /// The token of the browser that it is paired with.
    witness: Option<Fingerprint>,
}

/// An attestation that was accepted, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The user's state with the verdicts that hold now.
    pub user: User,
    /// The number of this attestation.
    pub seq: u64,
    /// What the next one must repeat.
    pub next_challenge: Challenge,
}

impl Agents {
    /// Agents in `table`; their evidence is judged by `policy`.
    #[must_use]
    pub fn new(client: Client, table: String, policy: Policy) -> Self {
        Self { table: Table::new(client, table), policy }
    }

    /// How evidence is judged.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Reads an agent.
    ///
    /// # Errors
    /// [`AGENT_NOT_FOUND`]; [`AGENT_REVOKED`] if nothing but that is left of it.
    pub async fn get(&self, id: &AgentId, now: Timestamp) -> Result<Agent, StoreError> {
        agent(id, self.table.get(keys::agent(id)).await?.ok_or(AGENT_NOT_FOUND)?, now)
    }

    /// The user whom an agent belongs to: the one it was attached to last. Nobody, if nothing but its end is known of it.
    ///
    /// # Errors
    /// [`AGENT_NOT_FOUND`].
    pub async fn owner(&self, id: &AgentId, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        match self.get(id, now).await {
            Err(error) if error.is(AGENT_REVOKED) => Ok(None),
            found => Ok(found?.user_id),
        }
    }

    /// Takes what an agent saw, by one conditional write: its number is the next one, it answers the last challenge, and its
    /// window ends after the last one. `body` is what was signed, `next` the challenge for the attestation after this one.
    ///
    /// # Errors
    /// [`AGENT_IDLE`] if nobody has attached it, or whoever did is gone; [`AGENT_REVOKED`];
    /// [`SEQUENCE_CONFLICT`], also for the question where to begin, and [`WINDOW_NOT_NEWER`], both with what would have been right.
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
            // A question where to begin, and no evidence.
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
            // The usual is stored as no attribute at all.
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

    /// Why the user's item refuses what this agent says.
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

    /// Lengthens the pairing of an agent that is in use. If that fails, the next attestation tries again.
    async fn renew(&self, agent: &Agent, now: Timestamp) {
        if agent.expires_at > now.plus(RENEW_BELOW) {
            return;
        }
        let renewal = Write::update(keys::agent(&agent.id)).set("expiresAt", expiry(now)).when(lives());
        // The token first: an agent that lives longer than the token of its browser could not be attached anew.
        for write in agent.witness.iter().map(|token| extended(token, now)).chain([renewal]) {
            if let Err(error) = self.table.write(write).await {
                tracing::warn!(error = %telemetry::Chain(&error), "an agent's pairing was not renewed");
                return;
            }
        }
    }

    /// Stores a person's word that a device of the browser's and one of the agent's are the same: for this user, and for
    /// whomever the agent is attached to later.
    ///
    /// # Errors
    /// [`AGENT_REVOKED`]; [`AGENT_IDLE`] if it is attached to nobody.
    pub async fn bind(&self, agent: &Agent, word: DeviceBinding, cause: &Cause) -> Result<User, StoreError> {
        let (id, now) = (&agent.id, cause.at);
        if agent.revoked {
            return Err(AGENT_REVOKED.into());
        }
        let user_id = agent.user_id.as_ref().ok_or(AGENT_IDLE)?;
        for _ in 0..TRIES_MAX {
            let is_attached = is("agentId", id).and(absent("agentRevoked")).and(unexpired(now));
            let told = said(Write::update(keys::user(user_id)), Some(&word)).by(cause).when(is_attached);
            let remembered = said(Write::update(keys::agent(id)), Some(&word));
            let remembered = remembered.set(keys::CHANGED_BY, cause.by.to_string()).when(lives());
            let made = self.table.transact(vec![told, remembered]).await?.is_ok();
            let item = self.read_user(user_id, now).await?.filter(|item| names(item, id)).ok_or(AGENT_IDLE)?;
            if item.contains_key("agentRevoked") {
                return Err(AGENT_REVOKED.into());
            }
            if made {
                return user(item, self.policy, now);
            }
        }
        Err(StoreError::Unavailable("others kept changing this agent".into()))
    }

    /// Ends an agent: first on its own item, which alone decides, then on its user's, whose evidence goes. Once more is
    /// harmless, and finishes what was interrupted.
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

    /// Ends the agent that a user's state shows, also if nothing else is left of it. Where its item is gone already, a tombstone
    /// keeps its key from coming back for as long.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]; [`AGENT_NOT_FOUND`] if the state shows none.
    pub async fn revoke_of(&self, id: &UserId, cause: &Cause) -> Result<(), StoreError> {
        let mut item = self.read_user(id, cause.at).await?.ok_or(USER_NOT_FOUND)?;
        let agent = checked(&mut item, "agentId")?.ok_or(AGENT_NOT_FOUND)?;
        let mut ended = self.table.change(ending(&agent, cause)).await?.unwrap_or_default();
        // Perhaps it was attached to somebody else a moment ago.
        if let Some(other) = checked(&mut ended, "userId")?.filter(|other| other != id) {
            self.forget(&other, &agent, cause).await?;
        }
        self.forget(id, &agent, cause).await
    }

    /// Takes what a revoked agent saw from its user's item.
    async fn forget(&self, id: &UserId, agent: &AgentId, cause: &Cause) -> Result<(), StoreError> {
        let forgotten = Write::update(keys::user(id))
            .by(cause)
            .set("agentRevoked", true)
            .remove(&["attested"])
            .remove(EVIDENCE)
            .remove(BINDING)
            .when(is("agentId", agent).and(absent("agentRevoked")));
        // Refused: the user is forgotten, has another agent, or knows it already.
        self.table.write(forgotten).await.map(drop)
    }

    /// A user's item as it is now; none if it is past its time.
    pub(super) async fn read_user(&self, id: &UserId, now: Timestamp) -> Result<Option<Item>, StoreError> {
        let Some(item) = self.table.get_now(keys::user(id)).await? else { return Ok(None) };
        Ok(if is_expired(&item, now)? { None } else { Some(item) })
    }
}

/// On the token's item: good for as long as the pairing.
pub(super) fn extended(token: &Fingerprint, now: Timestamp) -> Write {
    Write::update(keys::witness(token)).set("expiresAt", expiry(now)).when(exists("agentId"))
}

/// On the agent's item: its end. From then on nobody can attach it.
fn ending(id: &AgentId, cause: &Cause) -> Write {
    let write = Write::update(keys::agent(id)).set("revoked", true).set("expiresAt", expiry(cause.at));
    write.set(keys::CHANGED_BY, cause.by.to_string())
}

/// A person's word about two devices, or none.
pub(super) fn said(write: Write, word: Option<&DeviceBinding>) -> Write {
    write
        .set_or_remove("boundDeviceId", word.map(|word| String::from(word.device_id.clone())))
        .set_or_remove("boundAgentDeviceId", word.map(|word| String::from(word.agent_device_id.clone())))
}

/// Of an agent's item: it is more than a tombstone, and not revoked.
pub(super) fn lives() -> Condition {
    exists("publicKey").and(absent("revoked"))
}

/// A value that is not the usual one.
fn unless<T: Copy + PartialEq>(value: T, usual: T) -> Option<T> {
    (value != usual).then_some(value)
}

pub(super) fn expiry(now: Timestamp) -> u64 {
    seconds(now.plus(PAIRED_FOR))
}

/// Whether the person of a user's item is gone: it is past its time, or their lease is. An agent does not listen then.
fn is_gone(item: &Item, now: Timestamp) -> Result<bool, StoreError> {
    let lapsed = item.contains_key("leaseUntil") && integer(item, "leaseUntil")? <= now.ms();
    Ok(lapsed || is_expired(item, now)?)
}

/// An agent's item, read.
pub(super) fn agent(id: &AgentId, mut item: Item, now: Timestamp) -> Result<Agent, StoreError> {
    let revoked = item.contains_key("revoked");
    if revoked && !item.contains_key("publicKey") {
        return Err(AGENT_REVOKED.into());
    }
    Ok(Agent {
        id: id.clone(),
        public_key: bytes(&item, "publicKey")?.into(),
        // The table removes what has lapsed within days: until then it may not attest either.
        revoked: revoked || is_expired(&item, now)?,
        expires_at: Timestamp::from_ms(integer(&item, "expiresAt")?.saturating_mul(1000)),
        attachments: if item.contains_key("attachments") { integer(&item, "attachments")? } else { 0 },
        witness: item.contains_key("witness").then(|| bytes(&item, "witness").map(Fingerprint::from)).transpose()?,
        user_id: checked(&mut item, "userId")?,
        binding: binding(&mut item)?,
    })
}
