//! Who is signed in to the console: sessions, second factors, lock-outs.

use schema_store::console::{
    CHALLENGE_MS, FACTOR_LETTERS_MS, FAILURES_KEPT_MS, FIRST_WAIT_MS, FREE_FAILURES, SECURITY_KEYS_MAX,
    SESSION_IDLE_MS, UNCONFIRMED_FACTOR_MS,
};
use schema_store::rows::account::{Origin, StatusChange};
use schema_store::rows::console::{
    Agreed, ChallengePurpose, FactorChange, KeyUse, NewConsoleSession, NewSecurityKey, NewStaff, RoleChange,
    SecurityKeyId, Stage,
};
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

    async fn change(
        &self,
        user: UserId,
        from: AccountRole,
        to: AccountRole,
        by: Option<UserId>,
    ) -> Result<(), AccountError> {
        let by = Origin { actor: by, ..Origin::system() };
        self.store.change_role(RoleChange { user, from, to }, by).await
    }

    /// A second factor by codes of this secret, confirmed in a session of its own.
    async fn codes(&self, user: UserId, secret: u8, step: u64) {
        let session = self.session(user, Stage::Full, None).await;
        let shown = self.store.begin_second_factor(user, session, vec![secret; 20]).await.unwrap();
        self.store.confirm_second_factor(user, session, (shown, step), Origin::system()).await.unwrap();
    }

    /// What is owed to whom, and forgotten with that.
    async fn letters(&self) -> Vec<(String, FactorChange, String)> {
        let mut told = Vec::new();
        for letter in self.store.due_factor_letters(50).await.unwrap() {
            self.store.factor_letter_sent(letter.id).await.unwrap();
            told.push((letter.email, letter.change, letter.name));
        }
        told
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
    bed.change(user, AccountRole::Moderator, AccountRole::Admin, None).await.unwrap();
    assert_eq!(bed.stage(session).await, None, "another role needs another session");
    let session = bed.session(user, Stage::Full, None).await;
    assert_eq!(bed.stage(session).await, Some(Stage::Full), "with the new role");
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
    assert_eq!(bed.store.second_factor(user).await.unwrap(), None);
    bed.codes(user, 1, 100).await;
    let used = async |step| bed.store.use_second_factor(user, step).await;
    assert_eq!(used(100).await, Ok(false));
    assert_eq!(used(99).await, Ok(false), "nor an older one");
    assert_eq!(used(101).await, Ok(true));
    bed.store.rewrite_second_factor(user, vec![9; 20], vec![4; 49]).await.unwrap();
    assert_eq!(bed.store.second_factor(user).await.unwrap().unwrap().secret, vec![1; 20], "not in this form");
    bed.store.rewrite_second_factor(user, vec![1; 20], vec![4; 49]).await.unwrap();
    let rewritten = bed.store.second_factor(user).await.unwrap().unwrap();
    assert_eq!((rewritten.secret, rewritten.last_step), (vec![4; 49], 101));
    assert_eq!(bed.events().await, ["REGISTERED", "LOGIN", "SECOND_FACTOR_ADDED"]);
}

pub async fn each_session_is_shown_a_secret_of_its_own<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (ada, mia) =
        (bed.staff("ada", AccountRole::Admin).await, bed.staff("mia", AccountRole::Moderator).await);
    let (one, other) =
        (bed.session(ada, Stage::Enrol, None).await, bed.session(ada, Stage::Enrol, None).await);
    let begin = async |session, n| bed.store.begin_second_factor(ada, session, vec![n; 20]).await;
    let confirm = async |session, n, step| {
        bed.store.confirm_second_factor(ada, session, (vec![n; 20], step), Origin::system()).await
    };
    assert_eq!((begin(one, 1).await, begin(other, 2).await), (Ok(vec![1; 20]), Ok(vec![2; 20])));
    assert_eq!(begin(one, 3).await, Ok(vec![1; 20]), "a page loaded again shows the same secret");
    assert_eq!(bed.store.second_factor(ada).await, Ok(None), "shown is not confirmed");
    assert_eq!(bed.store.use_second_factor(ada, 1).await, Ok(false));
    let foreign = bed.store.begin_second_factor(mia, one, vec![4; 20]).await;
    assert_eq!(foreign, Err(AccountError::NotFound), "another account's session");
    bed.clock.forward(UNCONFIRMED_FACTOR_MS);
    assert_eq!(begin(one, 5).await, Ok(vec![5; 20]), "one that nobody confirmed makes room");
    assert_eq!(confirm(one, 1, 9).await, Err(AccountError::Overtaken), "and is worth nothing");
    // At the same time: one of them counts.
    let done = tokio::join!(confirm(one, 5, 9), confirm(other, 2, 9));
    let (first, lost) = if done.0.is_ok() { (5, (other, 2)) } else { (2, (one, 5)) };
    assert!([&done.0, &done.1].contains(&&Err(AccountError::Overtaken)), "{done:?}");
    let kept = bed.store.second_factor(ada).await.unwrap().unwrap();
    assert_eq!((kept.secret, kept.last_step), (vec![first; 20], 9));
    assert_eq!(confirm(lost.0, lost.1, 10).await, Err(AccountError::Overtaken));
    assert_eq!(bed.store.shown_second_factor(ada, lost.0).await, Ok(None));
    assert_eq!(begin(lost.0, 6).await, Err(AccountError::Overtaken));
    assert_eq!(bed.events().await.iter().filter(|event| *event == "SECOND_FACTOR_ADDED").count(), 1);
    // A secret goes with its session, and when a key is added.
    let session = bed.session(mia, Stage::Full, None).await;
    let shown = bed.store.begin_second_factor(mia, session, vec![7; 20]).await.unwrap();
    bed.store.add_security_key(mia, key("blue", 1), Origin::system()).await.unwrap();
    let late = bed.store.confirm_second_factor(mia, session, (shown, 1), Origin::system()).await;
    assert_eq!(late, Err(AccountError::Overtaken));
    bed.store.begin_second_factor(mia, session, vec![8; 20]).await.unwrap();
    bed.store.close_console_session(mia, session, Origin::system()).await.unwrap();
    assert_eq!(bed.store.shown_second_factor(mia, session).await, Ok(None));
}

pub async fn a_change_of_factors_owes_a_letter<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let by = Origin::system;
    let told = |change, name: &str| ("mia@example.org".to_owned(), change, name.to_owned());
    bed.codes(mia, 1, 1).await;
    bed.clock.forward(1);
    let blue = bed.store.add_security_key(mia, key("blue", 1), by()).await.unwrap();
    bed.clock.forward(1);
    bed.store.remove_security_key(mia, blue, by()).await.unwrap();
    bed.clock.forward(1);
    bed.store.forget_second_factors(mia, by()).await.unwrap();
    let all = [
        told(FactorChange::CodesAdded, ""),
        told(FactorChange::KeyAdded, "blue"),
        told(FactorChange::KeyRemoved, "blue"),
        told(FactorChange::Forgotten, ""),
    ];
    assert_eq!(bed.letters().await, all);
    assert_eq!(bed.letters().await, [], "once");
    bed.store.forget_second_factors(mia, by()).await.unwrap();
    assert_eq!(bed.letters().await, [], "there was nothing to forget");
    assert!(bed.store.add_security_key(mia, key("a\nb", 2), by()).await.is_err());
    assert_eq!(bed.letters().await, [], "nor was this one taken");
    bed.codes(mia, 2, 1).await;
    bed.clock.forward(FACTOR_LETTERS_MS);
    assert_eq!(bed.letters().await, [], "nobody could send it");
    bed.store.add_security_key(mia, key("red", 3), by()).await.unwrap();
    assert_eq!(bed.letters().await, [told(FactorChange::KeyAdded, "red")]);
    bed.store.add_security_key(mia, key("green", 4), by()).await.unwrap();
    bed.store.erase_account(mia, "asked".into(), by()).await.unwrap();
    assert_eq!(bed.letters().await, [], "to nobody");
}

fn key(name: &str, credential: u8) -> NewSecurityKey {
    NewSecurityKey {
        name: name.into(),
        credential: vec![credential; 32],
        public_key: vec![9; 77],
        sign_count: 0,
        backup_eligible: false,
    }
}

pub async fn a_security_key_is_kept_and_its_counter_grows<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (ada, mia) =
        (bed.staff("ada", AccountRole::Admin).await, bed.staff("mia", AccountRole::Moderator).await);
    let by = Origin::system;
    let add = async |user, name: &str, n| bed.store.add_security_key(user, key(name, n), by()).await;
    let desk = add(ada, " desk ", 1).await.unwrap();
    bed.clock.forward(1);
    assert_eq!(add(mia, "the same", 1).await, Err(AccountError::Overtaken), "a credential is somebody's");
    assert!(matches!(add(ada, "a\nb", 2).await, Err(AccountError::Invalid { .. })));
    let found = bed.store.security_keys(ada).await.unwrap();
    assert_eq!((found.len(), &*found[0].name, found[0].last_used_at), (1, "desk", None));
    assert_eq!((found[0].credential.len(), found[0].public_key.len()), (32, 77));
    let used = async |user, key, sign_count| {
        let said = KeyUse { sign_count, backup_eligible: true };
        bed.store.use_security_key(user, key, said, by()).await
    };
    for (count, expected) in [(0, true), (4, true), (4, false), (3, false), (0, false), (u32::MAX, true)] {
        assert_eq!(used(ada, desk, count).await, Ok(expected), "counter {count}");
    }
    let found = bed.store.security_keys(ada).await.unwrap();
    assert_eq!((found[0].sign_count, found[0].last_used_at), (u32::MAX, Some(bed.clock.now())));
    assert_eq!(found[0].backup_eligible, Some(false), "as it said when it was made");
    assert_eq!(used(mia, desk, 5).await, Err(AccountError::NotFound), "only one's own");
    let remove = async |user, key| bed.store.remove_security_key(user, key, by()).await;
    assert_eq!(remove(mia, desk).await, Err(AccountError::NotFound));
    assert_eq!(remove(ada, desk).await, Err(AccountError::NotAllowed), "an administrator keeps one factor");
    let spare = add(ada, "spare", 2).await.unwrap();
    remove(ada, desk).await.unwrap();
    assert_eq!(remove(ada, spare).await, Err(AccountError::NotAllowed));
    let session = bed.session(ada, Stage::Full, None).await;
    let shown = bed.store.begin_second_factor(ada, session, vec![1; 20]).await.unwrap();
    assert_eq!(
        remove(ada, spare).await,
        Err(AccountError::NotAllowed),
        "codes that were never used count not"
    );
    bed.store.confirm_second_factor(ada, session, (shown, 1), by()).await.unwrap();
    remove(ada, spare).await.unwrap();
    let others = add(mia, "only", 3).await.unwrap();
    remove(mia, others).await.unwrap();
    assert_eq!(remove(mia, others).await, Err(AccountError::NotFound), "once");
    assert_eq!(remove(mia, SecurityKeyId([7; 16])).await, Err(AccountError::NotFound));
    let told: Vec<_> = bed.events().await.into_iter().skip(2).collect();
    let suspicious = "SUSPICIOUS_ACTIVITY";
    let expected = [
        ["SECURITY_KEY_ADDED", suspicious, suspicious, suspicious, "SECURITY_KEY_ADDED"],
        [
            "SECURITY_KEY_REMOVED",
            "LOGIN",
            "SECOND_FACTOR_ADDED",
            "SECURITY_KEY_REMOVED",
            "SECURITY_KEY_ADDED",
        ],
        ["SECURITY_KEY_REMOVED", "", "", "", ""],
    ];
    let expected = expected.concat();
    assert_eq!(told, expected[..11]);
    for n in 0..SECURITY_KEYS_MAX {
        add(mia, "one more", 10 + u8::try_from(n).unwrap()).await.unwrap();
    }
    let limit = SECURITY_KEYS_MAX;
    assert_eq!(add(mia, "too many", 99).await, Err(AccountError::TooMany { limit }));
    bed.store.erase_account(mia, "asked".into(), by()).await.unwrap();
    assert!(bed.store.security_keys(mia).await.unwrap().is_empty(), "they go with the account");
}

pub async fn who_lost_every_factor_begins_anew<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (ada, mia) =
        (bed.staff("ada", AccountRole::Admin).await, bed.staff("mia", AccountRole::Moderator).await);
    let by = Origin::system;
    bed.codes(ada, 1, 1).await;
    bed.store.add_security_key(ada, key("blue", 1), by()).await.unwrap();
    bed.store.add_security_key(ada, key("red", 2), by()).await.unwrap();
    bed.store.add_security_key(mia, key("others", 3), by()).await.unwrap();
    let (session, others) =
        (bed.session(ada, Stage::Full, None).await, bed.session(mia, Stage::Full, None).await);
    assert_eq!(bed.store.forget_second_factors(ada, by()).await, Ok(3));
    assert_eq!(bed.store.second_factor(ada).await, Ok(None));
    assert!(bed.store.security_keys(ada).await.unwrap().is_empty());
    assert_eq!(bed.store.console_session(session).await, Ok(None), "whoever found them is out");
    assert!(bed.store.console_session(others).await.unwrap().is_some());
    assert_eq!(bed.store.security_keys(mia).await.unwrap().len(), 1);
    assert_eq!(bed.events().await.last().map(String::as_str), Some("SECOND_FACTORS_FORGOTTEN"));
    assert_eq!(bed.store.forget_second_factors(ada, by()).await, Ok(0));
    let nobody = bed.store.forget_second_factors(UserId([7; 16]), by()).await;
    assert_eq!(nobody, Err(AccountError::NotFound));
}

pub async fn a_challenge_is_taken_once_by_its_session<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    use ChallengePurpose::{Add, Prove};
    let user = bed.staff("mia", AccountRole::Moderator).await;
    let (one, other) =
        (bed.session(user, Stage::Full, None).await, bed.session(user, Stage::Full, None).await);
    let begin = async |session, purpose, n| {
        bed.store.begin_challenge(session, purpose, [n; 32]).await.unwrap();
    };
    let take = async |session, purpose| bed.store.take_challenge(session, purpose).await.unwrap();
    assert_eq!(take(one, Prove).await, None);
    begin(one, Prove, 1).await;
    begin(one, Add, 2).await;
    assert_eq!(take(other, Prove).await, None, "another session's");
    assert_eq!(take(one, Prove).await, Some([1; 32]));
    assert_eq!(take(one, Prove).await, None, "once");
    assert_eq!(take(one, Add).await, Some([2; 32]), "each purpose has its own");
    begin(one, Prove, 3).await;
    begin(one, Prove, 4).await;
    assert_eq!(take(one, Prove).await, Some([4; 32]), "the newest");
    begin(one, Prove, 5).await;
    bed.clock.forward(CHALLENGE_MS);
    assert_eq!(take(one, Prove).await, None, "too late");
    begin(one, Prove, 6).await;
    let full = bed.session(user, Stage::Full, Some(one)).await;
    assert_eq!((take(one, Prove).await, take(full, Prove).await), (None, None), "it ends with its session");
    let over = bed.store.begin_challenge(one, Prove, [7; 32]).await;
    assert_eq!(over, Err(AccountError::NotFound), "a session that is over has none");
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
    let Ok(Agreed::Made(made)) = agree(asked, eve).await else { panic!("an account is made") };
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

pub async fn a_role_is_changed_by_another_administrator<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    use AccountRole::{Admin, Auditor, Moderator, Sre, User};
    let (ada, eve) = (bed.staff("ada", Admin).await, bed.staff("eve", Admin).await);
    let mia = bed.staff("mia", Moderator).await;
    let change = async |user, from, to, by| bed.change(user, from, to, Some(by)).await;
    for (user, from, to, by, expected) in [
        (ada, Admin, Sre, ada, AccountError::NotAllowed),
        (mia, Moderator, Admin, mia, AccountError::NotAllowed),
        (eve, Admin, User, mia, AccountError::NotAllowed),
        (mia, Moderator, Admin, ada, AccountError::NotAllowed),
        (mia, Sre, Auditor, ada, AccountError::Overtaken),
        (mia, Moderator, Moderator, ada, AccountError::Overtaken),
        (UserId([7; 16]), Sre, User, ada, AccountError::NotFound),
    ] {
        assert_eq!(change(user, from, to, by).await, Err(expected), "{from:?} -> {to:?}");
    }
    let (session, others) =
        (bed.session(mia, Stage::Full, None).await, bed.session(eve, Stage::Full, None).await);
    let half = bed.session(mia, Stage::SecondFactor, None).await;
    change(mia, Moderator, Sre, ada).await.unwrap();
    assert_eq!((bed.stage(session).await, bed.stage(half).await), (None, None), "its sessions end at once");
    assert!(bed.stage(others).await.is_some());
    assert_eq!(bed.store.profile(mia).await.unwrap().role, Sre);
    let newest = bed.store.audit_page(None, 1).await.unwrap().remove(0);
    assert_eq!((newest.event.as_str(), newest.subject, newest.actor), ("ROLE_CHANGED", Some(mia), Some(ada)));
    assert_eq!(newest.detail, "MODERATOR -> SRE");
    assert_eq!(change(mia, Moderator, Auditor, eve).await, Err(AccountError::Overtaken), "a page of before");
    change(mia, Sre, User, eve).await.unwrap();
    let new = NewToken::generate(bed.clock.now() + HOUR).1;
    let new =
        NewConsoleSession { token: new, user: mia, stage: Stage::Full, replaces: None, lock_subject: None };
    assert_eq!(bed.store.open_console_session(new, Origin::system()).await, Err(AccountError::NotAllowed));
    // Each takes the other's role away at the same time: one of them stays.
    let done = tokio::join!(change(eve, Admin, User, ada), change(ada, Admin, Auditor, eve));
    assert!([&done.0, &done.1].contains(&&Err(AccountError::NotAllowed)), "{done:?}");
    let (last, gone) = if done.0.is_ok() { (ada, eve) } else { (eve, ada) };
    assert_eq!(bed.store.profile(last).await.unwrap().role, Admin);
    let last_one = bed.change(last, Admin, User, None).await;
    assert_eq!(last_one, Err(AccountError::LastAdministrator), "whoever runs the machine does not either");
    let role = bed.store.profile(gone).await.unwrap().role;
    bed.change(gone, role, Admin, None).await.unwrap();
    let done = tokio::join!(bed.change(ada, Admin, Sre, None), bed.change(eve, Admin, Sre, None));
    assert!([&done.0, &done.1].contains(&&Err(AccountError::LastAdministrator)), "{done:?}");
}

pub async fn the_last_administrator_is_not_erased<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    let (ada, eve) = (bed.staff("ada", AccountRole::Admin).await, bed.staff("eve", AccountRole::Admin).await);
    let erase = async |user| bed.store.erase_account(user, "asked".into(), Origin::system()).await.map(drop);
    let status =
        async |change| bed.store.set_status(eve, change, "away".into(), Origin::system()).await.unwrap();
    status(StatusChange::Suspend { until: None }).await;
    assert_eq!(erase(ada).await, Err(AccountError::LastAdministrator), "who is suspended does not count");
    let profile = bed.store.profile(ada).await.unwrap();
    assert_eq!((profile.name.as_str(), profile.role), ("ada", AccountRole::Admin), "nothing happened");
    erase(eve).await.unwrap();
    assert_eq!(erase(ada).await, Err(AccountError::LastAdministrator), "who is gone does not either");
    erase(bed.staff("mia", AccountRole::Moderator).await).await.unwrap();
    bed.staff("bob", AccountRole::Admin).await;
    erase(ada).await.unwrap();
}

pub async fn an_administrator_and_a_first_role_take_two<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    use AccountRole::{Admin, Moderator, Sre, User};
    let (ada, eve) = (bed.staff("ada", Admin).await, bed.staff("eve", Admin).await);
    let (mia, bob) = (bed.staff("mia", Moderator).await, bed.person("bob").await.user);
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let ask = async |who, user, from, to| bed.store.ask_role(RoleChange { user, from, to }, by(who)).await;
    let (_, token) = NewToken::generate(bed.clock.now() + HOUR);
    let agree = async |asked, who| bed.store.agree_to_staff(asked, token, by(who)).await;
    assert_eq!(ask(mia, mia, Moderator, Admin).await, Err(AccountError::NotAllowed));
    assert_eq!(ask(ada, mia, Moderator, Sre).await, Err(AccountError::NotAllowed), "one does that alone");
    assert_eq!(ask(ada, mia, Sre, Admin).await, Err(AccountError::Overtaken));
    assert_eq!(bed.change(bob, User, Sre, Some(ada)).await, Err(AccountError::NotAllowed));
    let asked = ask(ada, mia, Moderator, Admin).await.unwrap();
    assert_eq!(ask(eve, mia, Moderator, Admin).await, Err(AccountError::Overtaken), "once is enough");
    let waiting = bed.store.staff_asked(9).await.unwrap();
    assert_eq!((waiting[0].account, waiting[0].role), (Some((mia, Moderator)), Admin));
    assert_eq!((&*waiting[0].email, &*waiting[0].asker), ("mia@example.org", "ada"));
    for who in [ada, mia] {
        assert_eq!(agree(asked, who).await, Err(AccountError::NotAllowed), "another administrator");
    }
    let session = bed.session(mia, Stage::Full, None).await;
    assert_eq!(agree(asked, eve).await, Ok(Agreed::Changed(mia)));
    assert_eq!((bed.stage(session).await, bed.store.profile(mia).await.unwrap().role), (None, Admin));
    assert_eq!(agree(asked, eve).await, Err(AccountError::Overtaken), "once");
    let newest = bed.store.audit_page(None, 1).await.unwrap().remove(0);
    assert_eq!(newest.detail, format!("MODERATOR -> ADMIN, asked for by {ada}"));
    // What was asked for somebody with another role, and by an administrator who is none any more, is void.
    let (for_bob, for_eve) =
        (ask(mia, bob, User, Sre).await.unwrap(), ask(ada, bob, User, Admin).await.err());
    assert_eq!(for_eve, Some(AccountError::Overtaken));
    bed.change(mia, Admin, Moderator, Some(ada)).await.unwrap();
    assert_eq!(agree(for_bob, eve).await, Err(AccountError::Overtaken), "nobody asks any more");
    let asked = ask(ada, mia, Moderator, Admin).await.unwrap();
    bed.change(mia, Moderator, Sre, Some(eve)).await.unwrap();
    assert_eq!(agree(asked, eve).await, Err(AccountError::Overtaken));
    let events = bed.events().await;
    assert_eq!(events.iter().filter(|event| *event == "STAFF_WITHDRAWN").count(), 2);
    // Only an active account gets what takes two.
    let asked = ask(ada, bob, User, Sre).await.unwrap();
    bed.store.set_status(bob, StatusChange::Ban, "gone".into(), Origin::system()).await.unwrap();
    assert!(matches!(agree(asked, eve).await, Err(AccountError::NotActive(_))));
    assert_eq!(bed.store.staff_asked(9).await.unwrap().len(), 1, "it stays, to be withdrawn");
    bed.store.erase_account(bob, "asked".into(), Origin::system()).await.unwrap();
    assert!(bed.store.staff_asked(9).await.unwrap().is_empty(), "or goes with the account");
}

pub async fn a_first_role_voids_the_password<S: Store + Accounts + ConsoleAccess>(bed: Bed<S>) {
    use AccountRole::{Admin, Moderator, User};
    let (ada, eve) = (bed.staff("ada", Admin).await, bed.staff("eve", Admin).await);
    let bob = bed.person("bob").await.user;
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let hash =
        async || bed.store.login_record("bob@example.org".into()).await.unwrap().unwrap().password_hash;
    let (shown, token) = NewToken::generate(bed.clock.now() + HOUR);
    // Ada sees a link of his, and makes him her second pair of eyes.
    bed.store.request_reset("bob@example.org".into(), token, by(ada)).await.unwrap();
    let change = RoleChange { user: bob, from: User, to: Moderator };
    let asked = bed.store.ask_role(change, by(ada)).await.unwrap();
    let (mailed, token) = NewToken::generate(bed.clock.now() + HOUR);
    assert_eq!(bed.store.agree_to_staff(asked, token, by(eve)).await, Ok(Agreed::Raised(bob)));
    assert_eq!(hash().await, "none", "nor does a password that she chose with it work");
    let reset = async |secret: &str, hash: &str| {
        bed.store.reset_password(TokenHash::of(secret), hash.into(), Origin::system()).await
    };
    assert_eq!(reset(&shown, "$argon2id$hers").await, Err(AccountError::TokenInvalid));
    assert_eq!(reset(&mailed, "$argon2id$his").await, Ok(bob), "what he was sent does");
    let asked =
        bed.store.ask_role(RoleChange { user: bob, from: Moderator, to: Admin }, by(ada)).await.unwrap();
    assert_eq!(bed.store.agree_to_staff(asked, token, by(eve)).await, Ok(Agreed::Changed(bob)));
    assert_eq!(hash().await, "$argon2id$his", "once is enough");
}
