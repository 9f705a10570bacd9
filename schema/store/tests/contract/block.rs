//! Who is blocked by itself: only whom nothing else keeps out.

use schema_store::AccountError;
use schema_store::rows::account::{Origin, StatusChange};
use schema_wire::record::UserStatus;

use crate::contract::Bed;
use crate::contract::moderation::Desk;

pub async fn a_block_is_for_who_is_active<S: Desk>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    let until = bed.clock.now() + 3_600_000;
    let block = async |user| bed.store.suspend_active(user, until, "a flood".into(), Origin::system()).await;
    let status = async |user| bed.store.profile(user).await.unwrap().status;
    let strikes = async |user| bed.store.case(user).await.unwrap().strikes;
    block(alice).await.unwrap();
    let blocked = UserStatus::Suspended { until: Some(until) };
    assert_eq!(block(alice).await, Err(AccountError::NotActive(blocked)), "another console was faster");
    assert_eq!((status(alice).await, strikes(alice).await), (blocked, 1));
    let longer = UserStatus::Suspended { until: None };
    for (change, standing) in
        [(StatusChange::Suspend { until: None }, longer), (StatusChange::Ban, UserStatus::Banned)]
    {
        bed.store.set_status(bob, change, "spam".into(), Origin::system()).await.unwrap();
        assert_eq!(block(bob).await, Err(AccountError::NotActive(standing)), "that is graver");
        assert_eq!(status(bob).await, standing);
    }
    assert_eq!(strikes(bob).await, 2);
    bed.clock.forward(3_600_000);
    block(alice).await.unwrap_err();
    let later = bed.clock.now() + 1;
    bed.store.suspend_active(alice, later, "a flood".into(), Origin::system()).await.unwrap();
    assert_eq!(strikes(alice).await, 2, "the first one ran out");
}
