//! The log of a function: CloudWatch Logs takes its lines from standard output, and CloudWatch its metrics from the lines.

use super::emf::Aws;
use super::{Observer, RequestLine, write};
use config::Config;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use telemetry::metrics::{Metric, namespace};

/// Writes lines as JSON to standard output, from where Lambda takes them to CloudWatch Logs, with the metrics that
/// CloudWatch reads out of them: one write, no call.
///
/// Of ordinary successes a share may be left out. What they measured rides on the next line that is written, so no metric
/// is wrong by it.
pub(crate) struct LambdaLog {
    namespace: String,
    /// The function's name, as Lambda's own metrics have it.
    function: String,
    /// Of a hundred ordinary successes, so many are written.
    percent: u8,
    unwritten: Mutex<Unwritten>,
}

/// What has been measured since the last line.
#[derive(Default)]
struct Unwritten {
    /// Milliseconds, of successes one and all.
    times: Vec<f64>,
    /// Of the oldest.
    since: domain::Timestamp,
    /// A line is due at a hundred.
    credit: u8,
}

/// The most values that one member of a line may hold.
const VALUES_MAX: usize = 100;
/// What was measured does not wait longer than this for a line, if requests go on.
const UNWRITTEN_MAX: Duration = Duration::from_mins(1);

/// The route whose refusals are counted, if the holder of an agent's key was refused.
const ATTEST_ROUTE: &str = "POST /api/agents/{agentId}/attestations";
/// The codes of these, all behind a valid signature. What anybody can send says nothing of any agent: a wrong signature, as
/// everybody in a room is shown the agents' ids, an agent that does not exist, a body that is malformed, too large or of
/// another type. Nor do an agent that nobody has attached, and failures of ours.
const REJECTIONS: [&str; 4] = ["agent_revoked", "clock_skew", "sequence_conflict", "window_not_newer"];

#[derive(Serialize)]
struct Embedded<'a> {
    #[serde(flatten)]
    line: &'a RequestLine<'a>,
    #[serde(rename = "_aws")]
    aws: Aws<'a>,
    api_response_time: Values<f64>,
    api_error_rate: Values<u8>,
    /// The most this execution environment has ever held, which is what Lambda's limit is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_used_mb: Option<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    attestation_rejected: Values<u8>,
    /// Why, to be counted in Logs Insights: as a dimension it would be a series of its own per code.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_code: Option<&'static str>,
    #[serde(flatten)]
    of_function: Option<OfFunction<'a>>,
}

/// What is counted by function: nothing while nothing goes wrong.
#[derive(Serialize)]
struct OfFunction<'a> {
    #[serde(rename = "FunctionName")]
    function: &'a str,
    route_errors: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    route_failures: Option<u8>,
}

impl OfFunction<'_> {
    fn metrics(&self) -> impl Iterator<Item = Metric> {
        [Some(Metric::RouteErrors), self.route_failures.map(|_| Metric::RouteFailures)].into_iter().flatten()
    }
}

/// What requests without a line of their own measured, and what this one did.
struct Values<T>(Vec<T>);

impl<T> Values<T> {
    fn of(before: Vec<T>, own: impl IntoIterator<Item = T>) -> Self {
        Self(before.into_iter().chain(own).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Values<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl LambdaLog {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            namespace: namespace(&config.stage),
            function: std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            percent: config.log_sample_percent,
            unwritten: Mutex::default(),
        }
    }

    /// What was measured by requests without a line, if this one gets its line.
    fn due(&self, line: &RequestLine<'_>) -> Option<Vec<f64>> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinary = !line.is_error && !line.is_slow_request;
        unwritten.credit += if ordinary { self.percent } else { 0 };
        let chosen = unwritten.credit >= 100;
        if chosen {
            unwritten.credit -= 100;
        }
        let full = unwritten.times.len() + 1 >= VALUES_MAX;
        let waited = !unwritten.times.is_empty() && line.timestamp >= unwritten.since.plus(UNWRITTEN_MAX);
        if ordinary && !chosen && !full && !waited {
            if unwritten.times.is_empty() {
                unwritten.since = line.timestamp;
            }
            unwritten.times.push(milliseconds(line.duration_seconds.0));
            return None;
        }
        Some(std::mem::take(&mut unwritten.times))
    }
}

impl Observer for LambdaLog {
    fn answered(&self, line: &RequestLine<'_>) {
        let Some(before) = self.due(line) else { return };
        // Read by the line, not by the request: it takes longer than the rest of it, and a peak never falls.
        let memory_used_mb = telemetry::process::memory_peak().map(megabytes);
        let attestation_rejected = rejected(line, before.len());
        let of_function = line.is_error.then(|| OfFunction {
            function: &self.function,
            route_errors: 1,
            route_failures: (line.status_code >= 500).then_some(1),
        });
        let metrics = [
            Some(Metric::ApiResponseTime),
            Some(Metric::ApiErrorRate),
            memory_used_mb.map(|_| Metric::MemoryUsedMb),
            (!attestation_rejected.is_empty()).then_some(Metric::AttestationRejected),
        ];
        let metrics = metrics.into_iter().flatten().chain(of_function.iter().flat_map(OfFunction::metrics));
        write(&Embedded {
            line,
            aws: Aws::new(&self.namespace, line.timestamp, metrics),
            api_error_rate: Values::of(vec![0; before.len()], [if line.is_error { 100 } else { 0 }]),
            memory_used_mb,
            attestation_rejected,
            attestation_code: line.code.filter(|_| line.route == ATTEST_ROUTE),
            of_function,
            api_response_time: Values::of(before, [milliseconds(line.duration_seconds.0)]),
        });
    }
}

/// What an attestation's line counts: those accepted before it without a line, and its own, if it was accepted or the holder
/// of an agent's key was refused.
fn rejected(line: &RequestLine<'_>, before: usize) -> Values<u8> {
    if line.route != ATTEST_ROUTE {
        return Values(Vec::new());
    }
    let is_rejection = line.code.is_some_and(|code| REJECTIONS.contains(&code));
    let own = (is_rejection || !line.is_error).then(|| u8::from(is_rejection));
    Values::of(vec![0; before], own)
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// With one decimal.
#[expect(clippy::cast_precision_loss, reason = "tenths of a megabyte of what fits into memory")]
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::super::Seconds;
    use super::*;
    use domain::Timestamp;

    const NOW: Timestamp = Timestamp::from_ms(1_795_262_402_000);

    fn log(percent: u8) -> LambdaLog {
        LambdaLog { namespace: String::new(), function: String::new(), percent, unwritten: Mutex::default() }
    }

    fn line(at: Timestamp, ms: u64, is_error: bool) -> RequestLine<'static> {
        let duration = Duration::from_millis(ms);
        RequestLine {
            code: None,
            timestamp: at,
            request_id: "x",
            method: "GET",
            path: "/",
            route: "GET /",
            status_code: 200,
            status_text: "success",
            duration: ms,
            duration_seconds: Seconds(duration),
            user_id: None,
            caller: None,
            is_error,
            is_slow_request: ms > 1000,
            is_critical_endpoint: false,
        }
    }

    #[test]
    fn every_line_is_written_unless_told_otherwise() {
        let log = log(100);
        assert!((0..300).all(|ms| log.due(&line(NOW, ms, false)) == Some(vec![])));
    }

    #[test]
    fn a_share_of_the_successes_is_written_and_no_value_is_lost() {
        for percent in 1..=100 {
            let log = log(percent);
            let (mut lines, mut values) = (0, 0);
            for ms in 0..1000 {
                if let Some(before) = log.due(&line(NOW, ms, false)) {
                    lines += 1;
                    values += before.len() + 1;
                    assert!(before.len() < VALUES_MAX, "{percent}: {}", before.len());
                }
            }
            assert_eq!(lines, u32::from(percent) * 10, "{percent} of a hundred");
            assert_eq!(values + log.unwritten.lock().unwrap().times.len(), 1000);
        }
    }

    #[test]
    fn errors_and_slow_requests_are_always_written_and_bring_what_waited() {
        let log = log(1);
        for (ms, is_error) in [(5, true), (1001, false)] {
            assert_eq!(log.due(&line(NOW, 1, false)), None);
            assert_eq!(log.due(&line(NOW, 2, false)), None);
            assert_eq!(log.due(&line(NOW, ms, is_error)), Some(vec![1.0, 2.0]));
            assert_eq!(log.due(&line(NOW, ms, is_error)), Some(vec![]));
        }
    }

    #[test]
    fn nothing_waits_longer_than_a_minute_while_requests_go_on() {
        let log = log(1);
        assert_eq!(log.due(&line(NOW, 1, false)), None);
        assert_eq!(log.due(&line(NOW.plus(Duration::from_secs(59)), 2, false)), None);
        assert_eq!(log.due(&line(NOW.plus(Duration::from_mins(1)), 3, false)), Some(vec![1.0, 2.0]));
        assert_eq!(log.due(&line(NOW.plus(Duration::from_secs(61)), 4, false)), None);
    }

    #[test]
    fn only_the_holder_of_a_key_is_rejected() {
        let refused = |code| RequestLine { code, route: ATTEST_ROUTE, ..line(NOW, 1, true) };
        for code in REJECTIONS {
            assert_eq!(rejected(&refused(Some(code)), 2).0, [0, 0, 1], "{code}");
        }
        let of_anybody = ["agent_unknown", "signature_invalid", "validation_failed", "media_type_not_supported"];
        for code in of_anybody.into_iter().chain(["agent_idle", "unavailable"]) {
            assert!(rejected(&refused(Some(code)), 0).is_empty(), "{code}");
            assert_eq!(rejected(&refused(Some(code)), 2).0, [0, 0], "{code}");
        }
        assert_eq!(rejected(&RequestLine { route: ATTEST_ROUTE, ..line(NOW, 1, false) }, 1).0, [0, 0]);
        assert!(rejected(&line(NOW, 1, true), 1).is_empty(), "another route");
    }
}
