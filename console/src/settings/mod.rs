//! What operators may set while the product runs: each setting with its bounds, its default, and the environment variables
//! that go first. Every console reads them from the store when it needs them; what each request needs is at hand.

mod in_force;
pub mod mail;

use std::collections::BTreeMap;

use schema_store::Operations;
use schema_store::accounts::{Answer, REQUEST_MESSAGES, REQUEST_MESSAGES_DEFAULT};
use schema_store::rows::operations::{
    Bounded, KEEP_AUDIT, KEEP_MESSAGES, MESSAGE_LIMIT, MESSAGE_WINDOW, Setting,
};

use crate::config::ConsoleConfig;
use crate::text::Language;

pub use in_force::{Held, InForce, read_settings, refresh};

/// Longest text of a notice, in bytes.
pub const NOTICE_BYTES_MAX: usize = 1500;
/// Texts a notice may be made from.
pub const TEMPLATES: [&str; 4] = ["spam", "abuse", "impersonation", "other"];

/// What a setting holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Number(Bounded),
    /// One of these words, the first by default; each has a text under `choice-` and the word.
    Choice(&'static [&'static str]),
    /// A text in this language; its default is the text of this key.
    Text {
        language: Language,
        key: &'static str,
    },
}

/// What it is about: settings about the same stand together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    Registration,
    Limits,
    Retention,
    Thresholds,
    Texts,
}

impl Room {
    /// In the order they are shown.
    pub const ALL: [Self; 5] =
        [Self::Registration, Self::Limits, Self::Retention, Self::Thresholds, Self::Texts];

    /// The key of its heading; with `-why`, of what to know about it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Registration => "settings-registration",
            Self::Limits => "settings-limits",
            Self::Retention => "settings-retention",
            Self::Thresholds => "settings-numbers",
            Self::Texts => "settings-texts",
        }
    }
}

/// Something that may be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub name: &'static str,
    pub room: Room,
    pub kind: Kind,
    /// Environment variables that go first.
    pub variables: &'static [&'static str],
}

/// Who may make an account.
pub const REGISTRATION: &str = "registration";
/// Its words.
pub const REGISTRATIONS: [&str; 4] = ["closed", "invite", "approval", "open"];

/// Failed sign-ins of one address within an hour that are worth a look.
pub const FAILED_SIGN_INS: &str = "failed-sign-ins";
/// Minutes after which the newest backup is too old.
pub const BACKUP_AGE: &str = "backup-age-minutes";
/// Days after which the newest drill proves nothing any more.
pub const DRILL_AGE: &str = "drill-age-days";

/// Messages a minute above which an account is flagged.
pub const MESSAGES_A_MINUTE: &str = "messages-a-minute";
/// Messages a minute above which it is blocked for an hour.
pub const MESSAGES_TOLERATED: &str = "messages-tolerated";
/// Conversations above which the same content is flagged.
pub const SAME_TO: &str = "same-to";
/// Messages above which a new account is flagged.
pub const FIRST_DAY: &str = "first-day";

/// Reports within an hour above which the dashboard shows a peak.
pub const REPORTS_AN_HOUR: &str = "reports-an-hour";

/// Requests of one user, and of one address, within the window. Fewer would keep whoever sets it from setting it back.
pub const REQUESTS: Bounded = bounded("limit-requests", 100, 30, 1_000_000);
/// The same for what guesses at secrets.
pub const GUESSES: Bounded = bounded("limit-guesses", 10, 5, 1_000_000);
/// That window, in seconds.
pub const WINDOW: Bounded = bounded("limit-window", 60, 1, 86_400);

const fn bounded(name: &'static str, default: u64, least: u64, most: u64) -> Bounded {
    Bounded { name, least, most, default }
}

/// Everything there is to set, by room.
pub fn known() -> Vec<Known> {
    let number =
        |room, kind: Bounded, variables| Known { name: kind.name, room, kind: Kind::Number(kind), variables };
    let limit = |kind, variables| number(Room::Limits, kind, variables);
    let threshold =
        |name, default, least, most| number(Room::Thresholds, bounded(name, default, least, most), &[]);
    let text = |language, name, key| Known {
        name,
        room: Room::Texts,
        kind: Kind::Text { language, key },
        variables: &[],
    };
    let (english, french) = (Language::English, Language::French);
    vec![
        Known {
            name: REGISTRATION,
            room: Room::Registration,
            kind: Kind::Choice(&REGISTRATIONS),
            variables: &["REGISTRATION"],
        },
        limit(REQUESTS, &["RATE_LIMIT_MAX"]),
        limit(GUESSES, &["RATE_LIMIT_AUTH_MAX"]),
        limit(WINDOW, &["RATE_LIMIT_TTL"]),
        limit(MESSAGE_LIMIT, &["MESSAGE_LIMIT_MAX", "RATE_LIMIT_MAX"]),
        limit(MESSAGE_WINDOW, &["MESSAGE_LIMIT_TTL", "RATE_LIMIT_TTL"]),
        number(Room::Retention, KEEP_MESSAGES, &[]),
        number(Room::Retention, KEEP_AUDIT, &[]),
        threshold(FAILED_SIGN_INS, 5, 1, 1000),
        threshold(BACKUP_AGE, 5, 1, 10_080),
        threshold(DRILL_AGE, 30, 1, 365),
        threshold(MESSAGES_A_MINUTE, 50, 1, 5_000),
        threshold(MESSAGES_TOLERATED, 100, 1, 5_000),
        threshold(SAME_TO, 10, 1, 500),
        threshold(FIRST_DAY, 20, 1, 5_000),
        threshold(REQUEST_MESSAGES, REQUEST_MESSAGES_DEFAULT, 1, 50),
        threshold(REPORTS_AN_HOUR, 20, 1, 10_000),
        text(english, "notice-spam-en", "template-spam-text"),
        text(french, "notice-spam-fr", "template-spam-text"),
        text(english, "notice-abuse-en", "template-abuse-text"),
        text(french, "notice-abuse-fr", "template-abuse-text"),
        text(english, "notice-impersonation-en", "template-impersonation-text"),
        text(french, "notice-impersonation-fr", "template-impersonation-text"),
        text(english, "notice-other-en", "template-other-text"),
        text(french, "notice-other-fr", "template-other-text"),
    ]
}

impl Known {
    /// The environment variable that decides it, if one does.
    pub fn fixed_by(&self, config: &ConsoleConfig) -> Option<&'static str> {
        self.variables.iter().copied().find(|variable| config.is_set(variable))
    }

    /// As it is when nobody set it.
    pub fn default(&self) -> String {
        match &self.kind {
            Kind::Number(number) => number.default.to_string(),
            Kind::Choice(words) => words.first().copied().unwrap_or_default().to_owned(),
            Kind::Text { language, key } => language.t(key),
        }
    }

    /// The value as it is kept, or the key of what is wrong with it.
    pub fn accept(&self, typed: &str) -> Result<String, &'static str> {
        let typed = typed.trim().replace("\r\n", "\n");
        match &self.kind {
            Kind::Number(number) => {
                typed.parse::<u64>().map_err(|_| "error-number")?;
                number.read(&typed).map(|number| number.to_string()).ok_or("error-range")
            }
            Kind::Choice(words) if words.contains(&typed.as_str()) => Ok(typed),
            Kind::Choice(_) => Err("error-choice"),
            Kind::Text { .. } if typed.is_empty() => Err("error-empty"),
            Kind::Text { .. } if typed.len() > NOTICE_BYTES_MAX => Err("error-too-long"),
            Kind::Text { .. } if typed.chars().any(|c| c.is_control() && c != '\n') => Err("error-control"),
            Kind::Text { .. } => Ok(typed),
        }
    }
}

/// How everything is set at present.
pub struct Kept(BTreeMap<String, Setting>);

impl Kept {
    /// Reads it.
    pub async fn load<S: Operations>(store: &S) -> Answer<Self> {
        let set = store.settings_set().await?;
        Ok(Self(set.into_iter().map(|one| (one.name.clone(), one)).collect()))
    }

    /// What somebody set.
    pub fn set(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }

    /// A number, as set or by default. A value that no longer fits counts as not set.
    pub fn number(&self, name: &'static str) -> u64 {
        let known = known().into_iter().find(|known| known.name == name);
        let Some(Known { kind: Kind::Number(number), .. }) = known else { return 0 };
        self.set(name).and_then(|set| number.read(&set.value)).unwrap_or(number.default)
    }

    /// The text of a notice.
    pub fn notice(&self, language: Language, template: &str) -> String {
        match self.set(&format!("notice-{template}-{}", language.code())) {
            Some(set) => set.value.clone(),
            None => language.t(&format!("template-{template}-text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_accepts_its_default_and_nothing_absurd() {
        for known in known() {
            assert_eq!(known.accept(&known.default()), Ok(known.default()), "{}", known.name);
            assert!(!known.default().starts_with("template-"), "{}: no text", known.name);
            for absurd in ["", "\u{7}", &"9".repeat(3000)] {
                assert!(known.accept(absurd).is_err(), "{} takes {absurd:?}", known.name);
            }
        }
        let accept =
            |name, typed| known().into_iter().find(|known| known.name == name).unwrap().accept(typed);
        assert_eq!(accept("limit-requests", "29"), Err("error-range"), "the console itself needs some");
        assert_eq!(accept("limit-messages", "1"), Ok("1".into()));
        for (days, fits) in [("0", true), ("1", false), ("89", false), ("90", true), ("36501", false)] {
            assert_eq!(accept("keep-audit-days", days).is_ok(), fits, "{days} days of the trail");
        }
        for template in TEMPLATES {
            for language in Language::ALL {
                let name = format!("notice-{template}-{}", language.code());
                assert!(known().iter().any(|known| known.name == name), "{name}");
            }
        }
    }

    #[test]
    fn the_environment_goes_first() {
        let config = ConsoleConfig::from_env(false, |name| (name == "RATE_LIMIT_MAX").then(|| "300".into()));
        let config = config.unwrap();
        let fixed: Vec<_> =
            known().into_iter().filter_map(|known| Some((known.name, known.fixed_by(&config)?))).collect();
        assert_eq!(fixed, [("limit-requests", "RATE_LIMIT_MAX"), ("limit-messages", "RATE_LIMIT_MAX")]);
    }

    #[test]
    fn a_value_that_no_longer_fits_is_the_default() {
        let kept = |value: &str| {
            let set = Setting {
                name: BACKUP_AGE.into(),
                value: value.into(),
                changed_by: String::new(),
                changed_at: 0,
            };
            Kept([(set.name.clone(), set)].into())
        };
        assert_eq!((kept("15").number(BACKUP_AGE), kept("0").number(BACKUP_AGE)), (15, 5));
        assert_eq!(kept("15").number(DRILL_AGE), 30);
    }
}
