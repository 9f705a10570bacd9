//! The `JWT_*` variables: who may sign access tokens, and which old shared secret still counts, until when.

use std::path::PathBuf;

use super::ConfigError;
use super::parse::{Reader, read_file};
use crate::access::{AccessConfig, IssuerConfig, LEEWAY_S_MAX, LegacyKey};

/// An entry of `JWT_ISSUERS_FILE`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct FurtherIssuer {
    issuer: String,
    audience: String,
    public_key_file: Option<PathBuf>,
    public_key_kid: Option<String>,
    jwks_file: Option<PathBuf>,
}

pub(super) fn read(env: &Reader<'_>, warnings: &mut Vec<String>) -> Result<AccessConfig, ConfigError> {
    let first = IssuerConfig {
        issuer: env.text_or_default("JWT_ISSUER")?,
        audience: env.text_or_default("JWT_AUDIENCE")?,
        public_key_file: env.raw("JWT_PUBLIC_KEY_FILE").map(PathBuf::from),
        public_key_kid: env.raw("JWT_PUBLIC_KEY_KID"),
        jwks_file: env.raw("JWT_JWKS_FILE").map(PathBuf::from),
        legacy: legacy(env, warnings)?.into_iter().collect(),
    };
    let mut issuers = vec![first];
    issuers.extend(further(env)?);
    Ok(AccessConfig { issuers, leeway_s: env.number("JWT_LEEWAY", 0..=LEEWAY_S_MAX)? })
}

fn further(env: &Reader<'_>) -> Result<Vec<IssuerConfig>, ConfigError> {
    let Some(path) = env.raw("JWT_ISSUERS_FILE") else { return Ok(Vec::new()) };
    let text = read_file("JWT_ISSUERS_FILE", &path)?;
    let entries: Vec<FurtherIssuer> = serde_json::from_str(&text).map_err(|why| {
        let detail = format!(" (line {}, column {})", why.line(), why.column());
        env.malformed("JWT_ISSUERS_FILE", &path, Some(detail))
    })?;
    let issuers = entries.into_iter().map(|entry| IssuerConfig {
        issuer: entry.issuer,
        audience: entry.audience,
        public_key_file: entry.public_key_file,
        public_key_kid: entry.public_key_kid,
        jwks_file: entry.jwks_file,
        legacy: Vec::new(),
    });
    Ok(issuers.collect())
}

/// A secret counts only with the kid of its tokens and an end date; guessable ones stop the start, even
/// where they would not be used.
fn legacy(env: &Reader<'_>, warnings: &mut Vec<String>) -> Result<Option<LegacyKey>, ConfigError> {
    let own = super::strong(env, "JWT_LEGACY_HS256_SECRET")?;
    let seed = super::strong(env, "JWT_SECRET")?;
    if own.is_some() && seed.is_some() {
        return Err(ConfigError::Conflict {
            names: "JWT_SECRET, JWT_LEGACY_HS256_SECRET",
            problem: "both name the old shared secret",
            fix: "keep JWT_LEGACY_HS256_SECRET_FILE only",
        });
    }
    let has_own = own.is_some();
    let kid = env.raw("JWT_LEGACY_HS256_KID");
    let until = env.parsed("JWT_LEGACY_HS256_UNTIL", midnight_unix_s)?;
    match (own.or(seed), kid, until) {
        (None, None, None) => Ok(None),
        (Some(secret), Some(kid), Some(until_unix_s)) => Ok(Some(LegacyKey { kid, secret, until_unix_s })),
        (Some(_), None, None) if !has_own => {
            warnings.push(
                "JWT_SECRET is not used: tokens are signed with RS256. To accept old HS256 tokens for a \
                 while, set JWT_LEGACY_HS256_KID and JWT_LEGACY_HS256_UNTIL too; else remove it"
                    .into(),
            );
            Ok(None)
        }
        _ => Err(ConfigError::Conflict {
            names: "JWT_LEGACY_HS256_SECRET, JWT_LEGACY_HS256_KID, JWT_LEGACY_HS256_UNTIL",
            problem: "an old shared secret needs the kid of its tokens and an end date",
            fix: "set all three, such as JWT_LEGACY_HS256_KID=2025 JWT_LEGACY_HS256_UNTIL=2027-01-31",
        }),
    }
}

/// The first second of a day `YYYY-MM-DD` in UTC, as Unix seconds.
pub(super) fn midnight_unix_s(date: &str) -> Option<u64> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let has_form =
        [(year, 4), (month, 2), (day, 2)].iter().all(|(text, len)| text.len() == *len && is_digits(text));
    if !has_form || parts.next().is_some() {
        return None;
    }
    let (year, month, day): (u64, u64, u64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if is_leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day < 1 || day > length {
        return None;
    }
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - 477;
    let months: u64 = lengths[..(month - 1) as usize].iter().sum();
    Some(((year - 1970) * 365 + leap_days + months + day - 1) * 86_400)
}
