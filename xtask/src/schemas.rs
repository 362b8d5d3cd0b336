//! The schemas of the types that endpoints take and give, as `docs/openapi.json` has them.

use functions::function::SchemaOf;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// Collects the schemas. One generator for bodies and one for answers: a member that may be left out of the one is always in
/// the other.
pub(crate) struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = PLACE.into());
        Self {
            taken: settings().for_deserialize().with_transform(Taken).into_generator(),
            given: settings().for_serialize().with_transform(Given).into_generator(),
        }
    }

    /// The reference to the type of a body.
    pub(crate) fn taken(&mut self, of: SchemaOf) -> Value {
        of(&mut self.taken).into()
    }

    /// The reference to the type of an answer.
    pub(crate) fn given(&mut self, of: SchemaOf) -> Value {
        of(&mut self.given).into()
    }

    /// Everything that was referred to, by name.
    ///
    /// # Errors
    /// Two types have the same name.
    pub(crate) fn named(mut self) -> Result<Map<String, Value>, String> {
        let mut named = self.given.take_definitions(true);
        for (name, schema) in self.taken.take_definitions(true) {
            if named.get(&name).is_some_and(|other| *other != schema) {
                return Err(format!(
                    "{name} names two types, or is given otherwise than it is taken: rename one of them"
                ));
            }
            named.insert(name, schema);
        }
        // The library adds a number to the name of the second.
        let is_second = |name: &&String| {
            let first = name.trim_end_matches(|c: char| c.is_ascii_digit());
            first.len() < name.len() && named.contains_key(first)
        };
        match named.keys().find(is_second) {
            Some(name) => Err(format!("{name}: another type has this name without the number; rename one of them")),
            None => Ok(named),
        }
    }
}

/// Where `docs/openapi.json` has them.
const PLACE: &str = "/components/schemas";

/// A body: a number without a bound is refused if it does not fit.
#[derive(Clone)]
struct Taken;

impl Transform for Taken {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("format").is_some_and(|format| format == "uint64") && schema.get("maximum").is_none() {
            schema.insert("maximum".to_owned(), u64::MAX.into());
        }
        tidy(schema);
    }
}

/// An answer: it has the members that are described, and no others.
#[derive(Clone)]
struct Given;

impl Transform for Given {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
        tidy(schema);
    }
}

/// Leaves out what says nothing to a client, and lists words as such.
fn tidy(schema: &mut Schema) {
    // Widths of Rust's numbers: the bounds say what a client must know.
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint") || format == "double")
    {
        schema.remove("format");
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = unwrapped(text);
    }
    words(schema);
}

/// Words that are each described are one `enum`, which more tools understand, and a list in the description.
fn words(schema: &mut Schema) {
    let Some(choices) = schema.get("oneOf").and_then(Value::as_array) else { return };
    let Some(words) = choices.iter().map(|choice| Some(choice.get("const")?.clone())).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let meaning =
        |choice: &Value| Some(format!("* `{}`: {}", choice["const"].as_str()?, choice["description"].as_str()?));
    let list: Vec<_> = choices.iter().filter_map(meaning).collect();
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let text = format!("{text}\n\n{}", list.join("\n"));
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), words.into());
    schema.insert("description".to_owned(), text.into());
}

/// A text without the line breaks of a comment; those between paragraphs stay.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;

    mod first {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "its schema is what matters")]
        pub(super) struct Thing {
            pub(super) long: u64,
        }
    }

    mod second {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "its schema is what matters")]
        pub(super) struct Thing {
            pub(super) wide: u64,
        }
    }

    /// How it ended.
    #[derive(JsonSchema)]
    #[schemars(rename_all = "lowercase")]
    #[expect(dead_code, reason = "its schema is what matters")]
    enum End {
        /// It is
        /// done.
        Done,
        /// It is not.
        Lost,
    }

    fn of<T: JsonSchema>() -> SchemaOf {
        SchemaGenerator::subschema_for::<T>
    }

    #[test]
    fn two_types_of_one_name_are_refused() {
        let mut both = Schemas::new();
        both.given(of::<first::Thing>());
        both.given(of::<second::Thing>());
        assert!(both.named().unwrap_err().starts_with("Thing2: "));
        let mut apart = Schemas::new();
        apart.given(of::<first::Thing>());
        apart.taken(of::<second::Thing>());
        assert!(apart.named().unwrap_err().starts_with("Thing names two types"));
    }

    #[test]
    fn an_answer_has_the_described_members_alone_and_a_body_has_numbers_that_fit() {
        let mut schemas = Schemas::new();
        assert_eq!(schemas.given(of::<first::Thing>()), serde_json::json!({"$ref": "#/components/schemas/Thing"}));
        let named = schemas.named().unwrap();
        assert_eq!(named["Thing"]["additionalProperties"], false);
        assert_eq!(named["Thing"]["properties"]["long"], serde_json::json!({"type": "integer", "minimum": 0}));
        let mut schemas = Schemas::new();
        schemas.taken(of::<first::Thing>());
        assert_eq!(schemas.named().unwrap()["Thing"]["properties"]["long"]["maximum"], u64::MAX);
    }

    #[test]
    fn words_that_are_each_described_are_one_list() {
        let mut schemas = Schemas::new();
        schemas.given(of::<End>());
        let expected = serde_json::json!({
            "type": "string",
            "enum": ["done", "lost"],
            "description": "How it ended.\n\n* `done`: It is done.\n* `lost`: It is not.",
        });
        assert_eq!(schemas.named().unwrap()["End"], expected);
    }
}
