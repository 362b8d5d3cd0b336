//! Builds the expressions of `DynamoDB` from parts. Every name and value gets a placeholder of its own, so reserved
//! words do no harm and parts never collide.

use super::item::{Item, Stored};
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// A condition on an item.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// The attribute exists.
    Exists(&'static str),
    /// The attribute or the whole item does not exist.
    Absent(&'static str),
    /// The attribute compares to a value in this way; false if the attribute does not exist.
    Compares(&'static str, Order, AttributeValue),
    /// The attribute compares to another one in this way; false if one of them does not exist.
    Relates(&'static str, Order, &'static str),
    /// The text has this prefix.
    BeginsWith(&'static str, String),
    /// The text lies between these two, both included.
    Between(&'static str, [String; 2]),
    /// All of these hold.
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
}

/// How an attribute compares to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `=`
    Equal,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
}

impl Order {
    const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
        }
    }
}

/// The attribute exists.
pub(super) const fn exists(attribute: &'static str) -> Condition {
    Condition::Exists(attribute)
}

/// The attribute or the whole item does not exist.
pub(super) const fn absent(attribute: &'static str) -> Condition {
    Condition::Absent(attribute)
}

/// The attribute has this value.
pub(super) fn is(attribute: &'static str, value: impl Stored) -> Condition {
    Condition::Compares(attribute, Order::Equal, value.stored())
}

/// The attribute is below this value.
pub(super) fn below(attribute: &'static str, value: impl Stored) -> Condition {
    Condition::Compares(attribute, Order::Below, value.stored())
}

/// The attribute is this value or less.
pub(super) fn at_most(attribute: &'static str, value: impl Stored) -> Condition {
    Condition::Compares(attribute, Order::AtMost, value.stored())
}

/// The attribute is above this value.
pub(super) fn above(attribute: &'static str, value: impl Stored) -> Condition {
    Condition::Compares(attribute, Order::Above, value.stored())
}

/// The attribute has the value of another one.
pub(super) const fn equals(attribute: &'static str, other: &'static str) -> Condition {
    Condition::Relates(attribute, Order::Equal, other)
}

/// The attribute is below another one.
pub(super) const fn is_below(attribute: &'static str, other: &'static str) -> Condition {
    Condition::Relates(attribute, Order::Below, other)
}

impl Condition {
    /// Both hold.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// At least one of the two holds.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut any) => {
                any.push(other);
                Self::Any(any)
            }
            first => Self::Any(vec![first, other]),
        }
    }

    /// The condition's text; its names and values are added to `scope`.
    pub(super) fn write(self, scope: &mut Scope) -> String {
        match self {
            Self::Exists(attribute) => format!("attribute_exists({})", scope.name(attribute)),
            Self::Absent(attribute) => format!("attribute_not_exists({})", scope.name(attribute)),
            Self::Compares(attribute, order, value) => {
                let name = scope.name(attribute);
                format!("{name} {} {}", order.sign(), scope.value(attribute, value))
            }
            Self::Relates(attribute, order, other) => {
                let name = scope.name(attribute);
                format!("{name} {} {}", order.sign(), scope.name(other))
            }
            Self::BeginsWith(attribute, text) => {
                let name = scope.name(attribute);
                format!("begins_with({name}, {})", scope.value(attribute, text.stored()))
            }
            Self::Between(attribute, [from, to]) => {
                let name = scope.name(attribute);
                let (from, to) = (scope.value(attribute, from.stored()), scope.value(attribute, to.stored()));
                format!("{name} BETWEEN {from} AND {to}")
            }
            Self::All(all) => joined(all, " AND ", scope),
            Self::Any(any) => joined(any, " OR ", scope),
        }
    }
}

fn joined(parts: Vec<Condition>, word: &str, scope: &mut Scope) -> String {
    let part = |part: Condition| {
        let is_group = matches!(part, Condition::All(_) | Condition::Any(_));
        let text = part.write(scope);
        if is_group { format!("({text})") } else { text }
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(word)
}

/// The changes that a write makes to an item. For each attribute the last change counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    parts: Vec<(&'static str, Part)>,
}

#[derive(Debug, Clone)]
enum Part {
    Set(AttributeValue),
    /// Sets the attribute only if it does not exist.
    SetOnce(AttributeValue),
    /// Copies the value of another attribute.
    Copy(&'static str),
    Add(AttributeValue),
    Remove,
}

impl Change {
    fn put(&mut self, attribute: &'static str, part: Part) {
        self.parts.retain(|(other, _)| *other != attribute);
        self.parts.push((attribute, part));
    }

    pub(super) fn set(&mut self, attribute: &'static str, value: AttributeValue) {
        self.put(attribute, Part::Set(value));
    }

    pub(super) fn set_once(&mut self, attribute: &'static str, value: AttributeValue) {
        self.put(attribute, Part::SetOnce(value));
    }

    pub(super) fn copy(&mut self, attribute: &'static str, from: &'static str) {
        self.put(attribute, Part::Copy(from));
    }

    pub(super) fn add(&mut self, attribute: &'static str, value: AttributeValue) {
        self.put(attribute, Part::Add(value));
    }

    pub(super) fn remove(&mut self, attribute: &'static str) {
        self.put(attribute, Part::Remove);
    }

    /// The update expression; its names and values are added to `scope`.
    pub(super) fn write(self, scope: &mut Scope) -> String {
        let (mut set, mut remove, mut add) = (Vec::new(), Vec::new(), Vec::new());
        for (attribute, part) in self.parts {
            let name = scope.name(attribute);
            match part {
                Part::Set(value) => set.push(format!("{name} = {}", scope.value(attribute, value))),
                Part::SetOnce(value) => {
                    set.push(format!("{name} = if_not_exists({name}, {})", scope.value(attribute, value)));
                }
                Part::Copy(from) => set.push(format!("{name} = {}", scope.name(from))),
                Part::Add(value) => add.push(format!("{name} {}", scope.value(attribute, value))),
                Part::Remove => remove.push(name),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove), ("ADD", add)].into_iter();
        let clauses = clauses.filter(|(_, parts)| !parts.is_empty());
        clauses.map(|(word, parts)| format!("{word} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }

    /// The attributes of a whole item.
    pub(super) fn into_item(self) -> Item {
        let values = self.parts.into_iter().filter_map(|(attribute, part)| match part {
            Part::Set(value) | Part::SetOnce(value) | Part::Add(value) => Some((attribute.to_owned(), value)),
            Part::Copy(_) | Part::Remove => None,
        });
        values.collect()
    }
}

/// The names and values of one request, by placeholder.
#[derive(Debug, Default)]
pub(super) struct Scope {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Scope {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.entry(placeholder.clone()).or_insert_with(|| attribute.to_owned());
        placeholder
    }

    /// The same value for the same attribute shares one placeholder.
    fn value(&mut self, attribute: &str, value: AttributeValue) -> String {
        let mut placeholder = format!(":{attribute}");
        let mut number = 1;
        while self.values.get(&placeholder).is_some_and(|other| *other != value) {
            number += 1;
            placeholder = format!(":{attribute}_{number}");
        }
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        Some(self.names.clone()).filter(|names| !names.is_empty())
    }

    /// Consumes the scope and returns its values.
    pub(super) fn into_values(self) -> Option<HashMap<String, AttributeValue>> {
        Some(self.values).filter(|values| !values.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(condition: Condition) -> String {
        condition.write(&mut Scope::default())
    }

    #[test]
    fn groups_within_a_condition_stand_in_parentheses() {
        let held = at_most("lastUpdated", 7).and(above("expiresAt", 8));
        assert_eq!(
            text(absent("pk").or(held).and(is("version", 9))),
            "(attribute_not_exists(#pk) OR (#lastUpdated <= :lastUpdated AND #expiresAt > :expiresAt)) AND #version = :version"
        );
    }

    #[test]
    fn an_attribute_is_compared_to_another_by_its_name() {
        assert_eq!(
            text(equals("present", "peak").and(is_below("present", "max"))),
            "#present = #peak AND #present < #max"
        );
    }

    #[test]
    fn two_values_of_one_attribute_get_two_placeholders_and_the_same_value_one() {
        let mut scope = Scope::default();
        let condition = at_most("at", 1).and(below("at", 2)).and(is("at", 1)).write(&mut scope);
        assert_eq!(condition, "#at <= :at AND #at < :at_2 AND #at = :at");
        assert_eq!(scope.names().unwrap().len(), 1);
        assert_eq!(scope.into_values().unwrap().len(), 2);
    }

    #[test]
    fn a_change_has_a_clause_for_each_kind_of_part_and_none_for_the_others() {
        let mut change = Change::default();
        change.set("isMuted", true.stored());
        change.set_once("createdAt", 7.stored());
        change.copy("leaseOtherUntil", "leaseUntil");
        change.remove("muteScope");
        change.remove("requestId");
        change.add("version", 1.stored());
        assert_eq!(
            change.write(&mut Scope::default()),
            "SET #isMuted = :isMuted, #createdAt = if_not_exists(#createdAt, :createdAt), #leaseOtherUntil = #leaseUntil \
             REMOVE #muteScope, #requestId ADD #version :version"
        );
        let mut removal = Change::default();
        removal.remove("requestId");
        assert_eq!(removal.write(&mut Scope::default()), "REMOVE #requestId");
    }

    #[test]
    fn the_last_word_about_an_attribute_counts() {
        let mut change = Change::default();
        change.remove("requestId");
        change.set("requestId", "a".stored());
        assert_eq!(change.clone().write(&mut Scope::default()), "SET #requestId = :requestId");
        change.remove("requestId");
        assert_eq!(change.write(&mut Scope::default()), "REMOVE #requestId");
    }
}
