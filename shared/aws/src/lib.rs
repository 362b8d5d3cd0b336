//! The parts that the clients of all AWS services share: settings, connections, retries, deadlines.

mod bounded;
pub mod deadline;
mod http;
pub mod throttled;

pub use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};
use aws_smithy_types::retry::{ReconnectMode, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
pub use aws_types::region::Region;
use bounded::Bounded;
use http::Http;
use std::time::Duration;

/// Time limit of one attempt. `DynamoDB` answers within about 10 ms, so a retry is faster than a slow answer. All
/// attempts and pauses of one call stay below a function's 10 s; the request's deadline limits several calls together.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Attempts per call, and the longest first pause between them. The SDK adds jitter and doubles the pause each time.
const ATTEMPTS_MAX: u32 = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The authorities that sign AWS endpoints outside China (<https://www.amazontrust.com/repository/>).
///
/// Loading a system's 140 roots would cost 3.5 ms of each cold start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// Why a client could not be created.
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

/// The settings that a client of any AWS service reads from the environment.
#[derive(Debug)]
pub struct Environment {
    /// `AWS_REGION`
    pub region: Region,
    /// The credentials of the function's role, from Lambda.
    pub credentials: Credentials,
    /// The endpoint to use instead of AWS's own, if there is one.
    pub endpoint: Option<String>,
    /// The HTTP client.
    pub http: SharedHttpClient,
}

impl Environment {
    /// Reads `AWS_REGION`, the credentials that Lambda provides, and `AWS_CA_BUNDLE`, for the named service. A
    /// non-empty `endpoint` replaces AWS's own. Profile files and the metadata service are not read: Lambda does not
    /// use them, and trying them would cost milliseconds in every cold start.
    ///
    /// # Errors
    /// A missing variable or an unusable certificate file.
    pub fn read(service: &str, endpoint: Option<String>) -> Result<Self, ConnectError> {
        Self::open(service, endpoint).map(|(environment, _)| environment)
    }

    /// Like [`Environment::read`], and opens the first connection: during init a function has a whole core.
    ///
    /// # Errors
    /// As [`Environment::read`]. A connection that cannot be opened is not an error: the first call tries again.
    pub async fn read_and_connect(service: &str, endpoint: Option<String>) -> Result<Self, ConnectError> {
        let (environment, http) = Self::open(service, endpoint)?;
        http.warm_up().await;
        Ok(environment)
    }

    fn open(service: &str, endpoint: Option<String>) -> Result<(Self, Http), ConnectError> {
        // Here as everywhere, an empty variable counts as unset.
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
        let client = bounded(http.clone());
        Ok((Self { region: Region::new(region), credentials, endpoint, http: client }, http))
    }
}

/// A client that starts an attempt only if it can end before the deadline of its request.
#[must_use]
pub fn bounded(http: impl HttpClient + 'static) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(http))
}

/// Retries of transient failures: number and pauses.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(FIRST_BACKOFF)
        // Our client drops a failed connection itself. With the other mode, the SDK would log that it cannot.
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// Time limit of each attempt.
#[must_use]
pub fn time_outs() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build()
}
