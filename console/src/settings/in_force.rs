//! What holds at present of what is set: at hand for every request, read again now and then. Every console does it, so that
//! a change made at one is in force at all within seconds.

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use schema_store::accounts::Answer;
use schema_store::rows::operations::{MESSAGE_LIMIT, MESSAGE_WINDOW};

use super::mail::{self, Unsealed};
use super::{GUESSES, Kept, REGISTRATION, REQUESTS, WINDOW, known};
use crate::access::limit::RateLimits;
use crate::app::{App, Backing};
use crate::config::{ConsoleConfig, Registration};
use crate::mail::MailConfig;

/// How often it is read.
const EVERY: Duration = Duration::from_secs(5);

/// Limits as they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Who may make an account.
    pub registration: Registration,
    pub rate: RateLimits,
    /// Messages of one user within the window, as the relay counts them.
    pub messages: u64,
    pub messages_window_s: u64,
}

impl Held {
    /// As configured, until something is read.
    pub fn of(config: &ConsoleConfig) -> Self {
        let (messages, messages_window_s) = config.messages;
        Self { registration: config.registration, rate: config.rate, messages, messages_window_s }
    }

    /// What is set, where the environment leaves it open.
    fn with(config: &ConsoleConfig, kept: &Kept) -> Self {
        let mut held = Self::of(config);
        for open in known().into_iter().filter(|known| known.fixed_by(config).is_none()) {
            let number = || kept.number(open.name);
            match open.name {
                name if name == REQUESTS.name => {
                    held.rate.general = u32::try_from(number()).unwrap_or(u32::MAX)
                }
                name if name == GUESSES.name => held.rate.auth = u32::try_from(number()).unwrap_or(u32::MAX),
                REGISTRATION => held.registration = chosen(kept).unwrap_or(held.registration),
                name if name == WINDOW.name => held.rate.window_s = number(),
                name if name == MESSAGE_LIMIT.name => held.messages = number(),
                name if name == MESSAGE_WINDOW.name => held.messages_window_s = number(),
                _ => {}
            }
        }
        held
    }

    /// Messages that the relay lets one user send in a minute.
    pub fn messages_a_minute(&self) -> u64 {
        self.messages * 60 / self.messages_window_s.max(1)
    }

    /// A setting as it holds, in the form it is kept in; `None`: it is none of these.
    pub fn written(&self, name: &str) -> Option<String> {
        if name == REGISTRATION {
            return Some(self.registration.name().to_owned());
        }
        let all = [
            (REQUESTS.name, u64::from(self.rate.general)),
            (GUESSES.name, u64::from(self.rate.auth)),
            (WINDOW.name, self.rate.window_s),
            (MESSAGE_LIMIT.name, self.messages),
            (MESSAGE_WINDOW.name, self.messages_window_s),
        ];
        all.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number.to_string())
    }
}

/// Who may register, as somebody set it. A word that this program does not know counts as not set.
fn chosen(kept: &Kept) -> Option<Registration> {
    // Whom nobody verifies is let in by the environment only.
    let open = Registration::Open { verify: true };
    let all = [Registration::Closed, Registration::Invite, Registration::Approval, open];
    let set = kept.set(REGISTRATION)?;
    all.into_iter().find(|mode| mode.name() == set.value)
}

/// What was read last.
pub struct InForce {
    held: RwLock<Held>,
    mail: Mutex<Result<MailConfig, Unsealed>>,
}

impl InForce {
    /// As configured, until something is read.
    pub fn of(config: &ConsoleConfig) -> Self {
        Self { held: RwLock::new(Held::of(config)), mail: Mutex::new(Ok(config.mail.clone())) }
    }

    /// The limits as they hold.
    pub fn held(&self) -> Held {
        *self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is another way for letters than the one before.
    fn is_new(&self, mail: &Result<MailConfig, Unsealed>) -> bool {
        let mut known = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *known != *mail;
        known.clone_from(mail);
        is_new
    }
}

/// Reads until it is dropped. What was read last stands while the store does not answer.
pub async fn read_settings<S: Backing>(app: App<S>) {
    loop {
        if let Err(error) = refresh(&app).await {
            tracing::warn!(%error, "settings unreadable; the last known ones stand");
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Reads once.
pub async fn refresh<S: Backing>(app: &App<S>) -> Answer<()> {
    let kept = Kept::load(&app.store).await?;
    *app.in_force.held.write().unwrap_or_else(PoisonError::into_inner) = Held::with(&app.config, &kept);
    let wanted = mail::config(&kept, &app.config, &app.seal);
    if !app.in_force.is_new(&wanted) {
        return Ok(());
    }
    let Some(letters) = &app.letters else { return Ok(()) };
    match wanted {
        Ok(wanted) => match crate::mail::open(&wanted) {
            Ok(Some(sink)) => letters.turn_to(sink),
            Ok(None) => {}
            Err(fault) => tracing::error!(%fault, "letters go where they went before"),
        },
        Err(Unsealed) => tracing::error!(
            "what the mail server wants was sealed with another key; give every console the same \
             CONSOLE_SEAL_KEY_FILE, or set it anew; letters go where they went before"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schema_store::rows::operations::Setting;

    use super::*;

    #[test]
    fn what_is_set_holds_where_the_environment_leaves_it_open() {
        let set = |name: &str, value: &str| {
            let (name, value, changed_by) = (name.to_owned(), value.to_owned(), String::new());
            (name.clone(), Setting { name, value, changed_by, changed_at: 0 })
        };
        let kept = Kept(BTreeMap::from([
            set("limit-requests", "77"),
            set("limit-window", "30"),
            set("limit-messages", "6"),
            set("limit-guesses", "1"),
        ]));
        let config = |env: &[(&str, &str)]| {
            let find =
                |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            ConsoleConfig::from_env(false, find).unwrap()
        };
        let open = Held::with(&config(&[]), &kept);
        assert_eq!(open.rate, RateLimits { window_s: 30, general: 77, auth: 10 }, "one guess is too few");
        assert_eq!((open.messages, open.messages_a_minute()), (6, 6));
        let fixed = Held::with(&config(&[("RATE_LIMIT_MAX", "300"), ("MESSAGE_LIMIT_TTL", "30")]), &kept);
        assert_eq!(fixed.rate, RateLimits { window_s: 30, general: 300, auth: 10 });
        assert_eq!((fixed.messages, fixed.messages_a_minute()), (300, 600));
        let written = |name| fixed.written(name);
        assert_eq!((written("limit-requests").as_deref(), written("same-to")), (Some("300"), None));
        assert_eq!((open.registration, fixed.registration), (Registration::Closed, Registration::Closed));
        for (word, mode) in [
            ("invite", Registration::Invite),
            ("open", Registration::Open { verify: true }),
            ("everybody", Registration::Closed),
        ] {
            let kept = Kept(BTreeMap::from([set("registration", word)]));
            assert_eq!(Held::with(&config(&[]), &kept).registration, mode, "{word}");
            let pinned = Held::with(&config(&[("REGISTRATION", "approval")]), &kept);
            assert_eq!(pinned.registration, Registration::Approval, "the environment goes first");
            assert_eq!(pinned.written("registration").as_deref(), Some("approval"));
        }
    }
}
