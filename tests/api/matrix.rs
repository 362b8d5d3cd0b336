//! Who may call what: every route with every kind of caller, from the declarations. A new route has its row at once,
//! and nobody gets in unless its declaration says so.

use crate::support::faults::{Command, Faulty};
use crate::support::rooms::{self, NewRoom, Person, Room};
use crate::support::{Reply, lambda};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::TokenSigner;
use functions::function::{Callers, Declared, FunctionKind};
use functions::{Context, DECLARED};
use serde_json::{Value, json};

/// A caller of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Nobody,
    Garbage,
    NotBearer,
    Expired,
    AlgNone,
    SignedWithThePublicKey,
    SignedWithAnotherKey,
    Participant,
    ParticipantOfAnotherRoom,
    Presenter,
    PresenterOfAnotherRoom,
    Removed,
    Waiting,
    Agent,
}

use Column::{
    Agent, AlgNone, Expired, Garbage, Nobody, NotBearer, Participant, ParticipantOfAnotherRoom, Presenter,
    PresenterOfAnotherRoom, Removed, SignedWithAnotherKey, SignedWithThePublicKey, Waiting,
};

/// Those who may be let in come last, because they change the room.
const COLUMNS: [Column; 14] = [
    Nobody,
    Garbage,
    NotBearer,
    Expired,
    AlgNone,
    SignedWithThePublicKey,
    SignedWithAnotherKey,
    ParticipantOfAnotherRoom,
    PresenterOfAnotherRoom,
    Removed,
    Waiting,
    Agent,
    Participant,
    Presenter,
];

/// What somebody in the lobby may do: look at themselves, stay, and leave.
const MAY_WAIT: [&str; 3] = ["get_user", "leave_room", "renew_presence"];

/// What must happen. `None`: the caller is let in, whatever the endpoint then answers.
fn wanted(declared: &Declared, column: Column) -> Option<(u16, &'static str)> {
    let callers = declared.function.callers;
    let path = declared.function.routes().next().unwrap().1;
    let names_a_person = path.contains("{userId}") || path.contains("{agentId}");
    let no_token = matches!(column, Nobody | Agent);
    let is_signed = matches!(
        column,
        Participant | ParticipantOfAnotherRoom | Presenter | PresenterOfAnotherRoom | Waiting | Removed
    );
    match callers {
        Callers::Anybody => None,
        Callers::SelfProving(_) => Some((401, "signature_invalid")),
        Callers::Service => panic!("a route must not declare Service"),
        Callers::Visitor if no_token => None,
        _ if no_token => Some((401, "authentication_required")),
        _ if !is_signed => Some((401, "token_invalid")),
        Callers::Administrator => Some((403, "forbidden")),
        _ if column == Removed => Some((401, "token_invalid")),
        _ if matches!(column, ParticipantOfAnotherRoom | PresenterOfAnotherRoom) => Some((403, "forbidden")),
        // The example is about the participant, if its path names anybody. A presenter may not act as somebody else.
        Callers::Oneself if column == Presenter && names_a_person => Some((403, "forbidden")),
        Callers::Oneself if column != Waiting || MAY_WAIT.contains(&declared.name) => None,
        _ if column == Waiting => Some((403, "not_admitted")),
        Callers::Presenter if column == Participant => Some((403, "presenter_only")),
        Callers::Oneself | Callers::Visitor | Callers::Member | Callers::Presenter => None,
    }
}

/// The people of one row.
struct Scene {
    room: Room,
    presenter: Person,
    participant: Person,
    removed: Person,
    waiting: Person,
    other_presenter: Person,
    other: Person,
    /// The participant's agent.
    agent: String,
}

impl Scene {
    async fn new(context: &Context) -> Self {
        let (room, presenter) = NewRoom::default().create(context).await;
        let (other_room, other_presenter) = NewRoom::default().create(context).await;
        let participant = room.join(context, "Grace").await;
        let removed = room.join(context, "Mallory").await;
        let other = other_room.join(context, "Heidi").await;
        room.remove(context, &presenter, &removed).await;
        room.set(context, &presenter, json!({"settings": {"lobby": true}})).await;
        let agent = participant.pair(context).await;
        let waiting = room.join(context, "Wu").await;
        Self { room, presenter, participant, removed, waiting, other_presenter, other, agent }
    }

    fn authorization(&self, column: Column) -> Option<String> {
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let token = &self.participant.token;
        let (_, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        let with_header = |header: Value, signature: &str| {
            bearer(&format!("{}.{claims}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string())))
        };
        match column {
            Nobody | Agent => None,
            Garbage => bearer("garbage"),
            NotBearer => Some("Basic YTpi".to_owned()),
            Expired => bearer(&self.participant.expired()),
            AlgNone => with_header(json!({"alg": "none", "typ": "room+jwt"}), ""),
            SignedWithThePublicKey => with_header(json!({"alg": "HS256", "typ": "room+jwt", "kid": "a"}), signature),
            SignedWithAnotherKey => {
                bearer(&self.participant.signed_by(&TokenSigner::from_seed(&rooms::OTHER_SEED).unwrap()))
            }
            Participant => bearer(token),
            ParticipantOfAnotherRoom => bearer(&self.other.token),
            Presenter => bearer(&self.presenter.token),
            PresenterOfAnotherRoom => bearer(&self.other_presenter.token),
            Removed => bearer(&self.removed.token),
            Waiting => bearer(&self.waiting.token),
        }
    }

    /// The declared example of an endpoint, about this scene's room and participant; for somebody in the lobby and
    /// somebody who was removed about themselves.
    async fn ask(&self, context: &Context, declared: &Declared, column: Column) -> Reply {
        let own = match column {
            Waiting => &self.waiting,
            Removed => &self.removed,
            _ => &self.participant,
        };
        let event = lambda::event(declared.name);
        let mut command = Command::new(declared.name, "room", &self.room.id);
        let path = declared.function.routes().next().unwrap().1;
        for parameter in path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
            let value = match parameter {
                "userId" | "participantId" => own.id.clone(),
                "agentId" => self.agent.clone(),
                "room" => continue,
                other => event["pathParameters"][other].as_str().unwrap_or("demo").to_owned(),
            };
            command.parameters.push((parameter, value));
        }
        if let Some(body) = event["body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok()) {
            let mut body = body;
            if let Some(members) = body.as_object_mut() {
                // The token says who acts, and where.
                members.retain(|name, _| !(name == "participantId" || name == "roomId"));
            }
            command = command.with(body);
        }
        if let Some(authorization) = self.authorization(column) {
            command = command.header("authorization", authorization);
        }
        if column == Agent {
            command = command.header("greenroom-signature", "A".repeat(86));
        }
        command.run(context).await
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_its_declaration_names_and_nobody_else() {
    let faulty = Faulty::new();
    let context = crate::support::rooms::strict(&faulty).await;
    let mut wrong = Vec::new();
    for declared in DECLARED.iter().filter(|declared| declared.kind == FunctionKind::Endpoint) {
        let scene = Scene::new(&context).await;
        for column in COLUMNS {
            let wanted = wanted(declared, column);
            let reply = scene.ask(&context, declared, column).await;
            let code = || reply.json()["code"].as_str().unwrap_or_default().to_owned();
            let is_right = match wanted {
                Some((status, wanted)) => reply.status == status && code() == wanted,
                // An agent's code and a room's password are no matter of the caller.
                None => !matches!(reply.status, 401 | 403),
            };
            if !is_right {
                wrong.push(format!("{} as {column:?}: {} {}, not {wanted:?}", declared.name, reply.status, reply.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong cells:\n{}", wrong.len(), wrong.join("\n"));
}

/// A presenter may do all of this in their own room, but there is no such thing in it.
#[tokio::test]
async fn what_belongs_to_another_room_is_not_found() {
    let faulty = Faulty::new();
    let context = crate::support::rooms::strict(&faulty).await;
    let (room, ada) = NewRoom::default().create(&context).await;
    let (other, eve) = NewRoom(json!({"settings": {"lobby": true}})).create(&context).await;
    let question = other.ask(&context, &eve, "Why?").await;
    let waiting = other.join(&context, "Wu").await;
    let request = other.call("mute_all", &eve).run(&context).await.json()["requestId"].as_str().unwrap().to_owned();
    let stored = async || {
        let mut stored = faulty.stored().await;
        stored.as_object_mut().unwrap().retain(|key, _| !key.starts_with("LIMIT#"));
        stored
    };
    let before = stored().await;
    let mut outcome = room.call("get_mute_request", &ada);
    outcome.parameters.push(("muteRequestId", request.clone()));
    let about = |endpoint| room.about(&question, endpoint, &ada);
    let asked = "question_not_found";
    let person = "participant_not_found";
    for (command, code) in [
        (about("answer_question").with(json!({"answer": "Because."})), asked),
        (about("update_question").with(json!({"isPinned": true})), asked),
        (about("update_question").with(json!({"isAnswered": true})), asked),
        (about("update_question").with(json!({"removed": true})), asked),
        (about("cast_vote"), asked),
        (about("withdraw_vote"), asked),
        (room.moderate(&ada, &waiting, json!({"admitted": true})), person),
        (room.moderate(&ada, &eve, json!({"removed": true})), person),
        (room.moderate(&ada, &eve, json!({"role": "attendee"})), person),
        (room.moderate(&ada, &eve, json!({"mayUnmute": true})), person),
        (room.moderate(&ada, &eve, json!({"handRaised": false})), person),
        (outcome, "mute_request_not_found"),
        (room.moderate(&ada, &ada, json!({"refusedRequest": request})), "mute_request_not_found"),
    ] {
        let reply = command.run(&context).await;
        assert_eq!((reply.status, &reply.json()["code"]), (404, &json!(code)), "{command:?}");
    }
    assert_eq!(stored().await, before);
}

#[tokio::test]
async fn sixty_bad_tokens_are_refused_alike() {
    let faulty = Faulty::new();
    let context = crate::support::rooms::strict(&faulty).await;
    let scene = Scene::new(&context).await;
    let good = &scene.participant.token;
    let parts: Vec<&str> = good.split('.').collect();
    let mut bad: Vec<String> = (0..good.len())
        .step_by(good.len() / 40)
        .map(|place| {
            let mut bytes = good.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    bad.extend([
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!(".{good}"),
        format!("{good} {good}"),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        good.to_lowercase(),
        "A".repeat(100_000),
        "é".to_owned(),
        scene.participant.expired(),
        scene.participant.of_epoch(0),
        scene.participant.of_epoch(2),
        scene.participant.of_epoch(u64::MAX),
        scene.participant.signed_by(&TokenSigner::from_seed(&rooms::OTHER_SEED).unwrap()),
    ]);
    assert!(bad.len() >= 60, "{}", bad.len());
    let mut answers = std::collections::BTreeSet::new();
    for token in bad {
        let mute = Command::new("set_mute", "userId", &scene.participant.id).with(json!({"isMuted": true}));
        let reply = mute.header("authorization", format!("Bearer {token}")).run(&context).await;
        let mut answer = reply.json();
        answer["requestId"] = Value::Null;
        answers.insert((reply.status, answer.to_string(), reply.header("www-authenticate").map(str::to_owned)));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers.first().unwrap().0, 401);
}

#[tokio::test]
async fn a_rotated_key_still_verifies_and_a_retired_one_does_not() {
    let faulty = Faulty::new();
    let context = crate::support::rooms::strict(&faulty).await;
    let scene = Scene::new(&context).await;
    let mute = |context: Context| {
        let mute = Command::new("set_mute", "userId", &scene.participant.id).with(json!({"isMuted": true}));
        let mute = mute.header("authorization", format!("Bearer {}", scene.participant.token));
        async move { mute.run(&context).await.status }
    };
    assert_eq!(mute(context.clone()).await, 200);
    for wanted in [200, 401] {
        let keys = context.signing.rotate(store::random().unwrap()).await.unwrap().public();
        let mut rotated = faulty.context();
        std::sync::Arc::make_mut(&mut rotated.config).rooms.token_keys = keys;
        assert_eq!(mute(rotated).await, wanted);
    }
}
