//! What moderation keeps of an account that is erased: that something was decided, and nothing that is open or personal.

use std::net::IpAddr;

use schema_store::moderation::UNDO_MS;
use schema_store::rows::account::{AuditEntry, Origin};
use schema_store::rows::moderation::{
    CaseFilter, DecisionId, DecisionState, Measure, NewDecision, NewFlag, NewReport,
};
use schema_store::rows::role::AccountRole;
use schema_wire::record::UserStatus;
use schema_wire::{Network, UserId};

use crate::contract::Bed;
use crate::contract::moderation::{Desk, about, by, decision};

/// Where the banned one came from.
const ADDRESS: [u8; 4] = [203, 0, 113, 7];

/// How much is left that names an erased account, or waits for somebody. Both databases understand it.
#[allow(dead_code)]
pub const LEFTOVERS: &str = "SELECT
  (SELECT count(*) FROM reports x JOIN users u ON u.id = x.reported_user_id WHERE u.status = 'DELETED'
    AND (x.status = 'PENDING' OR x.resolved_at IS NULL OR x.evidence IS NOT NULL OR x.comment <> ''))
  + (SELECT count(*) FROM flags x JOIN users u ON u.id = x.user_id WHERE u.status = 'DELETED'
    AND (x.status = 'OPEN' OR x.closed_at IS NULL OR x.detail <> ''))
  + (SELECT count(*) FROM moderation_decisions x JOIN users u ON u.id = x.user_id WHERE u.status = 'DELETED'
    AND (x.state IN ('WAITING', 'PENDING') OR x.ended_at IS NULL OR x.reason <> '' OR x.notice IS NOT NULL
      OR x.address IS NOT NULL))
  + (SELECT count(*) FROM moderation_actions x JOIN users u ON u.id = x.user_id WHERE u.status = 'DELETED'
    AND x.reason <> '')
  + (SELECT count(*) FROM moderation_cases x JOIN users u ON u.id = x.user_id WHERE u.status = 'DELETED'
    AND x.state <> 'RESOLVED')
  + (SELECT count(*) FROM moderation_mutes x JOIN users u ON u.id = x.user_id WHERE u.status = 'DELETED')
  + (SELECT count(*) FROM banned_ips WHERE reason = 'spam')";

/// What a release left that erased accounts only; `blob` is the database's word for bytes.
#[allow(dead_code)]
pub fn left_before(blob: &str, address: &str) -> String {
    let gone = "IN (SELECT id FROM users WHERE status = 'DELETED')";
    format!(
        "UPDATE reports SET status = 'PENDING', resolved_at = NULL, comment = 'him', evidence = CAST('x' AS {blob})
           WHERE reported_user_id {gone};
         UPDATE flags SET status = 'OPEN', closed_at = NULL, detail = 'him' WHERE user_id {gone};
         UPDATE moderation_decisions SET state = 'WAITING', ended_at = NULL, reason = 'spam', notice = 'you',
           address = {address} WHERE user_id {gone};
         UPDATE banned_ips SET reason = 'spam' WHERE reason = '';
         UPDATE moderation_actions SET reason = 'him' WHERE user_id {gone};
         UPDATE moderation_cases SET state = 'OPEN', resolved_at = NULL WHERE user_id {gone};"
    )
}

/// Everything that moderation may know of people who are erased then.
pub struct Known {
    pub alice: UserId,
    pub erin: UserId,
    pub banned: DecisionId,
    pub under_way: [DecisionId; 2],
}

fn disclosed(reporter: UserId, subject: UserId) -> NewReport {
    NewReport {
        comment: "it was him".into(),
        evidence: Some(b"what he wrote".to_vec()),
        ..about(reporter, subject)
    }
}

pub async fn erased<S: Desk>(bed: &Bed<S>) -> Known {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let [alice, bob, carol, dave, erin] = [
        bed.person("alice").await,
        bed.person("bob").await,
        bed.person("carol").await,
        bed.person("dave").await,
        bed.person("erin").await,
    ]
    .map(|person| person.user);
    let report = async |subject| bed.store.file_report(disclosed(alice, subject), by(alice)).await.unwrap();
    report(bob).await;
    let from_there = Origin { actor: Some(bob), address: Some(IpAddr::from(ADDRESS)), user_agent: None };
    let seen = AuditEntry { event: "LOGIN", subject: Some(bob), detail: String::new() };
    bed.store.audit(seen, from_there).await.unwrap();
    let ban = NewDecision { with_address: true, ..decision(bob, mia, &[Measure::Warn, Measure::Ban]) };
    let banned = bed.store.decide(ban, by(mia)).await.unwrap().id;
    bed.store.second(banned, true, by(tom)).await.unwrap();
    bed.decide(carol, mia, &[Measure::Mute]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 2);
    let block = Network::parse("198.51.100.0/24").unwrap();
    let asked = bed.store.ask_address_ban(block, "a botnet".into(), by(mia)).await.unwrap();
    bed.store.agree_to_address_ban(asked, by(tom)).await.unwrap();
    for subject in [bob, dave, erin] {
        report(subject).await;
    }
    let (rule, detail) = ("RATE".to_owned(), "60 a minute".to_owned());
    bed.store.raise_flag(NewFlag { subject: bob, rule, detail, quiet_ms: 1 }).await.unwrap();
    let pending = bed.decide(bob, tom, &[Measure::Warn]).await.id;
    let waiting = bed.decide(carol, tom, &[Measure::Ban]).await.id;
    for subject in [bob, carol, dave] {
        bed.store.erase_account(subject, "asked".into(), by(subject)).await.unwrap();
    }
    Known { alice, erin, banned, under_way: [pending, waiting] }
}

pub async fn an_erased_account_leaves_nothing_to_decide<S: Desk>(bed: Bed<S>) {
    let known = erased(&bed).await;
    let open = bed.store.cases(CaseFilter::Open, None, 9).await.unwrap();
    assert_eq!(
        open.iter().map(|case| case.user).collect::<Vec<_>>(),
        [known.erin],
        "of those that are there"
    );
    assert!(bed.store.cases(CaseFilter::Decided, None, 9).await.unwrap().is_empty());
    let counts = bed.store.case_counts().await.unwrap();
    assert_eq!((counts.open, counts.waiting), (1, 0));
    let resolved = bed.store.cases(CaseFilter::Resolved, None, 9).await.unwrap();
    assert!(resolved.iter().all(|case| case.status == UserStatus::Deleted && case.reports == 0));
    assert_eq!(resolved.len(), 2, "{resolved:?}");
    assert!(bed.store.waiting_decisions(9).await.unwrap().is_empty());
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 0);
    for id in known.under_way {
        let ended = bed.store.decision(id).await.unwrap();
        assert_eq!((ended.state, &*ended.reason, ended.notice), (DecisionState::Failed, "", None));
    }
    let kept = bed.store.decision(known.banned).await.unwrap();
    assert_eq!((kept.state, kept.measures.len(), &*kept.moderator_name), (DecisionState::Done, 2, "mia"));
    assert!(kept.second.is_some() && kept.ended_at.is_some(), "what, when and by whom");
    assert_eq!((&*kept.reason, kept.notice, kept.address), ("", None, None));
    assert!(bed.store.due_letters(9).await.unwrap().is_empty());
    let bans = bed.store.address_bans(None, 9).await.unwrap();
    let bans: Vec<_> = bans.iter().map(|ban| (ban.network.to_string(), &*ban.reason)).collect();
    let expected = [("198.51.100.0/24".to_owned(), "a botnet"), (IpAddr::from(ADDRESS).to_string(), "")];
    assert_eq!(bans, expected, "banned still, and nobody is named");
    bed.store.erase_account(known.alice, "asked".into(), by(known.alice)).await.unwrap();
    let case = bed.store.case(known.erin).await.unwrap();
    let filed = &case.reports[0];
    assert_eq!((case.row.reports, &*filed.reporter_name, &*filed.comment), (1, "", "it was him"));
    assert_eq!(
        filed.evidence.as_deref(),
        Some(&b"what he wrote"[..]),
        "what she reported stays without her name"
    );
}
