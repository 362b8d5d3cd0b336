//! The routes of the HTTP API: finds a request's function, and gives the request its turn.

use super::body::{closing, collect, discard, outgoing};
use super::headers::{join_lines, malformed, strip_infrastructure};
use super::sockets::{Limits, Management, Sockets};
use crate::access::Access;
use crate::engine::{Engine, GROUP_MAX};
use crate::template::{BadTemplate, DEFAULT_ROUTE, Template};
use functions::{Address, Context, ENDPOINTS, Handler, Live, Request, SOCKET_PATH, answer, refuse};
use http_body_util::Full;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::header::UPGRADE;
use lambda_http::{Body, RequestExt as _};
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use store::StoreError;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Requests that run at once. Others wait in order and use memory only for themselves. These are two of the engine's
/// groups: while it works on one, this thread prepares the next.
const REQUESTS_MAX: usize = 2 * GROUP_MAX;
/// Scans for `list_users` that run at once. Each reads the whole table, so they wait for each other and delay nobody
/// else.
const LISTS_MAX: usize = 1;
/// How long such a request waits for its turn before it is refused.
const LIST_PATIENCE: Duration = Duration::from_secs(30);
/// The function that scans the whole table.
const LISTS_EVERYBODY: &str = "list_users";

/// The routes and the state that all connections share.
pub struct Gateway {
    routes: matchit::Router<Vec<Routed>>,
    default: Handler,
    context: Context,
    engine: Engine,
    access: Access,
    turns: Semaphore,
    lists: Semaphore,
    sockets: Sockets,
}

struct Routed {
    method: Method,
    /// The route key, such as `PATCH /api/users/{userId}/mute`.
    key: String,
    handler: Handler,
    lists_everybody: bool,
}

impl Gateway {
    /// Mounts the template's functions on their routes. `context` must write through [`Engine::admitted`], because the
    /// gateway waits for each write's admission before it gives the request a turn.
    ///
    /// # Errors
    /// A function of the template has no handler, two routes are the same, or there is no default route.
    pub fn new(
        template: &Template,
        mut context: Context,
        engine: Engine,
        access: Access,
        limits: Limits,
    ) -> Result<Self, BadTemplate> {
        let functions = template.functions()?;
        let mut by_path: HashMap<&str, Vec<Routed>> = HashMap::new();
        let mut default = None;
        for function in functions.iter().filter(|function| !function.routes.is_empty()) {
            let bad = |problem| BadTemplate::Resource { resource: function.logical_id.clone(), problem };
            let handler = ENDPOINTS.iter().find(|(name, _)| *name == function.binary).map(|(_, handler)| *handler);
            let handler = handler.ok_or_else(|| bad("no handler has the name of its binary"))?;
            for route in &function.routes {
                if route.path == DEFAULT_ROUTE {
                    default = Some(handler);
                    continue;
                }
                let method = route.method.parse().map_err(|_| bad("a route's method is not one"))?;
                let lists_everybody = function.binary == LISTS_EVERYBODY;
                let routed = Routed { method, key: route.to_string(), handler, lists_everybody };
                by_path.entry(&route.path).or_default().push(routed);
            }
        }
        let missing = |problem| BadTemplate::Resource { resource: "Api".to_owned(), problem };
        let mut routes = matchit::Router::new();
        for (path, routed) in by_path {
            routes.insert(pattern(path), routed).map_err(|_| missing("two routes contradict each other"))?;
        }
        let default = default.ok_or_else(|| missing("no function takes the default route"))?;
        let (turns, lists) = (Semaphore::new(REQUESTS_MAX), Semaphore::new(LISTS_MAX));
        let api = template.socket_api()?;
        let sockets = Sockets::new(api, context.clone(), engine.clone(), limits)?;
        context.live = Some(sockets.live());
        Ok(Self { routes, default, context, engine, access, turns, lists, sockets })
    }

    /// Handles requests about the WebSocket connections, as AWS's client sends them.
    #[must_use]
    pub fn management(&self) -> Management {
        self.sockets.management()
    }

    /// Messages over the WebSocket connections, for a consumer of the stream.
    #[must_use]
    pub fn live(&self) -> Live {
        self.sockets.live()
    }

    /// Closes the WebSocket connections, and waits for that for at most `drain`.
    pub(super) async fn end_sockets(&self, drain: Duration) {
        self.sockets.end(drain).await;
    }

    /// Answers a request from a client with this address.
    pub(super) async fn serve(
        &self,
        request: hyper::Request<Incoming>,
        client: IpAddr,
    ) -> hyper::Response<Full<Bytes>> {
        let (mut parts, body) = request.into_parts();
        strip_infrastructure(&mut parts.headers);
        let head = |parts: hyper::http::request::Parts| Request::from_parts(parts, Body::Empty);

        let opens_socket =
            parts.method == Method::GET && parts.uri.path() == SOCKET_PATH && parts.headers.contains_key(UPGRADE);
        let access = if opens_socket { self.access.check_socket(&parts) } else { self.access.check(&parts) };
        if let Some(problem) = malformed(&parts).or(access.err()) {
            discard(&parts.headers, body).await;
            return closing(refuse(DEFAULT_ROUTE, &self.context, &head(parts), problem));
        }
        if opens_socket {
            let seen = head(parts.clone());
            let opened = self.sockets.open(hyper::Request::from_parts(parts, body), client).await;
            return opened.unwrap_or_else(|problem| closing(refuse(DEFAULT_ROUTE, &self.context, &seen, problem)));
        }
        join_lines(&mut parts.headers);
        let path = parts.uri.path().to_owned();
        let found = self.routes.at(&path).ok();
        let routed = found.as_ref().and_then(|found| found.value.iter().find(|routed| routed.method == parts.method));
        let (key, handler) =
            routed.map_or((DEFAULT_ROUTE, self.default), |routed| (routed.key.as_str(), routed.handler));
        let body = match collect(&parts.headers, body).await {
            Ok(body) => body,
            // After a failure, the rest of the body cannot be distinguished from the next request, so the connection is
            // closed.
            Err(problem) => return closing(refuse(key, &self.context, &head(parts), problem)),
        };
        // Wait for admission before the turn, so that waiting writes do not keep others from reading.
        let admission = if routed.is_some() && !parts.method.is_safe() {
            let Some(admission) = self.engine.admission().await else {
                let busy = StoreError::Unavailable("the ledger lags behind".into()).into();
                return outgoing(refuse(key, &self.context, &head(parts), busy));
            };
            Some(admission)
        } else {
            None
        };
        let mut request = Request::from_parts(parts, body);
        request.extensions_mut().insert(Address(client));
        if let Some(found) = found {
            let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
            let parameters: HashMap<_, _> =
                found.params.iter().map(|(name, value)| (name.to_owned(), vec![decode(value)])).collect();
            request = request.with_path_parameters(parameters);
        }
        let turn = if routed.is_some_and(|routed| routed.lists_everybody) {
            timeout(LIST_PATIENCE, self.lists.acquire()).await
        } else {
            Ok(self.turns.acquire().await)
        };
        if turn.is_err() {
            let busy = StoreError::Unavailable("too many requests wait for the list of all users".into()).into();
            return outgoing(refuse(key, &self.context, &request, busy));
        }
        let response = answer(key, handler, &self.context, request).await;
        if response.status().is_success()
            && let Some(admission) = admission
        {
            // A refused request has written nothing, so its permit is returned.
            admission.forget();
        }
        outgoing(response)
    }
}

/// A path of the template in the router's syntax. `/{proxy+}` becomes `/{*proxy}`, which matches every path with that
/// prefix.
fn pattern(path: &str) -> String {
    match path.strip_suffix("+}").and_then(|path| path.rsplit_once('{')) {
        Some((before, name)) => format!("{before}{{*{name}}}"),
        None => path.to_owned(),
    }
}
