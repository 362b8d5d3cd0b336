//! What happens around every handler: request id, errors, `ETag`, headers, log line, metrics.

use crate::error::Code;
use crate::log::Seconds;
use crate::{ApiError, Entry, Request, RequestLine, Response, State};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::UserId;
use futures_util::FutureExt as _;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt as _};
use sha2::{Digest as _, Sha256};
use state::config::CorsOrigins;
use state::metrics::Sample;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

const X_REQUEST_ID: &str = "x-request-id";
const SLOW: Duration = Duration::from_secs(1);
/// Bytes of the SHA-256 that make an `ETag`: 128 bits, far beyond chance collisions.
const ETAG_BYTES: usize = 16;

/// Runs a handler and makes its outcome presentable. Never fails: a panic is a 500 with a request id.
pub async fn answer(route: &str, entry: Entry, state: &State, request: Request) -> Response {
    let seen = Seen::of(&request);
    let work = AssertUnwindSafe(async { entry(state.clone(), request).await }).catch_unwind();
    let reply = work.await.unwrap_or(Err(ApiError::Panic));
    seen.finish(route, state, reply)
}

/// Answers a request that never reached a handler.
#[must_use]
pub fn refuse(route: &str, state: &State, request: &Request, error: ApiError) -> Response {
    Seen::of(request).finish(route, state, Err(error))
}

/// What must be remembered of a request once the handler has taken it.
struct Seen {
    started: Instant,
    request_id: String,
    method: Method,
    path: String,
    user_id: Option<UserId>,
    if_none_match: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let user_id = request.path_parameters_ref().and_then(|parameters| parameters.first("userId")?.parse().ok());
        Self {
            started: Instant::now(),
            request_id: request_id(request),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            user_id,
            if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
            origin: headers.get(header::ORIGIN).cloned(),
        }
    }

    fn finish(self, route: &str, state: &State, reply: crate::Reply) -> Response {
        let mut response = match reply {
            Ok(response) => response,
            Err(error) => error.response(&self.request_id),
        };
        if self.method == Method::GET && response.status() == StatusCode::OK {
            self.tag(&mut response);
        }
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        secure(headers);
        allow_origin(headers, &state.config.cors_origins, self.origin.as_ref());
        let code = response.extensions_mut().remove::<Code>().map(|Code(code)| code);
        self.report(route, state, response.status(), code);
        response
    }

    /// Adds an `ETag` made from the body, and leaves the body out if the client has it.
    fn tag(&self, response: &mut Response) {
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
        // Browsers may keep the answer, but ask each time.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }

    fn report(&self, route: &str, state: &State, status: StatusCode, code: Option<&'static str>) {
        let duration = self.started.elapsed();
        let is_error = status.as_u16() >= 400;
        state.window.record(&Sample { route, duration, is_error, code, user: self.user_id.as_ref() });
        state.observer.answered(&RequestLine {
            code,
            timestamp: (state.clock)(),
            request_id: &self.request_id,
            method: self.method.as_str(),
            path: &self.path,
            route,
            status_code: status.as_u16(),
            status_text: if is_error { "error" } else { "success" },
            duration: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            duration_seconds: Seconds(duration),
            user_id: self.user_id.as_ref().map(UserId::as_str),
            is_error,
            is_slow_request: duration > SLOW,
            is_critical_endpoint: route.starts_with("POST ")
                || route.starts_with("PATCH ")
                || route.starts_with("PUT ")
                || route.starts_with("DELETE "),
        });
    }
}

/// The client's id for the request if it is a harmless one, else API Gateway's, else a new one.
fn request_id(request: &Request) -> String {
    let harmless =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if let Some(id) = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(harmless) {
        return id.to_owned();
    }
    if let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref()
        && let Some(id) = &context.request_id
    {
        return id.clone();
    }
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
    match origins {
        CorsOrigins::Any => {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        CorsOrigins::Listed(listed) => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            let Some(origin) = origin.filter(|origin| listed.iter().any(|known| known.as_bytes() == origin.as_bytes()))
            else {
                return;
            };
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Allow, ETag, Retry-After, X-Request-Id"),
    );
}
