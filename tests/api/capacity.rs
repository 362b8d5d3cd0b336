//! The cost of a request: the calls and capacity units between a real function and the database.

use crate::support::Runner;
use crate::support::database::{Call, Database};
use crate::support::history::{audit, audit_of};
use crate::support::lambda::{self, Lambda, event, install_key};
use crate::support::meeting::{Meeting, Person};
use crate::support::rooms::{PASSWORD, PASSWORD_HASH};
use crate::support::witness::{Witness, code, engine, enrolment, fresh_key, join, now_ms, set_attribute};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::Purpose;
use functions::DECLARED;
use functions::function::{Callers, FunctionKind, declared};
use serde_json::{Value, json};
use xtask::cost::{ITEM_BYTES, LOG_LINE, PERSON_BYTES, ROOM, budget};

struct Bill {
    runner: Runner,
    database: Database,
}

impl Bill {
    fn new() -> Self {
        let runner = Runner::ephemeral();
        let database = Database::before(runner.dynamodb.as_deref().unwrap());
        Self { runner, database }
    }

    fn join(&self, user: &str, body: Value) {
        let joined = self.runner.post(&format!("/api/users/{user}/state"), body);
        assert!(joined.status < 300, "{}", joined.text);
    }

    /// A room that somebody created, with this many people, the presenter included.
    fn meeting(&self, people: usize) -> Meeting {
        Meeting::new(&self.runner, &self.database.url, people)
    }

    /// Forgets how often anybody has called: each function has a caller who is not in a hurry.
    fn forget_limits(&self) {
        let found = engine(&self.runner, "Scan", &json!({"TableName": "greenroom-state"}));
        for item in found["Items"].as_array().unwrap().iter().filter(|item| item.get("fullAt").is_some()) {
            let key = json!({"pk": item["pk"], "sk": item["sk"]});
            engine(&self.runner, "DeleteItem", &json!({"TableName": "greenroom-state", "Key": key}));
        }
    }

    /// Name and units of the only call that a function makes for its event.
    fn of(&self, binary: &str, status: u16) -> (String, f64) {
        self.of_event(binary, &event(binary), status)
    }

    fn of_event(&self, binary: &str, event: &Value, status: u16) -> (String, f64) {
        let lambda = Lambda::start(binary, &self.database.url);
        let reply = lambda.invoke(event);
        assert_eq!(reply.status, status, "{}", reply.text);
        let calls = self.database.take_calls();
        let [call] = calls.as_slice() else {
            panic!("{binary} makes {} calls instead of one: {calls:#?}", calls.len())
        };
        (call.operation.clone(), units(call))
    }
}

fn units(call: &Call) -> f64 {
    call.answer["ConsumedCapacity"]["CapacityUnits"].as_f64().unwrap_or_default()
}

/// The calls, read units and write units since the calls were last taken. A process fetches the secret of the limits
/// once a day, so that call is not counted.
fn used(bill: &Bill) -> (usize, f64, f64) {
    let mut calls = bill.database.take_calls();
    calls.retain(|call| {
        let key = call.answer["Attributes"]["pk"]["S"].as_str();
        !key.is_some_and(|key| key.starts_with("LIMIT#key#"))
    });
    let (mut reads, mut writes) = (0.0, 0.0);
    for call in &calls {
        let consumed = &call.answer["ConsumedCapacity"];
        let tables = consumed.as_array().cloned().unwrap_or_else(|| vec![consumed.clone()]);
        // The engine reports none for a refused write. DynamoDB takes those of the stored item, which is small.
        let was_refused = call.answer["__type"].as_str().is_some_and(|kind| kind.ends_with("CheckFailedException"));
        let of = |table: &Value| match table["CapacityUnits"].as_f64() {
            Some(units) => units,
            None if was_refused => 1.0,
            None => panic!("no units: {call:?}"),
        };
        let units: f64 = tables.iter().map(of).sum();
        let read = ["BatchGetItem", "GetItem", "Query", "Scan"].contains(&call.operation.as_str());
        *(if read { &mut reads } else { &mut writes }) += units;
    }
    (calls.len(), reads, writes)
}

#[test]
fn no_function_costs_more_than_the_budget_that_the_cost_report_is_made_of() {
    let bill = Bill::new();
    let meeting = bill.meeting(ROOM);
    let witnesses: Vec<_> = meeting.people.iter().map(|person| person.witness(&bill.runner)).collect();
    let [presenter, guest, quiet, leaving, ..] = meeting.people.as_slice() else { panic!("{ROOM} people") };
    let small = bill.meeting(2);
    bill.join("demo-user", ada());

    let names = DECLARED.iter().map(|declared| declared.name);
    let mut names: Vec<_> = names.filter(|name| budget(name).is_some() && !IN_TURN.contains(name)).collect();
    // The functions that end a lease, an agent or a state come last, and each of them still finds one to end: the
    // engine reports no units for a refused write.
    let last = [
        // These run within the lease of the connection.
        "connect_socket",
        "ping_socket",
        "disconnect_socket",
        "join_room",
        "attach_agent",
        "end_agent",
        "revoke_agent",
        "leave_room",
        "on_room_change",
    ];
    names.sort_by_key(|name| last.iter().position(|last| last == name));
    let mut over = Vec::new();
    for name in &names {
        let by = if declared(name).unwrap().function.callers == Callers::Presenter { presenter } else { guest };
        let mut event = meeting.event(name, by);
        match *name {
            "attest" => event = attesting(&witnesses[1], &json!({})),
            // The event is from a newer stream than the runner's own, whose records of the same people are already in
            // the ledger.
            "on_state_change" => {
                let text = lambda::event(name).to_string().replace("/stream/2026-", "/stream/9026-");
                event = serde_json::from_str(&text).unwrap();
            }
            "set_binding" | "revoke_agent" => event["pathParameters"]["agentId"] = witnesses[1].id.clone().into(),
            // The person has an agent and attaches another person's agent: this attachment changes the most items.
            "attach_agent" => {
                event = meeting.event(name, quiet);
                event["body"] = json!({"witness": witnesses[3].token}).to_string().into();
            }
            "end_agent" => event = meeting.event(name, quiet),
            "enroll_agent" => {
                let key = fresh_key();
                let body = enrolment("demo-user", &code(&bill.runner, "demo-user"), &key).to_string();
                event["headers"]["greenroom-signature"] = Purpose::Enrolment.sign(&key, body.as_bytes()).into();
                event["body"] = body.into();
            }
            // A participant leaves instead.
            "delete_user" => event = lambda::event(name),
            "create_room" | "join_room" => {
                event["headers"]["idempotency-key"] = "once".into();
                lock(&bill.runner, &meeting.id);
                let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
                body["password"] = PASSWORD.into();
                event["body"] = body.to_string().into();
            }
            // Somebody leaves for good, and not only one page load ends.
            "leave_room" => {
                event = meeting.event(name, leaving);
                event["body"] = "{}".into();
            }
            "update_room" => event["body"] = json!({"title": "Part two"}).to_string().into(),
            "end_room" => event = small.event(name, &small.people[0]),
            _ => {}
        }
        bill.forget_limits();
        bill.database.take_calls();
        let lambda = Lambda::start(name, &bill.database.url);
        let answer = lambda.run(&event);
        let status = answer["statusCode"].as_u64().unwrap_or(200);
        assert!(status < 300 || *name == "no_route", "{name}: {answer}");
        let budget = budget(name).unwrap();
        let (calls, reads, writes) = used(&bill);
        if calls > budget.calls || reads > budget.reads || writes > budget.writes {
            over.push(format!("{name}: {calls} calls, {reads} read and {writes} write units; it declares {budget:?}"));
        }
        if ["get_room", "list_room_users"].contains(name) {
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            let people = body["participants"].as_array().or(body["items"].as_array()).unwrap();
            assert_eq!(people.len(), ROOM);
            let bytes: usize = people.iter().map(|person| person.to_string().len()).sum();
            assert!(bytes <= ROOM * PERSON_BYTES, "{bytes} bytes for {ROOM} people");
        }
        // Lambda itself counts the invocations of consumers, so these log no metrics.
        if declared(name).unwrap().kind != FunctionKind::Consumer {
            let line = lambda.await_log(|line| line.get("_aws").is_some());
            assert!(line.to_string().len() <= LOG_LINE, "{name} logs {} bytes: {line}", line.to_string().len());
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

/// Calls, read units and write units of a function that answers with this status.
fn costs(bill: &Bill, function: &str, status: u16, event: &Value) -> (usize, f64, f64) {
    bill.forget_limits();
    bill.database.take_calls();
    let reply = Lambda::start(function, &bill.database.url).invoke(event);
    assert_eq!(reply.status, status, "{}", reply.text);
    used(bill)
}

/// An event with this body.
#[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
fn with(mut event: Value, body: Value) -> Value {
    event["headers"]["content-type"] = "application/json".into();
    event["body"] = body.to_string().into();
    event
}

/// Two write units each for the room and for the person, one for the index and one for the limit. With an
/// `Idempotency-Key`, the answer is stored as well: up to two kilobytes, in the same transaction.
#[test]
fn a_join_costs_six_write_units_and_four_more_with_a_key() {
    let bill = Bill::new();
    let meeting = bill.meeting(1);
    let join = meeting.event("join_room", &meeting.people[0]);
    assert_eq!(costs(&bill, "join_room", 200, &join), (4, 2.0, 6.0));
    let mut repeated = join.clone();
    repeated["headers"]["idempotency-key"] = "once".into();
    assert_eq!(costs(&bill, "join_room", 200, &repeated), (6, 4.0, 10.0));
    assert_eq!(costs(&bill, "join_room", 200, &repeated), (1, 1.0, 0.0));
    lock(&bill.runner, &meeting.id);
    let guess = |password: &str| with(join.clone(), json!({"name": "Grace", "password": password}));
    assert_eq!(costs(&bill, "join_room", 200, &guess(PASSWORD)), (6, 2.0, 8.0));
    assert_eq!(costs(&bill, "join_room", 401, &guess("a guess")), (4, 2.0, 2.0));
}

/// The page polls a room with its token, every 1.5 seconds.
#[test]
fn a_poll_of_25_with_agents_costs_two_calls_and_at_most_three_read_units() {
    let bill = Bill::new();
    let meeting = bill.meeting(ROOM);
    meeting.people.iter().for_each(|person| drop(person.witness(&bill.runner)));
    for (function, most) in [("get_room", 3.0), ("list_room_users", 2.5)] {
        let (calls, reads, writes) = costs(&bill, function, 200, &meeting.event(function, &meeting.people[1]));
        assert!(calls == 2 && reads <= most && writes == 0.0, "{function}: {calls} calls, {reads} read units");
    }
    let mut teaser = meeting.event("get_room", &meeting.people[1]);
    teaser["headers"].as_object_mut().unwrap().remove("authorization");
    assert_eq!(costs(&bill, "get_room", 200, &teaser), (1, 0.5, 0.0));
}

#[test]
fn every_kind_of_moderation_stays_within_the_budget() {
    let bill = Bill::new();
    let meeting = bill.meeting(3);
    let [presenter, guest, _] = meeting.people.as_slice() else { panic!("three people") };
    let check = |function: &str, event: Value, more: usize| {
        let (calls, reads, writes) = costs(&bill, function, 200, &event);
        let most = budget(function).unwrap();
        let each = f64::from(u8::try_from(more).unwrap());
        let (calls_max, reads_max, writes_max) = (most.calls + more, most.reads + each, most.writes + 2.0 * each);
        assert!(
            calls <= calls_max && reads <= reads_max && writes <= writes_max,
            "{}: {calls} calls, {reads} read and {writes} write units",
            event["body"]
        );
    };
    let moderate = |by: &Person, person: &Person, change: Value| {
        let mut event = with(meeting.event("update_participant", by), change);
        event["pathParameters"]["participantId"] = person.id.clone().into();
        check("update_participant", event, 0);
    };
    let set =
        |change: Value, more: usize| check("update_room", with(meeting.event("update_room", presenter), change), more);
    moderate(guest, guest, json!({"handRaised": true, "isVideoOn": true, "name": "G."}));
    moderate(presenter, guest, json!({"mayUnmute": true, "role": "presenter"}));
    moderate(guest, guest, json!({"role": "attendee"}));
    // A query and a write for each attendee: it is stored with them.
    set(json!({"settings": {"moderatedUnmute": true}}), 1 + 2);
    set(json!({"settings": {"lobby": true}}), 0);
    let waiting = meeting.join(202);
    moderate(presenter, &waiting, json!({"admitted": true}));
    moderate(presenter, &waiting, json!({"removed": true}));
    let page = json!({"lease": "page-load-1"});
    let stays = with(meeting.event("renew_presence", guest), page.clone());
    check("renew_presence", stays.clone(), 0);
    // The seat was given away while the guest was silent, and they take one again.
    set_attribute(&bill.runner, &guest.id, "seated", None);
    assert_eq!(costs(&bill, "renew_presence", 200, &stays), (5, 2.0, 8.0));
    check("leave_room", with(meeting.event("leave_room", guest), page), 0);
}

/// Nobody but the caller's own item is looked at for a token that is refused.
#[test]
fn a_participant_who_may_not_costs_one_read_unit_and_the_limit() {
    let bill = Bill::new();
    let meeting = bill.meeting(1);
    assert_eq!(costs(&bill, "delete_user", 409, &meeting.event("delete_user", &meeting.people[0])), (2, 1.0, 1.0));
}

/// Gives a room the password of the tests.
fn lock(runner: &Runner, room: &str) {
    let update = json!({
        "TableName": "greenroom-state", "Key": {"pk": {"S": format!("ROOM#{room}")}, "sk": {"S": "META"}},
        "UpdateExpression": "SET passwordHash = :hash", "ExpressionAttributeValues": {":hash": {"S": PASSWORD_HASH}},
    });
    engine(runner, "UpdateItem", &update);
}

/// Functions whose example needs what another one has made: the next test measures them.
const IN_TURN: [&str; 10] = [
    "answer_question",
    "ask_question",
    "cast_vote",
    "get_mute_request",
    "list_messages",
    "list_questions",
    "mute_all",
    "post_message",
    "update_question",
    "withdraw_vote",
];

/// What people write in a room of ordinary size, each function once and without an `Idempotency-Key`. The measured costs are
/// those that a call declares, less the reserve for a key.
#[test]
fn what_people_write_in_a_room_costs_what_its_functions_declare() {
    let bill = Bill::new();
    install_key(&bill.runner);
    let context = |name: &str| Lambda::start(name, &bill.database.url);
    let call = |name: &str, parameters: Value, token: &str, body: Value| {
        let mut event = event(name);
        event["pathParameters"] = parameters;
        event["headers"]["authorization"] = format!("Bearer {token}").into();
        event["headers"]["content-type"] = "application/json".into();
        event["body"] = body.to_string().into();
        // Nobody is in a hurry.
        let everything = engine(&bill.runner, "Scan", &json!({"TableName": "greenroom-state"}));
        for bucket in everything["Items"].as_array().unwrap().iter().filter(|item| item.get("fullAt").is_some()) {
            let key = json!({"pk": bucket["pk"], "sk": bucket["sk"]});
            engine(&bill.runner, "DeleteItem", &json!({"TableName": "greenroom-state", "Key": key}));
        }
        bill.database.take_calls();
        let reply = context(name).invoke(&event);
        assert!(reply.status < 300, "{name}: {}", reply.text);
        (reply.json(), used(&bill))
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let (created, _) = call("create_room", json!({}), "", json!({"title": "Weekly review", "presenterName": "Ada"}));
    let (room, ada) = (text(&created, "roomId"), text(&created, "presenterToken"));
    let join = Lambda::start("join_room", &bill.database.url);
    let people: Vec<String> = (1..ROOM)
        .map(|n| {
            let mut event = event("join_room");
            event["pathParameters"] = json!({"room": room});
            event["body"] = json!({"name": format!("Grace {n}")}).to_string().into();
            text(&join.invoke(&event).json(), "token")
        })
        .collect();
    let mut measured = Vec::new();
    let mut measure = |name: &'static str, more: Value, token: &str, body: Value| {
        let mut parameters = more;
        parameters["room"] = room.clone().into();
        let (answer, used) = call(name, parameters, token, body);
        measured.push((name, used));
        answer
    };
    // A room with fifty messages and 25 questions.
    let copies = |prefix: &str, number: usize| {
        let everything = engine(&bill.runner, "Scan", &json!({"TableName": "greenroom-state"}));
        let mut items = everything["Items"].as_array().unwrap().iter();
        let mut item = items.find(|item| item["sk"]["S"].as_str().unwrap().starts_with(prefix)).unwrap().clone();
        let first = item["sk"]["S"].as_str().unwrap().to_owned();
        for n in 0..number {
            // Only the end of the id differs.
            item["sk"]["S"] = format!("{}{n:04}", &first[..first.len() - 4]).into();
            engine(&bill.runner, "PutItem", &json!({"TableName": "greenroom-state", "Item": item}));
        }
    };
    let grace = &people[0];
    let sentence = "x".repeat(200);
    measure("post_message", json!({}), grace, json!({"message": sentence}));
    copies("MSG#", 49);
    measure("list_messages", json!({}), grace, json!(null));
    let asked = measure("ask_question", json!({}), grace, json!({"question": sentence}));
    let question = json!({"questionId": asked["questionId"]});
    measure("cast_vote", question.clone(), grace, json!({}));
    copies("Q#", 24);
    measure("list_questions", json!({}), grace, json!(null));
    measure("withdraw_vote", question.clone(), grace, json!({}));
    measure("answer_question", question.clone(), &ada, json!({"answer": sentence}));
    measure("update_question", question, &ada, json!({"isPinned": true, "isAnswered": false}));
    let request = measure("mute_all", json!({}), &ada, json!({}));
    measure("get_mute_request", json!({"muteRequestId": request["requestId"]}), &ada, json!(null));
    let mut names: Vec<_> = measured.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, IN_TURN);
    for (name, (calls, reads, writes)) in measured {
        let budget = budget(name).unwrap();
        println!("{name}: {calls} calls, {reads} read and {writes} write units; declared {budget:?}");
        assert!(
            calls <= budget.calls && reads <= budget.reads && writes <= budget.writes,
            "{name} makes {calls} calls, {reads} read and {writes} write units; it declares {budget:?}"
        );
    }
}

fn ada() -> Value {
    json!({"isMuted": false, "deviceId": "default", "deviceLabel": "Built-in Microphone", "roomId": "demo-room"})
}

#[test]
fn a_mute_costs_one_call_and_two_write_units() {
    let bill = Bill::new();
    bill.join("demo-user", ada());
    assert_eq!(bill.of("set_mute", 200), ("UpdateItem".into(), 2.0));
}

#[test]
fn a_device_change_costs_one_call_and_two_write_units() {
    let bill = Bill::new();
    bill.join("demo-user", ada());
    assert_eq!(bill.of("set_device", 200), ("UpdateItem".into(), 2.0));
}

#[test]
fn a_state_costs_one_call_and_two_write_units_within_its_room() {
    let bill = Bill::new();
    assert_eq!(bill.of("set_state", 201), ("UpdateItem".into(), 2.0));
    assert_eq!(bill.of("set_state", 200), ("UpdateItem".into(), 2.0));
}

/// The index deletes the old entry and adds a new one.
#[test]
fn a_change_of_rooms_costs_one_call_and_three_write_units() {
    let bill = Bill::new();
    bill.join("demo-user", json!({"isMuted": true, "roomId": "another-room"}));
    assert_eq!(bill.of("set_state", 200), ("UpdateItem".into(), 3.0));
}

#[test]
fn a_user_without_a_room_is_not_in_the_index_and_costs_one_write_unit() {
    let bill = Bill::new();
    bill.join("demo-user", json!({"isMuted": true}));
    assert_eq!(bill.of("set_mute", 200), ("UpdateItem".into(), 1.0));
}

#[test]
fn a_user_costs_one_call_and_half_a_read_unit() {
    let bill = Bill::new();
    bill.join("demo-user", ada());
    assert_eq!(bill.of("get_user", 200), ("GetItem".into(), 0.5));
}

#[test]
fn a_room_of_25_costs_one_call_and_at_most_one_and_a_half_read_units() {
    let bill = Bill::new();
    for n in 0..25 {
        bill.join(&format!("user-{n:02}"), ada());
    }
    let (operation, units) = bill.of("list_room_users", 200);
    assert_eq!(operation, "Query");
    assert!(units <= 1.5, "{units}");
}

#[test]
fn a_deletion_costs_two_write_units_and_its_limit_one() {
    let bill = Bill::new();
    bill.join("demo-user", ada());
    assert_eq!(Lambda::start("delete_user", &bill.database.url).invoke(&event("delete_user")).status, 200);
    assert_eq!(used(&bill), (2, 0.0, 3.0));
}

/// The agent that signed the example event is unknown here, so this event has the attestation of a real agent.
fn attesting(witness: &Witness, change: &Value) -> Value {
    let mut event = event("attest");
    let body = witness.next(change).to_string();
    event["pathParameters"]["agentId"] = witness.id.clone().into();
    event["headers"]["greenroom-signature"] = witness.sign(&body).into();
    event["body"] = body.into();
    event
}

#[test]
fn an_attestation_costs_a_read_and_one_write_of_two_units() {
    let bill = Bill::new();
    join(&bill.runner, "ada", true);
    let witness = Witness::paired(&bill.runner, "ada");
    let lambda = Lambda::start("attest", &bill.database.url);
    let label =
        json!({"device": {"id": "pulseaudio:desk_mic", "label": "Desk Mic", "unique": false}, "route": "moved"});
    let reply = lambda.invoke(&attesting(&witness, &label));
    assert_eq!(reply.status, 200, "{}", reply.text);
    let calls = bill.database.take_calls();
    let costs: Vec<_> = calls.iter().map(|call| (call.operation.as_str(), units(call))).collect();
    assert_eq!(costs, [("GetItem", 0.5), ("UpdateItem", 2.0)]);
    let size = bytes(&calls[1].answer["Attributes"]);
    assert!(size < 600, "{size} bytes: a state with its evidence stays below a unit");
}

#[test]
fn a_refused_attestation_costs_no_write_but_the_refusal() {
    let bill = Bill::new();
    join(&bill.runner, "ada", true);
    let witness = Witness::paired(&bill.runner, "ada");
    let lambda = Lambda::start("attest", &bill.database.url);
    let mut forged = attesting(&witness, &json!({}));
    forged["body"] = forged["body"].as_str().unwrap().replace("digital_zero", "floor").into();
    assert_eq!(lambda.invoke(&forged).status, 401);
    let operations: Vec<_> = bill.database.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["GetItem"]);
    assert_eq!(lambda.invoke(&attesting(&witness, &json!({"seq": 7}))).status, 409);
    let operations: Vec<_> = bill.database.take_calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["GetItem", "UpdateItem"]);
}

#[test]
fn a_mute_beside_evidence_still_costs_one_call_and_two_write_units() {
    let bill = Bill::new();
    join(&bill.runner, "demo-user", true);
    let mut witness = Witness::paired(&bill.runner, "demo-user");
    assert_eq!(witness.attest(&bill.runner, json!({})).status, 200);
    assert_eq!(bill.of("set_mute", 200), ("UpdateItem".into(), 2.0));
}

#[test]
fn a_list_of_25_with_agents_costs_one_call_and_at_most_two_read_units() {
    let bill = Bill::new();
    for n in 0..25 {
        let user = format!("user-{n:02}");
        bill.join(&user, ada());
        assert_eq!(Witness::paired(&bill.runner, &user).attest(&bill.runner, json!({})).status, 200);
    }
    let (operation, units) = bill.of("list_room_users", 200);
    assert_eq!(operation, "Query");
    assert!(units <= 2.0, "{units}");
}

/// The last block is read first. If it does not hold all wanted entries, the others are read by their numbers, and then
/// the block in which the first of them stands.
#[test]
fn a_replay_costs_one_query_at_the_end_of_the_history_and_three_at_most() {
    let bill = Bill::new();
    let lambda = Lambda::start("on_state_change", &bill.database.url);
    lambda.run(&event("on_state_change"));
    let costs = |binary: &str, since: usize| -> Vec<_> {
        bill.database.take_calls();
        let mut event = event(binary);
        event["rawQueryString"] = format!("since={since}&limit=200").into();
        assert_eq!(Lambda::start(binary, &bill.database.url).invoke(&event).status, 200);
        bill.database.take_calls().iter().map(|call| (call.operation.clone(), units(call))).collect()
    };
    let query = || ("Query".to_owned(), 1.0);
    for binary in ["list_room_events", "get_room_audit"] {
        assert_eq!(costs(binary, 0), [query()], "{binary}");
        assert_eq!(costs(binary, 2), [query()], "{binary}");
    }
    lambda.run(&batch(0, &["demo-room"; 3], 3));
    lambda.run(&batch(3, &["demo-room"], 1));
    for binary in ["list_room_events", "get_room_audit"] {
        assert_eq!(costs(binary, 5), [query()], "{binary}");
        assert_eq!(costs(binary, 2), [query(), query()], "{binary}");
        assert_eq!(costs(binary, 3), [query(), query(), query()], "{binary}");
    }
}

/// An event of joins, one for each of the rooms; `people` of them take turns. Their records are `first` and later.
fn batch(first: usize, rooms: &[&str], people: usize) -> Value {
    let example = event("on_state_change");
    let record = |(number, room): (usize, &&str)| {
        let mut record = example["Records"][0].clone();
        let user = json!({"S": format!("USER#user-{:02}", number % people)});
        let body = &mut record["dynamodb"];
        body["SequenceNumber"] = format!("9{number:030}").into();
        (body["Keys"]["pk"], body["NewImage"]["pk"]) = (user.clone(), user);
        body["NewImage"]["roomId"]["S"] = (*room).into();
        body["NewImage"]["changedBy"] = json!({"S": "open"});
        body["NewImage"]["requestId"] = json!({"S": "0b2f4c6e-7d1a-4c5e-9f30-5a6b7c8d9e0f"});
        record
    };
    let records: Vec<_> = rooms.iter().enumerate().map(|(place, room)| record((first + place, room))).collect();
    json!({"Records": records})
}

/// The write units of the function's puts for this event.
fn puts(bill: &Bill, lambda: &Lambda, event: &Value) -> Vec<f64> {
    bill.database.take_calls();
    let outcome = lambda.run(event);
    assert!(outcome.to_string().contains("batchItemFailures\":[]"), "{outcome}");
    let calls = bill.database.take_calls();
    assert!(calls.iter().all(|call| ["PutItem", "Query"].contains(&call.operation.as_str())), "{calls:#?}");
    calls.iter().filter(|call| call.operation == "PutItem").map(units).collect()
}

/// A hundred changes one by one, in a room of 25: every 32nd block also names all people.
#[test]
fn the_history_of_a_change_alone_costs_at_most_two_write_units() {
    let bill = Bill::new();
    let lambda = Lambda::start("on_state_change", &bill.database.url);
    let costs: Vec<_> = (0..100).flat_map(|number| puts(&bill, &lambda, &batch(number, &["demo-room"], 25))).collect();
    assert_eq!(costs.len(), 100);
    let dear = costs.iter().filter(|units| **units > 1.0).count();
    assert!(dear <= 3 && costs.iter().all(|units| *units <= 2.0), "{costs:?}");
}

/// The people of a room are in several shards, and each shard has a consumer of its own.
#[test]
fn consumers_that_take_turns_in_a_room_look_before_they_write() {
    const CHANGES: usize = 40;
    let bill = Bill::new();
    let consumers = [(); 2].map(|()| Lambda::start("on_state_change", &bill.database.url));
    bill.database.take_calls();
    for number in 0..CHANGES {
        consumers[number % 2].run(&batch(number, &["demo-room"], 25));
    }
    let calls = bill.database.take_calls();
    let puts = calls.iter().filter(|call| call.operation == "PutItem").count();
    assert!((CHANGES..=CHANGES + 2).contains(&puts), "{puts} puts for {CHANGES} changes");
    let (reads, looks) = calls
        .iter()
        .filter(|call| call.operation == "Query")
        .fold((0.0, 0), |(units_so_far, count), call| (units_so_far + units(call), count + 1));
    assert!(looks <= CHANGES + 4 && reads <= 30.0, "{looks} looks of {reads} read units for {CHANGES} changes");
    assert_eq!(audit(&bill.runner, "demo-room").0.len(), CHANGES);
}

/// A change of rooms is in two histories.
#[test]
fn the_history_of_a_move_costs_two_write_units() {
    let bill = Bill::new();
    let lambda = Lambda::start("on_state_change", &bill.database.url);
    assert_eq!(puts(&bill, &lambda, &batch(0, &["demo-room"], 1)), [1.0]);
    let mut moved = batch(1, &["another-room"], 1);
    let body = &mut moved["Records"][0]["dynamodb"];
    body["OldImage"] = body["NewImage"].clone();
    body["OldImage"]["roomId"]["S"] = "demo-room".into();
    assert_eq!(puts(&bill, &lambda, &moved), [1.0, 1.0]);
}

#[test]
fn the_history_of_a_full_batch_costs_at_most_one_write_unit_per_change() {
    const BATCH: u32 = 100;
    let bill = Bill::new();
    let lambda = Lambda::start("on_state_change", &bill.database.url);
    let mut first = 0;
    let mut total = |rooms: u32, people: usize| -> f64 {
        let names: Vec<_> = (0..BATCH).map(|number| format!("room-{rooms}-{}", number % rooms)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let total = puts(&bill, &lambda, &batch(first, &names, people)).iter().sum();
        first += names.len();
        total
    };
    for (rooms, people) in [(1, 1), (1, 25), (4, 100), (25, 100), (100, 100)] {
        let total = total(rooms, people);
        assert!(
            total <= f64::from(BATCH),
            "{total} write units for {BATCH} changes of {people} people in {rooms} rooms"
        );
    }
}

/// The end of a chain is read once. A batch that is delivered again is recognized without a call, by the same process,
/// and with one read by another.
#[test]
fn a_batch_costs_one_write_for_each_room_and_a_room_one_read() {
    let bill = Bill::new();
    let lambda = Lambda::start("on_state_change", &bill.database.url);
    let operations = |lambda: &Lambda| -> Vec<_> {
        lambda.run(&event("on_state_change"));
        bill.database.take_calls().into_iter().map(|call| call.operation).collect()
    };
    assert_eq!(operations(&lambda), ["Query", "PutItem"]);
    assert!(operations(&lambda).is_empty());
    assert_eq!(operations(&Lambda::start("on_state_change", &bill.database.url)), ["Query"]);
    let mut unchanged = event("on_state_change");
    for record in unchanged["Records"].as_array_mut().unwrap() {
        record["dynamodb"]["OldImage"] = record["dynamodb"]["NewImage"].clone();
    }
    lambda.run(&unchanged);
    assert!(bill.database.take_calls().is_empty(), "a record without a change costs nothing");
}

#[test]
fn an_entry_is_below_a_kilobyte() {
    let bill = Bill::new();
    let id = "u_01JD0Q2K3V4W5X6Y7Z8A9BCDEF";
    // Each change waits for the one before, so that each has a block of its own.
    bill.join(id, json!({"isMuted": true, "deviceId": "e".repeat(64), "deviceLabel": "Desk Mic", "roomId": id}));
    audit_of(&bill.runner, id, 1);
    let mut witness = Witness::paired(&bill.runner, id);
    let paired = audit_of(&bill.runner, id, 2).len();
    witness.attest(&bill.runner, json!({}));
    audit_of(&bill.runner, id, paired + 1);
    bill.join(id, json!({"isMuted": true, "deviceId": "f", "roomId": "other"}));
    audit_of(&bill.runner, "other", 1);
    bill.join(id, json!({"isMuted": true, "deviceId": "e".repeat(64), "roomId": id}));
    audit_of(&bill.runner, id, paired + 3);
    let table = engine(&bill.runner, "Scan", &json!({"TableName": "greenroom-ledger"}));
    let sizes: Vec<_> = table["Items"].as_array().unwrap().iter().map(bytes).collect();
    assert!(sizes.iter().all(|size| *size < 1024), "a block of one change costs one unit: {sizes:?}");
}

#[test]
fn health_costs_one_call_and_half_a_read_unit() {
    assert_eq!(Bill::new().of("get_health", 200), ("GetItem".into(), 0.5));
}

#[test]
fn a_refusal_costs_one_call_and_no_second_read() {
    let bill = Bill::new();
    assert_eq!(bill.of("set_mute", 404).0, "UpdateItem");
    assert_eq!(bill.of("get_user", 404).0, "GetItem");
    bill.join("demo-user", ada());
    let mut lost = event("set_mute");
    lost["headers"]["if-match"] = "\"7\"".into();
    assert_eq!(bill.of_event("set_mute", &lost, 412).0, "UpdateItem");
    let mut older = event("set_mute");
    older["body"] = json!({"isMuted": true, "seq": 3}).to_string().into();
    assert_eq!(bill.of_event("set_mute", &older, 200).0, "UpdateItem");
    assert_eq!(bill.of_event("set_mute", &older, 200).0, "UpdateItem");
}

#[test]
fn a_malformed_request_costs_nothing() {
    let bill = Bill::new();
    for binary in ["set_state", "set_mute", "set_device", "attach_agent", "renew_presence", "leave_room"] {
        let mut malformed = event(binary);
        malformed["body"] = r#"{"isMuted": 1}"#.into();
        assert_eq!(Lambda::start(binary, &bill.database.url).invoke(&malformed).status, 400);
    }
    assert!(bill.database.take_calls().is_empty());
}

/// Bytes of an item as DynamoDB counts them: names and values in UTF-8, numbers with two digits per byte and one byte
/// more.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn bytes(item: &Value) -> usize {
    let members = item.as_object().unwrap().iter();
    members
        .map(|(name, value)| {
            let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
            let value = match kind.as_str() {
                "S" => value.as_str().unwrap().len(),
                "N" => value.as_str().unwrap().len().div_ceil(2) + 1,
                "BOOL" => 1,
                "B" => BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap().len(),
                other => panic!("no state has an attribute of type {other}"),
            };
            name.len() + value
        })
        .sum()
}

fn stored(bill: &Bill, user: &str, body: &Value) -> usize {
    let mut event = event("set_state");
    event["pathParameters"]["userId"] = user.into();
    event["body"] = body.to_string().into();
    Lambda::start("set_state", &bill.database.url).invoke(&event);
    bytes(&bill.database.take_calls()[0].answer["Attributes"])
}

#[test]
fn an_ordinary_state_is_far_below_a_kilobyte() {
    let id = "u_01JD0Q2K3V4W5X6Y7Z8A9BCDEF";
    // Chromium gives an id of 64 hexadecimal digits, and the maker's name of the device.
    let body = json!({"isMuted": true, "deviceId": "e".repeat(64), "deviceLabel": "Monitor of Built-in Audio Analog Stereo (00:1f.3)", "roomId": id, "seq": 1_795_257_125_007_u64});
    let bytes = stored(&Bill::new(), id, &body);
    assert!(bytes < 512, "{bytes} bytes: the attestation needs the rest");
}

/// A participant with everything that their page and their agent say, and a room with a password.
#[test]
fn a_participant_and_a_room_of_usual_length_are_below_a_kilobyte() {
    let bill = Bill::new();
    let meeting = bill.meeting(2);
    let [presenter, guest] = meeting.people.as_slice() else { panic!("two people") };
    guest.witness(&bill.runner);
    let of = |key: String, sort: &str| {
        let key = json!({"pk": {"S": key}, "sk": {"S": sort}});
        bytes(&engine(&bill.runner, "GetItem", &json!({"TableName": "greenroom-state", "Key": key}))["Item"])
    };
    let person = of(format!("USER#{}", guest.id), "STATE");
    assert!(person <= ITEM_BYTES, "{person} bytes: the cost report assumes {ITEM_BYTES}");
    let change = json!({"handRaised": true, "isVideoOn": true, "name": "Grace Brewster Hopper"});
    costs(&bill, "update_participant", 200, &with(meeting.event("update_participant", guest), change));
    let change = json!({"title": "Weekly review of the platform team", "password": "open sesame", "settings": {"moderatedUnmute": true}});
    costs(&bill, "update_room", 200, &with(meeting.event("update_room", presenter), change));
    for (what, bytes) in [
        ("a participant", of(format!("USER#{}", guest.id), "STATE")),
        ("a room", of(format!("ROOM#{}", meeting.id), "META")),
    ] {
        assert!(bytes < 1024, "{what} has {bytes} bytes");
    }
}

/// The longest possible ids, device, label and name. The state exceeds two kilobytes, so a mute of this person costs
/// three times as much as usual.
#[test]
fn the_largest_state_is_below_three_kilobytes() {
    let (id, bill) = ("x".repeat(128), Bill::new());
    let body = json!({"isMuted": false, "muteScope": "device", "deviceId": "d".repeat(256), "deviceLabel": "🎤".repeat(256), "roomId": id, "name": "🎤".repeat(100), "lease": "l".repeat(64), "seq": now_ms()});
    let bytes = stored(&bill, &id, &body);
    assert!((2048..3072).contains(&bytes), "{bytes}");
    let mut mute = event("set_mute");
    mute["pathParameters"]["userId"] = id.into();
    assert_eq!(bill.of_event("set_mute", &mute, 200), ("UpdateItem".into(), 6.0));
}
