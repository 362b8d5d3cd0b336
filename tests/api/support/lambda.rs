//! The real function binaries under a stand-in for Lambda's runtime API.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use super::process::Process;
use super::witness::engine;
use super::{PATIENCE, Reply, Runner, binary, read};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tiny_http::{Header, Method, Request, Response, Server};
use ureq::http::{HeaderMap, HeaderName};

/// A function's process. It is killed when dropped.
pub(crate) struct Lambda {
    process: Process,
    runtime: Server,
}

/// The variables that Lambda sets for every function, and the variables of the template.
pub(crate) fn environment<'a>(binary: &'a str, database: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("AWS_LAMBDA_FUNCTION_NAME", binary),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/test"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_SESSION_TOKEN", "test"),
        ("AWS_ENDPOINT_URL_DYNAMODB", database),
        // No process listens there, so no test calls the real CloudWatch.
        ("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9"),
        ("STATE_TABLE", "greenroom-state"),
        ("LEDGER_TABLE", "greenroom-ledger"),
        ("STAGE", "dev"),
        ("AUTH_MODE", "open"),
        ("CORS_ORIGIN", "https://page.example"),
        ("TOKEN_KEYS", &TOKEN_KEYS),
    ]
}

/// The public half of [`signer`](super::rooms::signer).
static TOKEN_KEYS: LazyLock<String> = LazyLock::new(|| super::rooms::signer().public());

/// Puts the key that signs tokens into a runner's table, for functions on its database. The runner goes on with its own.
pub(crate) fn install_key(runner: &Runner) {
    let seed = BASE64_STANDARD.encode(super::rooms::SEED);
    let item = json!({"pk": {"S": "SIGNING#tokens"}, "sk": {"S": "META"}, "seed": {"B": seed}});
    engine(runner, "PutItem", &json!({"TableName": "greenroom-state", "Item": item}));
}

impl Lambda {
    /// Starts a function in open mode on the database at this URL.
    pub(crate) fn start(binary: &str, database: &str) -> Self {
        Self::start_with(binary, &environment(binary, database))
    }

    /// Starts a function with these environment variables.
    pub(crate) fn start_with(name: &str, env: &[(&str, &str)]) -> Self {
        let runtime = Server::http("127.0.0.1:0").unwrap();
        let address = runtime.server_addr().to_string();
        let env = [env, &[("AWS_LAMBDA_RUNTIME_API", address.as_str())]].concat();
        let process = Process::start(&mut Command::new(binary(name)), &env);
        Self { process, runtime }
    }

    /// Gives an event to an endpoint, and returns the HTTP answer.
    pub(crate) fn invoke(&self, event: &Value) -> Reply {
        reply(&self.run(event))
    }

    /// Gives an event to the function, and returns its result.
    pub(crate) fn run(&self, event: &Value) -> Value {
        self.outcome(event, "response")
    }

    /// Gives an event to the function, which must fail, and returns its error.
    pub(crate) fn fail(&self, event: &Value) -> Value {
        self.outcome(event, "error")
    }

    /// Gives an event to the function with this much time, and returns its result.
    pub(crate) fn run_within(&self, event: &Value, time: Duration) -> Value {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        self.run_until(event, deadline.as_millis())
    }

    /// The same with a deadline in milliseconds since 1970.
    pub(crate) fn run_until(&self, event: &Value, deadline_ms: u128) -> Value {
        self.outcome_until(event, "response", deadline_ms)
    }

    fn outcome(&self, event: &Value, expected: &str) -> Value {
        self.outcome_until(event, expected, 4_102_444_800_000)
    }

    fn outcome_until(&self, event: &Value, expected: &str, deadline_ms: u128) -> Value {
        let next = self.request();
        assert_eq!((next.method(), next.url()), (&Method::Get, "/2018-06-01/runtime/invocation/next"));
        let header = |name: &str, value: &str| Header::from_bytes(name, value).unwrap();
        let response = Response::from_string(event.to_string())
            .with_header(header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"))
            .with_header(header("Lambda-Runtime-Deadline-Ms", &deadline_ms.to_string()))
            .with_header(header(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-east-1:123456789012:function:test",
            ))
            .with_header(header("Lambda-Runtime-Trace-Id", "Root=1-69b30e1e-abcdef0123456789abcdef00;Sampled=0"));
        next.respond(response).unwrap();

        let mut answered = self.request();
        let url = answered.url().to_owned();
        let answer: Value = serde_json::from_reader(answered.as_reader()).unwrap();
        answered.respond(Response::empty(202)).unwrap();
        assert!(url.ends_with(&format!("/8476a536-e9f4-11e8-9739-2dfe598c3fcd/{expected}")), "{url}: {answer}");
        answer
    }

    /// Waits for the first line that `wanted` accepts, and returns it.
    pub(crate) fn await_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.process.await_log(wanted)
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.process.log()
    }

    /// Waits for the line of a request, and returns it. If several lines have its id, the first one.
    pub(crate) fn log_of(&self, reply: &Reply) -> Value {
        let id = reply.header("x-request-id").unwrap();
        self.process.await_log(|line| line["requestId"] == id && line.get("statusCode").is_some())
    }

    /// Waits until the function ends. Returns its exit code and its standard error.
    pub(crate) fn wait(mut self) -> (i32, String) {
        self.process.wait()
    }

    /// The function's next request to the runtime API.
    fn request(&self) -> Request {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(request) = self.runtime.recv_timeout(Duration::from_millis(50)).unwrap() {
                return request;
            }
            assert!(!self.process.has_ended() && Instant::now() < deadline, "the function does not ask for work");
        }
    }
}

/// The HTTP answer that API Gateway makes of a function's result.
pub(crate) fn reply(answer: &Value) -> Reply {
    let mut headers = HeaderMap::new();
    for members in ["headers", "multiValueHeaders"] {
        for (name, values) in answer[members].as_object().into_iter().flatten() {
            let name: HeaderName = name.parse().unwrap();
            let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
            for value in values {
                let value = value.as_str().unwrap().parse().unwrap();
                if !headers.get_all(&name).iter().any(|known| known == value) {
                    headers.append(name.clone(), value);
                }
            }
        }
    }
    assert_ne!(answer["isBase64Encoded"], json!(true), "our bodies are text");
    Reply {
        status: u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap(),
        headers,
        text: answer["body"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The event of a function, from the folder `events`.
pub(crate) fn event(binary: &str) -> Value {
    serde_json::from_str(&read(&format!("events/{binary}.json"))).unwrap()
}
