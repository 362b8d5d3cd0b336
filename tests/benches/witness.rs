//! Measures how often a verdict is wrong, and how soon it is right, with real sound servers and agents and a real
//! runner.
//!
//! `cargo bench -p tests --bench witness -- [--steps 1000] [--worlds 8] [--seed 1] [--calm 60] [--times 0]`. It needs
//! the programs that the tests of the agent need. With chromium and chromedriver it times the page too.
//!
//! Each world is a private PulseAudio with two microphones, a paired agent, a person, and another program that stands
//! for the person's browser. The person claims at random. Meanwhile the microphone is muted, silenced, spoken into,
//! pulled and plugged; the agent's own stream is muted and turned down; the agent is restarted; the browser's recording
//! is moved to the other microphone. Like the page, the browser reopens the microphone when the verdict is
//! `device_mismatch`.
//!
//! The benchmark prints its criteria with the findings, and fails unless all hold: no verdict is falsely `verified`,
//! none is falsely `contradicted`, and at most 1 % of honest mutes are `unverified`.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person to read")]

use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::Runner;
use support::pulse::{Listener, Pulse, Sound, Watch};
use support::webdriver::Browser;

mod proc;
#[path = "../api/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "this benchmark uses a part of the tests' support code")]
mod support;

/// The time between a step and the check of its verdict, as short as the rules allow. Silence verifies a mute when it
/// is 3 s old (`domain::verdict::RECENT`). It begins after the two blocks of a warm-up, and the next tick, attestation
/// and answer report it: half a second for all of these. A stream that must be reopened first, after a move, a plug or
/// a start, takes up to 2 s more.
const SETTLE: Duration = Duration::from_millis(3500);
/// The additional time of a stream that must be reopened.
const REOPEN: Duration = Duration::from_secs(2);
/// The time until an agent learns of a claim: its interval, and the time to open a stream.
const LEARN: Duration = Duration::from_secs(13);
/// Numbers of steps that the code also chooses by name.
const SUSPEND: u8 = 6;
const PLUG: u8 = 7;
/// The largest share of honest mutes that may be unverified, in percent.
const UNVERIFIED_PERCENT_MAX: f64 = 1.0;
/// A sound lasts a minute. It is renewed after this time.
const SOUND_LASTS: Duration = Duration::from_secs(45);
/// The time limit for an event that should happen within a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A microphone with its sound, its person, their browser and their agent.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct World {
    /// The program that stands for the browser: it records from the claimed microphone. `None` only while it reopens
    /// the microphone. The field stands before the sound server, so that it is dropped first.
    browser: Option<Listener>,
    pulse: Pulse,
    user: String,
    muted: bool,
    volume: bool,
    plugged: bool,
    asleep: bool,
    sound: Option<Sound>,
    renewed: Instant,
    claims_muted: bool,
    /// The agent. `None` only while it is restarted.
    watch: Option<Watch>,
}

/// The true signal of a microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Truth {
    Speech,
    GatedSpeech,
    QuietRoom,
    Silence,
    Asleep,
    Gone,
    /// The browser records from another microphone.
    Elsewhere,
}

impl World {
    fn new(runner: &Runner, number: usize) -> Self {
        let user = format!("user-{number}");
        let pulse = Pulse::with_desk();
        // This microphone is silent. The sound server moves streams to it when their device is pulled.
        pulse.plug_in("spare", "Spare Microphone");
        let browser = Some(pulse.other_listener("desk"));
        claim(runner, &user, true);
        pulse.pair(runner, &user);
        let watch = Some(pulse.watch(&[]));
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
            browser,
            watch,
        }
    }

    /// Whether the browser records from another microphone.
    fn is_elsewhere(&self) -> bool {
        let heard = self.browser.as_ref().and_then(|browser| self.pulse.heard_by(browser));
        heard.is_some_and(|microphone| microphone != "desk")
    }

    /// The page reopens its microphone, and claims it again.
    fn reopens(&mut self, runner: &Runner) {
        drop(self.browser.take());
        self.browser = Some(self.pulse.other_listener("desk"));
        claim(runner, &self.user, self.claims_muted);
        // The wait that follows is longer than what may be left of the sound.
        self.renew();
    }

    fn truth(&self) -> Truth {
        if self.plugged && self.is_elsewhere() {
            return Truth::Elsewhere;
        }
        match (self.plugged, self.asleep, self.muted || !self.volume, self.sound) {
            (false, ..) => Truth::Gone,
            (true, true, ..) => Truth::Asleep,
            (true, false, true, _) | (true, false, false, None) => Truth::Silence,
            (true, false, false, Some(Sound::Speech)) => Truth::Speech,
            (true, false, false, Some(Sound::Gated)) => Truth::GatedSpeech,
            (true, false, false, Some(Sound::Room)) => Truth::QuietRoom,
        }
    }

    /// Whether the agent's own stream is muted or turned down. `None`: it has none.
    fn own_is_silenced(&self) -> Option<bool> {
        self.pulse.own_now().map(|own| own != (false, 100))
    }

    /// Whether the microphone is plugged in and awake, so that the agent listens to it.
    fn hears(&self) -> bool {
        self.plugged && !self.asleep
    }

    /// Makes a random change. Returns its name, and the time after which its verdict is checked.
    fn step(&mut self, runner: &Runner, rng: &mut Rng) -> (&'static str, Duration) {
        // A device that is gone or asleep shows little, so it comes back soon.
        let back = if self.plugged { self.asleep.then_some(SUSPEND) } else { Some(PLUG) };
        let done = match back.filter(|_| rng.bool()).unwrap_or_else(|| rng.u8(..16)) {
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
            SUSPEND if self.plugged => {
                self.asleep = !self.asleep;
                self.pulse.suspend("desk", self.asleep);
                "suspend"
            }
            PLUG => {
                if self.plugged {
                    self.pulse.pull("desk");
                } else {
                    self.pulse.plug_in("desk", "Desk Microphone");
                    // A device that is plugged in again has its default settings.
                    (self.muted, self.volume, self.asleep) = (false, true, false);
                }
                self.plugged = !self.plugged;
                "plug"
            }
            8 if self.hears() => {
                self.pulse.mute_own(rng.bool());
                "own mute"
            }
            9 if self.hears() => {
                self.pulse.volume_own([100, 100, 50, 1, 0][rng.usize(..5)]);
                "own volume"
            }
            10 => {
                // The sound server remembers the settings of the old stream. They must not apply to the new one.
                drop(self.watch.take());
                self.watch = Some(self.pulse.watch(&[]));
                "restart"
            }
            11 => {
                self.pulse.make_default(if rng.bool() && self.plugged { "desk" } else { "spare" });
                "default"
            }
            12 if self.plugged => {
                if let Some(browser) = &self.browser {
                    self.pulse.move_listener(browser, if rng.bool() { "desk" } else { "spare" });
                }
                "mixer"
            }
            _ => {
                self.sound = [None, Some(Sound::Room), Some(Sound::Speech), Some(Sound::Gated)][rng.usize(..4)];
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
        let reopens = matches!(done, "plug" | "suspend" | "default" | "restart");
        (done, if reopens { SETTLE + REOPEN } else { SETTLE })
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

/// The number of steps by claim, truth, whether the agent's own stream is silenced, and verdict.
type Table = BTreeMap<(bool, Truth, bool), BTreeMap<String, usize>>;

/// Whether a verified claim is false or unknown. A mute is false if a signal leaves the microphone, and an open
/// microphone is false if none does. A quiet room counts as a signal. Of a device that is asleep, gone or elsewhere, no
/// claim may be verified.
fn is_falsely_verified(claims_muted: bool, truth: Truth) -> bool {
    match truth {
        Truth::Speech | Truth::GatedSpeech | Truth::QuietRoom => claims_muted,
        Truth::Silence => !claims_muted,
        Truth::Asleep | Truth::Gone | Truth::Elsewhere => true,
    }
}

/// Whether a contradicted claim may be true. A device that is gone contradicts every claim, and so does a browser that
/// records from another microphone. A device that sleeps contradicts none. A mute is true if no signal leaves the
/// microphone, whatever the agent's own stream gives. An open microphone is also open in a quiet room and between two
/// sentences, with and without a gate.
fn is_falsely_contradicted(claims_muted: bool, truth: Truth) -> bool {
    match truth {
        Truth::Speech | Truth::GatedSpeech | Truth::QuietRoom => !claims_muted,
        Truth::Silence => claims_muted,
        Truth::Asleep => true,
        Truth::Gone | Truth::Elsewhere => false,
    }
}

/// The findings of one world, or of all worlds.
#[derive(Default)]
struct Found {
    table: Table,
    falsely_verified: Vec<String>,
    falsely_contradicted: Vec<String>,
    /// Steps after which the person claims a mute and is muted, by the system or in hardware, while the agent's own
    /// stream is open.
    honest: usize,
    honest_unverified: Vec<String>,
    own_silenced: usize,
}

impl Found {
    fn note(&mut self, done: &str, world: &World, verdict: &Value) {
        let (claims_muted, truth, own) = (world.claims_muted, world.truth(), world.own_is_silenced());
        let value = verdict["value"].as_str().unwrap();
        let line = || {
            let own = if own == Some(true) { ", own stream silenced" } else { "" };
            format!("after {done}: claims muted {claims_muted}, truth {truth:?}{own}: {verdict}")
        };
        if value == "verified" && is_falsely_verified(claims_muted, truth) {
            self.falsely_verified.push(line());
        }
        if value == "contradicted" && is_falsely_contradicted(claims_muted, truth) {
            self.falsely_contradicted.push(line());
        }
        if claims_muted && truth == Truth::Silence && own == Some(false) {
            self.honest += 1;
            if value == "unverified" {
                let log = world.watch.as_ref().map(Watch::log).unwrap_or_default();
                let last: Vec<_> = log.iter().rev().take(4).map(Value::to_string).collect();
                self.honest_unverified.push(format!("{}\n    {}", line(), last.join("\n    ")));
            }
        }
        self.own_silenced += usize::from(own == Some(true));
        let key = (claims_muted, truth, own == Some(true));
        *self.table.entry(key).or_default().entry(value.to_owned()).or_default() += 1;
    }

    fn add(&mut self, part: Self) {
        for (key, row) in part.table {
            for (value, count) in row {
                *self.table.entry(key).or_default().entry(value).or_default() += count;
            }
        }
        self.falsely_verified.extend(part.falsely_verified);
        self.falsely_contradicted.extend(part.falsely_contradicted);
        self.honest += part.honest;
        self.honest_unverified.extend(part.honest_unverified);
        self.own_silenced += part.own_silenced;
    }

    fn print(&self) {
        println!(
            "| Claim | What the microphone gives | Agent's own stream | verified | contradicted | stale | unverified |\n|---|---|---|---|---|---|---|"
        );
        for ((claims_muted, truth, own_silenced), row) in &self.table {
            let of = |value: &str| row.get(value).copied().unwrap_or_default();
            println!(
                "| {} | {truth:?} | {} | {} | {} | {} | {} |",
                if *claims_muted { "muted" } else { "open" },
                if *own_silenced { "silenced" } else { "open" },
                of("verified"),
                of("contradicted"),
                of("stale"),
                of("unverified")
            );
        }
        println!("\nsteps while the agent's own stream was silenced: {}", self.own_silenced);
    }

    /// Prints each criterion with the findings, and returns whether all hold.
    fn judge(&self) -> bool {
        let percent = 100.0 * count(self.honest_unverified.len()) / count(self.honest.max(1));
        let criteria = [
            ("falsely verified (wanted: 0)", &self.falsely_verified, self.falsely_verified.is_empty()),
            ("falsely contradicted (wanted: 0)", &self.falsely_contradicted, self.falsely_contradicted.is_empty()),
            (
                "honest mutes unverified (wanted: 1 % at most)",
                &self.honest_unverified,
                percent <= UNVERIFIED_PERCENT_MAX,
            ),
        ];
        println!("honest mutes: {}, unverified of these: {percent:.2} %", self.honest);
        for (what, lines, holds) in &criteria {
            println!("{} {what}: {}", if *holds { "ok  " } else { "FAIL" }, lines.len());
            for line in *lines {
                println!("  {line}");
            }
        }
        criteria.iter().all(|(_, _, holds)| *holds)
    }
}

fn count(steps: usize) -> f64 {
    f64::from(u32::try_from(steps).unwrap())
}

fn wander(runner: &Runner, number: usize, steps: usize, seed: u64) -> Found {
    let mut world = World::new(runner, number);
    let mut rng = Rng::with_seed(seed + number as u64);
    let mut found = Found::default();
    for _ in 0..steps {
        let (done, settle) = world.step(runner, &mut rng);
        std::thread::sleep(settle);
        let verdict = mute_verdict(runner, &world.user);
        found.note(done, &world, &verdict);
        if world.plugged && verdict["reason"] == "device_mismatch" {
            world.reopens(runner);
            std::thread::sleep(LEARN);
            let verdict = mute_verdict(runner, &world.user);
            found.note("opening anew", &world, &verdict);
        }
    }
    found
}

fn confusion(runner: &Runner, steps: usize, worlds: usize, seed: u64) -> bool {
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let wanderers: Vec<_> = (0..worlds)
            .map(|number| scope.spawn(move || wander(runner, number, steps.div_ceil(worlds), seed)))
            .collect();
        for wanderer in wanderers {
            found.add(wanderer.join().unwrap());
        }
    });
    println!("{} steps in {worlds} worlds, seed {seed}\n", worlds * steps.div_ceil(worlds));
    found.print();
    found.judge()
}

/// Waits until `reached` is true, and returns the time that it took.
fn time_until(reached: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < PATIENCE, "the event never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

fn print_times(what: &str, times: &mut [Duration]) {
    let [median, p95, max] = [50, 95, 100].map(|percent| proc::percentile(times, percent).as_millis());
    println!("{what}: median {median} ms, p95 {p95} ms, longest {max} ms ({} times)", times.len());
}

/// Measures the time from the system's mute to the stored verdict, and back.
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
        // The pauses differ from the agent's interval, and keep its attestations below their limit.
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

/// Measures the time from the system's mute to the verdict on the page.
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
    pulse.pair(runner, user.as_str().unwrap());
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

/// Measures CPU and memory of an agent while nothing changes.
fn calm(runner: &Runner, time: Duration) {
    let mut world = World::new(runner, 2000);
    std::thread::sleep(Duration::from_secs(3));
    let pid = world.watch.as_ref().unwrap().pid();
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
    // `--times 0` leaves out the times, and measures only how often a verdict is wrong.
    if option("--times", 1) > 0 {
        latency(&runner);
        if cfg!(has_chromium) {
            page(&runner);
        }
        calm(&runner, Duration::from_secs(option("--calm", 60)));
    }
    let (steps, worlds) = (number("--steps", 1000), number("--worlds", 8));
    if !confusion(&runner, steps, worlds, option("--seed", 1)) {
        std::process::exit(1);
    }
}
