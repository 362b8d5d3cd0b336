//! Every answer and every accepted body matches `docs/openapi.json`.

use crate::cloudwatch;
use crate::support::cloudwatch::Mode as CloudWatchMode;
use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, event, install_key};
use crate::support::rooms;
use crate::support::template::routes;
use crate::support::witness::{Witness, code, engine, enrolment, fresh_key, join, now_ms, set_attribute};
use crate::support::{Reply, Runner};
use domain::{Limit, Purpose, Timestamp};
use functions::DECLARED;
use functions::function::{Callers, FunctionKind, route_key};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

struct Description(Value);

impl Description {
    fn new() -> Self {
        Self(serde_json::from_str(functions::OPENAPI).unwrap())
    }

    /// Follows references until there is none.
    fn resolve<'a>(&'a self, mut node: &'a Value) -> &'a Value {
        while let Some(reference) = node["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').unwrap();
            node = self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        }
        node
    }

    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    /// The operation of a route, or none for the default route.
    fn operation(&self, route: &str) -> Option<&Value> {
        // Neither the default route nor the page is a part of the API.
        let (method, path) = route.split_once(" /api/").map(|(method, _)| (method, &route[method.len() + 1..]))?;
        let operation = &self.0["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "docs/openapi.json does not describe {route}");
        Some(operation)
    }

    /// Checks an answer against the description of its route.
    fn check(&self, route: &str, reply: &Reply) {
        let status = reply.status.to_string();
        let response = match self.operation(route) {
            Some(operation) => self.resolve(&operation["responses"][&status]),
            // Any request can get these two.
            None => self.resolve(match reply.status {
                404 => &self.0["components"]["responses"]["RouteNotFound"],
                _ => &self.0["components"]["responses"]["MethodNotAllowed"],
            }),
        };
        assert!(response.is_object(), "docs/openapi.json does not say that {route} answers {status}: {}", reply.text);
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let header = self.resolve(header);
            match reply.header(&name.to_lowercase()) {
                Some(value) => self.validate(&header["schema"], &value.into(), &format!("{route} {status} {name}")),
                None => assert_ne!(header["required"], true, "{route} {status} lacks {name}"),
            }
        }
        let Some(content) = response["content"].as_object() else {
            assert_eq!(reply.text, "", "{route} {status} has no body");
            return;
        };
        let kind = reply.header("content-type").unwrap();
        let media = content
            .get(kind)
            .unwrap_or_else(|| panic!("docs/openapi.json does not say that {route} {status} is {kind}"));
        self.validate(&media["schema"], &reply.json(), &format!("{route} {status}"));
    }

    fn validate(&self, schema: &Value, value: &Value, what: &str) {
        let validator = self.validator(schema);
        let broken: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(broken.is_empty(), "{what} does not match docs/openapi.json: {broken:#?}\n{value:#}");
    }
}

/// The route and the status of each answer so far.
type Seen = BTreeSet<(String, u16)>;

struct Scenario {
    runner: Runner,
    description: Description,
    seen: Seen,
}

impl Scenario {
    /// Sends a request and checks its answer. The description must allow an accepted body and forbid a malformed one.
    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Reply {
        let reply = match body {
            Some(body) => self.runner.send_json(method, path, headers, body.clone()),
            None => self.runner.send(method, path, headers, ""),
        };
        let route = self.runner.log_of(&reply)["route"].as_str().unwrap().to_owned();
        self.description.check(&route, &reply);
        if let (Some(body), Some(operation)) = (body, self.description.operation(&route)) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            match reply.status {
                200 | 201 => self.description.validate(schema, body, &format!("the body of {route}")),
                400 => assert!(
                    !self.description.validator(schema).is_valid(body),
                    "docs/openapi.json describes as acceptable what {route} refuses: {body}"
                ),
                _ => {}
            }
        }
        self.seen.insert((route, reply.status));
        reply
    }

    /// Sends a request that a line names, and checks the status of its answer. Null is no body.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    fn ask(&mut self, status: u16, headers: &[(&str, &str)], line: &str, body: Value) -> Value {
        let (method, path) = line.split_once(' ').unwrap();
        let reply = self.send(method, path, headers, Some(&body).filter(|body| !body.is_null()));
        assert_eq!(reply.status, status, "{line} {body:.200}: {}", reply.text);
        if reply.text.is_empty() { Value::Null } else { reply.json() }
    }
}

/// Each endpoint that takes a body: method, path, bodies it takes and bodies it does not.
fn bodies() -> [(&'static str, &'static str, Vec<Value>, Vec<Value>); 3] {
    let all = json!({"isMuted": true, "muteScope": "os", "deviceId": "usb", "deviceLabel": "🎤 USB", "roomId": "demo", "seq": 1});
    let nulls = json!({"isMuted": false, "muteScope": null, "deviceId": null, "deviceLabel": null, "roomId": null, "seq": null});
    let states =
        vec![all, nulls, json!({"isMuted": true, "roomId": "demo", "name": "Zoë", "lease": "page-load-1"}), json!({})];
    let not_states = vec![
        json!({"isMuted": true, "name": ""}),
        json!({"isMuted": true, "lease": "short"}),
        json!({"isMuted": "yes"}),
        json!({"isMuted": true, "roomId": "a b"}),
        json!({"isMuted": true, "roomId": "r".repeat(129)}),
        json!({"isMuted": true, "deviceId": "é"}),
        json!({"isMuted": true, "deviceId": "d".repeat(257)}),
        json!({"isMuted": true, "deviceLabel": ""}),
        json!({"isMuted": true, "deviceLabel": "l".repeat(257)}),
        json!({"isMuted": true, "muteScope": "page"}),
        json!({"isMuted": true, "seq": -1}),
        json!({"isMuted": true, "seq": 1_u64 << 53}),
        json!({"isMuted": true, "more": 1}),
        json!([true]),
        json!(null),
    ];
    let mutes = vec![json!({"isMuted": false, "muteScope": "device", "seq": 0}), json!({"isMuted": true})];
    let not_mutes = vec![
        json!({}),
        json!({"isMuted": null}),
        json!({"isMuted": true, "deviceId": "usb"}),
        json!({"isMuted": true, "seq": 1.5}),
    ];
    let longest =
        json!({"deviceId": "d".repeat(256), "deviceLabel": "🎤".repeat(256), "seq": crate::support::witness::now_ms()});
    let devices = vec![
        json!({"deviceId": "usb", "deviceLabel": null}),
        longest,
        json!({"deviceId": null}),
        json!({"deviceId": "usb"}),
    ];
    let not_devices = vec![json!({}), json!({"deviceId": ""}), json!({"deviceId": "usb", "isMuted": true})];
    [
        ("POST", "/api/users/ada/state", states, not_states),
        ("PATCH", "/api/users/ada/mute", mutes, not_mutes),
        ("PATCH", "/api/users/ada/device", devices, not_devices),
    ]
}

#[test]
fn every_answer_and_every_accepted_body_is_as_described() {
    let mut scenario = Scenario { runner: Runner::ephemeral(), description: Description::new(), seen: Seen::new() };
    let lost = [("if-match", "\"99\"")];
    for (method, path, accepted, refused) in bodies() {
        for body in &accepted {
            assert!(scenario.send(method, path, &[], Some(body)).status < 300, "{body}");
        }
        for body in &refused {
            assert_eq!(scenario.send(method, path, &[], Some(body)).status, 400, "{body}");
        }
        let body = accepted.last();
        scenario.send(method, path, &lost, body);
        scenario.send(method, path, &[("if-match", "1")], None);
        if method == "PATCH" {
            scenario.send(method, &path.replace("ada", "nobody"), &[], body);
        }
        let large = json!({"isMuted": true, "deviceId": "usb", "deviceLabel": "x".repeat(70_000)});
        scenario.send(method, path, &[], Some(&large));
    }
    for path in [
        "/api/users/ada",
        "/api/users?limit=1",
        "/api/users",
        "/api/rooms/demo/users",
        "/api/rooms/demo/events?since=1",
        "/api/rooms/demo/audit?limit=2",
        "/api/openapi.json",
    ] {
        scenario.send("GET", path, &[], None);
        scenario.send("GET", path, &[("if-none-match", "*")], None);
    }
    for path in ["/api/users/a%20b", "/api/users?limit=0", "/api/rooms/a%20b/users", "/api/users/nobody"] {
        scenario.send("GET", path, &[], None);
    }
    for path in [
        "/api/rooms/demo/events?since=-1",
        "/api/rooms/demo/audit?limit=201",
        "/api/rooms/a%20b/audit",
        "/api/metrics?unknown=1",
    ] {
        assert_eq!(scenario.send("GET", path, &[], None).status, 400);
    }
    for path in ["/api/health", "/api/health?deep=1", "/api/metrics", "/api/nowhere"] {
        scenario.send("GET", path, &[], None);
    }
    for path in ["/api/health", "/api/openapi.json"] {
        scenario.send("HEAD", path, &[], None);
        scenario.send("HEAD", path, &[("if-none-match", "*")], None);
    }
    scenario.send("PUT", "/api/users/ada", &[], None);
    scenario.send("DELETE", "/api/users/a%20b", &[], None);
    scenario.send("DELETE", "/api/users/ada", &lost, None);
    scenario.send("DELETE", "/api/users/ada", &[], None);
    scenario.send("DELETE", "/api/users/ada", &[], None);

    witnesses(&mut scenario);
    rooms(&mut scenario);
    writings(&mut scenario);

    let Scenario { runner, description, mut seen } = scenario;
    strangers(&description, &mut seen);
    install_key(&runner);
    out_of_order(&runner, &description, &mut seen);
    hurried(&runner, &description, &mut seen);
    every_described_answer_was_seen(&description, &seen);
}

/// What people write in a room, and its refusals.
fn writings(scenario: &mut Scenario) {
    let runner = &scenario.runner;
    let created = runner.post("/api/rooms", json!({"title": "Weekly review", "presenterName": "Ada"})).json();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let room = format!("/api/rooms/{}", text(&created, "roomId"));
    let grace = runner.post(&format!("{room}/join"), json!({"name": "Grace"})).json();
    let [ada, grace] = [text(&created, "presenterToken"), text(&grace, "token")].map(|token| format!("Bearer {token}"));
    let mut call = |method: &str, path: &str, by: &str, body: Option<Value>, status: u16| {
        let reply = scenario.send(method, &format!("{room}{path}"), &[("authorization", by)], body.as_ref());
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text);
        if reply.text.is_empty() { Value::Null } else { reply.json() }
    };
    for body in [json!({"message": "Hello"}), json!({"message": "👍", "type": "reaction", "participantId": null})] {
        call("POST", "/messages", &grace, Some(body), 201);
    }
    for body in [
        json!({}),
        json!({"message": ""}),
        json!({"message": "x", "type": "system"}),
        json!({"message": "x", "more": 1}),
    ] {
        call("POST", "/messages", &grace, Some(body), 400);
    }
    let page = call("GET", "/messages?limit=1", &grace, None, 200);
    call("GET", &format!("/messages?before={}", text(&page, "nextBefore")), &grace, None, 200);
    call("GET", "/messages?limit=0", &grace, None, 400);
    let asked = call("POST", "/questions", &grace, Some(json!({"question": "Why?"})), 201);
    call("POST", "/questions", &grace, Some(json!({"question": 7})), 400);
    let question = format!("/questions/{}", text(&asked, "questionId"));
    call("PUT", &format!("{question}/vote"), &ada, None, 200);
    call("PUT", &format!("{question}/vote"), &ada, Some(json!({})), 200);
    call("DELETE", &format!("{question}/vote"), &ada, None, 200);
    call("POST", &format!("{question}/answer"), &ada, Some(json!({"answer": "Because."})), 200);
    call("POST", &format!("{question}/answer"), &grace, Some(json!({"answer": "Because."})), 403);
    call("POST", &format!("{question}/answer"), &ada, Some(json!({})), 400);
    call("GET", "/questions", &grace, None, 200);
    call("PATCH", &question, &ada, Some(json!({"isPinned": true})), 200);
    call("PATCH", &question, &ada, Some(json!({"isPinned": 1})), 400);
    call("PATCH", &question, &grace, Some(json!({"removed": true})), 200);
    call("PATCH", &question, &ada, Some(json!({"isPinned": true})), 404);
    call("PUT", &format!("{question}/vote"), &ada, None, 404);
    call("DELETE", &format!("{question}/vote"), &ada, None, 404);
    call("POST", &format!("{question}/answer"), &ada, Some(json!({"answer": "x"})), 404);
    let request = call("POST", "/mute-all", &ada, None, 202);
    call("POST", "/mute-all", &grace, None, 403);
    call("GET", &format!("/mute-all/{}", text(&request, "requestId")), &ada, None, 200);
    call("GET", "/mute-all/mr_01KBA8M3Q4V4W5X6Y7Z8A9BCDJ", &ada, None, 404);
    call("GET", "", &grace, None, 200);
    call("GET", "/messages", &grace, None, 200);
    let again = call("POST", "/questions", &grace, Some(json!({"question": "Who?"})), 201);
    let question = format!("/questions/{}", text(&again, "questionId"));
    call("POST", &format!("{question}/answer"), &ada, Some(json!({"answer": "We."})), 200);
    let request = format!("/mute-all/{}", text(&request, "requestId"));
    in_a_full_room(scenario, &room, &ada, &question, &request);
    after_the_end(scenario, &room, &ada, &question);
}

/// What a presenter sends in a room that has as many questions as it may have, and with malformed bodies.
fn in_a_full_room(scenario: &mut Scenario, room: &str, ada: &str, question: &str, request: &str) {
    // The room is as full of questions as it may be.
    let full = json!({
        "TableName": "greenroom-state",
        "Key": {"pk": {"S": format!("ROOM#{}", room.trim_start_matches("/api/rooms/"))}, "sk": {"S": "META"}},
        "UpdateExpression": "SET openQuestions = :many", "ExpressionAttributeValues": {":many": {"N": "200"}},
    });
    engine(&scenario.runner, "UpdateItem", &full);
    let mut call = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>| {
        scenario.send(method, &format!("{room}{path}"), &[&[("authorization", ada)], headers].concat(), body).status
    };
    assert_eq!(call("POST", "/questions", &[], Some(&json!({"question": "And?"}))), 409);
    assert_eq!(call("PATCH", question, &[], Some(&json!({"isAnswered": false}))), 409);
    let writes = [
        ("POST", "/messages".to_owned()),
        ("POST", "/questions".to_owned()),
        ("POST", "/mute-all".to_owned()),
        ("POST", format!("{question}/answer")),
        ("PATCH", question.to_owned()),
        ("PUT", format!("{question}/vote")),
        ("DELETE", format!("{question}/vote")),
    ];
    let large = json!({"message": "x".repeat(70_000)});
    for (method, path) in &writes {
        assert_eq!(call(method, path, &[], Some(&large)), 413, "{method} {path}");
        assert_eq!(call(method, path, &[("content-type", "text/plain")], None), 415, "{method} {path}");
        assert_eq!(call(method, path, &[], Some(&json!({"unknown": 1}))), 400, "{method} {path}");
    }
    engine(&scenario.runner, "UpdateItem", &{
        let mut some = full.clone();
        some["ExpressionAttributeValues"][":many"]["N"] = "2".into();
        some
    });
    let mut call = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>| {
        scenario.send(method, &format!("{room}{path}"), &[&[("authorization", ada)], headers].concat(), body).status
    };
    let once = [("idempotency-key", "once")];
    for (path, first, other) in [
        ("/messages", json!({"message": "One"}), json!({"message": "Two"})),
        ("/questions", json!({"question": "One"}), json!({"question": "Two"})),
        ("/mute-all", json!({}), json!({"participantId": null})),
    ] {
        assert!(call("POST", path, &once, Some(&first)) < 300, "{path}");
        assert_eq!(call("POST", path, &once, Some(&other)), 422, "{path}");
    }
    let current = [("if-none-match", "*")];
    for path in ["/messages", "/questions", request] {
        assert_eq!(call("GET", path, &current, None), 304, "{path}");
    }
    assert_eq!(call("GET", "/mute-all/x", &[], None), 400);
    assert_eq!(scenario.send("GET", "/api/rooms/a%20b/questions", &[], None).status, 400);
    for (path, headers) in [("?days=1", &[][..]), ("?days=1", &current[..]), ("?days=0", &[])] {
        scenario.send("GET", &format!("/api/analytics{path}"), headers, None);
    }
}

/// The same in a room that has ended.
fn after_the_end(scenario: &mut Scenario, room: &str, ada: &str, question: &str) {
    assert_eq!(scenario.send("DELETE", room, &[("authorization", ada)], None).status, 200);
    for (method, path) in [
        ("GET", "/messages".to_owned()),
        ("GET", "/questions".to_owned()),
        ("PUT", format!("{question}/vote")),
        ("DELETE", format!("{question}/vote")),
        ("POST", "/mute-all".to_owned()),
        ("GET", "/mute-all/mr_01KBA8M3Q4V4W5X6Y7Z8A9BCDJ".to_owned()),
        ("POST", "/messages".to_owned()),
        ("POST", "/questions".to_owned()),
        ("POST", format!("{question}/answer")),
        ("PATCH", question.to_owned()),
    ] {
        let body = match path.rsplit('/').next() {
            Some("messages") if method == "POST" => Some(json!({"message": "Late"})),
            Some("questions") if method == "POST" => Some(json!({"question": "Late?"})),
            Some("answer") => Some(json!({"answer": "Late."})),
            _ if method == "PATCH" => Some(json!({"isPinned": true})),
            _ => None,
        };
        let reply = scenario.send(method, &format!("{room}{path}"), &[("authorization", ada)], body.as_ref());
        assert!(matches!(reply.status, 401 | 410), "{method} {path}: {}", reply.text);
    }
}

/// The requests of agents, from enrolment to revocation, with every refusal.
fn witnesses(scenario: &mut Scenario) {
    fn signed(scenario: &mut Scenario, path: &str, signature: &str, body: &Value) -> Reply {
        scenario.send("POST", path, &[("greenroom-signature", signature)], Some(body))
    }
    join(&scenario.runner, "ada", true);
    for path in ["/api/users/ada/pairing", "/api/users/nobody/pairing", "/api/users/a%20b/pairing"] {
        scenario.send("POST", path, &[], None);
    }
    let key = fresh_key();
    let sign = |body: &Value| Purpose::Enrolment.sign(&key, body.to_string().as_bytes());
    let good = enrolment("ada", &code(&scenario.runner, "ada"), &key);
    for signature in ["", &sign(&good), &sign(&good)] {
        signed(scenario, "/api/agents", signature, &good);
    }
    join(&scenario.runner, "bob", true);
    let bound = enrolment("bob", &code(&scenario.runner, "bob"), &key);
    assert_eq!(signed(scenario, "/api/agents", &sign(&bound), &bound).status, 409);
    let large = json!({"userId": "u".repeat(70_000)});
    for body in [json!({}), json!({"userId": "ada", "code": "short", "publicKey": "A"}), large.clone()] {
        signed(scenario, "/api/agents", "", &body);
    }
    scenario.send("POST", "/api/agents", &[], None);

    let mut witness = Witness::paired(&scenario.runner, "ada");
    let path = witness.path();
    let say = |scenario: &mut Scenario, witness: &Witness, body: &Value| {
        signed(scenario, &path, &witness.sign(&body.to_string()), body).status
    };
    assert_eq!(say(scenario, &witness, &json!({})), 400);
    assert_eq!(say(scenario, &witness, &large), 413);
    let empty = witness.sign("");
    assert_eq!(scenario.send("POST", &path, &[("greenroom-signature", &empty)], None).status, 415);
    assert_eq!(say(scenario, &witness, &witness.next(&json!({"seq": 7}))), 409);
    assert_eq!(say(scenario, &witness, &witness.next(&json!({"fromMs": 0, "toMs": 0, "silentSinceMs": 0}))), 401);
    assert_eq!(witness.attest(&scenario.runner, json!({})).status, 200);
    assert_eq!(
        say(
            scenario,
            &witness,
            &witness.next(&json!({"device": null, "condition": "host_unavailable", "signal": "not_opened"}))
        ),
        200
    );

    let binding = format!("/api/agents/{}/binding", witness.id);
    let word = json!({"deviceId": "e3b0", "agentDeviceId": "pulseaudio:desk_mic"});
    let not_words = [json!({}), json!({"deviceId": "a b", "agentDeviceId": "x"}), large];
    for body in [&word].into_iter().chain(&not_words) {
        scenario.send("PUT", &binding, &[], Some(body));
    }
    scenario.send("PUT", &binding, &[], None);
    scenario.send("PUT", "/api/agents/agt_00000000000000000000000000/binding", &[], Some(&word));
    for room in ["demo", "a%20b"] {
        scenario.send("GET", &format!("/api/rooms/{room}/safe"), &[], None);
    }
    for path in [
        format!("/api/agents/{}", witness.id),
        "/api/agents/agt_00000000000000000000000000".into(),
        "/api/agents/x".into(),
    ] {
        scenario.send("DELETE", &path, &[], None);
    }
    scenario.send("PUT", &binding, &[], Some(&word));
    assert_eq!(say(scenario, &witness, &witness.next(&json!({}))), 410);
    attachments(scenario, &witness);
    let orphan = Witness::paired(&scenario.runner, "bob");
    scenario.runner.delete("/api/users/bob");
    let body = orphan.next(&json!({}));
    signed(scenario, &orphan.path(), &orphan.sign(&body.to_string()), &body);
    scenario.send("GET", "/api/metrics", &[], None);
}

/// The requests that attach agents, renew a presence and leave. `revoked` is an agent that was revoked.
fn attachments(scenario: &mut Scenario, revoked: &Witness) {
    let enrolled = Witness::enrolled(&scenario.runner, "ada");
    let token = |token: &str| json!({"witness": token});
    let large = json!({"witness": "w".repeat(70_000)});
    for (user, body, status) in [
        ("ada", token(&enrolled.token), 200),
        ("ada", token(&"A".repeat(43)), 404),
        ("nobody", token(&enrolled.token), 404),
        ("ada", token(&revoked.token), 410),
        ("ada", token("short"), 400),
        ("ada", large, 413),
    ] {
        let path = format!("/api/users/{user}/agent");
        assert_eq!(scenario.send("PUT", &path, &[], Some(&body)).status, status, "{user} {body:.60}");
    }
    scenario.send("PUT", "/api/users/ada/agent", &[], None);
    for user in ["ada", "nobody", "a%20b"] {
        scenario.send("DELETE", &format!("/api/users/{user}/agent"), &[], None);
    }
    let idle = Witness::enrolled(&scenario.runner, "ada");
    let word = json!({"deviceId": "e3b0", "agentDeviceId": "pulseaudio:desk_mic"});
    scenario.send("PUT", &format!("/api/agents/{}/binding", idle.id), &[], Some(&word));
    scenario.send("POST", "/api/users/ada/pairing", &[("content-type", "text/plain")], None);
    let key = fresh_key();
    let body = enrolment("ada", &code(&scenario.runner, "ada"), &key);
    let signature = Purpose::Enrolment.sign(&key, body.to_string().as_bytes());
    let headers = [("greenroom-signature", signature.as_str())];
    let agent = scenario.send("POST", "/api/agents", &headers, Some(&body)).json()["agentId"].clone();
    scenario.runner.delete(&format!("/api/agents/{}", agent.as_str().unwrap()));
    assert_eq!(scenario.send("POST", "/api/agents", &headers, Some(&body)).status, 410);

    let lease = |user: &str, lease: &str| json!({"participantId": user, "lease": lease});
    for path in ["/api/rooms/demo/presence", "/api/rooms/demo/leave"] {
        for body in [lease("ada", "page-load-1"), lease("nobody", "page-load-1"), lease("ada", "short")] {
            scenario.send("POST", path, &[], Some(&body));
        }
        scenario.send("POST", path, &[], Some(&lease("ada", &"l".repeat(70_000))));
        scenario.send("POST", path, &[], None);
    }
}

/// Somebody in a room.
struct Somebody {
    id: String,
    bearer: String,
}

impl Somebody {
    fn new(id: &Value, token: &Value) -> Self {
        Self { id: id.as_str().unwrap().to_owned(), bearer: format!("Bearer {}", token.as_str().unwrap()) }
    }

    /// The header that proves who asks.
    fn token(&self) -> (&str, &str) {
        ("authorization", &self.bearer)
    }
}

/// Creates a room. Returns its path and its presenter.
fn create(scenario: &mut Scenario, mut body: Value) -> (String, Somebody) {
    (body["title"], body["presenterName"]) = ("Weekly review".into(), "Ada".into());
    let room = scenario.ask(201, &[], "POST /api/rooms", body);
    let presenter = Somebody::new(&room["participantId"], &room["presenterToken"]);
    (format!("/api/rooms/{}", room["roomId"].as_str().unwrap()), presenter)
}

/// Somebody joins a room; 202: they wait in its lobby.
fn enter(scenario: &mut Scenario, status: u16, room: &str) -> Somebody {
    let joined = scenario.ask(status, &[], &format!("POST {room}/join"), json!({"name": "Grace"}));
    Somebody::new(&joined["participantId"], &joined["token"])
}

/// The requests about rooms that somebody created, from creation to the end, with every refusal.
fn rooms(scenario: &mut Scenario) {
    let (room, ada) = create(scenario, json!({"settings": {"media": {"audioOnly": true}}}));
    let grace = enter(scenario, 200, &room);
    outsiders(scenario, &ada);
    let (by_ada, by_grace) = ([ada.token()], [grace.token()]);
    let large = json!({"name": "x".repeat(70_000)});
    for line in
        ["POST /api/rooms".to_owned(), format!("POST {room}/join"), format!("PATCH {room}"), format!("DELETE {room}")]
    {
        scenario.ask(413, &by_ada, &line, large.clone());
        scenario.ask(400, &by_ada, &line, json!({"participantId": 1}));
        scenario.ask(415, &[ada.token(), ("content-type", "text/plain")], &line, Value::Null);
    }
    let key = ("idempotency-key", "once");
    let named = |name: &str| json!({"title": "Retro", "presenterName": name});
    for (line, status, body, other) in [
        ("POST /api/rooms".to_owned(), 201, named("Ada"), named("Mallory")),
        (
            format!("POST {room}/join"),
            200,
            json!({"name": "Heidi", "capabilities": {"webrtc": true}}),
            json!({"name": "M"}),
        ),
    ] {
        let first = scenario.ask(status, &[key], &line, body.clone());
        assert_eq!(scenario.ask(status, &[key], &line, body), first);
        scenario.ask(422, &[key], &line, other);
    }

    let shown = scenario.ask(200, &by_grace, &format!("GET {room}"), Value::Null);
    scenario.ask(304, &[grace.token(), ("if-none-match", "*")], &format!("GET {room}"), Value::Null);
    scenario.ask(200, &[], &format!("GET /api/rooms/{}", shown["room"]["slug"].as_str().unwrap()), Value::Null);
    for (status, line) in [
        (200, "GET /api/rooms/demo"),
        (400, "GET /api/rooms/a%20b"),
        (404, "GET /api/rooms/rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE"),
        (200, "GET /api/rooms?limit=2"),
        (400, "GET /api/rooms?limit=0"),
    ] {
        scenario.ask(status, &[], line, Value::Null);
    }
    scenario.ask(304, &[("if-none-match", "*")], "GET /api/rooms", Value::Null);

    let change = json!({"title": "Part two", "settings": {"moderatedUnmute": null, "media": {"videoCodecs": ["AV1"]}}});
    scenario.ask(200, &by_ada, &format!("PATCH {room}"), change);
    scenario.ask(412, &[ada.token(), ("if-match", "\"99\"")], &format!("PATCH {room}"), json!({"title": "Three"}));
    scenario.ask(403, &by_grace, &format!("PATCH {room}"), json!({"title": "Mine"}));
    for change in [json!({"maxParticipants": 1001}), json!({"settings": {"chatt": true}}), json!({"password": ""})] {
        scenario.ask(400, &by_ada, &format!("PATCH {room}"), change);
    }

    let person = |person: &Somebody| format!("PATCH {room}/participants/{}", person.id);
    scenario.ask(200, &by_grace, &person(&grace), json!({"handRaised": true, "isVideoOn": true, "name": "G."}));
    scenario.ask(200, &by_ada, &person(&grace), json!({"mayUnmute": true, "role": "attendee"}));
    scenario.ask(403, &by_grace, &person(&ada), json!({"removed": true}));
    for change in [json!({"removed": false}), json!({"admitted": false}), json!({"role": "host"})] {
        scenario.ask(400, &by_ada, &person(&grace), change);
    }
    scenario.ask(404, &by_ada, &format!("PATCH {room}/participants/nobody"), json!({"mayUnmute": true}));
    scenario.ask(409, &by_ada, &person(&ada), json!({"role": "attendee"}));
    scenario.ask(413, &by_ada, &person(&ada), large);
    scenario.ask(415, &by_ada, &person(&ada), Value::Null);

    scenario.ask(200, &by_ada, &format!("PATCH {room}"), json!({"password": "open sesame"}));
    scenario.ask(401, &[], &format!("POST {room}/join"), json!({"name": "Eve"}));
    scenario.ask(401, &[], &format!("POST {room}/join"), json!({"name": "Eve", "password": "a guess"}));
    scenario.ask(200, &by_ada, &format!("PATCH {room}"), json!({"password": null, "settings": {"lobby": true}}));
    let waiting = enter(scenario, 202, &room);
    scenario.ask(403, &[waiting.token()], &format!("GET {room}"), Value::Null);
    let seen = scenario.ask(200, &by_ada, &format!("GET {room}"), Value::Null);
    assert_eq!(seen["waiting"][0]["userId"], waiting.id);
    scenario.ask(200, &by_ada, &person(&waiting), json!({"admitted": true}));
    scenario.ask(200, &by_ada, &person(&waiting), json!({"removed": true}));
    scenario.ask(401, &[waiting.token()], &format!("GET {room}"), Value::Null);

    ended(scenario);
    scenario.ask(409, &[], &format!("DELETE /api/users/{}", grace.id), Value::Null);
    scenario.ask(200, &by_grace, &format!("POST {room}/leave"), json!({}));
    scenario.ask(200, &by_ada, &format!("DELETE {room}"), Value::Null);
    let (room, ada) = create(scenario, json!({"maxParticipants": 2}));
    scenario.ask(200, &[], &format!("DELETE {room}"), json!({"participantId": ada.id}));
}

/// The requests about a room that is full, and then ends by itself: nobody removes its people at once.
fn ended(scenario: &mut Scenario) {
    let (room, ada) = create(scenario, json!({"maxParticipants": 2}));
    let silent = enter(scenario, 200, &room);
    let (presence, stays) = (format!("POST {room}/presence"), json!({"lease": "page-load-1"}));
    scenario.ask(200, &[ada.token()], &presence, stays.clone());
    scenario.ask(409, &[], &format!("POST {room}/join"), json!({"name": "Late"}));
    // Whoever is silent loses the seat to somebody who joins.
    set_attribute(&scenario.runner, &silent.id, "leaseUntil", Some(&json!({"N": "1"})));
    enter(scenario, 200, &room);
    scenario.ask(409, &[silent.token()], &presence, stays.clone());

    let id = room.strip_prefix("/api/rooms/").unwrap();
    let past = json!({
        "TableName": "greenroom-state", "Key": {"pk": {"S": format!("ROOM#{id}")}, "sk": {"S": "META"}},
        "UpdateExpression": "SET endsAt = :past", "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    engine(&scenario.runner, "UpdateItem", &past);
    scenario.ask(410, &[silent.token()], &presence, stays);
    scenario.ask(410, &[], &format!("POST {room}/join"), json!({"name": "Late"}));
    for (line, body) in [
        (format!("GET {room}"), Value::Null),
        (format!("PATCH {room}"), json!({"title": "Two"})),
        (format!("PATCH {room}/participants/{}", ada.id), json!({"handRaised": true})),
        (format!("DELETE {room}"), Value::Null),
    ] {
        scenario.ask(410, &[ada.token()], &line, body);
    }
}

/// The answers of every endpoint about a room that nobody knows, to a token that is not valid, and to the token of
/// somebody else.
fn outsiders(scenario: &mut Scenario, somebody: &Somebody) {
    join(&scenario.runner, "owner", true);
    let agent = Witness::enrolled(&scenario.runner, "owner").id;
    for declared in DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint) {
        let event = event(declared.name);
        let body = event["body"].as_str().map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
        let parameter = |name: &str| event["pathParameters"][name].as_str().unwrap_or("none");
        for (method, _) in declared.function.routes() {
            let path = event["rawPath"].as_str().unwrap();
            if event["pathParameters"].get("room").is_some() {
                let unknown = path.replace(parameter("room"), "%C3%A9-zzzzzzzzzzzzz");
                let refused = scenario.ask(404, &[], &format!("{method} {unknown}"), body.clone());
                assert_eq!(refused["code"], "room_not_found", "{}", declared.name);
            }
            if declared.function.callers.need_token() || declared.function.callers == Callers::Visitor {
                let line = format!("{method} {}", path.replace(parameter("agentId"), &agent));
                let forged = [("authorization", "Bearer e30.e30.e30")];
                let refused = scenario.ask(401, &forged, &line, body.clone());
                assert_eq!(refused["code"], "token_invalid", "{}", declared.name);
                scenario.ask(403, &[somebody.token()], &line, body.clone());
            }
        }
    }
}

/// The answers of strict mode to a stranger.
fn strangers(description: &Description, seen: &mut Seen) {
    let strict = Runner::with_env(&[("AUTH_MODE", "strict")]);
    for route in routes() {
        let key = route.to_string();
        let Some(operation) = description.operation(&key) else { continue };
        let event = event(&crate::support::template::binary_of(&route));
        let path = event["rawPath"].as_str().unwrap();
        let reply = strict.send(&route.method, path, &[("content-type", "application/json")], "{}");
        let is_public = operation["security"] == json!([]) || operation["security"][0] == json!({});
        let refused =
            reply.status == 401 && route.method != "HEAD" && reply.json()["code"] == "authentication_required";
        assert_eq!(!refused, is_public, "docs/openapi.json is wrong about who may call {key}");
        description.check(&key, &reply);
        seen.insert((key, reply.status));
    }
}

/// The answers of a function whose database fails, or refuses every call.
fn out_of_order(runner: &Runner, description: &Description, seen: &mut Seen) {
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    for (mode, status) in [(Mode::Failing, 503), (Mode::Refusing, 500)] {
        database.be(mode);
        for route in routes().into_iter().filter(|route| route.path.starts_with("/api/")) {
            let binary = crate::support::template::binary_of(&route);
            let mut event = event(&binary);
            event["requestContext"]["http"]["method"] = route.method.clone().into();
            // What is in a room that somebody created is shown to nobody without a token, in open mode too.
            if event["pathParameters"]["room"].as_str().is_some_and(|room| room.starts_with("rm_")) {
                event["headers"]["authorization"] = format!("Bearer {}", rooms::token_of_the_examples()).into();
            }
            let reply = Lambda::start(&binary, &database.url).invoke(&event);
            assert!(reply.status == status || reply.status == 200 || binary == "get_health", "{route}: {}", reply.text);
            description.check(&route.to_string(), &reply);
            seen.insert((route.to_string(), reply.status));
        }
    }
}

/// The answers of functions to a caller who has made too many calls.
fn hurried(runner: &Runner, description: &Description, seen: &mut Seen) {
    for declared in DECLARED.iter().filter(|declared| !declared.function.limits.is_empty()) {
        let lambda = Lambda::start(declared.name, runner.dynamodb.as_deref().unwrap());
        // The first call makes the buckets, and they are emptied here.
        lambda.invoke(&event(declared.name));
        let everything = engine(runner, "Scan", &json!({"TableName": "greenroom-state"}));
        for bucket in everything["Items"].as_array().unwrap().iter().filter(|item| item.get("fullAt").is_some()) {
            let full_at = Limit::horizon(Timestamp::from_ms(now_ms())).ms();
            let mut bucket = bucket.clone();
            bucket["fullAt"] = json!({"N": full_at.to_string()});
            engine(runner, "PutItem", &json!({"TableName": "greenroom-state", "Item": bucket}));
        }
        let reply = lambda.invoke(&event(declared.name));
        for (method, path) in declared.function.routes() {
            let key = route_key(method, path);
            description.check(&key, &reply);
            seen.insert((key, reply.status));
        }
    }
}

/// Checks that the scenario has seen every described answer. It cannot cause a panic, or a body that takes 20 seconds.
fn every_described_answer_was_seen(description: &Description, seen: &Seen) {
    let mut missing = Vec::new();
    for route in routes() {
        let route = route.to_string();
        let Some(operation) = description.operation(&route) else { continue };
        for status in operation["responses"].as_object().unwrap().keys() {
            let status: u16 = status.parse().unwrap();
            let unseen = match status {
                408 => true,
                500 => ["/api/health", "/api/metrics", "/api/openapi.json"].iter().any(|path| route.ends_with(path)),
                _ => false,
            };
            if !unseen && !seen.contains(&(route.clone(), status)) {
                missing.push(format!("{route}: {status}"));
            }
        }
    }
    let missing = missing.join("\n");
    assert!(missing.is_empty(), "described, and not seen: add a request, or remove the status\n{missing}");
}

/// Checks that a text type and its schema accept the same texts: a good text with another character at each place, with
/// each of `others` at its second place, and with any length.
#[track_caller]
fn agrees<T: DeserializeOwned + JsonSchema>(good: &str, others: std::ops::RangeInclusive<char>) {
    let validator = jsonschema::draft202012::new(schema_for!(T).as_value()).unwrap();
    let verdicts = |text: &str| {
        let value = Value::from(text);
        (serde_json::from_value::<T>(value.clone()).is_ok(), validator.is_valid(&value))
    };
    assert_eq!(verdicts(good), (true, true), "{good}");
    let at = |place: usize, other: char| {
        good.chars().enumerate().map(|(index, c)| if index == place { other } else { c }).collect::<String>()
    };
    let last = good.chars().count() - 1;
    for place in 0..last {
        for other in '\0'..='\u{ff}' {
            let text = at(place, other);
            let (taken, described) = verdicts(&text);
            assert_eq!(taken, described, "{text:?}: accepted by the type, by the schema");
        }
    }
    for other in '\0'..='\u{ff}' {
        // The spare bits of the last base64 digit must be zero. The schema leaves that out: no reader would understand
        // such a pattern.
        let text = at(last, other);
        assert!(!verdicts(&text).0 || verdicts(&text).1, "the type accepts {text:?}, and the schema does not");
    }
    for text in others.map(|other| at(1, other)) {
        let (taken, described) = verdicts(&text);
        assert_eq!(taken, described, "{text:?}: accepted by the type, by the schema");
    }
    for length in 0..300 {
        let text: String = good.chars().cycle().take(length).collect();
        let (taken, described) = verdicts(&text);
        assert_eq!(taken, described, "{length} characters: accepted by the type, by the schema");
    }
}

#[test]
fn a_text_type_and_its_schema_accept_the_same_texts() {
    let few = || '\u{100}'..='\u{17f}';
    agrees::<domain::UserId>("a-user", few());
    agrees::<domain::RoomId>("a-room", few());
    agrees::<domain::AgentId>("agt_7YG4P15WXB9KKARQDPKB1N5Y86", few());
    agrees::<domain::DeviceId>("usb-1", few());
    agrees::<domain::LeaseId>("page-load-1", few());
    agrees::<domain::Challenge>("k3J9Zc0wQ1uV5pXyT7bEaA", few());
    agrees::<domain::WitnessToken>("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", few());
    agrees::<domain::ledger::Hash>(&"0f".repeat(32), few());
    agrees::<domain::AgentDeviceId>("host:name", few());
    // `Name` is not in this list: the type accepts outer blanks and removes them, and the schema describes the result.
    // All characters of the first plane: the pattern names the deceptive ones among them.
    agrees::<domain::Label>("Yeti", '\u{100}'..='\u{ffff}');
}

#[test]
fn examples_match_their_schemas() {
    let description = Description::new();
    let mut found = 0;
    examples(&description.0, &mut |schema, example| {
        found += 1;
        description.validate(schema, example, "an example");
    });
    assert!(found > 10, "only {found} examples");
}

/// Every object that has a schema and an example, and every schema that has examples.
fn examples<'a>(node: &'a Value, check: &mut impl FnMut(&'a Value, &'a Value)) {
    if let (Some(schema), Some(example)) = (node.get("schema"), node.get("example")) {
        check(schema, example);
    }
    for example in node.get("examples").and_then(Value::as_array).into_iter().flatten() {
        check(node, example);
    }
    match node {
        Value::Object(members) => members.values().for_each(|member| examples(member, check)),
        Value::Array(items) => items.iter().for_each(|item| examples(item, check)),
        _ => {}
    }
}

#[test]
fn the_figures_of_a_stage_are_as_described_even_if_they_cannot_be_read() {
    let (description, cloudwatch) = (Description::new(), cloudwatch::busy());
    for mode in [CloudWatchMode::Working, CloudWatchMode::Without("p95"), CloudWatchMode::Refusing] {
        cloudwatch.be(mode);
        let reply = cloudwatch::get_metrics(&cloudwatch).invoke(&event("get_metrics"));
        description.check("GET /api/metrics", &reply);
    }
}
