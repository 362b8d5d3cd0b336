//! The requirements that a table's schema puts on its items. Checking them finds an item that the table would refuse
//! before the first write.

use crate::format::Item;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use std::collections::BTreeMap;

/// Longest partition key and longest sort key, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const HASH_BYTES_MAX: usize = 2048;
const RANGE_BYTES_MAX: usize = 1024;

/// The key of a table, and the types that the key and the indexes require.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Attribute names of the table's key with their longest length in bytes; the partition key comes first.
    key: Vec<(String, usize)>,
    /// Type (`S`, `N` or `B`) by attribute name.
    types: BTreeMap<String, String>,
}

impl Keys {
    /// Reads the `KeySchema` and the `AttributeDefinitions` of a schema. `None`: the value is not a schema.
    #[must_use]
    pub fn of(schema: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let bytes_max = |part: &Value| match part["KeyType"].as_str()? {
            "HASH" => Some(HASH_BYTES_MAX),
            "RANGE" => Some(RANGE_BYTES_MAX),
            _ => None,
        };
        let part = |part: &Value| Some((text(&part["AttributeName"])?, bytes_max(part)?));
        let typed = |part: &Value| Some((text(&part["AttributeName"])?, text(&part["AttributeType"])?));
        let key = schema["KeySchema"].as_array()?.iter().map(part).collect::<Option<Vec<_>>>()?;
        let types = schema["AttributeDefinitions"].as_array()?.iter().map(typed).collect::<Option<BTreeMap<_, _>>>()?;
        let whole = !key.is_empty() && key.iter().all(|(name, _)| types.contains_key(name));
        whole.then_some(Self { key, types })
    }

    /// Whether both keys are the same, including their types. Indexes may differ, because DynamoDB fills them again.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.key == other.key && self.key.iter().all(|(name, _)| self.types.get(name) == other.types.get(name))
    }

    /// Checks that the table would accept an item.
    ///
    /// # Errors
    /// The text names the attribute that is missing or wrong.
    pub fn check(&self, item: &Item) -> Result<(), String> {
        for (name, bytes_max) in &self.key {
            let bytes = match item.get(name) {
                Some(AttributeValue::S(text)) => text.len(),
                Some(AttributeValue::N(number)) => number.len(),
                Some(AttributeValue::B(bytes)) => bytes.as_ref().len(),
                _ => return Err(format!("the key {name} is missing")),
            };
            if bytes == 0 || bytes > *bytes_max {
                return Err(format!("the key {name} has {bytes} bytes"));
            }
        }
        for (name, wanted) in &self.types {
            let found = match item.get(name) {
                None => continue,
                Some(AttributeValue::S(_)) => "S",
                Some(AttributeValue::N(_)) => "N",
                Some(AttributeValue::B(_)) => "B",
                Some(_) => "another type",
            };
            if found != wanted {
                return Err(format!("the attribute {name} is {found} and must be {wanted}"));
            }
        }
        Ok(())
    }

    /// The key of an item.
    #[must_use]
    pub fn key(&self, item: &Item) -> Item {
        self.key.iter().filter_map(|(name, _)| Some((name.clone(), item.get(name)?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"},
                {"AttributeName": "roomId", "AttributeType": "S"},
            ],
        })
    }

    fn item(members: &[(&str, AttributeValue)]) -> Item {
        members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn an_item_that_the_table_would_refuse_is_refused() {
        let keys = Keys::of(&schema()).unwrap();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let whole = item(&[("pk", text("a")), ("sk", text("b")), ("x", AttributeValue::Bool(true))]);
        assert_eq!(keys.check(&whole), Ok(()));
        assert_eq!(keys.key(&whole), item(&[("pk", text("a")), ("sk", text("b"))]));
        for (name, value) in [
            ("pk", text("")),
            ("pk", AttributeValue::N("1".into())),
            ("pk", AttributeValue::Bool(true)),
            ("sk", text(&"x".repeat(1025))),
            ("roomId", AttributeValue::Null(true)),
        ] {
            let mut bad = whole.clone();
            bad.insert(name.to_owned(), value);
            assert!(keys.check(&bad).unwrap_err().contains(name), "{bad:?}");
        }
        assert_eq!(keys.check(&item(&[("pk", text("a"))])), Err("the key sk is missing".to_owned()));
    }

    #[test]
    fn another_key_is_another_schema_and_another_index_is_not() {
        let keys = Keys::of(&schema()).unwrap();
        let mut other = schema();
        other["AttributeDefinitions"].as_array_mut().unwrap().pop();
        assert!(keys.same_key(&Keys::of(&other).unwrap()));
        other["AttributeDefinitions"][1]["AttributeType"] = "N".into();
        assert!(!keys.same_key(&Keys::of(&other).unwrap()));
        other["KeySchema"].as_array_mut().unwrap().pop();
        assert!(!keys.same_key(&Keys::of(&other).unwrap()));
        for broken in [json!({}), json!({"KeySchema": [], "AttributeDefinitions": []}), json!({"KeySchema": 1})] {
            assert_eq!(Keys::of(&broken), None);
        }
    }
}
