//! One line per request, with exactly the fields of seed 004; and the diagnostics beside them.

use serde::Serialize;
use snapshot::restore::Progress;
use std::io::Write as _;
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Told of every answered request.
pub trait Observer: Send + Sync {
    /// A request has been answered.
    fn answered(&self, line: &RequestLine<'_>);
}

/// The log line of one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine<'a> {
    /// Why it was refused. Not part of the line.
    #[serde(skip)]
    pub code: Option<&'static str>,
    /// When the answer was ready.
    pub timestamp: domain::Timestamp,
    /// Also the answer's `X-Request-Id`.
    pub request_id: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// The path as requested, without its query.
    pub path: &'a str,
    /// The route template; `$default` where no route matches.
    pub route: &'a str,
    /// HTTP status.
    pub status_code: u16,
    /// `success` below 400, `error` from there.
    pub status_text: &'static str,
    /// Milliseconds, whole.
    pub duration: u64,
    /// The same in seconds, with three decimals.
    pub duration_seconds: Seconds,
    /// The user in the path, if there is one.
    pub user_id: Option<&'a str>,
    /// Status 400 or above.
    pub is_error: bool,
    /// Took longer than a second.
    pub is_slow_request: bool,
    /// The route changes state.
    pub is_critical_endpoint: bool,
}

/// A duration written like `"0.045"`.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub std::time::Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.as_millis();
        serializer.collect_str(&format_args!("{}.{:03}", ms / 1000, ms % 1000))
    }
}

/// Writes each line as JSON to standard output, from where Lambda takes it to CloudWatch Logs, with the metrics that
/// CloudWatch reads out of it: one write, no call.
pub(crate) struct LambdaLog {
    /// Of the metrics.
    pub(crate) namespace: String,
}

/// The route whose refusals are counted: each is an agent that errs, or somebody who is none.
const ATTEST_ROUTE: &str = "POST /api/agents/{agentId}/attestations";

/// The metrics of a stage. In one namespace the stages of an account would raise each other's alarms.
pub(crate) fn namespace(stage: &str) -> String {
    format!("Greenroom/{stage}")
}

#[derive(Serialize)]
struct Embedded<'a> {
    #[serde(flatten)]
    line: &'a RequestLine<'a>,
    #[serde(rename = "_aws")]
    aws: Aws<'a>,
    api_response_time: f64,
    api_error_rate: u8,
    /// The most this execution environment has ever held, which is what Lambda's limit is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_used_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_rejected: Option<u8>,
    /// Why, to be counted in Logs Insights: as a dimension it would be a series of its own per code.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_code: Option<&'static str>,
}

/// CloudWatch's embedded metric format: metadata that names the members to count. Without dimensions each is one
/// series for the whole stack, so that they stay within the ten free ones.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Aws<'a> {
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [[&'static str; 0]; 1],
    metrics: Vec<Metric>,
}

/// A member of the line that is a metric.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metric {
    /// Of the member, and of the series.
    pub(crate) name: &'static str,
    /// As CloudWatch calls it.
    pub(crate) unit: &'static str,
}

impl<'a> Aws<'a> {
    /// The `_aws` member of a line that holds these metrics.
    pub(crate) fn new(namespace: &'a str, at: domain::Timestamp, metrics: Vec<Metric>) -> Self {
        Self { timestamp: at.ms(), cloud_watch_metrics: [Directive { namespace, dimensions: [[]], metrics }] }
    }
}

/// Writes a line to standard output, whole.
pub(crate) fn write(line: &impl Serialize) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // A log that cannot be written must not fail the request.
        let _ = std::io::stdout().lock().write_all(&text);
    }
}

impl Observer for LambdaLog {
    fn answered(&self, line: &RequestLine<'_>) {
        let mut metrics = vec![
            Metric { name: "api_response_time", unit: "Milliseconds" },
            // The average of 0 and 100 over any period is the error rate in percent.
            Metric { name: "api_error_rate", unit: "Percent" },
        ];
        let memory_used_mb = state::process::memory_peak().map(megabytes);
        if memory_used_mb.is_some() {
            metrics.push(Metric { name: "memory_used_mb", unit: "Megabytes" });
        }
        let attests = line.route == ATTEST_ROUTE;
        if attests {
            metrics.push(Metric { name: "attestation_rejected", unit: "Count" });
        }
        write(&Embedded {
            line,
            aws: Aws::new(&self.namespace, line.timestamp, metrics),
            api_response_time: line.duration_seconds.0.as_secs_f64() * 1e3,
            api_error_rate: if line.is_error { 100 } else { 0 },
            memory_used_mb,
            attestation_rejected: attests.then_some(line.is_error.into()),
            attestation_code: line.code.filter(|_| attests),
        });
    }
}

/// How often a long run says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Says in the log how far a long run is.
pub(crate) fn progress() -> impl FnMut(Progress) + Send {
    let mut said = Instant::now();
    move |Progress { step, lines, of }| {
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            tracing::info!(?step, lines, of, "at work");
        }
    }
}

/// With one decimal.
#[expect(clippy::cast_precision_loss, reason = "tenths of a megabyte of what fits into memory")]
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0
}

/// Sends diagnostics (`tracing` events, panics) to `writer` as JSON lines.
pub fn diagnostics<W>(level: tracing::Level, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer);
    // The SDK and HTTP libraries speak of their insides below `warn`, and asking them costs more than a request.
    let ours = tracing_subscriber::filter::Targets::new()
        .with_default(level.min(tracing::Level::WARN))
        .with_targets(["domain", "state", "functions", "local", "greenroom"].map(|name| (name, level)));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours));
    // Fails only where a subscriber is already set, which then keeps its place.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "functions", location, "panic: {}", message(panic));
    }));
}

fn message<'a>(panic: &'a std::panic::PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}
