//! Addresses that answers contain: the page in links to rooms, and the WebSocket API.

use crate::{Context, Request, SOCKET_PATH};
use domain::Slug;
use lambda_http::http::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The link that people open to join a room.
pub(crate) fn join_url(context: &Context, request: &Request, slug: &Slug) -> String {
    let origin = context.config.rooms.page_url.clone().unwrap_or_else(|| format!("http{}", address(request)));
    let slug = slug.as_str().split('-').map(|word| utf8_percent_encode(word, NON_ALPHANUMERIC).to_string());
    format!("{origin}/?room={}", slug.collect::<Vec<_>>().join("-"))
}

/// The address of the WebSocket API.
pub(crate) fn socket_url(context: &Context, request: &Request) -> String {
    let given = context.config.rooms.socket_url.clone();
    given.unwrap_or_else(|| format!("ws{}{SOCKET_PATH}", address(request)))
}

/// The address of the request after `http` or `ws`, such as `s://meet.example`. The gateway sets both headers.
fn address(request: &Request) -> String {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let secure = text(header::HeaderName::from_static("x-forwarded-proto")) == Some("https");
    format!("{}://{}", if secure { "s" } else { "" }, text(header::HOST).unwrap_or("localhost"))
}
