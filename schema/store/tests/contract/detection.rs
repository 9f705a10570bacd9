//! What is noticed of senders.

use bytes::Bytes;
use schema_store::AccountError;
use schema_store::detection::{
    ACTIVE_WITHIN_MS, Detection, EVASION_WITHIN_MS, MINUTE_MS, NEW_FOR_MS, Sender,
};
use schema_store::rows::account::{AuditEntry, Origin, ProfileChange, StatusChange};
use schema_store::rows::detection::{ContentKind, Evader};
use schema_store::rows::device::KeyUpload;
use schema_store::rows::moderation::{NewFlag, NewReport};
use schema_store::rows::role::AccountRole;
use schema_wire::{Offset, UserId};

use crate::contract::moderation::Desk;
use crate::contract::{Bed, Person, message};

pub async fn busy_senders_are_counted<S: Desk + Detection>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 0..12 {
        bed.publish(message(alice, conversation, n)).await;
    }
    bed.publish(message(bob, conversation, 100)).await;
    let senders = async |at_least| bed.store.senders(at_least).await.unwrap();
    let of = |senders: Vec<Sender>, person: Person| senders.into_iter().find(|one| one.user == person.user);
    let found = of(senders(2).await, alice).unwrap();
    assert_eq!((found.minute, found.first_day, found.same, found.is_staff), (12, 12, 1, false));
    assert_eq!(of(senders(2).await, bob), None, "who sends little is not looked at");
    assert_eq!(of(senders(1).await, bob).unwrap().minute, 1);
    bed.clock.forward(MINUTE_MS);
    let found = of(senders(2).await, alice).unwrap();
    assert_eq!((found.minute, found.first_day), (0, 12), "the minute is over, the day is not");
    bed.clock.forward(ACTIVE_WITHIN_MS);
    assert!(senders(1).await.is_empty(), "nobody is active");
    bed.clock.forward(NEW_FOR_MS);
    bed.publish(message(alice, conversation, 200)).await;
    assert_eq!(of(senders(1).await, alice).unwrap().first_day, 0, "an account is new for a day");
}

pub async fn the_same_to_many_is_noticed<S: Desk + Detection>(bed: Bed<S>) {
    let spam = bed.person("spam").await;
    for n in 0..4 {
        let other = bed.person(&format!("other{n}")).await;
        let (conversation, _) = bed.store.create_direct(spam.user, other.user).await.unwrap();
        let mut same = message(spam, conversation, n);
        same.body = Bytes::from_static(b"the same to everybody");
        bed.publish(same).await;
        let mut own = message(spam, conversation, 100 + n);
        own.body = Bytes::from(format!("for {n}"));
        bed.publish(own).await;
    }
    let found = bed.store.senders(1).await.unwrap();
    assert_eq!((found.len(), found[0].same, found[0].minute), (1, 4, 8));
}

pub async fn rules_look_at_what_can_be_read<S: Desk + Detection>(bed: Bed<S>) {
    let ada = bed.staff("ada", AccountRole::Admin).await;
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    assert!(bed.store.content_rules().await.unwrap().len() > 20, "the product brings some");
    let add = async |text: &str| bed.store.add_content_rule(ContentKind::Spam, text.into(), by(ada)).await;
    let rule = add("Cheap * Watches").await.unwrap();
    assert_eq!(add("cheap * watches").await, Err(AccountError::Overtaken), "once is enough");
    assert!(matches!(add("*").await, Err(AccountError::Invalid { .. })));
    let (alice, bob, conversation) = bed.pair().await;
    let mut sent = message(bob, conversation, 1);
    sent.body = Bytes::from_static(b"CHEAP golden watches at https://bit.ly/x");
    let at = Offset(crate::contract::offset(bed.publish(sent).await));
    let report = async |evidence: &[u8], reason: &str| {
        let new = NewReport {
            reporter: alice.user,
            subject: bob.user,
            message: Some((conversation, at)),
            reason: reason.into(),
            comment: String::new(),
            evidence: Some(evidence.to_vec()),
            opening: None,
        };
        bed.store.file_report(new, by(alice.user)).await.unwrap();
        let flags = bed.store.case(bob.user).await.unwrap().flags;
        flags.into_iter().map(|flag| (flag.rule, flag.detail)).collect::<Vec<_>>()
    };
    assert!(report(b"cheap watches, says she", "A").await.is_empty(), "what is not proven proves nothing");
    let told = "disclosed: shortener bit.ly, spam cheap * watches".to_owned();
    assert_eq!(
        report(b"CHEAP golden watches at https://bit.ly/x", "B").await,
        [("CONTENT".to_owned(), told)]
    );
    let change = ProfileChange { name: None, about: Some("Double your money".into()) };
    bed.store.update_profile(alice.user, change, by(alice.user)).await.unwrap();
    let flags = bed.store.case(alice.user).await.unwrap().flags;
    assert_eq!((flags.len(), flags[0].detail.as_str()), (1, "profile: spam double your money"));
    bed.store.remove_content_rule(rule, by(ada)).await.unwrap();
    assert_eq!(bed.store.remove_content_rule(rule, by(ada)).await, Err(AccountError::Overtaken));
    let trail = bed.store.audit_page(None, 20).await.unwrap();
    for (event, detail) in
        [("CONTENT_RULE_ADDED", "SPAM: cheap * watches"), ("CONTENT_RULE_REMOVED", "SPAM: cheap * watches")]
    {
        assert!(trail.iter().any(|row| row.event == event && row.detail == detail), "{event}");
    }
}

pub async fn who_comes_back_after_a_ban_is_noticed<S: Desk + Detection>(bed: Bed<S>) {
    let seen = async |user: UserId, address: [u8; 4]| {
        let from = Origin { actor: Some(user), address: Some(address.into()), user_agent: None };
        bed.store
            .audit(AuditEntry { event: "LOGIN", subject: Some(user), detail: String::new() }, from)
            .await
            .unwrap();
    };
    let (old, new, other) =
        (bed.person("old").await.user, bed.person("new").await.user, bed.person("other").await.user);
    for (user, last) in [(old, 7), (new, 7), (other, 8)] {
        seen(user, [203, 0, 113, last]).await;
    }
    assert!(bed.store.evaders().await.unwrap().is_empty(), "nobody is banned");
    bed.store.set_status(old, StatusChange::Ban, "spam".into(), Origin::system()).await.unwrap();
    let found = bed.store.evaders().await.unwrap();
    assert_eq!((found.len(), found[0].user, found[0].banned, found[0].by_device), (1, new, old, false));
    // However many banned ones share it, a new account is found once.
    let older = bed.person("older").await.user;
    seen(older, [203, 0, 113, 7]).await;
    bed.store.set_status(older, StatusChange::Ban, "spam".into(), Origin::system()).await.unwrap();
    let found = bed.store.evaders().await.unwrap();
    assert_eq!((found.len(), found[0].user, found[0].banned), (1, new, old.min(older)));
    let newest = bed.person("newest").await.user;
    for (user, rule) in [(new, "EVASION"), (other, "NEW_ACCOUNT"), (other, "RATE"), (newest, "DUPLICATE")] {
        let flag = NewFlag { subject: user, rule: rule.into(), detail: "why".into(), quiet_ms: 0 };
        bed.store.raise_flag(flag).await.unwrap();
    }
    assert!(bed.store.evaders().await.unwrap().is_empty(), "who is flagged is known");
    let signals = bed.store.signals().await.unwrap();
    let names = |flagged: &[schema_store::rows::detection::Flagged]| {
        flagged.iter().map(|one| one.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (signals.reports, names(&signals.busy), names(&signals.evading), names(&signals.same)),
        (0, vec!["other".into()], vec!["new".into()], vec!["newest".into()])
    );
    bed.clock.forward(EVASION_WITHIN_MS);
    assert!(bed.store.evaders().await.unwrap().is_empty(), "that is long ago");
}

pub async fn who_comes_back_with_the_same_device_is_noticed<S: Desk + Detection>(bed: Bed<S>) {
    let (old, new, other) = (bed.person("old").await, bed.person("new").await, bed.person("other").await);
    for (person, identity) in [(old, "a phone"), (new, "a phone"), (other, "another phone")] {
        let keys = KeyUpload {
            identity: Some(Bytes::from(identity)),
            packages: vec![Bytes::from("package")],
            last_resort: None,
        };
        bed.store.publish_keys(person.user, person.device, keys, Origin::system()).await.unwrap();
    }
    assert!(bed.store.evaders().await.unwrap().is_empty(), "nobody is banned");
    bed.store.set_status(old.user, StatusChange::Ban, "spam".into(), Origin::system()).await.unwrap();
    let found = [Evader { user: new.user, banned: old.user, by_device: true }];
    assert_eq!(bed.store.evaders().await.unwrap(), found);
    // A device says more than an address, which many share.
    for user in [old.user, new.user] {
        let from = Origin { actor: Some(user), address: Some([203, 0, 113, 7].into()), user_agent: None };
        let entry = AuditEntry { event: "LOGIN", subject: Some(user), detail: String::new() };
        bed.store.audit(entry, from).await.unwrap();
    }
    assert_eq!(bed.store.evaders().await.unwrap(), found, "once, by what says more");
}
