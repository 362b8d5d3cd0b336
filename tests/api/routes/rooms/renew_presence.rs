use crate::support::witness::{engine, set_attribute};
use crate::support::{Runner, instant, keys, read, refused, refused_field};
use serde_json::{Value, json};

fn join(runner: &Runner, user: &str, lease: Option<&str>) {
    let joined =
        runner.post(&format!("/api/users/{user}/state"), json!({"isMuted": false, "roomId": "demo", "lease": lease}));
    assert_eq!(joined.status, 201, "{}", joined.text);
}

fn renew(runner: &Runner, user: &str, lease: &str) -> crate::support::Reply {
    runner.post("/api/rooms/demo/presence", json!({"participantId": user, "lease": lease}))
}

fn listed(runner: &Runner, path: &str) -> Vec<String> {
    let page = runner.get(path).json();
    page["items"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()).collect()
}

/// Ends a lease, as if 35 seconds had passed.
fn lapse(runner: &Runner, user: &str) {
    set_attribute(runner, user, "leaseUntil", Some(&json!({"N": "1795257125000"})));
}

/// A state as the table holds it.
fn stored(runner: &Runner, user: &str) -> Value {
    let key = json!({"pk": {"S": format!("USER#{user}")}, "sk": {"S": "STATE"}});
    engine(runner, "GetItem", &json!({"TableName": "greenroom-state", "Key": key}))["Item"].take()
}

/// The time of the server, in milliseconds since 1970.
fn server_ms(runner: &Runner) -> u64 {
    ms(&runner.get("/api/health").json()["timestamp"])
}

fn ms(instant: &Value) -> u64 {
    instant.as_str().unwrap().parse::<domain::Timestamp>().unwrap().ms()
}

/// The test reads the server's own time before and after, so a slow machine makes no difference.
#[test]
fn a_lease_lasts_35_seconds_from_joining_and_from_each_renewal() {
    let runner = Runner::ephemeral();
    let is_of = |until: u64, before: u64, after: u64| {
        assert!((before + 34_000..=after + 36_000).contains(&until), "{until} is not 35 s after {before} to {after}");
    };
    let before = server_ms(&runner);
    join(&runner, "ada", Some("page-load-1"));
    let joined = stored(&runner, "ada")["leaseUntil"]["N"].as_str().unwrap().parse().unwrap();
    is_of(joined, before, server_ms(&runner));
    lapse(&runner, "ada");
    let before = server_ms(&runner);
    let renewed = ms(&renew(&runner, "ada", "page-load-1").json()["leaseUntil"]);
    is_of(renewed, before, server_ms(&runner));
    assert_eq!(stored(&runner, "ada")["leaseUntil"]["N"], renewed.to_string());
}

/// One renewal may be lost, and the next one still comes in time.
#[test]
fn the_page_renews_more_than_twice_within_a_lease() {
    let page = read("web/presence.js");
    let renew_ms = page.lines().find_map(|line| line.strip_prefix("const RENEW_MS = ")).unwrap();
    let renew_ms: u128 = renew_ms.trim_end_matches(';').replace('_', "").parse().unwrap();
    assert!(2 * renew_ms < domain::user::LEASE.as_millis(), "each {renew_ms} ms");
}

#[test]
fn a_person_whose_lease_has_lapsed_is_gone_until_they_renew_it() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", Some("page-load-1"));
    join(&runner, "bob", None);
    lapse(&runner, "ada");
    for path in ["/api/rooms/demo/users", "/api/users"] {
        assert_eq!(listed(&runner, path), ["bob"], "{path}");
    }
    assert_eq!(runner.get("/api/rooms/demo/safe").json()["counts"]["total"], 1);
    assert_eq!(runner.get("/api/users/ada").status, 200, "the state itself is kept");
    let renewed = renew(&runner, "ada", "page-load-1");
    assert_eq!((renewed.status, keys(&renewed.json())), (200, vec!["leaseUntil", "participantId"]));
    assert_eq!(renewed.header("cache-control"), Some("no-store"));
    instant(&renewed.json()["leaseUntil"]);
    assert_eq!(listed(&runner, "/api/rooms/demo/users"), ["ada", "bob"]);
}

#[test]
fn a_state_without_a_lease_stays_until_it_expires_and_a_claim_without_one_ends_it() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", Some("page-load-1"));
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    let item = stored(&runner, "ada");
    assert_eq!((&item["leaseUntil"], &item["leaseId"]), (&Value::Null, &Value::Null));
    // Moves the state three days into the past, as if its client had been silent since.
    let days = 3 * 24 * 60 * 60;
    let last = item["lastUpdated"]["N"].as_str().unwrap().parse::<u64>().unwrap() - days * 1000;
    set_attribute(&runner, "ada", "lastUpdated", Some(&json!({"N": last.to_string()})));
    let expires = item["expiresAt"]["N"].as_str().unwrap().parse::<u64>().unwrap() - days;
    set_attribute(&runner, "ada", "expiresAt", Some(&json!({"N": expires.to_string()})));
    let page = runner.get("/api/rooms/demo/users").json();
    assert_eq!(page["items"][0]["lastUpdated"], domain::Timestamp::from_ms(last).to_string());
    assert_eq!(runner.get("/api/rooms/demo/safe").json()["counts"]["total"], 1);
    set_attribute(&runner, "ada", "expiresAt", Some(&json!({"N": "1795257125"})));
    assert_eq!(listed(&runner, "/api/rooms/demo/users"), Vec::<String>::new());
}

#[test]
fn a_renewal_changes_no_list() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", Some("page-load-1"));
    let list = runner.get("/api/rooms/demo/users");
    renew(&runner, "ada", "page-load-1");
    let tag = [("if-none-match", list.header("etag").unwrap())];
    assert_eq!(runner.send("GET", "/api/rooms/demo/users", &tag, "").status, 304);
}

#[test]
fn a_person_who_is_not_in_the_room_has_no_presence_there() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", Some("page-load-1"));
    refused(&renew(&runner, "nobody", "page-load-1"), 404, "user_not_found");
    let elsewhere = runner.post("/api/rooms/other/presence", json!({"participantId": "ada", "lease": "page-load-1"}));
    refused(&elsewhere, 404, "user_not_found");
}

#[test]
fn lapsed_people_are_not_listed_and_a_page_of_them_has_a_next_page() {
    let runner = Runner::ephemeral();
    for n in 0..12 {
        join(&runner, &format!("user-{n:02}"), Some("page-load-1"));
    }
    for n in 0..9 {
        lapse(&runner, &format!("user-{n:02}"));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..12 {
        let page = runner.get(&format!("/api/rooms/demo/users?limit=2{cursor}")).json();
        let ids = page["items"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned());
        seen.extend(ids);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["user-09", "user-10", "user-11"]);
}

#[test]
fn a_malformed_request_is_400() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", Some("page-load-1"));
    refused_field(&renew(&runner, "ada", "short"), "lease");
    refused_field(&renew(&runner, "a b", "page-load-1"), "participantId");
    refused_field(&renew(&runner, "greenroom-canary", "page-load-1"), "participantId");
    refused_field(&runner.post("/api/rooms/demo/presence", json!({"participantId": "ada"})), "lease");
    refused_field(&runner.post("/api/rooms/a%20b/presence", json!({})), "room");
}
