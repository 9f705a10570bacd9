//! Programs that use the administration interface.

use schema_store::rows::account::{Origin, StatusChange};
use schema_store::rows::role::AccountRole;
use schema_store::rows::service::NewServiceToken;
use schema_store::{AccountError, NewToken, Services, TokenHash};

use crate::contract::Bed;
use crate::contract::moderation::Desk;

const DAY: u64 = 86_400_000;

pub async fn a_service_token_works_until_it_ends<S: Desk + Services>(bed: Bed<S>) {
    let ada = bed.staff("ada", AccountRole::Admin).await;
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let new = |role| {
        let (secret, token) = NewToken::generate(bed.clock.now() + DAY);
        (TokenHash::of(&secret), NewServiceToken { token, name: "ticket desk".into(), role })
    };
    let make = async |user, role| {
        let (hash, new) = new(role);
        bed.store.create_service_token(new, by(user)).await.map(|id| (id, hash))
    };
    assert_eq!(make(mia, AccountRole::Moderator).await, Err(AccountError::NotAllowed), "administrators only");
    assert_eq!(make(ada, AccountRole::User).await, Err(AccountError::NotAllowed), "a role it must have");
    let (first, hash) = make(ada, AccountRole::Moderator).await.unwrap();
    let grant = bed.store.service_grant(hash).await.unwrap().unwrap();
    assert_eq!((grant.user, grant.role, grant.name.as_str()), (ada, AccountRole::Moderator, "ticket desk"));
    assert_eq!(bed.store.service_grant(TokenHash([1; 32])).await, Ok(None));
    let listed = bed.store.service_tokens(9).await.unwrap();
    assert_eq!((listed.len(), listed[0].last_used_at), (1, Some(bed.clock.now())));
    bed.store.revoke_service_token(first, by(ada)).await.unwrap();
    assert_eq!(bed.store.service_grant(hash).await, Ok(None), "revoked");
    assert_eq!(bed.store.revoke_service_token(first, by(ada)).await, Err(AccountError::NotFound));
    let (_, hash) = make(ada, AccountRole::Auditor).await.unwrap();
    bed.clock.forward(DAY);
    assert_eq!(bed.store.service_grant(hash).await, Ok(None), "expired");
    let (_, hash) = make(ada, AccountRole::Sre).await.unwrap();
    bed.store.set_status(ada, StatusChange::Ban, "gone".into(), Origin::system()).await.unwrap();
    assert_eq!(bed.store.service_grant(hash).await, Ok(None), "whoever made it is no administrator any more");
}
