//! The declaration of a function: its triggers, callers, permissions, budget and description.
//!
//! Each handler declares its `FUNCTION` beside its code. `cargo xtask docs` writes everything else from these
//! declarations: the functions in `template.yaml`, `events/`, the binaries, `docs/openapi.json`, `docs/endpoints.md`,
//! and the budgets in `docs/cost.md`. No function's binary links the declarations, except that the binary of
//! `get_metrics` links their triggers.

use crate::{DECLARED, TRIGGERS};
use domain::Limit;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// A function as its handler declares it.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its triggers. Empty: an operator invokes it by hand.
    pub triggers: &'static [Trigger],
    /// The callers that its handler accepts.
    pub callers: Callers,
    /// The throttling class of its routes, if it is not the usual one; see [`Function::class`].
    class: Option<Class>,
    /// The limits under which its handler counts calls.
    pub limits: &'static [Limit],
    /// Whether it takes an `Idempotency-Key`.
    pub once: bool,
    /// Whether it sends messages over WebSocket connections.
    pub live: bool,
    /// Its permissions, apart from those that its limits, its given answers and its messages need; see
    /// [`Function::grants`].
    own_grants: &'static [Grant],
    /// Its budget, apart from that of its limits, its given answers and its messages; see [`Function::budget`].
    own_budget: Budget,
    /// The event in `events/`.
    pub example: Example,
    /// The statuses that answer its example: the first time, on a table that holds its person, and the second time.
    pub statuses: (u16, u16),
    /// The parts of its description in `docs/openapi.json` that do not follow from the other fields.
    pub described: Described,
    /// Further properties of the function in `template.yaml`, as YAML.
    pub properties: &'static str,
}

/// The description of an endpoint in `docs/openapi.json`. The names of parameters and refusals are those of the
/// components in `infra/openapi.json`.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its behaviour, in Markdown.
    pub text: &'static str,
    /// Its parameters, except those of the path, the request id and `If-None-Match`.
    pub parameters: &'static [&'static str],
    /// Whether it ignores parameters of the query that it does not know, instead of refusing them.
    pub ignores_query: bool,
    /// Whether its answer holds only at this moment: a GET without `ETag`, or a write whose answer must not be stored.
    pub momentary: bool,
    /// The type of the body; none if it takes none.
    pub takes: Option<SchemaOf>,
    /// Whether the body may be left out.
    pub optional: bool,
    /// Its successful answers. All none: it is not written yet.
    pub gives: [Option<Answer>; ANSWERS_MAX],
    /// Refusals that do not follow from the other fields: status and response.
    pub refuses: &'static [(u16, &'static str)],
}

/// Returns the schema of a type, or a reference to it.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The most successful answers that an endpoint has.
const ANSWERS_MAX: usize = 2;

/// A successful answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its meaning.
    pub meaning: &'static str,
    /// The type of its body.
    pub schema: SchemaOf,
}

/// A trigger of a function.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    /// A request. `ANY` and `$default` stand for all requests that no other route takes.
    Route {
        /// `GET`, …
        method: &'static str,
        /// `/api/users/{userId}`, …
        path: &'static str,
    },
    /// A schedule.
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
    /// Records of the state table's stream; `infra/stream.yaml` maps them.
    Stream,
}

/// The callers that a handler accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Everybody, in strict mode too.
    Anybody,
    /// Everybody, in strict mode too, but the token of somebody in the room shows more. One that is sent must be valid.
    Visitor,
    /// Callers who prove their identity by the body itself. Holds the code of the refusal if they do not.
    SelfProving(&'static str),
    /// The participant whose own things these are. In open mode everybody without a token.
    Oneself,
    /// Everybody in the room. In open mode everybody without a token, unless somebody created the room.
    Member,
    /// The presenters of the room.
    Presenter,
    /// In open mode everybody without a token; in strict mode nobody, while no accounts exist.
    Administrator,
    /// AWS, and operators who may invoke functions; no client.
    Service,
}

/// Requests that are throttled alike; [`Class::parameter`] names their parameters in the template.
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
    /// Routes that read a whole table for every page.
    List,
    /// The page, which loads many files at once.
    Page,
}

impl Callers {
    /// Whether only a valid token lets somebody in, in strict mode.
    #[must_use]
    pub const fn need_token(self) -> bool {
        matches!(self, Self::Oneself | Self::Member | Self::Presenter | Self::Administrator)
    }
}

impl Class {
    /// The prefix of its parameters in the template, as in `WriteRate`.
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
    /// Actions in the form of IAM, such as `dynamodb:GetItem`.
    pub actions: &'static [&'static str],
    /// Resources in the form of the template, such as `!GetAtt StateTable.Arn`.
    pub resources: &'static [&'static str],
    /// Partition keys that it allows; a star stands for any ending. Empty: its calls name no key.
    pub keys: &'static [&'static str],
    /// Attributes that a write may not touch, separated by blanks; a star stands for any ending.
    pub spared: &'static str,
    /// Whether it allows nothing but counting.
    pub counts: bool,
    /// The reason, if it is not obvious: a comment in the template.
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
/// The open connections of the WebSocket API.
pub const CONNECTIONS: [&str; 2] = [
    "!Sub \"arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${SocketApi}/live/POST/@connections/*\"",
    "!Sub \"arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${SocketApi}/live/DELETE/@connections/*\"",
];
/// The snapshots in the bucket. In S3, only a star can express a prefix of names.
pub const SNAPSHOTS: &str = "!Sub \"${SnapshotBucket.Arn}/database-backups/*\"";

/// Finds the room of a slug. Every route with `{room}` takes one.
pub const FINDS_ROOM: Grant = allow(&["dynamodb:GetItem"], &[STATE]).keys(&["SLUG#*"]);

/// Finds the room of a slug, and looks whether the caller is still in the room.
pub const READS_ROOM: Grant = allow(&["dynamodb:GetItem"], &[STATE]).keys(&["SLUG#*", "USER#p_*"]);

/// Reads the key that signs tokens. Nobody but the functions that issue tokens may.
pub const SIGNING: Grant = allow(&["dynamodb:GetItem"], &[STATE]).keys(&["SIGNING#tokens"]);

/// Allows these actions on these resources.
#[must_use]
pub const fn allow(actions: &'static [&'static str], resources: &'static [&'static str]) -> Grant {
    Grant { actions, resources, keys: &[], spared: "", counts: false, reason: "" }
}

impl Grant {
    /// Limits the grant to items with these partition keys.
    #[must_use]
    pub const fn keys(mut self, keys: &'static [&'static str]) -> Self {
        self.keys = keys;
        self
    }

    /// Forbids these attributes. The list names the forbidden attributes and not the allowed ones, so it does not
    /// matter whether keys and returned items count as attributes.
    #[must_use]
    pub const fn sparing(mut self, attributes: &'static str) -> Self {
        self.spared = attributes;
        self
    }

    /// Limits the grant to counting.
    #[must_use]
    pub const fn counting(mut self) -> Self {
        self.counts = true;
        self
    }

    /// States the reason in the template.
    #[must_use]
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
}

/// The most that one call may use of DynamoDB, indexes included, for states of ordinary length in a room of 25 people
/// who all have an agent, with the token of one of them. A room that the path names by its slug costs one read of half a
/// unit more. The tests check every function against its budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// A fixed amount.
    Units {
        /// Calls of DynamoDB.
        calls: usize,
        /// Read request units.
        reads: f64,
        /// Write request units.
        writes: f64,
    },
    /// The function reads or writes whole tables.
    WholeTables,
}

/// The event in `events/`.
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
        /// The signature of the body, if the route requires one.
        signature: Option<&'static str>,
    },
    /// The event that the schedule sends.
    Scheduled,
    /// The event that the WebSocket API sends, with this message; empty for `$connect` and `$disconnect`.
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
            callers: Callers::Administrator,
            class: None,
            limits: &[],
            once: false,
            live: false,
            own_grants: &[],
            own_budget: NOTHING,
            example: Example::Request { path: None, query: "", body: "", signature: None },
            statuses: (200, 200),
            described: Described {
                text: "",
                parameters: &[],
                ignores_query: false,
                momentary: false,
                takes: None,
                optional: false,
                gives: [None; ANSWERS_MAX],
                refuses: &[],
            },
            properties: "",
        }
    }

    /// Sets the callers that its handler accepts. The default is an administrator.
    #[must_use]
    pub const fn callers(mut self, callers: Callers) -> Self {
        self.callers = callers;
        self
    }

    /// Throttles its routes with this class instead of the class that follows from its callers and methods.
    #[must_use]
    pub const fn throttled(mut self, class: Class) -> Self {
        self.class = Some(class);
        self
    }

    /// Sets the limits under which its handler counts calls, by [`within`](crate::limit::within) or
    /// [`guess`](crate::limit::guess). Their permissions, their part of the budget and their refusal follow.
    #[must_use]
    pub const fn limited(mut self, limits: &'static [Limit]) -> Self {
        self.limits = limits;
        self
    }

    /// Declares that it takes an `Idempotency-Key`, by [`Once`](crate::Once). Its permissions, its part of the budget, the
    /// parameter and its refusal follow. It needs a limit too, whose secret names callers without a token.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Declares that it sends messages over the connections of a room. Its permissions and its part of the budget follow.
    #[must_use]
    pub const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Sets the permissions of its role, apart from those that its limits, its given answers and its messages need.
    #[must_use]
    pub const fn may(mut self, grants: &'static [Grant]) -> Self {
        self.own_grants = grants;
        self
    }

    /// Sets the budget of one call, apart from its limits and its given answers: calls of DynamoDB, read units, write units.
    #[must_use]
    pub const fn costs(mut self, calls: usize, reads: f64, writes: f64) -> Self {
        self.own_budget = Budget::Units { calls, reads, writes };
        self
    }

    /// Declares that it reads or writes whole tables.
    #[must_use]
    pub const fn whole_tables(mut self) -> Self {
        self.own_budget = Budget::WholeTables;
        self
    }

    /// Sets the body of its example.
    #[must_use]
    pub const fn body(self, body: &'static str) -> Self {
        self.example("", body, None)
    }

    /// Sets the body of its example, and the signature of that body.
    #[must_use]
    pub const fn signed_body(self, body: &'static str, signature: &'static str) -> Self {
        self.example("", body, Some(signature))
    }

    /// Sets the query of its example.
    #[must_use]
    pub const fn query(self, query: &'static str) -> Self {
        self.example(query, "", None)
    }

    const fn example(mut self, query: &'static str, body: &'static str, signature: Option<&'static str>) -> Self {
        let path = match self.example {
            Example::Request { path, .. } => path,
            _ => None,
        };
        self.example = Example::Request { path, query, body, signature };
        self
    }

    /// Sets the statuses that answer its example, if they are not 200: the first time, on a table that holds its
    /// person, and the second time.
    #[must_use]
    pub const fn answers(mut self, first: u16, again: u16) -> Self {
        self.statuses = (first, again);
        self
    }

    /// Sets the path of its example, if it is not the route with the usual ids.
    #[must_use]
    pub const fn at(mut self, path: &'static str) -> Self {
        self.example = Example::Request { path: Some(path), query: "", body: "", signature: None };
        self
    }

    /// Sets the event of its example, as JSON.
    #[must_use]
    pub const fn event(mut self, event: &'static str) -> Self {
        self.example = Example::Event(event);
        self
    }

    /// Sets the changes that its example reports.
    #[must_use]
    pub const fn changes(mut self, changes: &'static [(Option<&'static str>, &'static str)]) -> Self {
        self.example = Example::Changes(changes);
        self
    }

    /// Describes its behaviour, in Markdown.
    #[must_use]
    pub const fn describes(mut self, text: &'static str) -> Self {
        self.described.text = text;
        self
    }

    /// Sets its parameters, except those of the path, the request id and `If-None-Match`.
    #[must_use]
    pub const fn parameters(mut self, names: &'static [&'static str]) -> Self {
        self.described.parameters = names;
        self
    }

    /// Declares that it ignores parameters of the query that it does not know. Everything else of the API refuses them.
    #[must_use]
    pub const fn ignores_query(mut self) -> Self {
        self.described.ignores_query = true;
        self
    }

    /// Declares that its answer holds only at this moment and must not be stored.
    #[must_use]
    pub const fn momentary(mut self) -> Self {
        self.described.momentary = true;
        self
    }

    /// Sets the type of its body.
    #[must_use]
    pub const fn takes<T: JsonSchema>(mut self) -> Self {
        self.described.takes = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// Sets the type of its body, which may be left out.
    #[must_use]
    pub const fn takes_if_any<T: JsonSchema>(mut self) -> Self {
        self.described.optional = true;
        self.takes::<T>()
    }

    /// Adds a successful answer: its type, its status and its meaning.
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

    /// Sets the refusals that do not follow from the other fields: status and response.
    #[must_use]
    pub const fn refuses(mut self, refusals: &'static [(u16, &'static str)]) -> Self {
        self.described.refuses = refusals;
        self
    }

    /// Sets further properties in the template, as YAML.
    #[must_use]
    pub const fn properties(mut self, yaml: &'static str) -> Self {
        self.properties = yaml;
        self
    }

    /// Whether it takes parameters in the query.
    #[must_use]
    pub const fn takes_query(&self) -> bool {
        let mut names = self.described.parameters;
        while let [name, rest @ ..] = names {
            // The only one that is a header.
            if !matches!(name.as_bytes(), b"IfMatch") {
                return true;
            }
            names = rest;
        }
        false
    }

    /// Whether every parameter of the query is refused. The page is no part of the API, and its links have a query.
    #[must_use]
    pub const fn takes_no_query(&self) -> bool {
        self.described.gives[0].is_some() && !self.takes_query() && !self.described.ignores_query
    }

    /// Its routes: method and path.
    pub fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Route { method, path } => Some((*method, *path)),
            Trigger::Schedule { .. } | Trigger::Message { .. } | Trigger::Stream => None,
        })
    }

    /// The permissions of its role, apart from writing its log.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        let of_limits = self.limits.iter().map(|limit| {
            let buckets = allow(&["dynamodb:UpdateItem"], &[STATE]);
            buckets.keys(buckets_of(*limit)).because("The buckets of its limit, and the day's secret for addresses.")
        });
        let of_answers = [allow(&["dynamodb:GetItem", "dynamodb:PutItem"], &[STATE])
            .keys(&["ONCE#*"])
            .because("What a request with an Idempotency-Key was answered.")];
        let of_answers = of_answers.into_iter().filter(|_| self.once);
        let of_messages = OF_MESSAGES.into_iter().filter(|_| self.live);
        self.own_grants.iter().copied().chain(of_limits).chain(of_answers).chain(of_messages)
    }

    /// The most that one call may use of DynamoDB. For a limit it counts the usual call, which finds a full bucket. A
    /// caller in a hurry costs one write more, and the first caller of a process in a day too.
    #[must_use]
    pub fn budget(&self) -> Budget {
        let Budget::Units { calls, reads, writes } = self.own_budget else { return Budget::WholeTables };
        let of_limits: u8 = self.limits.iter().copied().map(writes_of).sum();
        let Answered { calls: more, reads: read, writes: written } = if self.once { ANSWERED } else { Answered::NONE };
        // One query finds the connections of a room of 25.
        let (looks, looked) = if self.live { (1, 1.0) } else { (0, 0.0) };
        Budget::Units {
            calls: calls + usize::from(of_limits) + more + looks,
            reads: reads + read + looked,
            writes: writes + f64::from(of_limits) + written,
        }
    }

    /// The class with which its routes are throttled.
    #[must_use]
    pub fn class(&self) -> Class {
        let reads = self.routes().all(|(method, _)| method == "GET" || method == "HEAD");
        self.class.unwrap_or(match self.callers {
            Callers::Anybody | Callers::SelfProving(_) => Class::Anonymous,
            _ if reads => Class::Read,
            _ => Class::Write,
        })
    }
}

/// The partition keys that a limit needs. IAM takes patterns, so a function can spend from no other limit's buckets.
const fn buckets_of(limit: Limit) -> &'static [&'static str] {
    match limit {
        Limit::CreateRoom => &["LIMIT#key#*", "LIMIT#create_room#*"],
        Limit::Join => &["LIMIT#key#*", "LIMIT#join#*"],
        Limit::Message => &["LIMIT#key#*", "LIMIT#message#*"],
        Limit::Presence => &["LIMIT#key#*", "LIMIT#presence#*"],
        Limit::Other => &["LIMIT#key#*", "LIMIT#other#*"],
        Limit::WrongPassword => &["LIMIT#key#*", "LIMIT#wrong_password#*"],
    }
}

/// The permissions of a function that sends messages over WebSocket connections.
const OF_MESSAGES: [Grant; 3] = [
    allow(&["dynamodb:Query"], &[ROOM_INDEX]).because("The connections of a room."),
    allow(&["dynamodb:DeleteItem"], &[STATE]).keys(&["CONN#*"]).because("A connection that is not open any more."),
    allow(&["execute-api:ManageConnections"], &CONNECTIONS).because("Messages over connections."),
];

/// What given answers cost a call with an `Idempotency-Key`.
struct Answered {
    calls: usize,
    reads: f64,
    writes: f64,
}

impl Answered {
    const NONE: Self = Self { calls: 0, reads: 0.0, writes: 0.0 };
}

/// Without a token, two answers are looked for, each consistently. The record of an answer of up to two kilobytes is a
/// part of a transaction, where a write costs twice.
const ANSWERED: Answered = Answered { calls: 2, reads: 2.0, writes: 4.0 };

/// Writes for a limit: a password that turns out to be right gives its token back.
const fn writes_of(limit: Limit) -> u8 {
    match limit {
        Limit::WrongPassword => 2,
        Limit::CreateRoom | Limit::Join | Limit::Message | Limit::Presence | Limit::Other => 1,
    }
}

/// A declaration and its place in the code.
#[derive(Debug)]
pub struct Declared {
    /// How it is called.
    pub kind: FunctionKind,
    /// The folder of its file.
    pub group: &'static str,
    /// The name of its file, binary, event and test.
    pub name: &'static str,
    /// The declaration itself.
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

/// All functions that answer a client: the name of the binary, and the first route in the form of the log's lines.
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

/// A route of the WebSocket API in the form of the log's lines. The prefix is needed because both APIs have a
/// `$default`.
pub(crate) fn socket_route(route: &str) -> String {
    format!("WS {route}")
}

/// A route in the form of API Gateway.
#[must_use]
pub fn route_key(method: &str, path: &str) -> String {
    if path == "$default" { path.to_owned() } else { format!("{method} {path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_an_idempotency_key_has_a_limit() {
        for declared in DECLARED.iter().filter(|declared| declared.function.once) {
            assert!(!declared.function.limits.is_empty(), "{}", declared.name);
        }
    }

    #[test]
    fn an_idempotency_key_brings_its_permission_and_its_cost() {
        let plain = Function::endpoint(&[]).costs(1, 0.5, 2.0).limited(&[Limit::CreateRoom]);
        assert_eq!(plain.budget(), Budget::Units { calls: 2, reads: 0.5, writes: 3.0 });
        let once = plain.once();
        assert_eq!(once.budget(), Budget::Units { calls: 4, reads: 2.5, writes: 7.0 });
        let keys: Vec<_> = once.grants().map(|grant| grant.keys).collect();
        assert_eq!(keys, [["LIMIT#key#*", "LIMIT#create_room#*"].as_slice(), &["ONCE#*"]]);
    }

    #[test]
    fn a_limit_may_write_its_own_buckets_and_the_secrets() {
        for limit in Limit::ALL.iter().copied() {
            assert_eq!(buckets_of(limit), ["LIMIT#key#*".to_owned(), format!("LIMIT#{limit}#*")]);
        }
    }
}
