//! The questions that the people of a room ask.

use crate::{MessageText, Name, QuestionId, Refused, Timestamp, UserId};
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Reverse;

/// Most questions of a room that are neither answered nor removed.
pub const OPEN_MAX: u32 = 200;
/// Most questions of a room, answered ones included, that are not removed. Lambda answers at most 6 MB, and a list of so
/// many of the longest questions with the longest answers is shorter.
pub const QUESTIONS_MAX: u32 = 300;
/// Longest question, in characters.
pub const QUESTION_CHARS_MAX: usize = 1000;
/// Longest answer, in characters.
pub const ANSWER_CHARS_MAX: usize = 3000;

/// Checks that a text is short enough for a question.
///
/// # Errors
/// The rule that it breaks.
pub fn check_question(text: &MessageText) -> Result<(), Refused> {
    within(text, QUESTION_CHARS_MAX, Refused("be at most 1000 characters"))
}

/// Checks that a text is short enough for an answer.
///
/// # Errors
/// The rule that it breaks.
pub fn check_answer(text: &MessageText) -> Result<(), Refused> {
    within(text, ANSWER_CHARS_MAX, Refused("be at most 3000 characters"))
}

fn within(text: &MessageText, chars_max: usize, rule: Refused) -> Result<(), Refused> {
    if text.as_str().chars().count() > chars_max { Err(rule) } else { Ok(()) }
}

/// A question in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("examples" = [question_example()]))]
pub struct Question {
    /// Its id. The id of a later question sorts later, to the millisecond.
    pub question_id: QuestionId,
    /// Who asked it.
    pub participant_id: UserId,
    /// The name that the author had then.
    pub name: Option<Name>,
    /// Its text.
    pub question: MessageText,
    /// How many people have voted for it.
    pub votes: u32,
    /// Whether the caller has.
    pub has_voted: bool,
    /// Whether a presenter keeps it at the top.
    pub is_pinned: bool,
    /// Whether it is answered, in writing or otherwise.
    pub is_answered: bool,
    /// The written answer, if there is one.
    pub answer: Option<MessageText>,
    /// When it was answered; null while it is open.
    pub answered_at: Option<Timestamp>,
    /// When it was asked.
    pub created_at: Timestamp,
}

impl Question {
    /// Sorts questions: pinned ones first, then those with more votes, then the older ones.
    pub fn rank(questions: &mut [Self]) {
        questions.sort_by(|a, b| a.place().cmp(&b.place()));
    }

    fn place(&self) -> (bool, Reverse<u32>, &QuestionId) {
        (!self.is_pinned, Reverse(self.votes), &self.question_id)
    }
}

/// An example for the API's description.
#[must_use]
pub fn question_example() -> serde_json::Value {
    serde_json::json!({
        "questionId": "q_01KBA8M3Q4V4W5X6Y7Z8A9BCDH", "participantId": "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF", "name": "Grace",
        "question": "Will there be a recording?", "votes": 3, "hasVoted": true, "isPinned": false, "isAnswered": true,
        "answer": "No.", "answeredAt": "2026-11-21T11:52:40.101Z", "createdAt": "2026-11-21T11:45:02.316Z",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: String) -> MessageText {
        MessageText::try_from(text).unwrap()
    }

    fn question(ms: u64, votes: u32, is_pinned: bool) -> Question {
        Question {
            question_id: QuestionId::created(Timestamp::from_ms(ms), [7; 10]),
            participant_id: "p_01KBA8M3Q4V4W5X6Y7Z8A9BCDF".parse().unwrap(),
            name: None,
            question: text("Why?".to_owned()),
            votes,
            has_voted: false,
            is_pinned,
            is_answered: false,
            answer: None,
            answered_at: None,
            created_at: Timestamp::from_ms(ms),
        }
    }

    /// A function's answer is JSON in a string of JSON.
    #[test]
    fn lambda_can_answer_the_longest_list() {
        const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;
        for sign in ["\"", "\\", "字", "🎤", "ä"] {
            let longest = |chars_max: usize| {
                let fits = |count: &usize| MessageText::try_from(sign.repeat(*count)).is_ok();
                text(sign.repeat((1..=chars_max).rev().find(fits).unwrap()))
            };
            let (asked, answer) = (longest(QUESTION_CHARS_MAX), longest(ANSWER_CHARS_MAX));
            assert_eq!((check_question(&asked), check_answer(&answer)), (Ok(()), Ok(())));
            let name = Name::try_from(sign.repeat(100)).unwrap();
            let (answer, answered_at) = (Some(answer), Some(Timestamp::from_ms(0)));
            let question =
                Question { question: asked, answer, answered_at, name: Some(name), ..question(0, 300, true) };
            let list = serde_json::to_string(&vec![question; QUESTIONS_MAX as usize]).unwrap();
            let event = serde_json::to_string(&list).unwrap();
            assert!(event.len() < ANSWER_BYTES_MAX - 1024, "{sign}: {}", event.len());
        }
        let long = |chars: usize| text("x".repeat(chars));
        assert!(
            check_question(&long(QUESTION_CHARS_MAX + 1)).is_err()
                && check_answer(&long(ANSWER_CHARS_MAX + 1)).is_err()
        );
    }

    #[test]
    fn pinned_questions_come_first_then_those_with_more_votes_then_older_ones() {
        let ranked = [
            question(9, 1, true),
            question(5, 0, true),
            question(4, 7, false),
            question(1, 2, false),
            question(2, 2, false),
        ];
        for turn in 0..ranked.len() {
            let mut questions = ranked.to_vec();
            questions.rotate_left(turn);
            Question::rank(&mut questions);
            assert_eq!(questions, ranked);
        }
    }
}
