use crate::support::faults::Faulty;
use crate::support::rooms::{NewRoom, Person, Room, strict};
use crate::support::witness::Witness;
use crate::support::{Reply, Runner, refused, refused_field};
use functions::Context;
use serde_json::{Value, json};

/// A request that nobody has made.
const UNKNOWN: &str = "mr_01KBA8M3Q4V4W5X6Y7Z8A9BCDJ";

async fn request(context: &Context, room: &Room, by: &Person) -> String {
    let reply = room.call("mute_all", by).run(context).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.json()["requestId"].as_str().unwrap().to_owned()
}

async fn look(context: &Context, room: &Room, by: &Person, id: &str) -> Reply {
    let mut command = room.call("get_mute_request", by);
    command.parameters.push(("muteRequestId", id.to_owned()));
    command.run(context).await
}

async fn claim(context: &Context, person: &Person, is_muted: bool) {
    let reply = person.call("set_mute").with(json!({"isMuted": is_muted})).run(context).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

fn refuse(room: &Room, by: &Person, request: &str) -> crate::support::faults::Command {
    room.moderate(by, by, json!({"refusedRequest": request}))
}

#[tokio::test]
async fn each_person_has_the_outcome_of_the_moment() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let mut people = Vec::new();
    for name in ["Quiet", "Early", "Open", "Left", "Mind"] {
        people.push(room.join(&context, name).await);
    }
    let [quiet, early, open, left, mind] = people.as_slice() else { panic!("five people") };
    claim(&context, early, true).await;
    let id = request(&context, &room, &ada).await;
    let late = room.join(&context, "Late").await;
    claim(&context, quiet, true).await;
    for by in [open, mind] {
        assert_eq!(refuse(&room, by, &id).run(&context).await.status, 200);
    }
    room.remove(&context, &ada, left).await;
    let outcomes = async || {
        let reply = look(&context, &room, &ada, &id).await;
        assert_eq!((reply.status, &reply.json()["requestId"]), (200, &json!(id)));
        let of = |target: &Value| {
            (target["participantId"].as_str().unwrap().to_owned(), target["outcome"].as_str().unwrap().to_owned())
        };
        reply.json()["targets"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let expected = |mind_is: &str| {
        let all = [(quiet, "claimed"), (early, "claimed"), (open, "refused"), (left, "gone"), (mind, mind_is)];
        let mut all: Vec<_> = all.map(|(person, outcome)| (person.id.clone(), outcome.to_owned())).into();
        all.sort();
        all
    };
    assert_eq!(outcomes().await, expected("refused"), "and nobody who came later: {}", late.id);
    claim(&context, mind, true).await;
    assert_eq!(outcomes().await, expected("claimed"), "who mutes after all is muted");
    claim(&context, mind, false).await;
    assert_eq!(outcomes().await, expected("refused"));
}

#[tokio::test]
async fn a_refusal_is_about_one_request() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    refused(&refuse(&room, &grace, UNKNOWN).run(&context).await, 404, "mute_request_not_found");
    let first = request(&context, &room, &ada).await;
    assert_eq!(refuse(&room, &grace, &first).run(&context).await.status, 200);
    let second = request(&context, &room, &ada).await;
    for not_the_last in [&first, UNKNOWN] {
        refused(&refuse(&room, &grace, not_the_last).run(&context).await, 404, "mute_request_not_found");
    }
    let outcome = async |id: &str| look(&context, &room, &ada, id).await.json()["targets"][0]["outcome"].take();
    assert_eq!((outcome(&first).await, outcome(&second).await), (json!("refused"), json!("requested")));
    let of_another = room.moderate(&ada, &grace, json!({"refusedRequest": second}));
    refused(&of_another.run(&context).await, 403, "forbidden");
    refused_field(&refuse(&room, &grace, "7").run(&context).await, "refusedRequest");
}

#[tokio::test]
async fn only_a_presenter_of_the_room_sees_a_request() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (other, eve) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let id = request(&context, &room, &ada).await;
    refused(&look(&context, &room, &grace, &id).await, 403, "presenter_only");
    refused(&look(&context, &room, &eve, &id).await, 403, "forbidden");
    refused(&look(&context, &other, &eve, &id).await, 404, "mute_request_not_found");
    refused(&look(&context, &room, &ada, UNKNOWN).await, 404, "mute_request_not_found");
    refused_field(&look(&context, &room, &ada, "7").await, "muteRequestId");
}

#[test]
fn a_mute_that_an_agent_measures_is_verified() {
    let runner = Runner::ephemeral();
    let created = runner.post("/api/rooms", json!({"title": "Review", "presenterName": "Ada"})).json();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let path = format!("/api/rooms/{}", text(&created, "roomId"));
    let joined = runner.post(&format!("{path}/join"), json!({"name": "Grace"})).json();
    let grace = text(&joined, "participantId");
    let bearer = format!("Bearer {}", text(&created, "presenterToken"));
    let request = runner.send("POST", &format!("{path}/mute-all"), &[("authorization", &bearer)], "").json();
    let look = format!("{path}/mute-all/{}", text(&request, "requestId"));
    let outcome =
        || runner.send("GET", &look, &[("authorization", &bearer)], "").json()["targets"][0]["outcome"].take();
    assert_eq!(outcome(), "requested");
    let of_grace = format!("Bearer {}", text(&joined, "token"));
    let state =
        json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": text(&created, "roomId")});
    let own = [("authorization", of_grace.as_str())];
    let claimed = runner.send_json("POST", &format!("/api/users/{grace}/state"), &own, state);
    assert!(claimed.status < 300, "{}", claimed.text);
    assert_eq!(outcome(), "claimed");
    let mut witness = Witness::paired(&runner, &grace);
    let attested = witness.attest(&runner, json!({}));
    assert_eq!(attested.status, 200, "{}", attested.text);
    assert_eq!(outcome(), "verified");
}
