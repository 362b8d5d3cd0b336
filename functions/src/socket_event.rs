//! Reads an event of API Gateway's WebSocket API, and writes an answer in the form that API Gateway accepts.
//!
//! `lambda_http` cannot be used here. It makes an HTTP request of the event, with a method and a path that the event
//! does not have. It gives answers only `multiValueHeaders`, and API Gateway looks for the chosen subprotocol in
//! `headers`.

use crate::ApiError;
use domain::{ConnectionId, SUBPROTOCOL, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use store::{Kind, Refusal};

/// Longest message, in bytes. API Gateway passes on frames of up to 32 KiB; a description of four video streams fits
/// into 16 KiB.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Longest `id` of a message, in characters.
const ID_CHARS_MAX: usize = 64;
/// Longest key of a route in the log, in characters; ours are far shorter.
const ROUTE_CHARS_MAX: usize = 64;
/// Longest rule in an answer, in characters.
const RULE_CHARS_MAX: usize = 200;

const TOO_LARGE: Refusal = Refusal::new(Kind::TooLarge, "message_too_large", "a message must be at most 16384 bytes");

/// The members of an event that are read. A message has no headers, and only a message has a body.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-mapping-template-reference.html>
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'a> {
    /// Not `headers`, which hold only the last line of a header that is given several times.
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: Option<bool>,
    request_context: Option<Context>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    route_key: Option<String>,
    event_type: Option<String>,
    connection_id: Option<String>,
    connected_at: Option<u64>,
    request_id: Option<String>,
}

/// The kind of an event on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// The client wants to open it.
    Connect,
    /// The client sent a message.
    Message,
    /// The client is gone.
    Disconnect,
    /// The event does not say.
    Unknown,
}

impl EventKind {
    fn of(event_type: &str) -> Self {
        match event_type {
            "CONNECT" => Self::Connect,
            "MESSAGE" => Self::Message,
            "DISCONNECT" => Self::Disconnect,
            _ => Self::Unknown,
        }
    }

    /// Its name in events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Message => "MESSAGE",
            Self::Disconnect => "DISCONNECT",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// An event for a handler.
#[derive(Debug)]
pub struct SocketRequest {
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// When the gateway opened the connection. It distinguishes the connection from all others, even from one with the
    /// same id.
    pub(crate) epoch: Timestamp,
    headers: HashMap<String, Vec<String>>,
    data: Option<Box<RawValue>>,
}

impl SocketRequest {
    /// All lines of a header of the request that opens a connection. The case of the name does not matter.
    pub(crate) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.headers.iter().filter(move |(given, _)| given.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, values)| values).map(String::as_str)
    }

    /// The data of a message. A message without data counts as one with an empty object.
    ///
    /// # Errors
    /// 400 if it is not a `T`.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let text = self.data.as_ref().map_or("{}", |data| data.get());
        // serde would also accept a list, and assign its items to the fields by position.
        if !text.starts_with('{') {
            return Err(ApiError::invalid("data", "must be a JSON object"));
        }
        serde_json::from_str(text).map_err(|error| ApiError::invalid("data", rule(&error)))
    }
}

/// The frame that a client sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow, rename = "event")]
    _event: Cow<'a, str>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// An event, as far as it could be read.
pub(crate) struct Incoming {
    pub(crate) kind: EventKind,
    /// The key of the route that API Gateway chose, such as `$connect` or `ping`.
    pub(crate) route: String,
    /// The id that API Gateway gave to the event.
    pub(crate) request_id: Option<String>,
    /// The id that the client gave to its message, by which the client recognizes the answer.
    pub(crate) message_id: Option<String>,
    /// The event for the handler; a refusal if not all of it could be read.
    pub(crate) outcome: Result<SocketRequest, ApiError>,
}

/// Reads an event. It never fails: an event that cannot be read becomes a refusal.
pub(crate) fn read(event: &str) -> Incoming {
    let parsed = serde_json::from_str::<Event<'_>>(event);
    if let Err(error) = &parsed {
        // The text of the error is not logged, because it quotes values of the event.
        tracing::warn!(line = error.line(), column = error.column(), "not an event of a WebSocket API");
    }
    let mut event = parsed.unwrap_or_default();
    let context = event.request_context.take().unwrap_or_default();
    let kind = EventKind::of(context.event_type.as_deref().unwrap_or_default());
    let mut message_id = None;
    let outcome = request(kind, &context, event, &mut message_id);
    Incoming {
        kind,
        route: context.route_key.unwrap_or_default().chars().take(ROUTE_CHARS_MAX).collect(),
        request_id: context.request_id,
        message_id,
        outcome,
    }
}

/// The event for the handler, if all of it can be read. `message_id` is set even if the rest of the message is
/// malformed.
fn request(
    kind: EventKind,
    context: &Context,
    event: Event<'_>,
    message_id: &mut Option<String>,
) -> Result<SocketRequest, ApiError> {
    if kind == EventKind::Unknown {
        return Err(ApiError::invalid("event", "must be an event of a WebSocket API"));
    }
    let connection = context.connection_id.as_deref().unwrap_or_default();
    let connection: ConnectionId =
        connection.parse().map_err(|rule: domain::Refused| ApiError::invalid("connectionId", rule.to_string()))?;
    let epoch = context.connected_at.ok_or_else(|| ApiError::invalid("connectedAt", "must be given"))?;
    let mut data = None;
    if kind == EventKind::Message {
        if event.is_base64_encoded == Some(true) {
            return Err(ApiError::invalid("message", "must be text"));
        }
        let body = event.body.unwrap_or_default();
        let message = message(&body).inspect_err(|_| *message_id = id(&body))?;
        (*message_id, data) = (message.id, message.data);
    }
    let headers = event.multi_value_headers.unwrap_or_default();
    Ok(SocketRequest { connection, epoch: Timestamp::from_ms(epoch), headers, data })
}

/// The id of a malformed message, if it can be read.
fn id(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let Named { id } = serde_json::from_str(body).ok()?;
    is_id(&id).then_some(id)
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.chars().count())
}

/// Reads a client's frame. The name of its event is not checked here: API Gateway has already chosen the route by it.
fn message(body: &str) -> Result<Message<'_>, ApiError> {
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(TOO_LARGE.into());
    }
    if !body.trim_start().starts_with('{') {
        return Err(ApiError::invalid("message", "must be a JSON object"));
    }
    let message: Message<'_> =
        serde_json::from_str(body).map_err(|error| ApiError::invalid("message", rule(&error)))?;
    if message.id.as_ref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::invalid("id", "must have 1 to 64 characters"));
    }
    Ok(message)
}

/// The beginning of serde's message about a client's input.
fn rule(error: &serde_json::Error) -> String {
    error.to_string().chars().take(RULE_CHARS_MAX).collect()
}

/// An answer in the form that API Gateway accepts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketAnswer {
    /// Opens a connection or refuses it. After a message, API Gateway reads only the body.
    pub status_code: u16,
    /// The one header that API Gateway passes on: the chosen subprotocol.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<&'static str, &'static str>,
    /// The text that is sent to the client, if its route has a route response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether the outcome is an error; not part of the answer.
    #[serde(skip)]
    pub is_refusal: bool,
}

/// The frame that answers a client's frame.
#[derive(Serialize)]
struct Frame<'a, D> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    data: D,
}

impl SocketAnswer {
    /// The answer to an event of this kind. `id` is that of the client's message, `request_id` that of the event.
    pub(crate) fn new(
        kind: EventKind,
        id: Option<&str>,
        request_id: &str,
        outcome: &Result<serde_json::Value, ApiError>,
    ) -> Self {
        let mut answer = Self { status_code: 200, headers: BTreeMap::new(), body: None, is_refusal: outcome.is_err() };
        match (kind, outcome) {
            (EventKind::Connect, Ok(_)) => {
                answer.headers.insert("Sec-WebSocket-Protocol", SUBPROTOCOL);
            }
            (EventKind::Message, Ok(data)) => {
                answer.body = serde_json::to_string(&Frame { event: "ack", id, data }).ok();
            }
            (_, Ok(_)) => {}
            (_, Err(error)) => {
                // API Gateway must not treat a refused message as a failure of the function.
                answer.status_code = if kind == EventKind::Message { 200 } else { error.status().as_u16() };
                let data = error.data(request_id);
                answer.body = serde_json::to_string(&Frame { event: "error", id, data }).ok();
            }
        }
        answer
    }
}

/// The last frame before the server closes a connection. It states the reason, because API Gateway does not let a
/// server choose the close code.
#[must_use]
pub fn bye(reason: &str, at: Timestamp) -> String {
    serde_json::json!({"event": "bye", "at": at, "data": {"reason": reason}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(body: &str) -> Value {
        json!({
            "requestContext": {
                "routeKey": "ping", "eventType": "MESSAGE", "connectionId": "L0SM9cOFvHcCIhw=",
                "connectedAt": 1_795_257_125_000_u64, "requestId": "r", "messageId": "m",
            },
            "body": body, "isBase64Encoded": false,
        })
    }

    fn refused(event: &Value) -> Option<String> {
        let error = read(&event.to_string()).outcome.err()?;
        let data = serde_json::to_value(error.data("r")).unwrap();
        let (code, detail) = (data["code"].as_str().unwrap(), data["detail"].as_str().unwrap());
        Some(format!("{code} {}", detail.split(' ').next().unwrap()))
    }

    #[test]
    fn a_message_is_read_as_it_was_sent() {
        let incoming = read(&event(r#"{"event":"ping","id":"7","data":{"a":1}}"#).to_string());
        assert_eq!((incoming.kind, incoming.route.as_str()), (EventKind::Message, "ping"));
        assert_eq!((incoming.message_id.as_deref(), incoming.request_id.as_deref()), (Some("7"), Some("r")));
        let request = incoming.outcome.unwrap();
        assert_eq!((request.connection.as_str(), request.epoch.ms()), ("L0SM9cOFvHcCIhw=", 1_795_257_125_000));
        assert_eq!(request.data::<Value>().unwrap(), json!({"a": 1}));
    }

    #[test]
    fn a_malformed_message_is_refused_by_name() {
        let large = format!(r#"{{"event":"ping","data":"{}"}}"#, "x".repeat(MESSAGE_BYTES_MAX));
        for (body, wanted) in [
            ("", "validation_failed message"),
            ("ping", "validation_failed message"),
            ("[]", "validation_failed message"),
            ("{}", "validation_failed message"),
            (r#"{"event":7}"#, "validation_failed message"),
            (r#"{"event":"ping","more":1}"#, "validation_failed message"),
            (r#"{"event":"ping","id":7}"#, "validation_failed message"),
            (r#"{"event":"ping","id":""}"#, "validation_failed id"),
            (&large, "message_too_large a"),
        ] {
            assert_eq!(refused(&event(body)).as_deref(), Some(wanted), "{body}");
        }
        assert_eq!(refused(&event(r#"{"event":"ping","id":null}"#)), None);
    }

    #[test]
    fn an_event_without_a_usable_connection_is_refused_by_name() {
        for (member, value, wanted) in [
            ("eventType", json!("OTHER"), "validation_failed event"),
            ("eventType", json!(7), "validation_failed event"),
            ("connectionId", json!(""), "validation_failed connectionId"),
            ("connectionId", json!("a#b"), "validation_failed connectionId"),
            ("connectedAt", json!(-1), "validation_failed event"),
            ("connectedAt", Value::Null, "validation_failed connectedAt"),
        ] {
            let mut event = event(r#"{"event":"ping"}"#);
            event["requestContext"][member] = value;
            assert_eq!(refused(&event).as_deref(), Some(wanted), "{member}");
        }
    }

    #[test]
    fn all_lines_of_a_header_are_found_whatever_their_case() {
        let mut event = event("");
        event["requestContext"]["eventType"] = "CONNECT".into();
        event["multiValueHeaders"] = json!({"oRIGIN": ["https://a.example"], "Cookie": ["a", "b"], "cookie": ["c"]});
        let request = read(&event.to_string()).outcome.unwrap();
        let lines = |name| request.header(name).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(lines("origin"), ["https://a.example"].into());
        assert_eq!(lines("cookie"), ["a", "b", "c"].into());
        assert!(lines("host").is_empty());
    }
}
