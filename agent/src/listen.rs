//! The commands that need a microphone.

use crate::capture::{Ears, Host};
use crate::choice::{Choice, Evidence, HostArgument};
use crate::client::{Outcome, Schedule, Session, Statement};
use crate::exit::{self, Failed};
use crate::fuse::State;
use crate::key::{KeyError, Pairing};
use crate::observe::{Observation, Observer, TICK};
use crate::output::{self, Printer, Status, brief, measured, sentence, verdict};
use crate::plain::Plain;
use crate::witness::{Input, Look, Witness, attested, default, named};
use domain::{AgentDevice, Condition, Flag, Route, Signal};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Minimum time limit of an observation: a sleeping device is recognized after three seconds without callbacks.
const PATIENCE: Duration = Duration::from_secs(4);

/// The reason why an idle agent waits.
const NOT_ATTACHED: &str = "not attached; open the page in the browser that paired this agent, and join a room";

/// The source of the system's information, and the listener to its inputs.
type System = (Box<dyn Witness>, Box<dyn Ears>);

fn system(host: &HostArgument) -> Result<System, Failed> {
    let own: &[&str] = if cfg!(target_os = "linux") { &["pulseaudio"] } else { &[] };
    let names: Vec<String> = own.iter().map(|&name| name.to_owned()).chain(Host::names()).collect();
    let name = host.host.as_ref().or(names.first()).cloned().unwrap_or_default();
    #[cfg(target_os = "linux")]
    if name.eq_ignore_ascii_case(crate::linux::HOST) {
        let (pulse, recorder) = crate::linux::pulse();
        return Ok((Box::new(pulse), Box::new(recorder)));
    }
    let unknown =
        || Failed::new(2, format!("there is no sound system {name} here; choose one of: {}", names.join(", ")));
    let host = Host::named(&name).ok_or_else(unknown)?;
    Ok((Box::new(Plain::new(host.clone())), Box::new(host)))
}

fn observer(choice: &Choice) -> Result<Observer, Failed> {
    let (witness, ears) = system(&choice.host)?;
    let ears = (choice.evidence == Evidence::Signal).then_some(ears);
    Ok(Observer::new(witness, ears, choice.device.clone()))
}

/// Lists the inputs.
///
/// # Errors
/// The sound system does not answer.
pub fn devices(host: &HostArgument, json: bool) -> Result<u8, Failed> {
    let (mut witness, _) = system(host)?;
    let inputs = witness.inputs(true).map_err(|error| Failed::new(21, error))?;
    if json {
        let rows = inputs.iter().filter_map(|input| {
            let device = attested(input, &inputs)?;
            Some(json!({
                "id": device.id, "label": device.label, "unique": device.unique,
                "default": input.default, "monitor": input.monitor,
            }))
        });
        output::line(json!(rows.collect::<Vec<_>>()))?;
        return Ok(0);
    }
    if inputs.is_empty() {
        output::line("no inputs: plug in a microphone")?;
    }
    let width = inputs.iter().map(|input| input.label.chars().count()).max().unwrap_or_default();
    for input in &inputs {
        let mark = if input.default { '*' } else { ' ' };
        let note = if input.monitor { "  (the sound of an output, not a microphone)" } else { "" };
        let padding = " ".repeat(width - input.label.chars().count());
        output::line(format_args!("{mark} {}{padding}  {}{note}", input.label, input.id))?;
    }
    Ok(0)
}

/// Observes for `listen`, and for up to [`PATIENCE`] while there is no result. Returns the last result.
fn observe(observer: &mut Observer, listen: Duration) -> Option<Observation> {
    let began = Instant::now();
    let mut last = None;
    loop {
        let now = Instant::now();
        let observation = observer.tick(now);
        let passed = now.saturating_duration_since(began);
        match observation {
            Some(_) if passed >= listen => return observation,
            None if passed >= listen.max(PATIENCE) => return last,
            None => {}
            said => last = said,
        }
        std::thread::sleep(TICK);
    }
}

/// Measures once.
///
/// # Errors
/// The chosen sound system does not exist.
pub fn check(choice: &Choice, seconds: u64, json: bool) -> Result<u8, Failed> {
    let (state, device) = measure(&mut observer(choice)?, seconds);
    if json {
        output::line(measured(state, device.as_ref()))?;
    } else {
        output::line(sentence(state, device.as_ref()))?;
    }
    Ok(exit::of_state(state))
}

/// The state if there was no result in time.
const NOTHING: State =
    State { condition: Condition::NoData, flag: Flag::Unknown, signal: Signal::NotOpened, route: Route::Direct };

fn measure(observer: &mut Observer, seconds: u64) -> (State, Option<AgentDevice>) {
    let observation = observe(observer, Duration::from_secs(seconds));
    observation.map_or((NOTHING, None), |said| (said.state, said.device))
}

/// Finds the reason why the microphone is not heard.
///
/// # Errors
/// The chosen sound system does not exist.
pub fn doctor(choice: &Choice, pairing: Result<Pairing, KeyError>, json: bool) -> Result<u8, Failed> {
    let (mut witness, _) = system(&choice.host)?;
    let mut findings = Findings { json, all: Vec::new() };
    let inputs = match witness.inputs(true) {
        Ok(inputs) => inputs,
        Err(error) => {
            findings.add("host", false, format!("{error}: start PulseAudio or PipeWire, or try --host alsa"))?;
            return findings.end(21);
        }
    };
    let microphones = inputs.iter().filter(|input| !input.monitor).count();
    findings.add("host", true, "the sound system answers")?;
    findings.add(
        "inputs",
        microphones > 0,
        match microphones {
            0 => "there is no microphone: plug one in, or allow it in the system's settings".to_owned(),
            1 => "there is one microphone".to_owned(),
            some => format!("there are {some} microphones"),
        },
    )?;
    let chosen = choice.device.as_ref().map_or_else(|| default(&inputs), |name| named(&inputs, name));
    if let Some(input) = chosen {
        let look = witness.look(&input.id).ok().flatten();
        findings.device(input, &inputs, look)?;
    } else if let Some(name) = &choice.device {
        findings.add("device", false, format!("there is no input called {name}: see `greenroom-agent devices`"))?;
    }
    let (state, device) = measure(&mut observer(choice)?, 3);
    findings.add(
        "signal",
        state.signal == Signal::Signal,
        match state.signal {
            Signal::Floor => {
                format!("{}: say something, or turn the input's volume up", sentence(state, device.as_ref()))
            }
            _ => sentence(state, device.as_ref()),
        },
    )?;
    match pairing {
        Ok(pairing) => {
            findings.add("pairing", true, format!("paired with {} at {}", pairing.user_id, pairing.url))?;
            findings.server(Session::new(pairing).probe())?;
        }
        Err(error) => findings.add("pairing", false, error)?,
    }
    findings.end(exit::of_state(state))
}

struct Findings {
    json: bool,
    all: Vec<serde_json::Value>,
}

impl Findings {
    fn add(&mut self, name: &str, ok: bool, text: impl std::fmt::Display) -> Result<(), Failed> {
        if self.json {
            self.all.push(json!({"name": name, "ok": ok, "text": text.to_string()}));
            return Ok(());
        }
        output::line(format_args!("{} {text}", if ok { "ok  " } else { "look" }))
    }

    fn device(&mut self, input: &Input, inputs: &[Input], look: Option<Look>) -> Result<(), Failed> {
        let label = &input.label;
        if input.monitor {
            self.add(
                "device",
                false,
                format!("{label} is the sound of an output, not a microphone: choose another input with --device"),
            )?;
        } else {
            let how = if input.default { "the default" } else { "not the default" };
            self.add("device", true, format!("measuring {label}, {how}"))?;
        }
        if attested(input, inputs).is_some_and(|device| !device.unique) {
            let text = format!(
                "another input is called {label} too, so the agent cannot tell which is claimed: rename one, or bind it"
            );
            self.add("label", false, text)?;
        }
        match look.map(|look| look.flag) {
            Some(Flag::Muted) => self.add(
                "flag",
                false,
                format!("the system mutes {label}, or its volume is zero: unmute it in the sound settings"),
            ),
            Some(Flag::Unmuted) => self.add("flag", true, "the system does not mute it"),
            Some(Flag::Unknown) | None => self.add("flag", true, "the system does not say whether it is muted"),
        }
    }

    fn server(&mut self, answer: Outcome) -> Result<(), Failed> {
        match answer {
            Outcome::Attached(_) | Outcome::Accepted(_) => {
                self.add("server", true, "the server has this agent attached")
            }
            Outcome::Idle(_) => self.add("server", false, NOT_ATTACHED),
            Outcome::Again => {
                self.add("server", false, "the clocks of the server and of this computer differ: try again")
            }
            Outcome::Later(_, why) | Outcome::Stop(why) => self.add("server", false, why),
        }
    }

    fn end(self, code: u8) -> Result<u8, Failed> {
        if self.json {
            output::line(json!({"findings": self.all}))?;
        }
        Ok(code)
    }
}

/// Measures and attests until SIGINT or SIGTERM.
///
/// # Errors
/// The agent was revoked, the server speaks another version of the protocol, the chosen sound system does not exist, or
/// the reader of the output is gone.
pub fn watch(choice: &Choice, pairing: Option<Pairing>, json: bool) -> Result<u8, Failed> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
        registered.map_err(|error| Failed::new(1, format!("cannot wait for signals: {error}")))?;
    }
    let mut observer = observer(choice)?;
    let mut teller = Teller::new(json)?;
    let watched = watch_until(&stop, &mut observer, &mut teller, pairing);
    let ended = teller.end();
    watched.and(ended).map(|()| 0)
}

fn watch_until(
    stop: &AtomicBool,
    observer: &mut Observer,
    teller: &mut Teller,
    pairing: Option<Pairing>,
) -> Result<(), Failed> {
    teller.begin(pairing.as_ref())?;
    let mut talk = pairing.map(Talk::begin);
    let mut said = None;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if talk.as_ref().is_none_or(|talk| talk.attached) {
            if let Some(observation) = observer.tick(now) {
                let what = (observation.state, observation.device.clone());
                if said.as_ref() != Some(&what) {
                    teller.observed(&observation)?;
                    said = Some(what);
                }
                if let Some(talk) = &mut talk {
                    talk.offer(observation, now);
                }
            }
        } else if let Some(talk) = &mut talk {
            talk.ask(now);
        }
        if let Some(outcome) = talk.as_mut().and_then(|talk| talk.outcome(Instant::now())) {
            match &outcome {
                Outcome::Accepted(accepted) => observer.claim(&accepted.claim, now),
                Outcome::Attached(claim) => observer.claim(claim, now),
                Outcome::Idle(_) => {
                    observer.rest();
                    said = None;
                }
                Outcome::Again | Outcome::Later(..) | Outcome::Stop(_) => {}
            }
            teller.answered(outcome)?;
        }
        teller.printer.retry()?;
        std::thread::sleep(TICK.saturating_sub(now.elapsed()));
    }
    Ok(())
}

/// The session with the server, on a thread of its own, so that measuring never waits for the network.
struct Talk {
    /// Statements to attest; `None` sends a probe.
    statements: SyncSender<Option<Statement>>,
    outcomes: Receiver<Outcome>,
    schedule: Schedule,
    waiting: bool,
    /// Whether somebody has attached this agent. The agent does not measure before.
    attached: bool,
}

impl Talk {
    fn begin(pairing: Pairing) -> Self {
        let (statements, to_say) = sync_channel::<Option<Statement>>(0);
        let (said, outcomes) = sync_channel(1);
        std::thread::spawn(move || {
            let mut session = Session::new(pairing);
            while let Ok(statement) = to_say.recv() {
                let outcome = match statement {
                    Some(statement) => session.attest(statement),
                    None => session.probe(),
                };
                if said.send(outcome).is_err() {
                    return;
                }
            }
        });
        Self { statements, outcomes, schedule: Schedule::new(Instant::now()), waiting: false, attached: false }
    }

    /// Attests this observation if it is due. While an answer is outstanding nothing is queued, because the next
    /// statement should be measured later.
    fn offer(&mut self, observation: Observation, now: Instant) {
        let Observation { state, device, from, to, silent_since } = observation;
        let statement = Statement { state, device, from, to, silent_since };
        if self.schedule.is_due(&statement, now) {
            self.send(Some(&statement), now);
        }
    }

    /// Asks whether somebody has attached this agent, if the schedule allows it.
    fn ask(&mut self, now: Instant) {
        if self.schedule.is_open(now) {
            self.send(None, now);
        }
    }

    fn send(&mut self, statement: Option<&Statement>, now: Instant) {
        if !self.waiting && self.statements.try_send(statement.cloned()).is_ok() {
            self.schedule.sent(statement, now);
            self.waiting = true;
        }
    }

    fn outcome(&mut self, now: Instant) -> Option<Outcome> {
        let outcome = match self.outcomes.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Outcome::Stop("the thread that talks to the server ended".to_owned()),
        };
        self.waiting = false;
        match &outcome {
            Outcome::Accepted(accepted) => {
                self.schedule.accepted(accepted.interval(), now);
                if accepted.is_outdated {
                    self.schedule.refused(Duration::ZERO, now);
                }
            }
            Outcome::Attached(_) => {
                self.attached = true;
                self.schedule.refused(Duration::ZERO, now);
            }
            Outcome::Idle(wait) => {
                self.attached = false;
                self.schedule.refused(*wait, now);
            }
            Outcome::Again => self.schedule.refused(Duration::ZERO, now),
            Outcome::Later(wait, _) => self.schedule.refused(*wait, now),
            Outcome::Stop(_) => {}
        }
        Some(outcome)
    }
}

/// Reports the events, as JSON lines or as a status line.
struct Teller {
    json: bool,
    printer: Printer,
    status: Status,
    measured: String,
    answered: String,
}

impl Teller {
    fn new(json: bool) -> Result<Self, Failed> {
        let printer = Printer::start()?;
        Ok(Self { json, printer, status: Status::default(), measured: String::new(), answered: String::new() })
    }

    fn end(self) -> Result<(), Failed> {
        self.printer.end(self.status.end())
    }

    fn begin(&mut self, pairing: Option<&Pairing>) -> Result<(), Failed> {
        if self.json {
            let agent = pairing.map(|pairing| &pairing.agent_id);
            return self.printer.line(json!({"event": "watching", "agentId": agent}));
        }
        if let Some(pairing) = pairing {
            self.closed(format!("asking {}", pairing.url));
        } else {
            "measuring …".clone_into(&mut self.measured);
            "offline".clone_into(&mut self.answered);
        }
        self.show()
    }

    fn closed(&mut self, answered: String) {
        "microphone closed".clone_into(&mut self.measured);
        self.answered = answered;
    }

    fn observed(&mut self, observation: &Observation) -> Result<(), Failed> {
        let (state, device) = (observation.state, observation.device.as_ref());
        if self.json {
            let mut line = measured(state, device);
            line["event"] = json!("observed");
            return self.printer.line(line);
        }
        self.measured = brief(state, device);
        self.show()
    }

    fn answered(&mut self, outcome: Outcome) -> Result<(), Failed> {
        match outcome {
            Outcome::Accepted(accepted) if self.json => {
                return self
                    .printer
                    .line(json!({"event": "attested", "seq": accepted.seq, "verdict": accepted.verdict}));
            }
            Outcome::Later(wait, why) if self.json => {
                return self.printer.line(json!({"event": "not_attested", "why": why, "retryMs": retry_ms(wait)}));
            }
            Outcome::Idle(wait) if self.json => {
                return self.printer.line(json!({"event": "idle", "retryMs": retry_ms(wait)}));
            }
            Outcome::Attached(_) if self.json => return self.printer.line(json!({"event": "attached"})),
            Outcome::Stop(why) => return Err(Failed::new(6, why)),
            Outcome::Again => return Ok(()),
            Outcome::Accepted(accepted) => self.answered = verdict(&accepted.verdict),
            Outcome::Attached(_) => "attached".clone_into(&mut self.answered),
            Outcome::Idle(_) => self.closed(format!("idle: {NOT_ATTACHED}")),
            Outcome::Later(_, why) => self.answered = format!("not attested, trying again: {why}"),
        }
        self.show()
    }

    fn show(&mut self) -> Result<(), Failed> {
        let shown = self.status.show(format!("{} · {}", self.measured, self.answered));
        shown.map_or(Ok(()), |text| self.printer.print(text))
    }
}

fn retry_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
