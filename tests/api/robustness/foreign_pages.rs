//! Web pages of other sites in the browser of a person who runs Greenroom can read nothing and change nothing.

use super::wire::Wire;
use crate::support::webdriver::Browser;
use crate::support::{Member, Mode, Runner, refused};
use functions::SOCKET_PATH;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tempfile::TempDir;

const EVIL: (&str, &str) = ("origin", "https://evil.example");

/// A runner without a public name.
fn nameless(args: &[&str], env: &[(&str, &str)]) -> Runner {
    Runner::start_as(&[&["--ephemeral", "--dynamodb-port", "0"], args].concat(), env)
}

/// The same with one state.
fn runner(args: &[&str], env: &[(&str, &str)]) -> Runner {
    let runner = nameless(args, env);
    assert_eq!(runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"})).status, 201);
    runner
}

/// The status with which a port answers to this `Host`.
fn status(url: &str, host: &str, headers: &str) -> u16 {
    let mut wire = Wire::open(url);
    wire.send(format!("GET /api/health HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n"));
    wire.answer().unwrap().status
}

#[test]
fn a_foreign_host_is_421_on_every_port() {
    let runner = runner(&[], &[]);
    for url in [&runner.url, runner.dynamodb.as_ref().unwrap()] {
        let port = url.rsplit_once(':').unwrap().1;
        for (host, wanted) in [
            (format!("127.0.0.1:{port}"), 200),
            (format!("localhost:{port}"), 200),
            (format!("[::1]:{port}"), 200),
            (format!("evil.example:{port}"), 421),
            ("evil.example".to_owned(), 421),
            ("localhost".to_owned(), 421),
            (format!("localhost.evil.example:{port}"), 421),
        ] {
            assert_eq!(status(url, &host, ""), wanted, "{host}");
        }
    }
    refused(&runner.send("GET", "/api/users/ada", &[("host", "evil.example")], ""), 421, "misdirected_request");
    refused(&runner.send("GET", "/", &[("host", "evil.example")], ""), 421, "misdirected_request");
}

#[test]
fn the_public_url_adds_exactly_one_name() {
    for (args, env) in [
        (&["--public-url", "https://meet.example"][..], &[][..]),
        (&[], &[("GREENROOM_PUBLIC_URL", "https://Meet.Example/")]),
    ] {
        let runner = runner(args, env);
        let post = |host, origin| {
            let headers = [("host", host), ("origin", origin)];
            runner.send_json("POST", "/api/users/ada/state", &headers, json!({"isMuted": true})).status
        };
        assert_eq!(post("meet.example", "https://meet.example"), 200);
        assert_eq!(post("meet.example:443", "https://meet.example"), 200);
        assert_eq!(post("meet.example", "http://meet.example"), 403);
        assert_eq!(post("meet.example:80", "https://meet.example"), 421);
        assert_eq!(post("www.meet.example", "https://meet.example"), 421);
    }
}

#[test]
fn every_write_of_a_foreign_page_is_403() {
    let runner = runner(&[], &[]);
    let before = runner.get("/api/users/ada").text;
    for (method, path) in [
        ("POST", "/api/users/ada/state"),
        ("POST", "/api/users/ada/pairing"),
        ("PATCH", "/api/users/ada/mute"),
        ("PATCH", "/api/users/ada/device"),
        ("DELETE", "/api/users/ada"),
        ("POST", "/api/agents"),
        ("PUT", "/api/nowhere"),
    ] {
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            for headers in [
                &[EVIL][..],
                &[("origin", "null")],
                &[EVIL, ("sec-fetch-site", "same-origin")],
                &[("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")],
                &[("sec-fetch-site", "cross-site")],
            ] {
                let headers = [headers, &[("content-type", kind)]].concat();
                refused(&runner.send(method, path, &headers, r#"{"isMuted":false}"#), 403, "origin_forbidden");
            }
        }
    }
    assert_eq!(runner.get("/api/users/ada").text, before);
}

#[test]
fn only_listed_pages_read_and_write() {
    let runner = runner(&[], &[("CORS_ORIGIN", "https://friend.example")]);
    let own = runner.url.clone();
    for (origin, welcome) in [("https://friend.example", true), (own.as_str(), true), (EVIL.1, false)] {
        let headers = [("origin", origin), ("sec-fetch-site", "cross-site")];
        let read = runner.send("GET", "/api/users/ada", &headers, "");
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, welcome.then_some(origin)));
        let written = runner.send_json("POST", "/api/users/ada/state", &headers, json!({"isMuted": true}));
        assert_eq!(written.status, if welcome { 200 } else { 403 }, "{origin}");
    }
}

#[test]
fn the_port_for_tools_refuses_every_page() {
    let runner = runner(&[], &[]);
    let url = runner.dynamodb.as_deref().unwrap();
    let host = url.trim_start_matches("http://");
    assert_eq!(status(url, host, ""), 200);
    for header in ["Origin: https://evil.example", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"] {
        assert_eq!(status(url, host, &format!("{header}\r\n")), 403, "{header}");
    }
    let mut wire = Wire::open(url);
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    ));
    let answer = wire.answer().unwrap();
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("origin_forbidden")));
}

#[test]
fn the_socket_for_commands_refuses_every_page() {
    let data = TempDir::new().unwrap();
    let _runner = Runner::start(&["--data-dir", data.path().to_str().unwrap()]);
    for (headers, wanted) in [
        ("Host: localhost\r\n", "200"),
        ("Host: evil.example\r\n", "421"),
        ("Host: localhost\r\nOrigin: http://localhost\r\n", "403"),
    ] {
        let mut socket = UnixStream::connect(data.path().join("engine.sock")).unwrap();
        socket.write_all(format!("GET / HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert_eq!(&answer[9..12], wanted, "{headers}");
    }
}

#[test]
fn a_runner_that_is_open_to_every_page_warns() {
    let warned = |env: &[(&str, &str)]| {
        let mut runner = Runner::start_with_env(&["--ephemeral"], env);
        runner.signal("TERM");
        let (_, log) = runner.wait();
        log.iter().any(|line| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("any web page"))
    };
    assert!(warned(&[("CORS_ORIGIN", "*")]));
    assert!(!warned(&[("CORS_ORIGIN", "*"), ("AUTH_MODE", "strict")]));
    assert!(!warned(&[]));
}

/// A web server with one empty page, on a port of its own. Dropping it ends its connections, so that the browser has to
/// open new ones.
struct Site {
    url: String,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let (connections, ended) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (opened, stopped) = (Arc::clone(&connections), Arc::clone(&ended));
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                opened.lock().unwrap().push(stream.try_clone().unwrap());
                // Browsers open connections in advance, before they have a request.
                std::thread::spawn(move || greet(stream));
            }
        });
        Self { url, connections, ended, serving: Some(serving) }
    }

    fn port(&self) -> &str {
        self.url.trim_end_matches('/').rsplit_once(':').unwrap().1
    }
}

fn greet(mut stream: TcpStream) {
    let page = "<!doctype html><p>hello";
    if stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length";
        let _ = write!(stream, "{head}: {}\r\n\r\n{page}", page.len());
        let _ = stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(format!("127.0.0.1:{}", self.port()));
        let _ = self.serving.take().map(JoinHandle::join);
        for connection in self.connections.lock().unwrap().iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Sends a request from the open page. Returns the status, `opaque` if the page may not see it, or `failed`.
fn fetched(browser: &Browser, url: &str, options: &str) -> Value {
    browser.run(&format!(
        "return fetch('{url}', {options}).then((answer) => answer.type === 'opaque' ? 'opaque' : answer.status, () => 'failed');"
    ))
}

/// Opens a WebSocket from the page that is open: `open`, or `refused`.
fn connected(browser: &Browser, url: &str) -> Value {
    let url = format!("{}{SOCKET_PATH}", url.replacen("http", "ws", 1));
    browser.run(&format!(
        "return new Promise((done) => {{
           const socket = new WebSocket('{url}', 'greenroom.v1');
           socket.onopen = () => {{ socket.close(); done('open'); }};
           socket.onerror = () => done('refused');
         }});"
    ))
}

/// The requests about this person that a page can send on its own: with a preflight, without one, by a form, and a read
/// of an answer.
fn attack(browser: &Browser, url: &str, ada: &Member) -> Vec<Value> {
    let user = format!("{url}/api/users/{}", ada.id);
    let open = "body: '{\"isMuted\":false}'";
    let attempts = [
        (
            format!("{user}/state"),
            format!("{{method: 'POST', headers: {{'content-type': 'application/json'}}, {open}}}"),
        ),
        (format!("{user}/state"), format!("{{method: 'POST', mode: 'no-cors', {open}}}")),
        (format!("{user}/pairing"), "{method: 'POST', mode: 'no-cors'}".to_owned()),
        (user.clone(), "{method: 'DELETE'}".to_owned()),
        (user, "{}".to_owned()),
    ];
    attempts.iter().map(|(url, options)| fetched(browser, url, options)).collect()
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_real_page_of_another_site_reads_nothing_and_changes_nothing
}

fn a_real_page_of_another_site_reads_nothing_and_changes_nothing(mode: Mode) {
    let runner = nameless(&mode.args(), &[]);
    let ada = Member::first(mode, &runner, "demo", "ada", json!({"isMuted": true}));
    let user = format!("/api/users/{}", ada.id);
    let before = ada.get(&runner, &user).text;
    let pairing = format!("{user}/pairing");
    let pairings = |runner: &Runner| {
        let log = runner.log();
        log.iter().filter(|line| line["path"] == pairing && line["statusCode"] == 201).count()
    };
    let site = Site::start();
    let browser = Browser::start();
    browser.open(&site.url);
    assert_eq!(attack(&browser, &runner.url, &ada), ["failed", "opaque", "opaque", "failed", "failed"]);
    let dynamodb = runner.dynamodb.as_deref().unwrap();
    assert_eq!(fetched(&browser, dynamodb, "{}"), "failed");
    // A browser sends no preflight for these, and would let the page read.
    assert_eq!(connected(&browser, &runner.url), "refused");
    runner.await_log(|line| line["path"] == SOCKET_PATH && line["statusCode"] == 403);
    browser.run(&format!(
        "const form = document.createElement('form'); form.method = 'POST'; form.enctype = 'text/plain'; \
         form.action = '{}{pairing}'; document.body.append(form); form.submit();",
        runner.url
    ));
    browser.wait("document.body.innerText.includes('origin_forbidden')");

    assert_eq!(ada.get(&runner, &user).text, before);
    runner.log_of(&runner.get("/api/health"));
    assert_eq!(pairings(&runner), 0);

    browser.open(&runner.url);
    let mut headers = json!({"content-type": "application/json"});
    if let Some(bearer) = ada.bearer() {
        headers["authorization"] = bearer.into();
    }
    let options = format!("{{method: 'PATCH', headers: {headers}, body: '{{\"isMuted\":false}}'}}");
    let own = fetched(&browser, &format!("{user}/mute"), &options);
    assert_eq!((own, connected(&browser, &runner.url)), (json!(200), json!("open")), "its own page may");
}

in_both_modes! {
    #[cfg_attr(not(has_chromium), ignore = "needs chromium and chromedriver")]
    a_page_that_rebinds_its_name_to_this_machine_reads_nothing_and_changes_nothing
}

fn a_page_that_rebinds_its_name_to_this_machine_reads_nothing_and_changes_nothing(mode: Mode) {
    let browser = Browser::resolving("evil.example", "127.0.0.1");
    let site = Site::start();
    let port = site.port().to_owned();
    let rebound = format!("http://evil.example:{port}");
    browser.open(&rebound);
    // The name now leads to the runner on the same port. For the browser, it is still the same site.
    drop(site);
    let runner = nameless(&[&["--port", &port], &mode.args()[..]].concat(), &[]);
    let ada = Member::first(mode, &runner, "demo", "ada", json!({"isMuted": true}));
    let user = format!("/api/users/{}", ada.id);
    let before = ada.get(&runner, &user).text;
    assert_eq!(attack(&browser, &rebound, &ada), [421, 421, 421, 421, 421]);
    assert_eq!(connected(&browser, &rebound), "refused");
    assert_eq!(ada.get(&runner, &user).text, before);

    let dynamodb = runner.dynamodb.as_ref().unwrap().replace("127.0.0.1", "evil.example");
    for url in [rebound, dynamodb] {
        browser.open(&url);
        browser.wait("document.body.innerText.includes('misdirected_request')");
    }
}
