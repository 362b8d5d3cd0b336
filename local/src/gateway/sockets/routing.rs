//! Which function an event of a connection is for, and its turn to be called.

use crate::engine::Engine;
use crate::template::{BadTemplate, SocketApi};
use functions::{Context, SOCKETS, SocketAnswer, SocketHandler, answer_socket};
use serde_json::value::RawValue;
use std::collections::HashMap;
use tokio::sync::Semaphore;

/// Events at work at once; the others wait in order. They have turns of their own, a quarter of those of requests, so that
/// however many connections there are, requests over HTTP wait behind few events.
const TURNS_MAX: usize = 2;
/// The route that takes what no other route takes.
const DEFAULT: &str = "$default";

/// A route of the template, with the handler of its function.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) key: String,
    handler: SocketHandler,
    /// Whether the client gets the function's answer.
    pub(super) answers: bool,
}

/// The routes, and what their handlers work with.
pub(super) struct Routing {
    /// Where in a message its route stands: the names of members, from the outside in.
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
    /// Mounts the functions of the template.
    ///
    /// # Errors
    /// A function has no handler, one of the three routes that API Gateway calls by itself is missing, or the selection is
    /// none of a message's body.
    pub(super) fn new(api: SocketApi, context: Context, engine: Engine) -> Result<Self, BadTemplate> {
        let bad = |problem| BadTemplate::Resource { resource: "SocketApi".to_owned(), problem };
        let SocketApi { selection, stage, routes } = api;
        let selection = selection.strip_prefix("$request.body.").filter(|path| !path.is_empty());
        let selection = selection.ok_or_else(|| bad("RouteSelectionExpression is no member of a message"))?;
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

    /// The route of a message. One that is not JSON, or in which no word of a route stands, takes the default route.
    pub(super) fn select(&self, message: &str) -> &Route {
        let word = self.word(message);
        // API Gateway alone chooses the routes that begin with `$`.
        let found = self.routes.iter().find(|route| word.as_ref() == Some(&route.key) && !route.key.starts_with('$'));
        found.unwrap_or(&self.default)
    }

    /// The word of a route in a message. The other members are not interpreted, because functions do not interpret them
    /// either.
    fn word(&self, message: &str) -> Option<String> {
        let mut text = message;
        for name in &self.selection {
            let members: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            text = members.get(name)?.get();
        }
        serde_json::from_str(text).ok()
    }

    /// Calls a function, when it is its turn. `None`: it could not be called.
    pub(super) async fn call(&self, route: &Route, event: &str) -> Option<SocketAnswer> {
        // Before the turn: who waits for the history must not keep others from reading.
        let admission = self.engine.admission().await?;
        let turn = self.turns.acquire().await.ok()?;
        let answer = answer_socket(route.handler, &self.context, event).await;
        drop(turn);
        if !answer.is_refusal {
            // What was refused has written nothing, and gives its admission back.
            admission.forget();
        }
        Some(answer)
    }
}
