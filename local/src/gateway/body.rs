//! Reads or discards the bodies of requests within limits, and converts the bodies of answers.

use functions::{ApiError, BODY_TOO_LARGE, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use lambda_http::Body;
use std::time::Duration;
use store::{Kind, Refusal};
use tokio::time::{sleep, timeout};

/// Time limit for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest body, in bytes; the same as the handlers'.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// After a refusal, the rest of the body is read and discarded, up to these limits. If the connection closed while the
/// client was still sending, the client would lose the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after each [`DISCARDED_AT_ONCE`] bytes. The answer follows only after all of them, so a client that repeatedly
/// sends too much uses little processor time.
const DISCARD_PACE: Duration = Duration::from_millis(1);
const DISCARDED_AT_ONCE: usize = 16 * 1024;
/// A smaller piece counts as this many bytes, because it costs as much time.
const PIECE_BYTES_MIN: usize = 256;
/// A client that sends nothing for this long is assumed to have finished.
const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Discards the rest of a body before the request is answered.
pub(super) async fn discard(headers: &HeaderMap, mut body: Incoming) {
    // A client that sends `Expect: 100-continue` gets the answer before it sends the body.
    if body.is_end_stream() || headers.contains_key(header::EXPECT) {
        return;
    }
    let all = async {
        let (mut left, mut since_pause) = (DISCARDED_BYTES_MAX, 0);
        while let Ok(Some(Ok(frame))) = timeout(DISCARD_PAUSE_MAX, body.frame()).await {
            let bytes = frame.data_ref().map_or(0, Bytes::len).max(PIECE_BYTES_MIN);
            let Some(less) = left.checked_sub(bytes) else { return };
            left = less;
            since_pause += bytes;
            if since_pause >= DISCARDED_AT_ONCE {
                since_pause = 0;
                sleep(DISCARD_PACE).await;
            }
        }
    };
    // The request is refused in any case, so the outcome does not matter.
    let _ = timeout(DISCARD_TIMEOUT, all).await;
}

/// 408: the request did not arrive in time.
const REQUEST_TIMEOUT: Refusal = Refusal::new(Kind::Late, "request_timeout", "the request did not arrive in time");

/// Reads the body within its limits of size and time.
pub(super) async fn collect(headers: &HeaderMap, mut body: Incoming) -> Result<Body, ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        discard(headers, body).await;
        return Err(BODY_TOO_LARGE.into());
    }
    match read(&mut body, BODY_BYTES_MAX).await {
        Ok(bytes) => Ok(if bytes.is_empty() { Body::Empty } else { Body::Binary(bytes) }),
        Err(Unread::TooLarge) => {
            discard(&HeaderMap::new(), body).await;
            Err(BODY_TOO_LARGE.into())
        }
        Err(Unread::Broken) => Err(ApiError::invalid("body", "must arrive whole and as its headers say")),
        Err(Unread::Late) => Err(REQUEST_TIMEOUT.into()),
    }
}

/// Why a body could not be read.
pub(super) enum Unread {
    TooLarge,
    Broken,
    Late,
}

/// Reads a body of at most `bytes_max` bytes. The bytes are copied, because even a tiny piece keeps its whole read
/// buffer alive.
pub(super) async fn read(body: &mut Incoming, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let all = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Unread::Broken) };
            let Some(piece) = frame.data_ref() else { continue };
            if bytes.len() + piece.len() > bytes_max {
                return Err(Unread::TooLarge);
            }
            bytes.extend_from_slice(piece);
        }
        Ok(bytes)
    };
    timeout(BODY_TIMEOUT, all).await.unwrap_or(Err(Unread::Late))
}

pub(super) fn outgoing(response: Response) -> hyper::Response<Full<Bytes>> {
    response.map(|body| match body {
        Body::Text(text) => Full::new(text.into()),
        Body::Binary(bytes) => Full::new(bytes.into()),
        _ => Full::default(),
    })
}

/// An answer after which the connection is closed.
pub(super) fn closing(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut response = outgoing(response);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
