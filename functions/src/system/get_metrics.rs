//! `GET /api/metrics`: how fast, how often, how well.

use super::get_health::megabytes;
use crate::auth::{Act, Caller};
use crate::function::{Function, allow, route};
use crate::http::{momentary, ok};
use crate::{Context, Reply, Request};
use domain::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use telemetry::metrics::{Degraded, Figures, Metric, Noted, Route, Scope};
use telemetry::process;

pub(crate) const FUNCTION: Function = route!(GET "/api/metrics")
    .may(&[allow(&["cloudwatch:GetMetricData"], &["*"]).because(
        "IAM knows no resource and no condition for this action: it is this star or nothing. docs/decisions.md, 57.",
    )])
    .describes(
        "On AWS the last hour of the whole stage, as CloudWatch has it, read at most once a minute; in the runner \
         what its process has counted since its start, and who is there now. `degraded` says when CloudWatch could not be read. On AWS a \
         run that ended without an answer counts as an error and a failure of its endpoint.",
    )
    .momentary()
    .gives(&[(200, "The counts at this moment.", "Metrics")]);

#[derive(Serialize)]
struct Metrics {
    timestamp: Timestamp,
    /// What is counted: all functions of a stage, as CloudWatch has it, or the requests of this process.
    scope: &'static str,
    since: Timestamp,
    degraded: Option<&'static str>,
    api: Api,
    users: Users,
    system: System,
    slo: Slo,
    snapshots: Snapshots,
}

/// What the jobs published last; nothing before their first run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshots {
    age_hours: Option<f64>,
    last_ok: Option<bool>,
    last_at: Option<Timestamp>,
    drill_age_hours: Option<f64>,
    drill_ok: Option<bool>,
    drill_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Api {
    total_requests: u64,
    total_errors: u64,
    error_rate: String,
    response_time: ResponseTime,
    by_endpoint: BTreeMap<Box<str>, Endpoint>,
}

#[derive(Serialize)]
struct ResponseTime {
    p50: String,
    p95: String,
    p99: String,
    min: String,
    max: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    count: u64,
    /// Milliseconds.
    avg_duration: f64,
    error_rate: String,
    /// Answers of 500 or above.
    failures: u64,
    /// Refusals by code.
    refused: Option<BTreeMap<&'static str, u64>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Users {
    current: Option<u64>,
    peak: Option<u64>,
    limit: u32,
    capacity_used: Option<String>,
}

/// Of the process that answers; the peak is of all that are counted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct System {
    memory: Option<Memory>,
    memory_peak: Option<String>,
    cpu: Option<Cpu>,
    uptime: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    heap_used: String,
    heap_total: String,
    rss: String,
    usage_percent: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    user_ms: u128,
    system_ms: u128,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Slo {
    /// As the basic profile says.
    response_time_met: bool,
    error_rate_met: bool,
    profiles: BTreeMap<&'static str, Profile>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    response_time_target: String,
    error_rate_target: String,
    response_time_met: bool,
    error_rate_met: bool,
}

/// Name, 95th percentile, share of errors in percent: seed 000's targets, and those for 1 000 users.
const PROFILES: [(&str, Duration, f64); 2] =
    [("basic", Duration::from_secs(1), 5.0), ("strict", Duration::from_millis(100), 0.1)];

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
    let profiles: BTreeMap<_, _> = PROFILES
        .map(|(name, response_time, errors)| {
            let profile = Profile {
                response_time_target: milliseconds(response_time),
                error_rate_target: format!("{errors:.1}%"),
                response_time_met: p95 < response_time,
                error_rate_met: error_percent < errors,
            };
            (name, profile)
        })
        .into();
    let met = |read: fn(&Profile) -> bool| profiles.get("basic").is_some_and(read);
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
            response_time_met: met(|profile| profile.response_time_met),
            error_rate_met: met(|profile| profile.error_rate_met),
            profiles,
        },
        users: Users {
            current: figures.users,
            peak: figures.users_peak,
            limit,
            capacity_used: figures.users.map(|users| format!("{:.1}%", percent(users, limit.into()))),
        },
        system: System {
            memory: process::memory().map(|memory| Memory {
                heap_used: megabytes(memory.heap_used),
                heap_total: megabytes(memory.limit),
                rss: megabytes(memory.rss),
                usage_percent: format!("{:.2}", memory.used_percent()),
            }),
            memory_peak: figures.memory_peak.map(megabytes),
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
        error_rate: format!("{error_percent:.1}%"),
        response_time: ResponseTime {
            p50: milliseconds(times.p50),
            p95: milliseconds(times.p95),
            p99: milliseconds(times.p99),
            min: milliseconds(times.min),
            max: milliseconds(times.max),
        },
        by_endpoint: figures.routes.into_iter().map(|(route, counts)| (route, endpoint(counts))).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average with two decimals")]
fn endpoint(route: Route) -> Endpoint {
    let average = route.total.as_secs_f64() * 1e3 / route.count.max(1) as f64;
    Endpoint {
        count: route.count,
        avg_duration: (average * 100.0).round() / 100.0,
        error_rate: format!("{:.1}%", percent(route.errors, route.count)),
        failures: route.failures,
        refused: route.refused,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage with one decimal")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Whole milliseconds like `45ms`, tenths below ten: `0.4ms`.
fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1}ms") } else { format!("{ms:.0}ms") }
}
