//! Accounts on PostgreSQL while several nodes change them at once: one of them straight, one through a pooler in
//! transaction mode. What only one may get, one gets; what is counted stays dense; nobody waits for each other.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bytes::Bytes;
use schema_store::accounts::ADD_TO_GROUPS;
use schema_store::audit_chain::Verified;
use schema_store::postgres::{Options, Statements, migrate};
use schema_store::rows::account::{Activation, AuditEntry, NewInvite, Origin, Registration};
use schema_store::rows::backup::Erased;
use schema_store::rows::console::RoleChange;
use schema_store::rows::conversation::{GroupDraft, HistoryPolicy, RequestAnswer};
use schema_store::rows::device::{KeyUpload, NewSession};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, ConsoleAccess, NewToken, PostgresStore, Store, TokenHash};
use schema_wire::record::{Append, StoreReply, StoreRequest};
use schema_wire::v1::user_event::Event;
use schema_wire::v1::{self, Role};
use schema_wire::{ConversationId, DeviceId, Position, PublishKey, UserId};
use servers::{Bouncer, Postgres};
use tokio::task::JoinSet;

/// Requests that meet.
const AT_ONCE: usize = 8;
/// Later than any of these tests, unix milliseconds.
const LATER: u64 = 4_000_000_000_000;

struct Nodes {
    // Their connections end before what they lead to.
    stores: [PostgresStore; 2],
    _bouncer: Bouncer,
    server: Postgres,
}

#[derive(Clone, Copy)]
struct Person {
    user: UserId,
    device: DeviceId,
}

impl Nodes {
    async fn start() -> Self {
        let server = Postgres::start();
        migrate(&mut server.connect().await).await.unwrap();
        let bouncer = Bouncer::before(&server);
        let pooled = Options { statements: Statements::Unnamed, ..Options::default() };
        let stores = [
            PostgresStore::open(&server.url("postgres"), Options::default()).await.unwrap(),
            PostgresStore::open(&bouncer.url("postgres"), pooled).await.unwrap(),
        ];
        Self { stores, _bouncer: bouncer, server }
    }

    /// Asks the same of both nodes by turns, all at once.
    async fn at_once<T, F>(&self, ask: impl Fn(PostgresStore, usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut asked = JoinSet::new();
        for n in 0..AT_ONCE {
            asked.spawn(ask(self.stores[n % 2].clone(), n));
        }
        asked.join_all().await
    }

    async fn person(&self, name: &str) -> Person {
        let store = &self.stores[0];
        let user = store.register(registration(name), Origin::system()).await.unwrap();
        let device = store.open_session(session(user).1, Origin::system()).await.unwrap().device;
        Person { user, device }
    }

    async fn group(&self, owner: Person, members: &[Person]) -> ConversationId {
        let members = members.iter().map(|p| p.user).collect();
        let draft =
            GroupDraft { name: "team".to_owned(), members, history: HistoryPolicy::SinceJoin, ttl: None };
        self.stores[0].create_group(owner.user, draft).await.unwrap()
    }

    /// What must hold whatever met.
    async fn settled(&self) {
        let broken = [
            "SELECT count(*) FROM users u
             WHERE event_head <> (SELECT count(*) FROM user_events e WHERE e.user_id = u.id)
               AND status <> 'DELETED'",
            "SELECT count(*) FROM users u
             WHERE event_head <> (SELECT coalesce(max(log_offset), 0) FROM user_events e WHERE e.user_id = u.id)
               AND status <> 'DELETED'",
            "SELECT count(*) FROM conversations c WHERE member_count <>
               (SELECT count(*) FROM conversation_members m WHERE m.conversation_id = c.id AND left_offset IS NULL)",
            "SELECT count(*) FROM conversations c WHERE members_version <>
               (SELECT count(*) FROM change_log l WHERE l.conversation_id = c.id AND l.kind = 'MEMBERS')",
            "SELECT count(*) FROM conversation_members m JOIN users u ON u.id = m.user_id
             WHERE m.left_offset IS NULL AND u.status = 'DELETED'",
        ];
        for query in broken {
            assert_eq!(self.server.sql(query), "0", "{query}");
        }
        let verified = self.stores[0].audit_verify(None, 10_000).await.unwrap();
        assert!(matches!(verified, Verified::Intact { more: false, .. }), "{verified:?}");
        assert!(!self.server.log().contains("deadlock detected"), "{}", self.server.log());
    }
}

fn registration(name: &str) -> Registration {
    Registration {
        email: format!("{name}@example.org"),
        name: name.to_owned(),
        password_hash: "hash".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    }
}

fn session(user: UserId) -> (String, NewSession) {
    let (secret, refresh) = NewToken::generate(LATER);
    (secret, NewSession { user, device: None, device_name: "phone".to_owned(), refresh, rehash: None })
}

fn identity(name: &str) -> KeyUpload {
    KeyUpload { identity: Some(Bytes::from(name.to_owned())), ..KeyUpload::default() }
}

fn wins<T, E>(answers: &[Result<T, E>]) -> usize {
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_may_get_one_gets() {
    let nodes = Nodes::start().await;
    let registered =
        nodes.at_once(async |store, _| store.register(registration("alice"), Origin::system()).await).await;
    assert_eq!(wins(&registered), 1);
    assert!(registered.iter().flat_map(|r| r.as_ref().err()).all(|e| *e == AccountError::EmailTaken));

    let (secret, token) = NewToken::generate(LATER);
    let invite = NewInvite { token, email: None, role: AccountRole::User };
    nodes.stores[0].create_invite(invite, Origin::system()).await.unwrap();
    let invited = nodes
        .at_once(move |store, n| {
            let invite = Some(TokenHash::of(&secret));
            let new = Registration { invite, ..registration(&format!("guest{n}")) };
            async move { store.register(new, Origin::system()).await }
        })
        .await;
    assert_eq!(wins(&invited), 1);
    assert!(invited.iter().flat_map(|r| r.as_ref().err()).all(|e| *e == AccountError::TokenInvalid));

    let (bob, carol) = (nodes.person("bob").await, nodes.person("carol").await);
    let made = nodes
        .at_once(move |store, n| {
            let (one, other) = if n % 4 < 2 { (bob, carol) } else { (carol, bob) };
            async move { store.create_direct(one.user, other.user).await.unwrap() }
        })
        .await;
    assert_eq!(made.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().len(), 1, "one conversation");
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1, "made once");

    let (secret, new) = session(bob.user);
    nodes.stores[0].open_session(new, Origin::system()).await.unwrap();
    let rotated = nodes
        .at_once(move |store, _| {
            let (old, new) = (TokenHash::of(&secret), NewToken::generate(LATER).1);
            async move { store.rotate_refresh(old, new, Origin::system()).await }
        })
        .await;
    assert_eq!(wins(&rotated), 1);
    let reused = |e: &&AccountError| matches!(e, AccountError::RefreshReused { .. });
    assert_eq!(
        rotated.iter().flat_map(|r| r.as_ref().err()).filter(reused).count(),
        1,
        "the family ends once"
    );

    let (secret, token) = NewToken::generate(LATER);
    let email = "carol@example.org".to_owned();
    nodes.stores[0].request_reset(email, token, Origin::system()).await.unwrap();
    let reset = nodes
        .at_once(move |store, n| {
            let token = TokenHash::of(&secret);
            async move { store.reset_password(token, format!("hash {n}"), Origin::system()).await }
        })
        .await;
    assert_eq!(wins(&reset), 1);
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_package_has_one_claimer() {
    const PACKAGES: usize = 40;
    let nodes = Nodes::start().await;
    let (alice, bob) = (nodes.person("alice").await, nodes.person("bob").await);
    nodes.stores[0].create_direct(alice.user, bob.user).await.unwrap();
    let packages = (0..PACKAGES).map(|n| Bytes::from(format!("package {n}"))).collect();
    let keys = KeyUpload { packages, ..identity("bob") };
    nodes.stores[0].publish_keys(bob.user, bob.device, keys, Origin::system()).await.unwrap();
    let claimed = nodes
        .at_once(move |store, _| async move {
            let mut claimed = Vec::new();
            for _ in 0..PACKAGES / AT_ONCE {
                let key = store.claim_key(bob.user, bob.device, alice.user).await.unwrap();
                claimed.push(key.package.expect("there is one for everybody"));
            }
            claimed
        })
        .await;
    let all: Vec<Bytes> = claimed.into_iter().flatten().collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (PACKAGES, PACKAGES));
    let none = nodes.stores[1].claim_key(bob.user, bob.device, alice.user).await.unwrap();
    assert_eq!(none.package, None);
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chain_and_streams_stay_dense() {
    const EACH: usize = 10;
    let nodes = Nodes::start().await;
    let alice = nodes.person("alice").await;
    let before = nodes.stores[0].audit_head().await.unwrap().id;
    nodes
        .at_once(move |store, n| async move {
            for i in 0..EACH {
                let entry = AuditEntry { event: "TEST", subject: None, detail: format!("{n}.{i}") };
                store.audit(entry, Origin::system()).await.unwrap();
                store.set_setting(alice.user, format!("s{n}"), i.to_string()).await.unwrap();
            }
        })
        .await;
    let added = (AT_ONCE * EACH) as u64;
    assert_eq!(nodes.stores[1].audit_head().await.unwrap().id, before + added);
    let told = "SELECT count(*) FROM user_events e JOIN users u ON u.id = e.user_id WHERE u.name = 'alice'";
    assert_eq!(nodes.server.sql(told), (added + 1).to_string(), "the device and each setting");
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_meet_do_not_wait_for_each_other() {
    let nodes = Nodes::start().await;
    let mut people = Vec::new();
    for n in 0..AT_ONCE {
        people.push(nodes.person(&format!("p{n}")).await);
    }
    let (alice, bob) = (nodes.person("alice").await, nodes.person("bob").await);
    let groups = [nodes.group(alice, &[bob]).await, nodes.group(alice, &[bob]).await];
    for (round, everybody) in [people.clone(), people.iter().rev().copied().collect()].into_iter().enumerate()
    {
        let everybody: Vec<UserId> = everybody.iter().map(|p| p.user).collect();
        let people = people.clone();
        nodes
            .at_once(move |store, n| {
                let mut order = everybody.clone();
                order.rotate_left(n);
                let (me, other, group) = (people[n], people[(n + 1) % AT_ONCE], groups[n % 2]);
                async move {
                    let added = store.add_members(alice.user, group, order).await.unwrap();
                    store.set_member_role(alice.user, group, me.user, Role::Admin).await.unwrap();
                    let keys = identity(&format!("{n} {round} {}", added.members.len()));
                    store.publish_keys(me.user, me.device, keys, Origin::system()).await.unwrap();
                    store.set_block(me.user, other.user, round == 0).await.unwrap();
                    store.create_direct(me.user, other.user).await.ok();
                    store.remove_member(me.user, group, me.user).await.unwrap();
                    store.revoke_sessions(me.user, Some(me.device), Origin::system()).await.unwrap();
                }
            })
            .await;
        nodes.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_answered_once() {
    let nodes = Nodes::start().await;
    for round in 0..6 {
        let (alice, bob) =
            (nodes.person(&format!("alice{round}")).await, nodes.person(&format!("bob{round}")).await);
        let setting =
            |value: &str| nodes.stores[0].set_setting(bob.user, ADD_TO_GROUPS.to_owned(), value.to_owned());
        setting("nobody").await.unwrap();
        let group = nodes.group(alice, &[bob]).await;
        let (direct, _) = nodes.stores[0].create_direct(alice.user, bob.user).await.unwrap();
        nodes
            .at_once(move |store, n| async move {
                match n {
                    0 => store.answer_request(bob.user, direct, RequestAnswer::Accept).await.unwrap(),
                    1 => drop(store.create_direct(bob.user, alice.user).await.unwrap()),
                    2 | 3 => drop(
                        store
                            .append(vec![said(bob, direct, n as u8), said(alice, direct, n as u8)])
                            .await
                            .unwrap(),
                    ),
                    4 => drop(store.answer_invitation(bob.user, group, RequestAnswer::Accept).await),
                    5 => drop(store.answer_invitation(bob.user, group, RequestAnswer::Delete).await),
                    6 => drop(store.add_members(alice.user, group, vec![bob.user]).await),
                    _ if round % 2 == 0 => store.set_block(bob.user, alice.user, true).await.unwrap(),
                    _ => drop(store.remove_member(alice.user, group, bob.user).await),
                }
            })
            .await;
        nodes.settled().await;
        for person in [alice, bob] {
            let request =
                StoreRequest::UserEvents { user: person.user, after: Position::default(), limit: 200 };
            let StoreReply::UserEvents(page) = nodes.stores[0].ask(request).await else {
                panic!("another reply")
            };
            let accepted = page.events.iter().filter(|e| match &e.event {
                Some(Event::RequestAnswered(e)) => e.answer.as_known() == Some(v1::RequestAnswer::Accepted),
                _ => false,
            });
            assert!(accepted.count() <= 1, "accepted once");
        }
        let request = StoreRequest::Standing { user: bob.user, conversation: direct, after: None };
        let StoreReply::Standing(Some(standing)) = nodes.stores[1].ask(request).await else {
            panic!("a member")
        };
        assert!(!standing.waiting);
    }
}

fn said(by: Person, conversation: ConversationId, n: u8) -> Append {
    Append {
        conversation,
        publish_key: PublishKey([n + 1; 16]),
        sender: by.user,
        device: by.device,
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from_static(b"x"),
        commitment: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_is_a_member_of_nothing() {
    let nodes = Nodes::start().await;
    let alice = nodes.person("alice").await;
    for round in 0..4 {
        let eve = nodes.person(&format!("eve{round}")).await;
        let mut groups = Vec::new();
        for _ in 0..AT_ONCE {
            groups.push(nodes.group(alice, &[]).await);
        }
        let own = nodes.group(eve, &[alice]).await;
        let erased = nodes
            .at_once(move |store, n| {
                let group = groups[n];
                async move {
                    if n == AT_ONCE / 2 {
                        store.erase_account(eve.user, "asked".to_owned(), Origin::system()).await.unwrap();
                        return 1;
                    }
                    match store.add_members(alice.user, group, vec![eve.user]).await {
                        Ok(_) | Err(AccountError::NotFound) => 0,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
            .await;
        assert_eq!(erased.into_iter().sum::<usize>(), 1);
        let detail = nodes.stores[1].conversation(alice.user, own).await.unwrap();
        assert_eq!(detail.summary.role, Role::Owner, "the group is handed over");
        nodes.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_keeps_an_owner() {
    let nodes = Nodes::start().await;
    let (alice, bob) = (nodes.person("alice").await, nodes.person("bob").await);
    for _ in 0..4 {
        let carol = nodes.person(&format!("carol{}", nodes.stores[0].audit_head().await.unwrap().id)).await;
        let group = nodes.group(alice, &[bob, carol]).await;
        nodes.stores[0].set_member_role(alice.user, group, bob.user, Role::Owner).await.unwrap();
        let left = nodes
            .at_once(move |store, n| {
                let owner = [alice, bob][n % 2];
                async move { store.remove_member(owner.user, group, owner.user).await }
            })
            .await;
        assert_eq!(wins(&left), 1);
        assert!(left.contains(&Err(AccountError::LastOwner)));
    }
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_administrators_that_erase_themselves_at_once_one_stays() {
    let nodes = Nodes::start().await;
    let mut administrators = Vec::new();
    for n in 0..AT_ONCE {
        let (email, hash) = (format!("a{n}@example.org"), "$argon2id$x".to_owned());
        let made = nodes.stores[0].create_admin(email, format!("a{n}"), hash, AccountRole::Admin).await;
        administrators.push(made.unwrap());
    }
    let erased = nodes
        .at_once(move |store, n| {
            let own = administrators[n];
            async move { store.erase_account(own, "asked".to_owned(), Origin::system()).await.map(drop) }
        })
        .await;
    assert_eq!(wins(&erased), AT_ONCE - 1, "{erased:?}");
    assert!(erased.contains(&Err(AccountError::LastAdministrator)));
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_erases_again_whoever_was_its_only_administrator() {
    let nodes = Nodes::start().await;
    let mut erased = Vec::new();
    for name in ["ada", "eve"] {
        let (email, hash) = (format!("{name}@example.org"), "$argon2id$x".to_owned());
        let user =
            nodes.stores[0].create_admin(email, name.to_owned(), hash, AccountRole::Admin).await.unwrap();
        erased.push(Erased { user, reason: "asked".to_owned(), erased_at: 1 });
    }
    let restored = nodes.stores[0].after_restore("restored".to_owned(), erased.clone()).await.unwrap();
    assert_eq!(restored.erased_again, 2);
    assert_eq!(nodes.server.sql("SELECT count(*) FROM users WHERE status <> 'DELETED'"), "0");
    let again = nodes.stores[0].after_restore("once more".to_owned(), erased).await.unwrap();
    assert_eq!(again.erased_again, 0, "each step may be repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_begins_beside_everything_else() {
    const ROUNDS: usize = 5;
    let nodes = Nodes::start().await;
    let mut people = Vec::new();
    for n in 0..AT_ONCE {
        people.push(nodes.person(&format!("p{n}")).await);
    }
    let alice = nodes.person("alice").await;
    let groups = [nodes.group(alice, &people).await, nodes.group(alice, &people).await];
    let before = nodes.stores[0].generation().await.unwrap();
    nodes
        .at_once(move |store, n| {
            let (me, group) = (people[n], groups[n % 2]);
            async move {
                for round in 0..ROUNDS {
                    if n == 0 {
                        store.begin_generation("drill".to_owned()).await.unwrap();
                        continue;
                    }
                    let role = if round % 2 == 0 { Role::Admin } else { Role::Member };
                    store.set_member_role(alice.user, group, me.user, role).await.unwrap();
                    store.set_setting(me.user, "theme".to_owned(), round.to_string()).await.unwrap();
                }
            }
        })
        .await;
    assert!(nodes.stores[1].generation().await.unwrap() > before);
    let begun = nodes.server.sql("SELECT count(*) FROM audit_logs WHERE event_type = 'GENERATION_BEGUN'");
    assert_eq!(begun, ROUNDS.to_string());
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_who_take_each_others_role_leave_one() {
    use AccountRole::{Admin, Moderator, Sre, User};
    let nodes = Nodes::start().await;
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let store = &nodes.stores[0];
    let (mut admins, mut moderators, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..AT_ONCE {
        for (role, made) in [(Admin, &mut admins), (Moderator, &mut moderators)] {
            let email = format!("{}{n}@example.org", role.name());
            made.push(
                store.create_admin(email, "somebody".to_owned(), "hash".to_owned(), role).await.unwrap(),
            );
        }
        let change = RoleChange { user: moderators[n], from: Moderator, to: Admin };
        asked.push(store.ask_role(change, by(admins[n])).await.unwrap());
    }
    // Each agrees to what the next one asked for, and takes the role of the one after away.
    let (theirs, others) = (admins.clone(), asked.clone());
    let done = nodes.at_once(move |store, n| {
        let [own, after] = [0, 2].map(|step| theirs[(n + step) % AT_ONCE]);
        let request = others[(n + 1) % AT_ONCE];
        async move {
            let change = RoleChange { user: after, from: Admin, to: [User, Sre][n % 2] };
            let reset = NewToken::generate(LATER).1;
            tokio::join!(store.agree_to_staff(request, reset, by(own)), store.change_role(change, by(own)))
        }
    });
    let done = done.await;
    let (mut raised, mut lowered) = (0, 0);
    for (agreed, changed) in &done {
        raised += usize::from(agreed.is_ok());
        lowered += usize::from(changed.is_ok());
        assert!(
            matches!(agreed, Ok(_) | Err(AccountError::NotAllowed | AccountError::Overtaken)),
            "{agreed:?}"
        );
        assert!(matches!(changed, Ok(()) | Err(AccountError::NotAllowed)), "{changed:?}");
    }
    let left = |who: &[UserId]| {
        let ids = who.iter().map(|user| format!("'{user}'")).collect::<Vec<_>>().join(",");
        let sql = format!("SELECT count(*) FROM users WHERE role = 'ADMIN' AND id IN ({ids})");
        nodes.server.sql(&sql).parse::<usize>().unwrap()
    };
    assert_eq!((left(&admins), left(&moderators)), (AT_ONCE - lowered, raised), "{done:?}");
    assert!(left(&admins) >= 1 && lowered >= 1);
    nodes.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consoles_that_block_somebody_at_once_write_one_strike() {
    let nodes = Nodes::start().await;
    let alice = nodes.person("alice").await.user;
    let block = move |store: PostgresStore, _| async move {
        store.suspend_active(alice, LATER, "a flood".into(), Origin::system()).await
    };
    let answers = nodes.at_once(block).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .flat_map(|answer| answer.as_ref().err())
            .all(|error| matches!(error, AccountError::NotActive(_)))
    );
    assert_eq!(nodes.server.sql("SELECT count(*) FROM moderation_actions").trim(), "1");
}
