//! `--demo`: ten cases for moderators to practise on; made once and kept.

use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::moderation::{NewFlag, NewReport};
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

/// What was noticed about some of them besides, in turn: rule and detail.
const FLAGS: [(&str, &str); 5] = [
    ("RATE", "72 messages in one minute"),
    ("DUPLICATE", "the same content to 14 conversations within an hour"),
    ("NEW_ACCOUNT", "26 messages within the first day"),
    ("EVASION", "used from the address of a banned account"),
    ("CONTENT", "SPAM: invest*double"),
];

/// Makes what is missing: the two people report ten accounts.
pub async fn cases<S: Accounts + Moderation>(store: &S, reporters: &[UserId]) -> Result<(), Failure> {
    for (n, (reason, comment, text)) in CASES.iter().enumerate() {
        // Made by an earlier start, and decided since then, perhaps.
        let Some(subject) = account(store, n + 1).await? else { continue };
        for reporter in reporters.iter().take(1 + n % 2) {
            report(store, *reporter, subject, (reason, comment, text)).await?;
        }
        if n % 2 == 0 {
            let (rule, detail) = FLAGS[n / 2 % FLAGS.len()];
            let flag = NewFlag { subject, rule: rule.into(), detail: detail.into(), quiet_ms: 0 };
            store.raise_flag(flag).await.map_err(Failure::other)?;
        }
    }
    Ok(())
}

/// The n-th account to practise on; none when it was there before.
pub async fn account<S: Accounts>(store: &S, n: usize) -> Result<Option<UserId>, Failure> {
    let new = Registration {
        email: format!("practice{n:02}@demo.example"),
        name: format!("practice {n:02}"),
        // Nobody signs in with it: this is no hash of anything.
        password_hash: "none".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    };
    match store.register(new, Origin::system()).await {
        Ok(subject) => Ok(Some(subject)),
        Err(AccountError::EmailTaken) => Ok(None),
        Err(error) => Err(Failure::other(error)),
    }
}

/// One tells the moderators about another.
pub async fn report<S: Moderation>(
    store: &S,
    reporter: UserId,
    subject: UserId,
    (reason, comment, text): (&str, &str, &str),
) -> Result<(), Failure> {
    let report = NewReport {
        reporter,
        subject,
        message: None,
        reason: reason.to_owned(),
        comment: comment.to_owned(),
        evidence: Some(text.as_bytes().to_vec()),
        opening: None,
    };
    let by = Origin { actor: Some(reporter), ..Origin::system() };
    store.file_report(report, by).await.map_err(Failure::other).map(drop)
}
