//! Hostile requests, each generated from its number.

use fastrand::Rng;
use serde_json::json;

/// Users that appear only in requests that must be refused.
pub(super) const KNOWN: [&str; 4] = ["ada", "grace", "x", "a.b:c@d-e_f"];

/// Stand for the room that the test creates, and for its presenter. Its own ids are as long.
pub(super) const ROOM: &str = "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE";
pub(super) const PRESENTER: &str = "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF";

/// Writes to the room: method, the end of the path, and a valid body. In open mode the body says who acts.
const ROOM_WRITES: [(&str, &str, &str); 9] = [
    (
        "POST",
        "",
        r#"{"title":"T","presenterName":"Ada","password":null,"maxParticipants":50,"settings":{"lobby":true}}"#,
    ),
    ("POST", "{room}/join", r#"{"name":"Grace","password":"sesame","capabilities":{"webrtc":true}}"#),
    (
        "PATCH",
        "{room}",
        r#"{"participantId":"{own}","title":"T","settings":{"chat":null,"media":{"videoCodecs":["VP9"]}}}"#,
    ),
    ("POST", "{room}/messages", r#"{"participantId":"{own}","message":"Hello\n","type":"reaction"}"#),
    ("POST", "{room}/questions", r#"{"participantId":"{own}","question":"Why?"}"#),
    ("POST", "{room}/presence", r#"{"participantId":"{own}","lease":"page-load-1"}"#),
    ("POST", "{room}/leave", r#"{"participantId":"{own}","lease":"page-load-1"}"#),
    ("POST", "{room}/mute-all", r#"{"participantId":"{own}"}"#),
    (
        "PATCH",
        "{room}/participants/{own}",
        r#"{"participantId":"{own}","handRaised":true,"role":"presenter","name":"A"}"#,
    ),
];

/// One of the writes to the room: method, path and body.
fn room_write(rng: &mut Rng) -> (&'static str, String, String) {
    let (method, path, body) = ROOM_WRITES[rng.usize(..ROOM_WRITES.len())];
    let filled = |text: &str| text.replace("{room}", ROOM).replace("{own}", PRESENTER);
    (method, format!("/api/rooms/{}", filled(path)).trim_end_matches('/').to_owned(), filled(body))
}

/// A request and its expected outcome.
pub(super) struct Hostile {
    pub(super) bytes: Vec<u8>,
    pub(super) method: String,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// One answer below 500, and the connection stays open.
    Answered,
    /// One answer from 400 to 499, and the connection stays open.
    Refused,
    /// Any number of answers below 500, then the end of the connection.
    Ends,
    /// The client stops in the middle: any number of answers below 500, then the end of the connection.
    CutOff,
}

use Outcome::{Answered, CutOff, Ends, Refused};

/// One of the texts between the vertical bars.
fn pick<'a>(rng: &mut Rng, from: &'a str) -> &'a str {
    let texts: Vec<_> = from.split('|').collect();
    texts[rng.usize(..texts.len())]
}

fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.u8(..)).collect()
}

fn request(method: &str, path: &str, headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>, outcome: Outcome) -> Hostile {
    let body = body.as_ref();
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nHost: greenroom\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    bytes.extend(headers.as_ref());
    bytes.extend(b"\r\n");
    bytes.extend(body);
    Hostile { bytes, method: method.to_owned(), outcome }
}

const JSON: &str = "Content-Type: application/json\r\n";

/// Changes some bytes.
fn mutated(rng: &mut Rng, mut body: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..body.len());
        match rng.u8(..4) {
            0 => body[at] = rng.u8(..),
            1 => body.insert(at, b"{}[]\",:\\\0 9e-"[rng.usize(..13)]),
            2 => drop(body.remove(at)),
            _ => body.extend_from_within(at..),
        }
    }
    body
}

/// A change of a known user, or of the room, that must be refused.
fn write(rng: &mut Rng, headers: &str, body: impl AsRef<[u8]>) -> Hostile {
    if rng.bool() {
        let (method, path, _) = room_write(rng);
        return request(method, &path, headers, body, Refused);
    }
    let user = KNOWN[rng.usize(..KNOWN.len())];
    let (method, path) = [("POST", "state"), ("PATCH", "mute"), ("PATCH", "device")][rng.usize(..3)];
    request(method, &format!("/api/users/{user}/{path}"), headers, body, Refused)
}

/// The same with a body that is valid but for its last members.
fn write_ending(rng: &mut Rng, end: impl AsRef<[u8]>) -> Hostile {
    let user = KNOWN[rng.usize(..KNOWN.len())];
    let (method, path, body) = match rng.usize(..4) {
        0 => ("POST", format!("/api/users/{user}/state"), r#"{"isMuted":true}"#.to_owned()),
        1 => ("PATCH", format!("/api/users/{user}/mute"), r#"{"isMuted":true}"#.to_owned()),
        2 => ("PATCH", format!("/api/users/{user}/device"), r#"{"isMuted":true}"#.to_owned()),
        _ => room_write(rng),
    };
    let body = [&body.as_bytes()[..body.len() - 1], b",", end.as_ref(), b"}"].concat();
    request(method, &path, JSON, body, Refused)
}

fn raw(bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Hostile {
    Hostile { bytes: bytes.into(), method: "GET".to_owned(), outcome }
}

/// The request with this number; the same number always gives the same request.
pub(super) fn hostile(n: u64) -> Hostile {
    let rng = &mut Rng::with_seed(n);
    let user = KNOWN[rng.usize(..KNOWN.len())];
    let state = format!("/api/users/{user}/state");
    match n % 25 {
        kind @ 0..5 => hostile_body(kind, rng),
        kind @ 5..10 => hostile_target(kind, rng, user),
        kind @ 10..15 => hostile_header(kind, rng, user, &state),
        kind @ 15..20 => hostile_framing(kind, rng, user, &state),
        kind => hostile_end(kind, rng, user, &state),
    }
}

/// Invalid bodies.
fn hostile_body(kind: u64, rng: &mut Rng) -> Hostile {
    match kind {
        // A valid body with some changed bytes, about a user that no test reads.
        0 => {
            let body =
                br#"{"isMuted":true,"muteScope":"os","deviceId":"usb-1","deviceLabel":"A","roomId":"demo","seq":7}"#;
            if rng.bool() {
                let (method, path, body) = room_write(rng);
                let body = mutated(rng, body.into_bytes());
                return request(method, &path, JSON, body, Answered);
            }
            let body = mutated(rng, body.to_vec());
            request("POST", "/api/users/mutated/state", JSON, body, Answered)
        }
        1 => {
            let value = pick(rng, "1|\"true\"|{}|[true]|[]|1.5|\"\"|-1|{\"a\":{}}|true ");
            let field = pick(rng, "muteScope|deviceLabel|deviceId|roomId|userId|version|createdAt|verdict");
            let value = if value == "\"true\"" && field.starts_with("device") { "0" } else { value };
            let value = if value == "\"true\"" && field == "roomId" { "0" } else { value };
            write_ending(rng, format!("\"deviceId\":7,\"{field}\":{value}"))
        }
        2 => {
            let depth = rng.usize(100..15_000);
            let open = pick(rng, "[|{\"isMuted\":|[{\"a\":|{\"a\":[");
            write(rng, JSON, open.repeat(depth.min(65_000 / open.len())))
        }
        3 => {
            let digits = "9".repeat(rng.usize(17..5000));
            let number = match rng.u8(..6) {
                0 => digits,
                1 => format!("-{digits}"),
                2 => format!("1e{}", rng.u32(1..999)),
                3 => format!("0.{digits}"),
                4 => format!("{digits}e-{}", digits.len()),
                _ => pick(rng, "NaN|Infinity|0x10|01|+1|9007199254740992|1e400|-0.0|.5").to_owned(),
            };
            write_ending(rng, format!("\"deviceId\":\"d\",\"seq\":{number}"))
        }
        _ => {
            let mut end = b"\"deviceId\":\"".to_vec();
            let bad: [&[u8]; 8] =
                [b"\\u0000", b"\0", b"\xff\xfe", b"\\ud800", b"\xc0\xaf", b"\xed\xa0\x80", b"\n", b"\xf4\x90\x80\x80"];
            end.extend(bad[rng.usize(..bad.len())]);
            end.push(b'"');
            write_ending(rng, end)
        }
    }
}

/// Paths, methods and queries without a route.
fn hostile_target(kind: u64, rng: &mut Rng, user: &str) -> Hostile {
    match kind {
        5 => {
            let id = "a".repeat(rng.usize(129..9000));
            let method = pick(rng, "GET|DELETE|POST");
            request(method, &format!("/api/users/{id}"), JSON, "{\"isMuted\":true}", Refused)
        }
        6 => {
            let trick = pick(
                rng,
                "%00|%2e%2e%2f|%252e|%ZZ|%|%u0041|%C0%AE|%ff|%0d%0aX-Injected:%201|%2F|%5c|a%00b|\
                %F0%9F%8E%A4|%23|%3f|;a|a,b|'or'1|$where|%E2%80%AE|%7f|a+b|~|*|(|!",
            );
            let method = pick(rng, "GET|DELETE");
            request(method, &format!("/api/users/{user}{trick}"), "", "", Refused)
        }
        7 => {
            let path = pick(
                rng,
                "/../../etc/passwd|/api/../Cargo.toml|/..%2f..%2fetc%2fpasswd|//etc/passwd|\
                /./index.html/..|/tests/page.test.js|/.git/config|/%2e%2e/%2e%2e/etc/shadow|\
                /..\\..\\windows|/index.html%00.js|/.greenroom/greenroom.db|/api/users/ada/../grace|\
                /api/users//ada|/api/users/ada/|/API/users/ada|/api/rooms//users|/file:///etc/passwd",
            );
            request("GET", path, "", "", Refused)
        }
        8 => {
            let method: String = (0..rng.usize(1..30)).map(|_| rng.alphabetic()).collect();
            let method = if rng.bool() {
                &method
            } else {
                pick(rng, "TRACE|TRACK|PROPFIND|delete|Get|PUT|LOCK|HEAD|OPTIONS|QUERY|DELETE_|!#$%&'*+-.^_`~")
            };
            request(method, &format!("/api/users/{user}"), JSON, "{\"isMuted\":true}", Refused)
        }
        _ => {
            let query = pick(
                rng,
                "limit=0|limit=201|limit=-1|limit=1e2|limit=|limit=1&limit=1|cursor=|cursor=%00|\
                cursor=../..|x=1|cursor=AAAA|limit=99999999999999999999|cursor=%FF%FE|limit[]=1|LIMIT=1|\
                cursor=e30|limit=%20|&&&=|=",
            );
            let path = pick(rng, "/api/users|/api/rooms/demo/users");
            request("GET", &format!("{path}?{query}"), "", "", Refused)
        }
    }
}

/// Headers with false values.
fn hostile_header(kind: u64, rng: &mut Rng, user: &str, state: &str) -> Hostile {
    match kind {
        10 => {
            let version =
                pick(rng, "*|1|\"\"|W/\"1\"|\"1\",\"2\"|\"99999999999999999999999\"|\"-1\"|\"1 \"|\u{e9}|\"0x1\"");
            request("POST", state, format!("{JSON}If-Match: {version}\r\n"), "{\"isMuted\":true}", Refused)
        }
        11 => {
            let mut id =
                pick(rng, "forged id|forged\",\"requestId\":\"x|forged\tx|forged;|forged/../|{\"forged\":1}|forged%0a")
                    .as_bytes()
                    .to_vec();
            match rng.u8(..4) {
                0 => id.extend(b"\xc3\xa9\xff\x80"),
                1 => id.extend([b'a'; 65]),
                2 => id.insert(0, 0xa0),
                _ => id.extend(b"\r\nX-Request-Id: forged id"),
            }
            request("GET", &format!("/api/users/{user}"), [b"X-Request-Id: ", &id[..], b"\r\n"].concat(), "", Answered)
        }
        12 => {
            let kind = pick(
                rng,
                "text/plain|multipart/form-data; boundary=x|application/x-www-form-urlencoded|\
                application/jsonp|json||\u{ff}|;|application/json/x|text/json;application/json",
            );
            request("POST", state, format!("Content-Type: {kind}\r\n"), "{\"isMuted\":true}", Refused)
        }
        13 => {
            let forged = json!({"authorizer": {"userId": user}, "requestId": "forged"});
            let name = pick(
                rng,
                "X-Amzn-Request-Context|X-Amz-Target|X-Forwarded-For|X-Lambda-Context|Via|\
                CloudFront-Viewer|X-Real-IP|Forwarded",
            );
            request("GET", &format!("/api/users/{user}"), format!("{name}: {forged}\r\n"), "", Answered)
        }
        _ => {
            #[expect(clippy::format_collect, reason = "short")]
            let lines: String =
                (0..rng.usize(2..90)).map(|i| format!("X-{i}: {}\r\n", "v".repeat(rng.usize(..60)))).collect();
            request("GET", &format!("/api/users/{user}"), lines, "", Answered)
        }
    }
}

/// Unreadable heads and chunks.
fn hostile_framing(kind: u64, rng: &mut Rng, user: &str, state: &str) -> Hostile {
    match kind {
        15 => {
            let control = [b'\0', 1, 7, 8, 0x1b, 0x7f, b'\r'][rng.usize(..7)];
            let name = pick(rng, "X-Request-Id|X|Host|If-Match|Origin");
            request(
                "DELETE",
                &format!("/api/users/{user}"),
                [name.as_bytes(), b": forged", &[control], b"x\r\n"].concat(),
                "",
                Ends,
            )
        }
        16 => {
            let mut bytes = noise(rng, 400);
            bytes.extend(b"\r\n\r\n\r\n\r\n");
            raw(bytes, CutOff)
        }
        17 => {
            let large = "h".repeat(rng.usize(17_000..40_000));
            match rng.u8(..3) {
                0 => request("DELETE", &format!("/api/users/{user}"), format!("X: {large}\r\n"), "", Ends),
                1 => raw(format!("DELETE /api/users/{user}?{large} HTTP/1.1\r\nHost: greenroom\r\n\r\n"), Ends),
                _ => {
                    #[expect(clippy::format_collect, reason = "short")]
                    let lines: String = (0..rng.usize(101..1000)).map(|i| format!("X-{i}: y\r\n")).collect();
                    request("DELETE", &format!("/api/users/{user}"), lines, "", Ends)
                }
            }
        }
        18 => {
            let length =
                pick(rng, "+17|-1|0x11|17, 18|1e3|99999999999999999999||17\r\nContent-Length: 18|a|1 7|\u{b2}");
            raw(
                format!(
                    "POST {state} HTTP/1.1\r\nHost: greenroom\r\n{JSON}Content-Length: {length}\r\n\r\n{{\"isMuted\": true}}"
                ),
                Ends,
            )
        }
        _ => {
            let size = pick(rng, "g|-1|FFFFFFFFFFFFFFFFF|0x10|| 10|10\n|10;\n|\0|1\r\nXY|2\r\n{}X|\u{ff}");
            raw(
                format!(
                    "POST {state} HTTP/1.1\r\nHost: greenroom\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{size}\r\n\r\n{{}}\r\n\r\n"
                ),
                CutOff,
            )
        }
    }
}

/// Bodies that end too early or never, and bytes that are not a request.
fn hostile_end(kind: u64, rng: &mut Rng, user: &str, state: &str) -> Hostile {
    match kind {
        20 => {
            let body = &"{\"isMuted\":true}"[..rng.usize(..15)];
            raw(format!("POST {state} HTTP/1.1\r\nHost: greenroom\r\n{JSON}Content-Length: 16\r\n\r\n{body}"), CutOff)
        }
        21 => {
            let length = rng.u64(65_537..1 << 50);
            raw(
                format!(
                    "POST {state} HTTP/1.1\r\nHost: greenroom\r\n{JSON}Content-Length: {length}\r\n\r\n{{\"isMuted\":true}}"
                ),
                Ends,
            )
        }
        22 => {
            let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400)).repeat(rng.usize(66..90));
            raw(
                format!("POST {state} HTTP/1.1\r\nHost: greenroom\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
                Ends,
            )
        }
        23 => {
            let mut bytes = format!("GET /api/users/{user} HTTP/1.1\r\nHost: greenroom\r\n\r\n")
                .repeat(rng.usize(1..4))
                .into_bytes();
            let length = rng.usize(1..200);
            bytes.extend(noise(rng, length));
            bytes.extend(b"\r\n\r\n");
            raw(bytes, CutOff)
        }
        _ => {
            let line = pick(
                rng,
                "DELETE /api/users/ada HTTP/2.0|DELETE /api/users/ada HTTP/9.9|DELETE /api/users/ada|\
                DELETE  /api/users/ada HTTP/1.1|PRI * HTTP/2.0|DELETE\t/api/users/ada\tHTTP/1.1|\
                DELETE /api/users/ada HTTP/1.1 x|DELETE api/users/ada HTTP/1.1| DELETE /api/users/ada HTTP/1.1|\
                DELETE /api/users/a\0da HTTP/1.1|\u{16}\u{3}\u{1}|DELETE /api/users/ada\u{7f} HTTP/1.1",
            );
            raw(format!("{line}\r\nHost: greenroom\r\n\r\n"), CutOff)
        }
    }
}
