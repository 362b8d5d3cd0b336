//! Measures whether a request costs more in a large room, and in a large table.
//!
//! `cargo bench -p tests --bench growth` [-- --rooms 10000,40000]. Each world is compared with one room of 25 people in
//! otherwise empty tables: a room of 1 000, and then tables with as many rooms of 25 as the argument says. Requests go
//! one at a time through the handlers and AWS's client to the engine, in this process and without a network, first in
//! the one world and then in the other. Both are on files. The units are those that the engine reports.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::Config;
use domain::{Purpose, SIGNATURE_HEADER};
use functions::{Context, ENDPOINTS, answer};
use lambda_http::{Body, RequestExt as _, http::Request};
use local::objects::{BUCKET, Directory};
use serde_json::{Value, json};
use snapshot::format::Compression;
use snapshot::objects::Objects;
use snapshot::tables::Tables;
use snapshot::take::{Settings, Snapshots};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};
use world::{CHALLENGE, Used, World, agent, key, room, user};

#[expect(dead_code, reason = "this benchmark uses a part of it")]
mod proc;
mod world;

/// The runner's allocator, so that the numbers hold for the runner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// People in a room, and in the large room.
const ROOM: usize = 25;
const LARGE: usize = 1000;
/// People who act in turn.
const ACTORS: usize = 25;
/// A measurement ends after so many calls in each world, or after this time, but not before two calls.
const CALLS: usize = 500;
const MEASURE_FOR: Duration = Duration::from_secs(4);
/// Calls before the first that counts, of those that take no whole table.
const WARM_UP: usize = 25;
/// Changes that each room of an actor has had after everybody joined. Their last block does not name the people.
const CHANGES: usize = 60;
/// Rounds of the history's measurement: in each, a consumer begins and then writes more changes. The number of changes
/// in a round has no factor in common with the number between two blocks that name the people.
const ROUNDS: usize = 68;
const CHANGES_OF_ROUND: usize = 15;
/// Changes of the measurements with several consumers and with many rooms.
const SPREAD: usize = 6000;
/// In a larger table a snapshot takes too long here: for each page, the engine sorts a quarter of the table anew.
const SNAPSHOT_ROOMS_MAX: usize = 10_000;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    SetMute,
    SetDevice,
    ListPage,
    ListAll,
    Safe,
    EventsAtEnd,
    EventsFromStart,
    Attest,
    ListUsers,
}

const ACTS: [(Act, &str); 9] = [
    (Act::SetMute, "`set_mute`"),
    (Act::SetDevice, "`set_device`"),
    (Act::Attest, "`attest`"),
    (Act::ListPage, "`list_room_users`, a page of 200"),
    (Act::ListAll, "`list_room_users`, all pages"),
    (Act::Safe, "`get_room_safe`"),
    (Act::EventsAtEnd, "`list_room_events`, the last event"),
    (Act::EventsFromStart, "`list_room_events`, 200 from the first"),
    (Act::ListUsers, "`list_users`, a page of 25"),
];

/// Somebody who acts.
struct Actor {
    number: usize,
    room: String,
    /// The number of their agent's last attestation, and the challenge of the next.
    seq: u64,
    challenge: String,
    /// Number of the last event of their room.
    head: u64,
}

/// The people of a world who act.
struct Actors {
    people: Vec<Actor>,
    turn: usize,
}

/// What calls in one world took.
#[derive(Debug, Default)]
struct Cost {
    times: Vec<Duration>,
    used: Used,
    bytes: usize,
    /// The most read units of one call.
    most: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    if !proc::is_bench() {
        return;
    }
    let config = Config::of_runner(|_| None).unwrap();
    functions::diagnostics(config.log_level, std::io::sink);
    // `diagnostics` also sends panics to that sink. This line shows them on standard error again.
    drop(std::panic::take_hook());
    let arguments: Vec<_> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--rooms").map(|at| arguments[at + 1].clone());
    let counts = given.unwrap_or_else(|| "10000,40000".to_owned());
    if counts == "0" {
        return consumers(&config).await;
    }

    let mut large = World::new(&config, LARGE);
    compare(&config, &mut large, 1).await;
    drop(large);
    let mut many = World::new(&config, ROOM);
    for rooms in counts.split(',').map(|rooms| rooms.parse::<usize>().unwrap()) {
        compare(&config, &mut many, rooms).await;
    }
    drop(many);
    consumers(&config).await;
}

/// Fills a world up to this many rooms and compares it with a room of 25.
async fn compare(config: &Config, world: &mut World, rooms: usize) {
    let begun = Instant::now();
    let before = world.rooms;
    world.grow(rooms).await;
    let people = rooms * world.size;
    println!("\n{rooms} × {} = {people} people, filled in {:.0} s.\n", world.size, begun.elapsed().as_secs_f64());
    let mut base = World::new(config, ROOM);
    base.grow(1).await;
    // A room that was added now has no changes of earlier measurements.
    let (mut here, mut there) = (Actors::of(&mut base, 0).await, Actors::of(world, before).await);

    println!("| | Read units | | Write units | | p50, ms | | Ratio | p95, ms | | Ratio | Bytes | |");
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (act, name) in ACTS {
        let warm_up = if act == Act::ListUsers { 0 } else { WARM_UP };
        for _ in 0..warm_up {
            here.perform(&base.context, act).await;
            there.perform(&world.context, act).await;
        }
        let (mut small, mut big) = (Cost::default(), Cost::default());
        let begun = Instant::now();
        while small.times.len() < CALLS && (small.times.len() < 2 || begun.elapsed() < MEASURE_FOR) {
            for (cost, actors, world) in [(&mut small, &mut here, &base), (&mut big, &mut there, &*world)] {
                world.meter.take();
                let begun = Instant::now();
                cost.bytes = actors.perform(&world.context, act).await;
                cost.times.push(begun.elapsed());
                cost.used += world.meter.take();
            }
        }
        print(name, small, big);
    }
    let [small, big] = [history(&mut base).await, history(world).await];
    let [few, most] = [small[0].1.most, big[0].1.most];
    for (name, small, big) in small.into_iter().zip(big).map(|((name, small), (_, big))| (name, small, big)) {
        print(name, small, big);
    }
    if rooms <= SNAPSHOT_ROOMS_MAX {
        let [small, big] = [snapshot(&base).await, snapshot(world).await];
        print("a snapshot", small, big);
    }
    println!("\nA consumer that begins reads at most {few:.1} and {most:.1} units.");
    spread(world).await;
}

fn print(name: &str, mut small: Cost, mut big: Cost) {
    let mean = |cost: &Cost, total: f64| total / f64::from(u32::try_from(cost.times.len()).unwrap());
    let [reads, more_reads] = [&small, &big].map(|cost| mean(cost, cost.used.reads));
    let [writes, more_writes] = [&small, &big].map(|cost| mean(cost, cost.used.writes));
    let mut row = format!("| {name} | {reads:.2} | {more_reads:.2} | {writes:.2} | {more_writes:.2} |");
    for percent in [50, 95] {
        let [little, much] = [&mut small, &mut big].map(|cost| proc::percentile(&mut cost.times, percent));
        let [little, much] = [little, much].map(|time| time.as_secs_f64() * 1e3);
        let _ = write!(row, " {little:.2} | {much:.2} | {:.2} |", much / little);
    }
    println!("{row} {} | {} |", small.bytes, big.bytes);
}

impl Actors {
    /// People of rooms from `first` on who are spread over them, each room with a history of some changes.
    async fn of(world: &mut World, first: usize) -> Self {
        let (first, last) = (first * world.size, world.rooms * world.size);
        let numbers: Vec<_> = (0..ACTORS).map(|place| first + (last - first) * place / ACTORS).collect();
        let mut rooms: Vec<_> = numbers.iter().map(|number| number / world.size).collect();
        rooms.dedup();
        for room in rooms {
            for change in 0..CHANGES {
                let flip = world.flip(room * world.size + change % world.size);
                world.append(&world.context, flip).await;
            }
        }
        let mut people = Vec::with_capacity(ACTORS);
        for number in numbers {
            let room = room(number / world.size);
            let first = get(&world.context, "list_room_events", &room, "events?limit=1").await;
            let head = member(&first, "\"head\":").parse().unwrap();
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(CHALLENGE);
            people.push(Actor { number, room, seq: 1, challenge, head });
        }
        Self { people, turn: 0 }
    }

    /// The next actor does this. Returns the bytes of the answers.
    async fn perform(&mut self, context: &Context, act: Act) -> usize {
        self.turn += 1;
        let turn = self.turn;
        let actor = &mut self.people[turn % ACTORS];
        let room = &actor.room;
        match act {
            // Each actor's turn comes after an odd number of others, so each request is a change.
            Act::SetMute => {
                let body = json!({"isMuted": turn.is_multiple_of(2)});
                patch(context, "set_mute", "PATCH /api/users/{userId}/mute", actor.number, &body).await.len()
            }
            Act::SetDevice => {
                let body = json!({"deviceId": format!("usb-{turn}"), "deviceLabel": "USB microphone"});
                patch(context, "set_device", "PATCH /api/users/{userId}/device", actor.number, &body).await.len()
            }
            Act::ListPage => get(context, "list_room_users", room, "users?limit=200").await.len(),
            Act::ListAll => {
                let (mut bytes, mut query) = (0, "users?limit=200".to_owned());
                loop {
                    let page = get(context, "list_room_users", room, &query).await;
                    bytes += page.len();
                    match member(&page, "\"nextCursor\":") {
                        "null" => return bytes,
                        cursor => query = format!("users?limit=200&cursor={}", cursor.trim_matches('"')),
                    }
                }
            }
            Act::Safe => get(context, "get_room_safe", room, "safe").await.len(),
            Act::EventsAtEnd => {
                get(context, "list_room_events", room, &format!("events?since={}", actor.head - 1)).await.len()
            }
            Act::EventsFromStart => get(context, "list_room_events", room, "events?since=0&limit=200").await.len(),
            Act::Attest => actor.attest(context).await,
            // The endpoint answers 503 after nine seconds, so this asks the store below it.
            Act::ListUsers => {
                let page = context.users.list(25, None, (context.clock)()).await.unwrap();
                serde_json::to_vec(&page.items).unwrap().len()
            }
        }
    }
}

impl Actor {
    async fn attest(&mut self, context: &Context) -> usize {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = u64::try_from(since.as_millis()).unwrap();
        let body = json!({
            "seq": self.seq + 1, "challenge": self.challenge, "version": 1, "fromMs": now - 500, "toMs": now,
            "silentSinceMs": now - 60_000, "condition": "measured", "flag": "muted", "signal": "digital_zero",
            "route": "direct",
            "device": {"id": "pulseaudio:desk_microphone", "label": "Desk Microphone", "unique": true},
        });
        let body = body.to_string();
        let agent = agent(self.number).to_string();
        let signature = Purpose::Attestation.sign(&key(self.number), body.as_bytes());
        let mut request = request("POST", &format!("/api/agents/{agent}/attestations"), Some(body));
        request.headers_mut().insert(SIGNATURE_HEADER, signature.parse().unwrap());
        let request = with(request, "agentId", &agent);
        let answer = send(context, "attest", "POST /api/agents/{agentId}/attestations", request).await;
        self.seq += 1;
        member(&answer, "\"nextChallenge\":").trim_matches('"').clone_into(&mut self.challenge);
        answer.len()
    }
}

/// The value of a member with a short value that occurs once, or last, in an answer.
fn member<'a>(answer: &'a str, name: &str) -> &'a str {
    answer.rsplit_once(name).unwrap().1.split([',', '}']).next().unwrap()
}

/// A request as the gateway makes it.
fn request(method: &str, path: &str, body: Option<String>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3001");
    match body {
        None => request.body(Body::Empty).unwrap(),
        Some(body) => request.header("content-type", "application/json").body(Body::Text(body)).unwrap(),
    }
}

fn with(request: Request<Body>, parameter: &str, value: &str) -> Request<Body> {
    request.with_path_parameters(HashMap::from([(parameter.to_owned(), vec![value.to_owned()])]))
}

async fn get(context: &Context, binary: &str, room: &str, rest: &str) -> String {
    let route = format!("GET /api/rooms/{{room}}/{}", rest.split('?').next().unwrap());
    let request = request("GET", &format!("/api/rooms/{room}/{rest}"), None);
    send(context, binary, &route, with(request, "room", room)).await
}

async fn patch(context: &Context, binary: &str, route: &str, number: usize, body: &Value) -> String {
    let path = route.trim_start_matches("PATCH ").replace("{userId}", &user(number));
    let request = request("PATCH", &path, Some(body.to_string()));
    send(context, binary, route, with(request, "userId", &user(number))).await
}

/// The body of the answer, which is a success.
async fn send(state: &Context, binary: &str, route: &str, request: Request<Body>) -> String {
    let (_, entry) = ENDPOINTS.iter().find(|(known, _)| *known == binary).unwrap();
    let response = answer(route, *entry, state, request).await;
    let (status, body) = (response.status(), response.into_body());
    let body = str::from_utf8(body.as_ref()).unwrap().to_owned();
    assert_eq!(status, 200, "{route}: {body}");
    body
}

/// Changes of one room, one after the other, by consumers that begin and that go on.
async fn history(world: &mut World) -> [(&'static str, Cost); 2] {
    let (mut begins, mut goes_on) = (Cost::default(), Cost::default());
    let first = (world.rooms - 1) * world.size;
    for round in 0..ROUNDS {
        let consumer = world.begin();
        for change in 0..CHANGES_OF_ROUND {
            let flip = world.flip(first + (round * CHANGES_OF_ROUND + change) % world.size);
            let cost = if change == 0 { &mut begins } else { &mut goes_on };
            world.meter.take();
            let begun = Instant::now();
            world.append(&consumer, flip).await;
            cost.times.push(begun.elapsed());
            let used = world.meter.take();
            cost.most = cost.most.max(used.reads);
            cost.used += used;
        }
    }
    [("a change's history, consumer begins", begins), ("a change's history, consumer goes on", goes_on)]
}

/// What a change's history costs a consumer whose changes come from all rooms.
async fn spread(world: &mut World) {
    let consumer = world.begin();
    let (mut used, mut half) = (Used::default(), Used::default());
    for change in 0..SPREAD {
        let flip = world.flip(fastrand::usize(..world.rooms * world.size));
        world.meter.take();
        world.append(&consumer, flip).await;
        let cost = world.meter.take();
        used += cost;
        if change >= SPREAD / 2 {
            half += cost;
        }
    }
    let [all, last] = [(used, SPREAD), (half, SPREAD - SPREAD / 2)]
        .map(|(used, changes)| (used.reads / as_f64(changes), used.writes / as_f64(changes)));
    println!(
        "\n{SPREAD} changes of all rooms at random, one consumer: {:.2} read and {:.2} write units a change; the second \
         half {:.2} and {:.2}.\n",
        all.0, all.1, last.0, last.1
    );
}

/// What several consumers cost that take turns at random in one room's history.
async fn consumers(config: &Config) {
    println!(
        "\n| Consumers of one room | Refused writes a change | Read units a change | Write units, refusals at 1 |"
    );
    println!("|---|---|---|---|");
    for count in [1, 2, 4, 8, 25] {
        let mut world = World::new(config, ROOM);
        world.grow(1).await;
        let consumers: Vec<_> = (0..count).map(|_| world.begin()).collect();
        for (person, consumer) in consumers.iter().enumerate() {
            let flip = world.flip(person);
            world.append(consumer, flip).await;
        }
        world.meter.take();
        for _ in 0..SPREAD {
            // A person's changes are always in the same shard.
            let person = fastrand::usize(..ROOM);
            let flip = world.flip(person);
            world.append(&consumers[person % count], flip).await;
        }
        let Used { reads, writes, refused, .. } = world.meter.take();
        let [refused, reads, writes] = [f64::from(refused), reads, writes].map(|total| total / as_f64(SPREAD));
        println!("| {count} | {refused:.2} | {reads:.2} | {:.2} |", writes + refused);
    }
}

/// A snapshot of everything, without a pause.
async fn snapshot(world: &World) -> Cost {
    let folder = world.folder().join("snapshots");
    let objects = Objects::new(Directory::open(&folder, Duration::ZERO).unwrap().client(), BUCKET);
    let config = &world.context.config;
    let tables = Tables {
        client: world.context.database.clone(),
        state: config.state_table.clone(),
        ledger: config.ledger_table.clone(),
    };
    let settings = Settings {
        stage: "growth".to_owned(),
        compression: Compression::Gzip,
        retention: Duration::from_hours(24),
        segments: 4,
        read_units: 0,
        pause: snapshot::pace::sleep,
    };
    world.meter.take();
    let begun = Instant::now();
    let run =
        Snapshots { tables: &tables, objects: &objects, settings: &settings, clock: world.context.clock, alone: true };
    let manifest = run.perform(None).await.unwrap().taken.unwrap();
    let bytes = usize::try_from(manifest.object.bytes).unwrap();
    Cost { times: vec![begun.elapsed()], used: world.meter.take(), bytes, most: 0.0 }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
