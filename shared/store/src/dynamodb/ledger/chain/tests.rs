use super::super::block::{LedgerItem, Stored};
use super::*;
use crate::dynamodb::item::{Item, recorded};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ledger::{Fact, fold, verify};
use domain::verdict::{MinEvidence, Policy};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};

const BEGAN: &str = "2026-11-21T20:56:50.040";
const NAME: &str = "room:demo";

fn room() -> RoomId {
    "demo".parse().unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(1_795_257_125_000 + ms)
}

fn user(name: &str, room: Option<&str>, is_muted: bool, version: u64) -> User {
    let number = |number: u64| AttributeValue::N(number.to_string());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let mut item = Item::from([
        ("pk".to_owned(), text(&format!("USER#{name}"))),
        ("sk".to_owned(), text("STATE")),
        ("isMuted".to_owned(), AttributeValue::Bool(is_muted)),
        ("version".to_owned(), number(version)),
        ("lastUpdated".to_owned(), number(at(version).ms())),
        ("createdAt".to_owned(), number(at(0).ms())),
        ("expiresAt".to_owned(), number(4_000_000_000)),
    ]);
    if let Some(room) = room {
        item.insert("roomId".to_owned(), text(room));
    }
    recorded(item, Policy::new(MinEvidence::DigitalZero)).unwrap()
}

fn record(number: usize, user_id: &str, old: Option<User>, new: Option<User>) -> Pending {
    Pending {
        index: 0,
        lobby: None,
        user_id: user_id.parse().unwrap(),
        position: Position::new(BEGAN, &number.to_string()).unwrap(),
        old,
        new,
        expired: false,
        noted_at: at(0),
    }
}

fn empty() -> Chain {
    Chain::new(Head::NONE, [7; 32].into(), false, BEGAN)
}

/// Appends records as the ledger does, and returns the stored blocks.
fn append(chain: &mut Chain, records: &[&Pending], now: Timestamp) -> Vec<Item> {
    let (mut left, mut stored) = (records, Vec::new());
    while !left.is_empty() {
        let addition = chain.add(&room(), NAME, left, now);
        assert!(addition.done > 0, "no progress");
        if let Some(block) = &addition.block {
            stored.push(block.put().unwrap().into_item());
        }
        left = &left[addition.done..];
        drop(chain.commit(addition));
    }
    stored
}

fn read(items: &[Item]) -> Vec<Entry> {
    let entries = items.iter().flat_map(|item| match LedgerItem::read(item).unwrap() {
        LedgerItem::Block(entries) => entries,
        other => panic!("{other:?}"),
    });
    entries.collect()
}

/// The chain as a new consumer reads it from its end.
fn reloaded(items: &[Item], now: Timestamp) -> Chain {
    let mut newest_first = Vec::new();
    for item in items.iter().rev() {
        let stored = Stored::read(item, NAME).unwrap();
        let ends = matches!(&stored, Stored::Block(block) if block.people.is_some());
        newest_first.push(stored);
        if ends {
            break;
        }
    }
    Chain::of(newest_first, BEGAN, now).unwrap_or_else(empty)
}

fn present(chain: &Chain) -> Vec<String> {
    let here = chain.people.iter().filter(|(_, person)| person.left_at.is_none());
    let mut here: Vec<_> = here.map(|(user, _)| user.to_string()).collect();
    here.sort_unstable();
    here
}

/// A person's next state: in the room, elsewhere, or gone.
fn steps() -> impl Strategy<Value = Vec<(usize, u8, bool)>> {
    vec((0_usize..7, 0_u8..6, any::<bool>()), 1..300)
}

fn records_of(steps: &[(usize, u8, bool)]) -> Vec<Pending> {
    let mut people: [Option<User>; 7] = Default::default();
    let mut records = Vec::new();
    for (number, (person, step, is_muted)) in steps.iter().enumerate() {
        let name = format!("user-{person}");
        let version = number as u64 + 1;
        let new = match step {
            0 => None,
            1 => Some(user(&name, Some("other"), *is_muted, version)),
            _ => Some(user(&name, Some("demo"), *is_muted, version)),
        };
        let old = std::mem::replace(&mut people[*person], new.clone());
        records.push(record(number, &name, old, new));
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the sizes of the batches, whichever of them come again, and wherever a new consumer takes over, the
    /// chain is the one of a single delivery.
    #[test]
    fn each_record_is_in_the_chain_once(steps in steps(), cuts in vec((1_usize..40, 0_usize..60, any::<bool>()), 1..60)) {
        let records = records_of(&steps);
        let concern: Vec<&Pending> = records.iter().filter(|record| record.change().concerns(&room())).collect();
        let mut once = empty();
        let expected = read(&append(&mut once, &concern, at(0)));

        let (mut chain, mut items, mut done) = (empty(), Vec::new(), 0);
        for (size, again, is_new) in cuts.iter().cycle() {
            if done == concern.len() {
                break;
            }
            if *is_new {
                chain = reloaded(&items, at(0));
            }
            let end = (done + size).min(concern.len());
            items.extend(append(&mut chain, &concern[done.saturating_sub(*again)..end], at(0)));
            done = end;
        }
        let entries = read(&items);
        prop_assert_eq!(&entries, &expected);
        prop_assert_eq!(verify(&entries, Some(&chain.head)), Ok(chain.head));
        let folded: Vec<_> = fold(entries.iter().filter_map(Entry::fact)).into_keys().collect();
        prop_assert_eq!(&folded, &present(&chain));
        prop_assert_eq!(present(&reloaded(&items, at(0))), folded);
        prop_assert!(items.iter().all(|item| Stored::read(item, NAME).is_ok()));
    }
}

/// A chain of `count` mutes of the first of `people` persons.
fn mutes(people: usize, count: usize) -> (Chain, Vec<Item>) {
    let name = |person: usize| format!("user-{person:04}");
    let mut records: Vec<_> = (0..people)
        .map(|person| record(person, &name(person), None, Some(user(&name(person), Some("demo"), false, 1))))
        .collect();
    for number in 0..count {
        let (old, new) =
            (user(&name(0), Some("demo"), number % 2 == 1, 1), user(&name(0), Some("demo"), number % 2 == 0, 2));
        records.push(record(people + number, &name(0), Some(old), Some(new)));
    }
    let mut chain = empty();
    let items = records.iter().flat_map(|record| append(&mut chain, &[record], at(0))).collect();
    (chain, items)
}

#[test]
fn a_block_names_the_people_every_32_entries_or_as_many_as_there_are_people() {
    for (people, between) in [(3, 32), (200, 200)] {
        let (_, items) = mutes(people, 1000);
        let named: Vec<_> = (0..items.len()).filter(|place| items[*place].contains_key("people")).collect();
        let last: Vec<_> = named.windows(2).map(|pair| pair[1] - pair[0]).rev().take(3).collect();
        assert_eq!(last, [between; 3], "{named:?}");
        assert!(named[0] < between, "{named:?}");
    }
}

#[test]
fn a_person_who_left_is_remembered_for_two_days_and_longer_while_their_record_comes_again() {
    let here = |name: &str| user(name, Some("demo"), true, 1);
    let join = record(1, "ada", None, Some(here("ada")));
    let leave = record(2, "ada", Some(here("ada")), None);
    let hour = |hour: u64| at(hour * 3_600_000);
    for (again, known) in [(None, false), (Some(40), true)] {
        let mut chain = empty();
        append(&mut chain, &[&join, &leave], hour(0));
        if let Some(again) = again {
            assert!(append(&mut chain, &[&leave], hour(again)).is_empty());
        }
        for number in 0..70 {
            let name = format!("user-{number}");
            append(&mut chain, &[&record(10 + number, &name, None, Some(here(&name)))], hour(50));
        }
        assert_eq!(!chain.is_unknown(&"ada".parse().unwrap()), known, "{again:?}");
        assert!(!chain.is_unknown(&"user-3".parse().unwrap()));
    }
}

#[test]
fn lists_of_people_come_also_while_people_only_join() {
    let (_, items) = mutes(1000, 0);
    let named: Vec<_> = (0..items.len()).filter(|place| items[*place].contains_key("people")).collect();
    assert_eq!(named, [31, 63, 127, 255, 511]);
}

/// Visitors come and go, and residents stay without a change.
#[test]
fn who_is_in_the_room_is_not_forgotten_for_those_who_left() {
    let here = |name: &str| user(name, Some("demo"), true, 1);
    let mut chain = empty();
    append(&mut chain, &[&record(0, "resident", None, Some(here("resident")))], at(0));
    let mut items = Vec::new();
    for number in 1..2 * PEOPLE_MAX {
        let name = format!("visitor-{number}");
        let join = record(2 * number, &name, None, Some(here(&name)));
        let leave = record(2 * number + 1, &name, Some(here(&name)), None);
        items.extend(append(&mut chain, &[&join, &leave], at(0)));
    }
    let named = items.iter().rev().find(|item| item.contains_key("people")).unwrap();
    assert!(!named.contains_key("isCut"));
    let mut named = Chain::of(vec![Stored::read(named, NAME).unwrap()], BEGAN, at(0)).unwrap();
    assert_eq!((named.size(), present(&named)), (PEOPLE_MAX, vec!["resident".to_owned()]));
    let entries = read(&append(&mut named, &[&record(99_999, "resident", Some(here("resident")), None)], at(0)));
    assert!(matches!(entries[0].fact(), Some(Fact::Left { .. })), "{entries:?}");
}

#[test]
fn a_block_names_at_most_so_many_people_and_the_records_tell_of_the_others() {
    let (chain, items) = mutes(PEOPLE_MAX + 300, 2 * PEOPLE_MAX);
    let named = items.iter().rev().find(|item| item.contains_key("people")).unwrap();
    let AttributeValue::S(text) = &named["people"] else { panic!() };
    assert!(text.len() < 300_000, "{}", text.len());
    let named = Chain::of(vec![Stored::read(named, NAME).unwrap()], BEGAN, at(0)).unwrap();
    assert_eq!(named.size(), PEOPLE_MAX);
    let (first, forgotten) = ("user-0000", "user-0001");
    assert!(!named.is_unknown(&first.parse().unwrap()) && named.is_unknown(&forgotten.parse().unwrap()));
    let state = |version| user(forgotten, Some("demo"), version % 2 == 0, version);
    for mut chain in [chain, named] {
        assert!(chain.is_unknown(&forgotten.parse().unwrap()));
        let mute = record(99_999, forgotten, Some(state(1)), Some(state(2)));
        let leave = record(100_000, forgotten, Some(state(2)), None);
        let entries = read(&append(&mut chain, &[&mute, &leave, &mute, &leave], at(0)));
        let facts: Vec<_> = entries.iter().filter_map(Entry::fact).collect();
        assert!(matches!(facts[..], [Fact::MuteChanged { version: 2, .. }, Fact::Left { .. }]), "{facts:?}");
    }
}

#[test]
fn of_two_consumers_that_begin_a_chain_the_second_takes_over_the_key_of_the_first() {
    let ada = record(1, "ada", None, Some(user("ada", Some("demo"), false, 1)));
    let bob = record(2, "bob", None, Some(user("bob", Some("demo"), false, 1)));
    let (mut first, mut second) = (empty(), Chain::new(Head::NONE, [8; 32].into(), false, BEGAN));
    let items = append(&mut first, &[&ada], at(0));
    let Stored::Block(block) = Stored::read(&items[0], NAME).unwrap() else { panic!() };
    assert!(block.follows(&second.head));
    second.follow(block, at(0));
    let item = append(&mut second, &[&bob], at(0)).remove(0);
    assert_eq!(item["digestKey"], items[0]["digestKey"]);
    assert_eq!(read(&[items[0].clone(), item]).len(), 2);
}

#[test]
fn the_first_altered_entry_of_a_block_is_named() {
    let records = records_of(&[(0, 2, true), (1, 2, true), (0, 2, false), (1, 2, false)]);
    let items = append(&mut empty(), &records.iter().collect::<Vec<_>>(), at(0));
    assert_eq!((items.len(), verify(&read(&items), None).map(|head| head.seq)), (1, Ok(4)));
    let AttributeValue::S(text) = &items[0]["entries"] else { panic!() };
    let whole: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    for altered in 0..4 {
        for (member, value) in [("actor", "open"), ("at", "2026-01-01T00:00:00.000Z"), ("hash", &"0".repeat(64))] {
            let mut entries = whole.clone();
            assert_ne!(entries[altered][member], value);
            entries[altered][member] = value.into();
            let mut item = items[0].clone();
            item.insert("entries".to_owned(), AttributeValue::S(serde_json::to_string(&entries).unwrap()));
            let seq = altered as u64 + 1;
            assert_eq!(verify(&read(&[item]), None), Err(domain::ledger::Broken::Altered { seq }), "{member}");
        }
    }
}

#[test]
fn the_facts_of_one_record_are_in_one_block() {
    let mut records = vec![record(0, "ada", None, Some(user("ada", Some("demo"), false, 1)))];
    let with = |is_muted, version| {
        let mut ada = user("ada", Some("demo"), is_muted, version);
        ada.device_id = Some(format!("device-{version}").try_into().unwrap());
        ada
    };
    for number in 1..100 {
        let old = if number == 1 { user("ada", Some("demo"), false, 1) } else { with(number % 2 == 1, number) };
        let new = with(number % 2 == 0, number + 1);
        records.push(record(usize::try_from(number).unwrap(), "ada", Some(old), Some(new)));
    }
    let mut chain = empty();
    let items = append(&mut chain, &records.iter().collect::<Vec<_>>(), at(0));
    assert!(items.len() > 3, "{}", items.len());
    for item in items {
        let entries = read(&[item]);
        let last = entries.last().unwrap();
        assert!(entries.len() <= ENTRIES_MAX && last.action == "device_changed", "{last:?}");
    }
}
