use crate::support::Runner;
use crate::support::lambda::{Lambda, event};
use crate::support::socket::Socket;
use functions::sockets::refuse_message::EVENTS;
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[test]
fn an_unknown_event_is_answered_with_the_known_events() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("refuse_message", runner.dynamodb.as_deref().unwrap());
    let answer = lambda.run(&event("refuse_message"));
    let mut frame: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let request_id = frame["data"].as_object_mut().unwrap().remove("requestId").unwrap();
    assert_eq!(
        frame,
        json!({"event": "error", "id": "2", "data": {
            "code": "unknown_event", "detail": "there is no such event; see events", "events": ["ping"],
        }})
    );
    let line = lambda.await_log(|line| line["requestId"] == request_id && line.get("statusCode").is_some());
    assert_eq!((&line["statusCode"], &line["route"]), (&json!(404), &json!("WS $default")));
}

#[test]
fn the_events_are_the_routes_of_the_template() {
    let api = Template::parse(TEMPLATE).unwrap().socket_api().unwrap();
    let keys = api.routes.iter().map(|route| route.key.as_str()).filter(|key| !key.starts_with('$'));
    assert!(keys.eq(EVENTS.iter().copied()), "EVENTS in functions/src/sockets/refuse_message.rs, sorted");
}

#[test]
fn a_message_without_a_known_event_takes_the_default_route() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    for (message, code) in [
        (json!({"event": "fly"}).to_string(), "unknown_event"),
        (json!({"event": "Ping"}).to_string(), "unknown_event"),
        (json!({"event": "$connect"}).to_string(), "unknown_event"),
        (json!({"event": "$disconnect"}).to_string(), "unknown_event"),
        (json!({"event": ["ping"]}).to_string(), "validation_failed"),
        (json!({"action": "ping"}).to_string(), "validation_failed"),
        ("ping".to_owned(), "validation_failed"),
        (String::new(), "validation_failed"),
        ("{\"event\":\"ping\"".to_owned(), "validation_failed"),
    ] {
        socket.send(Message::text(message.clone()));
        let answer = socket.hear().unwrap();
        assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("error"), &json!(code)), "{message}");
    }
    assert_eq!(socket.ping()["event"], "ack", "the connection stays");
}
