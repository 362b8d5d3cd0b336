use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{self, NewRoom, PASSWORD, Room};
use crate::support::{PATIENCE, refused, refused_field};
use functions::consumers::on_room_change::run;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn ask(query: &'static str) -> Command {
    Command::new("get_analytics", "none", "").asking(query)
}

#[tokio::test]
async fn rooms_are_counted_by_the_day_with_what_happened_in_them() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    assert_eq!(ask("").run(&context).await.json(), json!({"days": []}));
    let stop = faulty.follow();
    let (one, ada) = NewRoom(json!({"password": PASSWORD})).create(&context).await;
    let (two, eve) = NewRoom(json!({"settings": {"lobby": true}})).create(&context).await;
    NewRoom::default().create(&context).await;
    for name in ["Grace", "Heidi"] {
        one.join(&context, name).await;
    }
    let said = one.call("post_message", &ada).with(json!({"message": "Hello"})).run(&context).await;
    assert_eq!(said.status, 201, "{}", said.text);
    for (room, presenter) in [(&one, &ada), (&two, &eve)] {
        assert_eq!(room.call("end_room", presenter).run(&context).await.status, 200);
    }
    let wanted = json!({
        "roomsCreated": 3, "roomsEnded": 2, "meanDurationMinutes": 0, "peakParticipants": 3, "participants": 4,
        "messages": 1, "questions": 0,
        "features": {"chat": 1, "questions": 0, "lobby": 1, "password": 1, "moderatedUnmute": 0},
    });
    let began = Instant::now();
    loop {
        let mut today = ask("days=2").run(&context).await.json()["days"][0].take();
        let day = today.as_object_mut().and_then(|day| day.remove("day"));
        if today == wanted {
            assert_eq!(day.unwrap().as_str().unwrap().len(), 10);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{today:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).unwrap();
}

/// What the stream says of a room that was created at this time: that it was created, and that it has ended.
fn events(room: &Room, created_at: domain::Timestamp) -> [Value; 2] {
    let text = crate::support::lambda::event("on_room_change").to_string();
    let ended: Value = serde_json::from_str(&text.replace("rm_01KBA8M3Q4V4W5X6Y7Z8A9BCDE", &room.id)).unwrap();
    let mut created = ended.clone();
    let record = created["Records"][0]["dynamodb"].as_object_mut().unwrap();
    record.remove("OldImage");
    record["NewImage"].as_object_mut().unwrap().remove("endedAt");
    record["NewImage"]["createdAt"]["N"] = created_at.ms().to_string().into();
    [created, ended]
}

/// A stream delivers a record again after a failure.
#[tokio::test]
async fn a_room_that_is_delivered_again_is_counted_once() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
    let now = domain::Timestamp::from(std::time::SystemTime::now());
    let [created, ended] = events(&room, now);
    for event in [&created, &ended, &created, &ended] {
        let event = serde_json::from_value(event.clone()).unwrap();
        assert!(run(context.clone(), event).await.batch_item_failures.is_empty());
    }
    let today = ask("").run(&context).await.json()["days"][0].clone();
    assert_eq!(
        (&today["roomsCreated"], &today["roomsEnded"], &today["participants"]),
        (&json!(1), &json!(1), &json!(1))
    );
}

/// The rooms were created before, at different times, and end now, on one day.
#[tokio::test]
async fn the_mean_duration_is_that_of_the_rooms_that_ended() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let before: [fn() -> domain::Timestamp; 2] = [|| ago(90), || ago(5 * 60)];
    for clock in before {
        let mut then = context.clone();
        then.clock = clock;
        let (room, presenter) = NewRoom::default().create(&then).await;
        assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
        let [_, ended] = events(&room, clock());
        let event = serde_json::from_value(ended).unwrap();
        assert!(run(context.clone(), event).await.batch_item_failures.is_empty());
    }
    let today = ask("").run(&context).await.json()["days"][0].clone();
    // 2 and 5 minutes.
    assert_eq!((&today["roomsEnded"], &today["meanDurationMinutes"]), (&json!(2), &json!(3)));
}

fn ago(seconds: u64) -> domain::Timestamp {
    domain::Timestamp::from(std::time::SystemTime::now() - Duration::from_secs(seconds))
}

/// The consumer may be late: its own clock says nothing about when a room was created, and a room that is forgotten for
/// everybody else is still counted.
#[tokio::test]
async fn a_room_counts_for_its_own_day_however_late_it_is_delivered() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
    let now = domain::Timestamp::from(std::time::SystemTime::now());
    let [created, ended] = events(&room, now);
    let mut late = context.clone();
    late.clock = || domain::Timestamp::from(std::time::SystemTime::now()).plus(Duration::from_hours(26));
    for event in [created, ended] {
        let event = serde_json::from_value(event).unwrap();
        assert!(run(late.clone(), event).await.batch_item_failures.is_empty());
    }
    let days = ask("days=3").run(&late).await.json()["days"].clone();
    let day = &days[0];
    assert_eq!((days.as_array().unwrap().len(), &day["roomsCreated"], &day["roomsEnded"]), (1, &json!(1), &json!(1)));
    assert_eq!(day["day"], now.to_string()[..10]);
}

#[tokio::test]
async fn a_malformed_query_is_refused_and_a_participant_sees_no_counts() {
    let faulty = Faulty::new();
    let context = rooms::open(&faulty).await;
    for (query, field) in
        [("days=0", "days"), ("days=401", "days"), ("days=x", "days"), ("day=1", "query"), ("days=1&days=2", "query")]
    {
        refused_field(&ask(query).run(&context).await, field);
    }
    let (room, presenter) = NewRoom::default().create(&context).await;
    refused(&room.call("get_analytics", &presenter).run(&context).await, 403, "forbidden");
    refused(&ask("").run(&rooms::strict(&faulty).await).await, 401, "authentication_required");
}
