//! One line per request, with the fields of seed 004.

use crate::support::witness::{Witness, engine, join};
use crate::support::{Reply, Runner, await_that, instant, keys};
use serde_json::{Value, json};

const FIELDS: [&str; 14] = [
    "caller",
    "duration",
    "durationSeconds",
    "isCriticalEndpoint",
    "isError",
    "isSlowRequest",
    "method",
    "path",
    "requestId",
    "route",
    "statusCode",
    "statusText",
    "timestamp",
    "userId",
];

fn logged(send: impl Fn(&Runner) -> Reply) -> (Reply, Value) {
    let runner = Runner::ephemeral();
    runner.post("/api/users/user-123/state", json!({"isMuted": false, "deviceLabel": "Ada's microphone"}));
    let reply = send(&runner);
    let line = runner.log_of(&reply);
    (reply, line)
}

#[test]
fn a_line_has_exactly_these_fields() {
    let (_, line) = logged(|runner| runner.patch("/api/users/user-123/mute", json!({"isMuted": true})));
    assert_eq!(keys(&line), FIELDS);
    let (_, line) = logged(|runner| runner.get("/api/nowhere"));
    assert_eq!(keys(&line), FIELDS);
}

#[test]
fn a_line_names_the_request_the_status_and_the_user() {
    let (reply, line) = logged(|runner| runner.patch("/api/users/user-123/mute", json!({"isMuted": true})));
    assert_eq!(line["requestId"], reply.header("x-request-id").unwrap());
    assert_eq!((&line["method"], &line["path"]), (&json!("PATCH"), &json!("/api/users/user-123/mute")));
    assert_eq!(line["route"], "PATCH /api/users/{userId}/mute");
    assert_eq!(
        (&line["statusCode"], &line["statusText"], &line["isError"]),
        (&json!(200), &json!("success"), &json!(false))
    );
    assert_eq!((&line["userId"], &line["isCriticalEndpoint"]), (&json!("user-123"), &json!(true)));
    instant(&line["timestamp"]);
    let (_, line) = logged(|runner| runner.patch("/api/users/user-123/mute?x=1", json!({"isMuted": true})));
    assert_eq!((&line["path"], &line["statusCode"]), (&json!("/api/users/user-123/mute"), &json!(400)));
}

#[test]
fn a_line_holds_the_duration() {
    let (_, line) = logged(|runner| runner.get("/api/users"));
    let ms = line["duration"].as_u64().unwrap();
    assert_eq!(line["durationSeconds"], format!("{}.{:03}", ms / 1000, ms % 1000));
    assert_eq!(line["isSlowRequest"], ms > 1000);
}

#[test]
fn a_refusal_is_logged_as_an_error() {
    for (send, status) in [
        ((|runner: &Runner| runner.get("/api/users/nobody")) as fn(&Runner) -> Reply, 404),
        (|runner| runner.post("/api/users/user-123/state", json!({"isMuted": 1})), 400),
        (|runner| runner.get("/api/nowhere"), 404),
    ] {
        let (_, line) = logged(send);
        assert_eq!(
            (&line["statusCode"], &line["statusText"], &line["isError"]),
            (&json!(status), &json!("error"), &json!(true))
        );
    }
}

#[test]
fn a_304_is_logged_as_a_success() {
    let (reply, line) = logged(|runner| runner.send("GET", "/api/users", &[("if-none-match", "*")], ""));
    assert_eq!((reply.status, &line["statusCode"], &line["isError"]), (304, &json!(304), &json!(false)));
}

#[test]
fn only_routes_that_change_state_are_critical() {
    let runner = Runner::ephemeral();
    for (reply, critical) in [
        (runner.post("/api/users/ada/state", json!({"isMuted": true})), true),
        (runner.patch("/api/users/ada/mute", json!({"isMuted": true})), true),
        (runner.patch("/api/users/ada/device", json!({"deviceId": "usb"})), true),
        (runner.get("/api/users/ada"), false),
        (runner.get("/api/users"), false),
        (runner.get("/api/rooms/demo/users"), false),
        (runner.get("/api/health"), false),
        (runner.delete("/api/users/ada"), true),
        (runner.post("/api/nowhere", json!({})), false),
    ] {
        assert_eq!(runner.log_of(&reply)["isCriticalEndpoint"], critical, "{reply:?}");
    }
}

#[test]
fn a_line_names_the_caller_and_none_for_a_refused_or_public_request() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    let attested = witness.attest(&runner, json!({}));
    assert_eq!(runner.log_of(&attested)["caller"], format!("agent:{}", witness.id));
    let forged = runner.post(&format!("/api/agents/{}/attestations", witness.id), json!({}));
    assert_eq!((forged.status, &runner.log_of(&forged)["caller"]), (401, &Value::Null));
    for (path, caller) in [("/api/users/ada", json!("open")), ("/api/health", Value::Null)] {
        assert_eq!(runner.log_of(&runner.get(path))["caller"], caller, "{path}");
    }
    let strict = Runner::with_env(&[("AUTH_MODE", "strict")]);
    let refused = strict.get("/api/users/ada");
    assert_eq!((refused.status, &strict.log_of(&refused)["caller"]), (401, &Value::Null));
}

#[test]
fn a_request_without_a_user_names_none() {
    let (_, line) = logged(|runner| runner.get("/api/rooms/demo/users"));
    assert_eq!((&line["userId"], &line["route"]), (&Value::Null, &json!("GET /api/rooms/{room}/users")));
    let (_, line) = logged(|runner| runner.get("/api/users/a%20b"));
    assert_eq!(line["userId"], Value::Null, "an invalid id is not logged");
}

#[test]
fn a_path_cannot_break_or_colour_a_line() {
    let (_, line) = logged(|runner| runner.get("/api/%0A%1b[31m%22,%22isError%22:false"));
    assert_eq!(line["path"], "/api/{hidden}");
}

/// The client chooses method and path. The first request has the longest ones that fit into a head together.
#[test]
fn a_line_stays_short_however_long_method_and_path_are() {
    const LINE_BYTES_MAX: usize = 1100;
    let runner = Runner::ephemeral();
    let long = format!("/{}", "p".repeat(6000));
    let requests =
        [("M".repeat(9000), long.clone(), long), ("GET".to_owned(), "/\"".repeat(3000), "/{hidden}".repeat(3000))];
    for (method, path, logged) in requests {
        let reply = runner.send(&method, &path, &[], "");
        let line = runner.log_of(&reply);
        assert!(line.to_string().len() <= LINE_BYTES_MAX, "{} bytes", line.to_string().len());
        assert!(
            method.starts_with(line["method"].as_str().unwrap()) && logged.starts_with(line["path"].as_str().unwrap())
        );
    }
    let reply = runner.send("PROPFIND", "/api/users", &[], "");
    assert_eq!(runner.log_of(&reply)["method"], "PROPFIND", "a registered method is logged whole");
}

#[test]
fn names_and_labels_are_never_logged() {
    let runner = Runner::with_env(&[("LOG_LEVEL", "trace")]);
    let secret = json!({
        "isMuted": true, "deviceId": "device-7", "deviceLabel": "Ada's microphone", "name": "Lovelace", "roomId": "demo",
    });
    assert_eq!(runner.post("/api/users/ada/state", secret).json()["name"], "Lovelace");
    runner.get("/api/rooms/demo/users");
    runner.post("/api/users/ada/state", json!({"isMuted": true, "name": "Lovelace\n"}));
    runner.patch("/api/users/ada/device", json!({"deviceId": "device-7", "deviceLabel": "Ada's microphone\n"}));
    let last = runner.get("/api/users/ada");
    runner.log_of(&last);
    let log = Value::from(runner.log()).to_string();
    for private in ["microphone", "device-7", "Lovelace"] {
        assert!(!log.contains(private), "{private} is in {log}");
    }
}

#[test]
fn what_people_write_in_a_room_is_in_no_log_and_no_ledger() {
    let env = [("LOG_LEVEL", "trace")];
    let runner = Runner::start_with_env(&["--ephemeral", "--dynamodb-port", "0"], &env);
    let created = runner.post("/api/rooms", json!({"title": "Titlewords", "presenterName": "Lovelace"})).json();
    let room = format!("/api/rooms/{}", created["roomId"].as_str().unwrap());
    let with = |mut body: Value| {
        body["participantId"] = created["participantId"].clone();
        body
    };
    let posted = runner.post(&format!("{room}/messages"), with(json!({"message": "Messagewords"})));
    assert_eq!(posted.status, 201, "{}", posted.text);
    runner.post(&format!("{room}/messages"), with(json!({"message": "Messagewords\u{0}"})));
    let asked = runner.post(&format!("{room}/questions"), with(json!({"question": "Questionwords"}))).json();
    let question = format!("{room}/questions/{}", asked["questionId"].as_str().unwrap());
    assert_eq!(runner.put(&format!("{question}/vote"), with(json!({}))).status, 200);
    let answered = runner.post(&format!("{question}/answer"), with(json!({"answer": "Answerwords"})));
    assert_eq!(answered.status, 200, "{}", answered.text);
    runner.post(&format!("{room}/mute-all"), with(json!({})));
    let events = format!("{room}/events");
    let bearer = format!("Bearer {}", created["presenterToken"].as_str().unwrap());
    await_that("the history has the person who created the room", || {
        runner.send("GET", &events, &[("authorization", &bearer)], "").text.contains("joined")
    });
    let ledger = engine(&runner, "Scan", &json!({"TableName": "greenroom-ledger"})).to_string();
    let log = Value::from(runner.log()).to_string();
    for private in ["Titlewords", "Lovelace", "Messagewords", "Questionwords", "Answerwords"] {
        assert!(!log.contains(private), "{private} is in {log}");
        assert!(!ledger.contains(private), "{private} is in {ledger}");
    }
}

#[test]
fn every_request_is_one_line() {
    let runner = Runner::ephemeral();
    for _ in 0..20 {
        runner.get("/api/users");
    }
    let last = runner.get("/api/health");
    runner.log_of(&last);
    assert_eq!(runner.log().iter().filter(|line| line.get("statusCode").is_some()).count(), 21);
}
