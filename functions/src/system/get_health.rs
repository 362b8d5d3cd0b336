//! `GET /api/health`: tells whether this deployment can do its work. With `?deep=1`, it also checks the other parts.

use crate::function::{Callers, Function, LEDGER, STATE, allow, route};
use crate::http::{momentary, with_status};
use crate::schedules::canary::{CHANGE_EVERY, last_entry};
use crate::schedules::snapshot_tables::live;
use crate::{Context, Reply, Request};
use config::{AuthMode, CorsOrigins};
use domain::Timestamp;
use domain::verdict::MinEvidence;
use lambda_http::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use snapshot::mark::Mark;
use std::time::{Duration, Instant};
use store::StoreError;
use telemetry::{Chain, process};

pub(crate) const FUNCTION: Function = route!(GET, HEAD "/api/health")
    .callers(Callers::Anybody)
    .may(&[
        allow(&["dynamodb:GetItem"], &[STATE])
            .keys(&["HEALTH", "LEASE#taken"])
            .because("An item that never exists, and the start of the newest snapshot, which ?deep=1 shows."),
        allow(&["dynamodb:Query"], &[LEDGER])
            .keys(&["CHAIN#room:greenroom-canary"])
            .because("The time of the canary's last change in the history, which ?deep=1 shows."),
    ])
    .costs(1, 0.5, 0.0)
    .describes(
        "Asks the database, for at most two seconds. With `deep=1`, it asks both tables, and tells the delay of the \
         history, the age of the newest snapshot, the time of the deployment and the settings; `unknown` means that \
         there is no data yet. Needs no token.",
    )
    .parameters(&["Deep"])
    // A probe must not fail because of how it is written.
    .ignores_query()
    .momentary()
    .gives::<Health>(200, "The database answers.")
    .gives::<Health>(503, "The database does not answer. Same members as the 200, without `Retry-After`.");

/// How long the database may take to answer before it counts as disconnected.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);
/// If a change has waited longer than this for the history, the history is late.
const HISTORY_LATE: Duration = Duration::from_mins(5);
/// A snapshot is taken each night. The alarm in template.yaml has the same bound.
const SNAPSHOT_OLD_HOURS: f64 = 26.0;

/// The health of this deployment.
#[derive(Serialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "status": "ok", "timestamp": "2026-11-21T11:44:17.990Z", "uptime": {"seconds": 175, "formatted": "0h 2m 55s"},
    "database": {"status": "connected", "type": "DynamoDB", "mode": "on-demand", "responseTime": "2.3ms"},
    "memory": {"heapUsed": "11 MB", "heapTotal": "24106 MB", "rss": "28 MB"},
    "cpu": {"architecture": "x86_64", "count": 2},
    "environment": "local", "region": null, "version": "0.1.0", "commit": null,
}]))]
struct Health {
    status: Outcome,
    timestamp: Timestamp,
    uptime: Uptime,
    database: Database,
    /// Memory of the process; null where the system has no `/proc`.
    memory: Option<Memory>,
    cpu: Cpu,
    /// `STAGE`.
    #[schemars(regex(pattern = "^[A-Za-z0-9-]{1,32}$"))]
    environment: String,
    /// `AWS_REGION`; null on the local runner.
    region: Option<String>,
    /// Version of Greenroom.
    #[schemars(length(min = 1))]
    version: &'static str,
    /// `GIT_COMMIT`; null if unset.
    #[schemars(regex(pattern = "^[A-Za-z0-9]{1,64}$"))]
    commit: Option<String>,
    /// Only with `deep=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Deep")]
    deep: Option<Deep>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Outcome {
    Ok,
    Error,
}

impl From<bool> for Outcome {
    fn from(works: bool) -> Self {
        if works { Self::Ok } else { Self::Error }
    }
}

/// Facts that need more than one call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Deep {
    tables: Tables,
    history: History,
    snapshots: Snapshots,
    /// `DEPLOYED_AT`; null if unset.
    deployed_at: Option<Timestamp>,
    settings: Settings,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Tables {
    state: Outcome,
    ledger: Outcome,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct History {
    /// `unknown` before the first run of the canary, and if the ledger does not answer.
    status: Lateness,
    /// In the runner: the age of the oldest change that is not in the history yet; 0 if there is none. On AWS: the age
    /// of the canary's last change in the history.
    #[schemars(range(min = 0))]
    age_seconds: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Lateness {
    Ok,
    Late,
    Unknown,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Snapshots {
    /// The state of the newest complete snapshot, checked each hour: `old` if it is older than 26 hours, `unknown`
    /// before the first snapshot and where none are taken.
    status: Age,
    #[schemars(range(min = 0))]
    age_hours: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Age {
    Ok,
    Old,
    Unknown,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Settings {
    #[schemars(extend("enum" = ["open", "strict"]))]
    auth_mode: &'static str,
    /// The origins whose pages may call, or `*`.
    cors_origins: Vec<String>,
    min_evidence: MinEvidence,
    #[schemars(range(min = 1, max = 3650))]
    state_ttl_days: u16,
    concurrent_user_limit: u32,
    log_level: String,
    #[schemars(range(min = 1, max = 100))]
    log_sample_percent: u8,
}

/// The uptime of the process; on Lambda, of one execution environment.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Uptime {
    seconds: u64,
    #[schemars(regex(pattern = "^[0-9]+h [0-9]{1,2}m [0-9]{1,2}s$"))]
    formatted: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Database {
    status: Connection,
    #[serde(rename = "type")]
    #[schemars(extend("const" = "DynamoDB"))]
    kind: &'static str,
    #[schemars(extend("const" = "on-demand"))]
    mode: &'static str,
    #[schemars(regex(pattern = "^[0-9]+[.][0-9]ms$"))]
    response_time: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Connection {
    Connected,
    Disconnected,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Memory {
    /// Anonymous memory in use: heap and stacks.
    heap_used: Megabytes,
    /// The memory limit of the process: that of the function, the container or the machine.
    heap_total: Megabytes,
    /// Resident set.
    rss: Megabytes,
}

/// Whole megabytes, such as `45 MB`.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Megabytes(#[schemars(regex(pattern = "^[0-9]+ MB$"))] String);

impl Megabytes {
    /// The number of bytes in megabytes, rounded.
    pub(crate) fn of(bytes: u64) -> Self {
        Self(format!("{} MB", (bytes + (1 << 19)) >> 20))
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Cpu {
    #[schemars(length(min = 1))]
    architecture: &'static str,
    /// Processors that the process may use; on Lambda, a share that grows with the memory.
    #[schemars(range(min = 1))]
    count: usize,
}

/// 200 if the database answers, otherwise 503. With `?deep=1`, both tables must answer.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let deep = if is_deep(&request) { Some(deep(&context).await) } else { None };
    let asked = Instant::now();
    let connected = match tokio::time::timeout(DATABASE_TIMEOUT, context.users.ping()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(error = %Chain(&error), "health: database does not answer");
            false
        }
        Err(_) => {
            tracing::error!("health: database did not answer in time");
            false
        }
    };
    let response_time = format!("{:.1}ms", asked.elapsed().as_secs_f64() * 1e3);
    let deep = deep.map(|(ledger, history, snapshots)| Deep {
        tables: Tables { state: connected.into(), ledger: ledger.into() },
        history,
        snapshots,
        deployed_at: context.config.deployed_at,
        settings: settings(&context),
    });
    let works = connected && deep.as_ref().is_none_or(|deep| deep.tables.ledger == Outcome::Ok);
    let uptime = process::uptime().as_secs();
    let health = Health {
        status: works.into(),
        timestamp: (context.clock)(),
        uptime: Uptime {
            seconds: uptime,
            formatted: format!("{}h {}m {}s", uptime / 3600, uptime / 60 % 60, uptime % 60),
        },
        database: Database {
            status: if connected { Connection::Connected } else { Connection::Disconnected },
            kind: "DynamoDB",
            mode: "on-demand",
            response_time,
        },
        memory: process::memory().map(|memory| Memory {
            heap_used: Megabytes::of(memory.heap_used),
            heap_total: Megabytes::of(memory.limit),
            rss: Megabytes::of(memory.rss),
        }),
        cpu: Cpu {
            architecture: std::env::consts::ARCH,
            count: std::thread::available_parallelism().map_or(1, usize::from),
        },
        environment: context.config.stage.clone(),
        region: std::env::var("AWS_REGION").ok().filter(|region| !region.is_empty()),
        version: env!("CARGO_PKG_VERSION"),
        commit: context.config.commit.clone(),
        deep,
    };
    let status = if works { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(momentary(with_status(status, &health)?))
}

fn is_deep(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "deep" && value == "1")
}

/// Whether the ledger answers, the delay of the history, and the age of the newest snapshot.
async fn deep(context: &Context) -> (bool, History, Snapshots) {
    let last = match tokio::time::timeout(DATABASE_TIMEOUT, last_change(context)).await {
        Ok(Ok(last)) => Ok(last),
        Ok(Err(error)) => {
            tracing::error!(error = %Chain(&error), "health: the ledger does not answer");
            Err(())
        }
        Err(_) => {
            tracing::error!("health: the ledger did not answer in time");
            Err(())
        }
    };
    (last.is_ok(), history(context, last.ok().flatten()), snapshots(context).await)
}

fn since(context: &Context, at: Timestamp) -> Duration {
    Duration::from_millis((context.clock)().ms().saturating_sub(at.ms()))
}

/// The delay of the history. A process that writes the history knows it; otherwise the canary's last change in the
/// history tells it.
fn history(context: &Context, last_change: Option<Timestamp>) -> History {
    let (age, late) = match &context.lag {
        Some(lag) => (Some(lag.oldest().map_or(Duration::ZERO, |oldest| since(context, oldest))), HISTORY_LATE),
        None => (last_change.map(|at| since(context, at)), CHANGE_EVERY + HISTORY_LATE),
    };
    let status = match age {
        None => Lateness::Unknown,
        Some(age) if age > late => Lateness::Late,
        Some(_) => Lateness::Ok,
    };
    History { status, age_seconds: age.map(|age| age.as_secs()) }
}

/// The time of the canary's last change in the history.
async fn last_change(context: &Context) -> Result<Option<Timestamp>, StoreError> {
    Ok(last_entry(context).await?.and_then(|entry| entry.at.parse().ok()))
}

/// The age of the newest snapshot, from the mark that the hourly job stores in the table: this function may not read
/// the bucket.
async fn snapshots(context: &Context) -> Snapshots {
    let tables = live(context);
    let begun = match tokio::time::timeout(DATABASE_TIMEOUT, Mark::Taken.read(&tables)).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            tracing::error!(error = %Chain(&error), "health: failed to read the age of the snapshots");
            None
        }
        Err(_) => {
            tracing::error!("health: failed to read the age of the snapshots in time");
            None
        }
    };
    let hours = begun.map(|begun| since(context, begun).as_secs_f64() / 3600.0);
    let status = match hours {
        None => Age::Unknown,
        Some(hours) if hours > SNAPSHOT_OLD_HOURS => Age::Old,
        Some(_) => Age::Ok,
    };
    Snapshots { status, age_hours: hours.map(|hours| (hours * 10.0).round() / 10.0) }
}

fn settings(context: &Context) -> Settings {
    let config = &context.config;
    Settings {
        auth_mode: match config.auth_mode {
            AuthMode::Open => "open",
            AuthMode::Strict => "strict",
        },
        cors_origins: match &config.cors_origins {
            CorsOrigins::Any => vec!["*".to_owned()],
            CorsOrigins::Listed(origins) => origins.clone(),
        },
        min_evidence: config.min_evidence,
        state_ttl_days: config.state_ttl_days,
        concurrent_user_limit: config.concurrent_user_limit,
        log_level: config.log_level.as_str().to_lowercase(),
        log_sample_percent: config.log_sample_percent,
    }
}
