//! Starts the runner, announces it, and stops it in order.

use crate::access::Access;
use crate::client::{client, context};
use crate::database::Database;
use crate::engine::Engine;
use crate::figures::People;
use crate::gateway::{self, Gateway, Limits};
use crate::keys;
use crate::log::Log;
use crate::pump::{BEHIND_MAX, BEHIND_ON_DISK_MAX, Pump};
use crate::schedule;
use crate::socket;
use crate::storage::{self, Location, StorageError};
use crate::template::{BadTemplate, TEMPLATE, Template};
use config::Config;
use config::{AuthMode, BadSetting, CorsOrigins};
use functions::{CONSUMERS, Consumer, SOCKET_PATH};
use serde_json::json;
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::dynamodb::Signing;
use telemetry::process;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long open requests may take to finish after a signal (seed 004).
const DRAIN: Duration = Duration::from_secs(10);
/// How long the database may take to close.
const CLOSING: Duration = Duration::from_secs(1);
/// How long the log's reader may take for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Interval between removals of expired items; `DynamoDB` takes up to a few days.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// The options of the runner.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on.
    pub host: IpAddr,
    /// The origin under which people open the page, if it differs from the address.
    pub public_url: Option<String>,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Port for the engine in `DynamoDB`'s own protocol, on this machine only.
    pub dynamodb_port: Option<u16>,
    /// Where the data is kept.
    pub location: Location,
    /// Who may call, if it is not what the environment says.
    pub auth_mode: Option<AuthMode>,
    /// Directory of the snapshots. `None`: no snapshots are taken.
    pub snapshot_dir: Option<PathBuf>,
}

/// Why the runner could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The address is taken.
    #[error("port {0} is in use; stop what listens there, or choose another --port")]
    PortTaken(u16),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The key that signs tokens cannot be read or made.
    #[error("the key that signs tokens is not usable: {}", telemetry::Chain(.0))]
    Keys(#[from] store::StoreError),
    /// The embedded template is not usable.
    #[error(transparent)]
    Template(#[from] BadTemplate),
    /// The system refuses threads or signal handlers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code: 2 setting, 3 port, 4 damaged data, 5 unknown layout, 6 data directory not usable, 7 locked,
    /// 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_) => 2,
            Self::PortTaken(_) | Self::Address { .. } => 3,
            Self::Storage(error) => error.exit_code(),
            Self::Keys(_) => 4,
            Self::Template(_) | Self::System(_) => 1,
        }
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See [`StartError`]; nothing has been served then.
pub async fn run(options: Options) -> Result<(), StartError> {
    process::started();
    let mut config = settings(&options)?;
    let snapshots = config::Snapshots::from_env()?;
    let (log, log_thread) = Log::start()?;
    let diagnostics = log.clone();
    functions::diagnostics(config.log_level, move || diagnostics.clone());
    raise_file_limit();

    let template = Template::parse(TEMPLATE)?;
    let listener = listen(SocketAddr::new(options.host, options.port))?;
    let address = listener.local_addr()?;
    let access = Access::of_page(address, options.public_url.as_deref(), &config.cors_origins);
    if let Some(pages) = access.pages() {
        config.cors_origins.clone_from(pages);
    }
    warn_if_open_to_all(&config);
    let dynamodb_listener = match options.dynamodb_port {
        Some(port) => Some(listen(SocketAddr::from(([127, 0, 0, 1], port)))?),
        None => None,
    };
    let store = storage::open(&options.location, &template, &config)?;
    let (engine, engine_thread) = Engine::start(store.database)?;

    let signing = Signing::new(client(engine.clone()), config.state_table.clone());
    config.rooms.token_keys = keys::ensure(&signing).await?.public();
    drop(signing);

    let stage = config.stage.clone();
    let mut context = context(engine.admitted(), config, Arc::new(log.clone()));
    let people = Arc::new(People::new(context.users.clone(), context.clock));
    context.figures = Some(people.clone());
    let behind_max = match options.location {
        Location::Memory => BEHIND_MAX,
        Location::Directory { .. } => BEHIND_ON_DISK_MAX,
    };
    let pump = Pump::new(&engine, &context.config, Arc::new(log.clone()), consumers(&template)?, behind_max);
    context.lag = Some(pump.lag());
    let gateway = Gateway::new(&template, context.clone(), engine.clone(), access, Limits::default())?;
    let pump = pump.with_live(gateway.live());
    let gateway = Arc::new(gateway);

    let (stop, stopped) = watch::channel(false);
    let signal = signals()?;
    let dynamodb_address = dynamodb_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    // Open the socket before the announcement: a reader of the announcement may start a command at once.
    let socket = socket::listen(&options.location);
    announce(&log, address, dynamodb_address, &options.location, &stage);
    if let Some(listener) = dynamodb_listener {
        let access = Access::of_tools(listener.local_addr()?);
        tokio::spawn(gateway::run_dynamodb(listener, engine.clone(), access, stopped.clone()));
    }
    if let Some(socket) = socket {
        tokio::spawn(gateway::run_engine(socket, engine.clone(), socket::access(), stopped.clone()));
    }
    let nightly = options.snapshot_dir.map(|directory| {
        let job = schedule::Nightly { context: context.clone(), directory, settings: snapshots, log: log.clone() };
        job.start(stopped.clone())
    });
    // The context holds an engine handle, which would keep the database open.
    drop(context);
    let chores = [tokio::spawn(sweep(engine.clone())), tokio::spawn(people.watch())];
    let (rest, resting) = watch::channel(false);
    let mut pump = tokio::spawn(pump.run(resting));
    let serving = tokio::spawn(gateway::run(listener, gateway, stopped, DRAIN));

    let name = signal.await;
    log.event("shutdown_initiated", json!({"signal": name}));
    let deadline = Instant::now() + DRAIN;
    let _ = stop.send(true);
    let _ = serving.await;
    log.event("server_closed", json!({"message": "HTTP server closed"}));
    for chore in chores {
        chore.abort();
        let _ = chore.await;
    }
    if let Some(nightly) = nightly {
        // An unfinished snapshot is abandoned. It has no manifest, so it does not count as a snapshot.
        let _ = nightly.await;
    }
    // There are no writers any more. Records that are still in the stream reach the ledger after the next start.
    let _ = rest.send(true);
    if tokio::time::timeout_at(deadline, &mut pump).await.is_err() {
        pump.abort();
        let _ = pump.await;
    }
    drop(engine);
    socket::remove(&options.location);
    // The last handle goes with the last connection. A timeout limits the wait.
    let closed = tokio::task::spawn_blocking(move || {
        if engine_thread.join().is_ok() {
            storage::seal(&options.location)?;
        }
        Ok::<_, io::Error>(())
    });
    match tokio::time::timeout(CLOSING, closed).await {
        Ok(Ok(Err(error))) => tracing::warn!(%error, "failed to seal the data directory"),
        Ok(_) => {}
        Err(_) => tracing::warn!("the database did not close in time"),
    }
    drop(store.lock);
    log.event("database_closed", json!({"message": "Database connection closed"}));
    log.event("shutdown_complete", json!({"droppedLogLines": log.dropped()}));
    // The diagnostics hold a handle of the log until the process ends, so the log's thread cannot be joined.
    log.written(LAST_LINES).await;
    drop(log_thread);
    Ok(())
}

/// The settings of the environment, where no option overrides them.
fn settings(options: &Options) -> Result<Config, BadSetting> {
    let mut config = Config::of_runner_from_env()?;
    config.auth_mode = options.auth_mode.unwrap_or(config.auth_mode);
    config.rooms.page_url = config.rooms.page_url.or_else(|| options.public_url.clone());
    Ok(config)
}

/// The consumers of the state table's stream, as the template names them.
fn consumers(template: &Template) -> Result<Vec<Consumer>, BadTemplate> {
    let functions = template.functions()?;
    let named = CONSUMERS.iter().filter(|(name, _)| functions.iter().any(|function| function.binary == *name));
    let named: Vec<_> = named.map(|(_, consumer)| *consumer).collect();
    if named.is_empty() {
        let problem = "no function follows its stream";
        return Err(BadTemplate::Resource { resource: "StateTable".to_owned(), problem });
    }
    Ok(named)
}

/// Warns that every web page in a browser on this machine can act for every user.
fn warn_if_open_to_all(config: &Config) {
    if (config.auth_mode, &config.cors_origins) == (AuthMode::Open, &CorsOrigins::Any) {
        tracing::warn!("AUTH_MODE=open with CORS_ORIGIN=*: any web page can read and change everything here");
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    gateway::listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken(address.port()),
        _ => StartError::Address { address, source },
    })
}

/// Raises the limit of file descriptors: a thousand connections need more than the usual 1 024.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If the system refuses, the gateway waits for free descriptors instead.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn sweep(engine: Engine) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match engine.work(Database::sweep_ttl).await {
            Some(Ok(0)) | None => {}
            Some(Ok(removed)) => {
                engine.wake();
                tracing::info!(removed, "removed expired items");
            }
            Some(Err(error)) => tracing::error!(%error, "failed to remove expired items"),
        }
    }
}

/// Waits for a stop signal and returns its name.
fn signals() -> io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Announces the runner: one line for machines, a short guide for people.
fn announce(log: &Log, address: SocketAddr, dynamodb: Option<SocketAddr>, location: &Location, stage: &str) {
    let url = format!("http://{address}");
    let data = match location {
        Location::Memory => "in memory, gone when this stops".to_owned(),
        Location::Directory { path, durable: false } => path.display().to_string(),
        Location::Directory { path, durable: true } => format!("{}, every write synced to disk", path.display()),
    };
    if !log.for_people() {
        let dynamodb = dynamodb.map(|address| format!("http://{address}"));
        log.event("listening", json!({"url": url, "dynamodb": dynamodb, "data": data, "stage": stage}));
        return;
    }
    debug_assert!(io::stdout().is_terminal());
    // A closed terminal is not a failure.
    let _ = guide(&mut io::stdout().lock(), &url, &data, dynamodb);
}

fn guide(out: &mut impl io::Write, url: &str, data: &str, dynamodb: Option<SocketAddr>) -> io::Result<()> {
    writeln!(out, "\x1b[1mGreenroom\x1b[0m serves the whole stack on this machine.\n")?;
    writeln!(out, "  page      {url}/")?;
    writeln!(out, "  figures   {url}/ops")?;
    writeln!(out, "  API       {url}/api/openapi.json")?;
    writeln!(out, "  sockets   {}{SOCKET_PATH}", url.replacen("http", "ws", 1))?;
    writeln!(out, "  data      {data}")?;
    if let Some(address) = dynamodb {
        writeln!(out, "  DynamoDB  http://{address}")?;
    }
    writeln!(out, "\nAda joins a room, mutes, and switches her microphone:\n")?;
    let json = "-H 'Content-Type: application/json'";
    writeln!(
        out,
        "  curl -X POST {url}/api/users/ada/state {json} -d '{{\"isMuted\":false,\"roomId\":\"demo\"}}'\n  \
         curl -X PATCH {url}/api/users/ada/mute {json} -d '{{\"isMuted\":true}}'\n  \
         curl -X PATCH {url}/api/users/ada/device {json} -d '{{\"deviceId\":\"usb-1\",\"deviceLabel\":\"USB microphone\"}}'\n"
    )?;
    writeln!(out, "Ctrl+C stops it.\n")
}
