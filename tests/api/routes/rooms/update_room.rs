use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{self, NewRoom, PASSWORD};
use crate::support::{refused, refused_field};
use serde_json::{Value, json};

#[tokio::test]
async fn a_presenter_changes_what_the_patch_names_and_nothing_else() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) =
        NewRoom(json!({"password": PASSWORD, "settings": {"muteOnJoin": true}})).create(&context).await;
    let patch = |body: Value| room.call("update_room", &presenter).with(body);
    let changed =
        patch(json!({"title": "Two", "settings": {"chat": false}})).run(&context).await.json()["room"].clone();
    assert_eq!(
        (&changed["title"], &changed["version"], &changed["hasPassword"]),
        (&json!("Two"), &json!(2), &json!(true))
    );
    let settings = &changed["settings"];
    assert_eq!((&settings["chat"], &settings["muteOnJoin"]), (&json!(false), &json!(true)));
    let changed =
        patch(json!({"password": null, "settings": {"muteOnJoin": null}})).run(&context).await.json()["room"].clone();
    assert_eq!((&changed["hasPassword"], &changed["settings"]["muteOnJoin"]), (&json!(false), &json!(false)));
    // What is so already is no change.
    let same = patch(json!({"title": "Two", "password": null})).run(&context).await;
    assert_eq!(same.json()["room"]["version"], 3, "{}", same.text);
}

#[tokio::test]
async fn a_lost_race_changes_nothing() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let patch = |title: &str, version: &str| {
        room.call("update_room", &presenter).header("if-match", format!("\"{version}\"")).with(json!({"title": title}))
    };
    let (first, second) = (patch("One", "1"), patch("Two", "1"));
    let (first, second) = tokio::join!(first.run(&context), second.run(&context));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let lost = if first.status == 412 { first } else { second };
    assert_eq!(lost.json()["currentVersion"], 2);
}

#[tokio::test]
async fn a_malformed_patch_is_refused() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    for (body, field) in [
        (json!({"settings": {"loby": true}}), "settings"),
        (json!({"settings": {"chat": "no"}}), "settings"),
        (json!({"settings": {"minEvidence": "digital_zero"}}), "settings"),
        (json!({"maxParticipants": 1}), "maxParticipants"),
        (json!({"presenterName": "Eve"}), "presenterName"),
        (json!({"title": ""}), "title"),
    ] {
        refused_field(&room.call("update_room", &presenter).with(body).run(&context).await, field);
    }
}

#[tokio::test]
async fn fewer_seats_throw_nobody_out() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    for name in ["Grace", "Heidi"] {
        room.join(&context, name).await;
    }
    room.set(&context, &presenter, json!({"maxParticipants": 2})).await;
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    assert_eq!((&seen["room"]["present"], seen["participants"].as_array().unwrap().len()), (&json!(3), 3));
    let late = Command::new("join_room", "room", &room.id).with(json!({"name": "Wu"})).run(&context).await;
    refused(&late, 409, "room_full");
}

/// Who is in the room when it begins to moderate is moderated as well.
#[tokio::test]
async fn a_room_that_begins_to_moderate_keeps_attendees_from_unmuting() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let unmute = guest.call("set_mute").with(json!({"isMuted": false}));
    assert_eq!(unmute.run(&context).await.status, 200);
    room.set(&context, &presenter, json!({"settings": {"moderatedUnmute": true}})).await;
    refused(&unmute.run(&context).await, 403, "unmute_not_allowed");
    // To mute is always allowed, and presenters are not moderated.
    assert_eq!(guest.call("set_mute").with(json!({"isMuted": true})).run(&context).await.status, 200);
    assert_eq!(presenter.call("set_mute").with(json!({"isMuted": false})).run(&context).await.status, 200);
    refused(&guest.call("set_state").with(json!({"isMuted": false})).run(&context).await, 403, "unmute_not_allowed");
    // A presenter lets one of them unmute, until they take it back.
    let other = room.join(&context, "Heidi").await;
    for (may, status) in [(true, 200), (false, 403)] {
        let changed = room.moderate(&presenter, &guest, json!({"mayUnmute": may})).run(&context).await;
        assert_eq!(changed.json()["participant"]["participant"]["mayUnmute"], may, "{}", changed.text);
        assert_eq!(unmute.run(&context).await.status, status);
        let others = other.call("set_mute").with(json!({"isMuted": false})).run(&context).await;
        refused(&others, 403, "unmute_not_allowed");
    }
    room.set(&context, &presenter, json!({"settings": {"moderatedUnmute": false}})).await;
    assert_eq!(unmute.run(&context).await.status, 200);
}
