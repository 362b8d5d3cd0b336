//! A lagging index: lists may be late and catch up later, and no decision depends on them.

use crate::support::faults::{Command, Fault, Faulty};
use crate::support::refused;
use crate::support::rooms::{self, NewRoom};
use crate::support::scene::Scene;
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

const PEOPLE: u8 = 4;
const ROOMS: [&str; 2] = ["demo", "other"];
const COMMANDS: usize = 60;
/// Number of writes by which the index lags.
const LAGS: [usize; 9] = [0, 1, 2, 3, 5, 8, 13, 25, 50];

/// A random command; the same seed gives the same command. Some commands are refused.
fn command(rng: &mut fastrand::Rng) -> Command {
    let user = format!("user-{}", rng.u8(..PEOPLE));
    let is_muted = rng.bool();
    match rng.u8(..10) {
        0..4 => {
            let room = ROOMS.get(rng.usize(..3));
            Command::new("set_state", "userId", &user).with(json!({"isMuted": is_muted, "roomId": room}))
        }
        4..7 => {
            let seq = rng.u64(1..40);
            Command::new("set_mute", "userId", &user).with(json!({"isMuted": is_muted, "seq": seq}))
        }
        7 => {
            let version = format!("\"{}\"", rng.u8(1..6));
            Command::new("set_mute", "userId", &user).with(json!({"isMuted": is_muted})).header("if-match", version)
        }
        8 => Command::new("set_device", "userId", &user).with(json!({"deviceId": "d", "deviceLabel": "Microphone"})),
        _ => Command::new("delete_user", "userId", &user),
    }
}

/// A state without its times.
fn claim(user: &Value) -> Value {
    json!([user["userId"], user["roomId"], user["isMuted"], user["version"], user["deviceId"]])
}

/// The people of each room according to its list.
async fn lists(faulty: &Faulty) -> BTreeMap<&'static str, Vec<Value>> {
    let mut lists = BTreeMap::new();
    for room in ROOMS {
        let reply = Command::new("list_room_users", "room", room).run(&faulty.context()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let items = reply.json()["items"].as_array().unwrap().clone();
        let ids: BTreeSet<_> = items.iter().map(|item| item["userId"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), items.len(), "somebody is listed twice");
        let safe = Command::new("get_room_safe", "room", room).run(&faulty.context()).await;
        assert_eq!(safe.status, 200, "{}", safe.text);
        assert!(items.is_empty() || safe.json()["safe"] == false, "nobody has an agent: {}", safe.text);
        lists.insert(room, items);
    }
    lists
}

#[tokio::test]
async fn a_lagging_index_changes_no_decision_and_its_lists_catch_up() {
    for seed in 0..3 {
        let mut undisturbed = None;
        for lag in LAGS {
            let mut rng = fastrand::Rng::with_seed(seed);
            let faulty = Faulty::new();
            faulty.lag(Some(lag)).await;
            let state = faulty.context();
            let (mut statuses, mut known, mut late) = (Vec::new(), BTreeSet::new(), 0);
            for _ in 0..COMMANDS {
                let reply = command(&mut rng).run(&state).await;
                statuses.push(reply.status);
                let listed: Vec<_> =
                    lists(&faulty).await.into_values().flatten().map(|user| claim(&user).to_string()).collect();
                if [200, 201].contains(&reply.status) {
                    let claim = claim(&reply.json()).to_string();
                    late += usize::from(reply.json()["roomId"].is_string() && !listed.contains(&claim));
                    known.insert(claim);
                }
                assert!(
                    listed.iter().all(|user| known.contains(user)),
                    "a list shows a state that never existed: {listed:?}"
                );
            }
            assert_eq!(late > 0, lag > 0, "{late} lists were late");
            faulty.lag(None).await;
            let lists: Vec<_> = lists(&faulty)
                .await
                .into_iter()
                .map(|(room, items)| json!([room, items.iter().map(claim).collect::<Vec<_>>()]))
                .collect();
            let outcome = (statuses, lists);
            assert!(outcome.0.iter().any(|status| *status >= 400), "{outcome:?}");
            let expected = undisturbed.get_or_insert_with(|| outcome.clone());
            assert_eq!(&outcome, expected, "{lag} writes behind, seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_person_who_has_just_unmuted_is_never_counted_as_silent_even_if_the_index_lags() {
    for lag in LAGS {
        let scene = Scene::new().await;
        let state = scene.faulty.context();
        let safe = async || Command::new("get_room_safe", "room", "demo").run(&state).await.json();
        assert_eq!(safe().await["safe"], true, "Ada is muted, and verified to be");
        scene.faulty.lag(Some(lag)).await;
        let open = Command::new("set_mute", "userId", "ada").with(json!({"isMuted": false})).run(&state).await;
        assert_eq!(open.status, 200, "{}", open.text);
        let safety = safe().await;
        assert_eq!((&safety["safe"], &safety["counts"]["muted"]), (&json!(false), &json!(0)), "{lag} writes behind");
    }
}

/// An eventually consistent read may come from a replica that has not heard yet of somebody who has just joined.
#[tokio::test]
async fn who_has_just_joined_is_not_refused_for_a_replica_that_lags() {
    fn without_items(answer: &mut Value) {
        answer.as_object_mut().unwrap().remove("Item");
        if let Some(tables) = answer["Responses"].as_object_mut() {
            tables.clear();
        }
    }
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let polls = ["get_room", "list_room_users", "list_room_events", "get_room_audit", "get_room_safe"];
    for endpoint in polls {
        faulty.be(Box::new(|call, _| (call == 0).then_some(Fault::Answers(without_items))));
        let reply = room.call(endpoint, &guest).run(&context).await;
        assert_eq!(reply.status, 200, "{endpoint}: {}", reply.text);
    }
    faulty.be_well();
    room.remove(&context, &presenter, &guest).await;
    for endpoint in polls {
        assert_eq!(room.call(endpoint, &guest).run(&context).await.status, 401, "{endpoint}");
    }
}

/// The list of a room's people comes from the index, but who looks at it is read from the table itself.
#[tokio::test]
async fn whoever_joins_sees_themselves_in_the_room_however_far_the_index_lags() {
    for lag in LAGS {
        let faulty = Faulty::new();
        let context = rooms::strict(&faulty).await;
        let (room, ada) = NewRoom::default().create(&context).await;
        faulty.lag(Some(lag)).await;
        let grace = room.join(&context, "Grace").await;
        let people = async |by| {
            let seen = room.call("get_room", by).run(&context).await.json();
            let person = |user: &Value| (user["name"].clone(), user["participant"]["handRaised"].clone());
            seen["participants"].as_array().unwrap().iter().map(person).collect::<Vec<_>>()
        };
        assert_eq!(people(&grace).await, [(json!("Ada"), json!(false)), (json!("Grace"), json!(false))], "{lag}");
        let raised = room.moderate(&grace, &grace, json!({"handRaised": true})).run(&context).await;
        assert_eq!(raised.status, 200, "{}", raised.text);
        let now = [(json!("Ada"), json!(false)), (json!("Grace"), json!(true))];
        assert_eq!(people(&grace).await, now, "{lag}");
        faulty.lag(None).await;
        assert_eq!(people(&ada).await, now, "{lag}");
    }
}

/// Whose seat is free is looked for in the index, and decided by the person's own item.
#[tokio::test]
async fn a_full_room_takes_no_seat_of_somebody_who_is_there_however_far_the_index_lags() {
    for (lag, stays) in LAGS.into_iter().flat_map(|lag| [(lag, true), (lag, false)]) {
        let faulty = Faulty::new();
        let context = rooms::strict(&faulty).await;
        faulty.lag(Some(lag)).await;
        let (room, ada) = NewRoom(json!({"maxParticipants": 2})).create(&context).await;
        let grace = room.join(&context, "Grace").await;
        let mut in_a_minute = context.clone();
        in_a_minute.clock = || Timestamp::from(SystemTime::now()).plus(Duration::from_mins(1));
        for person in [&ada, &grace].into_iter().take(1 + usize::from(stays)) {
            let renewal = room.call("renew_presence", person).with(json!({"lease": "page-load-1"}));
            assert_eq!(renewal.run(&in_a_minute).await.status, 200);
        }
        let join = Command::new("join_room", "room", &room.id).with(json!({"name": "Heidi"}));
        let mut reply = join.run(&in_a_minute).await;
        faulty.lag(None).await;
        if !stays && reply.status == 409 {
            // The index did not know Grace. Once it does, her seat is given away.
            refused(&reply, 409, "room_full");
            reply = join.run(&in_a_minute).await;
        }
        assert_eq!(reply.status, if stays { 409 } else { 200 }, "{lag} writes behind, {stays}: {}", reply.text);
        let seen = room.call("get_room", &ada).run(&in_a_minute).await.json();
        let names: Vec<_> = seen["participants"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
        assert_eq!(
            (&seen["room"]["present"], names),
            (&json!(2), vec![&json!("Ada"), &json!(if stays { "Grace" } else { "Heidi" })])
        );
    }
}

/// Somebody whom the index does not know yet is not among the targets, but the room itself shows the request.
#[tokio::test]
async fn a_request_to_mute_reaches_everybody_however_far_the_index_lags() {
    for lag in LAGS {
        let faulty = Faulty::new();
        let context = rooms::strict(&faulty).await;
        faulty.lag(Some(lag)).await;
        let (room, ada) = NewRoom::default().create(&context).await;
        let [grace, heidi] = [room.join(&context, "Grace").await, room.join(&context, "Heidi").await];
        let asked = room.call("mute_all", &ada).run(&context).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        let request = asked.json()["requestId"].clone();
        for person in [&grace, &heidi] {
            let seen = room.call("get_room", person).run(&context).await.json();
            assert_eq!(seen["room"]["muteRequest"]["requestId"], request, "{lag} writes behind");
            let stays_open = room.moderate(person, person, json!({"refusedRequest": request})).run(&context).await;
            assert_eq!(stays_open.status, 200, "{}", stays_open.text);
        }
        faulty.lag(None).await;
        let targets = asked.json()["targets"].as_array().unwrap().len();
        assert!((lag > 0 || targets == 2) && (lag < 25 || targets == 0), "{targets} targets, {lag} writes behind");
    }
}
