//! The tables that snapshots are made of and restored to: their schema, made and removed, empty or not.

use crate::SnapshotError;
use crate::format::Table;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, Select,
    TableDescription, TableStatus,
};
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::dynamodb::{keys, stream_began};
use telemetry::Chain;

/// How long a table may take to come into being, or to go. Both take seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two looks at it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The two tables of a stack.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Where they are.
    pub client: Client,
    /// Name of the table of users and agents.
    pub state: String,
    /// Name of the table of histories.
    pub ledger: String,
}

impl Tables {
    /// Both, in the order in which they are restored.
    pub const ALL: [Table; 2] = [Table::Ledger, Table::State];

    /// What a table is called here.
    #[must_use]
    pub fn name(&self, table: Table) -> &str {
        match table {
            Table::Ledger => &self.ledger,
            Table::State => &self.state,
        }
    }

    /// A table's schema, as a manifest has it.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if there is no such table.
    pub async fn schema(&self, table: Table) -> Result<Value, SnapshotError> {
        let request = self.client.describe_table().table_name(self.name(table));
        let output = request.send().await.map_err(|error| refused(self.name(table), &error))?;
        Ok(output.table.as_ref().map(schema).unwrap_or_default())
    }

    /// When the stream of the state table began, as the places in it say; none if it has none.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn stream_began(&self) -> Result<Option<String>, SnapshotError> {
        let request = self.client.describe_table().table_name(&self.state);
        let output = request.send().await.map_err(|error| refused(&self.state, &error))?;
        Ok(output.table.and_then(|table| table.latest_stream_label).as_deref().map(stream_began))
    }

    /// Makes an empty table of this schema and waits until it can be used.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if there is such a table already; [`SnapshotError::Internal`] if the schema is
    /// none.
    pub async fn create(&self, table: Table, schema: &Value) -> Result<(), SnapshotError> {
        let name = self.name(table);
        let parts = Parts::of(schema).ok_or_else(|| SnapshotError::Internal(format!("no schema: {schema}").into()))?;
        let request = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let request = request.set_key_schema(Some(parts.key)).set_attribute_definitions(Some(parts.attributes));
        let request = request.set_global_secondary_indexes(Some(parts.indexes).filter(|indexes| !indexes.is_empty()));
        request.send().await.map_err(|error| refused(name, &error))?;
        self.until(table, |status| status == Some(&TableStatus::Active)).await
    }

    /// Removes a table, if it is there, and waits until it is gone.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if it does not go.
    pub async fn remove(&self, table: Table) -> Result<(), SnapshotError> {
        let name = self.name(table);
        // One that is still being made, or is going already, takes no order.
        self.until(table, |status| matches!(status, None | Some(TableStatus::Active | TableStatus::Deleting))).await?;
        match self.client.delete_table().table_name(name).send().await {
            Ok(_) => {}
            Err(error) if is(&error, "ResourceNotFoundException") => return Ok(()),
            Err(error) if is(&error, "ResourceInUseException") => {}
            Err(error) => return Err(refused(name, &error)),
        }
        self.until(table, |status| status.is_none()).await
    }

    /// Waits until a table is as wanted; it has no status if it is not there.
    async fn until(&self, table: Table, wanted: impl Fn(Option<&TableStatus>) -> bool) -> Result<(), SnapshotError> {
        let name = self.name(table);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = match self.client.describe_table().table_name(name).send().await {
                Ok(output) => output.table.and_then(|table| table.table_status),
                Err(error) if is(&error, "ResourceNotFoundException") => None,
                Err(error) => return Err(refused(name, &error)),
            };
            if wanted(status.as_ref()) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(SnapshotError::Unreachable(format!("{name} is still {status:?}").into()));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// How many items a table holds, leases not counted.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`]; a count that breaks off is never a smaller count.
    pub async fn count(&self, table: Table) -> Result<u64, SnapshotError> {
        self.counted(table, u64::MAX).await
    }

    /// Whether a table holds no items but leases and connections.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn is_empty(&self, table: Table) -> Result<bool, SnapshotError> {
        Ok(self.counted(table, 1).await? == 0)
    }

    /// Counts until there are that many.
    async fn counted(&self, table: Table, enough: u64) -> Result<u64, SnapshotError> {
        let (mut count, mut after) = (0, None);
        loop {
            let request = self.client.scan().table_name(self.name(table)).select(Select::Count).consistent_read(true);
            let request = request
                .filter_expression("NOT begins_with(pk, :lease) AND NOT begins_with(pk, :connection)")
                .expression_attribute_values(":lease", AttributeValue::S(keys::LEASE.to_owned()))
                .expression_attribute_values(":connection", AttributeValue::S(keys::CONNECTION.to_owned()))
                .set_exclusive_start_key(after);
            let page = request.send().await.map_err(|error| refused(self.name(table), &error))?;
            count += u64::try_from(page.count).unwrap_or_default();
            after = page.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() || count >= enough {
                return Ok(count);
            }
        }
    }
}

fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

/// A call on a table that failed.
fn refused<E>(table: &str, error: &SdkError<E>) -> SnapshotError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    SnapshotError::Unreachable(format!("{table}: {}", Chain(error)).into())
}

fn schema(table: &TableDescription) -> Value {
    let key = |elements: &[KeySchemaElement]| -> Value {
        let element = |element: &KeySchemaElement| {
            let kind = element.key_type().as_str();
            json!({"AttributeName": element.attribute_name(), "KeyType": kind})
        };
        elements.iter().map(element).collect()
    };
    let attribute = |attribute: &AttributeDefinition| {
        let kind = attribute.attribute_type().as_str();
        json!({"AttributeName": attribute.attribute_name(), "AttributeType": kind})
    };
    // A service lists them in any order; equal schemas must be equal.
    let sorted = |mut values: Vec<Value>, by: &str| {
        values.sort_by_key(|value| value[by].to_string());
        values
    };
    let mut members = Map::new();
    members.insert("KeySchema".to_owned(), key(table.key_schema()));
    let attributes = table.attribute_definitions().iter().map(attribute).collect();
    members.insert("AttributeDefinitions".to_owned(), sorted(attributes, "AttributeName").into());
    let indexes = table.global_secondary_indexes().iter().map(|index| {
        let projection = index.projection();
        let kind = projection.and_then(Projection::projection_type).map(AsRef::<str>::as_ref);
        let mut described = json!({
            "IndexName": index.index_name(), "KeySchema": key(index.key_schema()),
            "Projection": {"ProjectionType": kind},
        });
        if let Some(names) = projection.map(Projection::non_key_attributes).filter(|names| !names.is_empty()) {
            described["Projection"]["NonKeyAttributes"] = names.into();
        }
        described
    });
    let indexes = sorted(indexes.collect(), "IndexName");
    if !indexes.is_empty() {
        members.insert("GlobalSecondaryIndexes".to_owned(), indexes.into());
    }
    members.into()
}

/// A schema, as the client takes it.
struct Parts {
    key: Vec<KeySchemaElement>,
    attributes: Vec<AttributeDefinition>,
    indexes: Vec<GlobalSecondaryIndex>,
}

impl Parts {
    fn of(schema: &Value) -> Option<Self> {
        let attribute = |value: &Value| {
            let builder = AttributeDefinition::builder().attribute_name(value["AttributeName"].as_str()?);
            builder.attribute_type(value["AttributeType"].as_str()?.into()).build().ok()
        };
        let index = |value: &Value| {
            let projection = &value["Projection"];
            let names = projection["NonKeyAttributes"].as_array();
            let names = names.map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            let kind = projection["ProjectionType"].as_str()?.into();
            let projection = Projection::builder().projection_type(kind).set_non_key_attributes(names).build();
            let builder = GlobalSecondaryIndex::builder().index_name(value["IndexName"].as_str()?);
            builder.set_key_schema(Some(elements(&value["KeySchema"])?)).projection(projection).build().ok()
        };
        Some(Self {
            key: elements(&schema["KeySchema"])?,
            attributes: schema["AttributeDefinitions"].as_array()?.iter().map(attribute).collect::<Option<_>>()?,
            indexes: schema["GlobalSecondaryIndexes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(index)
                .collect::<Option<_>>()?,
        })
    }
}

fn elements(schema: &Value) -> Option<Vec<KeySchemaElement>> {
    let element = |value: &Value| {
        let builder = KeySchemaElement::builder().attribute_name(value["AttributeName"].as_str()?);
        builder.key_type(value["KeyType"].as_str()?.into()).build().ok()
    };
    schema.as_array()?.iter().map(element).collect()
}
