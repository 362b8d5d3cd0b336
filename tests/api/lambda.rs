//! The real binaries, as Lambda runs them.

use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, environment, event, reply};
use crate::support::witness::{Witness, join};
use crate::support::{Runner, instant, lambda, refused, refused_field, state_of};
use functions::DECLARED;
use functions::function::{Callers, Declared, FunctionKind};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// All endpoints, in an order in which each event finds its user: `set_state` makes the user first, and `delete_user`
/// removes the user last.
fn in_order() -> Vec<&'static Declared> {
    let mut all: Vec<_> = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint).collect();
    all.sort_by_key(|declared| (declared.name != "set_state", declared.name == "delete_user"));
    all
}

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
    lambda::install_key(&runner);
    for declared in in_order() {
        let (binary, (cold, warm)) = (declared.name, declared.function.statuses);
        let function = Lambda::start(binary, database);
        for status in [cold, warm, warm] {
            let reply = function.invoke(&event(binary));
            assert_eq!(reply.status, status, "{binary}: {}", reply.text);
            assert_eq!(reply.header("x-request-id"), event(binary)["requestContext"]["requestId"].as_str(), "{binary}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{binary}");
            let varies = reply.header("vary").unwrap_or_default();
            assert!(varies.split(", ").any(|name| name == "Origin"), "{binary}: {varies}");
        }
    }
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
        ("get_page", "/app.js"),
    ] {
        let (lambda, local) = (Lambda::start(binary, database).invoke(&event(binary)), runner.get(path));
        assert_eq!((lambda.status, &lambda.text), (local.status, &local.text), "{binary}");
        assert_eq!(lambda.header("etag"), local.header("etag"), "{binary}");
        assert_eq!(lambda.header("content-type"), local.header("content-type"), "{binary}");
    }
    assert_eq!(runner.get("/api/users/demo-user").json(), state_of(&created, true));
}

/// API Gateway joins a header on two lines by a comma before it reaches a function.
#[test]
fn a_function_and_the_runner_answer_repeated_headers_alike() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    Lambda::start("set_state", database).invoke(&event("set_state"));
    let state = runner.get("/api/users/demo-user");
    let (tag, version) = (state.header("etag").unwrap(), format!("\"{}\"", state.json()["version"]));
    let json = ("content-type", "application/json");
    for (binary, method, path, lines, status) in [
        ("get_user", "GET", "", vec![("if-none-match", "\"x\""), ("if-none-match", tag)], 304),
        ("get_user", "GET", "", vec![("x-request-id", "one"), ("x-request-id", "two")], 200),
        ("get_user", "GET", "", vec![("cookie", "a=1"), ("cookie", "b=2")], 200),
        ("set_mute", "PATCH", "/mute", vec![json, ("if-match", &version), ("if-match", "\"999\"")], 400),
        ("set_mute", "PATCH", "/mute", vec![json, ("content-type", "text/plain")], 415),
    ] {
        let mut event = event(binary);
        for (name, value) in &lines {
            let before = event["headers"][*name].as_str().filter(|_| *name != "content-type" || *value != json.1);
            event["headers"][*name] = before.map_or((*value).to_owned(), |before| format!("{before},{value}")).into();
        }
        let body = event["body"].as_str().unwrap_or_default().to_owned();
        let lambda = Lambda::start(binary, database).invoke(&event);
        let local = runner.send(method, &format!("/api/users/demo-user{path}"), &lines, &body);
        assert_eq!((lambda.status, local.status), (status, status), "{lines:?}: {} {}", lambda.text, local.text);
        if status < 400 {
            assert_eq!((&lambda.text, lambda.header("etag")), (&local.text, local.header("etag")), "{lines:?}");
        }
        assert_ne!(local.header("x-request-id"), Some("one"));
    }
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
fn the_function_no_route_names_the_methods_of_a_known_path() {
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
    assert_eq!((directives.len(), &directives[0]["Namespace"]), (2, &json!("Greenroom/dev")));
    assert_eq!(directives[1]["Metrics"], json!([{"Name": "route_errors", "Unit": "Count"}]), "a refusal is no failure");
    assert_eq!(directives[0]["Dimensions"], json!([[]]), "each dimension would cost a series");
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
    for declared in in_order() {
        let binary = declared.name;
        let mut env = environment(binary, database);
        env.retain(|(name, _)| *name != "AUTH_MODE");
        env.push(("AUTH_MODE", "strict"));
        let reply = Lambda::start_with(binary, &env).invoke(&event(binary));
        match declared.function.callers {
            // The example is about a room that nobody created, which only open mode has.
            Callers::Visitor => assert_eq!(reply.status, 404, "{binary}: {}", reply.text),
            Callers::Anybody => assert_ne!(reply.status, 401, "{binary}: {}", reply.text),
            _ => assert_eq!(reply.status, 401, "{binary}: {}", reply.text),
        }
    }
    assert_eq!(runner.get("/api/users").json()["items"], json!([]));
}

#[test]
fn a_missing_variable_fails_the_start_and_is_named() {
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        for unset in [None, Some((name, ""))] {
            let mut env = environment("get_user", "http://127.0.0.1:9");
            env.retain(|(set, _)| *set != name);
            env.extend(unset);
            let (code, said) = Lambda::start_with("get_user", &env).wait();
            assert_ne!(code, 0);
            assert!(said.lines().count() == 1 && said.contains(name), "{said}");
        }
    }
}

/// `AUTH_MODE` has no default in a function: a stack whose template lost the line must not be open.
#[test]
fn a_function_without_an_auth_mode_does_not_start() {
    for name in ["get_user", "on_state_change", "canary"] {
        for unset in [None, Some(("AUTH_MODE", ""))] {
            let mut env = environment(name, "http://127.0.0.1:9");
            env.retain(|(set, _)| *set != "AUTH_MODE");
            env.extend(unset);
            let (code, said) = Lambda::start_with(name, &env).wait();
            assert_ne!(code, 0);
            assert!(said.lines().count() == 1 && said.contains("AUTH_MODE"), "{said}");
        }
    }
}

#[test]
fn a_strict_function_without_a_key_that_verifies_tokens_does_not_start() {
    for bad in ["", "secret", "development-secret-key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let mut env = environment("get_user", "http://127.0.0.1:9");
        env.retain(|(set, _)| !["AUTH_MODE", "TOKEN_KEYS"].contains(set));
        env.extend([("AUTH_MODE", "strict"), ("TOKEN_KEYS", bad)]);
        let (code, said) = Lambda::start_with("get_user", &env).wait();
        assert_ne!(code, 0);
        assert!(said.lines().count() == 1 && said.contains("TOKEN_KEYS") && !said.contains("secret-key"), "{said}");
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

/// The functions start before their database: no process listens on its port.
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

/// The database answers later than the time limit of one attempt, 1.5 s.
const TOO_SLOW: Mode = Mode::Slow(Duration::from_millis(1700));

#[test]
fn an_attempt_that_could_outlast_the_deadline_of_lambda_does_not_begin() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    // In a new process, the limit of `delete_user` takes two calls.
    for (binary, calls) in [("get_user", 1), ("set_mute", 1), ("delete_user", 3)] {
        let lambda = Lambda::start(binary, &database.url);
        database.be(TOO_SLOW);
        // The time is enough for one attempt of 1.5 s and the answer, and too little for two attempts.
        let reply = reply(&lambda.run_within(&event(binary), Duration::from_millis(2800)));
        refused(&reply, 503, "unavailable");
        database.be(Mode::Working);
        assert_ne!(lambda.invoke(&event(binary)).status, 503, "{binary}");
        assert_eq!(database.take_calls().len(), 1 + calls, "{binary}: one attempt before");
    }
}

/// Attaching takes five calls, and two or three for its limit. Each of them is in time by itself.
#[test]
fn work_of_several_calls_stops_between_two_calls_before_the_deadline_of_lambda() {
    let runner = Runner::ephemeral();
    join(&runner, "demo-user", true);
    let witness = Witness::enrolled(&runner, "demo-user");
    let mut event = event("attach_agent");
    event["body"] = json!({"witness": witness.token}).to_string().into();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = Lambda::start("attach_agent", &database.url);
    database.be(Mode::Slow(Duration::from_millis(700)));
    // After two calls there is too little time for a third attempt of 1.5 s and the answer.
    let answer = reply(&lambda.run_within(&event, Duration::from_millis(2800)));
    refused(&answer, 503, "unavailable");
    let calls: Vec<_> = database.take_calls().into_iter().map(|call| call.operation).collect();
    assert!((1..=2).contains(&calls.len()) && calls.iter().all(|call| call == "UpdateItem"), "{calls:?}");
    database.be(Mode::Working);
    assert_eq!(lambda.invoke(&event).status, 200);
    let calls = database.take_calls().into_iter().filter(|call| call.operation != "UpdateItem");
    assert_eq!(calls.count(), 5, "apart from its limit");
}

/// `cargo lambda watch` sends such a deadline.
#[test]
fn a_deadline_before_the_invocation_is_ignored() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("get_user", runner.dynamodb.as_deref().unwrap());
    assert_eq!(reply(&lambda.run_until(&event("get_user"), 600_000)).status, 404);
}

#[test]
fn a_consumer_that_is_nearly_out_of_time_returns_the_remaining_records() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    let lambda = Lambda::start("on_state_change", &database.url);
    let event = event("on_state_change");
    let first = &event["Records"][0]["dynamodb"]["SequenceNumber"];
    database.be(TOO_SLOW);
    let outcome = lambda.run_within(&event, Duration::from_millis(2800));
    assert_eq!(outcome["batchItemFailures"], json!([{"itemIdentifier": first}]));
    database.be(Mode::Working);
    assert_eq!(lambda.run(&event)["batchItemFailures"], json!([]));
}

#[test]
fn a_missing_table_is_500_and_is_not_named() {
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
