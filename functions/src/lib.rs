//! The whole API on one screen. The route of each endpoint stands in `template.yaml` and in its file's first line.

macro_rules! endpoints {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// The entry of each endpoint, for its binary and for the runner.
        pub mod entries {
            $(
                /// The endpoint of the same name.
                #[must_use]
                pub fn $name(state: crate::State, request: crate::Request) -> crate::BoxFuture {
                    Box::pin(crate::$module::$name::handle(state, request))
                }
            )*
        }

        /// Every endpoint by the name of its binary.
        pub const ENDPOINTS: &[(&str, Entry)] = &[$((stringify!($name), entries::$name)),*];
    };
}

endpoints! {
    agents::attest,
    agents::enroll_agent,
    agents::revoke_agent,
    agents::set_binding,
    rooms::get_room_audit,
    rooms::get_room_safe,
    rooms::list_room_events,
    rooms::list_room_users,
    system::get_health,
    system::get_metrics,
    system::get_openapi,
    system::no_route,
    users::create_pairing,
    users::delete_user,
    users::get_user,
    users::list_users,
    users::set_device,
    users::set_mute,
    users::set_state,
}

mod agents {
    pub(crate) mod attest;
    pub(crate) mod enroll_agent;
    pub(crate) mod revoke_agent;
    pub(crate) mod set_binding;
}
mod rooms {
    pub(crate) mod get_room_audit;
    pub(crate) mod get_room_safe;
    pub(crate) mod list_room_events;
    pub(crate) mod list_room_users;
}
/// What follows from a table's stream.
pub mod streams {
    pub mod on_state_change;
}
mod system {
    pub(crate) mod get_health;
    pub(crate) mod get_metrics;
    pub(crate) mod get_openapi;
    pub(crate) mod no_route;
}
/// What runs by the clock, each as a function of its own.
pub mod schedules {
    pub mod canary;
    pub mod restore_drill;
    pub mod snapshot_tables;
}
/// What somebody starts by hand, each as a function of its own.
pub mod commands {
    pub mod restore;
}
mod users {
    pub(crate) mod create_pairing;
    pub(crate) mod delete_user;
    pub(crate) mod get_user;
    pub(crate) mod list_users;
    pub(crate) mod set_device;
    pub(crate) mod set_mute;
    pub(crate) mod set_state;
}

/// Every consumer by the name of its binary.
pub const CONSUMERS: &[(&str, Consumer)] = &[("on_state_change", streams::on_state_change::run)];

mod answer;
mod auth;
mod consumer;
mod endpoint;
mod error;
mod http;
mod log;

pub use answer::{answer, refuse};
pub use consumer::{Consumer, consume};
pub use endpoint::{serve, serve_schedule, serve_with};
pub use error::{ApiError, Field};
pub use log::{Observer, RequestLine, diagnostics};
pub use system::get_openapi::{DOCUMENT as OPENAPI, described};

use domain::Policy;
use state::dynamodb::{Agents, Client, Ledger, Users};
use state::{Config, metrics};
use std::fmt::Display as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A request as API Gateway delivers it, path parameters included.
pub type Request = lambda_http::Request;
/// An answer as API Gateway takes it.
pub type Response = lambda_http::Response<lambda_http::Body>;
/// What a handler gives back.
pub type Reply = Result<Response, ApiError>;
/// A handler at work.
pub type BoxFuture = std::pin::Pin<Box<dyn Future<Output = Reply> + Send>>;
/// A handler. A plain function pointer, so that all generic code is compiled once, in this library.
pub type Entry = fn(State, Request) -> BoxFuture;
/// What a schedule starts, with the event that started it; what it gives back is told to whoever invoked it by hand. An
/// error fails the invocation, and Lambda repeats it. A function pointer, as [`Entry`].
pub type Job = fn(State, serde_json::Value) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// What came of a [`Job`].
pub type Outcome = Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>>;
/// Why a function could not start.
pub struct Error(Box<dyn std::error::Error + Send + Sync>);

impl std::fmt::Debug for Error {
    /// The whole chain in plain words: this is what `main` shows, and Lambda logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        state::Chain(&*self.0).fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// All that a handler may use. Cheap to clone; holds nothing between calls but connections and counts.
#[derive(Clone)]
pub struct State {
    /// The settings.
    pub config: Arc<Config>,
    /// The database itself, for what concerns whole tables.
    pub database: Client,
    /// The user states.
    pub users: Users,
    /// The agents that witness.
    pub agents: Agents,
    /// The rooms' histories.
    pub ledger: Ledger,
    /// Reads the time.
    pub clock: fn() -> domain::Timestamp,
    /// The requests answered by this process.
    pub window: Arc<metrics::Window>,
    /// Where the figures come from that are shown, if not from this process. No default behind the pointer: every function
    /// would link it.
    pub figures: Option<Arc<dyn metrics::Source>>,
    /// Told of every answered request.
    pub observer: Arc<dyn Observer>,
}

impl State {
    /// What handlers need, on one database.
    #[must_use]
    pub fn new(client: Client, config: Config, observer: Arc<dyn Observer>) -> Self {
        let keep_for = Duration::from_hours(24) * u32::from(config.state_ttl_days);
        let policy = Policy::new(config.min_evidence);
        Self {
            users: Users::new(client.clone(), config.state_table.clone(), keep_for, policy),
            agents: Agents::new(client.clone(), config.state_table.clone(), keep_for, policy),
            ledger: Ledger::new(client.clone(), config.ledger_table.clone(), policy),
            database: client,
            config: Arc::new(config),
            clock: || SystemTime::now().into(),
            window: Arc::default(),
            figures: None,
            observer,
        }
    }
}
