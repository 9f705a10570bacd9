//! Forms: bounded, decoded once, read field by field with an error beside the field.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

/// Largest form, in bytes.
pub const FORM_BYTES_MAX: usize = 32 * 1024;
/// Most fields of one form.
const FIELDS_MAX: usize = 200;

/// What a form or a query held.
#[derive(Clone, Default, Debug)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Decodes a form or query; `None` when it is malformed, has too many fields, or holds what no store takes for text.
    pub fn decode(text: &str) -> Option<Self> {
        if text.matches('&').count() >= FIELDS_MAX {
            return None;
        }
        let uri: axum::http::Uri = format!("/?{text}").parse().ok()?;
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()?;
        let is_text = |text: &String| !text.contains('\0');
        pairs.iter().all(|(name, value)| is_text(name) && is_text(value)).then_some(Self(pairs))
    }

    /// The first field of this name, as it was typed.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// The same, without spaces around it.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Whether a box is ticked.
    pub fn has(&self, name: &str) -> bool {
        !self.raw(name).is_empty()
    }

    /// One line of text without control characters and marks that turn the reading direction; the key of an error
    /// otherwise.
    pub fn line(&self, name: &str, bytes_max: usize) -> Result<String, &'static str> {
        let text = self.text(name);
        if text.is_empty() {
            return Err("error-empty");
        }
        if text.len() > bytes_max {
            return Err("error-too-long");
        }
        if text.chars().any(is_unprintable) {
            return Err("error-control");
        }
        Ok(text.to_owned())
    }
}

/// Control characters, and those that make a text read differently from what it is.
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Infallible;

    /// The form for an unsafe method, the query otherwise. Only the guard puts it there.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_bounded() {
        let fields = Fields::decode("name=+Zo%C3%AB+&empty=&turned=%E2%80%AEx&line=a%0Ab").unwrap();
        assert_eq!((fields.raw("name"), fields.text("name")), (" Zoë ", "Zoë"));
        assert_eq!(fields.line("name", 4), Ok("Zoë".into()));
        assert_eq!(fields.line("name", 3), Err("error-too-long"));
        assert_eq!(fields.line("absent", 9), Err("error-empty"));
        for bad in ["turned", "line"] {
            assert_eq!(fields.line(bad, 9), Err("error-control"));
        }
        assert!(Fields::decode(&"a=b&".repeat(300)).is_none());
        assert!(Fields::decode("a=b%00c").is_none() && Fields::decode("%00=b").is_none());
    }
}
