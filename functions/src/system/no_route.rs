//! `$default`: answers a preflight, and refuses every other request that no route takes.

use super::get_openapi::DOCUMENT;
use crate::answer::allowed_origin;
use crate::function::{Callers, Function, route};
use crate::{ApiError, Context, Reply, Request, Response};
use lambda_http::Body;
use lambda_http::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, HeaderValue, ORIGIN,
};
use lambda_http::http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use store::{Kind, Refusal};

pub(crate) const FUNCTION: Function =
    route!(ANY "$default").callers(Callers::Anybody).at("/api/nowhere").answers(404, 404);

#[derive(Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    paths: BTreeMap<&'a str, BTreeMap<&'a str, &'a RawValue>>,
}

/// How long browsers may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// Headers that a page of another origin may send: the same list as in `template.yaml`.
const ALLOWED_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id";

/// 404: there is no such path.
const ROUTE_NOT_FOUND: Refusal = Refusal::new(Kind::NotFound, "route_not_found", "there is nothing at this path");
/// 405: the path exists, but not with this method.
const METHOD_NOT_ALLOWED: Refusal =
    Refusal::new(Kind::Method, "method_not_allowed", "this path does not answer this method");

/// Answers a preflight for a path that exists. On AWS the gateway may answer it instead; both answers must be right.
///
/// # Errors
/// 405 if the path exists with other methods, otherwise 404.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let methods = methods(request.uri().path()).ok_or(ROUTE_NOT_FOUND)?;
    let asks = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && asks {
        return Ok(preflight(&context, request.headers().get(ORIGIN), &methods));
    }
    let refused = ApiError::from(METHOD_NOT_ALLOWED).with_detail(format!("this path answers {methods}"));
    Err(match HeaderValue::from_str(&methods) {
        Ok(methods) => refused.with_header(ALLOW, methods),
        Err(_) => refused,
    })
}

/// The permissions of a page of this origin; an origin that is not listed gets none. The header that allows the origin
/// is added to every answer elsewhere.
fn preflight(context: &Context, origin: Option<&HeaderValue>, methods: &str) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if allowed_origin(&context.config.cors_origins, origin).is_some() {
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(methods).map(|methods| (ACCESS_CONTROL_ALLOW_METHODS, methods)));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
    }
    response
}

/// The methods of a path, separated by commas. They are read from the description, which a test compares with the
/// routes.
fn methods(path: &str) -> Option<String> {
    let described: Described<'_> = serde_json::from_str(DOCUMENT).ok()?;
    let (_, methods) = described.paths.into_iter().find(|(template, _)| matches(template, path))?;
    Some(methods.into_keys().map(str::to_uppercase).collect::<Vec<_>>().join(", "))
}

fn matches(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|wanted| {
        segments.next().is_some_and(|given| wanted == given || (wanted.starts_with('{') && !given.is_empty()))
    });
    fits && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_one_filled_segment_per_parameter() {
        let template = "/api/users/{userId}/mute";
        assert!(matches(template, "/api/users/ada/mute"));
        for other in ["/api/users//mute", "/api/users/ada", "/api/users/ada/mute/", "/api/users/a/b/mute"] {
            assert!(!matches(template, other), "{other}");
        }
    }

    #[test]
    fn a_known_path_names_its_methods() {
        assert_eq!(methods("/api/users/ada").as_deref(), Some("DELETE, GET"));
        assert_eq!(methods("/api/health").as_deref(), Some("GET, HEAD"));
        assert_eq!(methods("/api/nowhere"), None);
    }
}
