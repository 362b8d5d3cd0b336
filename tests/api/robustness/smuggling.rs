//! Requests whose end two servers could see in different places. Each is refused, or is the only request on its
//! connection that is answered: the bytes after it are never taken as a request.

use super::wire::Wire;
use crate::support::Runner;
use serde_json::json;

const SMUGGLED: &str = "DELETE /api/users/victim HTTP/1.1\r\nHost: greenroom\r\n\r\n";

fn with_victim() -> Runner {
    let runner = Runner::ephemeral();
    assert_eq!(runner.post("/api/users/victim/state", json!({"isMuted": true})).status, 201);
    runner
}

/// Sends each head with a body that one reader takes as empty and another one as a request.
fn only_one_is_answered(heads: &[&str], wanted: impl Fn(u16) -> bool) {
    let runner = with_victim();
    for head in heads {
        let mut wire = Wire::to(&runner);
        let behind = format!("0\r\n\r\n{SMUGGLED}");
        let head = head.replace("{LENGTH}", &behind.len().to_string());
        wire.send(format!("{head}\r\n\r\n{behind}"));
        let answers = wire.answers();
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.len() <= 1 && statuses.iter().all(|status| wanted(*status)), "{head:?}: {statuses:?}");
        assert_eq!(runner.get("/api/users/victim").status, 200, "{head:?} smuggled a request");
    }
}

const POST: &str = "POST /api/users/ada/state HTTP/1.1\r\nHost: greenroom\r\nContent-Type: application/json\r\n";

fn posts(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|lines| format!("{POST}{lines}")).collect()
}

fn refuses(lines: &[&str]) {
    let heads = posts(lines);
    // hyper answers 431 if the length is larger than its largest number.
    only_one_is_answered(&heads.iter().map(String::as_str).collect::<Vec<_>>(), |status| [400, 431].contains(&status));
}

/// RFC 9112, section 6.1: the chunks count, and the connection ends. The body is then empty, and no route accepts that.
#[test]
fn a_length_beside_chunks_ends_the_connection() {
    refuses(&[
        "Content-Length: {LENGTH}\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: {LENGTH}",
        "Transfer-Encoding: chunked\r\nContent-Length: {LENGTH}\r\nConnection: keep-alive",
        "Transfer-Encoding:\tchunked\t\r\nContent-Length: {LENGTH}",
        "Content-Length: {LENGTH}\r\ntRANSFER-eNCODING:   cHuNkEd  ",
        "Content-Length: {LENGTH}\nTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: {LENGTH}",
    ]);
}

#[test]
fn two_lengths_are_refused() {
    refuses(&[
        "Content-Length: 0\r\nContent-Length: {LENGTH}",
        "Content-Length: {LENGTH}\r\nContent-Length: 0",
        "Content-Length: {LENGTH}\nContent-Length: 0",
        "Content-Length: 0, {LENGTH}",
        "Content-Length: {LENGTH}, {LENGTH}",
        "Content-Length: 0 {LENGTH}",
    ]);
}

#[test]
fn a_length_that_is_not_a_number_is_refused() {
    refuses(&[
        "Content-Length: +{LENGTH}",
        "Content-Length: -0",
        "Content-Length: 0x10",
        "Content-Length: 1e2",
        "Content-Length: ",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551615",
        "Content-Length: \u{661}",
    ]);
}

#[test]
fn encodings_other_than_chunked_are_refused() {
    refuses(&[
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: ",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked\r\nContent-Length: {LENGTH}",
    ]);
}

#[test]
fn folded_and_spaced_headers_are_refused() {
    refuses(&[
        "Transfer-Encoding:\r\n chunked",
        "Content-Length: {LENGTH}\r\n\tTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Content-Length : {LENGTH}",
        "Content-Length\t: {LENGTH}",
        " Content-Length: {LENGTH}",
        "Content-Length: 0\rTransfer-Encoding: chunked",
        "Content-Length\0: {LENGTH}",
        "Transfer-Encoding: chunked\0",
        ": chunked",
        "Content-Length",
    ]);
}

#[test]
fn a_request_without_one_host_is_refused() {
    let start = "POST /api/users/ada/state HTTP/1.1\r\n";
    let heads = [
        format!("{start}Content-Length: 0"),
        format!("{start}Host: greenroom\r\nHost: greenroom\r\nContent-Length: 0"),
        format!("{start}Host: greenroom\r\nHost: other\r\nContent-Length: 0"),
    ];
    only_one_is_answered(&heads.each_ref().map(String::as_str), |status| status == 400);
}

#[test]
fn chunks_before_http_1_1_are_refused() {
    let head = "POST /api/users/ada/state HTTP/1.0\r\nHost: greenroom\r\nTransfer-Encoding: chunked";
    only_one_is_answered(&[head, &format!("{head}\r\nContent-Length: 0")], |status| status == 400);
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    let heads = ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1 ", "http/1.1", "", "HTTP/1.1\tX"]
        .map(|version| format!("GET /api/users/ada {version}\r\nHost: greenroom\r\nContent-Length: 0"));
    only_one_is_answered(&heads.each_ref().map(String::as_str), |status| status == 400);
}

#[test]
fn malformed_chunks_are_refused() {
    let runner = with_victim();
    for size in [
        "10000000000000000",
        "FFFFFFFFFFFFFFFFF",
        "0x0",
        "-0",
        "+0",
        " 0",
        "\t0",
        "",
        "\r\n0",
        "0\n",
        "0;x\n",
        "0_0",
        "g",
        "0\0",
        "\u{660}",
        "0\r",
    ] {
        let mut wire = Wire::to(&runner);
        wire.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{size}\r\n\r\n{SMUGGLED}"));
        let statuses: Vec<_> = wire.answers().iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [400], "{size:?}");
        assert_eq!(runner.get("/api/users/victim").status, 200, "{size:?} smuggled a request");
    }
}

/// A handler that does not read the body must still skip exactly its bytes, or close the connection.
#[test]
fn the_body_of_a_request_is_never_a_request() {
    let runner = with_victim();
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let large = format!("Content-Length: {}\r\n", 65 * 1024);
    for (line, headers) in [
        ("GET / ", &length),
        ("HEAD / ", &length),
        ("GET /api/health ", &length),
        ("GET /api/users/victim ", &length),
        ("GET /nowhere ", &length),
        ("PUT /api/users/victim ", &length),
        ("OPTIONS /api/users/victim ", &format!("{length}Access-Control-Request-Method: GET\r\n")),
        ("POST /api/users/victim/state ", &length),
        ("POST /api/users/victim/state ", &large),
        ("DELETE /api/users/nobody ", &length),
    ] {
        let method = line.split(' ').next().unwrap();
        let mut wire = Wire::to(&runner);
        wire.send(format!("{line}HTTP/1.1\r\nHost: greenroom\r\n{headers}\r\n{SMUGGLED}"));
        wire.answer_to(method).unwrap();
        wire.send("GET /api/health HTTP/1.1\r\nHost: greenroom\r\nConnection: close\r\n\r\n");
        assert!(wire.answers().len() <= 1, "{line}");
        assert_eq!(runner.get("/api/users/victim").status, 200, "{line} smuggled a request");
    }
}

/// RFC 9112, section 3.2.2: a server accepts the absolute form, and its host takes precedence over the header.
#[test]
fn a_whole_url_is_answered_as_its_path_if_it_names_this_server() {
    let runner = with_victim();
    for (target, status) in [("http://greenroom/api/users/victim", 200), ("http://other:99/api/users/victim", 421)] {
        let mut wire = Wire::to(&runner);
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: greenroom\r\nConnection: close\r\n\r\n"));
        let answers = wire.answers();
        assert_eq!((answers.len(), answers[0].status), (1, status), "{target}");
        assert_eq!(answers[0].json()["userId"] == "victim", status == 200);
    }
}

#[test]
fn requests_in_one_packet_are_answered_in_order() {
    let runner = with_victim();
    let mut wire = Wire::to(&runner);
    for path in ["/api/users/victim", "/nowhere", "/api/users/victim?x", "/api/health"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: greenroom\r\n\r\n"));
    }
    let statuses = [(); 4].map(|()| wire.answer().unwrap().status);
    assert_eq!(statuses, [200, 404, 400, 200]);
}
