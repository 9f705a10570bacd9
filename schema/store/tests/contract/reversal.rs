//! Decisions beside each other: none is made twice at once, and whoever reverses one leaves the others alone.

use std::net::IpAddr;

use schema_store::AccountError;
use schema_store::moderation::{REVERSED_NOTICE, UNDO_MS};
use schema_store::rows::account::{AuditEntry, Origin, StatusChange};
use schema_store::rows::moderation::{CaseState, DecisionId, DecisionState, Measure, NewDecision, Told};
use schema_store::rows::role::AccountRole;
use schema_wire::record::UserStatus;
use schema_wire::v1::user_event::Event;
use schema_wire::{Generation, Network, Offset, Position, UserId};

use crate::contract::moderation::{Desk, about, by, decision};
use crate::contract::{Bed, events};

const DAY_MS: u64 = 86_400_000;

impl<S: Desk> Bed<S> {
    /// A decision that took effect.
    async fn done(&self, new: NewDecision, second: UserId) -> DecisionId {
        let made = self.store.decide(new.clone(), by(new.moderator)).await.unwrap();
        if made.state == DecisionState::Waiting {
            self.store.second(made.id, true, by(second)).await.unwrap();
        }
        self.clock.forward(UNDO_MS);
        assert_eq!(self.apply_all().await, 1);
        made.id
    }

    /// Somebody new, banned with this address.
    async fn banned_at(
        &self,
        name: &str,
        address: IpAddr,
        (who, second): (UserId, UserId),
    ) -> (UserId, DecisionId) {
        let user = self.person(name).await.user;
        let from_there = Origin { actor: Some(user), address: Some(address), user_agent: None };
        let seen = AuditEntry { event: "LOGIN", subject: Some(user), detail: String::new() };
        self.store.audit(seen, from_there).await.unwrap();
        let ban = NewDecision { with_address: true, ..decision(user, who, &[Measure::Ban]) };
        (user, self.done(ban, second).await)
    }

    async fn reverse(&self, wanted: DecisionId, who: UserId) {
        self.store.reverse(wanted, "a mistake".into(), by(who)).await.unwrap();
    }

    async fn moderators(&self) -> (UserId, UserId) {
        (self.staff("mia", AccountRole::Moderator).await, self.staff("tom", AccountRole::Moderator).await)
    }
}

pub async fn a_reversal_undoes_its_own_decision_only<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let bob = bed.person("bob").await.user;
    let done =
        async |measure, days| bed.done(NewDecision { days, ..decision(bob, mia, &[measure]) }, tom).await;
    let is_suspended = async || matches!(bed.status(bob).await, UserStatus::Suspended { .. });
    let january = done(Measure::Suspend, 7).await;
    bed.clock.forward(10 * DAY_MS);
    assert_eq!(bed.status(bob).await, UserStatus::Active, "it ran out");
    let february = done(Measure::Suspend, 30).await;
    bed.reverse(january, tom).await;
    assert!(is_suspended().await, "of the other decision");
    assert_eq!(bed.store.case(bob).await.unwrap().strikes, 1);
    bed.reverse(february, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Active);
    let first = done(Measure::Ban, 0).await;
    let reactivate = StatusChange::Reactivate;
    bed.store.set_status(bob, reactivate, "an error".into(), by(tom)).await.unwrap();
    bed.clock.forward(DAY_MS);
    let second = done(Measure::Ban, 0).await;
    bed.reverse(first, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Banned, "he was let in and banned again");
    bed.reverse(second, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Active);
    let suspended = done(Measure::Suspend, 7).await;
    bed.clock.forward(1);
    let longer = StatusChange::Suspend { until: None };
    bed.store.set_status(bob, longer, "by hand".into(), by(tom)).await.unwrap();
    bed.reverse(suspended, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Suspended { until: None }, "not by the decision any more");
}

pub async fn a_reversal_ends_its_own_mute_only<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let bob = bed.person("bob").await.user;
    let mute = async || bed.done(decision(bob, mia, &[Measure::Mute]), tom).await;
    let muted_until = async || bed.store.case(bob).await.unwrap().muted_until;
    let first = mute().await;
    bed.clock.forward(DAY_MS);
    let second = mute().await;
    let until = muted_until().await;
    bed.reverse(first, tom).await;
    assert_eq!((muted_until().await, until.is_some()), (until, true));
    bed.reverse(second, tom).await;
    assert_eq!(muted_until().await, None);
}

pub async fn an_address_stays_banned_as_long_as_somebody_wants_it<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let address = IpAddr::from([203, 0, 113, 7]);
    let banned = async || {
        let listed = bed.store.address_bans(None, 9).await.unwrap();
        listed.into_iter().map(|ban| (ban.network, ban.reason)).collect::<Vec<_>>()
    };
    let ban = async |name: &str| bed.banned_at(name, address, (mia, tom)).await.1;
    let network = Network::from(address);
    let (bob, carol) = (ban("bob").await, ban("carol").await);
    bed.reverse(bob, tom).await;
    assert_eq!(banned().await, [(network, "spam".to_owned())], "carol came from there too");
    bed.reverse(carol, tom).await;
    assert_eq!(banned().await, []);
    let dave = ban("dave").await;
    bed.store.set_address_ban(network, false, "theirs again".into(), by(mia)).await.unwrap();
    bed.clock.forward(DAY_MS);
    let asked = bed.store.ask_address_ban(network, "a botnet".into(), by(mia)).await.unwrap();
    bed.store.agree_to_address_ban(asked, by(tom)).await.unwrap();
    let by_two = [(network, "a botnet".to_owned())];
    let (erin, frank) = (ban("erin").await, ban("frank").await);
    for decision in [dave, frank, erin] {
        bed.reverse(decision, tom).await;
        assert_eq!(banned().await, by_two, "two agreed on it, and as they said it");
    }
}

pub async fn the_same_is_not_decided_twice_at_once<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let bob = bed.person("bob").await.user;
    let decide = async |who, measures: &[Measure]| {
        bed.store.decide(decision(bob, who, measures), by(who)).await.map(|made| made.id)
    };
    let first = decide(mia, &[Measure::Warn]).await.unwrap();
    for who in [mia, tom] {
        assert_eq!(decide(who, &[Measure::Warn]).await, Err(AccountError::Overtaken), "nobody reported bob");
    }
    decide(tom, &[Measure::Suspend]).await.unwrap();
    bed.store.undo(first, by(mia)).await.unwrap();
    decide(tom, &[Measure::Warn]).await.unwrap();
    bed.clock.forward(UNDO_MS);
    assert_eq!((bed.apply_all().await, bed.store.case(bob).await.unwrap().strikes), (2, 2));
    decide(mia, &[Measure::Warn]).await.unwrap();
    let ban = decide(mia, &[Measure::Ban]).await.unwrap();
    assert_eq!(decide(tom, &[Measure::Ban]).await, Err(AccountError::Overtaken), "one waits");
    let with_warning = decide(tom, &[Measure::Warn, Measure::Ban]).await;
    assert_eq!(with_warning, Err(AccountError::Overtaken), "whatever else it does");
    bed.store.second(ban, true, by(tom)).await.unwrap();
    assert_eq!(decide(mia, &[Measure::Ban]).await, Err(AccountError::Overtaken), "one is agreed to");
}

pub async fn a_reversal_leaves_what_others_demand<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let bob = bed.person("bob").await.user;
    let done =
        async |measure, days| bed.done(NewDecision { days, ..decision(bob, mia, &[measure]) }, tom).await;
    let long = done(Measure::Suspend, 30).await;
    let until = Some(bed.clock.now() + 30 * DAY_MS);
    bed.clock.forward(DAY_MS);
    let short = done(Measure::Suspend, 7).await;
    bed.reverse(short, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Suspended { until }, "the longer one goes on");
    let ban = done(Measure::Ban, 0).await;
    bed.reverse(ban, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Suspended { until }, "also behind a ban");
    bed.reverse(long, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Active);
    assert_eq!(bed.store.case(bob).await.unwrap().strikes, 0, "all were taken back");
    done(Measure::Suspend, 30).await;
    bed.store.set_status(bob, StatusChange::Reactivate, "an error".into(), by(tom)).await.unwrap();
    let ban = done(Measure::Ban, 0).await;
    bed.reverse(ban, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Active, "the suspension was lifted by hand");
    done(Measure::Suspend, 7).await;
    let ban = done(Measure::Ban, 0).await;
    bed.clock.forward(8 * DAY_MS);
    bed.reverse(ban, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Active, "the suspension ran out");
}

pub async fn a_ban_of_who_is_banned_changes_nothing<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let bob = bed.person("bob").await.user;
    let ban = bed.decide(bob, mia, &[Measure::Ban]).await.id;
    bed.store.second(ban, true, by(tom)).await.unwrap();
    bed.clock.forward(UNDO_MS);
    bed.store.set_status(bob, StatusChange::Ban, "by hand".into(), by(tom)).await.unwrap();
    bed.clock.forward(1);
    assert_eq!((bed.apply_all().await, bed.store.case(bob).await.unwrap().strikes), (1, 1));
    bed.reverse(ban, tom).await;
    assert_eq!(bed.status(bob).await, UserStatus::Banned, "by hand");
}

pub async fn an_address_that_was_also_banned_otherwise_stays_banned<S: Desk>(bed: Bed<S>) {
    let staff = bed.moderators().await;
    let (mia, tom) = staff;
    let [first, second] = [IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8])];
    let banned = async || {
        let listed = bed.store.address_bans(None, 9).await.unwrap();
        listed.into_iter().map(|ban| ban.network).collect::<Vec<_>>()
    };
    let asked = bed.store.ask_address_ban(first.into(), "a botnet".into(), by(mia)).await.unwrap();
    let (_, bob) = bed.banned_at("bob", first, staff).await;
    bed.store.agree_to_address_ban(asked, by(tom)).await.unwrap();
    bed.reverse(bob, tom).await;
    assert_eq!(banned().await, [Network::from(first)], "two agreed on what a decision had banned");
    let (carol, _) = bed.banned_at("carol", second, staff).await;
    let (_, dave) = bed.banned_at("dave", second, staff).await;
    bed.store.erase_account(carol, "asked".into(), by(carol)).await.unwrap();
    bed.reverse(dave, tom).await;
    assert_eq!(
        banned().await,
        [second, first].map(Network::from),
        "the one that was banned with carol stays"
    );
}

pub async fn the_last_administrator_is_not_taken_out<S: Desk>(bed: Bed<S>) {
    let (ada, eve) = (bed.staff("ada", AccountRole::Admin).await, bed.staff("eve", AccountRole::Admin).await);
    let bob = bed.person("bob").await.user;
    bed.store.file_report(about(bob, eve), by(bob)).await.unwrap();
    let alone = bed.decide(eve, ada, &[Measure::Suspend]).await.id;
    bed.store.erase_account(ada, "asked".into(), by(ada)).await.unwrap();
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 1);
    assert_eq!(bed.store.decision(alone).await.unwrap().state, DecisionState::Failed);
    assert_eq!((bed.status(eve).await, bed.state(eve).await), (UserStatus::Active, CaseState::Open));
    let newest = bed.store.audit_page(None, 1).await.unwrap().remove(0);
    assert_eq!((&*newest.event, newest.subject), ("DECISION_APPLIED", Some(eve)));
    assert!(newest.detail.starts_with("FAILED: the last"), "{}", newest.detail);
    // Each the other one: the first one goes, the last one stays.
    let zoe = bed.staff("zoe", AccountRole::Admin).await;
    let one = bed.decide(eve, zoe, &[Measure::Suspend]).await.id;
    bed.clock.forward(1);
    let other = bed.decide(zoe, eve, &[Measure::Suspend]).await.id;
    bed.clock.forward(UNDO_MS);
    assert_eq!(bed.apply_all().await, 2);
    let mut states = Vec::new();
    for id in [one, other] {
        states.push(bed.store.decision(id).await.unwrap().state);
    }
    assert_eq!(states, [DecisionState::Done, DecisionState::Failed]);
    assert_eq!(bed.status(zoe).await, UserStatus::Active);
}

pub async fn a_reversal_is_told_but_not_its_reason<S: Desk>(bed: Bed<S>) {
    let (mia, tom) = bed.moderators().await;
    let (alice, bob) = (bed.person("alice").await.user, bed.person("bob").await.user);
    let owed = async || {
        let letters = bed.store.due_letters(9).await.unwrap();
        letters.into_iter().map(|letter| (letter.decision, letter.told, letter.text)).collect::<Vec<_>>()
    };
    let ban = bed.done(decision(bob, mia, &[Measure::Ban]), tom).await;
    bed.store.letter_sent(ban, Told::Decision).await.unwrap();
    let due = async |told| bed.store.due_letter(ban, told).await.unwrap().map(|letter| letter.email);
    assert_eq!(due(Told::Decision).await, None, "sent");
    bed.reverse(ban, tom).await;
    assert_eq!(owed().await, [(ban, Told::Reversal, REVERSED_NOTICE.to_owned())], "his clients were cut off");
    assert_eq!(due(Told::Reversal).await.as_deref(), Some("bob@example.org"));
    assert_eq!(due(Told::Answer).await, None);
    bed.store.letter_sent(ban, Told::Reversal).await.unwrap();
    assert_eq!((owed().await, due(Told::Reversal).await), (vec![], None), "once");
    let appealed = bed.done(decision(alice, mia, &[Measure::Warn]), tom).await;
    bed.store.appeal(appealed, "It was not me.".into(), by(alice)).await.unwrap();
    bed.reverse(appealed, tom).await;
    assert_eq!(owed().await, [(appealed, Told::Answer, REVERSED_NOTICE.to_owned())], "not a mistake of whom");
    bed.store.letter_sent(appealed, Told::Answer).await.unwrap();
    let silent = NewDecision { notice: None, ..decision(alice, mia, &[Measure::Warn]) };
    let silent = bed.done(silent, tom).await;
    bed.reverse(silent, tom).await;
    assert_eq!(owed().await, [], "nobody was told of it");
    let granted = bed.done(decision(alice, mia, &[Measure::Warn]), tom).await;
    bed.store.appeal(granted, "Nor was this.".into(), by(alice)).await.unwrap();
    bed.store.answer_appeal(granted, true, "Sorry.".into(), by(tom)).await.unwrap();
    assert_eq!(owed().await, [(granted, Told::Answer, format!("{REVERSED_NOTICE}\n\nSorry."))]);
    let start = Position { generation: Generation(1), offset: Offset(0) };
    for user in [alice, bob] {
        let told = events(&bed, user, start).await.events;
        let texts: Vec<_> = told
            .iter()
            .filter_map(|event| match &event.event {
                Some(Event::Warning(warning)) => Some(warning.text.as_str()),
                _ => None,
            })
            .collect();
        assert!(texts.iter().any(|text| text.starts_with(REVERSED_NOTICE)), "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("mistake")), "{texts:?}");
    }
}

/// Only where there are transactions that run beside each other is there anything to see.
#[allow(dead_code)]
pub async fn two_bans_reversed_at_once_leave_no_address_banned<S: Desk>(bed: Bed<S>) {
    let staff = bed.moderators().await;
    for n in 0..8 {
        let address = IpAddr::from([203, 0, 113, n]);
        let (_, bob) = bed.banned_at(&format!("bob{n}"), address, staff).await;
        let (_, carol) = bed.banned_at(&format!("carol{n}"), address, staff).await;
        tokio::join!(bed.reverse(bob, staff.1), bed.reverse(carol, staff.1));
        assert_eq!(bed.store.address_bans(None, 9).await.unwrap(), [], "round {n}");
    }
}
