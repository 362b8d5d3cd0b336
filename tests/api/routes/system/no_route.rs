use crate::support::lambda::{Lambda, event};
use crate::support::template::routes;
use crate::support::{Runner, refused};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_path_answers_other_methods_by_405_and_names_its_own() {
    let runner = Runner::ephemeral();
    let mut methods = BTreeMap::<_, BTreeSet<_>>::new();
    for route in routes().into_iter().filter(|route| route.path.starts_with("/api/")) {
        methods.entry(route.path).or_default().insert(route.method);
    }
    for (template, known) in methods {
        let path = template.replace("{userId}", "ada").replace("{room}", "demo");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if known.contains(method) {
                continue;
            }
            let reply = runner.send(method, &path, &[], "");
            refused(&reply, 405, "method_not_allowed");
            let allow: BTreeSet<_> = reply.header("allow").unwrap().split(", ").map(str::to_owned).collect();
            assert_eq!(allow, known, "{method} {path}");
        }
    }
}

#[test]
fn a_method_is_refused_before_its_body_is_looked_at() {
    let reply = Runner::ephemeral().send("PUT", "/api/users/ada", &[("content-type", "text/plain")], "{");
    refused(&reply, 405, "method_not_allowed");
}

#[test]
fn a_head_request_without_a_route_is_405_without_body() {
    let reply = Runner::ephemeral().send("HEAD", "/api/users", &[], "");
    assert_eq!((reply.status, reply.header("allow"), reply.text.as_str()), (405, Some("GET"), ""));
}

/// Answers of the function itself: on AWS the gateway may send preflights to it.
#[test]
fn a_preflight_is_answered_for_origins_that_are_listed() {
    let runner = Runner::ephemeral();
    let lambda = Lambda::start("no_route", runner.dynamodb.as_deref().unwrap());
    let ask = |path: &str, origin: &str| {
        let mut event = event("no_route");
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["method"] = "OPTIONS".into();
        event["headers"]["origin"] = origin.into();
        event["headers"]["access-control-request-method"] = "PATCH".into();
        lambda.invoke(&event)
    };
    let reply = ask("/api/users/ada/mute", "https://page.example");
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://page.example"),
        ("access-control-allow-methods", "PATCH"),
        (
            "access-control-allow-headers",
            "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id",
        ),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let reply = ask("/api/users/ada/mute", "https://evil.example");
    assert_eq!((reply.status, reply.header("vary")), (204, Some("Origin")));
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{reply:?}");
    refused(&ask("/api/nowhere", "https://page.example"), 404, "route_not_found");
}

/// The seed's sample log shows `POST …/mute`; its API says `PATCH`, which is the contract.
#[test]
fn a_mute_by_post_is_405() {
    let reply = Runner::ephemeral().post("/api/users/user-123/mute", json!({"isMuted": true}));
    refused(&reply, 405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("PATCH"));
}

#[test]
fn an_unknown_path_is_404_whatever_the_method() {
    let runner = Runner::ephemeral();
    for path in [
        "/api",
        "/api/",
        "/api/nowhere",
        "/api/users/",
        "/api/users//state",
        "/api/users/ada/",
        "/api/users/ada/state/",
        "/api/users/ada/volume",
        "/API/users",
        "/api/users%2Fada",
        "/api/rooms/demo/guests",
        "/api/rooms//users",
        "/api/v1/users/me",
        "/api/users/../../etc/passwd",
        "/nowhere",
        "/index.html",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            refused(&runner.send(method, path, &[], ""), 404, "route_not_found");
        }
    }
}

#[test]
fn an_unknown_path_is_not_repeated_in_the_answer() {
    let reply = Runner::ephemeral().get("/api/%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(!reply.text.contains("script"), "{}", reply.text);
}
