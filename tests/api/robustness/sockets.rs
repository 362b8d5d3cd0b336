//! WebSocket clients that are numerous, foreign, hostile or disconnected: each gets the right answer, and no other
//! client is disturbed.

use super::greedy::memory;
use super::wire::Wire;
use crate::support::socket::{OFFER, Socket, await_connections, connections};
use crate::support::{Runner, refused};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// A handshake with one additional header line.
fn handshake(host: &str, more: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: greenroom.v1\r\n{more}\r\n"
    )
}

/// The status of the answer, and its code if it has a body.
fn answer_to(runner: &Runner, request: &str) -> (u16, String) {
    let mut wire = Wire::to(runner);
    wire.send(request);
    let answer = wire.answer().unwrap();
    let code = if answer.body.is_empty() { String::new() } else { answer.json()["code"].as_str().unwrap().to_owned() };
    (answer.status, code)
}

#[test]
fn a_page_of_a_foreign_origin_opens_nothing() {
    let runner =
        Runner::start_with_env(&["--ephemeral", "--dynamodb-port", "0"], &[("CORS_ORIGIN", "https://friend.example")]);
    let own = format!("Origin: {}\r\n", runner.url);
    for (host, more, status, code) in [
        ("greenroom", "", 101, ""),
        ("greenroom", own.as_str(), 101, ""),
        ("greenroom", "Origin: https://friend.example\r\n", 101, ""),
        ("greenroom", "Origin: https://evil.example\r\n", 403, "origin_forbidden"),
        ("greenroom", "Origin: null\r\n", 403, "origin_forbidden"),
        ("greenroom", "Origin: https://friend.example\r\nOrigin: https://evil.example\r\n", 403, "origin_forbidden"),
        ("greenroom", "Sec-Fetch-Site: cross-site\r\n", 403, "origin_forbidden"),
        ("evil.example", "", 421, "misdirected_request"),
    ] {
        assert_eq!(answer_to(&runner, &handshake(host, more)), (status, code.to_owned()), "{host} {more}");
    }
    await_connections(&runner, 0);
}

#[test]
fn malformed_handshakes_are_refused_and_other_requests_are_answered() {
    let runner = Runner::ephemeral();
    let good = handshake("greenroom", "");
    for (from, to, status, code) in [
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 400, "validation_failed"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, "validation_failed"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400, "validation_failed"),
        ("Connection: Upgrade", "Connection: keep-alive", 400, "validation_failed"),
        ("Upgrade: websocket", "Upgrade: h2c", 400, "validation_failed"),
        ("greenroom.v1", "greenroom.v9", 400, ""),
        ("greenroom.v1", "greenroom.v1, greenroom.bearer.x", 401, ""),
        ("HTTP/1.1", "HTTP/1.0", 400, "validation_failed"),
        ("Upgrade: websocket\r\n", "", 404, "route_not_found"),
        ("GET /ws", "POST /ws", 404, "route_not_found"),
        ("GET /ws", "GET /ws/more", 404, "route_not_found"),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert_eq!(answer_to(&runner, &changed), (status, code.to_owned()), "{from} → {to}");
    }
    assert_eq!(answer_to(&runner, &handshake("greenroom", "Content-Length: 2\r\n")).0, 400, "a body");
    refused(&runner.get("/ws"), 404, "route_not_found");
    assert!(connections(&runner).is_empty());
}

#[test]
fn disconnect_is_called_for_every_kind_of_end() {
    let runner = Runner::ephemeral();
    let mut bystander = Socket::to(&runner);

    let closes = Socket::to(&runner);
    await_connections(&runner, 2);
    closes.close();
    let line = runner.await_log(|line| line["route"] == "WS $disconnect");
    assert_eq!((&line["statusCode"], &line["path"]), (&json!(200), &json!("/ws")));
    await_connections(&runner, 1);

    let breaks_off = Socket::to(&runner);
    await_connections(&runner, 2);
    drop(breaks_off);
    await_connections(&runner, 1);

    let mut sends_binary = Socket::to(&runner);
    sends_binary.send(Message::binary(vec![1, 2, 3]));
    assert_eq!(sends_binary.closed(), Some(1003));
    await_connections(&runner, 1);

    // This client sends a handshake and does not wait for the answer.
    let mut wire = Wire::to(&runner);
    wire.send(handshake("greenroom", ""));
    drop(wire);
    await_connections(&runner, 1);
    assert_eq!(bystander.ping()["event"], "ack");
}

/// The parts of a message, each in a frame of its own.
fn in_frames(socket: &mut Socket, parts: &[usize]) {
    for (number, bytes) in parts.iter().enumerate() {
        let opcode = OpCode::Data(if number == 0 { Data::Text } else { Data::Continue });
        let last = number + 1 == parts.len();
        socket.send(Message::Frame(Frame::message(vec![b' '; *bytes], opcode, last)));
    }
}

#[test]
fn messages_have_three_limits() {
    const KIB: usize = 1024;
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    for (parts, code) in [
        (&[16 * KIB][..], "validation_failed"),
        (&[16 * KIB + 1], "message_too_large"),
        (&[32 * KIB], "message_too_large"),
        (&[32 * KIB; 4], "message_too_large"),
    ] {
        in_frames(&mut socket, parts);
        assert_eq!(socket.hear().unwrap()["data"]["code"], code, "{parts:?}: the connection stays");
    }
    for parts in [&[32 * KIB + 1][..], &[1 << 20], &[32 * KIB, 32 * KIB, 32 * KIB, 32 * KIB, 1]] {
        let mut socket = Socket::to(&runner);
        in_frames(&mut socket, parts);
        assert_eq!(socket.closed(), Some(1009), "{parts:?}");
    }
    // A frame of which only the header is sent.
    let socket = Socket::to(&runner);
    let mut announced = vec![0x81, 0xff];
    announced.extend(u64::MAX.to_be_bytes().map(|byte| byte & 0x7f));
    announced.extend([0; 4]);
    let mut stream = socket.stream();
    stream.write_all(&announced).unwrap();
    let mut end = Vec::new();
    stream.read_to_end(&mut end).unwrap();
    assert_eq!(&end[2..4], &1009_u16.to_be_bytes());
    await_connections(&runner, 1);
}

#[test]
fn hostile_frames_end_only_their_own_connection() {
    let runner = Runner::ephemeral();
    let mut bystander = Socket::to(&runner);
    let before = memory(runner.pid());
    // The bytes of frames, and the expected close code of the server.
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(payload);
        frame
    };
    for (bytes, code) in [
        (vec![0x81, 0x01, b'x'], 1002),
        (masked(0xc1, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x8b, b"x"), 1002),
        (masked(0x80, b"x"), 1002),
        (masked(0x09, b"x"), 1002),
        ([masked(0x01, b"x"), masked(0x81, b"y")].concat(), 1002),
        (masked(0x81, &[0xff, 0xfe]), 1007),
        (masked(0x82, b"x"), 1003),
    ] {
        let socket = Socket::to(&runner);
        let mut stream = socket.stream();
        stream.write_all(&bytes).unwrap();
        let mut end = Vec::new();
        stream.read_to_end(&mut end).unwrap();
        assert!(end.len() >= 4 && end[0] == 0x88 && end[2..4] == u16::to_be_bytes(code), "{bytes:x?}: {end:x?}");
    }
    let mut rng = fastrand::Rng::with_seed(18);
    for _ in 0..200 {
        let socket = Socket::to(&runner);
        let mut noise = vec![0; rng.usize(1..300)];
        rng.fill(&mut noise);
        let _ = socket.stream().write_all(&noise);
    }
    await_connections(&runner, 1);
    let after = memory(runner.pid());
    assert!(after < before + (20 << 20), "{before} bytes have become {after}");
    assert_eq!(bystander.ping()["event"], "ack");
    assert_eq!(runner.get("/api/health").status, 200);
}

#[test]
fn protocol_pings_are_answered() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    socket.send(Message::Ping(vec![1, 2, 3].into()));
    assert_eq!(socket.frame(), Some(Message::Pong(vec![1, 2, 3].into())));
}

#[test]
fn of_two_hundred_messages_a_hundred_are_passed_on_and_the_sender_is_told_once() {
    let runner = Runner::ephemeral();
    let (mut flood, mut bystander) = (Socket::to(&runner), Socket::to(&runner));
    for number in 0..200 {
        flood.say(json!({"event": "ping", "id": number.to_string()}));
    }
    let answers: Vec<_> = (0..101).map(|_| flood.hear().unwrap()).collect();
    let passed = answers.iter().filter(|answer| answer["event"] == "ack").count();
    let refusals: Vec<_> = answers.iter().filter(|answer| answer.get("message").is_some()).collect();
    assert_eq!((passed, refusals.len()), (100, 1), "{answers:?}");
    assert_eq!(refusals[0]["message"], "Too Many Requests");
    assert!(refusals[0]["connectionId"].is_string() && refusals[0]["requestId"].is_string());
    assert_eq!(bystander.ping()["event"], "ack");
    flood.close();
    // `$disconnect` is called after all messages of the connection were processed.
    runner.await_log(|line| line["route"] == "WS $disconnect");
    let pings = runner.log().iter().filter(|line| line["route"] == "WS ping").count();
    assert_eq!(pings, 101);
}

#[test]
fn a_stopping_server_says_bye_and_deletes_every_connection() {
    let data = TempDir::new().unwrap();
    let place = ["--data-dir", data.path().to_str().unwrap(), "--dynamodb-port", "0"];
    let mut runner = Runner::start(&place);
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::to(&runner)).collect();
    runner.signal("TERM");
    let began = Instant::now();
    for socket in &mut sockets {
        let bye = socket.hear().unwrap();
        assert_eq!((&bye["event"], &bye["data"]), (&json!("bye"), &json!({"reason": "restart"})), "{bye}");
        crate::support::instant(&bye["at"]);
        assert_eq!(socket.closed(), Some(1001));
    }
    let (code, log) = runner.wait();
    assert_eq!(code, 0);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(log.iter().filter(|line| line["route"] == "WS $disconnect").count(), 20);
    assert!(connections(&Runner::start(&place)).is_empty());
}

#[test]
fn after_a_kill_clients_reconnect_and_old_connections_expire() {
    let data = TempDir::new().unwrap();
    let place = ["--data-dir", data.path().to_str().unwrap(), "--dynamodb-port", "0"];
    let runner = Runner::start(&place);
    let mut before = Socket::to(&runner);
    assert_eq!(before.ping()["event"], "ack");
    runner.kill();
    assert_eq!(before.hear(), None);
    let runner = Runner::start(&place);
    let mut after = Socket::to(&runner);
    assert_eq!(after.ping()["event"], "ack");
    assert_eq!(connections(&runner).len(), 2, "the killed runner could not delete the first connection");
    let listed = runner.get("/api/metrics").json();
    assert_eq!(listed["users"]["current"], 0, "a connection is no user: {listed}");
    assert_eq!(runner.get("/api/users").json()["items"], json!([]));
}

#[test]
fn a_thousand_sockets_take_less_than_sixty_megabytes() {
    const SOCKETS: usize = 1000;
    const MORE_BYTES_MAX: u64 = 60 << 20;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let runner = Runner::ephemeral();
    for _ in 0..20 {
        Socket::to(&runner).ping();
    }
    let before = memory(runner.pid());
    let mut sockets: Vec<_> = (0..SOCKETS).map(|_| Socket::to(&runner)).collect();
    for socket in &mut sockets {
        assert_eq!(socket.ping()["event"], "ack");
    }
    let more = memory(runner.pid()) - before;
    println!("{SOCKETS} sockets take {more} bytes");
    assert!(more < MORE_BYTES_MAX, "{more} bytes for {SOCKETS} sockets");
    assert_eq!(runner.get("/api/health").status, 200);
    drop(sockets);
    await_connections(&runner, 0);
}

/// A connection over the limit is told to retry, and a place that becomes free is used again.
#[test]
fn a_socket_over_the_limit_is_told_to_retry() {
    const MOST: usize = 2048;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let runner = Runner::ephemeral();
    let mut sockets: Vec<_> = (0..MOST).map(|_| Socket::to(&runner)).collect();
    assert_eq!(Socket::open(&runner.url, &[OFFER]).err(), Some(503));
    assert_eq!(runner.get("/api/health").status, 200);
    sockets.pop().unwrap().close();
    let deadline = Instant::now() + crate::support::PATIENCE;
    while Socket::over(TcpStream::connect(runner.url.trim_start_matches("http://")).unwrap(), &runner.url, &[OFFER])
        .is_err()
    {
        assert!(Instant::now() < deadline, "no connection is accepted again");
    }
}

#[test]
fn a_flood_of_ignored_frames_ends_the_connection() {
    let runner = Runner::ephemeral();
    for frame in [Message::Ping(Vec::new().into()), Message::text(r#"{"event":"ping"}"#)] {
        let mut socket = Socket::to(&runner);
        for _ in 0..700 {
            socket.send(frame.clone());
        }
        assert_eq!(socket.closed(), Some(1008));
    }
    assert_eq!(Socket::to(&runner).ping()["event"], "ack");
}

#[test]
fn every_refusal_names_its_message() {
    let runner = Runner::ephemeral();
    let mut socket = Socket::to(&runner);
    let deep = format!(r#"{{"event":"ping","id":"i","data":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    for message in [
        r#"{"event":"ping","id":"i","more":1}"#,
        r#"{"event":7,"id":"i"}"#,
        r#"{"id":"i"}"#,
        r#"{"event":"ping","id":"i","data":{"a":1e999}}"#,
        r#"{"event":"ping","id":"i","data":{"a":"\ud83d"}}"#,
        &deep,
    ] {
        socket.send(Message::text(message));
        let answer = socket.hear().unwrap();
        assert_eq!((&answer["id"], &answer["data"]["code"]), (&json!("i"), &json!("validation_failed")), "{message}");
    }
    let large = json!({"event": "ping", "id": "i", "data": {"a": "x".repeat(16_384)}});
    assert_eq!(socket.ask(large)["id"], "i");
}
