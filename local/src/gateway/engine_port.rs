//! Serves the embedded engine in `DynamoDB`'s own protocol, on a port of this machine and on a socket in the data
//! directory.

use super::body::{closing, discard, read};
use super::connections::{ACCEPT_PAUSE, ANSWER_TIMEOUT, CONNECTIONS_MAX, HEAD_TIMEOUT, accept};
use crate::access::Access;
use crate::engine::{Engine, TARGET_PREFIX};
use crate::patience::Patience;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Serves the embedded engine in `DynamoDB`'s own protocol, for the AWS command line and for functions under `cargo
/// lambda`. Only programs on this machine can reach it, because it authenticates nobody.
pub async fn run_dynamodb(listener: TcpListener, engine: Engine, access: Access, mut stop: watch::Receiver<bool>) {
    // Dropping this ends the connections, so that they cannot delay the closing of the database.
    let mut connections = JoinSet::new();
    while let Some(stream) = accept(&listener, &mut stop).await {
        serve_engine(&mut connections, stream, &engine, &access);
    }
}

/// The same for programs on this machine that may open the socket's file.
pub async fn run_engine(listener: UnixListener, engine: Engine, access: Access, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => serve_engine(&mut connections, stream, &engine, &access),
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the engine");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one more connection, or closes it if there are already [`CONNECTIONS_MAX`].
fn serve_engine(
    connections: &mut JoinSet<()>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    engine: &Engine,
    access: &Access,
) {
    while connections.try_join_next().is_some() {}
    if connections.len() < CONNECTIONS_MAX {
        connections.spawn(converse(stream, engine.clone(), access.clone()));
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, engine: Engine, access: Access) {
    let service = service_fn(move |request| {
        let (engine, access) = (engine.clone(), access.clone());
        async move { Ok::<_, Infallible>(dynamodb(&engine, &access, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Patience::new(stream, ANSWER_TIMEOUT)), service);
    // Errors of the client or its protocol need no handling here.
    let _ = connection.await;
}

async fn dynamodb(engine: &Engine, access: &Access, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
    /// DynamoDB's own limit is 16 MB, for a batch write.
    const REQUEST_BYTES_MAX: usize = 16 << 20;
    let (parts, mut body) = request.into_parts();
    if let Err(problem) = access.check(&parts) {
        discard(&parts.headers, body).await;
        return closing(problem.response(&functions::new_request_id()));
    }
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or_default().to_owned();
    if operation.is_empty() {
        return hyper::Response::new(Full::new(Bytes::from_static(b"healthy: greenroom\n")));
    }
    let answer = match read(&mut body, REQUEST_BYTES_MAX).await {
        Ok(body) => engine.call(operation, body).await,
        Err(_) => None,
    };
    let (status, body) = answer.unwrap_or((500, Vec::new()));
    let mut response = hyper::Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
