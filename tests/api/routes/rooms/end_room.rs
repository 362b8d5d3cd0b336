use crate::support::faults::{Command, Faulty};
use crate::support::refused;
use crate::support::rooms::{self, NewRoom};
use serde_json::json;

#[tokio::test]
async fn a_room_ends_for_everybody_and_its_statistics_are_those_of_the_session() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let [grace, heidi] = [room.join(&context, "Grace").await, room.join(&context, "Heidi").await];
    assert_eq!(room.call("leave_room", &grace).with(json!({})).run(&context).await.status, 200);
    room.join(&context, "Wu").await;
    refused(&room.call("end_room", &heidi).run(&context).await, 403, "presenter_only");
    let mut later = context.clone();
    later.clock = || domain::Timestamp::from(std::time::SystemTime::now()).plus(std::time::Duration::from_secs(90));
    let ended = room.call("end_room", &presenter).run(&later).await;
    let stats = &ended.json()["sessionStats"];
    assert_eq!((ended.status, &ended.json()["success"]), (200, &json!(true)));
    let counts = ["maxConcurrentParticipants", "totalParticipants", "totalMessages", "totalQuestions"];
    assert_eq!(counts.map(|count| stats[count].as_u64().unwrap()), [3, 4, 0, 0]);
    assert_eq!(stats["sessionDurationMinutes"], 2, "90 s are rounded to whole minutes");
    refused(&room.call("get_room", &heidi).run(&context).await, 410, "room_ended");
    let teaser = Command::new("get_room", "room", &room.slug).run(&context).await.json();
    assert_eq!(teaser["isActive"], false);
}

#[tokio::test]
async fn two_presenters_who_end_a_room_at_once_end_it_once_with_one_set_of_statistics() {
    for _ in 0..10 {
        let faulty = Faulty::new();
        let context = rooms::strict(&faulty).await;
        let (room, presenter) = NewRoom::default().create(&context).await;
        let second = room.join(&context, "Grace").await;
        let promoted = room.moderate(&presenter, &second, json!({"role": "presenter"})).run(&context).await;
        assert_eq!(promoted.status, 200, "{}", promoted.text);
        let (one, two) = (room.call("end_room", &presenter), room.call("end_room", &second));
        let (one, two) = tokio::join!(one.run(&context), two.run(&context));
        let statistics = [&one, &two].map(|reply| (reply.status == 200).then(|| reply.json()["sessionStats"].clone()));
        let given: Vec<_> = statistics.iter().flatten().collect();
        assert!(!given.is_empty() && given.iter().all(|stats| *stats == given[0]), "{} {}", one.text, two.text);
        assert!([&one, &two].iter().all(|reply| [200, 410].contains(&reply.status)), "{} {}", one.text, two.text);
    }
}

#[tokio::test]
async fn the_tokens_of_a_room_end_with_it() {
    let faulty = Faulty::new();
    let context = rooms::strict(&faulty).await;
    let (room, presenter) = NewRoom::default().create(&context).await;
    let guest = room.join(&context, "Grace").await;
    let stop = faulty.follow();
    assert_eq!(room.call("end_room", &presenter).run(&context).await.status, 200);
    let began = std::time::Instant::now();
    loop {
        let reply = guest.call("set_mute").with(json!({"isMuted": true})).run(&context).await;
        if reply.status == 401 {
            refused(&reply, 401, "token_invalid");
            break;
        }
        assert!(began.elapsed() < crate::support::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    stop.send(true).unwrap();
}
