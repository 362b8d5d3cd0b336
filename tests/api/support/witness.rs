//! An agent that says what a test wants it to, signed as the protocol asks.

use super::{Reply, Runner};
use domain::{AgentId, PublicKey, Purpose, SigningKey};
use serde_json::{Value, json};
use std::time::SystemTime;

/// An agent and what it must say next.
pub(crate) struct Witness {
    key: SigningKey,
    pub(crate) id: String,
    pub(crate) seq: u64,
    pub(crate) challenge: String,
}

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

/// The code of a new pairing.
pub(crate) fn code(runner: &Runner, user: &str) -> String {
    let reply = runner.send("POST", &format!("/api/users/{user}/pairing"), &[], "");
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()["code"].as_str().unwrap().to_owned()
}

/// The body of an enrolment.
pub(crate) fn enrolment(user: &str, code: &str, key: &SigningKey) -> Value {
    json!({"userId": user, "code": code, "publicKey": String::from(public_key(key))})
}

/// Sends these very bytes, signed.
pub(crate) fn send_signed(runner: &Runner, path: &str, purpose: Purpose, key: &SigningKey, body: &str) -> Reply {
    send_with(runner, path, &purpose.sign(key, body.as_bytes()), body)
}

/// Sends these very bytes with this signature.
pub(crate) fn send_with(runner: &Runner, path: &str, signature: &str, body: &str) -> Reply {
    let headers = [("content-type", "application/json"), ("greenroom-signature", signature)];
    runner.send("POST", path, &headers, body)
}

pub(crate) fn enroll(runner: &Runner, key: &SigningKey, body: &Value) -> Reply {
    send_signed(runner, "/api/agents", Purpose::Enrolment, key, &body.to_string())
}

/// What an agent says that hears exact zeros under the system's mute.
pub(crate) fn attestation(seq: u64, challenge: &str) -> Value {
    let now = now_ms();
    json!({
        "seq": seq, "challenge": challenge, "fromMs": now - 500, "toMs": now,
        "condition": "measured", "flag": "muted", "signal": "digital_zero", "route": "direct",
        "device": {"id": "pulseaudio:desk_mic", "label": "Desk Mic", "unique": true},
    })
}

impl Witness {
    /// Pairs a new agent with a user who exists.
    pub(crate) fn paired(runner: &Runner, user: &str) -> Self {
        let key = fresh_key();
        let reply = enroll(runner, &key, &enrolment(user, &code(runner, user), &key));
        assert_eq!(reply.status, 201, "{}", reply.text);
        let enrolled = reply.json();
        let id = AgentId::of(&public_key(&key)).to_string();
        assert_eq!((&enrolled["agentId"], &enrolled["seq"]), (&json!(id), &json!(0)));
        Self { key, id, seq: 0, challenge: enrolled["challenge"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/agents/{}/attestations", self.id)
    }

    /// What it would say next: exact zeros under the system's mute, changed as the test wants.
    pub(crate) fn next(&self, change: &Value) -> Value {
        let mut body = attestation(self.seq + 1, &self.challenge);
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    pub(crate) fn sign(&self, body: &str) -> String {
        Purpose::Attestation.sign(&self.key, body.as_bytes())
    }

    /// Signs and sends these very bytes.
    pub(crate) fn send(&self, runner: &Runner, body: &str) -> Reply {
        send_signed(runner, &self.path(), Purpose::Attestation, &self.key, body)
    }

    /// Attests, and knows what comes next if it was accepted.
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn attest(&mut self, runner: &Runner, change: Value) -> Reply {
        let reply = self.send(runner, &self.next(&change).to_string());
        if reply.status == 200 {
            self.seq += 1;
            reply.json()["nextChallenge"].as_str().unwrap().clone_into(&mut self.challenge);
        }
        reply
    }
}

/// Somebody who uses the device that a [`Witness`] hears, and says so.
pub(crate) fn join(runner: &Runner, user: &str, is_muted: bool) {
    let body = json!({"isMuted": is_muted, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "demo"});
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

/// Calls the runner's engine in DynamoDB's own protocol, to make what time alone would make.
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

/// Puts something else in the place of an attribute of a user's item, or nothing.
pub(crate) fn set_attribute(runner: &Runner, user: &str, attribute: &str, value: Option<&Value>) {
    let mut update = json!({
        "TableName": "greenroom-state",
        "Key": {"pk": {"S": format!("USER#{user}")}, "sk": {"S": "STATE"}},
        "ExpressionAttributeNames": {"#attribute": attribute},
        "UpdateExpression": "REMOVE #attribute",
    });
    if let Some(value) = value {
        update["UpdateExpression"] = "SET #attribute = :value".into();
        update["ExpressionAttributeValues"] = json!({":value": value});
    }
    engine(runner, "UpdateItem", &update);
}
