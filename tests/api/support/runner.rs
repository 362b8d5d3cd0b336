//! The runner as a process, and HTTP to it.

use super::PATIENCE;
pub(crate) use super::binaries::binary;
use super::process::Process;
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};

/// Lets a runner answer to `Host: greenroom`, for requests that are written before its port is known.
pub(crate) const NAMED: (&str, &str) = ("GREENROOM_PUBLIC_URL", "http://greenroom");

/// A running `greenroom` on a port of its own. It is killed when dropped.
pub(crate) struct Runner {
    /// `http://127.0.0.1:<port>`
    pub(crate) url: String,
    /// The URL of the embedded engine in DynamoDB's own protocol, if the runner serves it.
    pub(crate) dynamodb: Option<String>,
    process: Process,
    agent: ureq::Agent,
    // The working directory of the process. A relative data directory is removed with it.
    _directory: TempDir,
}

impl Runner {
    /// Starts `greenroom` with these arguments, on a free port unless they name one, and waits until it listens.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with_env(args, &[])
    }

    /// Starts `greenroom` with these arguments, with these environment variables and [`NAMED`], and without others.
    pub(crate) fn start_with_env(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_as(args, &[&[NAMED], env].concat())
    }

    /// Starts `greenroom` with these arguments, and with exactly these environment variables.
    pub(crate) fn start_as(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::launch(Command::new(binary("greenroom")), args, env)
    }

    /// Starts `greenroom` so that a write beyond the limit of a file's size fails, as on a full disk. Otherwise the
    /// system would end the process.
    pub(crate) fn with_failing_writes(args: &[&str]) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ && exec \"$0\" \"$@\""]).arg(binary("greenroom"));
        Self::launch(command, args, &[NAMED])
    }

    fn launch(mut command: Command, args: &[&str], env: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        if !args.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        command.args(args).current_dir(&directory);
        let process = Process::start(&mut command, env);
        let listening = process.await_log(|line| line["event"] == "listening");
        Self {
            url: listening["url"].as_str().unwrap().to_owned(),
            dynamodb: listening["dynamodb"].as_str().map(str::to_owned),
            process,
            agent: agent(),
            _directory: directory,
        }
    }

    /// A runner that stores nothing on disk, and serves its engine as DynamoDB too.
    pub(crate) fn ephemeral() -> Self {
        Self::start(&["--ephemeral", "--dynamodb-port", "0"])
    }

    /// An ephemeral runner with environment variables.
    pub(crate) fn with_env(env: &[(&str, &str)]) -> Self {
        Self::start_with_env(&["--ephemeral"], env)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All lines logged so far. A line may be written a moment after its answer: see [`Runner::log_of`].
    pub(crate) fn log(&self) -> Vec<Value> {
        self.process.log()
    }

    /// Waits for the first logged line that `wanted` accepts, and returns it.
    pub(crate) fn await_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.process.await_log(wanted)
    }

    /// Waits for the line that is logged for a request, and returns it.
    pub(crate) fn log_of(&self, reply: &Reply) -> Value {
        let request_id = reply.header("x-request-id").unwrap();
        self.await_log(|line| line["requestId"] == request_id && line.get("statusCode").is_some())
    }

    /// Ends the process at once, by SIGKILL, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Sends `TERM` or `INT`.
    pub(crate) fn signal(&mut self, name: &str) {
        self.process.signal(match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            other => panic!("no test needs SIG{other}"),
        });
    }

    /// Waits until the process ends by itself. Returns its exit code and all its lines.
    pub(crate) fn wait(mut self) -> (i32, Vec<Value>) {
        let (code, _) = self.process.wait();
        (code, self.log())
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.send_json("POST", path, &[], body)
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Reply {
        self.send_json("PATCH", path, &[], body)
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Reply {
        self.send_json("PUT", path, &[], body)
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], "")
    }

    /// Sends a JSON body with more headers.
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn send_json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send(method, path, &headers, &body.to_string())
    }

    /// Sends any request, and accepts any answer.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let outcome = if body.is_empty() && !["POST", "PUT", "PATCH"].contains(&method) {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body).unwrap())
        };
        let mut response = outcome.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.process.said()));
        let text = response.body_mut().read_to_string().unwrap();
        Reply { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The value of a header that is given at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is given twice: {:?}", self.headers);
        value
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .timeout_global(Some(PATIENCE))
        // The server closes a connection that is idle for ten seconds. A request on it at that moment would fail.
        .max_idle_age(Duration::from_secs(5))
        .build()
        .into()
}
