//! Begins no attempt that could not end before the deadline of the request that it is for.

use crate::{ATTEMPT_TIMEOUT, deadline};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// A client, or a connector of one.
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
        // Of no kind that is tried again.
        HttpConnectorFuture::ready(Err(ConnectorError::other("the request's time is nearly over".into(), None)))
    }
}
