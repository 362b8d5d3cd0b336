use crate::support::faults::{Command, Fault, Faulty};
use crate::support::rooms::{NewRoom, Person, Room, open, strict};
use crate::support::{Reply, instant, keys, refused, refused_field};
use domain::question::{OPEN_MAX, QUESTIONS_MAX};
use functions::Context;
use futures_util::future::join_all;
use serde_json::{Value, json};

async fn ask(context: &Context, room: &Room, by: &Person, body: Value) -> Reply {
    room.call("ask_question", by).with(body).run(context).await
}

/// The room's own counts: questions ever asked, held and open.
async fn counted(faulty: &Faulty, room: &Room) -> [u64; 3] {
    let stored = faulty.stored().await;
    ["questions", "heldQuestions", "openQuestions"]
        .map(|name| stored[format!("ROOM#{}", room.id)][name]["N"].as_str().unwrap().parse().unwrap())
}

/// Sets one of these counts, as if there were so many questions.
async fn set_count(faulty: &Faulty, room: &Room, name: &str, number: u32) {
    let update = json!({
        "TableName": "greenroom-state", "Key": {"pk": {"S": format!("ROOM#{}", room.id)}, "sk": {"S": "META"}},
        "UpdateExpression": format!("SET {name} = :number"), "ExpressionAttributeValues": {":number": {"N": number.to_string()}},
    });
    faulty.call("UpdateItem", &update).await;
}

#[tokio::test]
async fn a_question_is_listed_as_it_was_asked() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let reply = ask(&context, &room, &grace, json!({"question": " Why?\r\nZoe\u{308} "})).await;
    assert_eq!((reply.status, keys(&reply.json())), (201, vec!["questionId"]));
    let questions = room.questions(&context, &ada).await;
    let mut question = questions[0].clone();
    assert!(question["questionId"].as_str().unwrap().starts_with("q_"));
    instant(&question["createdAt"].take());
    assert_eq!(questions.len(), 1);
    assert_eq!(
        question,
        json!({
            "questionId": reply.json()["questionId"], "participantId": grace.id, "name": "Grace", "question": "Why?\nZoë",
            "votes": 0, "hasVoted": false, "isPinned": false, "isAnswered": false, "answer": null, "answeredAt": null,
            "createdAt": null,
        })
    );
}

#[tokio::test]
async fn a_malformed_question_is_400_and_is_not_stored() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for (body, field) in [
        (json!({}), "question"),
        (json!({"question": " "}), "question"),
        (json!({"question": "x".repeat(1001)}), "question"),
        (json!({"question": "a\u{202E}b"}), "question"),
        (json!({"question": "x", "isPinned": true}), "isPinned"),
        (json!({"question": "x", "participantId": ".."}), "participantId"),
    ] {
        refused_field(&ask(&context, &room, &ada, body).await, field);
    }
    assert_eq!(room.questions(&context, &ada).await, [json!(null); 0]);
    assert_eq!(ask(&context, &room, &ada, json!({"question": "ä".repeat(1000)})).await.status, 201);
}

#[tokio::test]
async fn nobody_but_the_people_of_the_room_asks() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let mallory = room.join(&context, "Mallory").await;
    room.remove(&context, &ada, &mallory).await;
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    let waiting = room.join(&context, "Wu").await;
    let text = || json!({"question": "x"});
    let nobody = Command::new("ask_question", "room", &room.id).with(text()).run(&context).await;
    refused(&nobody, 401, "authentication_required");
    refused(&ask(&context, &room, &stranger, text()).await, 403, "forbidden");
    refused(&ask(&context, &room, &mallory, text()).await, 401, "token_invalid");
    refused(&ask(&context, &room, &waiting, text()).await, 403, "not_admitted");
    room.set(&context, &ada, json!({"settings": {"questions": false}})).await;
    refused(&ask(&context, &room, &ada, text()).await, 403, "questions_off");
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    refused(&ask(&context, &room, &ada, text()).await, 410, "room_ended");
    assert_eq!(counted(&faulty, &room).await, [0, 0, 0]);
}

#[tokio::test]
async fn in_open_mode_the_body_names_the_author() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let without_token = |body| Command::new("ask_question", "room", &room.slug).with(body);
    let asked = without_token(json!({"question": "x", "participantId": ada.id})).run(&context).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    refused(&without_token(json!({"question": "x"})).run(&context).await, 401, "authentication_required");
}

#[tokio::test]
async fn a_room_has_at_most_so_many_questions() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    set_count(&faulty, &room, "openQuestions", OPEN_MAX - 1).await;
    let question = room.ask(&context, &grace, "the last one").await;
    refused(&ask(&context, &room, &ada, json!({"question": "x"})).await, 409, "too_many_questions");
    let answered = room.about(&question, "answer_question", &ada).with(json!({"answer": "Yes."})).run(&context).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    room.ask(&context, &ada, "an answered one makes place").await;
    let again = room.about(&question, "update_question", &ada).with(json!({"isAnswered": false}));
    refused(&again.run(&context).await, 409, "too_many_questions");
    set_count(&faulty, &room, "openQuestions", 1).await;
    set_count(&faulty, &room, "heldQuestions", QUESTIONS_MAX).await;
    refused(&ask(&context, &room, &ada, json!({"question": "x"})).await, 409, "too_many_questions");
    let removed = room.about(&question, "update_question", &grace).with(json!({"removed": true})).run(&context).await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    room.ask(&context, &ada, "a removed one makes place").await;
}

/// Others join at the same time, and their transactions collide with those of the questions.
#[tokio::test]
async fn questions_at_once_are_all_counted() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let asking = (0..20).map(|n| {
        let command = room.call("ask_question", &ada).with(json!({"question": format!("question {n}")}));
        let context = context.clone();
        async move { command.run(&context).await.status }
    });
    let joining = (0..20).map(|n| {
        let (room, context) = (room.clone(), context.clone());
        async move { room.join(&context, &format!("P{n}")).await }
    });
    let (asked, joined) = tokio::join!(join_all(asking), join_all(joining));
    let good = asked.iter().filter(|status| **status == 201).count();
    assert!(good >= 10 && joined.len() == 20, "{asked:?}");
    assert_eq!(room.questions(&context, &ada).await.len(), good);
    assert_eq!(counted(&faulty, &room).await, [good as u64; 3]);
    let ended = room.call("end_room", &ada).run(&context).await.json();
    assert_eq!(ended["sessionStats"]["totalQuestions"], good);
}

#[tokio::test]
async fn a_question_is_asked_and_counted_once_whatever_is_lost_on_the_way() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle, Fault::Conflict] {
        for number in 0..3 {
            let faulty = Faulty::new();
            let context = strict(&faulty).await;
            let (room, ada) = NewRoom::default().create(&context).await;
            faulty.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let reply = ask(&context, &room, &ada, json!({"question": "x"})).await;
            faulty.be_well();
            let stored = usize::from(reply.status == 201);
            let transient = matches!(fault, Fault::Conflict) && reply.status == 503;
            assert!(stored == 1 || transient, "{fault:?} at {number}: {}", reply.text);
            assert_eq!(room.questions(&context, &ada).await.len(), stored, "{fault:?} at {number}");
            assert_eq!(counted(&faulty, &room).await, [stored as u64; 3], "{fault:?} at {number}");
        }
    }
}
