use crate::support::faults::{Command, Fault, Faulty};
use crate::support::rooms::{self, NewRoom};
use crate::support::{refused, refused_field};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_participant_changes_what_others_see_of_them() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let change = json!({"handRaised": true, "isVideoOn": true, "name": "Grace H."});
    let before = guest.call("get_user").run(&context).await.json();
    let changed = room.moderate(&guest, &guest, change).run(&context).await.json()["participant"].clone();
    assert_eq!(
        (&changed["participant"]["handRaised"], &changed["participant"]["isVideoOn"]),
        (&json!(true), &json!(true))
    );
    assert_eq!((&changed["name"], &changed["version"]), (&json!("Grace H."), &before["version"]));
    let lowered = room.moderate(&presenter, &guest, json!({"handRaised": false})).run(&context).await.json();
    assert_eq!(lowered["participant"]["participant"]["handRaised"], false);
}

#[tokio::test]
async fn only_presenters_moderate_and_nobody_speaks_for_another() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let [grace, heidi] = [room.join(&context, "Grace").await, room.join(&context, "Heidi").await];
    for change in
        [json!({"mayUnmute": true}), json!({"role": "presenter"}), json!({"removed": true}), json!({"admitted": true})]
    {
        for target in [&grace, &heidi] {
            refused(&room.moderate(&grace, target, change.clone()).run(&context).await, 403, "presenter_only");
        }
    }
    for change in [json!({"handRaised": true}), json!({"name": "Eve"}), json!({"isVideoOn": false})] {
        refused(&room.moderate(&presenter, &grace, change).run(&context).await, 403, "forbidden");
    }
    let as_another =
        room.call("update_participant", &grace).with(json!({"participantId": heidi.id, "handRaised": true}));
    let mut as_another = as_another;
    as_another.parameters.push(("participantId", heidi.id.clone()));
    refused(&as_another.run(&context).await, 403, "forbidden");
}

/// A removed person's token ends at once, on every write, and their name is forgotten.
#[tokio::test]
async fn somebody_who_is_removed_may_do_nothing_more() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let agent = guest.pair(&context).await;
    let device = json!({"deviceId": "e3b0", "deviceLabel": "Grace's headset"});
    assert_eq!(guest.call("set_device").with(device).run(&context).await.status, 200);
    room.remove(&context, &presenter, &guest).await;
    let agents = |endpoint| Command { parameters: vec![("agentId", agent.clone())], ..guest.call(endpoint) };
    for command in [
        guest.call("set_mute").with(json!({"isMuted": true})),
        guest.call("set_state").with(json!({"isMuted": true})),
        guest.call("set_device").with(json!({"deviceId": "usb"})),
        guest.call("create_pairing"),
        guest.call("attach_agent").with(json!({"witness": "A".repeat(43)})),
        guest.call("end_agent"),
        guest.call("delete_user"),
        guest.call("get_user"),
        agents("revoke_agent"),
        agents("set_binding").with(json!({"deviceId": "e3b0", "agentDeviceId": "pulseaudio:desk"})),
        room.call("renew_presence", &guest).with(json!({"lease": "page-load-1"})),
        room.call("leave_room", &guest).with(json!({"lease": "page-load-1"})),
        room.call("leave_room", &guest).with(json!({})),
        room.call("get_room", &guest),
        room.call("list_room_users", &guest),
        room.call("update_room", &guest).with(json!({"title": "Eve's"})),
        room.call("end_room", &guest),
        room.moderate(&guest, &guest, json!({"handRaised": true})),
    ] {
        let reply = command.run(&context).await;
        assert_eq!((reply.status, &reply.json()["code"]), (401, &json!("token_invalid")), "{}", command.binary);
    }
    refused(
        &room.moderate(&presenter, &guest, json!({"removed": true})).run(&context).await,
        404,
        "participant_not_found",
    );
    guest.is_forgotten(&faulty, "Grace").await;
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    assert_eq!(seen["room"]["present"], 1);
}

#[tokio::test]
async fn a_room_keeps_a_presenter() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    for change in [json!({"role": "attendee"}), json!({"removed": true})] {
        refused(&room.moderate(&presenter, &presenter, change).run(&context).await, 409, "last_presenter");
    }
    refused(&room.call("leave_room", &presenter).with(json!({})).run(&context).await, 409, "last_presenter");
    assert_eq!(room.moderate(&presenter, &guest, json!({"role": "presenter"})).run(&context).await.status, 200);
    // Two who demote each other at once: one of them stays.
    let (one, two) = (
        room.moderate(&presenter, &guest, json!({"role": "attendee"})),
        room.moderate(&guest, &presenter, json!({"role": "attendee"})),
    );
    let (one, two) = tokio::join!(one.run(&context), two.run(&context));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(matches!(statuses, [200, 403 | 409]), "{} {}", one.text, two.text);
    let (presenter, guest) = if one.status == 200 { (presenter, guest) } else { (guest, presenter) };
    assert_eq!(room.moderate(&presenter, &guest, json!({"role": "presenter"})).run(&context).await.status, 200);
    assert_eq!(room.moderate(&presenter, &presenter, json!({"role": "attendee"})).run(&context).await.status, 200);
    // The stored role decides, not the one in the token.
    refused(
        &room.call("update_room", &presenter).with(json!({"title": "T"})).run(&context).await,
        403,
        "presenter_only",
    );
    assert_eq!(room.call("update_room", &guest).with(json!({"title": "T"})).run(&context).await.status, 200);
}

/// A presenter in the lobby could let nobody in, themselves included, and nobody else could end the room.
#[tokio::test]
async fn nobody_becomes_a_presenter_outside_the_room() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom(json!({"settings": {"lobby": true}})).create(&context).await;
    let waiting = room.join(&context, "Wu").await;
    let promote = |change: serde_json::Value| room.moderate(&presenter, &waiting, change);
    refused(&promote(json!({"role": "presenter"})).run(&context).await, 409, "not_seated");
    refused(&room.call("leave_room", &presenter).with(json!({})).run(&context).await, 409, "last_presenter");
    // Both at once is a promotion of somebody who is in.
    let both = promote(json!({"admitted": true, "role": "presenter"})).run(&context).await;
    assert_eq!(both.status, 200, "{}", both.text);
    assert_eq!(room.call("leave_room", &presenter).with(json!({})).run(&context).await.status, 200);
    assert_eq!(room.call("update_room", &waiting).with(json!({"title": "T"})).run(&context).await.status, 200);
}

#[tokio::test]
async fn a_malformed_change_is_refused() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    for (change, field) in [
        (json!({"removed": false}), "removed"),
        (json!({"admitted": false}), "admitted"),
        (json!({"role": "owner"}), "role"),
        (json!({"isMuted": true}), "isMuted"),
        (json!({"epoch": 7}), "epoch"),
    ] {
        refused_field(&room.moderate(&presenter, &presenter, change).run(&context).await, field);
    }
    let mut nobody = room.call("update_participant", &presenter).with(json!({"mayUnmute": true}));
    nobody.parameters.push(("participantId", "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF".to_owned()));
    refused(&nobody.run(&context).await, 404, "participant_not_found");
}

/// A removal looks at the person first. Its write is held back here until their role has changed.
#[tokio::test]
async fn a_role_that_changes_while_its_person_is_removed_is_counted_right() {
    for becomes in ["presenter", "attendee"] {
        let faulty = Faulty::new();
        let context = rooms::strict(&faulty).await;
        let (room, presenter) = NewRoom::default().create(&context).await;
        let guest = room.join(&context, "Grace").await;
        if becomes == "attendee" {
            let promoted = room.moderate(&presenter, &guest, json!({"role": "presenter"})).run(&context).await;
            assert_eq!(promoted.status, 200, "{}", promoted.text);
        }
        let (held, is_held) = (Arc::new(AtomicBool::new(true)), Arc::new(tokio::sync::Notify::new()));
        faulty.be(Box::new({
            let (held, is_held) = (Arc::clone(&held), Arc::clone(&is_held));
            move |_, operation| {
                let holds = operation == "TransactWriteItems" && held.load(Ordering::Acquire);
                holds.then(|| {
                    is_held.notify_one();
                    Fault::Throttle
                })
            }
        }));
        let removal = room.moderate(&presenter, &guest, json!({"removed": true}));
        let changes = async {
            is_held.notified().await;
            let set = |key: String, sort: &str, what: &str, value: serde_json::Value| {
                let key = json!({"pk": {"S": key}, "sk": {"S": sort}});
                json!({
                    "TableName": "greenroom-state", "Key": key, "UpdateExpression": "SET #what = :value",
                    "ExpressionAttributeNames": {"#what": what}, "ExpressionAttributeValues": {":value": value},
                })
            };
            let presenters = if becomes == "presenter" { "2" } else { "1" };
            let person = set(format!("USER#{}", guest.id), "STATE", "role", json!({"S": becomes}));
            faulty.call("UpdateItem", &person).await;
            let room = set(format!("ROOM#{}", room.id), "META", "presenters", json!({"N": presenters}));
            faulty.call("UpdateItem", &room).await;
            held.store(false, Ordering::Release);
        };
        let (removed, ()) = tokio::join!(removal.run(&context), changes);
        assert_eq!(removed.status, 200, "{}", removed.text);
        let stored = faulty.stored().await;
        assert_eq!(stored[format!("ROOM#{}", room.id)]["presenters"]["N"], "1", "{becomes}");
        assert!(stored[format!("USER#{}", guest.id)].get("roomId").is_none(), "{becomes}");
    }
}
