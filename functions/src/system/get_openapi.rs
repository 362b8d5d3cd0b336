//! `GET /api/openapi.json`: reads the description of this API.

use crate::function::{Callers, Function, route};
use crate::http::public;
use crate::{Context, Reply, Request, Response};
use lambda_http::Body;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

pub(crate) const FUNCTION: Function = route!(GET, HEAD "/api/openapi.json")
    .callers(Callers::Anybody)
    .ignores_query()
    .describes("Needs no token.")
    .gives::<ApiDescription>(200, "The description of this API.");

/// The type of [`DOCUMENT`] for the description. No value of it exists.
enum ApiDescription {}

impl JsonSchema for ApiDescription {
    fn schema_name() -> Cow<'static, str> {
        "ApiDescription".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "description": "An OpenAPI 3.1 document."})
    }
}

/// The text of the description.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

pub(crate) async fn handle(_state: Context, _request: Request) -> Reply {
    let mut response = Response::new(Body::Text(DOCUMENT.to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(public(response))
}
