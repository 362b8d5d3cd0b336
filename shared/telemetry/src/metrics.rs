//! What is measured: the series of a stage, the requests of this process, and figures to show.

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
        /// Every metric that a stage publishes: nothing else may name one. Each is one series, but those that are
        /// [by function](Metric::is_by_function); ten series are free in an account.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$meaning])+ $metric),*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$metric),*];

            /// Of the series, and of the log line's member that it is read from.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$metric => $name),*
                }
            }

            /// As CloudWatch calls it.
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
    /// How long an answer took. Any statistic.
    ApiResponseTime = "api_response_time" in "Milliseconds",
    /// 100 for a status of 400 or above, else 0: the average is the error rate, a hundredth of the sum the count.
    ApiErrorRate = "api_error_rate" in "Percent",
    /// The most memory that an execution environment ever held. The maximum.
    MemoryUsedMb = "memory_used_mb" in "Megabytes",
    /// 1 for an answer with a status of 400 or above, by function. The sum.
    RouteErrors = "route_errors" in "Count",
    /// 1 for an answer with a status of 500 or above, by function. The sum.
    RouteFailures = "route_failures" in "Count",
    /// 1 for a refused attestation that an agent's key has signed, 0 for an accepted one. The sum.
    AttestationRejected = "attestation_rejected" in "Count",
    /// People in rooms, counted to one above the declared limit. The maximum.
    ConcurrentUsers = "concurrent_users" in "Count",
    /// 1 for a run of the canary that failed, else 0. The sum.
    CanaryFailed = "canary_failed" in "Count",
    /// 1 for a snapshot that failed, else 0. The sum.
    SnapshotFailed = "snapshot_failed" in "Count",
    /// Hours since the newest whole snapshot. CloudWatch has no unit of hours. The maximum.
    BackupAgeHours = "backup_age_hours" in "None",
    /// 1 for a restore drill that failed, else 0. The sum.
    RestoreDrillFailed = "restore_drill_failed" in "Count",
    /// Hours since a restore drill last succeeded. The maximum.
    RestoreDrillAgeHours = "restore_drill_age_hours" in "None",
}

impl Metric {
    /// Whether each function has a series of its own, with the dimension `FunctionName` as Lambda's own metrics have it.
    /// A series is charged by the hour in which it has a value: these have none while nothing goes wrong.
    #[must_use]
    pub const fn is_by_function(self) -> bool {
        matches!(self, Self::RouteErrors | Self::RouteFailures)
    }

    /// Those with one series each.
    pub fn of_the_stage() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|metric| !metric.is_by_function())
    }
}

/// The namespace of a stage's series. In one namespace the stages of an account would raise each other's alarms.
#[must_use]
pub fn namespace(stage: &str) -> String {
    format!("Greenroom/{stage}")
}

/// What one request adds to the counts.
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
    /// Why it was refused, if it was.
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
    /// In the metric's unit.
    pub value: f64,
    /// When it was so.
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
    /// Refusals by code; none where nobody counts them.
    pub refused: Option<BTreeMap<&'static str, u64>>,
}

/// What figures are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The process that answers.
    Process,
    /// All functions of a stage.
    Stage,
}

/// Why figures are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degraded {
    /// Some series could not be read; what they would say is absent or zero.
    Partial,
    /// They could not be read now: these are from the last time that they could.
    Stale,
    /// They could not be read: these are the counts of the answering process alone.
    Unavailable,
}

/// How it goes, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What is counted.
    pub scope: Scope,
    /// Why not all is as it should be, if it is not.
    pub degraded: Option<Degraded>,
    /// When this was so.
    pub at: Timestamp,
    /// From when on it is counted.
    pub since: Timestamp,
    /// Requests.
    pub total: u64,
    /// Answers with a status of 400 or above.
    pub errors: u64,
    /// Response times.
    pub times: Times,
    /// Per route.
    pub routes: BTreeMap<Box<str>, Route>,
    /// Users at the moment; none where nobody counted.
    pub users: Option<u64>,
    /// The most users at once.
    pub users_peak: Option<u64>,
    /// The most memory that a process has held, in bytes.
    pub memory_peak: Option<u64>,
    /// The last value of each metric that a job publishes.
    pub noted: BTreeMap<Metric, Noted>,
}

/// How response times are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Half of the requests were no slower.
    pub p50: Duration,
    /// 95 of a hundred were no slower.
    pub p95: Duration,
    /// 99 of a hundred were no slower.
    pub p99: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// Figures that will be there.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Figures> + Send + 'a>>;

/// Where figures come from. Reading them never fails: what could not be read is said in them.
pub trait Source: Send + Sync {
    /// The figures at this moment, by the counts of this process if there are no better ones.
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

    /// Keeps what a job published, for [`Figures::noted`]. On Lambda nobody asks: each job is a process of its own.
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

/// The shortest duration that at least `share` of `sorted` did not exceed (nearest rank).
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
        assert!(Metric::of_the_stage().count() <= 10, "ten are free in an account");
    }
}
