use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, event};
use crate::support::socket::{Socket, await_connections, connections, number};
use crate::support::witness::{engine, now_ms};
use crate::support::{Runner, instant, keys};
use domain::{CONNECTION_LEASE, PING_EVERY, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

/// Lets the lease of the only connection end at this time.
fn let_lease_end(runner: &Runner, at: u64) {
    let items = connections(runner);
    let update = json!({
        "TableName": "greenroom-state", "Key": {"pk": items[0]["pk"], "sk": items[0]["sk"]},
        "UpdateExpression": "SET leaseUntil = :at", "ExpressionAttributeValues": {":at": {"N": at.to_string()}},
    });
    engine(runner, "UpdateItem", &update);
}

/// The frame that a function sends.
fn frame(answer: &Value) -> Value {
    assert_eq!(answer["statusCode"], 200, "the gateway must not treat a refusal as a failure");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

fn connected(database: &str) {
    let answer = Lambda::start("connect_socket", database).run(&event("connect_socket"));
    assert_eq!(answer["statusCode"], 200);
}

#[test]
fn a_ping_renews_the_lease() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    let_lease_end(&runner, now_ms() + 1000);
    let answer = socket.ping();
    assert_eq!((&answer["event"], &answer["id"], keys(&answer).len()), (&json!("ack"), &json!("p"), 3));
    assert_eq!(keys(&answer["data"]), ["leaseUntil", "pingEveryMs"]);
    assert_eq!(answer["data"]["pingEveryMs"], 1000 * PING_EVERY.as_secs());
    let items = await_connections(&runner, 1);
    let until = number(&items[0], "leaseUntil");
    assert_eq!(instant(&answer["data"]["leaseUntil"]), Timestamp::from_ms(until).to_string());
    let lease = 1000 * CONNECTION_LEASE.as_secs();
    assert!((now_ms() + lease - 10_000..=now_ms() + lease).contains(&until), "{until}");
    assert_eq!(number(&items[0], "expiresAt"), until / 1000 + 1);
}

#[test]
fn a_lease_that_has_lapsed_cannot_be_renewed() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    let_lease_end(&runner, now_ms() - 1);
    for _ in 0..2 {
        let answer = socket.ping();
        assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("error"), &json!("connection_lapsed")));
    }
    assert_eq!(Socket::to(&runner).ping()["event"], "ack", "a new connection works");
}

#[test]
fn an_event_of_another_connection_with_the_same_id_renews_nothing() {
    let runner = Runner::ephemeral();
    let database = runner.dynamodb.as_deref().unwrap();
    connected(database);
    let lambda = Lambda::start("ping_socket", database);
    let mut late = event("ping_socket");
    late["requestContext"]["connectedAt"] = 1.into();
    assert_eq!(frame(&lambda.run(&late))["data"]["code"], "connection_lapsed");
    assert_eq!(frame(&lambda.run(&event("ping_socket")))["event"], "ack");
}

#[test]
fn a_malformed_ping_is_refused_and_changes_nothing() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    let before = connections(&runner);
    for (message, code) in [
        (json!({"event": "ping", "id": "p", "data": {"a": 1}}), "validation_failed"),
        (json!({"event": "ping", "id": "p", "data": []}), "validation_failed"),
        (json!({"event": "ping", "id": "p", "more": 1}), "validation_failed"),
        (json!({"event": "ping", "id": 7}), "validation_failed"),
        (json!({"event": "ping", "id": "x".repeat(65)}), "validation_failed"),
        (json!({"event": "ping", "id": "p", "data": {"text": "x".repeat(17_000)}}), "message_too_large"),
    ] {
        let answer = socket.ask(message);
        assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("error"), &json!(code)), "{answer}");
        assert!(answer["data"]["detail"].as_str().unwrap().len() < 300);
    }
    assert_eq!(connections(&runner), before);
    for data in [json!({}), Value::Null] {
        assert_eq!(socket.ask(json!({"event": "ping", "data": data}))["event"], "ack", "the connection stays");
    }
    assert_eq!(socket.ask(json!({"event": "ping"})).get("id"), None, "no id in the message, no id in the answer");
}

#[test]
fn racing_pings_are_all_answered() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    for number in 0..20 {
        socket.say(json!({"event": "ping", "id": number.to_string()}));
    }
    let mut ids: Vec<u64> = (0..20)
        .map(|_| {
            let answer = socket.hear().unwrap();
            assert_eq!(answer["event"], "ack", "{answer}");
            answer["id"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..20));
}

#[test]
fn a_database_that_fails_is_an_error_that_says_nothing_about_itself() {
    let runner = Runner::ephemeral();
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    connected(&database.url);
    let lambda = Lambda::start("ping_socket", &database.url);
    for (mode, code, status) in [
        (Mode::Throttling, "unavailable", 503),
        (Mode::Refusing, "internal_error", 500),
        (Mode::Slow(Duration::ZERO), "", 200),
    ] {
        database.be(mode);
        let answer = frame(&lambda.run(&event("ping_socket")));
        assert_eq!(answer["data"]["code"].as_str().unwrap_or_default(), code);
        assert_eq!(answer["id"], "1");
        assert!(!answer.to_string().to_lowercase().contains("dynamo"), "{answer}");
        lambda.await_log(|line| line["statusCode"] == status);
    }
}
