use crate::support::writes::BAD_IDS;
use crate::support::{Runner, STATE_KEYS, keys, refused_field};
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect()
}

fn join(runner: &Runner, user: &str, room: &str) {
    let joined = runner.post(&format!("/api/users/{user}/state"), json!({"isMuted": true, "roomId": room}));
    assert!(joined.status < 300, "{}", joined.text);
}

#[test]
fn only_the_room_is_listed_by_user_id() {
    let runner = Runner::ephemeral();
    for (user, room) in [("cyd", "demo"), ("ada", "demo"), ("bob", "demo2"), ("Bob", "demo"), ("eve", "Demo")] {
        join(&runner, user, room);
    }
    let page = runner.get("/api/rooms/demo/users");
    assert_eq!((page.status, ids(&page.json())), (200, vec!["Bob".into(), "ada".into(), "cyd".into()]));
}

#[test]
fn the_answer_has_exactly_these_members() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", "demo");
    let page = runner.get("/api/rooms/demo/users").json();
    assert_eq!((keys(&page), &page["roomId"]), (vec!["items", "nextCursor", "roomId"], &json!("demo")));
    assert_eq!(keys(&page["items"][0]), STATE_KEYS);
    assert_eq!(page["items"][0], runner.get("/api/users/ada").json());
}

#[test]
fn an_empty_room_is_an_empty_list() {
    let page = Runner::ephemeral().get("/api/rooms/demo/users");
    assert_eq!((page.status, page.json()), (200, json!({"roomId": "demo", "items": [], "nextCursor": null})));
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let runner = Runner::ephemeral();
    let everybody: Vec<_> = (0..450).map(|n| format!("u{n:03}")).collect();
    for user in everybody.iter().rev() {
        join(&runner, user, "demo");
        if user.ends_with('7') {
            join(&runner, &format!("{user}x"), "other");
        }
    }
    for limit in [200, 150, 37] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = runner.get(&format!("/api/rooms/demo/users?limit={limit}{cursor}")).json();
            assert!(ids(&page).len() <= limit);
            seen.extend(ids(&page));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, everybody, "limit {limit}");
    }
    assert_eq!(ids(&runner.get("/api/rooms/demo/users").json()).len(), 100, "the default limit");
}

#[test]
fn the_next_page_follows_even_if_the_last_user_of_a_page_has_left() {
    let runner = Runner::ephemeral();
    for user in ["a", "b", "c", "d"] {
        join(&runner, user, "demo");
    }
    let page = runner.get("/api/rooms/demo/users?limit=2").json();
    runner.delete("/api/users/b");
    let next = page["nextCursor"].as_str().unwrap();
    assert_eq!(ids(&runner.get(&format!("/api/rooms/demo/users?cursor={next}")).json()), ["c", "d"]);
}

#[test]
fn a_cursor_of_another_room_shows_nobody_of_that_room() {
    let runner = Runner::ephemeral();
    for (user, room) in [("a", "demo"), ("b", "demo"), ("c", "other"), ("d", "other")] {
        join(&runner, user, room);
    }
    let page = runner.get("/api/rooms/other/users?limit=1").json();
    let foreign = page["nextCursor"].as_str().unwrap();
    assert_eq!(ids(&runner.get(&format!("/api/rooms/demo/users?cursor={foreign}")).json()), Vec::<String>::new());
}

#[test]
fn a_cursor_that_no_room_gave_is_400() {
    let runner = Runner::ephemeral();
    for user in ["ada", "bob"] {
        join(&runner, user, "demo");
    }
    let all = runner.get("/api/users?limit=1").json();
    let foreign = all["nextCursor"].as_str().unwrap();
    // "a b" and "USER#ada" in base64.
    for cursor in [foreign, "%00", "YSBi", "VVNFUiNhZGE", "=", "_", "/w==", &"A".repeat(4000)] {
        refused_field(&runner.get(&format!("/api/rooms/demo/users?cursor={cursor}")), "cursor");
    }
}

#[test]
fn a_malformed_query_is_400() {
    let runner = Runner::ephemeral();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1.5", "limit"),
        ("since=3", "query"),
        ("cursor=", "cursor"),
    ] {
        refused_field(&runner.get(&format!("/api/rooms/demo/users?{query}")), field);
    }
}

#[test]
fn a_malformed_room_is_400() {
    let runner = Runner::ephemeral();
    for room in BAD_IDS {
        refused_field(&runner.get(&format!("/api/rooms/{room}/users")), "room");
    }
}

#[test]
fn a_list_that_the_client_has_already_is_304_until_somebody_mutes() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", "demo");
    let first = runner.get("/api/rooms/demo/users");
    let tag = [("if-none-match", first.header("etag").unwrap())];
    let again = runner.send("GET", "/api/rooms/demo/users", &tag, "");
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    let changed = runner.send("GET", "/api/rooms/demo/users", &tag, "");
    assert_eq!((changed.status, &changed.json()["items"][0]["isMuted"]), (200, &json!(false)));
}
