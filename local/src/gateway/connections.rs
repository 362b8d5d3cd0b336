//! Connections of HTTP: accepted up to a limit, served within limits of time and memory, closed in order.

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

/// A connection must have sent a request's head within this time, also while it is idle.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head, in bytes. API Gateway takes 10 240.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A client must have taken an answer within this time.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// What the system keeps of a connection's answers while nobody reads them, in bytes; Linux doubles it. Some answers fit, and
/// a thousand connections take no more than 128 MB.
const UNREAD_BYTES_MAX: u32 = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// Connections served at once, and an eighth of one address. Beyond it, one is told to come back.
pub(super) const CONNECTIONS_MAX: usize = 4096;
/// How long a refused connection may take to hear so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after the system refuses a connection, for example because no file descriptors are left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the API and the page until `stop` says so, then lets open requests finish for at most `drain`.
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
            // A client that breaks the protocol or goes away is its own affair.
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
    // Whoever has not finished by now is cut off, and lets go of the database.
    connections.shutdown().await;
}

/// Listens on a port whose connections keep few bytes that nobody reads.
///
/// # Errors
/// The system refuses the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Inherited by the connections.
    socket.set_send_buffer_size(UNREAD_BYTES_MAX)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next connection, or none when it is time to stop.
pub(super) async fn accept(listener: &TcpListener, stop: &mut watch::Receiver<bool>) -> Option<TcpStream> {
    loop {
        tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return None,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Answers are small: waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    return Some(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn turn_away(mut stream: TcpStream) {
    let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(busy().as_bytes())).await;
}

/// The answer to a connection beyond the limit, whose request is not read.
fn busy() -> String {
    let body =
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"too busy"}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
