//! Starts an attempt only if it can end before the deadline of its request.

use crate::{ATTEMPT_TIMEOUT, deadline};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Wraps a client or one of its connectors.
#[derive(Debug)]
pub(super) struct Bounded<C>(pub(super) C);

impl<C: HttpClient> HttpClient for Bounded<C> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Bounded(self.0.http_connector(settings, components)))
    }
}

impl<C: HttpConnector> HttpConnector for Bounded<C> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if deadline::leaves(ATTEMPT_TIMEOUT) {
            return self.0.call(request);
        }
        // This kind of error is not retried.
        HttpConnectorFuture::ready(Err(ConnectorError::other("the request's deadline is too near".into(), None)))
    }
}
