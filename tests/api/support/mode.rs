//! The two modes of a server, and how people come into a room in each.

use super::{Reply, Runner};
use serde_json::{Value, json};

/// Who may call a server, as `--auth` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everybody. A room is there as soon as a state names it.
    Open,
    /// Only who has a token. Somebody creates a room, and the others join it by its link.
    Strict,
}

impl Mode {
    /// The arguments of `greenroom`.
    pub(crate) fn args(self) -> [&'static str; 2] {
        match self {
            Self::Open => ["--auth", "open"],
            Self::Strict => ["--auth", "strict"],
        }
    }

    /// An ephemeral runner in this mode.
    pub(crate) fn runner(self) -> Runner {
        Runner::start(&[&["--ephemeral"], &self.args()[..]].concat())
    }

    pub(crate) fn is_open(self) -> bool {
        self == Self::Open
    }
}

/// Somebody in a room, as the API knows them.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    /// The room's id.
    pub(crate) room: String,
    /// Their token; none in a room that nobody created.
    token: Option<String>,
}

impl Member {
    /// Somebody in a room that is there because a state names it. They need no token.
    pub(crate) fn open(id: &str, room: &str) -> Self {
        Self { id: id.to_owned(), room: room.to_owned(), token: None }
    }

    /// The person in an answer to who creates a room or joins it, or in what a page knows of that.
    #[track_caller]
    pub(crate) fn of(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let token = text(&answer["token"]).or_else(|| text(&answer["presenterToken"]));
        let room = text(&answer["roomId"]).or_else(|| text(&answer["roomDetails"]["roomId"]));
        Self { id: text(&answer["participantId"]).unwrap(), room: room.unwrap(), token }
    }

    /// Whether they are in a room that somebody created.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The first person in a room, who calls the API without a page. In strict mode they create it.
    pub(crate) fn first(mode: Mode, runner: &Runner, room: &str, name: &str, claim: Value) -> Self {
        let member = match mode {
            Mode::Open => Self::open(name, room),
            Mode::Strict => {
                let created = runner.post("/api/rooms", json!({"title": room, "presenterName": name}));
                assert_eq!(created.status, 201, "{}", created.text);
                Self::of(&created.json())
            }
        };
        member.claims(runner, claim);
        member
    }

    /// Lets somebody else into this person's room, who calls the API without a page.
    pub(crate) fn brings(&self, runner: &Runner, name: &str, claim: Value) -> Self {
        let other = if self.has_token() {
            let joined = runner.post(&format!("/api/rooms/{}/join", self.room), json!({"name": name}));
            assert_eq!(joined.status, 200, "{}", joined.text);
            Self::of(&joined.json())
        } else {
            Self::open(name, &self.room)
        };
        other.claims(runner, claim);
        other
    }

    /// Claims a whole state in the room.
    fn claims(&self, runner: &Runner, mut claim: Value) {
        claim["roomId"] = self.room.clone().into();
        let reply = self.send(runner, "POST", &format!("/api/users/{}/state", self.id), claim);
        assert!(reply.status < 300, "{}", reply.text);
    }

    /// Stays in the list of the room, where a participant who goes silent is for 35 seconds.
    pub(crate) fn stays(&self, runner: &Runner) {
        let presence = json!({"participantId": self.id, "lease": "page-load-1"});
        let reply = self.send(runner, "POST", &format!("/api/rooms/{}/presence", self.room), presence);
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    /// Makes somebody else a presenter of the room too.
    pub(crate) fn promotes(&self, runner: &Runner, other: &Self) {
        let path = format!("/api/rooms/{}/participants/{}", self.room, other.id);
        let reply = self.send(runner, "PATCH", &path, json!({"role": "presenter"}));
        assert_eq!(reply.status, 200, "{}", reply.text);
    }

    /// Sends a request in this person's name. `Value::Null` is no body.
    #[expect(clippy::needless_pass_by_value, reason = "so that a test can write json!(…) in place")]
    pub(crate) fn send(&self, runner: &Runner, method: &str, path: &str, body: Value) -> Reply {
        let bearer = self.bearer();
        let mut headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        if body.is_null() {
            return runner.send(method, path, &headers, "");
        }
        headers.push(("content-type", "application/json"));
        runner.send(method, path, &headers, &body.to_string())
    }

    /// Reads something in this person's name.
    pub(crate) fn get(&self, runner: &Runner, path: &str) -> Reply {
        self.send(runner, "GET", path, Value::Null)
    }

    /// The ids of the people who are listed in the room.
    pub(crate) fn listed(&self, runner: &Runner) -> Vec<String> {
        let list = self.get(runner, &format!("/api/rooms/{}/users", self.room)).json();
        list["items"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect()
    }

    /// The value of `Authorization`.
    pub(crate) fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }
}
