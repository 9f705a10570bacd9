//! Moderation: reports come in, cases are claimed, decisions wait, take effect, are taken back.

use std::net::IpAddr;

use bytes::Bytes;
use schema_store::franking::commitment;
use schema_store::moderation::{APPEAL_MS, CLAIM_MS, MUTE_MS, UNDO_MS, UPHELD_NOTICE};
use schema_store::rows::account::{AuditEntry, Origin};
use schema_store::rows::moderation::{
    AppealState, CaseFilter, CaseState, Decision, DecisionState, Measure, NewDecision, NewFlag, NewReport,
    Proof, Told,
};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, ConsoleAccess, Moderation, Store};
use schema_wire::record::UserStatus;
use schema_wire::v1::user_event::Event;
use schema_wire::{Generation, Network, Offset, Position, UserId};

use crate::contract::{Bed, START, events, message, offset};

pub trait Desk: Store + Accounts + ConsoleAccess + Moderation {}
impl<S: Store + Accounts + ConsoleAccess + Moderation> Desk for S {}

pub fn by(user: UserId) -> Origin {
    Origin { actor: Some(user), ..Origin::system() }
}

pub fn about(reporter: UserId, subject: UserId) -> NewReport {
    NewReport {
        reporter,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    }
}

pub fn decision(subject: UserId, moderator: UserId, measures: &[Measure]) -> NewDecision {
    NewDecision {
        subject,
        moderator,
        acts_as: None,
        measures: measures.to_vec(),
        days: 7,
        with_address: false,
        reason: "spam".into(),
        notice: Some("Please stop.".into()),
    }
}

impl<S: Desk> Bed<S> {
    pub async fn status(&self, user: UserId) -> UserStatus {
        self.store.profile(user).await.unwrap().status
    }

    pub async fn decide(&self, subject: UserId, moderator: UserId, measures: &[Measure]) -> Decision {
        self.store.decide(decision(subject, moderator, measures), by(moderator)).await.unwrap()
    }

    pub async fn apply_all(&self) -> usize {
        let mut applied = 0;
        while self.store.apply_due().await.unwrap().is_some() {
            applied += 1;
        }
        applied
    }

    pub async fn state(&self, subject: UserId) -> CaseState {
        self.store.case(subject).await.unwrap().row.state
    }
}

pub async fn ten_reports_are_one_case<S: Desk>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let spammer = bed.person("spam").await.user;
    for n in 0..10 {
        let reporter = bed.person(&format!("reporter{n}")).await.user;
        let first = bed.store.file_report(about(reporter, spammer), by(reporter)).await.unwrap();
        let again = bed.store.file_report(about(reporter, spammer), by(reporter)).await.unwrap();
        assert_eq!(first, again, "a double submit is one report");
        bed.clock.forward(1000);
    }
    let flag = NewFlag {
        subject: spammer,
        rule: "RATE".into(),
        detail: "60 a minute".into(),
        quiet_ms: 2 * UNDO_MS,
    };
    bed.store.raise_flag(flag.clone()).await.unwrap();
    let queue = bed.store.cases(CaseFilter::Open, None, 50).await.unwrap();
    assert_eq!(queue.len(), 1);
    let case = &queue[0];
    assert_eq!((case.user, case.reports, case.reporters, case.flags), (spammer, 10, 10, 1));
    assert_eq!((case.about.as_str(), case.opened_at), ("SPAM", START));
    bed.decide(spammer, mia, &[Measure::Dismiss]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    assert_eq!(bed.store.cases(CaseFilter::Open, None, 50).await.unwrap().len(), 0);
    let detail = bed.store.case(spammer).await.unwrap();
    assert!(detail.reports.iter().all(|report| report.status == "DISMISSED"), "one closing closed all");
    assert!(detail.flags.iter().all(|flag| !flag.open));
    let counts = bed.store.case_counts().await.unwrap();
    assert_eq!((counts.open, counts.resolved_7d, counts.mean_resolve_ms), (0, 1, Some(10_000 + UNDO_MS)));
    bed.store.raise_flag(flag.clone()).await.unwrap();
    assert_eq!(bed.state(spammer).await, CaseState::Resolved, "what was just dismissed is not raised again");
    bed.clock.forward(UNDO_MS);
    bed.store.raise_flag(flag).await.unwrap();
    assert_eq!(bed.state(spammer).await, CaseState::Open, "but later");
    bed.decide(spammer, mia, &[Measure::Dismiss]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    let late = bed.person("late").await.user;
    bed.store.file_report(about(late, spammer), by(late)).await.unwrap();
    assert_eq!(bed.state(spammer).await, CaseState::Open, "a new report opens it again");
}

pub async fn evidence_is_weighed<S: Desk>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    let carol = bed.person("carol").await.user;
    let mut append = message(bob, conversation, 1);
    let (opening, text) = ([7u8; 32], b"what bob wrote".to_vec());
    append.commitment = Some(Bytes::from(commitment(&opening, &text).to_vec()));
    let at = Offset(offset(bed.publish(append).await));
    let told = |evidence: Option<&[u8]>, opening, reason: &str| NewReport {
        message: Some((conversation, at)),
        evidence: evidence.map(<[u8]>::to_vec),
        opening,
        reason: reason.into(),
        ..about(alice.user, bob.user)
    };
    let reports = [
        (told(None, None, "A"), Proof::None),
        (told(Some(b"message 1"), None, "B"), Proof::Stored),
        (told(Some(&text), Some(opening), "C"), Proof::Committed),
        (told(Some(b"something else"), Some(opening), "D"), Proof::Claimed),
        (told(Some(&text), None, "E"), Proof::Claimed),
    ];
    for (report, proof) in reports {
        let filed = bed.store.file_report(report, by(alice.user)).await.unwrap();
        let rows = bed.store.case(bob.user).await.unwrap().reports;
        let row = rows.into_iter().find(|row| row.id == filed).unwrap();
        assert_eq!((row.proof, &*row.reason), (proof, &*row.reason));
    }
    let foreign = NewReport { reporter: carol, ..told(None, None, "F") };
    assert_eq!(bed.store.file_report(foreign, by(carol)).await, Err(AccountError::NotFound), "not a reader");
    let wrong = NewReport { subject: carol, ..told(None, None, "G") };
    let refused = bed.store.file_report(wrong, by(alice.user)).await;
    assert!(matches!(refused, Err(AccountError::Invalid { field: "message", .. })), "{refused:?}");
    let oneself = bed.store.file_report(about(alice.user, alice.user), by(alice.user)).await;
    assert!(matches!(oneself, Err(AccountError::Invalid { field: "user", .. })), "{oneself:?}");
}

pub async fn a_claim_keeps_others_away_for_a_while<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    bed.store.claim_case(bob, by(mia)).await.unwrap();
    bed.store.claim_case(bob, by(mia)).await.unwrap();
    assert_eq!(bed.store.claim_case(bob, by(tom)).await, Err(AccountError::Overtaken));
    let refused = bed.store.decide(decision(bob, tom, &[Measure::Warn]), by(tom)).await;
    assert_eq!(refused, Err(AccountError::Overtaken));
    assert_eq!(bed.store.cases(CaseFilter::ClaimedBy(mia), None, 9).await.unwrap().len(), 1);
    bed.clock.forward(CLAIM_MS);
    assert_eq!(bed.store.cases(CaseFilter::ClaimedBy(mia), None, 9).await.unwrap().len(), 0, "claims end");
    bed.store.claim_case(bob, by(tom)).await.unwrap();
    bed.store.release_case(bob, by(tom)).await.unwrap();
    bed.store.claim_case(bob, by(mia)).await.unwrap();
    bed.decide(bob, mia, &[Measure::Warn]).await;
    let twice = bed.store.decide(decision(bob, mia, &[Measure::Warn]), by(mia)).await;
    assert_eq!(twice, Err(AccountError::Overtaken), "a double submit decides once");
}

pub async fn nothing_happens_before_its_time<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    let first = bed.decide(bob, mia, &[Measure::Warn, Measure::Suspend]).await;
    assert_eq!((first.state, bed.status(bob).await), (DecisionState::Pending, UserStatus::Active));
    bed.clock.forward(UNDO_MS - 1);
    assert_eq!(bed.apply_all().await, 0);
    assert_eq!(
        bed.store.undo(first.id, by(tom)).await,
        Err(AccountError::NotAllowed),
        "only whoever decided"
    );
    assert_eq!(bed.store.undo(first.id, by(mia)).await.unwrap().state, DecisionState::Undone);
    bed.clock.forward(UNDO_MS);
    assert_eq!((bed.apply_all().await, bed.state(bob).await), (0, CaseState::Open));
    let second = bed.decide(bob, mia, &[Measure::Warn, Measure::Suspend]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.store.undo(second.id, by(mia)).await, Err(AccountError::Overtaken));
    assert_eq!(bed.apply_all().await, 1);
    let until = bed.clock.now() + 7 * 86_400_000;
    assert_eq!(bed.status(bob).await, UserStatus::Suspended { until: Some(until) });
    let start = Position { generation: Generation(1), offset: Offset(0) };
    let told = events(&bed, bob, start).await.events;
    let heard = |event: &schema_wire::v1::UserEvent| matches!(&event.event, Some(Event::Warning(w)) if w.text == "Please stop.");
    assert_eq!(told.iter().filter(|event| heard(event)).count(), 1, "{told:?}");
    let letters = bed.store.due_letters(10).await.unwrap();
    assert_eq!((letters.len(), letters[0].email.as_str()), (1, "bob@example.org"));
    bed.store.letter_sent(second.id, Told::Decision).await.unwrap();
    assert_eq!(bed.store.due_letters(10).await.unwrap().len(), 0);
    assert_eq!(bed.store.case(bob).await.unwrap().strikes, 2);
    let reversed = bed.store.reverse(second.id, "a mistake".into(), by(tom)).await.unwrap();
    assert_eq!((reversed.state, bed.status(bob).await), (DecisionState::Reversed, UserStatus::Active));
    assert_eq!(bed.store.case(bob).await.unwrap().strikes, 0);
    assert_eq!(bed.store.reverse(second.id, "again".into(), by(tom)).await, Err(AccountError::Overtaken));
}

pub async fn a_ban_needs_four_eyes<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    let ban = bed.decide(bob, mia, &[Measure::Ban]).await;
    bed.clock.forward(UNDO_MS);
    assert_eq!((ban.state, bed.apply_all().await), (DecisionState::Waiting, 0));
    assert_eq!(
        bed.store.second(ban.id, true, by(mia)).await,
        Err(AccountError::NotAllowed),
        "not the same eyes"
    );
    assert_eq!(bed.store.second(ban.id, false, by(tom)).await.unwrap().state, DecisionState::Refused);
    assert_eq!(bed.state(bob).await, CaseState::Open);
    let ban = bed.decide(bob, mia, &[Measure::Ban]).await;
    assert_eq!(bed.store.waiting_decisions(10).await.unwrap().len(), 1);
    assert_eq!(bed.store.second(ban.id, true, by(tom)).await.unwrap().state, DecisionState::Pending);
    assert_eq!(bed.status(bob).await, UserStatus::Active, "and still ten seconds");
    bed.clock.forward(UNDO_MS);
    assert_eq!((bed.apply_all().await, bed.status(bob).await), (1, UserStatus::Banned));
    bed.store.reverse(ban.id, "it was not him".into(), by(mia)).await.unwrap();
    assert_eq!(bed.status(bob).await, UserStatus::Active);
}

pub async fn a_ban_takes_the_address_along<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let bob = bed.person("bob").await.user;
    let address = IpAddr::from([203, 0, 113, 7]);
    let from_there = Origin { actor: Some(bob), address: Some(address), user_agent: None };
    let seen = AuditEntry { event: "LOGIN", subject: Some(bob), detail: String::new() };
    bed.store.audit(seen, from_there).await.unwrap();
    let ban = NewDecision { with_address: true, ..decision(bob, mia, &[Measure::Warn, Measure::Ban]) };
    let ban = bed.store.decide(ban, by(mia)).await.unwrap();
    bed.store.second(ban.id, true, by(tom)).await.unwrap();
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    let applied = bed.store.decision(ban.id).await.unwrap();
    assert_eq!((applied.state, applied.address), (DecisionState::Done, Some(address)));
    let events = async || -> Vec<String> {
        bed.store.audit_page(None, 4).await.unwrap().into_iter().map(|row| row.event).collect()
    };
    let told = events().await;
    for event in ["ADDRESS_BANNED", "USER_BANNED", "USER_WARNED", "DECISION_APPLIED"] {
        assert!(told.iter().any(|one| one == event), "{event} in {told:?}");
    }
    bed.store.reverse(ban.id, "it was not him".into(), by(mia)).await.unwrap();
    assert!(events().await.contains(&"ADDRESS_UNBANNED".to_owned()), "the address goes with it");
}

pub async fn a_banned_block_takes_two<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let block = |text: &str| Network::parse(text).unwrap();
    let ask = async |text: &str| bed.store.ask_address_ban(block(text), "a botnet".into(), by(mia)).await;
    let asked = ask("198.51.100.0/24").await.unwrap();
    assert_eq!(ask("198.51.100.9/24").await, Err(AccountError::Overtaken), "once is enough");
    for wide in ["0.0.0.0/0", "10.0.0.0/7", "2000::/15"] {
        let refused = ask(wide).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: "network", .. })), "{refused:?}");
    }
    assert!(bed.store.banned().await.unwrap().is_empty(), "asking does nothing yet");
    let agree = async |asked, who| bed.store.agree_to_address_ban(asked, by(who)).await;
    assert_eq!(agree(asked, mia).await, Err(AccountError::NotAllowed), "not the same eyes");
    let waiting = bed.store.address_bans_asked(9).await.unwrap();
    assert_eq!((waiting.len(), &*waiting[0].asker, &*waiting[0].reason), (1, "mia", "a botnet"));
    assert_eq!(agree(asked, tom).await, Ok(block("198.51.100.0/24")));
    assert_eq!(agree(asked, tom).await, Err(AccountError::Overtaken));
    assert_eq!(bed.store.banned().await.unwrap(), [block("198.51.100.0/24")]);
    assert_eq!(ask("198.51.100.0/24").await, Err(AccountError::Overtaken), "it is banned");
    let single = ask("2001:db8::7").await.unwrap();
    bed.store.withdraw_address_ban(single, by(tom)).await.unwrap();
    assert_eq!(bed.store.withdraw_address_ban(single, by(tom)).await, Err(AccountError::Overtaken));
    let listed = bed.store.address_bans(None, 9).await.unwrap();
    assert_eq!((listed.len(), &*listed[0].by, listed[0].expires_at), (1, "tom", None));
    assert!(bed.store.address_bans(Some(listed[0].id), 9).await.unwrap().is_empty());
    bed.store.set_address_ban(listed[0].network, false, "theirs again".into(), by(mia)).await.unwrap();
    assert!(bed.store.banned().await.unwrap().is_empty());
    let trail = bed.store.audit_page(None, 4).await.unwrap();
    let told: Vec<_> = trail.iter().map(|row| (row.event.as_str(), row.detail.as_str())).collect();
    assert_eq!(
        told,
        [
            ("ADDRESS_UNBANNED", "198.51.100.0/24: theirs again"),
            ("ADDRESS_BAN_WITHDRAWN", "2001:db8::7"),
            ("ADDRESS_BAN_ASKED", "2001:db8::7: a botnet"),
            ("ADDRESS_BANNED", "198.51.100.0/24: a botnet"),
        ]
    );
}

pub async fn a_mute_keeps_reports_and_raises_no_case<S: Desk>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    bed.decide(bob, mia, &[Measure::Mute]).await;
    bed.clock.forward(UNDO_MS);
    bed.apply_all().await;
    bed.clock.forward(1000);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    assert_eq!(bed.state(bob).await, CaseState::Resolved);
    assert_eq!(bed.store.case(bob).await.unwrap().reports.len(), 2, "it is kept");
    bed.clock.forward(MUTE_MS);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    assert_eq!(bed.state(bob).await, CaseState::Open);
}

pub async fn what_does_not_go_is_refused<S: Desk>(bed: Bed<S>) {
    let (mia, ada) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("ada", AccountRole::Admin).await);
    let bob = bed.person("bob").await.user;
    let refused =
        async |new: NewDecision| bed.store.decide(new.clone(), by(new.moderator)).await.unwrap_err();
    for measures in [&[][..], &[Measure::Dismiss, Measure::Warn], &[Measure::Suspend, Measure::Ban]] {
        let error = refused(decision(bob, mia, measures)).await;
        assert!(matches!(error, AccountError::Invalid { field: "measures", .. }), "{error:?}");
    }
    for days in [0, 6, 31] {
        let error = refused(NewDecision { days, ..decision(bob, mia, &[Measure::Suspend]) }).await;
        assert!(matches!(error, AccountError::Invalid { field: "days", .. }), "{error:?}");
    }
    let error = refused(NewDecision { reason: " ".into(), ..decision(bob, mia, &[Measure::Warn]) }).await;
    assert!(matches!(error, AccountError::Invalid { field: "reason", .. }), "{error:?}");
    assert_eq!(refused(decision(mia, mia, &[Measure::Warn])).await, AccountError::NotAllowed, "not oneself");
    assert_eq!(refused(decision(ada, mia, &[Measure::Warn])).await, AccountError::NotAllowed, "not staff");
    bed.decide(mia, ada, &[Measure::Warn]).await;
    let unreported = bed.store.case(bob).await.unwrap();
    assert_eq!(
        (unreported.row.state, unreported.row.reports),
        (CaseState::Resolved, 0),
        "nobody reported bob"
    );
}

pub async fn what_was_decided_about_staff_is_for_administrators<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let (ada, eve) = (bed.staff("ada", AccountRole::Admin).await, bed.staff("eve", AccountRole::Admin).await);
    let suspended = bed.decide(mia, ada, &[Measure::Suspend]).await.id;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    bed.store.appeal(suspended, "It was not me.".into(), Origin::system()).await.unwrap();
    let reverse = async |who| bed.store.reverse(suspended, "a friend".into(), by(who)).await.map(|d| d.state);
    let answer = async |grants| bed.store.answer_appeal(suspended, grants, "a friend".into(), by(tom)).await;
    assert_eq!(reverse(tom).await, Err(AccountError::NotAllowed), "tom could not have decided it");
    for grants in [true, false] {
        assert_eq!(answer(grants).await.map(|d| d.state), Err(AccountError::NotAllowed));
    }
    assert!(matches!(bed.status(mia).await, UserStatus::Suspended { .. }));
    assert_eq!(reverse(eve).await, Ok(DecisionState::Reversed));
    assert_eq!(bed.status(mia).await, UserStatus::Active);
    let ban = bed.decide(mia, ada, &[Measure::Ban]).await.id;
    let second = async |agrees, who| bed.store.second(ban, agrees, by(who)).await.map(|d| d.state);
    for agrees in [true, false] {
        assert_eq!(second(agrees, tom).await, Err(AccountError::NotAllowed), "nor agree to it, nor refuse");
    }
    assert_eq!(second(true, eve).await, Ok(DecisionState::Pending));
}

pub async fn an_appeal_comes_back_to_somebody_else<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    let suspended = bed.decide(bob, mia, &[Measure::Suspend]).await.id;
    let appeal = async |who: Origin| bed.store.appeal(suspended, "It was a joke.".into(), who).await;
    assert_eq!(appeal(by(bob)).await, Err(AccountError::Overtaken), "nothing has happened yet");
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    assert_eq!(appeal(by(alice)).await, Err(AccountError::NotFound), "it is not about her");
    // From the letter's link: whoever is suspended can't sign in.
    appeal(Origin::system()).await.unwrap();
    assert_eq!(appeal(by(bob)).await, Err(AccountError::Overtaken), "once");
    let queue = bed.store.cases(CaseFilter::Open, None, 9).await.unwrap();
    assert_eq!((queue.len(), queue[0].appeals, queue[0].about.as_str()), (1, 1, "APPEAL"));
    let answer = async |who, grants| {
        bed.store.answer_appeal(suspended, grants, "it was none".into(), by(who)).await.map(|done| done.state)
    };
    for refused in [answer(mia, false).await, answer(bob, true).await] {
        assert_eq!(refused, Err(AccountError::NotAllowed), "not whoever decided, not the account itself");
    }
    assert_eq!(bed.store.claim_case(bob, by(mia)).await, Err(AccountError::NotAllowed), "nor the card");
    assert_eq!(answer(tom, false).await, Ok(DecisionState::Done), "the decision stands");
    assert_eq!(answer(tom, true).await, Err(AccountError::Overtaken), "answered once");
    assert!(matches!(bed.status(bob).await, UserStatus::Suspended { .. }));
    assert_eq!(bed.state(bob).await, CaseState::Resolved);
    let told = bed.store.decisions_told(bob).await.unwrap();
    let kept = told[0].1.as_ref().unwrap();
    assert_eq!(
        (kept.state, &*kept.text, &*kept.answer),
        (AppealState::Upheld, "It was a joke.", "it was none")
    );
    let letters = bed.store.due_letters(9).await.unwrap();
    let texts: Vec<_> = letters.iter().map(|letter| (letter.told, letter.text.as_str())).collect();
    let upheld = format!("{UPHELD_NOTICE}\n\nit was none");
    assert_eq!(texts, [(Told::Decision, "Please stop."), (Told::Answer, upheld.as_str())]);
    bed.store.letter_sent(suspended, Told::Answer).await.unwrap();
    assert_eq!(bed.store.due_letters(9).await.unwrap().len(), 1);
    let trail = bed.store.audit_page(None, 9).await.unwrap();
    let written = |event: &str, who| trail.iter().any(|row| row.event == event && row.actor == who);
    assert!(written("APPEALED", None) && written("APPEAL_UPHELD", Some(tom)));
}

pub async fn a_granted_appeal_reverses_the_decision<S: Desk>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Moderator).await);
    let ada = bed.staff("ada", AccountRole::Admin).await;
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    let ban = bed.decide(bob, mia, &[Measure::Ban]).await.id;
    bed.store.second(ban, true, by(tom)).await.unwrap();
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    bed.store.appeal(ban, " It was not me. ".into(), Origin::system()).await.unwrap();
    bed.store.file_report(about(alice, bob), by(alice)).await.unwrap();
    let answer = async |who| bed.store.answer_appeal(ban, true, "right".into(), by(who)).await;
    assert_eq!(answer(tom).await, Err(AccountError::NotAllowed), "nor whoever agreed");
    bed.store.claim_case(bob, by(ada)).await.unwrap();
    assert_eq!(answer(ada).await.unwrap().state, DecisionState::Reversed);
    assert_eq!((bed.status(bob).await, bed.state(bob).await), (UserStatus::Active, CaseState::Open));
    let case = bed.store.case(bob).await.unwrap();
    assert_eq!((case.row.appeals, case.row.reports, case.strikes), (0, 1, 0), "the new report is still open");
    assert_eq!((case.appeals[0].state, &*case.appeals[0].answerer), (AppealState::Granted, "ada"));
    assert_eq!(&*case.appeals[0].text, "It was not me.");
    bed.store.release_case(bob, by(ada)).await.unwrap();
    let warned = bed.decide(bob, mia, &[Measure::Warn]).await.id;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    bed.store.appeal(warned, "why?".into(), by(bob)).await.unwrap();
    bed.store.reverse(warned, "a mistake".into(), by(mia)).await.unwrap();
    assert_eq!(bed.state(bob).await, CaseState::Resolved, "whoever decided may give in");
    let silent = NewDecision { notice: None, ..decision(bob, mia, &[Measure::Warn]) };
    let silent = bed.store.decide(silent, by(mia)).await.unwrap().id;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    let told = bed.decide(bob, mia, &[Measure::Warn]).await.id;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    let appeal = async |of, text: &str| bed.store.appeal(of, text.into(), by(bob)).await;
    assert_eq!(appeal(silent, "why?").await, Err(AccountError::NotFound), "nobody told him");
    assert_eq!(bed.store.decisions_told(bob).await.unwrap().len(), 3);
    for wrong in [" ", &"x".repeat(2049)] {
        let refused = appeal(told, wrong).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: "text", .. })), "{refused:?}");
    }
    bed.clock.forward(APPEAL_MS);
    let refused = appeal(told, "late").await;
    assert!(matches!(refused, Err(AccountError::Invalid { field: "decision", .. })), "{refused:?}");
}

pub async fn an_erasure_needs_four_eyes<S: Desk>(bed: Bed<S>) {
    let (ada, eve) = (bed.staff("ada", AccountRole::Admin).await, bed.staff("eve", AccountRole::Admin).await);
    let bob = bed.person("bob").await.user;
    let ask = async |who| bed.store.ask_erasure(bob, "asked by letter".into(), by(who)).await;
    ask(ada).await.unwrap();
    assert_eq!(ask(eve).await, Err(AccountError::Overtaken), "once is enough");
    let asked = bed.store.erasures_asked(9).await.unwrap();
    assert_eq!(
        (asked.len(), asked[0].user, &*asked[0].asker, &*asked[0].reason),
        (1, bob, "ada", "asked by letter")
    );
    assert_eq!(
        bed.store.agree_to_erasure(bob, by(ada)).await,
        Err(AccountError::NotAllowed),
        "not the same eyes"
    );
    bed.store.withdraw_erasure(bob, by(ada)).await.unwrap();
    assert_eq!(
        bed.store.agree_to_erasure(bob, by(eve)).await,
        Err(AccountError::Overtaken),
        "nobody asks any more"
    );
    assert_eq!(
        bed.store.ask_erasure(ada, "me".into(), by(ada)).await,
        Err(AccountError::NotAllowed),
        "not oneself"
    );
    ask(ada).await.unwrap();
    assert_eq!(bed.status(bob).await, UserStatus::Active, "asking does nothing yet");
    bed.store.agree_to_erasure(bob, by(eve)).await.unwrap();
    assert_eq!(bed.store.profile(bob).await, Err(AccountError::NotFound));
    assert_eq!(bed.store.erasure_asked(bob).await, Ok(None));
    assert_eq!(ask(ada).await, Err(AccountError::NotFound), "and gone is gone");
}
