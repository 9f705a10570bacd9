//! A bucket as a place: objects go up in parts, each tried again by itself when the connection is cut; conditions keep
//! two writers apart.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    UpdateVersion, WriteMultipart,
};

use super::{Listed, PlaceError, Version};

/// Bytes of a part: with 10,000 parts an object may have 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const PARTS_MAX: usize = 3;
/// One request, a part included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// What servers say that have no room left.
const FULL: [&str; 4] = ["StorageFull", "QuotaExceeded", "InsufficientStorage", "507 "];
/// What comes of a listing that is denied, which is no error of its own.
const DENIED: [&str; 2] = ["403 Forbidden", "401 Unauthorized"];
/// What they say to a clock that is wrong.
const SKEWED: &str = "RequestTimeTooSkewed";

/// How to reach the server. Without keys the environment's own identity is used (instance, pod).
#[derive(Clone, Default)]
pub struct BucketAccess {
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    /// How long a failing request is tried again.
    pub patience: Option<Duration>,
}

impl fmt::Debug for BucketAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketAccess").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A bucket, or what lies below a prefix of one.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    bucket: String,
    prefix: String,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl Bucket {
    /// Prepares access; nothing is asked of the server yet.
    pub fn open(bucket: &str, prefix: &str, access: &BucketAccess) -> Result<Self, PlaceError> {
        let patience = access.patience.unwrap_or(Duration::from_secs(180));
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(10), ..BackoffConfig::default() },
            max_retries: 20,
            retry_timeout: patience,
        };
        let client = ClientOptions::new()
            .with_timeout(REQUEST_DEADLINE)
            .with_connect_timeout(CONNECT_DEADLINE)
            .with_allow_http(true);
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_retry(retry)
            .with_bucket_name(bucket)
            .with_region(access.region.as_deref().unwrap_or("us-east-1"));
        if let Some(endpoint) = &access.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(key), Some(secret)) = (&access.access_key, &access.secret_key) {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        let built = builder
            .build()
            .map_err(|error| PlaceError::Failed { place: format!("s3://{bucket}"), why: one_line(&error) });
        Ok(Self { store: Arc::new(built?), bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    fn path(&self, path: &str) -> Path {
        if self.prefix.is_empty() { Path::from(path) } else { Path::from(format!("{}/{path}", self.prefix)) }
    }

    fn fail(&self, error: &Error) -> PlaceError {
        let (place, why) = (self.to_string(), one_line(error));
        match error {
            _ if why.contains("NoSuchBucket") => PlaceError::NoBucket { place },
            // Some servers deny what they have no room for, or whom they take for late.
            _ if FULL.iter().any(|word| why.contains(word)) => PlaceError::Full { place },
            _ if why.contains(SKEWED) => PlaceError::Clock { place },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => PlaceError::Denied { place },
            _ if DENIED.iter().any(|word| why.contains(word)) => PlaceError::Denied { place },
            Error::NotFound { path, .. } => PlaceError::Missing { place, object: path.clone() },
            _ => PlaceError::Failed { place, why },
        }
    }

    /// Asks nothing of the server yet: what fits in one part goes up in one request.
    pub(super) fn begin(&self, path: &str) -> PartWriter {
        PartWriter { bucket: self.clone(), path: self.path(path), held: Vec::new(), upload: None }
    }

    pub(super) async fn replace(
        &self,
        path: &str,
        content: &[u8],
        expected: &Version,
    ) -> Result<bool, PlaceError> {
        let mode = match expected {
            Version::Absent => PutMode::Create,
            Version::Is(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.path(path), content.to_vec().into(), options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.fail(&error)),
        }
    }

    pub(super) async fn get(
        &self,
        path: &str,
        bytes_max: usize,
    ) -> Result<Option<(Vec<u8>, Version)>, PlaceError> {
        let found = match self.store.get(&self.path(path)).await {
            Ok(found) => found,
            Err(error @ Error::NotFound { .. }) => {
                return match self.fail(&error) {
                    PlaceError::Missing { .. } => Ok(None),
                    other => Err(other),
                };
            }
            Err(error) => return Err(self.fail(&error)),
        };
        if found.meta.size > bytes_max as u64 {
            let why = format!("{path} is larger than it can be");
            return Err(PlaceError::Failed { place: self.to_string(), why });
        }
        let version = Version::Is(found.meta.e_tag.clone().unwrap_or_default());
        let content = found.bytes().await.map_err(|error| self.fail(&error))?;
        Ok(Some((content.into(), version)))
    }

    pub(super) async fn read(&self, path: &str) -> Result<PartReader, PlaceError> {
        let found = self.store.get(&self.path(path)).await.map_err(|error| self.fail(&error))?;
        Ok(PartReader { bucket: self.clone(), stream: found.into_stream() })
    }

    pub(super) async fn list(&self, below: &str) -> Result<Vec<Listed>, PlaceError> {
        let below = self.path(below);
        let mut stream = self.store.list(Some(&below));
        let mut found = Vec::new();
        while let Some(next) = stream.next().await {
            let meta = next.map_err(|error| self.fail(&error))?;
            let path = meta.location.to_string();
            let path = path.strip_prefix(&self.prefix).unwrap_or(&path).trim_start_matches('/');
            found.push(Listed { path: path.to_owned(), bytes: meta.size });
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), PlaceError> {
        match self.store.delete(&self.path(path)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fail(&error)),
        }
    }
}

/// Servers answer in several lines of XML.
fn one_line(error: &Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An object going up.
pub struct PartWriter {
    bucket: Bucket,
    path: Path,
    /// Everything, while it is less than a part.
    held: Vec<u8>,
    upload: Option<WriteMultipart>,
}

impl PartWriter {
    pub(super) async fn push(&mut self, bytes: Vec<u8>) -> Result<(), PlaceError> {
        let pushed = match &mut self.upload {
            Some(upload) => upload.wait_for_capacity(PARTS_MAX).await.map(|()| upload.put(bytes.into())),
            None => self.hold(bytes).await,
        };
        pushed.map_err(|error| self.bucket.fail(&error))
    }

    async fn hold(&mut self, bytes: Vec<u8>) -> object_store::Result<()> {
        self.held.extend_from_slice(&bytes);
        if self.held.len() >= PART_BYTES {
            let upload = self.bucket.store.put_multipart(&self.path).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            upload.put(std::mem::take(&mut self.held).into());
            self.upload = Some(upload);
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<(), PlaceError> {
        let Self { bucket, path, held, upload } = self;
        let done = match upload {
            Some(upload) => upload.finish().await,
            None => bucket.store.put(&path, held.into()).await,
        };
        done.map(drop).map_err(|error| bucket.fail(&error))
    }

    pub(super) async fn abandon(self) {
        let Some(upload) = self.upload else { return };
        if let Err(error) = upload.abort().await {
            tracing::warn!(
                why = one_line(&error),
                "an upload could not be aborted; the bucket's rules end it"
            );
        }
    }
}

/// An object coming down.
pub struct PartReader {
    bucket: Bucket,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl PartReader {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PlaceError> {
        self.stream.next().await.transpose().map_err(|error| self.bucket.fail(&error))
    }
}
