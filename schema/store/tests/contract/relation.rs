//! Blocks, first contacts and invitations: who may reach whom, and what each side learns.

use schema_store::accounts::{ADD_TO_GROUPS, INVITATIONS_MAX, REQUEST_MESSAGES};
use schema_store::moderation::Moderation;
use schema_store::operations::Operations;
use schema_store::rows::account::Origin;
use schema_store::rows::conversation::{
    ConversationChange, GroupDraft, HistoryPolicy, Request, RequestAnswer,
};
use schema_store::{AccountError, Accounts, Store};
use schema_wire::publication::kind;
use schema_wire::record::{Append, Change, StoreReply, StoreRequest};
use schema_wire::v1::{self, user_event::Event};
use schema_wire::{ConversationId, Offset, Position, Refused, UserId};

use super::member::delta;
use super::{Bed, Person, changes_since, events, message, now_position, offset, refused};

async fn strangers<S: Store + Accounts>(bed: &Bed<S>) -> (Person, Person, ConversationId) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let (conversation, _) = bed.store.create_direct(alice.user, bob.user).await.unwrap();
    (alice, bob, conversation)
}

fn draft(members: &[Person]) -> GroupDraft {
    let members = members.iter().map(|p| p.user).collect();
    GroupDraft { name: "team".to_owned(), members, history: HistoryPolicy::SinceJoin, ttl: None }
}

/// What a user's stream says about what waits, newest last.
async fn told<S: Store + Accounts>(bed: &Bed<S>, user: UserId) -> Vec<Event> {
    let page = events(bed, user, Position::default()).await;
    let about =
        |event: &Event| matches!(event, Event::AddedTo(_) | Event::Invited(_) | Event::RequestAnswered(_));
    page.events.into_iter().filter_map(|e| e.event).filter(about).collect()
}

fn answered(event: &Event, conversation: ConversationId) -> Option<v1::RequestAnswer> {
    match event {
        Event::RequestAnswered(e) if e.conversation == conversation.to_bytes() => e.answer.as_known(),
        _ => None,
    }
}

async fn knows<S: Store + Accounts>(bed: &Bed<S>, user: Person, other: Person) -> bool {
    let request = StoreRequest::Acquaintances { user: user.user, others: vec![other.user] };
    bed.store.ask(request).await == StoreReply::Acquaintances(vec![other.user])
}

async fn request_of<S: Store + Accounts>(bed: &Bed<S>, of: Person) -> Vec<Option<Request>> {
    let list = bed.store.conversations(of.user, None, 10).await.unwrap();
    list.into_iter().map(|c| c.request).collect()
}

pub async fn a_first_contact_waits_for_consent<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = strangers(&bed).await;
    assert_eq!(request_of(&bed, alice).await, [Some(Request::Sent)]);
    assert_eq!(request_of(&bed, bob).await, [Some(Request::Received)]);
    let flags = |events: Vec<Event>| -> Vec<bool> {
        events.iter().filter_map(|e| if let Event::AddedTo(e) = e { Some(e.request) } else { None }).collect()
    };
    assert_eq!(flags(told(&bed, alice.user).await), [false]);
    assert_eq!(flags(told(&bed, bob.user).await), [true]);
    let waiting = async |of: Person| bed.standing(of.user, conversation, None).await.unwrap().waiting;
    assert!(waiting(alice).await && waiting(bob).await);
    assert!(!knows(&bed, alice, bob).await && !knows(&bed, bob, alice).await, "no presence");
    let answer = async |who: Person, answer| bed.store.answer_request(who.user, conversation, answer).await;
    assert_eq!(answer(alice, RequestAnswer::Accept).await, Err(AccountError::NotAllowed));
    let carol = bed.person("carol").await;
    assert_eq!(answer(carol, RequestAnswer::Accept).await, Err(AccountError::NotFound));
    let at = now_position(&bed).await;
    answer(bob, RequestAnswer::Accept).await.unwrap();
    let standing = bed.standing(alice.user, conversation, None).await.unwrap();
    assert!(!standing.waiting && !waiting(bob).await);
    let version = standing.members_version;
    assert!(
        changes_since(&bed, at).await.contains(&Change::Members { conversation, version }),
        "live sessions"
    );
    let StoreReply::Members(delta) =
        bed.store.ask(StoreRequest::Members { conversation, since: version - 1 }).await
    else {
        panic!("another reply")
    };
    assert_eq!((delta.version, delta.waiting, delta.changes.len()), (version, false, 0));
    assert!(knows(&bed, alice, bob).await && knows(&bed, bob, alice).await);
    for side in [alice, bob] {
        let last = told(&bed, side.user).await.pop().unwrap();
        assert_eq!(answered(&last, conversation), Some(v1::RequestAnswer::Accepted));
        assert_eq!(request_of(&bed, side).await, [None]);
    }
    answer(bob, RequestAnswer::Accept).await.expect("another device was faster");
    assert_eq!(answer(bob, RequestAnswer::Delete).await, Err(AccountError::Overtaken));
}

pub async fn a_first_contact_has_few_messages<S: Store + Accounts + Operations>(bed: Bed<S>) {
    let (alice, _, conversation) = strangers(&bed).await;
    let say = async |n| bed.publish(message(alice, conversation, n)).await;
    for n in 1..=3 {
        assert_eq!(offset(say(n).await), n);
    }
    assert_eq!(refused(say(4).await), Refused::RequestWaiting);
    assert!(matches!(say(2).await, schema_wire::record::Appended::Duplicate { .. }), "a retry is answered");
    let delete =
        Append { kind: kind::DELETE, relates_to: Some(Offset(1)), ..message(alice, conversation, 5) };
    assert_eq!(offset(bed.publish(delete).await), 4, "what was said may be taken back");
    assert_eq!(refused(say(6).await), Refused::RequestWaiting);
    let set = bed.store.change_setting(REQUEST_MESSAGES, Some("6".to_owned()), Origin::system()).await;
    set.unwrap();
    let batch = (7..=9).map(|n| message(alice, conversation, n)).collect();
    let outcomes = bed.store.append(batch).await.unwrap();
    assert_eq!(outcomes.iter().copied().take(2).map(offset).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(refused(outcomes[2]), Refused::RequestWaiting, "within one batch too");
}

pub async fn answering_accepts<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = strangers(&bed).await;
    let before = bed.standing(bob.user, conversation, None).await.unwrap().members_version;
    let mut batch: Vec<Append> = (1..=3).map(|n| message(alice, conversation, n)).collect();
    batch.push(message(bob, conversation, 11));
    batch.extend((4..=5).map(|n| message(alice, conversation, n)));
    let outcomes = bed.store.append(batch).await.unwrap();
    assert_eq!(outcomes.into_iter().map(offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let page = bed.page(alice.user, conversation, 1, false).await;
    let versions: Vec<u64> = page
        .entries
        .iter()
        .map(|entry| match entry {
            schema_wire::record::Entry::Message(m) => m.members_version - before,
            gone => panic!("{gone:?}"),
        })
        .collect();
    assert_eq!(versions, [0, 0, 0, 1, 1, 1], "who follows learns of it by the message");
    for side in [alice, bob] {
        let told = told(&bed, side.user).await;
        let accepted = told.iter().filter(|e| answered(e, conversation).is_some()).count();
        assert_eq!(accepted, 1);
    }
    assert_eq!(bed.standing(alice.user, conversation, None).await.unwrap().members_version, before + 1);
    let (carol, dave) = (bed.person("carol").await, bed.person("dave").await);
    let (other, _) = bed.store.create_direct(carol.user, dave.user).await.unwrap();
    assert_eq!(bed.store.create_direct(carol.user, dave.user).await, Ok((other, false)));
    assert!(bed.standing(dave.user, other, None).await.unwrap().waiting, "asking twice accepts nothing");
    assert_eq!(bed.store.create_direct(dave.user, carol.user).await, Ok((other, false)));
    assert!(!bed.standing(dave.user, other, None).await.unwrap().waiting, "asking for the same does");
}

pub async fn what_is_deleted_stays_away<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = strangers(&bed).await;
    bed.publish(message(alice, conversation, 1)).await;
    for _ in 0..2 {
        bed.store.answer_request(bob.user, conversation, RequestAnswer::Delete).await.unwrap();
    }
    assert!(request_of(&bed, bob).await.is_empty());
    let events = told(&bed, bob.user).await;
    let deleted = events.iter().filter(|e| answered(e, conversation) == Some(v1::RequestAnswer::Deleted));
    assert_eq!(deleted.count(), 1, "told once");
    assert_eq!(told(&bed, alice.user).await.len(), 1, "whoever asked learns nothing");
    assert_eq!(request_of(&bed, alice).await, [Some(Request::Sent)]);
    assert_eq!(offset(bed.publish(message(alice, conversation, 2)).await), 2, "nor by writing");
    assert!(request_of(&bed, bob).await.is_empty());
    bed.store.create_direct(bob.user, alice.user).await.unwrap();
    assert_eq!(request_of(&bed, bob).await, [None], "bob has changed his mind");
}

/// Alice comes to a group of Bob's, who blocked her: whoever looks who came hears that too.
pub async fn newcomers_are_kept_apart<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, carol) = (bed.person("alice").await, bed.person("bob").await, bed.person("carol").await);
    let delta = async |group, since| delta(&bed, group, since).await;
    bed.store.set_block(bob.user, alice.user, true).await.unwrap();
    let group = bed.store.create_group(carol.user, draft(&[bob])).await.unwrap();
    let before = bed.standing(bob.user, group, None).await.unwrap();
    assert!(before.apart.is_empty());
    assert!(delta(group, 0).await.apart.is_empty(), "nobody of the group");
    bed.store.add_members(carol.user, group, vec![alice.user]).await.unwrap();
    let came = delta(group, before.members_version).await;
    assert_eq!(came.apart, [(bob.user, alice.user)]);
    assert!(delta(group, came.version).await.apart.is_empty(), "nothing new");
    bed.store.remove_member(carol.user, group, alice.user).await.unwrap();
    assert_eq!(delta(group, came.version).await.apart, [(bob.user, alice.user)], "also who left");
    let standing = bed.standing(bob.user, group, None).await.unwrap();
    assert_eq!(standing.apart, [alice.user], "what she said may still be on its way");
    bed.store.add_members(carol.user, group, vec![alice.user]).await.unwrap();
    bed.store.set_block(alice.user, bob.user, true).await.unwrap();
    let both = delta(group, came.version).await.apart;
    let (one, other) = ((alice.user, bob.user), (bob.user, alice.user));
    assert!(both.len() == 2 && both.contains(&one) && both.contains(&other), "{both:?}");
    assert_eq!(bed.standing(bob.user, group, None).await.unwrap().apart, [alice.user], "each once");
}

pub async fn a_block_keeps_apart<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, direct) = bed.pair().await;
    let carol = bed.person("carol").await;
    let group = bed.store.create_group(carol.user, draft(&[alice, bob])).await.unwrap();
    assert!(knows(&bed, alice, bob).await);
    let at = now_position(&bed).await;
    bed.store.set_block(bob.user, alice.user, true).await.unwrap();
    let block =
        |user: Person, other: Person, stands| Change::Block { user: user.user, other: other.user, stands };
    assert!(changes_since(&bed, at.clone()).await.contains(&block(bob, alice, true)));
    for (one, other) in [(alice, bob), (bob, alice)] {
        assert!(!knows(&bed, one, other).await, "no presence, either way");
        for conversation in [direct, group] {
            let standing = bed.standing(one.user, conversation, None).await.unwrap();
            assert_eq!(standing.apart, [other.user]);
        }
        let publish = bed.publish(message(one, direct, u64::from(one.user.0[15]) + 1_000)).await;
        assert_eq!(refused(publish), Refused::Blocked, "either way");
        assert_eq!(bed.store.create_group(one.user, draft(&[other])).await, Err(AccountError::Blocked));
        let own = bed.store.create_group(one.user, draft(&[])).await.unwrap();
        let added = bed.store.add_members(one.user, own, vec![other.user]).await;
        assert_eq!(added, Err(AccountError::Blocked));
    }
    assert!(bed.standing(carol.user, group, None).await.unwrap().apart.is_empty());
    assert_eq!(offset(bed.publish(message(alice, group, 1)).await), 1, "a group goes on");
    bed.store.set_block(alice.user, bob.user, true).await.unwrap();
    bed.store.set_block(bob.user, alice.user, false).await.unwrap();
    assert!(!knows(&bed, alice, bob).await, "the other block stands");
    bed.store.set_block(alice.user, bob.user, false).await.unwrap();
    let changes = changes_since(&bed, at).await;
    let blocks: Vec<Change> = changes.into_iter().filter(|c| matches!(c, Change::Block { .. })).collect();
    let expected =
        [block(bob, alice, true), block(alice, bob, true), block(bob, alice, true), block(alice, bob, false)];
    assert_eq!(blocks, expected);
    assert!(knows(&bed, alice, bob).await);
    let dave = bed.person("dave").await;
    let (waiting, _) = bed.store.create_direct(dave.user, alice.user).await.unwrap();
    bed.store.set_block(alice.user, dave.user, true).await.unwrap();
    let events = told(&bed, alice.user).await;
    assert!(events.iter().any(|e| answered(e, waiting) == Some(v1::RequestAnswer::Deleted)));
    assert_eq!(bed.store.create_direct(alice.user, dave.user).await, Ok((waiting, false)));
    assert!(bed.standing(alice.user, waiting, None).await.unwrap().waiting, "not accepted against a block");
}

pub async fn settings_ask_before_a_group<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, carol) = (bed.person("alice").await, bed.person("bob").await, bed.person("carol").await);
    let set = async |who: Person, value: &str| {
        bed.store.set_setting(who.user, ADD_TO_GROUPS.to_owned(), value.to_owned()).await
    };
    assert!(matches!(set(bob, "friends").await, Err(AccountError::Invalid { field: "value", .. })));
    set(bob, "known").await.unwrap();
    set(carol, "nobody").await.unwrap();
    let group = bed.store.create_group(alice.user, draft(&[bob, carol])).await.unwrap();
    let detail = bed.store.conversation(alice.user, group).await.unwrap();
    let mut asked = vec![bob.user, carol.user];
    asked.sort_unstable();
    assert_eq!((detail.summary.member_count, detail.invited), (1, asked));
    let invitations = bed.store.invitations(bob.user).await.unwrap();
    let seen: Vec<_> = invitations.iter().map(|i| (i.conversation, i.name.as_str(), i.by)).collect();
    assert_eq!(seen, [(group, "team", alice.user)]);
    let last = told(&bed, bob.user).await.pop().unwrap();
    assert!(matches!(&last, Event::Invited(e) if e.name == "team" && e.by == alice.user.to_bytes()));
    assert_eq!(bed.store.conversation(bob.user, group).await.unwrap_err(), AccountError::NotFound);
    let add = async |who: Person| bed.store.add_members(alice.user, group, vec![who.user]).await.unwrap();
    assert_eq!(add(carol).await.invited, [carol.user], "the first invitation stands");
    assert_eq!(told(&bed, carol.user).await.len(), 1);
    let answer = async |who: Person, answer| bed.store.answer_invitation(who.user, group, answer).await;
    answer(bob, RequestAnswer::Accept).await.unwrap();
    assert_eq!(bed.store.conversation(bob.user, group).await.unwrap().summary.member_count, 2);
    assert_eq!(answer(bob, RequestAnswer::Accept).await, Err(AccountError::NotFound), "once");
    assert!(bed.store.invitations(bob.user).await.unwrap().is_empty());
    answer(carol, RequestAnswer::Delete).await.unwrap();
    let last = told(&bed, carol.user).await.pop().unwrap();
    assert_eq!(answered(&last, group), Some(v1::RequestAnswer::Deleted));
    // Bob knows alice by now; carol knows nobody well enough.
    let other = bed.store.create_group(alice.user, draft(&[])).await.unwrap();
    let added = bed.store.add_members(alice.user, other, vec![bob.user, carol.user]).await.unwrap();
    assert_eq!((added.members.len(), added.invited), (1, vec![carol.user]));
    set(carol, "").await.unwrap();
    assert_eq!(add(carol).await.members.len(), 1, "whoever does not mind is added");
    let added = bed.store.add_members(alice.user, other, vec![carol.user]).await.unwrap();
    assert_eq!((added.members.len(), bed.store.invitations(carol.user).await.unwrap().len()), (1, 0));
}

pub async fn an_invitation_is_taken_back<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let nobody = async |who: Person| {
        bed.store.set_setting(who.user, ADD_TO_GROUPS.to_owned(), "nobody".to_owned()).await.unwrap();
    };
    nobody(bob).await;
    let group = bed.store.create_group(alice.user, draft(&[bob])).await.unwrap();
    bed.store.remove_member(alice.user, group, bob.user).await.unwrap();
    assert_eq!(
        bed.store.remove_member(alice.user, group, bob.user).await,
        Err(AccountError::NotFound),
        "once"
    );
    let last = told(&bed, bob.user).await.pop().unwrap();
    assert_eq!(answered(&last, group), Some(v1::RequestAnswer::Deleted));
    bed.store.add_members(alice.user, group, vec![bob.user]).await.unwrap();
    bed.store.set_block(bob.user, alice.user, true).await.unwrap();
    assert!(bed.store.invitations(bob.user).await.unwrap().is_empty(), "a block takes it along");
    bed.store.set_block(bob.user, alice.user, false).await.unwrap();
    bed.store.add_members(alice.user, group, vec![bob.user]).await.unwrap();
    bed.store.remove_member(alice.user, group, alice.user).await.expect("the last one may go");
    let joined = bed.store.answer_invitation(bob.user, group, RequestAnswer::Accept).await;
    assert_eq!(joined, Err(AccountError::NotFound), "nobody is there any more");
    for _ in 1..INVITATIONS_MAX {
        bed.store.create_group(alice.user, draft(&[bob])).await.unwrap();
    }
    let full = bed.store.create_group(alice.user, draft(&[bob])).await;
    assert_eq!(full, Err(AccountError::TooMany { limit: INVITATIONS_MAX }));
    bed.store.erase_account(alice.user, "asked".to_owned(), Origin::system()).await.unwrap();
    assert!(bed.store.invitations(bob.user).await.unwrap().is_empty());
}

pub async fn names_of_groups_are_looked_at<S: Store + Accounts + Moderation>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let shady = GroupDraft { name: "Double your money".to_owned(), ..draft(&[bob]) };
    bed.store.create_group(alice.user, shady).await.unwrap();
    let flags = async |of: Person| -> Vec<(String, String)> {
        let Ok(case) = bed.store.case(of.user).await else { return Vec::new() };
        case.flags.into_iter().map(|flag| (flag.rule, flag.detail)).collect()
    };
    let found = |what: &str| vec![("CONTENT".to_owned(), what.to_owned())];
    assert_eq!(flags(alice).await, found("group name: spam double your money"));
    let group = bed.store.create_group(bob.user, draft(&[alice])).await.unwrap();
    assert!(flags(bob).await.is_empty());
    let name = Some("see https://bit.ly/x".to_owned());
    let change = ConversationChange { name, ..ConversationChange::default() };
    bed.store.change_conversation(bob.user, group, change).await.unwrap();
    assert_eq!(flags(bob).await, found("group name: shortener bit.ly"));
    let (user, name) = (bob.user, bed.store.conversation(alice.user, group).await.unwrap().summary.name);
    assert_eq!(name, "see https://bit.ly/x", "a finding is no verdict");
    assert!(bed.store.profile(user).await.is_ok());
}
