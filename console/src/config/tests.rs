//! What is taken and what is refused, each with the name of its variable.

use super::values::duration_s;
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
