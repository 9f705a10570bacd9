//! Roles that change hands over real HTTP: who may, what it takes, what of it is seen, and who is out afterwards.

use std::sync::atomic::Ordering;
use std::time::Duration;

use schema_store::rows::account::{Origin, StatusChange};
use schema_store::rows::console::Stage;
use schema_store::rows::role::AccountRole::{self, Admin, Moderator, Sre, User};
use schema_store::{Accounts, ConsoleAccess};
use schema_wire::UserId;
use totp_rs::{Builder, Secret};

use crate::owed::{desk, mail_server};
use crate::support::{Answer, Desk, PASSWORD, encoded};

/// Codes that are set up for this account, by a secret of so many times this byte.
fn codes(desk: &Desk, user: UserId, cookie: &str) -> String {
    let page = desk.get("/account/second-factor", Some(cookie)).text;
    let secret =
        page.split(r#"<code class="secret">"#).nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let fields = format!("code={}&password={}", code(desk, &secret), encoded(PASSWORD));
    assert_eq!(desk.post("/account/second-factor", Some(cookie), &fields).status, 303);
    assert!(desk.run(desk.store.second_factor(user)).unwrap().is_some());
    desk.forward(Duration::from_secs(60));
    secret
}

fn code(desk: &Desk, secret: &str) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let codes = Builder::new().with_digits(6).with_step_duration(30).with_secret(secret).build().unwrap();
    codes.generate(desk.clock.load(Ordering::Relaxed) / 1000).to_string()
}

fn form(from: AccountRole, to: AccountRole, password: &str, code: &str) -> String {
    format!("from={}&role={}&password={}&code={code}", from.name(), to.name(), encoded(password))
}

fn role(desk: &Desk, user: UserId) -> AccountRole {
    desk.run(desk.store.profile(user)).unwrap().role
}

#[track_caller]
fn led(answer: &Answer, to: &str, said: &str) {
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some(to)), "{}", answer.text);
    assert_eq!(answer.said.as_deref(), Some(said));
}

#[test]
fn a_role_changes_for_who_shows_password_and_code_and_its_sessions_end() {
    let desk = Desk::start();
    let (ada, mia) = (desk.person("ada", Admin), desk.person("mia", Moderator));
    let first = desk.session_of(ada, Stage::Full);
    let secret = codes(&desk, ada, &first);
    let cookie = desk.session_of(ada, Stage::Full);
    let path = format!("/users/{mia}/role");
    let hers = desk.session_of(mia, Stage::Full);
    let send = |form: &str| desk.post(&path, Some(&cookie), form);
    assert!(desk.get("/staff", Some(&cookie)).text.contains(&path), "the list leads there");
    assert!(!desk.get("/staff", Some(&cookie)).text.contains(&format!("/users/{ada}/role")));
    for (form, beside) in [
        (form(Moderator, Sre, "wrong", &code(&desk, &secret)), "password-error"),
        (form(Moderator, Sre, PASSWORD, "000000"), "code-error"),
        (form(Moderator, Moderator, PASSWORD, &code(&desk, &secret)), "role-error"),
    ] {
        let answer = send(&form);
        assert!(answer.status == 422 && answer.text.contains(beside), "{beside}: {}", answer.text);
        assert!(answer.text.contains(r#"value="MODERATOR""#));
    }
    for bad in ["", "from=MODERATOR", "from=MODERATOR&role=GOD", "role=SRE"] {
        assert_eq!(send(bad).status, 400, "{bad}");
    }
    assert_eq!((role(&desk, mia), desk.get("/account", Some(&hers)).status), (Moderator, 200));
    led(
        &send(&form(Moderator, Sre, PASSWORD, &code(&desk, &secret))),
        &format!("/users/{mia}"),
        "role-changed",
    );
    assert_eq!((role(&desk, mia), desk.get("/account", Some(&hers)).status), (Sre, 303));
    // The same form again, and one of a page that was open before: no code is used up for them.
    led(&send(&form(Moderator, Sre, PASSWORD, "000000")), &path, "overtaken");
    led(&send(&form(Moderator, User, PASSWORD, "000000")), &path, "overtaken");
    desk.forward(Duration::from_secs(60));
    led(&send(&form(Sre, User, PASSWORD, &code(&desk, &secret))), &format!("/users/{mia}"), "role-changed");
    assert_eq!(desk.sign_in("mia", PASSWORD).status, 422, "without a role nobody gets in");
    assert_eq!(send(&form(User, User, PASSWORD, "")).status, 422);
    let told = desk.run(desk.store.audit_page(None, 20)).unwrap();
    let told: Vec<_> = told.iter().filter(|row| row.event == "ROLE_CHANGED").collect();
    assert_eq!([&*told[0].detail, &*told[1].detail], ["SRE -> USER", "MODERATOR -> SRE"]);
    assert!(told.iter().all(|row| row.actor == Some(ada) && row.subject == Some(mia)));
}

#[test]
fn nobody_changes_their_own_and_the_page_says_who_does() {
    let desk = Desk::start();
    let ada = desk.person("ada", Admin);
    let (path, cookie) = (format!("/users/{ada}/role"), desk.session_of(ada, Stage::Full));
    let alone = desk.get(&path, Some(&cookie)).text;
    assert!(alone.contains("create-admin") && !alone.contains(r#"name="role""#), "{alone}");
    desk.person("eve", Admin);
    let page = desk.get(&path, Some(&cookie)).text;
    assert!(page.contains("another administrator") && !page.contains("create-admin"), "{page}");
    for to in [User, Sre, Admin] {
        assert_eq!(desk.post(&path, Some(&cookie), &form(Admin, to, PASSWORD, "")).status, 403);
    }
    let mia = desk.person("mia", Moderator);
    let hers = desk.session_of(mia, Stage::Full);
    let own = format!("/users/{mia}/role");
    assert_eq!(desk.post(&own, Some(&hers), &form(Moderator, Admin, PASSWORD, "")).status, 403);
    assert_eq!((role(&desk, ada), role(&desk, mia)), (Admin, Moderator));
    let gone = desk.person("gone", Sre);
    desk.run(desk.store.erase_account(gone, "asked".into(), Origin::system())).unwrap();
    assert_eq!(desk.get(&format!("/users/{gone}/role"), Some(&cookie)).status, 404);
}

#[test]
fn an_administrator_is_made_of_somebody_by_two() {
    let desk = Desk::start();
    let (ada, eve, mia) =
        (desk.person("ada", Admin), desk.person("eve", Admin), desk.person("mia", Moderator));
    let (one, other) = (desk.session_of(ada, Stage::Full), desk.session_of(eve, Stage::Full));
    let path = format!("/users/{mia}/role");
    let ask = |cookie: &str| desk.post(&path, Some(cookie), &form(Moderator, Admin, PASSWORD, ""));
    led(&ask(&one), "/staff", "staff-asked");
    led(&ask(&other), &path, "overtaken");
    assert_eq!(role(&desk, mia), Moderator, "asking changes nothing");
    assert!(desk.get(&path, Some(&other)).text.contains("Asked for: administrator"));
    let request = desk.run(desk.store.staff_asked(9)).unwrap().remove(0);
    let request = UserId(request.id.0);
    let agree = format!("/staff/{request}/agree");
    assert!(!desk.get("/staff", Some(&one)).text.contains(&agree), "whoever asked can not agree");
    assert_eq!(desk.post(&agree, Some(&one), "").status, 403);
    let listed = desk.get("/staff", Some(&other)).text;
    assert!(listed.contains(&agree) && listed.contains("moderator → administrator"), "{listed}");
    let suspend = StatusChange::Suspend { until: None };
    let status = |change| desk.run(desk.store.set_status(mia, change, "away".into(), Origin::system()));
    status(suspend).unwrap();
    led(&desk.post(&agree, Some(&other), ""), "/staff", "role-not-active");
    let inactive =
        desk.post(&format!("/users/{mia}/role"), Some(&one), &form(Moderator, Admin, PASSWORD, ""));
    assert!(inactive.status == 422 && inactive.text.contains("Reactivate"), "{}", inactive.text);
    status(StatusChange::Reactivate).unwrap();
    let hers = desk.session_of(mia, Stage::Full);
    led(&desk.post(&agree, Some(&other), ""), "/staff", "role-changed");
    assert_eq!((role(&desk, mia), desk.get("/account", Some(&hers)).status), (Admin, 303));
    led(&desk.post(&agree, Some(&other), ""), "/staff", "overtaken");
    let again = desk.sign_in("mia", PASSWORD);
    assert_eq!(again.location.as_deref(), Some("/sign-in/enrol"), "an administrator needs a second factor");
}

#[test]
fn two_administrators_at_once_do_not_take_both_roles_away() {
    let desk = Desk::start();
    let (ada, eve) = (desk.person("ada", Admin), desk.person("eve", Admin));
    let (one, other) = (desk.session_of(ada, Stage::Full), desk.session_of(eve, Stage::Full));
    let down = |cookie: &str, user| {
        desk.post(&format!("/users/{user}/role"), Some(cookie), &form(Admin, User, PASSWORD, "")).status
    };
    let statuses = std::thread::scope(|scope| {
        let sent = [scope.spawn(|| down(&one, eve)), scope.spawn(|| down(&other, ada))];
        sent.map(|sent| sent.join().unwrap())
    });
    let left: Vec<_> = [ada, eve].into_iter().filter(|user| role(&desk, *user) == Admin).collect();
    assert_eq!(left.len(), 1, "{statuses:?}");
    assert!(statuses.contains(&303) && statuses.iter().all(|status| [303, 401, 403].contains(status)));
}

#[test]
fn whoever_gets_a_first_role_chooses_a_password_with_a_letter_and_no_administrator_sees_the_link() {
    let (port, letters) = mail_server(&[]);
    let desk = desk(port);
    let (ada, eve) = (desk.person("ada", Admin), desk.person("eve", Admin));
    let bob = desk.person("bob", User);
    let (one, other) = (desk.session_of(ada, Stage::Full), desk.session_of(eve, Stage::Full));
    led(
        &desk.post(&format!("/users/{bob}/role"), Some(&one), &form(User, Moderator, PASSWORD, "")),
        "/staff",
        "staff-asked",
    );
    led(
        &desk.post("/staff", Some(&one), "email=new%40staff.example&name=New&role=SRE"),
        "/staff",
        "staff-asked",
    );
    for _ in 0..2 {
        let request = desk.run(desk.store.staff_asked(9)).unwrap().remove(0);
        let (email, agree) = (request.email, format!("/staff/{}/agree", UserId(request.id.0)));
        let answer = desk.post(&agree, Some(&other), "");
        led(&answer, "/staff", "staff-mailed");
        assert!(!answer.text.contains("token="), "{}", answer.text);
        let letter = letters.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(
            letter.contains(&format!("RCPT TO:<{email}>")) && letter.contains("reset-password"),
            "{letter}"
        );
    }
    assert_eq!(desk.sign_in("bob", PASSWORD).status, 422, "the password of before does not work any more");
}
