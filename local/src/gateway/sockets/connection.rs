//! A connection, and the events that API Gateway builds for it.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-mapping-template-reference.html>

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use domain::Timestamp;
use hyper::header::{self, HeaderMap};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::time::SystemTime;

/// Random bytes of a connection's id. The id has 16 characters, as on AWS.
const ID_BYTES: usize = 11;
/// The API's id in events.
const API_ID: &str = "local";

/// The data of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The id in the format of API Gateway, such as `L0SM9cOFvHcCIhw=`.
    pub(super) id: String,
    pub(super) connected_at: Timestamp,
    pub(super) source_ip: String,
    pub(super) user_agent: Option<String>,
    host: String,
    stage: String,
}

impl Connection {
    /// A connection that a client requests with these headers.
    pub(super) fn new(stage: &str, headers: &HeaderMap, client: IpAddr) -> Self {
        let mut id = [0; ID_BYTES];
        fastrand::fill(&mut id);
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self {
            id: BASE64_URL_SAFE.encode(id),
            connected_at: now(),
            source_ip: client.to_string(),
            user_agent: text(header::USER_AGENT),
            host: text(header::HOST).unwrap_or_default(),
            stage: stage.to_owned(),
        }
    }

    /// The event of a new connection: the only event that contains the client's headers and query.
    pub(super) fn connect_event(&self, headers: &HeaderMap, query: Option<&str>) -> String {
        let mut event = Map::new();
        let mut named = names(headers);
        let port = self.host.rsplit_once(':').map_or("80", |(_, port)| port);
        let forwarded =
            [("X-Forwarded-For", self.source_ip.as_str()), ("X-Forwarded-Port", port), ("X-Forwarded-Proto", "http")];
        named.extend(forwarded.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])));
        add(&mut event, "headers", "multiValueHeaders", named);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let mut parameters: Vec<(String, Vec<String>)> = Vec::new();
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                match parameters.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => values.push(value.into_owned()),
                    None => parameters.push((name.into_owned(), vec![value.into_owned()])),
                }
            }
            add(&mut event, "queryStringParameters", "multiValueQueryStringParameters", parameters);
        }
        event.insert("requestContext".to_owned(), self.context("$connect", "CONNECT"));
        event.insert("isBase64Encoded".to_owned(), false.into());
        Value::Object(event).to_string()
    }

    /// The event of a message. About the client, it contains only the connection.
    pub(super) fn message_event(&self, route: &str, body: &str) -> String {
        let mut context = self.context(route, "MESSAGE");
        context["messageId"] = format!("{:016x}", fastrand::u64(..)).into();
        json!({"requestContext": context, "body": body, "isBase64Encoded": false}).to_string()
    }

    /// The event of a closed connection.
    pub(super) fn disconnect_event(&self, code: u16, reason: &str) -> String {
        let mut event = Map::new();
        let own = [("Host", self.host.as_str()), ("x-api-key", ""), ("X-Forwarded-For", ""), ("x-restapi", "")];
        let own = own.map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
        add(&mut event, "headers", "multiValueHeaders", own.into());
        let mut context = self.context("$disconnect", "DISCONNECT");
        context["disconnectStatusCode"] = code.into();
        context["disconnectReason"] = reason.into();
        event.insert("requestContext".to_owned(), context);
        event.insert("isBase64Encoded".to_owned(), false.into());
        Value::Object(event).to_string()
    }

    fn context(&self, route: &str, event_type: &str) -> Value {
        let (now, request_id) = (now(), functions::new_request_id());
        json!({
            "routeKey": route,
            "eventType": event_type,
            "extendedRequestId": request_id,
            "requestTime": request_time(now),
            "messageDirection": "IN",
            "stage": self.stage,
            "connectedAt": self.connected_at.ms(),
            "requestTimeEpoch": now.ms(),
            "identity": {"sourceIp": self.source_ip, "userAgent": self.user_agent},
            "requestId": request_id,
            "domainName": self.host,
            "connectionId": self.id,
            "apiId": API_ID,
        })
    }

    /// A notice that API Gateway itself sends over a connection, in its format.
    pub(super) fn notice(&self, message: &str) -> String {
        let request_id = functions::new_request_id();
        json!({"message": message, "connectionId": self.id, "requestId": request_id}).to_string()
    }
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The values of each header, in their order.
fn names(headers: &HeaderMap) -> Vec<(String, Vec<String>)> {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.keys().map(|name| (name.to_string(), headers.get_all(name).iter().map(text).collect())).collect()
}

/// Adds names with several values: under `single` the last value of each, under `multi` all of them.
fn add(event: &mut Map<String, Value>, single: &str, multi: &str, named: Vec<(String, Vec<String>)>) {
    let last = named.iter().map(|(name, values)| (name.clone(), values.last().cloned().into()));
    event.insert(single.to_owned(), last.collect::<Map<_, _>>().into());
    let all = named.into_iter().map(|(name, values)| (name, values.into()));
    event.insert(multi.to_owned(), all.collect::<Map<_, _>>().into());
}

/// A time in the format of web server logs: `21/Nov/2026:10:32:05 +0000`.
fn request_time(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // The text looks like `2026-11-21T10:32:05.123Z`.
    let text = at.to_string();
    let month = text[5..7].parse::<usize>().unwrap_or(1);
    format!("{}/{}/{}:{} +0000", &text[8..10], MONTHS[(month + 11) % 12], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use std::net::Ipv4Addr;

    /// The paths of all members in a value. The members of headers and parameters are left out.
    fn shape(value: &Value, path: &str, found: &mut Vec<String>) {
        let Some(members) = value.as_object() else { return };
        for (name, value) in members {
            // Each client has headers of its own.
            let below = format!("{path}/{name}");
            found.push(below.clone());
            if !name.to_lowercase().ends_with("headers") && !name.ends_with("Parameters") {
                shape(value, &below, found);
            }
        }
        found.sort_unstable();
    }

    fn same_shape(event: &str, kept: &str) {
        let parsed: [Value; 2] = [event, kept].map(|text| serde_json::from_str(text).unwrap());
        let [ours, theirs] = parsed.map(|value| {
            let mut found = Vec::new();
            shape(&value, "", &mut found);
            found
        });
        assert_eq!(ours, theirs);
    }

    #[test]
    fn events_have_the_members_of_api_gateways() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost:3001"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8.7.1"));
        let connection = Connection::new("live", &headers, Ipv4Addr::LOCALHOST.into());
        same_shape(&connection.connect_event(&headers, None), include_str!("../../../../events/connect_socket.json"));
        let message = connection.message_event("ping", "{}");
        same_shape(&message, include_str!("../../../../events/ping_socket.json"));
        let end = connection.disconnect_event(1001, "Going away");
        same_shape(&end, include_str!("../../../../events/disconnect_socket.json"));
        let message: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message.get("headers"), None, "a message has no headers");
    }

    #[test]
    fn repeated_headers_and_parameters_are_all_there() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        let connection = Connection::new("live", &headers, Ipv4Addr::LOCALHOST.into());
        let event: Value = serde_json::from_str(&connection.connect_event(&headers, Some("x=1&x=2&y="))).unwrap();
        assert_eq!(
            (&event["headers"]["cookie"], &event["multiValueHeaders"]["cookie"]),
            (&json!("b=2"), &json!(["a=1", "b=2"]))
        );
        assert_eq!(event["queryStringParameters"], json!({"x": "2", "y": ""}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"x": ["1", "2"], "y": [""]}));
    }

    #[test]
    fn times_and_ids_are_written_as_on_aws() {
        assert_eq!(request_time(Timestamp::from_ms(1_795_257_125_007)), "21/Nov/2026:10:32:05 +0000");
        assert_eq!(request_time(Timestamp::from_ms(0)), "01/Jan/1970:00:00:00 +0000");
        let connection = Connection::new("live", &HeaderMap::new(), Ipv4Addr::LOCALHOST.into());
        assert_eq!((connection.id.len(), connection.id.ends_with('=')), (16, true));
    }
}
