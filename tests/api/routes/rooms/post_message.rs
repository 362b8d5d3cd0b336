use crate::support::faults::{Command, Fault, Faulty};
use crate::support::rooms::{NewRoom, Person, Room, open, strict};
use crate::support::{Reply, instant, keys, refused, refused_field};
use functions::Context;
use serde_json::{Value, json};

async fn post(context: &Context, room: &Room, by: &Person, body: Value) -> Reply {
    room.call("post_message", by).with(body).run(context).await
}

async fn listed(context: &Context, room: &Room, by: &Person) -> Value {
    room.call("list_messages", by).run(context).await.json()["messages"].take()
}

#[tokio::test]
async fn a_message_is_answered_as_everybody_in_the_room_reads_it() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let reply =
        post(&context, &room, &grace, json!({"message": " Hello\r\n\n  everybody ", "participantId": grace.id})).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let message = reply.json()["message"].take();
    assert_eq!(keys(&message), ["createdAt", "id", "message", "name", "participantId", "type"]);
    assert_eq!(message["message"], "Hello\n\n  everybody");
    assert_eq!(
        (&message["participantId"], &message["name"], &message["type"]),
        (&json!(grace.id), &json!("Grace"), &json!("chat"))
    );
    assert!(message["id"].as_str().unwrap().starts_with("m_"), "{message}");
    instant(&message["createdAt"]);
    assert_eq!(listed(&context, &room, &ada).await, json!([message]));
}

#[tokio::test]
async fn texts_of_every_script_come_back_as_they_were_written() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let family = "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}\u{200D}\u{1F466}";
    let whole = "ä".repeat(4000);
    let all = ["one\ntwo\n\nthree", family, "❤\u{FE0F}", "日本語", "שלום", "\"'\\<b>", &whole];
    for text in all {
        let reply = post(&context, &room, &ada, json!({"message": text})).await;
        assert_eq!((reply.status, &reply.json()["message"]["message"]), (201, &json!(text)));
    }
    let decomposed = post(&context, &room, &ada, json!({"message": "Zoe\u{308}"})).await;
    assert_eq!(decomposed.json()["message"]["message"], "Zoë", "NFD is stored as NFC");
    let texts: Vec<_> =
        listed(&context, &room, &ada).await.as_array().unwrap().iter().map(|one| one["message"].clone()).collect();
    assert_eq!(texts.len(), all.len() + 1);
    assert!(all.iter().all(|text| texts.contains(&json!(text))));
}

#[tokio::test]
async fn a_reaction_is_short_and_on_one_line() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let reaction = |text: String| json!({"message": text, "type": "reaction"});
    let reply = post(&context, &room, &ada, reaction("👍".repeat(16))).await;
    assert_eq!((reply.status, &reply.json()["message"]["type"]), (201, &json!("reaction")));
    refused_field(&post(&context, &room, &ada, reaction("👍".repeat(17))).await, "message");
    for lines in ["👍\n👍", "👍\r\n👍", "👍\n\n👍"] {
        refused_field(&post(&context, &room, &ada, reaction(lines.to_owned())).await, "message");
    }
}

#[tokio::test]
async fn a_malformed_message_is_400_and_is_not_stored() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for (body, field) in [
        (json!({}), "message"),
        (json!({"message": ""}), "message"),
        (json!({"message": " \n "}), "message"),
        (json!({"message": 7}), "message"),
        (json!({"message": "x".repeat(4001)}), "message"),
        (json!({"message": "日".repeat(2731)}), "message"),
        (json!({"message": "a\u{202E}b"}), "message"),
        (json!({"message": "a\u{0}b"}), "message"),
        (json!({"message": "x", "type": "system"}), "type"),
        (json!({"message": "x", "type": "shout"}), "type"),
        (json!({"message": "x", "name": "Eve"}), "name"),
        (json!({"message": "x", "participantId": ".."}), "participantId"),
    ] {
        refused_field(&post(&context, &room, &ada, body).await, field);
    }
    let bad_room = Command::new("post_message", "room", "a b").header("authorization", format!("Bearer {}", ada.token));
    refused_field(&bad_room.with(json!({"message": "x"})).run(&context).await, "room");
    assert_eq!(listed(&context, &room, &ada).await, json!([]));
}

#[tokio::test]
async fn nobody_but_the_people_of_the_room_writes_in_it() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let mallory = room.join(&context, "Mallory").await;
    let grace = room.join(&context, "Grace").await;
    room.remove(&context, &ada, &mallory).await;
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    let waiting = room.join(&context, "Wu").await;
    let text = || json!({"message": "x"});
    let nobody = Command::new("post_message", "room", &room.id).with(text()).run(&context).await;
    refused(&nobody, 401, "authentication_required");
    refused(&post(&context, &room, &stranger, text()).await, 403, "forbidden");
    refused(&post(&context, &room, &mallory, text()).await, 401, "token_invalid");
    refused(&post(&context, &room, &waiting, text()).await, 403, "not_admitted");
    let as_ada = json!({"message": "x", "participantId": ada.id});
    refused(&post(&context, &room, &grace, as_ada).await, 403, "forbidden");
    assert_eq!(listed(&context, &room, &ada).await, json!([]));
}

#[tokio::test]
async fn in_open_mode_the_body_names_the_author() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let without_token = |body| Command::new("post_message", "room", &room.slug).with(body);
    let reply = without_token(json!({"message": "x", "participantId": ada.id})).run(&context).await;
    assert_eq!((reply.status, &reply.json()["message"]["name"]), (201, &json!("Ada")));
    refused(&without_token(json!({"message": "x"})).run(&context).await, 401, "authentication_required");
    let unknown = without_token(json!({"message": "x", "participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF"}));
    refused(&unknown.run(&context).await, 404, "participant_not_found");
}

#[tokio::test]
async fn a_room_without_chat_or_that_has_ended_takes_no_message() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom(json!({"settings": {"chat": false}})).create(&context).await;
    refused(&post(&context, &room, &ada, json!({"message": "x"})).await, 403, "chat_off");
    refused(&post(&context, &room, &ada, json!({"message": "👍", "type": "reaction"})).await, 403, "chat_off");
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    refused(&post(&context, &room, &ada, json!({"message": "x"})).await, 410, "room_ended");
    let missing = Room { id: "rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE".into(), slug: String::new() };
    refused(&post(&context, &missing, &ada, json!({"message": "x"})).await, 403, "forbidden");
}

#[tokio::test]
async fn a_message_is_stored_once_whatever_is_lost_on_the_way() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle] {
        for number in 0..3 {
            let faulty = Faulty::new();
            let context = strict(&faulty).await;
            let (room, ada) = NewRoom::default().create(&context).await;
            faulty.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let reply = post(&context, &room, &ada, json!({"message": "x"})).await;
            assert_eq!(reply.status, 201, "{fault:?} at {number}: {}", reply.text);
            faulty.be_well();
            assert_eq!(listed(&context, &room, &ada).await.as_array().unwrap().len(), 1, "{fault:?} at {number}");
        }
    }
}

#[tokio::test]
async fn a_message_with_a_key_is_stored_once_however_often_and_at_once_it_is_sent() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let keyed =
        || room.call("post_message", &ada).with(json!({"message": "x"})).header("idempotency-key", "k".to_owned());
    let all: Vec<_> = (0..10).map(|_| keyed()).collect();
    let replies = futures_util::future::join_all(all.iter().map(|one| one.run(&context))).await;
    let answers: std::collections::BTreeSet<_> =
        replies.iter().map(|reply| (reply.status, reply.text.clone())).collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(replies[0].status, 201, "{}", replies[0].text);
    assert_eq!(listed(&context, &room, &ada).await.as_array().unwrap().len(), 1);
    refused(&keyed().with(json!({"message": "y"})).run(&context).await, 422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_end_of_a_room_counts_what_people_wrote() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for n in 0..7 {
        let kind = if n % 2 == 0 { "chat" } else { "reaction" };
        assert_eq!(post(&context, &room, &ada, json!({"message": "x", "type": kind})).await.status, 201);
    }
    let ended = room.call("end_room", &ada).run(&context).await.json();
    assert_eq!(ended["sessionStats"]["totalMessages"], 7, "{ended}");
}
