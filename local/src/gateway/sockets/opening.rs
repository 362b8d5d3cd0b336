//! Opens a connection: a handshake over HTTP, a function that may refuse, and a task that serves the connection.

use super::connection::Connection;
use super::conversation::{Ended, Shared, converse};
use super::limits::{Limits, SOCKETS_MAX};
use super::management::Management;
use super::registry::{Peer, Registry};
use super::routing::Routing;
use crate::engine::Engine;
use crate::gateway::places::{Place, Places};
use crate::template::{BadTemplate, SocketApi};
use functions::{ApiError, Context, Live};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{Kind, Refusal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::create_response;

/// Time limit for the client to read the answer to its handshake.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// 503: the limit of connections is reached, or the server is stopping.
const TOO_MANY_CONNECTIONS: Refusal =
    Refusal::new(Kind::Unavailable, "unavailable", "no further connection can be opened now; try again").retry_after(1);

/// Headers of the answer to an accepted handshake, or the status of a refusal.
type Opened = Result<Vec<(&'static str, &'static str)>, StatusCode>;

/// The connections of a gateway.
pub(in crate::gateway) struct Sockets {
    shared: Arc<Shared>,
    management: Management,
    live: Live,
    places: Arc<Places>,
    /// One task per connection.
    tasks: Mutex<JoinSet<()>>,
    stop: watch::Sender<bool>,
}

impl Sockets {
    /// Mounts the template's functions.
    ///
    /// # Errors
    /// The API differs from what this gateway supports.
    pub(in crate::gateway) fn new(
        api: SocketApi,
        mut context: Context,
        engine: Engine,
        limits: Limits,
    ) -> Result<Self, BadTemplate> {
        let registry = Arc::new(Registry::default());
        let management = Management { registry: Arc::clone(&registry), stage: api.stage.clone() };
        let live = Live::new(push::Gateway::embedded(management.clone(), &api.stage));
        context.live = Some(live.clone());
        let routing = Routing::new(api, context, engine)?;
        Ok(Self {
            shared: Arc::new(Shared { routing, registry, limits }),
            management,
            live,
            places: Places::new(SOCKETS_MAX),
            tasks: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// The handler of requests about the connections.
    pub(in crate::gateway) fn management(&self) -> Management {
        self.management.clone()
    }

    /// Messages over the connections.
    pub(in crate::gateway) fn live(&self) -> Live {
        self.live.clone()
    }

    /// Answers a handshake. As on AWS, the answer waits until the function of `$connect` has accepted.
    ///
    /// # Errors
    /// 400 if the request is not a handshake; 503 if there are too many connections.
    pub(in crate::gateway) async fn open(
        &self,
        mut request: hyper::Request<Incoming>,
        client: IpAddr,
    ) -> Result<hyper::Response<Full<Bytes>>, ApiError> {
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let no_handshake = || {
            let rule = "must be a WebSocket handshake without a body (RFC 6455)";
            ApiError::invalid("Upgrade", rule)
        };
        if !body.is_end_stream() {
            return Err(no_handshake());
        }
        let handshake = hyper::Request::from_parts(parts, ());
        let accepted = create_response(&handshake).map_err(|_| no_handshake())?;
        let Some(place) = self.places.take(client) else {
            return Err(TOO_MANY_CONNECTIONS.into());
        };
        let connection = Connection::new(&self.shared.routing.stage, handshake.headers(), client);
        let event = connection.connect_event(handshake.headers(), handshake.uri().query());
        let (respond, response) = oneshot::channel();
        // The connection runs in a task of its own, so that its end is handled even if the client goes away during the
        // call.
        let task =
            serve(Arc::clone(&self.shared), connection, event, respond, on_upgrade, self.stop.subscribe(), place);
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            // Checked under the lock: `end` sets `stop` before it takes the tasks, so no task can be added afterwards.
            if *self.stop.borrow() {
                return Err(TOO_MANY_CONNECTIONS.into());
            }
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
        let opened = response.await.unwrap_or(Err(StatusCode::INTERNAL_SERVER_ERROR));
        Ok(match opened {
            Ok(headers) => {
                let mut response = accepted.map(|()| Full::default());
                for (name, value) in headers {
                    response.headers_mut().insert(name, HeaderValue::from_static(value));
                }
                response
            }
            Err(status) => {
                let mut response = hyper::Response::new(Full::default());
                *response.status_mut() = status;
                response
            }
        })
    }

    /// Closes all connections, and waits until `$disconnect` was called for each, for at most `drain`.
    pub(in crate::gateway) async fn end(&self, drain: Duration) {
        self.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = timeout(drain, async { while tasks.join_next().await.is_some() {} }).await;
        // Connections that are still open are cut off, which releases the database.
        tasks.shutdown().await;
    }
}

/// Serves a connection from its handshake to its end.
async fn serve(
    shared: Arc<Shared>,
    connection: Connection,
    event: String,
    respond: oneshot::Sender<Opened>,
    on_upgrade: OnUpgrade,
    stop: watch::Receiver<bool>,
    place: Place,
) {
    // The call's memory is in a box, so that it is not kept as long as the connection.
    let opened = Box::pin(connect(&shared, event)).await;
    let refused = opened.is_err();
    let heard = respond.send(opened).is_ok();
    if refused {
        return;
    }
    let upgraded = if heard { timeout(OPENING_TIMEOUT, on_upgrade).await.ok().and_then(Result::ok) } else { None };
    let connection = Arc::new(connection);
    let ended = match upgraded {
        Some(upgraded) => {
            let (peer, ordered) = Peer::new(Arc::clone(&connection));
            shared.registry.add(&peer);
            let ended = converse(TokioIo::new(upgraded), &shared, &peer, ordered, stop).await;
            shared.registry.remove(&connection.id);
            ended
        }
        None => Ended::lost("Client went away"),
    };
    shared.disconnect(&connection, &ended).await;
    drop(place);
}

/// Calls `$connect`.
async fn connect(shared: &Shared, event: String) -> Opened {
    let answer = shared.routing.call(&shared.routing.connect, &event).await;
    let answer = answer.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let status = StatusCode::from_u16(answer.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() { Ok(answer.headers.into_iter().collect()) } else { Err(status) }
}
