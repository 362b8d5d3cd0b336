//! DynamoDB, through AWS's own client: the only storage path, in production, in the runner and in every test.

mod agents;
mod bounded;
mod cause;
mod connections;
mod expression;
mod http;
mod item;
pub mod keys;
mod ledger;
mod lists;
mod page;
mod pairing;
mod stream;
mod table;
mod users;

pub use agents::{
    AGENT_IDLE, AGENT_NOT_FOUND, AGENT_REVOKED, Agent, Agents, Attested, SEQUENCE_CONFLICT, WINDOW_NOT_NEWER,
};
pub use aws_sdk_dynamodb::Client;
pub use cause::Cause;
pub use connections::Connections;
pub use ledger::{Ledger, LedgerItem, Part, Unfinished, followed_stream};
pub use page::{CURSOR_INVALID, Cursor, Page};
pub use pairing::{CODE_INVALID, KEY_BOUND};
pub use stream::{BatchOutcome, FailedRecord, StreamEvent, StreamRecord, stream_began};
pub use users::{Guard, USER_NOT_FOUND, Users, VERSION_CONFLICT, Written};

use crate::StateError;
pub use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Config;
pub use aws_sdk_dynamodb::config::Region;
use aws_sdk_dynamodb::config::retry::{ReconnectMode, RetryConfig};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};
use bounded::Bounded;
use http::Http;
use std::time::Duration;

/// Time for one attempt. `DynamoDB` answers within some 10 ms; a slower answer is better asked again. All attempts of
/// one call with their pauses stay under a function's 10 s; those of several calls are bounded by the request's deadline.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Attempts per call, and the longest first pause between them; the SDK adds jitter and doubles.
const ATTEMPTS_MAX: u32 = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The authorities that sign AWS endpoints outside China (<https://www.amazontrust.com/repository/>).
///
/// Loading a system's 140 roots would cost 3.5 ms of each cold start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// Why the client could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A variable that Lambda always sets is missing.
    #[error("{0} is not set")]
    Unset(&'static str),
    /// `AWS_CA_BUNDLE` cannot be read.
    #[error("AWS_CA_BUNDLE cannot be read")]
    Roots(#[source] std::io::Error),
    /// The endpoint's address or the certificates are not usable.
    #[error("the endpoint's address or the trusted certificates are not usable")]
    Endpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a client of any service of AWS takes from the environment.
#[derive(Debug)]
pub struct Environment {
    /// `AWS_REGION`
    pub region: Region,
    /// What Lambda gives the function's role.
    pub credentials: Credentials,
    /// Where the service is instead of where AWS has it.
    pub endpoint: Option<String>,
    /// Connections to it.
    pub http: SharedHttpClient,
}

impl Environment {
    /// Reads `AWS_REGION`, the credentials that Lambda provides, and `AWS_CA_BUNDLE`, for the service of this name; an
    /// `endpoint` that is not empty goes before where AWS has it. No profile files, no metadata service: on Lambda they
    /// are never the answer, and asking costs milliseconds of every cold start.
    ///
    /// # Errors
    /// A missing variable or an unusable certificate file.
    pub fn read(service: &str, endpoint: Option<String>) -> Result<Self, ConnectError> {
        Self::open(service, endpoint).map(|(environment, _)| environment)
    }

    fn open(service: &str, endpoint: Option<String>) -> Result<(Self, Http), ConnectError> {
        // An empty variable is an unset one, as everywhere.
        let set_variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let variable = |name| set_variable(name).ok_or(ConnectError::Unset(name));
        let region = variable("AWS_REGION")?;
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            set_variable("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let endpoint = endpoint.filter(|url| !url.is_empty());
        let origin = endpoint.clone().unwrap_or_else(|| format!("https://{service}.{region}.amazonaws.com"));
        let roots = match std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
            Some(path) => std::fs::read(path).map_err(ConnectError::Roots)?,
            None => AMAZON_ROOTS.to_vec(),
        };
        let http = Http::new(&origin, &roots).map_err(ConnectError::Endpoint)?;
        let client = SharedHttpClient::new(Bounded(http.clone()));
        Ok((Self { region: Region::new(region), credentials, endpoint, http: client }, http))
    }
}

/// A client for the `DynamoDB` that the [`Environment`] names, or `AWS_ENDPOINT_URL_DYNAMODB`, with its connection already
/// being opened.
///
/// # Errors
/// As [`Environment::read`]. A connection that cannot be opened is no error: the first call tries again.
pub async fn connect_from_env() -> Result<Client, ConnectError> {
    let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").ok();
    let (Environment { region, credentials, endpoint, .. }, http) = Environment::open("dynamodb", endpoint)?;
    http.warm_up().await;
    let mut config = persistent(http).region(region).credentials_provider(credentials);
    config.set_endpoint_url(endpoint);
    Ok(Client::from_conf(config.build()))
}

/// What a client has that speaks to a `DynamoDB` over a network: time-outs, and another try after a failure that passes.
#[must_use]
pub fn persistent(http: impl HttpClient + 'static) -> aws_sdk_dynamodb::config::Builder {
    config(Bounded(http)).retry_config(retries()).timeout_config(time_outs())
}

/// Another try after a failure that passes, at most so often and with such pauses.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(FIRST_BACKOFF)
        // Ours drops a connection that failed by itself; the SDK would log that it cannot.
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// No attempt may take longer.
#[must_use]
pub fn time_outs() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build()
}

/// What every client of ours has in common.
#[must_use]
pub fn config(http: impl HttpClient + 'static) -> aws_sdk_dynamodb::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(SharedHttpClient::new(http))
        .sleep_impl(TokioSleep::new())
        // Answers are small and arrive whole; the attempt time-out covers a stall.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

/// Sorts a failed call by what its caller can do: [`StateError::Unavailable`] passes, [`StateError::Internal`] stays.
pub fn failed<E>(error: SdkError<E>) -> StateError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let unavailable = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(context) => {
            context.raw().status().is_server_error()
                || matches!(
                    context.err().code(),
                    Some(
                        "ProvisionedThroughputExceededException"
                            | "RequestLimitExceeded"
                            | "ThrottlingException"
                            | "Throttling"
                            // A pairing is being written on the same item.
                            | "TransactionConflictException"
                    )
                )
        }
        _ => false,
    };
    if unavailable { StateError::Unavailable(error.into()) } else { StateError::Internal(error.into()) }
}
