//! `GET /api/health`: can this deployment do its work?

use crate::http::{momentary, with_status};
use crate::{Reply, Request, State};
use domain::Timestamp;
use lambda_http::http::StatusCode;
use serde::Serialize;
use state::{Chain, process};
use std::time::{Duration, Instant};

/// How long the database may take to answer before it counts as disconnected.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: Timestamp,
    uptime: Uptime,
    database: Database,
    memory: Option<Memory>,
    cpu: Cpu,
    environment: String,
    region: Option<String>,
    version: &'static str,
    commit: Option<String>,
}

#[derive(Serialize)]
struct Uptime {
    /// Of this process; on Lambda, of this execution environment.
    seconds: u64,
    formatted: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Database {
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: &'static str,
    response_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    /// Anonymous memory in use: heap and stacks.
    heap_used: String,
    /// What the process may use: the function's memory, the container's or the machine's.
    heap_total: String,
    rss: String,
}

#[derive(Serialize)]
struct Cpu {
    architecture: &'static str,
    /// Processors this process may use; on Lambda a share that grows with memory.
    count: usize,
}

/// 200 if the database answers, else 503.
pub(crate) async fn handle(state: State, _request: Request) -> Reply {
    let asked = Instant::now();
    let connected = match tokio::time::timeout(DATABASE_TIMEOUT, state.users.ping()).await {
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
    let uptime = process::uptime().as_secs();
    let health = Health {
        status: if connected { "ok" } else { "error" },
        timestamp: (state.clock)(),
        uptime: Uptime {
            seconds: uptime,
            formatted: format!("{}h {}m {}s", uptime / 3600, uptime / 60 % 60, uptime % 60),
        },
        database: Database {
            status: if connected { "connected" } else { "disconnected" },
            kind: "DynamoDB",
            mode: "on-demand",
            response_time,
        },
        memory: process::memory().map(|memory| Memory {
            heap_used: megabytes(memory.heap_used),
            heap_total: megabytes(memory.limit),
            rss: megabytes(memory.rss),
        }),
        cpu: Cpu {
            architecture: std::env::consts::ARCH,
            count: std::thread::available_parallelism().map_or(1, usize::from),
        },
        environment: state.config.stage.clone(),
        region: std::env::var("AWS_REGION").ok(),
        version: env!("CARGO_PKG_VERSION"),
        commit: state.config.commit.clone(),
    };
    let status = if connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(momentary(with_status(status, &health)?))
}

/// Like `45 MB`.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", (bytes + (1 << 19)) >> 20)
}
