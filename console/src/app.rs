//! What every request can reach: the store, the keys, the limits, the clock. Built once, shared by reference.

use std::ops::Deref;
use std::sync::Arc;

use schema_store::{
    Accounts, ConsoleAccess, Detection, Moderation, Nodes, Operations, Oversight, Services, Store,
};

use crate::access::limit::Limiter;
use crate::access::password::Hasher;
use crate::access::seal::Seal;
use crate::access::shared::SharedLimits;
use crate::access::token::Tokens;
use crate::access::webauthn::{NoParty, RelyingParty};
use crate::bans::Bans;
use crate::caseload::Caseload;
use crate::clock::Clock;
use crate::cluster::watch::Watch;
use crate::config::ConsoleConfig;
use crate::front::metrics::Metrics;
use crate::mail::{Post, Switch};
use crate::settings::InForce;

/// A store that serves accounts and the pages about them, and can say whether it is well.
pub trait Backing:
    Accounts + Store + ConsoleAccess + Detection + Moderation + Nodes + Operations + Oversight + Services
{
}
impl<S> Backing for S where
    S: Accounts + Store + ConsoleAccess + Detection + Moderation + Nodes + Operations + Oversight + Services
{
}

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
    /// The same limits, counted for all processes.
    pub shared: Option<SharedLimits>,
    /// What holds of what operators set.
    pub in_force: InForce,
    pub metrics: Arc<Metrics>,
    pub post: Post,
    /// Where its letters go; `None`: nowhere.
    pub letters: Option<Arc<Switch>>,
    /// How people reach the account API; without a slash at the end.
    pub public_url: String,
    /// For which site security keys are.
    pub party: Result<RelyingParty, NoParty>,
    /// For secrets that the store keeps.
    pub seal: Seal,
    /// What the nodes do.
    pub watch: Watch,
    /// Who is not answered.
    pub bans: Bans,
    /// How much waits for moderators.
    pub caseload: Caseload,
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
