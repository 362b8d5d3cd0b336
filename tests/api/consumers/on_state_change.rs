use crate::support::Runner;
use crate::support::database::{Database, Mode};
use crate::support::history::{Unfollowed, audit, audit_of, event_of, facts, folded};
use crate::support::lambda::{Lambda, event};
use crate::support::witness::{Witness, engine, join};
use domain::ledger::{Fact, Presence, moment};
use domain::user::{Claim, DeviceClaim, MuteClaim, MuteScope, User};
use domain::{
    AgentDevice, AgentId, Attestation, Challenge, Condition, Enrolment, Flag, PairingCode, PublicKey, RoomId, Route,
    Signal, Timestamp, UserId, WitnessToken,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use store::dynamodb::{Agent, Cause, Guard};

const START_MS: u64 = 1_795_257_125_000;
const OPERATIONS: u64 = 10_000;
const PEOPLE: usize = 12;
const ROOMS: [&str; 3] = ["demo", "other", "third"];
const FAILED_NONE: &str = "batchItemFailures\":[]";

/// People whose states change at random, with a clock of their own.
struct Crowd {
    rng: fastrand::Rng,
    now: Timestamp,
    agents: BTreeMap<usize, Agent>,
    challenges: BTreeMap<usize, (u64, Challenge)>,
}

fn name(person: usize) -> UserId {
    format!("user-{person}").parse().unwrap()
}

impl Crowd {
    fn mute(&mut self) -> MuteClaim {
        let mute_scope = [MuteScope::App, MuteScope::Os, MuteScope::Device][self.rng.usize(..3)];
        MuteClaim { is_muted: self.rng.bool(), mute_scope }
    }

    fn device(&mut self) -> DeviceClaim {
        let device = self.rng.u8(..4);
        let device_label = Some(format!("Canary {device}").try_into().unwrap());
        DeviceClaim { device_id: Some(format!("canary-device-{device}").try_into().unwrap()), device_label }
    }

    /// Makes one change at random. Some changes are refused.
    async fn change(&mut self, bed: &Unfollowed) {
        self.now = self.now.plus(std::time::Duration::from_millis(self.rng.u64(1..20_000)));
        let (person, now) = (self.rng.usize(..PEOPLE), self.now);
        let cause = Cause::service(now);
        let (id, users, agents) = (name(person), &bed.context.users, &bed.context.agents);
        match self.rng.u8(..20) {
            0..8 => drop(users.set_mute(&id, self.mute(), Guard::default(), &cause).await),
            8..11 => drop(users.set_device(&id, self.device(), Guard::default(), &cause).await),
            11..15 => {
                let room = self.rng.usize(..=ROOMS.len());
                let DeviceClaim { device_id, device_label } = self.device();
                let claim = Claim {
                    mute: self.mute(),
                    device_id: device_id.filter(|_| self.rng.bool()),
                    device_label,
                    room_id: ROOMS.get(room).map(|room| room.parse().unwrap()),
                    name: Some(format!("Canary {person}").try_into().unwrap()),
                    lease: None,
                };
                users.set_state(&id, claim, Guard::default(), &cause).await.unwrap();
            }
            15 => drop(users.delete(&id, None, now).await),
            16 => {
                let code = PairingCode::from_random(std::array::from_fn(|_| self.rng.u8(..)));
                let token = WitnessToken::from(std::array::from_fn(|_| self.rng.u8(..)));
                let until = now.plus(std::time::Duration::from_mins(1));
                if agents.start_pairing(&id, &code, &token, until, &cause).await.is_ok() {
                    let public_key = PublicKey::from(std::array::from_fn(|_| self.rng.u8(..)));
                    let enrolment = Enrolment { user_id: id.clone(), code, public_key };
                    let challenge = Challenge::from(std::array::from_fn(|_| self.rng.u8(..)));
                    agents.enroll(&enrolment, &cause).await.unwrap();
                    agents.attach(&id, &token, challenge, &cause).await.unwrap();
                    self.agents.insert(person, agents.get(&AgentId::of(&public_key), now).await.unwrap());
                    self.challenges.insert(person, (1, challenge));
                }
            }
            17 => {
                if let Some(agent) = self.agents.get(&person) {
                    agents.revoke(&agent.id, &cause).await.unwrap();
                }
            }
            _ => self.attest(bed, person).await,
        }
    }

    async fn attest(&mut self, bed: &Unfollowed, person: usize) {
        let (Some(agent), Some(&(seq, challenge))) = (self.agents.get(&person), self.challenges.get(&person)) else {
            return;
        };
        let now = self.now;
        let signal = Signal::ALL[self.rng.usize(..Signal::ALL.len())];
        let attestation = Attestation {
            seq,
            challenge,
            version: self.rng.u64(1..4),
            silent_since_ms: signal.is_silence().then_some(now.ms() - 4000),
            from_ms: now.ms() - 500,
            to_ms: now.ms() - self.rng.u64(..200),
            condition: Condition::Measured,
            flag: Flag::ALL[self.rng.usize(..Flag::ALL.len())],
            signal,
            route: Route::ALL[self.rng.usize(..Route::ALL.len())],
            device: Some(AgentDevice {
                id: "host:canary".to_owned().try_into().unwrap(),
                label: format!("Canary {}", self.rng.u8(..4)).try_into().unwrap(),
                unique: self.rng.bool(),
            }),
        };
        let next = Challenge::from(std::array::from_fn(|_| self.rng.u8(..)));
        let body = now.ms().to_be_bytes();
        if bed.context.agents.attest(agent, attestation, &body, next, &Cause::service(now)).await.is_ok() {
            self.challenges.insert(person, (seq + 1, next));
        }
    }
}

/// A state with the verdicts that held at its last claim or measurement.
async fn live(bed: &Unfollowed, id: &UserId) -> Option<User> {
    let user = bed.context.users.get(id, Timestamp::from_ms(START_MS)).await.ok()?;
    let at = moment(user.last_updated, user.verdict.mute.observed_at);
    bed.context.users.get(id, at).await.ok()
}

/// Checks each room's history against the people in it. Returns the number of entries.
async fn compare(bed: &Unfollowed) -> usize {
    let mut count = 0;
    let mut people = Vec::new();
    for person in 0..PEOPLE {
        people.extend(live(bed, &name(person)).await);
    }
    for room in ROOMS {
        let room: RoomId = room.parse().unwrap();
        let entries = bed.entries(&room).await;
        let mut said = BTreeSet::new();
        // An entry of a claim has a version and a time of its own. Other entries may be equal within a second.
        let claims = ["joined", "mute_changed", "device_changed"];
        for entry in entries.iter().filter(|entry| claims.contains(&entry.action.as_str())) {
            let new = said.insert(format!("{} {} {} {:?}", entry.at, entry.actor, entry.action, entry.data));
            assert!(new, "{room}: an entry is repeated: {entry:?}");
        }
        let Some(key) = bed.digest_key(&room).await else {
            assert!(entries.is_empty());
            continue;
        };
        let within = people.iter().filter(|user| user.room_id.as_ref() == Some(&room));
        let present = within.map(|user| (user.user_id.to_string(), Presence::of(user, &key))).collect();
        assert_eq!(folded(&entries), present, "{room}");
        count += entries.len();
        let text = serde_json::to_string(&entries).unwrap().to_lowercase();
        assert!(!text.contains("canary"), "a label or a device is in the ledger");
    }
    count
}

fn shuffled(rng: &mut fastrand::Rng, event: &Value) -> Value {
    let mut event = event.clone();
    rng.shuffle(event["Records"].as_array_mut().unwrap());
    event
}

/// The records of half of the people, as Lambda distributes a stream to two functions at once.
fn half(event: &Value, which: usize) -> Value {
    let mine = |record: &&Value| {
        let key = record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap();
        key.bytes().map(usize::from).sum::<usize>() % 2 == which
    };
    json!({"Records": event["Records"].as_array().unwrap().iter().filter(mine).collect::<Vec<_>>()})
}

/// Batches are delivered again, whole or shuffled; two consumers, each with a memory of its own, get the same batch, or
/// half of it each; a new consumer takes over; a consumer dies in the middle of a batch. In the end each change is in
/// the ledger once.
#[tokio::test]
async fn ten_thousand_changes_delivered_in_every_way_fold_to_the_live_state() {
    let bed = Unfollowed::new();
    let other = bed.another();
    let mut crowd = Crowd {
        rng: fastrand::Rng::with_seed(28),
        now: Timestamp::from_ms(START_MS),
        agents: BTreeMap::new(),
        challenges: BTreeMap::new(),
    };
    let mut seen = Vec::<Value>::new();
    let mut expected = 0;
    for _ in 0..OPERATIONS / 500 {
        for _ in 0..500 {
            crowd.change(&bed).await;
        }
        while let Some(batch) = bed.next().await {
            let event = event_of(&batch);
            let outcomes = match crowd.rng.u8(..6) {
                0 => vec![bed.deliver(event.clone()).await, bed.deliver(event.clone()).await],
                1 => vec![bed.deliver(event.clone()).await, bed.deliver(shuffled(&mut crowd.rng, &event)).await],
                2 => <[_; 2]>::from(tokio::join!(bed.deliver(event.clone()), other.deliver(event.clone()))).to_vec(),
                3 => {
                    <[_; 2]>::from(tokio::join!(bed.deliver(half(&event, 0)), other.deliver(half(&event, 1)))).to_vec()
                }
                4 => vec![bed.another().deliver(event.clone()).await, bed.deliver(event.clone()).await],
                _ => {
                    let mut part = event.clone();
                    let records = part["Records"].as_array_mut().unwrap();
                    records.truncate(records.len() / 2);
                    vec![bed.deliver(part).await, bed.deliver(event.clone()).await]
                }
            };
            assert!(outcomes.iter().all(|outcome| outcome.batch_item_failures.is_empty()), "{outcomes:?}");
            bed.remove(&batch).await;
            seen.push(event);
        }
        if let Some(old) = seen.get(crowd.rng.usize(..seen.len())) {
            let before = crowd.rng.bool();
            let again = if before { old.clone() } else { shuffled(&mut crowd.rng, old) };
            assert!(bed.deliver(again).await.batch_item_failures.is_empty());
        }
        let count = compare(&bed).await;
        assert!(count >= expected, "an append-only ledger never gets shorter");
        expected = count;
    }
    assert!(expected > 4000, "{expected} entries of {OPERATIONS} changes");
}

async fn batch_of_three(bed: &Unfollowed) -> Value {
    for person in 0..3 {
        let mute = MuteClaim { is_muted: true, mute_scope: MuteScope::App };
        let claim = Claim {
            mute,
            device_id: None,
            device_label: None,
            room_id: Some("demo".parse().unwrap()),
            name: None,
            lease: None,
        };
        bed.context
            .users
            .set_state(&name(person), claim, Guard::default(), &Cause::service(Timestamp::from_ms(START_MS)))
            .await
            .unwrap();
    }
    event_of(&bed.next().await.unwrap())
}

/// After a crash the batch is read again, together with newer records.
#[tokio::test]
async fn a_batch_that_comes_again_with_more_behind_it_adds_only_what_is_new() {
    let bed = Unfollowed::new();
    let first = batch_of_three(&bed).await;
    assert!(bed.deliver(first).await.batch_item_failures.is_empty());
    for person in 0..3 {
        let mute = MuteClaim { is_muted: false, mute_scope: MuteScope::App };
        bed.context
            .users
            .set_mute(&name(person), mute, Guard::default(), &Cause::service(Timestamp::from_ms(START_MS + 1)))
            .await
            .unwrap();
    }
    let longer = event_of(&bed.next().await.unwrap());
    for _ in 0..2 {
        assert!(bed.deliver(longer.clone()).await.batch_item_failures.is_empty());
        let actions: Vec<_> =
            bed.entries(&"demo".parse().unwrap()).await.into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, [["joined"; 3], ["mute_changed"; 3]].concat());
    }
}

/// A restored table has a new stream, and the restored ledger refers to the old stream.
#[tokio::test]
async fn a_later_stream_is_followed_from_its_first_record_and_an_earlier_one_no_more() {
    let bed = Unfollowed::new();
    let event = batch_of_three(&bed).await;
    let record = |began: &str, number: usize| {
        let mut record = event["Records"][0].clone();
        record["eventSourceARN"] = json!(format!("arn:aws:dynamodb:us-east-1:1:table/t/stream/{began}"));
        record["dynamodb"]["SequenceNumber"] = json!(number.to_string());
        json!({"Records": [record]})
    };
    for (began, number, entries) in [
        ("2026-11-21T10:00:00.000", 900, 1),
        ("2026-11-21T10:00:00.000", 900, 1),
        ("2026-11-22T10:00:00.000", 1, 2),
        ("2026-11-21T10:00:00.000", 901, 2),
        ("2026-11-22T10:00:00.000", 1, 2),
        ("2026-11-22T10:00:00.000", 2, 3),
    ] {
        assert!(bed.deliver(record(began, number)).await.batch_item_failures.is_empty());
        assert_eq!(bed.entries(&"demo".parse().unwrap()).await.len(), entries, "{began} {number}");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_the_batch_there_and_the_rest_comes_again() {
    let bed = Unfollowed::new();
    let event = batch_of_three(&bed).await;
    let mut damaged = event.clone();
    damaged["Records"][1]["dynamodb"]["NewImage"]["version"] = json!({"S": "two"});
    let number = event["Records"][1]["dynamodb"]["SequenceNumber"].clone();
    let outcome = serde_json::to_value(bed.deliver(damaged).await).unwrap();
    assert_eq!(outcome, json!({"batchItemFailures": [{"itemIdentifier": number}]}));
    let room = "demo".parse().unwrap();
    let who = |facts: Vec<Fact>| -> Vec<_> {
        let of =
            |fact| if let Fact::Joined { user_id, .. } = fact { String::from(user_id) } else { panic!("{fact:?}") };
        facts.into_iter().map(of).collect()
    };
    assert_eq!(who(facts(&bed.entries(&room).await)), ["user-0"]);
    let rest = json!({"Records": event["Records"].as_array().unwrap()[1..]});
    assert!(bed.deliver(rest).await.batch_item_failures.is_empty());
    assert_eq!(who(facts(&bed.entries(&room).await)), ["user-0", "user-1", "user-2"]);
}

/// A stream keeps records for a day, and a data directory may be older than its history.
#[tokio::test]
async fn a_person_who_is_older_than_the_history_joins_it_with_their_next_change() {
    let bed = Unfollowed::new();
    batch_of_three(&bed).await;
    bed.remove(&bed.next().await.unwrap()).await;
    let mute = MuteClaim { is_muted: false, mute_scope: MuteScope::App };
    bed.context
        .users
        .set_mute(&name(0), mute, Guard::default(), &Cause::service(Timestamp::from_ms(START_MS + 1)))
        .await
        .unwrap();
    bed.context.users.delete(&name(1), None, Timestamp::from_ms(START_MS)).await.unwrap();
    let event = event_of(&bed.next().await.unwrap());
    for _ in 0..2 {
        assert!(bed.deliver(event.clone()).await.batch_item_failures.is_empty());
        let facts = facts(&bed.entries(&"demo".parse().unwrap()).await);
        let [Fact::Joined { user_id, version: 2, presence }] = facts.as_slice() else { panic!("{facts:?}") };
        assert_eq!((user_id, presence.is_muted), (&name(0), false));
    }
}

#[test]
fn the_function_adds_its_event_to_the_ledger_once() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("on_state_change", runner.dynamodb.as_deref().unwrap());
    for _ in 0..2 {
        let outcome = lambda.run(&event("on_state_change"));
        assert!(outcome.to_string().contains(FAILED_NONE), "{outcome}");
        let (entries, _) = audit(&runner, "demo-room");
        let words: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.at.as_str())).collect();
        let expected = [("joined", "2026-11-21T10:32:05.000Z"), ("mute_changed", "2026-11-21T10:32:06.500Z")];
        assert_eq!(words, expected);
    }
}

#[test]
fn an_expired_state_is_recorded_as_left() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("on_state_change", runner.dynamodb.as_deref().unwrap());
    let mut event = event("on_state_change");
    let mut removal = event["Records"][1].clone();
    removal["eventName"] = "REMOVE".into();
    removal["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    removal["dynamodb"]["OldImage"] = removal["dynamodb"]["NewImage"].take();
    removal["dynamodb"].as_object_mut().unwrap().remove("NewImage");
    removal["dynamodb"]["SequenceNumber"] = "4421584500000000017450439093".into();
    removal["dynamodb"]["ApproximateCreationDateTime"] = 1_797_849_125.into();
    event["Records"].as_array_mut().unwrap().push(removal);
    lambda.run(&event);
    let (entries, _) = audit(&runner, "demo-room");
    let last = &entries[2];
    assert_eq!(
        (last.action.as_str(), last.actor.as_str(), &last.data["cause"]),
        ("left", "service", &json!("expired"))
    );
    assert_eq!(last.at, "2026-12-21T10:32:05.000Z");
}

#[test]
fn names_and_labels_are_never_in_the_ledger() {
    let runner = Runner::ephemeral();
    let body = json!({"isMuted": true, "deviceId": "canary-device", "deviceLabel": "Canary Mic", "roomId": "demo"});
    runner.post("/api/users/ada/state", body);
    let mut witness = Witness::paired(&runner, "ada");
    let device = json!({"device": {"id": "pulseaudio:canary", "label": "Canary Mic", "unique": true}});
    assert_eq!(witness.attest(&runner, device).status, 200);
    runner.patch("/api/users/ada/device", json!({"deviceId": "canary-2", "deviceLabel": "Other canary"}));
    runner.delete("/api/users/ada");
    audit_of(&runner, "demo", 6);
    let table = engine(&runner, "Scan", &json!({"TableName": "greenroom-ledger"})).to_string();
    assert!(table.contains("CHAIN#room:demo") && !table.to_lowercase().contains("canary"), "{table}");
}

#[test]
fn a_database_that_fails_holds_the_batch_back_and_loses_nothing() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = Lambda::start("on_state_change", &database.url);
    let event = event("on_state_change");
    database.be(Mode::Failing);
    let outcome = lambda.run(&event);
    let first = &event["Records"][0]["dynamodb"]["SequenceNumber"];
    assert_eq!(&outcome["batchItemFailures"], &json!([{"itemIdentifier": first}]));
    database.be(Mode::Working);
    assert!(lambda.run(&event).to_string().contains(FAILED_NONE));
    assert_eq!(audit(&runner, "demo-room").0.len(), 2);
}

#[test]
fn records_of_other_items_are_skipped_and_the_next_batch_works() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("on_state_change", runner.dynamodb.as_deref().unwrap());
    let mut strange = event("on_state_change");
    strange["Records"][0]["dynamodb"]["Keys"] = json!({"pk": {"S": "AGENT#x"}, "sk": {"S": "META"}});
    strange["Records"][1]["dynamodb"]["Keys"] = json!({});
    assert!(lambda.run(&strange).to_string().contains(FAILED_NONE), "an item that is no state is skipped");
    strange["Records"][0]["dynamodb"]["Keys"] = json!({"pk": {"S": "CONN#L0SM9cOFvHcCIhw="}, "sk": {"S": "META"}});
    assert!(lambda.run(&strange).to_string().contains(FAILED_NONE), "a connection is skipped too");
    assert_eq!(audit(&runner, "demo-room").0.len(), 0);
    lambda.run(&event("on_state_change"));
    assert_eq!(audit(&runner, "demo-room").0.len(), 2);
}

#[test]
fn a_device_has_another_digest_in_each_room() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    join(&runner, "bob", true);
    runner.post("/api/users/eve/state", json!({"isMuted": true, "deviceId": "e3b0", "roomId": "other"}));
    let digests = |room: &str, count| -> BTreeSet<_> {
        audit_of(&runner, room, count).iter().map(|entry| entry.data["device"].as_str().unwrap().to_owned()).collect()
    };
    let (demo, other) = (digests("demo", 2), digests("other", 1));
    assert_eq!((demo.len(), other.len()), (1, 1));
    assert!(demo.is_disjoint(&other));
}

#[tokio::test]
async fn a_state_that_the_runner_sweeps_is_recorded_as_expired() {
    let bed = Unfollowed::new();
    let batch = batch_of_three(&bed).await;
    bed.deliver(batch).await;
    bed.remove(&bed.next().await.unwrap()).await;
    let past = json!({
        "TableName": bed.context.config.state_table,
        "Key": {"pk": {"S": "USER#user-1"}, "sk": {"S": "STATE"}},
        "UpdateExpression": "SET expiresAt = :past",
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    bed.engine.call("UpdateItem".into(), past.to_string().into_bytes()).await.unwrap();
    assert_eq!(bed.engine.work(|database| database.sweep_ttl().unwrap()).await, Some(1));
    let event = event_of(&bed.next().await.unwrap());
    assert!(bed.deliver(event).await.batch_item_failures.is_empty());
    let entries = bed.entries(&"demo".parse().unwrap()).await;
    let last = entries.last().unwrap();
    assert_eq!((last.seq, last.action.as_str(), &last.data["cause"]), (4, "left", &json!("expired")));
}
