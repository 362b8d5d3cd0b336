//! Finds out whether the page may record from another input than the claimed one.
//!
//! A sound server can move a stream to another input without telling the program: PulseAudio moves each stream of the old
//! default input when another input becomes the default. The page then captures one microphone and claims another. The
//! sound server does not say which program the page belongs to, so every stream that may be the page's is doubted. The
//! doubt ends when a program answers: it closes a stream, opens one on the claimed input, and a new claim arrives.
//! `docs/attestation.md`, "Moved streams", has the whole rule.

use crate::witness::{Input, Recording};
use domain::user::Version;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Longest pause between two looks after which the first input of a new stream still counts as seen: the longest time
/// that one answer of a sound server may take.
const UNSEEN: Duration = Duration::from_secs(1);
/// How long a stream whose beginning was not seen is compared with the default input. The agent asks for the default
/// every two seconds.
const FIRST: Duration = Duration::from_secs(3);
/// How long the claimed input may be without a recording program while another input has one. A page that reopens its
/// microphone closes it first.
const NOBODY: Duration = Duration::from_secs(1);
/// How long after a stream was opened the agent may learn its claim: one interval of attestations and two slow calls.
const LEARNED: Duration = Duration::from_secs(20);
/// How long before a stream is seen the agent may learn its claim: browsers report a stream before they open it.
const PROMISED: Duration = Duration::from_secs(2);

/// The result of a look at the streams of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// No stream is doubted.
    AtHome,
    /// Not known yet: no program records from the claimed input at this moment.
    Unsure,
    /// A stream that may be the page's records from another input.
    Elsewhere,
}

/// The streams of other programs, and their past.
#[derive(Debug, Default)]
pub struct Others {
    known: HashMap<u64, Known>,
    /// The claimed input that all of this is about.
    here: String,
    looked: Option<Instant>,
    /// Since when nobody has recorded from the claimed input while somebody did elsewhere.
    nobody: Option<Instant>,
    version: Option<Version>,
    /// When this version was learned.
    learned: Option<Instant>,
    /// The streams that ended since the oldest doubt.
    closed: Vec<Closed>,
}

#[derive(Debug)]
struct Closed {
    program: u64,
    seen: Instant,
    at: Instant,
}

#[derive(Debug)]
struct Known {
    program: u64,
    seen: Instant,
    /// Whether its beginning was seen: then its first input is the one that the program asked for.
    begun: bool,
    /// Each input that it has heard, and last the one that it hears now.
    inputs: Vec<String>,
    paused: bool,
    doubted: Option<Doubt>,
    /// Whether an answer has shown that it is not the page's stream.
    settled: bool,
}

#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    /// Whether the only reason is that nobody recorded from the claimed input: the stream was never seen there.
    of_stranger: bool,
}

impl Known {
    fn is_at(&self, id: &str) -> bool {
        self.inputs.last().is_some_and(|input| input == id)
    }

    fn was_at(&self, id: &str) -> bool {
        self.inputs.iter().any(|input| input == id)
    }
}

impl Others {
    /// Whether there is a claim, so that there is a page that records.
    #[must_use]
    pub fn has_claim(&self) -> bool {
        self.version.is_some()
    }

    /// Says which version of the claim is stored now.
    pub fn claim(&mut self, version: Version, now: Instant) {
        if self.version.replace(version).is_some_and(|before| before != version) {
            self.learned = Some(now);
        }
    }

    /// Looks at what other programs record, while the input `here` is claimed. `own_moved`: the system has moved this
    /// program's own stream.
    pub fn look(
        &mut self,
        recordings: &[Recording],
        here: &str,
        inputs: &[Input],
        own_moved: bool,
        now: Instant,
    ) -> Finding {
        if self.here != here {
            here.clone_into(&mut self.here);
            for known in self.known.values_mut() {
                (known.doubted, known.settled) = (None, false);
            }
            self.nobody = None;
            self.closed.clear();
        }
        let sees = self.looked.replace(now).is_some_and(|last| now.saturating_duration_since(last) <= UNSEEN);
        self.note(recordings, sees, own_moved, now);
        self.doubt(inputs, now);
        self.settle();
        if self.known.values().any(|known| known.doubted.is_some() && !known.paused) {
            Finding::Elsewhere
        } else if self.nobody.is_some() {
            Finding::Unsure
        } else {
            Finding::AtHome
        }
    }

    fn note(&mut self, recordings: &[Recording], sees: bool, own_moved: bool, now: Instant) {
        let closed = &mut self.closed;
        self.known.retain(|stream, known| {
            let goes_on = recordings.iter().any(|recording| recording.stream == *stream);
            if !goes_on {
                closed.push(Closed { program: known.program, seen: known.seen, at: now });
            }
            goes_on
        });
        for recording in recordings {
            let is_here = recording.input.as_deref() == Some(self.here.as_str());
            let known = self.known.entry(recording.stream).or_insert_with(|| Known {
                program: recording.program,
                seen: now,
                // A stream that appears during a move may have been moved already.
                begun: sees && (is_here || !own_moved),
                inputs: Vec::new(),
                paused: false,
                doubted: None,
                settled: false,
            });
            known.paused = recording.paused || recording.input.is_none();
            if let Some(input) = &recording.input
                && known.inputs.last() != Some(input)
            {
                known.inputs.retain(|before| before != input);
                known.inputs.push(input.clone());
            }
            if is_here {
                (known.doubted, known.settled) = (None, false);
            }
        }
        // Only what happens after a doubt can answer it.
        let oldest = self.known.values().filter_map(|known| Some(known.doubted?.since)).min().unwrap_or(now);
        self.closed.retain(|closed| closed.at >= oldest);
    }

    fn doubt(&mut self, inputs: &[Input], now: Instant) {
        let here = self.here.as_str();
        // The system moves streams to the default input.
        let is_default = |known: &Known| inputs.iter().any(|input| input.default && known.is_at(&input.id));
        let is_monitor = |known: &Known| inputs.iter().any(|input| input.monitor && known.is_at(&input.id));
        let somebody_is_here = self.known.values().any(|known| known.is_at(here) && !known.paused);
        // Many programs record the sound of an output (a monitor). A page gets there only if it is the default.
        let may_be_moved = |known: &Known| is_default(known) || !is_monitor(known);
        let elsewhere = |known: &&mut Known| !known.is_at(here) && !known.paused;
        let mut alone = false;
        let long = self.nobody.is_some_and(|since| now.saturating_duration_since(since) >= NOBODY);
        for known in self.known.values_mut().filter(elsewhere) {
            let is_new = now.saturating_duration_since(known.seen) <= FIRST;
            let is_where_the_system_moves_to = !known.begun && is_new && is_default(known);
            let is_alone = !somebody_is_here && may_be_moved(known);
            // An answer holds only while somebody records here.
            let is_suspect = !known.settled && (known.was_at(here) || is_where_the_system_moves_to);
            if is_suspect || (is_alone && long) {
                let doubt = known.doubted.get_or_insert(Doubt { since: now, of_stranger: true });
                doubt.of_stranger &= !is_suspect;
                known.settled = false;
            }
            alone |= is_alone && known.doubted.is_none();
        }
        self.nobody = if alone { self.nobody.or(Some(now)) } else { None };
    }

    /// Settles the doubts that a program has answered. Since the doubt, the program has opened a stream that records
    /// from the claimed input, it has closed a stream that is older than the doubt, and a new claim has arrived. Then
    /// this program shows the page, so the doubted stream is not the page's. For a stranger, which would not be doubted
    /// if somebody had recorded from the claimed input all the time, no closed stream is needed.
    fn settle(&mut self) {
        let Some(learned) = self.learned else { return };
        let opened: Vec<_> = self
            .known
            .values()
            .filter(|known| known.begun && known.inputs == [self.here.as_str()] && !known.paused)
            .map(|known| (known.program, known.seen))
            .collect();
        for known in self.known.values_mut() {
            let Some(Doubt { since: doubted, of_stranger }) = known.doubted else { continue };
            let has_closed = |program| {
                let mut closed = self.closed.iter();
                closed.any(|closed| closed.program == program && closed.at > doubted && closed.seen <= doubted)
            };
            let answers = opened.iter().any(|&(program, opened)| {
                opened > doubted
                    && (of_stranger || has_closed(program))
                    && learned > doubted
                    && learned + PROMISED >= opened
                    && learned <= opened + LEARNED
            });
            if answers {
                (known.doubted, known.settled) = (None, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLINK: Duration = Duration::from_millis(50);
    const SECOND: Duration = Duration::from_secs(1);
    const DESK: &str = "test:desk";
    const OTHER: &str = "test:other";
    const THIRD: &str = "test:third";
    const SPEAKERS: &str = "test:speakers.monitor";
    /// Programs.
    const BROWSER: u64 = 1;
    const RECORDER: u64 = 2;

    /// A sound server of which the test says who records what.
    struct Scene {
        others: Others,
        recordings: Vec<Recording>,
        here: &'static str,
        default: &'static str,
        now: Instant,
        version: Version,
        streams: u64,
    }

    impl Scene {
        /// Somebody claims the desk, which is the default. Nobody has looked yet.
        fn begin() -> Self {
            let mut others = Others::default();
            let now = Instant::now();
            others.claim(1, now);
            Self { others, recordings: Vec::new(), here: DESK, default: DESK, now, version: 1, streams: 0 }
        }

        /// A program begins to record.
        fn opens(&mut self, program: u64, input: &str) -> u64 {
            self.streams += 1;
            let recording = Recording { stream: self.streams, program, input: Some(input.to_owned()), paused: false };
            self.recordings.push(recording);
            self.streams
        }

        fn closes(&mut self, stream: u64) {
            self.recordings.retain(|recording| recording.stream != stream);
        }

        fn moves(&mut self, stream: u64, input: &str) {
            let recording = self.recordings.iter_mut().find(|recording| recording.stream == stream);
            recording.unwrap().input = Some(input.to_owned());
        }

        /// Another input becomes the default: the system moves each stream of the old one.
        fn makes_default(&mut self, input: &'static str) {
            for recording in &mut self.recordings {
                if recording.input.as_deref() == Some(self.default) {
                    recording.input = Some(input.to_owned());
                }
            }
            self.default = input;
        }

        fn claims_anew(&mut self) {
            self.version += 1;
            self.others.claim(self.version, self.now);
        }

        fn look(&mut self) -> Finding {
            self.now += BLINK;
            let inputs = [DESK, OTHER, THIRD, SPEAKERS].map(|id| Input {
                id: id.to_owned(),
                label: id.to_owned(),
                default: id == self.default,
                monitor: id == SPEAKERS,
            });
            self.others.look(&self.recordings, self.here, &inputs, false, self.now)
        }

        /// Looks for so long, and gives what was found last.
        fn looks_for(&mut self, time: Duration) -> Finding {
            let end = self.now + time;
            loop {
                let found = self.look();
                if self.now >= end {
                    return found;
                }
            }
        }

        /// The page opens its microphone anew, as it does when the agent finds it elsewhere.
        fn reopens(&mut self, stream: u64) -> u64 {
            self.closes(stream);
            self.look();
            let anew = self.opens(BROWSER, self.here);
            self.looks_for(SECOND);
            self.claims_anew();
            anew
        }
    }

    #[test]
    fn a_page_that_the_system_moves_is_elsewhere_until_it_has_opened_its_microphone_anew() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome);
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere, "at once");
        assert_eq!(scene.looks_for(60 * SECOND), Finding::Elsewhere, "and for as long as it is");
        for _ in 0..3 {
            scene.claims_anew();
            assert_eq!(
                scene.looks_for(SECOND),
                Finding::Elsewhere,
                "muted and unmuted: another claim, the same stream"
            );
        }
        scene.closes(page);
        scene.look();
        scene.opens(BROWSER, DESK);
        assert_eq!(scene.look(), Finding::AtHome, "the moved stream is over");
    }

    #[test]
    fn a_page_that_the_system_moves_back_is_at_home_again() {
        let mut scene = Scene::begin();
        scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.makes_default(DESK);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn a_page_whose_track_is_stopped_while_it_is_elsewhere_records_nothing() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.recordings[0].paused = true;
        assert_eq!(scene.look(), Finding::AtHome, "paused");
        scene.recordings[0].paused = false;
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.recordings[0].input = None;
        assert_eq!(scene.look(), Finding::AtHome, "attached to nothing, on its way to another input");
        scene.moves(page, THIRD);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.closes(page);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn a_recorder_of_another_microphone_says_nothing_of_a_page_that_records_here() {
        let mut scene = Scene::begin();
        // Both before anybody looked, and the recorder once more later.
        scene.opens(BROWSER, DESK);
        let recorder = scene.opens(RECORDER, OTHER);
        assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome);
        scene.default = OTHER;
        assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome, "it was there before that became the default");
        scene.default = DESK;
        scene.closes(recorder);
        scene.look();
        scene.opens(RECORDER, OTHER);
        assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome);
        // Also when that is the default: the system has moved it there, or it asked for it.
        scene.default = OTHER;
        assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome);
    }

    #[test]
    fn a_stream_on_the_default_that_existed_before_the_first_look_is_doubted() {
        let mut scene = Scene::begin();
        scene.default = OTHER;
        let moved = scene.opens(BROWSER, OTHER);
        // Another program records here, so somebody does.
        scene.opens(RECORDER, DESK);
        assert_eq!(scene.look(), Finding::Elsewhere, "before anything else is said");
        scene.reopens(moved);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn nobody_here_and_somebody_elsewhere_is_doubted_after_a_second() {
        for (input, found) in [(OTHER, Finding::Elsewhere), (SPEAKERS, Finding::AtHome)] {
            let mut scene = Scene::begin();
            scene.opens(RECORDER, input);
            let first = scene.look();
            assert_ne!(first, Finding::Elsewhere);
            assert_eq!(first == Finding::Unsure, found == Finding::Elsewhere, "nothing is said before");
            assert_eq!(scene.looks_for(2 * SECOND), found, "{input}");
        }
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.opens(RECORDER, OTHER);
        scene.look();
        scene.closes(page);
        assert_eq!(scene.looks_for(SECOND / 2), Finding::Unsure, "a page that opens its microphone anew");
        scene.opens(BROWSER, DESK);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    /// A busy browser takes more than a second to open its microphone anew, and a restarted one is another program.
    #[test]
    fn a_page_that_comes_back_late_ends_the_doubt_about_programs_that_were_never_here() {
        for browser in [BROWSER, BROWSER + 10] {
            let mut scene = Scene::begin();
            let page = scene.opens(BROWSER, DESK);
            scene.opens(RECORDER, OTHER);
            assert_eq!(scene.looks_for(5 * SECOND), Finding::AtHome);
            scene.moves(page, THIRD);
            assert_eq!(scene.look(), Finding::Elsewhere);
            scene.closes(page);
            assert_eq!(scene.looks_for(3 * SECOND), Finding::Elsewhere, "nobody records here");
            let page = scene.opens(browser, DESK);
            assert_eq!(scene.looks_for(SECOND), Finding::Elsewhere, "the claim is not known yet");
            scene.claims_anew();
            assert_eq!(scene.looks_for(60 * SECOND), Finding::AtHome);
            // The page itself is doubted as before.
            scene.moves(page, THIRD);
            assert_eq!(scene.look(), Finding::Elsewhere);
            scene.opens(RECORDER, DESK);
            scene.claims_anew();
            assert_eq!(scene.looks_for(60 * SECOND), Finding::Elsewhere);
        }
    }

    #[test]
    fn without_any_other_program_nothing_is_doubted() {
        assert_eq!(Scene::begin().looks_for(5 * SECOND), Finding::AtHome);
    }

    #[test]
    fn of_two_programs_that_were_moved_the_one_that_answers_has_the_page() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        let call = scene.opens(RECORDER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        let page = scene.reopens(page);
        assert_eq!(scene.looks_for(60 * SECOND), Finding::AtHome, "the call stays elsewhere, and is not the page");
        // What is moved again is doubted again, and also the call once it was here.
        scene.moves(page, THIRD);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.moves(page, DESK);
        assert_eq!(scene.look(), Finding::AtHome);
        scene.moves(call, DESK);
        scene.look();
        scene.moves(call, OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
    }

    #[test]
    fn of_two_tabs_of_one_program_the_one_that_answers_has_the_page() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.reopens(page);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn another_program_that_begins_to_record_here_settles_no_doubt() {
        let mut scene = Scene::begin();
        scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        scene.look();
        // A recorder that begins, and a person who mutes: nobody has closed what was moved.
        scene.opens(RECORDER, DESK);
        scene.look();
        scene.claims_anew();
        assert_eq!(scene.looks_for(60 * SECOND), Finding::Elsewhere);
    }

    #[test]
    fn an_answer_without_a_new_claim_or_long_before_it_settles_nothing() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.opens(RECORDER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        scene.look();
        scene.closes(page);
        scene.look();
        scene.opens(BROWSER, DESK);
        assert_eq!(scene.looks_for(30 * SECOND), Finding::Elsewhere);
        scene.claims_anew();
        assert_eq!(scene.look(), Finding::Elsewhere);
    }

    #[test]
    fn a_claim_that_is_learned_just_before_its_stream_is_seen_counts() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.opens(RECORDER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        scene.look();
        scene.closes(page);
        scene.look();
        scene.claims_anew();
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.opens(BROWSER, DESK);
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn after_a_claim_of_another_input_that_input_counts() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.look();
        scene.moves(page, OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.here = OTHER;
        assert_eq!(scene.look(), Finding::AtHome);
    }

    #[test]
    fn a_move_between_two_distant_looks_is_found() {
        let mut scene = Scene::begin();
        scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        scene.now += 60 * SECOND;
        assert_eq!(scene.look(), Finding::Elsewhere);
    }

    #[test]
    fn a_recording_that_begins_and_ends_here_settles_nothing() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        scene.closes(page);
        scene.look();
        scene.opens(BROWSER, DESK);
        assert_eq!(scene.looks_for(SECOND), Finding::AtHome);
        // The page is moved once more before its answer is learned.
        scene.default = DESK;
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        for _ in 0..3 {
            let recorder = scene.opens(RECORDER, DESK);
            assert_eq!(scene.looks_for(2 * SECOND), Finding::Elsewhere);
            scene.closes(recorder);
            assert_eq!(scene.looks_for(2 * SECOND), Finding::Elsewhere);
            scene.claims_anew();
            assert_eq!(scene.looks_for(2 * SECOND), Finding::Elsewhere);
        }
    }

    #[test]
    fn an_answer_holds_only_while_somebody_records_here() {
        let mut scene = Scene::begin();
        let page = scene.opens(BROWSER, DESK);
        scene.opens(RECORDER, DESK);
        scene.look();
        scene.makes_default(OTHER);
        assert_eq!(scene.look(), Finding::Elsewhere);
        let page = scene.reopens(page);
        assert_eq!(scene.looks_for(60 * SECOND), Finding::AtHome);
        scene.closes(page);
        assert_eq!(scene.look(), Finding::Unsure);
        assert_eq!(scene.looks_for(2 * SECOND), Finding::Elsewhere);
    }
}
