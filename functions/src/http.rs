//! Reading requests and writing answers, so that a handler parses, permits, does, answers.

use crate::error::BODY_BYTES_MAX;
use crate::{ApiError, Reply, Request, Response};
use domain::{PublicKey, Purpose, SIGNATURE_HEADER, Version};
use lambda_http::http::{HeaderMap, StatusCode, header};
use lambda_http::{Body, RequestExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;

/// The path parameter `name`.
///
/// # Errors
/// 400 if it is not a `T`.
pub(crate) fn path<T: FromStr<Err: Display>>(request: &Request, name: &'static str) -> Result<T, ApiError> {
    let parameters = request.path_parameters_ref();
    let text = parameters.and_then(|parameters| parameters.first(name)).unwrap_or_default();
    text.parse().map_err(|rule: T::Err| ApiError::invalid(name, rule.to_string()))
}

/// The JSON body.
///
/// # Errors
/// 415 if it is not declared as JSON, 413 if it is too large, 400 naming the field that is not as it should be.
pub(crate) fn json<T: DeserializeOwned>(request: &Request) -> Result<T, ApiError> {
    let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    // A form or text/plain would reach us from any web page without a preflight.
    if !declared.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::MediaType);
    }
    let body: &[u8] = request.body().as_ref();
    if body.len() > BODY_BYTES_MAX {
        return Err(ApiError::TooLarge);
    }
    // serde would take a list too, by position.
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
    // serde_json's text quotes only the client's own input, at any length, and our field names.
    let (place, error) = (refused.0, refused.1.to_string());
    let field = quoted(&error).or(place).unwrap_or_else(|| "body".to_owned());
    Err(ApiError::invalid(field, error.chars().take(RULE_CHARS_MAX).collect::<String>()))
}

/// Checks that the body was signed, byte for byte, with this key and for this purpose.
///
/// # Errors
/// 401 if it was not.
pub(crate) fn signed(request: &Request, purpose: Purpose, key: &PublicKey) -> Result<(), ApiError> {
    let signature = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if purpose.verify(key, request.body().as_ref(), signature) { Ok(()) } else { Err(ApiError::Signature) }
}

/// Longest rule told to a client, in characters.
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

/// The name of a field, if it is one a person could have typed.
fn presentable(field: &str) -> Option<String> {
    (field.len() <= 64 && field.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| field.to_owned())
}

/// The query, each parameter at most once.
///
/// # Errors
/// 400 naming the parameter that is unknown, repeated or malformed.
pub(crate) fn page_query(request: &Request) -> Result<PageQuery, ApiError> {
    let mut page = PageQuery { limit: None, cursor: None };
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let known = match &*name {
            "limit" => {
                let limit = whole(&value).filter(|limit| (1..=LIMIT_MAX).contains(limit));
                page.limit
                    .replace(limit.ok_or_else(|| {
                        ApiError::invalid("limit", format!("must be a whole number from 1 to {LIMIT_MAX}"))
                    })?)
                    .is_none()
            }
            "cursor" => page.cursor.replace(value.into_owned()).is_none(),
            _ => false,
        };
        if !known {
            return Err(ApiError::invalid("query", "must hold limit and cursor at most once, and nothing else"));
        }
    }
    Ok(page)
}

/// Most states a list answers at once.
const LIMIT_MAX: u16 = 200;
/// States a list answers unless asked otherwise.
const LIMIT_DEFAULT: u16 = 100;

/// Which part of a list is wanted.
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

/// A number written in digits alone; Rust would take a plus sign too.
fn whole<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> Reply {
    with_status(StatusCode::OK, body)
}

/// Any status with a body.
pub(crate) fn with_status(status: StatusCode, body: &impl Serialize) -> Reply {
    let text =
        serde_json::to_string(body).map_err(|error| ApiError::State(state::StateError::Internal(error.into())))?;
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Marks an answer that is about this moment: never stored, and without an `ETag`.
pub(crate) fn momentary(mut response: Response) -> Response {
    no_store(response.headers_mut());
    response
}

pub(crate) fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
}
