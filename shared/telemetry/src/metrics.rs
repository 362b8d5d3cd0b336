//! Metrics: the series of a stage, the request counts of this process, and the figures to display.

use crate::process;
use domain::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Durations kept for percentiles (seed 000: "last 1000 samples").
const SAMPLES_MAX: usize = 1000;

macro_rules! metrics {
    ($($(#[$meaning:meta])+ $metric:ident = $name:literal in $unit:literal),* $(,)?) => {
        /// Every metric that a stage publishes; no other code may name one. Each is one series, except those that are
        /// [by function](Metric::is_by_function). Ten series per account are free.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$meaning])+ $metric),*
        }

        impl Metric {
            /// All metrics.
            pub const ALL: &[Self] = &[$(Self::$metric),*];

            /// Name of the series, and of the member of the log line from which it is read.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$metric => $name),*
                }
            }

            /// The unit, as CloudWatch names it.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self {
                    $(Self::$metric => $unit),*
                }
            }
        }
    };
}

metrics! {
    /// Response time. All statistics are meaningful.
    ApiResponseTime = "api_response_time" in "Milliseconds",
    /// 100 for a status of 400 or above, otherwise 0. The average is the error rate in percent, a hundredth of the sum
    /// the number of errors.
    ApiErrorRate = "api_error_rate" in "Percent",
    /// Peak memory of an execution environment. Use the maximum.
    MemoryUsedMb = "memory_used_mb" in "Megabytes",
    /// 1 for an answer with a status of 400 or above, by function. Use the sum.
    RouteErrors = "route_errors" in "Count",
    /// 1 for an answer with a status of 500 or above, by function. Use the sum.
    RouteFailures = "route_failures" in "Count",
    /// Calls of the tables that were throttled, also those that a retry has made good; only a line with some has it. Use
    /// the sum.
    TableThrottled = "table_throttled" in "Count",
    /// 1 for a refused attestation that an agent's key has signed, 0 for an accepted one. Use the sum.
    AttestationRejected = "attestation_rejected" in "Count",
    /// People in rooms; the count stops at one above the declared limit. Use the maximum.
    ConcurrentUsers = "concurrent_users" in "Count",
    /// 1 for a failed run of the canary, otherwise 0. Use the sum.
    CanaryFailed = "canary_failed" in "Count",
    /// 1 for a failed snapshot, otherwise 0. Use the sum.
    SnapshotFailed = "snapshot_failed" in "Count",
    /// Age of the newest good snapshot in hours. CloudWatch has no unit for hours. Use the maximum.
    BackupAgeHours = "backup_age_hours" in "None",
    /// 1 for a failed restore drill, otherwise 0. Use the sum.
    RestoreDrillFailed = "restore_drill_failed" in "Count",
    /// Hours since the last successful restore drill. Use the maximum.
    RestoreDrillAgeHours = "restore_drill_age_hours" in "None",
}

impl Metric {
    /// Whether each function has its own series, with the dimension `FunctionName` like Lambda's own metrics. AWS
    /// charges a series for each hour in which it has a value; these have none while there are no errors.
    #[must_use]
    pub const fn is_by_function(self) -> bool {
        matches!(self, Self::RouteErrors | Self::RouteFailures)
    }

    /// The metrics that have values while nothing goes wrong. Each has one series per stage.
    pub fn regular() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|metric| !metric.is_by_function() && *metric != Self::TableThrottled)
    }
}

/// The namespace of a stage's series. If stages shared a namespace, they would raise each other's alarms.
#[must_use]
pub fn namespace(stage: &str) -> String {
    format!("Greenroom/{stage}")
}

/// The data of one request that the counts need.
#[derive(Debug)]
pub struct Sample<'a> {
    /// The route template, such as `PATCH /api/users/{userId}/mute`.
    pub route: &'a str,
    /// How long the answer took.
    pub duration: Duration,
    /// Whether the answer's status was 400 or above.
    pub is_error: bool,
    /// Whether it was 500 or above.
    pub is_failure: bool,
    /// The code of the refusal, if the request was refused.
    pub code: Option<&'static str>,
}

/// Counts since the start, and the last 1 000 durations.
#[derive(Debug, Default)]
pub struct Window(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: u64,
    errors: u64,
    recent: Vec<Duration>,
    next: usize,
    routes: HashMap<Box<str>, Route>,
    noted: BTreeMap<Metric, Noted>,
}

/// A value that a job published, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noted {
    /// In the unit of the metric.
    pub value: f64,
    /// When it was measured.
    pub at: Timestamp,
}

/// One route's counts since the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Route {
    /// Requests.
    pub count: u64,
    /// Answers with a status of 400 or above.
    pub errors: u64,
    /// Answers with a status of 500 or above.
    pub failures: u64,
    /// Sum of all durations.
    pub total: Duration,
    /// Refusals by code. `None`: they are not counted.
    pub refused: Option<BTreeMap<&'static str, u64>>,
}

/// The subject of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The answering process.
    Process,
    /// All functions of a stage.
    Stage,
}

/// In which way figures are degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degraded {
    /// Some series could not be read; their figures are missing or zero.
    Partial,
    /// CloudWatch could not be read; the figures are from the last successful reading.
    Stale,
    /// CloudWatch could not be read; the figures count only the answering process.
    Unavailable,
}

/// The figures of a process or a stage at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// The subject of the figures.
    pub scope: Scope,
    /// In which way they are degraded, if they are.
    pub degraded: Option<Degraded>,
    /// The time of the reading.
    pub at: Timestamp,
    /// The begin of the counted period.
    pub since: Timestamp,
    /// Requests.
    pub total: u64,
    /// Answers with a status of 400 or above.
    pub errors: u64,
    /// Response times.
    pub times: Times,
    /// Per route.
    pub routes: BTreeMap<Box<str>, Route>,
    /// Number of current users. `None`: it was not counted.
    pub users: Option<u64>,
    /// Largest number of concurrent users.
    pub users_peak: Option<u64>,
    /// Peak memory of a process, in bytes.
    pub memory_peak: Option<u64>,
    /// The last value of each metric that scheduled jobs publish.
    pub noted: BTreeMap<Metric, Noted>,
}

/// The distribution of response times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// The median.
    pub p50: Duration,
    /// The 95th percentile.
    pub p95: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// A pending reading of figures.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Figures> + Send + 'a>>;

/// A source of figures. Reading it never fails: [`Figures::degraded`] says which part could not be read.
pub trait Source: Send + Sync {
    /// The current figures. If the source has none, they are the counts of this process.
    fn read<'a>(&'a self, window: &'a Window, now: Timestamp) -> Reading<'a>;
}

impl Window {
    /// Counts one answered request.
    pub fn record(&self, sample: &Sample<'_>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total += 1;
        counts.errors += u64::from(sample.is_error);
        if counts.recent.len() < SAMPLES_MAX {
            counts.recent.push(sample.duration);
        } else {
            let at = counts.next;
            counts.recent[at] = sample.duration;
            counts.next = (at + 1) % SAMPLES_MAX;
        }
        if !counts.routes.contains_key(sample.route) {
            counts.routes.insert(sample.route.into(), Route::default());
        }
        if let Some(route) = counts.routes.get_mut(sample.route) {
            route.count += 1;
            route.errors += u64::from(sample.is_error);
            route.failures += u64::from(sample.is_failure);
            route.total += sample.duration;
            let refused = route.refused.get_or_insert_default();
            if let Some(code) = sample.code {
                *refused.entry(code).or_default() += 1;
            }
        }
    }

    /// Stores a value that a job published, for [`Figures::noted`]. Only the runner uses it: on Lambda each job is a
    /// process of its own.
    pub fn note(&self, metric: Metric, value: f64, at: Timestamp) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.noted.insert(metric, Noted { value, at });
    }

    /// The counts now. Requests do not tell who is there, so nobody is counted here.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = counts.recent.clone();
        recent.sort_unstable();
        Figures {
            scope: Scope::Process,
            degraded: None,
            at: now,
            since: Timestamp::from_ms(now.ms().saturating_sub(milliseconds(process::uptime()))),
            total: counts.total,
            errors: counts.errors,
            times: Times {
                p50: percentile(&recent, 0.50),
                p95: percentile(&recent, 0.95),
                p99: percentile(&recent, 0.99),
                min: percentile(&recent, 0.0),
                max: percentile(&recent, 1.0),
            },
            routes: counts.routes.iter().map(|(name, route)| (name.clone(), route.clone())).collect(),
            users: None,
            users_peak: None,
            memory_peak: process::memory_peak(),
            noted: counts.noted.clone(),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The shortest duration that is at least as long as `share` of the `sorted` ones (nearest rank).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among at most a thousand"
)]
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp::from_ms(1_795_262_402_000);

    fn record(window: &Window, ms: u64, is_error: bool) {
        let duration = Duration::from_millis(ms);
        window.record(&Sample {
            route: "GET /x",
            duration,
            is_error,
            is_failure: is_error,
            code: is_error.then_some("x"),
        });
    }

    #[test]
    fn percentiles_are_nearest_ranks_of_the_last_thousand() {
        let window = Window::default();
        for ms in 0..=1000 {
            record(&window, ms, false);
        }
        let figures = window.figures(NOW);
        let Times { p50, p95, p99, min, max } = figures.times;
        assert_eq!(figures.total, 1001);
        assert_eq!([p50, p95, p99, max].map(|time| time.as_millis()), [500, 950, 990, 1000]);
        assert_eq!(min.as_millis(), 1, "the oldest sample made room");
    }

    #[test]
    fn errors_are_counted_by_code_and_people_by_somebody_else() {
        let window = Window::default();
        record(&window, 1, false);
        record(&window, 1, true);
        let figures = window.figures(NOW);
        assert_eq!((figures.errors, figures.users, figures.users_peak), (1, None, None));
        let refused = Some([("x", 1)].into());
        let route = Route { count: 2, errors: 1, failures: 1, total: Duration::from_millis(2), refused };
        assert_eq!(figures.routes[&Box::from("GET /x")], route);
    }

    #[test]
    fn an_empty_window_has_zero_percentiles() {
        assert_eq!(Window::default().figures(NOW).times, Times::default());
    }

    #[test]
    fn the_last_value_of_a_job_is_kept() {
        let window = Window::default();
        assert!(window.figures(NOW).noted.is_empty());
        window.note(Metric::SnapshotFailed, 1.0, Timestamp::from_ms(1));
        window.note(Metric::SnapshotFailed, 0.0, NOW);
        assert_eq!(window.figures(NOW).noted, [(Metric::SnapshotFailed, Noted { value: 0.0, at: NOW })].into());
    }

    #[test]
    fn names_differ_and_at_most_ten_series_are_there_while_nothing_goes_wrong() {
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert!(Metric::regular().count() <= 10, "ten are free in an account");
    }
}
