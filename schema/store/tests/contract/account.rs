//! Accounts: registration, sessions, passwords, erasure, administration.

use std::net::IpAddr;

use schema_store::audit_chain::Verified;
use schema_store::rows::account::{Activation, AuditEntry, NewInvite, Origin, ProfileChange, Registration};
use schema_store::rows::device::NewSession;
use schema_store::rows::export::{ExportPlace, ExportValue};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, NewToken, Store, TokenHash};
use schema_wire::record::{Change, UserStatus};
use schema_wire::{Position, Refused};

use super::{Bed, Person, changes_since, events, message, now_position, offset, refused, sketch};

const DAY: u64 = 86_400_000;

fn registration(email: &str) -> Registration {
    Registration {
        email: email.to_owned(),
        name: "Somebody".to_owned(),
        password_hash: "hash".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    }
}

async fn sign_in<S: Store + Accounts>(bed: &Bed<S>, person: Person) -> (String, Person) {
    let (secret, refresh) = NewToken::generate(bed.clock.now() + 7 * DAY);
    let session = NewSession {
        user: person.user,
        device: Some(person.device),
        device_name: "phone".to_owned(),
        refresh,
        rehash: None,
    };
    let grant = bed.store.open_session(session, Origin::system()).await.unwrap();
    (secret, Person { user: grant.user, device: grant.device })
}

pub async fn an_address_registers_once<S: Store + Accounts>(bed: Bed<S>) {
    let store = &bed.store;
    let user = store.register(registration(" Alice@Example.ORG "), Origin::system()).await.unwrap();
    let again = store.register(registration("alice@example.org"), Origin::system()).await;
    assert_eq!(again, Err(AccountError::EmailTaken));
    assert!(matches!(
        store.register(registration("nonsense"), Origin::system()).await,
        Err(AccountError::Invalid { field: "email", .. })
    ));
    let record = store.login_record("ALICE@example.org".to_owned()).await.unwrap().unwrap();
    assert_eq!((record.user, record.status, record.role), (user, UserStatus::Active, AccountRole::User));
    assert_eq!(store.login_record("nobody@example.org".to_owned()).await.unwrap(), None);
    let change = ProfileChange { name: Some("Alice".to_owned()), about: None };
    assert_eq!(store.update_profile(user, change, Origin::system()).await.unwrap().name, "Alice");
    assert_eq!(store.find_user("alice@example.org".to_owned()).await.unwrap().user, user);
}

pub async fn an_invite_works_once<S: Store + Accounts>(bed: Bed<S>) {
    let (secret, token) = NewToken::generate(bed.clock.now() + DAY);
    let new = NewInvite { token, email: Some("eve@example.org".to_owned()), role: AccountRole::Moderator };
    bed.store.create_invite(new, Origin::system()).await.unwrap();
    let with = |email: &str, secret: &str| Registration {
        invite: Some(TokenHash::of(secret)),
        ..registration(email)
    };
    let register = async |r| bed.store.register(r, Origin::system()).await;
    assert_eq!(
        register(with("bob@example.org", &secret)).await,
        Err(AccountError::TokenInvalid),
        "for another address"
    );
    assert_eq!(register(with("eve@example.org", "guess")).await, Err(AccountError::TokenInvalid));
    let eve = register(with("eve@example.org", &secret)).await.unwrap();
    assert_eq!(bed.store.profile(eve).await.unwrap().role, AccountRole::Moderator);
    assert_eq!(register(with("eve@example.org", &secret)).await, Err(AccountError::TokenInvalid), "used");
    let list = bed.store.invites(None, 10).await.unwrap();
    assert_eq!((list.len(), list[0].used_by), (1, Some(eve)));
    let (late, token) = NewToken::generate(bed.clock.now() + 10);
    bed.store
        .create_invite(NewInvite { token, email: None, role: AccountRole::User }, Origin::system())
        .await
        .unwrap();
    bed.clock.forward(10);
    assert_eq!(register(with("zoe@example.org", &late)).await, Err(AccountError::TokenInvalid), "expired");
}

pub async fn pending_accounts_wait<S: Store + Accounts>(bed: Bed<S>) {
    let store = &bed.store;
    let wait = |email: &str, activation| Registration { activation, ..registration(email) };
    let a = store.register(wait("a@example.org", Activation::Approval), Origin::system()).await.unwrap();
    let (secret, token) = NewToken::generate(bed.clock.now() + DAY);
    let b = store.register(wait("b@example.org", Activation::Mail(token)), Origin::system()).await.unwrap();
    let waiting: Vec<_> = store.pending(None, 10).await.unwrap().into_iter().map(|p| p.user).collect();
    assert_eq!(waiting.len(), 2);
    let (_, refresh) = NewToken::generate(bed.clock.now() + DAY);
    let session = NewSession { user: a, device: None, device_name: "x".to_owned(), refresh, rehash: None };
    let early = store.open_session(session, Origin::system()).await;
    assert_eq!(early, Err(AccountError::NotActive(UserStatus::Pending)));
    store.approve(a, Origin::system()).await.unwrap();
    assert_eq!(store.verify_mail(TokenHash::of(&secret), Origin::system()).await, Ok(b));
    let again = store.verify_mail(TokenHash::of(&secret), Origin::system()).await;
    assert_eq!(again, Err(AccountError::TokenInvalid), "single use");
    for user in [a, b] {
        assert_eq!(store.profile(user).await.unwrap().status, UserStatus::Active);
    }
    assert!(store.profile(b).await.unwrap().email_verified);
    assert!(store.pending(None, 10).await.unwrap().is_empty());
}

pub async fn a_refused_account_is_gone<S: Store + Accounts>(bed: Bed<S>) {
    let store = &bed.store;
    let wait = || Registration { activation: Activation::Approval, ..registration("a@example.org") };
    let refused = store.register(wait(), Origin::system()).await.unwrap();
    store.refuse_registration(refused, Origin::system()).await.unwrap();
    assert!(store.pending(None, 10).await.unwrap().is_empty());
    assert!(store.profile(refused).await.is_err(), "nothing of it is left");
    assert!(store.approve(refused, Origin::system()).await.is_err(), "nor can it be let in");
    let trail = store.audit_page(None, 20).await.unwrap();
    for event in ["REGISTRATION_REFUSED", "ACCOUNT_ERASED"] {
        assert!(trail.iter().any(|row| row.event == event), "{event}");
    }
    let again = store.register(wait(), Origin::system()).await.unwrap();
    store.approve(again, Origin::system()).await.unwrap();
    let late = store.refuse_registration(again, Origin::system()).await;
    assert_eq!(late, Err(AccountError::NotActive(UserStatus::Active)), "who is in stays in");
}

pub async fn a_reused_refresh_token_ends_the_family<S: Store + Accounts>(bed: Bed<S>) {
    let (first, alice) = sign_in(&bed, bed.person("alice").await).await;
    let rotate = async |old: &str| {
        let (secret, new) = NewToken::generate(bed.clock.now() + 7 * DAY);
        bed.store.rotate_refresh(TokenHash::of(old), new, Origin::system()).await.map(|grant| (secret, grant))
    };
    let (second, grant) = rotate(&first).await.unwrap();
    assert_eq!((grant.user, grant.device), (alice.user, alice.device));
    let (third, _) = rotate(&second).await.unwrap();
    let at = now_position(&bed).await;
    let reused = rotate(&first).await.unwrap_err();
    assert_eq!(reused, AccountError::RefreshReused { user: alice.user, device: alice.device });
    assert_eq!(
        rotate(&third).await.unwrap_err(),
        AccountError::TokenInvalid,
        "the newest one is void as well"
    );
    let seen = changes_since(&bed, at).await;
    assert!(seen.contains(&Change::DeviceRevoked { user: alice.user, device: alice.device }));
    let rows = bed.store.audit_page(None, 10).await.unwrap();
    assert!(rows.iter().any(|r| r.event == "SUSPICIOUS_ACTIVITY" && r.subject == Some(alice.user)));
    let iat = bed.clock.now() / 1000;
    assert_eq!(bed.store.authorise(alice.user, alice.device, iat).await, Err(AccountError::NotFound));
    assert_eq!(rotate("guess").await.unwrap_err(), AccountError::TokenInvalid);
}

pub async fn one_of_two_concurrent_rotations_wins<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let (first, _) = sign_in(&bed, alice).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (store, old) = (bed.store.clone(), TokenHash::of(&first));
        let (_, new) = NewToken::generate(bed.clock.now() + DAY);
        tasks.push(tokio::spawn(async move { store.rotate_refresh(old, new, Origin::system()).await }));
    }
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap().is_ok());
    }
    assert_eq!(won, 1);
}

pub async fn devices_come_and_go<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let iat = bed.clock.now() / 1000;
    assert!(bed.store.authorise(alice.user, alice.device, iat).await.is_ok());
    bed.clock.forward(2_000);
    bed.store.revoke_device(alice.user, alice.device, Origin::system()).await.unwrap();
    assert!(bed.store.devices(alice.user).await.unwrap().is_empty());
    assert!(bed.store.authorise(alice.user, alice.device, iat).await.is_err());
    let again = bed.store.revoke_device(alice.user, alice.device, Origin::system()).await;
    assert_eq!(again, Err(AccountError::NotFound));
    bed.clock.forward(2_000);
    let (_, back) = sign_in(&bed, alice).await;
    assert_eq!(back.device, alice.device, "the same device signs in again");
    assert!(bed.store.authorise(alice.user, alice.device, iat).await.is_err(), "an old token stays void");
    let now = bed.clock.now() / 1000;
    assert!(bed.store.authorise(alice.user, alice.device, now).await.is_ok());
    let bob = bed.person("bob").await;
    let (_, other) = sign_in(&bed, Person { user: bob.user, device: alice.device }).await;
    assert_ne!(other.device, alice.device, "nobody takes over a device");
}

pub async fn a_new_password_ends_other_sessions<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let elsewhere = Person { device: schema_wire::DeviceId([1; 16]), ..alice };
    let (old, tablet) = sign_in(&bed, elsewhere).await;
    assert_eq!(bed.store.devices(alice.user).await.unwrap().len(), 2);
    let by = Origin { actor: Some(alice.user), ..Origin::default() };
    bed.store.change_password(alice.user, "new".to_owned(), Some(alice.device), by).await.unwrap();
    let left: Vec<_> = bed.store.devices(alice.user).await.unwrap().into_iter().map(|d| d.id).collect();
    assert_eq!(left, [alice.device]);
    let iat = bed.clock.now() / 1000;
    assert!(bed.store.authorise(alice.user, alice.device, iat).await.is_ok());
    assert!(bed.store.authorise(alice.user, tablet.device, iat).await.is_err());
    let (_, new) = NewToken::generate(bed.clock.now() + DAY);
    let stale = bed.store.rotate_refresh(TokenHash::of(&old), new, Origin::system()).await;
    assert_eq!(stale, Err(AccountError::TokenInvalid));
}

pub async fn a_reset_works_once_for_an_hour<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let email = || "alice@example.org".to_owned();
    let ask = async |email| {
        let (secret, token) = NewToken::generate(bed.clock.now() + 3_600_000);
        (secret, bed.store.request_reset(email, token, Origin::system()).await.unwrap())
    };
    let reset = async |secret: &str| {
        bed.store.reset_password(TokenHash::of(secret), "new".to_owned(), Origin::system()).await
    };
    assert_eq!(ask("nobody@example.org".to_owned()).await.1, None);
    let (older, user) = ask(email()).await;
    assert_eq!(user, Some(alice.user));
    let (newer, _) = ask(email()).await;
    assert_eq!(reset(&older).await, Err(AccountError::TokenInvalid), "only the newest link works");
    assert_eq!(reset(&newer).await, Ok(alice.user));
    assert_eq!(reset(&newer).await, Err(AccountError::TokenInvalid));
    assert_eq!(bed.store.login_record(email()).await.unwrap().unwrap().password_hash, "new");
    assert!(bed.store.devices(alice.user).await.unwrap().is_empty(), "every device is logged out");
    let (late, _) = ask(email()).await;
    bed.clock.forward(3_600_000);
    assert_eq!(reset(&late).await, Err(AccountError::TokenInvalid));
}

pub async fn failed_logins_name_the_address<S: Store + Accounts>(bed: Bed<S>) {
    let address: IpAddr = "198.51.100.7".parse().unwrap();
    let user_agent = Some("é".repeat(300));
    let by = Origin { address: Some(address), user_agent, ..Origin::default() };
    bed.store.login_failed(None, "unknown account", by).await.unwrap();
    let row = bed.store.audit_page(None, 1).await.unwrap().remove(0);
    assert_eq!((row.event.as_str(), row.address), ("LOGIN_FAILED", Some(address)));
    assert!(row.user_agent.unwrap().len() <= 256);
}

pub async fn the_audit_chain_holds<S: Store + Accounts>(bed: Bed<S>) {
    for n in 0..20 {
        let entry = AuditEntry { event: "TEST", subject: None, detail: n.to_string() };
        bed.store.audit(entry, Origin::system()).await.unwrap();
    }
    let head = bed.store.audit_head().await.unwrap();
    assert_eq!(head.id, 20);
    let Verified::Intact { head: half, more: true } = bed.store.audit_verify(None, 10).await.unwrap() else {
        panic!("the first half fits")
    };
    let rest = bed.store.audit_verify(Some(half), 100).await.unwrap();
    assert_eq!(rest, Verified::Intact { head, more: false });
    let pages = bed.store.audit_page(Some(11), 100).await.unwrap();
    assert_eq!(pages.iter().map(|r| r.id).collect::<Vec<_>>(), (1..=10).rev().collect::<Vec<_>>());
}

pub async fn erasing_leaves_tombstones_only<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    offset(bed.publish(message(alice, conversation, 1)).await);
    offset(bed.publish(message(bob, conversation, 2)).await);
    offset(bed.publish(message(alice, conversation, 3)).await);
    let at = now_position(&bed).await;
    let gone = bed.store.erase_account(alice.user, "asked".to_owned(), Origin::system()).await.unwrap();
    assert_eq!((gone.messages, gone.conversations_left, gone.devices), (2, 1, 1));
    assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), "erased(1) 2 erased(3) -> 4");
    assert_eq!(bed.store.profile(alice.user).await, Err(AccountError::NotFound));
    assert_eq!(bed.store.login_record("alice@example.org".to_owned()).await.unwrap(), None);
    assert_eq!(refused(bed.publish(message(alice, conversation, 4)).await), Refused::AccountGone);
    let seen = changes_since(&bed, at).await;
    assert!(seen.contains(&Change::Erased { conversation }));
    assert!(seen.contains(&Change::UserStatus { user: alice.user, status: UserStatus::Deleted }));
    assert!(events(&bed, alice.user, Position::default()).await.events.is_empty());
    let twice = bed.store.erase_account(alice.user, String::new(), Origin::system()).await;
    assert_eq!(twice, Err(AccountError::NotFound));
    let again = bed.store.register(registration("alice@example.org"), Origin::system()).await;
    assert!(again.is_ok(), "the address is free again");
}

pub async fn erasing_an_owner_hands_the_group_over<S: Store + Accounts>(bed: Bed<S>) {
    use schema_store::rows::conversation::{GroupDraft, HistoryPolicy};
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let draft =
        GroupDraft { name: "g".to_owned(), members: vec![bob.user], history: HistoryPolicy::All, ttl: None };
    let group = bed.store.create_group(alice.user, draft).await.unwrap();
    bed.store.erase_account(alice.user, String::new(), Origin::system()).await.unwrap();
    let detail = bed.store.conversation(bob.user, group).await.unwrap();
    assert_eq!((detail.summary.role, detail.summary.member_count), (schema_wire::v1::Role::Owner, 1));
}

pub async fn an_export_has_everything_in_pages<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=30 {
        bed.publish(message(alice, conversation, n)).await;
        bed.publish(message(bob, conversation, n)).await;
    }
    bed.store.set_setting(alice.user, "theme".to_owned(), "dark".to_owned()).await.unwrap();
    bed.store.set_block(alice.user, bob.user, true).await.unwrap();
    let (mut place, mut records) = (ExportPlace::default(), Vec::new());
    loop {
        let page = bed.store.export(alice.user, place, 7).await.unwrap();
        assert!(page.records.len() <= 7);
        records.extend(page.records);
        match page.next {
            Some(next) => place = next,
            None => break,
        }
    }
    let count = |section| records.iter().filter(|r| r.section == section).count();
    let counts = ["profile", "devices", "conversations", "messages", "blocks", "settings"].map(count);
    assert_eq!(counts, [1, 1, 1, 30, 1, 1], "own messages, not those of others");
    assert!(count("audit") >= 2);
    let value = |section, field: &str| {
        let record = records.iter().find(|r| r.section == section).unwrap();
        record.fields.iter().find(|(name, _)| name == field).unwrap().1.clone()
    };
    assert_eq!(value("profile", "email"), ExportValue::Text("alice@example.org".to_owned()));
    assert_eq!(value("messages", "conversation_id"), ExportValue::Text(conversation.to_string()));
    assert_eq!(value("messages", "body"), ExportValue::Bytes("message 1".into()));
}

pub async fn an_administrator_is_made<S: Store + Accounts>(bed: Bed<S>) {
    let make = async |role| {
        let (email, name, hash) = ("root@example.org".to_owned(), "Root".to_owned(), "hash".to_owned());
        bed.store.create_admin(email, name, hash, role).await
    };
    let root = make(AccountRole::Admin).await.unwrap();
    let profile = bed.store.profile(root).await.unwrap();
    assert_eq!((profile.role, profile.status), (AccountRole::Admin, UserStatus::Active));
    assert_eq!(make(AccountRole::Sre).await, Err(AccountError::EmailTaken));
}
