//! What operators may set while the product runs: each setting with its bounds and its default. Every console reads them
//! from the store when it needs them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use schema_store::Operations;
use schema_store::accounts::{Answer, REQUEST_MESSAGES, REQUEST_MESSAGES_DEFAULT};
use schema_store::rows::operations::Setting;

use crate::text::Language;

/// Longest text of a notice, in bytes.
pub const NOTICE_BYTES_MAX: usize = 1500;
/// Texts a notice may be made from.
pub const TEMPLATES: [&str; 4] = ["spam", "abuse", "impersonation", "other"];

/// What a setting holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Number {
        default: u64,
        range: RangeInclusive<u64>,
    },
    /// A text in this language; its default is the text of this key.
    Text {
        language: Language,
        key: &'static str,
    },
}

/// Something that may be set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub name: &'static str,
    pub kind: Kind,
}

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

/// Everything there is to set.
pub fn known() -> Vec<Known> {
    let number = |name, default, range| Known { name, kind: Kind::Number { default, range } };
    let text = |language, name, key| Known { name, kind: Kind::Text { language, key } };
    let (english, french) = (Language::English, Language::French);
    vec![
        number(FAILED_SIGN_INS, 5, 1..=1000),
        number(BACKUP_AGE, 5, 1..=10_080),
        number(DRILL_AGE, 30, 1..=365),
        number(MESSAGES_A_MINUTE, 50, 1..=5_000),
        number(MESSAGES_TOLERATED, 100, 1..=5_000),
        number(SAME_TO, 10, 1..=500),
        number(FIRST_DAY, 20, 1..=5_000),
        number(REQUEST_MESSAGES, REQUEST_MESSAGES_DEFAULT, 1..=50),
        number(REPORTS_AN_HOUR, 20, 1..=10_000),
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
    /// As it is when nobody set it.
    pub fn default(&self) -> String {
        match &self.kind {
            Kind::Number { default, .. } => default.to_string(),
            Kind::Text { language, key } => language.t(key),
        }
    }

    /// The value as it is kept, or the key of what is wrong with it.
    pub fn accept(&self, typed: &str) -> Result<String, &'static str> {
        let typed = typed.trim().replace("\r\n", "\n");
        match &self.kind {
            Kind::Number { range, .. } => {
                let number: u64 = typed.parse().map_err(|_| "error-number")?;
                if range.contains(&number) { Ok(number.to_string()) } else { Err("error-range") }
            }
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
        let Some(Known { kind: Kind::Number { default, range }, .. }) = known else { return 0 };
        let set = self.set(name).and_then(|set| set.value.parse().ok());
        set.filter(|number| range.contains(number)).unwrap_or(default)
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
        for template in TEMPLATES {
            for language in Language::ALL {
                let name = format!("notice-{template}-{}", language.code());
                assert!(known().iter().any(|known| known.name == name), "{name}");
            }
        }
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
