//! What an operator can set: one table of variables, and one struct they end up in. Malformed values name their line.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::access::address::Network;
use crate::access::limit::RateLimits;
use crate::access::seal::SealSource;
use crate::access::secret::Secret;
use crate::access::shared::SharedThrough;
use crate::access::signing::{PUBLISHED_KEYS, SigningConfig, SigningSource, secret_kid};
use crate::database::Database;
use crate::mail::{MailConfig, SmtpConfig, SmtpTls};

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
    "RELAY_CONTROL_SECRET", "", "32 random bytes or more", "Who shows it as a Bearer token to the internal listener may disconnect, revoke and drain. Default: nobody.";
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
    "REGISTRATION", "closed", "closed, invite, approval or open", "Who may make an account.";
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

/// Which faces a process shows on its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surfaces {
    /// `/api/v1`, its documentation and the pages behind links in letters.
    pub accounts: bool,
    /// The pages for moderators and SREs, on a port of their own.
    pub pages: bool,
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
    /// Messages that the relay lets one user send in a minute.
    pub messages_a_minute: u64,
    /// Shown to the nodes' internal listeners; `None`: nothing is ordered from here.
    pub control: Option<Secret>,
    /// Where the limits are counted for all processes; `None`: each counts alone.
    pub shared: Option<SharedThrough>,
    pub trusted_proxies: Vec<Network>,
    pub cors_origins: Vec<String>,
    pub registration: Registration,
    pub mail: MailConfig,
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
            surfaces: Surfaces { accounts: true, pages: values.text("CONSOLE_ADDRESS") != Some("none") },
            public_url: public_url(&values, "PUBLIC_URL")?,
            database: database(&values, &data)?,
            signing: signing(&values, &data)?,
            messages_a_minute: messages_a_minute(&values)?,
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
        })
    }
}

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;

fn fault(name: &'static str, problem: impl Into<String>) -> ConfigFault {
    ConfigFault { name, problem: problem.into() }
}

fn registration(values: &Values, demo: bool) -> Result<Registration, ConfigFault> {
    let verify = match values.text("REGISTRATION_VERIFY").unwrap_or("mail") {
        "mail" => true,
        "none" => false,
        other => return Err(fault("REGISTRATION_VERIFY", format!("{other:?} is none of: mail, none"))),
    };
    match values.text("REGISTRATION").unwrap_or("closed") {
        "closed" => Ok(Registration::Closed),
        "invite" => Ok(Registration::Invite),
        "approval" => Ok(Registration::Approval),
        "open" if verify || demo => Ok(Registration::Open { verify }),
        "open" => Err(fault("REGISTRATION_VERIFY", "none is for --demo only; set it to mail")),
        other => Err(fault("REGISTRATION", format!("{other:?} is none of: closed, invite, approval, open"))),
    }
}

fn database(values: &Values, data: &Path) -> Result<Database, ConfigFault> {
    let url = values.secret("DATABASE_URL", "DATABASE_URL_FILE")?;
    let url = url.unwrap_or_else(|| format!("sqlite:{}", data.join("messenger.db").display()));
    let mut database = Database::parse(url).map_err(|problem| fault("DATABASE_URL", problem))?;
    let pool_size = values.number("DATABASE_POOL_SIZE", 20, 1..=1_000)? as usize;
    let is_pooled = values.either("DATABASE_POOLER", ["none", "transaction"])?;
    let standby_is_synchronous = values.either("DATABASE_STANDBY", ["asynchronous", "synchronous"])?;
    if let Database::Postgres(server) = &mut database {
        (server.pool_size, server.is_pooled) = (pool_size, is_pooled);
        server.standby_is_synchronous = standby_is_synchronous;
    }
    Ok(database)
}

fn messages_a_minute(values: &Values) -> Result<u64, ConfigFault> {
    let most = values.number("RATE_LIMIT_MAX", 100, 1..=u64::from(u32::MAX))?;
    let window_s = values.number("RATE_LIMIT_TTL", 60, 1..=u64::from(u32::MAX))?;
    let most = values.number("MESSAGE_LIMIT_MAX", most, 1..=u64::from(u32::MAX))?;
    let window_s = values.number("MESSAGE_LIMIT_TTL", window_s, 1..=u64::from(u32::MAX))?;
    Ok(most * 60 / window_s)
}

fn shared(values: &Values) -> Result<Option<SharedThrough>, ConfigFault> {
    let Some(url) = values.secret("REDIS_URL", "REDIS_URL_FILE")? else { return Ok(None) };
    SharedThrough::parse(&url).map(Some).map_err(|why| fault("REDIS_URL", why.to_string()))
}

fn public_url(values: &Values, name: &'static str) -> Result<Option<String>, ConfigFault> {
    let Some(url) = values.text(name) else { return Ok(None) };
    if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(['?', '#', ' ']) {
        return Err(fault(name, "must begin with https:// (or http://) and hold no query"));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

fn signing(values: &Values, data: &Path) -> Result<SigningConfig, ConfigFault> {
    let keys = data.join("keys");
    let own = values.secret("JWT_LEGACY_HS256_SECRET", "JWT_LEGACY_HS256_SECRET_FILE")?;
    let secret = own
        .or(values.secret("JWT_SECRET", "JWT_SECRET_FILE")?)
        .map(|text| Secret::new(&text).map_err(|problem| fault("JWT_SECRET", problem)))
        .transpose()?;
    let rsa = match values.text("JWT_PRIVATE_KEY_FILE") {
        Some(path) => SigningSource::File(path.into()),
        None => SigningSource::Folder(keys.clone()),
    };
    let (source, resting) = match values.text("JWT_ALGORITHM").unwrap_or("RS256") {
        "RS256" => (rsa, None),
        "HS256" if secret.is_some() => (SigningSource::Secret, Some(rsa)),
        "HS256" => return Err(fault("JWT_ALGORITHM", "HS256 needs JWT_LEGACY_HS256_SECRET")),
        other => return Err(fault("JWT_ALGORITHM", format!("{other:?} is none of: RS256, HS256"))),
    };
    let derived = secret.as_ref().map(secret_kid).unwrap_or_default();
    Ok(SigningConfig {
        source,
        resting,
        verify_files: values.list("JWT_PUBLIC_KEY_FILES").map(PathBuf::from).collect(),
        secret,
        secret_kid: values.text("JWT_LEGACY_HS256_KID").map_or(derived, str::to_owned),
        secret_until_s: midnight_s(values)?,
        published: Some(
            values.text("JWT_JWKS_FILE").map_or_else(|| keys.join(PUBLISHED_KEYS), PathBuf::from),
        ),
        issuer: values.text("JWT_ISSUER").unwrap_or("https://api.secure-messenger.local").to_owned(),
        audience: values.text("JWT_AUDIENCE").unwrap_or("https://secure-messenger.local").to_owned(),
        access_ttl_s: values.duration("JWT_EXPIRATION", 15 * 60, 60..=7 * DAY_S)?,
    })
}

fn mail(values: &Values, data: &Path) -> Result<MailConfig, ConfigFault> {
    let from = values.text("SMTP_FROM").unwrap_or("messenger@localhost").to_owned();
    if from.parse::<lettre::message::Mailbox>().is_err() {
        return Err(fault("SMTP_FROM", "must be a mail address"));
    }
    let Some(host) = values.text("SMTP_HOST") else {
        let folder = values.text("MAIL_FOLDER").map_or_else(|| data.join("mail"), PathBuf::from);
        return Ok(MailConfig::Folder { folder, from });
    };
    let tls = match values.text("SMTP_TLS").unwrap_or("starttls") {
        "starttls" => SmtpTls::StartTls,
        "tls" => SmtpTls::Wrapped,
        "none" if matches!(host, "localhost" | "127.0.0.1" | "::1") => SmtpTls::None,
        "none" => return Err(fault("SMTP_TLS", "none is allowed to a server on this machine only")),
        other => return Err(fault("SMTP_TLS", format!("{other:?} is none of: starttls, tls, none"))),
    };
    let password = values.secret("SMTP_PASSWORD", "SMTP_PASSWORD_FILE")?;
    let credentials = match (values.text("SMTP_USER"), password) {
        (Some(user), Some(password)) => Some((user.to_owned(), password.into())),
        (None, None) => None,
        _ => return Err(fault("SMTP_USER", "set SMTP_USER and SMTP_PASSWORD together")),
    };
    let port = values.parse("SMTP_PORT", "a port number")?;
    Ok(MailConfig::Smtp(SmtpConfig { host: host.to_owned(), port, tls, credentials, from }))
}

fn proxies(values: &Values) -> Result<Vec<Network>, ConfigFault> {
    values
        .list("TRUSTED_PROXIES")
        .map(|text| {
            Network::parse(text).ok_or_else(|| {
                fault("TRUSTED_PROXIES", format!("{text:?} is not a network such as 10.0.0.0/8"))
            })
        })
        .collect()
}

fn origins(values: &Values) -> Result<Vec<String>, ConfigFault> {
    values
        .list("CORS_ORIGINS")
        .map(|text| {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            match rest {
                Some(host) if !host.is_empty() && !host.contains(['/', '*', ' ']) => Ok(text.to_owned()),
                _ => Err(fault(
                    "CORS_ORIGINS",
                    format!("{text:?} is not an origin such as https://chat.example.org"),
                )),
            }
        })
        .collect()
}

/// The variables that are set and not empty.
struct Values(HashMap<&'static str, String>);

impl Values {
    fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = VARIABLES.iter().filter_map(|variable| {
            let value = lookup(variable.name)?.trim().to_owned();
            (!value.is_empty()).then_some((variable.name, value))
        });
        Self(set.collect())
    }

    fn text(&self, name: &'static str) -> Option<&str> {
        debug_assert!(VARIABLES.iter().any(|variable| variable.name == name), "{name} is in the table");
        self.0.get(name).map(String::as_str)
    }

    fn list(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.text(name).unwrap_or("").split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    fn parse<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, ConfigFault> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| fault(name, format!("{text:?} is not {what}"))))
            .transpose()
    }

    fn parse_unless_none(&self, name: &'static str) -> Result<Option<SocketAddr>, ConfigFault> {
        if self.text(name) == Some("none") { Ok(None) } else { self.parse(name, "ADDRESS:PORT or none") }
    }

    /// Whether the second word is set; the first is the default.
    fn either(&self, name: &'static str, words: [&str; 2]) -> Result<bool, ConfigFault> {
        let text = self.text(name).unwrap_or(words[0]);
        let found = words.iter().position(|word| *word == text);
        let found = found.ok_or_else(|| fault(name, format!("{text:?} is none of: {}", words.join(", "))))?;
        Ok(found == 1)
    }

    fn number(
        &self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigFault> {
        let number = self.parse(name, "a whole number")?.unwrap_or(default);
        if !range.contains(&number) {
            return Err(fault(name, format!("{number} is not within {} and {}", range.start(), range.end())));
        }
        Ok(number)
    }

    fn duration(
        &self,
        name: &'static str,
        default_s: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigFault> {
        let Some(text) = self.text(name) else { return Ok(default_s) };
        let seconds = duration_s(text)
            .ok_or_else(|| fault(name, format!("{text:?} is not a time such as 15m or 7d")))?;
        if !range.contains(&seconds) {
            let problem = format!("{text:?} is not within {} s and {} s", range.start(), range.end());
            return Err(fault(name, problem));
        }
        Ok(seconds)
    }

    fn secret(&self, name: &'static str, file: &'static str) -> Result<Option<String>, ConfigFault> {
        match (self.text(name), self.text(file)) {
            (Some(_), Some(_)) => Err(fault(file, format!("set either {name} or {file}"))),
            (Some(text), None) => Ok(Some(text.to_owned())),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(|text| Some(text.trim_end().to_owned()))
                .map_err(|error| fault(file, format!("{path}: {error}"))),
            (None, None) => Ok(None),
        }
    }
}

/// The first second of the day from which on the shared secret is worth nothing.
fn midnight_s(values: &Values) -> Result<Option<u64>, ConfigFault> {
    const NAME: &str = "JWT_LEGACY_HS256_UNTIL";
    let Some(day) = values.parse::<jiff::civil::Date>(NAME, "a day such as 2027-01-31")? else {
        return Ok(None);
    };
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| fault(NAME, "out of range"))?;
    Ok(Some(u64::try_from(midnight.timestamp().as_second()).unwrap_or(0)))
}

fn duration_s(text: &str) -> Option<u64> {
    let (digits, unit_s) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (text, 1),
        Some(digits) if text.ends_with('s') => (digits, 1),
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) if text.ends_with('h') => (digits, HOUR_S),
        Some(digits) => (digits, DAY_S),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&str, &str)], demo: bool) -> Result<ConsoleConfig, ConfigFault> {
        ConsoleConfig::from_env(demo, |name| {
            set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let config = with(&[], false).unwrap();
        assert_eq!(config.address, ([127, 0, 0, 1], 3001).into());
        assert_eq!((config.signing.access_ttl_s, config.refresh_ttl_s), (900, 604_800));
        assert_eq!(config.rate, RateLimits { window_s: 60, general: 100, auth: 10 });
        assert_eq!(config.registration, Registration::Closed);
        assert_eq!(config.database, Database::Sqlite(".data/messenger.db".into()));
    }

    #[test]
    fn malformed_values_name_their_variable() {
        for (name, value) in [
            ("API_ADDRESS", "here"),
            ("DATABASE_URL", "mysql://x"),
            ("DATABASE_POOL_SIZE", "0"),
            ("DATABASE_POOLER", "session"),
            ("DATABASE_STANDBY", "yes"),
            ("PUBLIC_URL", "ftp://x"),
            ("JWT_EXPIRATION", "soon"),
            ("JWT_EXPIRATION", "1s"),
            ("JWT_REFRESH_EXPIRATION", "91d"),
            ("JWT_ALGORITHM", "none"),
            ("JWT_ALGORITHM", "HS256"),
            ("JWT_SECRET", "your-256-bit-secret-key"),
            ("JWT_SECRET_FILE", "/nonexistent/secret"),
            ("JWT_LEGACY_HS256_UNTIL", "soon"),
            ("REDIS_URL", "memcached://x"),
            ("RATE_LIMIT_TTL", "0"),
            ("RATE_LIMIT_MAX", "many"),
            ("TRUSTED_PROXIES", "10.0.0.0/40"),
            ("CORS_ORIGINS", "*"),
            ("REGISTRATION", "yes"),
            ("REGISTRATION_VERIFY", "no"),
            ("SMTP_FROM", "nobody"),
        ] {
            let refused = with(&[(name, value)], false).expect_err(name);
            assert_eq!(refused.name, name, "{value}: {refused}");
        }
    }

    #[test]
    fn open_registration_needs_verification_outside_the_demo() {
        let open = [("REGISTRATION", "open"), ("REGISTRATION_VERIFY", "none")];
        assert!(with(&open, false).is_err());
        assert_eq!(with(&open, true).unwrap().registration, Registration::Open { verify: false });
        assert_eq!(with(&open[..1], false).unwrap().registration, Registration::Open { verify: true });
    }

    #[test]
    fn times_come_with_units_or_plain() {
        for (text, seconds) in [("15m", 900), ("7d", 604_800), ("90s", 90), ("2h", 7200), ("3600", 3600)] {
            assert_eq!(duration_s(text), Some(seconds));
        }
        for text in ["", "m", "-1m", "1.5h", "1w", "99999999999999999d"] {
            assert_eq!(duration_s(text), None, "{text}");
        }
    }

    #[test]
    fn smtp_without_encryption_stays_on_this_machine() {
        assert!(with(&[("SMTP_HOST", "mail.example.org"), ("SMTP_TLS", "none")], false).is_err());
        assert!(with(&[("SMTP_HOST", "localhost"), ("SMTP_TLS", "none")], false).is_ok());
        assert!(with(&[("SMTP_HOST", "mail.example.org"), ("SMTP_USER", "x")], false).is_err());
    }
}
