//! `kill -9` while people use rooms that somebody created: what was acknowledged is stored, nothing is stored in part,
//! and a room that ends is forgotten and counted once.

use super::wire::Wire;
use crate::support::witness::engine;
use crate::support::{Reply, Runner, await_that, refused};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const KILLS: usize = 20;
const CLIENTS: usize = 4;
/// Acknowledgements between two kills.
const ACKNOWLEDGED: std::ops::Range<usize> = 20..80;
/// Rooms and joins of one client between two kills: all of them stay within the limits of their one address.
const ROOMS_MAX: usize = 2;
const JOINS_MAX: usize = 12;

/// What a request does if it takes effect. People and questions are named by their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Act {
    Create { lobby: bool },
    Join,
    Post,
    Ask,
    Vote(String),
    Withdraw(String),
    Answer(String),
    RemoveQuestion(String),
    Admit(String),
    Remove(String),
    SetRole(String, &'static str),
    Leave,
    End,
}

impl Act {
    fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Join => "join",
            Self::Post => "post",
            Self::Ask => "ask",
            Self::Vote(_) => "vote",
            Self::Withdraw(_) => "withdraw",
            Self::Answer(_) => "answer",
            Self::RemoveQuestion(_) => "remove a question",
            Self::Admit(_) => "admit",
            Self::Remove(_) => "remove",
            Self::SetRole(..) => "set a role",
            Self::Leave => "leave",
            Self::End => "end",
        }
    }
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
struct Sent {
    /// The client who sends it.
    client: usize,
    act: Act,
    /// The room, and the person who acts there; empty if there is none yet.
    room: String,
    person: String,
    token: String,
    key: Option<String>,
}

impl Sent {
    fn method(&self) -> &'static str {
        match self.act {
            Act::Vote(_) => "PUT",
            Act::Withdraw(_) | Act::End => "DELETE",
            Act::RemoveQuestion(_) | Act::Admit(_) | Act::Remove(_) | Act::SetRole(..) => "PATCH",
            Act::Create { .. } | Act::Join | Act::Post | Act::Ask | Act::Answer(_) | Act::Leave => "POST",
        }
    }

    fn path(&self) -> String {
        let room = format!("/api/rooms/{}", self.room);
        match &self.act {
            Act::Create { .. } => "/api/rooms".to_owned(),
            Act::Join => format!("{room}/join"),
            Act::Post => format!("{room}/messages"),
            Act::Ask => format!("{room}/questions"),
            Act::Vote(question) | Act::Withdraw(question) => format!("{room}/questions/{question}/vote"),
            Act::Answer(question) => format!("{room}/questions/{question}/answer"),
            Act::RemoveQuestion(question) => format!("{room}/questions/{question}"),
            Act::Admit(person) | Act::Remove(person) | Act::SetRole(person, _) => {
                format!("{room}/participants/{person}")
            }
            Act::Leave => format!("{room}/leave"),
            Act::End => room,
        }
    }

    fn body(&self) -> Value {
        match &self.act {
            Act::Create { lobby } => json!({
                "title": "Weekly review", "presenterName": "Ada", "maxParticipants": 1000, "settings": {"lobby": lobby},
            }),
            Act::Join => json!({"name": "Grace"}),
            Act::Post => json!({"message": "Can everybody hear me?"}),
            Act::Ask => json!({"question": "Will there be a recording?"}),
            Act::Answer(_) => json!({"answer": "Yes."}),
            Act::RemoveQuestion(_) | Act::Remove(_) => json!({"removed": true}),
            Act::Admit(_) => json!({"admitted": true}),
            Act::SetRole(_, role) => json!({"role": role}),
            Act::Vote(_) | Act::Withdraw(_) | Act::Leave | Act::End => json!({}),
        }
    }

    /// Its headers, but those of its body.
    fn headers(&self) -> Vec<(&'static str, String)> {
        let token = Some(format!("Bearer {}", self.token)).filter(|_| !self.token.is_empty());
        let token = token.map(|token| ("authorization", token));
        token.into_iter().chain(self.key.clone().map(|key| ("idempotency-key", key))).collect()
    }

    fn on(&self, wire: &mut Wire) {
        let lines = self
            .headers()
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), ": ".to_owned(), value, "\r\n".to_owned()]);
        let headers: String = lines.collect();
        wire.request(self.method(), &self.path(), &headers, &self.body().to_string());
    }

    fn to(&self, runner: &Runner) -> Reply {
        let headers = self.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        patiently(|| runner.send_json(self.method(), &self.path(), &headers, self.body()))
    }
}

/// Sends a request until the answer is another than 503, which a busy machine gives after some seconds.
fn patiently(send: impl Fn() -> Reply) -> Reply {
    let reply = std::cell::RefCell::new(send());
    await_that("an answer other than 503", || {
        let is_busy = reply.borrow().status == 503;
        if is_busy {
            reply.replace(send());
        }
        !is_busy
    });
    reply.into_inner()
}

/// What the clients know, because it was acknowledged.
#[derive(Default)]
struct Known {
    rooms: BTreeMap<String, Room>,
    /// Requests with a key, and their answers.
    answered: Vec<(Sent, u16, String)>,
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Default)]
struct Room {
    /// The client who created it, and the presenter.
    client: usize,
    presenter: String,
    has_ended: bool,
    people: BTreeMap<String, Person>,
    messages: BTreeSet<String>,
    questions: BTreeMap<String, Question>,
    /// By voter and question: whether the vote stands.
    votes: BTreeMap<(String, String), bool>,
}

struct Person {
    client: usize,
    token: String,
    is_waiting: bool,
    is_gone: bool,
    role: &'static str,
}

struct Question {
    author: String,
    is_answered: bool,
    is_removed: bool,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

impl Known {
    /// Notes a request that took effect.
    fn acknowledge(&mut self, sent: &Sent, status: u16, answer: &str) {
        *self.counts.entry(sent.act.name()).or_default() += 1;
        let body: Value = serde_json::from_str(answer).unwrap();
        if sent.key.is_some() {
            self.answered.push((sent.clone(), status, answer.to_owned()));
        }
        let person = |token: &str, role| Person {
            client: sent.client,
            token: text(&body[token]),
            is_waiting: status == 202,
            is_gone: false,
            role,
        };
        if matches!(sent.act, Act::Create { .. }) {
            let presenter = text(&body["participantId"]);
            let people = BTreeMap::from([(presenter.clone(), person("presenterToken", "presenter"))]);
            let room = Room { client: sent.client, presenter, people, ..Room::default() };
            assert!(self.rooms.insert(text(&body["roomId"]), room).is_none(), "an id of a room came twice");
            return;
        }
        let room = self.rooms.get_mut(&sent.room).unwrap();
        match &sent.act {
            Act::Create { .. } => unreachable!("see above"),
            Act::Join => _ = room.people.insert(text(&body["participantId"]), person("token", "attendee")),
            Act::Post => assert!(room.messages.insert(text(&body["message"]["id"])), "an id of a message came twice"),
            Act::Ask => {
                let asked = Question { author: sent.person.clone(), is_answered: false, is_removed: false };
                assert!(room.questions.insert(text(&body["questionId"]), asked).is_none(), "an id came twice");
            }
            Act::Vote(id) => _ = room.votes.insert((sent.person.clone(), id.clone()), true),
            Act::Withdraw(id) => _ = room.votes.insert((sent.person.clone(), id.clone()), false),
            Act::Answer(id) => room.questions.get_mut(id).unwrap().is_answered = true,
            Act::RemoveQuestion(id) => room.questions.get_mut(id).unwrap().is_removed = true,
            Act::Admit(id) => room.people.get_mut(id).unwrap().is_waiting = false,
            Act::Remove(id) => room.people.get_mut(id).unwrap().is_gone = true,
            Act::SetRole(id, role) => room.people.get_mut(id).unwrap().role = role,
            Act::Leave => room.people.get_mut(&sent.person).unwrap().is_gone = true,
            Act::End => room.has_ended = true,
        }
    }

    /// Rooms that have not ended, as far as anybody knows.
    fn active(&self) -> impl Iterator<Item = (&String, &Room)> {
        self.rooms.iter().filter(|(_, room)| !room.has_ended)
    }
}

/// One client between two kills. It acts as every person who joined through it.
struct Client<'a> {
    number: usize,
    rng: fastrand::Rng,
    known: &'a Mutex<Known>,
    acknowledged: &'a AtomicUsize,
    rooms_left: usize,
    joins_left: usize,
}

impl Client<'_> {
    /// Sends requests until the connection breaks. Returns the one that nobody has answered.
    fn run(mut self, url: &str) -> Option<Sent> {
        let mut wire = Wire::try_open(url).ok()?;
        loop {
            let sent = self.next();
            sent.on(&mut wire);
            let Some(answer) = wire.answer_if_whole() else { return Some(sent) };
            let body = String::from_utf8(answer.body).unwrap();
            match answer.status {
                200..=202 => self.known.lock().unwrap().acknowledge(&sent, answer.status, &body),
                // Another client was faster: the person, the question or the room is gone.
                401 | 403 | 404 | 409 | 410 => {}
                // The machine is busy, and nobody knows whether this has happened. The kill may come.
                503 => {
                    self.acknowledged.fetch_add(ACKNOWLEDGED.end, Ordering::Relaxed);
                    return Some(sent);
                }
                status => panic!("{status} to {sent:?}: {body}"),
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn any<T>(&mut self, choices: impl IntoIterator<Item = T>) -> Option<T> {
        self.rng.choice(choices.into_iter().collect::<Vec<_>>())
    }

    fn next(&mut self) -> Sent {
        let known = self.known;
        let known = known.lock().unwrap();
        let key = Some(format!("key-{:032x}", self.rng.u128(..)));
        let number = self.number;
        let Some((own, room)) = known.active().find(|(_, room)| room.client == number) else {
            assert!(self.rooms_left > 0, "a client has too many rooms");
            self.rooms_left -= 1;
            let act = Act::Create { lobby: self.rng.bool() };
            return Sent { client: number, act, room: String::new(), person: String::new(), token: String::new(), key };
        };
        let by = |room: &str, id: &str, token: &str, act, key| Sent {
            client: number,
            act,
            room: room.to_owned(),
            person: id.to_owned(),
            token: token.to_owned(),
            key,
        };
        let guests = || room.people.iter().filter(|(id, person)| **id != room.presenter && !person.is_gone);
        let host = |act| by(own, &room.presenter, &room.people[&room.presenter].token, act, None);
        // Somebody of this client, anywhere.
        let mine = known.active().flat_map(|(id, room)| room.people.iter().map(move |person| (id, room, person)));
        let mine = mine.filter(|(_, _, (_, person))| person.client == number && !person.is_gone);
        let (place, there, (me, person)) = self.any(mine).unwrap();
        let i = |act, key| by(place, me, &person.token, act, key);
        let sent = match self.rng.u8(0..100) {
            0..12 => Some(i(Act::Ask, key.clone())),
            12..34 => self.any(there.questions.keys()).map(|id| {
                let stands = there.votes.get(&(me.clone(), id.clone())).is_some_and(|stands| *stands);
                i(if stands { Act::Withdraw(id.clone()) } else { Act::Vote(id.clone()) }, None)
            }),
            34..38 => {
                let of_mine = there.questions.iter().filter(|(_, question)| question.author == *me);
                self.any(of_mine).map(|(id, _)| i(Act::RemoveQuestion(id.clone()), None))
            }
            38..54 if self.joins_left > 0 => {
                self.joins_left -= 1;
                self.any(known.active()).map(|(id, _)| by(id, "", "", Act::Join, key.clone()))
            }
            54..62 => {
                self.any(guests().filter(|(_, person)| person.is_waiting)).map(|(id, _)| host(Act::Admit(id.clone())))
            }
            62..66 => self.any(room.questions.keys()).map(|id| host(Act::Answer(id.clone()))),
            66..71 => self.any(guests()).map(|(id, person)| {
                let role = if person.role == "presenter" { "attendee" } else { "presenter" };
                host(Act::SetRole(id.clone(), role))
            }),
            71..74 => Some(i(Act::Leave, None)).filter(|_| *me != there.presenter),
            74..78 => self.any(guests()).map(|(id, _)| host(Act::Remove(id.clone()))),
            78..81 if self.rooms_left > 0 => Some(host(Act::End)),
            _ => None,
        };
        sent.unwrap_or_else(|| i(Act::Post, key.clone()))
    }
}

/// The items of a room.
#[derive(Default)]
struct Stored {
    room: Value,
    people: BTreeMap<String, Value>,
    messages: BTreeSet<String>,
    questions: BTreeMap<String, Value>,
    votes: BTreeSet<(String, String)>,
}

/// All items of the state table.
fn scan(runner: &Runner) -> Vec<Value> {
    let mut items = Vec::new();
    let mut query = json!({"TableName": "greenroom-state"});
    loop {
        let mut page = engine(runner, "Scan", &query);
        items.append(page["Items"].as_array_mut().unwrap());
        match page.get("LastEvaluatedKey") {
            Some(key) => query["ExclusiveStartKey"] = key.clone(),
            None => return items,
        }
    }
}

fn keys_of(item: &Value) -> (&str, &str) {
    (item["pk"]["S"].as_str().unwrap(), item["sk"]["S"].as_str().unwrap())
}

fn stored(items: Vec<Value>) -> BTreeMap<String, Stored> {
    let mut rooms: BTreeMap<String, Stored> = BTreeMap::new();
    for item in items {
        let (pk, sk) = keys_of(&item);
        if let (Some(person), Some(room)) = (pk.strip_prefix("USER#"), item["roomId"]["S"].as_str()) {
            rooms.entry(room.to_owned()).or_default().people.insert(person.to_owned(), item);
            continue;
        }
        let Some(room) = pk.strip_prefix("ROOM#") else { continue };
        let room = rooms.entry(room.to_owned()).or_default();
        if let Some(id) = sk.strip_prefix("MSG#") {
            room.messages.insert(id.to_owned());
        } else if let Some((person, question)) = sk.strip_prefix("VOTE#").and_then(|vote| vote.split_once('#')) {
            room.votes.insert((person.to_owned(), question.to_owned()));
        } else if let Some(id) = sk.strip_prefix("Q#").map(str::to_owned) {
            room.questions.insert(id, item);
        } else {
            assert_eq!(sk, "META", "an item that no test knows: {item}");
            room.room = item;
        }
    }
    rooms
}

fn number(item: &Value, attribute: &str) -> usize {
    item[attribute]["N"].as_str().unwrap_or_else(|| panic!("no {attribute} in {item}")).parse().unwrap()
}

impl Stored {
    fn has_ended(&self) -> bool {
        self.room.get("endedAt").is_some()
    }

    /// Checks that each counter is the number of the items that it counts.
    fn is_whole(&self, id: &str) {
        let people = |attribute: &str| self.people.values().filter(|item| item.get(attribute).is_some()).count();
        let presenters = self.people.values().filter(|item| item["role"]["S"] == "presenter").count();
        let open = self.questions.values().filter(|item| item.get("isAnswered").is_none()).count();
        for (attribute, items) in [
            ("present", people("seated")),
            ("presenters", presenters),
            ("heldQuestions", self.questions.len()),
            ("openQuestions", open),
        ] {
            assert_eq!(number(&self.room, attribute), items, "{attribute} of {id}: {}", self.room);
        }
        assert!(number(&self.room, "peak") >= people("seated"), "{id}: {}", self.room);
        assert_eq!(people("seated") + people("waiting"), self.people.len(), "{id}: somebody is nowhere");
        for (question, item) in &self.questions {
            let votes = self.votes.iter().filter(|(_, of)| of == question).count();
            assert_eq!(number(item, "votes"), votes, "votes for {question} in {id}");
        }
    }

    /// Checks that it holds what was acknowledged. `open`: the requests that nobody has answered, which have happened
    /// or not. If there are none, it holds nothing else.
    fn holds(&self, id: &str, room: &Room, open: &[Sent]) {
        let may = |act: &Act| open.iter().any(|sent| sent.room == id && sent.act == *act);
        let may_act = |act: &Act, person: &str| {
            open.iter().any(|sent| sent.room == id && sent.act == *act && sent.person == person)
        };
        assert!(self.messages.is_superset(&room.messages), "{id} has lost a message");
        for (question, known) in &room.questions {
            let found = self.questions.get(question);
            if !may(&Act::RemoveQuestion(question.clone())) {
                assert_eq!(found.is_none(), known.is_removed, "{question} in {id}");
            }
            if let Some(found) = found.filter(|_| !may(&Act::Answer(question.clone()))) {
                assert_eq!(found.get("isAnswered").is_some(), known.is_answered, "{found}");
            }
        }
        for (vote, stands) in &room.votes {
            let (person, question) = vote;
            let is_open = [Act::Vote(question.clone()), Act::Withdraw(question.clone())];
            if !is_open.iter().any(|act| may_act(act, person)) {
                assert_eq!(self.votes.contains(vote), *stands, "the vote {vote:?} in {id}");
            }
        }
        for (person, known) in &room.people {
            let found = self.people.get(person);
            if !may(&Act::Remove(person.clone())) && !may_act(&Act::Leave, person) {
                assert_eq!(found.is_none(), known.is_gone, "{person} in {id}: {found:?}");
            }
            let Some(found) = found else { continue };
            if !may(&Act::Admit(person.clone())) {
                assert_eq!(found.get("waiting").is_some(), known.is_waiting, "{found}");
            }
            if !["presenter", "attendee"].iter().any(|role| may(&Act::SetRole(person.clone(), role))) {
                assert_eq!(found["role"]["S"], known.role, "{found}");
            }
        }
        if open.is_empty() {
            let of = |ids: Vec<&String>| ids.into_iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(self.messages, room.messages, "{id} has a message twice");
            let known = room.questions.iter().filter(|(_, question)| !question.is_removed).map(|(id, _)| id);
            assert_eq!(of(self.questions.keys().collect()), of(known.collect()), "{id} has a question twice");
            let known = room.people.iter().filter(|(_, person)| !person.is_gone).map(|(id, _)| id);
            assert_eq!(of(self.people.keys().collect()), of(known.collect()), "{id} has a person twice");
            let known = room.votes.iter().filter(|(_, stands)| **stands).map(|(vote, _)| vote.clone());
            assert_eq!(self.votes, known.collect(), "{id} has a vote that nobody cast");
        }
    }
}

/// Checks the table after a restart.
fn check(runner: &Runner, known: &Known, open: &[Sent]) {
    let items = scan(runner);
    let listed = items.iter().map(keys_of).filter(|(pk, _)| *pk == "ACTIVE#rooms").map(|(_, room)| room.to_owned());
    let listed: BTreeSet<_> = listed.collect();
    let rooms = stored(items);
    let active = rooms.iter().filter(|(_, room)| !room.has_ended()).map(|(id, _)| id.clone());
    assert_eq!(listed, active.collect(), "a list of active rooms that is none");
    for (id, stored) in rooms.iter().filter(|(_, stored)| !stored.has_ended()) {
        stored.is_whole(id);
    }
    for (id, room) in &known.rooms {
        let stored = rooms.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        if !open.iter().any(|sent| sent.act == Act::End && sent.room == *id) {
            assert_eq!(stored.has_ended(), room.has_ended, "the end of {id}");
        }
        // Who and what was in a room that has ended is removed within moments, and not checked in between.
        if !stored.has_ended() {
            stored.holds(id, room, open);
        }
    }
    let more = rooms.len() - known.rooms.len();
    let may_be_more = open.iter().filter(|sent| matches!(sent.act, Act::Create { .. })).count();
    assert!(more <= may_be_more, "{more} rooms more than were acknowledged");
}

/// Sends a request again that nobody has answered, and notes what became of it.
fn settle(runner: &Runner, known: &mut Known, sent: &Sent) {
    let reply = sent.to(runner);
    match (&sent.act, reply.status) {
        (_, 200..=202) => {
            if sent.key.is_some() {
                let again = sent.to(runner);
                assert_eq!((again.status, &again.text), (reply.status, &reply.text), "{sent:?}");
            }
            known.acknowledge(sent, reply.status, &reply.text);
        }
        // It had happened before the kill, or somebody else has done the same.
        (Act::End, 410) | (Act::Remove(_) | Act::RemoveQuestion(_), 404) | (Act::Leave, 401) => {
            known.acknowledge(sent, reply.status, "null");
        }
        // The room has ended, or the person or the question is gone. A vote for a question that is gone stands or not.
        (Act::Vote(question) | Act::Withdraw(question), 401 | 403 | 404 | 410) => {
            let vote = (sent.person.clone(), question.clone());
            let stands = stored(scan(runner)).get(&sent.room).is_some_and(|room| room.votes.contains(&vote));
            known.rooms.get_mut(&sent.room).unwrap().votes.insert(vote, stands);
        }
        (_, 401 | 403 | 404 | 409 | 410) => {}
        (_, status) => panic!("{status} to {sent:?}: {}", reply.text),
    }
}

/// Reads a room with somebody's token.
fn read(runner: &Runner, room: &str, token: &str) -> Reply {
    let (path, token) = (format!("/api/rooms/{room}"), format!("Bearer {token}"));
    patiently(|| runner.send("GET", &path, &[("authorization", &token)], ""))
}

/// Checks that tokens are as good as before.
fn tokens(runner: &Runner, known: &Known, rng: &mut fastrand::Rng) {
    for (id, room) in &known.rooms {
        let Some(person) = rng.choice(room.people.values().collect::<Vec<_>>()) else { continue };
        let gone = room.people.values().filter(|person| person.is_gone).take(3);
        for person in gone.chain([person, &room.people[&room.presenter]]) {
            let reply = read(runner, id, &person.token);
            match (room.has_ended, person.is_gone, person.is_waiting) {
                (true, _, _) => _ = refused(&reply, 410, "room_ended"),
                (false, true, _) => _ = refused(&reply, 401, "token_invalid"),
                (false, false, true) => _ = refused(&reply, 403, "not_admitted"),
                (false, false, false) => {
                    assert_eq!(reply.status, 200, "{}", reply.text);
                    let present = room.people.values().filter(|person| !person.is_gone && !person.is_waiting).count();
                    assert_eq!(reply.json()["room"]["present"], present, "{}", reply.text);
                }
            }
        }
    }
}

/// Checks the table after a restart, and settles what was under way.
fn settle_all(runner: &Runner, known: &mut Known, open: &[Sent]) {
    check(runner, known, open);
    forget_limits(runner);
    for sent in open {
        settle(runner, known, sent);
    }
}

/// Forgets how often anybody has called.
fn forget_limits(runner: &Runner) {
    for item in scan(runner).iter().filter(|item| item.get("fullAt").is_some()) {
        let key = json!({"pk": item["pk"], "sk": item["sk"]});
        engine(runner, "DeleteItem", &json!({"TableName": "greenroom-state", "Key": key}));
    }
}

fn start(data: &TempDir) -> Runner {
    let data = data.path().to_str().unwrap();
    Runner::start_with_env(&["--data-dir", data, "--dynamodb-port", "0"], &[("AUTH_MODE", "strict")])
}

#[test]
fn twenty_kills_of_rooms_in_use_lose_nothing_acknowledged_and_leave_nothing_half_done() {
    let data = TempDir::new().unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let known = Mutex::new(Known::default());
    let mut open = Vec::new();
    for _ in 0..KILLS {
        let runner = start(&data);
        {
            let known = &mut *known.lock().unwrap();
            settle_all(&runner, known, &open);
            for _ in 0..3 {
                let Some((sent, status, answer)) = rng.choice(&known.answered) else { break };
                let again = sent.to(&runner);
                assert_eq!((again.status, &again.text), (*status, answer), "{sent:?}");
            }
            check(&runner, known, &[]);
            tokens(&runner, known, &mut rng);
            forget_limits(&runner);
        }
        let acknowledged = AtomicUsize::new(0);
        let (enough, moment) = (rng.usize(ACKNOWLEDGED), Duration::from_micros(rng.u64(0..12_000)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| Client {
                number,
                rng: rng.fork(),
                known: &known,
                acknowledged: &acknowledged,
                rooms_left: ROOMS_MAX,
                joins_left: JOINS_MAX,
            })
            .collect();
        let url = runner.url.clone();
        open = std::thread::scope(|scope| {
            // It is killed also when a wait in here fails. Otherwise the clients would never end.
            let runner = runner;
            let clients: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| client.run(&url))).collect();
            await_that("enough is acknowledged", || acknowledged.load(Ordering::Relaxed) >= enough);
            std::thread::sleep(moment);
            runner.kill();
            clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
        });
    }
    let runner = start(&data);
    let known = &mut *known.lock().unwrap();
    settle_all(&runner, known, &open);
    check(&runner, known, &[]);
    assert_eq!(known.counts.len(), 13, "the kills met too little: {:?}", known.counts);
}

/// The counts of all days together.
fn counted(items: &[Value], attribute: &str) -> usize {
    let days = items.iter().filter(|item| keys_of(item).0 == "DAYS");
    days.filter(|day| day.get(attribute).is_some()).map(|day| number(day, attribute)).sum()
}

/// Sends a request that must take effect, and returns its answer. It has a key, so that it can be repeated.
fn done(runner: &Runner, act: Act, room: &str, token: &str) -> Value {
    let key = Some(format!("key-{:032x}", fastrand::u128(..)));
    let sent = Sent { client: 0, act, room: room.to_owned(), person: String::new(), token: token.to_owned(), key };
    let reply = sent.to(runner);
    assert!(reply.status < 300, "{sent:?}: {}", reply.text);
    reply.json()
}

/// People, messages and questions of a room in the next test.
const GUESTS: usize = 12;
const MESSAGES: usize = 30;
const QUESTIONS: usize = 3;

/// A room with people who have written and voted. Returns its id and the presenter's token.
fn in_use(runner: &Runner) -> (String, String) {
    forget_limits(runner);
    let created = done(runner, Act::Create { lobby: false }, "", "");
    let (room, presenter) = (text(&created["roomId"]), text(&created["presenterToken"]));
    let join = |_| text(&done(runner, Act::Join, &room, "")["token"]);
    let guests: Vec<_> = (0..GUESTS).map(join).collect();
    for n in 0..MESSAGES {
        done(runner, Act::Post, &room, &guests[n % GUESTS]);
    }
    for n in 0..QUESTIONS {
        let question = text(&done(runner, Act::Ask, &room, &guests[n])["questionId"]);
        for guest in &guests {
            done(runner, Act::Vote(question.clone()), &room, guest);
        }
    }
    (room, presenter)
}

/// Waits until nothing is left of a room but the room itself, and until it is counted.
fn await_the_end(runner: &Runner, room: &str, ended: usize) {
    await_that("the room is forgotten and counted", || {
        let items = scan(runner);
        let counted = counted(&items, "roomsEnded");
        assert!(counted <= ended, "{counted} ends of {ended} rooms");
        let is_left = |item: &&Value| {
            let (pk, sk) = keys_of(item);
            item["roomId"]["S"] == room || (pk == format!("ROOM#{room}") && sk != "META")
        };
        counted == ended && !items.iter().any(|item| is_left(&item))
    });
    let mut items = scan(runner);
    // The answer to a request with a key is kept for a day, so that it can be repeated.
    items.retain(|item| !keys_of(item).0.starts_with("ONCE#"));
    assert!(!items.iter().any(|item| item["name"]["S"] == "Grace"), "a name is left");
    let texts = ["Can everybody hear me?", "Will there be a recording?"];
    assert!(!items.iter().any(|item| texts.iter().any(|text| item.to_string().contains(text))), "a text is left");
}

#[test]
fn a_room_whose_end_meets_kills_is_forgotten_and_counted_once() {
    const ENDS: usize = 12;
    let data = TempDir::new().unwrap();
    let mut rng = fastrand::Rng::with_seed(11);
    let mut runner = start(&data);
    for ended in 1..=ENDS {
        let (room, token) = in_use(&runner);
        let end = Sent {
            client: 0,
            act: Act::End,
            room: room.clone(),
            person: String::new(),
            token: token.clone(),
            key: None,
        };
        let mut wire = Wire::to(&runner);
        end.on(&mut wire);
        std::thread::sleep(Duration::from_micros(rng.u64(0..25_000)));
        runner.kill();
        let was_acknowledged = wire.answer_if_whole().is_some_and(|answer| answer.status == 200);
        runner = start(&data);
        let reply = end.to(&runner);
        assert!(reply.status == 410 || !was_acknowledged && reply.status == 200, "{}", reply.text);
        // The consumer starts with what it has not finished, and is killed once more.
        std::thread::sleep(Duration::from_micros(rng.u64(0..25_000)));
        runner.kill();
        runner = start(&data);
        await_the_end(&runner, &room, ended);
        refused(&read(&runner, &room, &token), 410, "room_ended");
    }
    // Records are processed in order. When this room is counted, all others have been counted for the last time.
    let (room, token) = in_use(&runner);
    done(&runner, Act::End, &room, &token);
    await_the_end(&runner, &room, ENDS + 1);
    let items = scan(&runner);
    for (attribute, of_each) in [
        ("roomsCreated", 1),
        ("roomsEnded", 1),
        ("participants", 1 + GUESTS),
        ("messages", MESSAGES),
        ("questions", QUESTIONS),
        ("withChat", 1),
        ("withQuestions", 1),
    ] {
        assert_eq!(counted(&items, attribute), (ENDS + 1) * of_each, "{attribute}");
    }
    let peak = items.iter().filter(|item| item.get("peakParticipants").is_some());
    assert!(peak.map(|day| number(day, "peakParticipants")).all(|peak| peak == 1 + GUESTS));
}
