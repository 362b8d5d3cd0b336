//! `AUTH_MODE=strict`: a stranger gets nothing.

use crate::support::{Runner, lambda, refused};
use functions::DECLARED;
use functions::function::{Callers, FunctionKind};
use serde_json::json;

fn strict() -> Runner {
    Runner::with_env(&[("AUTH_MODE", "strict")])
}

#[test]
fn every_endpoint_refuses_a_stranger_but_the_public_ones() {
    let runner = strict();
    for declared in DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint) {
        let name = declared.name;
        let event = lambda::event(name);
        let method = event["requestContext"]["http"]["method"].as_str().unwrap();
        let body = event["body"].as_str().unwrap_or_default();
        for token in [None, Some("Bearer x"), Some("Bearer "), Some("Basic YTpi")] {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(token.map(|token| ("authorization", token)));
            headers.extend(event["headers"]["greenroom-signature"].as_str().map(|text| ("greenroom-signature", text)));
            let reply = runner.send(method, event["rawPath"].as_str().unwrap(), &headers, body);
            match declared.function.callers {
                Callers::Anybody => assert_ne!(reply.status, 401, "{name} declares that anybody may call it"),
                Callers::SelfProving(code) => {
                    refused(&reply, 401, code);
                }
                Callers::Person => {
                    assert_eq!(reply.status, 401, "{name} answers a stranger: let its handler ask a `Caller`");
                    refused(&reply, 401, "authentication_required");
                    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
                }
                Callers::Service => panic!("{name} has a route, so it must not declare Service"),
            }
        }
    }
}

#[test]
fn the_public_endpoints_are_no_more_than_four() {
    let endpoints = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint);
    let public = endpoints.filter(|declared| declared.function.callers == Callers::Anybody);
    assert!(public.count() <= 4, "this number may only shrink");
}

#[test]
fn a_refused_stranger_changes_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let open = Runner::start(&data);
    open.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let before = open.get("/api/users").json();
    open.kill();
    let strict = Runner::start_with_env(&data, &[("AUTH_MODE", "strict")]);
    strict.post("/api/users/eve/state", json!({"isMuted": false}));
    strict.patch("/api/users/ada/mute", json!({"isMuted": false}));
    strict.patch("/api/users/ada/device", json!({"deviceId": "usb"}));
    strict.delete("/api/users/ada");
    strict.kill();
    assert_eq!(Runner::start(&data).get("/api/users").json(), before);
}

#[test]
fn a_stranger_does_not_learn_who_exists() {
    let directory = tempfile::TempDir::new().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let open = Runner::start(&data);
    open.post("/api/users/ada/state", json!({"isMuted": true}));
    open.kill();
    let strict = Runner::start_with_env(&data, &[("AUTH_MODE", "strict")]);
    let without_id = |path: &str| {
        let mut problem = strict.get(path).json();
        problem["requestId"] = json!(null);
        problem
    };
    assert_eq!(without_id("/api/users/ada"), without_id("/api/users/nobody"));
}

#[test]
fn a_preflight_is_answered_in_strict_mode() {
    let headers = [("origin", "https://a.example"), ("access-control-request-method", "PATCH")];
    assert_eq!(strict().send("OPTIONS", "/api/users/ada/mute", &headers, "").status, 204);
}
