//! The types that every handler receives and returns.

use crate::{ApiError, Live, Observer};
use config::Config;
use domain::verdict::Policy;
use std::fmt::Display as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::dynamodb::{
    Agents, Answers, BatchOutcome, Client, Connections, Ledger, Limits, Rooms, Signing, StreamEvent, Users,
};
use telemetry::lag::Lag;
use telemetry::metrics;

/// A request as API Gateway delivers it, path parameters included.
pub type Request = lambda_http::Request;
/// An answer in the form that API Gateway accepts.
pub type Response = lambda_http::Response<lambda_http::Body>;
/// The result of a handler.
pub type Reply = Result<Response, ApiError>;
/// A running handler.
pub type BoxFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;
/// A handler. A plain function pointer, so that all generic code is compiled once, in this library.
pub type Handler = fn(Context, Request) -> BoxFuture;
/// A job that a schedule or an operator starts. It receives the event that started it, and its result is the answer to
/// the invocation. An error fails the invocation, and Lambda repeats it. A function pointer, like [`Handler`].
pub type Job = fn(Context, serde_json::Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// A consumer of a stream, which shares each batch with the others. A function pointer, like [`Handler`].
pub type Consumer = fn(Context, Arc<StreamEvent>) -> Pin<Box<dyn Future<Output = BatchOutcome> + Send>>;
/// The result of a [`Job`].
pub type Outcome = Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>>;
/// The reason why a function could not start.
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Debug for Error {
    /// The whole chain of causes in plain words: `main` prints it, and Lambda logs it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        telemetry::Chain(&*self.0).fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Everything that a handler may use. It is cheap to clone. Between calls it holds only connections, counts
/// and the day's secret of the limits.
#[derive(Clone)]
pub struct Context {
    /// The settings.
    pub config: Arc<Config>,
    /// The database client, for work on whole tables.
    pub database: Client,
    /// The user states.
    pub users: Users,
    /// The agents.
    pub agents: Agents,
    /// The rooms that somebody created, and their people.
    pub rooms: Rooms,
    /// The key that signs tokens.
    pub signing: Signing,
    /// The WebSocket connections.
    pub connections: Connections,
    /// The rooms' histories.
    pub ledger: Ledger,
    /// The limits on calls.
    pub limits: Limits,
    /// The answers that repeated requests get again.
    pub answers: Answers,
    /// Reads the time.
    pub clock: fn() -> domain::Timestamp,
    /// The requests answered by this process.
    pub window: Arc<metrics::Window>,
    /// The source of the shown figures, if they are not those of this process. It has no default value, because every
    /// function would link that.
    pub figures: Option<Arc<dyn metrics::Source>>,
    /// The open WebSocket connections, for functions that send over them. It has no default value, because every function
    /// would link the client.
    pub live: Option<Live>,
    /// How far the history is behind, if this process writes it.
    pub lag: Option<Arc<Lag>>,
    /// Receives every answered request.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    /// The context of a process that uses this database.
    #[must_use]
    pub fn new(client: Client, config: Config, observer: Arc<dyn Observer>) -> Self {
        let keep_for = Duration::from_hours(24) * u32::from(config.state_ttl_days);
        let policy = Policy::new(config.min_evidence);
        Self {
            users: Users::new(client.clone(), config.state_table.clone(), keep_for, policy),
            agents: Agents::new(client.clone(), config.state_table.clone(), policy),
            rooms: Rooms::new(client.clone(), config.state_table.clone(), policy),
            signing: Signing::new(client.clone(), config.state_table.clone()),
            connections: Connections::new(client.clone(), config.state_table.clone()),
            ledger: Ledger::new(client.clone(), config.ledger_table.clone(), policy),
            limits: Limits::new(client.clone(), config.state_table.clone()),
            answers: Answers::new(client.clone(), config.state_table.clone()),
            database: client,
            config: Arc::new(config),
            clock: || SystemTime::now().into(),
            window: Arc::default(),
            figures: None,
            live: None,
            lag: None,
            observer,
        }
    }
}
