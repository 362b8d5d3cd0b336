//! `GET /api/openapi.json`: this API, described.

use crate::{Reply, Request, Response, State};
use lambda_http::Body;
use lambda_http::http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The description, as answered.
pub const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

pub(crate) async fn handle(_state: State, _request: Request) -> Reply {
    let mut response = Response::new(Body::Text(DOCUMENT.to_owned()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[derive(Deserialize)]
struct Described<'a> {
    #[serde(borrow)]
    paths: BTreeMap<&'a str, BTreeMap<&'a str, Operation<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    operation_id: &'a str,
}

/// Every endpoint by the name of its binary, with its route: read from the description, which a test holds equal to the
/// template.
#[must_use]
pub fn described() -> Vec<(String, Box<str>)> {
    let described: Described<'_> = serde_json::from_str(DOCUMENT).unwrap_or(Described { paths: BTreeMap::new() });
    let operations = described.paths.into_iter().flat_map(|(path, methods)| {
        methods.into_iter().map(move |(method, operation)| {
            (binary(operation.operation_id), format!("{} {path}", method.to_uppercase()).into())
        })
    });
    operations.chain([("no_route".to_owned(), "$default".into())]).collect()
}

/// `setMute` is the operation of the binary `set_mute`.
fn binary(operation: &str) -> String {
    let mut name = String::with_capacity(operation.len() + 4);
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
