//! `--demo`: moderators, and ten cases for them to practise on; made once and kept.

use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::moderation::{NewFlag, NewReport};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, Moderation};
use schema_wire::UserId;

use crate::failure::Failure;

/// Reason, comment and disclosed text of each case.
const CASES: [(&str, &str, &str); 10] = [
    ("SPAM", "The same advertisement every morning.", "Cheap watches! Answer now, only today."),
    ("HARASSMENT", "", "Nobody here wants to read your questions. Leave."),
    (
        "IMPERSONATION",
        "This is not the head of accounting.",
        "Hi, it is me. I need the gift cards before noon.",
    ),
    ("SPAM", "", "Join my channel, everybody is there already."),
    ("VIOLENCE", "I am afraid of meeting him.", "I know which bus you take."),
    ("OTHER", "Posts the lunch menu forty times.", "Soup. Soup. Soup. Soup."),
    ("SPAM", "", "You have won. Send your address to claim it."),
    ("HARASSMENT", "He does not stop although I asked him to.", "Answer me. Answer me. Answer me."),
    ("ILLEGAL", "", "I can get you a doctor's note for ten euros."),
    ("SPAM", "", "Invest today, double tomorrow."),
];

/// Makes what is missing: the two people report ten accounts.
pub async fn cases<S: Accounts + Moderation>(store: &S, reporters: &[UserId]) -> Result<(), Failure> {
    for (n, (reason, comment, text)) in CASES.iter().enumerate() {
        let name = format!("practice {:02}", n + 1);
        let new = Registration {
            email: format!("practice{:02}@demo.example", n + 1),
            name,
            // Nobody signs in with it: this is no hash of anything.
            password_hash: "none".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let subject = match store.register(new, Origin::system()).await {
            Ok(subject) => subject,
            // Made by an earlier start, and decided since then, perhaps.
            Err(AccountError::EmailTaken) => continue,
            Err(error) => return Err(Failure::other(error)),
        };
        for reporter in reporters.iter().take(1 + n % 2) {
            let report = NewReport {
                reporter: *reporter,
                subject,
                message: None,
                reason: (*reason).to_owned(),
                comment: (*comment).to_owned(),
                evidence: Some(text.as_bytes().to_vec()),
                opening: None,
            };
            let by = Origin { actor: Some(*reporter), ..Origin::system() };
            store.file_report(report, by).await.map_err(Failure::other)?;
        }
        if n % 3 == 0 {
            let detail = "72 messages in one minute".into();
            let flag = NewFlag { subject, rule: "RATE".into(), detail, quiet_ms: 0 };
            store.raise_flag(flag).await.map_err(Failure::other)?;
        }
    }
    Ok(())
}

/// Gives an account a role in the console, once.
pub async fn staff<S: Accounts>(store: &S, email: &str, name: &str, hash: String) -> Result<(), Failure> {
    let made = store.create_admin(email.to_owned(), name.to_owned(), hash, AccountRole::Moderator).await;
    match made {
        Ok(_) | Err(AccountError::EmailTaken) => Ok(()),
        Err(error) => Err(Failure::other(error)),
    }
}
