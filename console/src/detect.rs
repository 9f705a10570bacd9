//! Looks at how much accounts send, flags what is out of bounds, and blocks for an hour what is far out of them; compares
//! new accounts with banned ones. Every
//! console does it; an open flag is not raised twice.

use std::time::Duration;

use schema_store::AccountError;
use schema_store::accounts::Answer;
use schema_store::detection::{
    DUPLICATE, EVASION, MINUTE_MS, NEW_ACCOUNT, NEW_FOR_MS, SAME_WITHIN_MS, Sender,
};
use schema_store::rows::account::Origin;
use schema_store::rows::detection::Evader;
use schema_store::rows::moderation::NewFlag;

use crate::app::{App, Backing};
use crate::settings::{self, Kept};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// Pause after the store did not answer.
const AFTER_FAULT: Duration = Duration::from_secs(30);
/// How often new accounts are compared with banned ones, in looks.
const COMPARED_EVERY: u32 = 12;
/// How long the same would only be the same again of somebody who came back, in milliseconds.
const EVASION_QUIET_MS: u64 = 30 * NEW_FOR_MS;
/// How long a block lasts, in milliseconds.
const BLOCK_MS: u64 = 3_600_000;

/// What is still usual.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Usual {
    minute: u64,
    minute_tolerated: u64,
    same: u64,
    first_day: u64,
}

impl Usual {
    async fn load<S: Backing>(app: &App<S>) -> Answer<Self> {
        let kept = Kept::load(&app.store).await?;
        let tolerated = kept.number(settings::MESSAGES_TOLERATED);
        // Unless somebody set it, nobody is blocked for what the relay's own limit lets through.
        let let_through = app.in_force.held().messages_a_minute();
        let is_set = kept.set(settings::MESSAGES_TOLERATED).is_some();
        Ok(Self {
            minute: kept.number(settings::MESSAGES_A_MINUTE),
            minute_tolerated: if is_set { tolerated } else { tolerated.max(let_through) },
            same: kept.number(settings::SAME_TO),
            first_day: kept.number(settings::FIRST_DAY),
        })
    }

    /// Who sends fewer messages within an hour can be out of no bound.
    fn least(&self) -> u64 {
        1 + self.minute.min(self.minute_tolerated).min(self.same).min(self.first_day)
    }
}

/// Something out of bounds.
#[derive(PartialEq, Eq, Debug)]
struct Finding {
    rule: &'static str,
    /// How long the same would only be the same again, in milliseconds.
    quiet_ms: u64,
    detail: String,
    /// Far out of them.
    blocks: bool,
}

fn judge(sender: &Sender, usual: &Usual) -> Vec<Finding> {
    let mut found = Vec::new();
    let blocks = sender.minute > usual.minute_tolerated;
    if blocks || sender.minute > usual.minute {
        let detail = format!("{} messages in one minute", sender.minute);
        found.push(Finding { rule: "RATE", quiet_ms: 10 * MINUTE_MS, detail, blocks });
    }
    if sender.same > usual.same {
        let detail = format!("the same content to {} conversations within an hour", sender.same);
        found.push(Finding { rule: DUPLICATE, quiet_ms: SAME_WITHIN_MS, detail, blocks: false });
    }
    if sender.first_day > usual.first_day {
        let detail = format!("{} messages on its first day", sender.first_day);
        found.push(Finding { rule: NEW_ACCOUNT, quiet_ms: NEW_FOR_MS, detail, blocks: false });
    }
    found
}

/// Looks until it is dropped.
pub async fn detect<S: Backing>(app: App<S>) {
    for turn in 0u32.. {
        let pause = match look(&app, turn).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "senders could not be looked at; trying again");
                AFTER_FAULT
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn look<S: Backing>(app: &App<S>, turn: u32) -> Answer<()> {
    if turn.is_multiple_of(COMPARED_EVERY) {
        compare(app).await?;
    }
    let usual = Usual::load(app).await?;
    for sender in app.store.senders(usual.least()).await? {
        for finding in judge(&sender, &usual) {
            match act(app, &sender, finding).await {
                // It went away in between, or is out already.
                Ok(()) | Err(AccountError::NotFound | AccountError::NotActive(_)) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

/// Flags new accounts that have something in common with banned ones.
async fn compare<S: Backing>(app: &App<S>) -> Answer<()> {
    for Evader { user, banned, by_device } in app.store.evaders().await? {
        let what = if by_device { "the key of a device" } else { "an address" };
        let flag = NewFlag {
            subject: user,
            rule: EVASION.to_owned(),
            detail: format!("shares {what} with the banned account {banned}"),
            quiet_ms: EVASION_QUIET_MS,
        };
        match app.store.raise_flag(flag).await {
            Ok(()) | Err(AccountError::NotFound) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

async fn act<S: Backing>(app: &App<S>, sender: &Sender, finding: Finding) -> Answer<()> {
    let Finding { rule, quiet_ms, detail, blocks } = finding;
    let flag = NewFlag { subject: sender.user, rule: rule.to_owned(), detail: detail.clone(), quiet_ms };
    app.store.raise_flag(flag).await?;
    // Who looks after the others is not locked out by a machine.
    if blocks && !sender.is_staff {
        let until = app.clock.now_ms() + BLOCK_MS;
        app.store.suspend_active(sender.user, until, detail, Origin::system()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use schema_wire::UserId;

    use super::*;
    use crate::pages::worded::sentence;

    const USUAL: Usual = Usual { minute: 50, minute_tolerated: 100, same: 10, first_day: 20 };

    fn rules(minute: u64, first_day: u64, same: u64) -> Vec<(&'static str, bool)> {
        let sender = Sender { user: UserId([1; 16]), is_staff: false, minute, first_day, same };
        let found = judge(&sender, &USUAL);
        assert!(found.iter().all(|finding| sentence(&finding.detail).is_some()), "each has words: {found:?}");
        found.into_iter().map(|finding| (finding.rule, finding.blocks)).collect()
    }

    #[test]
    fn bounds_are_bounds() {
        assert!(rules(50, 20, 10).is_empty(), "what is usual");
        assert_eq!(rules(51, 0, 0), [("RATE", false)]);
        assert_eq!(rules(100, 0, 0), [("RATE", false)]);
        assert_eq!(rules(101, 0, 0), [("RATE", true)], "far out of them");
        assert_eq!(rules(0, 0, 11), [("DUPLICATE", false)]);
        assert_eq!(rules(0, 21, 0), [("NEW_ACCOUNT", false)]);
        assert_eq!(rules(200, 200, 200).len(), 3);
        assert_eq!(USUAL.least(), 11, "nobody is left out");
    }
}
