//! The address of the server.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use ureq::http::Uri;

/// The address of a Greenroom server, without a slash at the end.
///
/// Plain HTTP is only allowed to this machine. On a network, somebody could read the requests and answer in place of
/// the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

/// Why a text is not a server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no scheme or no host, or a part that a server's address must not have.
    #[error("must begin with https:// or http:// and a host, and have no user name, no ? and no #")]
    Malformed,
    /// Plain HTTP to another machine.
    #[error("must begin with https://: plain http:// is allowed to this computer only (localhost, 127.0.0.1, [::1])")]
    Plain,
}

impl ServerUrl {
    /// Whether the connection is not encrypted; it never leaves this machine then.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http:")
    }

    /// The address of `path`, which begins with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        if authority.host().is_empty() || authority.as_str().contains('@') || text.contains(['?', '#']) {
            return Err(UrlError::Malformed);
        }
        let url = Self(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')));
        match scheme {
            "https" => Ok(url),
            "http" if is_loopback(authority.host()) => Ok(url),
            "http" => Err(UrlError::Plain),
            _ => Err(UrlError::Malformed),
        }
    }
}

/// Loopback names: RFC 6761, 6.3 (`localhost`), RFC 1122, 3.2.1.3 (127/8), RFC 4291, 2.5.3 (`::1`).
fn is_loopback(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || bracketed.and_then(|address| address.parse().ok()).is_some_and(|address: Ipv6Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, UrlError> {
        text.parse().map(|url: ServerUrl| url.to_string())
    }

    #[test]
    fn https_may_go_to_any_machine() {
        assert_eq!(url("https://greenroom.example/"), Ok("https://greenroom.example".to_owned()));
        assert_eq!(url("HTTPS://a:8443/base/"), Ok("https://a:8443/base".to_owned()));
    }

    #[test]
    fn plain_http_may_only_go_to_this_machine() {
        for here in [
            "http://127.0.0.1:3001",
            "http://127.8.9.1",
            "http://localhost:3001",
            "http://LocalHost",
            "http://[::1]:3001",
        ] {
            assert_eq!(url(here), Ok(here.to_owned()));
        }
        for elsewhere in [
            "http://greenroom.example",
            "http://10.0.0.1",
            "http://128.0.0.1",
            "http://localhost.example",
            "http://127.0.0.1.example",
            "http://2130706433",
            "http://[::2]",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.0:3001",
        ] {
            assert_eq!(url(elsewhere), Err(UrlError::Plain), "{elsewhere}");
        }
    }

    #[test]
    fn a_text_that_is_no_address_of_a_server_is_refused() {
        for bad in [
            "",
            "greenroom.example",
            "https://",
            "http:///x",
            "https://a?b",
            "https://a#b",
            "ftp://a",
            "/api",
            "http://localhost@greenroom.example",
            "https://ada:secret@greenroom.example",
            "https://a b",
        ] {
            assert_eq!(url(bad), Err(UrlError::Malformed), "{bad}");
        }
    }
}
