//! What the people of a room hear over their WebSocket connections, in strict mode.

use crate::asyncapi::check_heard;
use crate::support::mode::Member;
use crate::support::socket::{Socket, await_connections};
use crate::support::{Runner, keys};
use domain::Timestamp;
use serde_json::{Value, json};

/// A room with its presenter Ada.
struct Meeting {
    runner: Runner,
    id: String,
    ada: Member,
}

impl Meeting {
    fn with(more: &Value) -> Self {
        let runner = Runner::start(&["--ephemeral", "--auth", "strict", "--dynamodb-port", "0"]);
        let mut body = json!({"title": "Weekly", "presenterName": "Ada"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let ada = Member::of(&runner.post("/api/rooms", body).json());
        Self { id: ada.room.clone(), runner, ada }
    }

    fn join(&self, name: &str) -> Member {
        Member::of(&self.runner.post(&format!("/api/rooms/{}/join", self.id), json!({"name": name})).json())
    }

    /// A call of a member about the room, such as `PATCH /participants/p_…`.
    #[track_caller]
    fn call(&self, by: &Member, method: &str, path: &str, body: Value) -> Value {
        let reply = by.send(&self.runner, method, &format!("/api/rooms/{}{path}", self.id), body);
        assert!(reply.status < 300, "{}", reply.text);
        if reply.text.is_empty() { Value::Null } else { reply.json() }
    }

    /// The connection of a member. The index of the room holds it when this returns.
    #[track_caller]
    fn connect(&self, member: &Member) -> Socket {
        connect(&self.runner, member).unwrap()
    }
}

fn connect(runner: &Runner, member: &Member) -> Result<Socket, u16> {
    let bearer = member.bearer().unwrap();
    let offer = format!("greenroom.v1, greenroom.bearer.{}", bearer.trim_start_matches("Bearer "));
    Socket::open(&runner.url, &[("sec-websocket-protocol", &offer)])
}

/// The next message of this event; others before it are left out.
#[track_caller]
fn next(socket: &mut Socket, event: &str) -> Value {
    loop {
        let message = socket.hear().unwrap_or_else(|| panic!("closed before {event}"));
        check_heard(&message);
        if message["event"] == event {
            return message;
        }
    }
}

/// The next message of this event about a person.
#[track_caller]
fn about(socket: &mut Socket, event: &str, person: &Member) -> Value {
    loop {
        let message = next(socket, event);
        if message["data"]["userId"] == json!(person.id) {
            return message;
        }
    }
}

#[test]
fn everybody_hears_who_comes_mutes_and_goes_by_the_numbers_of_the_history() {
    let meeting = Meeting::with(&json!({}));
    let mut ada = meeting.connect(&meeting.ada);
    let grace = meeting.join("Grace");
    let joined = about(&mut ada, "participant-joined", &grace);
    assert_eq!(keys(&joined), ["at", "data", "event", "room", "seq"]);
    assert_eq!((&joined["room"], &joined["data"]["userId"]), (&json!(meeting.id), &json!(grace.id)));
    let listed = meeting.call(&meeting.ada, "GET", "", Value::Null)["participants"].clone();
    let listed = listed.as_array().unwrap().iter().find(|person| person["userId"] == json!(grace.id)).unwrap();
    assert_eq!(&joined["data"]["user"], listed, "as the room lists them");

    let mut hers = meeting.connect(&grace);
    grace.send(&meeting.runner, "PATCH", &format!("/api/users/{}/mute", grace.id), json!({"isMuted": true}));
    let device = json!({"deviceId": "usb-1", "deviceLabel": "USB microphone"});
    grace.send(&meeting.runner, "PATCH", &format!("/api/users/{}/device", grace.id), device);
    for (event, member, wanted) in
        [("user-state-changed", "isMuted", json!(true)), ("user-state-changed", "deviceLabel", json!("USB microphone"))]
    {
        let [hears, speaks] = [&mut ada, &mut hers].map(|socket| next(socket, event));
        assert_eq!(hears, speaks, "everybody hears the same");
        assert_eq!(hears["data"]["user"][member], wanted);
    }
    let raised = json!({"handRaised": true});
    meeting.call(&grace, "PATCH", &format!("/participants/{}", grace.id), raised);
    let updated = next(&mut ada, "participant-updated");
    assert_eq!((&updated["data"]["user"]["participant"]["handRaised"], &updated["seq"]), (&json!(true), &Value::Null));

    meeting.call(&grace, "POST", "/leave", json!({}));
    let left = next(&mut ada, "participant-left");
    assert_eq!((&left["data"]["participantId"], &left["data"]["reason"]), (&json!(grace.id), &json!("left")));
    assert_eq!(next(&mut hers, "bye")["data"], json!({"reason": "left"}));
    assert!(hers.hear().is_none(), "their connection is closed");

    let events = meeting.call(&meeting.ada, "GET", "/events?since=0", Value::Null)["events"].clone();
    let events = events.as_array().unwrap();
    assert_eq!(joined["seq"], json!(2), "the first is Ada herself");
    assert_eq!(left["seq"], events.last().unwrap()["seq"]);
    assert!(events.iter().zip(1..).all(|(event, seq)| event["seq"] == json!(seq)));
}

#[test]
fn whoever_is_removed_hears_it_and_nothing_more_and_cannot_connect_again() {
    let meeting = Meeting::with(&json!({}));
    let grace = meeting.join("Grace");
    let mut hers = meeting.connect(&grace);
    meeting.call(&meeting.ada, "PATCH", &format!("/participants/{}", grace.id), json!({"removed": true}));
    assert_eq!(next(&mut hers, "removed")["data"], json!({"reason": "removed"}));
    assert!(hers.hear().is_none(), "the connection is closed");
    await_connections(&meeting.runner, 0);
    assert_eq!(connect(&meeting.runner, &grace).err(), Some(401));
}

/// A page that is reloaded ends its lease and renews it at once.
#[test]
fn whoever_closes_the_page_is_gone_at_once_and_whoever_comes_back_is_there() {
    let meeting = Meeting::with(&json!({}));
    let mut ada = meeting.connect(&meeting.ada);
    let grace = meeting.join("Grace");
    let lease = json!({"participantId": grace.id, "lease": "page-load-1"});
    for _ in 0..3 {
        meeting.call(&grace, "POST", "/presence", lease.clone());
        meeting.call(&grace, "POST", "/leave", lease.clone());
        assert_eq!(about(&mut ada, "participant-left", &grace)["data"]["reason"], "lapsed");
        meeting.call(&grace, "POST", "/presence", lease.clone());
        about(&mut ada, "participant-joined", &grace);
    }
    // Another renewal brings what was collected: no lease in it has ended.
    let soon = crate::support::witness::now_ms() + 15_000;
    let ends = |heard: &Value| heard["data"]["leases"][&grace.id].as_str().map(str::to_owned);
    let until = loop {
        meeting.call(&grace, "POST", "/presence", lease.clone());
        ada.say(json!({"event": "ping"}));
        if let Some(until) = ends(&next(&mut ada, "verdicts-renewed")) {
            break until;
        }
    };
    assert!(until > Timestamp::from_ms(soon).to_string(), "{until}");
}

#[test]
fn many_changes_at_once_are_all_heard_in_their_order() {
    let meeting = Meeting::with(&json!({}));
    let people: Vec<_> = (0..20).map(|_| meeting.join("Grace")).collect();
    let mut ada = meeting.connect(&meeting.ada);
    std::thread::scope(|scope| {
        for person in &people {
            let (runner, path) = (&meeting.runner, format!("/api/users/{}/mute", person.id));
            scope.spawn(move || {
                for number in 0..15 {
                    let muted = json!({"isMuted": number % 2 == 0});
                    assert_eq!(person.send(runner, "PATCH", &path, muted).status, 200);
                }
            });
        }
    });
    let mut last = None;
    for _ in 0..300 {
        let heard = next(&mut ada, "user-state-changed")["seq"].as_u64().unwrap();
        assert!(last.is_none_or(|last| heard == last + 1), "{heard} after {last:?}");
        last = Some(heard);
    }
}

#[test]
fn whoever_is_removed_hears_nothing_that_is_written_after_the_removal_was_answered() {
    let meeting = Meeting::with(&json!({}));
    for number in 0..10 {
        let grace = meeting.join("Grace");
        let mut hers = meeting.connect(&grace);
        meeting.call(&meeting.ada, "PATCH", &format!("/participants/{}", grace.id), json!({"removed": true}));
        meeting.call(&meeting.ada, "POST", "/messages", json!({"message": format!("about Grace {number}")}));
        while let Some(heard) = hers.hear() {
            assert_ne!(heard["event"], "new-chat-message");
        }
    }
}

#[test]
fn a_fourth_connection_of_a_person_replaces_the_oldest() {
    let meeting = Meeting::with(&json!({}));
    let mut sockets: Vec<_> = (0..4).map(|_| meeting.connect(&meeting.ada)).collect();
    assert_eq!(next(&mut sockets[0], "bye")["data"], json!({"reason": "replaced"}));
    assert!(sockets[0].hear().is_none());
    await_connections(&meeting.runner, 3);
    meeting.call(&meeting.ada, "POST", "/messages", json!({"message": "Hello"}));
    for socket in &mut sockets[1..] {
        next(socket, "new-chat-message");
    }
}

#[test]
fn the_end_of_a_room_ends_its_connections() {
    let meeting = Meeting::with(&json!({}));
    let grace = meeting.join("Grace");
    let mut sockets = [&meeting.ada, &grace].map(|member| meeting.connect(member));
    meeting.call(&meeting.ada, "DELETE", "", json!({}));
    for socket in &mut sockets {
        next(socket, "room-ended");
        assert_eq!(next(socket, "bye")["data"], json!({"reason": "ended"}));
        assert!(socket.hear().is_none());
    }
    await_connections(&meeting.runner, 0);
    let refused = connect(&meeting.runner, &grace).err();
    assert!(matches!(refused, Some(401 | 410)), "{refused:?}");
}

#[test]
fn messages_and_questions_are_heard_as_they_are_listed() {
    let meeting = Meeting::with(&json!({}));
    let grace = meeting.join("Grace");
    let mut ada = meeting.connect(&meeting.ada);
    let written = meeting.call(&grace, "POST", "/messages", json!({"message": "Hello"}))["message"].clone();
    assert_eq!(next(&mut ada, "new-chat-message")["data"], json!({"message": written}));

    let question = meeting.call(&grace, "POST", "/questions", json!({"question": "When?"}))["questionId"].clone();
    let path = format!("/questions/{}", question.as_str().unwrap());
    let listed = || {
        let mut listed = meeting.call(&meeting.ada, "GET", "/questions", Value::Null)["questions"][0].clone();
        listed.as_object_mut().unwrap().remove("hasVoted");
        json!({"question": listed})
    };
    assert_eq!(next(&mut ada, "new-question")["data"], listed());
    meeting.call(&grace, "PUT", &format!("{path}/vote"), json!({}));
    let voted = next(&mut ada, "question-updated");
    assert_eq!((&voted["data"], &voted["data"]["question"]["votes"]), (&listed(), &json!(1)));
    meeting.call(&grace, "DELETE", &format!("{path}/vote"), json!({}));
    assert_eq!(next(&mut ada, "question-updated")["data"], listed());
    meeting.call(&meeting.ada, "PATCH", &path, json!({"isPinned": true}));
    assert_eq!(next(&mut ada, "question-updated")["data"], listed());
    meeting.call(&meeting.ada, "POST", &format!("{path}/answer"), json!({"answer": "Now."}));
    let answered = next(&mut ada, "question-answered");
    assert_eq!((&answered["data"], &answered["data"]["question"]["answer"]), (&listed(), &json!("Now.")));
    meeting.call(&meeting.ada, "PATCH", &path, json!({"removed": true}));
    assert_eq!(next(&mut ada, "question-removed")["data"], json!({"questionId": question}));
}

#[test]
fn a_change_of_the_room_and_a_request_to_mute_are_heard() {
    let meeting = Meeting::with(&json!({}));
    let grace = meeting.join("Grace");
    let mut hers = meeting.connect(&grace);
    let changed = meeting.call(&meeting.ada, "PATCH", "", json!({"title": "Daily"}))["room"].clone();
    assert_eq!(next(&mut hers, "room-updated")["data"], json!({"room": changed}));
    let request = meeting.call(&meeting.ada, "POST", "/mute-all", json!({}))["requestId"].clone();
    let shown = next(&mut hers, "room-updated")["data"]["room"]["muteRequest"].clone();
    let read = meeting.call(&grace, "GET", "", Value::Null)["room"]["muteRequest"].clone();
    assert_eq!((&shown, &shown["requestId"]), (&read, &request));
    assert_eq!(next(&mut hers, "new-chat-message")["data"]["message"]["type"], "system");
}

#[test]
fn a_presenter_hears_that_the_lobby_has_changed_and_whoever_waits_hears_nothing() {
    let meeting = Meeting::with(&json!({"settings": {"lobby": true}}));
    let mut ada = meeting.connect(&meeting.ada);
    let grace = meeting.join("Grace");
    assert_eq!(next(&mut ada, "lobby-updated")["data"], json!({}));
    assert_eq!(connect(&meeting.runner, &grace).err(), Some(403));
    meeting.call(&meeting.ada, "PATCH", &format!("/participants/{}", grace.id), json!({"admitted": true}));
    about(&mut ada, "participant-joined", &grace);
    meeting.connect(&grace);
}

#[test]
fn the_end_of_a_presence_is_heard() {
    let meeting = Meeting::with(&json!({}));
    let mut ada = meeting.connect(&meeting.ada);
    let grace = meeting.join("Grace");
    let begun = crate::support::witness::now_ms();
    let lease = json!({"participantId": grace.id, "lease": "page-load-1"});
    meeting.call(&grace, "POST", "/presence", lease);
    let heard = next(&mut ada, "verdicts-renewed")["data"]["leases"].clone();
    let until = heard[&grace.id].as_str().unwrap_or_else(|| heard[&meeting.ada.id].as_str().unwrap()).to_owned();
    let [earliest, latest] = [begun + 20_000, begun + 40_000].map(|ms| Timestamp::from_ms(ms).to_string());
    assert!((earliest..latest).contains(&until), "{until}");
}

#[test]
fn nobody_hears_another_room() {
    let meeting = Meeting::with(&json!({}));
    let mut ada = meeting.connect(&meeting.ada);
    let mut anonymous = Socket::to(&meeting.runner);
    let other = json!({"title": "Other", "presenterName": "Eve"});
    let eve = Member::of(&meeting.runner.post("/api/rooms", other).json());
    let mut hers = connect(&meeting.runner, &eve).unwrap();
    let path = format!("/api/rooms/{}/messages", eve.room);
    eve.send(&meeting.runner, "POST", &path, json!({"message": "Secret"}));
    assert_eq!(next(&mut hers, "new-chat-message")["data"]["message"]["message"], "Secret");
    // Whatever was sent before is heard before an answer.
    for socket in [&mut ada, &mut anonymous] {
        socket.say(json!({"event": "ping"}));
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last: &Value| last["event"] != "ack") {
            heard.push(socket.hear().unwrap());
        }
        assert!(heard.iter().all(|one| one["event"] == "ack" || one["room"] == json!(meeting.id)), "{heard:?}");
    }
}
