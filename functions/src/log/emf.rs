//! The member of a log line by which CloudWatch reads the line's metrics.

use serde::Serialize;
use telemetry::metrics::Metric;

/// CloudWatch's embedded metric format: metadata that names the members that are metrics. A metric without dimensions
/// is one series for the whole stack, so these stay within the ten free ones. Metrics by function have one dimension.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Aws<'a> {
    timestamp: u64,
    cloud_watch_metrics: Vec<Directive<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [&'static [&'static str]; 1],
    metrics: Vec<Definition>,
}

/// A member of the line that is a metric.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl<'a> Aws<'a> {
    /// The `_aws` member of a line that holds these metrics.
    pub(super) fn new(namespace: &'a str, at: domain::Timestamp, metrics: impl IntoIterator<Item = Metric>) -> Self {
        let mut directives = vec![Directive { namespace, dimensions: [&[]], metrics: Vec::new() }];
        for metric in metrics {
            if metric.is_by_function() && directives.len() == 1 {
                directives.push(Directive { namespace, dimensions: [&["FunctionName"]], metrics: Vec::new() });
            }
            let definition = Definition { name: metric.name(), unit: metric.unit() };
            directives[usize::from(metric.is_by_function())].metrics.push(definition);
        }
        Self { timestamp: at.ms(), cloud_watch_metrics: directives }
    }
}
