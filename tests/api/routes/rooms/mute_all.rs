use crate::support::faults::{Command, Fault, Faulty};
use crate::support::rooms::{NewRoom, Person, Room, open, strict};
use crate::support::{Reply, instant, keys, refused, refused_field};
use functions::Context;
use futures_util::future::join_all;
use serde_json::json;

async fn mute_all(context: &Context, room: &Room, by: &Person) -> Reply {
    room.call("mute_all", by).run(context).await
}

#[tokio::test]
async fn everybody_but_presenters_is_asked_and_sees_it() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (grace, heidi) = (room.join(&context, "Grace").await, room.join(&context, "Heidi").await);
    let co = room.join(&context, "Co").await;
    let promoted = room.moderate(&ada, &co, json!({"role": "presenter"})).run(&context).await;
    assert_eq!(promoted.status, 200);
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    room.join(&context, "Wu").await;
    assert!(room.call("get_room", &grace).run(&context).await.json()["room"]["muteRequest"].is_null());
    let reply = mute_all(&context, &room, &ada).await;
    assert_eq!((reply.status, keys(&reply.json())), (202, vec!["requestId", "targets"]));
    let asked = |person: &Person| json!({"participantId": person.id, "outcome": "requested"});
    assert_eq!(reply.json()["targets"], json!([asked(&grace), asked(&heidi)]));
    let seen = room.call("get_room", &grace).run(&context).await.json()["room"]["muteRequest"].take();
    assert_eq!((keys(&seen), &seen["requestId"]), (vec!["at", "requestId"], &reply.json()["requestId"]));
    instant(&seen["at"]);
}

/// The server opens and closes no microphone.
#[tokio::test]
async fn a_request_changes_no_claim_and_writes_a_notice() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let before = faulty.stored().await[format!("USER#{}", grace.id)].clone();
    assert_eq!(mute_all(&context, &room, &ada).await.status, 202);
    assert_eq!(faulty.stored().await[format!("USER#{}", grace.id)], before);
    let mut messages = room.call("list_messages", &grace).run(&context).await.json()["messages"].take();
    let notice = messages[0].as_object_mut().unwrap();
    notice.retain(|name, _| !["id", "createdAt"].contains(&name.as_str()));
    let expected =
        json!([{"participantId": null, "name": null, "type": "system", "message": "Everybody was asked to mute."}]);
    assert_eq!(messages, expected);
    let ended = room.call("end_room", &ada).run(&context).await.json();
    assert_eq!(ended["sessionStats"]["totalMessages"], 0, "the server's own messages do not count");
}

#[tokio::test]
async fn a_room_with_nobody_else_has_nobody_to_ask() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let reply = mute_all(&context, &room, &ada).await;
    assert_eq!((reply.status, &reply.json()["targets"]), (202, &json!([])));
    let mut command = room.call("get_mute_request", &ada);
    command.parameters.push(("muteRequestId", reply.json()["requestId"].as_str().unwrap().to_owned()));
    assert_eq!(command.run(&context).await.json(), reply.json());
}

#[tokio::test]
async fn nobody_but_a_presenter_of_the_room_asks() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    refused(&mute_all(&context, &room, &grace).await, 403, "presenter_only");
    refused(&mute_all(&context, &room, &stranger).await, 403, "forbidden");
    let without_token = || Command::new("mute_all", "room", &room.id);
    refused(&without_token().run(&context).await, 401, "authentication_required");
    let named = without_token().with(json!({"participantId": ada.id})).run(&context).await;
    assert_eq!(named.status, 202, "{}", named.text);
    refused_field(&room.call("mute_all", &ada).with(json!({"targets": []})).run(&context).await, "targets");
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    refused(&mute_all(&context, &room, &ada).await, 410, "room_ended");
}

#[tokio::test]
async fn a_request_with_a_key_is_made_once_however_often_and_at_once_it_is_sent() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    room.join(&context, "Grace").await;
    let all: Vec<_> = (0..10).map(|_| room.call("mute_all", &ada).header("idempotency-key", "k".to_owned())).collect();
    let replies = join_all(all.iter().map(|one| one.run(&context))).await;
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.text == replies[0].text), "{replies:?}");
    let messages = room.call("list_messages", &ada).run(&context).await.json();
    assert_eq!(messages["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_is_whole_or_not_there_whatever_is_lost_on_the_way() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle] {
        for number in 0..4 {
            let faulty = Faulty::new();
            let context = strict(&faulty).await;
            let (room, ada) = NewRoom::default().create(&context).await;
            room.join(&context, "Grace").await;
            faulty.be(Box::new(move |n, _| (n == number).then_some(fault)));
            let reply = mute_all(&context, &room, &ada).await;
            assert_eq!(reply.status, 202, "{fault:?} at {number}: {}", reply.text);
            faulty.be_well();
            let stored = faulty.stored().await;
            let count = |prefix: &str| stored.as_object().unwrap().keys().filter(|key| key.contains(prefix)).count();
            assert_eq!((count(" REQ#"), count(" MSG#")), (1, 1), "{fault:?} at {number}");
        }
    }
}
