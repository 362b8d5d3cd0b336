//! A stand-in for CloudWatch: takes data points, answers `GetMetricData` from them, and refuses a request that
//! CloudWatch would refuse.
//!
//! The protocol is Smithy's RPC v2 in CBOR, the only one that the SDK for Rust speaks. A library other than the SDK
//! reads and writes it. Members and rules are those of the service's model.
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use ciborium::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tiny_http::{Header, Request, Response, Server};

const PATH: &str = "/service/GraniteServiceVersion20100801/operation/GetMetricData";
/// The tag of a point in time, in seconds since 1970.
const EPOCH_TAG: u64 = 1;

/// The behaviour of the stand-in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mode {
    /// It answers from the data points.
    Working,
    /// It answers from the data points, with this many values per page.
    Paged(usize),
    /// It answers from the data points, but reports an error for the series with this id.
    Without(&'static str),
    /// It refuses: there are too many calls.
    Throttling,
    /// It refuses permanently.
    Refusing,
    /// It answers 500.
    Failing,
    /// It gives no answer, as long as a function can wait.
    Hanging,
}

/// The key of a series: namespace, metric, and the function if the series has that dimension.
type Key = (String, String, Option<String>);

/// CloudWatch. It stops when dropped.
pub(crate) struct CloudWatch {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    points: Mutex<BTreeMap<Key, Vec<(u64, f64)>>>,
    mode: Mutex<Mode>,
    /// The number of series in each call.
    calls: Mutex<Vec<usize>>,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl CloudWatch {
    pub(crate) fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let shared =
            Arc::new(Shared { points: Mutex::default(), mode: Mutex::new(Mode::Working), calls: Mutex::default() });
        let thread = std::thread::spawn({
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            move || {
                // A request that hangs must not delay the next ones.
                let mut held = Vec::new();
                for request in server.incoming_requests() {
                    held.extend(shared.answer(request));
                }
            }
        });
        Self { url: format!("http://{}", server.server_addr()), shared, server, thread: Some(thread) }
    }

    /// Adds values that were measured this many seconds ago.
    pub(crate) fn put(&self, namespace: &str, metric: &str, function: Option<&str>, seconds_ago: u64, values: &[f64]) {
        let key = (namespace.to_owned(), metric.to_owned(), function.map(str::to_owned));
        let at = now() - seconds_ago;
        self.shared.points.lock().unwrap().entry(key).or_default().extend(values.iter().map(|value| (at, *value)));
    }

    /// Reads the metrics out of a line of a function's log, as CloudWatch Logs does.
    pub(crate) fn ingest(&self, line: &serde_json::Value) {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            let dimension = directive["Dimensions"][0][0].as_str();
            let function = dimension.map(|dimension| line[dimension].as_str().unwrap());
            for definition in directive["Metrics"].as_array().unwrap() {
                let name = definition["Name"].as_str().unwrap();
                let values = line[name].as_array().cloned().unwrap_or_else(|| vec![line[name].clone()]);
                let values: Vec<_> = values.iter().map(|value| value.as_f64().unwrap()).collect();
                self.put(directive["Namespace"].as_str().unwrap(), name, function, 1, &values);
            }
        }
    }

    pub(crate) fn be(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// The number of series in each call since the numbers were last taken.
    pub(crate) fn take_calls(&self) -> Vec<usize> {
        std::mem::take(&mut self.shared.calls.lock().unwrap())
    }
}

impl Drop for CloudWatch {
    fn drop(&mut self) {
        self.server.unblock();
        // A request that the stand-in refuses to read fails the test.
        if let Some(Err(refusal)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(refusal);
        }
    }
}

/// The members of a map, each of which must be known.
fn members<'a>(value: &'a Value, known: &[&str]) -> BTreeMap<&'a str, &'a Value> {
    let members = value.as_map().unwrap().iter().map(|(name, value)| (name.as_text().unwrap(), value));
    let members: BTreeMap<_, _> = members.collect();
    assert!(members.keys().all(|name| known.contains(name)), "a member that the model does not have: {members:?}");
    members
}

fn whole(value: &Value) -> u64 {
    u64::try_from(value.as_integer().unwrap()).unwrap()
}

/// A point in time in whole seconds.
fn epoch(value: &Value) -> u64 {
    let (tag, seconds) = value.as_tag().unwrap_or_else(|| panic!("a timestamp has a tag: {value:?}"));
    assert_eq!(tag, EPOCH_TAG);
    match seconds {
        Value::Integer(_) => whole(seconds),
        other => format!("{:.0}", other.as_float().unwrap()).parse().unwrap(),
    }
}

fn map(members: Vec<(&str, Value)>) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

struct Query {
    id: String,
    key: Key,
    period: u64,
    statistic: String,
}

fn query(value: &Value) -> Query {
    let query = members(value, &["Id", "MetricStat", "Expression", "Label", "ReturnData", "Period", "AccountId"]);
    let id = query["Id"].as_text().unwrap().to_owned();
    assert!(
        id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && id.len() <= 255,
        "{id} is no id"
    );
    let statistic = members(query["MetricStat"], &["Metric", "Period", "Stat", "Unit"]);
    let metric = members(statistic["Metric"], &["Namespace", "MetricName", "Dimensions"]);
    let dimensions = metric.get("Dimensions").map(|list| list.as_array().unwrap().clone()).unwrap_or_default();
    let mut function = dimensions.iter().map(|dimension| {
        let dimension = members(dimension, &["Name", "Value"]);
        assert_eq!(dimension["Name"].as_text(), Some("FunctionName"));
        dimension["Value"].as_text().unwrap().to_owned()
    });
    let text = |name: &str| metric[name].as_text().unwrap().to_owned();
    let period = whole(statistic["Period"]);
    assert!(period > 0 && period.is_multiple_of(60), "a period is whole minutes");
    Query {
        id,
        key: (text("Namespace"), text("MetricName"), function.next_back()),
        period,
        statistic: statistic["Stat"].as_text().unwrap().to_owned(),
    }
}

/// A statistic of values, as CloudWatch defines it. A percentile is one of the values (nearest rank).
fn statistic(name: &str, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let count = u32::try_from(values.len()).unwrap();
    match name {
        "SampleCount" => count.into(),
        "Sum" => values.iter().sum(),
        "Minimum" => values[0],
        "Maximum" => values[values.len() - 1],
        percentile => {
            let share: usize = percentile.strip_prefix('p').unwrap().parse().unwrap();
            values[(values.len() * share).div_ceil(100) - 1]
        }
    }
}

impl Shared {
    /// Answers the request. Returns a request that must stay unanswered.
    fn answer(&self, mut request: Request) -> Option<Request> {
        assert_eq!((request.method().as_str(), request.url()), ("POST", PATH));
        let header = |name: &'static str| {
            let found = request.headers().iter().find(|header| header.field.equiv(name));
            found.unwrap_or_else(|| panic!("{name} is missing")).value.to_string()
        };
        assert_eq!(header("smithy-protocol"), "rpc-v2-cbor");
        assert_eq!((header("content-type"), header("accept")), ("application/cbor".into(), "application/cbor".into()));
        assert!(header("authorization").contains("/us-east-1/monitoring/aws4_request"), "signed for CloudWatch");
        let body: Value = ciborium::from_reader(request.as_reader()).unwrap();
        let known =
            ["MetricDataQueries", "StartTime", "EndTime", "NextToken", "ScanBy", "MaxDatapoints", "LabelOptions"];
        let body = members(&body, &known);
        let queries: Vec<_> = body["MetricDataQueries"].as_array().unwrap().iter().map(query).collect();
        assert!((1..=500).contains(&queries.len()), "{} queries", queries.len());
        self.calls.lock().unwrap().push(queries.len());
        let mode = self.mode.lock().unwrap().clone();
        let error = |status, name: &str| {
            let kind = format!("com.amazonaws.cloudwatch#{name}");
            (status, map(vec![("__type", kind.as_str().into()), ("message", "a fault of the test".into())]))
        };
        let (status, answer) = match &mode {
            Mode::Hanging => return Some(request),
            Mode::Throttling => error(400, "ThrottlingException"),
            Mode::Refusing => error(403, "AccessDenied"),
            Mode::Failing => error(500, "InternalServiceFault"),
            Mode::Working | Mode::Paged(_) | Mode::Without(_) => {
                let (start, end) = (epoch(body["StartTime"]), epoch(body["EndTime"]));
                assert!(start < end, "the time ends before it begins");
                assert_eq!(body["ScanBy"].as_text(), Some("TimestampDescending"));
                let token = body.get("NextToken").map_or(0, |token| token.as_text().unwrap().parse().unwrap());
                (200, self.page(&queries, start, end, token, &mode))
            }
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&answer, &mut bytes).unwrap();
        let header = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
        let response = Response::from_data(bytes)
            .with_status_code(status)
            .with_header(header("Content-Type", "application/cbor"))
            .with_header(header("smithy-protocol", "rpc-v2-cbor"));
        let _ = request.respond(response);
        None
    }

    /// The values of each query, newest first, beginning with the `skip`-th of all.
    fn page(&self, queries: &[Query], start: u64, end: u64, skip: usize, mode: &Mode) -> Value {
        let points = self.points.lock().unwrap();
        let mut left = if let Mode::Paged(size) = mode { *size } else { usize::MAX };
        let (mut seen, mut results, mut more) = (0, Vec::new(), false);
        for query in queries {
            let mut periods: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for (at, value) in points.get(&query.key).into_iter().flatten() {
                if (start..end).contains(at) {
                    periods.entry(start + (at - start) / query.period * query.period).or_default().push(*value);
                }
            }
            let (mut times, mut values, mut status) = (Vec::new(), Vec::new(), "Complete");
            for (at, mut of_period) in periods.into_iter().rev() {
                seen += 1;
                if seen <= skip {
                    continue;
                }
                if left == 0 {
                    (status, more) = ("PartialData", true);
                    break;
                }
                left -= 1;
                times.push(Value::Tag(EPOCH_TAG, Box::new(at.into())));
                values.push(Value::Float(statistic(&query.statistic, &mut of_period)));
            }
            if matches!(mode, Mode::Without(id) if *id == query.id) {
                (times, values, status) = (Vec::new(), Vec::new(), "InternalError");
            }
            results.push(map(vec![
                ("Id", query.id.as_str().into()),
                ("Label", query.key.1.as_str().into()),
                ("Timestamps", Value::Array(times)),
                ("Values", Value::Array(values)),
                ("StatusCode", status.into()),
            ]));
            if more {
                break;
            }
        }
        let mut answer = vec![("MetricDataResults", Value::Array(results)), ("Messages", Value::Array(Vec::new()))];
        if let Mode::Paged(size) = mode
            && more
        {
            answer.push(("NextToken", (skip + size).to_string().into()));
        }
        map(answer)
    }
}

/// An HTTP client for an SDK inside a test.
#[derive(Debug, Clone)]
pub(crate) struct Plain;

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().unwrap();
        let request = request.map(|body| body.bytes().unwrap().to_vec());
        HttpConnectorFuture::new(async move {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let response = tokio::task::spawn_blocking(move || agent.run(request).unwrap()).await.unwrap();
            let (parts, mut body) = response.into_parts();
            let bytes = body.read_to_vec().unwrap();
            Ok(HttpResponse::try_from(ureq::http::Response::from_parts(parts, bytes.into())).unwrap())
        })
    }
}

impl HttpClient for Plain {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
