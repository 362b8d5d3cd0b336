//! An agent's measurements: coarse classes only, never levels.

use crate::user::Version;
use crate::{AgentDeviceId, DeviceId, Label, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A closed set of words that the API and the storage share.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        $(#[$doc])*
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of their definition.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word used in the API and in storage.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Refused;

            fn from_str(word: &str) -> Result<Self, crate::Refused> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.as_str() == word)
                    .ok_or(crate::Refused(concat!("be one of: ", $($word, " ",)+)))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Whether the agent could measure.
    #[schemars(inline)]
    Condition {
        /// The agent measured.
        Measured = "measured",
        /// The system does not let the agent listen.
        PermissionDenied = "permission_denied",
        /// The sound server does not answer.
        HostUnavailable = "host_unavailable",
        /// Another program uses the device exclusively.
        DeviceBusy = "device_busy",
        /// The device was opened but delivers no samples, not even silent ones.
        NoData = "no_data",
        /// The device is gone.
        DeviceMissing = "device_missing",
    }
}

words! {
    /// The operating system's mute flag of the device, read before the device was opened.
    #[schemars(inline)]
    Flag {
        /// Muted, or its volume is zero.
        Muted = "muted",
        /// Not muted.
        Unmuted = "unmuted",
        /// The system does not report it, or the agent cannot read it on this system.
        Unknown = "unknown",
    }
}

words! {
    /// The signal that the device delivered during the window.
    #[schemars(inline)]
    Signal {
        /// The device was not opened.
        NotOpened = "not_opened",
        /// Every sample was exactly zero.
        DigitalZero = "digital_zero",
        /// No more than the device's own noise, as in a silent room.
        Floor = "floor",
        /// More than the device's own noise.
        Signal = "signal",
    }
}

impl Signal {
    /// Whether the device was opened and delivered no signal.
    #[must_use]
    pub const fn is_silence(self) -> bool {
        matches!(self, Self::DigitalZero | Self::Floor)
    }
}

words! {
    /// Which device the agent's stream was attached to.
    #[schemars(inline)]
    Route {
        /// The device that it was opened on.
        Direct = "direct",
        /// Another device: the system moved this stream, or a stream that may be the page's, so silence proves nothing.
        Moved = "moved",
        /// The agent's own stream is muted or turned down in the system's mixer, so its silence proves nothing.
        Silenced = "silenced",
    }
}

/// The device that an agent opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentDevice {
    /// The agent's stable name for it, `host:name`.
    pub id: AgentDeviceId,
    /// The system's name for it.
    pub label: Label,
    /// No other input of the machine has the same label.
    pub unique: bool,
}

/// The last attestation that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The version of the claim under which the whole window was measured.
    pub version: Version,
    /// The end of the measured window.
    pub observed_at: Timestamp,
    /// Whether the agent could measure.
    pub condition: Condition,
    /// The system's mute flag.
    pub flag: Flag,
    /// The signal that the device delivered.
    pub signal: Signal,
    /// Which device the stream heard.
    pub route: Route,
    /// The device that was opened.
    pub device: Option<AgentDevice>,
    /// When the unbroken silence of the device began; none unless `signal` is silence.
    pub silent_since: Option<Timestamp>,
}

/// A person's statement that the browser's device and the agent's device are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceBinding {
    /// The browser's name.
    pub device_id: DeviceId,
    /// The agent's name.
    pub agent_device_id: AgentDeviceId,
}

/// How the claimed device relates to the one that the agent opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// They are one device.
    Same,
    /// The claimed device is bound to another one.
    Other,
    /// Nothing binds them.
    Unbound,
    /// Their labels bind them, but another input has the same label.
    Ambiguous,
    /// The claim names an alias: the device that the system prefers, which may change at any time.
    Alias,
}

impl Binding {
    /// Every case.
    pub const ALL: &[Self] = &[Self::Same, Self::Other, Self::Unbound, Self::Ambiguous, Self::Alias];

    /// Relates the claimed device to the opened one. An alias is never bound. Otherwise a person's statement decides
    /// first, then equal labels.
    #[must_use]
    pub fn of(
        claimed: Option<&DeviceId>,
        claimed_label: Option<&Label>,
        word: Option<&DeviceBinding>,
        opened: Option<&AgentDevice>,
    ) -> Self {
        if claimed.is_some_and(DeviceId::is_alias) {
            return Self::Alias;
        }
        let (Some(claimed), Some(opened)) = (claimed, opened) else { return Self::Unbound };
        if let Some(word) = word.filter(|word| word.device_id == *claimed) {
            return if word.agent_device_id == opened.id { Self::Same } else { Self::Other };
        }
        match claimed_label {
            Some(label) if same_label(label.as_str(), opened.label.as_str()) => {
                if opened.unique {
                    Self::Same
                } else {
                    Self::Ambiguous
                }
            }
            _ => Self::Unbound,
        }
    }
}

/// Whether a browser's label and a system's label name the same device: they are equal without the suffixes that
/// browsers add. The prefix of Chromium's aliases (`Default - `, in any language) is not removed, because a label with
/// this prefix names the device that the system prefers at the moment.
#[must_use]
pub fn same_label(a: &str, b: &str) -> bool {
    let (a, b) = (bare(a), bare(b));
    !a.is_empty() && a == b
}

/// A label without the suffixes that browsers add: a USB id, or `(Built-in)`.
fn bare(label: &str) -> &str {
    let mut text = label.trim();
    loop {
        let shorter = text.strip_suffix("(Built-in)").or_else(|| without_usb_id(text));
        match shorter {
            Some(shorter) => text = shorter.trim(),
            None => return text,
        }
    }
}

/// A label such as `Blue Yeti (046d:0ab7)` without the ids of vendor and product.
fn without_usb_id(text: &str) -> Option<&str> {
    let (name, id) = text.strip_suffix(')')?.rsplit_once('(')?;
    let (vendor, product) = id.split_once(':')?;
    let word = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (word(vendor) && word(product)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device(label: &str, unique: bool) -> AgentDevice {
        AgentDevice {
            id: "pulseaudio:desk_mic".to_owned().try_into().unwrap(),
            label: label.to_owned().try_into().unwrap(),
            unique,
        }
    }

    fn label(text: &str) -> Label {
        text.to_owned().try_into().unwrap()
    }

    fn browser(text: &str) -> DeviceId {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn suffixes_that_browsers_add_to_a_label_are_ignored() {
        for (claimed, opened) in [
            ("Blue Yeti", "Blue Yeti"),
            ("Blue Yeti (046d:0ab7)", "Blue Yeti"),
            ("Blue Yeti (Built-in)", " Blue Yeti "),
            ("MacBook Pro Microphone (Built-in)", "MacBook Pro Microphone"),
        ] {
            assert!(same_label(claimed, opened), "{claimed} / {opened}");
        }
        for (claimed, opened) in [
            ("Blue Yeti", "Blue Yeti 2"),
            ("Yeti (046d:0ab)", "Yeti"),
            ("Yeti (front)", "Yeti"),
            ("(Built-in)", ""),
            ("Default - Blue Yeti", "Blue Yeti"),
            ("Communications - Blue Yeti", "Blue Yeti"),
            ("Standard - Blue Yeti", "Blue Yeti"),
        ] {
            assert!(!same_label(claimed, opened), "{claimed} / {opened}");
        }
    }

    #[test]
    fn equal_labels_bind_unless_another_input_has_the_same() {
        let claimed = browser("e3b0");
        let of =
            |text: &str, unique| Binding::of(Some(&claimed), Some(&label(text)), None, Some(&device("Yeti", unique)));
        assert_eq!(of("Yeti (046d:0ab7)", true), Binding::Same);
        assert_eq!(of("Default - Yeti", true), Binding::Unbound);
        assert_eq!(of("Yeti", false), Binding::Ambiguous);
        assert_eq!(of("Headset", true), Binding::Unbound);
    }

    #[test]
    fn a_persons_statement_counts_more_than_labels() {
        let claimed = browser("e3b0");
        let word = |agent: &str| DeviceBinding {
            device_id: claimed.clone(),
            agent_device_id: agent.to_owned().try_into().unwrap(),
        };
        let of = |word: &DeviceBinding, unique| {
            Binding::of(Some(&claimed), Some(&label("Yeti")), Some(word), Some(&device("Yeti", unique)))
        };
        assert_eq!(of(&word("pulseaudio:desk_mic"), false), Binding::Same);
        assert_eq!(of(&word("pulseaudio:other"), true), Binding::Other);
        let other = DeviceBinding { device_id: browser("ffff"), ..word("pulseaudio:other") };
        assert_eq!(of(&other, true), Binding::Same, "a statement about another device does not count");
    }

    #[test]
    fn an_alias_is_bound_neither_by_its_label_nor_by_a_statement() {
        for alias in ["default", "communications", "Default", "COMMUNICATIONS"].map(browser) {
            let word = DeviceBinding {
                device_id: alias.clone(),
                agent_device_id: "pulseaudio:desk_mic".to_owned().try_into().unwrap(),
            };
            for opened in [Some(device("Yeti", true)), None] {
                let of = |word| Binding::of(Some(&alias), Some(&label("Yeti")), word, opened.as_ref());
                assert_eq!((of(None), of(Some(&word))), (Binding::Alias, Binding::Alias), "{alias:?}");
            }
        }
    }

    #[test]
    fn without_a_claimed_or_an_opened_device_nothing_is_bound() {
        let claimed = browser("e3b0");
        assert_eq!(Binding::of(None, Some(&label("Yeti")), None, Some(&device("Yeti", true))), Binding::Unbound);
        assert_eq!(Binding::of(Some(&claimed), Some(&label("Yeti")), None, None), Binding::Unbound);
        assert_eq!(Binding::of(Some(&claimed), None, None, Some(&device("Yeti", true))), Binding::Unbound);
    }

    proptest! {
        #[test]
        fn stripping_a_label_is_idempotent_and_a_label_equals_itself(text in any::<String>()) {
            prop_assert_eq!(same_label(&text, &text), !bare(&text).is_empty());
            prop_assert_eq!(bare(bare(&text)), bare(&text));
        }
    }

    #[test]
    fn words_and_json_agree() {
        for flag in Flag::ALL {
            assert_eq!(serde_json::to_value(flag).unwrap(), flag.as_str());
            assert_eq!(flag.as_str().parse(), Ok(*flag));
        }
        assert!("Muted".parse::<Flag>().is_err());
    }
}
