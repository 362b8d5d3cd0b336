//! Functions that read requests and write answers, so that a handler only parses, asks for permission, acts and
//! answers.

use crate::auth::Caller;
use crate::examples::no_agent;
use crate::{ApiError, Context, Reply, Request, Response};
use domain::ledger::SEQ_MAX;
use domain::user::{Seq, User, Version};
use domain::{MessageId, RoomId, Slug, Timestamp, UserId};
use lambda_http::http::{HeaderMap, StatusCode, header};
use lambda_http::{Body, RequestExt as _};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use store::dynamodb::{Cause, ROOM_NOT_FOUND, Written};
use store::{Kind, Refusal, StoreError};

/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(BODY_BYTES_MAX == 65_536, "BODY_TOO_LARGE says so");
/// 413: the body is larger than that.
pub const BODY_TOO_LARGE: Refusal =
    Refusal::new(Kind::TooLarge, "body_too_large", "the body must be at most 65536 bytes");
/// 415: the body is not declared as JSON.
const MEDIA_TYPE_NOT_SUPPORTED: Refusal =
    Refusal::new(Kind::Format, "media_type_not_supported", "send the body as Content-Type: application/json");

/// The path parameter `name`.
///
/// # Errors
/// 400 if it is not a `T`.
pub(crate) fn path<T: FromStr<Err: Display>>(request: &Request, name: &'static str) -> Result<T, ApiError> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default();
    text.parse().map_err(|rule: T::Err| ApiError::invalid(name, rule.to_string()))
}

/// The path parameter `userId`, which must be an id that a client may use.
///
/// # Errors
/// 400 if it is malformed or reserved.
pub(crate) fn user_id(request: &Request) -> Result<UserId, ApiError> {
    let id: UserId = path(request, "userId")?;
    open_user("userId", id)
}

/// The path parameter `room`, which must be an id that a client may use.
///
/// # Errors
/// 400 if it is malformed or reserved.
pub(crate) fn room_id(request: &Request) -> Result<RoomId, ApiError> {
    open_room("room", path(request, "room")?)
}

/// The room that the path parameter `room` names by its id or its slug. Only a slug costs a read.
///
/// # Errors
/// 400 if it is malformed or reserved; 404 if it looks like a slug and is none.
pub(crate) async fn room(context: &Context, request: &Request) -> Result<RoomId, ApiError> {
    let Ok(slug) = path::<Slug>(request, "room") else { return room_id(request) };
    match context.rooms.find(&slug, (context.clock)()).await {
        // In open mode a room may have any id, also one that looks like a slug.
        Err(error) if error.is(ROOM_NOT_FOUND) => room_id(request).map_err(|_| ROOM_NOT_FOUND.into()),
        outcome => Ok(outcome?),
    }
}

/// A user that a body names.
///
/// # Errors
/// 400 if it is reserved.
pub(crate) fn open_user(field: &'static str, id: UserId) -> Result<UserId, ApiError> {
    id.is_open().map_err(|rule| ApiError::invalid(field, rule.to_string()))?;
    Ok(id)
}

/// A room that a body names.
///
/// # Errors
/// 400 if it is reserved.
pub(crate) fn open_room(field: &'static str, id: RoomId) -> Result<RoomId, ApiError> {
    id.is_open().map_err(|rule| ApiError::invalid(field, rule.to_string()))?;
    Ok(id)
}

/// The header with the id of a request.
pub(crate) const X_REQUEST_ID: &str = "x-request-id";

/// The id of the request that is being answered.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The cause of a change: now, this request, this caller.
pub(crate) fn cause(context: &Context, request: &Request, caller: &Caller) -> Cause {
    let request_id = request.extensions().get::<RequestId>().map(|RequestId(id)| id.clone());
    // A client may have put a name into its own request id, and the history keeps request ids forever.
    let by_client =
        |id: &String| request.headers().get(X_REQUEST_ID).is_some_and(|given| given.as_bytes() == id.as_bytes());
    let request_id = request_id.filter(|id| !by_client(id) || is_random(id));
    Cause { at: (context.clock)(), request_id, by: caller.actor(), epoch: caller.epoch() }
}

/// The cause of a change that a person makes who has no token yet: now, and this request.
pub(crate) fn caused(context: &Context, request: &Request) -> Cause {
    cause(context, request, &Caller::Anybody)
}

/// Whether an id looks like a random number, such as a UUID, so that it cannot spell a name.
fn is_random(id: &str) -> bool {
    const CHARS_MIN: usize = 16;
    id.len() >= CHARS_MIN && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Checks that a client's counter is not too far ahead: no later change could exceed such a counter.
///
/// # Errors
/// 400 if it is more than a day ahead of the clock, in milliseconds.
pub(crate) fn near(seq: Option<Seq>, now: Timestamp) -> Result<Option<Seq>, ApiError> {
    if seq.is_some_and(|seq| seq.get() > now.plus(SEQ_AHEAD_MAX).ms()) {
        return Err(ApiError::invalid("seq", "must be at most a day ahead of the time in milliseconds since 1970"));
    }
    Ok(seq)
}

/// Refuses a content type other than JSON on a route that takes no body. A form of a web page has such a type.
///
/// # Errors
/// 415 if the request declares such a type.
pub(crate) fn no_form(request: &Request) -> Result<(), ApiError> {
    if request.headers().contains_key(header::CONTENT_TYPE) && !is_json(request) {
        return Err(MEDIA_TYPE_NOT_SUPPORTED.into());
    }
    Ok(())
}

fn is_json(request: &Request) -> bool {
    let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    declared.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// How far a client's counter may be ahead of the clock. Clocks are wrong by hours, time zones included, but not by a
/// day.
const SEQ_AHEAD_MAX: Duration = Duration::from_hours(24);

/// The JSON body.
///
/// # Errors
/// 415 if it is not declared as JSON, 413 if it is too large, 400 with the name of the malformed field.
pub(crate) fn json<T: DeserializeOwned>(request: &Request) -> Result<T, ApiError> {
    // Any web page can send a form or text/plain without a preflight.
    if !is_json(request) {
        return Err(MEDIA_TYPE_NOT_SUPPORTED.into());
    }
    let body: &[u8] = request.body().as_ref();
    if body.len() > BODY_BYTES_MAX {
        return Err(BODY_TOO_LARGE.into());
    }
    // serde would also accept a list, and assign its items to the fields by position.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(ApiError::invalid("body", "must be a JSON object"));
    }
    let mut text = serde_json::Deserializer::from_slice(body);
    let refused = match serde_path_to_error::deserialize(&mut text) {
        Ok(value) => match text.end() {
            Ok(()) => return Ok(value),
            Err(error) => (None, error),
        },
        Err(error) => (place(error.path()), error.into_inner()),
    };
    // The text of serde_json quotes only the client's own input, at any length, and names of fields.
    let (place, error) = (refused.0, refused.1.to_string());
    let field = quoted(&error).or(place).unwrap_or_else(|| "body".to_owned());
    Err(ApiError::invalid(field, error.chars().take(RULE_CHARS_MAX).collect::<String>()))
}

/// The JSON body, or the default if there is none.
///
/// # Errors
/// As [`json`].
pub(crate) fn json_if_any<T: DeserializeOwned + Default>(request: &Request) -> Result<T, ApiError> {
    if !request.body().as_ref().is_empty() {
        return json(request);
    }
    no_form(request)?;
    Ok(T::default())
}

/// Longest rule in an answer, in characters.
const RULE_CHARS_MAX: usize = 200;

/// The field that serde names in its message, as in "unknown field `x`".
fn quoted(message: &str) -> Option<String> {
    let named = ["unknown field `", "missing field `", "duplicate field `"];
    let rest = named.iter().find_map(|prefix| message.strip_prefix(prefix))?;
    rest.split('`').next().and_then(presentable)
}

/// The field whose value is wrong.
fn place(path: &serde_path_to_error::Path) -> Option<String> {
    match path.iter().next()? {
        serde_path_to_error::Segment::Map { key } => presentable(key),
        _ => None,
    }
}

/// The name of a field, if it is short and alphanumeric.
fn presentable(field: &str) -> Option<String> {
    (field.len() <= 64 && field.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| field.to_owned())
}

/// Refuses every parameter of the query, for an endpoint that takes none.
///
/// # Errors
/// 400 that names `query`.
pub(crate) fn no_query(request: &Request) -> Result<(), ApiError> {
    match form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).next() {
        None => Ok(()),
        Some(_) => Err(ApiError::invalid("query", "must be empty, because this endpoint takes no parameters")),
    }
}

/// The query, each parameter at most once.
///
/// # Errors
/// 400 that names `limit` if its value is malformed, and `query` if a parameter is unknown or repeated.
pub(crate) fn page_query(request: &Request) -> Result<PageQuery, ApiError> {
    let mut page = PageQuery { limit: None, cursor: None };
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let known = match &*name {
            "limit" => page.limit.replace(limit(&value)?).is_none(),
            "cursor" => page.cursor.replace(value.into_owned()).is_none(),
            _ => false,
        };
        if !known {
            return Err(ApiError::invalid("query", "must hold limit and cursor at most once, and nothing else"));
        }
    }
    Ok(page)
}

/// The part of a history in the query, each parameter at most once.
///
/// # Errors
/// 400 that names `since` or `limit` if its value is malformed, and `query` if a parameter is unknown or repeated.
pub(crate) fn replay_query(request: &Request) -> Result<ReplayQuery, ApiError> {
    let mut replay = ReplayQuery { since: None, limit: None };
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let known = match &*name {
            "since" => {
                let since = whole(&value).filter(|since| *since <= SEQ_MAX);
                let refuse = || ApiError::invalid("since", format!("must be a whole number up to {SEQ_MAX}"));
                replay.since.replace(since.ok_or_else(refuse)?).is_none()
            }
            "limit" => replay.limit.replace(limit(&value)?).is_none(),
            _ => false,
        };
        if !known {
            return Err(ApiError::invalid("query", "must hold since and limit at most once, and nothing else"));
        }
    }
    Ok(replay)
}

/// The part of a room's messages in the query, each parameter at most once.
///
/// # Errors
/// 400 that names `limit` or `before` if its value is malformed, and `query` if a parameter is unknown or repeated.
pub(crate) fn messages_query(request: &Request) -> Result<MessagesQuery, ApiError> {
    let mut messages = MessagesQuery { limit: None, before: None };
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let known = match &*name {
            "limit" => messages.limit.replace(limit(&value)?).is_none(),
            "before" => messages.before.replace(before(&value)?).is_none(),
            _ => false,
        };
        if !known {
            return Err(ApiError::invalid("query", "must hold limit and before at most once, and nothing else"));
        }
    }
    Ok(messages)
}

/// The id of a message, or the place before all messages of an instant.
fn before(value: &str) -> Result<MessageId, ApiError> {
    let at = || value.parse().ok().map(MessageId::first);
    let refuse = || ApiError::invalid("before", "must be the id of a message, or an instant in UTC with milliseconds");
    value.parse().ok().or_else(at).ok_or_else(refuse)
}

/// The requested part of a room's messages.
pub(crate) struct MessagesQuery {
    limit: Option<u16>,
    before: Option<MessageId>,
}

impl MessagesQuery {
    pub(crate) fn limit(&self) -> u16 {
        self.limit.unwrap_or(MESSAGES_DEFAULT)
    }

    pub(crate) fn before(&self) -> Option<&MessageId> {
        self.before.as_ref()
    }
}

/// Messages in one answer, if the client gives no limit.
const MESSAGES_DEFAULT: u16 = 50;

/// The requested part of a history.
pub(crate) struct ReplayQuery {
    since: Option<u64>,
    limit: Option<u16>,
}

impl ReplayQuery {
    pub(crate) fn since(&self) -> u64 {
        self.since.unwrap_or(0)
    }

    pub(crate) fn limit(&self) -> u16 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }
}

fn limit(value: &str) -> Result<u16, ApiError> {
    let refuse = || ApiError::invalid("limit", format!("must be a whole number from 1 to {LIMIT_MAX}"));
    whole(value).filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(refuse)
}

/// Most states or events in one answer.
pub(crate) const LIMIT_MAX: u16 = 200;
/// States or events in one answer, if the client gives no limit.
const LIMIT_DEFAULT: u16 = 100;

/// The requested part of a list.
pub(crate) struct PageQuery {
    limit: Option<u16>,
    cursor: Option<String>,
}

impl PageQuery {
    pub(crate) fn limit(&self) -> u16 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }

    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

/// The version in `If-Match: "<version>"`; none if there is no such header.
///
/// # Errors
/// 400 if the header holds anything else.
pub(crate) fn if_match(request: &Request) -> Result<Option<Version>, ApiError> {
    let Some(value) = request.headers().get(header::IF_MATCH) else {
        return Ok(None);
    };
    let digits = value.to_str().ok().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
    let version = digits.and_then(whole);
    version.map(Some).ok_or_else(|| ApiError::invalid("If-Match", "must be one version in quotes, such as \"3\""))
}

/// Parses a number that is written in digits alone; Rust would also accept a plus sign.
pub(crate) fn whole<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The state as it is stored now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppliedState", extend("examples" = [{
    "userId": "ada", "name": null, "isMuted": false, "muteScope": "app", "deviceId": null, "deviceLabel": null,
    "roomId": "demo", "version": 2, "lastUpdated": "2026-11-21T11:44:18.041Z", "createdAt": "2026-11-21T11:44:18.027Z",
    "source": "open", "agent": null,
    "verdict": no_agent(),
    "applied": true,
}]))]
pub(crate) struct Applied<'a> {
    #[serde(flatten)]
    user: &'a User,
    /// False if a change with the same or a newer `seq` had arrived before, so that this one changed nothing.
    applied: bool,
}

impl<'a> From<&'a Written> for Applied<'a> {
    fn from(written: &'a Written) -> Self {
        Self { user: &written.user, applied: written.applied }
    }
}

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> Reply {
    with_status(StatusCode::OK, body)
}

/// Any status with a body.
pub(crate) fn with_status(status: StatusCode, body: &impl Serialize) -> Reply {
    let text = serde_json::to_string(body).map_err(|error| StoreError::Internal(error.into()))?;
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Marks an answer that holds only at this moment: it is not stored and has no `ETag`.
pub(crate) fn momentary(mut response: Response) -> Response {
    no_store(response.headers_mut());
    response
}

/// The mark of an answer that does not depend on its caller, so that shared caches may keep it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Public;

/// Marks an answer that is the same for every caller.
pub(crate) fn public(mut response: Response) -> Response {
    response.extensions_mut().insert(Public);
    response
}

pub(crate) fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
}
