//! The refusals and failures that a client receives (RFC 9457). Each refusal is a constant beside its subject; one
//! `match` turns its kind into a status.

use crate::Response;
use crate::function::SchemaOf;
use domain::user::{MuteScope, User, Version};
use domain::{Challenge, DeviceId, Label, Timestamp};
use lambda_http::Body;
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use std::borrow::Cow;
use store::{Kind, NextAttestation, Refusal, Shown, StoreError};
use telemetry::Chain;

/// 400: a part of the request is malformed; `errors` names it.
const VALIDATION_FAILED: Refusal =
    Refusal::new(Kind::Invalid, "validation_failed", "a part of the request is malformed");
/// 500: the service failed.
const INTERNAL_ERROR: Refusal = Refusal::new(Kind::Internal, "internal_error", "report the requestId if this persists");
/// 503: the service is busy, or cannot reach its table.
const UNAVAILABLE: Refusal =
    Refusal::new(Kind::Unavailable, "unavailable", "the service is busy; try again").retry_after(1);

/// The status of each kind of refusal.
const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::Changed => StatusCode::PRECONDITION_FAILED,
        Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
        Kind::Late => StatusCode::REQUEST_TIMEOUT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Format => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Kind::Reused => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unwritten => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// One malformed part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Field {
    /// The malformed part: a body field, path or query parameter, header, or `body` or `query` as a whole.
    pub field: Cow<'static, str>,
    /// The rule it broke.
    pub rule: Cow<'static, str>,
}

/// A refusal or a failure, with everything that the answer says about it.
#[derive(Debug)]
pub struct ApiError(Box<Answer>);

#[derive(Debug)]
struct Answer {
    refusal: Refusal,
    /// Replaces the refusal's own detail.
    detail: Option<String>,
    /// Its code in the log and in the counts, if they distinguish it from others with the same code.
    logged_as: Option<&'static str>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
    members: Members,
    /// The failure, for the log alone.
    cause: Option<StoreError>,
}

/// The members of an answer that only some refusals have.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Members {
    /// With `validation_failed`: the malformed part.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "[Field; 1]")]
    errors: Option<[Field; 1]>,
    /// With `version_conflict`: the stored version, if there is a state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Version", range(min = 1))]
    current_version: Option<Version>,
    /// With a 409 to an attestation: the `seq` of the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64", range(min = 1))]
    expected_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Challenge")]
    challenge: Option<Challenge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClaimView")]
    claim: Option<ClaimView>,
    /// The server's time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    at_ms: Option<u64>,
    /// The events that a message of a WebSocket may name. No answer over HTTP has this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    events: Option<&'static [&'static str]>,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Answer {
            refusal,
            detail: None,
            logged_as: None,
            headers: Vec::new(),
            members: Members::default(),
            cause: None,
        }))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let (refusal, shown) = match error {
            StoreError::Refused(refusal, shown) => (refusal, shown),
            StoreError::Unavailable(_) => return Self::failed(UNAVAILABLE, error),
            StoreError::Corrupt { .. } | StoreError::Internal(_) => return Self::failed(INTERNAL_ERROR, error),
        };
        let mut told = Self::from(refusal);
        let Answer { detail, members, .. } = &mut *told.0;
        match shown {
            Shown::Nothing => {}
            Shown::Field(field, rule) => {
                *detail = Some(format!("{field} {rule}"));
                members.errors = Some([Field { field: field.into(), rule: rule.into() }]);
            }
            Shown::Version(current) => members.current_version = current,
            Shown::NextAttestation(next) => {
                let NextAttestation { expected, challenge, user } = *next;
                (members.expected_seq, members.challenge) = (Some(expected), Some(challenge));
                members.claim = Some(user.into());
            }
        }
        told
    }
}

impl ApiError {
    /// Refuses a malformed part of the request, with the rule that it broke.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        let field = Field { field: field.into(), rule: rule.into() };
        let mut told = Self::from(VALIDATION_FAILED).with_detail(format!("{} {}", field.field, field.rule));
        told.0.members.errors = Some([field]);
        told
    }

    /// The handler panicked. The panic hook has logged the place.
    #[must_use]
    pub fn panicked() -> Self {
        INTERNAL_ERROR.into()
    }

    /// A failure of the service. The client learns no internals; the log gets the whole cause.
    fn failed(refusal: Refusal, cause: StoreError) -> Self {
        let mut told = Self::from(refusal);
        told.0.cause = Some(cause);
        told
    }

    /// Sets a detail that depends on the request.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the server's time, for a client whose clock may be wrong.
    pub(crate) fn at(mut self, at: Timestamp) -> Self {
        self.0.members.at_ms = Some(at.ms());
        self
    }

    /// Adds the events that a WebSocket client may send instead.
    pub(crate) fn with_events(mut self, events: &'static [&'static str]) -> Self {
        self.0.members.events = Some(events);
        self
    }

    /// Adds a header that the status requires or the client needs.
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Gives it a code of its own in the log and in the counts. The client cannot distinguish it from others with the
    /// same code.
    pub(crate) fn logged_as(mut self, code: &'static str) -> Self {
        self.0.logged_as = Some(code);
        self
    }

    /// The malformed part of the request.
    #[cfg(test)]
    pub(crate) fn field(&self) -> Option<&Field> {
        self.0.members.errors.as_ref().map(|[field]| field)
    }

    /// The refusal.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.0.refusal
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status(self.0.refusal.kind)
    }

    /// The text about the fault and its remedy, for people.
    fn detail(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(self.0.refusal.detail)
    }

    /// Logs the cause of a failure.
    fn log(&self, request_id: &str) {
        if let Answer { refusal, cause: Some(cause), .. } = &*self.0 {
            tracing::error!(requestId = request_id, error = %Chain(cause), code = refusal.code, "state store failed");
        }
    }

    /// The data of an `error` frame, for a client of a WebSocket. The cause of a failure goes to the log.
    pub(crate) fn data<'a>(&'a self, request_id: &'a str) -> impl Serialize + 'a {
        self.log(request_id);
        ErrorData { code: self.0.refusal.code, detail: self.detail(), members: &self.0.members, request_id }
    }

    /// The answer for an HTTP client, without internals. The cause of a failure goes to the log.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response {
        self.log(request_id);
        let Answer { refusal, logged_as, headers: own, members, .. } = &*self.0;
        let status = self.status();
        let problem = Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: refusal.code,
            detail: self.detail(),
            members,
            request_id,
        };
        let mut response = Response::new(Body::Text(serde_json::to_string(&problem).unwrap_or_default()));
        *response.status_mut() = status;
        response.extensions_mut().insert(Code(logged_as.unwrap_or(refusal.code)));
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = refusal.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if refusal.kind == Kind::Unauthenticated {
            let scheme = match refusal.code {
                "signature_invalid" | "code_invalid" => "Greenroom-Signature",
                "token_invalid" => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        for (name, value) in own {
            headers.insert(name, value.clone());
        }
        response
    }
}

/// The code of a refusal, kept beside its answer for the log and the counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code(pub(crate) &'static str);

/// Every code that a client can get over HTTP, those of the runner included.
const CODES: &[&str] = &[
    "validation_failed",
    "authentication_required",
    "route_not_found",
    "user_not_found",
    "method_not_allowed",
    "request_timeout",
    "version_conflict",
    "body_too_large",
    "media_type_not_supported",
    "internal_error",
    "unavailable",
    "agent_not_found",
    "agent_revoked",
    "signature_invalid",
    "clock_skew",
    "code_invalid",
    "sequence_conflict",
    "key_bound",
    "protocol_unsupported",
    "agent_idle",
    "window_not_newer",
    "chat_off",
    "forbidden",
    "join_first",
    "last_presenter",
    "leave_instead",
    "mute_request_not_found",
    "no_seat",
    "no_signing_key",
    "not_admitted",
    "not_seated",
    "not_the_author",
    "participant_not_found",
    "password_required",
    "password_wrong",
    "presenter_only",
    "question_not_found",
    "questions_off",
    "room_ended",
    "room_fixed",
    "room_full",
    "room_not_found",
    "token_invalid",
    "too_many_questions",
    "unmute_not_allowed",
    "misdirected_request",
    "origin_forbidden",
    "rate_limited",
    "idempotency_key_reused",
];

/// The schema of every refusal.
pub const PROBLEM: SchemaOf = SchemaGenerator::subschema_for::<Problem<'_>>;

/// A refusal or a failure (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// A stable code, for programs.
    #[schemars(extend("enum" = CODES))]
    code: &'static str,
    /// A text for people; it may change.
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Members,
    /// The same as the header `X-Request-Id`.
    #[schemars(length(min = 1))]
    request_id: &'a str,
}

/// The data of an `error` frame: a problem without the members that only HTTP has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData<'a> {
    code: &'static str,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Members,
    request_id: &'a str,
}

/// The person's claim, so that the agent can follow their device.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Claim")]
pub(crate) struct ClaimView {
    /// The claim: muted or open.
    is_muted: bool,
    mute_scope: MuteScope,
    /// The claim: the device in use.
    device_id: Option<DeviceId>,
    /// The claim: the label of the device.
    device_label: Option<Label>,
    /// Number of changes so far. Clients send it back as `If-Match`.
    #[schemars(range(min = 1))]
    version: Version,
}

impl From<User> for ClaimView {
    fn from(user: User) -> Self {
        Self {
            is_muted: user.is_muted,
            mute_scope: user.mute_scope,
            device_id: user.device_id,
            device_label: user.device_label,
            version: user.version,
        }
    }
}
