//! Every frame of a WebSocket matches `docs/asyncapi.json`.

use crate::support::Runner;
use crate::support::socket::Socket;
use serde_json::{Value, json};

/// Checks a frame of the server by the description of its event.
#[track_caller]
pub(crate) fn check_heard(frame: &Value) {
    let document: Value = serde_json::from_str(&crate::support::read("docs/asyncapi.json")).unwrap();
    check(&document, frame["event"].as_str().unwrap(), frame);
}

/// Checks a frame and the message's examples against the payload of a message.
#[track_caller]
fn check(document: &Value, name: &str, frame: &Value) {
    let mut message = &document["channels"]["socket"]["messages"][name];
    if let Some(reference) = message["$ref"].as_str() {
        message = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    let mut schema = message["payload"].clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let broken: Vec<_> = validator.iter_errors(frame).map(|error| error.to_string()).collect();
    assert!(broken.is_empty(), "{name}: {broken:?} in {frame}");
    for example in message["examples"].as_array().into_iter().flatten().filter(|example| example["payload"] != *frame) {
        check(document, name, &example["payload"]);
    }
}

#[test]
fn every_frame_is_as_described() {
    let document: Value = serde_json::from_str(&crate::support::read("docs/asyncapi.json")).unwrap();
    let mut runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    let says = [
        ("ping", json!({"event": "ping", "id": "1"}), "ack"),
        ("default", json!({"event": "fly"}), "error"),
        ("ping", json!({"event": "ping", "data": {"more": 1}, "id": "2"}), "error"),
    ];
    for (sent, message, answer) in says {
        check(&document, sent, &message);
        let heard = socket.ask(message);
        assert_eq!(heard["event"], answer);
        check(&document, answer, &heard);
    }
    runner.signal("TERM");
    check(&document, "bye", &socket.hear().unwrap());
}
