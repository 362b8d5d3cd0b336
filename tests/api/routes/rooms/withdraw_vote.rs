use crate::support::faults::Faulty;
use crate::support::rooms::{NewRoom, strict};
use crate::support::{Runner, refused_field};
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn a_vote_is_taken_back_once_and_can_be_cast_again() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &ada, "Why?").await;
    for (endpoint, by, votes) in [
        ("withdraw_vote", &ada, 0),
        ("cast_vote", &ada, 1),
        ("cast_vote", &grace, 2),
        ("withdraw_vote", &ada, 1),
        ("withdraw_vote", &ada, 1),
        ("cast_vote", &ada, 2),
    ] {
        let reply = room.about(&question, endpoint, by).run(&context).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"votes": votes})), "{endpoint}");
    }
    assert!(room.questions(&context, &ada).await[0]["hasVoted"].as_bool().unwrap());
    refused_field(&room.about("7", "withdraw_vote", &ada).run(&context).await, "questionId");
}

#[tokio::test]
async fn a_vote_that_is_taken_back_many_times_at_once_counts_once() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &ada, "Why?").await;
    for by in [&ada, &grace] {
        assert_eq!(room.about(&question, "cast_vote", by).run(&context).await.status, 200);
    }
    let all: Vec<_> = (0..50).map(|_| room.about(&question, "withdraw_vote", &ada)).collect();
    join_all(all.iter().map(|command| command.run(&context))).await;
    assert_eq!(room.questions(&context, &grace).await[0]["votes"], 1);
}

/// A DELETE with a body reaches the function, and so does one without.
#[test]
fn the_runner_delivers_the_body_of_a_delete() {
    let runner = Runner::ephemeral();
    let created = runner.post("/api/rooms", json!({"title": "Review", "presenterName": "Ada"})).json();
    let text = |name: &str| created[name].as_str().unwrap().to_owned();
    let questions = format!("/api/rooms/{}/questions", text("slug"));
    let ada = json!({"participantId": text("participantId")});
    let asked = runner.post(&questions, json!({"question": "Why?", "participantId": text("participantId")})).json();
    let vote = format!("{questions}/{}/vote", asked["questionId"].as_str().unwrap());
    assert_eq!(runner.put(&vote, ada.clone()).json(), json!({"votes": 1}));
    let bearer = format!("Bearer {}", text("presenterToken"));
    assert_eq!(runner.send("PUT", &vote, &[("authorization", &bearer)], "").json(), json!({"votes": 1}));
    assert_eq!(runner.send("DELETE", &vote, &[("authorization", &bearer)], "").json(), json!({"votes": 0}));
    assert_eq!(runner.put(&vote, ada.clone()).json(), json!({"votes": 1}));
    let with_body = runner.send_json("DELETE", &vote, &[], ada);
    assert_eq!((with_body.status, with_body.json()), (200, json!({"votes": 0})));
}
