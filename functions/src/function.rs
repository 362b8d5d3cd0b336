//! What a function says of itself, once: what starts it, who may call it, what it may do, what it may cost.
//!
//! Each handler declares its `FUNCTION` beside its code. `cargo xtask docs` writes everything else from these declarations:
//! the functions in `template.yaml`, `events/`, the binaries, `docs/openapi.json`, `docs/endpoints.md`, and the budgets in
//! `docs/cost.md`. No binary of a function links the declarations; that of `get_metrics` has their triggers alone.

use crate::{DECLARED, TRIGGERS};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A function as its handler declares it.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// What starts it. None: it is invoked by hand.
    pub triggers: &'static [Trigger],
    /// Whom its handler lets through.
    pub callers: Callers,
    /// How many requests its routes let through; see [`Function::class`].
    class: Option<Class>,
    /// What its role may do, beside writing its log.
    pub grants: &'static [Grant],
    /// What one call may use of DynamoDB at most.
    pub budget: Budget,
    /// What `events/` shows.
    pub example: Example,
    /// The status that answers the example: on a table that holds its person, and once more after that.
    pub statuses: (u16, u16),
    /// What `docs/openapi.json` says of it; what follows from the rest is not said again.
    pub described: Described,
    /// Further properties of the function in `template.yaml`, as YAML.
    pub properties: &'static str,
}

/// What `docs/openapi.json` says of an endpoint. The names of parameters and refusals are those of the components in
/// `infra/openapi.json`.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// How it behaves, in Markdown.
    pub text: &'static str,
    /// Its parameters beside those of the path, the request id and `If-None-Match`.
    pub parameters: &'static [&'static str],
    /// Whether its answer is about the moment: a GET without `ETag`, a write whose answer must not be stored.
    pub momentary: bool,
    /// The type of the body; none if it takes none.
    pub takes: Option<SchemaOf>,
    /// What it answers if all is well. None: it is not written yet.
    pub gives: [Option<Answer>; ANSWERS_MAX],
    /// Refusals that do not follow from the rest: status, response.
    pub refuses: &'static [(u16, &'static str)],
}

/// Makes the schema of a type, or refers to it.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// No endpoint has more answers if all is well.
const ANSWERS_MAX: usize = 2;

/// An answer if all is well.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it means.
    pub meaning: &'static str,
    /// The type of its body.
    pub schema: SchemaOf,
}

/// What starts a function.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    /// A request. `ANY` and `$default` for whatever no other route takes.
    Route {
        /// `GET`, …
        method: &'static str,
        /// `/api/users/{userId}`, …
        path: &'static str,
    },
    /// The clock.
    Schedule {
        /// `rate(…)` or `cron(…)`, as `EventBridge` takes it.
        when: &'static str,
        /// The end of the rule's name.
        name: &'static str,
        /// The event, if it is not `EventBridge`'s own.
        input: Option<&'static str>,
        /// The condition of the template under which it is enabled.
        only_if: Option<&'static str>,
    },
    /// An event of a WebSocket connection.
    Message {
        /// `$connect`, `$disconnect`, `$default`, or the `event` of a message.
        route: &'static str,
        /// Whether its answer goes back over the connection.
        answers: bool,
    },
    /// Records of the state table's stream. Their mapping stands in `infra/stream.yaml`.
    Stream,
}

/// Whom a handler lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Everybody, in strict mode too.
    Anybody,
    /// Whoever proves by the body itself who they are. The code of the refusal, if they do not.
    SelfProving(&'static str),
    /// A person: everybody in open mode, nobody in strict mode while no tokens exist.
    Person,
    /// Nobody but AWS, or whoever may invoke functions.
    Service,
}

/// Requests that are throttled alike. The parameters of the template begin with the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Routes that read.
    Read,
    /// Routes that write.
    Write,
    /// Attestations.
    Attest,
    /// Routes that anybody may call.
    Anonymous,
    /// Routes whose every page reads a whole table.
    List,
    /// The page, which loads many files at once.
    Page,
}

impl Class {
    /// How the names of its parameters begin, as in `WriteRate`.
    #[must_use]
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::Read => "Throttle",
            Self::Write => "Write",
            Self::Attest => "Attest",
            Self::Anonymous => "Anonymous",
            Self::List => "List",
            Self::Page => "Page",
        }
    }
}

/// One statement of a role.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    /// As IAM writes them, such as `dynamodb:GetItem`.
    pub actions: &'static [&'static str],
    /// As the template writes them, such as `!GetAtt StateTable.Arn`.
    pub resources: &'static [&'static str],
    /// Partition keys that it is about; a star stands for any end. None: a call names no key.
    pub keys: &'static [&'static str],
    /// Attributes that a write may not touch, separated by blanks; a star stands for any end.
    pub spared: &'static str,
    /// Whether it may only count.
    pub counts: bool,
    /// Why, if that is not plain. A comment in the template.
    pub reason: &'static str,
}

/// The state table.
pub const STATE: &str = "!GetAtt StateTable.Arn";
/// The index of the state table by room.
pub const ROOM_INDEX: &str = "!Sub \"${StateTable.Arn}/index/room-index\"";
/// The ledger's table.
pub const LEDGER: &str = "!GetAtt LedgerTable.Arn";
/// The bucket of the snapshots.
pub const BUCKET: &str = "!GetAtt SnapshotBucket.Arn";
/// The snapshots in it. S3 has no other way than a star to say "the objects whose names begin so".
pub const SNAPSHOTS: &str = "!Sub \"${SnapshotBucket.Arn}/database-backups/*\"";

/// Lets a function do this to that.
#[must_use]
pub const fn allow(actions: &'static [&'static str], resources: &'static [&'static str]) -> Grant {
    Grant { actions, resources, keys: &[], spared: "", counts: false, reason: "" }
}

impl Grant {
    /// Only to items with these partition keys.
    #[must_use]
    pub const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }

    /// Only without touching these attributes. It lists what to avoid and not what to use: then nothing depends on whether
    /// keys and returned items count as attributes.
    #[must_use]
    pub const fn sparing(mut self, attributes: &'static str) -> Self {
        self.spared = attributes;
        self
    }

    /// Only to count.
    #[must_use]
    pub const fn counting(mut self) -> Self {
        self.counts = true;
        self
    }

    /// Says why in the template.
    #[must_use]
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
}

/// What one call may use of DynamoDB at most, index included. States of ordinary length, in a room of 25 people who all have
/// an agent. The tests hold every function to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// So much.
    Units {
        /// Calls of DynamoDB.
        calls: usize,
        /// Read request units.
        reads: f64,
        /// Write request units.
        writes: f64,
    },
    /// It reads or writes whole tables.
    WholeTables,
}

/// What `events/` shows.
#[derive(Debug, Clone, Copy)]
pub enum Example {
    /// A request.
    Request {
        /// The path, if it is not the route with the usual ids.
        path: Option<&'static str>,
        /// The query, if there is one.
        query: &'static str,
        /// The body; empty if there is none.
        body: &'static str,
        /// The signature of the body, where there must be one.
        signature: Option<&'static str>,
    },
    /// What the schedule sends.
    Scheduled,
    /// What the WebSocket API sends, with this message; empty for what is no message.
    Message(&'static str),
    /// This event, as JSON.
    Event(&'static str),
    /// Changes of items of the state table, before and after, each as `DynamoDB`'s JSON.
    Changes(&'static [(Option<&'static str>, &'static str)]),
}

const NOTHING: Budget = Budget::Units { calls: 0, reads: 0.0, writes: 0.0 };

/// Declares an endpoint: `route!(PATCH "/api/users/{userId}/mute")`. `route!(GET, HEAD "…")` answers both alike.
macro_rules! route {
    ($($method:ident),+ $path:literal) => {
        $crate::function::Function::endpoint(&[
            $($crate::function::Trigger::Route { method: stringify!($method), path: $path }),+
        ])
    };
}
pub(crate) use route;

/// Declares a function that no request starts.
#[must_use]
pub const fn job(triggers: &'static [Trigger]) -> Function {
    Function { callers: Callers::Service, example: Example::Scheduled, ..Function::endpoint(triggers) }
}

/// Declares a function that answers WebSocket events. `message` is the message of its example. It is empty for `$connect` and
/// `$disconnect`, which come without one.
#[must_use]
pub const fn socket(triggers: &'static [Trigger], message: &'static str) -> Function {
    Function { callers: Callers::Anybody, example: Example::Message(message), ..Function::endpoint(triggers) }
}

impl Function {
    /// A function that answers requests of these routes; see [`route!`].
    pub(crate) const fn endpoint(triggers: &'static [Trigger]) -> Self {
        Self {
            triggers,
            callers: Callers::Person,
            class: None,
            grants: &[],
            budget: NOTHING,
            example: Example::Request { path: None, query: "", body: "", signature: None },
            statuses: (200, 200),
            described: Described {
                text: "",
                parameters: &[],
                momentary: false,
                takes: None,
                gives: [None; ANSWERS_MAX],
                refuses: &[],
            },
            properties: "",
        }
    }

    /// Whom its handler lets through; a person, if it is not said.
    #[must_use]
    pub const fn callers(mut self, callers: Callers) -> Self {
        self.callers = callers;
        self
    }

    /// Throttles its routes with those of another class than its callers and method make it.
    #[must_use]
    pub const fn throttled(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// What its role may do.
    #[must_use]
    pub const fn may(mut self, grants: &'static [Grant]) -> Self {
        self.grants = grants;
        self
    }

    /// What one call may use: calls of DynamoDB, read units, write units.
    #[must_use]
    pub const fn costs(mut self, calls: usize, reads: f64, writes: f64) -> Self {
        self.budget = Budget::Units { calls, reads, writes };
        self
    }

    /// It reads or writes whole tables.
    #[must_use]
    pub const fn whole_tables(mut self) -> Self {
        self.budget = Budget::WholeTables;
        self
    }

    /// The body of its example.
    #[must_use]
    pub const fn body(self, body: &'static str) -> Self {
        self.example("", body, None)
    }

    /// The body of its example, and the signature under it.
    #[must_use]
    pub const fn signed_body(self, body: &'static str, signature: &'static str) -> Self {
        self.example("", body, Some(signature))
    }

    /// The query of its example.
    #[must_use]
    pub const fn query(self, query: &'static str) -> Self {
        self.example(query, "", None)
    }

    const fn example(mut self, query: &'static str, body: &'static str, signature: Option<&'static str>) -> Self {
        self.example = Example::Request { path: None, query, body, signature };
        self
    }

    /// The status that answers its example, if it is not 200: on a table that holds its person, and once more after that.
    #[must_use]
    pub const fn answers(mut self, first: u16, again: u16) -> Self {
        self.statuses = (first, again);
        self
    }

    /// The path of its example, if it is not the route with the usual ids.
    #[must_use]
    pub const fn at(mut self, path: &'static str) -> Self {
        self.example = Example::Request { path: Some(path), query: "", body: "", signature: None };
        self
    }

    /// The event of its example, as JSON.
    #[must_use]
    pub const fn event(mut self, event: &'static str) -> Self {
        self.example = Example::Event(event);
        self
    }

    /// The changes that its example tells of.
    #[must_use]
    pub const fn changes(mut self, changes: &'static [(Option<&'static str>, &'static str)]) -> Self {
        self.example = Example::Changes(changes);
        self
    }

    /// How it behaves, in Markdown.
    #[must_use]
    pub const fn describes(mut self, text: &'static str) -> Self {
        self.described.text = text;
        self
    }

    /// Its parameters beside those of the path, the request id and `If-None-Match`.
    #[must_use]
    pub const fn parameters(mut self, names: &'static [&'static str]) -> Self {
        self.described.parameters = names;
        self
    }

    /// Its answer is about the moment, and is stored nowhere.
    #[must_use]
    pub const fn momentary(mut self) -> Self {
        self.described.momentary = true;
        self
    }

    /// The type of its body.
    #[must_use]
    pub const fn takes<T: JsonSchema>(mut self) -> Self {
        self.described.takes = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// The type of an answer if all is well, its status and its meaning.
    #[must_use]
    pub const fn gives<T: JsonSchema>(mut self, status: u16, meaning: &'static str) -> Self {
        let mut place = 0;
        // A declaration with more answers does not compile.
        while self.described.gives[place].is_some() {
            place += 1;
        }
        self.described.gives[place] = Some(Answer { status, meaning, schema: SchemaGenerator::subschema_for::<T> });
        self
    }

    /// Refusals that do not follow from the rest: status, response.
    #[must_use]
    pub const fn refuses(mut self, refusals: &'static [(u16, &'static str)]) -> Self {
        self.described.refuses = refusals;
        self
    }

    /// Further properties in the template, as YAML.
    #[must_use]
    pub const fn properties(mut self, yaml: &'static str) -> Self {
        self.properties = yaml;
        self
    }

    /// Its routes: method and path.
    pub fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Route { method, path } => Some((*method, *path)),
            Trigger::Schedule { .. } | Trigger::Message { .. } | Trigger::Stream => None,
        })
    }

    /// The class its routes are throttled with.
    #[must_use]
    pub fn class(&self) -> Class {
        let reads = self.routes().all(|(method, _)| method == "GET" || method == "HEAD");
        self.class.unwrap_or(match self.callers {
            Callers::Anybody | Callers::SelfProving(_) => Class::Anonymous,
            Callers::Person | Callers::Service if reads => Class::Read,
            Callers::Person | Callers::Service => Class::Write,
        })
    }
}

/// A declaration and where it stands.
#[derive(Debug)]
pub struct Declared {
    /// What calls it.
    pub kind: FunctionKind,
    /// The folder of its file.
    pub group: &'static str,
    /// The name of its file, binary, event and test.
    pub name: &'static str,
    /// What it says of itself.
    pub function: &'static Function,
}

impl Declared {
    pub(crate) const fn new(
        kind: FunctionKind,
        group: &'static str,
        name: &'static str,
        function: &'static Function,
    ) -> Self {
        Self { kind, group, name, function }
    }
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// With a request, by [`crate::serve`].
    Endpoint,
    /// With records of a stream, by [`crate::consume`].
    Consumer,
    /// With any event, by [`crate::serve_schedule`].
    Job,
    /// With an event of a WebSocket connection, by [`crate::serve_socket`].
    Socket,
}

/// The declaration of this name.
#[must_use]
pub fn declared(name: &str) -> Option<&'static Declared> {
    DECLARED.iter().find(|declared| declared.name == name)
}

/// Everything that answers a client, by the name of its binary, with its first route as the log's lines have it.
#[must_use]
pub fn described() -> Vec<(String, Box<str>)> {
    let routed = TRIGGERS.iter().filter_map(|(name, triggers)| {
        let route = match triggers.first()? {
            Trigger::Route { method, path } => route_key(method, path),
            Trigger::Message { route, .. } => socket_route(route),
            Trigger::Schedule { .. } | Trigger::Stream => return None,
        };
        Some(((*name).to_owned(), route.into()))
    });
    routed.collect()
}

/// A route of the WebSocket API as the log's lines have it: both APIs have a `$default`.
pub(crate) fn socket_route(route: &str) -> String {
    format!("WS {route}")
}

/// A route as API Gateway writes it.
#[must_use]
pub fn route_key(method: &str, path: &str) -> String {
    if path == "$default" { path.to_owned() } else { format!("{method} {path}") }
}
