//! `GET /{proxy+}`: the page, and everything that it loads.

use super::no_route;
use crate::function::{Callers, Class, Function, Trigger};
use crate::{Context, Reply, Request, Response};
use include_dir::{Dir, include_dir};
use lambda_http::Body;
use lambda_http::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};

pub(crate) const FUNCTION: Function = Function::endpoint(&[
    Trigger::Route { method: "GET", path: "/{proxy+}" },
    Trigger::Route { method: "HEAD", path: "/{proxy+}" },
    Trigger::Route { method: "GET", path: "/" },
    Trigger::Route { method: "HEAD", path: "/" },
])
.callers(Callers::Anybody)
.throttled(Class::Page)
.at("/app.js");

/// The files, in the binary: only the function that serves them links them.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../web");

/// Only ours: no inline script or style, no other host, no frame around it.
const CONTENT_POLICY: &str = "default-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; \
                              base-uri 'none'; form-action 'self'";

/// The page asks for the microphone itself, and nobody whom it would embed may.
const PERMISSIONS: (HeaderName, &str) =
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()");

/// # Errors
/// 404 and 405 as every other path that is none: the route takes whatever has none of its own.
pub(crate) async fn handle(context: Context, request: Request) -> Reply {
    let Some((text, kind)) = file(request.uri().path()) else {
        return no_route::handle(context, request).await;
    };
    let mut response = Response::new(Body::Text(text.to_owned()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    let (name, value) = PERMISSIONS;
    headers.insert(name, HeaderValue::from_static(value));
    Ok(response)
}

/// The file behind a path, and its media type; none for what is not part of the page.
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
    fn a_path_is_a_file_of_the_page_or_nothing() {
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
