use crate::support::faults::{Command, Faulty};
use crate::support::refused;
use crate::support::rooms::{self, NewRoom};
use serde_json::json;

#[tokio::test]
async fn active_rooms_are_listed_newest_first_page_by_page() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let mut made = Vec::new();
    for n in 0..5 {
        let (room, presenter) = NewRoom(json!({"title": format!("Room {n}")})).create(&context).await;
        if n == 2 {
            assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
        } else {
            made.insert(0, room.id);
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (mut listed, mut query) = (Vec::new(), "limit=2".to_owned());
    for _ in 0..10 {
        let page =
            Command { query: query.clone().leak(), ..Command::new("list_rooms", "none", "") }.run(&context).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        let ids = page["items"].as_array().unwrap().iter().map(|room| room["roomId"].as_str().unwrap().to_owned());
        listed.extend(ids);
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!(listed, made);
}

#[tokio::test]
async fn nobody_sees_all_rooms_in_strict_mode() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    refused(&Command::new("list_rooms", "none", "").run(&context).await, 401, "authentication_required");
    refused(&room.call("list_rooms", &presenter).run(&context).await, 403, "forbidden");
    let bad = Command::new("list_rooms", "none", "").asking("cursor=x");
    refused(&bad.run(&rooms::open(&faulty).await).await, 400, "validation_failed");
}
