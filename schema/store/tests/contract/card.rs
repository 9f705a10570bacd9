//! What a case's card tells: where and when a reported message was sent, what was done without a decision; and how many
//! cases are open.

use schema_store::moderation::{NEAR_MESSAGES, UNDO_MS};
use schema_store::rows::account::{Origin, StatusChange};
use schema_store::rows::conversation::{ConversationKind, GroupDraft};
use schema_store::rows::moderation::{Measure, NewReport, OpenCases, ReportedMessage};
use schema_store::rows::role::AccountRole;
use schema_wire::publication::kind;
use schema_wire::record::Append;
use schema_wire::{ConversationId, Offset, UserId};

use crate::contract::moderation::{Desk, about, by};
use crate::contract::{Bed, START, message, offset};

async fn reported<S: Desk>(
    bed: &Bed<S>,
    (reporter, subject): (UserId, UserId),
    message: Option<(ConversationId, Offset)>,
) -> Option<ReportedMessage> {
    let report = NewReport { message, ..about(reporter, subject) };
    let filed = bed.store.file_report(report, by(reporter)).await.unwrap();
    let rows = bed.store.case(subject).await.unwrap().reports;
    rows.into_iter().find(|row| row.id == filed).unwrap().message
}

pub async fn a_card_says_where_and_when<S: Desk>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    let people = (alice.user, bob.user);
    let mut at = Offset(0);
    for n in 0..30 {
        bed.clock.forward(1_000);
        let from = if n % 3 == 0 { bob } else { alice };
        let sent = Offset(offset(bed.publish(message(from, conversation, n)).await));
        at = if n == 15 { sent } else { at };
    }
    let found = reported(&bed, people, Some((conversation, at))).await.unwrap();
    let there = ReportedMessage {
        conversation,
        offset: at,
        kind: Some(ConversationKind::Direct),
        members: 2,
        sent_at: Some(START + 16_000),
        is_gone: false,
        near: 2 * NEAR_MESSAGES,
        // 6, 9, 12, 18, 21 and 24.
        near_own: 6,
    };
    assert_eq!(found, there);
    let deleted = Append { kind: kind::DELETE, relates_to: Some(at), ..message(bob, conversation, 99) };
    bed.publish(deleted).await;
    let rows = bed.store.case(bob.user).await.unwrap().reports;
    assert_eq!(rows[0].message, Some(ReportedMessage { is_gone: true, ..there }), "that it was there stays");
    assert_eq!(reported(&bed, (bob.user, alice.user), None).await, None, "about nobody's message");
}

pub async fn a_reported_message_of_a_group_says_so<S: Desk>(bed: Bed<S>) {
    let (alice, bob, _) = bed.pair().await;
    let draft =
        GroupDraft { name: "all".into(), members: vec![bob.user], history: Default::default(), ttl: None };
    let group = bed.store.create_group(alice.user, draft).await.unwrap();
    let at = Offset(offset(bed.publish(message(bob, group, 1)).await));
    let found = reported(&bed, (alice.user, bob.user), Some((group, at))).await.unwrap();
    assert_eq!((found.kind, found.members), (Some(ConversationKind::Group), 2));
    assert_eq!((found.near, found.near_own), (0, 0), "it stands alone");
}

pub async fn a_card_lists_what_was_done_without_a_decision<S: Desk>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let bob = bed.person("bob").await.user;
    let until = bed.clock.now() + 3_600_000;
    bed.store
        .suspend_active(bob, until, "101 messages in one minute".into(), Origin::system())
        .await
        .unwrap();
    bed.clock.forward(1_000);
    bed.store.set_status(bob, StatusChange::Reactivate, "a mistake".into(), by(mia)).await.unwrap();
    bed.clock.forward(1_000);
    bed.decide(bob, mia, &[Measure::Warn]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    let case = bed.store.case(bob).await.unwrap();
    let told: Vec<_> = case
        .actions
        .iter()
        .map(|one| (one.action.as_str(), one.reason.as_str(), one.by.as_deref(), one.until, one.created_at))
        .collect();
    assert_eq!(
        told,
        [
            ("REACTIVATE", "a mistake", Some("mia"), None, START + 1_000),
            ("SUSPEND", "101 messages in one minute", None, Some(until), START),
        ],
        "newest first, and no decision among them"
    );
    assert_eq!(case.decisions.len(), 1);
}

pub async fn open_cases_are_counted<S: Desk>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let [alice, bob, carol] = [bed.person("alice").await, bed.person("bob").await, bed.person("carol").await];
    assert_eq!(bed.store.open_cases().await.unwrap(), OpenCases::default());
    for subject in [bob.user, carol.user] {
        bed.store.file_report(about(alice.user, subject), by(alice.user)).await.unwrap();
        bed.clock.forward(1_000);
    }
    let open = async || bed.store.open_cases().await.unwrap();
    assert_eq!(open().await, OpenCases { open: 2, oldest_at: Some(START) });
    bed.store.claim_case(bob.user, by(mia)).await.unwrap();
    assert_eq!(open().await.open, 2, "who has it is not done with it");
    bed.decide(bob.user, mia, &[Measure::Dismiss]).await;
    assert_eq!(open().await, OpenCases { open: 1, oldest_at: Some(START + 1_000) });
}
