//! How often a verdict is wrong, and how soon it is right: real sound servers, real agents, one real runner.
//!
//! `cargo bench -p tests --bench witness -- [--steps 1000] [--worlds 6] [--seed 1] [--calm 60]`. Needs what the tests of the agent need;
//! with chromium and chromedriver it times the page too. Each world is a private PulseAudio with two microphones, an agent that is
//! paired, and a person whose claims are made at random while the microphone is muted, silenced, spoken into, pulled and plugged.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::Runner;
use support::pulse::{Pulse, Sound, Watch};
use support::webdriver::Browser;
use support::witness::code;

mod proc;
#[path = "../api/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the harness of the tests, of which this takes a part")]
mod support;

/// After a step, until its verdict is looked at: above the 2 s for which a pause between sentences is not silence, and the
/// time that a pulled device takes to be opened again.
const SETTLE: Duration = Duration::from_millis(4500);
/// What a microphone hears lasts a minute; renewed before that.
const SOUND_LASTS: Duration = Duration::from_secs(45);
/// How long a time-out is, where something should happen within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is in front of the microphone and behind it.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct World {
    pulse: Pulse,
    user: String,
    muted: bool,
    volume: bool,
    plugged: bool,
    asleep: bool,
    sound: Option<Sound>,
    renewed: Instant,
    claims_muted: bool,
    watch: Watch,
}

/// What can be heard of a microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    Speech,
    QuietRoom,
    Silence,
    Asleep,
    Gone,
}

impl World {
    fn new(runner: &Runner, number: usize) -> Self {
        let user = format!("user-{number}");
        let pulse = Pulse::with_desk();
        // Silent, and the place where the sound server puts streams whose device is pulled.
        pulse.plug_in("spare", "Spare Microphone");
        claim(runner, &user, true);
        let code = code(runner, &user);
        let paired = pulse.agent(&["enroll", "--url", &runner.url, "--user", &user, "--code", &code]);
        assert!(paired.status.success(), "{}", String::from_utf8_lossy(&paired.stderr));
        let watch = pulse.watch(&[]);
        Self {
            pulse,
            user,
            muted: false,
            volume: true,
            plugged: true,
            asleep: false,
            sound: None,
            renewed: Instant::now(),
            claims_muted: true,
            watch,
        }
    }

    fn truth(&self) -> Truth {
        match (self.plugged, self.asleep, self.muted || !self.volume, self.sound) {
            (false, ..) => Truth::Gone,
            (true, true, ..) => Truth::Asleep,
            (true, false, true, _) | (true, false, false, None) => Truth::Silence,
            (true, false, false, Some(Sound::Speech)) => Truth::Speech,
            (true, false, false, Some(Sound::Room)) => Truth::QuietRoom,
        }
    }

    fn step(&mut self, runner: &Runner, rng: &mut Rng) -> &'static str {
        let done = match rng.u8(..12) {
            0 | 1 => {
                self.claims_muted = !self.claims_muted;
                "claim"
            }
            2 | 3 if self.plugged => {
                self.muted = !self.muted;
                self.pulse.mute("desk", self.muted);
                "mute"
            }
            4 if self.plugged => {
                self.volume = !self.volume;
                self.pulse.volume("desk", if self.volume { 100 } else { 0 });
                "volume"
            }
            5 if self.plugged && self.muted && self.volume => {
                (self.muted, self.asleep) = (false, false);
                self.pulse.mute("desk", false);
                "unmute"
            }
            6 if self.plugged => {
                self.asleep = !self.asleep;
                self.pulse.suspend("desk", self.asleep);
                "suspend"
            }
            7 => {
                if self.plugged {
                    self.pulse.pull("desk");
                } else {
                    self.pulse.plug_in("desk", "Desk Microphone");
                    // A device that is plugged in anew is as it left the factory.
                    (self.muted, self.volume, self.asleep) = (false, true, false);
                }
                self.plugged = !self.plugged;
                "plug"
            }
            8 => {
                self.pulse.make_default(if rng.bool() && self.plugged { "desk" } else { "spare" });
                "default"
            }
            _ => {
                self.sound = [None, Some(Sound::Room), Some(Sound::Speech), Some(Sound::Speech)][rng.usize(..4)];
                self.renew();
                "sound"
            }
        };
        if self.renewed.elapsed() > SOUND_LASTS {
            self.renew();
        }
        if rng.u8(..4) > 0 || done == "claim" {
            claim(runner, &self.user, self.claims_muted);
        }
        done
    }

    fn renew(&mut self) {
        match self.sound {
            Some(sound) => self.pulse.hears("desk", sound),
            None => self.pulse.hears_nothing("desk"),
        }
        self.renewed = Instant::now();
    }
}

fn claim(runner: &Runner, user: &str, muted: bool) {
    let body = json!({"isMuted": muted, "deviceId": "e3b0", "deviceLabel": "Desk Microphone", "roomId": "bench"});
    assert!(runner.post(&format!("/api/users/{user}/state"), body).status < 300);
}

fn mute_verdict(runner: &Runner, user: &str) -> Value {
    runner.get(&format!("/api/users/{user}")).json()["verdict"]["mute"].clone()
}

/// By claim, truth and verdict.
type Table = BTreeMap<(bool, Truth), BTreeMap<String, usize>>;

/// Whether a claim that was verified is not true: muted, and something leaves the microphone, or nobody knows; open, and
/// nothing does. In a quiet room a microphone is as open as in a loud one.
fn is_false(claims_muted: bool, truth: Truth) -> bool {
    let open = matches!(truth, Truth::Speech | Truth::QuietRoom);
    if claims_muted { truth != Truth::Silence } else { !open }
}

fn wander(runner: &Runner, number: usize, steps: usize, seed: u64) -> (Table, Vec<String>) {
    let mut world = World::new(runner, number);
    let mut rng = Rng::with_seed(seed + number as u64);
    let (mut table, mut wrong) = (Table::new(), Vec::new());
    for _ in 0..steps {
        let done = world.step(runner, &mut rng);
        std::thread::sleep(SETTLE);
        let verdict = mute_verdict(runner, &world.user);
        let (value, key) = (verdict["value"].as_str().unwrap().to_owned(), (world.claims_muted, world.truth()));
        if value == "verified" && is_false(key.0, key.1) {
            wrong.push(format!("after {done}: claims muted {}, truth {:?}: {verdict}", key.0, key.1));
        }
        *table.entry(key).or_default().entry(value).or_default() += 1;
    }
    (table, wrong)
}

fn confusion(runner: &Runner, steps: usize, worlds: usize, seed: u64) -> bool {
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let wanderers: Vec<_> = (0..worlds)
            .map(|number| scope.spawn(move || wander(runner, number, steps.div_ceil(worlds), seed)))
            .collect();
        wanderers.into_iter().map(|wanderer| wanderer.join().unwrap()).collect()
    });
    let (mut table, mut wrong) = (Table::new(), Vec::new());
    for (part, found) in outcomes {
        for (key, row) in part {
            for (value, count) in row {
                *table.entry(key).or_default().entry(value).or_default() += count;
            }
        }
        wrong.extend(found);
    }
    println!("{} steps in {worlds} worlds, seed {seed}\n", worlds * steps.div_ceil(worlds));
    println!(
        "| Claim | What the microphone gives | verified | contradicted | stale | unverified |\n|---|---|---|---|---|---|"
    );
    for ((claims_muted, truth), row) in &table {
        let of = |value: &str| row.get(value).copied().unwrap_or_default();
        let claim = if *claims_muted { "muted" } else { "open" };
        println!(
            "| {claim} | {truth:?} | {} | {} | {} | {} |",
            of("verified"),
            of("contradicted"),
            of("stale"),
            of("unverified")
        );
    }
    println!("\nfalse verified: {}", wrong.len());
    for line in &wrong {
        println!("  {line}");
    }
    wrong.is_empty()
}

/// Waits until `reached` and says how long that took.
fn time_until(reached: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

fn print_times(what: &str, times: &mut [Duration]) {
    let [median, p95, max] = [50, 95, 100].map(|percent| proc::percentile(times, percent).as_millis());
    println!("{what}: median {median} ms, p95 {p95} ms, longest {max} ms ({} times)", times.len());
}

/// From the system's mute to the stored verdict, and back.
fn latency(runner: &Runner) {
    let mut world = World::new(runner, 1000);
    world.sound = Some(Sound::Speech);
    let (mut muting, mut unmuting) = (Vec::new(), Vec::new());
    let is = |reason: &str| mute_verdict(runner, "user-1000")["reason"] == reason;
    for round in 0..20 {
        if round % 8 == 0 {
            world.renew();
        }
        time_until(|| is("app_muted_device_hot"));
        // Off the agent's beat, and below the number of attestations that it may send.
        std::thread::sleep(Duration::from_millis(1200 + 37 * round));
        world.pulse.mute("desk", true);
        muting.push(time_until(|| is("silent_and_flagged")));
        std::thread::sleep(Duration::from_millis(1200 + 41 * round));
        world.pulse.mute("desk", false);
        unmuting.push(time_until(|| is("app_muted_device_hot")));
    }
    print_times("system mutes → stored verdict", &mut muting);
    print_times("system unmutes → stored verdict", &mut unmuting);
}

/// From the system's mute to what a person sees.
fn page(runner: &Runner) {
    let mut pulse = Pulse::with_desk();
    pulse.hears("desk", Sound::Speech);
    let browser = Browser::hearing(&pulse);
    browser.open(&runner.url);
    browser.type_into("[data-testid=join-room]", "seen");
    browser.type_into("[data-testid=join-name]", "Ada");
    browser.click("[data-testid=join-submit]");
    browser.wait("document.querySelector('[data-testid=microphone]')?.dataset.status === 'live'");
    let user = browser.run("return document.querySelector('[data-self=true]').dataset.userId;");
    let code = code(runner, user.as_str().unwrap());
    let paired = pulse.agent(&["enroll", "--url", &runner.url, "--user", user.as_str().unwrap(), "--code", &code]);
    assert!(paired.status.success());
    let _watch = pulse.watch(&[]);
    let shows =
        |reason: &str| browser.run("return document.querySelector('[data-self=true]').dataset.reason;") == reason;
    let mut times = Vec::new();
    for round in 0..10 {
        pulse.hears("desk", Sound::Speech);
        time_until(|| shows("app_muted_device_hot"));
        std::thread::sleep(Duration::from_millis(1500 + 131 * round));
        pulse.mute("desk", true);
        times.push(time_until(|| shows("silent_and_flagged")));
        std::thread::sleep(Duration::from_millis(1500));
        pulse.mute("desk", false);
    }
    print_times("system mutes → the page says so", &mut times);
}

/// What an agent takes that has nothing to tell but that nothing changed.
fn calm(runner: &Runner, time: Duration) {
    let mut world = World::new(runner, 2000);
    std::thread::sleep(Duration::from_secs(3));
    let pid = world.watch.pid();
    let (before, began) = (proc::cpu(pid), Instant::now());
    while began.elapsed() < time {
        world.sound = Some(Sound::Speech);
        world.renew();
        std::thread::sleep(SOUND_LASTS.min(time.saturating_sub(began.elapsed())));
    }
    let share = proc::cpu_since(pid, before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    println!(
        "agent, {} s of speech: {share:.2} % of a core, {:.1} MB at most",
        began.elapsed().as_secs(),
        proc::mib(pid, "VmHWM")
    );
}

fn main() {
    if !proc::is_bench() {
        return;
    }
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let number = |name, default| usize::try_from(option(name, default)).unwrap();
    let runner = Runner::ephemeral();
    latency(&runner);
    if cfg!(has_chromium) {
        page(&runner);
    }
    calm(&runner, Duration::from_secs(option("--calm", 60)));
    let (steps, worlds) = (number("--steps", 1000), number("--worlds", 6));
    if !confusion(&runner, steps, worlds, option("--seed", 1)) {
        std::process::exit(1);
    }
}
