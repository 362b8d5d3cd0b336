use crate::support::faults::{Command, Faulty};
use crate::support::refused;
use crate::support::rooms::{NewRoom, open, strict};
use serde_json::{Value, json};

fn texts(questions: &[Value]) -> Vec<&str> {
    questions.iter().map(|question| question["question"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pinned_questions_come_first_then_those_with_more_votes_then_older_ones() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let mut ids = Vec::new();
    for text in ["old", "voted", "pinned", "new"] {
        ids.push(room.ask(&context, &grace, text).await);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    for by in [&ada, &grace] {
        assert_eq!(room.about(&ids[1], "cast_vote", by).run(&context).await.status, 200);
    }
    let pinned = room.about(&ids[2], "update_question", &ada).with(json!({"isPinned": true})).run(&context).await;
    assert_eq!(pinned.status, 200, "{}", pinned.text);
    assert_eq!(texts(&room.questions(&context, &grace).await), ["pinned", "voted", "old", "new"]);
}

#[tokio::test]
async fn everybody_sees_what_they_have_voted_for_themselves() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let (first, second) = (room.ask(&context, &ada, "first").await, room.ask(&context, &ada, "second").await);
    for (by, question) in [(&ada, &first), (&grace, &second)] {
        assert_eq!(room.about(question, "cast_vote", by).run(&context).await.status, 200);
    }
    for (by, voted) in [(&ada, &first), (&grace, &second)] {
        for question in room.questions(&context, by).await {
            assert_eq!(question["hasVoted"], question["questionId"] == **voted, "{question}");
            assert_eq!(question["votes"], 1);
        }
    }
}

#[tokio::test]
async fn a_list_costs_three_calls_whoever_votes() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for n in 0..10 {
        let question = room.ask(&context, &ada, &format!("question {n}")).await;
        assert_eq!(room.about(&question, "cast_vote", &ada).run(&context).await.status, 200);
    }
    faulty.be_well();
    assert_eq!(room.questions(&context, &ada).await.len(), 10);
    assert_eq!(faulty.calls(), ["BatchGetItem", "Query", "Query"]);
}

#[tokio::test]
async fn nobody_but_the_people_of_the_room_reads_its_questions() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let mallory = room.join(&context, "Mallory").await;
    room.remove(&context, &ada, &mallory).await;
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    let waiting = room.join(&context, "Wu").await;
    let nobody = Command::new("list_questions", "room", &room.id).run(&context).await;
    refused(&nobody, 401, "authentication_required");
    for (by, status, code) in
        [(&stranger, 403, "forbidden"), (&mallory, 401, "token_invalid"), (&waiting, 403, "not_admitted")]
    {
        refused(&room.call("list_questions", by).run(&context).await, status, code);
    }
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    refused(&room.call("list_questions", &ada).run(&context).await, 410, "room_ended");
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_an_error() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let id = room.ask(&context, &ada, "x").await;
    let broken = json!({
        "TableName": "greenroom-state",
        "Key": {"pk": {"S": format!("ROOM#{}", room.id)}, "sk": {"S": format!("Q#{id}")}},
        "UpdateExpression": "REMOVE votes",
    });
    faulty.call("UpdateItem", &broken).await;
    refused(&room.call("list_questions", &ada).run(&context).await, 500, "internal_error");
}
