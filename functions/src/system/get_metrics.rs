//! `GET /api/metrics`: tells how many requests are answered, how fast, and how many of them fail.

use super::get_health::Megabytes;
use crate::auth::{Act, Caller};
use crate::function::{Function, allow, route};
use crate::http::{momentary, ok};
use crate::{Context, Reply, Request};
use domain::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;
use telemetry::metrics::{Degraded, Figures, Metric, Noted, Route, Scope};
use telemetry::process;

pub(crate) const FUNCTION: Function = route!(GET "/api/metrics")
    .may(&[allow(&["cloudwatch:GetMetricData"], &["*"]).because(
        "IAM has no resource and no condition for this action, so only a star can grant it. docs/decisions.md, 57.",
    )])
    .describes(
        "On AWS: the last hour of the whole stage, as CloudWatch has it, read at most once a minute. In the runner: \
         the counts of its process since its start, and the people who are present now. `degraded` says when \
         CloudWatch could not be read. On AWS, an invocation that ended without an answer counts as an error and a \
         failure of its endpoint.",
    )
    .momentary()
    .gives::<Metrics>(200, "The counts at this moment.");

/// The figures of one process, or of a whole stage.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "timestamp": "2026-11-21T11:44:18.011Z", "scope": "process", "since": "2026-11-21T11:41:23.011Z", "degraded": null,
    "api": {
        "totalRequests": 1, "totalErrors": 0, "errorRate": "0.0%",
        "responseTime": {"p50": "2.6ms", "p95": "2.6ms", "p99": "2.6ms", "min": "2.6ms", "max": "2.6ms"},
        "byEndpoint": {
            "GET /api/health": {"count": 1, "avgDuration": 2.63, "errorRate": "0.0%", "failures": 0, "refused": {}},
        },
    },
    "users": {"current": 0, "peak": 0, "limit": 10, "capacityUsed": "0.0%"},
    "system": {
        "memory": {"heapUsed": "11 MB", "heapTotal": "24106 MB", "rss": "28 MB", "usagePercent": "0.12"},
        "memoryPeak": "28 MB", "cpu": {"userMs": 10, "systemMs": 0}, "uptime": 175,
    },
    "slo": {
        "responseTimeMet": true, "errorRateMet": true,
        "profiles": {
            "basic": {
                "responseTimeTarget": "1000ms", "errorRateTarget": "5.0%", "responseTimeMet": true, "errorRateMet": true,
            },
            "strict": {
                "responseTimeTarget": "100ms", "errorRateTarget": "0.1%", "responseTimeMet": true, "errorRateMet": true,
            },
        },
    },
    "snapshots": {
        "ageHours": 7.4, "lastOk": true, "lastAt": "2026-11-21T03:00:09.120Z", "drillAgeHours": 151.2, "drillOk": null,
        "drillAt": null,
    },
}]))]
struct Metrics {
    timestamp: Timestamp,
    /// The scope of the counts: the requests of the process that answers, or those of all functions of the stage.
    #[schemars(extend("enum" = ["process", "stage"]))]
    scope: &'static str,
    /// When the counts began: at the start of the process, or an hour ago.
    since: Timestamp,
    /// Null if nothing is wrong. `partial`: some series could not be read, and their values are null or zero. `stale`:
    /// CloudWatch does not answer, and these are the figures of `timestamp`, at most 15 minutes ago. `unavailable`:
    /// CloudWatch does not answer, and these are the counts of the process alone.
    #[schemars(extend("enum" = ["partial", "stale", "unavailable", null]))]
    degraded: Option<&'static str>,
    api: Api,
    users: Users,
    system: System,
    slo: Slo,
    snapshots: Snapshots,
}

/// The last results of the nightly snapshot and of the weekly restore drill; null before their first run, and where
/// they do not run.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Snapshots {
    /// Hours since the newest complete snapshot, one decimal.
    #[schemars(range(min = 0))]
    age_hours: Option<f64>,
    /// Whether the last snapshot succeeded.
    last_ok: Option<bool>,
    last_at: Option<Timestamp>,
    /// Hours since the last successful restore drill, one decimal; before the first one, hours since the first check.
    #[schemars(range(min = 0))]
    drill_age_hours: Option<f64>,
    /// Whether the last restore drill succeeded.
    drill_ok: Option<bool>,
    drill_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Api {
    /// Requests answered since `since`, without this one.
    total_requests: u64,
    /// The answered requests with a status of 400 or above.
    total_errors: u64,
    error_rate: Percent,
    response_time: ResponseTime,
    /// By route, such as `PATCH /api/users/{userId}/mute`; `$default` where no route matched.
    by_endpoint: BTreeMap<Box<str>, EndpointMetrics>,
}

/// The duration of requests; in the runner, of the last 1 000. All are `0.0ms` before the first request.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ResponseTime {
    p50: Milliseconds,
    p95: Milliseconds,
    p99: Milliseconds,
    min: Milliseconds,
    max: Milliseconds,
}

/// One route's counts.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EndpointMetrics {
    #[schemars(range(min = 1))]
    count: u64,
    /// Milliseconds, two decimals.
    #[schemars(range(min = 0))]
    avg_duration: f64,
    error_rate: Percent,
    /// Answers with a status of 500 or above.
    failures: u64,
    /// Refusals by code; null on AWS, where the log has them.
    #[schemars(with = "Option<BTreeMap<String, NonZeroU64>>")]
    refused: Option<BTreeMap<&'static str, u64>>,
}

/// The people present in rooms, as in the rooms' lists: without people who have left and people whose lease has lapsed.
/// The runner counts them for this answer, or did so at most a second before. On AWS they are counted once a minute, up
/// to one above the limit. Null if they could not be counted.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Users {
    current: Option<u64>,
    /// The most people at the same time since `since`.
    peak: Option<u64>,
    /// `CONCURRENT_USER_LIMIT`. It only informs; nobody is refused because of it.
    #[schemars(range(min = 1))]
    limit: u32,
    capacity_used: Option<Percent>,
}

/// Figures of the process that answers, except for the peak.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct System {
    /// Memory of the process; null where the system has no `/proc`.
    memory: Option<Memory>,
    /// The most memory that one of the counted processes has used.
    memory_peak: Option<Megabytes>,
    /// Processor time the process has used; null where the system has no `/proc`.
    cpu: Option<Cpu>,
    /// Seconds since the start.
    uptime: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Memory {
    heap_used: Megabytes,
    heap_total: Megabytes,
    rss: Megabytes,
    /// `rss` as a percentage of `heapTotal`.
    #[schemars(regex(pattern = "^[0-9]+[.][0-9]{2}$"))]
    usage_percent: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Cpu {
    user_ms: u128,
    system_ms: u128,
}

/// Whether the targets are met: the 95th percentile, and the share of errors.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Slo {
    /// Whether the basic profile's target is met.
    response_time_met: bool,
    /// Whether the basic profile's target is met.
    error_rate_met: bool,
    profiles: Profiles,
}

/// The targets of this service, and those for 1 000 users.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Profiles {
    basic: Profile,
    strict: Profile,
}

/// One set of targets.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Profile {
    response_time_target: Milliseconds,
    error_rate_target: Percent,
    response_time_met: bool,
    error_rate_met: bool,
}

/// A percentage with one decimal, such as `0.5%`.
#[derive(Serialize, JsonSchema)]
struct Percent(#[schemars(regex(pattern = "^[0-9]+[.][0-9]%$"))] String);

impl Percent {
    fn of(percent: f64) -> Self {
        Self(format!("{percent:.1}%"))
    }
}

/// Whole milliseconds such as `45ms`; tenths below ten, such as `0.4ms`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Duration")]
struct Milliseconds(#[schemars(regex(pattern = "^[0-9]+([.][0-9])?ms$"))] String);

impl From<Duration> for Milliseconds {
    fn from(duration: Duration) -> Self {
        let ms = duration.as_secs_f64() * 1e3;
        Self(if ms < 10.0 { format!("{ms:.1}ms") } else { format!("{ms:.0}ms") })
    }
}

/// # Errors
/// 401 no caller.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    Caller::of(&context, &request)?.must(Act::ReadMetrics)?;
    let now = (context.clock)();
    let figures = match &context.figures {
        Some(source) => source.read(&context.window, now).await,
        None => context.window.figures(now),
    };
    Ok(momentary(ok(&metrics(figures, context.config.concurrent_user_limit, now))?))
}

fn metrics(figures: Figures, limit: u32, now: Timestamp) -> Metrics {
    let error_percent = percent(figures.errors, figures.total);
    let p95 = figures.times.p95;
    let profile = |response_time: Duration, errors: f64| Profile {
        response_time_target: response_time.into(),
        error_rate_target: Percent::of(errors),
        response_time_met: p95 < response_time,
        error_rate_met: error_percent < errors,
    };
    let profiles =
        Profiles { basic: profile(Duration::from_secs(1), 5.0), strict: profile(Duration::from_millis(100), 0.1) };
    Metrics {
        timestamp: figures.at,
        scope: match figures.scope {
            Scope::Process => "process",
            Scope::Stage => "stage",
        },
        since: figures.since,
        degraded: figures.degraded.map(|degraded| match degraded {
            Degraded::Partial => "partial",
            Degraded::Stale => "stale",
            Degraded::Unavailable => "unavailable",
        }),
        slo: Slo {
            response_time_met: profiles.basic.response_time_met,
            error_rate_met: profiles.basic.error_rate_met,
            profiles,
        },
        users: Users {
            current: figures.users,
            peak: figures.users_peak,
            limit,
            capacity_used: figures.users.map(|users| Percent::of(percent(users, limit.into()))),
        },
        system: System {
            memory: process::memory().map(|memory| Memory {
                heap_used: Megabytes::of(memory.heap_used),
                heap_total: Megabytes::of(memory.limit),
                rss: Megabytes::of(memory.rss),
                usage_percent: format!("{:.2}", memory.used_percent()),
            }),
            memory_peak: figures.memory_peak.map(Megabytes::of),
            cpu: process::cpu().map(|(user, system)| Cpu { user_ms: user.as_millis(), system_ms: system.as_millis() }),
            uptime: process::uptime().as_secs(),
        },
        snapshots: snapshots(&figures.noted, now),
        api: api(figures, error_percent),
    }
}

fn snapshots(noted: &BTreeMap<Metric, Noted>, now: Timestamp) -> Snapshots {
    let last = |metric| noted.get(&metric).map(|Noted { value, at }| (*value == 0.0, *at));
    let (snapshot, drill) = (last(Metric::SnapshotFailed), last(Metric::RestoreDrillFailed));
    let age = |metric| {
        noted.get(&metric).map(|Noted { value, at }| {
            let since = Duration::from_millis(now.ms().saturating_sub(at.ms()));
            ((value + since.as_secs_f64() / 3600.0) * 10.0).round() / 10.0
        })
    };
    Snapshots {
        age_hours: age(Metric::BackupAgeHours),
        drill_age_hours: age(Metric::RestoreDrillAgeHours),
        last_ok: snapshot.map(|(ok, _)| ok),
        last_at: snapshot.map(|(_, at)| at),
        drill_ok: drill.map(|(ok, _)| ok),
        drill_at: drill.map(|(_, at)| at),
    }
}

fn api(figures: Figures, error_percent: f64) -> Api {
    let times = figures.times;
    Api {
        total_requests: figures.total,
        total_errors: figures.errors,
        error_rate: Percent::of(error_percent),
        response_time: ResponseTime {
            p50: times.p50.into(),
            p95: times.p95.into(),
            p99: times.p99.into(),
            min: times.min.into(),
            max: times.max.into(),
        },
        by_endpoint: figures.routes.into_iter().map(|(route, counts)| (route, endpoint(counts))).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average with two decimals")]
fn endpoint(route: Route) -> EndpointMetrics {
    let average = route.total.as_secs_f64() * 1e3 / route.count.max(1) as f64;
    EndpointMetrics {
        count: route.count,
        avg_duration: (average * 100.0).round() / 100.0,
        error_rate: Percent::of(percent(route.errors, route.count)),
        failures: route.failures,
        refused: route.refused,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage with one decimal")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
