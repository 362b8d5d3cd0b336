//! Reaches the engine of a running runner through a socket in its data directory. So a command can work on data that
//! another process has open. A program that can open the socket can read all data, so only the owner may open it.

use crate::access::Access;
use crate::storage::Location;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// The socket's file in the data directory.
pub const NAME: &str = "engine.sock";
const DRAFT: &str = "engine.sock.new";
/// Host name in requests to the socket. It has no port, because no URL leads to it.
const HOST_NAME: &str = "localhost";

/// The access rule of the socket: programs that may open the file, and no web page.
#[must_use]
pub fn access() -> Access {
    // The default port, which belongs to HOST_NAME.
    Access::of_tools(SocketAddr::from(([127, 0, 0, 1], 80)))
}

/// Listens in the locked data directory. `None`: there is no directory, or listening failed.
#[must_use]
pub fn listen(location: &Location) -> Option<UnixListener> {
    let Location::Directory { path, .. } = location else { return None };
    match bind(path) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "failed to open the data directory's socket; commands cannot work while this runs");
            None
        }
    }
}

fn bind(directory: &Path) -> io::Result<UnixListener> {
    // The socket gets its final name only after its permissions are set. A draft of an earlier process is not in use
    // any more.
    let draft = directory.join(DRAFT);
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let opened = File::open(directory)?;
    let listener = UnixListener::bind(short(directory, &opened, DRAFT))?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(draft, directory.join(NAME))?;
    Ok(listener)
}

/// A short path of a file in an open directory, because the system allows only 107 bytes for the path of a socket.
fn short(path: &Path, directory: &File, name: &str) -> PathBuf {
    if cfg!(target_os = "linux") {
        format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
    } else {
        path.join(name)
    }
}

/// Removes the socket's file after the runner has stopped listening.
pub fn remove(location: &Location) {
    if let Location::Directory { path, .. } = location {
        // The next start replaces a file that stays behind, for example after a kill.
        let _ = std::fs::remove_file(path.join(NAME));
    }
}

/// The engine behind a socket.
#[derive(Debug, Clone)]
pub struct Socket {
    /// The data directory of the runner.
    pub directory: PathBuf,
}

async fn connect(directory: &Path) -> io::Result<UnixStream> {
    let opened = File::open(directory)?;
    UnixStream::connect(short(directory, &opened, NAME)).await
}

async fn send(directory: PathBuf, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let mut request = request.map(|body| Full::new(Bytes::copy_from_slice(body.bytes().unwrap_or_default())));
    request.headers_mut().insert(HOST, HeaderValue::from_static(HOST_NAME));
    *request.uri_mut() = hyper::Uri::from_static("/");
    let io = |error: hyper::Error| ConnectorError::io(error.into());
    let stream = connect(&directory).await.map_err(|error| ConnectorError::io(error.into()))?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io)?;
    tokio::spawn(async move { drop(connection.await) });
    let (parts, body) = sender.send_request(request).await.map_err(io)?.into_parts();
    let body = body.collect().await.map_err(io)?.to_bytes();
    let response = hyper::Response::from_parts(parts, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

impl HttpConnector for Socket {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(send(self.directory.clone(), request))
    }
}

impl HttpClient for Socket {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
