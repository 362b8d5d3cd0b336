//! `GET /{proxy+}`: serves the page, and all files that it loads.

use super::no_route;
use crate::function::{Callers, Class, Function, Trigger};
use crate::http::public;
use crate::{Context, Reply, Request, Response};
use include_dir::{Dir, include_dir};
use lambda_http::Body;
use lambda_http::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use store::StoreError;

pub(crate) const FUNCTION: Function = Function::endpoint(&[
    Trigger::Route { method: "GET", path: "/{proxy+}" },
    Trigger::Route { method: "HEAD", path: "/{proxy+}" },
    Trigger::Route { method: "GET", path: "/" },
    Trigger::Route { method: "HEAD", path: "/" },
])
.callers(Callers::Anybody)
.throttled(Class::Page)
.at("/app.js");

/// The files of the page. Only the binary that serves them contains them.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../web");

/// Allows only content of this server: no inline script or style, no other host, no frame around the page. The page may
/// connect to the WebSocket API, which has a host of its own on AWS.
fn content_policy(socket_url: Option<&str>) -> String {
    // The third slash begins the path.
    let origin = socket_url.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")).unwrap_or_default();
    format!(
        "default-src 'self'; img-src 'self' data:; connect-src 'self' {origin}; frame-ancestors 'none'; base-uri 'none'; \
         form-action 'self'"
    )
}

/// The page may ask for the microphone; content that it would embed may not.
const PERMISSIONS: (HeaderName, &str) =
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()");

/// # Errors
/// 404 and 405 for a path that is not a file of the page, as [`no_route`] answers them: this route takes all paths
/// without a route of their own.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let Some((text, kind)) = file(request.uri().path()) else {
        return no_route::handle(context, request).await;
    };
    let mut response = Response::new(Body::Text(text.to_owned()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let policy = content_policy(context.config.rooms.socket_url.as_deref());
    let policy = HeaderValue::from_str(&policy).map_err(|error| StoreError::Internal(error.into()))?;
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let (name, value) = PERMISSIONS;
    headers.insert(name, HeaderValue::from_static(value));
    Ok(public(response))
}

/// The file of a path, and its media type; none if the path is not part of the page.
fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let name = match path {
        "/" => "index.html",
        "/ops" => "ops.html",
        "/index.html" | "/ops.html" => return None,
        other => other.strip_prefix('/')?,
    };
    let kind = media_type(name).filter(|_| !name.starts_with("tests/"))?;
    Some((FILES.get_file(name)?.contents_utf8()?, kind))
}

fn media_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_may_connect_to_its_server_and_to_the_websocket_api() {
        let allowed =
            |url| content_policy(url).split("; ").find(|one| one.starts_with("connect-src")).unwrap().to_owned();
        assert_eq!(allowed(None), "connect-src 'self' ");
        assert_eq!(allowed(Some("wss://live.example/live")), "connect-src 'self' wss://live.example");
        assert_eq!(allowed(Some("ws://127.0.0.1:3001")), "connect-src 'self' ws://127.0.0.1:3001");
    }

    #[test]
    fn only_files_of_the_page_are_served() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/ops", "text/html; charset=utf-8"),
            ("/app.js", "text/javascript; charset=utf-8"),
            ("/ops/ops.css", "text/css; charset=utf-8"),
            ("/favicon.svg", "image/svg+xml"),
        ] {
            assert_eq!(file(path).map(|(_, kind)| kind), Some(kind), "{path}");
        }
        for none in [
            "",
            "app.js",
            "//app.js",
            "/index.html",
            "/ops.html",
            "/ops/",
            "/package.json",
            "/vendor/README.md",
            "/tests/pure.test.js",
            "/../Cargo.toml",
            "/./app.js",
            "/ops/../app.js",
            "/app.js/",
            "/APP.JS",
            "/api/health",
        ] {
            assert_eq!(file(none), None, "{none}");
        }
    }
}
