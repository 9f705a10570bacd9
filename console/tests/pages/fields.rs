//! Every field of every page has limits; what is wrong with one is said beside it in the reader's language, and what was
//! typed stays.

use axum::http::Method;
use console::frame::route::Who;
use console::pages::duties;
use schema_store::SqliteStore;
use schema_store::rows::role::AccountRole;

use crate::bad_input::reported;
use crate::support::{Answer, Desk};

/// The tags of one kind, each as it is written.
fn tags<'t>(page: &'t str, name: &str) -> Vec<&'t str> {
    let opening = format!("<{name} ");
    page.split(opening.as_str()).skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

fn has(tag: &str, attribute: &str) -> bool {
    tag.contains(&format!("{attribute}=\""))
}

/// Fields that take more than a person can mean.
fn without_limits(page: &str) -> Vec<&str> {
    let is_free = |tag: &&str| {
        let is_no_text = ["hidden", "checkbox", "radio", "submit"];
        !is_no_text.iter().any(|kind| tag.contains(&format!("type=\"{kind}\"")))
    };
    let is_bounded = |tag: &&str| has(tag, "maxlength") || (has(tag, "min") && has(tag, "max"));
    let mut fields = tags(page, "input");
    fields.extend(tags(page, "textarea"));
    fields.into_iter().filter(is_free).filter(|tag| !is_bounded(tag)).collect()
}

#[test]
fn every_field_of_every_page_has_limits() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let mut seen = 0;
    for role in [AccountRole::Admin, AccountRole::Moderator, AccountRole::Sre] {
        let cookie = desk.fresh_session(role);
        for duty in duties::<SqliteStore>().iter().filter(|duty| duty.method == Method::GET) {
            let path = duty.path.replace("{user}", &subject.to_string());
            let cookie = match &duty.who {
                Who::Halfway(stage) => desk.session(role, *stage),
                _ => cookie.clone(),
            };
            let cookie = (duty.path != "/sign-in").then_some(cookie.as_str());
            let page = desk.get(&path, cookie);
            seen += tags(&page.text, "input").len() + tags(&page.text, "textarea").len();
            assert_eq!(without_limits(&page.text), Vec::<&str>::new(), "{path}");
        }
    }
    assert!(seen > 100, "{seen} fields were seen");
    assert_eq!(without_limits("<input type=\"text\" name=\"a\"><input type=\"hidden\">").len(), 1);
}

/// The form comes back with all that was typed, and words beside the field that is wrong.
#[track_caller]
fn said_beside(answer: &Answer, field: &str, typed: &[&str]) -> String {
    assert_eq!(answer.status, 422, "{field}: {}", answer.text);
    for text in typed {
        assert!(answer.text.contains(text), "{field}: {text} is lost");
    }
    let mut fields = ["input", "textarea", "select"].map(|name| tags(&answer.text, name)).concat();
    fields.retain(|tag| tag.contains("aria-invalid=\"true\""));
    assert!(fields.len() == 1 && fields[0].contains(&format!("name=\"{field}\"")), "{field}: {fields:?}");
    let described = fields[0].split("aria-describedby=\"").nth(1).and_then(|rest| rest.split('"').next());
    let error = described.and_then(|ids| ids.split(' ').find(|id| id.ends_with("-error"))).unwrap();
    let (_, beside) = answer.text.split_once(&format!("id=\"{error}\"")).unwrap();
    beside.split_once('>').unwrap().1.split('<').next().unwrap().to_owned()
}

#[test]
fn what_is_wrong_is_said_beside_its_field_and_what_was_typed_is_kept() {
    let mut desk = Desk::start();
    let subject = reported(&desk);
    let (case, person) = (format!("/moderation/{subject}"), format!("/users/{subject}"));
    let (decide, notes, erasure) =
        (format!("{case}/decide"), format!("{person}/notes"), format!("{person}/erasure"));
    let addresses = "/moderation/addresses";
    let role = format!("{person}/role");
    let forms: [(&str, &str, &str, [&str; 2]); 17] = [
        (&decide, "measure=SUSPEND&days=31&reason=kept", "days", ["kept", "31"]),
        (&decide, "measure=WARN&days=9&reason=%E2%80%AEturned&notice=kept", "reason", ["kept", "turned"]),
        (&decide, "measure=WARN&days=9&reason=kept&notify=yes&notice=%07bell", "notice", ["kept", "bell"]),
        (&notes, "note=%E2%80%AEturned", "note", ["turned"; 2]),
        (&erasure, "reason=%E2%80%AEturned", "reason", ["turned"; 2]),
        (addresses, "network=nowhere&reason=kept", "network", ["kept", "nowhere"]),
        (addresses, "network=192.0.2.0%2F24&reason=two%0Alines", "reason", ["192.0.2.0/24", "two"]),
        ("/registration/invite", "email=nowhere", "email", ["nowhere"; 2]),
        ("/staff", "email=nowhere&name=kept&role=SRE", "email", ["kept", "nowhere"]),
        ("/staff", "email=a%40b.example&name=%07bell&role=SRE", "name", ["a@b.example", "bell"]),
        ("/tokens", "name=%E2%80%AEturned&role=SRE", "name", ["turned"; 2]),
        ("/settings/content", "kind=PHISHING&text=%E2%80%AEturned", "text", ["turned"; 2]),
        ("/settings/reports-an-hour", "value=-7", "value", ["-7"; 2]),
        ("/settings/mail", "mail-host=kept&mail-port=70000&mail-tls=tls", "mail-port", ["kept", "70000"]),
        (
            "/settings/mail",
            "mail-host=kept.example&mail-port=25&mail-tls=none",
            "mail-tls",
            ["kept.example", "25"],
        ),
        (&role, "from=USER&role=USER", "role", ["USER"; 2]),
        ("/account/keys", "name=%E2%80%AEturned", "name", ["turned"; 2]),
    ];
    for (path, form, field, typed) in forms {
        let words = ["en", "fr"].map(|language| {
            desk.language = language;
            let cookie = desk.fresh_session(AccountRole::Admin);
            said_beside(&desk.post(path, Some(&cookie), form), field, &typed)
        });
        assert!(words[0] != words[1] && words.iter().all(|said| said.len() > 5), "{path} {field}: {words:?}");
    }
}
