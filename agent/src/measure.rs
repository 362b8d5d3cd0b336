//! Turns samples into classes.
//!
//! [`Meter`] runs in the audio callback and returns one [`Class`] per block; no sample and no level leaves it. [`Hold`]
//! runs outside and decides which class counts.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Length of a block. In noise of −70 dBFS with 16 bits, one sample in 27 is exactly zero. So a silent block is all
/// zeros only if it is digital zero.
pub const BLOCK_MS: u32 = 100;
/// Blocks in a row before a change counts: 300 ms, longer than a click and than most gaps between words.
const HOLD_BLOCKS: usize = 3;
/// Blocks without signal before the device counts as quiet: 2 s, longer than a pause between sentences.
const QUIET_BLOCKS: usize = 20;
/// Blocks that are ignored after the start, because they are not the device's signal: 200 ms.
const WARM_UP_BLOCKS: u8 = 2;
/// Slots between the callback and its reader: blocks of 6.4 s.
const SLOTS: usize = 64;

/// Margin above the device's own noise at which a block counts as signal, in decibels.
const MARGIN_DB: f32 = 12.0;
/// Lowest possible estimate of a device's noise, in dBFS; dither is louder than this.
const FLOOR_DBFS_MIN: f32 = -84.0;
/// Highest possible estimate of a device's noise, in dBFS: a steady hum that others can hear counts as signal.
const FLOOR_DBFS_MAX: f32 = -57.0;
/// Estimate before the first block, in dBFS: speech is above it by more than the margin.
const FLOOR_DBFS_FIRST: f32 = -66.0;
/// Rise of the estimate per block, in decibels: 0.5 dB per second. So the noise of a fan that was switched on becomes
/// floor, but half a minute of speech without a breath does not.
const FLOOR_RISE_DB: f32 = 0.05;

/// The class of a block of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Every sample was exactly zero.
    Zero = 1,
    /// No more than the device's own noise.
    Floor = 2,
    /// More than the device's own noise.
    Signal = 3,
}

impl Class {
    fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Zero,
            2 => Self::Floor,
            _ => Self::Signal,
        }
    }
}

/// Sorts the samples of a stream into blocks, and the blocks into classes. It neither allocates nor waits.
#[derive(Debug)]
pub struct Meter {
    block_samples: u32,
    count: u32,
    sum: f64,
    sum_of_squares: f64,
    all_zero: bool,
    /// The device's own noise, in dBFS.
    floor_dbfs: f32,
    /// Whether there was a block from which the floor could be estimated.
    calibrated: bool,
}

impl Meter {
    /// A meter for a stream of `channels` interleaved channels at `rate` frames per second.
    #[must_use]
    pub fn new(rate: u32, channels: u16) -> Self {
        let block_samples = (rate / (1000 / BLOCK_MS)).max(1) * u32::from(channels.max(1));
        Self {
            block_samples,
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            all_zero: true,
            floor_dbfs: FLOOR_DBFS_FIRST,
            calibrated: false,
        }
    }

    /// Takes samples from −1 to 1, and passes the class of each complete block to `said`.
    pub fn push(&mut self, samples: impl Iterator<Item = f32>, mut said: impl FnMut(Class)) {
        for sample in samples {
            // Not `abs() < EPSILON`: only exact zeros count.
            self.all_zero &= sample.to_bits() << 1 == 0;
            let sample = f64::from(sample);
            self.sum += sample;
            self.sum_of_squares += sample * sample;
            self.count += 1;
            if self.count == self.block_samples {
                said(self.finish_block());
            }
        }
    }

    fn finish_block(&mut self) -> Class {
        let count = f64::from(self.count);
        let mean = self.sum / count;
        // A converter's constant offset is not sound.
        let power = self.sum_of_squares / count - mean * mean;
        let class = if self.all_zero { Class::Zero } else { self.classify(power) };
        (self.count, self.sum, self.sum_of_squares, self.all_zero) = (0, 0.0, 0.0, true);
        class
    }

    fn classify(&mut self, power: f64) -> Class {
        if !power.is_finite() {
            return Class::Signal;
        }
        #[expect(clippy::cast_possible_truncation, reason = "decibels")]
        let level_dbfs = (10.0 * power.max(1e-20).log10()) as f32;
        let estimate = if self.calibrated { self.floor_dbfs + FLOOR_RISE_DB } else { FLOOR_DBFS_FIRST };
        self.floor_dbfs = level_dbfs.min(estimate).clamp(FLOOR_DBFS_MIN, FLOOR_DBFS_MAX);
        self.calibrated = true;
        if level_dbfs > self.floor_dbfs + MARGIN_DB { Class::Signal } else { Class::Floor }
    }
}

/// Carries the classes out of the audio callback: one writer, one reader, no lock.
#[derive(Debug)]
pub struct Blocks {
    slots: [AtomicU8; SLOTS],
    written: AtomicU64,
    callbacks: AtomicU64,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { slots: [const { AtomicU8::new(0) }; SLOTS], written: AtomicU64::new(0), callbacks: AtomicU64::new(0) }
    }
}

impl Blocks {
    /// Adds a block. Only the callback may call this.
    pub fn write(&self, class: Class) {
        let written = self.written.load(Ordering::Relaxed);
        self.slots[slot(written)].store(class as u8, Ordering::Relaxed);
        self.written.store(written + 1, Ordering::Release);
    }

    /// Counts a callback; the count shows that the stream is alive.
    pub fn count_callback(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of callbacks so far.
    pub fn callbacks(&self) -> u64 {
        self.callbacks.load(Ordering::Relaxed)
    }

    /// Passes the blocks after the first `seen` to `take` and updates `seen`. Returns whether no block was lost.
    pub fn read(&self, seen: &mut u64, mut take: impl FnMut(Class)) -> bool {
        let written = self.written.load(Ordering::Acquire);
        let whole = written - *seen < SLOTS as u64;
        if whole {
            for at in *seen..written {
                take(Class::from_u8(self.slots[slot(at)].load(Ordering::Relaxed)));
            }
        }
        *seen = written;
        whole
    }
}

fn slot(at: u64) -> usize {
    usize::try_from(at % SLOTS as u64).unwrap_or_default()
}

/// Decides which class counts. One short window gives no verdict, and a gap between words is not silence.
#[derive(Debug)]
pub struct Hold {
    warm_up: u8,
    recent: VecDeque<Class>,
    zeros: u64,
    silent: u64,
    held: Option<Class>,
    window: u64,
    agrees: bool,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            warm_up: WARM_UP_BLOCKS,
            recent: VecDeque::with_capacity(QUIET_BLOCKS),
            zeros: 0,
            silent: 0,
            held: None,
            window: 0,
            agrees: false,
        }
    }
}

impl Hold {
    /// Takes a block. If zeros are `expected`, because the system reports a mute, one block of zeros is enough.
    pub fn push(&mut self, class: Class, expected: bool) {
        if self.warm_up > 0 {
            self.warm_up -= 1;
            return;
        }
        if self.recent.len() == QUIET_BLOCKS {
            self.recent.pop_front();
        }
        self.recent.push_back(class);
        self.zeros = if class == Class::Zero { self.zeros + 1 } else { 0 };
        self.silent = if class == Class::Signal { 0 } else { self.silent + 1 };
        let next = self.next(expected);
        self.agrees = match next {
            None => false,
            Some(Class::Zero) => class == Class::Zero,
            Some(Class::Floor) => class != Class::Signal,
            Some(Class::Signal) => true,
        };
        self.window = match next {
            // Every sample of the window must be zero, so the window begins with the last run of zeros.
            Some(Class::Zero) => self.zeros,
            Some(_) if !self.agrees => 0,
            Some(_) if next == self.held => self.window + 1,
            Some(Class::Floor | Class::Signal) => 1,
            None => 0,
        };
        self.held = next;
    }

    fn next(&self, expected: bool) -> Option<Class> {
        let needed = if expected { 1 } else { HOLD_BLOCKS as u64 };
        if self.zeros >= needed {
            return Some(Class::Zero);
        }
        let count = |blocks: usize, at_least: Class| {
            self.recent.iter().rev().take(blocks).filter(|class| **class >= at_least).count()
        };
        if self.recent.len() < HOLD_BLOCKS {
            return self.held;
        }
        // Two of three blocks, so that one click does not count as a voice, and one gap does not hide a voice.
        if count(HOLD_BLOCKS, Class::Signal) >= 2 {
            return Some(Class::Signal);
        }
        match self.held {
            Some(Class::Signal) if count(QUIET_BLOCKS, Class::Signal) > 0 => self.held,
            Some(Class::Signal | Class::Floor) => Some(Class::Floor),
            Some(Class::Zero) | None if count(HOLD_BLOCKS, Class::Floor) >= 2 => Some(Class::Floor),
            held => held,
        }
    }

    /// The class that counts. `None`: there were not enough blocks yet.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.held
    }

    /// Number of blocks for which the class has held without interruption.
    #[must_use]
    pub fn window_blocks(&self) -> u64 {
        self.window
    }

    /// Number of blocks since the last signal.
    #[must_use]
    pub fn silent_blocks(&self) -> u64 {
        self.silent
    }

    /// Whether the last block fits the class. If not, the class may be about to change, and nothing can be said now.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.agrees
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Floor, Signal, Zero};
    use proptest::prelude::*;

    const RATE: u32 = 8000;
    const BLOCK: usize = 800;

    fn classes(samples: impl IntoIterator<Item = f32>) -> Vec<Class> {
        let mut said = Vec::new();
        Meter::new(RATE, 1).push(samples.into_iter(), |class| said.push(class));
        said
    }

    /// A sine of this level, which is the level of its power.
    fn tone(level_dbfs: f32, blocks: usize) -> Vec<f32> {
        let amplitude = 10_f32.powf(level_dbfs / 20.0) * 2_f32.sqrt();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
        (0..blocks * BLOCK).map(|at| amplitude * (at as f32 * 0.7).sin()).collect()
    }

    fn hold(blocks: &[Class]) -> Hold {
        let mut hold = Hold::default();
        for class in [Floor, Floor].iter().chain(blocks) {
            hold.push(*class, false);
        }
        hold
    }

    #[test]
    fn one_sample_that_is_not_zero_makes_a_block_that_is_not_zero() {
        let mut samples = vec![0.0; BLOCK];
        assert_eq!(classes(samples.clone()), [Zero]);
        samples[BLOCK - 1] = 1.0 / 32768.0;
        assert_eq!(classes(samples), [Floor]);
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(classes(vec![-0.0; BLOCK]), [Zero]);
    }

    #[test]
    fn a_quiet_room_is_floor_and_a_voice_is_signal() {
        assert_eq!(classes(tone(-70.0, 2)), [Floor, Floor]);
        assert_eq!(classes(tone(-30.0, 2)), [Signal, Signal]);
    }

    #[test]
    fn a_constant_offset_is_floor() {
        assert_eq!(classes(vec![0.1; BLOCK]), [Floor]);
    }

    #[test]
    fn the_floor_follows_the_device() {
        let whisper = [tone(-80.0, 3), tone(-62.0, 1)].concat();
        assert_eq!(classes(whisper).last(), Some(&Signal));
        let noisy = [tone(-60.0, 3), tone(-62.0, 1)].concat();
        assert_eq!(classes(noisy).last(), Some(&Floor));
    }

    #[test]
    fn a_hum_that_others_hear_never_becomes_floor() {
        assert_eq!(classes(tone(-40.0, 600)).last(), Some(&Signal));
    }

    #[test]
    fn zeros_do_not_calibrate_a_device() {
        let after_mute = [vec![0.0; 5 * BLOCK], tone(-60.0, 1)].concat();
        assert_eq!(classes(after_mute).last(), Some(&Floor));
    }

    #[test]
    fn samples_that_are_not_finite_are_signal() {
        assert_eq!(classes(vec![f32::NAN; BLOCK]), [Signal]);
        assert_eq!(classes(vec![f32::INFINITY; BLOCK]), [Signal]);
    }

    #[test]
    fn all_channels_count() {
        let right_only = (0..2 * BLOCK).map(|at| if at % 2 == 1 { 0.001 } else { 0.0 });
        let mut said = Vec::new();
        Meter::new(RATE, 2).push(right_only, |class| said.push(class));
        assert_eq!(said.len(), 1);
        assert_ne!(said, [Zero]);
    }

    #[test]
    fn the_first_window_is_ignored() {
        let mut hold = Hold::default();
        hold.push(Zero, true);
        hold.push(Zero, true);
        assert_eq!(hold.class(), None);
        hold.push(Zero, true);
        assert_eq!(hold.class(), Some(Zero));
    }

    #[test]
    fn a_change_counts_after_three_blocks() {
        let before = [Floor, Floor, Floor, Zero, Zero];
        assert_eq!(hold(&before).class(), Some(Floor));
        assert_eq!(hold(&[&before[..], &[Zero]].concat()).class(), Some(Zero));
    }

    #[test]
    fn zeros_count_at_once_if_the_system_reports_a_mute() {
        let mut hold = hold(&[Signal; 5]);
        hold.push(Zero, true);
        assert_eq!((hold.class(), hold.window_blocks()), (Some(Zero), 1));
    }

    #[test]
    fn a_gap_between_words_is_not_silence() {
        let pause = [Signal, Signal, Signal, Zero, Zero, Floor, Zero, Zero, Floor];
        assert_eq!(hold(&pause).class(), Some(Signal));
    }

    #[test]
    fn two_seconds_without_a_word_are_quiet() {
        let mut blocks = vec![Signal; 5];
        blocks.extend([Floor; QUIET_BLOCKS - 1]);
        assert_eq!(hold(&blocks).class(), Some(Signal));
        blocks.push(Floor);
        assert_eq!(hold(&blocks).class(), Some(Floor));
        assert_eq!(hold(&blocks).silent_blocks(), QUIET_BLOCKS as u64);
    }

    #[test]
    fn a_click_ends_the_window_of_zeros_but_is_no_voice() {
        let mut hold = hold(&[Zero, Zero, Zero, Zero, Signal]);
        assert_eq!((hold.class(), hold.agrees()), (Some(Zero), false));
        hold.push(Zero, false);
        assert_eq!((hold.class(), hold.agrees(), hold.window_blocks()), (Some(Zero), true, 1));
        assert_eq!(hold.silent_blocks(), 1);
    }

    #[test]
    fn a_voice_after_a_mute_counts_after_two_blocks() {
        assert_eq!(hold(&[Zero, Zero, Zero, Signal]).class(), Some(Zero));
        assert_eq!(hold(&[Zero, Zero, Zero, Signal, Signal]).class(), Some(Signal));
    }

    #[test]
    fn a_late_reader_learns_that_blocks_were_lost() {
        let blocks = Blocks::default();
        let mut seen = 0;
        for _ in 0..SLOTS {
            blocks.write(Zero);
        }
        assert!(!blocks.read(&mut seen, |_| panic!("these may be overwritten")));
        blocks.write(Signal);
        let mut read = Vec::new();
        assert!(blocks.read(&mut seen, |class| read.push(class)));
        assert_eq!(read, [Signal]);
    }

    fn any_class() -> impl Strategy<Value = Class> {
        prop_oneof![Just(Zero), Just(Floor), Just(Signal)]
    }

    proptest! {
        #[test]
        fn zero_is_said_exactly_when_every_sample_is_zero(
            samples in prop::collection::vec(prop_oneof![8 => Just(0.0_f32), 1 => any::<f32>()], BLOCK)
        ) {
            let all_zero = samples.iter().all(|sample| *sample == 0.0);
            prop_assert_eq!(classes(samples) == [Zero], all_zero);
        }

        #[test]
        fn the_lengths_of_the_pieces_of_a_stream_change_nothing(
            levels in prop::collection::vec(-90.0_f32..0.0, 1..6), cuts in prop::collection::vec(1_usize..3000, 1..20)
        ) {
            let samples: Vec<f32> = levels.iter().flat_map(|level| tone(*level, 1)).collect();
            let mut meter = Meter::new(RATE, 1);
            let mut said = Vec::new();
            let mut rest = &samples[..];
            for cut in cuts.iter().cycle() {
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                meter.push(piece.iter().copied(), |class| said.push(class));
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(said, classes(samples));
        }

        #[test]
        fn a_window_of_zeros_holds_nothing_but_zeros(blocks in prop::collection::vec((any_class(), any::<bool>()), 0..60)) {
            let mut hold = Hold::default();
            let mut heard = Vec::new();
            for (class, expected) in blocks {
                hold.push(class, expected);
                heard.push(class);
                if hold.class() == Some(Zero) && hold.agrees() {
                    let window = usize::try_from(hold.window_blocks()).unwrap();
                    prop_assert!(window >= 1);
                    prop_assert!(heard.iter().rev().take(window).all(|class| *class == Zero));
                }
            }
        }

        #[test]
        fn two_blocks_of_zeros_are_not_enough_without_a_mute_flag(blocks in prop::collection::vec(any_class(), 0..60)) {
            let mut hold = Hold::default();
            let mut run = 0;
            for class in blocks {
                let before = hold.class();
                run = if class == Zero { run + 1 } else { 0 };
                hold.push(class, false);
                if before != Some(Zero) && hold.class() == Some(Zero) {
                    prop_assert!(run >= HOLD_BLOCKS);
                }
            }
        }
    }
}
