//! The log of a job: its progress, and one line with its result.

use super::emf::Aws;
use super::write;
use crate::Context;
use aws::throttled;
use serde::Serialize;
use serde_json::Value;
use snapshot::restore::Progress;
use std::time::{Duration, Instant};
use telemetry::metrics::{Metric, namespace};

/// One run of a job, as a line of the log.
#[derive(Serialize)]
struct JobLine<'a> {
    #[serde(flatten)]
    outcome: &'a Value,
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    aws: Option<Aws<'a>>,
}

/// Publishes the outcome of a job and its measured values, if it has any: as one log line with the members of
/// `outcome`, which must be an object, and in the figures of this process. Calls of the tables that were throttled
/// count as well. Returns outcome and values, as the answer to the invocation.
pub(crate) fn publish(
    context: &Context,
    at: domain::Timestamp,
    outcome: &impl Serialize,
    measured: &[(Metric, f64)],
) -> Value {
    let throttled = Some(throttled::count()).filter(|count| *count > 0);
    let throttled = throttled.map(|count| (Metric::TableThrottled, f64::from(count)));
    let measured: Vec<_> = measured.iter().copied().chain(throttled).collect();
    let mut answer = serde_json::to_value(outcome).unwrap_or_default();
    for (metric, value) in &measured {
        context.window.note(*metric, *value, at);
        answer[metric.name()] = number(*value);
    }
    let namespace = namespace(&context.config.stage);
    let aws = (!measured.is_empty()).then(|| Aws::new(&namespace, at, measured.iter().map(|(metric, _)| *metric)));
    write(&JobLine { outcome: &answer, aws });
    answer
}

/// A whole number without `.0`.
#[expect(clippy::cast_possible_truncation, reason = "checked before")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
}

/// Interval between two progress lines of a long run.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Logs the progress of a long run.
pub(crate) fn progress() -> impl FnMut(Progress) + Send {
    let mut said = Instant::now();
    move |Progress { step, lines, of }| {
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            tracing::info!(?step, lines, of, "in progress");
        }
    }
}
