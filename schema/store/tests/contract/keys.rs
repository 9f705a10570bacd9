//! Key bundles: one claimer per package, and everybody concerned hears of a new identity.

use std::collections::BTreeSet;

use bytes::Bytes;
use schema_store::accounts::KEY_PACKAGES_MAX;
use schema_store::rows::account::Origin;
use schema_store::rows::device::KeyUpload;
use schema_store::{AccountError, Accounts, Store};
use schema_wire::Position;
use schema_wire::v1::user_event::Event;

use super::{Bed, events};

fn upload(identity: &'static str, packages: usize) -> KeyUpload {
    let packages = (0..packages).map(|n| Bytes::from(format!("package {n}"))).collect();
    KeyUpload { identity: Some(Bytes::from(identity)), packages, last_resort: None }
}

pub async fn a_package_is_claimed_once<S: Store + Accounts>(bed: Bed<S>) {
    const PACKAGES: usize = 60;
    let (alice, bob, _) = bed.pair().await;
    bed.store.publish_keys(bob.user, bob.device, upload("id", PACKAGES), Origin::system()).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = bed.store.clone();
        tasks.push(tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(package) = store.claim_key(bob.user, bob.device, alice.user).await.unwrap().package
            {
                claimed.push(package);
            }
            claimed
        }));
    }
    let (mut all, mut count) = (BTreeSet::new(), 0);
    for task in tasks {
        let claimed = task.await.unwrap();
        count += claimed.len();
        all.extend(claimed);
    }
    assert_eq!((all.len(), count), (PACKAGES, PACKAGES));
    let last = KeyUpload { last_resort: Some(Bytes::from("last")), ..Default::default() };
    bed.store.publish_keys(bob.user, bob.device, last, Origin::system()).await.unwrap();
    for _ in 0..2 {
        let claimed = bed.store.claim_key(bob.user, bob.device, alice.user).await.unwrap();
        assert_eq!((claimed.package.as_deref(), claimed.last_resort), (Some(b"last".as_slice()), true));
    }
}

pub async fn a_new_identity_is_told<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, _) = bed.pair().await;
    let publish = async |keys| bed.store.publish_keys(bob.user, bob.device, keys, Origin::system()).await;
    assert!(publish(KeyUpload::default()).await.is_err(), "packages belong to an identity");
    assert_eq!(publish(upload("one", 3)).await.unwrap().packages, 3);
    assert_eq!(publish(upload("one", 2)).await.unwrap().packages, 5, "the same identity adds");
    assert_eq!(
        publish(upload("two", 1)).await.unwrap().packages,
        1,
        "another drops what was signed by the first"
    );
    let told = |page: Vec<schema_wire::v1::UserEvent>| {
        page.into_iter().filter(|e| matches!(e.event, Some(Event::KeysChanged(_)))).count()
    };
    assert_eq!(told(events(&bed, alice.user, Position::default()).await.events), 2);
    assert_eq!(told(events(&bed, bob.user, Position::default()).await.events), 2, "one's other devices too");
    let rows = bed.store.audit_page(None, 100).await.unwrap();
    assert_eq!(rows.iter().filter(|r| r.event == "KEY_CHANGE").count(), 2);
    let keys = bed.store.identity_keys(bob.user, alice.user).await.unwrap();
    assert_eq!(keys[0].identity.as_ref(), b"two");
}

pub async fn keys_are_bounded_and_not_for_strangers<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, _) = bed.pair().await;
    let carol = bed.person("carol").await;
    let keys = upload("id", KEY_PACKAGES_MAX + 1);
    let refused = bed.store.publish_keys(bob.user, bob.device, keys, Origin::system()).await;
    assert_eq!(refused, Err(AccountError::TooMany { limit: KEY_PACKAGES_MAX }));
    assert!(
        !bed.store.keys_left(bob.user, bob.device).await.unwrap().has_identity,
        "nothing of it was stored"
    );
    let foreign = bed.store.publish_keys(alice.user, bob.device, upload("x", 0), Origin::system()).await;
    assert_eq!(foreign, Err(AccountError::NotFound));
    let huge = KeyUpload { identity: Some(vec![0; 1 << 20].into()), ..Default::default() };
    assert!(bed.store.publish_keys(bob.user, bob.device, huge, Origin::system()).await.is_err());
    bed.store.publish_keys(bob.user, bob.device, upload("id", 1), Origin::system()).await.unwrap();
    let stranger = bed.store.claim_key(bob.user, bob.device, carol.user).await;
    assert_eq!(stranger, Err(AccountError::NotFound));
    assert!(bed.store.identity_keys(bob.user, carol.user).await.is_err());
}
