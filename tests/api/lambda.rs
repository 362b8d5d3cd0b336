//! The real binaries, as Lambda runs them.

use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, environment, event};
use crate::support::template::endpoints;
use crate::support::{Runner, instant, refused, refused_field};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// What each function answers to its event of the repository, the first time and the next. In this order, because a
/// user must exist before they can mute.
const ANSWERS: &[(&str, u16, u16)] = &[
    ("set_state", 201, 200),
    ("set_mute", 200, 200),
    ("set_device", 200, 200),
    ("create_pairing", 201, 201),
    // Signed once for all, so no server can know the code, nor the agent.
    ("enroll_agent", 401, 401),
    ("attest", 401, 401),
    ("set_binding", 404, 404),
    ("revoke_agent", 404, 404),
    ("get_room_audit", 200, 200),
    ("get_room_safe", 200, 200),
    ("list_room_events", 200, 200),
    ("get_user", 200, 200),
    ("list_users", 200, 200),
    ("list_room_users", 200, 200),
    ("get_health", 200, 200),
    ("get_metrics", 200, 200),
    ("get_openapi", 200, 200),
    ("no_route", 404, 404),
    ("delete_user", 200, 404),
];

/// An event with another user, and another body if it has one.
fn event_for(binary: &str, user: &str, body: Option<Value>) -> Value {
    let mut event = event(binary);
    event["rawPath"] = event["rawPath"].as_str().unwrap().replace("demo-user", user).into();
    event["requestContext"]["http"]["path"] = event["rawPath"].clone();
    event["pathParameters"]["userId"] = user.into();
    if let Some(body) = body {
        event["body"] = body.to_string().into();
    }
    event
}

#[test]
fn every_endpoint_answers_its_event_cold_and_warm() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    for (binary, cold, warm) in ANSWERS {
        let lambda = Lambda::start(binary, database);
        for status in [cold, warm, warm] {
            let reply = lambda.invoke(&event(binary));
            assert_eq!(reply.status, *status, "{binary}: {}", reply.text);
            assert_eq!(reply.header("x-request-id"), event(binary)["requestContext"]["requestId"].as_str(), "{binary}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{binary}");
            assert_eq!(reply.header("vary"), Some("Origin"), "{binary}");
        }
    }
}

#[test]
fn every_endpoint_has_an_answer_here() {
    let mut tested: Vec<_> = ANSWERS.iter().map(|(binary, ..)| (*binary).to_owned()).collect();
    let mut endpoints: Vec<_> = endpoints().into_iter().map(|function| function.binary).collect();
    tested.sort_unstable();
    endpoints.sort_unstable();
    assert_eq!(tested, endpoints, "add the new function, and what it answers, to ANSWERS in tests/api/lambda.rs");
}

#[test]
fn a_function_and_the_runner_answer_alike() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    let created = Lambda::start("set_state", database).invoke(&event("set_state"));
    for (binary, path) in [
        ("get_user", "/api/users/demo-user"),
        ("list_users", "/api/users?limit=25"),
        ("list_room_users", "/api/rooms/demo-room/users"),
        ("get_openapi", "/api/openapi.json"),
    ] {
        let (lambda, local) = (Lambda::start(binary, database).invoke(&event(binary)), runner.get(path));
        assert_eq!((lambda.status, &lambda.text), (local.status, &local.text), "{binary}");
        assert_eq!(lambda.header("etag"), local.header("etag"), "{binary}");
        assert_eq!(lambda.header("content-type"), local.header("content-type"), "{binary}");
    }
    assert_eq!(runner.get("/api/users/demo-user").json(), created.json());
}

#[test]
fn a_body_that_arrives_in_base64_is_read() {
    use base64::Engine as _;
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("set_state", runner.dynamodb.as_deref().unwrap());
    let mut event = event("set_state");
    let encoded = base64::prelude::BASE64_STANDARD.encode(event["body"].as_str().unwrap());
    event["body"] = encoded.into();
    event["isBase64Encoded"] = true.into();
    let reply = lambda.invoke(&event);
    assert_eq!((reply.status, &reply.json()["deviceLabel"]), (201, &json!("Built-in Microphone")));
}

#[test]
fn a_function_refuses_as_the_runner_does() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("set_mute", runner.dynamodb.as_deref().unwrap());
    refused(&lambda.invoke(&event_for("set_mute", "nobody", None)), 404, "user_not_found");
    refused_field(&lambda.invoke(&event_for("set_mute", "a b", None)), "userId");
    refused_field(&lambda.invoke(&event_for("set_mute", "ada", Some(json!({"isMuted": 1})))), "isMuted");
    let large = json!({"isMuted": true, "seq": "x".repeat(70_000)});
    refused(&lambda.invoke(&event_for("set_mute", "ada", Some(large))), 413, "body_too_large");
    let mut form = event("set_mute");
    form["headers"]["content-type"] = "text/plain".into();
    refused(&lambda.invoke(&form), 415, "media_type_not_supported");
}

#[test]
fn no_route_names_the_methods_of_a_known_path() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("no_route", runner.dynamodb.as_deref().unwrap());
    let mut event = event("no_route");
    event["rawPath"] = "/api/users/ada".into();
    event["requestContext"]["http"]["path"] = "/api/users/ada".into();
    event["requestContext"]["http"]["method"] = "PUT".into();
    let reply = lambda.invoke(&event);
    refused(&reply, 405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("DELETE, GET"));
}

#[test]
fn cors_follows_the_setting() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("get_openapi", runner.dynamodb.as_deref().unwrap());
    for (origin, allowed) in [("https://page.example", Some("https://page.example")), ("https://evil.example", None)] {
        let mut event = event("get_openapi");
        event["headers"]["origin"] = origin.into();
        assert_eq!(lambda.invoke(&event).header("access-control-allow-origin"), allowed);
    }
}

#[test]
fn a_line_carries_its_metrics_in_the_embedded_format() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("set_mute", runner.dynamodb.as_deref().unwrap());
    let reply = lambda.invoke(&event_for("set_mute", "nobody", None));
    let line = lambda.log_of(&reply);
    assert_eq!((&line["statusCode"], &line["route"]), (&json!(404), &json!("PATCH /api/users/{userId}/mute")));
    assert_eq!(
        (&line["userId"], &line["isCriticalEndpoint"], &line["isError"]),
        (&json!("nobody"), &json!(true), &json!(true))
    );
    let aws = &line["_aws"];
    let ms = aws["Timestamp"].as_u64().unwrap();
    assert!(instant(&line["timestamp"]).ends_with(&format!(".{:03}Z", ms % 1000)));
    let directives = aws["CloudWatchMetrics"].as_array().unwrap();
    assert_eq!((directives.len(), &directives[0]["Namespace"]), (1, &json!("Greenroom/dev")));
    assert_eq!(directives[0]["Dimensions"], json!([[]]), "no dimension, or each is a series to pay for");
    let names: Vec<_> =
        directives[0]["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["api_response_time", "api_error_rate", "memory_used_mb"]);
    for name in names {
        assert!(line[name].is_number(), "a metric is a member of the line: {line}");
    }
    assert_eq!(line["api_error_rate"], 100);
}

#[test]
fn each_invocation_is_one_line_and_nothing_else() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("get_health", runner.dynamodb.as_deref().unwrap());
    let mut reply = lambda.invoke(&event("get_health"));
    for n in 0..4 {
        let mut event = event("get_health");
        event["requestContext"]["requestId"] = format!("id-{n}").into();
        reply = lambda.invoke(&event);
    }
    lambda.log_of(&reply);
    assert_eq!(lambda.log().len(), 5, "{:#?}", lambda.log());
}

#[test]
fn a_strict_function_refuses_a_stranger() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    for (binary, ..) in ANSWERS {
        let mut env = environment(binary, database);
        env.retain(|(name, _)| *name != "AUTH_MODE");
        env.push(("AUTH_MODE", "strict"));
        let reply = Lambda::start_with(binary, &env).invoke(&event(binary));
        let public = ["get_health", "get_openapi", "no_route"].contains(binary);
        assert_eq!(reply.status == 401, !public, "{binary}: {}", reply.text);
    }
    assert_eq!(runner.get("/api/users").json()["items"], json!([]));
}

#[test]
fn a_missing_variable_fails_the_start_and_is_named() {
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let mut env = environment("get_user", "http://127.0.0.1:9");
        env.retain(|(set, _)| *set != name);
        let (code, said) = Lambda::start_with("get_user", &env).wait();
        assert_ne!(code, 0);
        assert!(said.lines().count() == 1 && said.contains(name), "{said}");
    }
}

#[test]
fn a_bad_setting_fails_the_start_and_is_named() {
    for (name, value) in
        [("AUTH_MODE", "Strict"), ("STATE_TABLE", "a b"), ("CORS_ORIGIN", "page.example"), ("STATE_TTL_DAYS", "0")]
    {
        let mut env = environment("get_user", "http://127.0.0.1:9");
        env.retain(|(set, _)| *set != name);
        env.push((name, value));
        let (code, said) = Lambda::start_with("get_user", &env).wait();
        assert_ne!(code, 0);
        assert!(said.lines().count() == 1 && said.contains(name), "{said}");
    }
}

/// Starts a function before its database, on a port where nobody listens.
#[test]
fn a_database_out_of_reach_is_503_and_says_nothing_about_itself() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("http://127.0.0.1:{port}");
    for binary in ["get_user", "set_mute", "list_room_users", "list_users", "delete_user"] {
        let lambda = Lambda::start(binary, &nowhere);
        let reply = lambda.invoke(&event(binary));
        refused(&reply, 503, "unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"), "{binary}");
        assert!(!reply.text.contains(&port.to_string()), "{}", reply.text);
    }
    let health = Lambda::start("get_health", &nowhere).invoke(&event("get_health"));
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("error")));
    assert_eq!(health.json()["database"]["status"], "disconnected");
}

#[test]
fn a_failing_database_is_asked_again_and_a_working_one_answers_at_once() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    runner.post("/api/users/demo-user/state", json!({"isMuted": false}));
    let lambda = Lambda::start("set_mute", &database.url);
    for mode in [Mode::Failing, Mode::Throttling] {
        database.be(mode);
        let reply = lambda.invoke(&event("set_mute"));
        refused(&reply, 503, "unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(database.take_calls().len(), 4, "{mode:?}: four attempts and no more");
        database.be(Mode::Working);
        assert_eq!(lambda.invoke(&event("set_mute")).status, 200, "after {mode:?}");
        assert_eq!(database.take_calls().len(), 1);
    }
    let causes: Vec<_> = lambda.log().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(causes.len(), 2, "a refusal is explained in the log, once: {causes:#?}");
}

#[test]
fn a_table_that_is_not_there_is_500_and_not_named() {
    let runner = Runner::ephemeral();
    let mut env = environment("get_user", runner.dynamodb.as_deref().unwrap());
    env.retain(|(name, _)| *name != "STATE_TABLE");
    env.push(("STATE_TABLE", "another-table"));
    let reply = Lambda::start_with("get_user", &env).invoke(&event("get_user"));
    refused(&reply, 500, "internal_error");
    assert!(!reply.text.contains("another-table"));
}

#[test]
fn a_request_over_a_second_is_logged_as_slow() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = Lambda::start("get_user", &database.url);
    assert_eq!(lambda.log_of(&lambda.invoke(&event("get_user")))["isSlowRequest"], false);
    database.be(Mode::Slow(Duration::from_millis(1100)));
    let mut event = event("get_user");
    event["requestContext"]["requestId"] = "slow".into();
    let line = lambda.log_of(&lambda.invoke(&event));
    assert_eq!(line["isSlowRequest"], true);
    assert!(line["duration"].as_u64().unwrap() > 1000 && line["durationSeconds"].as_str().unwrap().starts_with("1."));
}
