//! Ada with an agent, on a database whose faults a test chooses.

use super::faults::{Command, Faulty};
use super::witness::{attestation, enrolment, fresh_key, now_ms, probe};
use domain::{AgentId, Purpose, SigningKey, WitnessToken};
use serde_json::{Value, json};

pub(crate) fn join(muted: bool) -> Command {
    let body = json!({"isMuted": muted, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "demo", "lease": "page-load-1", "seq": 1});
    Command::new("set_state", "userId", "ada").with(body)
}

fn lease(page_load: &str) -> Value {
    json!({"participantId": "ada", "lease": page_load})
}

/// Ada with an agent that has attested once. Every command can run in this scene.
pub(crate) struct Scene {
    pub(crate) faulty: Faulty,
    key: SigningKey,
    agent: String,
    seq: u64,
    challenge: String,
    code: String,
    token: String,
    other_key: SigningKey,
    other_token: String,
    next_key: SigningKey,
    next_token: String,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let faulty = Faulty::new();
        let context = faulty.context();
        assert_eq!(join(true).run(&context).await.status, 201);
        let key = fresh_key();
        let mut scene = Self {
            agent: AgentId::of(&key.verifying_key().to_bytes().into()).to_string(),
            faulty,
            key,
            seq: 0,
            challenge: String::new(),
            code: String::new(),
            token: String::new(),
            other_key: fresh_key(),
            other_token: String::new(),
            next_key: fresh_key(),
            next_token: String::new(),
        };
        (scene.code, scene.token) = scene.pairing().await;
        let enrolled = scene.enroll_with(&scene.key).run(&context).await;
        assert_eq!(enrolled.status, 201, "{}", enrolled.text);
        let attached = scene.attach().run(&context).await;
        assert_eq!(attached.status, 200, "{}", attached.text);
        let place = scene.signed(&probe()).run(&context).await;
        place.json()["challenge"].as_str().unwrap().clone_into(&mut scene.challenge);
        let attested = scene.attest("digital_zero").run(&context).await;
        assert_eq!(attested.status, 200, "{}", attested.text);
        scene.seq = 1;
        attested.json()["nextChallenge"].as_str().unwrap().clone_into(&mut scene.challenge);
        // Another agent is enrolled with another browser, and attached to nobody.
        (scene.code, scene.other_token) = scene.pairing().await;
        let other = scene.enroll_with(&scene.other_key).run(&context).await;
        assert_eq!(other.status, 201, "{}", other.text);
        (scene.code, scene.next_token) = scene.pairing().await;
        scene
    }

    async fn pairing(&self) -> (String, String) {
        let reply = Command::new("create_pairing", "userId", "ada").run(&self.faulty.context()).await;
        let word = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
        (word("code"), word("witness"))
    }

    fn attach(&self) -> Command {
        Command::new("attach_agent", "userId", "ada").with(json!({"witness": self.token}))
    }

    fn enroll_with(&self, key: &SigningKey) -> Command {
        let body = enrolment("ada", &self.code, key);
        let signature = Purpose::Enrolment.sign(key, body.to_string().as_bytes());
        Command::new("enroll_agent", "none", "").header("greenroom-signature", signature).with(body)
    }

    fn attest(&self, signal: &str) -> Command {
        let mut body = attestation(self.seq + 1, &self.challenge, 1);
        (body["flag"], body["signal"]) = ("unmuted".into(), signal.into());
        if signal == "signal" {
            body["silentSinceMs"] = Value::Null;
        }
        self.signed(&body)
    }

    fn signed(&self, body: &Value) -> Command {
        let signature = Purpose::Attestation.sign(&self.key, body.to_string().as_bytes());
        Command::new("attest", "agentId", &self.agent).header("greenroom-signature", signature).with(body.clone())
    }

    /// Every command that changes something, by name.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let change = |binary, body| Command::new(binary, "userId", "ada").with(body);
        vec![
            change("set_state", json!({"isMuted": false, "roomId": "other", "seq": 7})),
            change("set_mute", json!({"isMuted": false, "seq": 7})),
            change("set_device", json!({"deviceId": "usb", "deviceLabel": "USB", "seq": 7})),
            Command::new("delete_user", "userId", "ada"),
            self.enroll_with(&self.next_key),
            self.attest("signal"),
            Command::new("set_binding", "agentId", &self.agent)
                .with(json!({"deviceId": "e3b0", "agentDeviceId": "pulseaudio:other"})),
            Command::new("revoke_agent", "agentId", &self.agent),
            Command::new("attach_agent", "userId", "ada").with(json!({"witness": self.other_token})),
            Command::new("end_agent", "userId", "ada"),
            Command::new("renew_presence", "room", "demo").with(lease("page-load-2")),
            Command::new("leave_room", "room", "demo").with(lease("page-load-1")),
        ]
    }

    /// The attestation by which an agent asks for its `seq` and its challenge.
    pub(crate) fn ask(&self) -> Command {
        self.signed(&probe())
    }

    /// Lets the agent's pairing expire in a week, so that the next attestation renews it.
    pub(crate) async fn near_the_end_of_its_pairing(&self) {
        let update = json!({
            "TableName": "greenroom-state", "Key": {"pk": {"S": format!("AGENT#{}", self.agent)}, "sk": {"S": "META"}},
            "UpdateExpression": "SET expiresAt = :soon",
            "ExpressionAttributeValues": {":soon": {"N": (now_ms() / 1000 + 7 * 86_400).to_string()}},
        });
        self.faulty.call("UpdateItem", &update).await;
    }

    pub(crate) fn command(&self, binary: &str) -> Command {
        let found = self.commands().into_iter().find(|command| command.binary == binary);
        found.unwrap_or_else(|| panic!("{binary} changes something: add it to `commands`"))
    }

    /// The stored items, without the values that differ from run to run: random challenges, times, and keys. The buckets
    /// of limits differ as a whole, because they count retries.
    pub(crate) async fn stored(&self) -> Value {
        let mut stored = self.faulty.stored().await;
        stored.as_object_mut().unwrap().retain(|key, _| !key.starts_with("LIMIT#"));
        let next = AgentId::of(&self.next_key.verifying_key().to_bytes().into()).to_string();
        for item in stored.as_object_mut().unwrap().values_mut() {
            let item = item.as_object_mut().unwrap();
            for varying in [
                "challenge",
                "lastUpdated",
                "createdAt",
                "expiresAt",
                "heardAt",
                "heardSilentSince",
                "leaseUntil",
                "leaseOtherUntil",
                "witness",
                "requestId",
                "pairingWitness",
                "pairingUntil",
                "pairingCode",
                "attested",
                "publicKey",
            ] {
                if item.contains_key(varying) {
                    item.insert(varying.to_owned(), json!("some"));
                }
            }
        }
        let other = AgentId::of(&self.other_key.verifying_key().to_bytes().into()).to_string();
        let mut text = stored.to_string();
        for (id, name) in [(&self.agent, "AGENT"), (&next, "NEXT"), (&other, "OTHER")] {
            text = text.replace(id.as_str(), name);
        }
        for (token, name) in [(&self.token, "TOKEN"), (&self.next_token, "NEXT"), (&self.other_token, "OTHER")] {
            let stored = WitnessToken::try_from(token.clone()).unwrap().fingerprint();
            text = text.replace(&format!("WITNESS#{}", String::from(stored)), &format!("WITNESS#{name}"));
        }
        serde_json::from_str(&text).unwrap()
    }
}
