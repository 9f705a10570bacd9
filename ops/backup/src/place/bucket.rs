//! A bucket as a place: what is asked of the server, how long, and what its refusals mean; conditions keep two writers
//! apart.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    UpdateVersion,
};

use super::parts::{PartReader, PartWriter};
use super::{Listed, PlaceError, Version};

/// One request, a part included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How often something is asked for again when no whole answer came, beyond what the client does by itself.
pub(super) const TRIES_MAX: u32 = 3;

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
    pub(super) store: Arc<AmazonS3>,
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

    pub(super) fn fail(&self, error: &Error) -> PlaceError {
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

    pub(super) fn begin(&self, path: &str) -> PartWriter {
        PartWriter::new(self.clone(), self.path(path))
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
        let (at, mut tried) = (self.path(path), 1);
        loop {
            match self.store.put_opts(&at, content.to_vec().into(), options.clone()).await {
                Ok(_) => return Ok(true),
                // It may be ours: the client asks again by itself after some cuts.
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    let present = self.get(path, usize::MAX).await?;
                    return Ok(present.is_some_and(|(present, _)| present == content));
                }
                Err(error) if tried < TRIES_MAX && is_unanswered(&error) => {
                    // It may have been done all the same.
                    match self.get(path, usize::MAX).await? {
                        Some((present, _)) if present == content => return Ok(true),
                        Some((_, version)) if version != *expected => return Ok(false),
                        None if *expected != Version::Absent => return Ok(false),
                        _ => tried += 1,
                    }
                }
                Err(error) => return Err(self.fail(&error)),
            }
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
        PartReader::open(self.clone(), self.path(path)).await
    }

    pub(super) async fn list(&self, below: &str) -> Result<Vec<Listed>, PlaceError> {
        let below = self.path(below);
        let mut tried = 1;
        loop {
            match self.list_once(&below).await {
                Err(error) if tried < TRIES_MAX && is_unanswered(&error) => tried += 1,
                listed => return listed.map_err(|error| self.fail(&error)),
            }
        }
    }

    async fn list_once(&self, below: &Path) -> object_store::Result<Vec<Listed>> {
        let mut stream = self.store.list(Some(below));
        let mut found = Vec::new();
        while let Some(meta) = stream.next().await.transpose()? {
            let path = meta.location.to_string();
            let path = path.strip_prefix(&self.prefix).unwrap_or(&path).trim_start_matches('/');
            found.push(Listed { path: path.to_owned(), bytes: meta.size });
        }
        Ok(found)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), PlaceError> {
        let (at, mut tried) = (self.path(path), 1);
        loop {
            match self.store.delete(&at).await {
                Ok(()) | Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) if tried < TRIES_MAX && is_unanswered(&error) => tried += 1,
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }
}

/// Whether the connection went before an answer came, so that nobody knows what was done.
pub(super) fn is_unanswered(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(error) = found.downcast_ref::<HttpError>() {
            return error.kind() != HttpErrorKind::Connect;
        }
        cause = found.source();
    }
    false
}

/// Servers answer in several lines of XML.
pub(super) fn one_line(error: &Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
