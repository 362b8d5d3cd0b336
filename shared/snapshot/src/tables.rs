//! The tables that snapshots read and restores fill: their schemas, their creation and removal, and whether they are
//! empty.

use crate::SnapshotError;
use crate::format::Table;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, Projection, Select,
    TableDescription, TableStatus,
};
use serde_json::{Map, Value, json};
use std::time::Duration;
use store::dynamodb::{keys, stream_began};
use telemetry::Chain;

/// Time limit for creating or deleting a table. Both usually take seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// Pause between two checks of its status.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The two tables of a stack.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Client of the service that holds them.
    pub client: Client,
    /// Name of the table of users and agents.
    pub state: String,
    /// Name of the table of histories.
    pub ledger: String,
}

impl Tables {
    /// Both tables, in the order in which they are restored.
    pub const ALL: [Table; 2] = [Table::Ledger, Table::State];

    /// Name of a table in this stack.
    #[must_use]
    pub fn name(&self, table: Table) -> &str {
        match table {
            Table::Ledger => &self.ledger,
            Table::State => &self.state,
        }
    }

    /// A table's schema in the form that a manifest holds.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if the table does not exist.
    pub async fn schema(&self, table: Table) -> Result<Value, SnapshotError> {
        let request = self.client.describe_table().table_name(self.name(table));
        let output = request.send().await.map_err(|error| refused(self.name(table), &error))?;
        Ok(output.table.as_ref().map(schema).unwrap_or_default())
    }

    /// When the state table's stream began, in the form of the positions in the stream. `None`: the table has no
    /// stream.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn stream_began(&self) -> Result<Option<String>, SnapshotError> {
        let request = self.client.describe_table().table_name(&self.state);
        let output = request.send().await.map_err(|error| refused(&self.state, &error))?;
        Ok(output.table.and_then(|table| table.latest_stream_label).as_deref().map(stream_began))
    }

    /// Creates an empty table with this schema and waits until it is active.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if the table already exists; [`SnapshotError::Internal`] if the schema is
    /// not valid.
    pub async fn create(&self, table: Table, schema: &Value) -> Result<(), SnapshotError> {
        let name = self.name(table);
        let parts = Parts::of(schema).ok_or_else(|| SnapshotError::Internal(format!("bad schema: {schema}").into()))?;
        let request = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let request = request.set_key_schema(Some(parts.key)).set_attribute_definitions(Some(parts.attributes));
        let request = request.set_global_secondary_indexes(Some(parts.indexes).filter(|indexes| !indexes.is_empty()));
        request.send().await.map_err(|error| refused(name, &error))?;
        self.until(table, |status| status == Some(&TableStatus::Active)).await
    }

    /// Deletes a table, if it exists, and waits until it is gone.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`], also if the table is not deleted in time.
    pub async fn remove(&self, table: Table) -> Result<(), SnapshotError> {
        let name = self.name(table);
        // DynamoDB refuses to delete a table that is being created or deleted.
        self.until(table, |status| matches!(status, None | Some(TableStatus::Active | TableStatus::Deleting))).await?;
        match self.client.delete_table().table_name(name).send().await {
            Ok(_) => {}
            Err(error) if is(&error, "ResourceNotFoundException") => return Ok(()),
            Err(error) if is(&error, "ResourceInUseException") => {}
            Err(error) => return Err(refused(name, &error)),
        }
        self.until(table, |status| status.is_none()).await
    }

    /// Waits until a table's status is as wanted. A missing table has no status.
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

    /// Number of items in a table, without those that snapshots leave out.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`]; an incomplete count is an error, never a smaller number.
    pub async fn count(&self, table: Table) -> Result<u64, SnapshotError> {
        self.counted(table, u64::MAX).await
    }

    /// Whether a table holds no items but those that snapshots leave out.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn is_empty(&self, table: Table) -> Result<bool, SnapshotError> {
        Ok(self.counted(table, 1).await? == 0)
    }

    /// Counts until `enough` items are found.
    async fn counted(&self, table: Table, enough: u64) -> Result<u64, SnapshotError> {
        let (mut count, mut after) = (0, None);
        loop {
            let request = self.client.scan().table_name(self.name(table)).select(Select::Count).consistent_read(true);
            let request = kept(request).set_exclusive_start_key(after);
            let page = request.send().await.map_err(|error| refused(self.name(table), &error))?;
            count += u64::try_from(page.count).unwrap_or_default();
            after = page.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() || count >= enough {
                return Ok(count);
            }
        }
    }
}

/// Leaves out what snapshots leave out.
fn kept(mut request: ScanFluentBuilder) -> ScanFluentBuilder {
    let mut conditions = Vec::new();
    for (number, prefix) in keys::TRANSIENT.iter().enumerate() {
        conditions.push(format!("NOT begins_with(pk, :transient{number})"));
        let value = AttributeValue::S((*prefix).to_owned());
        request = request.expression_attribute_values(format!(":transient{number}"), value);
    }
    request.filter_expression(conditions.join(" AND "))
}

fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

/// The error of a failed call on a table.
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
    // DynamoDB lists them in any order, and equal schemas must compare as equal.
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

/// A schema in the types of the client.
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
