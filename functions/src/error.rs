//! What the client is told when a request is not answered as asked (RFC 9457). Each refusal is a constant beside its subject;
//! one `match` makes a status of its kind.

use crate::Response;
use crate::auth::AUTHENTICATION_REQUIRED;
use domain::user::{MuteScope, User, Version};
use domain::{Challenge, DeviceId, Label, Timestamp};
use lambda_http::Body;
use lambda_http::http::{HeaderMap, HeaderValue, StatusCode, header};
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
        Kind::Unwritten => StatusCode::NOT_IMPLEMENTED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// One malformed part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Where: a body field, a path parameter, a query parameter or a header.
    pub field: Cow<'static, str>,
    /// The rule it broke, completing "must …" where there is one.
    pub rule: Cow<'static, str>,
}

/// Why a request was not answered as asked, with all that the answer says about it.
#[derive(Debug)]
pub struct ApiError(Box<Answer>);

#[derive(Debug)]
struct Answer {
    refusal: Refusal,
    /// In place of the refusal's own detail.
    detail: Option<String>,
    /// What the log and the counts call it, if they tell it from others with the same code.
    logged_as: Option<&'static str>,
    header: Option<(header::HeaderName, HeaderValue)>,
    members: Members,
    /// What failed, for our log alone.
    cause: Option<StoreError>,
}

/// The members of an answer that only some refusals have.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<[Field; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<Challenge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// What a message of a WebSocket could have asked for instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'static [&'static str]>,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Answer {
            refusal,
            detail: None,
            logged_as: None,
            header: None,
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
    /// A malformed part of the request, and the rule it broke.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        let field = Field { field: field.into(), rule: rule.into() };
        let mut told = Self::from(VALIDATION_FAILED).with_detail(format!("{} {}", field.field, field.rule));
        told.0.members.errors = Some([field]);
        told
    }

    /// The handler panicked. The panic hook has logged where.
    #[must_use]
    pub fn panicked() -> Self {
        INTERNAL_ERROR.into()
    }

    /// A failure of ours: the client learns nothing of our insides, the log all of it.
    fn failed(refusal: Refusal, cause: StoreError) -> Self {
        let mut told = Self::from(refusal);
        told.0.cause = Some(cause);
        told
    }

    /// With a detail that depends on the request.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// With the server's time, for a client whose clock may be wrong.
    pub(crate) fn at(mut self, at: Timestamp) -> Self {
        self.0.members.at_ms = Some(at.ms());
        self
    }

    /// With the events that a WebSocket client could have sent instead.
    pub(crate) fn with_events(mut self, events: &'static [&'static str]) -> Self {
        self.0.members.events = Some(events);
        self
    }

    /// With a header that the status asks for, or the client needs.
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Under a name of its own in the log and the counts. The client cannot tell it from others with the same code.
    pub(crate) fn logged_as(mut self, code: &'static str) -> Self {
        self.0.logged_as = Some(code);
        self
    }

    /// The malformed part of the request.
    #[cfg(test)]
    pub(crate) fn field(&self) -> Option<&Field> {
        self.0.members.errors.as_ref().map(|[field]| field)
    }

    /// Why it was refused.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.0.refusal
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        status(self.0.refusal.kind)
    }

    /// What is wrong, and what to do.
    fn detail(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(self.0.refusal.detail)
    }

    /// Logs what failed.
    fn log(&self, request_id: &str) {
        if let Answer { refusal, cause: Some(cause), .. } = &*self.0 {
            tracing::error!(requestId = request_id, error = %Chain(cause), code = refusal.code, "state store failed");
        }
    }

    /// The same for a client of a WebSocket: the data of an `error` frame. What we need to know goes to the log.
    pub(crate) fn data<'a>(&'a self, request_id: &'a str) -> impl Serialize + 'a {
        self.log(request_id);
        ErrorData { code: self.0.refusal.code, detail: self.detail(), members: &self.0.members, request_id }
    }

    /// The answer for the client, who learns nothing of our insides; what we need to know goes to the log.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response {
        self.log(request_id);
        let Answer { refusal, logged_as, header, members, .. } = &*self.0;
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
            let scheme = if *refusal == AUTHENTICATION_REQUIRED { "Bearer" } else { "Greenroom-Signature" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some((name, value)) = header {
            headers.insert(name, value.clone());
        }
        response
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
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Members,
    request_id: &'a str,
}

/// What an `error` frame says: a problem without what only HTTP has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData<'a> {
    code: &'static str,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Members,
    request_id: &'a str,
}

/// What a person claims, for their agent, which follows their device.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimView {
    is_muted: bool,
    mute_scope: MuteScope,
    device_id: Option<DeviceId>,
    device_label: Option<Label>,
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
