//! What the people of a room hear at once over their WebSocket connections.
//!
//! A connection that does not take a message is forgotten, so that its client opens another one and reads the room again.
//! A function may be stopped before it has sent everything. A client notices that by the numbers of the history; what has
//! no number stays lost. `docs/sockets.md` lists the events.

use crate::Context;
use domain::question::Question;
use domain::user::User;
use domain::{RoomId, Timestamp, UserId};
use futures_util::{StreamExt as _, stream};
use push::{Lost, Posts};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::dynamodb::{Changed, Connection};
use telemetry::Chain;

/// Connections that get their messages at once.
const AT_ONCE: usize = 32;
/// Connections that a person may have: one for each of a few tabs and devices.
const CONNECTIONS_MAX: usize = 3;
/// A connection that is not open may still be opening for so long.
const OPENING: Duration = Duration::from_secs(5);
/// The longest message with several events, in bytes. The gateway takes 128 KB.
const TEXT_BYTES_MAX: usize = 100_000;
/// Longest time in which the people of a batch are told. The history goes on after it.
const TELLING_MAX: Duration = Duration::from_secs(5);
/// A renewal that comes so shortly before the end of the lease is told at once.
const NEARLY_OVER: Duration = Duration::from_secs(13);
/// Renewals of a room are sent together, usually once in this time.
pub const RENEWALS_EVERY: Duration = Duration::from_secs(10);
/// Rooms whose renewals a process remembers, and for how long if there are so many.
const ROOMS_MAX: usize = 2_000;
const OLD: Duration = Duration::from_mins(1);

/// The open connections, and what still has to be sent over them.
#[derive(Debug, Clone)]
pub struct Live {
    posts: Arc<dyn Posts>,
    renewals: Arc<Mutex<HashMap<RoomId, Renewals>>>,
}

/// What has been renewed in a room since the last message about it.
#[derive(Debug, Default)]
struct Renewals {
    sent_at: Option<Timestamp>,
    verdicts: Map<String, Value>,
    /// The versions of the states to which these verdicts belong.
    versions: Map<String, Value>,
    leases: Map<String, Value>,
}

/// A message that the server sends by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Frame<'a> {
    event: &'static str,
    room: &'a RoomId,
    at: Timestamp,
    /// The number of the change in the history of the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    data: Value,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(event: &'static str, room: &'a RoomId, at: Timestamp, data: Value) -> Self {
        Self { event, room, at, seq: None, data }
    }
}

/// A message that the server sends by itself, as `docs/asyncapi.json` describes it.
#[derive(Debug)]
pub struct Sent {
    /// Its event.
    pub event: &'static str,
    /// When it is sent.
    pub meaning: &'static str,
    /// Whether it is about a person, and may have a number of the history.
    pub of_history: bool,
    /// The members of its data, with their schemas in `docs/openapi.json`.
    pub data: &'static [(&'static str, Schema)],
}

/// A schema of `docs/openapi.json`.
#[derive(Debug, Clone, Copy)]
pub enum Schema {
    /// As it is.
    Of(&'static str),
    /// Some of its members.
    Part(&'static str),
    /// Without this member, which is each reader's own.
    Without(&'static str, &'static str),
    /// An object with such values, by a person's id.
    ById(&'static str),
    /// An object with numbers, by a person's id.
    Numbers,
    /// One of these words.
    Word(&'static [&'static str]),
}

const fn sent(event: &'static str, meaning: &'static str, data: &'static [(&'static str, Schema)]) -> Sent {
    Sent { event, meaning, of_history: false, data }
}

const fn of_history(event: &'static str, meaning: &'static str, data: &'static [(&'static str, Schema)]) -> Sent {
    Sent { event, meaning, of_history: true, data }
}

const PERSON: &[(&str, Schema)] = &[("userId", Schema::Of("UserId")), ("user", Schema::Of("UserState"))];
const LEFT: &[(&str, Schema)] = &[
    ("userId", Schema::Of("UserId")),
    ("participantId", Schema::Of("UserId")),
    ("reason", Schema::Word(&["left", "removed", "lapsed"])),
];
const QUESTION: &[(&str, Schema)] = &[("question", Schema::Without("Question", "hasVoted"))];
const RENEWED: &[(&str, Schema)] =
    &[("verdicts", Schema::ById("Verdicts")), ("versions", Schema::Numbers), ("leases", Schema::ById("Timestamp"))];
const REASONS: Schema = Schema::Word(&["left", "removed", "lapsed", "ended", "replaced", "restart"]);

/// All messages that the server sends by itself.
pub static SENT: &[Sent] = &[
    of_history("participant-joined", "Somebody came into the room, or is back after a silence.", PERSON),
    of_history("participant-left", "Somebody is not in the room any more.", LEFT),
    of_history("user-state-changed", "Somebody claims another mute or another device.", PERSON),
    of_history("verdict-changed", "There is another verdict on somebody's claim.", PERSON),
    of_history("participant-updated", "Anything else about somebody has changed: hand, name, role, agent.", PERSON),
    sent(
        "verdicts-renewed",
        "Until when verdicts hold and people are present that were renewed. A room usually gets it once in 10 s.",
        RENEWED,
    ),
    sent("lobby-updated", "Who waits in the lobby has changed. Presenters read the room to see it.", &[]),
    sent(
        "room-updated",
        "A presenter has changed the room, or asks everybody to mute.",
        &[("room", Schema::Part("Room"))],
    ),
    sent("new-chat-message", "Somebody has written, the reader included.", &[("message", Schema::Of("Message"))]),
    sent("new-question", "Somebody has asked.", QUESTION),
    sent("question-updated", "A question has other votes, or is pinned, open or answered.", QUESTION),
    sent("question-answered", "A question has a written answer.", QUESTION),
    sent("question-removed", "A question was removed.", &[("questionId", Schema::Of("QuestionId"))]),
    sent("room-ended", "The room has ended. The connection is closed after it.", &[]),
    sent("removed", "A presenter has removed the reader. The connection is closed after it.", &[("reason", REASONS)]),
    sent("bye", "The connection is closed after it.", &[("reason", REASONS)]),
];

impl Live {
    /// Messages that `posts` sends.
    #[must_use]
    pub fn new(posts: impl Posts + 'static) -> Self {
        Self { posts: Arc::new(posts), renewals: Arc::default() }
    }

    /// Takes in a change. Returns all renewals of the room if they are due. `is_told`: another message holds the person.
    fn renewed(&self, changed: &Changed, is_told: bool, now: Timestamp) -> Option<Value> {
        let mut renewals = self.renewals.lock().unwrap_or_else(PoisonError::into_inner);
        if renewals.len() >= ROOMS_MAX {
            renewals.retain(|_, of_room| of_room.sent_at.is_some_and(|sent_at| sent_at.plus(OLD) > now));
        }
        let of_room = renewals.entry(changed.room.clone()).or_default();
        let id = changed.user_id.as_str();
        if is_told || changed.new.is_none() {
            of_room.verdicts.remove(id);
            of_room.versions.remove(id);
            of_room.leases.remove(id);
        }
        let new = changed.new.as_ref()?;
        if let Some(until) = new.lease_until.filter(|until| *until > now) {
            of_room.leases.insert(id.to_owned(), value(&until));
        }
        if !is_told && changed.old.as_ref().is_none_or(|old| old.verdict != new.verdict) {
            of_room.verdicts.insert(id.to_owned(), value(&new.verdict));
            of_room.versions.insert(id.to_owned(), value(&new.version));
        }
        let is_late = |old: &User| old.lease_until.is_some_and(|until| until < now.plus(NEARLY_OVER));
        let is_due = of_room.sent_at.is_none_or(|sent_at| sent_at.plus(RENEWALS_EVERY) <= now)
            || changed.old.as_ref().is_some_and(is_late);
        if !is_due || (of_room.verdicts.is_empty() && of_room.leases.is_empty()) {
            return None;
        }
        let Renewals { verdicts, versions, leases, .. } =
            std::mem::replace(of_room, Renewals { sent_at: Some(now), ..Renewals::default() });
        Some(json!({"verdicts": verdicts, "versions": versions, "leases": leases}))
    }

    fn forget(&self, room: &RoomId) {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).remove(room);
    }
}

impl Context {
    /// Tells everybody in a room. A failure is only logged, because the change itself is stored.
    pub(crate) async fn tell(&self, frame: &Frame<'_>) {
        let Some(live) = &self.live else { return };
        let (connections, texts) = (self.connections_in(frame.room).await, [text(frame)]);
        let mut each = Vec::with_capacity(connections.len());
        for connection in &connections {
            each.push(self.send_over(live, connection, &texts));
        }
        together(each).await;
    }

    /// Tells the people of rooms what the records of a batch have changed there, and closes the connections of those who
    /// are not there any more. The history does not wait for it for long.
    pub(crate) async fn tell_changes(&self, changes: &[Changed]) {
        let Some(live) = &self.live else { return };
        let mut rooms: Vec<(&RoomId, Vec<&Changed>)> = Vec::new();
        for changed in changes {
            match rooms.iter_mut().find(|(room, _)| *room == &changed.room) {
                Some((_, of_room)) => of_room.push(changed),
                None => rooms.push((&changed.room, vec![changed])),
            }
        }
        let mut each = Vec::with_capacity(rooms.len());
        for (room, of_room) in rooms {
            each.push(self.tell_changes_of(live, room, of_room));
        }
        if tokio::time::timeout(TELLING_MAX, together(each)).await.is_err() {
            tracing::warn!("the people of a batch could not all be told in time");
        }
    }

    async fn tell_changes_of(&self, live: &Live, room: &RoomId, changes: Vec<&Changed>) {
        let now = (self.clock)();
        let frames: Vec<_> = changes.iter().flat_map(|changed| frames(live, changed, now)).collect();
        if frames.is_empty() {
            return;
        }
        let texts = texts(&frames);
        let mut each = Vec::new();
        for connection in self.connections_in(room).await {
            let of_person = changes.iter().filter(|changed| changed.user_id == connection.participant);
            let reason = of_person.filter_map(|changed| left(changed)).next_back();
            each.push(self.send_or_dismiss(live, room, connection, &texts, reason));
        }
        together(each).await;
    }

    /// Sends these messages, or closes the connection for a reason.
    async fn send_or_dismiss(
        &self,
        live: &Live,
        room: &RoomId,
        connection: Connection,
        texts: &[String],
        reason: Option<&'static str>,
    ) {
        match reason {
            Some(reason) => self.dismiss(live, &connection, room, reason).await,
            None => self.send_over(live, &connection, texts).await,
        }
    }

    /// Closes the connections of somebody who is not in the room any more.
    pub(crate) async fn dismiss_person(&self, room: &RoomId, person: &UserId, reason: &'static str) {
        let Some(live) = &self.live else { return };
        for connection in self.connections_of(room, person).await {
            self.dismiss(live, &connection, room, reason).await;
        }
    }

    /// Closes the oldest connections of a person who has too many.
    pub(crate) async fn replace_connections(&self, room: &RoomId, person: &UserId) {
        let Some(live) = &self.live else { return };
        let mut own = self.connections_of(room, person).await;
        own.sort_by_key(|connection| connection.epoch);
        for connection in own.iter().take(own.len().saturating_sub(CONNECTIONS_MAX)) {
            self.dismiss(live, connection, room, "replaced").await;
        }
    }

    /// Tells everybody that the room has ended, and closes their connections.
    pub(crate) async fn tell_end(&self, room: &RoomId) {
        let Some(live) = &self.live else { return };
        live.forget(room);
        let ended = [text(&Frame::new("room-ended", room, (self.clock)(), json!({})))];
        let mut each = Vec::new();
        for connection in self.connections_in(room).await {
            each.push(self.tell_end_over(live, room, connection, &ended));
        }
        together(each).await;
    }

    async fn tell_end_over(&self, live: &Live, room: &RoomId, connection: Connection, ended: &[String]) {
        self.send_over(live, &connection, ended).await;
        self.dismiss(live, &connection, room, "ended").await;
    }

    /// The connections of the people in a room; none if they cannot be read.
    async fn connections_in(&self, room: &RoomId) -> Vec<Connection> {
        let found = self.connections.in_room(room, (self.clock)()).await;
        found.unwrap_or_else(|error| {
            warn(&error, "failed to read the connections of a room");
            Vec::new()
        })
    }

    /// The connections of one person in a room.
    async fn connections_of(&self, room: &RoomId, person: &UserId) -> Vec<Connection> {
        let mut own = self.connections_in(room).await;
        own.retain(|connection| connection.participant == *person);
        own
    }

    /// Sends messages over a connection, in this order.
    async fn send_over(&self, live: &Live, connection: &Connection, texts: &[String]) {
        for text in texts {
            match live.posts.post(&connection.id, text).await {
                Ok(()) => {}
                Err(Lost::Gone) => return self.remove(connection).await,
                // Its next ping is refused: the client opens another connection, and reads the room again.
                Err(error) => {
                    warn(&error, "failed to send a message over a connection");
                    return self.delete(connection).await;
                }
            }
        }
    }

    /// Says why, and closes a connection.
    async fn dismiss(&self, live: &Live, connection: &Connection, room: &RoomId, reason: &str) {
        let event = if reason == "removed" { "removed" } else { "bye" };
        let last = text(&Frame::new(event, room, (self.clock)(), json!({"reason": reason})));
        let said = live.posts.post(&connection.id, &last).await;
        // A connection that is gone already needs no close.
        if !matches!(said, Err(Lost::Gone))
            && let Err(Lost::Failed(error)) = live.posts.close(&connection.id).await
        {
            warn(&*error, "failed to close a connection");
        }
        self.delete(connection).await;
    }

    /// Removes a connection that the gateway does not know, unless it may still be opening.
    async fn remove(&self, connection: &Connection) {
        if connection.epoch.plus(OPENING) < (self.clock)() {
            self.delete(connection).await;
        }
    }

    async fn delete(&self, connection: &Connection) {
        if let Err(error) = self.connections.close(&connection.id, connection.epoch).await {
            warn(&error, "failed to remove a connection");
        }
    }
}

/// Does this for many connections, for some of them at once.
async fn together(each: Vec<impl Future<Output = ()>>) {
    stream::iter(each).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

fn warn(error: &(dyn std::error::Error + 'static), message: &'static str) {
    tracing::warn!(error = %Chain(error), "{message}");
}

fn value(data: &impl Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_default()
}

fn text(frame: &Frame<'_>) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

/// Why a person has left the room by this change; none if they have not.
fn left(changed: &Changed) -> Option<&'static str> {
    if changed.of_lobby || changed.new.is_some() || changed.old.is_none() {
        return None;
    }
    Some(match changed.by.split_once(':') {
        Some(("person", id)) if id != changed.user_id.as_str() => "removed",
        None if changed.by == "service" => "lapsed",
        // A deletion leaves no state that says who made it.
        _ => "left",
    })
}

/// The texts of messages: one event each, or several in a list.
fn texts(frames: &[Frame<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut parts: Vec<String> = frames.iter().map(text).collect();
    if parts.len() == 1 {
        return parts;
    }
    while !parts.is_empty() {
        let mut bytes = 0;
        let fits = parts.iter().take_while(|part| {
            bytes += part.len() + 1;
            bytes <= TEXT_BYTES_MAX
        });
        let count = fits.count().max(1);
        let rest = parts.split_off(count);
        texts.push(format!("[{}]", parts.join(",")));
        parts = rest;
    }
    texts
}

/// The events of a change, in the order of the history.
fn frames<'a>(live: &Live, changed: &'a Changed, now: Timestamp) -> Vec<Frame<'a>> {
    let Changed { room, at, user_id, .. } = changed;
    let gone = |reason: &str| json!({"userId": user_id, "participantId": user_id, "reason": reason});
    let numbered = changed.entries.iter().map(|entry| {
        let data = match (left(changed), &changed.new) {
            (None, Some(user)) => json!({"userId": user_id, "user": user}),
            (reason, _) => gone(reason.unwrap_or("left")),
        };
        Frame { event: event_of(&entry.action), room, at: *at, seq: Some(entry.seq), data }
    });
    let mut frames: Vec<_> = numbered.collect();
    if changed.of_lobby {
        frames.push(Frame::new("lobby-updated", room, *at, json!({})));
    }
    // The time of a record has whole seconds on AWS, so presence is compared with the clock.
    let is_here = |user: &Option<User>| user.as_ref().is_some_and(|user| user.is_present(now));
    match (&changed.old, &changed.new) {
        (_, None) if frames.is_empty() => {
            frames.push(Frame::new("participant-left", room, *at, gone(left(changed).unwrap_or("left"))));
        }
        (Some(_), Some(_)) if !is_here(&changed.new) && lease_ended(changed) => {
            frames.push(Frame::new("participant-left", room, now, gone("lapsed")));
        }
        (old, Some(user)) if !is_here(old) && is_here(&changed.new) && changed.entries.is_empty() => {
            frames.push(about("participant-joined", room, *at, user));
        }
        (Some(old), Some(user)) if frames.is_empty() && shown(old) != shown(user) => {
            frames.push(about("participant-updated", room, *at, user));
        }
        _ => {}
    }
    let is_told = frames.iter().any(|frame| frame.event != "lobby-updated");
    frames.extend(live.renewed(changed, is_told, now).map(|data| Frame::new("verdicts-renewed", room, now, data)));
    frames
}

/// Whether the change itself has ended the lease, as a page does that closes.
fn lease_ended(changed: &Changed) -> bool {
    let until = |user: &Option<User>| user.as_ref().and_then(|user| user.lease_until);
    until(&changed.new) < until(&changed.old)
}

fn about<'a>(event: &'static str, room: &'a RoomId, at: Timestamp, user: &User) -> Frame<'a> {
    Frame::new(event, room, at, json!({"userId": user.user_id, "user": user}))
}

/// What others see of a person, but the verdicts, whose times change with each measurement.
fn shown(user: &User) -> Value {
    let mut shown = value(user);
    if let Some(members) = shown.as_object_mut() {
        members.remove("verdict");
    }
    shown
}

/// A message about a question as everybody sees it: whether somebody has voted for it is theirs.
pub(crate) fn about_question<'a>(
    event: &'static str,
    room: &'a RoomId,
    at: Timestamp,
    question: &Question,
) -> Frame<'a> {
    let mut question = value(question);
    if let Some(members) = question.as_object_mut() {
        members.remove("hasVoted");
    }
    Frame::new(event, room, at, json!({"question": question}))
}

/// The event for an action of the history. The two vocabularies meet only here.
fn event_of(action: &str) -> &'static str {
    match action {
        "joined" => "participant-joined",
        "left" => "participant-left",
        "verdict_changed" => "verdict-changed",
        "mute_changed" | "device_changed" => "user-state-changed",
        // An agent was paired, revoked or detached.
        _ => "participant-updated",
    }
}
