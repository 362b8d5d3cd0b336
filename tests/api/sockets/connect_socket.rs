use crate::support::lambda::{Lambda, environment, event};
use crate::support::socket::{connections, number};
use crate::support::{Runner, keys};
use serde_json::{Value, json};

/// The event with these lines of a header. API Gateway gives the last line in `headers`, and all of them in
/// `multiValueHeaders`.
fn with<'a>(header: &str, lines: impl IntoIterator<Item = &'a str>) -> Value {
    let mut event = event("connect_socket");
    let lines: Vec<_> = lines.into_iter().collect();
    for members in ["headers", "multiValueHeaders"] {
        event[members].as_object_mut().unwrap().remove(header);
    }
    if let Some(last) = lines.last() {
        event["headers"][header] = (*last).into();
        event["multiValueHeaders"][header] = lines.into();
    }
    event
}

/// The status and, for a refusal, its code.
fn outcome(answer: &Value) -> (u64, Value) {
    let body: Value = answer["body"].as_str().map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
    (answer["statusCode"].as_u64().unwrap(), body["data"]["code"].clone())
}

#[test]
fn a_connection_is_accepted_and_remembered_with_a_lease() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    let event = event("connect_socket");
    let answer = lambda.run(&event);
    assert_eq!(answer, json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "greenroom.v1"}}));
    let items = connections(&runner);
    let [item] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(keys(item), ["epoch", "expiresAt", "leaseUntil", "pk", "sk"]);
    let id = event["requestContext"]["connectionId"].as_str().unwrap();
    assert_eq!((&item["pk"]["S"], &item["sk"]["S"]), (&json!(format!("CONN#{id}")), &json!("META")));
    assert_eq!(number(item, "epoch"), event["requestContext"]["connectedAt"].as_u64().unwrap());
    let (lease, now) = (number(item, "leaseUntil"), crate::support::witness::now_ms());
    assert!((now + 20_000..=now + 25_000).contains(&lease), "25 s: {lease} at {now}");
    assert_eq!(number(item, "expiresAt"), lease / 1000 + 1);
}

#[test]
fn a_repeated_event_is_one_connection() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    for _ in 0..3 {
        assert_eq!(lambda.run(&event("connect_socket"))["statusCode"], 200);
    }
    assert_eq!(connections(&runner).len(), 1);
}

#[test]
fn a_page_of_a_foreign_origin_is_refused() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    for (origin, status) in [
        ("https://page.example", 200),
        ("https://f6g7h8i9j0.execute-api.us-east-1.amazonaws.com", 200),
        ("https://evil.example", 403),
        ("https://page.example.evil.example", 403),
        ("http://page.example", 403),
        ("null", 403),
        ("", 403),
    ] {
        for name in ["Origin", "origin"] {
            let code = if status == 403 { json!("origin_forbidden") } else { Value::Null };
            assert_eq!(outcome(&lambda.run(&with(name, [origin]))), (status, code), "{origin:?}");
        }
    }
    for lines in [["https://evil.example", "https://page.example"], ["https://page.example", "null"]] {
        assert_eq!(outcome(&lambda.run(&with("Origin", lines))).0, 403, "{lines:?}");
    }
    assert_eq!(connections(&runner).len(), 1);
}

#[test]
fn a_client_that_does_not_offer_our_protocol_is_refused() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    let run = |offered: Option<&str>| outcome(&lambda.run(&with("Sec-WebSocket-Protocol", offered)));
    for offered in [None, Some(""), Some("greenroom.v2"), Some("greenroom"), Some("chat, Greenroom.v1")] {
        assert_eq!(run(offered), (400, json!("subprotocol_required")), "{offered:?}");
    }
    for offered in ["greenroom.v1", "greenroom.v2, greenroom.v1", "greenroom.v1,chat"] {
        assert_eq!(run(Some(offered)).0, 200, "{offered}");
    }
}

/// A client with a token must not be served like a client without one.
#[test]
fn a_token_that_is_not_valid_is_refused() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    for offered in ["greenroom.v1, greenroom.bearer.abc.def.ghi", "greenroom.bearer.,greenroom.v1"] {
        let answer = lambda.run(&with("Sec-WebSocket-Protocol", [offered]));
        assert_eq!(outcome(&answer), (401, json!("token_invalid")), "{offered}");
    }
    for lines in [["greenroom.bearer.abc", "greenroom.v1"], ["greenroom.v1", "greenroom.bearer.abc"]] {
        let answer = lambda.run(&with("Sec-WebSocket-Protocol", lines));
        assert_eq!(outcome(&answer), (401, json!("token_invalid")), "{lines:?}");
    }
    assert!(connections(&runner).is_empty(), "a refused client leaves nothing");
    assert!(lambda.log().iter().all(|line| !line.to_string().contains("abc.def")), "no token is logged");
}

#[test]
fn in_strict_mode_a_client_without_a_token_is_anonymous() {
    let runner = Runner::ephemeral();
    let mut env = environment("connect_socket", runner.dynamodb.as_deref().unwrap());
    env.retain(|(name, _)| *name != "AUTH_MODE");
    env.push(("AUTH_MODE", "strict"));
    assert_eq!(Lambda::start_with("connect_socket", &env).run(&event("connect_socket"))["statusCode"], 200);
}

#[test]
fn without_a_database_no_connection_is_opened() {
    let lambda = Lambda::start("connect_socket", "http://127.0.0.1:9");
    assert_eq!(outcome(&lambda.run(&event("connect_socket"))), (503, json!("unavailable")));
    let line = lambda.await_log(|line| line.get("statusCode").is_some());
    assert_eq!(
        (&line["statusCode"], &line["route"], &line["method"]),
        (&json!(503), &json!("WS $connect"), &json!("CONNECT"))
    );
    assert!(crate::emf::metrics(&line).contains("route_failures"));
}
