//! The work around every handler: request id, errors, `ETag`, headers, log line, metrics.

use crate::auth::SeenCaller;
use crate::error::Code;
use crate::event::GatewayId;
use crate::http::{Public, RequestId, X_REQUEST_ID};
use crate::log::Seconds;
use crate::{ApiError, Context, Handler, Request, RequestLine, Response};
use aws::deadline;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::CorsOrigins;
use domain::{Actor, RoomId, Slug, UserId};
use futures_util::FutureExt as _;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lambda_http::{Body, RequestExt as _};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use store::StoreError;
use telemetry::metrics::Sample;
use tokio::time::Instant;

/// The longest method in a line of the log, in bytes. The longest that IANA lists has 17; a client may send any word.
const LOGGED_METHOD_BYTES_MAX: usize = 20;
/// The longest path in a line of the log, in bytes. The paths of the API have at most 200.
const LOGGED_PATH_BYTES_MAX: usize = 512;
/// Letters and digits in a row that may be what is left of a slug's end.
const SLUG_REST_DIGITS: usize = 8;
/// An answer that takes longer counts as slow.
const SLOW: Duration = Duration::from_secs(1);
/// Time for one request, including all calls that it makes: one second less than the limit of a function on Lambda, so
/// that a refusal still reaches the client. The runner uses the same time.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(9);
/// Bytes of the SHA-256 that make an `ETag`: 128 bits, far beyond chance collisions.
const ETAG_BYTES: usize = 16;

/// Runs a handler and completes its answer. It never fails: a panic becomes a 500 with a request id, and a handler that
/// takes too long is stopped and answered with 503.
pub async fn answer(route: &str, handler: Handler, context: &Context, request: Request) -> Response {
    let seen = Seen::of(&request);
    let mut request = request;
    request.extensions_mut().insert(RequestId(seen.request_id.clone()));
    request.extensions_mut().insert(seen.caller.clone());
    let work = AssertUnwindSafe(async { handler(context.clone(), request).await }).catch_unwind();
    let reply = match deadline::until(Instant::now() + REQUEST_TIME, work).await {
        Some(reply) => reply.unwrap_or_else(|_| Err(ApiError::panicked())),
        None => Err(StoreError::Unavailable("the time for the request is over".into()).into()),
    };
    seen.finish(route, context, reply)
}

/// Answers a request that never reached a handler.
#[must_use]
pub fn refuse(route: &str, context: &Context, request: &Request, error: ApiError) -> Response {
    Seen::of(request).finish(route, context, Err(error))
}

/// The parts of a request that are needed after the handler has consumed it.
struct Seen {
    started: Instant,
    request_id: String,
    method: Method,
    path: String,
    user_id: Option<UserId>,
    caller: SeenCaller,
    if_none_match: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let user_id = request
            .path_parameters_ref()
            .and_then(|parameters| parameters.first("userId").filter(|id| is_loggable(id))?.parse().ok());
        Self {
            started: Instant::now(),
            request_id: request_id(request),
            method: request.method().clone(),
            path: shortened(&logged_path(request), LOGGED_PATH_BYTES_MAX).to_owned(),
            user_id,
            caller: SeenCaller::default(),
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            origin: headers.get(header::ORIGIN).cloned(),
        }
    }

    fn finish(self, route: &str, context: &Context, reply: crate::Reply) -> Response {
        let mut response = match reply {
            Ok(response) => response,
            Err(error) => error.response(&self.request_id),
        };
        let reads = self.method == Method::GET || self.method == Method::HEAD;
        if reads && response.status() == StatusCode::OK {
            self.tag(&mut response);
        }
        if self.method == Method::HEAD {
            *response.body_mut() = Body::Empty;
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        secure(headers);
        allow_origin(headers, &context.config.cors_origins, self.origin.as_ref());
        let code = response.extensions_mut().remove::<Code>().map(|Code(code)| code);
        let answered = Answered {
            started: self.started,
            request_id: &self.request_id,
            method: shortened(self.method.as_str(), LOGGED_METHOD_BYTES_MAX),
            path: &self.path,
            route,
            status: response.status().as_u16(),
            code,
            user_id: self.user_id.as_ref(),
            caller: self.caller.get(),
        };
        answered.report(context);
        response
    }

    /// Adds an `ETag` made from the body, and leaves the body out if the client has it.
    fn tag(&self, response: &mut Response) {
        let is_public = response.extensions_mut().remove::<Public>().is_some();
        if response.headers().contains_key(header::CACHE_CONTROL) {
            return;
        }
        let digest = Sha256::digest(AsRef::<[u8]>::as_ref(response.body()));
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..ETAG_BYTES]));
        let known = self.if_none_match.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|list| {
            list.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag || known == "*")
        });
        if known {
            *response.body_mut() = Body::Empty;
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        // Browsers may keep the answer, but ask each time. No cache may give it to another caller.
        let kept = if is_public { "no-cache" } else { "private, no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        if !is_public {
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Authorization"));
        }
    }
}

/// An answered request or event, for the counts and for the log.
pub(crate) struct Answered<'a> {
    pub(crate) started: Instant,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) code: Option<&'static str>,
    pub(crate) user_id: Option<&'a UserId>,
    pub(crate) caller: Option<&'a Actor>,
}

impl Answered<'_> {
    /// Counts it and writes its log line.
    pub(crate) fn report(&self, context: &Context) {
        let Self { started, request_id, method, path, route, status, code, user_id, caller } = *self;
        let duration = started.elapsed();
        let (is_error, is_failure) = (status >= 400, status >= 500);
        context.window.record(&Sample { route, duration, is_error, is_failure, code });
        context.observer.answered(&RequestLine {
            code,
            timestamp: (context.clock)(),
            request_id,
            method,
            path,
            route,
            status_code: status,
            status_text: if is_error { "error" } else { "success" },
            duration: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            duration_seconds: Seconds(duration),
            user_id: user_id.map(UserId::as_str),
            caller,
            is_error,
            is_slow_request: duration > SLOW,
            is_critical_endpoint: ["POST ", "PATCH ", "PUT ", "DELETE "].iter().any(|method| route.starts_with(method)),
        });
    }
}

/// The path of a request for the log. A slug contains the title of a room, which somebody wrote, and is all that one needs
/// to find the room. It is hidden wherever it stands, because a path that leads nowhere is logged too.
fn logged_path(request: &Request) -> Cow<'_, str> {
    let path = request.uri().path();
    let before = std::iter::once("").chain(path.split('/'));
    let is_shown = |segment, before| is_loggable(segment) && (before != "rooms" || names_no_title(segment));
    if path.split('/').zip(before.clone()).all(|(segment, before)| is_shown(segment, before)) {
        return path.into();
    }
    let shown = |(segment, before)| if is_shown(segment, before) { segment } else { "{hidden}" };
    path.split('/').zip(before).map(shown).collect::<Vec<_>>().join("/").into()
}

/// Whether the part of a path that names a room holds no title, as far as can be seen. A link that was cut or has a letter
/// too many still holds the whole title, and behind it something like the digits of a slug.
fn names_no_title(room: &str) -> bool {
    let is_rest_of_slug =
        |piece: &str| piece.len() >= SLUG_REST_DIGITS && piece.bytes().any(|byte| byte.is_ascii_digit());
    room.parse().is_ok_and(|id: RoomId| id.is_created()) || !pieces(room).any(is_rest_of_slug)
}

fn pieces(segment: &str) -> impl Iterator<Item = &str> {
    segment.split(|c: char| !c.is_ascii_alphanumeric())
}

/// Whether part of a path can stand in the log: it consists of the characters of an id, so nothing in it is encoded, and
/// holds no slug.
fn is_loggable(segment: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
    segment.bytes().all(is_id) && !pieces(segment).any(|piece| piece.len() == Slug::DIGITS)
}

/// The beginning of a text: at most `bytes_max` bytes, cut between two characters.
fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The id of the request: the client's if it is harmless, otherwise API Gateway's, otherwise a new one.
fn request_id(request: &Request) -> String {
    let harmless =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if let Some(id) = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(harmless) {
        return id.to_owned();
    }
    let given = request.extensions().get::<GatewayId>().map(|GatewayId(id)| id);
    if let Some(id) = given.filter(|id| is_presentable(id)) {
        return id.clone();
    }
    new_request_id()
}

/// Whether an id of API Gateway's can go into a header and into the log.
pub(crate) fn is_presentable(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An id for a request that has none.
#[must_use]
pub fn new_request_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Headers against sniffing, framing and leaking, on every answer. The page sets its own content policy.
fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
}

fn allow_origin(headers: &mut HeaderMap, origins: &CorsOrigins, origin: Option<&HeaderValue>) {
    if *origins != CorsOrigins::Any {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    let Some(allowed) = allowed_origin(origins, origin) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Allow, ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"),
    );
}

/// The value of `Access-Control-Allow-Origin` for a page of this origin; none if the page may not read the answer.
pub(crate) fn allowed_origin(origins: &CorsOrigins, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    match origins {
        CorsOrigins::Any => Some(HeaderValue::from_static("*")),
        CorsOrigins::Listed(listed) => {
            origin.filter(|origin| listed.iter().any(|known| known.as_bytes() == origin.as_bytes())).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_slug_is_not_logged() {
        for known in [
            "",
            "api",
            "mute-all",
            "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE",
            "550e8400-e29b-41d4-a716-446655440000",
            "ada@x.org",
        ] {
            assert!(is_loggable(known), "{known}");
        }
        let slugs = ["zanzibar-4f7k2m9q3x8tn", "4f7k2m9q3x8tn", "Zanzibar-4F7K2M9Q3X8TN", "x@zanzibar-4f7k2m9q3x8tn:y"];
        let encoded = ["zanzibar%2D4f7k2m9q3x8tn", "%257Azanzibar", "zanzibar-4f7k2m9q3x8t%6E", "zanzibar,"];
        for slug in slugs.into_iter().chain(encoded) {
            assert!(!is_loggable(slug), "{slug}");
        }
    }

    #[test]
    fn a_long_path_is_cut_between_two_characters() {
        let shortened = |path: &str| shortened(path, LOGGED_PATH_BYTES_MAX).to_owned();
        assert_eq!(shortened("/api/users/ada"), "/api/users/ada");
        assert_eq!(shortened(&"/".repeat(10_000)).len(), LOGGED_PATH_BYTES_MAX);
        for before in 0..4 {
            let path = "/".repeat(before) + &"€".repeat(300);
            let kept = shortened(&path);
            assert!(path.starts_with(&kept) && kept.len() > LOGGED_PATH_BYTES_MAX - 3, "{}", kept.len());
        }
    }
}
