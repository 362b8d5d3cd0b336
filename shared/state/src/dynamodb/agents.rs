//! Agents: who they are on an item of their own, what they saw on their user's, so that accepting an attestation is one
//! conditional write and a verdict needs no second read.

use super::item::{binary, bytes, checked, integer, number, user};
use super::keys::{self, META, PK, SK, STATE};
use super::{failed, send};
use crate::StateError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValue, TransactWriteItem, Update};
use domain::{
    AgentId, Attestation, Challenge, Condition, DeviceBinding, Enrolment, Fingerprint, Policy, PublicKey, Route,
    Timestamp, User, UserId,
};
use std::fmt::Write as _;
use std::time::Duration;

/// What an attestation writes on the user's item.
const EVIDENCE: &str = "heardAt, heardFlag, heardSignal, heardCondition, heardRoute, heardId, heardLabel, heardTwin";
/// What a person said about it.
const BINDING: &str = "boundDeviceId, boundAgentDeviceId";
/// What ends an agent, on its own item.
const END: &str = "SET revoked = :true, expiresAt = :expires";
/// Tries when another pairing of the same user came between reading and writing.
const PAIR_TRIES_MAX: usize = 3;

/// The agents of the `state` table.
#[derive(Debug, Clone)]
pub struct Agents {
    client: Client,
    table: String,
    keep_for: Duration,
    policy: Policy,
}

/// An agent as it was paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Which one.
    pub id: AgentId,
    /// Whose microphone it measures.
    pub user_id: UserId,
    /// The key that signs its attestations.
    pub public_key: PublicKey,
    /// It may not attest any more.
    pub revoked: bool,
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
    /// Agents in `table`, each paired for `keep_for`; their evidence is judged by `policy`.
    #[must_use]
    pub fn new(client: Client, table: String, keep_for: Duration, policy: Policy) -> Self {
        Self { client, table, keep_for, policy }
    }

    /// How evidence is judged.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Lets whoever knows the code pair an agent with a user until `until`. A code from before is good no more.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]
    pub async fn start_pairing(&self, id: &UserId, code: Fingerprint, until: Timestamp) -> Result<(), StateError> {
        let request = self
            .update_user(id)
            .update_expression("SET pairingCode = :code, pairingUntil = :until")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":code", binary(code.as_bytes()))
            .expression_attribute_values(":until", number(until.ms()));
        match send(request).await? {
            Ok(_) => Ok(()),
            Err(_) => Err(StateError::UserNotFound),
        }
    }

    /// Pairs an agent with the user who was shown the code, in place of the agent before. Returns the challenge for its
    /// first attestation. The same enrolment again gets the same challenge until that first attestation.
    ///
    /// # Errors
    /// [`StateError::PairingCode`] if the code is not good; [`StateError::KeyBound`] if the key has an agent already.
    pub async fn enroll(
        &self,
        enrolment: &Enrolment,
        challenge: Challenge,
        now: Timestamp,
    ) -> Result<Challenge, StateError> {
        let id = AgentId::of(&enrolment.public_key);
        for _ in 0..PAIR_TRIES_MAX {
            let output = self
                .client
                .get_item()
                .table_name(&self.table)
                .key(PK, keys::user(&enrolment.user_id))
                .key(SK, AttributeValue::S(STATE.to_owned()))
                .consistent_read(true)
                .send()
                .await
                .map_err(failed)?;
            let mut item =
                output.item.filter(|item| item.contains_key("pairingCode")).ok_or(StateError::PairingCode)?;
            if Fingerprint::from(bytes(&item, "pairingCode")?) != enrolment.code.fingerprint() {
                return Err(StateError::PairingCode);
            }
            let before: Option<AgentId> = checked(&mut item, "agentId")?;
            if before.as_ref() == Some(&id) && integer(&item, "agentSeq")? == 0 {
                return Ok(bytes(&item, "challenge")?.into());
            }
            if integer(&item, "pairingUntil")? <= now.ms() {
                return Err(StateError::PairingCode);
            }
            let mut request = self
                .client
                .transact_write_items()
                .transact_items(TransactWriteItem::builder().put(self.birth(&id, enrolment, now)?).build())
                .transact_items(
                    TransactWriteItem::builder()
                        .update(self.handover(enrolment, &id, before.as_ref(), challenge)?)
                        .build(),
                );
            if let Some(before) = &before {
                request =
                    request.transact_items(TransactWriteItem::builder().update(self.retirement(before, now)?).build());
            }
            match request.send().await {
                Ok(_) => return Ok(challenge),
                // Either the key has its agent, or another pairing of this user came between: look again.
                Err(SdkError::ServiceError(context)) if context.err().is_transaction_canceled_exception() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        match self.get(&id).await {
            Ok(_) => Err(StateError::KeyBound),
            Err(StateError::AgentNotFound) => Err(StateError::Unavailable("other pairings kept winning".into())),
            Err(error) => Err(error),
        }
    }

    fn birth(&self, id: &AgentId, enrolment: &Enrolment, now: Timestamp) -> Result<Put, StateError> {
        Put::builder()
            .table_name(&self.table)
            .item(PK, keys::agent(id))
            .item(SK, AttributeValue::S(META.to_owned()))
            .item("userId", AttributeValue::S(enrolment.user_id.to_string()))
            .item("publicKey", binary(enrolment.public_key.as_bytes()))
            .item("expiresAt", self.expiry(now))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(|error| StateError::Internal(error.into()))
    }

    /// A code that was used is kept until the first attestation, so that an enrolment whose answer was lost can be repeated.
    fn handover(
        &self,
        enrolment: &Enrolment,
        id: &AgentId,
        before: Option<&AgentId>,
        challenge: Challenge,
    ) -> Result<Update, StateError> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .key(PK, keys::user(&enrolment.user_id))
            .key(SK, AttributeValue::S(STATE.to_owned()))
            .update_expression(format!(
                "SET agentId = :agent, agentSeq = :zero, challenge = :challenge, pairingUntil = :zero \
                 REMOVE agentRevoked, attested, {EVIDENCE}, {BINDING}"
            ))
            .expression_attribute_values(":agent", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":challenge", binary(challenge.as_bytes()))
            .expression_attribute_values(":code", binary(enrolment.code.fingerprint().as_bytes()));
        let same = match before {
            Some(before) => {
                update = update.expression_attribute_values(":before", AttributeValue::S(before.to_string()));
                "agentId = :before"
            }
            None => "attribute_not_exists(agentId)",
        };
        update
            .condition_expression(format!("pairingCode = :code AND pairingUntil > :zero AND {same}"))
            .build()
            .map_err(|error| StateError::Internal(error.into()))
    }

    /// Ends an agent. Where its item is gone already, a tombstone keeps its key from coming back for as long.
    fn retirement(&self, id: &AgentId, now: Timestamp) -> Result<Update, StateError> {
        Update::builder()
            .table_name(&self.table)
            .key(PK, keys::agent(id))
            .key(SK, AttributeValue::S(META.to_owned()))
            .update_expression(END)
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":expires", self.expiry(now))
            .build()
            .map_err(|error| StateError::Internal(error.into()))
    }

    fn expiry(&self, now: Timestamp) -> AttributeValue {
        number(now.plus(self.keep_for).ms() / 1000)
    }

    /// Reads an agent.
    ///
    /// # Errors
    /// [`StateError::AgentNotFound`]; [`StateError::AgentRevoked`] if nothing but that is left of it.
    pub async fn get(&self, id: &AgentId) -> Result<Agent, StateError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(PK, keys::agent(id))
            .key(SK, AttributeValue::S(META.to_owned()))
            .send()
            .await
            .map_err(failed)?;
        let mut item = output.item.ok_or(StateError::AgentNotFound)?;
        let revoked = item.contains_key("revoked");
        let user_id = match checked(&mut item, "userId")? {
            Some(user_id) => user_id,
            None if revoked => return Err(StateError::AgentRevoked),
            None => return Err(StateError::Corrupt { attribute: "userId" }),
        };
        Ok(Agent { id: id.clone(), user_id, public_key: bytes(&item, "publicKey")?.into(), revoked })
    }

    /// Takes what an agent saw, by one conditional write: its number is the next one, and it answers the last challenge.
    /// `body` is what was signed, `next` the challenge for the attestation after this one.
    ///
    /// # Errors
    /// [`StateError::UserNotFound`]; [`StateError::AgentRevoked`] if it is, or another agent took its place;
    /// [`StateError::Sequence`] with what would have been right.
    pub async fn attest(
        &self,
        agent: &Agent,
        attestation: Attestation,
        body: &[u8],
        next: Challenge,
        now: Timestamp,
    ) -> Result<Attested, StateError> {
        let (seq, challenge, fingerprint) = (attestation.seq, attestation.challenge, Fingerprint::of(body));
        let evidence = attestation.evidence(now);
        let word = |word: &str| AttributeValue::S(word.to_owned());
        let mut set = String::from(
            "SET agentSeq = :seq, challenge = :next, attested = :body, heardAt = :at, heardFlag = :flag, heardSignal = :signal",
        );
        let mut remove = String::from(" REMOVE pairingCode, pairingUntil");
        let mut request = self.update_user(&agent.user_id);
        // What is usual is stored as no attribute at all.
        let unusual = [
            (
                "heardCondition",
                ":condition",
                (evidence.condition != Condition::Measured).then(|| word(evidence.condition.as_str())),
            ),
            ("heardRoute", ":route", (evidence.route != Route::Direct).then(|| word(evidence.route.as_str()))),
            ("heardId", ":id", evidence.device.as_ref().map(|device| word(device.id.as_str()))),
            ("heardLabel", ":label", evidence.device.as_ref().map(|device| word(device.label.as_str()))),
            (
                "heardTwin",
                ":twin",
                evidence.device.as_ref().filter(|device| !device.unique).map(|_| AttributeValue::Bool(true)),
            ),
        ];
        for (attribute, placeholder, value) in unusual {
            if let Some(value) = value {
                let _ = write!(set, ", {attribute} = {placeholder}");
                request = request.expression_attribute_values(placeholder, value);
            } else {
                remove.push_str(", ");
                remove.push_str(attribute);
            }
        }
        request = request
            .update_expression(set + &remove)
            .condition_expression(
                "agentId = :agent AND agentSeq = :last AND challenge = :challenge AND attribute_not_exists(agentRevoked)",
            )
            .expression_attribute_values(":agent", word(agent.id.as_str()))
            .expression_attribute_values(":seq", number(seq))
            .expression_attribute_values(":last", number(seq.wrapping_sub(1)))
            .expression_attribute_values(":challenge", binary(challenge.as_bytes()))
            .expression_attribute_values(":next", binary(next.as_bytes()))
            .expression_attribute_values(":body", binary(fingerprint.as_bytes()))
            .expression_attribute_values(":at", number(evidence.observed_at.ms()))
            .expression_attribute_values(":flag", word(evidence.flag.as_str()))
            .expression_attribute_values(":signal", word(evidence.signal.as_str()))
            .return_values(ReturnValue::AllNew);
        match send(request).await? {
            Ok(item) => Ok(Attested { user: user(item, self.policy, now)?, seq, next_challenge: next }),
            Err(old) if old.is_empty() => Err(StateError::UserNotFound),
            Err(old) => match old.get("agentId") {
                None => self.attach(agent, next).await,
                Some(AttributeValue::S(id)) if id == agent.id.as_str() && !old.contains_key("agentRevoked") => {
                    let stored = integer(&old, "agentSeq")?;
                    let next_challenge = bytes(&old, "challenge")?.into();
                    let repeated =
                        stored == seq && stored > 0 && Fingerprint::from(bytes(&old, "attested")?) == fingerprint;
                    if repeated {
                        Ok(Attested { user: user(old, self.policy, now)?, seq, next_challenge })
                    } else {
                        Err(StateError::Sequence { expected: stored + 1, challenge: next_challenge })
                    }
                }
                Some(_) => Err(StateError::AgentRevoked),
            },
        }
    }

    /// Gives an agent back to a user who was forgotten in between: its number starts anew, from a new challenge, so nothing
    /// that was signed before counts.
    async fn attach(&self, agent: &Agent, challenge: Challenge) -> Result<Attested, StateError> {
        let request = self
            .update_user(&agent.user_id)
            .update_expression("SET agentId = :agent, agentSeq = :zero, challenge = :challenge")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(agentId)")
            .expression_attribute_values(":agent", AttributeValue::S(agent.id.to_string()))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":challenge", binary(challenge.as_bytes()));
        match send(request).await? {
            Ok(_) => Err(StateError::Sequence { expected: 1, challenge }),
            Err(old) if old.is_empty() => Err(StateError::UserNotFound),
            Err(_) => Err(StateError::Unavailable("an agent was attached in between".into())),
        }
    }

    /// Stores a person's word that a device of the browser's and one of the agent's are the same.
    ///
    /// # Errors
    /// [`StateError::AgentNotFound`]; [`StateError::UserNotFound`]; [`StateError::AgentRevoked`] if it is, or another
    /// agent took its place.
    pub async fn bind(&self, id: &AgentId, word: DeviceBinding, now: Timestamp) -> Result<User, StateError> {
        let agent = self.get(id).await?;
        let request = self
            .update_user(&agent.user_id)
            .update_expression("SET boundDeviceId = :device, boundAgentDeviceId = :heard")
            .condition_expression("agentId = :agent AND attribute_not_exists(agentRevoked)")
            .expression_attribute_values(":agent", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":device", AttributeValue::S(word.device_id.into()))
            .expression_attribute_values(":heard", AttributeValue::S(word.agent_device_id.into()))
            .return_values(ReturnValue::AllNew);
        match send(request).await? {
            Ok(item) => user(item, self.policy, now),
            Err(old) if old.is_empty() => Err(StateError::UserNotFound),
            Err(_) => Err(StateError::AgentRevoked),
        }
    }

    /// Ends an agent: first on its own item, which alone decides, then on its user's, whose evidence goes. Once more is
    /// harmless, and finishes what was interrupted.
    ///
    /// # Errors
    /// [`StateError::AgentNotFound`]
    pub async fn revoke(&self, id: &AgentId, now: Timestamp) -> Result<(), StateError> {
        let agent = match self.get(id).await {
            // Its user has another one.
            Err(StateError::AgentRevoked) => return Ok(()),
            found => found?,
        };
        let end = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, keys::agent(id))
            .key(SK, AttributeValue::S(META.to_owned()))
            .update_expression(END)
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":expires", self.expiry(now));
        end.send().await.map_err(failed)?;
        let forget = self
            .update_user(&agent.user_id)
            .update_expression(format!("SET agentRevoked = :true REMOVE attested, {EVIDENCE}, {BINDING}"))
            .condition_expression("agentId = :agent")
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":agent", AttributeValue::S(id.to_string()));
        // Refused: the user is forgotten, or has another agent.
        send(forget).await.map(drop)
    }

    fn update_user(&self, id: &UserId) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(PK, keys::user(id))
            .key(SK, AttributeValue::S(STATE.to_owned()))
    }
}
