//! `GET /api/openapi.json`: this API, described.

use crate::function::{Callers, Function, route};
use crate::{Context, Reply, Request, Response};
use lambda_http::Body;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue};

pub(crate) const FUNCTION: Function = route!(GET, HEAD "/api/openapi.json")
    .callers(Callers::Anybody)
    .describes("Needs no token.")
    .gives(&[(200, "The description of this API.", "ApiDescription")]);

/// The description, as answered.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

pub(crate) async fn handle(_state: Context, _request: Request) -> Reply {
    let mut response = Response::new(Body::Text(DOCUMENT.to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
