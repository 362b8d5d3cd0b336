//! The tokens of transactions: a transaction that a client repeats with its token takes effect once.

use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// How long `DynamoDB` remembers a token.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);
/// Tokens in memory, about 3 MB with their answers. A client repeats a transaction within seconds.
const REMEMBERED_MAX: usize = 10_000;

/// DynamoDB's answer to a token that came with other items before.
const MISMATCH: &[u8] =
    br#"{"__type":"com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException","message":"other items"}"#;

/// The engine's answer: HTTP status and JSON body.
pub type Answer = (u16, Vec<u8>);

/// The transactions that took effect within the last ten minutes.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    done: HashMap<String, Done>,
    /// The tokens of `done`, oldest first.
    order: VecDeque<(Instant, String)>,
    /// How many of the newest are not committed yet.
    open: usize,
}

#[derive(Debug)]
struct Done {
    items: u64,
    answer: Answer,
}

impl Tokens {
    /// The answer to a transaction, given by its JSON body. It is executed unless the same one has succeeded with the
    /// same token.
    pub(crate) fn once(&mut self, body: &[u8], execute: impl FnOnce() -> Answer) -> Answer {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(token) = request["ClientRequestToken"].as_str() else { return execute() };
        let items = digest(&request["TransactItems"]);
        self.forget();
        if let Some(done) = self.done.get(token) {
            return if done.items == items { done.answer.clone() } else { (400, MISMATCH.to_vec()) };
        }
        let answer = execute();
        if answer.0 == 200 {
            self.done.insert(token.to_owned(), Done { items, answer: answer.clone() });
            self.order.push_back((Instant::now(), token.to_owned()));
            self.open += 1;
        }
        answer
    }

    /// Keeps the transactions since the last call, or forgets them, because their commit has failed.
    pub(crate) fn settle(&mut self, committed: bool) {
        let open = std::mem::take(&mut self.open);
        if !committed {
            let kept = self.order.len().saturating_sub(open);
            for (_, token) in self.order.drain(kept..) {
                self.done.remove(&token);
            }
        }
    }

    /// Forgets the oldest.
    fn forget(&mut self) {
        while self.order.len() - self.open >= REMEMBERED_MAX
            || self.order.front().is_some_and(|(since, _)| since.elapsed() > REMEMBERED_FOR)
        {
            let Some((_, token)) = self.order.pop_front() else { return };
            self.done.remove(&token);
        }
    }
}

/// The same for the same JSON, whatever the order of its members.
fn digest(items: &Value) -> u64 {
    fn feed(value: &Value, hasher: &mut DefaultHasher) {
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                members.len().hash(hasher);
                for (name, value) in members {
                    name.hash(hasher);
                    feed(value, hasher);
                }
            }
            Value::Array(values) => {
                values.len().hash(hasher);
                for value in values {
                    feed(value, hasher);
                }
            }
            other => other.hash(hasher),
        }
    }
    let mut hasher = DefaultHasher::new();
    feed(items, &mut hasher);
    hasher.finish()
}
