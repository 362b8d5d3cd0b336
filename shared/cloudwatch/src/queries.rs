//! The queries for CloudWatch, and the figures that their answers give.

use super::Function;
use aws_sdk_cloudwatch::types::{Dimension, Metric as Named, MetricDataQuery, MetricStat};
use domain::Timestamp;
use std::collections::HashMap;
use std::time::Duration;
use telemetry::metrics::{Figures, Metric, Noted, Route, Scope, Times, namespace};

/// Period of the counts.
pub(crate) const HOUR: Duration = Duration::from_hours(1);
/// Maximum age of the last count of users to count as current: the canary counts every minute, and a series lags
/// behind.
const USERS_CURRENT: Duration = Duration::from_mins(5);
/// The metrics that scheduled jobs publish.
const JOBS: [Metric; 4] =
    [Metric::BackupAgeHours, Metric::SnapshotFailed, Metric::RestoreDrillFailed, Metric::RestoreDrillAgeHours];

/// Values, each with the begin of its period.
pub(crate) type Series = Vec<(Timestamp, f64)>;

/// One series with one statistic.
#[derive(Debug)]
pub(crate) struct Query {
    /// The id by which its answer is found.
    pub(crate) id: String,
    namespace: String,
    metric: &'static str,
    function: Option<String>,
    statistic: &'static str,
    period: Duration,
}

impl Query {
    /// The query as the SDK takes it.
    pub(crate) fn data_query(&self) -> MetricDataQuery {
        let function = self.function.as_ref();
        let dimension = function.map(|name| vec![Dimension::builder().name("FunctionName").value(name).build()]);
        let named = Named::builder().namespace(&self.namespace).metric_name(self.metric).set_dimensions(dimension);
        let statistic = MetricStat::builder().metric(named.build()).stat(self.statistic);
        let statistic = statistic.period(i32::try_from(self.period.as_secs()).unwrap_or(i32::MAX)).build();
        MetricDataQuery::builder().id(&self.id).metric_stat(statistic).return_data(true).build()
    }
}

/// Statistics of the whole stage; each is one value for the hour.
const STATISTICS: [(&str, Metric, &str); 8] = [
    ("requests", Metric::ApiResponseTime, "SampleCount"),
    ("p50", Metric::ApiResponseTime, "p50"),
    ("p95", Metric::ApiResponseTime, "p95"),
    ("p99", Metric::ApiResponseTime, "p99"),
    ("min", Metric::ApiResponseTime, "Minimum"),
    ("max", Metric::ApiResponseTime, "Maximum"),
    ("errors", Metric::ApiErrorRate, "Sum"),
    ("memory", Metric::MemoryUsedMb, "Maximum"),
];

/// Lambda's own metrics of each function. `Errors` counts runs without an answer: crashes and timeouts.
const COUNTED: [&str; 3] = ["Invocations", "Errors", "Duration"];
/// The metrics of each function's answers.
const ANSWERED: [Metric; 2] = [Metric::RouteErrors, Metric::RouteFailures];

/// The queries for the last hour, of the stage and of each function.
pub(crate) fn of_the_hour(stage: &str, functions: &[Function]) -> Vec<Query> {
    let own = |id: &str, metric: Metric, statistic, period| Query {
        id: id.to_owned(),
        namespace: namespace(stage),
        metric: metric.name(),
        function: None,
        statistic,
        period,
    };
    let mut queries: Vec<_> =
        STATISTICS.iter().map(|(id, metric, statistic)| own(id, *metric, statistic, HOUR)).collect();
    queries.push(own("users", Metric::ConcurrentUsers, "Maximum", Duration::from_mins(1)));
    for Function { binary, .. } in functions {
        let of_function = |namespace: String, metric| Query {
            id: id(binary, metric),
            namespace,
            metric,
            // The function's name in template.yaml.
            function: Some(format!("greenroom-{stage}-{}", binary.replace('_', "-"))),
            statistic: "Sum",
            period: HOUR,
        };
        queries.extend(COUNTED.map(|metric| of_function("AWS/Lambda".to_owned(), metric)));
        queries.extend(ANSWERED.map(|metric| of_function(namespace(stage), metric.name())));
    }
    queries
}

/// The queries for the last runs of the jobs, to five minutes.
pub(crate) fn of_the_jobs(stage: &str) -> Vec<Query> {
    let query = |metric: Metric| Query {
        id: metric.name().to_owned(),
        namespace: namespace(stage),
        metric: metric.name(),
        function: None,
        statistic: "Maximum",
        period: Duration::from_mins(5),
    };
    JOBS.map(query).into()
}

fn id(binary: &str, metric: &str) -> String {
    format!("{binary}_{metric}")
}

/// Computes the figures from the series. CloudWatch may split the hour into two periods at the full hour: counts are
/// then added, and the worse percentile is taken.
pub(crate) fn figures(
    hour: &HashMap<String, Series>,
    jobs: &HashMap<String, Series>,
    functions: &[Function],
    since: Timestamp,
    now: Timestamp,
) -> Figures {
    let values = |id: &str| hour.get(id).into_iter().flatten().map(|(_, value)| *value);
    let sum = |id: &str| values(id).sum::<f64>();
    let most = |id: &str| values(id).reduce(f64::max);
    let time = |id: &str| milliseconds(most(id).unwrap_or_default());
    let newest = |series: Option<&Series>| series.and_then(|series| series.iter().copied().max_by_key(|(at, _)| *at));
    let users = newest(hour.get("users")).filter(|(at, _)| now <= at.plus(USERS_CURRENT));
    let noted = JOBS.iter().filter_map(|metric| {
        let (at, value) = newest(jobs.get(metric.name()))?;
        Some((*metric, Noted { value, at }))
    });
    let routes = functions.iter().filter_map(|Function { binary, route }| {
        let [count, unanswered, duration] = COUNTED.map(|metric| sum(&id(binary, metric)));
        let [errors, failures] = ANSWERED.map(|metric| sum(&id(binary, metric.name())));
        let route_counts = Route {
            count: whole(count),
            errors: whole(errors + unanswered),
            failures: whole(failures + unanswered),
            total: milliseconds(duration),
            refused: None,
        };
        (route_counts.count > 0).then(|| (route.clone(), route_counts))
    });
    let counted = STATISTICS.iter().filter_map(|(id, ..)| hour.get(*id)).flatten().map(|(at, _)| *at);
    Figures {
        scope: Scope::Stage,
        degraded: None,
        at: now,
        since: counted.min().map_or(since, |earliest| earliest.min(since)),
        total: whole(sum("requests")),
        // Each error counts as 100 percent.
        errors: whole(sum("errors") / 100.0),
        times: Times {
            p50: time("p50"),
            p95: time("p95"),
            p99: time("p99"),
            min: milliseconds(values("min").reduce(f64::min).unwrap_or_default()),
            max: time("max"),
        },
        routes: routes.collect(),
        users: users.map(|(_, value)| whole(value)),
        users_peak: most("users").map(whole),
        memory_peak: most("memory").map(|megabytes| whole(megabytes * f64::from(1 << 20))),
        noted: noted.collect(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float ends at the limits")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn milliseconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value / 1e3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_795_262_402_000);

    fn functions() -> Vec<Function> {
        vec![Function { binary: "set_mute".to_owned(), route: "PATCH /api/users/{userId}/mute".into() }]
    }

    fn ago(minutes: u64) -> Timestamp {
        Timestamp::from_ms(NOW.ms() - minutes * 60_000)
    }

    fn series<const N: usize>(known: [(&str, Series); N]) -> HashMap<String, Series> {
        known.map(|(id, series)| (id.to_owned(), series)).into()
    }

    #[test]
    fn ids_are_what_cloudwatch_takes_and_no_two_are_the_same() {
        let mut all = of_the_hour("dev", &functions());
        all.extend(of_the_jobs("dev"));
        let mut ids: Vec<_> = all.iter().map(|query| query.id.as_str()).collect();
        assert!(ids.iter().all(|id| id.starts_with(|first: char| first.is_ascii_lowercase())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn a_function_is_named_as_the_template_names_it() {
        let query = of_the_hour("dev", &functions()).into_iter().find(|query| query.function.is_some()).unwrap();
        assert_eq!(query.function.as_deref(), Some("greenroom-dev-set-mute"));
    }

    #[test]
    fn an_hour_that_is_cut_in_two_adds_up_and_keeps_the_worse_percentile() {
        let hour = series([
            ("requests", vec![(ago(30), 10.0), (ago(90), 5.0)]),
            ("errors", vec![(ago(30), 100.0), (ago(90), 200.0)]),
            ("p95", vec![(ago(30), 40.0), (ago(90), 70.0)]),
            ("min", vec![(ago(30), 4.0), (ago(90), 2.0)]),
        ]);
        let figures = figures(&hour, &HashMap::new(), &functions(), ago(60), NOW);
        assert_eq!((figures.total, figures.errors, figures.since), (15, 3, ago(90)));
        assert_eq!((figures.times.p95.as_millis(), figures.times.min.as_millis()), (70, 2));
    }

    #[test]
    fn nothing_measured_is_nothing_known() {
        let figures = figures(&HashMap::new(), &HashMap::new(), &functions(), ago(60), NOW);
        assert_eq!((figures.total, figures.users, figures.users_peak, figures.memory_peak), (0, None, None, None));
        assert!(figures.routes.is_empty() && figures.noted.is_empty());
        assert_eq!(figures.times, Times::default());
    }

    #[test]
    fn a_count_of_users_that_stopped_is_no_present_one() {
        let hour = |minutes| series([("users", vec![(ago(minutes + 1), 9.0), (ago(minutes), 3.0)])]);
        let read = |minutes| figures(&hour(minutes), &HashMap::new(), &[], ago(60), NOW);
        assert_eq!((read(4).users, read(4).users_peak), (Some(3), Some(9)));
        assert_eq!((read(6).users, read(6).users_peak), (None, Some(9)));
    }

    #[test]
    fn the_last_run_of_a_job_counts() {
        let jobs = series([("snapshot_failed", vec![(ago(9), 0.0), (ago(2000), 1.0)])]);
        let noted = figures(&HashMap::new(), &jobs, &[], ago(60), NOW).noted;
        assert_eq!(noted, [(Metric::SnapshotFailed, Noted { value: 0.0, at: ago(9) })].into());
    }
}
