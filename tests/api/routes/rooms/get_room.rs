use crate::support::faults::{Command, Faulty};
use crate::support::refused;
use crate::support::rooms::{self, NewRoom, PASSWORD};
use domain::Timestamp;
use serde_json::json;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn a_stranger_sees_only_what_they_need_to_join() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, _) = NewRoom(json!({"password": PASSWORD})).create(&context).await;
    for name in [&room.id, &room.slug] {
        let reply = Command::new("get_room", "room", name).run(&context).await;
        let teaser = json!({
            "slug": room.slug, "title": "Weekly review", "hasPassword": true, "isActive": true, "lobby": false,
        });
        assert_eq!(reply.json(), json!({"room": teaser, "isActive": true}));
    }
}

#[tokio::test]
async fn a_poll_without_changes_is_304() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let first = room.call("get_room", &presenter).run(&context).await;
    let tag = first.header("etag").unwrap().to_owned();
    // The commands of this kind of test have no method, so the answer is compared by its tag.
    assert_eq!(room.call("get_room", &presenter).run(&context).await.header("etag"), Some(tag.as_str()));
    room.join(&context, "Grace").await;
    assert_ne!(room.call("get_room", &presenter).run(&context).await.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn a_room_that_only_states_name_is_implicit_in_open_mode_alone() {
    let faulty = Faulty::new();
    let open = rooms::open(&faulty).await;
    let state = json!({"isMuted": true, "roomId": "demo"});
    Command::new("set_state", "userId", "ada").with(state).run(&open).await;
    let seen = Command::new("get_room", "room", "demo").run(&open).await.json();
    assert_eq!((&seen["room"], &seen["isActive"]), (&json!({"roomId": "demo", "implicit": true}), &json!(true)));
    assert_eq!(seen["participants"][0]["userId"], "ada");
    let nobody = Command::new("get_room", "room", "empty").run(&open).await.json();
    assert_eq!((&nobody["participants"], &nobody["isActive"]), (&json!([]), &json!(false)));
    let strict = rooms::strict(&faulty).await;
    refused(&Command::new("get_room", "room", "demo").run(&strict).await, 404, "room_not_found");
}

/// A state cannot name its way into a room that somebody created, whose people may need a password.
#[tokio::test]
async fn in_open_mode_too_only_joining_leads_into_a_created_room() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let state = Command::new("set_state", "userId", "eve").with(json!({"isMuted": true, "roomId": room.id}));
    refused(&state.run(&context).await, 403, "join_first");
    for endpoint in ["list_room_users", "list_room_events", "get_room_audit", "get_room_safe"] {
        refused(&Command::new(endpoint, "room", &room.id).run(&context).await, 401, "authentication_required");
    }
    let moves = presenter.call("set_state").with(json!({"isMuted": true, "roomId": "other"}));
    refused(&moves.run(&context).await, 403, "room_fixed");
    // Nobody learns from outside who is in it.
    let all = Command::new("list_users", "none", "").run(&context).await;
    assert_eq!((all.status, &all.json()["items"]), (200, &json!([])));
    // An id of a participant that Greenroom did not make.
    let forged = Command::new("set_state", "userId", "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF").with(json!({"isMuted": true}));
    refused(&forged.run(&context).await, 404, "user_not_found");
}

#[tokio::test]
async fn a_room_ends_by_itself_after_twelve_hours_and_is_forgotten_an_hour_later() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let ask = Command::new("get_room", "room", &room.id);
    let mut later = context.clone();
    later.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_hours(12));
    let teaser = ask.run(&later).await.json();
    assert_eq!((&teaser["isActive"], &teaser["room"]["isActive"]), (&json!(false), &json!(false)));
    refused(&room.call("get_room", &presenter).run(&later).await, 401, "token_invalid");
    refused(
        &Command::new("join_room", "room", &room.id).with(json!({"name": "G"})).run(&later).await,
        410,
        "room_ended",
    );
    later.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_hours(13));
    refused(&ask.run(&later).await, 404, "room_not_found");
}

/// Their items are more than one page of a query, which has 1 MB.
#[tokio::test]
async fn a_room_of_a_thousand_with_the_longest_names_is_listed_whole() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, ada) = NewRoom(json!({"maxParticipants": 1000})).create(&context).await;
    let grace = room.join(&context, &"🎤".repeat(100)).await;
    let claim =
        json!({"isMuted": true, "deviceId": "d".repeat(256), "deviceLabel": "🎤".repeat(256), "roomId": room.id});
    let claimed = grace.call("set_state").with(claim).run(&context).await;
    assert_eq!(claimed.status, 200, "{}", claimed.text);
    let item = faulty.stored().await[format!("USER#{}", grace.id)].clone();
    let copies: Vec<_> = (2..1000)
        .map(|n| {
            let mut item = item.clone();
            item["pk"]["S"] = format!("USER#p_01ZZZZZZZZZZZZZZZZZZZZ{n:04}").into();
            json!({"PutRequest": {"Item": item}})
        })
        .collect();
    for batch in copies.chunks(25) {
        faulty.call("BatchWriteItem", &json!({"RequestItems": {"greenroom-state": batch}})).await;
    }
    faulty.be_well();
    let reply = room.call("get_room", &ada).run(&context).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(faulty.calls().iter().filter(|call| *call == "Query").count() > 1, "{:?}", faulty.calls());
    let seen = reply.json();
    let ids: std::collections::BTreeSet<_> =
        seen["participants"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), seen["participants"].as_array().unwrap().len()), (1000, 1000));
}
