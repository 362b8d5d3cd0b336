//! API Gateway's management API as the HTTP client of AWS's SDK: requests about connections are answered inside the
//! process.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html>

use super::limits::MESSAGE_BYTES_MAX;
use super::registry::{Refused, Registry};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::sync::Arc;

/// Answers `@connections` for the open connections of a gateway.
#[derive(Debug, Clone)]
pub struct Management {
    pub(super) registry: Arc<Registry>,
    /// Name of the stage; paths begin with it.
    pub(super) stage: String,
}

/// A status, the name of the error if there is one, and a body.
type Answer = (u16, Option<&'static str>, String);

impl Management {
    fn answer(&self, method: &str, uri: &str, body: &[u8]) -> Answer {
        let path = uri.split_once("://").map_or(uri, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
        let path = path.split('?').next().unwrap_or_default();
        let id = path.strip_prefix(&format!("/{}/@connections/", self.stage));
        let id = id.and_then(|id| percent_decode_str(id).decode_utf8().ok()).filter(|id| !id.is_empty());
        let Some(id) = id else { return refusal(403, "ForbiddenException", "there is nothing at this path") };
        let done = match method {
            "POST" => match std::str::from_utf8(body) {
                // A message over the limit is refused as such, even if it is not text.
                Err(_) if body.len() <= MESSAGE_BYTES_MAX => {
                    return refusal(400, "BadRequestException", "the message is not text");
                }
                _ => self.registry.say(&id, String::from_utf8_lossy(body).into_owned()).map(|()| (200, String::new())),
            },
            "GET" => self.registry.get(&id).map(|peer| {
                let connection = &peer.connection;
                let identity = json!({"sourceIp": connection.source_ip, "userAgent": connection.user_agent});
                let described = json!({
                    "connectedAt": connection.connected_at, "identity": identity, "lastActiveAt": peer.last_active_at(),
                });
                (200, described.to_string())
            }),
            "DELETE" => self.registry.close(&id).map(|()| (204, String::new())),
            _ => return refusal(403, "ForbiddenException", "there is no such method"),
        };
        match done {
            Ok((status, body)) => (status, None, body),
            Err(Refused::Gone) => refusal(410, "GoneException", "the connection is not open"),
            Err(Refused::TooLarge) => refusal(413, "PayloadTooLargeException", "the message is over 128 KB"),
            Err(Refused::Full) => refusal(429, "LimitExceededException", "the client does not take its messages"),
        }
    }
}

fn refusal(status: u16, name: &'static str, message: &str) -> Answer {
    (status, Some(name), json!({"message": message}).to_string())
}

impl HttpConnector for Management {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let (status, error, body) = self.answer(request.method(), request.uri(), body);
        HttpConnectorFuture::ready(status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None)).map(
            |status| {
                let mut response = HttpResponse::new(status, SdkBody::from(body));
                if let Some(error) = error {
                    response.headers_mut().insert("x-amzn-errortype", error);
                }
                response
            },
        ))
    }
}

impl HttpClient for Management {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
