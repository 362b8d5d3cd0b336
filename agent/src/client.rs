//! The agent's HTTP client: pairing, attesting, and the reaction to each answer. `docs/attestation.md` describes the
//! protocol.

use crate::clock::Moment;
use crate::fuse::State;
use crate::key::{Pairing, public};
use crate::server::ServerUrl;
use domain::user::Version;
use domain::verdict::RECENT;
use domain::{
    AgentDevice, AgentId, Attestation, Challenge, Condition, DeviceId, Enrolment, Flag, PairingCode, Purpose, Route,
    SIGNATURE_HEADER, Signal, SigningKey, UserId, WINDOW_MAX,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time limit of one call. The window of a slower attestation would be too old.
const CALL: Duration = Duration::from_secs(5);
/// Longest answer, in bytes; a state is smaller than 4 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// First and longest wait after a failure, and while nobody has attached this agent. It begins short, because a person
/// who has just paired an agent waits for it.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// Conflicts in a row before the agent waits: two agents with the same key would otherwise cause conflicts for each
/// other forever.
const CONFLICTS_MAX: u32 = 3;
/// How long silence must last to count. Both ends of it are rounded to whole milliseconds.
const LASTING: Duration = Duration::from_millis(2).saturating_add(RECENT);
/// Silence that lasts this long may count at the server already, because of that rounding.
const NEARLY_LASTING: Duration = RECENT.saturating_sub(Duration::from_millis(2));
/// Requests in each [`RATE_WINDOW`], at most.
const RATE: usize = 10;
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// The part of [`RATE`] that is kept for statements that weaken a mute: they support it less than the statement that the
/// server holds. So the end of a verified mute is reported at once even after many changes. A mute can be weakened three
/// times in a row.
const RESERVED: usize = 3;
/// Longest wait of a statement that weakens a mute after a failure, unless [`RATE`] is used up.
const END_RETRY: Duration = Duration::from_secs(3);
/// How long a statement may verify a mute at the server; longer than `Policy::fresh`. After it, no end of a mute is
/// urgent.
const HELD_FOR: Duration = Duration::from_secs(30);
/// Bounds of the interval, whatever the server requests.
const INTERVAL: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];
/// The interval until the server requests another one.
pub const INTERVAL_FIRST: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no answer.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        url: String,
        /// The network's error.
        why: String,
    },
    /// The answer does not follow the protocol.
    #[error("{0} does not answer as Greenroom does; check --url")]
    Garbled(String),
    /// The server refused the request.
    #[error("the server refused ({}): {}", .0.code, .0.detail)]
    Refused(Box<Refusal>),
}

/// A problem document, with the members that let an agent recover.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// The meaning, for people.
    pub detail: String,
    /// The server's time.
    pub at_ms: Option<u64>,
    /// The `seq` that the server expects.
    pub expected_seq: Option<u64>,
    /// The challenge that the server expects.
    pub challenge: Option<Challenge>,
    /// The claim of the person to whom this agent is attached.
    pub claim: Option<Claim>,
}

/// The server's API over HTTP.
struct Api {
    http: ureq::Agent,
    url: ServerUrl,
}

impl Api {
    fn new(url: ServerUrl) -> Self {
        let builder = ureq::Agent::config_builder();
        // Requests to this machine must not leave it, even if HTTP_PROXY is set.
        let builder = if url.is_plain() { builder.proxy(None) } else { builder };
        let http = builder
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(CALL))
            .user_agent(concat!("greenroom-agent/", env!("CARGO_PKG_VERSION")))
            // The runner closes a connection that is idle for ten seconds. A request on it at that moment would fail.
            .max_idle_age(Duration::from_secs(5))
            .build()
            .into();
        Self { http, url }
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &[u8], signature: &str) -> Result<T, CallError> {
        let unreachable =
            |error: ureq::Error| CallError::Unreachable { url: self.url.to_string(), why: error.to_string() };
        let request = self.http.post(self.url.join(path));
        let request = request.header("content-type", "application/json").header(SIGNATURE_HEADER, signature);
        let mut response = request.send(body).map_err(unreachable)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        let garbled = |_| CallError::Garbled(self.url.to_string());
        if status.is_success() {
            return serde_json::from_str(&text).map_err(garbled);
        }
        let mut refusal: Box<Refusal> = serde_json::from_str(&text).map_err(garbled)?;
        refusal.status = status.as_u16();
        Err(CallError::Refused(refusal))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Enrolled {
    agent_id: AgentId,
    user_id: UserId,
}

/// Pairs a new key with a person.
///
/// # Errors
/// The server cannot be reached, or refused.
pub fn enrol(url: ServerUrl, user_id: UserId, code: PairingCode, key: SigningKey) -> Result<Pairing, CallError> {
    let api = Api::new(url);
    let enrolment = Enrolment { user_id, code, public_key: public(&key) };
    let body = serde_json::to_vec(&enrolment).map_err(|_| CallError::Garbled(api.url.to_string()))?;
    let signature = Purpose::Enrolment.sign(&key, &body);
    let call = || api.post::<Enrolled>("/api/agents", &body, &signature);
    // The answer may have been lost. Repeating the request returns it again.
    let answer = call().or_else(|error| match error {
        CallError::Unreachable { .. } => call(),
        other => Err(other),
    })?;
    if answer.agent_id != AgentId::of(&enrolment.public_key) {
        return Err(CallError::Garbled(api.url.to_string()));
    }
    Ok(Pairing { url: api.url, user_id: answer.user_id, agent_id: answer.agent_id, key })
}

/// A statement of the agent: a state and the window in which it was measured.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The state.
    pub state: State,
    /// The measured device.
    pub device: Option<AgentDevice>,
    /// Begin of the window.
    pub from: Instant,
    /// End of the window.
    pub to: Instant,
    /// Begin of continuous silence, if the device is silent.
    pub silent_since: Option<Instant>,
}

impl Statement {
    fn gist(&self) -> Gist {
        Gist { state: self.state, device: self.device.clone(), lasts: self.has_lasted(LASTING) }
    }

    fn has_lasted(&self, time: Duration) -> bool {
        self.silent_since.is_some_and(|since| self.to.saturating_duration_since(since) >= time)
    }

    /// How well it supports a mute, if silence counts after this time.
    fn support(&self, lasting: Duration) -> Support {
        let State { condition, flag, signal, route } = self.state;
        if condition != Condition::Measured || route != Route::Direct {
            return Support::None;
        }
        match (flag, signal) {
            (Flag::Muted, Signal::DigitalZero | Signal::Floor) => Support::Always,
            (_, Signal::DigitalZero) if self.has_lasted(lasting) => Support::Always,
            (Flag::Muted, Signal::NotOpened) => Support::ByFlag,
            (_, Signal::Floor) if self.has_lasted(lasting) => Support::ByFloor,
            _ => Support::None,
        }
    }
}

/// The policies under which a server verifies a mute by a statement, from none to all. The same rules as in
/// `domain::verdict`; each policy accepts the evidence of those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Support {
    /// No policy.
    None,
    /// `floor` alone.
    ByFloor,
    /// `flag` and `floor`.
    ByFlag,
    /// Every policy.
    Always,
}

/// The parts of a statement that are attested at once when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gist {
    state: State,
    device: Option<AgentDevice>,
    /// Whether silence has lasted long enough to count.
    lasts: bool,
}

/// What the server may hold of this agent.
#[derive(Debug, Clone)]
struct Held {
    support: Support,
    device: Option<AgentDevice>,
    until: Instant,
}

impl Held {
    fn of(statement: &Statement) -> Self {
        let until = statement.to + HELD_FOR;
        Self { support: statement.support(NEARLY_LASTING), device: statement.device.clone(), until }
    }
}

/// The result of an attestation.
#[derive(Debug)]
pub enum Outcome {
    /// It was accepted.
    Accepted(Accepted),
    /// The agent is attached to a person with this claim: measure again.
    Attached(Claim),
    /// Nobody has attached the agent: close the microphone, and ask again after this time.
    Idle(Duration),
    /// It was refused for a reason that is resolved now: measure again.
    Again,
    /// It failed for now: measure again after this time.
    Later(Duration, String),
    /// It was refused for good: show the reason, and end.
    Stop(String),
}

/// The answer to an accepted attestation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The verdicts on the person's claims, as the server wrote them.
    pub verdict: Value,
    /// The `seq` that was accepted.
    pub seq: u64,
    /// The person's current claim.
    pub claim: Claim,
    /// Whether the claim has changed since the measurement.
    #[serde(skip)]
    pub is_outdated: bool,
    next_challenge: Challenge,
    interval_ms: u64,
    at_ms: u64,
}

impl Accepted {
    /// The interval that the server requests.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms).clamp(INTERVAL[0], INTERVAL[1])
    }
}

/// The parts of a person's claim that concern their agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    version: Version,
    device_id: Option<DeviceId>,
    device_label: Option<String>,
}

impl Claim {
    /// The label of the claimed device. `None` for an alias, because the device behind it may change at any time.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        let names_a_device = self.device_id.as_ref().is_some_and(|device| !device.is_alias());
        self.device_label.as_deref().filter(|_| names_a_device)
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}

/// The values that the next attestation must contain.
#[derive(Debug)]
struct Next {
    seq: u64,
    challenge: Challenge,
    /// The version of the claim.
    version: Version,
    /// When this version became known. No window for it may begin earlier.
    since: Instant,
}

/// A paired agent's session with the server.
pub struct Session {
    api: Api,
    pairing: Pairing,
    /// `None` after a start, after a sleep, and while nobody has attached this agent.
    next: Option<Next>,
    clock: Clock,
    /// End of the last accepted window. Windows must not overlap.
    last: Option<Instant>,
    failures: u32,
    conflicts: u32,
    idle: u32,
}

impl Session {
    /// Starts a session.
    #[must_use]
    pub fn new(pairing: Pairing) -> Self {
        Self {
            api: Api::new(pairing.url.clone()),
            pairing,
            next: None,
            clock: Clock::of_this_machine(),
            last: None,
            failures: 0,
            conflicts: 0,
            idle: 0,
        }
    }

    /// Attests the statement, or asks for the expected number and challenge if they are unknown. Blocks for at most
    /// five seconds.
    pub fn attest(&mut self, said: Statement) -> Outcome {
        // After a sleep, the clock is wrong for a window that was measured before it.
        let Some(next) = self.next.take_if(|_| !self.clock.has_slept()) else { return self.probe() };
        let to = said.to;
        let earliest = self.last.map_or(next.since, |last| last.max(next.since));
        let from = said.from.max(earliest).min(to).max(to.checked_sub(WINDOW_MAX).unwrap_or(to));
        let to_ms = self.clock.ms(to);
        let attestation = Attestation {
            seq: next.seq,
            challenge: next.challenge,
            version: next.version,
            from_ms: self.clock.ms(from).min(to_ms),
            to_ms,
            silent_since_ms: said.silent_since.map(|since| self.clock.ms(since).min(to_ms)),
            condition: said.state.condition,
            flag: said.state.flag,
            signal: said.state.signal,
            route: said.state.route,
            device: said.device,
        };
        let attested = next.version;
        self.next = Some(next);
        match self.send(&attestation) {
            Ok(mut accepted) => {
                accepted.is_outdated = accepted.claim.version != attested;
                self.settle(accepted.seq + 1, accepted.next_challenge, accepted.claim.version);
                (self.last, self.failures, self.conflicts, self.idle) = (Some(to), 0, 0, 0);
                Outcome::Accepted(accepted)
            }
            Err(error) => self.mend(error),
        }
    }

    /// Asks whether somebody has attached this agent, and for their claim. It measures nothing and is never accepted.
    /// Blocks for at most five seconds.
    pub fn probe(&mut self) -> Outcome {
        (self.next, self.conflicts) = (None, 0);
        let now = self.clock.ms(Instant::now());
        let probe = Attestation {
            seq: 0,
            challenge: Challenge::from([0; 16]),
            version: 0,
            from_ms: now,
            to_ms: now,
            silent_since_ms: None,
            condition: Condition::NoData,
            flag: Flag::Unknown,
            signal: Signal::NotOpened,
            route: Route::Direct,
            device: None,
        };
        match self.send(&probe) {
            Ok(_) => self.later(CallError::Garbled(self.api.url.to_string()).to_string()),
            Err(error) => self.mend(error),
        }
    }

    fn send(&mut self, attestation: &Attestation) -> Result<Accepted, CallError> {
        let body = serde_json::to_vec(attestation).map_err(|_| CallError::Garbled(self.api.url.to_string()))?;
        let signature = Purpose::Attestation.sign(&self.pairing.key, &body);
        let path = format!("/api/agents/{}/attestations", self.pairing.agent_id);
        let asked = Instant::now();
        let answer = self.api.post::<Accepted>(&path, &body, &signature);
        let at_ms = match &answer {
            Ok(accepted) => Some(accepted.at_ms),
            Err(CallError::Refused(refusal)) => refusal.at_ms,
            Err(_) => None,
        };
        if let Some(at_ms) = at_ms {
            self.clock.correct(at_ms, asked, Instant::now());
        }
        answer
    }

    fn settle(&mut self, seq: u64, challenge: Challenge, version: Version) {
        let since = match &self.next {
            Some(next) if next.version == version => next.since,
            _ => Instant::now(),
        };
        self.next = Some(Next { seq, challenge, version, since });
    }

    fn mend(&mut self, error: CallError) -> Outcome {
        let CallError::Refused(refusal) = error else { return self.later(error.to_string()) };
        let said = format!("{}: {}", refusal.code, refusal.detail);
        match (refusal.status, refusal.code.as_str()) {
            (409, "sequence_conflict" | "window_not_newer") => {
                let (Some(seq), Some(challenge), Some(claim)) =
                    (refusal.expected_seq, refusal.challenge, refusal.claim)
                else {
                    return self.later(said);
                };
                // The agent may have been attached again, to another person or to a new state with new versions. The
                // old window is about neither.
                self.next = None;
                self.settle(seq, challenge, claim.version);
                self.idle = 0;
                self.again(said, Outcome::Attached(claim))
            }
            (409, "agent_idle") | (404, _) => {
                self.next = None;
                let wait = backoff(self.idle);
                (self.idle, self.failures) = (self.idle.saturating_add(1), 0);
                Outcome::Idle(jitter(wait))
            }
            (401, "clock_skew") if refusal.at_ms.is_some() => self.again(said, Outcome::Again),
            (410, "agent_revoked") => Outcome::Stop(format!(
                "{said}; another agent was paired, or this agent was revoked. To continue here, pair again with `greenroom-agent enroll`"
            )),
            (400, "protocol_unsupported") => {
                Outcome::Stop(format!("{said}; this agent and the server are not of the same version"))
            }
            // Also 401: a proxy may have sent it, so it must not end the agent for good.
            _ => self.later(said),
        }
    }

    fn again(&mut self, said: String, outcome: Outcome) -> Outcome {
        self.conflicts += 1;
        if self.conflicts > CONFLICTS_MAX { self.later(said) } else { outcome }
    }

    fn later(&mut self, said: String) -> Outcome {
        let wait = backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        Outcome::Later(jitter(wait), said)
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF[0].saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF[1])
}

/// A random wait between half of `wait` and all of it, so that many agents do not come back at the same time.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The server's time, kept by the steady clock: nobody can set that clock, but it stops while the machine sleeps.
#[derive(Debug, Clone, Copy)]
struct Clock {
    server_ms: u64,
    at: Instant,
    set: Moment,
}

impl Clock {
    fn of_this_machine() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Instant::now();
        Self { server_ms: ms(since), at: now, set: Moment::at(now) }
    }

    fn has_slept(&self) -> bool {
        Moment::at(Instant::now()).has_slept_since(self.set)
    }

    /// Sets the clock: `server_ms` was read between question and answer, most likely in the middle.
    fn correct(&mut self, server_ms: u64, asked: Instant, answered: Instant) {
        let at = asked + answered.saturating_duration_since(asked) / 2;
        *self = Self { server_ms, at, set: Moment::at(answered) };
    }

    fn ms(&self, instant: Instant) -> u64 {
        let after = ms(instant.saturating_duration_since(self.at));
        let before = ms(self.at.saturating_duration_since(instant));
        (self.server_ms + after).saturating_sub(before)
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Decides when to attest: at once after a change, otherwise once per interval, and never too often.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    said: Option<Gist>,
    /// What the server holds, as far as its answers tell.
    held: Option<Held>,
    /// The statement that was sent last and not answered yet.
    sent: Option<Held>,
    next: Instant,
    not_before: Instant,
    /// When a statement that weakens a mute may be sent after a failure.
    not_before_end: Instant,
    recent: VecDeque<Instant>,
}

impl Schedule {
    /// A schedule before the first attestation.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            interval: INTERVAL_FIRST,
            said: None,
            held: None,
            sent: None,
            next: now,
            not_before: now,
            not_before_end: now,
            recent: VecDeque::with_capacity(RATE),
        }
    }

    /// Whether a request that weakens no mute may be sent now.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        now >= self.not_before && self.has_room(RATE - RESERVED, now)
    }

    /// Whether this statement should be attested now.
    #[must_use]
    pub fn is_due(&self, statement: &Statement, now: Instant) -> bool {
        let holds = || [&self.held, &self.sent].into_iter().flatten().filter(|held| now < held.until);
        let support = statement.support(LASTING);
        if holds().any(|held| held.support > support) {
            return now >= self.not_before_end && self.has_room(RATE, now);
        }
        if self.said.as_ref() == Some(&statement.gist()) && now < self.next {
            return false;
        }
        // Another device ends a mute too. One request stays for the end of its own.
        let is_other = holds().any(|held| held.support > Support::None && held.device != statement.device);
        now >= self.not_before && self.has_room(if is_other { RATE - 1 } else { RATE - RESERVED }, now)
    }

    fn has_room(&self, most: usize, now: Instant) -> bool {
        self.recent.iter().filter(|at| now.saturating_duration_since(**at) < RATE_WINDOW).count() < most
    }

    /// Records that a request is sent: an attestation, or a probe if `statement` is `None`.
    pub fn sent(&mut self, statement: Option<&Statement>, now: Instant) {
        if self.recent.len() == RATE {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.said = statement.map(Statement::gist);
        self.sent = statement.map(Held::of);
        self.next = now + self.interval;
    }

    /// Records that the attestation was accepted, with the interval that the server requests.
    pub fn accepted(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.next = self.next.min(now + interval);
        self.held = self.sent.take().or(self.held.take());
    }

    /// Records that the attestation was refused or is outdated: measure and try again after this wait.
    pub fn refused(&mut self, wait: Duration, now: Instant) {
        self.said = None;
        // If only the answer was lost, the server holds the statement.
        let held = self.held.as_ref().map_or(Support::None, |held| held.support);
        if let Some(sent) = self.sent.take().filter(|sent| sent.support > held) {
            self.held = Some(sent);
        }
        self.not_before = now + wait;
        self.not_before_end = now + wait.min(jitter(END_RETRY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::generate;
    const QUIET: State =
        State { condition: Condition::Measured, flag: Flag::Unmuted, signal: Signal::Floor, route: Route::Direct };
    const LOUD: State = State { signal: Signal::Signal, ..QUIET };
    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> Session {
        let key = generate().unwrap();
        let agent_id = AgentId::of(&public(&key));
        Session::new(Pairing {
            url: "http://127.0.0.1:9".parse().unwrap(),
            user_id: "ada".parse().unwrap(),
            agent_id,
            key,
        })
    }

    fn refusal(json: &str) -> CallError {
        CallError::Refused(serde_json::from_str(json).unwrap())
    }

    /// A statement at `now`; a silent one has been silent for `silent` seconds.
    fn statement(state: State, now: Instant, silent: u32) -> Statement {
        let silent_since = state.signal.is_silence().then(|| now.checked_sub(silent * SECOND).unwrap());
        Statement { state, device: None, from: now, to: now, silent_since }
    }

    #[test]
    fn an_unchanged_statement_is_sent_once_an_interval() {
        let began = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(began);
        assert!(schedule.is_due(&statement(LOUD, began, 0), began));
        schedule.sent(Some(&statement(LOUD, began, 0)), began);
        schedule.accepted(INTERVAL_FIRST, began);
        assert!(!schedule.is_due(&statement(LOUD, began + 9 * SECOND, 0), began + 9 * SECOND));
        assert!(schedule.is_due(&statement(LOUD, began + 10 * SECOND, 0), began + 10 * SECOND));
    }

    #[test]
    fn a_change_is_said_at_once() {
        let now = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(now);
        schedule.sent(Some(&statement(QUIET, now, 5)), now);
        assert!(!schedule.is_due(&statement(QUIET, now, 9), now));
        assert!(schedule.is_due(&statement(LOUD, now, 0), now));
    }

    #[test]
    fn silence_is_said_again_when_it_has_lasted_and_when_it_was_interrupted() {
        let now = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(now);
        schedule.sent(Some(&statement(QUIET, now, 1)), now);
        assert!(!schedule.is_due(&statement(QUIET, now, 2), now));
        assert!(schedule.is_due(&statement(QUIET, now, 4), now));
        schedule.sent(Some(&statement(QUIET, now, 4)), now);
        assert!(!schedule.is_due(&statement(QUIET, now, 5), now));
        assert!(schedule.is_due(&statement(QUIET, now, 1), now));
    }

    /// Sends each statement that is due, one each tenth of a second, and returns their number.
    fn send_all(schedule: &mut Schedule, now: &mut Instant, states: impl IntoIterator<Item = State>) -> usize {
        let mut sent = 0;
        for state in states {
            *now += SECOND / 10;
            let said = statement(state, *now, 0);
            if schedule.is_due(&said, *now) {
                schedule.sent(Some(&said), *now);
                schedule.accepted(INTERVAL_FIRST, *now);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn seven_changes_in_ten_seconds_are_enough() {
        let mut now = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(now);
        let last = now + SECOND / 10;
        assert_eq!(send_all(&mut schedule, &mut now, [QUIET, LOUD].into_iter().cycle().take(20)), 7);
        assert!(!schedule.is_due(&statement(LOUD, now, 0), last + 9 * SECOND));
        assert!(schedule.is_due(&statement(LOUD, now, 0), last + 10 * SECOND));
    }

    /// Random changes, each accepted at once: a statement that supports a mute less than the held one is always due.
    #[test]
    fn the_end_of_a_mute_is_said_at_once_after_any_changes() {
        let flags = [Flag::Muted, Flag::Unmuted, Flag::Unknown];
        let signals = [Signal::DigitalZero, Signal::Floor, Signal::Signal, Signal::NotOpened];
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut now = Instant::now() + 1000 * SECOND;
            let mut schedule = Schedule::new(now);
            for _ in 0..100 {
                now += rng.u32(10..1500) * SECOND / 1000;
                let route = if rng.u8(..6) == 0 { Route::Moved } else { Route::Direct };
                let signal = if route == Route::Moved { Signal::NotOpened } else { signals[rng.usize(..4)] };
                let state = State { condition: Condition::Measured, flag: flags[rng.usize(..3)], signal, route };
                let said = statement(state, now, rng.u32(..6));
                let held = schedule.held.as_ref().map_or(Support::None, |held| held.support);
                let is_due = schedule.is_due(&said, now);
                assert!(is_due || said.support(LASTING) >= held, "seed {seed}: {said:?} after {held:?}");
                if is_due {
                    schedule.sent(Some(&said), now);
                    schedule.accepted(INTERVAL_FIRST, now);
                }
                let lately = schedule.recent.iter().filter(|at| now.saturating_duration_since(**at) < RATE_WINDOW);
                assert!(lately.count() <= RATE);
            }
        }
    }

    /// The rules of the verdict, restated: a support that is too small would give a statement no place in the reserve.
    #[test]
    fn a_statement_supports_a_mute_under_the_policies_that_verify_it() {
        use domain::verdict::{Claimed, MinEvidence, Policy, Value, Verdicts, Witness};
        use domain::{Binding, Evidence, Timestamp, user::MuteScope};
        let policies =
            [MinEvidence::DigitalZero, MinEvidence::Flag, MinEvidence::Floor].map(Policy::new).into_iter().enumerate();
        let now = Instant::now() + 1000 * SECOND;
        for flag in [Flag::Muted, Flag::Unmuted, Flag::Unknown] {
            for signal in [Signal::DigitalZero, Signal::Floor, Signal::Signal, Signal::NotOpened] {
                for silent in [0, 10] {
                    let said = statement(State { flag, signal, ..QUIET }, now, silent);
                    let at = Timestamp::from_ms(1_795_257_125_000);
                    let evidence = Evidence {
                        version: 1,
                        observed_at: at,
                        silent_since: signal
                            .is_silence()
                            .then(|| Timestamp::from_ms(at.ms() - 1000 * u64::from(silent))),
                        condition: Condition::Measured,
                        flag,
                        signal,
                        route: Route::Direct,
                        device: None,
                    };
                    for (at_least, policy) in policies.clone() {
                        let claimed = Claimed { is_muted: true, mute_scope: MuteScope::App, at, version: 1 };
                        let witness = Witness::Attested(&evidence);
                        let verdicts = Verdicts::of(claimed, witness, Binding::Same, policy, at);
                        let wanted = [Support::Always, Support::ByFlag, Support::ByFloor][at_least];
                        let is_verified = verdicts.mute.value == Value::Verified;
                        assert_eq!(said.support(LASTING) >= wanted, is_verified, "{said:?} under {policy:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_end_of_a_mute_is_repeated_if_the_server_asks_for_it_and_soon_after_a_failure() {
        const MUTED: State = State { flag: Flag::Muted, signal: Signal::DigitalZero, ..QUIET };
        let mut now = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(now);
        send_all(&mut schedule, &mut now, [LOUD, QUIET, LOUD, QUIET, LOUD, QUIET, MUTED]);
        for wait in [Duration::ZERO, Duration::ZERO, 30 * SECOND] {
            assert!(schedule.is_due(&statement(LOUD, now, 0), now));
            schedule.sent(Some(&statement(LOUD, now, 0)), now);
            schedule.refused(wait, now);
        }
        assert!(!schedule.is_due(&statement(LOUD, now, 0), now), "ten requests at most");
        now += RATE_WINDOW;
        assert!(schedule.is_due(&statement(LOUD, now, 0), now));
        assert!(!schedule.is_due(&statement(MUTED, now, 0), now), "a statement that supports the mute waits");
        // 29 s after the mute was sent.
        now += 19 * SECOND;
        schedule.sent(Some(&statement(LOUD, now, 0)), now);
        schedule.refused(30 * SECOND, now);
        now += 10 * SECOND;
        assert!(!schedule.is_due(&statement(LOUD, now, 0), now), "the verdict has expired by itself");
    }

    #[test]
    fn after_a_failure_nothing_is_said_before_the_wait_is_over_and_then_at_once() {
        let now = Instant::now() + 100 * SECOND;
        let mut schedule = Schedule::new(now);
        schedule.sent(Some(&statement(QUIET, now, 0)), now);
        schedule.refused(3 * SECOND, now);
        assert!(!schedule.is_due(&statement(LOUD, now, 0), now + 2 * SECOND));
        assert!(schedule.is_due(&statement(QUIET, now, 0), now + 3 * SECOND));
    }

    const CONFLICT: &str = r#"{"status": 409, "code": "sequence_conflict", "expectedSeq": 7,
        "challenge": "AQEBAQEBAQEBAQEBAQEBAQ", "atMs": 5,
        "claim": {"isMuted": true, "version": 3, "deviceId": "e3b0", "deviceLabel": "Desk Microphone"}}"#;

    #[test]
    fn a_conflict_is_mended_by_what_the_server_expects() {
        for code in ["sequence_conflict", "window_not_newer"] {
            let mut session = session();
            let outcome = session.mend(refusal(&CONFLICT.replace("sequence_conflict", code)));
            assert!(
                matches!(&outcome, Outcome::Attached(claim) if claim.label() == Some("Desk Microphone")),
                "{outcome:?}"
            );
            let next = session.next.unwrap();
            assert_eq!((next.seq, next.challenge, next.version), (7, Challenge::from([1; 16]), 3));
        }
    }

    #[test]
    fn conflicts_without_end_are_waited_out() {
        let mut session = session();
        for _ in 0..CONFLICTS_MAX {
            assert!(matches!(session.mend(refusal(CONFLICT)), Outcome::Attached(_)));
        }
        assert!(matches!(session.mend(refusal(CONFLICT)), Outcome::Later(..)));
    }

    #[test]
    fn a_version_that_is_known_goes_on_and_a_new_one_begins_a_new_window() {
        let mut session = session();
        session.settle(1, Challenge::from([1; 16]), 3);
        let since = |session: &Session| session.next.as_ref().unwrap().since;
        let learned = since(&session);
        session.settle(2, Challenge::from([2; 16]), 3);
        assert_eq!(since(&session), learned);
        session.settle(3, Challenge::from([3; 16]), 4);
        assert!(since(&session) > learned);
    }

    /// The agent may have been attached again, to a claim with the same version.
    #[test]
    fn a_conflict_begins_a_new_window_even_under_the_same_version() {
        let mut session = session();
        session.settle(1, Challenge::from([2; 16]), 3);
        let learned = session.next.as_ref().unwrap().since;
        session.mend(refusal(CONFLICT));
        let next = session.next.unwrap();
        assert!(next.version == 3 && next.since > learned);
    }

    #[test]
    fn an_alias_names_no_device() {
        let label = |device: &str| {
            let claim = format!(r#"{{"version": 1, "deviceId": {device}, "deviceLabel": "Desk Microphone"}}"#);
            serde_json::from_str::<Claim>(&claim).unwrap().label().map(str::to_owned)
        };
        assert_eq!(label(r#""e3b0""#).as_deref(), Some("Desk Microphone"));
        for none in [r#""default""#, r#""Communications""#, "null"] {
            assert_eq!(label(none), None, "{none}");
        }
    }

    #[test]
    fn an_agent_that_nobody_has_attached_asks_less_and_less_often() {
        let mut session = session();
        session.settle(1, Challenge::from([1; 16]), 3);
        let waits: Vec<_> = (0..8)
            .map(|_| match session.mend(refusal(r#"{"status": 409, "code": "agent_idle", "atMs": 5}"#)) {
                Outcome::Idle(wait) => wait,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(session.next.is_none());
        assert!(waits[0] <= SECOND && waits[7] >= 15 * SECOND && waits[7] <= 30 * SECOND, "{waits:?}");
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        let outcome = |json| session().mend(refusal(json));
        assert!(matches!(outcome(r#"{"status": 401, "code": "clock_skew", "atMs": 5}"#), Outcome::Again));
        assert!(matches!(outcome(r#"{"status": 401, "code": "signature_invalid"}"#), Outcome::Later(..)));
        assert!(matches!(outcome(r#"{"status": 410, "code": "gone"}"#), Outcome::Later(..)));
        assert!(matches!(outcome(r#"{"status": 410, "code": "agent_revoked"}"#), Outcome::Stop(_)));
        assert!(matches!(outcome(r#"{"status": 400, "code": "protocol_unsupported"}"#), Outcome::Stop(_)));
        assert!(matches!(outcome(r#"{"status": 400, "code": "validation_failed"}"#), Outcome::Later(..)));
        assert!(matches!(outcome(r#"{"status": 404, "code": "user_not_found"}"#), Outcome::Idle(_)));
        assert!(matches!(outcome(r#"{"status": 409, "code": "sequence_conflict"}"#), Outcome::Later(..)));
        assert!(matches!(outcome(r#"{"status": 503, "code": "unavailable"}"#), Outcome::Later(..)));
    }

    #[test]
    fn waits_grow_to_half_a_minute() {
        assert_eq!((0..7).map(|n| backoff(n).as_secs()).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff(u32::MAX), BACKOFF[1]);
        for _ in 0..100 {
            assert!((SECOND / 2..=SECOND).contains(&jitter(SECOND)));
        }
    }

    #[test]
    fn windows_are_told_in_the_servers_time() {
        let asked = Instant::now();
        let mut clock = Clock::of_this_machine();
        clock.correct(1_000_000, asked, asked + 2 * SECOND);
        assert_eq!(clock.ms(asked + SECOND), 1_000_000);
        assert_eq!(clock.ms(asked + 4 * SECOND), 1_003_000);
        assert_eq!(clock.ms(asked), 999_000);
    }

    #[test]
    fn a_server_out_of_reach_is_tried_again_later() {
        let now = Instant::now();
        let outcome = session().attest(statement(QUIET, now, 0));
        assert!(matches!(outcome, Outcome::Later(..)), "{outcome:?}");
    }
}
