//! What each group of variables means together.

use std::path::{Path, PathBuf};

use schema_wire::Network;

use super::values::{DAY_S, Values, fault};
use super::{ConfigFault, Registration};
use crate::access::secret::Secret;
use crate::access::shared::SharedThrough;
use crate::access::signing::{PUBLISHED_KEYS, SigningConfig, SigningSource, secret_kid};
use crate::database::Database;
use crate::mail::{MailConfig, SmtpConfig, SmtpTls};

pub(super) fn registration(values: &Values, demo: bool) -> Result<Registration, ConfigFault> {
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

pub(super) fn database(values: &Values, data: &Path) -> Result<Database, ConfigFault> {
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

/// How many, within how many seconds.
pub(super) fn messages(values: &Values) -> Result<(u64, u64), ConfigFault> {
    let most = values.number("RATE_LIMIT_MAX", 100, 1..=u64::from(u32::MAX))?;
    let window_s = values.number("RATE_LIMIT_TTL", 60, 1..=u64::from(u32::MAX))?;
    let most = values.number("MESSAGE_LIMIT_MAX", most, 1..=u64::from(u32::MAX))?;
    let window_s = values.number("MESSAGE_LIMIT_TTL", window_s, 1..=u64::from(u32::MAX))?;
    Ok((most, window_s))
}

pub(super) fn shared(values: &Values) -> Result<Option<SharedThrough>, ConfigFault> {
    let Some(url) = values.secret("REDIS_URL", "REDIS_URL_FILE")? else { return Ok(None) };
    SharedThrough::parse(&url).map(Some).map_err(|why| fault("REDIS_URL", why.to_string()))
}

pub(super) fn public_url(values: &Values, name: &'static str) -> Result<Option<String>, ConfigFault> {
    let Some(url) = values.text(name) else { return Ok(None) };
    if !(url.starts_with("https://") || url.starts_with("http://")) || url.contains(['?', '#', ' ']) {
        return Err(fault(name, "must begin with https:// (or http://) and hold no query"));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

pub(super) fn signing(values: &Values, data: &Path) -> Result<SigningConfig, ConfigFault> {
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

pub(super) fn mail(values: &Values, data: &Path) -> Result<MailConfig, ConfigFault> {
    let from = values.text("SMTP_FROM").unwrap_or("messenger@localhost").to_owned();
    if from.parse::<lettre::message::Mailbox>().is_err() {
        return Err(fault("SMTP_FROM", "must be a mail address"));
    }
    let Some(host) = values.text("SMTP_HOST") else {
        let folder = values.text("MAIL_FOLDER").map_or_else(|| data.join("mail"), PathBuf::from);
        return Ok(MailConfig::Folder { folder, from });
    };
    let tls = values.text("SMTP_TLS").unwrap_or("starttls");
    let tls = match SmtpTls::parse(tls) {
        Some(SmtpTls::None) if !SmtpConfig::is_here(host) => {
            return Err(fault("SMTP_TLS", "none is allowed to a server on this machine only"));
        }
        Some(tls) => tls,
        None => return Err(fault("SMTP_TLS", format!("{tls:?} is none of: starttls, tls, none"))),
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

pub(super) fn proxies(values: &Values) -> Result<Vec<Network>, ConfigFault> {
    values
        .list("TRUSTED_PROXIES")
        .map(|text| {
            Network::parse(text).ok_or_else(|| {
                fault("TRUSTED_PROXIES", format!("{text:?} is not a network such as 10.0.0.0/8"))
            })
        })
        .collect()
}

pub(super) fn origins(values: &Values) -> Result<Vec<String>, ConfigFault> {
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

/// The first second of the day from which on the shared secret is worth nothing.
fn midnight_s(values: &Values) -> Result<Option<u64>, ConfigFault> {
    const NAME: &str = "JWT_LEGACY_HS256_UNTIL";
    let Some(day) = values.parse::<jiff::civil::Date>(NAME, "a day such as 2027-01-31")? else {
        return Ok(None);
    };
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| fault(NAME, "out of range"))?;
    Ok(Some(u64::try_from(midnight.timestamp().as_second()).unwrap_or(0)))
}
