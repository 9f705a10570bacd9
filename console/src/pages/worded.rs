//! What the product notices by itself is kept as a sentence in English, as the trail has it. Here such a sentence is told
//! apart from people's own words and said in the visitor's language.

use crate::frame::visit::Visit;
use crate::text::{Argument, Language};

/// A sentence of the product: the key of its text, and what goes into it.
#[derive(PartialEq, Eq, Debug)]
pub struct Sentence<'a> {
    key: &'static str,
    count: u64,
    text: &'a str,
}

/// Sentences with a number in their midst: what stands before it, what after it, the key.
const COUNTED: [(&str, &str, &str); 3] = [
    ("", " messages in one minute", "noticed-rate"),
    ("the same content to ", " conversations within an hour", "noticed-same"),
    ("", " messages on its first day", "noticed-first-day"),
];
/// Sentences that end in somebody else's words, or in an id.
const ENDED: [(&str, &str); 5] = [
    ("shares the key of a device with the banned account ", "noticed-device"),
    ("shares an address with the banned account ", "noticed-address"),
    ("disclosed: ", "noticed-disclosed"),
    ("profile: ", "noticed-profile"),
    ("group name: ", "noticed-group"),
];

/// The sentence that this is, if it is one of the product's.
pub fn sentence(text: &str) -> Option<Sentence<'_>> {
    let counted = COUNTED.into_iter().find_map(|(before, after, key)| {
        let count = text.strip_prefix(before)?.strip_suffix(after)?.parse().ok()?;
        Some(Sentence { key, count, text: "" })
    });
    counted.or_else(|| {
        ENDED.into_iter().find_map(|(before, key)| {
            let rest = text.strip_prefix(before)?;
            Some(Sentence { key, count: 0, text: rest })
        })
    })
}

/// A stored text as it is shown.
pub fn worded(visit: &Visit, text: &str) -> String {
    said(visit.language, text)
}

fn said(language: Language, text: &str) -> String {
    let Some(Sentence { key, count, text }) = sentence(text) else { return text.to_owned() };
    language.with(key, &[("count", Argument::Number(count)), ("text", Argument::Text(text))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_sentences_are_said_in_the_visitors_language() {
        let french = |text| said(Language::French, text);
        assert_eq!(french("55 messages in one minute"), "55 messages en une minute");
        assert_eq!(french("profile: spam double your money"), "profil : spam double your money");
        assert!(french("the same content to 12 conversations within an hour").contains("12 conversations"));
        assert!(french("shares an address with the banned account 0199").ends_with("0199"));
        for theirs in ["many messages in one minute", "he wrote 55 messages in one minute", ""] {
            assert_eq!(french(theirs), theirs, "people's own words stay");
        }
    }

    #[test]
    fn in_english_they_stand_as_they_are_kept() {
        for text in [
            "55 messages in one minute",
            "the same content to 12 conversations within an hour",
            "21 messages on its first day",
            "shares the key of a device with the banned account 0199",
            "shares an address with the banned account 0199",
            "disclosed: shortener bit.ly",
            "profile: spam cheap * watches",
            "group name: spam cheap * watches",
        ] {
            assert_eq!(said(Language::English, text), text);
        }
    }
}
