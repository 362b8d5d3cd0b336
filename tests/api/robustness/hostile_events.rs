//! Events that libraries do not expect: the function answers them itself and never fails because of their content.

use crate::support::lambda::{Lambda, event};
use crate::support::{Reply, Runner, refused, refused_field};
use serde_json::{Value, json};

/// An event of `get_user` with one member changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut event = event("get_user");
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[member] = value;
    event
}

fn get_user(runner: &Runner) -> Lambda {
    runner.post("/api/users/demo-user/state", json!({"isMuted": true}));
    Lambda::start("get_user", runner.dynamodb.as_deref().unwrap())
}

#[test]
fn a_malformed_query_is_400_with_its_line_and_metrics() {
    let runner = Runner::ephemeral();
    let lambda = get_user(&runner);
    for query in ["x=a\"b", "x=<", ">", "x=a b", "x=\u{1}", "x=\u{7f}", "\\^`\""] {
        let reply = lambda.invoke(&with("/rawQueryString", query.into()));
        let accepted = reply.status == 200 && !query.contains(['"', '<', '>', ' ', '\u{1}']);
        if !accepted {
            refused_field(&reply, "query");
        }
        assert_eq!(reply.header("x-request-id"), event("get_user")["requestContext"]["requestId"].as_str());
    }
    let reply = lambda.invoke(&with("/rawQueryString", "x=a\"b".into()));
    let line = lambda.log_of(&reply);
    assert_eq!((&line["statusCode"], &line["route"]), (&json!(400), &json!("GET /api/users/{userId}")));
    assert_eq!((&line["path"], &line["method"]), (&json!("/api/users/demo-user"), &json!("GET")));
    assert!(crate::emf::metrics(&line).contains("api_error_rate"));
}

#[test]
fn an_unused_header_is_not_interpreted() {
    let runner = Runner::ephemeral();
    let lambda = get_user(&runner);
    for (name, value) in [
        ("x-forwarded-proto", "https,http"),
        ("x-forwarded-proto", ""),
        ("x-forwarded-port", "443,80"),
        ("host", ""),
        ("host", "a b\"<>"),
        ("host", "[::1"),
        ("x-amzn-trace-id", "Root=\u{e9}"),
        ("content-length", "many"),
        ("cloudfront-viewer-city", "São Paulo"),
    ] {
        let reply = lambda.invoke(&with(&format!("/headers/{name}"), value.into()));
        assert_eq!(reply.status, 200, "{name}: {value:?}: {}", reply.text);
    }
}

#[test]
fn content_that_no_request_can_have_is_400_and_named() {
    let runner = Runner::ephemeral();
    let lambda = get_user(&runner);
    for (pointer, value, field) in [
        ("/headers/a b", json!("c"), "headers"),
        ("/headers/accept", json!("a\r\nb"), "headers"),
        ("/headers/accept", json!("a\u{0}"), "headers"),
        ("/requestContext/http/method", json!("GET / HTTP/1.1\r\n"), "method"),
        ("/requestContext/http/method", json!(""), "method"),
        ("/rawPath", json!("api"), "path"),
        ("/rawPath", json!(format!("/{}", "x".repeat(70_000))), "path"),
        ("/headers", json!(["host"]), "event"),
        ("/headers/accept", json!(["a", "b"]), "event"),
        ("/rawQueryString", json!({}), "event"),
    ] {
        refused_field(&lambda.invoke(&with(pointer, value)), field);
    }
    let mut body = with("/body", "*not base64*".into());
    body["isBase64Encoded"] = true.into();
    refused_field(&lambda.invoke(&body), "body");
    for other in [json!({}), json!(null), json!([]), json!("event"), json!(0), json!({"Records": []})] {
        refused(&lambda.invoke(&other), 400, "validation_failed");
    }
}

#[test]
fn a_null_member_counts_as_missing() {
    let runner = Runner::ephemeral();
    let lambda = get_user(&runner);
    for member in ["version", "rawQueryString", "headers", "cookies", "isBase64Encoded", "body"] {
        let reply = lambda.invoke(&with(&format!("/{member}"), Value::Null));
        assert_eq!(reply.status, 200, "{member}: {}", reply.text);
        let mut event = event("get_user");
        event.as_object_mut().unwrap().remove(member);
        assert_eq!(lambda.invoke(&event).status, 200, "{member}");
    }
    for member in ["rawPath", "pathParameters", "requestContext"] {
        refused(&lambda.invoke(&with(&format!("/{member}"), Value::Null)), 400, "validation_failed");
    }
}

/// All positions of values in an event.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    if !place.is_empty() {
        found.push(place.to_owned());
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        places(value, &format!("{place}/{name}"), found);
    }
}

fn hostile(rng: &mut fastrand::Rng) -> Value {
    const TEXTS: [&str; 16] = [
        "",
        "\"",
        "<",
        ">",
        "\0",
        "\r\n",
        "%",
        "%zz",
        "%ff",
        "..",
        "//",
        "https,http",
        "é",
        "\u{202e}",
        "\u{10ffff}",
        "*",
    ];
    match rng.u8(..8) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(rng.bool()),
        4 => json!(rng.i64(..)),
        5 => json!("x".repeat(rng.usize(..70_000))),
        6 => json!({ (*rng.choice(&TEXTS).unwrap()): rng.choice(&TEXTS).unwrap() }),
        _ => (0..rng.usize(1..4)).map(|_| *rng.choice(&TEXTS).unwrap()).collect::<String>().into(),
    }
}

/// Checks every answer: it is complete, and a refusal is a problem document of ours.
fn is_whole(reply: &Reply, event: &Value) {
    assert!(reply.header("x-request-id").is_some_and(|id| !id.is_empty()), "{event}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{event}");
    assert!(reply.status < 500, "{}: {event}", reply.text);
    if reply.status >= 400 {
        let code = reply.json()["code"].as_str().unwrap().to_owned();
        refused(reply, reply.status, &code);
    }
}

#[test]
fn a_function_answers_and_logs_every_event() {
    const EVENTS: usize = 400;
    let runner = Runner::ephemeral();
    for binary in ["get_user", "set_mute", "list_users", "no_route"] {
        let lambda = Lambda::start(binary, runner.dynamodb.as_deref().unwrap());
        let original = event(binary);
        let mut all = Vec::new();
        places(&original, "", &mut all);
        let mut rng = fastrand::Rng::with_seed(26);
        for _ in 0..EVENTS / 4 {
            let mut event = original.clone();
            for _ in 0..rng.usize(1..3) {
                let place = rng.choice(&all).unwrap();
                if let Some(value) = event.pointer_mut(place) {
                    *value = hostile(&mut rng);
                }
            }
            is_whole(&lambda.invoke(&event), &event);
        }
        let mut last = original.clone();
        last["requestContext"]["requestId"] = "the-last-one".into();
        lambda.log_of(&lambda.invoke(&last));
        let lines = lambda.log().iter().filter(|line| line.get("statusCode").is_some()).count();
        assert_eq!(lines, EVENTS / 4 + 1, "{binary}: one line per event");
    }
}

/// The same for events of the WebSocket API, whose answers have no headers.
#[test]
fn a_function_answers_and_logs_every_socket_event() {
    const EVENTS: usize = 100;
    let runner = Runner::ephemeral();
    for (binary, _) in functions::SOCKETS {
        let lambda = Lambda::start(binary, runner.dynamodb.as_deref().unwrap());
        let original = event(binary);
        let mut all = Vec::new();
        places(&original, "", &mut all);
        let mut rng = fastrand::Rng::with_seed(18);
        for number in 0..EVENTS {
            let mut event = original.clone();
            for _ in 0..rng.usize(1..3) {
                let place = rng.choice(&all).unwrap();
                if let Some(value) = event.pointer_mut(place) {
                    *value = hostile(&mut rng);
                }
            }
            if number < 6 {
                event = [json!({}), json!(null), json!([]), json!("event"), json!(0), json!({"Records": []})][number]
                    .clone();
            }
            let answer = lambda.run(&event);
            assert!(answer["statusCode"].as_u64().unwrap() < 500, "{answer}: {event}");
            if let Some(body) = answer["body"].as_str() {
                let frame: Value = serde_json::from_str(body).unwrap();
                assert!(["ack", "error"].contains(&frame["event"].as_str().unwrap()), "{frame}");
            }
        }
        let mut last = original.clone();
        last["requestContext"]["requestId"] = "the-last-one".into();
        lambda.run(&last);
        lambda.await_log(|line| line["requestId"] == "the-last-one");
        let lines = lambda.log().iter().filter(|line| line.get("statusCode").is_some()).count();
        assert_eq!(lines, EVENTS + 1, "{binary}: one line per event");
    }
}
