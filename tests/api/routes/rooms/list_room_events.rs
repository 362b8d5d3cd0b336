use crate::support::history::audit_of;
use crate::support::witness::{Witness, engine, join};
use crate::support::{Runner, instant, keys, refused, refused_field};
use serde_json::{Value, json};

fn events(runner: &Runner, query: &str) -> Value {
    let reply = runner.get(&format!("/api/rooms/demo/events{query}"));
    assert_eq!(reply.status, 200, "{}", reply.text);
    let page = reply.json();
    assert_eq!(keys(&page), ["events", "hasMore", "head", "roomId"]);
    page
}

fn mutes(runner: &Runner, count: usize) {
    join(runner, "ada", false);
    for n in 1..count {
        runner.patch("/api/users/ada/mute", json!({"isMuted": n % 2 == 1}));
    }
    audit_of(runner, "demo", count);
}

#[test]
fn the_events_of_a_room_are_in_order() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", false);
    runner.patch("/api/users/ada/mute", json!({"isMuted": true, "muteScope": "os"}));
    runner.patch("/api/users/ada/device", json!({"deviceId": "usb-1", "deviceLabel": "Desk Mic"}));
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    runner.delete(&format!("/api/agents/{}", witness.id));
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "other"}));
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    runner.delete("/api/users/ada");
    let told = audit_of(&runner, "demo", 11);
    let words: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        words,
        [
            "joined",
            "mute_changed",
            "device_changed",
            "agent_paired",
            "verdict_changed",
            "verdict_changed",
            "agent_revoked",
            "verdict_changed",
            "left",
            "joined",
            "left",
        ],
        "{told:#?}"
    );
    let all = events(&runner, "");
    let data: Vec<_> = all["events"].as_array().unwrap().iter().map(|event| &event["data"]).collect();
    assert_eq!(
        (&data[1]["isMuted"], &data[1]["muteScope"], &data[1]["version"]),
        (&json!(true), &json!("os"), &json!(2))
    );
    assert_ne!(data[0]["device"], data[2]["device"]);
    assert_eq!((&data[3]["agentId"], &data[6]["agentId"]), (&json!(witness.id), &json!(witness.id)));
    assert_eq!(data[5]["verdict"]["mute"], json!({"value": "verified", "reason": "silent_and_flagged"}));
    assert_eq!((&data[8]["cause"], &data[10]["cause"]), (&json!("moved"), &json!("removed")));
    let actors: Vec<_> = told.iter().map(|entry| entry.actor.as_str()).collect();
    let agent = format!("agent:{}", witness.id);
    let (open, agent, unknown) = ("open", agent.as_str(), "user:ada");
    // A removal leaves no state, so the ledger cannot name the caller.
    assert_eq!(actors, [open, open, open, open, open, agent, open, open, open, open, unknown]);
    for event in all["events"].as_array().unwrap() {
        instant(&event["at"]);
        assert_eq!(event["data"]["userId"], "ada");
    }
    let elsewhere: Vec<_> = audit_of(&runner, "other", 2).into_iter().map(|entry| entry.action).collect();
    assert_eq!(elsewhere, ["joined", "left"]);
}

#[test]
fn the_pages_of_a_replay_are_the_whole_without_gaps() {
    let runner = Runner::ephemeral();
    mutes(&runner, 23);
    let whole = events(&runner, "?limit=200");
    assert_eq!((&whole["head"], &whole["hasMore"], &whole["roomId"]), (&json!(23), &json!(false), &json!("demo")));
    let (mut since, mut parts) = (0, Vec::new());
    loop {
        let page = events(&runner, &format!("?since={since}&limit=5"));
        parts.extend(page["events"].as_array().unwrap().iter().cloned());
        since = parts.len();
        assert_eq!(page["hasMore"], since < 23);
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(whole["events"], json!(parts));
    let numbers: Vec<_> = parts.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=23).collect::<Vec<_>>());
}

#[test]
fn a_client_that_is_up_to_date_or_ahead_gets_no_events() {
    let runner = Runner::ephemeral();
    mutes(&runner, 3);
    for since in ["3", "4", "999999999999"] {
        let page = events(&runner, &format!("?since={since}"));
        assert_eq!((&page["events"], &page["head"], &page["hasMore"]), (&json!([]), &json!(3), &json!(false)));
    }
}

#[test]
fn a_room_in_which_nothing_has_happened_has_no_events() {
    let page = events(&Runner::ephemeral(), "");
    assert_eq!((&page["events"], &page["head"]), (&json!([]), &json!(0)));
}

#[test]
fn a_write_that_changes_nothing_is_no_event() {
    let runner = Runner::ephemeral();
    mutes(&runner, 2);
    runner.patch("/api/users/ada/mute", json!({"isMuted": true}));
    runner.post("/api/users/bob/state", json!({"isMuted": true}));
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    let told = audit_of(&runner, "demo", 3);
    assert_eq!((told.len(), &told[2].data["version"]), (3, &json!(4)));
}

#[test]
fn a_client_that_has_all_events_gets_304() {
    let runner = Runner::ephemeral();
    mutes(&runner, 2);
    let path = "/api/rooms/demo/events?since=0";
    let tag = runner.get(path).header("etag").unwrap().to_owned();
    assert_eq!(runner.send("GET", path, &[("if-none-match", &tag)], "").status, 304);
    runner.patch("/api/users/ada/mute", json!({"isMuted": false}));
    audit_of(&runner, "demo", 3);
    assert_eq!(runner.send("GET", path, &[("if-none-match", &tag)], "").status, 200);
}

#[test]
fn a_malformed_room_or_query_is_400() {
    let runner = Runner::ephemeral();
    refused_field(&runner.get("/api/rooms/a%20b/events"), "room");
    for since in ["-1", "x", "1.5", "", "1000000000000", "%2B1"] {
        refused_field(&runner.get(&format!("/api/rooms/demo/events?since={since}")), "since");
    }
    for limit in ["0", "201", "x"] {
        refused_field(&runner.get(&format!("/api/rooms/demo/events?limit={limit}")), "limit");
    }
    for query in ["cursor=x", "since=1&since=2"] {
        refused_field(&runner.get(&format!("/api/rooms/demo/events?{query}")), "query");
    }
}

#[test]
fn a_history_with_a_missing_entry_is_an_error_and_not_a_shorter_list() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", false);
    // Each change waits for the one before, so that each has a block of its own.
    for count in 1..4 {
        audit_of(&runner, "demo", count);
        runner.patch("/api/users/ada/mute", json!({"isMuted": count % 2 == 1}));
    }
    audit_of(&runner, "demo", 4);
    let take_out = |seq: u64| {
        let key = json!({"pk": {"S": "CHAIN#room:demo"}, "sk": {"S": format!("{seq:012}")}});
        engine(&runner, "DeleteItem", &json!({"TableName": "greenroom-ledger", "Key": key}));
    };
    take_out(3);
    refused(&runner.get("/api/rooms/demo/events?since=1"), 500, "internal_error");
    refused(&runner.get("/api/rooms/demo/events?since=2"), 500, "internal_error");
    take_out(1);
    refused(&runner.get("/api/rooms/demo/events"), 500, "internal_error");
    refused(&runner.get("/api/rooms/demo/events?limit=1"), 500, "internal_error");
}

#[test]
fn each_event_names_the_request_that_caused_it() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", false);
    let mut witness = Witness::paired(&runner, "ada");
    let press = "0b2f4c6e-7d1a-4c5e-9f30-5a6b7c8d9e0f";
    let mute = |id, muted: bool| {
        runner.send_json("PATCH", "/api/users/ada/mute", &[("x-request-id", id)], json!({"isMuted": muted}))
    };
    let muted = mute(press, true);
    let named = mute("Ada-Lovelace-of-12-Main-Street", false);
    assert_eq!(named.header("x-request-id"), Some("Ada-Lovelace-of-12-Main-Street"));
    mute(press, true);
    witness.begin(&runner);
    let attested = witness.attest(&runner, json!({}));
    runner.delete("/api/users/ada/agent");
    runner.delete("/api/users/ada");
    audit_of(&runner, "demo", 10);
    let all = events(&runner, "");
    let of = |action: &str| {
        let named = all["events"].as_array().unwrap().iter().filter(|event| event["action"] == action);
        named.map(|event| event["data"]["requestId"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (of("mute_changed"), muted.header("x-request-id")),
        (vec![json!(press), json!(null), json!(press)], Some(press))
    );
    let attested = json!(attested.header("x-request-id").unwrap());
    assert!(of("verdict_changed").contains(&attested), "{all:#}");
    assert!(of("joined")[0].is_string() && of("agent_paired")[0].is_string() && of("agent_revoked")[0].is_string());
    assert_eq!(of("left"), [Value::Null], "a removal leaves no state that could name its request");
}
