//! AWS's client for the embedded engine, and the context of the handlers there.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Region;
use aws_sdk_dynamodb::config::auth::{Params as AuthParams, ResolveAuthScheme};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::auth::{AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture};
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use config::Config;
use functions::{Context, Observer};
use std::sync::Arc;
use store::dynamodb;

/// The handlers' context on the embedded engine.
#[must_use]
pub fn context(engine: impl HttpClient + 'static, config: Config, observer: Arc<dyn Observer>) -> Context {
    Context::new(client(engine), config, observer)
}

/// AWS's client for the embedded engine. It needs no signatures, retries or timeouts, because there is no network below
/// it.
#[must_use]
pub fn client(engine: impl HttpClient + 'static) -> Client {
    let config = dynamodb::config(engine)
        .region(Region::new("local"))
        .endpoint_url("http://embedded.invalid")
        .allow_no_auth()
        .auth_scheme_resolver(Unsigned)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled());
    Client::from_conf(config.build())
}

/// Leaves requests unsigned, because a signature would take a fifth of the time of an embedded call.
#[derive(Debug)]
struct Unsigned;

impl ResolveAuthScheme for Unsigned {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a AuthParams,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::ready(Ok(vec![AuthSchemeOption::from(AuthSchemeId::from("noAuth"))]))
    }
}
