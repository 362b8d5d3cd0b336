//! What a job logs: how far it is, and one line with what came of it.

use super::emf::Aws;
use super::write;
use crate::Context;
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

/// Publishes what a job measured, if anything: as one line with the members of `outcome`, which is an object, and to the
/// figures of this process. Gives back outcome and values, for whoever invoked the job.
pub(crate) fn publish(
    context: &Context,
    at: domain::Timestamp,
    outcome: &impl Serialize,
    measured: &[(Metric, f64)],
) -> Value {
    let mut answer = serde_json::to_value(outcome).unwrap_or_default();
    for (metric, value) in measured {
        context.window.note(*metric, *value, at);
        answer[metric.name()] = number(*value);
    }
    let namespace = namespace(&context.config.stage);
    let aws = (!measured.is_empty()).then(|| Aws::new(&namespace, at, measured.iter().map(|(metric, _)| *metric)));
    write(&JobLine { outcome: &answer, aws });
    answer
}

/// A whole number without `.0`.
#[expect(clippy::cast_possible_truncation, reason = "asked before")]
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
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
