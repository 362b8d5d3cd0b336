//! The questions that IAM is asked before `DynamoDB` accepts a call, and as much of IAM's evaluation as the template's
//! statements need.

use serde_json::Value;
use std::collections::BTreeSet;

/// One question to IAM. <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) action: String,
    /// A table, or a table and an index.
    pub(crate) resource: String,
    /// `dynamodb:LeadingKeys`: the partition keys that the call names. A scan, or a call about a table, names none.
    pub(crate) keys: BTreeSet<String>,
    /// `dynamodb:Attributes`: the attributes that the call names.
    pub(crate) attributes: BTreeSet<String>,
}

impl Use {
    /// The question for a message over a connection.
    pub(crate) fn of_connections() -> Self {
        Self {
            action: "execute-api:ManageConnections".to_owned(),
            resource: "connections".to_owned(),
            keys: BTreeSet::new(),
            attributes: BTreeSet::new(),
        }
    }
}

/// The questions for a call. A transaction has one for each of its parts.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
pub(crate) fn needed(operation: &str, body: &Value) -> Vec<Use> {
    if operation == "TransactWriteItems" {
        let parts = body["TransactItems"].as_array().unwrap().iter().flat_map(|part| part.as_object().unwrap());
        return parts
            .map(|(kind, part)| {
                let kind =
                    if kind == "ConditionCheck" { "ConditionCheckItem".to_owned() } else { format!("{kind}Item") };
                one(&kind, part)
            })
            .collect();
    }
    let Some(tables) = body["RequestItems"].as_object() else { return vec![one(operation, body)] };
    let batch = |(table, requests): (&String, &Value)| {
        let written = requests.as_array().into_iter().flatten().map(|request| match &request["PutRequest"]["Item"] {
            Value::Null => &request["DeleteRequest"]["Key"],
            item => item,
        });
        let items: Vec<_> = written.chain(requests["Keys"].as_array().into_iter().flatten()).collect();
        Use {
            action: format!("dynamodb:{operation}"),
            resource: table.clone(),
            keys: items.iter().map(|item| item["pk"]["S"].as_str().unwrap().to_owned()).collect(),
            attributes: items.iter().flat_map(|item| item.as_object().unwrap().keys().cloned()).collect(),
        }
    };
    tables.iter().map(batch).collect()
}

fn one(operation: &str, body: &Value) -> Use {
    let table = body["TableName"].as_str().unwrap();
    let resource =
        body["IndexName"].as_str().map_or_else(|| table.to_owned(), |index| format!("{table}/index/{index}"));
    let of = |member: &str| body[member]["pk"]["S"].as_str().map(str::to_owned);
    let queried = || {
        let placeholder = body["KeyConditionExpression"].as_str()?.split_once(" = ")?.1.split(' ').next()?;
        body["ExpressionAttributeValues"][placeholder]["S"].as_str().map(str::to_owned)
    };
    let whole = ["Key", "Item"].into_iter().filter_map(|member| body[member].as_object());
    let mut attributes: BTreeSet<_> = whole.flat_map(|item| item.keys().cloned()).collect();
    for expression in ["Update", "Condition", "Filter", "Projection", "KeyCondition"] {
        let text = body[format!("{expression}Expression")].as_str().unwrap_or_default();
        attributes.extend(named(text, &body["ExpressionAttributeNames"]));
    }
    Use {
        action: format!("dynamodb:{operation}"),
        resource,
        keys: of("Key").or_else(|| of("Item")).or_else(queried).into_iter().collect(),
        attributes,
    }
}

/// The attributes that an expression names.
fn named(expression: &str, names: &Value) -> Vec<String> {
    const WORDS: &[&str] = &[
        "SET",
        "REMOVE",
        "ADD",
        "DELETE",
        "AND",
        "OR",
        "NOT",
        "BETWEEN",
        "IN",
        "attribute_exists",
        "attribute_not_exists",
        "begins_with",
        "contains",
        "if_not_exists",
        "list_append",
        "size",
    ];
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || "_#:.".contains(c)));
    words
        .filter(|word| !word.is_empty() && !word.starts_with(':') && !WORDS.contains(word))
        .map(|word| names[word].as_str().unwrap_or(word).to_owned())
        .collect()
}

/// Whether one of these patterns matches, as `StringLike` does.
pub(crate) fn like(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether a pattern with stars matches.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|place| rest.is_char_boundary(*place)).any(|place| matches(after, &rest[place..]))
        }),
    }
}
