//! What API Gateway does on AWS: connections, limits, routes, preflights. Made to stand in the open.

use crate::engine::{Engine, TARGET_PREFIX};
use crate::template::{BadTemplate, DEFAULT_ROUTE, Function};
use crate::web::{self, Asset};
use functions::{ApiError, ENDPOINTS, Entry, Request, Response, State, answer, refuse};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use lambda_http::{Body, RequestExt as _};
use percent_encoding::percent_decode_str;
use state::config::CorsOrigins;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// A connection must have sent a request's head within this time, also while it is idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body must have arrived within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Largest body, in bytes; the same as the handlers'.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest request head, in bytes. API Gateway takes 10 240.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections served at once. Beyond it, one is told to come back.
const CONNECTIONS_MAX: usize = 4096;
/// Requests at work at once; the others wait in order, with only themselves in memory. Enough to keep the engine busy.
const REQUESTS_MAX: usize = 8;
/// How long a refused connection may take to hear so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after the system refuses a connection, for example because no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long browsers may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// Headers that a page may send: the same list as in `template.yaml`.
const ALLOWED_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id";

/// Routes, page and state, shared by all connections.
pub struct Gateway {
    routes: matchit::Router<Vec<Routed>>,
    default: Entry,
    assets: HashMap<String, Asset>,
    state: State,
    turns: Semaphore,
}

struct Routed {
    method: Method,
    /// As in `PATCH /api/users/{userId}/mute`.
    key: String,
    entry: Entry,
}

impl Gateway {
    /// Mounts the functions of the template on their routes.
    ///
    /// # Errors
    /// A function of the template has no handler, two routes are the same, or there is no default route.
    pub fn new(functions: &[Function], state: State) -> Result<Self, BadTemplate> {
        let mut by_path: HashMap<&str, Vec<Routed>> = HashMap::new();
        let mut default = None;
        for function in functions.iter().filter(|function| !function.routes.is_empty()) {
            let bad = |problem| BadTemplate::Resource { resource: function.logical_id.clone(), problem };
            let entry = ENDPOINTS.iter().find(|(name, _)| *name == function.binary).map(|(_, entry)| *entry);
            let entry = entry.ok_or_else(|| bad("no handler has the name of its binary"))?;
            for route in &function.routes {
                if route.path == DEFAULT_ROUTE {
                    default = Some(entry);
                    continue;
                }
                let method = route.method.parse().map_err(|_| bad("a route's method is not one"))?;
                by_path.entry(&route.path).or_default().push(Routed { method, key: route.to_string(), entry });
            }
        }
        let missing = |problem| BadTemplate::Resource { resource: "Api".to_owned(), problem };
        let mut routes = matchit::Router::new();
        for (path, routed) in by_path {
            routes.insert(path, routed).map_err(|_| missing("two routes contradict each other"))?;
        }
        let default = default.ok_or_else(|| missing("no function takes the default route"))?;
        Ok(Self { routes, default, assets: web::assets(), state, turns: Semaphore::new(REQUESTS_MAX) })
    }

    async fn serve(&self, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let (mut parts, body) = request.into_parts();
        strip_infrastructure(&mut parts.headers);
        let head = |parts: hyper::http::request::Parts| Request::from_parts(parts, Body::Empty);

        if let Some(problem) = malformed(&parts) {
            return closing(refuse(DEFAULT_ROUTE, &self.state, &head(parts), problem));
        }
        if let Some(page) = self.page(&parts) {
            return page;
        }
        let path = parts.uri.path().to_owned();
        let found = self.routes.at(&path).ok();
        let routed = found.as_ref().and_then(|found| found.value.iter().find(|routed| routed.method == parts.method));
        let (key, entry) = routed.map_or((DEFAULT_ROUTE, self.default), |routed| (routed.key.as_str(), routed.entry));
        if let Some(found) = &found
            && parts.method == Method::OPTIONS
            && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return self.preflight(&parts.headers, found.value);
        }
        let body = match collect(&parts.headers, body).await {
            Ok(body) => body,
            // What is left of the body cannot be told from a next request.
            Err(problem) => return closing(refuse(key, &self.state, &head(parts), problem)),
        };
        let mut request = Request::from_parts(parts, body);
        if let Some(found) = found {
            let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
            let parameters: HashMap<_, _> =
                found.params.iter().map(|(name, value)| (name.to_owned(), vec![decode(value)])).collect();
            request = request.with_path_parameters(parameters);
        }
        // Never closed, so there is always a turn to wait for.
        let _turn = self.turns.acquire().await;
        outgoing(answer(key, entry, &self.state, request).await)
    }

    fn page(&self, parts: &hyper::http::request::Parts) -> Option<hyper::Response<Full<Bytes>>> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return None;
        }
        let asset = self.assets.get(parts.uri.path())?;
        let mut response = hyper::Response::new(Full::default());
        *response.headers_mut() = asset.headers.clone();
        let tag = asset.headers.get(header::ETAG);
        if tag.is_some() && parts.headers.get(header::IF_NONE_MATCH) == tag {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if parts.method == Method::GET {
            *response.body_mut() = Full::new(Bytes::from_static(asset.body));
        }
        Some(response)
    }

    /// Answers a browser that asks what a page of another origin may do.
    fn preflight(&self, asked: &HeaderMap, routed: &[Routed]) -> hyper::Response<Full<Bytes>> {
        let mut response = hyper::Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let origin = match &self.state.config.cors_origins {
            CorsOrigins::Any => Some(HeaderValue::from_static("*")),
            CorsOrigins::Listed(listed) => {
                headers.insert(header::VARY, HeaderValue::from_static("Origin"));
                let origin = asked.get(header::ORIGIN);
                origin.filter(|origin| listed.iter().any(|known| known.as_bytes() == origin.as_bytes())).cloned()
            }
        };
        let Some(origin) = origin else { return response };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let methods = routed.iter().map(|routed| routed.method.as_str()).collect::<Vec<_>>().join(", ");
        if let Ok(methods) = HeaderValue::from_str(&methods) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
        response
    }
}

/// Removes headers by which AWS tells a function about the caller: from a client they are a forgery.
fn strip_infrastructure(headers: &mut HeaderMap) {
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

/// Refuses what two servers could read in two ways (RFC 9112, sections 3.2 and 6.3).
fn malformed(parts: &hyper::http::request::Parts) -> Option<ApiError> {
    let count = |name| parts.headers.get_all(name).iter().count();
    let invalid = |field: &'static str, rule: &'static str| {
        Some(ApiError::Invalid(functions::Field { field: field.into(), rule: rule.into() }))
    };
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && parts.version == hyper::Version::HTTP_11) {
        return invalid("Host", "must be given once");
    }
    // hyper itself refuses lengths that contradict each other and chunks before HTTP/1.1, and ends the connection after
    // a request with both a length and chunks. It takes any list of encodings that ends in `chunked`.
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if encodings.next().is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || encodings.next().is_some()
    {
        return invalid("Transfer-Encoding", "must be chunked, once");
    }
    None
}

/// Reads the body within its limits of size and time.
async fn collect(headers: &HeaderMap, body: Incoming) -> Result<Body, ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(ApiError::TooLarge);
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => {
            let bytes = collected.to_bytes();
            Ok(if bytes.is_empty() { Body::Empty } else { Body::Binary(bytes.into()) })
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
        Ok(Err(_)) => Err(ApiError::Invalid(functions::Field {
            field: "body".into(),
            rule: "must arrive whole and as its headers say".into(),
        })),
        Err(_) => Err(ApiError::RequestTimeout),
    }
}

fn outgoing(response: Response) -> hyper::Response<Full<Bytes>> {
    response.map(|body| match body {
        Body::Text(text) => Full::new(text.into()),
        Body::Binary(bytes) => Full::new(bytes.into()),
        _ => Full::default(),
    })
}

/// An answer after which the connection cannot be used any more.
fn closing(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut response = outgoing(response);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Serves the API and the page until `stop` says so, then lets open requests finish for at most `drain`.
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>, drain: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        let Some(stream) = accept(&listener, &mut stop).await else {
            break;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tokio::spawn(turn_away(stream));
            continue;
        };
        let gateway = Arc::clone(&gateway);
        let service = service_fn(move |request| {
            let gateway = Arc::clone(&gateway);
            async move { Ok::<_, Infallible>(gateway.serve(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A client that breaks the protocol or goes away is its own affair.
            let _ = connection.await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = tokio::time::timeout(drain, graceful.shutdown()).await;
    // Whoever has not finished by now is cut off, and lets go of the database.
    connections.shutdown().await;
}

/// The next connection, or none when it is time to stop.
async fn accept(listener: &TcpListener, stop: &mut watch::Receiver<bool>) -> Option<TcpStream> {
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
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, stream.write_all(busy().as_bytes())).await;
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

/// Serves the embedded engine as `DynamoDB`'s own protocol, for the AWS command line and for functions under
/// `cargo lambda`. For this machine only: it asks nobody who they are.
pub async fn run_dynamodb(listener: TcpListener, engine: Engine, mut stop: watch::Receiver<bool>) {
    // Dropped at the end, which ends the connections too: they must not hold up the closing of the database.
    let mut connections = JoinSet::new();
    while let Some(stream) = accept(&listener, &mut stop).await {
        connections.spawn(converse(stream, engine.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// The same for commands on this machine that may open the socket's file.
pub async fn run_engine(listener: UnixListener, engine: Engine, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = async { drop(stop.wait_for(|stop| *stop).await) } => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(converse(stream, engine.clone()))),
            Err(error) => {
                tracing::warn!(%error, "connection to the engine not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, engine: Engine) {
    let service = service_fn(move |request| {
        let engine = engine.clone();
        async move { Ok::<_, Infallible>(dynamodb(&engine, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks the protocol or goes away is its own affair.
    let _ = connection.await;
}

async fn dynamodb(engine: &Engine, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
    /// `DynamoDB` takes at most 16 MB, in a batch write.
    const REQUEST_BYTES_MAX: usize = 16 << 20;
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or_default().to_owned();
    if operation.is_empty() {
        return hyper::Response::new(Full::new(Bytes::from_static(b"healthy: greenroom\n")));
    }
    let answer = match Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await {
        Ok(body) => engine.call(operation, body.to_bytes().into()).await,
        Err(_) => None,
    };
    let (status, body) = answer.unwrap_or((500, Vec::new()));
    let mut response = hyper::Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
