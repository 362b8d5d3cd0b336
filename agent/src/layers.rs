//! The mutes and volumes between a microphone and the samples that this program gets: those of the device, and those of
//! the program's own stream.
//!
//! If the device is muted or at volume 0, it is silent for every program; that is the device's flag. If this program's
//! own stream is muted or turned down, only this program hears silence, and nothing can be said about the device.

use domain::Flag;

/// The flag of a device with this mute and these volumes of its channels; volume 0 is silence.
#[must_use]
pub fn flag_of_device(muted: bool, volumes: impl IntoIterator<Item = u32>) -> Flag {
    let mut volumes = volumes.into_iter().peekable();
    let is_at_zero = volumes.peek().is_some() && volumes.all(|volume| volume == 0);
    if muted || is_at_zero { Flag::Muted } else { Flag::Unmuted }
}

/// Whether a stream delivers everything that its device delivers: it is not muted, and all channels have full volume.
///
/// Even 99 % is not enough: a stream that is turned down turns quiet samples into zeros, and the volume at which that
/// starts is unknown.
#[must_use]
pub fn stream_is_open(muted: bool, volumes: impl IntoIterator<Item = Level>) -> bool {
    !muted && volumes.into_iter().all(|level| level.volume >= level.full)
}

/// Whether an ALSA device delivers a card's samples unchanged, copied or converted without loss. `null` delivers zeros
/// forever. `default` and `pulse` may be a different device each time. `sysdefault` applies a software volume on some
/// cards (`softvol` in ALSA's HDA-Intel.conf), which programs that open the card itself bypass.
#[must_use]
pub fn is_alsa_card(pcm: &str) -> bool {
    pcm.split_once(':')
        .is_some_and(|(kind, arguments)| ["hw", "plughw", "dsnoop"].contains(&kind) && arguments.starts_with("CARD="))
}

/// The volume of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The current volume.
    pub volume: u32,
    /// The volume at which the samples are the device's own.
    pub full: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_muted_by_its_mute_or_by_volume_zero_of_all_channels() {
        for (muted, volumes, flag) in [
            (false, &[100, 100][..], Flag::Unmuted),
            (false, &[100, 0], Flag::Unmuted),
            (false, &[1], Flag::Unmuted),
            (false, &[0, 0], Flag::Muted),
            (false, &[], Flag::Unmuted),
            (true, &[100, 100], Flag::Muted),
            (true, &[0], Flag::Muted),
            (true, &[], Flag::Muted),
        ] {
            assert_eq!(flag_of_device(muted, volumes.iter().copied()), flag, "{muted} {volumes:?}");
        }
    }

    #[test]
    fn of_alsa_only_a_card_itself_is_a_device() {
        for card in ["hw:CARD=PCH,DEV=0", "plughw:CARD=USB,DEV=0", "dsnoop:CARD=PCH,DEV=0"] {
            assert!(is_alsa_card(card), "{card}");
        }
        for other in [
            "null",
            "default",
            "pulse",
            "sysdefault",
            "sysdefault:CARD=PCH",
            "default:CARD=PCH",
            "hw:0",
            "front:CARD=PCH",
            "",
        ] {
            assert!(!is_alsa_card(other), "{other}");
        }
    }

    #[test]
    fn a_stream_is_open_if_it_is_not_muted_and_no_channel_is_turned_down() {
        for (volumes, open) in [
            (&[][..], true),
            (&[(100, 100)], true),
            (&[(150, 100)], true),
            (&[(99, 100)], false),
            (&[(1, 100)], false),
            (&[(0, 100)], false),
            (&[(100, 100), (99, 100)], false),
            (&[(60, 60), (40, 40)], true),
            (&[(60, 60), (39, 40)], false),
            // The device itself is at zero. Its flag says so; the stream delivers everything.
            (&[(0, 0)], true),
        ] {
            let levels = volumes.iter().map(|&(volume, full)| Level { volume, full });
            assert_eq!(stream_is_open(false, levels.clone()), open, "{volumes:?}");
            assert!(!stream_is_open(true, levels), "a mute closes it whatever the volume: {volumes:?}");
        }
    }
}
