//! An agent whose attestations a test chooses. They are signed as the protocol requires.

use super::{Member, Reply, Runner};
use domain::{AgentId, PublicKey, Purpose, SigningKey};
use serde_json::{Value, json};
use std::time::SystemTime;

/// An agent, and the values of its next attestation.
pub(crate) struct Witness {
    key: SigningKey,
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) challenge: String,
    /// The last version of the claim that the agent knows.
    pub(crate) version: u64,
    pub(crate) token: String,
}

/// The room in which users [join] who need no token.
const ROOM: &str = "demo";

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub(crate) fn public_key(key: &SigningKey) -> PublicKey {
    key.verifying_key().to_bytes().into()
}

/// A key that no other test has.
pub(crate) fn fresh_key() -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|_| fastrand::u8(..)))
}

/// The code of a new pairing, and the token that attaches the agent which enrols with it.
pub(crate) fn pairing(runner: &Runner, user: &str) -> (String, String) {
    pairing_of(runner, &Member::open(user, ROOM))
}

fn pairing_of(runner: &Runner, member: &Member) -> (String, String) {
    let reply = member.send(runner, "POST", &format!("/api/users/{}/pairing", member.id), Value::Null);
    assert_eq!(reply.status, 201, "{}", reply.text);
    let word = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
    (word("code"), word("witness"))
}

/// The code of a new pairing.
pub(crate) fn code(runner: &Runner, user: &str) -> String {
    pairing(runner, user).0
}

/// Attaches the agent of this token to a user.
pub(crate) fn attach(runner: &Runner, user: &str, token: &str) -> Reply {
    runner.put(&format!("/api/users/{user}/agent"), json!({"witness": token}))
}

/// The body of an enrolment.
pub(crate) fn enrolment(user: &str, code: &str, key: &SigningKey) -> Value {
    json!({"userId": user, "code": code, "publicKey": String::from(public_key(key))})
}

/// A signature under any domain tag.
pub(crate) fn sign_as(tag: &str, key: &SigningKey, body: &str) -> String {
    use base64::Engine as _;
    use ed25519_dalek::Signer as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(key.sign(format!("{tag}\n{body}").as_bytes()).to_bytes())
}

/// Signs and sends exactly these bytes.
pub(crate) fn send_signed(runner: &Runner, path: &str, purpose: Purpose, key: &SigningKey, body: &str) -> Reply {
    send_with(runner, path, &purpose.sign(key, body.as_bytes()), body)
}

/// Sends exactly these bytes with this signature.
pub(crate) fn send_with(runner: &Runner, path: &str, signature: &str, body: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("greenroom-signature", signature)];
    runner.send("POST", path, &headers, body)
}

pub(crate) fn enroll(runner: &Runner, key: &SigningKey, body: &Value) -> Reply {
    send_signed(runner, "/api/agents", Purpose::Enrolment, key, &body.to_string())
}

/// The attestation of an agent that has measured exact zeros for a minute, under the system's mute and this version of
/// the claim.
pub(crate) fn attestation(seq: u64, challenge: &str, version: u64) -> Value {
    let now = now_ms();
    json!({
        "seq": seq, "challenge": challenge, "version": version,
        "fromMs": now - 500, "toMs": now, "silentSinceMs": now - 60_000,
        "condition": "measured", "flag": "muted", "signal": "digital_zero", "route": "direct",
        "device": {"id": "pulseaudio:desk_mic", "label": "Desk Mic", "unique": true},
    })
}

/// The attestation of an agent that does not know its `seq` and its challenge.
pub(crate) fn probe() -> Value {
    let now = now_ms();
    json!({
        "seq": 0, "challenge": "A".repeat(22), "version": 0, "fromMs": now, "toMs": now, "silentSinceMs": null,
        "condition": "no_data", "flag": "unknown", "signal": "not_opened", "route": "direct", "device": null,
    })
}

impl Witness {
    /// Pairs a new agent with the browser of a user who exists. It is attached to nobody.
    pub(crate) fn enrolled(runner: &Runner, user: &str) -> Self {
        Self::enrolled_by(runner, &Member::open(user, ROOM))
    }

    fn enrolled_by(runner: &Runner, member: &Member) -> Self {
        let key = fresh_key();
        let (code, token) = pairing_of(runner, member);
        let reply = enroll(runner, &key, &enrolment(&member.id, &code, &key));
        assert_eq!(reply.status, 201, "{}", reply.text);
        let id = AgentId::of(&public_key(&key)).to_string();
        assert_eq!(reply.json()["agentId"], json!(id));
        Self { key, id, seq: 0, challenge: "A".repeat(22), version: 0, token }
    }

    /// Pairs a new agent with a user who exists, attaches it, and asks for its first `seq` and challenge.
    pub(crate) fn paired(runner: &Runner, user: &str) -> Self {
        Self::paired_by(runner, &Member::open(user, ROOM))
    }

    /// The same, with the token of a user who has one.
    pub(crate) fn paired_by(runner: &Runner, member: &Member) -> Self {
        let mut witness = Self::enrolled_by(runner, member);
        let own = json!({"witness": witness.token});
        let attached = member.send(runner, "PUT", &format!("/api/users/{}/agent", member.id), own);
        assert_eq!(attached.status, 200, "{}", attached.text);
        assert_eq!(witness.begin(runner).json()["code"], "sequence_conflict");
        witness
    }

    /// Asks for the next `seq` and challenge.
    pub(crate) fn begin(&mut self, runner: &Runner) -> Reply {
        let reply = self.send(runner, &probe().to_string());
        assert_eq!(reply.status, 409, "{}", reply.text);
        let place = reply.json();
        if let Some(expected) = place["expectedSeq"].as_u64() {
            self.seq = expected - 1;
            place["challenge"].as_str().unwrap().clone_into(&mut self.challenge);
            self.version = place["claim"]["version"].as_u64().unwrap();
        }
        reply
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/agents/{}/attestations", self.id)
    }

    /// The next attestation: exact zeros under the system's mute, with the members of `change`.
    pub(crate) fn next(&self, change: &Value) -> Value {
        let mut body = attestation(self.seq + 1, &self.challenge, self.version);
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let is_silence = body["signal"] == "digital_zero" || body["signal"] == "floor";
        if !is_silence && change.get("silentSinceMs").is_none() {
            body["silentSinceMs"] = Value::Null;
        }
        body
    }

    pub(crate) fn sign(&self, body: &str) -> String {
        Purpose::Attestation.sign(&self.key, body.as_bytes())
    }

    /// Signs and sends exactly these bytes.
    pub(crate) fn send(&self, runner: &Runner, body: &str) -> Reply {
        send_signed(runner, &self.path(), Purpose::Attestation, &self.key, body)
    }

    /// Attests. If the attestation is accepted, the answer gives the values of the next one.
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn attest(&mut self, runner: &Runner, change: Value) -> Reply {
        let reply = self.send(runner, &self.next(&change).to_string());
        if reply.status == 200 {
            self.seq += 1;
            reply.json()["nextChallenge"].as_str().unwrap().clone_into(&mut self.challenge);
            self.version = reply.json()["claim"]["version"].as_u64().unwrap();
        }
        reply
    }
}

/// Lets a user join who claims the device that a [`Witness`] measures.
pub(crate) fn join(runner: &Runner, user: &str, is_muted: bool) {
    let body = json!({"isMuted": is_muted, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": ROOM});
    let joined = runner.post(&format!("/api/users/{user}/state"), body);
    assert!(joined.status < 300, "{}", joined.text);
}

/// Value and reason of a mute verdict, in a state or in an answer to an attestation.
#[track_caller]
pub(crate) fn mute_verdict(reply: &Reply) -> (String, String) {
    let verdict = &reply.json()["verdict"]["mute"];
    let word = |name: &str| verdict[name].as_str().unwrap_or_else(|| panic!("{}", reply.text)).to_owned();
    (word("value"), word("reason"))
}

/// Calls the runner's engine in DynamoDB's own protocol. A test uses it for changes that otherwise only time would
/// bring.
pub(crate) fn engine(runner: &Runner, operation: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent
        .post(runner.dynamodb.as_deref().unwrap())
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"));
    let mut response = request.send(body.to_string()).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status(), 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Sets an attribute of a user's item. `None` removes it.
pub(crate) fn set_attribute(runner: &Runner, user: &str, attribute: &str, value: Option<&Value>) {
    update(runner, &json!({"pk": {"S": format!("USER#{user}")}, "sk": {"S": "STATE"}}), attribute, value);
}

/// Sets an attribute of an agent's item. `None` removes it.
pub(crate) fn set_agent(runner: &Runner, agent: &str, attribute: &str, value: Option<&Value>) {
    update(runner, &agent_key(agent), attribute, value);
}

fn agent_key(agent: &str) -> Value {
    json!({"pk": {"S": format!("AGENT#{agent}")}, "sk": {"S": "META"}})
}

/// An agent's item, as the table holds it.
pub(crate) fn agent_item(runner: &Runner, agent: &str) -> Value {
    engine(runner, "GetItem", &json!({"TableName": "greenroom-state", "Key": agent_key(agent)}))["Item"].take()
}

/// Removes an agent's item, as the table does with an expired one.
pub(crate) fn forget_agent(runner: &Runner, agent: &str) {
    engine(runner, "DeleteItem", &json!({"TableName": "greenroom-state", "Key": agent_key(agent)}));
}

fn update(runner: &Runner, key: &Value, attribute: &str, value: Option<&Value>) {
    let mut update = json!({
        "TableName": "greenroom-state",
        "Key": key,
        "ExpressionAttributeNames": {"#attribute": attribute},
        "UpdateExpression": "REMOVE #attribute",
    });
    if let Some(value) = value {
        update["UpdateExpression"] = "SET #attribute = :value".into();
        update["ExpressionAttributeValues"] = json!({":value": value});
    }
    engine(runner, "UpdateItem", &update);
}

fn witness_key(token: &str) -> Value {
    let hash = String::from(domain::WitnessToken::try_from(token.to_owned()).unwrap().fingerprint());
    json!({"pk": {"S": format!("WITNESS#{hash}")}, "sk": {"S": "META"}})
}

/// Lets only a browser's token expire.
pub(crate) fn lapse_witness(runner: &Runner, token: &str) {
    update(runner, &witness_key(token), "expiresAt", Some(&json!({"N": "1795257125"})));
}

/// The time at which a browser's token expires, in seconds since 1970.
pub(crate) fn witness_expiry(runner: &Runner, token: &str) -> u64 {
    let key = witness_key(token);
    let item = engine(runner, "GetItem", &json!({"TableName": "greenroom-state", "Key": key}));
    item["Item"]["expiresAt"]["N"].as_str().unwrap().parse().unwrap()
}
