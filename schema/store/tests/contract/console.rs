//! Who is signed in to the console: sessions, second factors, lock-outs.

use schema_store::console::{FAILURES_KEPT_MS, FIRST_WAIT_MS, FREE_FAILURES, SESSION_IDLE_MS};
use schema_store::rows::account::{Origin, StatusChange};
use schema_store::rows::console::{NewConsoleSession, NewStaff, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, ConsoleAccess, NewToken, Store, TokenHash};
use schema_wire::UserId;

use crate::contract::{Bed, START};

const HOUR: u64 = 3_600_000;

impl<S: Store + Accounts + ConsoleAccess> Bed<S> {
    pub async fn staff(&self, name: &str, role: AccountRole) -> UserId {
        let email = format!("{name}@example.org");
        self.store.create_admin(email, name.to_owned(), "$argon2id$x".to_owned(), role).await.unwrap()
    }

    async fn session(&self, user: UserId, stage: Stage, replaces: Option<TokenHash>) -> TokenHash {
        let (_, token) = NewToken::generate(self.clock.now() + 12 * HOUR);
        let new = NewConsoleSession { token, user, stage, replaces, lock_subject: Some([1; 32]) };
        self.store.open_console_session(new, Origin::system()).await.unwrap();
        token.hash
    }

    async fn stage(&self, id: TokenHash) -> Option<Stage> {
        self.store.console_session(id).await.unwrap().map(|session| session.stage)
    }

    async fn events(&self) -> Vec<String> {
        let rows = self.store.audit_page(None, 50).await.unwrap();
        rows.into_iter().map(|row| row.event).rev().collect()
    }
}

pub async fn a_session_lives_while_it_is_used<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let user = bed.staff("mia", AccountRole::Moderator).await;
    let half = bed.session(user, Stage::SecondFactor, None).await;
    assert_eq!(bed.stage(half).await, Some(Stage::SecondFactor));
    let full = bed.session(user, Stage::Full, Some(half)).await;
    assert_eq!(
        (bed.stage(half).await, bed.stage(full).await),
        (None, Some(Stage::Full)),
        "the half one ended"
    );
    for _ in 0..30 {
        bed.clock.forward(SESSION_IDLE_MS - 1);
        if bed.stage(full).await.is_none() {
            break;
        }
    }
    assert!(bed.clock.now() >= START + 12 * HOUR, "used, it lasted");
    assert_eq!(bed.stage(full).await, None, "and not longer than its time");
    let idle = bed.session(user, Stage::Full, None).await;
    bed.clock.forward(SESSION_IDLE_MS);
    assert_eq!(bed.stage(idle).await, None);
    assert_eq!(bed.events().await, ["REGISTERED", "LOGIN", "LOGIN"], "half-way is not a login");
}

pub async fn a_session_ends_with_role_and_account<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let user = bed.staff("mia", AccountRole::Moderator).await;
    let session = bed.session(user, Stage::Full, None).await;
    bed.store.set_account_role(user, AccountRole::Admin, Origin::system()).await.unwrap();
    assert_eq!(bed.stage(session).await, None, "another role needs another session");
    let session = bed.session(user, Stage::Full, None).await;
    bed.store.set_status(user, StatusChange::Ban, "gone".into(), Origin::system()).await.unwrap();
    assert_eq!(bed.stage(session).await, None);
    let (_, token) = NewToken::generate(bed.clock.now() + HOUR);
    let new = NewConsoleSession { token, user, stage: Stage::Full, replaces: None, lock_subject: None };
    let refused = bed.store.open_console_session(new.clone(), Origin::system()).await;
    assert!(matches!(refused, Err(AccountError::NotActive(_))), "{refused:?}");
    let stranger = bed.person("alice").await.user;
    let new = NewConsoleSession { user: stranger, ..new };
    assert_eq!(bed.store.open_console_session(new, Origin::system()).await, Err(AccountError::NotAllowed));
}

pub async fn own_sessions_are_listed_and_ended<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (mia, tom) =
        (bed.staff("mia", AccountRole::Moderator).await, bed.staff("tom", AccountRole::Auditor).await);
    let (first, second) =
        (bed.session(mia, Stage::Full, None).await, bed.session(mia, Stage::Full, None).await);
    bed.session(mia, Stage::SecondFactor, None).await;
    assert_eq!(bed.store.console_sessions(mia).await.unwrap().len(), 2, "full ones only");
    let foreign = bed.store.close_console_session(tom, first, Origin::system()).await;
    assert_eq!(foreign, Err(AccountError::NotFound), "only one's own");
    bed.store.close_console_session(mia, first, Origin::system()).await.unwrap();
    assert_eq!((bed.stage(first).await, bed.stage(second).await), (None, Some(Stage::Full)));
    let third = bed.session(mia, Stage::Full, None).await;
    assert_eq!(bed.store.close_other_console_sessions(mia, third, Origin::system()).await, Ok(2));
    assert_eq!((bed.stage(second).await, bed.stage(third).await), (None, Some(Stage::Full)));
}

pub async fn a_code_works_once<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let user = bed.staff("ada", AccountRole::Admin).await;
    let by = Origin::system;
    assert_eq!(bed.store.second_factor(user).await.unwrap(), None);
    let begun = bed.store.begin_second_factor(user, vec![1; 20]).await.unwrap();
    let again = bed.store.begin_second_factor(user, vec![2; 20]).await.unwrap();
    assert_eq!((&begun, begun.confirmed), (&again, false), "a page loaded again shows the same secret");
    assert_eq!(bed.store.use_second_factor(user, 100, by()).await, Ok(true));
    assert_eq!(bed.store.use_second_factor(user, 100, by()).await, Ok(false));
    assert_eq!(bed.store.use_second_factor(user, 99, by()).await, Ok(false), "nor an older one");
    assert_eq!(bed.store.use_second_factor(user, 101, by()).await, Ok(true));
    bed.store.rewrite_second_factor(user, vec![9; 20], vec![4; 49]).await.unwrap();
    assert_eq!(bed.store.second_factor(user).await.unwrap().unwrap().secret, vec![1; 20], "not in this form");
    bed.store.rewrite_second_factor(user, vec![1; 20], vec![4; 49]).await.unwrap();
    let rewritten = bed.store.second_factor(user).await.unwrap().unwrap();
    assert_eq!((rewritten.secret, rewritten.confirmed, rewritten.last_step), (vec![4; 49], true, 101));
    assert_eq!(bed.store.begin_second_factor(user, vec![3; 20]).await, Err(AccountError::NotAllowed));
    assert_eq!(bed.events().await, ["REGISTERED", "SECOND_FACTOR_ADDED"]);
}

pub async fn failures_lock_longer_each_time<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let user = bed.staff("mia", AccountRole::Moderator).await;
    let fail = || bed.store.count_failure([1; 32], Some(user), "wrong password", Origin::system());
    for _ in 0..FREE_FAILURES {
        assert_eq!(fail().await, Ok(0));
    }
    assert_eq!(fail().await, Ok(bed.clock.now() + FIRST_WAIT_MS));
    assert_eq!(bed.store.locked_until([1; 32]).await, Ok(bed.clock.now() + FIRST_WAIT_MS));
    assert_eq!(bed.store.locked_until([2; 32]).await, Ok(0), "nobody else is locked");
    bed.clock.forward(FIRST_WAIT_MS);
    assert_eq!(bed.store.locked_until([1; 32]).await, Ok(0));
    assert_eq!(fail().await, Ok(bed.clock.now() + 2 * FIRST_WAIT_MS));
    bed.session(user, Stage::Full, None).await;
    assert_eq!(bed.store.locked_until([1; 32]).await, Ok(0), "signing in forgets them");
    assert_eq!(fail().await, Ok(0));
    bed.clock.forward(FAILURES_KEPT_MS + 1);
    for _ in 0..FREE_FAILURES {
        assert_eq!(fail().await, Ok(0), "an old failure does not count");
    }
}

pub async fn an_account_with_a_role_takes_two<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (ada, eve) = (bed.staff("ada", AccountRole::Admin).await, bed.staff("eve", AccountRole::Admin).await);
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let ask = async |who, name: &str, role| {
        let new = NewStaff { email: format!("{name}@Example.org"), name: name.to_owned(), role };
        bed.store.ask_staff(new, by(who)).await
    };
    assert_eq!(
        ask(mia, "new", AccountRole::Admin).await,
        Err(AccountError::NotAllowed),
        "administrators only"
    );
    assert_eq!(
        ask(ada, "new", AccountRole::User).await,
        Err(AccountError::NotAllowed),
        "a role it must have"
    );
    assert_eq!(ask(ada, "mia", AccountRole::Admin).await, Err(AccountError::EmailTaken));
    let asked = ask(ada, "new", AccountRole::Admin).await.unwrap();
    assert_eq!(ask(eve, "new", AccountRole::Admin).await, Err(AccountError::Overtaken), "once is enough");
    let (secret, token) = NewToken::generate(bed.clock.now() + HOUR);
    let agree = async |asked, who| bed.store.agree_to_staff(asked, token, by(who)).await;
    for who in [ada, mia] {
        assert_eq!(agree(asked, who).await, Err(AccountError::NotAllowed), "another administrator");
    }
    let waiting = bed.store.staff_asked(9).await.unwrap();
    assert_eq!((waiting.len(), &*waiting[0].email, &*waiting[0].asker), (1, "new@example.org", "ada"));
    assert_eq!(bed.store.login_record("new@example.org".into()).await, Ok(None), "asking makes nothing");
    let made = agree(asked, eve).await.unwrap();
    let profile = bed.store.profile(made).await.unwrap();
    assert_eq!((profile.role, profile.email_verified), (AccountRole::Admin, true));
    assert_eq!(agree(asked, eve).await, Err(AccountError::Overtaken), "once");
    let reset =
        bed.store.reset_password(TokenHash::of(&secret), "$argon2id$y".into(), Origin::system()).await;
    assert_eq!(reset, Ok(made), "the link chooses its password");
    let trail = bed.store.audit_page(None, 9).await.unwrap();
    let created = trail.iter().find(|row| row.event == "STAFF_CREATED").unwrap();
    assert_eq!((created.subject, created.actor), (Some(made), Some(eve)));
    assert_eq!(created.detail, format!("ADMIN, asked for by {ada}"));
    let asked = ask(ada, "other", AccountRole::Sre).await.unwrap();
    bed.store.withdraw_staff(asked, by(eve)).await.unwrap();
    assert_eq!(bed.store.withdraw_staff(asked, by(eve)).await, Err(AccountError::Overtaken));
    assert!(bed.store.staff_asked(9).await.unwrap().is_empty());
}
