//! Treats headers as API Gateway does: forged ones are removed, repeated ones joined, ambiguous ones refused.

use functions::ApiError;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Removes the headers with which AWS tells a function about the caller. If a client sends them, they are forged.
pub(super) fn strip_infrastructure(headers: &mut HeaderMap) {
    let forged = |name: &HeaderName| {
        let name = name.as_str();
        ["x-amz", "x-forwarded-", "x-lambda-", "cloudfront-"].iter().any(|prefix| name.starts_with(prefix))
            || matches!(name, "forwarded" | "via" | "x-real-ip")
    };
    if headers.keys().any(forged) {
        let names: Vec<_> = headers.keys().filter(|name| forged(name)).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Joins repeated headers into one line each, as API Gateway does before it invokes a function.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(super) fn join_lines(headers: &mut HeaderMap) {
    let repeated = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    let repeated: Vec<_> = headers.keys().filter(repeated).cloned().collect();
    for name in repeated {
        let separator: &[u8] = if name == header::COOKIE { b"; " } else { b"," };
        let lines: Vec<_> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&lines.join(separator)) {
            headers.insert(name, joined);
        }
    }
}

/// Refuses headers that two servers could read differently (RFC 9112, sections 3.2 and 6.3).
pub(super) fn malformed(parts: &hyper::http::request::Parts) -> Option<ApiError> {
    let count = |name| parts.headers.get_all(name).iter().count();
    let invalid = |field: &'static str, rule: &'static str| Some(ApiError::invalid(field, rule));
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && parts.version == hyper::Version::HTTP_11) {
        return invalid("Host", "must be given once");
    }
    // hyper itself refuses contradictory lengths and chunks before HTTP/1.1, and closes the connection after a request
    // with both a length and chunks. But it accepts any list of encodings that ends in `chunked`.
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if encodings.next().is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || encodings.next().is_some()
    {
        return invalid("Transfer-Encoding", "must be chunked, once");
    }
    None
}
