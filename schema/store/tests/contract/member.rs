//! Membership: intervals, versions, roles, and what others learn.

use schema_store::rows::conversation::{ConversationKind, GroupDraft, HistoryPolicy};
use schema_store::{AccountError, Accounts, Store};
use schema_wire::record::{MembersDelta, StoreReply, StoreRequest};
use schema_wire::v1::{Role, user_event::Event};
use schema_wire::{ConversationId, Offset, Position, Refused, UserId};

use super::{Bed, Person, events, message, offset, refused, sketch};

async fn group<S: Store + Accounts>(bed: &Bed<S>, owner: Person, history: HistoryPolicy) -> ConversationId {
    let draft = GroupDraft { name: "team".to_owned(), members: Vec::new(), history, ttl: None };
    bed.store.create_group(owner.user, draft).await.unwrap()
}

/// Who came and left since a version.
pub async fn delta<S: Store + Accounts>(
    bed: &Bed<S>,
    conversation: ConversationId,
    since: u64,
) -> MembersDelta {
    match bed.store.ask(StoreRequest::Members { conversation, since }).await {
        StoreReply::Members(delta) => delta,
        other => panic!("{other:?}"),
    }
}

pub async fn history_honours_intervals<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let conversation = group(&bed, alice, HistoryPolicy::SinceJoin).await;
    let say = async |n| offset(bed.publish(message(alice, conversation, n)).await);
    say(1).await;
    say(2).await;
    let added = bed.store.add_members(alice.user, conversation, vec![bob.user]).await.unwrap();
    assert_eq!((added.members[0].first, added.invited.len()), (Offset(3), 0));
    let again = bed.store.add_members(alice.user, conversation, vec![bob.user]).await.unwrap();
    assert!(again.members.is_empty() && again.invited.is_empty());
    say(3).await;
    bed.store.remove_member(alice.user, conversation, bob.user).await.unwrap();
    say(4).await;
    assert_eq!(refused(bed.publish(message(bob, conversation, 50)).await), Refused::NotMember);
    let page = bed.page(bob.user, conversation, 1, false).await;
    assert_eq!(
        (sketch(&page).as_str(), page.head),
        ("not_member(1-2) 3 -> 4", Offset(3)),
        "no further than they were"
    );
    let standing = bed.standing(bob.user, conversation, None).await.unwrap();
    assert_eq!((standing.role, standing.first, standing.last), (None, Offset(3), Some(Offset(3))));
    bed.store.add_members(alice.user, conversation, vec![bob.user]).await.unwrap();
    say(5).await;
    assert_eq!(
        sketch(&bed.page(bob.user, conversation, 1, false).await),
        "not_member(1-2) 3 not_member(4) 5 -> 6"
    );
    assert_eq!(
        sketch(&bed.page(bob.user, conversation, 0, true).await),
        "5 not_member(4) 3 not_member(1-2) -> 0"
    );
    let carol = bed.person("carol").await;
    assert!(!bed.page(carol.user, conversation, 1, false).await.readable);
    assert!(bed.standing(carol.user, conversation, None).await.is_none());
}

pub async fn an_open_history_is_read_from_the_beginning<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let conversation = group(&bed, alice, HistoryPolicy::All).await;
    bed.publish(message(alice, conversation, 1)).await;
    bed.store.add_members(alice.user, conversation, vec![bob.user]).await.unwrap();
    assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), "1 -> 2");
    assert_eq!(bed.standing(bob.user, conversation, None).await.unwrap().first, Offset(1));
}

pub async fn every_change_takes_the_next_version<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, carol) = (bed.person("alice").await, bed.person("bob").await, bed.person("carol").await);
    let conversation = group(&bed, alice, HistoryPolicy::SinceJoin).await;
    assert_eq!(delta(&bed, conversation, 0).await.version, 1);
    bed.store.add_members(alice.user, conversation, vec![bob.user, carol.user]).await.unwrap();
    let now = delta(&bed, conversation, 1).await;
    assert_eq!((now.version, now.member_count, now.changes.len(), now.overflow), (2, 3, 2, false));
    bed.store.set_member_role(alice.user, conversation, bob.user, Role::Admin).await.unwrap();
    bed.publish(message(alice, conversation, 1)).await;
    bed.store.remove_member(bob.user, conversation, carol.user).await.unwrap();
    let now = delta(&bed, conversation, 2).await;
    assert_eq!((now.version, now.member_count), (4, 2));
    let of = |user: UserId| *now.changes.iter().find(|c| c.user == user).unwrap();
    assert_eq!((of(bob.user).role, of(bob.user).left), (Role::Admin, None));
    assert_eq!((of(carol.user).joined, of(carol.user).left), (Offset(1), Some(Offset(1))));
    assert_eq!(now.changes.len(), 2, "alice did not change");
    assert_eq!(bed.standing(alice.user, conversation, None).await.unwrap().members_version, 4);
}

pub async fn roles_decide_who_may_what<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, carol) = (bed.person("alice").await, bed.person("bob").await, bed.person("carol").await);
    let c = group(&bed, alice, HistoryPolicy::SinceJoin).await;
    let store = &bed.store;
    store.add_members(alice.user, c, vec![bob.user]).await.unwrap();
    let not_allowed = Err(AccountError::NotAllowed);
    assert_eq!(store.add_members(bob.user, c, vec![carol.user]).await, Err(AccountError::NotAllowed));
    assert_eq!(store.remove_member(bob.user, c, alice.user).await, not_allowed);
    assert_eq!(store.set_member_role(bob.user, c, bob.user, Role::Owner).await, not_allowed);
    assert_eq!(
        store.remove_member(carol.user, c, alice.user).await,
        Err(AccountError::NotFound),
        "a stranger"
    );
    assert_eq!(store.remove_member(alice.user, c, alice.user).await, Err(AccountError::LastOwner));
    assert_eq!(
        store.set_member_role(alice.user, c, alice.user, Role::Member).await,
        Err(AccountError::LastOwner)
    );
    store.set_member_role(alice.user, c, bob.user, Role::Owner).await.unwrap();
    assert_eq!(
        store.remove_member(bob.user, c, alice.user).await,
        not_allowed,
        "not somebody of the same role"
    );
    store.remove_member(alice.user, c, alice.user).await.unwrap();
    let detail = store.conversation(bob.user, c).await.unwrap();
    assert_eq!((detail.summary.role, detail.summary.member_count), (Role::Owner, 1));
    store.remove_member(bob.user, c, bob.user).await.unwrap();
    assert_eq!(store.conversation(bob.user, c).await.unwrap_err(), AccountError::NotFound);
}

pub async fn the_muted_wait<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let conversation = group(&bed, alice, HistoryPolicy::SinceJoin).await;
    bed.store.add_members(alice.user, conversation, vec![bob.user]).await.unwrap();
    let until = bed.clock.now() + 500;
    assert_eq!(
        bed.store.mute_member(bob.user, conversation, alice.user, Some(until)).await,
        Err(AccountError::NotAllowed)
    );
    bed.store.mute_member(alice.user, conversation, bob.user, Some(until)).await.unwrap();
    assert_eq!(refused(bed.publish(message(bob, conversation, 1)).await), Refused::Muted);
    bed.clock.forward(500);
    assert_eq!(offset(bed.publish(message(bob, conversation, 1)).await), 1);
}

pub async fn a_pair_has_one_conversation<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    assert_eq!(bed.store.create_direct(bob.user, alice.user).await.unwrap(), (conversation, false));
    let carol = bed.person("carol").await;
    bed.store.set_block(carol.user, alice.user, true).await.unwrap();
    assert_eq!(bed.store.create_direct(alice.user, carol.user).await, Err(AccountError::Blocked));
    assert_eq!(
        bed.store.remove_member(alice.user, conversation, alice.user).await,
        Err(AccountError::NotAllowed)
    );
    assert!(bed.store.create_direct(alice.user, alice.user).await.is_err());
    assert_eq!(bed.store.create_direct(alice.user, UserId([3; 16])).await, Err(AccountError::NotFound));
}

pub async fn a_large_group_is_made_at_once<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let mut members = Vec::new();
    for n in 0..300 {
        members.push(bed.person(&format!("m{n}")).await.user);
    }
    let draft = GroupDraft { name: "all".to_owned(), members, history: HistoryPolicy::default(), ttl: None };
    let conversation = bed.store.create_group(alice.user, draft).await.unwrap();
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = bed.store.members(alice.user, conversation, after, 200).await.unwrap();
        seen += page.len();
        match page.last() {
            Some(last) => after = Some(last.user),
            None => break,
        }
    }
    assert_eq!(seen, 301);
    assert_eq!(delta(&bed, conversation, 0).await.changes.len(), 301);
}

pub async fn lists_go_by_recency_and_count_the_unread<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, first) = bed.pair().await;
    let carol = bed.person("carol").await;
    let (second, _) = bed.store.create_direct(alice.user, carol.user).await.unwrap();
    for n in 1..=3 {
        bed.clock.forward(10);
        bed.publish(message(bob, first, n)).await;
    }
    let list = bed.store.conversations(alice.user, None, 10).await.unwrap();
    assert_eq!(list.iter().map(|c| c.id).collect::<Vec<_>>(), [first, second]);
    let top = &list[0];
    assert_eq!((top.kind, top.unread, top.head), (ConversationKind::Direct, 3, Offset(3)));
    assert_eq!(top.peer, Some((bob.user, "bob".to_owned())));
    assert_eq!(top.last.as_ref().unwrap().body.as_ref(), b"message 3");
    let (user, device) = (alice.user, alice.device);
    let cursor = StoreRequest::MoveCursor { user, device, conversation: first, offset: Offset(2) };
    bed.store.ask(cursor).await;
    let next = bed.store.conversations(alice.user, Some((top.last_at, top.id)), 10).await.unwrap();
    assert_eq!(next.iter().map(|c| c.id).collect::<Vec<_>>(), [second]);
    let detail = bed.store.conversation(alice.user, first).await.unwrap();
    assert_eq!((detail.summary.unread, detail.summary.cursor), (1, Offset(2)));
}

pub async fn members_learn_of_it<S: Store + Accounts>(bed: Bed<S>) {
    use schema_store::rows::conversation::ConversationChange;
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let c = group(&bed, alice, HistoryPolicy::SinceJoin).await;
    let head = events(&bed, bob.user, Position::default()).await.head;
    bed.store.add_members(alice.user, c, vec![bob.user]).await.unwrap();
    let rename = ConversationChange { name: Some("crew".to_owned()), epoch: Some(1), ..Default::default() };
    bed.store.change_conversation(alice.user, c, rename.clone()).await.unwrap();
    assert!(bed.store.change_conversation(alice.user, c, rename).await.is_err(), "an epoch is taken once");
    bed.store.remove_member(alice.user, c, bob.user).await.unwrap();
    let after = Position { offset: head, ..Position::default() };
    let page = events(&bed, bob.user, after).await;
    let seen: Vec<_> = page.events.iter().filter_map(|e| e.event.as_ref()).collect();
    let (by, conversation) = (alice.user.to_bytes(), c.to_bytes());
    assert!(matches!(seen[0], Event::AddedTo(e) if e.by == by && e.conversation == conversation));
    assert!(matches!(seen[1], Event::ConversationChanged(e) if e.name == "crew" && e.epoch == 1));
    assert!(matches!(seen[2], Event::RemovedFrom(e) if e.conversation == conversation));
    assert_eq!(seen.len(), 3);
    let offsets: Vec<u64> = page.events.iter().map(|e| e.offset).collect();
    assert_eq!(offsets, [head.0 + 1, head.0 + 2, head.0 + 3], "dense");
}
