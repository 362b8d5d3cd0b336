//! The log of a function: CloudWatch Logs takes its lines from standard output, and CloudWatch takes its metrics from
//! the lines.

use super::emf::Aws;
use super::{Observer, RequestLine, write};
use aws::throttled;
use config::Config;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use telemetry::metrics::{Metric, namespace};

/// Writes log lines with their metrics as JSON to standard output. Lambda passes them on to CloudWatch Logs, and
/// CloudWatch reads the metrics from them. So a line costs one write and no call.
///
/// Most lines of routine successes may be omitted. Their measured values are added to the next line that is written, so
/// the metrics stay exact.
pub(crate) struct LambdaLog {
    namespace: String,
    /// The function's name, as in Lambda's own metrics.
    function: String,
    /// The number of lines that are written for a hundred routine successes.
    percent: u8,
    unwritten: Mutex<Unwritten>,
}

/// The values that were measured since the last line.
#[derive(Default)]
struct Unwritten {
    /// Durations in milliseconds, all of them of successes.
    times: Vec<f64>,
    /// Time of the oldest value.
    since: domain::Timestamp,
    /// Each routine success adds `percent`; a line is due at a hundred.
    credit: u8,
}

/// The most values that one member of a line may hold.
const VALUES_MAX: usize = 100;
/// Longest time that a value waits for a line, as long as requests arrive.
const UNWRITTEN_MAX: Duration = Duration::from_mins(1);

/// The route of attestations. Its refusals count if they concern the holder of an agent's key.
const ATTEST_ROUTE: &str = "POST /api/agents/{agentId}/attestations";
/// The routes that pages, agents and connections call again and again by themselves. Only their successes may lack a
/// line: what a person does always has one.
pub const ROUTINE: [&str; 8] = [
    ATTEST_ROUTE,
    "GET /api/rooms/{room}",
    "GET /api/rooms/{room}/messages",
    "GET /api/rooms/{room}/questions",
    "GET /api/rooms/{room}/safe",
    "GET /api/rooms/{room}/users",
    "POST /api/rooms/{room}/presence",
    "WS ping",
];
/// The codes of the refusals that count. All of them follow a valid signature. A refusal that any client can provoke
/// says nothing about an agent: a wrong signature (everybody in a room sees the ids of its agents), an unknown agent,
/// and a body that is malformed, too large or of another type. An agent that nobody has attached does not count either,
/// and neither does a failure of the service.
const REJECTIONS: [&str; 4] = ["agent_revoked", "clock_skew", "sequence_conflict", "window_not_newer"];

#[derive(Serialize)]
struct Embedded<'a> {
    #[serde(flatten)]
    line: &'a RequestLine<'a>,
    #[serde(rename = "_aws")]
    aws: Aws<'a>,
    api_response_time: Values<f64>,
    api_error_rate: Values<u8>,
    /// Throttled calls of the tables; none if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    table_throttled: Option<u32>,
    /// Peak memory of this execution environment; Lambda's limit applies to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_used_mb: Option<f64>,
    #[serde(skip_serializing_if = "Values::is_empty")]
    attestation_rejected: Values<u8>,
    /// The code of the refusal, to be counted in Logs Insights. As a dimension, it would make a series of its own per
    /// code.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_code: Option<&'static str>,
    #[serde(flatten)]
    of_function: Option<OfFunction<'a>>,
}

/// The metrics by function; only the lines of errors have them.
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

/// The values of the requests without a line of their own, and those of this request.
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

    /// The values of the requests without a line, if this request gets a line; otherwise none. `throttled`: it was
    /// throttled by a table.
    fn due(&self, line: &RequestLine<'_>, throttled: bool) -> Option<Vec<f64>> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let routine = !line.is_error && !line.is_slow_request && !throttled && ROUTINE.contains(&line.route);
        unwritten.credit += if routine { self.percent } else { 0 };
        let chosen = unwritten.credit >= 100;
        if chosen {
            unwritten.credit -= 100;
        }
        let full = unwritten.times.len() + 1 >= VALUES_MAX;
        let waited = !unwritten.times.is_empty() && line.timestamp >= unwritten.since.plus(UNWRITTEN_MAX);
        if routine && !chosen && !full && !waited {
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
        let table_throttled = Some(throttled::count()).filter(|count| *count > 0);
        let Some(before) = self.due(line, table_throttled.is_some()) else { return };
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
            table_throttled.map(|_| Metric::TableThrottled),
            memory_used_mb.map(|_| Metric::MemoryUsedMb),
            (!attestation_rejected.is_empty()).then_some(Metric::AttestationRejected),
        ];
        let metrics = metrics.into_iter().flatten().chain(of_function.iter().flat_map(OfFunction::metrics));
        write(&Embedded {
            line,
            aws: Aws::new(&self.namespace, line.timestamp, metrics),
            api_error_rate: Values::of(vec![0; before.len()], [if line.is_error { 100 } else { 0 }]),
            table_throttled,
            memory_used_mb,
            attestation_rejected,
            attestation_code: line.code.filter(|_| line.route == ATTEST_ROUTE),
            of_function,
            api_response_time: Values::of(before, [milliseconds(line.duration_seconds.0)]),
        });
    }
}

/// The values that the line of an attestation counts: those of the accepted attestations before it without a line, and
/// its own value if it was accepted or if the holder of an agent's key was refused.
fn rejected(line: &RequestLine<'_>, before: usize) -> Values<u8> {
    if line.route != ATTEST_ROUTE {
        return Values(Vec::new());
    }
    let is_rejection = line.code.is_some_and(|code| REJECTIONS.contains(&code));
    let own = (is_rejection || !line.is_error).then(|| u8::from(is_rejection));
    Values::of(vec![0; before], own)
}

/// Milliseconds, rounded to a microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Megabytes with one decimal.
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
            path: "/api/rooms/demo/users",
            route: "GET /api/rooms/{room}/users",
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
    fn every_line_is_written_at_one_hundred_percent() {
        let log = log(100);
        assert!((0..300).all(|ms| log.due(&line(NOW, ms, false), false) == Some(vec![])));
    }

    #[test]
    fn a_share_of_the_successes_is_written_and_no_value_is_lost() {
        for percent in 1..=100 {
            let log = log(percent);
            let (mut lines, mut values) = (0, 0);
            for ms in 0..1000 {
                if let Some(before) = log.due(&line(NOW, ms, false), false) {
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
    fn errors_and_slow_requests_are_always_written_with_the_waiting_values() {
        let log = log(1);
        for (ms, is_error) in [(5, true), (1001, false)] {
            assert_eq!(log.due(&line(NOW, 1, false), false), None);
            assert_eq!(log.due(&line(NOW, 2, false), false), None);
            assert_eq!(log.due(&line(NOW, ms, is_error), false), Some(vec![1.0, 2.0]));
            assert_eq!(log.due(&line(NOW, ms, is_error), false), Some(vec![]));
        }
    }

    #[test]
    fn a_throttled_call_and_what_a_person_does_are_always_written() {
        let log = log(1);
        assert_eq!(log.due(&line(NOW, 1, false), false), None);
        assert_eq!(log.due(&line(NOW, 2, false), true), Some(vec![1.0]));
        let mute = RequestLine { route: "PATCH /api/users/{userId}/mute", ..line(NOW, 3, false) };
        assert!((0..300).all(|_| log.due(&mute, false) == Some(vec![])));
    }

    #[test]
    fn every_routine_route_exists() {
        let routes = crate::described();
        for routine in ROUTINE {
            assert!(routes.iter().any(|(_, route)| **route == *routine), "{routine}");
        }
    }

    #[test]
    fn no_value_waits_longer_than_a_minute_while_requests_arrive() {
        let log = log(1);
        assert_eq!(log.due(&line(NOW, 1, false), false), None);
        assert_eq!(log.due(&line(NOW.plus(Duration::from_secs(59)), 2, false), false), None);
        assert_eq!(log.due(&line(NOW.plus(Duration::from_mins(1)), 3, false), false), Some(vec![1.0, 2.0]));
        assert_eq!(log.due(&line(NOW.plus(Duration::from_secs(61)), 4, false), false), None);
    }

    #[test]
    fn only_refusals_of_a_key_holder_count() {
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
