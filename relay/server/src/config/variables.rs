//! The table of all variables of the relay; the documentation is printed from it.

use super::PORT_DEFAULT;

/// One variable of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The value when it is not set; empty when that is none, or found out at start.
    pub default: &'static str,
    /// The form of its value.
    pub expected: &'static str,
    /// A value that works.
    pub example: &'static str,
    /// What it decides.
    pub meaning: &'static str,
    /// Whether its value is kept out of messages; such variables also have a `_FILE` variant.
    pub is_secret: bool,
}

/// The names of the table, and the `_FILE` variants of its secrets: what [`super::unknown`] takes.
pub fn names() -> Vec<String> {
    let files = VARIABLES.iter().filter(|variable| variable.is_secret);
    let files = files.map(|variable| format!("{}_FILE", variable.name));
    VARIABLES.iter().map(|variable| variable.name.to_owned()).chain(files).collect()
}

const fn plain(
    name: &'static str,
    default: &'static str,
    expected: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, default, expected, example, meaning, is_secret: false }
}

const fn number(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    plain(name, default, "a whole number", default, meaning)
}

const fn seconds(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    plain(name, default, "whole seconds", default, meaning)
}

const fn file(name: &'static str, example: &'static str, meaning: &'static str) -> Variable {
    plain(name, "", "the path of a file", example, meaning)
}

const fn secret(
    name: &'static str,
    expected: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, default: "", expected, example, meaning, is_secret: true }
}

const _: () = assert!(PORT_DEFAULT == 8_443, "the table repeats the port");

/// Every variable the relay reads.
pub const VARIABLES: &[Variable] = &[
    plain(
        "RELAY_LISTEN",
        "",
        "addresses with ports, separated by commas",
        "[::]:8443,0.0.0.0:8443",
        "Public addresses; WSS and QUIC share each port. Default: all addresses, port WEBSOCKET_PORT.",
    ),
    plain(
        "WEBSOCKET_PORT",
        "8443",
        "a port",
        "8443",
        "Port of WSS and QUIC on all addresses; not together with RELAY_LISTEN.",
    ),
    plain(
        "WEBSOCKET_PATH",
        "/ws",
        "a path that begins with \"/\", other than /health, /ready, /metrics and /hdr",
        "/ws",
        "Path of the WebSocket endpoint.",
    ),
    plain(
        "RELAY_INTERNAL_LISTEN",
        "",
        "an address with a port",
        "127.0.0.1:9090",
        "Address of /health, /ready, /metrics, /hdr and /control. Default: 127.0.0.1 and PROMETHEUS_PORT. Never public.",
    ),
    secret(
        "RELAY_CONTROL_SECRET",
        "32 random bytes or more",
        "(output of: openssl rand -hex 32)",
        "Who shows it as a Bearer token to the internal listener may disconnect, revoke and drain, and is told which consumers are slow. Default: nobody.",
    ),
    plain(
        "RELAY_INTERNAL_ADDRESS",
        "",
        "HOST:PORT",
        "relay-0.relay:9090",
        "Where the console reaches this node's internal listener. Default: the address it listens on.",
    ),
    plain(
        "RELAY_NODE_ID",
        "",
        "a whole number",
        "1",
        "Number of this node, another one for each node of an installation. Default: a free one.",
    ),
    secret(
        "RELAY_QUIC_SECRET",
        "32 random bytes or more",
        "(output of: openssl rand -hex 32)",
        "The same on all nodes: any of them takes a QUIC client that another one sent away. Default: made in DATA_DIR.",
    ),
    plain("PROMETHEUS_ENABLED", "true", "true or false", "true", "Whether /metrics and /hdr are served."),
    plain(
        "PROMETHEUS_PORT",
        "",
        "a port",
        "9090",
        "Port of the internal listener on 127.0.0.1. Default: a free one, printed at start.",
    ),
    plain(
        "RELAY_SHARDS",
        "",
        "a whole number",
        "4",
        "Shards, one pinned thread each. Default: one per core.",
    ),
    plain(
        "DATA_DIR",
        ".data",
        "the path of a folder",
        "/var/lib/messenger",
        "Folder of all that is written: database, keys, certificates, mail. `up --data` goes first.",
    ),
    file(
        "RELAY_TLS_CERT_FILE",
        "/etc/messenger/tls.crt",
        "Certificate chain in PEM, read again when it changes. Default: a local CA in DATA_DIR.",
    ),
    file("RELAY_TLS_KEY_FILE", "/etc/messenger/tls.key", "Private key of the certificate in PEM."),
    plain(
        "RELAY_TLS_RECORDS",
        "relay",
        "relay or rustls",
        "relay",
        "Who protects TLS records of WebSocket connections: the relay, or rustls with a copy more per record.",
    ),
    file(
        "JWT_PUBLIC_KEY_FILE",
        "/etc/messenger/jwt-public.pem",
        "RSA public keys in PEM that verify access tokens, read again when the file changes.",
    ),
    plain(
        "JWT_PUBLIC_KEY_KID",
        "",
        "the kid of the key",
        "2026-01",
        "kid of the key in JWT_PUBLIC_KEY_FILE. Default: its RFC 7638 thumbprint.",
    ),
    file(
        "JWT_JWKS_FILE",
        "/etc/messenger/jwks.json",
        "RSA public keys as JWKS: the API writes it, the relay reads it again when it changes. Default: keys/jwks.json in DATA_DIR.",
    ),
    plain(
        "JWT_ISSUER",
        "https://api.secure-messenger.local",
        "the iss of the tokens",
        "https://api.secure-messenger.local",
        "Issuer: what the API writes into access tokens and the relay expects.",
    ),
    plain(
        "JWT_AUDIENCE",
        "https://secure-messenger.local",
        "the aud of the tokens",
        "https://secure-messenger.local",
        "Audience: what the API writes into access tokens and the relay expects.",
    ),
    plain("JWT_LEEWAY", "5", "whole seconds", "5", "Tolerance for clocks that differ."),
    plain(
        "JWT_ISSUERS_FILE",
        "",
        "the path of a JSON list of {issuer, audience, public_key_file, public_key_kid, jwks_file}",
        "/etc/messenger/issuers.json",
        "Further issuers.",
    ),
    secret(
        "JWT_LEGACY_HS256_SECRET",
        "32 random bytes or more",
        "(output of: openssl rand -hex 32)",
        "Shared secret of old HS256 tokens; needs the two variables below.",
    ),
    plain("JWT_LEGACY_HS256_KID", "", "the kid of the old tokens", "2025", "kid of the old HS256 tokens."),
    plain(
        "JWT_LEGACY_HS256_UNTIL",
        "",
        "a day as YYYY-MM-DD",
        "2027-01-31",
        "Day (UTC) from whose first second on HS256 tokens are refused.",
    ),
    secret(
        "JWT_SECRET",
        "32 random bytes or more",
        "(output of: openssl rand -hex 32)",
        "Former name of JWT_LEGACY_HS256_SECRET.",
    ),
    number("RATE_LIMIT_MAX", "100", "Requests of one user, and of one address, within RATE_LIMIT_TTL."),
    seconds("RATE_LIMIT_TTL", "60", "Window of RATE_LIMIT_MAX."),
    plain(
        "MESSAGE_LIMIT_MAX",
        "",
        "a whole number",
        "100",
        "Messages of one user within MESSAGE_LIMIT_TTL. Default: RATE_LIMIT_MAX.",
    ),
    plain(
        "MESSAGE_LIMIT_TTL",
        "",
        "whole seconds",
        "60",
        "Window of MESSAGE_LIMIT_MAX. Default: RATE_LIMIT_TTL.",
    ),
    number("RELAY_BODY_BYTES_MAX", "65536", "Largest body of a message, in bytes."),
    number(
        "RELAY_EPHEMERAL_PER_S",
        "20",
        "Typing, presence and signals of one session in a second; more are dropped.",
    ),
    number(
        "RELAY_OUTBOX_FRAMES",
        "2048",
        "Frames that may wait for one session; beyond, it is closed as a slow reader.",
    ),
    number(
        "RELAY_OUTBOX_BYTES",
        "4194304",
        "Bytes that may wait for one session; beyond, it is closed as a slow reader.",
    ),
    number(
        "RELAY_OUTBOX_EPHEMERAL",
        "256",
        "Ephemeral frames that may wait for one session, in a quarter of RELAY_OUTBOX_BYTES; more are dropped.",
    ),
    number("MAX_FILE_SIZE", "52428800", "Largest media file, in bytes."),
    plain(
        "ALLOWED_ORIGINS",
        "",
        "origins such as https://app.example, separated by commas, without a path",
        "https://app.example",
        "Web origins that may open a WebSocket. Default: those of CORS_ORIGINS, else every origin.",
    ),
    plain(
        "PROXY_NETWORKS",
        "",
        "networks such as 10.0.0.0/8, separated by commas",
        "10.0.0.0/8",
        "Networks of proxies that must send PROXY protocol v2. Default: none.",
    ),
    seconds("RELAY_PING_INTERVAL", "30", "Silence after which a WebSocket client is pinged."),
    seconds("RELAY_IDLE_TIMEOUT", "90", "Silence after which a session is closed."),
    seconds("RELAY_HANDSHAKE_DEADLINE", "10", "Time for TLS, upgrade and Hello together."),
    seconds("RELAY_DRAIN_DEADLINE", "30", "Time for sessions to leave after SIGTERM."),
    secret(
        "DATABASE_URL",
        "sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME",
        "sqlite:.data/messenger.db",
        "The store. Default: sqlite:messenger.db in DATA_DIR. PostgreSQL may be shared by many nodes; run `messenger migrate` on it first.",
    ),
    number("DATABASE_POOL_SIZE", "20", "Connections of one node to PostgreSQL, and to each read replica."),
    secret(
        "DATABASE_REPLICA_URLS",
        "postgres://USER:PASSWORD@HOST/NAME, several separated by commas",
        "postgres://messenger@replica/messenger",
        "Read replicas, asked for history and what was missed. Default: none.",
    ),
    plain(
        "DATABASE_POOLER",
        "none",
        "none or transaction",
        "none",
        "`transaction` when PgBouncer in transaction mode stands before PostgreSQL: no statement keeps a name then.",
    ),
    plain(
        "DATABASE_STANDBY",
        "asynchronous",
        "asynchronous or synchronous",
        "asynchronous",
        "`synchronous` is your word that only a synchronous standby is ever promoted: then nothing counts as lost.",
    ),
    secret(
        "REDIS_URL",
        "redis://HOST:PORT or rediss://HOST:PORT",
        "redis://127.0.0.1:6379",
        "Redis 7 or newer that connects the nodes and counts the limits they share. Default: none, and nodes learn of each other's messages from the store.",
    ),
    seconds("REDIS_TTL", "3600", "Longest life of what is cached in Redis; more than an hour is an hour."),
];
