//! `GET /api/metrics`: how fast, how often, how well.

use super::get_health::megabytes;
use crate::auth::{Act, permit};
use crate::http::{momentary, ok};
use crate::{Reply, Request, State};
use domain::Timestamp;
use serde::Serialize;
use state::metrics::{Route, Summary};
use state::process;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Serialize)]
struct Metrics {
    timestamp: Timestamp,
    /// What is counted: the requests of this process. On Lambda that is one execution environment of this function;
    /// the figures of the whole deployment are in CloudWatch.
    scope: &'static str,
    api: Api,
    users: Users,
    system: System,
    slo: Slo,
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

/// Of the last 1 000 requests.
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
    /// Refusals by code.
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Users {
    current: usize,
    peak: usize,
    limit: u32,
    capacity_used: String,
}

#[derive(Serialize)]
struct System {
    memory: Option<Memory>,
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
pub(crate) async fn handle(state: State, _request: Request) -> Reply {
    permit(&state, Act::ReadMetrics)?;
    Ok(momentary(ok(&measure(&state))?))
}

fn measure(state: &State) -> Metrics {
    let summary = state.window.summary();
    let error_percent = percent(summary.errors, summary.total);
    let p95 = summary.percentile(0.95);
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
        timestamp: (state.clock)(),
        scope: "process",
        slo: Slo {
            response_time_met: met(|profile| profile.response_time_met),
            error_rate_met: met(|profile| profile.error_rate_met),
            profiles,
        },
        users: Users {
            current: summary.users,
            peak: summary.users_peak,
            limit: state.config.concurrent_user_limit,
            capacity_used: {
                let limit = u64::from(state.config.concurrent_user_limit);
                format!("{:.1}%", percent(summary.users as u64, limit))
            },
        },
        system: System {
            memory: process::memory().map(|memory| Memory {
                heap_used: megabytes(memory.heap_used),
                heap_total: megabytes(memory.limit),
                rss: megabytes(memory.rss),
                usage_percent: format!("{:.2}", memory.used_percent()),
            }),
            cpu: process::cpu().map(|(user, system)| Cpu { user_ms: user.as_millis(), system_ms: system.as_millis() }),
            uptime: process::uptime().as_secs(),
        },
        api: api(summary, error_percent),
    }
}

fn api(summary: Summary, error_percent: f64) -> Api {
    Api {
        total_requests: summary.total,
        total_errors: summary.errors,
        error_rate: format!("{error_percent:.1}%"),
        response_time: ResponseTime {
            p50: milliseconds(summary.percentile(0.50)),
            p95: milliseconds(summary.percentile(0.95)),
            p99: milliseconds(summary.percentile(0.99)),
            min: milliseconds(summary.percentile(0.0)),
            max: milliseconds(summary.percentile(1.0)),
        },
        by_endpoint: summary.routes.into_iter().map(|(route, counts)| (route, endpoint(counts))).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "an average with two decimals")]
fn endpoint(route: Route) -> Endpoint {
    let average = route.total.as_secs_f64() * 1e3 / route.count.max(1) as f64;
    Endpoint {
        count: route.count,
        avg_duration: (average * 100.0).round() / 100.0,
        error_rate: format!("{:.1}%", percent(route.errors, route.count)),
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
