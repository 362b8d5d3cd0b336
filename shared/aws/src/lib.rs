//! What the clients of all services of AWS have in common: settings, connections, tries, deadlines.

mod bounded;
pub mod deadline;
mod http;

pub use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};
use aws_smithy_types::retry::{ReconnectMode, RetryConfig};
use aws_smithy_types::timeout::TimeoutConfig;
pub use aws_types::region::Region;
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

    /// The same, with the first connection being opened: during init a function has a whole core.
    ///
    /// # Errors
    /// As [`Environment::read`]. A connection that cannot be opened is no error: the first call tries again.
    pub async fn read_and_connect(service: &str, endpoint: Option<String>) -> Result<Self, ConnectError> {
        let (environment, http) = Self::open(service, endpoint)?;
        http.warm_up().await;
        Ok(environment)
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
        let client = bounded(http.clone());
        Ok((Self { region: Region::new(region), credentials, endpoint, http: client }, http))
    }
}

/// A client that begins no attempt that could not end before the deadline of the request that it is for.
#[must_use]
pub fn bounded(http: impl HttpClient + 'static) -> SharedHttpClient {
    SharedHttpClient::new(Bounded(http))
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
