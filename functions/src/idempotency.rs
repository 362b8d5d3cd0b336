//! `Idempotency-Key`: a request that its client repeats takes effect once, and gets its first answer again.

use crate::limit::anonymous;
use crate::{ApiError, Context, Reply, Request, Response, http};
use domain::Timestamp;
use lambda_http::Body;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use std::time::Duration;
use store::StoreError;
use store::dynamodb::{ANSWERED, Given, Record, Repeatable};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in characters.
const KEY_CHARS_MAX: usize = 128;
const DAY: Duration = Duration::from_hours(24);

/// A request with an `Idempotency-Key`, or one without it, which has no earlier answer and leaves none.
///
/// A handler asks for it when the caller may act, answers the [earlier](Once::earlier) answer if there is one, and adds
/// the [record](Once::record) of its own answer to the transaction that makes what the request asks for. If the
/// transaction fails, it asks for the earlier answer again, because an equal request may have come first; if there is
/// still none, it tries the transaction again, because that request may not have ended.
#[derive(Debug)]
pub struct Once {
    /// The names that the request may have: the present one, and for a caller without a token that of the day before.
    requests: Vec<Repeatable>,
}

impl Once {
    /// Reads the key of a request. It counts for one caller and one route: for the subject that a token names, otherwise
    /// for the address.
    ///
    /// # Errors
    /// 400 if the header is no key; 503 if the caller has no token and the day's secret is out of reach.
    pub async fn of(context: &Context, request: &Request, subject: Option<&str>) -> Result<Self, ApiError> {
        let Some(key) = key(request)? else { return Ok(Self { requests: Vec::new() }) };
        let named = |caller: &str| named(request, caller, key);
        if let Some(subject) = subject {
            return Ok(Self { requests: vec![named(subject)] });
        }
        // A request that is repeated after midnight has the address under another secret.
        let now = (context.clock)();
        let before = Timestamp::from_ms(now.ms().saturating_sub(u64::try_from(DAY.as_millis()).unwrap_or(u64::MAX)));
        let [now, before] =
            [Box::pin(anonymous(context, request, now)).await?, Box::pin(anonymous(context, request, before)).await?];
        let mut requests = vec![named(now.as_str())];
        if before != now {
            requests.push(named(before.as_str()));
        }
        Ok(Self { requests })
    }

    /// The answer that the same request got within the last 24 hours.
    ///
    /// # Errors
    /// 422 if the key was sent with another body; 503 if the answers are out of reach.
    pub async fn earlier(&self, context: &Context) -> Result<Option<Response>, ApiError> {
        for request in &self.requests {
            if let Some(given) = Box::pin(context.answers.find(request, (context.clock)())).await? {
                return again(given).map(Some);
            }
        }
        Ok(None)
    }

    /// The answer that an equal request got, in place of this failure, if the failure is that the equal one came first.
    ///
    /// # Errors
    /// The failure, if it is another one or there is no such answer any more.
    pub(crate) async fn instead(&self, context: &Context, failure: ApiError) -> Reply {
        if failure.refusal() != ANSWERED {
            return Err(failure);
        }
        self.earlier(context).await?.ok_or(failure)
    }

    /// The record of the answer with this body, if the request has a key.
    ///
    /// # Errors
    /// 500 if the body is no JSON.
    pub fn record(&self, status: StatusCode, body: &impl Serialize) -> Result<Option<Record>, ApiError> {
        let Some(request) = self.requests.first() else { return Ok(None) };
        let text = serde_json::to_string(body).map_err(|error| StoreError::Internal(error.into()))?;
        Ok(Some(request.answered(status.as_u16(), text)))
    }
}

/// The key in the header, if there is one.
fn key(request: &Request) -> Result<Option<&str>, ApiError> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.as_bytes();
    let is_key = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    let refuse = || ApiError::invalid("Idempotency-Key", "must be 1 to 128 visible characters of ASCII");
    value.to_str().ok().filter(|_| is_key).map(Some).ok_or_else(refuse)
}

/// The name of a request: the route is its method and its path, which holds the room.
fn named(request: &Request, caller: &str, key: &str) -> Repeatable {
    let route = format!("{} {}", request.method(), request.uri().path());
    Repeatable::new(caller, &route, key, request.body().as_ref())
}

fn again(given: Given) -> Reply {
    let mut response = Response::new(Body::Text(given.body));
    *response.status_mut() =
        StatusCode::from_u16(given.status).map_err(|_| StoreError::Corrupt { attribute: "status" })?;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(http::momentary(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str) -> Request {
        let request = lambda_http::http::Request::builder().method("POST").uri("/api/rooms?x=1");
        request.header("idempotency-key", key).body(Body::Text("{}".to_owned())).unwrap()
    }

    #[test]
    fn a_key_is_visible_ascii_of_at_most_128_characters() {
        assert_eq!(key(&Request::default()).unwrap(), None);
        for good in ["1", "\"7c4a8d09-5b1e\"", "!~", &"k".repeat(128)] {
            assert_eq!(key(&with(good)).unwrap(), Some(good));
        }
        let mut foreign = with("k");
        foreign.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes("é".as_bytes()).unwrap());
        for bad in [with(""), with("a b"), with("a\tb"), with(&"k".repeat(129)), foreign] {
            let refused = key(&bad).unwrap_err();
            assert_eq!((refused.status().as_u16(), &*refused.field().unwrap().field), (400, "Idempotency-Key"));
        }
    }

    #[test]
    fn the_method_and_the_path_are_the_route_and_the_query_is_not() {
        let request = with("k");
        assert_eq!(named(&request, "p:7", "k"), Repeatable::new("p:7", "POST /api/rooms", "k", b"{}"));
        let mut put = with("k");
        *put.method_mut() = "PUT".parse().unwrap();
        assert_ne!(named(&put, "p:7", "k"), named(&request, "p:7", "k"));
    }
}
