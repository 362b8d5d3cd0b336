//! The embedded engine on one connection: the operations of DynamoDB's API, in groups that share a commit, and the
//! records of a table's stream.

use crate::checkpoints::Checkpoints;
pub use crate::tokens::Answer;
use crate::tokens::Tokens;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::describe_table::{DescribeTableRequest, DescribeTableResponse};
use dynoxide::actions::scan::ScanRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::actions::update_time_to_live::UpdateTimeToLiveRequest;
use dynoxide::actions::vector_lifecycle::VectorIndexLifecycle;
use dynoxide::actions::{
    StreamSpecificationDescription, batch_get_item, batch_write_item, create_table, delete_item, delete_table,
    describe_table, describe_time_to_live, get_item, list_tables, put_item, query, scan, transact_get_items,
    transact_write_items, update_item, update_table, update_time_to_live,
};
use dynoxide::errors::DynoxideError;
use dynoxide::storage::{Storage, TableMetadata};
use dynoxide::streams::stream_arn;
use dynoxide::ttl::sweep_expired_items;
use futures_util::FutureExt as _;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::dynamodb::keys;

/// Items that a request's scan reads at once, so that other calls wait for one page and not for the whole scan. The
/// number is small, because one thread serves all calls. The protocol allows pages of any size.
pub const SCAN_ITEMS_MAX: usize = 16;

/// Operations that write items. They run in a group's transaction.
const WRITES: [&str; 5] = ["UpdateItem", "PutItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];

/// Operations that read items. Between a group's writes, they see these writes.
const READS: [&str; 5] = ["GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"];

/// Prepared statements that stay ready: those of all indexes of both tables, and ours. More than SQLite's wrapper keeps
/// by itself.
const STATEMENTS: usize = 64;

/// What marks a deletion as the service's, in a record.
const SERVICE: &str = r#"{"type":"Service","principalId":"dynamodb.amazonaws.com"}"#;

/// DynamoDB's answer to a call that failed through no fault of the caller. Clients try it again.
const FAILED: &[u8] =
    br#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"the write could not be stored"}"#;

/// The tables.
///
/// The engine wraps each write into a transaction of its own. Here writes come in groups, each group in one
/// transaction and each write in a savepoint: while a write runs, SQLite's authorizer makes it ignore the engine's own
/// `BEGIN`, `COMMIT` and `ROLLBACK`. Whoever answers a call must first [commit](Database::commit) its group.
pub struct Database {
    /// Who makes the checkpoints, if not SQLite itself. This connection must be closed after that one.
    checkpoints: Option<Checkpoints>,
    storage: Storage,
    /// Whether SQLite ignores `BEGIN`, `COMMIT` and `ROLLBACK`.
    nested: Arc<AtomicBool>,
    /// Whether a group's transaction is open.
    open: Cell<bool>,
    /// Whether the open group cannot be committed, because a part of a refused write could not be undone.
    lost: Cell<bool>,
    tokens: RefCell<Tokens>,
    vectors: VectorIndexLifecycle,
}

impl Database {
    /// Takes over the engine's storage.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn new(storage: Storage) -> rusqlite::Result<Self> {
        let nested = Arc::<AtomicBool>::default();
        let ignores = Arc::clone(&nested);
        let connection = storage.conn();
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.authorizer(Some(move |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { .. } if ignores.load(Ordering::Relaxed) => Authorization::Ignore,
            _ => Authorization::Allow,
        }));
        // Earlier versions needed it, because the engine looked up the stream's last number for every record.
        connection.execute_batch("DROP INDEX IF EXISTS greenroom_stream")?;
        Ok(Self {
            checkpoints: None,
            storage,
            nested,
            open: Cell::default(),
            lost: Cell::default(),
            tokens: RefCell::default(),
            vectors: VectorIndexLifecycle::new(),
        })
    }

    /// Leaves the checkpoints of this database, which is in the file with this name, to another thread.
    ///
    /// # Errors
    /// The file cannot be opened once more, or the system refuses to start a thread.
    pub fn start_checkpoints(&mut self, name: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.checkpoints = Some(Checkpoints::start(name)?);
        Ok(Checkpoints::count(self.connection())?)
    }

    /// The engine's storage.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.storage.conn()
    }

    /// Makes each change of a table with a stream add a record to that stream, in the same transaction, and stops the
    /// engine from doing so. The engine would encode both images again and look up the last record's number.
    ///
    /// # Errors
    /// The table has no stream, a key that is not text, or cannot be changed.
    pub fn follow(&self, table: &TableMetadata) -> Result<(), DynoxideError> {
        use dynoxide::types::{AttributeDefinition, KeySchemaElement, ScalarAttributeType};
        let refuse = |problem: &str| DynoxideError::InternalServerError(format!("{}: {problem}", table.table_name));
        let decode = |error: serde_json::Error| refuse(&error.to_string());
        if table.stream_label.is_none() {
            return Err(refuse("no stream to follow"));
        }
        let schema: Vec<KeySchemaElement> = serde_json::from_str(&table.key_schema).map_err(decode)?;
        let types: Vec<AttributeDefinition> = serde_json::from_str(&table.attribute_definitions).map_err(decode)?;
        let is_text = |name: &str| {
            let mut of_name = types.iter().filter(|definition| definition.attribute_name == name);
            of_name.all(|definition| definition.attribute_type == ScalarAttributeType::S)
        };
        if !schema.iter().all(|key| is_text(&key.attribute_name)) {
            return Err(refuse("a key that is not text"));
        }
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        // The engine keeps the first key attribute in the column pk, and the second in sk, each behind "S:".
        let keys_of = |row: &str| {
            let parts = schema.iter().zip(["pk", "sk"]).map(|(key, column)| {
                let name = serde_json::Value::from(key.attribute_name.as_str());
                format!("{} || json_quote(substr({row}.{column}, 3)) || '}}'", literal(&format!("{name}:{{\"S\":")))
            });
            format!("'{{' || {} || '}}'", parts.collect::<Vec<_>>().join(" || ',' || "))
        };
        let record = |keys: &str, new: &str, old: &str| {
            format!(
                "INSERT INTO _stream_records \
                 (table_name, event_name, keys_json, new_image, old_image, sequence_number, shard_id, created_at) \
                 VALUES ({}, '', {keys}, {new}, {old}, '', '', unixepoch())",
                literal(&table.table_name)
            )
        };
        // As the filters of the mappings in infra/stream.yaml: what no consumer wants would only be read and removed again.
        let is_followed = |row: &str| {
            format!(
                "(substr({row}.pk, 1, 7) = 'S:{}' OR (substr({row}.pk, 1, 7) = 'S:{}' AND {row}.sk = 'S:{}'))",
                keys::USER,
                keys::ROOM_ITEMS,
                keys::META
            )
        };
        let name = format!("\"{}\"", table.table_name.replace('"', "\"\""));
        let before = format!("(SELECT item_json FROM {name} WHERE pk = NEW.pk AND sk = NEW.sk)");
        // The engine stores an item with INSERT OR REPLACE, which fires no trigger for the row that it replaces. The
        // triggers belong to the connection, so that another version of the runner does not find them in the file.
        self.connection().execute_batch(&format!(
            "CREATE TEMP TRIGGER {put} BEFORE INSERT ON main.{name} WHEN {new_counts} BEGIN {inserted}; END;
             CREATE TEMP TRIGGER {delete} AFTER DELETE ON main.{name} WHEN {old_counts} BEGIN {deleted}; END;",
            new_counts = is_followed("NEW"),
            old_counts = is_followed("OLD"),
            put = literal(&format!("put {}", table.table_name)),
            delete = literal(&format!("delete {}", table.table_name)),
            inserted = record(&keys_of("NEW"), "NEW.item_json", &before),
            deleted = record(&keys_of("OLD"), "NULL", "OLD.item_json"),
        ))?;
        self.storage.disable_stream(&table.table_name)
    }

    /// Creates a table.
    ///
    /// # Errors
    /// The engine's.
    pub fn create_table(&self, request: CreateTableRequest) -> Result<(), DynoxideError> {
        ready(create_table::execute(&self.storage, request)).map(drop)
    }

    /// Changes a table.
    ///
    /// # Errors
    /// The engine's.
    pub fn update_table(&self, request: UpdateTableRequest) -> Result<(), DynoxideError> {
        ready(update_table::execute(&self.storage, request, &self.vectors)).map(drop)
    }

    /// Makes the engine remove expired items of a table, or stops it.
    ///
    /// # Errors
    /// The engine's.
    pub fn update_time_to_live(&self, request: UpdateTimeToLiveRequest) -> Result<(), DynoxideError> {
        ready(update_time_to_live::execute(&self.storage, request)).map(drop)
    }

    /// Removes all expired items, with records that say so, and returns their number.
    ///
    /// # Errors
    /// The database cannot be written; nothing is removed then.
    pub fn sweep_ttl(&self) -> Result<usize, DynoxideError> {
        let connection = self.connection();
        let transaction = connection.unchecked_transaction()?;
        let newest: i64 =
            connection.query_row("SELECT COALESCE(MAX(id), 0) FROM _stream_records", [], |row| row.get(0))?;
        let removed = self.nested(|| ready(sweep_expired_items(&self.storage)))?;
        connection.execute("UPDATE _stream_records SET user_identity = ?1 WHERE id > ?2", (SERVICE, newest))?;
        transaction.commit()?;
        Ok(removed)
    }

    /// Executes one operation of DynamoDB's API, given by its name and JSON body, and commits it. A scan in `pieces`
    /// returns small pages.
    #[must_use]
    pub fn call(&self, operation: &str, body: &[u8], pieces: bool) -> Answer {
        let answer = self.perform(operation, body, pieces);
        if self.commit() { answer } else { failed() }
    }

    /// Like [`Database::call`], but leaves the commit of writes to [`Database::commit`]. Until then, the answer must
    /// not be given. Only operations on items may [join](joins) an open group.
    pub(crate) fn perform(&self, operation: &str, body: &[u8], pieces: bool) -> Answer {
        if writes(operation) {
            return self.write(operation, body);
        }
        if self.is_lost() {
            return failed();
        }
        catch_unwind(AssertUnwindSafe(|| self.execute(operation, body, pieces))).unwrap_or_else(|_| failed())
    }

    /// Commits the open group. `false`: the group has failed, and none of its writes has happened.
    #[must_use]
    pub fn commit(&self) -> bool {
        if !self.open.get() {
            return true;
        }
        let outcome = if self.is_lost() {
            Err("a write of it could not be undone, or SQLite has rolled it back".to_owned())
        } else {
            self.run("COMMIT").map_err(|error| error.to_string())
        };
        self.open.set(false);
        self.lost.set(false);
        if let Err(error) = &outcome {
            tracing::error!(error, "failed to commit a group of writes");
            if !self.connection().is_autocommit()
                && let Err(error) = self.run("ROLLBACK")
            {
                tracing::error!(%error, "failed to roll a group of writes back");
            }
        }
        self.tokens.borrow_mut().settle(outcome.is_ok());
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.committed();
        }
        outcome.is_ok()
    }

    /// Whether the open group cannot be committed. SQLite rolls a transaction back by itself if the disk is full, for
    /// example.
    fn is_lost(&self) -> bool {
        self.open.get() && (self.lost.get() || self.connection().is_autocommit())
    }

    /// Executes a write in the group's transaction.
    fn write(&self, operation: &str, body: &[u8]) -> Answer {
        if !self.open.get() {
            if let Err(error) = self.run("BEGIN IMMEDIATE") {
                tracing::error!(%error, "failed to begin a group of writes");
                return failed();
            }
            self.open.set(true);
        }
        if self.is_lost() || self.run("SAVEPOINT operation").is_err() {
            return failed();
        }
        let work = AssertUnwindSafe(|| self.nested(|| self.execute(operation, body, false)));
        let answer = catch_unwind(work).unwrap_or_else(|_| failed());
        let undone = answer.0 == 200 || self.run("ROLLBACK TO operation").is_ok();
        if self.run("RELEASE operation").is_err() || !undone {
            self.lost.set(true);
        }
        answer
    }

    fn run(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection().prepare_cached(statement)?.execute([]).map(drop)
    }

    /// Runs work of the engine inside an open transaction.
    fn nested<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Ends it even if the work panics.
        struct Nested<'a>(&'a AtomicBool);
        impl Drop for Nested<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.nested.store(true, Ordering::Relaxed);
        let _nested = Nested(&self.nested);
        work()
    }

    fn execute(&self, operation: &str, body: &[u8], pieces: bool) -> Answer {
        let storage = &self.storage;
        match operation {
            "UpdateItem" => answer(body, |request| ready(update_item::execute(storage, request))),
            "GetItem" => answer(body, |request| ready(get_item::execute(storage, request))),
            "Query" => answer(body, |request| ready(query::execute(storage, request))),
            "PutItem" => answer(body, |request| ready(put_item::execute(storage, request))),
            "DeleteItem" => answer(body, |request| ready(delete_item::execute(storage, request))),
            "Scan" => answer(body, |request: ScanRequest| {
                // For each page, a parallel scan sorts its whole segment again, so small pages would make it slower.
                if !pieces || request.total_segments.is_some() {
                    return ready(scan::execute(storage, request));
                }
                let limit = Some(request.limit.map_or(SCAN_ITEMS_MAX, |limit| limit.min(SCAN_ITEMS_MAX)));
                ready(scan::execute(storage, ScanRequest { limit, ..request }))
            }),
            "BatchGetItem" => answer(body, |request| ready(batch_get_item::execute(storage, request))),
            "BatchWriteItem" => answer(body, |request| ready(batch_write_item::execute(storage, request))),
            "TransactGetItems" => answer(body, |request| ready(transact_get_items::execute(storage, request))),
            "TransactWriteItems" => self
                .tokens
                .borrow_mut()
                .once(body, || answer(body, |request| ready(transact_write_items::execute(storage, request)))),
            "CreateTable" => answer(body, |request| ready(create_table::execute(storage, request))),
            "DeleteTable" => answer(body, |request| ready(delete_table::execute(storage, request, &self.vectors))),
            "DescribeTable" => answer(body, |request| self.describe_table(request)),
            "ListTables" => answer(body, |request| ready(list_tables::execute(storage, request))),
            "DescribeTimeToLive" => answer(body, |request| ready(describe_time_to_live::execute(storage, request))),
            "UpdateTimeToLive" => answer(body, |request| ready(update_time_to_live::execute(storage, request))),
            _ => (400, br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.to_vec()),
        }
    }

    /// The engine's description of a table, with the stream that the engine no longer writes itself.
    fn describe_table(&self, request: DescribeTableRequest) -> Result<DescribeTableResponse, DynoxideError> {
        let mut described = ready(describe_table::execute(&self.storage, request, &self.vectors))?;
        let table = &mut described.table;
        if let Some(found) = self.storage.get_table_metadata(&table.table_name)?
            && let Some(label) = found.stream_label
        {
            table.latest_stream_arn = Some(stream_arn(&table.table_name, &label));
            table.latest_stream_label = Some(label);
            table.stream_specification =
                Some(StreamSpecificationDescription { stream_enabled: true, stream_view_type: found.stream_view_type });
        }
        Ok(described)
    }
}

/// The answer to a call that was not stored.
pub(crate) fn failed() -> Answer {
    (500, FAILED.to_vec())
}

/// Whether an operation writes items.
pub(crate) fn writes(operation: &str) -> bool {
    WRITES.contains(&operation)
}

/// Whether an operation can be one of a group. An operation on a whole table cannot: the engine remembers what it knows
/// of a table, and a failed commit would make that wrong.
pub(crate) fn joins(operation: &str) -> bool {
    writes(operation) || READS.contains(&operation)
}

/// The outcome of the engine's work, which never waits for anything.
fn ready<T>(work: impl Future<Output = Result<T, DynoxideError>>) -> Result<T, DynoxideError> {
    let waits = || DynoxideError::InternalServerError("the engine waits for something".to_owned());
    work.now_or_never().unwrap_or_else(|| Err(waits()))
}

fn answer<Q, A>(body: &[u8], work: impl FnOnce(Q) -> Result<A, DynoxideError>) -> Answer
where
    Q: DeserializeOwned,
    A: Serialize,
{
    let answer = match serde_json::from_slice(body) {
        Ok(request) => work(request),
        // The engine's decoders report a violated rule of the API as a message of serde.
        Err(error) => {
            let message = error.to_string();
            let message = message.strip_prefix("VALIDATION:").unwrap_or(&message);
            Err(DynoxideError::ValidationException(message.to_owned()))
        }
    };
    let encoded = answer.and_then(|answer| {
        serde_json::to_vec(&answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
    });
    match encoded {
        Ok(body) => (200, body),
        Err(error) => (error.status_code(), error.to_json().into_bytes()),
    }
}
