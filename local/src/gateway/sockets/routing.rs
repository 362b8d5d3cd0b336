//! Finds the function for an event of a connection, and calls it when it is its turn.

use crate::engine::Engine;
use crate::template::{BadTemplate, SocketApi};
use functions::{Context, SOCKETS, SocketAnswer, SocketHandler, answer_socket};
use serde_json::value::RawValue;
use std::collections::HashMap;
use tokio::sync::Semaphore;

/// Events that are processed at once; others wait in order. They have their own turns, a quarter as many as HTTP
/// requests, so that HTTP requests wait behind few events even if there are many connections.
const TURNS_MAX: usize = 2;
/// The route for messages that match no other route.
const DEFAULT: &str = "$default";

/// A route of the template, with the handler of its function.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) key: String,
    handler: SocketHandler,
    /// Whether the function's answer is sent to the client.
    pub(super) answers: bool,
}

/// The routes, and the context of their handlers.
pub(super) struct Routing {
    /// Path of the member that selects a message's route: the names of members, outermost first.
    selection: Vec<String>,
    /// The name of the stage.
    pub(super) stage: String,
    routes: Vec<Route>,
    pub(super) connect: Route,
    pub(super) disconnect: Route,
    default: Route,
    context: Context,
    engine: Engine,
    turns: Semaphore,
}

impl Routing {
    /// Mounts the template's functions.
    ///
    /// # Errors
    /// A function has no handler, one of the routes `$connect`, `$disconnect` and `$default` is missing, or the
    /// selection expression does not name a member of the message's body.
    pub(super) fn new(api: SocketApi, context: Context, engine: Engine) -> Result<Self, BadTemplate> {
        let bad = |problem| BadTemplate::Resource { resource: "SocketApi".to_owned(), problem };
        let SocketApi { selection, stage, routes } = api;
        let selection = selection.strip_prefix("$request.body.").filter(|path| !path.is_empty());
        let selection = selection.ok_or_else(|| bad("RouteSelectionExpression does not name a member of a message"))?;
        let mount = |route: crate::template::SocketRoute| {
            let handler = SOCKETS.iter().find(|(name, _)| *name == route.binary).map(|(_, handler)| *handler);
            let handler = handler.ok_or_else(|| bad("no handler has the name of its binary"))?;
            Ok(Route { key: route.key, handler, answers: route.answers })
        };
        let routes = routes.into_iter().map(mount).collect::<Result<Vec<_>, BadTemplate>>()?;
        let named = |key: &str| routes.iter().find(|route| route.key == key).cloned();
        Ok(Self {
            selection: selection.split('.').map(str::to_owned).collect(),
            stage,
            connect: named("$connect").ok_or_else(|| bad("there is no route $connect"))?,
            disconnect: named("$disconnect").ok_or_else(|| bad("there is no route $disconnect"))?,
            default: named(DEFAULT).ok_or_else(|| bad("there is no route $default"))?,
            routes,
            context,
            engine,
            turns: Semaphore::new(TURNS_MAX),
        })
    }

    /// The route of a message. A message that is not JSON, or that contains no route's word, takes the default route.
    pub(super) fn select(&self, message: &str) -> &Route {
        let word = self.word(message);
        // Only API Gateway itself chooses the routes that begin with `$`.
        let found = self.routes.iter().find(|route| word.as_ref() == Some(&route.key) && !route.key.starts_with('$'));
        found.unwrap_or(&self.default)
    }

    /// The word in a message that selects its route. The other members are not parsed.
    fn word(&self, message: &str) -> Option<String> {
        let mut text = message;
        for name in &self.selection {
            let members: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            text = members.get(name)?.get();
        }
        serde_json::from_str(text).ok()
    }

    /// Calls a function when it is its turn. `None`: it could not be called.
    pub(super) async fn call(&self, route: &Route, event: &str) -> Option<SocketAnswer> {
        // Wait for admission before the turn, so that waiting writes do not keep others from reading.
        let admission = self.engine.admission().await?;
        let turn = self.turns.acquire().await.ok()?;
        let answer = answer_socket(route.handler, &self.context, event).await;
        drop(turn);
        if !answer.is_refusal {
            // A refused event has written nothing, so its permit is returned.
            admission.forget();
        }
        Some(answer)
    }
}
