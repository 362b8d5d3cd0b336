//! The loop around one microphone: read the flag, open, listen, watch over the route, fuse.

use crate::capture::{Ears, Failure, Life, Listening};
use crate::fuse::{Ear, Presence, State, fuse};
use crate::measure::{Class, Hold};
use crate::witness::{Attached, Input, Look, Unavailable, Witness, attested, default, labelled, named};
use domain::{AgentDevice, Flag};
use std::time::{Duration, Instant};

/// How often to look: a flag is seen within this.
pub const TICK: Duration = Duration::from_millis(50);
/// How often to ask for the list of inputs, to notice the claimed one being plugged in.
const LIST: Duration = Duration::from_secs(2);
/// How long a change of the flag may take to be heard: the hold, and what the sound server buffers.
const FLAG_HEARD: Duration = Duration::from_millis(500);
/// How long a moved stream is kept, so that the move is told, before the device is opened anew.
const MOVED: Duration = Duration::from_secs(1);
/// First and longest wait before opening anew.
const REOPEN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// What can be said now.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The state of the microphone.
    pub state: State,
    /// The device that it is the state of.
    pub device: Option<AgentDevice>,
    /// Since when it is so, and nothing else.
    pub from: Instant,
    /// Until when it was seen to be so.
    pub to: Instant,
}

/// Watches one microphone.
pub struct Observer {
    witness: Box<dyn Witness>,
    /// What to listen by; `None` to go by the flag alone.
    ears: Option<Box<dyn Ears>>,
    /// The device that was asked for, by name.
    named: Option<String>,
    /// The label of the device that the person claims.
    claimed: Option<String>,
    device: Option<(Input, Option<AgentDevice>)>,
    listed: Option<Instant>,
    ear: Option<Open>,
    closed: Closed,
    flag: Flag,
    flag_changed: Instant,
    said: Option<(State, Option<AgentDevice>, Instant)>,
}

/// An open stream.
struct Open {
    stream: Listening,
    hold: Hold,
    moved: Option<Instant>,
}

/// Why there is no stream, and when to try again.
struct Closed {
    why: Ear,
    until: Instant,
    wait: Duration,
}

impl Observer {
    /// Watches the device called `named`, else the one that is claimed, else the default one. Listens by `ears`, or goes by the flag
    /// alone without.
    #[must_use]
    pub fn new(witness: Box<dyn Witness>, ears: Option<Box<dyn Ears>>, named: Option<String>) -> Self {
        let now = Instant::now();
        Self {
            witness,
            ears,
            named,
            claimed: None,
            device: None,
            listed: None,
            ear: None,
            closed: Closed { why: Ear::Opening, until: now, wait: REOPEN[0] },
            flag: Flag::Unknown,
            flag_changed: now,
            said: None,
        }
    }

    /// Says which device the person claims.
    pub fn claim(&mut self, label: Option<String>) {
        if self.claimed != label {
            self.claimed = label;
            self.listed = None;
        }
    }

    /// Looks and listens once. `None` while nothing can be said, as during a change.
    pub fn tick(&mut self, now: Instant) -> Option<Observation> {
        // Blocks are taken before the flag and the route are read, so none is younger than what is known of its origin.
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
                (Presence::Present(look.flag), self.hear(look, &blocks, whole, now))
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
        let from = match (ear, &self.ear) {
            (Ear::Heard(_), Some(open)) => {
                // A window of a class reaches back to its first block, but not beyond the flag's last change.
                let heard = now.checked_sub(Duration::from_millis(open.hold.window_ms())).unwrap_or(now);
                heard.max(self.flag_changed)
            }
            _ => since,
        };
        Some(Observation { state, device, from, to: now })
    }

    /// Whether flag and class can be told together: a flag is read at once, but heard only after a while.
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
            self.choose()?;
            self.listed = Some(now);
        }
        match &self.device {
            Some((input, _)) => self.witness.look(&input.id),
            None => Ok(None),
        }
    }

    /// Once chosen, a device stays, even if it is pulled or the default changes: only a claim or a name leads to another one.
    fn choose(&mut self) -> Result<(), Unavailable> {
        let inputs = self.witness.inputs(self.ear.is_none())?;
        let chosen = match (&self.named, &self.claimed, &self.device) {
            (Some(name), _, _) => named(&inputs, name),
            (None, Some(label), device) => {
                // Of two devices with one label, stay with the one that is open.
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
            self.closed = Closed { why: Ear::Opening, until: Instant::now(), wait: REOPEN[0] };
        }
        self.device = Some((chosen.clone(), attested(chosen, &inputs)));
        Ok(())
    }

    fn hear(&mut self, look: Look, blocks: &[Class], whole: bool, now: Instant) -> Ear {
        let Some(ears) = &self.ears else { return Ear::Closed };
        let Some(open) = &mut self.ear else {
            if let Some((input, _)) = &self.device
                && now >= self.closed.until
            {
                self.ear = Some(Open { stream: ears.listen(&input.id), hold: Hold::default(), moved: None });
            }
            return self.closed.why;
        };
        let life = open.stream.life(now);
        if look.attached == Attached::Elsewhere {
            let since = *open.moved.get_or_insert(now);
            if now.saturating_duration_since(since) >= MOVED {
                self.close(Ear::Moved, now, Duration::ZERO);
            }
            return Ear::Moved;
        }
        open.moved = None;
        let lost = look.attached == Attached::Nowhere && life == Life::Alive;
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
                // Whether the device or the whole system is gone, the next look says; only if neither is, this counts.
                Ear::Opening
            }
            Life::Opening => Ear::Opening,
            Life::Silent => {
                // When it wakes, it begins anew.
                open.hold = Hold::default();
                Ear::Dead
            }
            Life::Alive if lost || !whole => {
                open.hold = Hold::default();
                Ear::Opening
            }
            Life::Alive => {
                self.closed.wait = REOPEN[0];
                for class in blocks {
                    open.hold.push(*class, look.flag == Flag::Muted);
                }
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
