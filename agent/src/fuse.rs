//! Combines all observations into the one state that is attested.

use crate::measure::Class;
use domain::{Condition, Flag, Route, Signal};

/// The part of an attestation that describes the microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether it could be measured; if not, why.
    pub condition: Condition,
    /// The system's mute flag.
    pub flag: Flag,
    /// The measured signal.
    pub signal: Signal,
    /// Whether the signal came from this device.
    pub route: Route,
}

/// The system's information about the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The sound system does not answer.
    HostUnavailable,
    /// The sound system answers, but does not have this device.
    Missing,
    /// The device exists, and this is its mute flag.
    Present(Flag),
}

/// The state of listening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ear {
    /// The agent was told not to listen.
    Closed,
    /// The stream is being opened, or has not delivered enough blocks yet.
    Opening,
    /// Another program holds the device.
    Busy,
    /// The system does not let this program listen.
    Denied,
    /// The stream is open without callbacks, or cannot be opened for another reason.
    Dead,
    /// The system has attached this stream, or a stream that may be the page's, to another device.
    Moved,
    /// The stream itself is muted or turned down.
    Silenced,
    /// The stream is open and has this class.
    Heard(Class),
}

/// The state that follows from the observations. `None`: nothing can be said yet.
///
/// A missing device, and a stream that was moved or silenced, take precedence over the signal. The silence of another
/// device, of a missing one, or of this program's own muted stream is not a mute.
#[must_use]
pub fn fuse(presence: Presence, ear: Ear) -> Option<State> {
    let unmeasured = |condition, flag| Some(State { condition, flag, signal: Signal::NotOpened, route: Route::Direct });
    let flag = match presence {
        Presence::HostUnavailable => return unmeasured(Condition::HostUnavailable, Flag::Unknown),
        Presence::Missing => return unmeasured(Condition::DeviceMissing, Flag::Unknown),
        Presence::Present(flag) => flag,
    };
    let measured = |signal, route| Some(State { condition: Condition::Measured, flag, signal, route });
    match ear {
        Ear::Opening => None,
        Ear::Closed => measured(Signal::NotOpened, Route::Direct),
        Ear::Busy => unmeasured(Condition::DeviceBusy, flag),
        Ear::Denied => unmeasured(Condition::PermissionDenied, flag),
        Ear::Dead => unmeasured(Condition::NoData, flag),
        Ear::Moved => measured(Signal::NotOpened, Route::Moved),
        Ear::Silenced => measured(Signal::NotOpened, Route::Silenced),
        Ear::Heard(Class::Zero) => measured(Signal::DigitalZero, Route::Direct),
        Ear::Heard(Class::Floor) => measured(Signal::Floor, Route::Direct),
        Ear::Heard(Class::Signal) => measured(Signal::Signal, Route::Direct),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] = [Flag::Muted, Flag::Unmuted, Flag::Unknown];
    const EARS: [Ear; 10] = [
        Ear::Closed,
        Ear::Opening,
        Ear::Busy,
        Ear::Denied,
        Ear::Dead,
        Ear::Moved,
        Ear::Silenced,
        Ear::Heard(Class::Zero),
        Ear::Heard(Class::Floor),
        Ear::Heard(Class::Signal),
    ];

    fn state(condition: Condition, flag: Flag, signal: Signal, route: Route) -> State {
        State { condition, flag, signal, route }
    }

    #[test]
    fn a_device_that_exists_has_one_state_for_each_flag_and_ear() {
        for flag in FLAGS {
            let says = |ear| fuse(Presence::Present(flag), ear);
            assert_eq!(says(Ear::Opening), None);
            assert_eq!(says(Ear::Closed), Some(state(Condition::Measured, flag, Signal::NotOpened, Route::Direct)));
            assert_eq!(says(Ear::Busy), Some(state(Condition::DeviceBusy, flag, Signal::NotOpened, Route::Direct)));
            assert_eq!(
                says(Ear::Denied),
                Some(state(Condition::PermissionDenied, flag, Signal::NotOpened, Route::Direct))
            );
            assert_eq!(says(Ear::Dead), Some(state(Condition::NoData, flag, Signal::NotOpened, Route::Direct)));
            assert_eq!(says(Ear::Moved), Some(state(Condition::Measured, flag, Signal::NotOpened, Route::Moved)));
            assert_eq!(says(Ear::Silenced), Some(state(Condition::Measured, flag, Signal::NotOpened, Route::Silenced)));
            for (class, signal) in
                [(Class::Zero, Signal::DigitalZero), (Class::Floor, Signal::Floor), (Class::Signal, Signal::Signal)]
            {
                assert_eq!(says(Ear::Heard(class)), Some(state(Condition::Measured, flag, signal, Route::Direct)));
            }
        }
    }

    #[test]
    fn a_missing_device_is_missing_whatever_was_heard() {
        for ear in EARS {
            let missing = state(Condition::DeviceMissing, Flag::Unknown, Signal::NotOpened, Route::Direct);
            assert_eq!(fuse(Presence::Missing, ear), Some(missing));
        }
    }

    #[test]
    fn without_a_sound_system_nothing_is_measured_whatever_was_heard() {
        for ear in EARS {
            let unavailable = state(Condition::HostUnavailable, Flag::Unknown, Signal::NotOpened, Route::Direct);
            assert_eq!(fuse(Presence::HostUnavailable, ear), Some(unavailable));
        }
    }

    #[test]
    fn only_a_measurement_of_this_device_has_a_signal() {
        let presences = FLAGS.map(Presence::Present).into_iter().chain([Presence::Missing, Presence::HostUnavailable]);
        for presence in presences {
            for ear in EARS {
                let Some(state) = fuse(presence, ear) else { continue };
                assert!(state.condition == Condition::Measured || state.signal == Signal::NotOpened, "{state:?}");
                assert!(state.route == Route::Direct || state.signal == Signal::NotOpened, "{state:?}");
            }
        }
    }
}
