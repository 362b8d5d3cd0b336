//! Talking to the server: pairing, attesting, and what to do about each answer. The protocol is `docs/attestation.md`.

use crate::fuse::State;
use crate::key::{Pairing, public};
use domain::{
    AgentDevice, AgentId, Attestation, Challenge, Enrolment, PairingCode, Purpose, SIGNATURE_HEADER, SigningKey,
    UserId, WINDOW_MAX,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one call may take. A window that took longer would be late.
const CALL: Duration = Duration::from_secs(5);
/// Longest answer, in bytes; a state is under 4 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// First and longest wait after a failure.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A person without a state may come back, but not soon.
const AWAY: Duration = Duration::from_secs(30);
/// Two agents with one key would answer each other's conflicts for ever.
const CONFLICTS_MAX: u32 = 3;
/// At most this many attestations in [`RATE_WINDOW`].
const RATE: usize = 10;
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// What an interval may be, whatever the server says.
const INTERVAL: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];
/// The interval until the server says another one.
pub const INTERVAL_FIRST: Duration = Duration::from_secs(10);

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        url: String,
        /// What the network says.
        why: String,
    },
    /// An answer that is not the protocol's.
    #[error("{0} does not answer as Greenroom does; check --url")]
    Garbled(String),
    /// A refusal.
    #[error("the server refused ({}): {}", .0.code, .0.detail)]
    Refused(Refusal),
}

/// A problem document, and the members by which an agent finds back.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What it means, for people.
    pub detail: String,
    /// The server's time.
    pub at_ms: Option<u64>,
    /// The `seq` that the server expects.
    pub expected_seq: Option<u64>,
    /// The challenge that the server expects.
    pub challenge: Option<Challenge>,
}

/// The server, over HTTP.
struct Api {
    http: ureq::Agent,
    url: String,
}

impl Api {
    fn new(url: &str) -> Self {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(CALL))
            .user_agent(concat!("greenroom-agent/", env!("CARGO_PKG_VERSION")))
            // The runner closes a connection that idles for ten seconds; never send into that.
            .max_idle_age(Duration::from_secs(5))
            .build()
            .into();
        Self { http, url: url.trim_end_matches('/').to_owned() }
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &[u8], signature: &str) -> Result<T, CallError> {
        let unreachable = |error: ureq::Error| CallError::Unreachable { url: self.url.clone(), why: error.to_string() };
        let request = self.http.post(format!("{}{path}", self.url));
        let request = request.header("content-type", "application/json").header(SIGNATURE_HEADER, signature);
        let mut response = request.send(body).map_err(unreachable)?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().map_err(unreachable)?;
        let garbled = |_| CallError::Garbled(self.url.clone());
        if status.is_success() {
            return serde_json::from_str(&text).map_err(garbled);
        }
        let mut refusal: Refusal = serde_json::from_str(&text).map_err(garbled)?;
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

/// Pairs a fresh key with a person.
///
/// # Errors
/// The server cannot be reached, or refused.
pub fn enrol(url: &str, user_id: UserId, code: PairingCode, key: SigningKey) -> Result<Pairing, CallError> {
    let api = Api::new(url);
    let enrolment = Enrolment { user_id, code, public_key: public(&key) };
    let body = serde_json::to_vec(&enrolment).map_err(|_| CallError::Garbled(api.url.clone()))?;
    let signature = Purpose::Enrolment.sign(&key, &body);
    let call = || api.post::<Enrolled>("/api/agents", &body, &signature);
    // An answer may be lost; the same request again gets it.
    let answer = call().or_else(|error| match error {
        CallError::Unreachable { .. } => call(),
        other => Err(other),
    })?;
    if answer.agent_id != AgentId::of(&enrolment.public_key) {
        return Err(CallError::Garbled(api.url));
    }
    Ok(Pairing { url: api.url, user_id: answer.user_id, agent_id: answer.agent_id, key })
}

/// What an agent says: one state, and when it was so.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The state.
    pub state: State,
    /// Of which device.
    pub device: Option<AgentDevice>,
    /// Begin of the window.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

/// What came of an attestation.
#[derive(Debug)]
pub enum Outcome {
    /// It counts.
    Accepted(Accepted),
    /// It does not, for a reason that is mended now: measure anew.
    Again,
    /// Not now: measure anew after this long.
    Later(Duration, String),
    /// Never: say why, and end.
    Stop(String),
}

/// An accepted attestation's answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The verdicts on the person's claims, as the server words them.
    pub verdict: Value,
    /// The `seq` that was accepted.
    pub seq: u64,
    claim: Claim,
    next_challenge: Challenge,
    interval_ms: u64,
    at_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    device_label: Option<String>,
}

impl Accepted {
    /// The label of the device that the person claims.
    #[must_use]
    pub fn claimed_label(&self) -> Option<&str> {
        self.claim.device_label.as_deref()
    }

    /// How often the server wants to hear.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms).clamp(INTERVAL[0], INTERVAL[1])
    }
}

/// A paired agent's talk with the server.
pub struct Session {
    api: Api,
    pairing: Pairing,
    next_seq: u64,
    challenge: Challenge,
    clock: Clock,
    /// End of the last window that was accepted: no two windows overlap.
    last: Option<Instant>,
    failures: u32,
    conflicts: u32,
}

impl Session {
    /// Begins to talk. Sequence and challenge are not known after a start; the first refusal tells them.
    #[must_use]
    pub fn new(pairing: Pairing) -> Self {
        Self {
            api: Api::new(&pairing.url),
            pairing,
            next_seq: 1,
            challenge: Challenge::from([0; 16]),
            clock: Clock::of_this_machine(),
            last: None,
            failures: 0,
            conflicts: 0,
        }
    }

    /// Attests. Blocks for five seconds at most.
    pub fn attest(&mut self, said: Statement) -> Outcome {
        let to = said.to;
        let from = said.from.max(self.last.unwrap_or(said.from)).min(to).max(to.checked_sub(WINDOW_MAX).unwrap_or(to));
        let attestation = Attestation {
            seq: self.next_seq,
            challenge: self.challenge,
            from_ms: self.clock.ms(from),
            to_ms: self.clock.ms(to),
            condition: said.state.condition,
            flag: said.state.flag,
            signal: said.state.signal,
            route: said.state.route,
            device: said.device,
        };
        let Ok(body) = serde_json::to_vec(&attestation) else { return Outcome::Stop("cannot write JSON".to_owned()) };
        let signature = Purpose::Attestation.sign(&self.pairing.key, &body);
        let path = format!("/api/agents/{}/attestations", self.pairing.agent_id);
        let asked = Instant::now();
        let answer = self.api.post::<Accepted>(&path, &body, &signature);
        let answered = Instant::now();
        match answer {
            Ok(accepted) => {
                self.clock.correct(accepted.at_ms, asked, answered);
                (self.next_seq, self.challenge) = (accepted.seq + 1, accepted.next_challenge);
                (self.last, self.failures, self.conflicts) = (Some(to), 0, 0);
                Outcome::Accepted(accepted)
            }
            Err(CallError::Refused(refusal)) => {
                if let Some(at) = refusal.at_ms {
                    self.clock.correct(at, asked, answered);
                }
                self.mend(&refusal)
            }
            Err(error) => self.later(error.to_string()),
        }
    }

    fn mend(&mut self, refusal: &Refusal) -> Outcome {
        let said = format!("{}: {}", refusal.code, refusal.detail);
        match (refusal.status, refusal.code.as_str()) {
            (409, "sequence_conflict") => {
                let (Some(seq), Some(challenge)) = (refusal.expected_seq, refusal.challenge) else {
                    return self.later(said);
                };
                (self.next_seq, self.challenge) = (seq, challenge);
                self.again(said)
            }
            (401, "clock_skew") if refusal.at_ms.is_some() => self.again(said),
            (401, _) => Outcome::Stop(format!("{said}; pair anew with `greenroom-agent enroll`")),
            (410, _) => Outcome::Stop(format!(
                "{said}; another agent was paired or this one revoked. To go on here, pair anew with `greenroom-agent enroll`"
            )),
            (400, _) => Outcome::Stop(format!("{said}; this agent and the server are not of the same version")),
            (404, _) => Outcome::Later(jitter(AWAY), said),
            _ => self.later(said),
        }
    }

    fn again(&mut self, said: String) -> Outcome {
        self.conflicts += 1;
        if self.conflicts > CONFLICTS_MAX { self.later(said) } else { Outcome::Again }
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

/// Between half of `wait` and all of it, so that many agents do not come back at once.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// The server's time, kept by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Clock {
    server_ms: u64,
    at: Instant,
}

impl Clock {
    fn of_this_machine() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { server_ms: ms(since), at: Instant::now() }
    }

    /// `server_ms` was between question and answer; most likely in the middle.
    fn correct(&mut self, server_ms: u64, asked: Instant, answered: Instant) {
        *self = Self { server_ms, at: asked + answered.saturating_duration_since(asked) / 2 };
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

/// When to attest: at once on a change, every interval when calm, never too often.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    said: Option<(State, Option<AgentDevice>)>,
    next: Instant,
    not_before: Instant,
    recent: VecDeque<Instant>,
}

impl Schedule {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { interval: INTERVAL_FIRST, said: None, next: now, not_before: now, recent: VecDeque::with_capacity(RATE) }
    }

    /// Whether this is to be attested now.
    #[must_use]
    pub fn is_due(&self, state: State, device: Option<&AgentDevice>, now: Instant) -> bool {
        let changed = self.said.as_ref().is_none_or(|(said, of)| *said != state || of.as_ref() != device);
        let lately = self.recent.iter().filter(|at| now.saturating_duration_since(**at) < RATE_WINDOW).count();
        now >= self.not_before && lately < RATE && (changed || now >= self.next)
    }

    /// It is being attested.
    pub fn sent(&mut self, state: State, device: Option<AgentDevice>, now: Instant) {
        if self.recent.len() == RATE {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.said = Some((state, device));
        self.next = now + self.interval;
    }

    /// It was accepted, and this is how often the server wants to hear.
    pub fn accepted(&mut self, interval: Duration, now: Instant) {
        self.interval = interval;
        self.next = self.next.min(now + interval);
    }

    /// It was not accepted: try what is measured then, after this wait.
    pub fn refused(&mut self, wait: Duration, now: Instant) {
        self.said = None;
        self.not_before = now + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::generate;
    use domain::{Condition, Flag, Route, Signal};

    const QUIET: State =
        State { condition: Condition::Measured, flag: Flag::Unmuted, signal: Signal::Floor, route: Route::Direct };
    const LOUD: State = State { signal: Signal::Signal, ..QUIET };
    const SECOND: Duration = Duration::from_secs(1);

    fn session() -> Session {
        let key = generate().unwrap();
        let agent_id = AgentId::of(&public(&key));
        Session::new(Pairing { url: "http://127.0.0.1:9".to_owned(), user_id: "ada".parse().unwrap(), agent_id, key })
    }

    fn refusal(json: &str) -> Refusal {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_does_not_change_is_said_once_an_interval() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert!(schedule.is_due(QUIET, None, now));
        schedule.sent(QUIET, None, now);
        schedule.accepted(INTERVAL_FIRST, now);
        assert!(!schedule.is_due(QUIET, None, now + 9 * SECOND));
        assert!(schedule.is_due(QUIET, None, now + 10 * SECOND));
    }

    #[test]
    fn a_change_is_said_at_once() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.sent(QUIET, None, now);
        assert!(schedule.is_due(LOUD, None, now));
    }

    #[test]
    fn ten_changes_in_ten_seconds_are_enough() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        for at in 0..10 {
            let state = if at % 2 == 0 { QUIET } else { LOUD };
            assert!(schedule.is_due(state, None, now));
            schedule.sent(state, None, now);
        }
        assert!(!schedule.is_due(QUIET, None, now + 9 * SECOND));
        assert!(schedule.is_due(QUIET, None, now + 10 * SECOND));
    }

    #[test]
    fn after_a_failure_nothing_is_said_before_the_wait_is_over_and_then_at_once() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.sent(QUIET, None, now);
        schedule.refused(3 * SECOND, now);
        assert!(!schedule.is_due(LOUD, None, now + 2 * SECOND));
        assert!(schedule.is_due(QUIET, None, now + 3 * SECOND));
    }

    #[test]
    fn a_conflict_is_mended_by_what_the_server_expects() {
        let mut session = session();
        let conflict = refusal(
            r#"{"status": 409, "code": "sequence_conflict", "expectedSeq": 7, "challenge": "AQEBAQEBAQEBAQEBAQEBAQ", "atMs": 5}"#,
        );
        assert!(matches!(session.mend(&conflict), Outcome::Again));
        assert_eq!((session.next_seq, session.challenge), (7, Challenge::from([1; 16])));
    }

    #[test]
    fn conflicts_without_end_are_waited_out() {
        let mut session = session();
        let conflict =
            r#"{"status": 409, "code": "sequence_conflict", "expectedSeq": 7, "challenge": "AQEBAQEBAQEBAQEBAQEBAQ"}"#;
        for _ in 0..CONFLICTS_MAX {
            assert!(matches!(session.mend(&refusal(conflict)), Outcome::Again));
        }
        assert!(matches!(session.mend(&refusal(conflict)), Outcome::Later(..)));
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        let outcome = |json| session().mend(&refusal(json));
        assert!(matches!(outcome(r#"{"status": 401, "code": "clock_skew", "atMs": 5}"#), Outcome::Again));
        assert!(matches!(outcome(r#"{"status": 401, "code": "signature_invalid"}"#), Outcome::Stop(_)));
        assert!(matches!(outcome(r#"{"status": 410, "code": "agent_revoked"}"#), Outcome::Stop(_)));
        assert!(matches!(outcome(r#"{"status": 400, "code": "validation_failed"}"#), Outcome::Stop(_)));
        assert!(matches!(outcome(r#"{"status": 404, "code": "user_not_found"}"#), Outcome::Later(..)));
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
        let outcome = session().attest(Statement { state: QUIET, device: None, from: now, to: now });
        assert!(matches!(outcome, Outcome::Later(..)), "{outcome:?}");
    }
}
