use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{self, signer};
use crate::support::witness::{Witness, mute_verdict};
use crate::support::{Reply, Runner, refused, refused_field};
use domain::TokenKeys;
use serde_json::{Value, json};

fn create(runner: &Runner, body: Value) -> Reply {
    runner.post("/api/rooms", body)
}

#[test]
fn a_room_is_created_with_its_presenter_in_it() {
    let runner = Runner::ephemeral();
    let reply = create(&runner, json!({"title": " Wéekly Review ", "presenterName": "Ada"}));
    assert_eq!((reply.status, reply.header("cache-control")), (201, Some("no-store")));
    let created = reply.json();
    let text = |name: &str| created[name].as_str().unwrap();
    assert!(text("roomId").starts_with("rm_") && text("participantId").starts_with("p_"));
    assert!(text("slug").starts_with("wéekly-review-"), "{}", text("slug"));
    let link = format!("/?room={}", text("slug").replace('é', "%C3%A9"));
    assert!(text("joinUrl").starts_with("http://") && text("joinUrl").ends_with(&link), "{}", text("joinUrl"));
    assert!(text("wsUrl").starts_with("ws://") && text("wsUrl").ends_with("/ws"));
    let room = &created["room"];
    assert_eq!(
        (&room["title"], &room["present"], &room["maxParticipants"]),
        (&json!("Wéekly Review"), &json!(1), &json!(50))
    );
    assert_eq!((&room["hasPassword"], &room["isActive"], &room["version"]), (&json!(false), &json!(true), &json!(1)));
    let presenter = runner.get(&format!("/api/users/{}", text("participantId"))).json();
    assert_eq!((&presenter["name"], &presenter["participant"]["role"]), (&json!("Ada"), &json!("presenter")));
    assert_eq!(presenter["source"], "token");
}

#[test]
fn a_malformed_room_is_refused_and_the_member_is_named() {
    let runner = Runner::ephemeral();
    for (more, field) in [
        (json!({"title": ""}), "title"),
        (json!({"title": "a\nb"}), "title"),
        (json!({"title": "x".repeat(201)}), "title"),
        (json!({"presenterName": "\u{202e}ada"}), "presenterName"),
        (json!({"password": ""}), "password"),
        (json!({"password": "x".repeat(129)}), "password"),
        (json!({"maxParticipants": 1}), "maxParticipants"),
        (json!({"maxParticipants": 1001}), "maxParticipants"),
        (json!({"maxParticipants": "50"}), "maxParticipants"),
        (json!({"settings": {"loby": true}}), "loby"),
        (json!({"settings": {"minEvidence": "floor"}}), "settings"),
        (json!({"settings": {"warnAbove": 1001}}), "settings"),
        (json!({"type": "system"}), "type"),
    ] {
        let mut body = json!({"title": "T", "presenterName": "Ada"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        refused_field(&create(&runner, body.clone()), field);
    }
    refused_field(&create(&runner, json!({"presenterName": "Ada"})), "title");
    assert_eq!(runner.get("/api/rooms").json()["items"], json!([]));
}

/// The agents say the same in both rooms: the system's flag says muted, and nobody listens.
#[test]
fn a_room_may_ask_for_stronger_evidence_than_the_service() {
    let runner = Runner::with_env(&[("MIN_EVIDENCE", "flag")]);
    for (settings, verdict) in [
        (json!({}), ["verified", "flag_only"]),
        (json!({"minEvidence": "digital_zero"}), ["unverified", "weak_evidence"]),
    ] {
        let created = create(&runner, json!({"title": "T", "presenterName": "Ada", "settings": settings})).json();
        let text = |name: &str| created[name].as_str().unwrap();
        let state = format!("/api/users/{}/state", text("participantId"));
        let bearer = format!("Bearer {}", text("presenterToken"));
        let claim = json!({"isMuted": true, "deviceId": "e3b0", "deviceLabel": "Desk Mic", "roomId": text("roomId")});
        let claimed = runner.send_json("POST", &state, &[("authorization", &bearer)], claim);
        assert_eq!(claimed.status, 200, "{}", claimed.text);
        let mut witness = Witness::paired(&runner, text("participantId"));
        let attested = witness.attest(&runner, json!({"signal": "not_opened"}));
        assert_eq!(attested.status, 200, "{}", attested.text);
        let expected = verdict.map(str::to_owned).into();
        assert_eq!(mute_verdict(&attested), expected);
        assert_eq!(mute_verdict(&runner.get(&format!("/api/users/{}", text("participantId")))), expected);
    }
}

#[test]
fn an_eleventh_room_within_the_window_is_refused() {
    let runner = Runner::ephemeral();
    for n in 0..10 {
        assert_eq!(create(&runner, json!({"title": format!("{n}"), "presenterName": "Ada"})).status, 201, "{n}");
    }
    let reply = create(&runner, json!({"title": "11", "presenterName": "Ada"}));
    refused(&reply, 429, "rate_limited");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn a_repeated_request_with_a_key_makes_one_room() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let ask = |title: &str| {
        Command::new("create_room", "none", "")
            .header("idempotency-key", "once".to_owned())
            .with(json!({"title": title, "presenterName": "Ada"}))
    };
    let (command, other) = (ask("One"), ask("Two"));
    let (first, second) = tokio::join!(command.run(&context), command.run(&context));
    let third = command.run(&context).await;
    for reply in [&second, &third] {
        assert_eq!((reply.status, &reply.text), (201, &first.text));
    }
    refused(&other.run(&context).await, 422, "idempotency_key_reused");
    let stored = faulty.stored().await;
    assert_eq!(stored.as_object().unwrap().keys().filter(|key| key.starts_with("ROOM#")).count(), 1);
    let token = first.json()["presenterToken"].as_str().unwrap().to_owned();
    let keys: TokenKeys = signer().public().parse().unwrap();
    assert!(keys.verify(&token, std::time::SystemTime::now().into()).is_some());
}

#[tokio::test]
async fn without_a_key_that_signs_no_room_is_made() {
    let faulty = Faulty::new();
    let body = json!({"title": "T", "presenterName": "Ada"});
    let reply = Command::new("create_room", "none", "").with(body).run(&faulty.context()).await;
    refused(&reply, 503, "no_signing_key");
}

/// The title, the names and the token are nobody's business but the room's.
#[test]
fn the_log_holds_no_title_no_name_and_no_token() {
    let runner = Runner::ephemeral();
    let created = create(&runner, json!({"title": "Zanzibar", "presenterName": "Wilhelmina"})).json();
    let slug = created["slug"].as_str().unwrap();
    assert_eq!(runner.get(&format!("/api/rooms/{slug}")).status, 200);
    assert_eq!(runner.post(&format!("/api/rooms/{slug}/join"), json!({"name": "Ottokar"})).status, 200);
    let line = runner.await_log(|line| line["route"] == "POST /api/rooms/{room}/join");
    assert_eq!(line["path"], "/api/rooms/{hidden}/join");
    let lost = runner.get(&format!("/api/rooms/{}%20/nothing", slug.to_uppercase()));
    assert_eq!(lost.status, 404);
    assert_eq!(runner.log_of(&lost)["path"], "/api/rooms/{hidden}/nothing");
    for damaged in
        [slug[..slug.len() - 1].to_owned(), slug[..slug.len() - 5].to_owned(), format!("{slug}x"), format!("{slug}.")]
    {
        let line = runner.log_of(&runner.get(&format!("/api/rooms/{damaged}/messages")));
        assert_eq!(line["path"], "/api/rooms/{hidden}/messages", "{damaged}");
    }
    let mangled = [slug.replace('-', "%2D"), format!("@{slug}:"), format!("%25{slug}"), slug.to_owned()];
    for user in mangled {
        let line = runner.log_of(&runner.get(&format!("/api/users/{user}")));
        assert_eq!((&line["path"], &line["userId"]), (&json!("/api/users/{hidden}"), &Value::Null), "{user}");
    }
    let log = format!("{:?}", runner.log()).to_lowercase();
    for secret in ["zanzibar", "wilhelmina", "ottokar", "eyj"] {
        assert!(!log.contains(secret), "{secret}");
    }
}
