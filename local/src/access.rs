//! Controls which requests may reach a port of the runner. It protects against web pages that attack the runner through
//! its owner's browser.
//!
//! A page of any site can send requests to this machine. Two kinds of headers identify such requests, and a page cannot
//! forge them. `Host` names the server that the browser believes it is talking to: it reveals a name that an attacker
//! has pointed at this machine (DNS rebinding). `Origin` and `Sec-Fetch-Site` name the page that sends the request.

use config::CorsOrigins;
use functions::ApiError;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use store::{Kind, Refusal};

/// 421: `Host` does not name this server.
const MISDIRECTED_REQUEST: Refusal = Refusal::new(
    Kind::Misdirected,
    "misdirected_request",
    "this server does not answer to the name in Host; use the address it listens on, or start it with --public-url",
);
/// 403: a web page of another origin sent the request.
const ORIGIN_FORBIDDEN: Refusal = Refusal::new(
    Kind::Forbidden,
    "origin_forbidden",
    "pages of this origin may change nothing here; add it to CORS_ORIGIN to let them",
);

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// The access rule of one port.
#[derive(Debug, Clone)]
pub struct Access {
    /// The address that the port is bound to.
    address: SocketAddr,
    /// The server's public name, and its default port.
    public: Option<(Authority, u16)>,
    /// The origins whose pages may change data. `None`: the port is not for browsers.
    pages: Option<CorsOrigins>,
}

impl Access {
    /// A port that serves the page and the API.
    ///
    /// `public_url` is the origin under which a proxy serves the page, in the form of [`config::public_url`].
    #[must_use]
    pub fn of_page(address: SocketAddr, public_url: Option<&str>, listed: &CorsOrigins) -> Self {
        let public = public_url.and_then(|url| {
            let (scheme, authority) = url.split_once("://")?;
            Some((authority.parse().ok()?, if scheme == "https" { 443 } else { HTTP_PORT }))
        });
        let mut pages = listed.clone();
        if let CorsOrigins::Listed(origins) = &mut pages {
            origins.extend(public_url.map(str::to_owned));
            origins.extend(own_origins(address));
        }
        Self { address, public, pages: Some(pages) }
    }

    /// A port for programs on this machine only.
    #[must_use]
    pub fn of_tools(address: SocketAddr) -> Self {
        Self { address, public: None, pages: None }
    }

    /// The origins whose pages may call, including the runner's own. `None`: no page may call.
    #[must_use]
    pub fn pages(&self) -> Option<&CorsOrigins> {
        self.pages.as_ref()
    }

    /// Checks whether a request may be served.
    ///
    /// # Errors
    /// 421 if the request is for another server; 403 if a page sends it that is not allowed to.
    pub fn check(&self, request: &Parts) -> Result<(), ApiError> {
        self.check_as(&request.method, request)
    }

    /// Checks whether a request may open a WebSocket. A page can do everything over a WebSocket and read the answers,
    /// so it needs the same permission as for a change.
    ///
    /// # Errors
    /// As [`Access::check`].
    pub fn check_socket(&self, request: &Parts) -> Result<(), ApiError> {
        self.check_as(&Method::POST, request)
    }

    fn check_as(&self, method: &Method, request: &Parts) -> Result<(), ApiError> {
        // In `GET http://host/ HTTP/1.1` the target takes precedence over the `Host` header, but the header is still
        // required.
        let target = request.uri.authority().is_none_or(|authority| self.knows(authority));
        let host = only(&request.headers, header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        if !target || !host.as_ref().is_some_and(|host| self.knows(host)) {
            return Err(MISDIRECTED_REQUEST.into());
        }
        if self.may_send(method, host.as_ref(), &request.headers) { Ok(()) } else { Err(ORIGIN_FORBIDDEN.into()) }
    }

    /// Whether this is one of the server's names.
    fn knows(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let (name, port) = (authority.host(), authority.port_u16());
        if self.is_public(authority) {
            return true;
        }
        if port.unwrap_or(HTTP_PORT) != self.address.port() {
            return false;
        }
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        // An IP address is safe, because an attacker cannot point it elsewhere.
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let bound = self.address.ip();
        address.is_ok_and(|address| address.to_canonical().is_loopback() || bound.is_unspecified() || bound == address)
    }

    /// Whether this is the name under which a proxy serves the page.
    fn is_public(&self, authority: &Authority) -> bool {
        self.public.as_ref().is_some_and(|(public, default)| {
            public.host().eq_ignore_ascii_case(authority.host())
                && public.port_u16().unwrap_or(*default) == authority.port_u16().unwrap_or(*default)
        })
    }

    /// Whether the request is allowed: no page sends it, or a page that may.
    fn may_send(&self, method: &Method, host: Option<&Authority>, headers: &HeaderMap) -> bool {
        let asked_by_browser = headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE);
        let Some(pages) = &self.pages else { return !asked_by_browser };
        if !asked_by_browser || [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
            return true;
        }
        if headers.contains_key(header::ORIGIN) {
            // The public name is left out here: it has the scheme of its URL, and the list already contains its origin.
            let same = host.filter(|host| !self.is_public(host)).map(|host| format!("http://{host}"));
            return only(headers, header::ORIGIN).is_some_and(|origin| match pages {
                CorsOrigins::Any => true,
                CorsOrigins::Listed(listed) => {
                    listed.iter().chain(&same).any(|known| known.as_bytes() == origin.as_bytes())
                }
            });
        }
        // Browsers send `Origin` with every request except GET and HEAD. This request has none, so only
        // `Sec-Fetch-Site` can show that a page of this server sends it.
        only(headers, SEC_FETCH_SITE).is_some_and(|site| site == "same-origin" || site == "none")
    }
}

/// Relation between the page that sends a request and the server: `same-origin`, `same-site`, `cross-site`, or `none`
/// if a person entered the address. <https://www.w3.org/TR/fetch-metadata/>
const SEC_FETCH_SITE: header::HeaderName = header::HeaderName::from_static("sec-fetch-site");

/// The value of a header, if the header occurs exactly once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The origins of the runner's own page, as a browser on this machine sees them.
fn own_origins(address: SocketAddr) -> Vec<String> {
    let port = if address.port() == HTTP_PORT { String::new() } else { format!(":{}", address.port()) };
    let mut hosts = vec!["localhost".to_owned()];
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST), address.ip()] {
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        if !ip.is_unspecified() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.into_iter().map(|host| format!("http://{host}{port}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://127.0.0.1:3001";

    fn listed(origins: &[&str]) -> CorsOrigins {
        CorsOrigins::Listed(origins.iter().map(|origin| (*origin).to_owned()).collect())
    }

    fn page(address: &str, public_url: Option<&str>) -> Access {
        Access::of_page(address.parse().unwrap(), public_url, &listed(&["https://friend.example"]))
    }

    /// The status that a request is refused with.
    fn refused(access: &Access, method: &str, target: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused = access.check(&request.body(()).unwrap().into_parts().0).err();
        refused.map(|error| error.status().as_u16())
    }

    #[test]
    fn a_server_answers_to_its_own_names_alone() {
        let loopback = page("127.0.0.1:3001", None);
        let any = page("0.0.0.0:3001", Some("https://meet.example"));
        let lan = page("192.0.2.7:80", None);
        for (access, host, served) in [
            (&loopback, "127.0.0.1:3001", true),
            (&loopback, "localhost:3001", true),
            (&loopback, "LOCALHOST:3001", true),
            (&loopback, "127.9.9.9:3001", true),
            (&loopback, "[::1]:3001", true),
            (&loopback, "[::ffff:127.0.0.1]:3001", true),
            (&loopback, "127.0.0.1", false),
            (&loopback, "127.0.0.1:3002", false),
            (&loopback, "localhost.:3001", false),
            (&loopback, "user@localhost:3001", false),
            (&loopback, "localhost.evil.example:3001", false),
            (&loopback, "127.0.0.1.evil.example:3001", false),
            (&loopback, "evil.example:3001", false),
            (&loopback, "192.0.2.7:3001", false),
            (&loopback, "0.0.0.0:3001", false),
            (&loopback, "meet.example", false),
            (&loopback, "", false),
            (&loopback, "a b", false),
            (&any, "192.0.2.7:3001", true),
            (&any, "[2001:db8::7]:3001", true),
            (&any, "meet.example", true),
            (&any, "Meet.Example:443", true),
            (&any, "meet.example:3001", false),
            (&any, "evil.example:3001", false),
            (&lan, "192.0.2.7", true),
            (&lan, "192.0.2.7:80", true),
            (&lan, "192.0.2.8", false),
            (&lan, "localhost", true),
        ] {
            assert_eq!(refused(access, "GET", "/", &[("host", host)]), (!served).then_some(421), "{host}");
        }
        let twice = [("host", "localhost:3001"), ("host", "localhost:3001")];
        assert_eq!(refused(&loopback, "GET", "/", &twice), Some(421));
        assert_eq!(refused(&loopback, "GET", "/", &[]), Some(421));
        let host = [("host", "localhost:3001")];
        assert_eq!(refused(&loopback, "GET", "http://evil.example:3001/", &host), Some(421));
        assert_eq!(refused(&loopback, "GET", "http://localhost:3001/", &host), None);
    }

    #[test]
    fn a_foreign_page_may_change_nothing() {
        let access = page("127.0.0.1:3001", Some("https://meet.example"));
        for (origin, site, allowed) in [
            (None, None, true),
            (Some(OWN), Some("same-origin"), true),
            (Some(OWN), None, true),
            (Some("http://localhost:3001"), Some("cross-site"), true),
            (Some("https://meet.example"), Some("same-origin"), true),
            (Some("https://friend.example"), Some("cross-site"), true),
            (Some("https://evil.example"), Some("cross-site"), false),
            (Some("https://evil.example"), None, false),
            (Some("http://localhost:5173"), Some("same-site"), false),
            (Some("https://127.0.0.1:3001"), Some("same-site"), false),
            (Some("null"), Some("cross-site"), false),
            (Some(""), None, false),
            (None, Some("cross-site"), false),
            (None, Some("same-site"), false),
            (None, Some("anything"), false),
            (None, Some("same-origin"), true),
            (None, Some("none"), true),
        ] {
            let headers = [("host", Some("127.0.0.1:3001")), ("origin", origin), ("sec-fetch-site", site)];
            let headers: Vec<_> =
                headers.iter().filter_map(|(name, value)| value.map(|value| (*name, value))).collect();
            for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
                let found = refused(&access, method, "/", &headers);
                assert_eq!(found, (!allowed).then_some(403), "{method} {origin:?} {site:?}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert_eq!(refused(&access, method, "/", &headers), None, "{method} {origin:?} {site:?}");
            }
        }
    }

    #[test]
    fn a_foreign_page_may_open_no_socket_though_it_asks_by_get() {
        let access = page("127.0.0.1:3001", None);
        let opens = |host: &str, origin: Option<&str>| {
            let mut request = hyper::Request::builder().uri("/ws").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            access.check_socket(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        for (origin, may) in [
            (None, true),
            (Some(OWN), true),
            (Some("https://friend.example"), true),
            (Some("https://evil.example"), false),
            (Some("null"), false),
        ] {
            assert_eq!(opens("127.0.0.1:3001", origin), may, "{origin:?}");
            assert!(!opens("evil.example", origin));
        }
    }

    #[test]
    fn a_page_is_at_home_wherever_it_was_opened() {
        let access = page("0.0.0.0:3001", None);
        let headers = [("host", "192.0.2.7:3001"), ("origin", "http://192.0.2.7:3001")];
        assert_eq!(refused(&access, "POST", "/", &headers), None);
        let headers = [("host", "192.0.2.7:3001"), ("origin", "http://192.0.2.8:3001")];
        assert_eq!(refused(&access, "POST", "/", &headers), Some(403));
    }

    #[test]
    fn the_public_name_has_the_scheme_of_its_url() {
        let access = page("127.0.0.1:3001", Some("https://meet.example"));
        for (origin, wanted) in [("https://meet.example", None), ("http://meet.example", Some(403))] {
            let headers = [("host", "meet.example"), ("origin", origin)];
            assert_eq!(refused(&access, "POST", "/", &headers), wanted, "{origin}");
        }
    }

    #[test]
    fn any_page_may_write_where_all_are_allowed() {
        let access = Access::of_page("127.0.0.1:3001".parse().unwrap(), None, &CorsOrigins::Any);
        let headers = [("host", "127.0.0.1:3001"), ("origin", "https://any.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(refused(&access, "POST", "/", &headers), None);
    }

    #[test]
    fn no_page_reaches_a_port_for_tools() {
        let access = Access::of_tools("127.0.0.1:8000".parse().unwrap());
        for method in ["GET", "POST", "OPTIONS"] {
            let host = ("host", "localhost:8000");
            assert_eq!(refused(&access, method, "/", &[host]), None);
            assert_eq!(refused(&access, method, "/", &[("host", "evil.example:8000")]), Some(421));
            for header in [("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin")] {
                assert_eq!(refused(&access, method, "/", &[host, header]), Some(403));
            }
        }
    }
}
