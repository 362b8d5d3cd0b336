use crate::support::faults::{Command, Fault, Faulty};
use crate::support::rooms::{NewRoom, Person, Room, open, strict};
use crate::support::{refused, refused_field};
use domain::{QuestionId, RoomId, UserId};
use functions::Context;
use futures_util::future::join_all;
use serde_json::json;
use store::dynamodb::Cause;

/// The stored number of votes for a question, and the number of its stored votes.
async fn counted(faulty: &Faulty, question: &str) -> (u64, usize) {
    let stored = faulty.stored().await;
    let items = stored.as_object().unwrap();
    let counted = items.iter().find(|(key, _)| key.ends_with(&format!(" Q#{question}"))).unwrap().1;
    let rows = items.keys().filter(|key| key.contains(" VOTE#") && key.ends_with(question)).count();
    (counted["votes"]["N"].as_str().unwrap().parse().unwrap(), rows)
}

/// A vote below the handler, whose limit would count so many.
async fn vote(context: &Context, room: &Room, by: &Person, question: &str) -> Option<u32> {
    let (room, person): (RoomId, UserId) = (room.id.parse().unwrap(), by.id.parse().unwrap());
    let question: QuestionId = question.parse().unwrap();
    let now = (context.clock)();
    let voter = context.rooms.member(&room, &person, &Cause::service(now)).await.ok()?;
    context.rooms.vote(&voter, &question, now).await.ok().map(|question| question.votes)
}

#[tokio::test]
async fn a_vote_counts_once_and_the_body_may_be_left_out() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let grace = room.join(&context, "Grace").await;
    let question = room.ask(&context, &ada, "Why?").await;
    for (by, body, votes) in [
        (&ada, None, 1),
        (&ada, Some(json!({})), 1),
        (&ada, Some(json!({"participantId": ada.id})), 1),
        (&grace, None, 2),
        (&grace, None, 2),
    ] {
        let mut command = room.about(&question, "cast_vote", by);
        command.body = body.map(|body| body.to_string());
        let reply = command.run(&context).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"votes": votes})));
    }
    assert_eq!(counted(&faulty, &question).await, (2, 2));
}

#[tokio::test]
async fn two_hundred_votes_of_one_person_at_once_count_once() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let votes = join_all((0..200).map(|_| vote(&context, &room, &ada, &question))).await;
    assert!(votes.iter().flatten().all(|votes| *votes == 1) && votes.iter().flatten().count() > 0, "{votes:?}");
    assert_eq!(counted(&faulty, &question).await, (1, 1));
}

#[tokio::test]
async fn two_hundred_people_who_vote_at_once_count_two_hundred() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom(json!({"maxParticipants": 1000})).create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let mut people = Vec::new();
    for n in 0..200 {
        people.push(room.join(&context, &format!("P{n}")).await);
    }
    // A client repeats a vote that is answered by 503, as so many collisions may be.
    let mut left: Vec<&Person> = people.iter().collect();
    for _ in 0..200 {
        let outcomes = join_all(left.iter().map(|by| vote(&context, &room, by, &question))).await;
        left = left.into_iter().zip(outcomes).filter(|(_, votes)| votes.is_none()).map(|(by, _)| by).collect();
        if left.is_empty() {
            break;
        }
    }
    assert_eq!((left.len(), counted(&faulty, &question).await), (0, (200, 200)));
}

#[tokio::test]
async fn the_number_is_that_of_the_stored_votes_whatever_fails_in_between() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom(json!({"maxParticipants": 1000})).create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let mut people = vec![ada];
    for n in 0..39 {
        people.push(room.join(&context, &format!("P{n}")).await);
    }
    let mut rng = fastrand::Rng::with_seed(7);
    faulty.be(Box::new(move |_, _| {
        let faults = [Fault::LostBefore, Fault::LostAfter, Fault::ErrorAfter, Fault::Throttle, Fault::Conflict];
        (rng.u8(..5) < 2).then(|| faults[rng.usize(..faults.len())])
    }));
    for _ in 0..3 {
        join_all(people.iter().map(|by| vote(&context, &room, by, &question))).await;
        let withdrawing = people.iter().step_by(3).map(|by| room.about(&question, "withdraw_vote", by));
        let withdrawing: Vec<_> = withdrawing.collect();
        join_all(withdrawing.iter().map(|command| command.run(&context))).await;
    }
    faulty.be_well();
    let (votes, rows) = counted(&faulty, &question).await;
    assert_eq!(votes, rows as u64);
    assert!(votes > 0, "some votes got through");
    for by in &people {
        assert_eq!(room.about(&question, "cast_vote", by).run(&context).await.status, 200);
    }
    assert_eq!(counted(&faulty, &question).await, (40, 40));
}

#[tokio::test]
async fn nobody_votes_for_a_question_that_was_removed_or_is_another_rooms() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (other, eve) = NewRoom::default().create(&context).await;
    let removed = room.ask(&context, &ada, "Why?").await;
    let gone = room.about(&removed, "update_question", &ada).with(json!({"removed": true})).run(&context).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let foreign = other.ask(&context, &eve, "Why?").await;
    for question in [&removed, &foreign, "q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH"] {
        for endpoint in ["cast_vote", "withdraw_vote"] {
            let reply = room.about(question, endpoint, &ada).run(&context).await;
            refused(&reply, 404, "question_not_found");
        }
    }
    refused_field(&room.about("7", "cast_vote", &ada).run(&context).await, "questionId");
    let stored = faulty.stored().await;
    assert!(stored.as_object().unwrap().keys().all(|key| !key.contains("VOTE#")), "{stored:#}");
}

#[tokio::test]
async fn nobody_votes_who_is_not_in_the_room_or_for_somebody_else() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let (grace, mallory) = (room.join(&context, "Grace").await, room.join(&context, "Mallory").await);
    room.remove(&context, &ada, &mallory).await;
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    let waiting = room.join(&context, "Wu").await;
    for (by, status, code) in
        [(&stranger, 403, "forbidden"), (&mallory, 401, "token_invalid"), (&waiting, 403, "not_admitted")]
    {
        refused(&room.about(&question, "cast_vote", by).run(&context).await, status, code);
    }
    let for_ada = room.about(&question, "cast_vote", &grace).with(json!({"participantId": ada.id}));
    refused(&for_ada.run(&context).await, 403, "forbidden");
    let mut nobody = Command::new("cast_vote", "room", &room.id);
    nobody.parameters.push(("questionId", question.clone()));
    refused(&nobody.run(&context).await, 401, "authentication_required");
    assert_eq!(counted(&faulty, &question).await, (0, 0));
}

#[tokio::test]
async fn in_open_mode_the_body_names_the_voter() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let question = room.ask(&context, &ada, "Why?").await;
    let mut command = Command::new("cast_vote", "room", &room.slug);
    command.parameters.push(("questionId", question));
    refused(&command.clone().run(&context).await, 401, "authentication_required");
    let reply = command.with(json!({"participantId": ada.id})).run(&context).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"votes": 1})));
}

/// Somebody was still in the room when their request was looked at, and writes after the room is forgotten.
#[tokio::test]
async fn a_vote_and_a_question_that_come_after_the_end_are_written_nowhere() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let question: QuestionId = room.ask(&context, &ada, "Why?").await.parse().unwrap();
    let (id, person): (RoomId, UserId) = (room.id.parse().unwrap(), ada.id.parse().unwrap());
    let cause = Cause { at: (context.clock)(), request_id: None, by: domain::Actor::Open, epoch: None };
    let member = context.rooms.member(&id, &person, &cause).await.unwrap();
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    context.rooms.forget(&id).await.unwrap();
    let vote = context.rooms.vote(&member, &question, cause.at).await.unwrap_err();
    assert!(vote.is(store::dynamodb::QUESTION_NOT_FOUND), "{vote:?}");
    let text = "Late?".to_owned().try_into().unwrap();
    let other = QuestionId::created(cause.at, [7; 10]);
    let asked = context.rooms.ask(&member, other, text, None, cause.at).await.unwrap_err();
    assert!(asked.is(store::dynamodb::ROOM_ENDED), "{asked:?}");
    let stored = faulty.stored().await;
    let left: Vec<_> = stored.as_object().unwrap().keys().filter(|key| key.contains(&room.id)).collect();
    assert_eq!(left, [&format!("ROOM#{}", room.id)]);
}
