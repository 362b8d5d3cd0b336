use crate::support::faults::Faulty;
use crate::support::rooms::{self, NewRoom};
use crate::support::witness::{Witness, engine, mute_verdict, now_ms, set_attribute};
use crate::support::{Reply, Runner, refused, refused_field};
use serde_json::json;

fn join(runner: &Runner, lease: &str) -> Reply {
    let body =
        json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": "demo", "lease": lease});
    runner.post("/api/users/ada/state", body)
}

fn leave(runner: &Runner, lease: &str) -> Reply {
    runner.post("/api/rooms/demo/leave", json!({"participantId": "ada", "lease": lease}))
}

fn is_listed(runner: &Runner) -> bool {
    runner.get("/api/rooms/demo/users").json()["items"] != json!([])
}

#[test]
fn a_person_who_closes_the_page_is_gone_at_once_and_comes_back_with_a_renewal() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    let left = leave(&runner, "page-load-1");
    assert_eq!((left.status, left.json()), (200, json!({"participantId": "ada", "left": true})));
    assert!(!is_listed(&runner));
    assert_eq!(runner.get("/api/rooms/demo/safe").json()["counts"]["total"], 0);
    let presence = json!({"participantId": "ada", "lease": "page-load-1"});
    assert_eq!(runner.post("/api/rooms/demo/presence", presence).status, 200);
    assert!(is_listed(&runner));
}

#[test]
fn leaving_detaches_the_agent_which_stays_paired() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    let mut witness = Witness::paired(&runner, "ada");
    witness.attest(&runner, json!({}));
    assert_eq!(leave(&runner, "page-load-1").json()["left"], true);
    assert_eq!(mute_verdict(&runner.get("/api/users/ada")), ("unverified".into(), "no_agent".into()));
    refused(&witness.attest(&runner, json!({})), 409, "agent_idle");
    assert_eq!(crate::support::witness::attach(&runner, "ada", &witness.token).status, 200);
}

#[tokio::test]
async fn somebody_who_leaves_for_good_is_forgotten_and_their_token_ends() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    guest.pair(&context).await;
    let device = json!({"deviceId": "e3b0", "deviceLabel": "Grace's headset"});
    assert_eq!(guest.call("set_device").with(device).run(&context).await.status, 200);
    assert_eq!(guest.call("create_pairing").run(&context).await.status, 201);
    let leave = room.call("leave_room", &guest).with(json!({}));
    let left = leave.run(&context).await;
    assert_eq!((left.status, left.json()), (200, json!({"participantId": guest.id, "left": true})));
    guest.is_forgotten(&faulty, "Grace").await;
    let claims = guest.call("set_mute").with(json!({"isMuted": true}));
    let renews = room.call("renew_presence", &guest).with(json!({"lease": "page-load-1"}));
    for command in [leave, claims, renews, room.call("get_room", &guest), guest.call("get_user")] {
        refused(&command.run(&context).await, 401, "token_invalid");
    }
    let seen = room.call("get_room", &presenter).run(&context).await.json();
    assert_eq!((&seen["room"]["present"], seen["participants"].as_array().unwrap().len()), (&json!(1), 1));
}

/// A page that is closed late must not remove a person who has come back with another page.
#[test]
fn the_end_of_one_page_load_does_not_end_another() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    join(&runner, "page-load-2");
    for _ in 0..2 {
        assert_eq!(leave(&runner, "page-load-1").json()["left"], false);
    }
    assert!(is_listed(&runner));
    assert_eq!(leave(&runner, "page-load-2").json()["left"], true);
    assert!(!is_listed(&runner));
}

/// Two tabs of one person take turns in holding the lease.
#[test]
fn the_end_of_the_page_load_that_holds_the_lease_does_not_end_another_open_page() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    let witness = Witness::paired(&runner, "ada");
    let renew = |lease: &str| {
        let body = json!({"participantId": "ada", "lease": lease});
        assert_eq!(runner.post("/api/rooms/demo/presence", body).status, 200);
    };
    renew("page-load-2");
    renew("page-load-1");
    assert_eq!(leave(&runner, "page-load-1").json()["left"], false, "the other page is still open");
    assert!(is_listed(&runner));
    assert_eq!(runner.get("/api/users/ada").json()["agent"]["agentId"], json!(witness.id));
    renew("page-load-2");
    assert_eq!(leave(&runner, "page-load-2").json()["left"], true);
    assert!(!is_listed(&runner));
}

/// A crashed tab sends no request to leave. Its agent must stop listening nevertheless.
#[test]
fn a_person_whose_lease_has_lapsed_is_not_measured_and_a_late_leave_detaches_the_agent() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    set_attribute(&runner, "ada", "leaseUntil", Some(&json!({"N": "1795257125000"})));
    refused(&witness.attest(&runner, json!({})), 409, "agent_idle");
    refused(&witness.begin(&runner), 409, "agent_idle");
    let presence = json!({"participantId": "ada", "lease": "page-load-1"});
    assert_eq!(runner.post("/api/rooms/demo/presence", presence).status, 200);
    witness.begin(&runner);
    assert_eq!(witness.attest(&runner, json!({})).status, 200, "a person who is back is measured again");
    set_attribute(&runner, "ada", "leaseUntil", Some(&json!({"N": "1795257125000"})));
    assert_eq!(leave(&runner, "page-load-1").json()["left"], true);
    assert_eq!(runner.get("/api/users/ada").json()["agent"], json!(null));
}

/// A request to attach may arrive late: an agent that is attached to a person who has left does not listen.
#[test]
fn an_agent_that_is_attached_after_its_person_has_left_idles() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    let mut witness = Witness::enrolled(&runner, "ada");
    assert_eq!(leave(&runner, "page-load-1").json()["left"], true);
    assert_eq!(crate::support::witness::attach(&runner, "ada", &witness.token).status, 200);
    refused(&witness.begin(&runner), 409, "agent_idle");
}

#[test]
fn a_person_without_a_lease_cannot_be_made_to_leave_by_a_guessed_one() {
    let runner = Runner::ephemeral();
    runner.post("/api/users/ada/state", json!({"isMuted": true, "roomId": "demo"}));
    assert_eq!(leave(&runner, "page-load-1").json()["left"], false);
    assert!(is_listed(&runner));
}

#[test]
fn a_malformed_request_is_400() {
    let runner = Runner::ephemeral();
    refused_field(&leave(&runner, "short"), "lease");
    refused_field(
        &runner.post("/api/rooms/demo/leave", json!({"participantId": "..", "lease": "page-load-1"})),
        "participantId",
    );
    refused_field(&runner.post("/api/rooms/a%20b/leave", json!({})), "room");
}

#[test]
fn leaving_changes_nothing_in_a_state_that_has_expired() {
    let runner = Runner::ephemeral();
    join(&runner, "page-load-1");
    set_attribute(&runner, "ada", "expiresAt", Some(&json!({"N": "1795257125"})));
    assert_eq!(leave(&runner, "page-load-1").json()["left"], false);
    let key = json!({"pk": {"S": "USER#ada"}, "sk": {"S": "STATE"}});
    let stored = engine(&runner, "GetItem", &json!({"TableName": "greenroom-state", "Key": key}));
    let lease: u64 = stored["Item"]["leaseUntil"]["N"].as_str().unwrap().parse().unwrap();
    assert!(lease > now_ms(), "the lease goes on");
}
