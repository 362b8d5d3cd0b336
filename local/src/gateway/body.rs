//! Bodies of requests, read within their limits or thrown away, and bodies of answers.

use functions::{ApiError, BODY_TOO_LARGE, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use lambda_http::Body;
use std::time::Duration;
use store::{Kind, Refusal};
use tokio::time::{sleep, timeout};

/// A request's body must have arrived within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest body, in bytes; the same as the handlers'.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The rest of a refused body is read and thrown away, up to so many bytes and for so long: a client that is still sending
/// when its connection closes would lose the answer that says why.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after so many bytes that were thrown away. The answer comes after all of them, so a client that sends too much again
/// and again takes little of the processor.
const DISCARD_PACE: Duration = Duration::from_millis(1);
const DISCARDED_AT_ONCE: usize = 16 * 1024;
/// A smaller piece counts as so many bytes: it costs as much time.
const PIECE_BYTES_MIN: usize = 256;
/// A client that sends nothing for this long is taken to have finished.
const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Throws away what is left of a body, before it is answered.
pub(super) async fn discard(headers: &HeaderMap, mut body: Incoming) {
    // Whoever asks before sending learns from the answer not to.
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
    // What is refused is refused, whatever becomes of the rest.
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

/// Why a body was not read.
pub(super) enum Unread {
    TooLarge,
    Broken,
    Late,
}

/// Reads a body of at most so many bytes. They are copied: a piece of one byte would keep all of the buffer it was read into.
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

/// An answer after which the connection cannot be used any more.
pub(super) fn closing(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut response = outgoing(response);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
