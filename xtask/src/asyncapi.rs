//! Builds `docs/asyncapi.json` from the servers and components of `infra/asyncapi.json` and the messages that the
//! functions declare.

use crate::openapi::{missing, operation_id};
use functions::DECLARED;
use functions::function::{Declared, Example, Trigger};
use serde_json::{Map, Value, json};

/// Messages that the server sends on its own. All other messages answer a client's message.
const SENT: &[&str] = &["bye"];

/// The text of the description. `base` is `infra/asyncapi.json`; `purpose` gives a sentence about a function.
///
/// # Errors
/// `base` is not a JSON object or lacks a component, or an example is not JSON.
pub(crate) fn text(base: &str, purpose: impl Fn(&Declared) -> Result<String, String>) -> Result<String, String> {
    let mut document: Value = serde_json::from_str(base).map_err(|error| format!("infra/asyncapi.json: {error}"))?;
    let mut messages = Map::new();
    let mut operations = Map::new();
    for declared in DECLARED {
        for trigger in declared.function.triggers {
            // Only messages are described here, because opening and closing belong to the protocol.
            let Trigger::Message { route, answers: true } = trigger else { continue };
            let name = route.trim_start_matches('$');
            let summary = purpose(declared)?;
            messages.insert(name.to_owned(), message(declared, route, &summary)?);
            operations.insert(
                operation_id(declared.name, ""),
                json!({
                    "action": "receive", "summary": summary, "channel": reference("channels/socket"),
                    "messages": [reference(&format!("channels/socket/messages/{name}"))],
                    "reply": {
                        "channel": reference("channels/socket"),
                        "messages": [reference("channels/socket/messages/ack"), reference("channels/socket/messages/error")],
                    },
                }),
            );
        }
    }
    let known = document["components"]["messages"].as_object().ok_or("infra/asyncapi.json has no messages")?;
    for name in known.keys() {
        messages.insert(name.clone(), reference(&format!("components/messages/{name}")));
    }
    for name in SENT {
        let sent = reference(&format!("channels/socket/messages/{name}"));
        operations.insert(
            (*name).to_owned(),
            json!({"action": "send", "channel": reference("channels/socket"), "messages": [sent]}),
        );
    }
    document["channels"] = json!({"socket": {"address": "", "messages": messages}});
    document["operations"] = operations.into();
    missing(&document, &document, "infra/asyncapi.json")?;
    Ok(format!("{document:#}\n"))
}

fn reference(place: &str) -> Value {
    json!({"$ref": format!("#/{place}")})
}

/// The description of a message from a client to a route. `$default` takes all messages that match no other route.
fn message(declared: &Declared, route: &str, purpose: &str) -> Result<Value, String> {
    let mut payload = vec![reference("components/schemas/Message")];
    if !route.starts_with('$') {
        payload.push(json!({"properties": {"event": {"const": route}}}));
    }
    let mut message = json!({"summary": purpose, "payload": {"allOf": payload}});
    if let Example::Message(example) = declared.function.example {
        let example = serde_json::from_str::<Value>(example);
        let example = example.map_err(|error| format!("{}: its example: {error}", declared.name))?;
        message["examples"] = json!([{"payload": example}]);
    }
    Ok(message)
}
