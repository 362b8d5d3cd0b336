//! Reads an event of API Gateway's HTTP API as a request, and writes an answer in the form that API Gateway accepts.
//!
//! `lambda_http` makes a URI of the event's path, query, `Host` and `X-Forwarded-Proto`, and panics if they do not form
//! one. A panic here would fail the function, and the client would get the gateway's own 500. This file reads only the
//! members that the handlers need, and refuses an event that it cannot read.

use crate::{ApiError, Request, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use lambda_http::{Body, RequestExt as _};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::panic::UnwindSafe;

/// Payload version 2.0. Members that no handler needs are not read.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'a> {
    route_key: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<HashMap<String, String>>,
    path_parameters: Option<HashMap<String, String>>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: Option<bool>,
    request_context: Option<Context>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Context {
    request_id: Option<String>,
    http: Option<Http>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Http {
    method: Option<String>,
    source_ip: Option<String>,
}

/// The id that API Gateway gave to a request, kept beside it.
#[derive(Debug, Clone)]
pub(crate) struct GatewayId(pub(crate) String);

/// The client's address as the gateway saw it, kept beside its request. No header of a request makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub IpAddr);

/// A request, as far as the event could be read.
pub(crate) struct Incoming {
    /// The route that API Gateway matched, such as `PATCH /api/users/{userId}/mute`.
    pub(crate) route: String,
    /// The request; if it is refused, the part of it that could be read.
    pub(crate) request: Request,
    /// The refusal, if not all of it could be read.
    pub(crate) outcome: Result<(), ApiError>,
}

/// Reads an event. It never panics: a panic becomes a refusal.
pub(crate) fn read(event: &str) -> Incoming {
    guarded(|| parse(event))
}

fn guarded(read: impl FnOnce() -> Incoming + UnwindSafe) -> Incoming {
    std::panic::catch_unwind(read).unwrap_or_else(|_| Incoming {
        route: String::new(),
        request: Request::default(),
        outcome: Err(ApiError::panicked()),
    })
}

fn parse(event: &str) -> Incoming {
    let mut request = Request::default();
    match serde_json::from_str::<Event<'_>>(event) {
        Ok(mut event) => {
            let route = event.route_key.take().unwrap_or_default();
            let outcome = fill(&mut request, event);
            Incoming { route, request, outcome }
        }
        Err(error) => {
            // The text of the error is not logged, because it quotes values of the event.
            tracing::warn!(line = error.line(), column = error.column(), "not an event of an HTTP API");
            let outcome = Err(ApiError::invalid("event", "must be an event of an HTTP API, in payload version 2.0"));
            Incoming { route: String::new(), request, outcome }
        }
    }
}

/// Fills in a request. The parts that a refusal needs come first.
fn fill(request: &mut Request, event: Event<'_>) -> Result<(), ApiError> {
    let context = event.request_context.unwrap_or_default();
    if let Some(id) = context.request_id {
        request.extensions_mut().insert(GatewayId(id));
    }
    let parameters = event.path_parameters.unwrap_or_default();
    let parameters: HashMap<_, _> = parameters.into_iter().map(|(name, value)| (name, vec![value])).collect();
    *request = std::mem::take(request).with_path_parameters(parameters);

    let http = context.http.unwrap_or_default();
    // An event that somebody has written by hand may have no address.
    if let Some(address) = http.source_ip.and_then(|address| address.parse().ok()) {
        request.extensions_mut().insert(Address(address));
    }
    let method = http.method.unwrap_or_default();
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| ApiError::invalid("method", "must be an HTTP method"))?;
    let path = path(&event.raw_path.unwrap_or_default());
    *request.uri_mut() = uri(&path).ok_or_else(|| ApiError::invalid("path", "must be the path of a URI"))?;
    headers(request.headers_mut(), event.headers.unwrap_or_default())?;

    let query = event.raw_query_string.filter(|query| !query.is_empty());
    if let Some(query) = query {
        let uri = uri(&format!("{path}?{query}"));
        *request.uri_mut() = uri.ok_or_else(|| ApiError::invalid("query", "must be the query of a URI"))?;
    }
    *request.body_mut() = body(event.body.unwrap_or_default(), event.is_base64_encoded == Some(true))?;
    Ok(())
}

/// Characters that a URI's path must not contain unencoded. API Gateway decodes some of them.
const NOT_IN_A_PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'\\').add(b'^').add(b'`');

fn path(raw: &str) -> String {
    utf8_percent_encode(raw, NOT_IN_A_PATH).to_string()
}

/// Parses a URI of a path and a query. Other forms, such as `*` or a URI with an authority, are refused.
fn uri(text: &str) -> Option<Uri> {
    text.starts_with('/').then(|| text.parse().ok())?
}

/// Copies the headers without interpreting them.
fn headers(into: &mut HeaderMap, from: HashMap<String, String>) -> Result<(), ApiError> {
    for (name, value) in from {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(ApiError::invalid("headers", "must be HTTP headers"));
        };
        into.insert(name, value);
    }
    Ok(())
}

fn body(text: Cow<'_, str>, is_base64: bool) -> Result<Body, ApiError> {
    if text.is_empty() {
        return Ok(Body::Empty);
    }
    if !is_base64 {
        return Ok(Body::Text(text.into_owned()));
    }
    let bytes = BASE64_STANDARD.decode(text.as_bytes());
    bytes.map(Body::Binary).map_err(|_| ApiError::invalid("body", "must be base64, as isBase64Encoded says"))
}

/// An answer in the form that API Gateway accepts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outgoing {
    status_code: u16,
    /// The values of a header that is given more than once are joined by commas.
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

impl From<Response> for Outgoing {
    fn from(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let joined = headers.entry(name.as_str().to_owned()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&value);
        }
        let (body, is_base64_encoded) = match body {
            Body::Text(text) => (Some(text), false),
            Body::Binary(bytes) => (Some(BASE64_STANDARD.encode(bytes)), true),
            _ => (None, false),
        };
        Self { status_code: parts.status.as_u16(), headers, body, is_base64_encoded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event() -> Value {
        json!({
            "routeKey": "GET /x", "rawPath": "/x", "rawQueryString": "a=1", "headers": {"host": "h"},
            "requestContext": {"requestId": "id", "http": {"method": "GET"}},
        })
    }

    fn refused(event: &Value) -> Option<String> {
        match read(&event.to_string()).outcome {
            Ok(()) => None,
            Err(error) => Some(error.field().unwrap().field.clone().into_owned()),
        }
    }

    #[test]
    fn an_event_is_read_as_a_request() {
        let Incoming { route, request, outcome } = read(&event().to_string());
        assert!(outcome.is_ok());
        assert_eq!((route.as_str(), request.uri().to_string().as_str()), ("GET /x", "/x?a=1"));
        assert_eq!((request.headers()["host"].as_bytes(), request.method()), (b"h".as_slice(), &Method::GET));
    }

    #[test]
    fn the_part_that_cannot_be_read_is_named() {
        for (member, value, field) in [
            ("rawQueryString", json!("a\"b"), "query"),
            ("rawQueryString", json!("a b"), "query"),
            ("rawPath", json!("x"), "path"),
            ("rawPath", json!(""), "path"),
            ("headers", json!({"a b": "c"}), "headers"),
            ("headers", json!({"a": "b\nc"}), "headers"),
            ("headers", json!([]), "event"),
            ("requestContext", json!({"http": {"method": "G T"}}), "method"),
            ("requestContext", json!({}), "method"),
            ("isBase64Encoded", json!("yes"), "event"),
        ] {
            let mut event = event();
            event[member] = value;
            assert_eq!(refused(&event).as_deref(), Some(field), "{event}");
        }
        let broken = json!({"isBase64Encoded": true, "body": "*"});
        let event = [event(), broken].iter().flat_map(|part| part.as_object().unwrap().clone()).collect();
        assert_eq!(refused(&Value::Object(event)).as_deref(), Some("body"));
    }

    #[test]
    fn the_address_is_the_gateways_and_no_headers() {
        let address = |event: &Value| read(&event.to_string()).request.extensions().get().copied();
        let mut event = event();
        event["headers"] = json!({"x-forwarded-for": "198.51.100.1", "forwarded": "for=198.51.100.1"});
        assert_eq!(address(&event), None);
        for (given, read) in [("203.0.113.7", Some("203.0.113.7")), ("2001:db8::1", Some("2001:db8::1")), ("", None)] {
            event["requestContext"]["http"]["sourceIp"] = given.into();
            assert_eq!(address(&event), read.map(|read| Address(read.parse().unwrap())), "{given}");
        }
    }

    #[test]
    fn a_path_that_was_decoded_is_encoded_again() {
        for (raw, path) in [("/a b", "/a%20b"), ("/a%20b", "/a%20b"), ("/ä\"?#", "/%C3%A4%22%3F%23")] {
            let mut event = event();
            event["rawPath"] = raw.into();
            assert_eq!(read(&event.to_string()).request.uri().path(), path);
        }
    }

    #[test]
    fn a_panic_becomes_a_refusal() {
        let incoming = guarded(|| panic!("a fault of the test"));
        assert_eq!(incoming.outcome.unwrap_err().status(), 500);
    }

    #[test]
    fn values_of_one_header_are_joined() {
        let mut response = Response::new(Body::Binary(vec![0xff]));
        for value in ["a", "b"] {
            response.headers_mut().append("vary", HeaderValue::from_static(value));
        }
        let outgoing = serde_json::to_value(Outgoing::from(response)).unwrap();
        let expected = json!({"statusCode": 200, "headers": {"vary": "a, b"}, "body": "/w==", "isBase64Encoded": true});
        assert_eq!(outgoing, expected);
    }
}
