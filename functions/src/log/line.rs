//! The log line of a request: the fields of seed 004, the route and the caller.

use serde::Serialize;

/// Receives every answered request.
pub trait Observer: Send + Sync {
    /// A request has been answered.
    fn answered(&self, line: &RequestLine<'_>);
}

/// The log line of one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine<'a> {
    /// The code of the refusal. Not part of the line.
    #[serde(skip)]
    pub code: Option<&'static str>,
    /// When the answer was ready.
    pub timestamp: domain::Timestamp,
    /// Also the answer's `X-Request-Id`.
    pub request_id: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// The path as requested, without its query.
    pub path: &'a str,
    /// The template of the route; `$default` if no route matches.
    pub route: &'a str,
    /// HTTP status.
    pub status_code: u16,
    /// `success` for a status below 400, otherwise `error`.
    pub status_text: &'static str,
    /// Whole milliseconds.
    pub duration: u64,
    /// The same in seconds, with three decimals.
    pub duration_seconds: Seconds,
    /// The user in the path, if there is one.
    pub user_id: Option<&'a str>,
    /// The caller, in the form of a ledger entry's `actor`; none if the endpoint checks no caller, or the caller proved
    /// nothing.
    pub caller: Option<&'a domain::Actor>,
    /// Status 400 or above.
    pub is_error: bool,
    /// Took longer than a second.
    pub is_slow_request: bool,
    /// The route changes state.
    pub is_critical_endpoint: bool,
}

/// A duration written like `"0.045"`.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub std::time::Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.as_millis();
        serializer.collect_str(&format_args!("{}.{:03}", ms / 1000, ms % 1000))
    }
}
