//! Observes one microphone: reads its flag, opens it, listens, checks the route, and combines the results.

use crate::capture::{Ears, Failure, Life, Listening};
use crate::client::Claim;
use crate::clock::Moment;
use crate::fuse::{Ear, Presence, State, fuse};
use crate::measure::{BLOCK_MS, Class, Hold};
use crate::others::{Finding, Others};
use crate::witness::{Input, Look, OwnStream, Unavailable, Witness, attested, default, labelled, named};
use domain::{AgentDevice, Flag};
use std::time::{Duration, Instant};

/// Interval between two looks. A change of the flag is seen within this time.
pub const TICK: Duration = Duration::from_millis(50);
/// Interval between two queries for the list of inputs. They show when the claimed input is plugged in.
const LIST: Duration = Duration::from_secs(2);
/// Longest time until a change of the flag is heard: the hold, and the sound server's buffer.
const FLAG_HEARD: Duration = Duration::from_millis(500);
/// How long the agent keeps a stream that was moved, or that the sound server does not know. A move is reported in this
/// time; then the device is opened again.
const ASTRAY: Duration = Duration::from_secs(1);
/// Longest pause between two looks after which the earlier observations still count: the longest time that one answer
/// of a sound server may take. The pause is longer if this program was stopped or the machine slept. Then the state in
/// between is unknown, and the waiting blocks may be as old as the pause.
const UNSEEN: Duration = Duration::from_secs(1);
/// First and longest wait before the device is opened again.
const REOPEN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// The result of one look at the microphone.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The state of the microphone.
    pub state: State,
    /// The device that was observed.
    pub device: Option<AgentDevice>,
    /// Begin of the window. The state has not changed since then.
    pub from: Instant,
    /// End of the window.
    pub to: Instant,
    /// Begin of uninterrupted silence. `None`: no silence was measured.
    pub silent_since: Option<Instant>,
}

/// Observes one microphone.
pub struct Observer {
    witness: Box<dyn Witness>,
    /// The listener. `None`: only the flag is observed.
    ears: Option<Box<dyn Ears>>,
    /// The name of the device that the command line requests.
    named: Option<String>,
    /// The label of the device that the person claims.
    claimed: Option<String>,
    device: Option<(Input, Option<AgentDevice>)>,
    inputs: Vec<Input>,
    listed: Option<Instant>,
    others: Others,
    ear: Option<Open>,
    closed: Closed,
    flag: Flag,
    flag_changed: Instant,
    ticked: Option<Moment>,
    said: Option<(State, Option<AgentDevice>, Instant)>,
}

/// An open stream.
struct Open {
    stream: Listening,
    hold: Hold,
    silent_since: Option<Instant>,
    astray: Option<Instant>,
}

impl Open {
    /// Discards everything that was heard until now.
    fn begin_anew(&mut self) {
        (self.hold, self.silent_since) = (Hold::default(), None);
    }

    fn push(&mut self, blocks: &[Class], flag: Flag, now: Instant) {
        let before = self.hold.silent_blocks();
        for class in blocks {
            self.hold.push(*class, flag == Flag::Muted);
        }
        let silent = self.hold.silent_blocks();
        let goes_on = before > 0 && silent >= before + blocks.len() as u64;
        if !goes_on {
            // All blocks ended before `now`, so the reported begin is never earlier than the true one.
            self.silent_since = (silent > 0).then(|| before_now(now, silent));
        }
    }
}

/// The moment this many blocks before `now`.
fn before_now(now: Instant, blocks: u64) -> Instant {
    now.checked_sub(Duration::from_millis(blocks * u64::from(BLOCK_MS))).unwrap_or(now)
}

/// Why there is no stream, and when to try again.
struct Closed {
    why: Ear,
    until: Instant,
    wait: Duration,
}

impl Observer {
    /// Observes the device called `named`, or else the claimed one, or else the default one. Without `ears`, only the
    /// flag is observed.
    #[must_use]
    pub fn new(witness: Box<dyn Witness>, ears: Option<Box<dyn Ears>>, named: Option<String>) -> Self {
        let now = Instant::now();
        Self {
            witness,
            ears,
            named,
            claimed: None,
            device: None,
            inputs: Vec::new(),
            listed: None,
            others: Others::default(),
            ear: None,
            closed: Closed { why: Ear::Opening, until: now, wait: REOPEN[0] },
            flag: Flag::Unknown,
            flag_changed: now,
            ticked: None,
            said: None,
        }
    }

    /// Takes over the person's current claim.
    pub fn claim(&mut self, claim: &Claim, now: Instant) {
        self.others.claim(claim.version(), now);
        if self.claimed.as_deref() != claim.label() {
            self.claimed = claim.label().map(str::to_owned);
            self.listed = None;
        }
    }

    /// Closes the microphone and forgets the claim.
    pub fn rest(&mut self) {
        self.begin_anew(Instant::now());
        (self.claimed, self.device, self.ticked, self.others) = (None, None, None, Others::default());
    }

    fn begin_anew(&mut self, now: Instant) {
        self.ear = None;
        self.closed = Closed { why: Ear::Opening, until: now, wait: REOPEN[0] };
        (self.said, self.listed, self.flag_changed) = (None, None, now);
    }

    /// Looks and listens once. `None`: nothing can be said yet, for example during a change.
    pub fn tick(&mut self, now: Instant) -> Option<Observation> {
        let moment = Moment::at(now);
        let unseen = |last: Moment| now.saturating_duration_since(last.steady) > UNSEEN || moment.has_slept_since(last);
        if self.ticked.replace(moment).is_some_and(unseen) {
            self.begin_anew(now);
        }
        // The blocks are read before the flag and the route, so no block is newer than the facts about its origin.
        let mut blocks = Vec::new();
        let whole = self.ear.as_mut().is_none_or(|open| open.stream.read(|class| blocks.push(class)));
        let look = self.look(now);
        let (presence, ear) = match look {
            Err(Unavailable(_)) => {
                self.close(Ear::Opening, now, REOPEN[0]);
                if let Some(ears) = &self.ears {
                    ears.forget();
                }
                (Presence::HostUnavailable, Ear::Opening)
            }
            Ok(None) => {
                self.close(Ear::Opening, now, Duration::ZERO);
                (Presence::Missing, Ear::Opening)
            }
            Ok(Some(look)) => {
                if look.flag != self.flag {
                    (self.flag, self.flag_changed) = (look.flag, now);
                }
                let finding = self.find(&look, now);
                let ear = self.hear(&look, &blocks, whole, now);
                (Presence::Present(look.flag), self.doubt(ear, finding))
            }
        };
        let state = fuse(presence, ear)?;
        if let Ear::Heard(class) = ear
            && !self.is_settled(class, now)
        {
            return None;
        }
        let device = self.device.as_ref().and_then(|(_, device)| device.clone());
        let since = match self.said.take() {
            Some((said, same, since)) if said == state && same == device => since,
            _ => now,
        };
        self.said = Some((state, device.clone(), since));
        let (from, silent_since) = match (ear, &self.ear) {
            (Ear::Heard(_), Some(open)) => {
                // The window begins with the first block of the class, but not before the last change of the flag.
                let heard = before_now(now, open.hold.window_blocks());
                let silent = state.signal.is_silence();
                (heard.max(self.flag_changed), silent.then(|| open.silent_since.unwrap_or(now)))
            }
            _ => (since, None),
        };
        Some(Observation { state, device, from, to: now, silent_since })
    }

    /// Looks at the streams of other programs. Without a claim there is no page that could record from another device,
    /// so no stream is doubted.
    fn find(&mut self, look: &Look, now: Instant) -> Finding {
        match &self.device {
            Some((input, _)) if self.others.has_claim() => {
                self.others.look(&look.others, &input.id, &self.inputs, look.stream == OwnStream::Moved, now)
            }
            _ => Finding::AtHome,
        }
    }

    /// The state of listening after a look at the streams of other programs. While the page may record from another
    /// device, the signal of this device does not count. When the doubt ends, listening begins anew.
    fn doubt(&mut self, ear: Ear, finding: Finding) -> Ear {
        let doubted = match finding {
            Finding::AtHome => return ear,
            Finding::Unsure => Ear::Opening,
            Finding::Elsewhere => Ear::Moved,
        };
        if let Some(open) = &mut self.ear {
            open.begin_anew();
        }
        match ear {
            // None of these verifies anything, and each has its own reason.
            Ear::Busy | Ear::Denied | Ear::Dead | Ear::Moved => ear,
            Ear::Closed | Ear::Opening | Ear::Silenced | Ear::Heard(_) => doubted,
        }
    }

    /// Whether the flag and the class belong together. A change of the flag is read at once, but heard later.
    fn is_settled(&self, class: Class, now: Instant) -> bool {
        let Some(open) = &self.ear else { return false };
        let in_accord = match self.flag {
            Flag::Muted => class == Class::Zero,
            Flag::Unmuted => class != Class::Zero,
            Flag::Unknown => true,
        };
        open.hold.agrees() && (in_accord || now.saturating_duration_since(self.flag_changed) > FLAG_HEARD)
    }

    fn look(&mut self, now: Instant) -> Result<Option<Look>, Unavailable> {
        if self.listed.is_none_or(|at| now.saturating_duration_since(at) >= LIST) {
            self.choose(now)?;
            self.listed = Some(now);
        }
        match &self.device {
            Some((input, _)) => self.witness.look(&input.id),
            None => Ok(None),
        }
    }

    /// Chooses the device. A chosen device is kept, even if it is unplugged or the default changes; only a claim or a
    /// name changes the choice.
    fn choose(&mut self, now: Instant) -> Result<(), Unavailable> {
        let inputs = self.witness.inputs(self.ear.is_none())?;
        let chosen = match (&self.named, &self.claimed, &self.device) {
            (Some(name), _, _) => named(&inputs, name),
            (None, Some(label), device) => {
                // If two devices have the claimed label, the current one is kept.
                let open = device.as_ref().and_then(|(open, _)| inputs.iter().find(|input| input.id == open.id));
                let open = open.filter(|input| domain::same_label(&input.label, label));
                let other = || device.is_none().then(|| default(&inputs)).flatten();
                open.or_else(|| labelled(&inputs, label)).or_else(other)
            }
            (None, None, None) => default(&inputs),
            (None, None, Some(_)) => None,
        };
        let current = self.device.as_ref().and_then(|(device, _)| inputs.iter().find(|input| input.id == device.id));
        let Some(chosen) = chosen.or(current) else { return Ok(()) };
        if self.device.as_ref().is_none_or(|(device, _)| device.id != chosen.id) {
            self.ear = None;
            self.closed = Closed { why: Ear::Opening, until: now, wait: REOPEN[0] };
        }
        self.device = Some((chosen.clone(), attested(chosen, &inputs)));
        self.inputs = inputs;
        Ok(())
    }

    fn hear(&mut self, look: &Look, blocks: &[Class], whole: bool, now: Instant) -> Ear {
        let Some(ears) = &self.ears else { return Ear::Closed };
        let Some(open) = &mut self.ear else {
            if let Some((input, _)) = &self.device
                && now >= self.closed.until
            {
                self.ear = Some(Open {
                    stream: ears.listen(&input.id),
                    hold: Hold::default(),
                    silent_since: None,
                    astray: None,
                });
            }
            return self.closed.why;
        };
        let life = open.stream.life(now);
        let astray = match look.stream {
            OwnStream::Moved => Some(Ear::Moved),
            OwnStream::Absent if life == Life::Alive => Some(Ear::Opening),
            OwnStream::Silenced => {
                open.begin_anew();
                return Ear::Silenced;
            }
            OwnStream::Open | OwnStream::Absent => None,
        };
        if let Some(ear) = astray {
            open.begin_anew();
            let since = *open.astray.get_or_insert(now);
            if now.saturating_duration_since(since) >= ASTRAY {
                self.close(ear, now, Duration::ZERO);
            }
            return ear;
        }
        open.astray = None;
        match life {
            Life::Failed(failure) => {
                let why = match failure {
                    Failure::Denied => Ear::Denied,
                    Failure::Busy => Ear::Busy,
                    Failure::Missing | Failure::HostUnavailable | Failure::Other => Ear::Dead,
                };
                if failure == Failure::HostUnavailable {
                    ears.forget();
                }
                self.listed = None;
                let wait = self.closed.wait;
                self.close(why, now, wait);
                // The next look shows whether the device or the sound system is gone. If not, this reason counts.
                Ear::Opening
            }
            Life::Opening => Ear::Opening,
            Life::Silent => {
                // When the stream wakes up, listening begins anew.
                open.begin_anew();
                Ear::Dead
            }
            Life::Alive if !whole => {
                open.begin_anew();
                Ear::Opening
            }
            Life::Alive => {
                self.closed.wait = REOPEN[0];
                open.push(blocks, look.flag, now);
                open.hold.class().map_or(Ear::Opening, Ear::Heard)
            }
        }
    }

    fn close(&mut self, why: Ear, now: Instant, wait: Duration) {
        self.ear = None;
        let longer = (wait * 2).clamp(REOPEN[0], REOPEN[1]);
        self.closed = Closed { why, until: now + wait, wait: longer };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Guard, Shared};
    use crate::witness::Recording;
    use domain::{Route, Signal};
    use std::sync::{Arc, Mutex};

    /// A sound system with one microphone. The test sets the state of the stream, the blocks that streams hear, and the
    /// recordings of other programs.
    #[derive(Clone)]
    struct Desk(Arc<Mutex<Told>>);

    struct Told {
        own: OwnStream,
        heard: Vec<Arc<Shared>>,
        others: Vec<Recording>,
    }

    impl Witness for Desk {
        fn inputs(&mut self, _fresh: bool) -> Result<Vec<Input>, Unavailable> {
            let label = "Desk Microphone".to_owned();
            Ok(vec![Input { id: "test:desk".to_owned(), label, default: true, monitor: false }])
        }

        fn look(&mut self, _id: &str) -> Result<Option<Look>, Unavailable> {
            let told = self.0.lock().unwrap();
            Ok(Some(Look { flag: Flag::Unmuted, stream: told.own, suspended: false, others: told.others.clone() }))
        }
    }

    impl Ears for Desk {
        fn listen(&self, _id: &str) -> Listening {
            let (opened, wait) = std::sync::mpsc::channel();
            let desk = self.clone();
            let listening = Listening::begin(move |shared, guard| {
                let _ = guard.send(Ok(Box::new(()) as Guard));
                desk.0.lock().unwrap().heard.push(Arc::clone(shared));
                let _ = opened.send(());
            });
            wait.recv().unwrap();
            listening
        }
    }

    struct Scene {
        desk: Desk,
        observer: Observer,
        now: Instant,
    }

    impl Scene {
        fn begin() -> Self {
            let desk = Desk(Arc::new(Mutex::new(Told { own: OwnStream::Open, heard: Vec::new(), others: Vec::new() })));
            let observer = Observer::new(Box::new(desk.clone()), Some(Box::new(desk.clone())), None);
            Self { desk, observer, now: Instant::now() }
        }

        fn is(&self, stream: OwnStream) {
            self.desk.0.lock().unwrap().own = stream;
        }

        /// A browser records from this input, and no other program records.
        fn browser_records(&self, stream: u64, input: &str) {
            let recording = Recording { stream, program: 1, input: Some(input.to_owned()), paused: false };
            self.desk.0.lock().unwrap().others = vec![recording];
        }

        fn streams(&self) -> usize {
            self.desk.0.lock().unwrap().heard.len()
        }

        /// Delivers these blocks on the newest stream, and looks after each block.
        fn hear(&mut self, blocks: &[Class]) -> Option<Observation> {
            let mut said = self.observer.tick(self.now);
            for class in blocks {
                let shared = self.desk.0.lock().unwrap().heard.last().cloned().unwrap();
                shared.blocks.count_callback();
                shared.blocks.write(*class);
                self.now += Duration::from_millis(BLOCK_MS.into());
                said = self.observer.tick(self.now);
            }
            said
        }
    }

    const ZEROS: [Class; 10] = [Class::Zero; 10];

    #[test]
    fn silence_is_as_old_as_its_first_block_after_the_warm_up() {
        let mut scene = Scene::begin();
        let said = scene.hear(&ZEROS).unwrap();
        assert_eq!(said.state.signal, Signal::DigitalZero);
        let silent = |said: &Observation| said.to - said.silent_since.unwrap();
        assert_eq!(silent(&said), Duration::from_millis(800), "all blocks except the warm-up");
        let said = scene.hear(&ZEROS).unwrap();
        assert_eq!(silent(&said), Duration::from_millis(1800));
        assert_eq!(scene.hear(&[Class::Signal]), None, "one block of signal is neither a voice nor silence");
        let said = scene.hear(&ZEROS[..3]).unwrap();
        assert_eq!(silent(&said), Duration::from_millis(300), "silence begins anew");
    }

    #[test]
    fn silence_before_a_stream_was_silenced_or_moved_does_not_count() {
        for (stream, route) in [(OwnStream::Silenced, Route::Silenced), (OwnStream::Moved, Route::Moved)] {
            let mut scene = Scene::begin();
            assert_eq!(scene.hear(&ZEROS).unwrap().state.signal, Signal::DigitalZero);
            scene.is(stream);
            let said = scene.hear(&ZEROS[..2]).unwrap();
            assert_eq!((said.state.signal, said.state.route, said.silent_since), (Signal::NotOpened, route, None));
            scene.is(OwnStream::Open);
            assert_eq!(scene.hear(&ZEROS[..4]), None, "the first blocks may be older than the change");
            let said = scene.hear(&ZEROS[..1]).unwrap();
            assert_eq!(said.to - said.silent_since.unwrap(), Duration::from_millis(300), "{stream:?}");
        }
    }

    fn claim(version: u64) -> Claim {
        let claim = format!(r#"{{"version": {version}, "deviceId": "e3b0", "deviceLabel": "Desk Microphone"}}"#);
        serde_json::from_str(&claim).unwrap()
    }

    #[test]
    fn silence_says_nothing_while_the_browser_records_from_another_input_even_on_a_reopened_stream() {
        let mut scene = Scene::begin();
        scene.observer.claim(&claim(1), scene.now);
        scene.browser_records(1, "test:desk");
        assert_eq!(scene.hear(&ZEROS).unwrap().state.signal, Signal::DigitalZero);
        // The system moves both streams. After a second, the agent opens its own stream anew.
        scene.is(OwnStream::Moved);
        scene.browser_records(1, "test:other");
        scene.hear(&ZEROS);
        scene.is(OwnStream::Open);
        for version in 2..5 {
            let said = scene.hear(&ZEROS).unwrap();
            assert_eq!((said.state.signal, said.state.route), (Signal::NotOpened, Route::Moved));
            scene.observer.claim(&claim(version), scene.now);
        }
        assert_eq!(scene.streams(), 2);
        // The page opens its microphone anew, and silence begins then.
        scene.browser_records(2, "test:desk");
        assert_eq!(scene.hear(&ZEROS[..4]), None, "the first blocks may be older than the change");
        let said = scene.hear(&ZEROS[..2]).unwrap();
        assert_eq!((said.state.signal, said.state.route), (Signal::DigitalZero, Route::Direct));
        assert!(said.to - said.silent_since.unwrap() < Duration::from_secs(1), "{said:?}");
    }

    #[test]
    fn a_browser_that_was_moved_alone_is_found_but_only_if_there_is_a_claim() {
        for (is_claimed, route) in [(true, Route::Moved), (false, Route::Direct)] {
            let mut scene = Scene::begin();
            if is_claimed {
                scene.observer.claim(&claim(1), scene.now);
            }
            scene.browser_records(1, "test:desk");
            scene.hear(&ZEROS);
            scene.browser_records(1, "test:other");
            assert_eq!(scene.hear(&ZEROS).unwrap().state.route, route);
        }
    }

    #[test]
    fn an_agent_that_does_not_listen_also_finds_a_moved_browser() {
        let mut scene = Scene::begin();
        scene.observer.ears = None;
        scene.observer.claim(&claim(1), scene.now);
        scene.browser_records(1, "test:desk");
        assert_eq!(scene.observer.tick(scene.now).unwrap().state.route, Route::Direct);
        scene.browser_records(1, "test:other");
        scene.now += TICK;
        assert_eq!(scene.observer.tick(scene.now).unwrap().state.route, Route::Moved);
    }

    #[test]
    fn after_a_long_pause_the_observer_begins_anew_on_a_new_stream() {
        let mut scene = Scene::begin();
        let before = scene.hear(&ZEROS).unwrap();
        assert_eq!(scene.streams(), 1);
        scene.now += Duration::from_secs(5);
        let said = scene.hear(&[]);
        assert_eq!((said, scene.streams()), (None, 2));
        let said = scene.hear(&ZEROS[..8]).unwrap();
        assert!(said.from > before.to && said.silent_since.unwrap() > before.to, "{said:?}");
    }

    #[test]
    fn a_stream_that_the_sound_system_does_not_know_is_opened_anew() {
        let mut scene = Scene::begin();
        scene.hear(&ZEROS);
        scene.is(OwnStream::Absent);
        assert_eq!(scene.hear(&ZEROS), None);
        scene.hear(&ZEROS[..5]);
        assert!(scene.streams() > 1);
    }

    #[test]
    fn an_observer_at_rest_closes_the_stream_and_forgets_the_claim() {
        let mut scene = Scene::begin();
        scene.hear(&ZEROS);
        scene.observer.claim(&claim(1), scene.now);
        scene.observer.rest();
        assert!(scene.observer.ear.is_none() && scene.observer.claimed.is_none() && !scene.observer.others.has_claim());
        assert_eq!((scene.hear(&[]), scene.streams()), (None, 2), "the next look opens a new stream");
    }
}
