use super::*;
use crate::user::{PairedAgent, Source};
use crate::verdict::{Assurance, Verdict};
use proptest::prelude::*;

const START_MS: u64 = 1_795_257_125_000;
const KEY: DigestKey = DigestKey([7; 32]);

/// The state of a person after one step.
#[derive(Debug, Clone)]
struct Step {
    person: usize,
    room: Option<usize>,
    gone: bool,
    is_muted: bool,
    scope: usize,
    device: Option<u8>,
    agent: Option<(u8, bool)>,
    value: usize,
    reason: usize,
    observed_s: Option<u64>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let agent = proptest::option::of((0..3_u8, any::<bool>()));
    let place = (0..3_usize, proptest::option::weighted(0.9, 0..2_usize), proptest::bool::weighted(0.1));
    let claim = (any::<bool>(), 0..3_usize, proptest::option::of(0..4_u8));
    let seen = (agent, 0..4_usize, 0..Reason::ALL.len(), proptest::option::of(0..100_u64));
    let step = (place, claim, seen).prop_map(
        |((person, room, gone), (is_muted, scope, device), (agent, value, reason, observed_s))| Step {
            person,
            room,
            gone,
            is_muted,
            scope,
            device,
            agent,
            value,
            reason,
            observed_s,
        },
    );
    proptest::collection::vec(step, 0..40)
}

fn rooms() -> [RoomId; 2] {
    ["demo", "other"].map(|room| room.parse().unwrap())
}

fn user(step: &Step, version: u64) -> User {
    let observed_at = step.observed_s.map(|s| Timestamp::from_ms(START_MS + 1000 * s));
    let verdict = Verdict {
        value: Value::ALL[step.value],
        reason: Reason::ALL[step.reason],
        observed_at,
        expires_at: observed_at.map(|at| at.plus(std::time::Duration::from_secs(25))),
        since: None,
        assurance: Assurance::SelfHosted,
    };
    User {
        user_id: format!("user-{}", step.person).parse().unwrap(),
        name: Some("Ada’s canary".to_owned().try_into().unwrap()),
        is_muted: step.is_muted,
        mute_scope: [MuteScope::App, MuteScope::Os, MuteScope::Device][step.scope],
        device_id: step.device.map(|device| format!("device-{device}").try_into().unwrap()),
        device_label: step.device.map(|device| format!("Ada’s canary {device}").try_into().unwrap()),
        room_id: step.room.map(|room| rooms()[room].clone()),
        version,
        last_updated: Timestamp::from_ms(START_MS + 1000 * version),
        created_at: Timestamp::from_ms(START_MS),
        source: Source::Open,
        agent: step.agent.map(|(agent, revoked)| PairedAgent {
            agent_id: AgentId::from_bits(agent.into()),
            revoked,
            device_id: Some("host:canary".to_owned().try_into().unwrap()),
            device_label: Some("Canary Mic".to_owned().try_into().unwrap()),
        }),
        verdict: Verdicts { mute: verdict, device: verdict },
        participant: None,
        refused_request: None,
        lease_until: None,
        expires_at: Timestamp::from_ms(START_MS + 1_000_000),
        request_id: Some(format!("request-{version}")),
        changed_by: None,
    }
}

/// Performs the steps. Returns the chain of the first room, and the people who are in it at the end.
fn live(steps: &[Step]) -> (Vec<Entry>, BTreeMap<String, Presence>) {
    let room = &rooms()[0];
    let mut people: [Option<User>; 3] = [None, None, None];
    let mut entries = Vec::<Entry>::new();
    for (version, step) in (1..).zip(steps) {
        let new = (!step.gone).then(|| user(step, version));
        let old = std::mem::replace(&mut people[step.person], new.clone());
        let noted_at = Timestamp::from_ms(START_MS);
        let change = Change { old: old.as_ref(), new: new.as_ref(), expired: step.is_muted, noted_at };
        let facts = change.facts(room, &KEY);
        assert_eq!(change.concerns(room), !facts.is_empty());
        assert!(facts.is_empty() || change.rooms().contains(room));
        for fact in &facts {
            let head = entries.last().map_or(Head::NONE, Entry::head);
            entries.push(Entry::after(&head, "room:demo", change.at(), &change.actor(), change.request_id(), fact));
        }
    }
    let present = people.iter().flatten().filter(|user| user.room_id.as_ref() == Some(room));
    (entries, present.map(|user| (user.user_id.to_string(), Presence::of(user, &KEY))).collect())
}

proptest! {
    #[test]
    fn the_fold_of_a_history_is_the_live_state(steps in steps()) {
        let (entries, present) = live(&steps);
        prop_assert_eq!(fold(entries.iter().map(|entry| entry.fact().unwrap())), present);
    }

    #[test]
    fn a_history_is_read_back_as_it_was_written_and_verifies(steps in steps()) {
        let (entries, _) = live(&steps);
        let exported = serde_json::to_string(&entries).unwrap();
        let read: Vec<Entry> = serde_json::from_str(&exported).unwrap();
        prop_assert_eq!(verify(&read, None), Ok(entries.last().map_or(Head::NONE, Entry::head)));
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn a_history_contains_no_name_and_no_label(steps in steps()) {
        let (entries, _) = live(&steps);
        let text = serde_json::to_string(&entries).unwrap().to_lowercase();
        prop_assert!(!text.contains("canary") && !text.contains("device-"), "{}", text);
    }

    #[test]
    fn every_change_to_an_entry_is_found_and_named(steps in steps(), at in any::<prop::sample::Index>(), how in 0..6) {
        let (mut entries, _) = live(&steps);
        prop_assume!(entries.len() > 1);
        let head = entries.last().unwrap().head();
        let place = at.index(entries.len());
        let seq = place as u64 + 1;
        match how {
            0 => {
                entries[place].data.insert("version".into(), 999.into());
                prop_assert_eq!(verify(&entries, Some(&head)), Err(Broken::Altered { seq }));
            }
            1 => {
                entries[place].actor.push('x');
                prop_assert_eq!(verify(&entries, Some(&head)), Err(Broken::Altered { seq }));
            }
            2 => {
                entries[place].actor.push('x');
                entries[place].hash = entries[place].digest();
                let found = if seq == head.seq { Broken::OtherHead { seq } } else { Broken::Unlinked { seq: seq + 1 } };
                prop_assert_eq!(verify(&entries, Some(&head)), Err(found));
            }
            3 => {
                entries.remove(place);
                prop_assert_eq!(verify(&entries, Some(&head)), Err(Broken::Missing { seq }));
            }
            4 => {
                let other = (place + 1) % entries.len();
                entries.swap(place, other);
                let first = place.min(other);
                let expected = first as u64 + 1;
                prop_assert_eq!(verify(&entries, Some(&head)), Err(Broken::Reordered { seq: entries[first].seq, expected }));
            }
            _ => {
                entries.insert(place, entries[place].clone());
                prop_assert_eq!(verify(&entries, Some(&head)), Err(Broken::Reordered { seq, expected: seq + 1 }));
            }
        }
    }

    #[test]
    fn canonical_json_does_not_depend_on_the_order_of_members(numbers in proptest::collection::btree_map("[a-zé\"\\\\\n]{0,4}", any::<i64>(), 0..8)) {
        let forward: Map<_, _> = numbers.iter().map(|(name, number)| (name.clone(), Json::from(*number))).collect();
        let backward: Map<_, _> = numbers.iter().rev().map(|(name, number)| (name.clone(), Json::from(*number))).collect();
        let text = canonical(&Json::from(forward));
        prop_assert_eq!(&text, &canonical(&Json::from(backward)));
        prop_assert_eq!(serde_json::from_str::<BTreeMap<String, i64>>(&text).unwrap(), numbers);
    }
}

/// `docs/ledger.md` computes this hash with other programs: `printf` and `sha256sum`.
#[test]
fn the_documented_entry_has_the_documented_hash() {
    let fact =
        Fact::MuteChanged { user_id: "ada".parse().unwrap(), version: 2, is_muted: true, mute_scope: MuteScope::App };
    let entry = Entry::after(&Head::NONE, "room:demo", Timestamp::from_ms(START_MS), "open", None, &fact);
    let page = include_str!("../../../../docs/ledger.md");
    assert!(page.contains(&entry.hash.to_string()), "{entry:?}");
}

#[test]
fn new_evidence_after_a_gap_is_a_fact_even_if_the_verdict_is_the_same() {
    let step = Step {
        person: 0,
        room: Some(0),
        gone: false,
        is_muted: true,
        scope: 0,
        device: None,
        agent: None,
        value: 0,
        reason: 0,
        observed_s: Some(0),
    };
    for (observed_s, news) in [(20, false), (26, true)] {
        let (old, new) = (user(&step, 1), user(&Step { observed_s: Some(observed_s), ..step.clone() }, 1));
        let change = Change { old: Some(&old), new: Some(&new), expired: false, noted_at: old.created_at };
        assert_eq!(change.concerns(&rooms()[0]), news, "{observed_s}");
    }
}

fn somebody() -> User {
    let step = Step {
        person: 0,
        room: Some(0),
        gone: false,
        is_muted: true,
        scope: 0,
        device: None,
        agent: Some((7, false)),
        value: 0,
        reason: 0,
        observed_s: Some(0),
    };
    user(&step, 1)
}

#[test]
fn the_new_state_names_the_actor_of_a_change() {
    let agent = Actor::Agent(AgentId::from_bits(9));
    for actor in [Actor::Open, agent.clone(), Actor::Service] {
        let old = User { changed_by: Some(agent.clone()), ..somebody() };
        let new = User { changed_by: Some(actor.clone()), ..somebody() };
        for old in [None, Some(&old)] {
            let change = Change { old, new: Some(&new), expired: false, noted_at: new.created_at };
            assert_eq!(change.actor(), actor.to_string());
        }
    }
}

#[test]
fn a_removal_is_never_attributed_to_the_last_writer() {
    let old = User { changed_by: Some(Actor::Agent(AgentId::from_bits(9))), ..somebody() };
    for (expired, actor) in [(true, "service"), (false, "user:user-0")] {
        let change = Change { old: Some(&old), new: None, expired, noted_at: old.created_at };
        assert_eq!(change.actor(), actor);
    }
}

#[test]
fn the_actor_of_a_state_that_names_none_is_derived() {
    let (old, measured) = (somebody(), somebody());
    let mut new = somebody();
    new.verdict.mute.observed_at = Some(Timestamp::from_ms(START_MS + 9));
    let agent = format!("agent:{}", AgentId::from_bits(7));
    for (new, actor) in [(&measured, "user:user-0"), (&new, agent.as_str())] {
        let change = Change { old: Some(&old), new: Some(new), expired: false, noted_at: old.created_at };
        assert_eq!(change.actor(), actor);
    }
}

#[test]
fn a_malformed_hash_is_refused() {
    for bad in ["", "0", &"0".repeat(63), &"A".repeat(64), &"g".repeat(64), &"é".repeat(32)] {
        assert!(Hash::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}
