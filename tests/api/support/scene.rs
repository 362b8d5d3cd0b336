//! Ada with an agent, on a database of which a test decides what goes wrong.

use super::faults::{Command, Faulty};
use super::witness::{attestation, enrolment, fresh_key};
use domain::{AgentId, Purpose, SigningKey};
use serde_json::{Value, json};

pub(crate) fn join(muted: bool) -> Command {
    let body = json!({"isMuted": muted, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "demo", "seq": 1});
    Command::new("set_state", "userId", "ada").with(body)
}

/// Ada with an agent that has attested once: where every command can start from.
pub(crate) struct Scene {
    pub(crate) faulty: Faulty,
    key: SigningKey,
    agent: String,
    seq: u64,
    challenge: String,
    code: String,
    next_key: SigningKey,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let faulty = Faulty::new();
        let state = faulty.state();
        assert_eq!(join(true).run(&state).await.status, 201);
        let key = fresh_key();
        let mut scene = Self {
            agent: AgentId::of(&key.verifying_key().to_bytes().into()).to_string(),
            faulty,
            key,
            seq: 0,
            challenge: String::new(),
            code: String::new(),
            next_key: fresh_key(),
        };
        scene.code = scene.pairing().await;
        let enrolled = scene.enroll_with(&scene.key).run(&state).await;
        assert_eq!(enrolled.status, 201, "{}", enrolled.text);
        enrolled.json()["challenge"].as_str().unwrap().clone_into(&mut scene.challenge);
        let attested = scene.attest("digital_zero").run(&state).await;
        assert_eq!(attested.status, 200, "{}", attested.text);
        scene.seq = 1;
        attested.json()["nextChallenge"].as_str().unwrap().clone_into(&mut scene.challenge);
        scene.code = scene.pairing().await;
        scene
    }

    async fn pairing(&self) -> String {
        let reply = Command::new("create_pairing", "userId", "ada").run(&self.faulty.state()).await;
        reply.json()["code"].as_str().unwrap().to_owned()
    }

    fn enroll_with(&self, key: &SigningKey) -> Command {
        let body = enrolment("ada", &self.code, key);
        let signature = Purpose::Enrolment.sign(key, body.to_string().as_bytes());
        Command::new("enroll_agent", "none", "").header("greenroom-signature", signature).with(body)
    }

    fn attest(&self, signal: &str) -> Command {
        let mut body = attestation(self.seq + 1, &self.challenge);
        (body["flag"], body["signal"]) = ("unmuted".into(), signal.into());
        let signature = Purpose::Attestation.sign(&self.key, body.to_string().as_bytes());
        Command::new("attest", "agentId", &self.agent).header("greenroom-signature", signature).with(body)
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
        ]
    }

    pub(crate) fn command(&self, binary: &str) -> Command {
        self.commands().into_iter().find(|command| command.binary == binary).unwrap()
    }

    /// What is stored, without what differs from run to run: random challenges, times, and keys.
    pub(crate) async fn stored(&self) -> Value {
        let mut stored = self.faulty.stored().await;
        let next = AgentId::of(&self.next_key.verifying_key().to_bytes().into()).to_string();
        for item in stored.as_object_mut().unwrap().values_mut() {
            let item = item.as_object_mut().unwrap();
            for varying in [
                "challenge",
                "lastUpdated",
                "createdAt",
                "expiresAt",
                "heardAt",
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
        let text = stored.to_string().replace(&self.agent, "AGENT").replace(&next, "NEXT");
        serde_json::from_str(&text).unwrap()
    }
}
