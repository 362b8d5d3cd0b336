use crate::support::lambda::{Lambda, environment, event};
use crate::support::{Reply, Runner, refused};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// An event of the function for this method and path.
fn asked(method: &str, path: &str) -> Value {
    let mut event = event("get_page");
    event["rawPath"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["pathParameters"]["proxy"] = path.trim_start_matches('/').into();
    event
}

fn function(runner: &Runner) -> Lambda {
    Lambda::start("get_page", runner.dynamodb.as_deref().unwrap())
}

/// The files that a file loads: every text in quotes that is the path of a file, seen from the folder of the loading
/// file.
fn loaded_by(path: &str, text: &str) -> BTreeSet<String> {
    let folder = path.rsplit_once('/').unwrap().0;
    let quoted = text.split(['"', '\'']);
    let files = quoted.filter(|text| [".js", ".css", ".svg"].iter().any(|end| text.ends_with(end)));
    let resolve = |file: &str| {
        let (mut folder, mut file) = (folder, file);
        while let Some(rest) = file.strip_prefix("../") {
            (folder, file) = (folder.rsplit_once('/').unwrap().0, rest);
        }
        if file.starts_with('/') { file.to_owned() } else { format!("{folder}/{}", file.trim_start_matches("./")) }
    };
    files.filter(|file| file.starts_with(['/', '.'])).map(resolve).collect()
}

#[test]
fn the_page_and_everything_that_it_loads_are_served_by_runner_and_function_alike() {
    let runner = Runner::ephemeral();
    let lambda = function(&runner);
    let (mut known, mut open) = (BTreeSet::new(), vec!["/".to_owned(), "/ops".to_owned()]);
    while let Some(path) = open.pop() {
        if !known.insert(path.clone()) {
            continue;
        }
        let (local, aws) = (runner.get(&path), lambda.invoke(&asked("GET", &path)));
        assert_eq!((local.status, aws.status), (200, 200), "{path}");
        assert_eq!(local.text, aws.text, "{path}");
        for name in ["content-type", "etag", "cache-control", "content-security-policy", "permissions-policy"] {
            assert!(local.header(name).is_some(), "{path} lacks {name}");
            assert_eq!(local.header(name), aws.header(name), "{path}: {name}");
        }
        assert_eq!(local.header("cache-control"), Some("no-cache"), "no file is immutable: a deployment may change it");
        let policy = local.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
        open.extend(loaded_by(&path, &local.text));
    }
    assert!(known.len() > 25, "{known:?}");
    for file in ["/app.js", "/ops/app.js", "/styles.css", "/ops/ops.css", "/favicon.svg", "/vendor/htm-preact.js"] {
        assert!(known.contains(file), "{file} is not loaded by anything: {known:?}");
    }
}

#[test]
fn media_types_are_those_that_browsers_require_of_modules_and_styles() {
    let runner = Runner::ephemeral();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/ops", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/styles.css", "text/css; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        assert_eq!(runner.get(path).header("content-type"), Some(kind), "{path}");
    }
}

fn without_body(reply: &Reply, get: &Reply) {
    assert_eq!((reply.status, reply.text.as_str()), (get.status, ""));
    for name in ["content-type", "etag", "cache-control", "content-security-policy"] {
        assert_eq!(reply.header(name), get.header(name), "{name}");
    }
}

#[test]
fn head_answers_as_get_without_a_body_and_a_known_file_is_304() {
    let runner = Runner::ephemeral();
    let lambda = function(&runner);
    for path in ["/", "/ops", "/app.js"] {
        let get = runner.get(path);
        without_body(&runner.send("HEAD", path, &[], ""), &get);
        without_body(&lambda.invoke(&asked("HEAD", path)), &get);
        let tag = get.header("etag").unwrap();
        for method in ["GET", "HEAD"] {
            let mut event = asked(method, path);
            event["headers"]["if-none-match"] = tag.into();
            for known in [runner.send(method, path, &[("if-none-match", tag)], ""), lambda.invoke(&event)] {
                assert_eq!((known.status, known.text.as_str()), (304, ""), "{method} {path}");
                assert_eq!(known.header("etag"), Some(tag));
            }
        }
    }
}

#[test]
fn a_path_that_is_no_file_of_the_page_gets_a_problem_document() {
    let runner = Runner::ephemeral();
    let lambda = function(&runner);
    for path in [
        "/index.html",
        "/package.json",
        "/vendor/LICENSE-htm.txt",
        "/tests/pure.test.js",
        "/nowhere",
        "/api/nowhere",
        "/ops/",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
    ] {
        refused(&runner.get(path), 404, "route_not_found");
        refused(&lambda.invoke(&asked("GET", path)), 404, "route_not_found");
    }
    let reply = lambda.invoke(&asked("GET", "/api/users/ada/mute"));
    refused(&reply, 405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("PATCH"));
    assert_eq!(lambda.invoke(&asked("HEAD", "/api/users/ada/mute")).status, 405);
}

#[test]
fn a_page_cannot_be_written_to() {
    let runner = Runner::ephemeral();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        refused(&runner.send(method, "/app.js", &[], ""), 404, "route_not_found");
        refused(&runner.send(method, "/", &[], ""), 404, "route_not_found");
    }
}

#[test]
fn a_strict_deployment_serves_its_page() {
    let runner = Runner::ephemeral();
    let mut env = environment("get_page", runner.dynamodb.as_deref().unwrap());
    env.retain(|(name, _)| *name != "AUTH_MODE");
    env.push(("AUTH_MODE", "strict"));
    let lambda = Lambda::start_with("get_page", &env);
    for path in ["/", "/ops", "/app.js"] {
        assert_eq!(lambda.invoke(&asked("GET", path)).status, 200, "{path}");
    }
}

/// Only one binary holds the text of the page. grep searches for it: the binaries of a debug build hold gigabytes.
#[test]
fn no_other_function_holds_the_page() {
    let mark = "Greenroom needs JavaScript: the page reads your microphone";
    let binaries: Vec<_> =
        crate::support::template::functions().iter().map(|function| crate::support::binary(&function.binary)).collect();
    let found = Command::new("grep").env("LC_ALL", "C").args(["-laF", mark]).args(&binaries).output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap().trim(), crate::support::binary("get_page").to_str().unwrap());
}
