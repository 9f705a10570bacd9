//! Letters to people: what they say, where they go, and the bounded queue between a request and its letter.

mod letter;
mod post;
mod sink;
mod switch;

pub use letter::Letter;
pub use post::{Delivery, Errand, LETTER_WITHIN, Post, Postman, RESET_TTL_MS, VERIFICATION_TTL_MS, deliver};
pub use sink::{FolderSink, MailFault, MailSink, Sending, SmtpSink};
pub use switch::Switch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where letters go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailConfig {
    None,
    /// Each letter becomes a file (mode 0600).
    Folder {
        folder: PathBuf,
        from: String,
    },
    Smtp(SmtpConfig),
}

/// A server that takes letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmtpConfig {
    pub host: String,
    /// `None`: the customary one for `tls`.
    pub port: Option<u16>,
    pub tls: SmtpTls,
    /// User and password.
    pub credentials: Option<(String, Hidden)>,
    pub from: String,
}

/// How the connection to the server is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmtpTls {
    StartTls,
    Wrapped,
    None,
}

impl SmtpTls {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StartTls, Self::Wrapped, Self::None];

    /// As configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Wrapped => "tls",
            Self::None => "none",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tls| tls.name() == name)
    }
}

impl SmtpConfig {
    /// Whether a host is this machine: only there letters may go in clear.
    pub fn is_here(host: &str) -> bool {
        matches!(host, "localhost" | "127.0.0.1" | "::1")
    }
}

/// A text that Debug does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub(crate) String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// The sink the configuration asks for.
pub fn open(config: &MailConfig) -> Result<Option<Arc<dyn MailSink>>, MailFault> {
    Ok(match config {
        MailConfig::None => None,
        MailConfig::Folder { folder, from } => Some(Arc::new(FolderSink::open(folder, from)?)),
        MailConfig::Smtp(smtp) => Some(Arc::new(SmtpSink::open(smtp)?)),
    })
}
