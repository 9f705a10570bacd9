//! What the pages say, in English and French: which language somebody gets, and the lookup by key.

use std::borrow::Cow;
use std::collections::HashMap;

use fluent_templates::fluent_bundle::FluentValue;
use fluent_templates::{LanguageIdentifier, Loader, langid, static_loader};

static_loader! {
    static LOCALES = {
        locales: "./src/text",
        fallback_language: "en",
        // Names stand in elements of their own; marks inside attributes would be read aloud.
        customise: |bundle| bundle.set_use_isolating(false),
    };
}

/// A language of the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Language {
    #[default]
    English,
    French,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// As in `lang` attributes and the cookie.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    /// In its own words.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::French => "Français",
        }
    }

    /// The language of this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// The first language of an `Accept-Language` header that the pages have.
    pub fn accepted(header: &str) -> Self {
        let mut wishes: Vec<(f32, &str)> = header.split(',').take(16).filter_map(wish).collect();
        // Stable: of two equal wishes the first one written goes first.
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        wishes.into_iter().find_map(|(_, code)| Self::parse(code)).unwrap_or_default()
    }

    fn identifier(self) -> LanguageIdentifier {
        match self {
            Self::English => langid!("en"),
            Self::French => langid!("fr"),
        }
    }

    /// The text of a key.
    pub fn t(self, key: &str) -> String {
        LOCALES.try_lookup(&self.identifier(), key).unwrap_or_else(|| key.to_owned())
    }

    /// The text of a key with its arguments.
    pub fn with(self, key: &str, arguments: &[(&'static str, Argument<'_>)]) -> String {
        let arguments: HashMap<Cow<'static, str>, FluentValue<'_>> =
            arguments.iter().map(|(name, value)| (Cow::Borrowed(*name), value.fluent())).collect();
        LOCALES.try_lookup_with_args(&self.identifier(), key, &arguments).unwrap_or_else(|| key.to_owned())
    }

    /// The same, with one text.
    pub fn of(self, key: &str, name: &'static str, value: &str) -> String {
        self.with(key, &[(name, Argument::Text(value))])
    }

    /// The same, with one number.
    pub fn count(self, key: &str, number: u64) -> String {
        self.with(key, &[("count", Argument::Number(number))])
    }
}

/// What goes into a text.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    Text(&'a str),
    Number(u64),
}

impl<'a> Argument<'a> {
    fn fluent(&self) -> FluentValue<'a> {
        match *self {
            Self::Text(text) => FluentValue::from(text),
            Self::Number(number) => FluentValue::from(number),
        }
    }
}

fn wish(item: &str) -> Option<(f32, &str)> {
    let mut parts = item.split(';').map(str::trim);
    let code = parts.next()?.split('-').next()?;
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
    (weight > 0.0).then_some((weight, code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keys(text: &str) -> BTreeSet<&str> {
        text.lines()
            .filter(|line| !line.starts_with([' ', '#', '}']))
            .filter_map(|l| l.split(" =").next())
            .collect()
    }

    #[test]
    fn both_languages_say_the_same_things() {
        let (english, french) = (keys(include_str!("en.ftl")), keys(include_str!("fr.ftl")));
        let missing: Vec<_> = english.symmetric_difference(&french).collect();
        assert!(missing.is_empty(), "in one language only: {missing:?}");
        assert_ne!(Language::English.t("sign-in"), Language::French.t("sign-in"));
        let waits = [Language::English, Language::French].map(|l| l.count("error-too-many", 30));
        assert!(waits.iter().all(|text| text.contains("30")), "{waits:?}");
    }

    #[test]
    fn the_browser_is_asked_first() {
        for (header, expected) in [
            ("fr-CA,fr;q=0.9,en;q=0.8", Language::French),
            ("de, en;q=0.3, fr;q=0.7", Language::French),
            ("fr;q=0, en", Language::English),
            ("", Language::English),
            ("q=;;;,,-", Language::English),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }
}
