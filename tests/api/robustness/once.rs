//! `Idempotency-Key`: a repeated request gets its first answer again, and takes effect once, whatever happens between.

use crate::support::faults::{Fault, Faulty};
use crate::support::{Reply, refused, refused_field};
use domain::Timestamp;
use functions::{Address, BoxFuture, Context, Once, Request, Response, answer};
use lambda_http::Body;
use lambda_http::http::StatusCode;
use serde_json::{Value, json};
use store::StoreError;

/// A handler that makes a token for each request that takes effect. A caller with a token is `p:7`.
fn create(context: Context, request: Request) -> BoxFuture {
    Box::pin(async move {
        let subject = request.headers().contains_key("authorization").then_some("p:7");
        let once = Once::of(&context, &request, subject).await?;
        for _ in 0..8 {
            if let Some(earlier) = once.earlier(&context).await? {
                return Ok(earlier);
            }
            let body = json!({"token": format!("{:032x}", fastrand::u128(..))});
            let is_first = match once.record(StatusCode::CREATED, &body)? {
                None => true,
                Some(record) => context.answers.keep(&record, (context.clock)()).await?,
            };
            if is_first {
                let mut response = Response::new(Body::Text(body.to_string()));
                *response.status_mut() = StatusCode::CREATED;
                return Ok(response);
            }
        }
        Err(StoreError::Unavailable("others kept coming first".into()).into())
    })
}

/// A request to this handler.
#[derive(Clone, Copy)]
struct Sent {
    path: &'static str,
    key: Option<&'static str>,
    body: &'static str,
    address: [u8; 4],
    has_token: bool,
}

const SENT: Sent =
    Sent { path: "/api/rooms", key: Some("key-1"), body: "{}", address: [203, 0, 113, 7], has_token: false };

impl Sent {
    async fn to(self, context: &Context) -> Reply {
        let mut request = lambda_http::http::Request::builder().method("POST").uri(self.path);
        if let Some(key) = self.key {
            request = request.header("idempotency-key", key);
        }
        if self.has_token {
            request = request.header("authorization", "Bearer x");
        }
        let mut request = request.body(Body::Text(self.body.to_owned())).unwrap();
        request.extensions_mut().insert(Address(self.address.into()));
        let (parts, body) = answer("TEST", create, context, request).await.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }
}

fn records(stored: &Value) -> usize {
    stored.as_object().unwrap().keys().filter(|key| key.starts_with("ONCE#")).count()
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_again() {
    for has_token in [false, true] {
        let sent = Sent { has_token, ..SENT };
        let faulty = Faulty::new();
        let first = sent.to(&faulty.context()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let again = sent.to(&faulty.context()).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        assert_eq!(again.header("content-type"), Some("application/json"));
        assert_eq!(again.header("cache-control"), Some("no-store"));
        assert_eq!(records(&faulty.stored().await), 1);
    }
}

#[tokio::test]
async fn another_body_under_the_same_key_is_422() {
    let faulty = Faulty::new();
    assert_eq!(SENT.to(&faulty.context()).await.status, 201);
    let other = Sent { body: "{\"title\":\"x\"}", ..SENT }.to(&faulty.context()).await;
    refused(&other, 422, "idempotency_key_reused");
}

#[tokio::test]
async fn another_caller_route_or_key_is_another_request_and_none_without_a_key_is_repeated() {
    let faulty = Faulty::new();
    let context = faulty.context();
    let first = SENT.to(&context).await;
    for other in [
        Sent { address: [203, 0, 113, 8], ..SENT },
        Sent { has_token: true, ..SENT },
        Sent { path: "/api/rooms/demo/join", ..SENT },
        Sent { key: Some("key-2"), ..SENT },
        Sent { key: None, ..SENT },
        Sent { key: None, ..SENT },
    ] {
        let reply = other.to(&context).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        assert_ne!(reply.text, first.text);
    }
    assert_eq!(records(&faulty.stored().await), 5);
}

#[tokio::test]
async fn a_request_without_a_key_reads_nothing() {
    let faulty = Faulty::new();
    faulty.be_well();
    assert_eq!(Sent { key: None, ..SENT }.to(&faulty.context()).await.status, 201);
    assert_eq!(faulty.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_is_none_is_400() {
    let faulty = Faulty::new();
    for bad in ["", "a b", "a\tb"] {
        refused_field(&Sent { key: Some(bad), ..SENT }.to(&faulty.context()).await, "Idempotency-Key");
    }
}

#[tokio::test]
async fn of_twenty_equal_requests_at_once_one_takes_effect() {
    for has_token in [false, true] {
        let sent = Sent { has_token, ..SENT };
        let faulty = Faulty::new();
        let contexts: Vec<_> = (0..20).map(|_| faulty.context()).collect();
        let replies = futures_util::future::join_all(contexts.iter().map(|context| sent.to(context))).await;
        for reply in &replies {
            assert_eq!((reply.status, &reply.text), (201, &replies[0].text));
        }
        assert_eq!(records(&faulty.stored().await), 1);
    }
}

#[tokio::test]
async fn whatever_call_fails_the_repeated_request_takes_effect_once() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle, Fault::Conflict] {
        for broken in 0..6 {
            let faulty = Faulty::new();
            faulty.be(Box::new(move |number, _| (number == broken).then_some(fault)));
            let first = SENT.to(&faulty.context()).await;
            faulty.be_well();
            let again = SENT.to(&faulty.context()).await;
            assert_eq!(again.status, 201, "{fault:?} at call {broken}: {}", again.text);
            assert!(first.status != 201 || first.text == again.text, "{fault:?} at call {broken}");
            assert_eq!(records(&faulty.stored().await), 1, "{fault:?} at call {broken}");
        }
    }
}

#[tokio::test]
async fn an_answer_can_be_had_again_after_midnight_and_not_after_a_day() {
    // 2026-11-21T23:59:00Z
    const BEFORE: u64 = 1_795_305_540_000;
    for has_token in [false, true] {
        let sent = Sent { has_token, ..SENT };
        let faulty = Faulty::new();
        let mut context = faulty.context();
        context.clock = || Timestamp::from_ms(BEFORE);
        let first = sent.to(&context).await;
        let mut later = faulty.context();
        later.clock = || Timestamp::from_ms(BEFORE + 120_000);
        assert_eq!(sent.to(&later).await.text, first.text);
        later.clock = || Timestamp::from_ms(BEFORE + 86_400_000 - 1_000);
        assert_eq!(sent.to(&later).await.text, first.text);
        later.clock = || Timestamp::from_ms(BEFORE + 86_400_000);
        let next = sent.to(&later).await;
        assert!(next.status == 201 && next.text != first.text, "{}", next.text);
        assert_eq!(sent.to(&later).await.text, next.text);
    }
}
