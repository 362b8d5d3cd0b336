//! Rooms that somebody created, and their people, for tests that run handlers in this process.

use super::faults::{Command, Faulty};
use super::witness::{enrolment, fresh_key};
use config::AuthMode;
use domain::{AgentId, Purpose, RoomToken, Timestamp, TokenSigner};
use functions::Context;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The seed of the key that signs tokens in tests.
pub(crate) const SEED: [u8; 32] = *b"the seed of a test, not a secret";

/// The seed of another key.
pub(crate) const OTHER_SEED: [u8; 32] = *b"another seed of a test, no key..";

/// The password of every room of the tests that has one.
pub(crate) const PASSWORD: &str = "U*U";
/// Its hash by bcrypt, from the test vectors of Openwall's `crypt_blowfish`: a quick one.
pub(crate) const PASSWORD_HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// The write that gives a room [`PASSWORD`], by its quick hash.
pub(crate) fn quick_password(room: &Room) -> Value {
    json!({
        "TableName": "greenroom-state", "Key": {"pk": {"S": format!("ROOM#{}", room.id)}, "sk": {"S": "META"}},
        "UpdateExpression": "SET passwordHash = :hash", "ExpressionAttributeValues": {":hash": {"S": PASSWORD_HASH}},
    })
}

/// The key that signs tokens in tests.
pub(crate) fn signer() -> TokenSigner {
    TokenSigner::from_seed(&SEED).unwrap()
}

/// The context of functions in strict mode, with a key that signs tokens.
pub(crate) async fn strict(faulty: &Faulty) -> Context {
    let mut context = open(faulty).await;
    Arc::make_mut(&mut context.config).auth_mode = AuthMode::Strict;
    context
}

/// The context of functions in open mode, with a key that signs tokens.
pub(crate) async fn open(faulty: &Faulty) -> Context {
    let context = faulty.context();
    context.signing.rotate(SEED).await.unwrap();
    context
}

/// A room to create: members of the body, besides title and name.
#[derive(Debug, Default)]
pub(crate) struct NewRoom(pub(crate) Value);

/// A room.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) slug: String,
}

/// Somebody in a room.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
    claims: RoomToken,
}

impl NewRoom {
    /// Creates the room, and returns it with its presenter Ada.
    pub(crate) async fn create(self, context: &Context) -> (Room, Person) {
        let mut body = json!({"title": "Weekly review", "presenterName": "Ada"});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, self.0) {
            body.extend(more);
        }
        let reply = from_anywhere("create_room", "none", "").with(body).run(context).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
        (Room { id: text("roomId"), slug: text("slug") }, Person::new(text("participantId"), text("presenterToken")))
    }
}

impl Room {
    /// Somebody joins the room, or its lobby. The password is that of every room of the tests that has one.
    pub(crate) async fn join(&self, context: &Context, name: &str) -> Person {
        let body = json!({"name": name, "password": PASSWORD});
        let reply = from_anywhere("join_room", "room", &self.id).with(body).run(context).await;
        assert!(matches!(reply.status, 200 | 202), "{}", reply.text);
        let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
        Person::new(text("participantId"), text("token"))
    }

    /// A call about this room with somebody's token.
    pub(crate) fn call(&self, endpoint: &'static str, by: &Person) -> Command {
        Command::new(endpoint, "room", &self.id).header("authorization", format!("Bearer {}", by.token))
    }

    /// A presenter changes the room.
    pub(crate) async fn set(&self, context: &Context, by: &Person, change: Value) {
        let reply = self.call("update_room", by).with(change).run(context).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    /// A presenter changes somebody.
    pub(crate) fn moderate(&self, by: &Person, person: &Person, change: Value) -> Command {
        let mut command = self.call("update_participant", by).with(change);
        command.parameters.push(("participantId", person.id.clone()));
        command
    }

    /// Somebody asks a question. Returns its id.
    pub(crate) async fn ask(&self, context: &Context, by: &Person, text: &str) -> String {
        let reply = self.call("ask_question", by).with(json!({"question": text})).run(context).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()["questionId"].as_str().unwrap().to_owned()
    }

    /// A call about a question with somebody's token.
    pub(crate) fn about(&self, question: &str, endpoint: &'static str, by: &Person) -> Command {
        let mut command = self.call(endpoint, by);
        command.parameters.push(("questionId", question.to_owned()));
        command
    }

    /// The questions as somebody sees them.
    pub(crate) async fn questions(&self, context: &Context, by: &Person) -> Vec<Value> {
        let reply = self.call("list_questions", by).run(context).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        serde_json::from_value(reply.json()["questions"].take()).unwrap()
    }

    /// A presenter removes somebody.
    pub(crate) async fn remove(&self, context: &Context, by: &Person, person: &Person) {
        let reply = self.moderate(by, person, json!({"removed": true})).run(context).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

impl Person {
    fn new(id: String, token: String) -> Self {
        let claims = signer().public().parse::<domain::TokenKeys>().unwrap();
        let claims = claims.verify(&token, now()).unwrap();
        Self { id, token, claims }
    }

    /// A call about this person with their token.
    pub(crate) fn call(&self, endpoint: &'static str) -> Command {
        Command::new(endpoint, "userId", &self.id).header("authorization", format!("Bearer {}", self.token))
    }

    /// Pairs a new agent with this person and attaches it. Returns its id.
    pub(crate) async fn pair(&self, context: &Context) -> String {
        let pairing = self.call("create_pairing").run(context).await;
        let text = |name: &str| pairing.json()[name].as_str().unwrap().to_owned();
        let key = fresh_key();
        let body = enrolment(&self.id, &text("code"), &key);
        let signature = Purpose::Enrolment.sign(&key, body.to_string().as_bytes());
        let enroll = Command::new("enroll_agent", "none", "").header("greenroom-signature", signature).with(body);
        assert_eq!(enroll.run(context).await.status, 201);
        let attached = self.call("attach_agent").with(json!({"witness": text("witness")})).run(context).await;
        assert_eq!(attached.status, 200, "{}", attached.text);
        AgentId::of(&key.verifying_key().to_bytes().into()).to_string()
    }

    /// Checks that nothing is stored any more of somebody who is out: the name, of which `name` is a part, the agent,
    /// the room, and a code that pairs an agent.
    pub(crate) async fn is_forgotten(&self, faulty: &Faulty, name: &str) {
        let stored = faulty.stored().await[format!("USER#{}", self.id)].clone();
        assert!(stored.is_object() && !stored.to_string().contains(name), "{stored:#}");
        for gone in ["name", "agentId", "roomId", "pairingCode", "seated", "leaseUntil"] {
            assert!(stored[gone].is_null(), "{gone}: {stored:#}");
        }
    }

    /// The person's token, but past its time.
    pub(crate) fn expired(&self) -> String {
        let ms = now().ms();
        let (issued_at, expires_at) = (Timestamp::from_ms(ms - 20_000), Timestamp::from_ms(ms - 10_000));
        signer().sign(&RoomToken { issued_at, expires_at, ..self.claims.clone() })
    }

    /// The person's token, with another epoch.
    pub(crate) fn of_epoch(&self, epoch: u64) -> String {
        signer().sign(&RoomToken { epoch, ..self.claims.clone() })
    }

    /// The person's token, signed by another key.
    pub(crate) fn signed_by(&self, signer: &TokenSigner) -> String {
        signer.sign(&self.claims)
    }
}

/// A token of the participant whom the examples in `events/` name, in the room that they name.
pub(crate) fn token_of_the_examples() -> String {
    let (issued_at, expires_at) = (now(), now().plus(domain::TOKEN_LIFE_MAX));
    signer().sign(&RoomToken {
        room: "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE".parse().unwrap(),
        participant: "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF".parse().unwrap(),
        role: domain::room::Role::Presenter,
        epoch: 1,
        issued_at,
        expires_at,
    })
}

/// A call from an address of its own, so that its limit is its own.
fn from_anywhere(endpoint: &'static str, parameter: &'static str, value: &str) -> Command {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let address = (0x0a00_0000 + NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    Command { address, ..Command::new(endpoint, parameter, value) }
}

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}
