//! The administration interface's view of the store: which programs may use it, and as what.

use std::future::Future;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::service::{NewServiceToken, ServiceGrant, ServiceToken, ServiceTokenId};
use crate::token::TokenHash;

/// Uses closer together than this are not written down one by one, in milliseconds.
pub const USED_EVERY_MS: u64 = 3_600_000;

/// What service tokens need of a store.
pub trait Services: Clone + Send + Sync + 'static {
    /// Makes a token in the actor's name. `NotAllowed` unless the actor is an administrator.
    fn create_service_token(
        &self,
        new: NewServiceToken,
        by: Origin,
    ) -> impl Future<Output = Answer<ServiceTokenId>> + Send;
    /// Newest first.
    fn service_tokens(&self, limit: u32) -> impl Future<Output = Answer<Vec<ServiceToken>>> + Send;
    /// It works no more. `NotFound`: there is none, or it was revoked before.
    fn revoke_service_token(&self, id: ServiceTokenId, by: Origin)
    -> impl Future<Output = Answer<()>> + Send;
    /// What a token allows; `None`: it is unknown, revoked or expired, or whoever made it is no active administrator.
    fn service_grant(&self, token: TokenHash) -> impl Future<Output = Answer<Option<ServiceGrant>>> + Send;
}
