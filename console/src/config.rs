//! What an operator can set: one table of variables, and one struct they end up in. Malformed values name their line.

mod options;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schema_wire::Network;

use self::options::{database, mail, messages, origins, proxies, public_url, registration, shared, signing};
use self::values::{DAY_S, HOUR_S, Values, fault};
use crate::access::limit::RateLimits;
use crate::access::seal::SealSource;
use crate::access::secret::Secret;
use crate::access::shared::SharedThrough;
use crate::access::signing::SigningConfig;
use crate::database::Database;
use crate::mail::MailConfig;

/// One environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    /// What its value looks like.
    pub form: &'static str,
    pub meaning: &'static str,
}

macro_rules! variables {
    ($($name:literal, $default:literal, $form:literal, $meaning:literal;)*) => {
        /// Every variable the account API reads.
        pub const VARIABLES: &[Variable] = &[$(Variable {
            name: $name,
            default: $default,
            form: $form,
            meaning: $meaning,
        },)*];
    };
}

variables! {
    "API_ADDRESS", "127.0.0.1:3001", "an address with a port", "Where the account API listens.";
    "ADMIN_API_ADDRESS", "", "an address with a port, or none", "Where programs call `/admin/…`; `none`: nowhere. Default: on API_ADDRESS.";
    "CONSOLE_ADDRESS", "127.0.0.1:3010", "an address with a port, or none", "Where the console's pages are; `none`: nowhere. `up --console-port` goes first; the default makes way when the port is taken.";
    "CONSOLE_URL", "", "https://HOST or http://HOST", "How moderators and SREs reach the console; with https its cookies are bound to TLS. Default: http:// and CONSOLE_ADDRESS.";
    "CONSOLE_SEAL_KEY_FILE", "", "the path of a file", "Key that seals second factors in the store (openssl rand -hex 32); the same for every console on one store. Default: keys/seal.key in DATA_DIR, made at the first start.";
    "INTERNAL_ADDRESS", "", "an address with a port", "Where /metrics and /health are served for the operator; empty: nowhere.";
    "DATA_DIR", ".data", "the path of a folder", "Folder of all that is written: database, keys, certificates, mail. `up --data` goes first.";
    "DATABASE_URL", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME", "The store. Default: sqlite:messenger.db in DATA_DIR. PostgreSQL may be shared by many nodes; run `messenger migrate` on it first.";
    "DATABASE_URL_FILE", "", "the path of a file", "The same, read from a file.";
    "DATABASE_POOL_SIZE", "20", "a whole number", "Connections of one node to PostgreSQL, and to each read replica.";
    "DATABASE_POOLER", "none", "none or transaction", "`transaction` when PgBouncer in transaction mode stands before PostgreSQL: no statement keeps a name then.";
    "DATABASE_STANDBY", "asynchronous", "asynchronous or synchronous", "`synchronous` is your word that only a synchronous standby is ever promoted: then nothing counts as lost.";
    "RELAY_CONTROL_SECRET", "", "32 random bytes or more", "Who shows it as a Bearer token to the internal listener may disconnect, revoke and drain, and is told which consumers are slow. Default: nobody.";
    "RELAY_CONTROL_SECRET_FILE", "", "the path of a file", "The same, read from a file.";
    "PUBLIC_URL", "", "https://HOST or http://HOST", "How people reach the API; letters link to it. Default: http:// and API_ADDRESS.";
    "JWT_ISSUER", "https://api.secure-messenger.local", "the iss of the tokens", "Issuer: what the API writes into access tokens and the relay expects.";
    "JWT_AUDIENCE", "https://secure-messenger.local", "the aud of the tokens", "Audience: what the API writes into access tokens and the relay expects.";
    "JWT_EXPIRATION", "15m", "a time such as 15m", "Life of an access token: 1m to 7d; s, m, h, d, or plain seconds.";
    "JWT_REFRESH_EXPIRATION", "7d", "a time such as 7d", "Life of a refresh token: 1h to 90d.";
    "JWT_ALGORITHM", "RS256", "RS256 or HS256", "RS256, or HS256 to go back to the shared secret.";
    "JWT_PRIVATE_KEY_FILE", "", "the path of a file", "RSA private key in PEM (openssl genrsa 4096). Default: keys/signing.pem in DATA_DIR, made at the first start.";
    "JWT_PUBLIC_KEY_FILES", "", "paths of files, separated by commas", "Public keys in PEM that still verify, such as the one before a rotation; so do those in keys/retired of DATA_DIR.";
    "JWT_JWKS_FILE", "", "the path of a file", "RSA public keys as JWKS: the API writes it, the relay reads it again when it changes. Default: keys/jwks.json in DATA_DIR.";
    "JWT_SECRET", "", "32 random bytes or more", "Former name of JWT_LEGACY_HS256_SECRET.";
    "JWT_SECRET_FILE", "", "the path of a file", "The same, read from a file.";
    "JWT_LEGACY_HS256_SECRET", "", "32 random bytes or more", "Shared secret of old HS256 tokens; needs the two variables below.";
    "JWT_LEGACY_HS256_SECRET_FILE", "", "the path of a file", "The same, read from a file.";
    "JWT_LEGACY_HS256_KID", "", "the kid of the old tokens", "kid of the old HS256 tokens.";
    "JWT_LEGACY_HS256_UNTIL", "", "a day as YYYY-MM-DD", "Day (UTC) from whose first second on HS256 tokens are refused.";
    "REDIS_URL", "", "redis://HOST:PORT or rediss://HOST:PORT", "Redis 7 or newer that connects the nodes and counts the limits they share. Default: none, and nodes learn of each other's messages from the store.";
    "REDIS_URL_FILE", "", "the path of a file", "The same, read from a file.";
    "RATE_LIMIT_TTL", "60", "whole seconds", "Window of RATE_LIMIT_MAX.";
    "RATE_LIMIT_MAX", "100", "a whole number", "Requests of one user, and of one address, within RATE_LIMIT_TTL.";
    "RATE_LIMIT_AUTH_MAX", "10", "a whole number", "The same for registering, logging in and resetting.";
    "MESSAGE_LIMIT_MAX", "", "a whole number", "Messages of one user within MESSAGE_LIMIT_TTL. Default: RATE_LIMIT_MAX.";
    "MESSAGE_LIMIT_TTL", "", "whole seconds", "Window of MESSAGE_LIMIT_MAX. Default: RATE_LIMIT_TTL.";
    "TRUSTED_PROXIES", "", "networks such as 10.0.0.0/8, separated by commas", "Proxies whose X-Forwarded-For is believed. Default: none.";
    "CORS_ORIGINS", "", "origins such as https://chat.example.org, separated by commas", "Web origins that may call the API. Default: none.";
    "REGISTRATION", "closed", "closed, invite, approval or open", "Who may make an account. Set here, it can't be changed in the console.";
    "REGISTRATION_VERIFY", "mail", "mail or none", "For open: mail, or none (demo only).";
    "MAIL_FOLDER", "", "the path of a folder", "Letters become files here while SMTP_HOST is not set. Default: mail in DATA_DIR.";
    "SMTP_HOST", "", "a host name", "Server that takes letters.";
    "SMTP_PORT", "", "a port", "Port of the server. Default: the usual one for SMTP_TLS.";
    "SMTP_TLS", "starttls", "starttls, tls or none", "starttls, tls, or none (only to a server on this machine).";
    "SMTP_USER", "", "a name", "Account on the server.";
    "SMTP_PASSWORD", "", "a password", "Its password.";
    "SMTP_PASSWORD_FILE", "", "the path of a file", "The same, read from a file.";
    "SMTP_FROM", "messenger@localhost", "a mail address", "Sender of letters.";
}

/// Why the configuration is refused: the line to fix.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct ConfigFault {
    pub name: &'static str,
    pub problem: String,
}

/// Who may register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registration {
    Closed,
    Invite,
    Approval,
    /// `verify`: with a link mailed to the address.
    Open {
        verify: bool,
    },
}

impl Registration {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Invite => "invite",
            Self::Approval => "approval",
            Self::Open { .. } => "open",
        }
    }
}

/// Which faces a process shows on its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surfaces {
    /// `/api/v1`, its documentation and the pages behind links in letters.
    pub accounts: bool,
    /// `/admin`, for programs of moderators and SREs.
    pub admin: AdminSurface,
    /// The pages for moderators and SREs, on a port of their own.
    pub pages: bool,
}

/// Where `/admin` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminSurface {
    /// Beside the accounts.
    Shared,
    /// On an address of its own, and on no other.
    At(SocketAddr),
    Nowhere,
}

/// Where the pages are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PagesConfig {
    pub address: SocketAddr,
    /// Whether another port will do when this one is taken: nobody asked for it.
    pub may_move: bool,
    /// Without a slash at the end; `None`: derived from the address bound.
    pub url: Option<String>,
}

impl PagesConfig {
    /// Whether browsers come over TLS.
    pub fn is_on_tls(&self) -> bool {
        self.url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// All settings of the account API and the pages.
#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    pub address: SocketAddr,
    pub pages: PagesConfig,
    /// For `/metrics`; must not face the public.
    pub internal: Option<SocketAddr>,
    pub surfaces: Surfaces,
    /// Without a slash at the end; `None`: derived from the address bound.
    pub public_url: Option<String>,
    pub database: Database,
    pub signing: SigningConfig,
    /// Where the key is that seals what the store keeps for the console.
    pub sealing: SealSource,
    /// Seconds.
    pub refresh_ttl_s: u64,
    pub rate: RateLimits,
    /// Messages that the relay lets one user send, and within how many seconds.
    pub messages: (u64, u64),
    /// Shown to the nodes' internal listeners; `None`: nothing is ordered from here.
    pub control: Option<Secret>,
    /// Where the limits are counted for all processes; `None`: each counts alone.
    pub shared: Option<SharedThrough>,
    pub trusted_proxies: Vec<Network>,
    pub cors_origins: Vec<String>,
    pub registration: Registration,
    pub mail: MailConfig,
    /// Variables that are set: what they say, operators do not set while the product runs.
    set: BTreeSet<&'static str>,
}

impl ConsoleConfig {
    /// The defaults, with everything kept under `data`.
    pub fn embedded(data: &Path) -> Self {
        let data = data.display().to_string();
        Self::from_env(false, |name| (name == "DATA_DIR").then(|| data.clone()))
            .expect("the defaults are well formed")
    }

    /// From the process environment.
    pub fn from_process_env(demo: bool) -> Result<Self, ConfigFault> {
        Self::from_env(demo, |name| std::env::var(name).ok())
    }

    /// From wherever `lookup` looks. `demo` allows what must not face a network.
    pub fn from_env(demo: bool, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFault> {
        let values = Values::read(lookup);
        let data = PathBuf::from(values.text("DATA_DIR").unwrap_or(".data"));
        let registration = registration(&values, demo)?;
        let mail = mail(&values, &data)?;
        if registration == (Registration::Open { verify: true }) && mail == MailConfig::None {
            return Err(fault("REGISTRATION", "open needs SMTP_HOST or MAIL_FOLDER to verify addresses"));
        }
        Ok(Self {
            address: values.parse("API_ADDRESS", "ADDRESS:PORT")?.unwrap_or(([127, 0, 0, 1], 3001).into()),
            pages: PagesConfig {
                address: values
                    .parse_unless_none("CONSOLE_ADDRESS")?
                    .unwrap_or(([127, 0, 0, 1], 3010).into()),
                may_move: values.text("CONSOLE_ADDRESS").is_none(),
                url: public_url(&values, "CONSOLE_URL")?,
            },
            internal: values.parse("INTERNAL_ADDRESS", "ADDRESS:PORT")?,
            surfaces: Surfaces {
                accounts: true,
                admin: match values.text("ADMIN_API_ADDRESS") {
                    None => AdminSurface::Shared,
                    Some("none") => AdminSurface::Nowhere,
                    Some(_) => {
                        let own = values.parse("ADMIN_API_ADDRESS", "ADDRESS:PORT, or none")?;
                        own.map_or(AdminSurface::Shared, AdminSurface::At)
                    }
                },
                pages: values.text("CONSOLE_ADDRESS") != Some("none"),
            },
            public_url: public_url(&values, "PUBLIC_URL")?,
            database: database(&values, &data)?,
            signing: signing(&values, &data)?,
            messages: messages(&values)?,
            control: values
                .secret("RELAY_CONTROL_SECRET", "RELAY_CONTROL_SECRET_FILE")?
                .map(|text| Secret::new(&text).map_err(|problem| fault("RELAY_CONTROL_SECRET", problem)))
                .transpose()?,
            sealing: match values.text("CONSOLE_SEAL_KEY_FILE") {
                Some(path) => SealSource::File(path.into()),
                None => SealSource::Folder(data.join("keys")),
            },
            refresh_ttl_s: values.duration("JWT_REFRESH_EXPIRATION", 7 * DAY_S, HOUR_S..=90 * DAY_S)?,
            rate: RateLimits {
                window_s: values.number("RATE_LIMIT_TTL", 60, 1..=86_400)?,
                general: values.number("RATE_LIMIT_MAX", 100, 1..=1_000_000)? as u32,
                auth: values.number("RATE_LIMIT_AUTH_MAX", 10, 1..=1_000_000)? as u32,
            },
            shared: shared(&values)?,
            trusted_proxies: proxies(&values)?,
            cors_origins: origins(&values)?,
            registration,
            mail,
            set: values.names(),
        })
    }

    /// Whether this variable is set.
    pub fn is_set(&self, variable: &str) -> bool {
        self.set.contains(variable)
    }
}
