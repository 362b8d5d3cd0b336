//! Properties that the answers of all endpoints share.

use crate::support::{Reply, Runner, refused};
use serde_json::json;

/// One answer of each kind.
fn answers(runner: &Runner) -> Vec<Reply> {
    let created = runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let read = runner.get("/api/users/ada");
    let tag = read.header("etag").unwrap().to_owned();
    vec![
        created,
        runner.send("GET", "/api/users/ada", &[("if-none-match", &tag)], ""),
        read,
        runner.get("/api/users"),
        runner.get("/api/rooms/demo/users"),
        runner.get("/api/health"),
        runner.get("/api/metrics"),
        runner.get("/api/openapi.json"),
        runner.patch("/api/users/ada/mute", json!({})),
        runner.patch("/api/users/nobody/mute", json!({"isMuted": true})),
        runner.get("/api/nowhere"),
        runner.delete("/api/health"),
        runner.send_json("PATCH", "/api/users/ada/mute", &[("if-match", "\"9\"")], json!({"isMuted": true})),
        runner.post("/api/users/ada/state", json!({"isMuted": true, "deviceLabel": "x".repeat(70_000)})),
        runner.send("PATCH", "/api/users/ada/mute", &[("content-type", "text/plain")], "{}"),
        runner.delete("/api/users/ada"),
    ]
}

#[test]
fn the_answers_have_the_expected_statuses() {
    let statuses: Vec<_> = answers(&Runner::ephemeral()).iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [201, 304, 200, 200, 200, 200, 200, 200, 400, 404, 404, 405, 412, 413, 415, 200]);
}

#[test]
fn every_answer_has_its_security_headers() {
    for reply in answers(&Runner::ephemeral()) {
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
        for telling in ["server", "x-powered-by", "set-cookie"] {
            assert_eq!(reply.header(telling), None);
        }
    }
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let replies = answers(&Runner::ephemeral());
    let mut ids: Vec<_> = replies.iter().map(|reply| reply.header("x-request-id").unwrap()).collect();
    assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), replies.len());
}

#[test]
fn a_harmless_request_id_is_used() {
    let runner = Runner::ephemeral();
    for id in ["a", "abc123xyz", "01J-9Z", &"x".repeat(64)] {
        let reply = runner.send("GET", "/api/nowhere", &[("x-request-id", id)], "");
        assert_eq!((reply.header("x-request-id"), &reply.json()["requestId"]), (Some(id), &json!(id)));
        assert_eq!(runner.log_of(&reply)["path"], "/api/nowhere");
    }
}

#[test]
fn a_harmful_request_id_is_replaced() {
    let runner = Runner::ephemeral();
    for id in ["", "a b", "<script>", "a\"b", "a_b", "../etc", "a,b", &"x".repeat(65)] {
        let reply = runner.send("GET", "/api/nowhere", &[("x-request-id", id)], "");
        assert_eq!(reply.header("x-request-id").unwrap().len(), 32, "{id:?}");
        refused(&reply, 404, "route_not_found");
    }
}

#[test]
fn headers_that_only_aws_may_set_change_nothing() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let plain = runner.get("/api/users/ada");
    let context =
        json!({"http": {"method": "DELETE"}, "requestId": "forged", "routeKey": "DELETE /api/users/{userId}"})
            .to_string();
    let forged = [
        ("x-amzn-request-context", context.as_str()),
        ("x-amzn-lambda-context", "{}"),
        ("x-amzn-trace-id", "Root=forged"),
        ("x-amz-security-token", "forged"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.7;host=evil.example"),
        ("x-real-ip", "203.0.113.7"),
        ("via", "1.1 evil"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/api/metrics"),
    ];
    let reply = runner.send("GET", "/api/users/ada", &forged, "");
    assert_eq!((reply.status, &reply.text), (200, &plain.text));
    let names = |reply: &Reply| reply.headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&reply), names(&plain));
    assert_eq!(reply.header("x-request-id").unwrap().len(), 32);
    assert_eq!(runner.log_of(&reply)["route"], "GET /api/users/{userId}");
}

#[test]
fn no_other_origin_may_read_unless_it_is_listed() {
    for reply in answers(&Runner::ephemeral()) {
        assert_eq!(reply.header("access-control-allow-origin"), None);
        assert!(varies(&reply).contains(&"Origin"));
    }
    for reply in answers(&Runner::with_env(&[("CORS_ORIGIN", "*")])) {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let exposed = "Allow, ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";
        assert_eq!(reply.header("access-control-expose-headers"), Some(exposed));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
}

/// What an answer depends on besides the path.
fn varies(reply: &Reply) -> Vec<&str> {
    reply.headers.get_all("vary").iter().map(|name| name.to_str().unwrap()).collect()
}

/// A stranger gets less of a room than its people, and a cache between them must not mix the two up.
#[test]
fn an_answer_that_depends_on_its_caller_is_private() {
    for origin in [None, Some("Origin")] {
        let runner = Runner::with_env(&[("CORS_ORIGIN", if origin.is_some() { "https://a.example" } else { "*" })]);
        runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
        let created = runner.post("/api/rooms", json!({"title": "T", "presenterName": "Ada"})).json();
        let room = format!("/api/rooms/{}", created["roomId"].as_str().unwrap());
        let bearer = format!("Bearer {}", created["presenterToken"].as_str().unwrap());
        let token: &[(&str, &str)] = &[("authorization", &bearer)];
        let asked = [
            (room.as_str(), token),
            (&room, &[]),
            (&format!("{room}/messages"), token),
            ("/api/users/ada", &[]),
            ("/api/rooms/demo/users", &[]),
        ];
        for (path, headers) in asked {
            let reply = runner.send("GET", path, headers, "");
            let tag = ("if-none-match", reply.header("etag").unwrap());
            let known = runner.send("GET", path, &[headers, &[tag]].concat(), "");
            assert_eq!((reply.status, known.status), (200, 304), "{path}: {}", reply.text);
            for reply in [&reply, &known] {
                assert_eq!(reply.header("cache-control"), Some("private, no-cache"), "{path}");
                assert_eq!(varies(reply), ["Authorization"].into_iter().chain(origin).collect::<Vec<_>>(), "{path}");
            }
        }
        for path in ["/", "/app.js", "/api/openapi.json"] {
            let reply = runner.get(path);
            assert_eq!(reply.header("cache-control"), Some("no-cache"), "{path}");
            assert_eq!(varies(&reply), origin.into_iter().collect::<Vec<_>>(), "{path}");
        }
    }
}

const LISTED: &str = "https://a.example,http://localhost:5173";

#[test]
fn a_listed_origin_may_read_and_no_other() {
    let runner = Runner::with_env(&[("CORS_ORIGIN", LISTED)]);
    for (origin, allowed) in [
        ("https://a.example", true),
        ("http://localhost:5173", true),
        ("http://a.example", false),
        ("https://a.example:443", false),
        ("https://a.example.evil.example", false),
        ("https://A.example", false),
        ("https://a.example,http://localhost:5173", false),
        ("null", false),
        ("*", false),
    ] {
        for path in ["/api/health", "/api/nowhere"] {
            let reply = runner.send("GET", path, &[("origin", origin)], "");
            assert_eq!(reply.header("access-control-allow-origin"), allowed.then_some(origin), "{origin}");
            assert_eq!(reply.header("access-control-allow-credentials"), None);
            assert_eq!(reply.header("vary"), Some("Origin"), "the answer depends on the origin");
        }
    }
    let unasked = runner.get("/api/health");
    assert_eq!((unasked.header("access-control-allow-origin"), unasked.header("vary")), (None, Some("Origin")));
}

fn preflight(runner: &Runner, path: &str, origin: &str, method: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "content-type,if-match"),
    ];
    runner.send("OPTIONS", path, &headers, "")
}

#[test]
fn a_preflight_says_what_a_page_may_do() {
    for (env, origin, allowed) in
        [("*", "https://any.example", "*"), (LISTED, "https://a.example", "https://a.example")]
    {
        let runner = Runner::with_env(&[("CORS_ORIGIN", env)]);
        for (path, methods) in [
            ("/api/users/ada/mute", "PATCH"),
            ("/api/users/ada/state", "POST"),
            ("/api/users/ada", "DELETE, GET"),
            ("/api/rooms/demo/users", "GET"),
        ] {
            let reply = preflight(&runner, path, origin, "PATCH");
            assert_eq!((reply.status, reply.text.as_str()), (204, ""));
            assert_eq!(reply.header("access-control-allow-origin"), Some(allowed));
            let mut listed: Vec<_> = reply.header("access-control-allow-methods").unwrap().split(", ").collect();
            listed.sort_unstable();
            assert_eq!(listed.join(", "), methods);
            let headers = reply.header("access-control-allow-headers").unwrap();
            for needed in ["content-type", "if-match", "if-none-match", "x-request-id", "authorization"] {
                assert!(headers.split(", ").any(|header| header == needed), "{headers}");
            }
            assert_eq!(reply.header("access-control-max-age"), Some("600"));
            assert_eq!(reply.header("access-control-allow-credentials"), None);
            assert_eq!(reply.header("vary"), (env != "*").then_some("Origin"));
        }
    }
}

#[test]
fn a_preflight_of_another_origin_allows_nothing() {
    let runner = Runner::with_env(&[("CORS_ORIGIN", LISTED)]);
    for origin in ["https://evil.example", "null", "https://a.example/"] {
        let reply = preflight(&runner, "/api/users/ada/mute", origin, "PATCH");
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{reply:?}");
        assert_eq!((reply.status, reply.header("vary")), (204, Some("Origin")));
    }
}

#[test]
fn a_preflight_for_an_unknown_path_is_404() {
    refused(&preflight(&Runner::ephemeral(), "/api/nowhere", "https://a.example", "GET"), 404, "route_not_found");
}

#[test]
fn a_preflight_changes_nothing() {
    let runner = Runner::ephemeral();
    preflight(&runner, "/api/users/ada/state", "https://a.example", "POST");
    assert_eq!(runner.get("/api/users/ada").status, 404);
}

/// A page of another origin can send a form without a preflight.
#[test]
fn a_form_of_another_origin_changes_nothing() {
    let runner = Runner::ephemeral();
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        let headers = [("origin", "https://evil.example"), ("content-type", kind)];
        let reply = runner.send("POST", "/api/users/ada/state", &headers, r#"{"isMuted": true}"#);
        refused(&reply, 403, "origin_forbidden");
        let welcome = ("origin", runner.url.as_str());
        let reply = runner.send("POST", "/api/users/ada/state", &[welcome, headers[1]], r#"{"isMuted": true}"#);
        refused(&reply, 415, "media_type_not_supported");
    }
    assert_eq!(runner.get("/api/users/ada").status, 404);
}
