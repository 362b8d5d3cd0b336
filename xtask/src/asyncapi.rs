//! Builds `docs/asyncapi.json` from the servers and components of `infra/asyncapi.json` and the messages that the
//! functions declare.

use crate::openapi::{missing, operation_id};
use functions::DECLARED;
use functions::function::{Declared, Example, Trigger};
use functions::live::{SENT, Schema, Sent};
use serde_json::{Map, Value, json};

/// The text of the description. `base` is `infra/asyncapi.json`; `openapi` is the description of the HTTP API, whose
/// schemas it shares; `purpose` gives a sentence about a function.
///
/// # Errors
/// `base` is not a JSON object or lacks a component, or an example is not JSON.
pub(crate) fn text(
    base: &str,
    openapi: &str,
    purpose: impl Fn(&Declared) -> Result<String, String>,
) -> Result<String, String> {
    let openapi: Value = serde_json::from_str(openapi).map_err(|error| format!("docs/openapi.json: {error}"))?;
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
    for sent in SENT {
        messages.insert(sent.event.to_owned(), said(sent));
        let said = reference(&format!("channels/socket/messages/{}", sent.event));
        operations.insert(
            sent.event.to_owned(),
            json!({"action": "send", "channel": reference("channels/socket"), "messages": [said]}),
        );
    }
    let mut shared = variants(&openapi);
    for schema in shared.values().cloned().chain([Value::from(messages.clone())]).collect::<Vec<_>>() {
        share(&schema, &openapi, &mut shared);
    }
    for (name, schema) in shared {
        document["components"]["schemas"][name] = schema;
    }
    document["channels"] = json!({"socket": {"address": "", "messages": messages}});
    document["operations"] = operations.into();
    missing(&document, &document, "infra/asyncapi.json")?;
    Ok(format!("{document:#}\n"))
}

/// The description of a message that the server sends by itself.
fn said(sent: &Sent) -> Value {
    let schema = |name: &str| reference(&format!("components/schemas/{name}"));
    let value = |of: &Schema| match of {
        Schema::Of(name) => schema(name),
        Schema::Part(name) => schema(&format!("PartOf{name}")),
        Schema::Without(name, _) => schema(&format!("Shared{name}")),
        Schema::ById(name) => json!({"type": "object", "additionalProperties": schema(name)}),
        Schema::Numbers => json!({"type": "object", "additionalProperties": {"type": "integer"}}),
        Schema::Word(words) => json!({"enum": words}),
    };
    let data: Map<_, _> = sent.data.iter().map(|(member, of)| ((*member).to_owned(), value(of))).collect();
    let required: Vec<_> = sent.data.iter().map(|(member, _)| member).collect();
    let mut payload = json!({
        "type": "object", "required": ["event", "at", "data"], "additionalProperties": false,
        "properties": {
            "event": {"const": sent.event},
            "room": schema("RoomId"),
            "at": schema("Timestamp"),
            "data": {"type": "object", "required": required, "additionalProperties": false, "properties": data},
        },
    });
    if sent.of_history {
        payload["properties"]["seq"] = json!({
            "type": "integer", "minimum": 1,
            "description": "The number of the change in the history of the room. It has none if it is not in the history.",
        });
    }
    json!({"summary": sent.meaning, "payload": payload})
}

/// The schemas of the HTTP API of which the messages hold a part.
fn variants(openapi: &Value) -> Map<String, Value> {
    let mut variants = Map::new();
    for (_, schema) in SENT.iter().flat_map(|sent| sent.data) {
        let (name, variant) = match schema {
            Schema::Part(name) => (name, format!("PartOf{name}")),
            Schema::Without(name, _) => (name, format!("Shared{name}")),
            _ => continue,
        };
        let mut whole = openapi["components"]["schemas"][name].clone();
        let Some(members) = whole.as_object_mut() else { continue };
        members.remove("examples");
        if let Schema::Without(_, without) = schema {
            members["properties"].as_object_mut().and_then(|properties| properties.remove(*without));
            members["required"].as_array_mut().into_iter().for_each(|names| names.retain(|name| name != without));
        } else {
            members.remove("required");
        }
        variants.insert(variant, whole);
    }
    variants
}

/// Collects the schemas of the HTTP API to which a description refers. A reference without a schema is noticed later.
fn share(node: &Value, openapi: &Value, shared: &mut Map<String, Value>) {
    match node {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = target.and_then(|target| target.strip_prefix("#/components/schemas/"))
                && !shared.contains_key(name)
                && let Some(schema) = openapi["components"]["schemas"].get(name)
            {
                shared.insert(name.to_owned(), schema.clone());
                share(schema, openapi, shared);
            }
            members.values().for_each(|value| share(value, openapi, shared));
        }
        Value::Array(items) => items.iter().for_each(|item| share(item, openapi, shared)),
        _ => {}
    }
}

fn reference(place: &str) -> Value {
    json!({"$ref": format!("#/{place}")})
}

/// The description of a message from a client to a route. `$default` takes all messages that match no other route.
fn message(declared: &Declared, route: &str, purpose: &str) -> Result<Value, String> {
    let mut payload = vec![reference("components/schemas/Frame")];
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
