//! S3 in a directory, as the HTTP client of AWS's SDK: requests reach it inside the process.

use crate::private;
use async_trait::async_trait;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_s3::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use s3s::dto;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the bucket and of its directory.
pub const BUCKET: &str = "snapshots";
/// Name of the lock file. Only one process at a time may use the directory, because the library's temporary file names
/// are the same in every process.
const LOCK: &str = "lock";
/// Pause between two attempts to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be created, read or written.
    #[error("snapshot directory {path} cannot be used: {problem}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        problem: String,
    },
    /// Another process uses it.
    #[error("snapshot directory {path} is in use by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// A directory that behaves like S3. As long as this value lives, no other process can use the directory.
#[derive(Debug, Clone)]
pub struct Directory {
    service: S3Service,
    /// Released with the last handle.
    _lock: Arc<File>,
}

impl Directory {
    /// Opens or creates the directory and its bucket, and removes the unfinished files of an interrupted process. If
    /// another process uses it, this waits for at most `patience`, and blocks the thread.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(path: &Path, patience: Duration) -> Result<Self, DirectoryError> {
        let unusable = |error: io::Error| DirectoryError::Unusable { path: path.into(), problem: error.to_string() };
        private::directory(path).map_err(unusable)?;
        private::directory(&path.join(BUCKET)).map_err(unusable)?;
        let lock = lock(path, patience)?;
        let root = path.canonicalize().map_err(unusable)?;
        remove_unfinished(&root).map_err(unusable)?;
        let files = FileSystem::new(&root).map_err(|error| unusable(io::Error::other(format!("{error:?}"))))?;
        let service = S3ServiceBuilder::new(Durable { files, root }).build();
        Ok(Self { service, _lock: Arc::new(lock) })
    }

    /// AWS's client on this directory.
    #[must_use]
    pub fn client(&self) -> Client {
        client(self.clone())
    }
}

/// AWS's client for an S3 in this process. It needs neither retries nor credentials, because there is no network below
/// it.
#[must_use]
pub fn client(http: impl HttpClient + 'static) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(SharedHttpClient::new(http))
        .region(Region::new("local"))
        .endpoint_url("http://embedded.invalid")
        .force_path_style(true)
        .allow_no_auth()
        .retry_config(RetryConfig::disabled());
    Client::from_conf(snapshot::objects::checksums(config).build())
}

fn lock(path: &Path, patience: Duration) -> Result<File, DirectoryError> {
    let unusable = |error: io::Error| DirectoryError::Unusable { path: path.into(), problem: error.to_string() };
    let options = &mut File::options();
    let options = options.create(true).truncate(false).write(true);
    let file = private::open(options, &path.join(LOCK)).map_err(unusable)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Locked { path: path.into() }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
}

/// Removes unfinished uploads. Their process is gone: it held the lock that this process holds now.
fn remove_unfinished(root: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".upload") || Pending::of(&name).is_some() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// An unfinished upload, parsed from the name of the file in which the library keeps its headers.
#[derive(Debug, PartialEq, Eq)]
struct Pending {
    bucket: String,
    key: String,
    upload: String,
}

impl Pending {
    fn of(name: &str) -> Option<Self> {
        let decode = |text: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let (bucket, rest) = name.strip_prefix(".bucket-")?.split_once(".object-")?;
        let (key, upload) = rest.strip_suffix(".metadata.json")?.split_once(".upload-")?;
        Some(Self { bucket: decode(bucket)?, key: decode(key)?, upload: upload.to_owned() })
    }
}

/// The library's S3 with additions: an acknowledged object is synced to disk, uploads can be listed, removing an object
/// leaves nothing behind, and every storage class is accepted (all are the same here).
#[derive(Debug)]
struct Durable {
    files: FileSystem,
    root: PathBuf,
}

impl Durable {
    /// Syncs an object and its directory to disk.
    fn sync(&self, bucket: &str, key: &str) -> S3Result<()> {
        let path = self.root.join(bucket).join(key);
        let directory = path.parent().unwrap_or(&self.root).to_owned();
        let synced = File::open(path).and_then(|file| file.sync_all()).and_then(|()| File::open(directory)?.sync_all());
        synced.map_err(|error| s3_error!(error, InternalError))
    }
}

#[async_trait]
impl S3 for Durable {
    async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        request.input.storage_class = None;
        let answer = self.files.put_object(request).await?;
        self.sync(&bucket, &key)?;
        Ok(answer)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        self.files.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> S3Result<S3Response<dto::UploadPartOutput>> {
        self.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let answer = self.files.complete_multipart_upload(request).await?;
        self.sync(&bucket, &key)?;
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(request).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let failed = |error: io::Error| s3_error!(error, InternalError);
        let (bucket, prefix) = (request.input.bucket, request.input.prefix.unwrap_or_default());
        let mut uploads = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let pending = Pending::of(&entry.file_name().to_string_lossy());
            let wanted = |pending: &Pending| pending.bucket == bucket && pending.key.starts_with(&prefix);
            if let Some(pending) = pending.filter(wanted) {
                let begun = entry.metadata().and_then(|file| file.modified()).map_err(failed)?;
                uploads.push(dto::MultipartUpload {
                    key: Some(pending.key),
                    upload_id: Some(pending.upload),
                    initiated: Some(begun.into()),
                    ..Default::default()
                });
            }
        }
        let output = dto::ListMultipartUploadsOutput {
            bucket: Some(bucket),
            uploads: Some(uploads),
            is_truncated: Some(false),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let expected = request.input.if_match.clone();
        let answer = self.files.get_object(request).await?;
        if let (Some(dto::ETagCondition::ETag(expected)), Some(found)) = (expected, &answer.output.e_tag)
            && !found.strong_cmp(&expected)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        Ok(answer)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let [bucket, key] = [&request.input.bucket, &request.input.key].map(|name| URL_SAFE_NO_PAD.encode(name));
        let answer = self.files.delete_object(request).await?;
        for what in ["metadata", "internal"] {
            match std::fs::remove_file(self.root.join(format!(".bucket-{bucket}.object-{key}.{what}.json"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(s3_error!(error, InternalError)),
                _ => {}
            }
        }
        Ok(answer)
    }
}

impl HttpConnector for Directory {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let directory = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request = request.map(|body| s3s::Body::from(body.bytes().unwrap_or_default().to_vec()));
            let other = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::other(error, None);
            let answer = directory.service.call(request).await.map_err(|error| other(format!("{error:?}").into()))?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.map_err(other)?;
            let answer = hyper::Response::from_parts(parts, SdkBody::from(body.to_bytes()));
            HttpResponse::try_from(answer).map_err(|error| other(error.into()))
        })
    }
}

impl HttpClient for Directory {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use snapshot::SnapshotError;
    use snapshot::format::{Compression, SnapshotId};
    use snapshot::objects::{Objects, PART_BYTES};

    fn opened() -> (tempfile::TempDir, Objects) {
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::new(Directory::open(directory.path(), Duration::ZERO).unwrap().client(), BUCKET);
        (directory, objects)
    }

    async fn whole(objects: &Objects, key: &str) -> Vec<u8> {
        objects.read(key, usize::MAX).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn an_object_is_written_once_and_read_in_parts() {
        let (_directory, objects) = opened();
        for bytes in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7] {
            let written: Vec<u8> = (0_u8..251).cycle().take(bytes).collect();
            let key = format!("database-backups/{bytes}");
            for again in [false, true] {
                let mut upload = objects.upload(&key, "text/plain");
                for part in written.chunks(3_000_000) {
                    upload.write(part).await.unwrap();
                }
                let finished = upload.finish().await;
                assert_eq!(matches!(finished, Err(SnapshotError::Exists(_))), again, "{bytes}: {finished:?}");
                upload.abort().await;
            }
            assert!(whole(&objects, &key).await == written, "{bytes} bytes");
            let mut reader = objects.open(&key).await.unwrap();
            assert_eq!(reader.bytes(), bytes as u64);
            let mut parts = 0;
            while reader.next().await.unwrap().is_some() {
                parts += 1;
            }
            assert_eq!(parts, bytes.div_ceil(PART_BYTES));
            reader.rewind();
            assert_eq!(reader.next().await.unwrap().is_some(), bytes > 0);
        }
        assert_eq!(objects.unfinished().await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_same_object_may_be_put_again_and_no_other() {
        let (_directory, objects) = opened();
        objects.put_new("a", b"one".to_vec(), "text/plain").await.unwrap();
        objects.put_new("a", b"one".to_vec(), "text/plain").await.unwrap();
        let other = objects.put_new("a", b"two".to_vec(), "text/plain").await;
        assert!(matches!(other, Err(SnapshotError::Exists(key)) if key == "a"));
        assert_eq!(whole(&objects, "a").await, b"one");
    }

    #[tokio::test]
    async fn an_object_that_is_replaced_while_it_is_read_is_damaged() {
        let (_directory, objects) = opened();
        let mut upload = objects.upload("a", "text/plain");
        upload.write(&vec![1; PART_BYTES + 1]).await.unwrap();
        upload.finish().await.unwrap();
        let mut reader = objects.open("a").await.unwrap();
        reader.next().await.unwrap().unwrap();
        objects.delete("a").await.unwrap();
        assert!(matches!(reader.next().await, Err(SnapshotError::NotFound(_))));
        let mut upload = objects.upload("a", "text/plain");
        upload.write(&vec![2; PART_BYTES + 1]).await.unwrap();
        upload.finish().await.unwrap();
        assert!(matches!(reader.next().await, Err(SnapshotError::Damaged { .. })));
    }

    #[tokio::test]
    async fn objects_are_listed_by_snapshot() {
        let (directory, objects) = opened();
        let [first, second] = [1_795_257_125_000, 1_795_257_126_000].map(|ms| SnapshotId::at(Timestamp::from_ms(ms)));
        objects.put_new(&second.lines_key(Compression::Gzip), vec![0; 10], "x/y").await.unwrap();
        objects.put_new(&first.lines_key(Compression::None), vec![0; 5], "x/y").await.unwrap();
        objects.put_new(&first.manifest_key(), vec![0; 3], "x/y").await.unwrap();
        objects.put_new("database-backups/another", vec![0; 3], "x/y").await.unwrap();
        let listed = objects.list().await.unwrap();
        let figures: Vec<_> =
            listed.iter().map(|one| (one.snapshot.clone(), one.has_manifest, one.lines.len(), one.bytes)).collect();
        assert_eq!(figures, [(first.clone(), true, 1, 8), (second, false, 1, 10)]);
        assert!(listed[0].last_modified.ms() > 1_700_000_000_000);
        assert!(matches!(objects.open("nothing").await, Err(SnapshotError::NotFound(key)) if key == "nothing"));

        for key in [first.lines_key(Compression::None), first.manifest_key(), "nothing".to_owned()] {
            objects.delete(&key).await.unwrap();
        }
        assert_eq!(objects.list().await.unwrap().len(), 1);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 2 + 2 * 2, "bucket, lock, and two files for each of two objects");
    }

    #[tokio::test]
    async fn an_unfinished_upload_is_listed_and_can_be_given_up_or_ends_with_the_process() {
        let directory = tempfile::tempdir().unwrap();
        for given_up in [true, false] {
            let opened = Directory::open(directory.path(), Duration::ZERO).unwrap();
            let objects = Objects::new(opened.client(), BUCKET);
            let mut upload = objects.upload("database-backups/a", "x/y");
            upload.write(&vec![0; PART_BYTES]).await.unwrap();
            let unfinished = objects.unfinished().await.unwrap();
            assert_eq!(unfinished.len(), 1);
            if given_up {
                objects.give_up(&unfinished[0]).await.unwrap();
                assert!(upload.finish().await.is_err());
                assert_eq!(objects.unfinished().await.unwrap(), []);
            }
        }
        let _opened = Directory::open(directory.path(), Duration::ZERO).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "bucket and lock");
    }

    #[test]
    fn a_directory_is_used_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Directory::open(directory.path(), Duration::ZERO).unwrap();
        let second = Directory::open(directory.path(), Duration::ZERO);
        assert!(matches!(second, Err(DirectoryError::Locked { .. })));
        drop(first);
        Directory::open(directory.path(), Duration::ZERO).unwrap();
    }
}
