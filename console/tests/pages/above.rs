//! Who acts on whom: a page shows the forms that its reader may send, and says why there are none. Nobody acts on who is
//! gone.

use std::collections::BTreeSet;
use std::time::Duration;

use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewSecurityKey, Stage};
use schema_store::rows::moderation::{Measure, NewDecision, NewReport};
use schema_store::rows::role::AccountRole::{self, Admin, Auditor, Moderator, User};
use schema_store::{Accounts, ConsoleAccess, Moderation};
use schema_wire::UserId;

use crate::support::Desk;

const OWN: &str = "This is your own account";
const STAFF: &str = "only an administrator acts on it";

fn warning(subject: UserId, decider: UserId) -> NewDecision {
    NewDecision {
        subject,
        moderator: decider,
        acts_as: None,
        measures: vec![Measure::Warn],
        days: 0,
        with_address: false,
        reason: "spam".into(),
        notice: Some("Please stop.".into()),
    }
}

/// A warned account with a report, and an appeal against the warning.
fn warned(desk: &Desk, name: &str, role: AccountRole) -> UserId {
    let subject = desk.person(name, role);
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let reporter = desk.person(&format!("{name}-reporter"), User);
    let decider = desk.person(&format!("{name}-decider"), Admin);
    let report = || NewReport {
        reporter,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    };
    desk.run(desk.store.file_report(report(), Origin::system())).unwrap();
    let made = desk.run(desk.store.decide(warning(subject, decider), by(decider))).unwrap();
    desk.forward(Duration::from_secs(60));
    desk.run(desk.store.apply_due()).unwrap();
    desk.run(desk.store.appeal(made.id, "It was not me".into(), by(subject))).unwrap();
    subject
}

/// Where the forms of the page about this account lead that belong to it.
fn forms(desk: &Desk, path: &str, cookie: &str, of: UserId) -> BTreeSet<String> {
    let page = desk.get(path, Some(cookie));
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    let forms = page.text.split(r#"<form method="post" action=""#).skip(1);
    let actions = forms.map(|rest| rest.split('"').next().unwrap().to_owned());
    actions.filter(|to| to.contains(&of.to_string()) || to.contains("/decisions/")).collect()
}

#[test]
fn no_page_shows_a_form_that_is_refused_for_who_one_is() {
    let desk = Desk::start();
    for (name, viewer, subject, may) in [
        ("mia", Moderator, Some(User), true),
        ("max", Moderator, Some(Moderator), false),
        ("mo", Moderator, Some(Auditor), false),
        ("ada", Admin, Some(User), true),
        ("al", Admin, Some(Moderator), true),
        ("ann", Admin, Some(Admin), true),
        ("own", Moderator, None, false),
        ("self", Admin, None, false),
        ("aud", Auditor, Some(User), false),
    ] {
        let subject_role = subject.unwrap_or(viewer);
        let user = warned(&desk, &format!("{name}-subject"), subject_role);
        let reader = if subject.is_some() { desk.person(name, viewer) } else { user };
        let cookie = desk.session_of(reader, Stage::Full);
        let paths = [format!("/moderation/{user}"), format!("/users/{user}")];
        let erasure = (viewer == Admin).then(|| format!("/users/{user}/erasure"));
        let mut shown = BTreeSet::new();
        for path in paths.into_iter().chain(erasure) {
            let expected = match (viewer, subject) {
                (Auditor, _) => None,
                (_, None) => Some(OWN),
                (Moderator, Some(role)) if role != User => Some(STAFF),
                _ => None,
            };
            let text = desk.get(&path, Some(&cookie)).text;
            for reason in [OWN, STAFF] {
                assert_eq!(text.contains(reason), expected == Some(reason), "{name}: {path}: {reason}");
            }
            shown.extend(forms(&desk, &path, &cookie, user));
        }
        let decides = shown.iter().any(|to| to.ends_with("/decide"));
        let answers = shown.iter().any(|to| to.ends_with("/answer"));
        let reverses = shown.iter().any(|to| to.ends_with("/reverse"));
        let resets = shown.iter().any(|to| to.ends_with("/reset-mail"));
        assert_eq!([decides, answers, reverses, resets], [may; 4], "{name}: {shown:?}");
        for to in shown {
            let answer = desk.post(&to, Some(&cookie), "");
            assert_ne!(answer.status, 403, "{name}: {to}");
        }
    }
}

#[test]
fn the_queue_leads_to_no_card_of_an_erased_account() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(Moderator);
    let (reporter, subject) = (desk.person("alice", User), desk.person("bob", User));
    let report = NewReport {
        reporter,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    };
    desk.run(desk.store.file_report(report, Origin::system())).unwrap();
    let card = format!("/moderation/{subject}");
    let page = |state: &str| desk.get(&format!("/moderation?state={state}"), Some(&cookie)).text;
    assert!(page("open").contains(&card));
    desk.run(desk.store.erase_account(subject, "asked".into(), Origin::system())).unwrap();
    assert_eq!(desk.get(&card, Some(&cookie)).status, 404);
    assert!(!page("open").contains("data-case"), "nothing is left to do");
    let resolved = page("resolved");
    assert!(resolved.contains("somebody who is gone") && !resolved.contains(&card), "{resolved}");
}

#[test]
fn the_queue_offers_what_waits_about_staff_to_administrators_only() {
    let desk = Desk::start();
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let (decider, mia) = (desk.person("decider", Admin), desk.person("mia", Moderator));
    let waiting = |subject| {
        let ban = NewDecision { measures: vec![Measure::Ban], ..warning(subject, decider) };
        UserId(desk.run(desk.store.decide(ban, by(decider))).unwrap().id.0)
    };
    let (about_staff, about_user) = (waiting(mia), waiting(desk.person("bob", User)));
    let forms = |viewer: UserId| {
        let cookie = desk.session_of(viewer, Stage::Full);
        let text = desk.get("/moderation", Some(&cookie)).text;
        let offers = |id: UserId, what: &str| text.contains(&format!("/moderation/decisions/{id}/{what}"));
        let offered = [about_staff, about_user].map(|id| {
            assert_eq!(offers(id, "agree"), offers(id, "refuse"));
            (offers(id, "agree"), offers(id, "undo"))
        });
        (offered, text.contains(STAFF), text.contains(OWN))
    };
    let (tom, eve, otto) =
        (desk.person("tom", Moderator), desk.person("eve", Admin), desk.person("otto", Auditor));
    let (none, second, own) = ((false, false), (true, false), (false, true));
    assert_eq!(forms(tom), ([none, second], true, false));
    assert_eq!(forms(mia), ([none, second], false, true));
    assert_eq!(forms(eve), ([second, second], false, false));
    assert_eq!(forms(decider), ([own, own], false, false));
    assert_eq!(forms(otto), ([none, none], false, false));
    let cookie = desk.session_of(tom, Stage::Full);
    for what in ["agree", "refuse"] {
        let answer = desk.post(&format!("/moderation/decisions/{about_staff}/{what}"), Some(&cookie), "");
        assert_eq!(answer.status, 403, "{what}");
    }
}

#[test]
fn a_form_that_is_sent_twice_decides_once() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(Moderator);
    let bob = desk.person("bob", User);
    let fields = "measure=WARN&reason=spam&template=other&notify=yes";
    let send = || desk.post(&format!("/moderation/{bob}/decide"), Some(&cookie), fields);
    let (first, second) = (send(), send());
    assert_eq!((first.status, second.status), (303, 303));
    assert_eq!(second.said.as_deref(), Some("overtaken"), "{:?}", first.said);
    desk.forward(Duration::from_secs(60));
    while desk.run(desk.store.apply_due()).unwrap().is_some() {}
    let case = desk.run(desk.store.case(bob)).unwrap();
    assert_eq!((case.strikes, case.decisions.len()), (1, 1));
    assert_eq!(desk.run(desk.store.due_letters(9)).unwrap().len(), 1);
}

#[test]
fn a_link_that_lets_staff_in_is_shown_to_nobody_else() {
    let desk = Desk::start();
    let (ada, mia) = (desk.person("ada", Admin), desk.person("mia", Moderator));
    let cookie = desk.session_of(ada, Stage::Full);
    let (page, link) = (format!("/users/{mia}"), format!("/users/{mia}/reset-link"));
    let text = desk.get(&page, Some(&cookie)).text;
    assert!(!text.contains(&link) && text.contains("It is mailed only"), "{text}");
    assert_eq!(desk.post(&link, Some(&cookie), "").status, 403);
    let key = NewSecurityKey {
        name: "blue".into(),
        credential: vec![1; 32],
        public_key: vec![9; 77],
        sign_count: 0,
        backup_eligible: false,
    };
    desk.run(desk.store.add_security_key(mia, key, Origin::system())).unwrap();
    assert!(desk.get(&page, Some(&cookie)).text.contains(&link), "the key is asked for as well");
    let shown = desk.post(&link, Some(&cookie), "");
    assert!(shown.status == 200 && shown.text.contains("reset-password?token="), "{}", shown.text);
}
