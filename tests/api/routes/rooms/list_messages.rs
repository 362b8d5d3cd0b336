use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{NewRoom, Person, Room, open, strict};
use crate::support::{Reply, keys, refused, refused_field};
use domain::message::MessageType;
use domain::{MessageId, MessageText, RoomId, Timestamp, UserId};
use functions::Context;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::StoreError;
use store::dynamodb::{Cause, NewMessage};

/// Messages at chosen times, below the handler: its limit would count so many.
struct Writer<'a> {
    context: &'a Context,
    room: RoomId,
    author: UserId,
}

impl<'a> Writer<'a> {
    fn new(context: &'a Context, room: &Room, author: &Person) -> Self {
        Self { context, room: room.id.parse().unwrap(), author: author.id.parse().unwrap() }
    }

    async fn write(&self, text: &str, at: Timestamp) -> String {
        let now = Cause::service((self.context.clock)());
        let author = self.context.rooms.member(&self.room, &self.author, &now).await.unwrap();
        let id = MessageId::created(at, store::random().unwrap());
        let text = MessageText::try_from(text.to_owned()).unwrap();
        let new = NewMessage { id: id.clone(), kind: MessageType::Chat, text };
        self.context.rooms.post(author, new, |_| Ok::<_, StoreError>(None), at).await.unwrap();
        id.to_string()
    }
}

async fn page(context: &Context, room: &Room, by: &Person, query: String) -> Reply {
    let mut command = room.call("list_messages", by);
    command.query = Box::leak(query.into_boxed_str());
    command.run(context).await
}

fn ids(page: &Value) -> Vec<String> {
    page["messages"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_empty_room_has_one_empty_page() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let reply = page(&context, &room, &ada, String::new()).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"messages": [], "hasMore": false, "nextBefore": null})));
    assert!(reply.header("etag").is_some());
}

#[tokio::test]
async fn a_page_holds_the_newest_fifty_and_the_oldest_of_them_first() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let writer = Writer::new(&context, &room, &ada);
    let mut all = Vec::new();
    for n in 0..60 {
        all.push(writer.write("x", Timestamp::from_ms(1_795_257_125_000 + n)).await);
    }
    let newest = page(&context, &room, &ada, String::new()).await.json();
    assert_eq!(keys(&newest), ["hasMore", "messages", "nextBefore"]);
    assert_eq!((ids(&newest), &newest["hasMore"]), (all[10..].to_vec(), &json!(true)));
    assert_eq!(newest["nextBefore"], all[10]);
    let rest = page(&context, &room, &ada, format!("before={}", all[10])).await.json();
    assert_eq!((ids(&rest), &rest["hasMore"], &rest["nextBefore"]), (all[..10].to_vec(), &json!(false), &json!(null)));
    let exact = page(&context, &room, &ada, "limit=60".to_owned()).await.json();
    assert_eq!((ids(&exact), &exact["hasMore"], &exact["nextBefore"]), (all, &json!(false), &json!(null)));
}

/// An instant excludes its own millisecond; an id excludes only its own message.
#[tokio::test]
async fn messages_of_one_millisecond_are_all_reachable() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let writer = Writer::new(&context, &room, &ada);
    let at = Timestamp::from_ms(1_795_257_125_007);
    let early = writer.write("early", Timestamp::from_ms(at.ms() - 1)).await;
    let mut same = Vec::new();
    for _ in 0..5 {
        same.push(writer.write("same", at).await);
    }
    same.sort();
    let late = writer.write("late", Timestamp::from_ms(at.ms() + 1)).await;
    let before = async |before: &str| ids(&page(&context, &room, &ada, format!("before={before}")).await.json());
    assert_eq!(before(&at.to_string()).await, [early.as_str()]);
    let all: Vec<String> = [early.clone()].into_iter().chain(same.clone()).collect();
    assert_eq!(before(&Timestamp::from_ms(at.ms() + 1).to_string()).await, all);
    assert_eq!(before(&late).await, all);
    assert_eq!(before(&same[2]).await, all[..3]);
    assert_eq!(before("1970-01-01T00:00:00.000Z").await, [""; 0]);
    assert_eq!(before("9999-12-31T23:59:59.999Z").await.len(), 7);
}

/// Six hundred messages at the longest: the table answers them in many parts.
#[tokio::test]
async fn pages_lose_and_double_nothing_while_others_write() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let writer = Writer::new(&context, &room, &ada);
    let mut all = BTreeSet::new();
    for n in 0..600 {
        all.insert(writer.write(&"ä".repeat(4000), Timestamp::from_ms(1_795_257_125_000 + n / 3)).await);
    }
    for limit in [200, 37] {
        let (mut seen, mut before, mut written) = (Vec::new(), String::new(), Vec::new());
        loop {
            let page = page(&context, &room, &ada, format!("limit={limit}{before}")).await.json();
            assert!(ids(&page).len() <= limit && ids(&page).is_sorted());
            seen.splice(0..0, ids(&page));
            written.push(writer.write("in between", (context.clock)()).await);
            let Some(next) = page["nextBefore"].as_str() else { break };
            assert_eq!(page["hasMore"], true);
            before = format!("&before={next}");
        }
        assert!(seen.is_sorted() && seen.iter().eq(&all), "limit {limit}: {} of {}", seen.len(), all.len());
        all.extend(written);
    }
}

#[tokio::test]
async fn nobody_but_the_people_of_the_room_reads_it() {
    let faulty = Faulty::new();
    let context = open(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (_, stranger) = NewRoom::default().create(&context).await;
    let mallory = room.join(&context, "Mallory").await;
    room.remove(&context, &ada, &mallory).await;
    room.set(&context, &ada, json!({"settings": {"lobby": true}})).await;
    let waiting = room.join(&context, "Wu").await;
    let nobody = Command::new("list_messages", "room", &room.id).run(&context).await;
    refused(&nobody, 401, "authentication_required");
    let read = async |by: &Person| page(&context, &room, by, String::new()).await;
    refused(&read(&stranger).await, 403, "forbidden");
    refused(&read(&mallory).await, 401, "token_invalid");
    refused(&read(&waiting).await, 403, "not_admitted");
    assert_eq!(room.call("end_room", &ada).run(&context).await.status, 200);
    refused(&read(&ada).await, 410, "room_ended");
}

#[tokio::test]
async fn a_malformed_query_is_400() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=%2B5", "limit"),
        ("before=", "before"),
        ("before=yesterday", "before"),
        ("before=1795257125000", "before"),
        ("before=q_01KBA8M3Q4V4W5X6Y7Z8A9BCDG", "before"),
        ("before=m_01KBA8M3Q4V4W5X6Y7Z8A9BCDG&before=m_01KBA8M3Q4V4W5X6Y7Z8A9BCDG", "query"),
        ("cursor=x", "query"),
    ] {
        refused_field(&page(&context, &room, &ada, query.to_owned()).await, field);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_an_error() {
    let faulty = Faulty::new();
    let context = strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let id = Writer::new(&context, &room, &ada).write("x", (context.clock)()).await;
    let broken = json!({
        "TableName": "greenroom-state",
        "Key": {"pk": {"S": format!("ROOM#{}", room.id)}, "sk": {"S": format!("MSG#{id}")}},
        "UpdateExpression": "REMOVE message",
    });
    faulty.call("UpdateItem", &broken).await;
    refused(&page(&context, &room, &ada, String::new()).await, 500, "internal_error");
}
