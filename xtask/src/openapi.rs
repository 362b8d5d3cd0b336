//! Builds `docs/openapi.json` from the components of `infra/openapi.json`, the operations that the endpoints declare,
//! and the schemas of the types that they name.

use crate::schemas::Schemas;
use functions::function::{Answer, Callers, Declared, Example, Function, FunctionKind};
use functions::{DECLARED, PROBLEM};
use serde_json::{Map, Value, json};

fn reference(section: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{section}/{name}")})
}

/// The text of the description. `base` is `infra/openapi.json`; `purpose` gives a sentence about a function.
///
/// # Errors
/// `base` is not a JSON object or lacks a component, an example is not JSON, or two types have the same name.
pub(crate) fn text(base: &str, purpose: impl Fn(&Declared) -> Result<String, String>) -> Result<String, String> {
    let mut document: Value = serde_json::from_str(base).map_err(|error| format!("infra/openapi.json: {error}"))?;
    let mut paths = Map::new();
    let mut schemas = Schemas::new();
    schemas.given(PROBLEM);
    for declared in DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint) {
        for (method, path) in declared.function.routes() {
            // The page is not a part of the API.
            if !path.starts_with("/api/") {
                continue;
            }
            let known = &document["components"]["parameters"];
            let operation = operation(declared, method, path, known, &purpose(declared)?, &mut schemas)?;
            let methods = paths.entry(path).or_insert_with(|| json!({}));
            methods[method.to_lowercase()] = operation;
        }
    }
    document["paths"] = paths.into();
    document["components"]["schemas"] = schemas.named()?.into();
    missing(&document, &document, "infra/openapi.json")?;
    Ok(format!("{document:#}\n"))
}

/// Checks that every reference has a target.
pub(crate) fn missing(document: &Value, node: &Value, base: &str) -> Result<(), String> {
    match node {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| match (name.as_str(), value.as_str()) {
            ("$ref", Some(target)) if document.pointer(target.trim_start_matches('#')).is_none() => {
                Err(format!("{base} lacks {target}"))
            }
            _ => missing(document, value, base),
        }),
        Value::Array(items) => items.iter().try_for_each(|item| missing(document, item, base)),
        _ => Ok(()),
    }
}

fn operation(
    declared: &Declared,
    method: &str,
    path: &str,
    known: &Value,
    purpose: &str,
    schemas: &mut Schemas,
) -> Result<Value, String> {
    let function = declared.function;
    let reads = method == "GET" || method == "HEAD";
    let in_path: Vec<_> = path.split('/').filter_map(crate::parameter).collect();
    // A parameter without a description of its own is any text.
    let parameter = |name: &&str| match crate::capitalized(name) {
        component if known[&component].is_null() => {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        }
        component => reference("parameters", &component),
    };
    let signature = matches!(function.callers, Callers::SelfProving(_)).then_some("Signature");
    let tag = (reads && !function.described.momentary).then_some("IfNoneMatch");
    let key = function.once.then_some("IdempotencyKey");
    let others =
        function.described.parameters.iter().copied().chain(key).chain(signature).chain(tag).chain(["RequestId"]);
    let parameters = in_path.iter().map(parameter).chain(others.map(|name| reference("parameters", name)));
    let mut operation = json!({
        "operationId": operation_id(declared.name, method),
        "tags": [declared.group],
        "summary": purpose.trim_end_matches('.'),
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": responses(function, method, &in_path, schemas),
    });
    if !function.described.text.is_empty() {
        operation["description"] = function.described.text.into();
    }
    if function.callers == Callers::Visitor {
        operation["security"] = json!([{}, {"bearer": []}]);
    } else if !function.callers.need_token() {
        operation["security"] = json!([]);
    }
    if let Some(body) = function.described.takes {
        let mut content = json!({"schema": schemas.taken(body)});
        if let Example::Request { body, .. } = function.example {
            let example = serde_json::from_str::<Value>(body);
            content["example"] = example.map_err(|error| format!("{}: its example: {error}", declared.name))?;
        }
        operation["requestBody"] =
            json!({"required": !function.described.optional, "content": {"application/json": content}});
    }
    Ok(operation)
}

/// Names of operations: `setMute` for the PATCH of `set_mute`, `headHealth` for the HEAD of `get_health`.
pub(crate) fn operation_id(name: &str, method: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default();
    let first = if method == "HEAD" { "head" } else { first };
    words.fold(first.to_owned(), |id, word| id + &crate::capitalized(word))
}

fn responses(function: &Function, method: &str, in_path: &[&str], schemas: &mut Schemas) -> Value {
    let described = &function.described;
    let reads = method == "GET" || method == "HEAD";
    let mut responses = json!({});
    for Answer { status, meaning, schema } in described.gives.iter().flatten() {
        let mut headers = json!({"X-Request-Id": reference("headers", "RequestId")});
        if described.momentary {
            headers["Cache-Control"] = reference("headers", "NoStore");
        } else if reads {
            headers["Cache-Control"] = reference("headers", "NoCache");
            headers["ETag"] = reference("headers", "ETag");
        }
        let mut response = json!({"description": meaning, "headers": headers});
        if method != "HEAD" {
            response["content"] = json!({"application/json": {"schema": schemas.given(*schema)}});
        }
        responses[status.to_string()] = response;
    }
    let takes = described.takes.is_some();
    let unwritten = described.gives[0].is_none();
    let usual = [
        (reads && !described.momentary, 304, "NotModified"),
        (!in_path.is_empty() || !described.ignores_query || takes, 400, "Invalid"),
        (function.callers.need_token(), 401, "Unauthenticated"),
        (function.callers.need_token(), 403, "Forbidden"),
        (in_path.contains(&"room"), 404, "RoomNotFound"),
        (function.callers == Callers::Visitor, 401, "TokenInvalid"),
        (matches!(function.callers, Callers::SelfProving(_)), 401, "SignatureInvalid"),
        (takes, 408, "RequestTimeout"),
        (takes, 413, "BodyTooLarge"),
        (takes, 415, "MediaTypeNotSupported"),
        (function.once, 422, "IdempotencyKeyReused"),
        (!function.limits.is_empty(), 429, "Limited"),
        (true, 500, "Failed"),
        (unwritten, 501, "NotImplemented"),
        (
            function.grants().any(|grant| grant.actions.iter().any(|action| action.starts_with("dynamodb:"))),
            503,
            "Unavailable",
        ),
    ];
    let usual = usual.iter().filter(|(applies, ..)| *applies).map(|(_, status, name)| (*status, *name));
    for (status, name) in described.refuses.iter().copied().chain(usual) {
        let status = status.to_string();
        if responses[&status].is_null() {
            // An answer to HEAD has no body.
            let bodiless = || json!({"description": format!("As for GET: {name}.")});
            responses[status] = if method == "HEAD" { bodiless() } else { reference("responses", name) };
        }
    }
    responses
}
