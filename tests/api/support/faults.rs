//! The embedded engine below the SDK, with faults between the two: handlers, client, time-outs and retries are those of
//! production.

use super::Reply;
use super::iam::{Use, needed};
use aws::{Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use config::Config;
use domain::ConnectionId;
use functions::function::{Declared, FunctionKind};
use functions::{Address, Consumer, Context, DECLARED, Handler, Live, Observer, Request, RequestLine, answer};
use lambda_http::{Body, RequestExt as _};
use local::engine::Engine;
use local::pump::{BEHIND_MAX, Pump};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use push::{Lost, Posted, Posts};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use store::dynamodb::{Client, persistent};
use telemetry::lag::Lag;
use tokio::sync::{Notify, watch};

/// The fault of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Refused because there are too many; nothing happens.
    Throttle,
    /// Refused because a transaction is at work on the item; nothing happens.
    Conflict,
    /// It fails before anything happens.
    LostBefore,
    /// It takes effect, and the answer is lost.
    LostAfter,
    /// It takes effect, and fails all the same.
    ErrorAfter,
    /// No answer ever comes; nothing happens.
    Hang,
    /// It takes effect, and no answer ever comes.
    HangAfter,
    /// A batch of reads or writes takes effect except for this many of its items, which come back unprocessed. One is
    /// done always.
    Unprocessed(usize),
    /// It takes effect, and this function changes the answer, for example to the state of a moment before.
    Answers(fn(&mut Value)),
}

/// Chooses the fault of the n-th call, by number and operation.
pub(crate) type Plan = Box<dyn FnMut(usize, &str) -> Option<Fault> + Send>;

/// A plan that lets call `number` end in `fault`, which must give no answer, and a notice of that call. A task that is
/// dropped at this notice stops like a killed process.
pub(crate) fn kill_at(number: usize, fault: Fault) -> (Plan, Arc<Notify>) {
    let stop = Arc::new(Notify::new());
    let killer = Arc::clone(&stop);
    let plan: Plan = Box::new(move |n, _| {
        (n == number).then(|| {
            killer.notify_one();
            fault
        })
    });
    (plan, stop)
}

/// One database, and a record of the calls to it.
#[derive(Clone)]
pub(crate) struct Faulty {
    engine: Engine,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    plan: Plan,
    calls: Vec<String>,
    used: BTreeSet<Use>,
    index: Option<LaggingIndex>,
}

/// The room index as it was some writes ago.
struct LaggingIndex {
    writes: usize,
    /// The state table's items after each of the last writes.
    past: VecDeque<Vec<Value>>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    /// An empty database without faults. Must be called inside a tokio runtime.
    pub(crate) fn new() -> Self {
        let config = Config::of_runner(|_| None).unwrap();
        let template = Template::parse(TEMPLATE).unwrap();
        let store = storage::open(&Location::Memory, &template, &config).unwrap();
        let (engine, _) = Engine::start(store.database).unwrap();
        Self {
            engine,
            shared: Arc::new(Mutex::new(Shared {
                plan: Box::new(|_, _| None),
                calls: Vec::new(),
                used: BTreeSet::new(),
                index: None,
            })),
        }
    }

    /// From now on `plan` chooses the fault of each call, counted from 0. Clears the record.
    pub(crate) fn be(&self, plan: Plan) {
        let mut shared = self.shared.lock().unwrap();
        shared.plan = plan;
        shared.calls.clear();
        shared.used.clear();
    }

    /// From now on there are no faults.
    pub(crate) fn be_well(&self) {
        self.be(Box::new(|_, _| None));
    }

    /// From now on the room index lags by this many writes. `None`: it does not lag.
    pub(crate) async fn lag(&self, writes: Option<usize>) {
        let past = VecDeque::from([items(&self.engine).await]);
        self.shared.lock().unwrap().index = writes.map(|writes| LaggingIndex { writes, past });
    }

    /// The operations since [`Faulty::be`].
    pub(crate) fn calls(&self) -> Vec<String> {
        self.shared.lock().unwrap().calls.clone()
    }

    /// The permissions for which IAM would have been asked since [`Faulty::be`].
    pub(crate) fn used(&self) -> BTreeSet<Use> {
        self.shared.lock().unwrap().used.clone()
    }

    /// The context that handlers get on AWS, with this database.
    pub(crate) fn context(&self) -> Context {
        let mut config = Config::of_runner(|_| None).unwrap();
        config.rooms.token_keys = super::rooms::signer().public().parse().unwrap();
        let live = Some(Live::new(Deserted(Arc::clone(&self.shared))));
        Context { live, ..Context::new(self.client(), config, Arc::new(Silent)) }
    }

    /// The client of a function, with this database.
    pub(crate) fn client(&self) -> Client {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let config = persistent(self.clone())
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .endpoint_url("http://faulty.invalid");
        Client::from_conf(config.build())
    }

    /// Runs the consumers of the stream, without faults, until the returned sender sends `true`.
    pub(crate) fn follow(&self) -> watch::Sender<bool> {
        self.follow_by(functions::CONSUMERS.iter().map(|(_, consumer)| *consumer).collect()).1
    }

    /// Runs other consumers of the stream. Returns its lag, and the sender that stops it.
    pub(crate) fn follow_by(&self, consumers: Vec<Consumer>) -> (Arc<Lag>, watch::Sender<bool>) {
        let (stop, stopped) = watch::channel(false);
        let config = Config::of_runner(|_| None).unwrap();
        let pump = Pump::new(&self.engine, &config, Arc::new(Silent), consumers, BEHIND_MAX);
        let lag = pump.lag();
        tokio::spawn(pump.run(stopped));
        (lag, stop)
    }

    /// Executes one operation without faults.
    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Value {
        let answer = Engine::call(&self.engine, operation.to_owned(), body.to_string().into()).await;
        let (status, answer) = answer.unwrap();
        assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap()
    }

    /// All items of the state table, read without faults.
    pub(crate) async fn items(&self) -> Vec<Value> {
        items(&self.engine).await
    }

    /// Makes these the items of the state table again. It is quicker than to make them anew.
    pub(crate) async fn put_back(&self, items: &[Value]) {
        let now = self.items().await;
        let key = |item: &Value| json!({"pk": item["pk"], "sk": item["sk"]});
        for item in now.iter().filter(|item| items.iter().all(|old| key(old) != key(item))) {
            self.call("DeleteItem", &json!({"TableName": "greenroom-state", "Key": key(item)})).await;
        }
        for item in items.iter().filter(|item| !now.contains(item)) {
            self.call("PutItem", &json!({"TableName": "greenroom-state", "Item": item})).await;
        }
    }

    /// All items of the state table by partition key, read without faults. What people write in a room shares the room's
    /// partition, so its sort key follows.
    pub(crate) async fn stored(&self) -> Value {
        let key = |item: &Value| match (item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap()) {
            (room, sort) if room.starts_with("ROOM#") && sort != "META" => format!("{room} {sort}"),
            (only, _) => only.to_owned(),
        };
        items(&self.engine).await.into_iter().map(|item| (key(&item), item)).collect::<serde_json::Map<_, _>>().into()
    }
}

/// A gateway at which no connection is open.
struct Deserted(Arc<Mutex<Shared>>);

impl std::fmt::Debug for Deserted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deserted")
    }
}

impl Posts for Deserted {
    fn post<'a>(&'a self, _: &'a ConnectionId, _: &'a str) -> Posted<'a> {
        self.0.lock().unwrap().used.insert(Use::of_connections());
        Box::pin(async { Err(Lost::Gone) })
    }

    fn close<'a>(&'a self, _: &'a ConnectionId) -> Posted<'a> {
        Box::pin(async { Err(Lost::Gone) })
    }
}

async fn items(engine: &Engine) -> Vec<Value> {
    let body = json!({"TableName": "greenroom-state"}).to_string();
    let (status, answer) = Engine::call(engine, "Scan".to_owned(), body.into()).await.unwrap();
    assert_eq!(status, 200);
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    serde_json::from_value(answer["Items"].take()).unwrap()
}

impl LaggingIndex {
    /// The result of a query for one room.
    fn query(&self, body: &Value) -> Value {
        assert!(body["ExclusiveStartKey"].is_null(), "one page is enough here");
        let mut items = self.past.front().unwrap().clone();
        items.retain(|item| item["roomId"] == body["ExpressionAttributeValues"][":roomId"]);
        items.sort_by_key(|item| item["pk"]["S"].as_str().unwrap().to_owned());
        json!({"Count": items.len(), "ScannedCount": items.len(), "Items": items})
    }
}

struct Silent;

impl Observer for Silent {
    fn answered(&self, _: &RequestLine<'_>) {}
}

impl HttpConnector for Faulty {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let fault = {
            let mut shared = self.shared.lock().unwrap();
            let number = shared.calls.len();
            shared.calls.push(operation.clone());
            shared.used.extend(needed(&operation, &serde_json::from_slice(&body).unwrap()));
            (shared.plan)(number, &operation)
        };
        let (engine, shared) = (self.engine.clone(), Arc::clone(&self.shared));
        HttpConnectorFuture::new(async move {
            let lost = || ConnectorError::io("the connection broke".into());
            match fault {
                Some(Fault::Throttle) => return Ok(refusal(400, "ProvisionedThroughputExceededException")),
                Some(Fault::Conflict) => return Ok(refusal(400, "TransactionConflictException")),
                Some(Fault::LostBefore) => return Err(lost()),
                Some(Fault::Hang) => return std::future::pending().await,
                Some(
                    Fault::LostAfter | Fault::ErrorAfter | Fault::HangAfter | Fault::Unprocessed(_) | Fault::Answers(_),
                )
                | None => {}
            }
            if operation == "Query" {
                let query = serde_json::from_slice::<Value>(&body).unwrap();
                let shared = shared.lock().unwrap();
                if let Some(index) = shared.index.as_ref().filter(|_| query["IndexName"] == "room-index") {
                    return Ok(HttpResponse::new(
                        StatusCode::try_from(200).unwrap(),
                        index.query(&query).to_string().into(),
                    ));
                }
            }
            let (body, unprocessed) = match fault {
                Some(Fault::Unprocessed(items)) => split(&body, items),
                _ => (body, None),
            };
            let is_read = operation == "BatchGetItem";
            let (status, body) = Engine::call(&engine, operation, body).await.unwrap();
            if let Some(unprocessed) = unprocessed.filter(|_| status == 200) {
                let mut answer: Value = serde_json::from_slice(&body).unwrap();
                let left = if is_read { "UnprocessedKeys" } else { "UnprocessedItems" };
                answer[left] = unprocessed;
                return Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), answer.to_string().into()));
            }
            let lags = shared.lock().unwrap().index.is_some();
            if lags {
                let now = items(&engine).await;
                let mut shared = shared.lock().unwrap();
                let index = shared.index.as_mut().unwrap();
                if index.past.back() != Some(&now) {
                    index.past.push_back(now);
                }
                while index.past.len() > index.writes + 1 {
                    index.past.pop_front();
                }
            }
            match fault {
                Some(Fault::LostAfter) => Err(lost()),
                Some(Fault::HangAfter) => std::future::pending().await,
                Some(Fault::Answers(edit)) => {
                    let mut answer: Value = serde_json::from_slice(&body).unwrap();
                    edit(&mut answer);
                    Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), answer.to_string().into()))
                }
                Some(Fault::ErrorAfter) => Ok(refusal(500, "InternalServerError")),
                _ => Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), body.into())),
            }
        })
    }
}

/// Takes this many of the last items out of a batch, which keeps at least one per table. Returns the batch and the
/// rest.
fn split(body: &[u8], items: usize) -> (Vec<u8>, Option<Value>) {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    let tables = body["RequestItems"].as_object_mut().unwrap();
    let mut left = json!({});
    for (table, requests) in tables.iter_mut() {
        // A batch of reads has its keys beside how it reads them.
        let reads = requests.get("Keys").is_some().then(|| requests.clone());
        let requests = if reads.is_some() { &mut requests["Keys"] } else { requests };
        let requests = requests.as_array_mut().unwrap();
        let kept = requests.len().saturating_sub(items).max(1);
        let rest = requests.split_off(kept);
        if !rest.is_empty() {
            left[table] = match reads {
                Some(mut reads) => {
                    reads["Keys"] = rest.into();
                    reads
                }
                None => rest.into(),
            };
        }
    }
    (body.to_string().into(), Some(left))
}

fn refusal(status: u16, name: &str) -> HttpResponse {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "a fault of the test"});
    HttpResponse::new(StatusCode::try_from(status).unwrap(), body.to_string().into())
}

impl HttpClient for Faulty {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// One call of an endpoint, as API Gateway would make it.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// The name of the endpoint's binary.
    pub(crate) binary: &'static str,
    pub(crate) parameters: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<String>,
    pub(crate) query: &'static str,
    /// The client's address.
    pub(crate) address: [u8; 4],
}

impl Command {
    pub(crate) fn new(binary: &'static str, parameter: &'static str, value: &str) -> Self {
        Self {
            binary,
            parameters: vec![(parameter, value.to_owned())],
            headers: Vec::new(),
            body: None,
            query: "",
            address: [203, 0, 113, 7],
        }
    }

    /// One command for each endpoint that only reads, about Ada and her room.
    pub(crate) fn readings() -> Vec<Self> {
        let endpoints = DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint);
        let readings = endpoints
            .filter(|declared| declared.function.routes().all(|(method, _)| ["GET", "HEAD", "ANY"].contains(&method)));
        let about = |declared: &Declared| match declared.function.routes().next().unwrap().1 {
            path if path.contains("{userId}") => ("userId", "ada"),
            path if path.contains("{room}") => ("room", "demo"),
            _ => ("none", ""),
        };
        readings
            .map(|declared| {
                let (parameter, value) = about(declared);
                Self::new(declared.name, parameter, value)
            })
            .collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn with(mut self, body: Value) -> Self {
        self.body = Some(body.to_string());
        self
    }

    pub(crate) fn asking(mut self, query: &'static str) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Runs the handler of the endpoint, with all the code around it.
    pub(crate) async fn run(&self, state: &Context) -> Reply {
        let handler: Handler = functions::ENDPOINTS.iter().find(|(name, _)| *name == self.binary).unwrap().1;
        let mut request = lambda_http::http::Request::builder().header("content-type", "application/json");
        request = request.uri(format!("/?{}", self.query));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = self.body.as_ref().map_or(Body::Empty, |body| Body::Text(body.clone()));
        let mut request: Request = request.body(body).unwrap();
        request.extensions_mut().insert(Address(self.address.into()));
        let parameters: HashMap<String, Vec<String>> =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), vec![value.clone()])).collect();
        let answered = answer("TEST", handler, state, request.with_path_parameters(parameters)).await;
        let (parts, body) = answered.into_parts();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }
}
