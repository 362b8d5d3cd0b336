//! Persistent connections to one AWS service: one for a function, which answers one request at a time, and a few for a
//! snapshot, which reads several segments of a table in parallel.
//!
//! The SDK's own HTTP client brings HTTP/2, a pool and proxies. That would add a megabyte to every binary, and a tenth
//! to the CPU time of every invocation.

use crate::throttled;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Time to open a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer, in bytes: `DynamoDB` sends at most 1 MB of items, which JSON makes larger; S3 is read in parts of 8
/// MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Largest number of idle connections that are kept.
const IDLE_MAX: usize = 8;

/// An HTTP client for one origin. It reuses its connections, and opens a new one if all are lost or in use.
#[derive(Clone)]
pub(super) struct Http(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Http({:?})", self.0.authority)
    }
}

impl Http {
    /// A client for `origin`, such as `https://dynamodb.us-east-1.amazonaws.com`, that trusts the certificates in
    /// `roots` (PEM).
    pub(super) fn new(origin: &str, roots: &[u8]) -> Result<Self, BoxError> {
        let uri: hyper::Uri = origin.parse()?;
        let authority = uri.authority().ok_or("the endpoint has no host")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the endpoint is neither http nor https".into()),
        };
        let tls = if secure { Some((tls(roots)?, ServerName::try_from(host.clone())?)) } else { None };
        Ok(Self(Arc::new(Inner {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())?,
            host,
            tls,
            idle: Mutex::default(),
        })))
    }

    /// Opens the first connection during init, when a function has a whole core.
    pub(super) async fn warm_up(&self) {
        match self.connect().await {
            Ok(sender) => self.keep(sender),
            Err(error) => tracing::warn!(%error, "failed to connect to the service during init"),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, BoxError> {
        tokio::time::timeout(CONNECT_TIMEOUT, async {
            let stream = TcpStream::connect((self.0.host.as_str(), self.0.port)).await?;
            stream.set_nodelay(true)?;
            match &self.0.tls {
                Some((connector, name)) => converse(connector.connect(name.clone(), stream).await?).await,
                None => converse(stream).await,
            }
        })
        .await?
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|error: hyper::http::uri::InvalidUri| ConnectorError::user(error.into()))?;
        parts.headers.insert(HOST, self.0.authority.clone());
        let target = parts.headers.get("x-amz-target").cloned();
        let body = Bytes::copy_from_slice(body.bytes().unwrap_or_default());
        let request = hyper::Request::from_parts(parts, Full::new(body));

        // Checking an idle connection shows whether the server has closed it, for example while the function was
        // frozen.
        let mut sender = loop {
            let Some(mut known) = self.idle() else { break self.connect().await.map_err(ConnectorError::io)? };
            if known.ready().await.is_ok() {
                break known;
            }
        };
        let response = sender.send_request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
        let (parts, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ConnectorError::io)?;
        // The connection can take another request only after the answer was read to its end.
        self.keep(sender);
        let body = body.to_bytes();
        if let Some(target) = target {
            throttled::note(target.as_bytes(), parts.status, &body);
        }
        let response = hyper::Response::from_parts(parts, SdkBody::from(body));
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }
}

/// Starts HTTP/1.1 on an open stream.
async fn converse<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, BoxError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // The next request notices if the connection has ended.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Uses ring, because AWS-LC gathers jitter entropy for its first random number, which takes half a second at 128 MB.
fn tls(roots: &[u8]) -> Result<TlsConnector, BoxError> {
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots) {
        trusted.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.clone();
        HttpConnectorFuture::new(async move { http.send(request).await })
    }
}

impl HttpClient for Http {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
