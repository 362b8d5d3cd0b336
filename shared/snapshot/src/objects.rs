//! The bucket: the only file that calls S3.

use crate::SnapshotError;
use crate::format::{PREFIX, SnapshotId};
use aws::{ConnectError, Environment};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass};
use aws_smithy_async::rt::sleep::TokioSleep;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use domain::Timestamp;
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::time::Duration;
use telemetry::Chain;

/// Bytes that are written or read at once.
pub const PART_BYTES: usize = 8 << 20;
/// Time for one attempt: a part takes a second at 8 MB/s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPTS_MAX: u32 = 5;
/// `If-None-Match: *`: a write succeeds only if the object does not exist yet.
const NOTHING: &str = "*";

/// The checksum settings of every S3 client of ours. Each write carries its MD5, and everything that is read is
/// compared with the manifest, so S3's newer checksums would only repeat the calculation.
#[must_use]
pub fn checksums(config: aws_sdk_s3::config::Builder) -> aws_sdk_s3::config::Builder {
    config
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

/// A client for S3 in the region of the environment, or at `AWS_ENDPOINT_URL_S3`.
///
/// # Errors
/// A missing variable or an unusable certificate file.
pub fn connect_from_env() -> Result<Client, ConnectError> {
    let environment = Environment::read("s3", std::env::var("AWS_ENDPOINT_URL_S3").ok())?;
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(environment.http)
        .region(environment.region)
        .credentials_provider(environment.credentials)
        // With path-style addresses all requests go to one host, so one certificate is enough.
        .force_path_style(true)
        .sleep_impl(TokioSleep::new())
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS_MAX)
                .with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(environment.endpoint);
    Ok(Client::from_conf(checksums(config).build()))
}

/// A bucket of snapshots.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Client,
    bucket: String,
    storage_class: StorageClass,
}

/// The objects of one snapshot in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub snapshot: SnapshotId,
    /// Whether the manifest exists. Without it, the entry is not a snapshot but the leftover of an interrupted run.
    pub has_manifest: bool,
    /// Size in bytes of each object except the manifest, by key.
    pub lines: BTreeMap<String, u64>,
    /// When the last of its objects was written.
    pub last_modified: Timestamp,
    /// All its bytes.
    pub bytes: u64,
}

/// An upload that was begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Key of the object that the upload would have become.
    pub key: String,
    /// S3's id of the upload.
    pub upload: String,
    /// When it was begun.
    pub begun: Timestamp,
}

impl Objects {
    /// The snapshots in `bucket`.
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), storage_class: StorageClass::Standard }
    }

    /// Sets the storage class of uploads. Manifests stay in the standard class, because they are small and read often.
    #[must_use]
    pub fn with_storage_class(mut self, storage_class: StorageClass) -> Self {
        self.storage_class = storage_class;
        self
    }

    /// Writes a small object that must not exist yet. An existing object with the same bytes counts as success, because
    /// the answer to an earlier attempt may have been lost.
    ///
    /// # Errors
    /// [`SnapshotError::Exists`] if there is a different object of that name; [`SnapshotError::Unreachable`].
    pub async fn put_new(&self, key: &str, bytes: Vec<u8>, content_type: &str) -> Result<(), SnapshotError> {
        match self.put(key, bytes.clone(), content_type, StorageClass::Standard).await {
            Err(SnapshotError::Exists(key)) if self.read(&key, bytes.len()).await? == Some(bytes) => Ok(()),
            outcome => outcome,
        }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, kind: &str, class: StorageClass) -> Result<(), SnapshotError> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).content_type(kind);
        let request = request.content_md5(content_md5(&bytes)).if_none_match(NOTHING).storage_class(class);
        let request = request.server_side_encryption(ServerSideEncryption::Aes256);
        request.body(ByteStream::from(bytes)).send().await.map(drop).map_err(|error| failed(key, error))
    }

    /// Reads an object of at most `bytes_max` bytes. `None`: it is longer.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::Unreachable`].
    pub async fn read(&self, key: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
        let mut reader = self.open(key).await?;
        let mut whole = Vec::new();
        if reader.bytes() > bytes_max as u64 {
            return Ok(None);
        }
        while let Some(part) = reader.next().await? {
            whole.extend_from_slice(&part);
        }
        Ok(Some(whole))
    }

    /// Begins to write an object of any length that must not exist yet.
    #[must_use]
    pub fn upload(&self, key: &str, content_type: &str) -> Upload {
        Upload {
            objects: self.clone(),
            key: key.to_owned(),
            content_type: content_type.to_owned(),
            buffer: Vec::with_capacity(PART_BYTES),
            id: None,
            parts: Vec::new(),
        }
    }

    /// Opens an object and reads its first bytes.
    ///
    /// # Errors
    /// [`SnapshotError::NotFound`], [`SnapshotError::Unreachable`].
    pub async fn open(&self, key: &str) -> Result<Reader, SnapshotError> {
        let mut reader =
            Reader { objects: self.clone(), key: key.to_owned(), etag: None, bytes: 0, position: 0, first: None };
        reader.first = reader.fetch().await?;
        Ok(reader)
    }

    /// All snapshots and leftovers in the bucket, the oldest first.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`]; an incomplete list is an error, never a shorter list.
    pub async fn list(&self) -> Result<Vec<Listed>, SnapshotError> {
        let mut found = BTreeMap::<SnapshotId, Listed>::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(PREFIX).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| failed(PREFIX, error))?.contents.unwrap_or_default() {
                let Some((id, key)) = object.key().and_then(|key| Some((SnapshotId::of_key(key)?, key))) else {
                    continue;
                };
                let listed = found.entry(id.clone()).or_insert_with(|| Listed {
                    snapshot: id.clone(),
                    has_manifest: false,
                    lines: BTreeMap::new(),
                    last_modified: Timestamp::from_ms(0),
                    bytes: 0,
                });
                let bytes = object.size().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
                if key == id.manifest_key() {
                    listed.has_manifest = true;
                } else {
                    listed.lines.insert(key.to_owned(), bytes);
                }
                listed.last_modified = listed.last_modified.max(timestamp(object.last_modified()));
                listed.bytes += bytes;
            }
        }
        Ok(found.into_values().collect())
    }

    /// Removes an object. A missing object is not an error.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn delete(&self, key: &str) -> Result<(), SnapshotError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key);
        request.send().await.map(drop).map_err(|error| failed(key, error))
    }

    /// Uploads that were begun and neither finished nor given up.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, SnapshotError> {
        let mut found = Vec::new();
        let (mut key, mut upload) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(PREFIX);
            let request = request.set_key_marker(key).set_upload_id_marker(upload);
            let page = request.send().await.map_err(|error| failed(PREFIX, error))?;
            for begun in page.uploads() {
                if let (Some(key), Some(upload)) = (begun.key(), begun.upload_id()) {
                    let begun = timestamp(begun.initiated());
                    found.push(Unfinished { key: key.to_owned(), upload: upload.to_owned(), begun });
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            (key, upload) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// Aborts an upload and removes its stored parts.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`].
    pub async fn give_up(&self, upload: &Unfinished) -> Result<(), SnapshotError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket);
        match request.key(&upload.key).upload_id(&upload.upload).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(context)) if context.err().is_no_such_upload() => Ok(()),
            Err(error) => Err(failed(&upload.key, error)),
        }
    }
}

/// An object that is being written. It does not exist before [`Upload::finish`] has succeeded.
#[derive(Debug)]
pub struct Upload {
    objects: Objects,
    key: String,
    content_type: String,
    /// The bytes of the next part, which is not full yet.
    buffer: Vec<u8>,
    /// `None` while all bytes fit into one part.
    id: Option<String>,
    parts: Vec<CompletedPart>,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Unreachable`]; call [`Upload::abort`] then.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PART_BYTES {
                self.part().await?;
            }
        }
        Ok(())
    }

    async fn part(&mut self) -> Result<(), SnapshotError> {
        let Objects { client, bucket, storage_class } = &self.objects;
        if self.id.is_none() {
            let request = client.create_multipart_upload().bucket(bucket).key(&self.key);
            let request = request.content_type(&self.content_type).storage_class(storage_class.clone());
            let request = request.server_side_encryption(ServerSideEncryption::Aes256);
            self.id = request.send().await.map_err(|error| failed(&self.key, error))?.upload_id;
        }
        // S3 takes at most 10 000 parts and refuses the next one.
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(PART_BYTES));
        let request =
            client.upload_part().bucket(bucket).key(&self.key).set_upload_id(self.id.clone()).part_number(number);
        let request = request.content_md5(content_md5(&bytes)).body(ByteStream::from(bytes));
        let part = request.send().await.map_err(|error| failed(&self.key, error))?;
        self.parts.push(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build());
        Ok(())
    }

    /// Completes the object.
    ///
    /// # Errors
    /// [`SnapshotError::Exists`] if there is an object of that name. It may be this one, if an answer was lost: read it
    /// to find out. [`SnapshotError::Unreachable`].
    pub async fn finish(&mut self) -> Result<(), SnapshotError> {
        if self.id.is_none() {
            let (bytes, storage_class) = (std::mem::take(&mut self.buffer), self.objects.storage_class.clone());
            return self.objects.put(&self.key, bytes, &self.content_type, storage_class).await;
        }
        if !self.buffer.is_empty() {
            self.part().await?;
        }
        let Objects { client, bucket, .. } = &self.objects;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone())).build();
        let request = client.complete_multipart_upload().bucket(bucket).key(&self.key).multipart_upload(parts);
        let request = request.set_upload_id(self.id.clone()).if_none_match(NOTHING);
        request.send().await.map(drop).map_err(|error| failed(&self.key, error))
    }

    /// Aborts the upload. If that fails, a later run finds it with [`Objects::unfinished`] and removes it.
    pub async fn abort(self) {
        let Some(upload) = self.id else { return };
        let unfinished = Unfinished { key: self.key, upload, begun: Timestamp::from_ms(0) };
        if let Err(error) = self.objects.give_up(&unfinished).await {
            tracing::warn!(error = %Chain(&error), key = unfinished.key, "failed to abort the upload");
        }
    }
}

/// An object that is read part by part. A check of the `ETag` makes sure that all parts belong to the same object.
#[derive(Debug)]
pub struct Reader {
    objects: Objects,
    key: String,
    etag: Option<String>,
    bytes: u64,
    position: u64,
    first: Option<Vec<u8>>,
}

impl Reader {
    /// All bytes of the object.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes, at most [`PART_BYTES`]; None at the end.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the object was replaced in the meantime; [`SnapshotError::NotFound`] if it was
    /// removed;
    /// [`SnapshotError::Unreachable`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let part = match self.first.take() {
            Some(first) => Some(first),
            None if self.position >= self.bytes => None,
            None => self.fetch().await?,
        };
        self.position += part.as_ref().map_or(0, |part| part.len() as u64);
        Ok(part)
    }

    /// Goes back to the beginning of the same object.
    pub fn rewind(&mut self) {
        self.first = None;
        self.position = 0;
    }

    async fn fetch(&mut self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let range = format!("bytes={}-{}", self.position, self.position + PART_BYTES as u64 - 1);
        let request = self.objects.client.get_object().bucket(&self.objects.bucket).key(&self.key).range(range);
        let answer = match request.set_if_match(self.etag.clone()).send().await {
            Ok(answer) => answer,
            // A range request for an empty object fails, because there is no first byte.
            Err(error) if self.position == 0 && self.etag.is_none() && code(&error) == Some("InvalidRange") => {
                return Ok(None);
            }
            Err(error) if status(&error) == Some(412) => return Err(self.changed()),
            Err(error) => return Err(failed(&self.key, error)),
        };
        let (etag, whole) = (answer.e_tag().map(str::to_owned), whole_bytes(&answer));
        if self.etag.is_some() && (self.etag != etag || self.bytes != whole) {
            return Err(self.changed());
        }
        (self.etag, self.bytes) = (etag, whole);
        let body = answer.body.collect().await.map_err(|error| SnapshotError::Unreachable(error.into()))?;
        let body = body.to_vec();
        let expected = (self.bytes - self.position.min(self.bytes)).min(PART_BYTES as u64);
        if body.len() as u64 != expected {
            let problem = format!("{} bytes were received of {expected}", body.len());
            return Err(SnapshotError::Unreachable(problem.into()));
        }
        Ok(Some(body))
    }

    fn changed(&self) -> SnapshotError {
        SnapshotError::Damaged { object: self.key.clone(), problem: "it was replaced while it was read".to_owned() }
    }
}

/// Length of the whole object; the answer itself holds only a part of it.
fn whole_bytes(answer: &GetObjectOutput) -> u64 {
    let whole =
        answer.content_range().and_then(|range| range.rsplit_once('/')).and_then(|(_, whole)| whole.parse().ok());
    whole.or_else(|| answer.content_length().and_then(|bytes| u64::try_from(bytes).ok())).unwrap_or_default()
}

fn content_md5(bytes: &[u8]) -> String {
    BASE64.encode(Md5::digest(bytes))
}

fn timestamp(at: Option<&DateTime>) -> Timestamp {
    let ms = at.and_then(|at| at.to_millis().ok()).and_then(|ms| u64::try_from(ms).ok());
    Timestamp::from_ms(ms.unwrap_or_default())
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Maps a failed call to an error. A missing bucket counts as unreachable, not as a missing snapshot.
fn failed<E>(key: &str, error: SdkError<E>) -> SnapshotError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match (code(&error), status(&error)) {
        (Some("NoSuchKey"), _) => SnapshotError::NotFound(key.to_owned()),
        (_, Some(412)) => SnapshotError::Exists(key.to_owned()),
        _ if matches!(error, SdkError::ConstructionFailure(_)) => SnapshotError::Internal(error.into()),
        _ => SnapshotError::Unreachable(Chain(&error).to_string().into()),
    }
}
