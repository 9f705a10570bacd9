//! Reads single variables: what is not set has its default, what is malformed names itself, the form it
//! should have and a line that works.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::variables::{VARIABLES, Variable};

/// Longest value shown in an error, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// Why the configuration is refused; each message fits one line and ends with what to write.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value has another form than expected. Secrets are not shown.
    #[error("{name}={shown} is malformed: expected {expected}{detail}; fix: {name}={example}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// Its value, or a placeholder.
        shown: String,
        /// The form it should have.
        expected: &'static str,
        /// More about this value.
        detail: String,
        /// A value that works.
        example: &'static str,
    },
    /// A secret that anybody can guess.
    #[error("{name} is refused: {source}")]
    Weak {
        /// The variable.
        name: &'static str,
        /// Why.
        source: crate::access::WeakSecret,
    },
    /// Variables that contradict each other or miss one another.
    #[error("{names}: {problem}; fix: {fix}")]
    Conflict {
        /// The variables.
        names: &'static str,
        /// What is wrong with them together.
        problem: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A file named by a variable cannot be read.
    #[error("{name}: cannot read {path}: {source}")]
    File {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Text that may hold a password, so that its debug form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself; not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split_once(':').map_or("", |(scheme, _)| scheme);
        write!(f, "{scheme}:…")
    }
}

/// The environment as the parsers see it.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Reader<'a> {
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup }
    }

    /// The value without surrounding space; `None` when empty or not set.
    pub fn raw(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub fn text_or_default(&self, name: &'static str) -> Result<String, ConfigError> {
        self.parsed_or_default(name, |text| Some(text.to_owned()))
    }

    pub fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.raw(name) else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.malformed(name, &text, None))
    }

    pub fn parsed_or_default<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let set = self.parsed(name, &parse)?;
        Ok(set.unwrap_or_else(|| parse(declared(name).default).expect("defaults are valid")))
    }

    pub fn number<T>(&self, name: &'static str, range: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let default = declared(name).default.parse().ok().expect("defaults are valid");
        self.number_or(name, range, default)
    }

    pub fn number_or<T>(
        &self,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let Some(text) = self.raw(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let bounds = || format!(" from {} to {}", range.start(), range.end());
        number.ok_or_else(|| self.malformed(name, &text, Some(bounds())))
    }

    pub fn seconds(&self, name: &'static str, range: RangeInclusive<u64>) -> Result<Duration, ConfigError> {
        self.number(name, range).map(Duration::from_secs)
    }

    pub fn boolean(&self, name: &'static str) -> Result<bool, ConfigError> {
        self.parsed_or_default(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A list separated by commas; empty items are skipped.
    pub fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let text = self.raw(name).unwrap_or_default();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| parse(item).ok_or_else(|| self.malformed(name, item, None))).collect()
    }

    /// A secret from `NAME`, or from the file that `NAME_FILE` names.
    pub fn secret<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.secret_text(name)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.malformed(name, &text, None))
    }

    pub fn secret_text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let file_name = format!("{name}_FILE");
        match (self.raw(name), self.raw(&file_name)) {
            (Some(_), Some(_)) => Err(ConfigError::Conflict {
                names: name,
                problem: "it is set both directly and through its _FILE variant",
                fix: "keep the _FILE variant only",
            }),
            (text, None) => Ok(text),
            (None, Some(path)) => {
                let text = read_file(&file_name, &path)?;
                Ok(Some(text.trim().to_owned()))
            }
        }
    }

    pub fn malformed(&self, name: &'static str, value: &str, detail: Option<String>) -> ConfigError {
        let Variable { expected, example, is_secret, .. } = *declared(name);
        let from_service_link = value.starts_with("tcp://");
        let detail = match detail {
            Some(detail) => detail,
            None if from_service_link => {
                " (Kubernetes sets it for a service of that name; set enableServiceLinks: false)".into()
            }
            None => String::new(),
        };
        let shown = if is_secret { "(hidden)".into() } else { shown(value) };
        ConfigError::Malformed { name, shown, expected, detail, example }
    }
}

pub(super) fn read_file(name: &str, path: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::File {
        name: name.into(),
        path: path.into(),
        source,
    })
}

/// The value on one line and not too long, as it may be a whole file by mistake.
fn shown(value: &str) -> String {
    let plain: String = value.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if value.chars().nth(SHOWN_CHARS_MAX).is_some() { format!("{plain}…") } else { plain }
}

fn declared(name: &str) -> &'static Variable {
    VARIABLES.iter().find(|variable| variable.name == name).expect("every variable read is in the table")
}
