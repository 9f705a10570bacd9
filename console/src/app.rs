//! What every request can reach: the store, the keys, the limits, the clock. Built once, shared by reference.

use std::ops::Deref;
use std::sync::Arc;

use schema_store::{Accounts, Store};

use crate::access::limit::Limiter;
use crate::access::password::Hasher;
use crate::access::token::Tokens;
use crate::api::reports::Reports;
use crate::clock::Clock;
use crate::config::ConsoleConfig;
use crate::front::metrics::Metrics;
use crate::mail::Post;

/// A store that serves accounts and can say whether it is well.
pub trait Backing: Accounts + Store {}
impl<S: Accounts + Store> Backing for S {}

/// Everything a request needs.
pub struct Shared<S> {
    pub store: S,
    pub config: ConsoleConfig,
    pub clock: Clock,
    pub tokens: Tokens,
    /// The published public keys.
    pub jwks: String,
    pub hasher: Hasher,
    pub limiter: Limiter,
    pub metrics: Arc<Metrics>,
    pub post: Post,
    /// Where reports go; `None`: nobody reads any.
    pub reports: Option<Reports>,
}

/// A cheap handle on it.
pub struct App<S>(Arc<Shared<S>>);

impl<S> App<S> {
    /// Shares it.
    pub fn new(shared: Shared<S>) -> Self {
        Self(Arc::new(shared))
    }
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Deref for App<S> {
    type Target = Shared<S>;

    fn deref(&self) -> &Shared<S> {
        &self.0
    }
}
