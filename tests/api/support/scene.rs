//! Ada with an agent, on a database whose faults a test chooses.

use super::faults::{Command, Faulty};
use super::rooms::{self, NewRoom, PASSWORD, Person, Room, quick_password};
use super::witness::{attestation, enrolment, fresh_key, now_ms, probe};
use domain::{AgentId, Purpose, SigningKey, WitnessToken};
use functions::DECLARED;
use functions::function::{Declared, FunctionKind};
use serde_json::{Value, json};
use store::dynamodb::StreamEvent;

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
    /// A room with a password, a presenter, somebody in it, somebody who was silent and lost the seat, and somebody in
    /// the lobby.
    room: Room,
    presenter: Person,
    guest: Person,
    silent: Person,
    waiting: Person,
    /// The guest's agent.
    guests_agent: String,
    /// A question of the guest, for which the guest has voted, and a request to mute.
    question: String,
    mute_request: String,
    /// A full room, where one of the two people is silent, and somebody who has lost the seat there.
    full: Room,
    out: Person,
    /// The presenter there, and somebody in the lobby.
    host: Person,
    hall: Person,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let faulty = Faulty::new();
        let context = rooms::open(&faulty).await;
        let (room, presenter) = NewRoom::default().create(&context).await;
        faulty.call("UpdateItem", &quick_password(&room)).await;
        let guest = room.join(&context, "Grace").await;
        let silent = room.join(&context, "Sil").await;
        room.set(&context, &presenter, json!({"settings": {"lobby": true}})).await;
        let waiting = room.join(&context, "Wu").await;
        let guests_agent = guest.pair(&context).await;
        let question = room.ask(&context, &guest, "Why?").await;
        assert_eq!(room.about(&question, "cast_vote", &guest).run(&context).await.status, 200);
        let request = room.call("mute_all", &presenter).run(&context).await;
        let mute_request = request.json()["requestId"].as_str().unwrap().to_owned();
        let (full, host) = NewRoom(json!({"maxParticipants": 3})).create(&context).await;
        let lapsed = full.join(&context, "Lap").await;
        let out = full.join(&context, "Out").await;
        falls_silent(&faulty, &lapsed, None).await;
        falls_silent(&faulty, &out, Some(&full)).await;
        full.set(&context, &host, json!({"maxParticipants": 2, "settings": {"lobby": true}})).await;
        let hall = full.join(&context, "Hal").await;
        full.set(&context, &host, json!({"settings": {"lobby": false}})).await;
        falls_silent(&faulty, &silent, Some(&room)).await;
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
            room,
            presenter,
            guest,
            silent,
            waiting,
            guests_agent,
            question,
            mute_request,
            full,
            out,
            host,
            hall,
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

    /// Connects the people of the room, whose id it returns. The connections were opened long ago.
    pub(crate) async fn connected(&self) -> String {
        for (number, person) in [&self.presenter, &self.guest, &self.silent, &self.waiting].into_iter().enumerate() {
            self.connect(person, &format!("P{number}SM9cOFvHcCIhw="), 0, 1).await;
        }
        self.room.id.clone()
    }

    /// Connects the presenter, with an id, the time in milliseconds at which it was opened, and the epoch of the token.
    pub(crate) async fn connected_as(&self, id: &str, opened: u64, epoch: u64) {
        self.connect(&self.presenter, id, opened, epoch).await;
    }

    async fn connect(&self, person: &Person, id: &str, opened: u64, epoch: u64) {
        let item = json!({
            "pk": {"S": format!("CONN#{id}")}, "sk": {"S": "META"}, "epoch": {"N": opened.to_string()},
            "tokenEpoch": {"N": epoch.to_string()}, "roomId": {"S": self.room.id},
            "participantId": {"S": person.id}, "leaseUntil": {"N": "4000000000000"},
            "expiresAt": {"N": "4000000000"},
        });
        self.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": item})).await;
    }

    /// The token of the presenter of the room.
    pub(crate) fn token(&self) -> &str {
        &self.presenter.token
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
        let keyed =
            |binary| self.room.call(binary, &self.presenter).header("idempotency-key", "k".to_owned()).with(json!({}));
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
            Command::new("create_room", "none", "")
                .header("idempotency-key", "k".to_owned())
                .with(json!({"title": "Another", "presenterName": "Ada"})),
            Self::joins(&self.room),
            self.room
                .call("update_room", &self.presenter)
                .with(json!({"title": "Two", "settings": {"moderatedUnmute": true}})),
            self.room.call("end_room", &self.presenter),
            self.room.moderate(&self.presenter, &self.waiting, json!({"admitted": true})),
            keyed("post_message").with(json!({"message": "Hello"})),
            keyed("ask_question").with(json!({"question": "When?"})),
            keyed("mute_all"),
            self.room.about(&self.question, "cast_vote", &self.presenter),
            self.room.about(&self.question, "withdraw_vote", &self.guest),
            self.room.about(&self.question, "answer_question", &self.presenter).with(json!({"answer": "Because."})),
            self.room
                .about(&self.question, "update_question", &self.presenter)
                .with(json!({"isPinned": true, "isAnswered": true})),
        ]
        .into_iter()
        .chain(self.further_commands())
        .collect()
    }

    /// Commands of endpoints that another command is already of, for what only they do.
    fn further_commands(&self) -> Vec<Command> {
        let stays = json!({"lease": "page-load-3"});
        vec![
            Self::joins(&self.full),
            self.room.call("update_room", &self.presenter).with(json!({"password": null})),
            self.full.moderate(&self.host, &self.hall, json!({"admitted": true})),
            self.room.moderate(&self.presenter, &self.guest, json!({"removed": true})),
            self.room.moderate(&self.presenter, &self.guest, json!({"mayUnmute": true, "role": "presenter"})),
            self.room.moderate(&self.guest, &self.guest, json!({"handRaised": true, "isVideoOn": true, "name": "G"})),
            self.room.moderate(&self.presenter, &self.presenter, json!({"role": "attendee"})),
            self.room.call("renew_presence", &self.silent).with(stays.clone()),
            self.room.call("renew_presence", &self.waiting).with(stays.clone()),
            self.full.call("renew_presence", &self.out).with(stays),
            Command::new("get_room", "room", &self.room.id),
            self.room.call("list_messages", &self.guest),
            self.room.call("list_questions", &self.guest),
            Command {
                parameters: vec![("room", self.room.id.clone()), ("muteRequestId", self.mute_request.clone())],
                ..self.room.call("get_mute_request", &self.presenter)
            },
            self.room.about(&self.question, "update_question", &self.guest).with(json!({"removed": true})),
            self.room.moderate(&self.guest, &self.guest, json!({"refusedRequest": self.mute_request})),
            self.openly("post_message", json!({"message": "Hello"})),
            self.openly("ask_question", json!({"question": "When?"})),
            self.openly("mute_all", json!({})),
            self.openly("cast_vote", json!({})),
            self.openly("withdraw_vote", json!({})),
            self.openly("answer_question", json!({"answer": "Because."})),
            self.openly("update_question", json!({"isPinned": true})),
            self.unsigned("update_room"),
            self.unsigned("update_participant"),
            self.unsigned("end_room"),
            self.room.call("leave_room", &self.guest).with(json!({})),
            self.guest.call("delete_user"),
            self.guest.call("set_state").with(json!({"isMuted": true, "name": "Gr", "roomId": self.room.id})),
            self.guest.call("set_mute").with(json!({"isMuted": false})),
            Command { parameters: vec![("agentId", self.guests_agent.clone())], ..self.guest.call("revoke_agent") },
        ]
        .into_iter()
        .chain(self.by_slug())
        .collect()
    }

    /// One command for each endpoint that names a room, with the slug instead of the id.
    fn by_slug(&self) -> Vec<Command> {
        let endpoints = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint);
        let rooms = endpoints.filter(|declared| declared.function.routes().any(|(_, path)| path.contains("{room}")));
        let call = |declared: &Declared| {
            let command = self.room.call(declared.name, &self.guest).with(json!({}));
            let slug = |(name, value)| (name, if name == "room" { self.room.slug.clone() } else { value });
            let guest = ("participantId", self.guest.id.clone());
            Command { parameters: command.parameters.into_iter().map(slug).chain([guest]).collect(), ..command }
        };
        rooms.map(call).collect()
    }

    /// Stores a message in the room.
    pub(crate) async fn says_something(&self) {
        let item =
            json!({"pk": {"S": format!("ROOM#{}", self.room.id)}, "sk": {"S": "MSG#1"}, "message": {"S": "Hello"}});
        self.faulty.call("PutItem", &json!({"TableName": "greenroom-state", "Item": item})).await;
    }

    /// The event of the stream that says that the room has ended.
    pub(crate) fn end_of_the_room(&self) -> StreamEvent {
        let text = super::lambda::event("on_room_change").to_string();
        serde_json::from_str(&text.replace("rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", &self.room.id)).unwrap()
    }

    /// The events of the stream that say that the room was created, and that it has ended.
    pub(crate) fn changes_of_the_room(&self) -> [StreamEvent; 2] {
        let text = super::lambda::event("on_room_change").to_string();
        let mut created: Value =
            serde_json::from_str(&text.replace("rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", &self.room.id)).unwrap();
        let record = created["Records"][0]["dynamodb"].as_object_mut().unwrap();
        record.remove("OldImage");
        record["NewImage"].as_object_mut().unwrap().remove("endedAt");
        [serde_json::from_value(created).unwrap(), self.end_of_the_room()]
    }

    /// A call of the presenter in open mode, without their token.
    fn unsigned(&self, endpoint: &'static str) -> Command {
        let command = Command::new(endpoint, "room", &self.room.id).with(json!({"participantId": self.presenter.id}));
        let own = ("participantId", self.presenter.id.clone());
        Command { parameters: command.parameters.iter().cloned().chain([own]).collect(), ..command }
    }

    /// The same about the question, with more members.
    fn openly(&self, endpoint: &'static str, mut body: Value) -> Command {
        body["participantId"] = self.presenter.id.clone().into();
        let parameters = vec![("room", self.room.id.clone()), ("questionId", self.question.clone())];
        Command { parameters, ..Command::new(endpoint, "room", &self.room.id).with(body) }
    }

    fn joins(room: &Room) -> Command {
        Command::new("join_room", "room", &room.id)
            .header("idempotency-key", "k".to_owned())
            .with(json!({"name": "Heidi", "password": PASSWORD}))
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
                "endsAt",
                "endedAt",
                "passwordHash",
                "slug",
                "answer",
                "answeredAt",
                "muteRequestedAt",
                "tat",
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
        for (place, id) in [&self.room.id, &self.full.id].iter().enumerate() {
            text = text.replace(id.as_str(), &format!("ROOM{place}"));
        }
        for (place, room) in [&self.room, &self.full].iter().enumerate() {
            text = text.replace(room.slug.as_str(), &format!("SLUG{place}"));
        }
        let people = [&self.presenter, &self.guest, &self.silent, &self.waiting, &self.out, &self.host, &self.hall];
        for (place, person) in people.iter().enumerate() {
            text = text.replace(person.id.as_str(), &format!("PERSON{place}"));
        }
        text = text.replace(&self.guests_agent, "GUESTSAGENT");
        text = text.replace(&self.question, "QUESTION").replace(&self.mute_request, "MUTEREQUEST");
        serde_json::from_str(&without_new_ids(&text)).unwrap()
    }
}

/// Ids, slugs and names of records that a command has made are random: they are replaced by their kind. What people write
/// in a room is numbered too, so that nothing is hidden that was stored twice.
fn without_new_ids(text: &str) -> String {
    const KINDS: [(&str, usize); 9] = [
        ("WITNESS#", 22),
        ("rm_", 26),
        ("mr_", 26),
        ("p_", 26),
        ("m_", 26),
        ("q_", 26),
        ("SLUG#another-", 13),
        ("ONCE#", 43),
        ("LIMIT#key#", 5),
    ];
    const NUMBERED: [&str; 3] = ["mr_", "m_", "q_"];
    let mut numbers: Vec<&str> = Vec::new();
    let mut kept = String::new();
    let mut rest = text;
    'text: while !rest.is_empty() {
        for (kind, length) in KINDS {
            let random = rest.strip_prefix(kind).and_then(|rest| rest.get(..length));
            let is_id = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if random.is_some_and(is_id) && (length != 26 || random.is_some_and(|id| id.starts_with("01"))) {
                kept.push_str(kind);
                let id = &rest[..kind.len() + length];
                if NUMBERED.contains(&kind) {
                    let known = numbers.iter().position(|known| *known == id);
                    let number = known.unwrap_or_else(|| {
                        numbers.push(id);
                        numbers.len() - 1
                    });
                    kept.push_str(&number.to_string());
                }
                rest = &rest[kind.len() + length..];
                continue 'text;
            }
        }
        let next = rest.chars().next().map_or(1, char::len_utf8);
        kept.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    kept
}

/// Lets the lease of somebody lapse; in `room` they have also lost the seat.
async fn falls_silent(faulty: &Faulty, person: &Person, room: Option<&Room>) {
    let key = json!({"pk": {"S": format!("USER#{}", person.id)}, "sk": {"S": "STATE"}});
    let lost = if room.is_some() { " REMOVE seated" } else { "" };
    let update = json!({
        "TableName": "greenroom-state", "Key": key, "UpdateExpression": format!("SET leaseUntil = :past{lost}"),
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    faulty.call("UpdateItem", &update).await;
    if let Some(room) = room {
        let update = json!({
            "TableName": "greenroom-state", "Key": {"pk": {"S": format!("ROOM#{}", room.id)}, "sk": {"S": "META"}},
            "UpdateExpression": "ADD present :less", "ExpressionAttributeValues": {":less": {"N": "-1"}},
        });
        faulty.call("UpdateItem", &update).await;
    }
}
