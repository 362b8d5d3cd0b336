//! The system's information about its microphones, in addition to their signal. Each platform implements [`Witness`].

use domain::{AgentDevice, Flag, Label, same_label};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A sound system.
pub trait Witness {
    /// All inputs. With `fresh: false`, a cached list is allowed, because on some systems a query disturbs an open
    /// stream.
    ///
    /// # Errors
    /// The sound system does not answer.
    fn inputs(&mut self, fresh: bool) -> Result<Vec<Input>, Unavailable>;

    /// The current state of an input and of this program's stream. `None`: the input does not exist.
    ///
    /// # Errors
    /// The sound system does not answer.
    fn look(&mut self, id: &str) -> Result<Option<Look>, Unavailable>;
}

/// The sound system does not answer, for this reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// An input of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// The agent's stable id of it, `host:name`.
    pub id: String,
    /// The system's name of it.
    pub label: String,
    /// Whether it is the system's default input.
    pub default: bool,
    /// Whether it delivers the sound of an output and is therefore not a microphone.
    pub monitor: bool,
}

/// The current state of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The system's mute flag; a volume of zero counts as muted.
    pub flag: Flag,
    /// The state of this program's stream.
    pub stream: OwnStream,
    /// Whether the system has put the input to sleep, so that it delivers nothing, not even silence.
    pub suspended: bool,
    /// The recordings of other programs, from all inputs. Empty if the system does not tell.
    pub others: Vec<Recording>,
}

/// A recording stream of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The system's number for this stream; no other stream ever has it.
    pub stream: u64,
    /// The system's number for the program.
    pub program: u64,
    /// The id of the input to which it is attached. `None`: it is attached to no known input.
    pub input: Option<String>,
    /// Whether it is paused, so that it hears nothing.
    pub paused: bool,
}

/// The state of this program's own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnStream {
    /// It delivers the input's samples, as far as the system says.
    Open,
    /// The system has attached it to another input.
    Moved,
    /// It is muted or turned down, so that it does not deliver the input's samples.
    Silenced,
    /// There is no stream.
    Absent,
}

/// The input with this name: its id, with or without the host, or its label.
#[must_use]
pub fn named<'a>(inputs: &'a [Input], name: &str) -> Option<&'a Input> {
    let bare = |input: &Input| input.id.split_once(':').is_some_and(|(_, id)| id == name);
    inputs
        .iter()
        .find(|input| input.id == name || bare(input))
        .or_else(|| inputs.iter().find(|input| is_called(input, name)))
}

/// The microphone with this label in a browser. The label of an alias, such as Chromium's `Default - …`, matches none.
#[must_use]
pub fn labelled<'a>(inputs: &'a [Input], label: &str) -> Option<&'a Input> {
    microphones(inputs).find(|input| is_called(input, label))
}

/// The default microphone, or else the first one. A monitor is never chosen, because it delivers the
/// sound of an output.
#[must_use]
pub fn default(inputs: &[Input]) -> Option<&Input> {
    microphones(inputs).find(|input| input.default).or_else(|| microphones(inputs).next())
}

fn microphones(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    inputs.iter().filter(|input| !input.monitor)
}

/// The device in the form in which it is attested. Deceptive characters are replaced, and a long text is cut.
#[must_use]
pub fn attested(input: &Input, inputs: &[Input]) -> Option<AgentDevice> {
    let label = label(input)?;
    // Labels count as equal if they are equal after this conversion, even if the system writes them differently.
    let is_twin = |other: &Input| other.id != input.id && is_called(other, label.as_str());
    // Browsers do not offer monitors, so a monitor's label does not make a microphone's label ambiguous.
    let unique = !inputs.iter().any(|other| other.monitor <= input.monitor && is_twin(other));
    Some(AgentDevice { id: readable(&input.id)?, label, unique })
}

fn is_called(input: &Input, name: &str) -> bool {
    label(input).is_some_and(|label| same_label(label.as_str(), name))
}

/// The label in the form in which it is attested and compared. An input without a label uses its id.
fn label(input: &Input) -> Option<Label> {
    readable(&input.label).or_else(|| readable(&input.id))
}

/// Longest text of the protocol, in characters.
const CHARS_MAX: usize = 256;

/// `text` as a text of the protocol, without the parts that are not allowed.
fn readable<T: TryFrom<String>>(text: &str) -> Option<T> {
    if let Ok(text) = T::try_from(text.to_owned()) {
        return Some(text);
    }
    // Each character is tested behind a letter, because a single blank is refused.
    let allowed = |c: char| T::try_from(format!("x{c}")).is_ok();
    let kept: Vec<char> = text.nfc().map(|c| if allowed(c) { c } else { '\u{FFFD}' }).collect();
    T::try_from(cut(&kept).iter().collect()).ok()
}

/// As much of `text` as the protocol allows. A letter that would lose a combining mark is dropped, because without the
/// mark it would be another letter.
fn cut(text: &[char]) -> &[char] {
    let mut end = CHARS_MAX.min(text.len());
    while text.get(end).is_some_and(|next| is_combining_mark(*next)) && end > 0 {
        end -= 1;
    }
    &text[..end]
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
        assert_eq!(id(labelled(&inputs, "Built-in Audio")), Some("pulseaudio:laptop"));
        assert_eq!(id(labelled(&inputs, "Blue Yeti (046d:0ab7)")), Some("pulseaudio:yeti"));
    }

    #[test]
    fn the_label_of_an_alias_matches_no_input() {
        for alias in ["Default - Built-in Audio", "Communications - Built-in Audio", "Standard - Built-in Audio"] {
            assert_eq!(id(labelled(&inputs(), alias)), None, "{alias}");
        }
    }

    #[test]
    fn a_label_is_the_same_however_the_system_composes_it() {
        let inputs = [input("a", "Cafe\u{301}"), input("b", "Caf\u{e9}")];
        assert_eq!(id(labelled(&inputs, "Caf\u{e9}")), Some("pulseaudio:a"));
        assert!(!attested(&inputs[0], &inputs).unwrap().unique, "a reader cannot tell them apart");
    }

    #[test]
    fn an_input_without_a_label_uses_its_id() {
        for nothing in ["", " ", "\u{3164}"] {
            let label = attested(&input("yeti", nothing), &[]).unwrap().label;
            assert!(["pulseaudio:yeti", "\u{FFFD}"].contains(&label.as_str()), "{label:?}");
        }
    }

    #[test]
    fn a_label_that_is_too_long_is_cut_between_letters() {
        // No composed form of x with a tilde below exists.
        let long = format!("{}x\u{330}y", "a".repeat(255));
        let cut: Label = readable(&long).unwrap();
        assert_eq!(cut.as_str(), "a".repeat(255));
        let twins = [input("a", &format!("{}1", "a".repeat(256))), input("b", &format!("{}2", "a".repeat(256)))];
        assert!(!attested(&twins[0], &twins).unwrap().unique);
        assert!(readable::<Label>(&"\u{330}".repeat(300)).is_none_or(|label| label.as_str().chars().count() <= 256));
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
    fn deceptive_characters_in_a_label_are_replaced() {
        let odd = input("odd", &format!("\u{202E}ciM {}", "x".repeat(300)));
        let label = attested(&odd, &[]).unwrap().label;
        assert!(label.as_str().starts_with("\u{FFFD}ciM x"), "{label:?}");
        assert_eq!(label.as_str().chars().count(), 256);
    }
}
