//! What every handler is given, and what it gives back.

use crate::{ApiError, Observer};
use config::Config;
use domain::verdict::Policy;
use std::fmt::Display as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::dynamodb::{Agents, BatchOutcome, Client, Connections, Ledger, StreamEvent, Users};
use telemetry::lag::Lag;
use telemetry::metrics;

/// A request as API Gateway delivers it, path parameters included.
pub type Request = lambda_http::Request;
/// An answer as API Gateway takes it.
pub type Response = lambda_http::Response<lambda_http::Body>;
/// What a handler gives back.
pub type Reply = Result<Response, ApiError>;
/// A handler at work.
pub type BoxFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;
/// A handler. A plain function pointer, so that all generic code is compiled once, in this library.
pub type Handler = fn(Context, Request) -> BoxFuture;
/// What a schedule starts, with the event that started it; what it gives back is told to whoever invoked it by hand. An
/// error fails the invocation, and Lambda repeats it. A function pointer, as [`Handler`].
pub type Job = fn(Context, serde_json::Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// A consumer of a stream. A function pointer, as [`Handler`].
pub type Consumer = fn(Context, StreamEvent) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>>;
/// What came of a [`Job`].
pub type Outcome = Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>>;
/// Why a function could not start.
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Debug for Error {
    /// The whole chain in plain words: this is what `main` shows, and Lambda logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        telemetry::Chain(&*self.0).fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// All that a handler may use. Cheap to clone; holds nothing between calls but connections and counts.
#[derive(Clone)]
pub struct Context {
    /// The settings.
    pub config: Arc<Config>,
    /// The database itself, for what concerns whole tables.
    pub database: Client,
    /// The user states.
    pub users: Users,
    /// The agents that witness.
    pub agents: Agents,
    /// The WebSocket connections.
    pub connections: Connections,
    /// The rooms' histories.
    pub ledger: Ledger,
    /// Reads the time.
    pub clock: fn() -> domain::Timestamp,
    /// The requests answered by this process.
    pub window: Arc<metrics::Window>,
    /// Where the figures come from that are shown, if not from this process. No default behind the pointer: every function
    /// would link it.
    pub figures: Option<Arc<dyn metrics::Source>>,
    /// How far the history is behind, if this process writes it.
    pub lag: Option<Arc<Lag>>,
    /// Told of every answered request.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    /// What handlers need, on one database.
    #[must_use]
    pub fn new(client: Client, config: Config, observer: Arc<dyn Observer>) -> Self {
        let keep_for = Duration::from_hours(24) * u32::from(config.state_ttl_days);
        let policy = Policy::new(config.min_evidence);
        Self {
            users: Users::new(client.clone(), config.state_table.clone(), keep_for, policy),
            agents: Agents::new(client.clone(), config.state_table.clone(), policy),
            connections: Connections::new(client.clone(), config.state_table.clone()),
            ledger: Ledger::new(client.clone(), config.ledger_table.clone(), policy),
            database: client,
            config: Arc::new(config),
            clock: || SystemTime::now().into(),
            window: Arc::default(),
            figures: None,
            lag: None,
            observer,
        }
    }
}
