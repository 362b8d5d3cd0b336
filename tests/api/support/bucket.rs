//! S3 in a directory. A layer between it and the client records each request, and makes requests fail on demand. The
//! function binaries reach it over HTTP.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::objects::{BUCKET, Directory, client};
use snapshot::objects::Objects;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tiny_http::{Header, Method, Response, Server};

use super::faults::{Fault, Plan};
use super::iam::Use;

/// A recorded request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The name of the operation in S3.
    pub(crate) operation: &'static str,
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// A bucket in a temporary directory.
#[derive(Clone)]
pub(crate) struct Bucket {
    _directory: Arc<TempDir>,
    s3: Directory,
    shared: Arc<Mutex<(Plan, Vec<Asked>)>>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bucket")
    }
}

impl Bucket {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let s3 = Directory::open(directory.path(), Duration::ZERO).unwrap();
        let nothing: Plan = Box::new(|_, _| None);
        Self { _directory: Arc::new(directory), s3, shared: Arc::new(Mutex::new((nothing, Vec::new()))) }
    }

    /// From now on `plan` chooses the fault of each request, counted from 0. Clears the record.
    pub(crate) fn be(&self, plan: Plan) {
        *self.shared.lock().unwrap() = (plan, Vec::new());
    }

    pub(crate) fn be_well(&self) {
        self.be(Box::new(|_, _| None));
    }

    /// The requests since [`Bucket::be`].
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().1.clone()
    }

    /// The actions, and their resources, for which IAM would be asked.
    pub(crate) fn used(&self) -> BTreeSet<Use> {
        let needed = |asked: Asked| {
            let action = match asked.operation {
                "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => "PutObject",
                "ListObjectsV2" => "ListBucket",
                "ListMultipartUploads" => "ListBucketMultipartUploads",
                other => other,
            };
            let on = if asked.key.is_empty() {
                "SnapshotBucket.Arn".to_owned()
            } else {
                assert!(asked.key.starts_with("database-backups/"), "{asked:?}");
                "${SnapshotBucket.Arn}/database-backups/*".to_owned()
            };
            let (keys, attributes) = (BTreeSet::new(), BTreeSet::new());
            Use { action: format!("s3:{action}"), resource: on, keys, attributes }
        };
        self.asked().into_iter().map(needed).collect()
    }

    pub(crate) fn objects(&self) -> Objects {
        Objects::new(client(self.clone()), BUCKET)
    }

    /// Serves the bucket over HTTP until the returned value is dropped.
    pub(crate) fn serve(&self) -> Served {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let url = format!("http://{}", server.server_addr());
        let thread = std::thread::spawn({
            let (server, bucket) = (Arc::clone(&server), self.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for mut asked in server.incoming_requests() {
                    let mut body = Vec::new();
                    asked.as_reader().read_to_end(&mut body).unwrap();
                    let mut request = lambda_http::http::Request::builder()
                        .method(asked.method().as_str())
                        .uri(format!("http://bucket.invalid{}", asked.url()));
                    for header in asked.headers() {
                        let name = header.field.as_str().as_str().to_ascii_lowercase();
                        // The stand-in has no keys to check a signature with.
                        if !["authorization", "x-amz-security-token", "host"].contains(&name.as_str()) {
                            request = request.header(name, header.value.as_str());
                        }
                    }
                    let request = HttpRequest::try_from(request.body(SdkBody::from(body)).unwrap()).unwrap();
                    let head = asked.method() == &Method::Head;
                    let answer = runtime.block_on(HttpConnector::call(&bucket, request)).unwrap();
                    let bytes = answer.body().bytes().unwrap_or_default().to_vec();
                    let mut response = Response::from_data(if head { Vec::new() } else { bytes })
                        .with_status_code(answer.status().as_u16());
                    for (name, value) in answer.headers() {
                        if name != "content-length" {
                            response.add_header(Header::from_bytes(name, value).unwrap());
                        }
                    }
                    let _ = asked.respond(response);
                }
            }
        });
        Served { url, server, thread: Some(thread) }
    }
}

/// A bucket over HTTP. It stops when dropped.
pub(crate) struct Served {
    pub(crate) url: String,
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn asked(request: &HttpRequest) -> Asked {
    let uri = request.uri();
    let path = uri.split_once(".invalid/").unwrap().1;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let key = path.split_once('/').map_or("", |(_, key)| key).to_owned();
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    let operation = match request.method() {
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" => "CompleteMultipartUpload",
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        "GET" if has("uploads") => "ListMultipartUploads",
        "GET" if key.is_empty() => "ListObjectsV2",
        "GET" => "GetObject",
        other => panic!("no test knows {other}"),
    };
    let headers = request.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Asked { operation, key, headers }
}

impl HttpConnector for Bucket {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = asked(&request);
        let fault = {
            let (plan, all) = &mut *self.shared.lock().unwrap();
            let fault = plan(all.len(), asked.operation);
            all.push(asked);
            fault
        };
        let lost = || ConnectorError::io("the connection broke".into());
        let s3 = self.s3.clone();
        HttpConnectorFuture::new(async move {
            match fault {
                Some(Fault::LostBefore) => Err(lost()),
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::LostAfter) => HttpConnector::call(&s3, request).await.and_then(|_| Err(lost())),
                Some(Fault::HangAfter) => {
                    let _ = HttpConnector::call(&s3, request).await;
                    std::future::pending().await
                }
                Some(other) => panic!("no fault of S3: {other:?}"),
                None => HttpConnector::call(&s3, request).await,
            }
        })
    }
}

impl HttpClient for Bucket {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
