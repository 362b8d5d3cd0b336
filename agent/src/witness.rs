//! What the system says about its microphones, beside what they deliver. Each platform sits behind [`Witness`].

use domain::{AgentDevice, Flag, same_label};
use serde::Serialize;

/// A sound system.
pub trait Witness {
    /// All inputs. With `fresh: false`, a list that was made before will do: on some systems asking disturbs an open stream.
    ///
    /// # Errors
    /// The sound system does not answer.
    fn inputs(&mut self, fresh: bool) -> Result<Vec<Input>, Unavailable>;

    /// How this input is now, and where this program's stream is attached; `None` if the input is gone.
    ///
    /// # Errors
    /// The sound system does not answer.
    fn look(&mut self, id: &str) -> Result<Option<Look>, Unavailable>;
}

/// The sound system does not answer, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// An input of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The agent's stable name for it, `host:name`.
    pub id: String,
    /// What the system calls it.
    pub label: String,
    /// Whether the system gives it to who asks for no input in particular.
    pub default: bool,
    /// Whether it hears what an output plays, and is no microphone.
    pub monitor: bool,
}

/// How an input is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The system's mute flag; a volume of zero counts as muted.
    pub flag: Flag,
    /// Where this program's stream is attached.
    pub attached: Attached,
    /// Whether the system has put the input to sleep, so that it delivers nothing, not even silence.
    pub suspended: bool,
}

/// Where this program's stream is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// To the input that was asked for, or the system does not say.
    Here,
    /// To another one.
    Elsewhere,
    /// There is no stream.
    Nowhere,
}

/// The input that is meant by `name`: its id, with or without the host, or its label.
#[must_use]
pub fn named<'a>(inputs: &'a [Input], name: &str) -> Option<&'a Input> {
    let bare = |input: &Input| input.id.split_once(':').is_some_and(|(_, id)| id == name);
    inputs
        .iter()
        .find(|input| input.id == name || bare(input))
        .or_else(|| inputs.iter().find(|input| same_label(&input.label, name)))
}

/// The microphone that a browser calls `label`.
#[must_use]
pub fn labelled<'a>(inputs: &'a [Input], label: &str) -> Option<&'a Input> {
    microphones(inputs).find(|input| same_label(&input.label, label))
}

/// The default microphone, or else the first. Never a monitor: what an output plays is nobody's voice.
#[must_use]
pub fn default(inputs: &[Input]) -> Option<&Input> {
    microphones(inputs).find(|input| input.default).or_else(|| microphones(inputs).next())
}

fn microphones(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    inputs.iter().filter(|input| !input.monitor)
}

/// The device as it is attested. Characters that could deceive a reader are replaced, and what is too long is cut.
#[must_use]
pub fn attested(input: &Input, inputs: &[Input]) -> Option<AgentDevice> {
    let is_twin = |other: &Input| other.id != input.id && same_label(&other.label, &input.label);
    // Browsers offer no monitors, so a monitor's name stands in nobody's way.
    let unique = !inputs.iter().any(|other| other.monitor <= input.monitor && is_twin(other));
    Some(AgentDevice { id: readable(&input.id)?, label: readable(&input.label)?, unique })
}

/// `text`, or what is left of it, as a text of the protocol.
fn readable<T: TryFrom<String>>(text: &str) -> Option<T> {
    if let Ok(text) = T::try_from(text.to_owned()) {
        return Some(text);
    }
    let kept = text.chars().take(256).map(|c| if T::try_from(c.to_string()).is_ok() { c } else { '\u{FFFD}' });
    T::try_from(kept.collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(id: &str, label: &str) -> Input {
        Input { id: format!("pulseaudio:{id}"), label: label.to_owned(), default: false, monitor: false }
    }

    fn inputs() -> Vec<Input> {
        vec![
            Input { monitor: true, default: true, ..input("speakers.monitor", "Monitor of Speakers") },
            input("yeti", "Blue Yeti"),
            Input { default: true, ..input("laptop", "Built-in Audio") },
            input("yeti2", "Blue Yeti"),
        ]
    }

    fn id(found: Option<&Input>) -> Option<&str> {
        found.map(|input| input.id.as_str())
    }

    #[test]
    fn an_input_is_found_by_its_id_or_its_label() {
        let inputs = inputs();
        for name in ["pulseaudio:laptop", "laptop", "Built-in Audio"] {
            assert_eq!(id(named(&inputs, name)), Some("pulseaudio:laptop"), "{name}");
        }
        assert_eq!(id(named(&inputs, "yeti2")), Some("pulseaudio:yeti2"));
        assert_eq!(id(named(&inputs, "nothing")), None);
    }

    #[test]
    fn a_browsers_label_finds_the_microphone() {
        let inputs = inputs();
        assert_eq!(id(labelled(&inputs, "Default - Built-in Audio")), Some("pulseaudio:laptop"));
        assert_eq!(id(labelled(&inputs, "Blue Yeti (046d:0ab7)")), Some("pulseaudio:yeti"));
    }

    #[test]
    fn a_monitor_is_opened_only_by_its_name() {
        let inputs = inputs();
        assert_eq!(id(default(&inputs)), Some("pulseaudio:laptop"));
        assert_eq!(id(labelled(&inputs, "Monitor of Speakers")), None);
        assert_eq!(id(named(&inputs, "speakers.monitor")), Some("pulseaudio:speakers.monitor"));
        assert_eq!(default(&inputs[..1]), None);
    }

    #[test]
    fn two_microphones_with_one_label_are_not_unique() {
        let inputs = inputs();
        assert!(!attested(&inputs[1], &inputs).unwrap().unique);
        assert!(attested(&inputs[2], &inputs).unwrap().unique);
    }

    #[test]
    fn a_label_that_could_deceive_is_attested_without_what_deceives() {
        let odd = input("odd", &format!("\u{202E}ciM{}", "x".repeat(300)));
        let label = attested(&odd, &[]).unwrap().label;
        assert!(label.as_str().starts_with("\u{FFFD}ciMx"), "{label:?}");
        assert_eq!(label.as_str().chars().count(), 256);
    }
}
