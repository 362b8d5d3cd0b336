use crate::support::faults::Faulty;
use crate::support::rooms::{NewRoom, Person, Room, strict};
use crate::support::{Reply, keys, refused, refused_field};
use functions::Context;
use futures_util::future::join_all;
use serde_json::{Value, json};

async fn update(context: &Context, room: &Room, question: &str, by: &Person, change: Value) -> Reply {
    room.about(question, "update_question", by).with(change).run(context).await
}

#[tokio::test]
async fn a_presenter_pins_and_closes_a_question_and_a_repeated_change_writes_nothing() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &grace, "Why?").await;
    assert_eq!(room.about(&question, "cast_vote", &ada).run(&context).await.status, 200);
    let change = json!({"isPinned": true, "isAnswered": true});
    let reply = update(&context, &room, &question, &ada, change.clone()).await;
    assert_eq!((reply.status, keys(&reply.json())), (200, vec!["question", "questionId", "removed"]));
    let shown = reply.json()["question"].take();
    assert_eq!(shown, room.questions(&context, &ada).await[0]);
    assert_eq!(
        (&shown["isPinned"], &shown["isAnswered"], &shown["hasVoted"]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert!(shown["answer"].is_null() && shown["answeredAt"].is_string(), "{shown}");
    faulty.be_well();
    assert_eq!(update(&context, &room, &question, &ada, change).await.json()["question"], shown);
    assert!(!faulty.calls().contains(&"TransactWriteItems".to_owned()), "{:?}", faulty.calls());
    let open = update(&context, &room, &question, &ada, json!({"isPinned": false, "isAnswered": false})).await.json();
    assert_eq!((&open["question"]["isPinned"], &open["question"]["answeredAt"]), (&json!(false), &json!(null)));
    assert_eq!(faulty.stored().await[format!("ROOM#{}", room.id)]["openQuestions"]["N"], "1");
}

#[tokio::test]
async fn a_question_that_is_open_again_has_no_answer() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let answered = room.about(&question, "answer_question", &ada).with(json!({"answer": "x"})).run(&context).await;
    assert_eq!(answered.status, 200);
    let open = update(&context, &room, &question, &ada, json!({"isAnswered": false})).await.json();
    assert!(open["question"]["answer"].is_null() && open["question"]["answeredAt"].is_null(), "{open}");
}

#[tokio::test]
async fn its_author_or_a_presenter_removes_a_question_and_nobody_else() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (grace, eve) = (room.join(&context, "Grace").await, room.join(&context, "Eve").await);
    for by in [&grace, &ada] {
        let question = room.ask(&context, &grace, "Why?").await;
        let remove = || json!({"removed": true});
        refused(&update(&context, &room, &question, &eve, remove()).await, 403, "not_the_author");
        let reply = update(&context, &room, &question, by, remove()).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"questionId": question, "removed": true})));
        refused(&update(&context, &room, &question, by, remove()).await, 404, "question_not_found");
        refused(&update(&context, &room, &question, &ada, json!({"isPinned": true})).await, 404, "question_not_found");
    }
    assert_eq!(room.questions(&context, &ada).await.len(), 0);
    let stored = &faulty.stored().await[format!("ROOM#{}", room.id)];
    assert_eq!((&stored["openQuestions"]["N"], &stored["heldQuestions"]["N"]), (&json!("0"), &json!("0")));
    assert_eq!(stored["questions"]["N"], "2", "the statistics keep them");
}

#[tokio::test]
async fn an_attendee_neither_pins_nor_closes() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &grace, "Why?").await;
    for change in [json!({"isPinned": true}), json!({"isAnswered": true})] {
        refused(&update(&context, &room, &question, &grace, change).await, 403, "presenter_only");
    }
    for (change, field) in [
        (json!({"removed": false}), "removed"),
        (json!({"removed": true, "isPinned": true}), "removed"),
        (json!({"isPinned": "yes"}), "isPinned"),
        (json!({"votes": 7}), "votes"),
    ] {
        refused_field(&update(&context, &room, &question, &ada, change).await, field);
    }
    refused_field(&update(&context, &room, "7", &ada, json!({})).await, "questionId");
    assert_eq!(room.questions(&context, &ada).await[0]["isPinned"], false);
}

/// Answers, reopenings and removals of the same questions at once.
#[tokio::test]
async fn the_counts_are_right_after_changes_at_once() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let mut questions = Vec::new();
    for n in 0..6 {
        questions.push(room.ask(&context, &ada, &format!("question {n}")).await);
    }
    let changes = [
        json!({"isAnswered": true}),
        json!({"isAnswered": false}),
        json!({"isPinned": true}),
        json!({"removed": true}),
    ];
    let all: Vec<_> = questions
        .iter()
        .enumerate()
        .flat_map(|(n, question)| {
            let kept = if n % 2 == 0 { 4 } else { 3 };
            changes[..kept].iter().map(|change| room.about(question, "update_question", &ada).with(change.clone()))
        })
        .collect();
    join_all(all.iter().chain(&all).map(|command| command.run(&context))).await;
    let left = room.questions(&context, &ada).await;
    let open = left.iter().filter(|question| question["isAnswered"] == false).count();
    let stored = &faulty.stored().await[format!("ROOM#{}", room.id)];
    assert_eq!(stored["heldQuestions"]["N"], left.len().to_string());
    assert_eq!(stored["openQuestions"]["N"], open.to_string());
}
