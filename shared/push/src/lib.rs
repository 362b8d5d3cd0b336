//! Messages to open WebSocket connections, through API Gateway's management API.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html>

use aws::{ConnectError, Environment};
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::timeout::TimeoutConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, HttpClient, Region, StalledStreamProtectionConfig};
use aws_sdk_apigatewaymanagement::error::SdkError;
use aws_sdk_apigatewaymanagement::operation::delete_connection::DeleteConnectionError;
use aws_sdk_apigatewaymanagement::operation::post_to_connection::PostToConnectionError;
use aws_sdk_apigatewaymanagement::primitives::Blob;
use aws_sdk_apigatewaymanagement::{Client, Config, config::Builder};
use aws_smithy_async::rt::sleep::TokioSleep;
use domain::ConnectionId;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

/// Longest time for one message to one connection. Others of the same room wait at most so long for a slow one.
const POST_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection did not get a message.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It is closed, or not open yet.
    #[error("the connection is not open")]
    Gone,
    /// The gateway refused or did not answer.
    #[error("the gateway did not take the message")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The outcome of a post.
pub type Posted<'a> = Pin<Box<dyn Future<Output = Result<(), Lost>> + Send + 'a>>;

/// Sends messages over open connections.
pub trait Posts: fmt::Debug + Send + Sync {
    /// Sends a text.
    fn post<'a>(&'a self, connection: &'a ConnectionId, text: &'a str) -> Posted<'a>;
    /// Closes a connection after its messages are sent.
    fn close<'a>(&'a self, connection: &'a ConnectionId) -> Posted<'a>;
}

/// AWS's client of the management API.
#[derive(Debug, Clone)]
pub struct Gateway(Client);

impl Gateway {
    /// The connections of the WebSocket API with this address, such as `wss://….amazonaws.com/live`.
    ///
    /// # Errors
    /// As [`Environment::read`].
    pub fn from_env(socket_url: &str) -> Result<Self, ConnectError> {
        let endpoint = socket_url.replacen("ws", "http", 1);
        let Environment { region, credentials, endpoint, http } = Environment::read("execute-api", Some(endpoint))?;
        let mut config = config(http).region(region).credentials_provider(credentials);
        config.set_endpoint_url(endpoint);
        Ok(Self(Client::from_conf(config.build())))
    }

    /// The connections that this client reaches by itself, with a stage of this name.
    #[must_use]
    pub fn embedded(http: impl HttpClient + 'static, stage: &str) -> Self {
        let config = config(http).region(Region::new("local")).allow_no_auth();
        Self(Client::from_conf(config.endpoint_url(format!("http://embedded.invalid/{stage}")).build()))
    }
}

fn config(http: impl HttpClient + 'static) -> Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .sleep_impl(TokioSleep::new())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // A message that comes late is worth less than the next one, and a client that misses one reads the room again.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(POST_TIMEOUT).build())
}

impl Posts for Gateway {
    fn post<'a>(&'a self, connection: &'a ConnectionId, text: &'a str) -> Posted<'a> {
        Box::pin(async move {
            let request = self.0.post_to_connection().connection_id(connection.as_str()).data(Blob::new(text));
            request.send().await.map(drop).map_err(|error| lost(error, PostToConnectionError::is_gone_exception))
        })
    }

    fn close<'a>(&'a self, connection: &'a ConnectionId) -> Posted<'a> {
        Box::pin(async move {
            let request = self.0.delete_connection().connection_id(connection.as_str());
            request.send().await.map(drop).map_err(|error| lost(error, DeleteConnectionError::is_gone_exception))
        })
    }
}

fn lost<E>(error: SdkError<E>, is_gone: impl Fn(&E) -> bool) -> Lost
where
    E: std::error::Error + Send + Sync + 'static,
{
    if error.as_service_error().is_some_and(is_gone) { Lost::Gone } else { Lost::Failed(error.into()) }
}
