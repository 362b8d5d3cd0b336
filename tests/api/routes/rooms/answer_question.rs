use crate::support::faults::Faulty;
use crate::support::rooms::{NewRoom, strict};
use crate::support::{instant, refused, refused_field};
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn an_answer_is_shown_and_another_one_replaces_it() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &grace, "Why?").await;
    for answer in ["Because.", "Because\nof that."] {
        let reply = room.about(&question, "answer_question", &ada).with(json!({"answer": answer})).run(&context).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"success": true})));
        let shown = &room.questions(&context, &grace).await[0];
        assert_eq!((&shown["isAnswered"], &shown["answer"]), (&json!(true), &json!(answer)));
        instant(&shown["answeredAt"]);
    }
    let stored = faulty.stored().await;
    assert_eq!(stored[format!("ROOM#{}", room.id)]["openQuestions"]["N"], "0", "counted once");
}

#[tokio::test]
async fn answers_at_once_count_once() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    room.ask(&context, &ada, "another").await;
    let question = room.ask(&context, &ada, "Why?").await;
    let answer = |n| room.about(&question, "answer_question", &ada).with(json!({"answer": format!("answer {n}")}));
    let all: Vec<_> = (0..20).map(answer).collect();
    let statuses: Vec<_> =
        join_all(all.iter().map(|one| one.run(&context))).await.iter().map(|reply| reply.status).collect();
    assert!(statuses.contains(&200) && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    let stored = faulty.stored().await;
    assert_eq!(stored[format!("ROOM#{}", room.id)]["openQuestions"]["N"], "1");
}

#[tokio::test]
async fn only_a_presenter_answers_and_only_what_was_asked() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &grace, "Why?").await;
    let answer = |question: &str, by| room.about(question, "answer_question", by).with(json!({"answer": "x"}));
    refused(&answer(&question, &grace).run(&context).await, 403, "presenter_only");
    refused(&answer(&question, &stranger).run(&context).await, 403, "forbidden");
    refused(&answer("q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH", &ada).run(&context).await, 404, "question_not_found");
    refused_field(&answer("7", &ada).run(&context).await, "questionId");
    for (body, field) in [
        (json!({}), "answer"),
        (json!({"answer": ""}), "answer"),
        (json!({"answer": "x".repeat(3001)}), "answer"),
        (json!({"answer": "x", "votes": 7}), "votes"),
    ] {
        let reply = room.about(&question, "answer_question", &ada).with(body).run(&context).await;
        refused_field(&reply, field);
    }
    assert_eq!(room.questions(&context, &ada).await[0]["isAnswered"], false);
}
