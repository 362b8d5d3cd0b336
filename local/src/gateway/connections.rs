//! HTTP connections: accepted up to a limit, served with limits on time and memory, and closed in order.

use super::http::Gateway;
use super::places::Places;
use crate::patience::Patience;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Time limit for a request's head; an idle connection is closed after it as well.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head, in bytes. API Gateway's limit is 10 240.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time limit for a client to read an answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Size of a connection's send buffer in bytes, where the system keeps unread answers; Linux doubles it. It holds
/// several answers, and a thousand connections use at most 128 MB.
const UNREAD_BYTES_MAX: u32 = 64 * 1024;
/// Connections that wait to be accepted, at most.
const BACKLOG: u32 = 1024;
/// Connections that are served at once; one address may have an eighth. A further client is told to retry.
pub(super) const CONNECTIONS_MAX: usize = 4096;
/// Time limit for telling a client that its connection is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after the system refuses a connection, for example because no file descriptors are left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the API and the page until `stop` is set, then waits for open requests, for at most `drain`.
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>, drain: Duration) {
    let places = Places::new(CONNECTIONS_MAX);
    let mut connections = JoinSet::new();
    loop {
        let Some(stream) = accept(&listener, &mut stop).await else {
            break;
        };
        let client = stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let Some(place) = places.take(client) else {
            tokio::spawn(turn_away(stream));
            continue;
        };
        let served = Arc::clone(&gateway);
        let service = service_fn(move |request| {
            let gateway = Arc::clone(&served);
            async move { Ok::<_, Infallible>(gateway.serve(request, client).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Patience::new(stream, ANSWER_TIMEOUT)), service)
            .with_upgrades();
        let mut stopping = stop.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            // Errors of the client or its protocol need no handling here.
            tokio::select! {
                _ = connection.as_mut() => {}
                () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::join!(timeout(drain, finished), gateway.end_sockets(drain));
    // Connections that are still open are cut off, which releases the database.
    connections.shutdown().await;
}

/// Listens on a port whose connections have small send buffers.
///
/// # Errors
/// The system refuses the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit this.
    socket.set_send_buffer_size(UNREAD_BYTES_MAX)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection. `None`: `stop` is set.
pub(super) async fn accept(listener: &TcpListener, stop: &mut watch::Receiver<bool>) -> Option<TcpStream> {
    loop {
        tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return None,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small, so waiting to fill a packet would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn turn_away(mut stream: TcpStream) {
    let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(busy().as_bytes())).await;
}

/// The answer to a connection beyond the limit. Its request is not read.
fn busy() -> String {
    let body =
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"too busy"}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
