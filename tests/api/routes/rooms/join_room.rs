use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{self, NewRoom, PASSWORD};
use crate::support::{refused, refused_field};
use futures_util::future::join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn somebody_who_joins_is_in_the_room_and_may_act_there() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom(json!({"settings": {"muteOnJoin": true}})).create(&context).await;
    let reply = Command::new("join_room", "room", &room.slug).with(json!({"name": "Grace"})).run(&context).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
    let joined = reply.json();
    assert_eq!((&joined["state"], &joined["roomDetails"]["present"]), (&json!("joined"), &json!(2)));
    assert_eq!(joined["iceServers"], json!([{"urls": "stun:stun.l.google.com:19302"}]));
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    let people: Vec<_> = seen["participants"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(people, ["Ada", "Grace"]);
    assert_eq!(seen["participants"][1]["isMuted"], true);
    let grace = &seen["participants"][1]["participant"];
    assert_eq!((&grace["role"], &grace["isVideoOn"]), (&json!("attendee"), &json!(false)));
}

/// The presenter counts.
#[tokio::test]
async fn a_room_with_more_people_than_it_wants_warns_in_every_answer() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom(json!({"settings": {"warnAbove": 2}})).create(&context).await;
    let look = room.call("get_room", &presenter);
    let change = |body: Value| room.call("update_room", &presenter).with(body);
    for warning in [Value::Null, json!("star_size")] {
        let joined = Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"})).run(&context).await;
        assert_eq!((joined.status, &joined.json()["warning"]), (200, &warning));
        assert_eq!(look.run(&context).await.json()["warning"], warning);
        let changed = change(json!({"title": format!("About {warning}")})).run(&context).await;
        assert_eq!((changed.status, &changed.json()["warning"]), (200, &warning));
    }
    let changed = change(json!({"settings": {"warnAbove": 3}})).run(&context).await;
    assert_eq!((changed.status, &changed.json()["warning"]), (200, &Value::Null));
    assert_eq!(look.run(&context).await.json()["warning"], Value::Null);
}

#[tokio::test]
async fn a_password_is_needed_and_guesses_are_limited() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, _) = NewRoom(json!({"password": PASSWORD})).create(&context).await;
    let ask = |body: Value| Command::new("join_room", "room", &room.id).with(body);
    refused(&ask(json!({"name": "G"})).run(&context).await, 401, "password_required");
    // Right ones do not count.
    for n in 0..3 {
        assert_eq!(ask(json!({"name": "G", "password": PASSWORD})).run(&context).await.status, 200, "{n}");
    }
    let wrong = ask(json!({"name": "G", "password": "U*V"}));
    let answers = join_all((0..14).map(|_| wrong.run(&context))).await;
    let hashed = answers.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(hashed, 10);
    let reply = ask(json!({"name": "G", "password": PASSWORD})).run(&context).await;
    refused(&reply, 429, "rate_limited");
    // Another address and another room are not limited.
    let elsewhere = Command { address: [198, 51, 100, 1], ..ask(json!({"name": "G", "password": PASSWORD})) };
    assert_eq!(elsewhere.run(&context).await.status, 200);
    // One that is too long is refused before anything is read or hashed.
    faulty.be_well();
    refused_field(&ask(json!({"name": "G", "password": "x".repeat(129)})).run(&context).await, "password");
    assert!(faulty.calls().is_empty(), "{:?}", faulty.calls());
}

/// A join must not depend on the number of people that it has read: some lost every time, and got 503.
#[tokio::test]
async fn whoever_joins_beside_others_gets_a_seat() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, _) = NewRoom(json!({"maxParticipants": 1000})).create(&context).await;
    let joins = (0..8_u8).map(|n| {
        let command = Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"}));
        let (command, context) = (Command { address: [198, 51, 100, n], ..command }, context.clone());
        async move {
            for _ in 0..25 {
                let reply = command.run(&context).await;
                assert_eq!(reply.status, 200, "{}", reply.text);
            }
        }
    });
    join_all(joins).await;
}

/// Two come into a full room at once, in which two are silent: there is a seat for each, whoever frees it.
#[tokio::test]
async fn nobody_is_refused_a_seat_that_somebody_else_has_just_freed() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let mut in_a_minute = context.clone();
    in_a_minute.clock =
        || domain::Timestamp::from(std::time::SystemTime::now()).plus(std::time::Duration::from_mins(1));
    for _ in 0..5 {
        let (room, _) = NewRoom(json!({"maxParticipants": 3})).create(&context).await;
        for name in ["Silent", "Mute"] {
            room.join(&context, name).await;
        }
        let join = Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"}));
        let answers = join_all((0..2).map(|_| join.run(&in_a_minute))).await;
        assert_eq!(answers.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200], "{}", answers[0].text);
    }
}

#[tokio::test]
async fn a_hundred_who_race_for_five_seats_get_exactly_five() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom(json!({"maxParticipants": 6})).create(&context).await;
    let joins = (0..100_u8).map(|n| {
        let command = Command::new("join_room", "room", &room.id).with(json!({"name": format!("Guest {n}")}));
        let context = context.clone();
        let command = Command { address: [198, 51, 100, n], ..command };
        async move {
            loop {
                let reply = command.run(&context).await;
                // A machine that is busy with other tests may answer that it is, which every client repeats.
                if reply.status != 503 {
                    return reply;
                }
            }
        }
    });
    let answers = join_all(joins).await;
    let seated = answers.iter().filter(|reply| reply.status == 200).count();
    let full = answers.iter().filter(|reply| reply.status == 409 && reply.json()["code"] == "room_full").count();
    let others: Vec<_> =
        answers.iter().filter(|reply| ![200, 409].contains(&reply.status)).map(|reply| &reply.text).collect();
    assert_eq!((seated, full), (5, 95), "{others:?}");
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    assert_eq!((&seen["room"]["present"], seen["participants"].as_array().unwrap().len()), (&json!(6), 6));
    let stats = room.call("end_room", &presenter).run(&context).await.json()["sessionStats"].clone();
    assert_eq!((&stats["maxConcurrentParticipants"], &stats["totalParticipants"]), (&json!(6), &json!(6)));
}

#[tokio::test]
async fn a_full_room_gives_away_the_seat_of_somebody_who_is_silent() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom(json!({"maxParticipants": 2})).create(&context).await;
    let silent = room.join(&context, "Grace").await;
    let later = |at| {
        let mut context = context.clone();
        context.clock = at;
        context
    };
    // The presenter stays; the lease of the other one lapses after 35 s.
    let in_a_minute =
        later(|| domain::Timestamp::from(std::time::SystemTime::now()).plus(std::time::Duration::from_mins(1)));
    let stays = json!({"lease": "page-load-1"});
    assert_eq!(room.call("renew_presence", &presenter).with(stays.clone()).run(&in_a_minute).await.status, 200);
    let next = room.join(&in_a_minute, "Heidi").await;
    let reply = room.call("renew_presence", &silent).with(stays.clone()).run(&in_a_minute).await;
    refused(&reply, 409, "room_full");
    // Nobody reads or writes there whom the room does not show.
    for endpoint in ["get_room", "list_room_users", "list_messages", "list_questions"] {
        refused(&room.call(endpoint, &silent).run(&in_a_minute).await, 403, "no_seat");
    }
    let post = room.call("post_message", &silent).with(json!({"message": "Boo"}));
    refused(&post.run(&in_a_minute).await, 403, "no_seat");
    // The silent one is the same participant again when a seat is free.
    assert_eq!(room.call("leave_room", &next).with(json!({})).run(&in_a_minute).await.status, 200);
    assert_eq!(room.call("renew_presence", &silent).with(stays).run(&in_a_minute).await.status, 200);
    let seen = room.call("get_room", &presenter).run(&in_a_minute).await.json();
    assert_eq!((&seen["room"]["present"], seen["participants"].as_array().unwrap().len()), (&json!(2), 2));
}

/// Otherwise whoever joins while the presenter's machine sleeps could take the room over until it expires.
#[tokio::test]
async fn a_full_room_keeps_the_seat_of_a_presenter_who_is_silent() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom(json!({"maxParticipants": 2})).create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let mut in_a_minute = context.clone();
    in_a_minute.clock =
        || domain::Timestamp::from(std::time::SystemTime::now()).plus(std::time::Duration::from_mins(1));
    let stays = json!({"lease": "page-load-1"});
    assert_eq!(room.call("renew_presence", &guest).with(stays.clone()).run(&in_a_minute).await.status, 200);
    let reply = room.call("join_room", &guest).with(json!({"name": "Heidi"})).run(&in_a_minute).await;
    refused(&reply, 409, "room_full");
    assert_eq!(room.call("renew_presence", &presenter).with(stays).run(&in_a_minute).await.status, 200);
    let removal = room.moderate(&presenter, &guest, json!({"removed": true}));
    assert_eq!(removal.run(&in_a_minute).await.status, 200);
}

#[tokio::test]
async fn a_lobby_lets_nobody_act_before_a_presenter_admits_them() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom(json!({"settings": {"lobby": true}})).create(&context).await;
    let waiting = room.join(&context, "Wu").await;
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    assert_eq!((&seen["participants"][1], &seen["waiting"][0]["name"]), (&Value::Null, &json!("Wu")));
    assert_eq!(seen["room"]["present"], 1);
    refused(&waiting.call("set_mute").with(json!({"isMuted": true})).run(&context).await, 403, "not_admitted");
    refused(&room.call("get_room", &waiting).run(&context).await, 403, "not_admitted");
    assert_eq!(waiting.call("get_user").run(&context).await.json()["roomId"], Value::Null);
    for _ in 0..2 {
        let admitted = room.moderate(&presenter, &waiting, json!({"admitted": true})).run(&context).await;
        assert_eq!(admitted.status, 200, "{}", admitted.text);
    }
    assert_eq!(waiting.call("set_mute").with(json!({"isMuted": true})).run(&context).await.status, 200);
    let seen = room.call("get_room", &waiting).run(&context).await.json();
    assert_eq!((&seen["room"]["present"], &seen["waiting"]), (&json!(2), &Value::Null));
}

/// A setting that is acknowledged holds for everybody who joins, also for those whose request had begun before.
#[tokio::test]
async fn a_setting_that_changes_while_somebody_joins_holds_for_them() {
    for change in [json!({"lobby": true}), json!({"moderatedUnmute": true})] {
        for calls in 0..8 {
            let faulty = Faulty::new();
            let context = rooms::strict(&faulty).await;
            let (room, presenter) = NewRoom::default().create(&context).await;
            // The change comes after this many calls of the one who joins.
            let (plan, reached) =
                crate::support::faults::kill_at(calls, crate::support::faults::Fault::Answers(|_| ()));
            faulty.be(plan);
            let ask = Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"}));
            let changes = async {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(300), reached.notified()).await;
                room.set(&context, &presenter, json!({"settings": change})).await;
            };
            let (joined, ()) = tokio::join!(ask.run(&context), changes);
            assert!([200, 202].contains(&joined.status), "{}", joined.text);
            let (id, token) = (joined.json()["participantId"].clone(), joined.json()["token"].clone());
            let unmute = Command::new("set_mute", "userId", id.as_str().unwrap()).with(json!({"isMuted": false}));
            let unmute = unmute.header("authorization", format!("Bearer {}", token.as_str().unwrap()));
            let seen = room.call("get_room", &presenter).run(&context).await.json();
            let is_listed = seen["participants"].as_array().unwrap().len() == 2;
            match change["lobby"].as_bool() {
                // Whoever was let in before the change is in the room, whoever was not waits.
                Some(_) => assert_eq!(is_listed, joined.status == 200, "after {calls} calls"),
                None => drop(refused(&unmute.run(&context).await, 403, "unmute_not_allowed")),
            }
        }
    }
}

/// Nobody is left behind, with a name, in a room that has ended.
#[tokio::test]
async fn somebody_who_joins_while_the_room_ends_is_refused_or_removed() {
    for lobby in [true, false] {
        for calls in 0..8 {
            let faulty = Faulty::new();
            let context = rooms::strict(&faulty).await;
            let (room, presenter) = NewRoom(json!({"settings": {"lobby": lobby}})).create(&context).await;
            let stop = faulty.follow();
            let (plan, reached) =
                crate::support::faults::kill_at(calls, crate::support::faults::Fault::Answers(|_| ()));
            faulty.be(plan);
            let ask = Command::new("join_room", "room", &room.id).with(json!({"name": "Grace"}));
            let ends = async {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(300), reached.notified()).await;
                room.call("end_room", &presenter).run(&context).await
            };
            let (joined, ended) = tokio::join!(ask.run(&context), ends);
            assert_eq!(ended.status, 200, "{}", ended.text);
            assert!([200, 202, 410].contains(&joined.status), "{}", joined.text);
            let began = std::time::Instant::now();
            loop {
                let stored = faulty.stored().await;
                if !stored.as_object().unwrap().values().any(|item| item["name"]["S"].is_string()) {
                    break;
                }
                assert!(began.elapsed() < crate::support::PATIENCE, "lobby {lobby}, after {calls} calls: {stored:#}");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            stop.send(true).unwrap();
        }
    }
}

#[tokio::test]
async fn a_room_that_is_not_there_or_has_ended_lets_nobody_in() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let ask = |room: &str| Command::new("join_room", "room", room).with(json!({"name": "Grace"}));
    for unknown in ["rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", "é-zzzzzzzzzzzzz", "demo"] {
        refused(&ask(unknown).run(&context).await, 404, "room_not_found");
    }
    refused_field(&ask("a b").run(&context).await, "room");
    assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
    refused(&ask(&room.slug).run(&context).await, 410, "room_ended");
}
