//! Builds `events/`: for each function an event that starts it, for `cargo lambda invoke`, `sam local invoke` and the
//! tests.

use functions::function::{Declared, Example, Trigger, route_key};
use serde_json::{Map, Value, json};

/// Values of path parameters that need a certain form.
const PARAMETERS: &[(&str, &str)] = &[("agentId", "agt_7YG4P15WXB9KKARQDPKB1N5Y86")];
const DOMAIN: &str = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com";
/// 2026-03-12, 19:04 UTC.
const TIME_MS: u64 = 1_773_342_247_390;
const TIME: &str = "12/Mar/2026:19:04:07 +0000";

/// The event of a function, as JSON.
///
/// # Errors
/// A declared example is not JSON, or the function has no route for it.
pub(crate) fn text(declared: &Declared) -> Result<String, String> {
    let parsed = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| format!("{}: its example: {error}", declared.name))
    };
    let event = match declared.function.example {
        Example::Request { path, query, body, signature } => {
            let route = declared.function.routes().next();
            let (method, route) = route.ok_or_else(|| format!("{}: it has no route", declared.name))?;
            request(method, route, path, query, body, signature)
        }
        Example::Scheduled => scheduled(declared),
        Example::Message(message) => socket(declared, message),
        Example::Event(event) => parsed(event)?,
        Example::Changes(changes) => {
            let records = changes.iter().zip(1_u64..).map(|((before, after), number)| {
                Ok::<_, String>(record(before.map(&parsed).transpose()?.as_ref(), &parsed(after)?, number))
            });
            json!({"Records": records.collect::<Result<Vec<_>, _>>()?})
        }
    };
    Ok(format!("{event:#}\n"))
}

/// A path with values for its parameters, such as `/api/users/demo-user/mute`.
#[must_use]
pub(crate) fn example_path(route: &str) -> String {
    let segments = route.split('/').map(|segment| crate::parameter(segment).map_or_else(|| segment.to_owned(), value));
    segments.collect::<Vec<_>>().join("/")
}

fn value(parameter: &str) -> String {
    let known = PARAMETERS.iter().find(|(name, _)| *name == parameter);
    known.map_or_else(
        || format!("demo-{}", parameter.strip_suffix("Id").unwrap_or(parameter)),
        |(_, value)| (*value).to_owned(),
    )
}

/// An event of an HTTP API, in version 2.0.
fn request(method: &str, route: &str, path: Option<&str>, query: &str, body: &str, signature: Option<&str>) -> Value {
    let path = path.map_or_else(|| example_path(route), str::to_owned);
    let method = if method == "ANY" { "GET" } else { method };
    let mut headers = json!({
        "accept": "application/json", "content-length": body.len().to_string(), "host": DOMAIN, "user-agent": "curl/8.7.1",
        "x-amzn-trace-id": "Root=1-69b30e1e-abcdef0123456789abcdef00", "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443", "x-forwarded-proto": "https",
    });
    if !body.is_empty() {
        headers["content-type"] = "application/json".into();
    }
    if let Some(signature) = signature {
        headers["greenroom-signature"] = signature.into();
    }
    let key = route_key(method, route);
    let mut event = json!({
        "version": "2.0", "routeKey": key, "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {
            "accountId": "123456789012", "apiId": "a1b2c3d4e5", "domainName": DOMAIN, "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.7.1",
            },
            "requestId": "Zx00KgXmPoAMEVQw=", "routeKey": key, "stage": "$default", "time": TIME, "timeEpoch": TIME_MS,
        },
        "isBase64Encoded": false,
    });
    if !query.is_empty() {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        event["queryStringParameters"] =
            pairs.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>().into();
    }
    let parameters = parameters(route, &path);
    if !parameters.is_empty() {
        event["pathParameters"] = parameters.into();
    }
    if !body.is_empty() {
        event["body"] = body.into();
    }
    event
}

/// The values of a route's parameters in a path.
fn parameters(route: &str, path: &str) -> Map<String, Value> {
    let mut values = path.split('/');
    let mut found = Map::new();
    for segment in route.split('/') {
        let value = values.next().unwrap_or_default();
        let Some(name) = crate::parameter(segment) else { continue };
        let rest = || std::iter::once(value).chain(values.clone()).collect::<Vec<_>>().join("/");
        match name.strip_suffix('+') {
            Some(greedy) => found.insert(greedy.to_owned(), rest().into()),
            None => found.insert(name.to_owned(), value.into()),
        };
    }
    found
}

/// An event of `EventBridge`.
fn scheduled(declared: &Declared) -> Value {
    let named = declared.function.triggers.iter().find_map(|trigger| match trigger {
        Trigger::Schedule { name, .. } => Some(*name),
        Trigger::Route { .. } | Trigger::Message { .. } | Trigger::Stream => None,
    });
    let rule = format!("arn:aws:events:us-east-1:123456789012:rule/greenroom-dev-{}", named.unwrap_or(declared.name));
    json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": "2026-03-12T19:04:00Z", "region": "us-east-1",
        "resources": [rule], "detail": {},
    })
}

/// A record of the state table's stream.
fn record(before: Option<&Value>, after: &Value, number: u64) -> Value {
    let size = after.to_string().len() + before.map_or(0, |before| before.to_string().len());
    let mut change = json!({
        "ApproximateCreationDateTime": TIME_MS / 1000,
        "Keys": {"pk": after["pk"], "sk": after["sk"]},
        "NewImage": after,
        "SequenceNumber": (4_421_584_500_000_000_000_u64 + number).to_string(),
        "SizeBytes": size,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    let name = if before.is_some() { "MODIFY" } else { "INSERT" };
    if let Some(before) = before {
        change["OldImage"] = before.clone();
    }
    json!({
        "eventID": format!("{number:032x}"), "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1", "dynamodb": change,
        "eventSourceARN":
            "arn:aws:dynamodb:us-east-1:123456789012:table/greenroom-dev-StateTable-1A2B3C4D5E6F7/stream/2026-11-21T10:00:00.000",
    })
}

/// An event of a WebSocket API.
fn socket(declared: &Declared, message: &str) -> Value {
    const DOMAIN: &str = "f6g7h8i9j0.execute-api.us-east-1.amazonaws.com";
    let route = declared.function.triggers.iter().find_map(|trigger| match trigger {
        Trigger::Message { route, .. } => Some(*route),
        Trigger::Route { .. } | Trigger::Schedule { .. } | Trigger::Stream => None,
    });
    let route = route.unwrap_or("$default");
    let (kind, headers) = match route {
        "$connect" => (
            "CONNECT",
            vec![
                ("Host", DOMAIN),
                ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                ("Sec-WebSocket-Protocol", "greenroom.v1"),
                ("Sec-WebSocket-Version", "13"),
                ("User-Agent", "Mozilla/5.0"),
                ("X-Amzn-Trace-Id", "Root=1-69b30e1e-abcdef0123456789abcdef00"),
                ("X-Forwarded-For", "203.0.113.7"),
                ("X-Forwarded-Port", "443"),
                ("X-Forwarded-Proto", "https"),
            ],
        ),
        "$disconnect" => {
            ("DISCONNECT", vec![("Host", DOMAIN), ("X-Forwarded-For", ""), ("x-api-key", ""), ("x-restapi", "")])
        }
        _ => ("MESSAGE", Vec::new()),
    };
    let mut event = json!({
        "requestContext": {
            "routeKey": route, "eventType": kind, "extendedRequestId": "Zx01KgXmPoAMEVQw=", "requestTime": TIME,
            "messageDirection": "IN", "stage": "live", "connectedAt": TIME_MS, "requestTimeEpoch": TIME_MS,
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "Mozilla/5.0"}, "requestId": "Zx01KgXmPoAMEVQw=",
            "domainName": DOMAIN, "connectionId": "L0SM9cOFvHcCIhw=", "apiId": "f6g7h8i9j0",
        },
        "isBase64Encoded": false,
    });
    if kind == "MESSAGE" {
        event["requestContext"]["messageId"] = "Zx01KgXmPoAMEVQw=".into();
        event["body"] = message.into();
    } else {
        event["headers"] =
            headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>().into();
        event["multiValueHeaders"] =
            headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect::<Map<_, _>>().into();
    }
    if kind == "DISCONNECT" {
        event["requestContext"]["disconnectStatusCode"] = 1001.into();
        event["requestContext"]["disconnectReason"] = "Going away".into();
    }
    event
}
