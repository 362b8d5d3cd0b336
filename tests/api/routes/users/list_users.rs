use crate::support::{Runner, STATE_KEYS, keys, refused_field, state_of};
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn everybody_is_listed_with_their_whole_state() {
    let runner = Runner::ephemeral();
    let ada = state_of(&runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"})), true);
    let page = runner.get("/api/users");
    assert_eq!((page.status, page.json()), (200, json!({"items": [ada], "nextCursor": null})));
    assert_eq!(keys(&page.json()["items"][0]), STATE_KEYS);
}

#[test]
fn without_users_the_list_is_empty() {
    assert_eq!(Runner::ephemeral().get("/api/users").json(), json!({"items": [], "nextCursor": null}));
}

#[test]
fn the_user_who_changed_last_is_first_across_pages() {
    let runner = Runner::ephemeral();
    for n in 0..120 {
        runner.post(&format!("/api/users/u{n:03}/state"), json!({"isMuted": true}));
    }
    // Some users change again, so the order is not the order of creation.
    for n in (0..120).step_by(7) {
        runner.patch(&format!("/api/users/u{n:03}/mute"), json!({"isMuted": false}));
    }
    let (mut users, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = runner.get(&format!("/api/users?limit=50{cursor}")).json();
        users.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let places: Vec<_> = users
        .iter()
        .map(|user| (std::cmp::Reverse(user["lastUpdated"].as_str().unwrap()), user["userId"].as_str().unwrap()))
        .collect();
    assert!(places.is_sorted(), "newest first, equal times by id");
    let mut distinct = places.clone();
    distinct.dedup();
    assert_eq!((users.len(), distinct.len()), (120, 120), "no gap, no repeat");
}

#[test]
fn a_change_moves_its_user_to_the_front() {
    let runner = Runner::ephemeral();
    for id in ["ada", "bob"] {
        runner.post(&format!("/api/users/{id}/state"), json!({"isMuted": true}));
    }
    // Equal times are ordered by id, so ada repeats her change until her time is later than bob's.
    let bob = runner.get("/api/users/bob").json()["lastUpdated"].clone();
    while runner.patch("/api/users/ada/mute", json!({"isMuted": false})).json()["lastUpdated"].as_str() <= bob.as_str()
    {
    }
    assert_eq!(ids(&runner.get("/api/users").json()), ["ada", "bob"]);
    let ada = runner.get("/api/users/ada").json()["lastUpdated"].clone();
    while runner.patch("/api/users/bob/mute", json!({"isMuted": false})).json()["lastUpdated"].as_str() <= ada.as_str()
    {
    }
    assert_eq!(ids(&runner.get("/api/users").json()), ["bob", "ada"]);
}

#[test]
fn a_page_holds_100_unless_asked_otherwise_and_at_most_200() {
    let runner = Runner::ephemeral();
    for n in 0..201 {
        runner.post(&format!("/api/users/u{n}/state"), json!({"isMuted": true}));
    }
    for (query, count) in [("", 100), ("?limit=1", 1), ("?limit=200", 200)] {
        let page = runner.get(&format!("/api/users{query}")).json();
        assert_eq!((ids(&page).len(), page["nextCursor"].is_string()), (count, true));
    }
}

#[test]
fn a_malformed_query_is_400() {
    let runner = Runner::ephemeral();
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=65546", "limit"),
        ("limit=1&limit=2", "query"),
        ("page=2", "query"),
        ("Limit=5", "query"),
        ("cursor=", "cursor"),
        ("cursor=x&cursor=y", "query"),
    ] {
        refused_field(&runner.get(&format!("/api/users?{query}")), field);
    }
}

#[test]
fn a_cursor_that_this_list_did_not_give_is_400() {
    let runner = Runner::ephemeral();
    for id in ["ada", "bob"] {
        runner.post(&format!("/api/users/{id}/state"), json!({"isMuted": true, "roomId": "demo"}));
    }
    let room = runner.get("/api/rooms/demo/users?limit=1").json();
    let foreign = room["nextCursor"].as_str().unwrap();
    // "x", "-1 ada", "1 a b" and "1 " in base64.
    for cursor in [foreign, "x", "%00", "eA", "LTEgYWRh", "MSBhIGI", "MSA", "AAAA", &"A".repeat(4000)] {
        refused_field(&runner.get(&format!("/api/users?cursor={cursor}")), "cursor");
    }
}

#[test]
fn a_list_that_the_client_has_already_is_304_until_somebody_changes() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true}));
    let first = runner.get("/api/users");
    let tag = [("if-none-match", first.header("etag").unwrap())];
    assert_eq!(runner.send("GET", "/api/users", &tag, "").status, 304);
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    assert_eq!(runner.send("GET", "/api/users", &tag, "").status, 200);
}
