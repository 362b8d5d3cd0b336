use crate::support::faults::{Fault, Faulty};
use crate::support::rooms::{self, NewRoom};
use crate::support::scene::Scene;
use functions::consumers::on_room_change::run;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn the_people_names_and_texts_of_a_room_that_has_ended_are_removed() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let (other, _) = NewRoom::default().create(&context).await;
    for n in 0..40 {
        room.join(&context, &format!("Grace {n}")).await;
    }
    other.join(&context, "Heidi").await;
    let stop = faulty.follow();
    assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
    let names = || async {
        let stored = faulty.stored().await;
        let names = stored.as_object().unwrap().values().filter_map(|item| item["name"]["S"].as_str());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    let began = std::time::Instant::now();
    while names().await != ["Ada", "Heidi"] {
        assert!(began.elapsed() < crate::support::PATIENCE, "{:?}", names().await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stop.send(true).unwrap();
}

#[tokio::test]
async fn an_interrupted_removal_is_completed_by_the_next_delivery() {
    for fault in [Fault::Throttle, Fault::LostAfter, Fault::Unprocessed(2), Fault::LostBefore] {
        let scene = Scene::new().await;
        scene.says_something().await;
        // Every attempt of a batch fails, so the consumer gives up.
        scene.faulty.be(Box::new(move |_, operation| (operation == "BatchWriteItem").then_some(fault)));
        let failed = run(scene.faulty.context(), Arc::new(scene.end_of_the_room())).await;
        scene.faulty.be_well();
        if !matches!(fault, Fault::Unprocessed(_)) {
            assert_eq!(failed.batch_item_failures.len(), 1, "{fault:?}");
        }
        let done = run(scene.faulty.context(), Arc::new(scene.end_of_the_room())).await;
        assert!(done.batch_item_failures.is_empty(), "{fault:?}");
        let stored = scene.stored().await;
        let left: Vec<_> = stored.as_object().unwrap().iter().filter(|(_, item)| item["name"] != json!(null)).collect();
        let left: Vec<_> = left.iter().map(|(_, item)| &item["name"]["S"]).collect();
        // Those of the other room are still there.
        assert!(left.contains(&&json!("Out")), "{fault:?}: {left:?}");
        let gone = ["Grace", "Sil", "Wu"];
        assert!(!left.iter().any(|name| gone.contains(&name.as_str().unwrap())), "{fault:?}: {left:?}");
        assert!(stored["ROOM#ROOM0"]["title"]["S"].is_string(), "{fault:?}");
    }
}

/// A room that has not ended, and changes of anything else.
#[tokio::test]
async fn other_changes_remove_nobody() {
    let scene = Scene::new().await;
    let before = scene.stored().await;
    let mut event = scene.end_of_the_room();
    event.records.clear();
    assert!(run(scene.faulty.context(), Arc::new(event)).await.batch_item_failures.is_empty());
    let event = crate::support::lambda::event("on_state_change");
    run(scene.faulty.context(), Arc::new(serde_json::from_value(event).unwrap())).await;
    let mut active = crate::support::lambda::event("on_room_change");
    active["Records"][0]["dynamodb"]["NewImage"].as_object_mut().unwrap().remove("endedAt");
    run(scene.faulty.context(), Arc::new(serde_json::from_value(active).unwrap())).await;
    assert_eq!(scene.stored().await, before);
}
