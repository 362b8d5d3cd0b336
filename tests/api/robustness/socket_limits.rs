//! Limits that end a connection, set to short times, and posts to connections with AWS's own client. The gateway runs
//! in this process.

use crate::support::socket::{OFFER, Socket};
use crate::support::{PATIENCE, await_that};
use aws::Credentials;
use aws_sdk_apigatewaymanagement::Client;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Config, Region};
use aws_sdk_apigatewaymanagement::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use functions::{Observer, RequestLine};
use local::access::Access;
use local::client;
use local::engine::Engine;
use local::gateway::{self, Gateway, Limits};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Records the routes of all answers.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn answered(&self, line: &RequestLine<'_>) {
        self.0.lock().unwrap().push(line.route.to_owned());
    }
}

struct Bed {
    url: String,
    engine: Engine,
    client: Client,
    seen: Arc<Seen>,
    runtime: Runtime,
    stop: watch::Sender<bool>,
}

impl Bed {
    fn start(limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        let (url, engine, client) = runtime.block_on(async {
            let config = config::Config::of_runner(|_| None).unwrap();
            let template = Template::parse(TEMPLATE).unwrap();
            let store = storage::open(&Location::Memory, &template, &config).unwrap();
            let (engine, _) = Engine::start(store.database).unwrap();
            let listener = gateway::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let address = listener.local_addr().unwrap();
            let access = Access::of_page(address, None, &config.cors_origins);
            let context = client::context(engine.admitted(), config, seen.clone());
            let gateway = Gateway::new(&template, context, engine.clone(), access, limits).unwrap();
            let config = Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("test", "test", None, None, "test"))
                .endpoint_url("https://local.execute-api.us-east-1.amazonaws.com/live")
                .retry_config(RetryConfig::disabled())
                .http_client(gateway.management());
            tokio::spawn(gateway::run(listener, Arc::new(gateway), stopped, Duration::from_secs(5)));
            (format!("http://{address}"), engine, Client::from_conf(config.build()))
        });
        Self { url, engine, client, seen, runtime, stop }
    }

    fn connect(&self) -> Socket {
        Socket::open(&self.url, &[OFFER]).unwrap()
    }

    /// The ids of the connections in the table.
    fn ids(&self) -> Vec<String> {
        let request = json!({"TableName": "greenroom-state"}).to_string().into_bytes();
        let (_, answer) = self.runtime.block_on(self.engine.call("Scan".to_owned(), request)).unwrap();
        let table: Value = serde_json::from_slice(&answer).unwrap();
        let keys = table["Items"].as_array().unwrap().iter().map(|item| item["pk"]["S"].as_str().unwrap().to_owned());
        keys.map(|key| key.strip_prefix("CONN#").unwrap().to_owned()).collect()
    }

    /// Waits until this many connections are stored and can be posted to, and returns their ids. A connection is stored
    /// before its handshake is answered, and takes posts a moment after that.
    fn await_open(&self, count: usize) -> Vec<String> {
        let ids = self.await_ids(count);
        let is_open =
            |id: &String| self.runtime.block_on(self.client.get_connection().connection_id(id).send()).is_ok();
        await_that("the connections take posts", || ids.iter().all(is_open));
        ids
    }

    fn await_ids(&self, wanted: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ids = self.ids();
            if ids.len() == wanted {
                return ids;
            }
            assert!(Instant::now() < deadline, "{} connections instead of {wanted}", ids.len());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Posts to a connection. Returns the status and name of the error if the post is refused.
    fn post(&self, id: &str, data: impl Into<Vec<u8>>) -> Result<(), (u16, String)> {
        let post = self.client.post_to_connection().connection_id(id).data(Blob::new(data));
        self.runtime.block_on(post.send()).map(drop).map_err(|error| refusal(&error))
    }
}

fn refusal<E: ProvideErrorMetadata>(error: &SdkError<E>) -> (u16, String) {
    let status = error.raw_response().unwrap().status().as_u16();
    (status, error.code().unwrap().to_owned())
}

/// Longer than any answer takes, even on a slow machine.
const SHORT: Duration = Duration::from_secs(1);

#[test]
fn a_silent_connection_is_closed_and_a_busy_one_stays() {
    let bed = Bed::start(Limits { idle: SHORT, ..Limits::default() });
    let (mut silent, mut busy) = (bed.connect(), bed.connect());
    let closed = std::thread::spawn(move || silent.closed());
    let begin = Instant::now();
    while begin.elapsed() < 3 * SHORT {
        assert_eq!(busy.ping()["event"], "ack");
        std::thread::sleep(SHORT / 6);
    }
    assert_eq!(closed.join().unwrap(), Some(1001));
    bed.await_ids(1);
}

/// AWS does not document whether protocol pings keep a connection open there, so a client must not rely on it.
#[test]
fn protocol_pings_do_not_keep_a_connection_open() {
    let bed = Bed::start(Limits { idle: SHORT, ..Limits::default() });
    let mut socket = bed.connect();
    let begin = Instant::now();
    while begin.elapsed() < 3 * SHORT {
        socket.send(tokio_tungstenite::tungstenite::Message::Ping(vec![1].into()));
        std::thread::sleep(SHORT / 6);
    }
    assert_eq!(socket.closed(), Some(1001));
}

#[test]
fn even_a_busy_connection_is_closed_at_the_end_of_its_lifetime() {
    let bed = Bed::start(Limits { life: SHORT, ..Limits::default() });
    let mut socket = bed.connect();
    let begin = Instant::now();
    loop {
        socket.say(json!({"event": "ping"}));
        if socket.hear().is_none() {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "it is never closed");
        std::thread::sleep(SHORT / 10);
    }
    assert!(begin.elapsed() >= SHORT / 2, "{:?}", begin.elapsed());
    bed.await_ids(0);
}

#[test]
fn more_messages_are_passed_on_when_the_next_window_begins() {
    let bed = Bed::start(Limits { messages: 2, window: SHORT, ..Limits::default() });
    let mut socket = bed.connect();
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(socket.ping()["event"], "ack");
        }
        assert_eq!(socket.ping()["message"], "Too Many Requests");
        std::thread::sleep(SHORT + SHORT / 4);
    }
}

#[test]
fn a_slow_reader_is_disconnected_and_delays_nobody() {
    let bed = Bed::start(Limits { slow: SHORT, ..Limits::default() });
    // The client's receive buffer is small, so messages to it soon wait in the server.
    let slow = bed.runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(bed.url.trim_start_matches("http://").parse().unwrap()).await.unwrap().into_std().unwrap()
    });
    slow.set_nonblocking(false).unwrap();
    let _slow = Socket::over(slow, &bed.url, &[OFFER]).unwrap();
    let id = bed.await_open(1).remove(0);
    let mut other = bed.connect();
    let (begin, mut refusals) = (Instant::now(), 0);
    let gone = loop {
        match bed.post(&id, "x".repeat(60_000)) {
            Ok(()) => {}
            Err((429, name)) => {
                assert_eq!(name, "LimitExceededException");
                refusals += 1;
                assert_eq!(other.ping()["event"], "ack");
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(refused) => break refused,
        }
        assert!(begin.elapsed() < PATIENCE, "it is never cut off");
    };
    assert_eq!((gone.0, gone.1.as_str(), refusals > 0), (410, "GoneException", true));
    bed.await_ids(1);
}

#[test]
fn the_aws_client_posts_to_connections_describes_and_closes_them() {
    let bed = Bed::start(Limits::default());
    let (mut ada, mut bob) = (bed.connect(), bed.connect());
    let ids = bed.await_open(2);
    for id in &ids {
        bed.post(id, json!({"event": "news", "to": id}).to_string()).unwrap();
    }
    let heard = [ada.hear().unwrap(), bob.hear().unwrap()];
    assert!(ids.iter().all(|id| heard.iter().any(|heard| heard["to"] == **id)), "{heard:?}");
    for number in 0..50 {
        bed.post(&ids[0], json!({"n": number}).to_string()).unwrap();
    }
    let mut first = if heard[0]["to"] == *ids[0] { ada } else { bob };
    assert!((0..50).all(|number| first.hear().unwrap()["n"] == number), "one after the other");

    let asked = bed.client.get_connection().connection_id(&ids[0]).send();
    let asked = bed.runtime.block_on(asked).unwrap();
    assert_eq!(asked.identity().unwrap().source_ip(), Some("127.0.0.1"));
    assert!(asked.connected_at().unwrap() <= asked.last_active_at().unwrap());

    let closed = bed.client.delete_connection().connection_id(&ids[0]).send();
    bed.runtime.block_on(closed).unwrap();
    assert_eq!(first.closed(), Some(1000));
    bed.await_ids(1);
    assert_eq!(bed.post(&ids[0], "late"), Err((410, "GoneException".to_owned())));
}

#[test]
fn invalid_posts_are_refused_as_on_aws() {
    let bed = Bed::start(Limits::default());
    let mut socket = bed.connect();
    let id = bed.await_open(1).remove(0);
    assert_eq!(bed.post("bm9ib2R5", "x"), Err((410, "GoneException".to_owned())));
    assert_eq!(bed.post(&id, "x".repeat(128 * 1024 + 1)), Err((413, "PayloadTooLargeException".to_owned())));
    assert_eq!(bed.post(&id, vec![0xff, 0xfe]), Err((400, "BadRequestException".to_owned())));
    let elsewhere =
        bed.client.config().to_builder().endpoint_url("https://local.execute-api.us-east-1.amazonaws.com/other");
    let post = Client::from_conf(elsewhere.build()).post_to_connection().connection_id(&id).data(Blob::new("x"));
    let refused = bed.runtime.block_on(post.send()).unwrap_err();
    assert_eq!(refusal(&refused), (403, "ForbiddenException".to_owned()));
    let asked = bed.client.get_connection().connection_id("bm9ib2R5").send();
    assert_eq!(refusal(&bed.runtime.block_on(asked).unwrap_err()).0, 410);
    let closed = bed.client.delete_connection().connection_id("bm9ib2R5").send();
    assert_eq!(refusal(&bed.runtime.block_on(closed).unwrap_err()).0, 410);
    bed.post(&id, "\"x\"").unwrap();
    assert_eq!(socket.hear().unwrap(), "x", "and nothing else came");
}

#[test]
fn a_function_is_called_once_for_each_event() {
    let bed = Bed::start(Limits::default());
    let mut socket = bed.connect();
    socket.ping();
    socket.ask(json!({"event": "fly"}));
    socket.close();
    bed.await_ids(0);
    // The item is gone before its function has answered.
    await_that("the end of the connection was answered", || bed.seen.0.lock().unwrap().len() >= 4);
    bed.stop.send(true).unwrap();
    assert_eq!(*bed.seen.0.lock().unwrap(), ["WS $connect", "WS ping", "WS $default", "WS $disconnect"]);
}
