//! Rooms that the real function binaries create, with tokens that these binaries accept.

use super::Runner;
use super::lambda::{Lambda, event, install_key};
use super::witness::{Witness, attach, join};
use functions::function::{Callers, declared};
use serde_json::{Value, json};

/// A room on a database.
pub(crate) struct Meeting {
    pub(crate) id: String,
    /// Everybody who is in it; the first is the presenter.
    pub(crate) people: Vec<Person>,
    joining: Lambda,
}

/// Somebody in a room.
pub(crate) struct Person {
    pub(crate) id: String,
    token: String,
    room: String,
}

/// The ids of the room and of the people in the events of `events/`.
const ROOMS: [&str; 2] = ["demo-room", "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE"];
const PEOPLE: [&str; 2] = ["demo-user", "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF"];

impl Meeting {
    /// Creates a room on the database at this URL, which is that of the runner. This many people are in it, the presenter
    /// included.
    pub(crate) fn new(runner: &Runner, database: &str, people: usize) -> Self {
        install_key(runner);
        let created = Lambda::start("create_room", database).invoke(&event("create_room"));
        assert_eq!(created.status, 201, "{}", created.text);
        let created = created.json();
        let id = created["roomId"].as_str().unwrap().to_owned();
        let presenter = Person::new(&id, &created["participantId"], &created["presenterToken"]);
        let mut meeting = Self { id, people: vec![presenter], joining: Lambda::start("join_room", database) };
        while meeting.people.len() < people {
            let person = meeting.join(200);
            meeting.people.push(person);
        }
        meeting
    }

    /// The example of a function, about this room and this person. It has the person's token, unless its callers need
    /// none.
    pub(crate) fn event(&self, function: &str, by: &Person) -> Value {
        let mut text = event(function).to_string();
        for (ids, id) in [(ROOMS, &self.id), (PEOPLE, &by.id)] {
            for example in ids {
                text = text.replace(example, id);
            }
        }
        let mut event: Value = serde_json::from_str(&text).unwrap();
        let callers = declared(function).unwrap().function.callers;
        if callers.need_token() && callers != Callers::Administrator || callers == Callers::Visitor {
            event["headers"]["authorization"] = format!("Bearer {}", by.token).into();
        }
        event
    }

    /// Somebody joins the room; 202: they wait in its lobby.
    pub(crate) fn join(&self, status: u16) -> Person {
        // Their limit is their own.
        let mut event = self.event("join_room", &self.people[0]);
        event["requestContext"]["http"]["sourceIp"] = "203.0.113.250".into();
        let joined = self.joining.invoke(&event);
        assert_eq!(joined.status, status, "{}", joined.text);
        let joined = joined.json();
        Person::new(&self.id, &joined["participantId"], &joined["token"])
    }
}

impl Person {
    fn new(room: &str, id: &Value, token: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { id: text(id), token: text(token), room: room.to_owned() }
    }

    /// The agent of this person's browser, which measures the device that they claim and has attested once. The browser
    /// was paired before they joined. The runner knows no token of theirs, and asks for none.
    pub(crate) fn witness(&self, runner: &Runner) -> Witness {
        let device = json!({"deviceId": "e".repeat(64), "deviceLabel": "Desk Mic"});
        assert_eq!(runner.patch(&format!("/api/users/{}/device", self.id), device).status, 200);
        join(runner, "browser", true);
        let mut witness = Witness::enrolled(runner, "browser");
        assert_eq!(attach(runner, &self.id, &witness.token).status, 200);
        witness.begin(runner);
        let presence = format!("/api/rooms/{}/presence", self.room);
        let page = json!({"participantId": self.id, "lease": "page-load-1"});
        assert_eq!(runner.post(&presence, page).status, 200);
        assert_eq!(witness.attest(runner, json!({})).status, 200);
        witness
    }
}
