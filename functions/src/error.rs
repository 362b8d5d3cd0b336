//! What goes wrong, and what the client is told: one `match`, no wildcard arm (RFC 9457).

use crate::Response;
use domain::{Challenge, SKEW_MAX, Timestamp};
use lambda_http::Body;
use lambda_http::http::{StatusCode, header};
use serde::Serialize;
use state::{Chain, StateError};
use std::borrow::Cow;

/// Largest request body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// One malformed part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Where: a body field, a path parameter, a query parameter or a header.
    pub field: Cow<'static, str>,
    /// The rule it broke, completing "must …" where there is one.
    pub rule: Cow<'static, str>,
}

/// Why a request was not answered as asked.
#[derive(Debug)]
pub enum ApiError {
    /// 400: a part of the request is malformed.
    Invalid(Field),
    /// 401: the call needs a token.
    Unauthenticated,
    /// 401: the signature is not that of the agent over this body.
    Signature,
    /// 401: the agent's clock or the server's is wrong.
    ClockSkew {
        /// The server's time.
        at: Timestamp,
    },
    /// 409: the attestation is not the one that comes next.
    Sequence {
        /// The number of the next one.
        expected: u64,
        /// What it must repeat.
        challenge: Challenge,
        /// The server's time.
        at: Timestamp,
    },
    /// 404: there is no such path.
    NoRoute,
    /// 405: the path exists, the method does not.
    Method {
        /// Methods of the path, separated by commas.
        allow: String,
    },
    /// 408: the request did not arrive in time.
    RequestTimeout,
    /// 413: the body is over 64 KiB.
    TooLarge,
    /// 415: the body is not JSON.
    MediaType,
    /// The store did not do it: 401, 404, 409, 410, 412, 500 or 503 by cause.
    State(StateError),
    /// 500: the handler panicked.
    Panic,
}

impl ApiError {
    /// A malformed field and the rule it broke.
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(Field { field: field.into(), rule: rule.into() })
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Cursor => Self::invalid("cursor", "must be a nextCursor that this list returned"),
            other => Self::State(other),
        }
    }
}

/// The code of a refusal, kept beside its answer for the log and the counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code(pub(crate) &'static str);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[&'a Field; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<Challenge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    request_id: &'a str,
}

/// Seconds after which a client may ask again.
const RETRY_AFTER: &str = "1";

impl ApiError {
    /// The answer for the client, who learns nothing of our insides; what we need to know goes to the log.
    #[expect(clippy::too_many_lines, reason = "one table: what each failure is for the client")]
    pub(crate) fn response(&self, request_id: &str) -> Response {
        let mut errors = None;
        let mut current_version = None;
        let (mut expected_seq, mut next_challenge, mut server_time) = (None, None, None);
        let (status, code, detail): (_, _, Cow<'static, str>) = match self {
            Self::Invalid(field) => {
                errors = Some([field]);
                (StatusCode::BAD_REQUEST, "validation_failed", format!("{} {}", field.field, field.rule).into())
            }
            Self::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, "authentication_required", "this call needs a bearer token".into())
            }
            Self::Signature => (
                StatusCode::UNAUTHORIZED,
                "signature_invalid",
                "no agent with this id has signed this body; pair anew if it should have".into(),
            ),
            Self::ClockSkew { at } => {
                server_time = Some(*at);
                (
                    StatusCode::UNAUTHORIZED,
                    "clock_skew",
                    format!("toMs must be at most {} s from the server's time", SKEW_MAX.as_secs()).into(),
                )
            }
            Self::Sequence { expected, challenge, at } => {
                (expected_seq, next_challenge, server_time) = (Some(*expected), Some(*challenge), Some(*at));
                (
                    StatusCode::CONFLICT,
                    "sequence_conflict",
                    "this is not the next attestation; measure again with expectedSeq and challenge".into(),
                )
            }
            Self::NoRoute => (StatusCode::NOT_FOUND, "route_not_found", "there is nothing at this path".into()),
            Self::Method { allow } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("this path answers {allow}").into())
            }
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request did not arrive in time".into())
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body must be at most {BODY_BYTES_MAX} bytes").into(),
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type_not_supported",
                "send the body as Content-Type: application/json".into(),
            ),
            Self::State(StateError::UserNotFound) => {
                (StatusCode::NOT_FOUND, "user_not_found", "there is no state for this user".into())
            }
            Self::State(StateError::AgentNotFound) => {
                (StatusCode::NOT_FOUND, "agent_not_found", "there is no such agent".into())
            }
            Self::State(StateError::AgentRevoked) => (
                StatusCode::GONE,
                "agent_revoked",
                "this agent was revoked, or another one took its place; pair anew".into(),
            ),
            Self::State(StateError::PairingCode) => (
                StatusCode::UNAUTHORIZED,
                "code_invalid",
                "this code is wrong, used, expired or another person's; ask for a new one".into(),
            ),
            Self::State(StateError::KeyBound) => {
                (StatusCode::CONFLICT, "key_bound", "this key belongs to an agent already; make a new one".into())
            }
            Self::State(StateError::VersionConflict { current }) => {
                current_version = *current;
                (
                    StatusCode::PRECONDITION_FAILED,
                    "version_conflict",
                    "the state is not at the version in If-Match; read it and try again".into(),
                )
            }
            Self::State(error @ StateError::Unavailable(_)) => {
                tracing::error!(requestId = request_id, error = %Chain(error), "state store unavailable");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the service is busy; try again".into())
            }
            Self::State(
                error @ (StateError::Corrupt { .. }
                | StateError::Internal(_)
                | StateError::Cursor
                | StateError::Sequence { .. }),
            ) => {
                tracing::error!(requestId = request_id, error = %Chain(error), "state store failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "report the requestId if this persists".into())
            }
            // The panic hook has logged where.
            Self::Panic => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "report the requestId if this persists".into())
            }
        };
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = Problem {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            code,
            detail,
            errors,
            current_version,
            expected_seq,
            challenge: next_challenge,
            at: server_time,
            request_id,
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(Code(code));
        let headers = response.headers_mut();
        let value = header::HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, value("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, value("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, value(RETRY_AFTER));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = if matches!(self, Self::Unauthenticated) { "Bearer" } else { "Greenroom-Signature" };
            headers.insert(header::WWW_AUTHENTICATE, value(scheme));
        }
        if let Self::Method { allow } = self
            && let Ok(allow) = allow.parse()
        {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}
