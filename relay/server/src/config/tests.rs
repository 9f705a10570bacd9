//! Defaults, every kind of refusal, and the seeds' own environment.

use super::*;

const SECRET: &str = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";

fn read(set: &[(&str, &str)]) -> Result<RelayConfig, ConfigError> {
    RelayConfig::from_env(|name| {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn refusal(set: &[(&str, &str)]) -> String {
    read(set).unwrap_err().to_string()
}

#[test]
fn the_defaults_run_on_a_laptop() {
    let config = RelayConfig::default();
    assert_eq!(config.listen, ["[::]:8443".parse().unwrap(), "0.0.0.0:8443".parse().unwrap()]);
    assert_eq!(config.internal_listen, "127.0.0.1:0".parse().unwrap());
    assert!(config.listen_is_default && config.metrics_enabled && config.shards >= 1 && config.tls.is_none());
    assert_eq!(config.message_limit, RateLimit { max: 100, window_s: 60 });
    assert_eq!(config.database.url.expose(), "sqlite:.data/messenger.db");
    assert_eq!((config.upgrade.path.as_str(), config.upgrade.origins.len()), ("/ws", 0));
    assert_eq!(config.access.issuers[0].issuer, "https://api.secure-messenger.local");
    assert_eq!(config.limits(), relay_proto::limits::Limits::default());
    assert!(config.warnings.is_empty() && config.redis_url.is_none());
}

#[test]
fn the_environment_of_the_seeds_is_honoured() {
    let config = read(&[
        ("DATABASE_URL", "postgresql://user:pass@localhost:5432/securemessenger"),
        ("DATABASE_POOL_SIZE", "20"),
        ("REDIS_URL", "redis://localhost:6379"),
        ("REDIS_TTL", "3600"),
        ("JWT_SECRET", SECRET),
        ("WEBSOCKET_PORT", "3001"),
        ("WEBSOCKET_PATH", "/ws"),
        ("RATE_LIMIT_TTL", "60"),
        ("RATE_LIMIT_MAX", "200"),
        ("MAX_FILE_SIZE", "52428800"),
        ("PROMETHEUS_ENABLED", "true"),
        ("PROMETHEUS_PORT", "9090"),
    ])
    .unwrap();
    assert_eq!(config.listen[1], "0.0.0.0:3001".parse().unwrap());
    assert_eq!(config.internal_listen, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.message_limit.max, 200);
    assert_eq!(config.warnings.len(), 1, "a secret that is not used is said so");
    assert!(config.access.issuers[0].legacy.is_empty());
    let debug = format!("{config:?}");
    assert!(!debug.contains("pass") && !debug.contains(SECRET), "{debug}");
}

#[test]
fn what_may_wait_for_a_session_can_be_set() {
    let config = read(&[
        ("RELAY_EPHEMERAL_PER_S", "1000"),
        ("RELAY_OUTBOX_FRAMES", "64"),
        ("RELAY_OUTBOX_BYTES", "262144"),
        ("RELAY_OUTBOX_EPHEMERAL", "4096"),
    ]);
    let limits = config.unwrap().limits();
    assert_eq!((limits.ephemeral_per_s, limits.outbox_ephemeral), (1_000, 4_096));
    assert_eq!((limits.outbox_frames, limits.outbox_bytes), (64, 262_144));
}

#[test]
fn sample_and_short_secrets_stop_the_start() {
    for secret in ["your-256-bit-secret-key", "new-secret", "hunter2", &"a".repeat(64)] {
        for name in ["JWT_SECRET", "JWT_LEGACY_HS256_SECRET"] {
            let message = refusal(&[(name, secret)]);
            assert!(message.starts_with(name) && message.contains("openssl rand -hex 32"), "{message}");
            assert!(!message.contains(secret), "{message}");
        }
    }
}

#[test]
fn a_legacy_secret_needs_its_kid_and_its_end() {
    let until = ("JWT_LEGACY_HS256_UNTIL", "2027-01-31");
    let kid = ("JWT_LEGACY_HS256_KID", "2025");
    for name in ["JWT_SECRET", "JWT_LEGACY_HS256_SECRET"] {
        let config = read(&[(name, SECRET), kid, until]).unwrap();
        let legacy = &config.access.issuers[0].legacy[0];
        assert_eq!((legacy.kid.as_str(), legacy.until_unix_s), ("2025", 1_801_353_600));
        assert!(refusal(&[(name, SECRET), kid]).contains("end date"));
    }
    assert!(refusal(&[("JWT_LEGACY_HS256_SECRET", SECRET)]).contains("end date"));
    assert!(refusal(&[kid, until]).contains("end date"));
    assert!(refusal(&[("JWT_SECRET", SECRET), ("JWT_LEGACY_HS256_SECRET", SECRET)]).contains("both"));
}

#[test]
fn days_become_their_first_second() {
    use super::access::midnight_unix_s;
    assert_eq!(midnight_unix_s("1970-01-01"), Some(0));
    assert_eq!(midnight_unix_s("2000-03-01"), Some(951_868_800));
    assert_eq!(midnight_unix_s("2024-02-29"), Some(1_709_164_800));
    assert_eq!(midnight_unix_s("2100-03-01"), Some(4_107_542_400));
    for wrong in [
        "2023-02-29",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "26-01-01",
        "2026-1-1",
        "1969-12-31",
        "2026-01-01T00",
        "2026-01-01-01",
        "+026-01-01",
        "",
    ] {
        assert_eq!(midnight_unix_s(wrong), None, "{wrong}");
    }
}

#[test]
fn malformed_values_name_the_line_to_write() {
    for (name, value) in [
        ("WEBSOCKET_PORT", "0"),
        ("WEBSOCKET_PORT", "65536"),
        ("WEBSOCKET_PORT", "tcp://10.0.0.1:3001"),
        ("WEBSOCKET_PATH", "ws"),
        ("WEBSOCKET_PATH", "/metrics"),
        ("WEBSOCKET_PATH", "/w s"),
        ("RELAY_LISTEN", "8443"),
        ("RELAY_INTERNAL_LISTEN", "localhost:9090"),
        ("RELAY_SHARDS", "0"),
        ("RATE_LIMIT_MAX", "-1"),
        ("RATE_LIMIT_TTL", "1.5"),
        ("MESSAGE_LIMIT_MAX", "many"),
        ("MAX_FILE_SIZE", "52428800  # 50 MB"),
        ("PROMETHEUS_ENABLED", "maybe"),
        ("ALLOWED_ORIGINS", "https://app.example/path"),
        ("ALLOWED_ORIGINS", "app.example"),
        ("PROXY_NETWORKS", "10.0.0.1/8"),
        ("JWT_LEEWAY", "31"),
        ("JWT_LEGACY_HS256_UNTIL", "soon"),
        ("RELAY_PING_INTERVAL", "0"),
        ("RELAY_BODY_BYTES_MAX", "65537"),
        ("RELAY_EPHEMERAL_PER_S", "0"),
        ("RELAY_OUTBOX_FRAMES", "63"),
        ("RELAY_OUTBOX_BYTES", "4MiB"),
        ("RELAY_OUTBOX_EPHEMERAL", "0"),
        ("REDIS_TTL", ""),
    ] {
        if value.is_empty() {
            assert!(read(&[(name, value)]).is_ok(), "empty counts as not set");
            continue;
        }
        let message = refusal(&[(name, value)]);
        assert!(message.starts_with(&format!("{name}=")), "{message}");
        assert!(message.contains("expected") && message.contains(&format!("fix: {name}=")), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn malformed_secrets_are_not_shown() {
    let message = refusal(&[("DATABASE_URL", "mysql://user:hunter2@host/db")]);
    assert!(!message.contains("hunter2") && message.contains("fix: DATABASE_URL=sqlite:"), "{message}");
    assert!(!refusal(&[("REDIS_URL", "hunter2")]).contains("hunter2"));
}

#[test]
fn contradictions_are_refused() {
    assert!(refusal(&[("RELAY_LISTEN", "127.0.0.1:1"), ("WEBSOCKET_PORT", "2")]).contains("RELAY_LISTEN"));
    assert!(refusal(&[("RELAY_TLS_CERT_FILE", "x")]).contains("RELAY_TLS_KEY_FILE"));
    assert!(refusal(&[("RELAY_PING_INTERVAL", "90")]).contains("RELAY_IDLE_TIMEOUT"));
    assert!(refusal(&[("REDIS_URL", "redis://a"), ("REDIS_URL_FILE", "x")]).contains("_FILE"));
}

#[test]
fn secrets_and_issuers_come_from_files() {
    let folder = std::env::temp_dir().join(format!("relay-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = file("url", "redis://:hunter2@cache:6379\n");
    let good = file("good.json", r#"[{"issuer":"a","audience":"b","jwks_file":"/c.json"}]"#);
    let bad = file("bad.json", r#"[{"issuer":"a","audience":"b","secret":"c"}]"#);
    let config = read(&[("REDIS_URL_FILE", &url), ("JWT_ISSUERS_FILE", &good)]).unwrap();
    let message = refusal(&[("JWT_ISSUERS_FILE", &bad)]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(config.redis_url.unwrap().expose(), "redis://:hunter2@cache:6379");
    assert_eq!(config.access.issuers[1].audience, "b");
    assert!(message.starts_with("JWT_ISSUERS_FILE=") && message.contains("line 1"), "{message}");
    let message = refusal(&[("DATABASE_URL_FILE", "/nonexistent/url")]);
    assert!(message.contains("DATABASE_URL_FILE: cannot read /nonexistent/url"), "{message}");
}

#[test]
fn the_table_is_complete_and_every_example_works() {
    let mut names = names();
    names.sort();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "each name comes once");
    for variable in VARIABLES {
        let Variable { name, example, meaning, .. } = *variable;
        assert!(meaning.ends_with('.') && !example.is_empty(), "{name}");
        // `DATA_` would claim what belongs to others; a slip in this one name is found by its distance.
        let is_ours = name == "DATA_DIR" || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        assert!(is_ours, "{name} has a known prefix");
        let alone = read(&[(name, example)]);
        let needs_more = name.starts_with("JWT_LEGACY") || name.ends_with("_FILE") || name == "JWT_SECRET";
        assert!(alone.is_ok() || needs_more, "{name}={example}");
    }
}

#[test]
fn misspelt_names_are_found_and_explained() {
    let declared = names();
    let mut union: Vec<&str> = declared.iter().map(String::as_str).collect();
    union.push("JWT_EXPIRATION");
    let names = [
        "PATH",
        "RATE_LIMIT_MAXX",
        "JWT_EXPIRATION",
        "REDIS_URL_FILE",
        "REDIS_SERVICE_HOST",
        "REDIS_PORT_6379_TCP",
        "REDIS_PORT",
        "RELAY_COLOUR",
        "RELAY_PORT",
        "WEBSOCKETS_PORT",
        "JWT_ISSUER",
    ];
    let found = unknown(names, &union);
    let listed: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.suggestion.as_deref())).collect();
    assert_eq!(
        listed,
        [
            ("RATE_LIMIT_MAXX", Some("RATE_LIMIT_MAX")),
            ("RELAY_COLOUR", None),
            ("RELAY_PORT", None),
            ("WEBSOCKETS_PORT", Some("WEBSOCKET_PORT"))
        ]
    );
    assert!(found[0].to_string().contains("did you mean RATE_LIMIT_MAX?"));
}
