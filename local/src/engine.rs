//! The embedded DynamoDB engine below AWS's client: requests go to it in-process, by the client's own HTTP seam.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::errors::DynoxideError;
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

/// A handle to the engine's thread.
///
/// The engine is one SQLite connection behind one mutex, and synchronous. A thread of its own keeps it off the async
/// threads, and a queue in front costs less than a mutex that many threads fight over.
#[derive(Debug, Clone)]
pub struct Engine {
    queue: mpsc::Sender<Job>,
    answers: Arc<Answers>,
    /// For a handle that goes ahead of the others.
    ahead: Option<mpsc::Sender<Job>>,
    /// Whether each write of this handle waits to be admitted.
    admission: bool,
    /// Whether a scan of this handle is read in small pieces.
    pieces: bool,
    /// The other end of that, for handles that are yet to be made.
    to_ahead: mpsc::Sender<Job>,
}

enum Job {
    /// An operation of the `DynamoDB` API.
    Call { operation: String, body: Vec<u8>, pieces: bool, reply: oneshot::Sender<Answer> },
    /// Anything else that must not happen at the same time.
    Work(Work),
    /// Nothing, but there is something to do ahead of this.
    Look,
}

type Work = Box<dyn FnOnce(&Database, &Connection) + Send>;

/// The engine's answer: HTTP status and JSON body.
pub type Answer = (u16, Vec<u8>);

/// More writes than there will ever be. Half of what a semaphore counts to, because a refused write gives its admission back
/// on top of these.
pub const UNLIMITED: usize = Semaphore::MAX_PERMITS / 2;

/// How long a write waits for the history to catch up before it is refused.
pub const ADMISSION_PATIENCE: Duration = Duration::from_secs(5);

/// Items that a scan for a request reads in one go: others wait for the next piece of a scan, never for all of it. Few, because the
/// thread that serves everybody also reads the piece. The protocol lets a page be as small as the database likes.
pub const SCAN_ITEMS_MAX: usize = 16;

/// What `DynamoDB` answers when it has no capacity left.
const THROTTLED: &[u8] = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"the history lags behind; try again"}"#;

/// Prefix of `X-Amz-Target`, before the operation's name.
pub const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Answers on their way from the engine's thread to those who asked.
///
/// To wake a task of another thread is a system call. One task takes all answers that are there and hands them out on
/// the asking thread, where a wake-up costs next to nothing.
#[derive(Debug)]
struct Answers {
    ready: Mutex<Vec<(oneshot::Sender<Answer>, Answer)>>,
    ended: AtomicBool,
    more: Notify,
    /// Whether something was written since somebody last asked.
    changed: AtomicBool,
    written: Notify,
    /// Calls so far.
    calls: AtomicU64,
    /// Writes that may still begin.
    admitted: Semaphore,
}

impl Answers {
    fn new() -> Self {
        Self {
            ready: Mutex::default(),
            ended: AtomicBool::default(),
            more: Notify::default(),
            changed: AtomicBool::default(),
            written: Notify::default(),
            calls: AtomicU64::default(),
            admitted: Semaphore::new(UNLIMITED),
        }
    }

    fn push(&self, reply: oneshot::Sender<Answer>, answer: Answer) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push((reply, answer));
        self.more.notify_one();
    }

    fn changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.more.notify_one();
    }

    async fn hand_out(self: Arc<Self>) {
        loop {
            self.more.notified().await;
            let ended = self.ended.load(Ordering::Acquire);
            let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
            if self.changed.swap(false, Ordering::AcqRel) {
                self.written.notify_one();
            }
            for (reply, answer) in ready {
                // Who asked may have gone away.
                let _ = reply.send(answer);
            }
            if ended {
                return;
            }
        }
    }
}

impl Engine {
    /// Moves `database`, and a second connection to it, to a thread of its own, which ends and closes both when all handles
    /// are gone.
    ///
    /// # Errors
    /// The system refuses another thread.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the answers are handed out by a task of the one that uses the engine.
    pub fn start(database: Database, stream: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let answers = Arc::new(Answers::new());
        tokio::spawn(Arc::clone(&answers).hand_out());
        let (to_ahead, ahead) = mpsc::channel::<Job>();
        let engine =
            Self { queue, answers: Arc::clone(&answers), ahead: None, admission: true, pieces: false, to_ahead };
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let run = |job| match job {
                Job::Call { operation, body, pieces, reply } => {
                    let work = AssertUnwindSafe(|| execute(&database, &operation, &body, pieces));
                    let answer = catch_unwind(work).unwrap_or_else(|_| {
                        (500, br#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}"#.to_vec())
                    });
                    answers.calls.fetch_add(1, Ordering::Relaxed);
                    if WRITES.contains(&operation.as_str()) {
                        answers.changed();
                    }
                    answers.push(reply, answer);
                }
                // Who asked learns of a panic by the answer that does not come.
                Job::Work(work) => drop(catch_unwind(AssertUnwindSafe(|| work(&database, &stream)))),
                Job::Look => {}
            };
            for job in jobs {
                ahead.try_iter().for_each(run);
                run(job);
            }
            answers.end();
        })?;
        Ok((engine, thread))
    }

    /// A handle that goes ahead of the others, and whose writes never wait to be admitted: for who works off what the others
    /// have written.
    #[must_use]
    pub fn ahead(&self) -> Self {
        Self { ahead: Some(self.to_ahead.clone()), admission: false, ..self.clone() }
    }

    /// A handle for requests: their writes are admitted already, by [`Engine::admission`], and a scan is read in small pieces,
    /// so that the others need not wait for all of it.
    #[must_use]
    pub fn admitted(&self) -> Self {
        Self { admission: false, pieces: true, ..self.clone() }
    }

    /// Waits until one more write may begin, at most for [`ADMISSION_PATIENCE`]. Dropped, the admission is given back: whoever
    /// has written [forgets](SemaphorePermit::forget) it. None if it took too long.
    pub async fn admission(&self) -> Option<SemaphorePermit<'_>> {
        timeout(ADMISSION_PATIENCE, self.answers.admitted.acquire()).await.ok()?.ok()
    }

    fn send(&self, job: Job) -> Option<()> {
        let job = match &self.ahead {
            None => job,
            Some(ahead) => {
                ahead.send(job).ok()?;
                Job::Look
            }
        };
        self.queue.send(job).ok()
    }

    /// Lets the other handles begin this many more writes, or [`UNLIMITED`]; further ones wait.
    pub fn admit(&self, writes: usize) {
        let available = self.answers.admitted.available_permits();
        match writes.checked_sub(available) {
            Some(more) => self.answers.admitted.add_permits(more),
            None => drop(self.answers.admitted.forget_permits(available - writes)),
        }
    }

    /// How many calls there were so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.answers.calls.load(Ordering::Relaxed)
    }

    /// Says that something was written in another way than by a call.
    pub fn wake(&self) {
        self.answers.written.notify_one();
    }

    /// Waits until something may have been written since the last time.
    pub async fn written(&self) {
        self.answers.written.notified().await;
    }

    /// Does something with the database that is no operation of its API, when it is its turn. None if the engine has
    /// stopped.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, &Connection) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |database, stream| drop(reply.send(work(database, stream))));
        self.send(Job::Work(work))?;
        answer.await.ok()
    }

    /// Executes one operation of the DynamoDB API, by its name and JSON body. None if the engine has stopped.
    pub async fn call(&self, operation: String, body: Vec<u8>) -> Option<Answer> {
        if self.admission && WRITES.contains(&operation.as_str()) {
            match self.admission().await {
                Some(admission) => admission.forget(),
                None => return Some((400, THROTTLED.to_vec())),
            }
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Call { operation, body, pieces: self.pieces, reply })?;
        answer.await.ok()
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or(target).to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let engine = self.clone();
        HttpConnectorFuture::new(async move {
            let answer = Engine::call(&engine, operation, body).await;
            let (status, body) =
                answer.ok_or_else(|| ConnectorError::other("the embedded engine has stopped".into(), None))?;
            let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl HttpClient for Engine {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Operations that write.
const WRITES: [&str; 5] = ["UpdateItem", "PutItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];

fn execute(db: &Database, operation: &str, body: &[u8], pieces: bool) -> Answer {
    match operation {
        "UpdateItem" => run(body, |request| db.update_item(request)),
        "GetItem" => run(body, |request| db.get_item(request)),
        "Query" => run(body, |request| db.query(request)),
        "PutItem" => run(body, |request| db.put_item(request)),
        "DeleteItem" => run(body, |request| db.delete_item(request)),
        "Scan" => run(body, |request: ScanRequest| {
            // A scan of a segment sorts the whole of it for each page, so small ones would only make it slower.
            if !pieces || request.total_segments.is_some() {
                return db.scan(request);
            }
            let limit = Some(request.limit.map_or(SCAN_ITEMS_MAX, |limit| limit.min(SCAN_ITEMS_MAX)));
            db.scan(ScanRequest { limit, ..request })
        }),
        "BatchGetItem" => run(body, |request| db.batch_get_item(request)),
        "BatchWriteItem" => run(body, |request| db.batch_write_item(request)),
        "TransactGetItems" => run(body, |request| db.transact_get_items(request)),
        "TransactWriteItems" => run(body, |request| db.transact_write_items(request)),
        "CreateTable" => run(body, |request| db.create_table(request)),
        "DeleteTable" => run(body, |request| db.delete_table(request)),
        "DescribeTable" => run(body, |request| db.describe_table(request)),
        "ListTables" => run(body, |request| db.list_tables(request)),
        "DescribeTimeToLive" => run(body, |request| db.describe_time_to_live(request)),
        "UpdateTimeToLive" => run(body, |request| db.update_time_to_live(request)),
        _ => (400, br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.to_vec()),
    }
}

fn run<Q, A>(body: &[u8], work: impl FnOnce(Q) -> Result<A, DynoxideError>) -> Answer
where
    Q: DeserializeOwned,
    A: Serialize,
{
    let answer = match serde_json::from_slice(body) {
        Ok(request) => work(request),
        // The engine's decoders report a broken rule of the API through serde's message.
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
