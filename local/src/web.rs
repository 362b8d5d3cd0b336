//! The page, held in memory.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::header::{self, HeaderMap, HeaderValue};
use include_dir::{Dir, include_dir};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../web");

/// Only ours: no inline script or style, no other host, no frame around it.
const CONTENT_POLICY: &str = "default-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; \
                              base-uri 'none'; form-action 'self'";

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Its bytes.
    pub body: &'static [u8],
    /// Its type, tag and policies.
    pub headers: HeaderMap,
}

/// The files by the path of their URL.
#[must_use]
pub fn assets() -> HashMap<String, Asset> {
    let mut assets = HashMap::new();
    collect(&FILES, &mut assets);
    assets
}

fn collect(directory: &'static Dir<'static>, assets: &mut HashMap<String, Asset>) {
    for file in directory.files() {
        let path = file.path().to_string_lossy().replace('\\', "/");
        let Some(kind) = content_type(&path) else { continue };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
        headers.insert("permissions-policy", HeaderValue::from_static("microphone=(self), camera=(), geolocation=()"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let tag = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(file.contents())[..16]);
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
            headers.insert(header::ETAG, tag);
        }
        let path = match path.as_str() {
            "index.html" => "/".to_owned(),
            "ops.html" => "/ops".to_owned(),
            _ => format!("/{path}"),
        };
        assets.insert(path, Asset { body: file.contents(), headers });
    }
    for below in directory.dirs().filter(|below| !below.path().ends_with("tests")) {
        collect(below, assets);
    }
}

/// None for files that are not part of the page.
fn content_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
