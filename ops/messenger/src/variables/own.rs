//! The variables that only the `messenger` program reads: its log, its clients, and what the seeds' environment
//! names for parts that come later.

use console::config::Variable;
use relay_server::access::Secret;

use crate::failure::{Code, Failure};

macro_rules! variables {
    ($($reader:literal { $($name:literal, $default:literal, $form:literal, $meaning:literal;)* })*) => {
        /// The table: which commands read them, and what they are.
        pub const VARIABLES: &[(&str, &[Variable])] = &[$(($reader, &[$(Variable {
            name: $name,
            default: $default,
            form: $form,
            meaning: $meaning,
        },)*]),)*];
    };
}

variables! {
    "up" {
        "LOG_LEVEL", "info", "error, warn, info, debug or trace", "What is worth a line. Requests show at info as JSON, at debug as text.";
        "LOG_FORMAT", "text", "text or json", "`json` for one object per line.";
        "APP_ENV", "", "development, staging or production", "`production` refuses --demo.";
        "MEDIA_ENCRYPTION_ALGORITHM", "AES-256-GCM", "AES-256-GCM", "Media are encrypted with it; nothing else is taken.";
        "ENCRYPTION_KEY", "", "32 random bytes or more", "Not used yet, `up` says so: media come later. A guessable one is refused.";
        "S3_BUCKET", "", "a name", "Not used yet, `up` says so: media come later. Backups go to BACKUP_LOCATION.";
    }
    "up, backup, restore" {
        "BACKUP_LOCATION", "", "s3://BUCKET[/PREFIX] or a folder", "Where backups lie, as --location. Default: `backups` in the data folder.";
        "BACKUP_KEY_FILE", "", "the path of a file", "Keys of backups, one per line, the first seals, as --key-file. Default: `backup.key` in the data folder, which `up` makes.";
        "BACKUP_KEY", "", "32 random bytes in hexadecimal or base64", "The same, when there is no file.";
        "S3_ENDPOINT", "", "https://HOST", "Server of the bucket of backups. AWS when not given.";
        "S3_REGION", "us-east-1", "a name", "Region of the bucket of backups.";
        "S3_ACCESS_KEY", "", "a key", "Account of the bucket of backups; without it that of the machine or pod. The sample is refused.";
        "S3_SECRET_KEY", "", "a key", "Its secret. The sample is refused.";
        "BACKUP_DATABASE_URL", "", "postgres://USER:PASSWORD@HOST/NAME", "Of PostgreSQL: the server's own address, as a user that may replicate. Default: DATABASE_URL.";
        "BACKUP_SPOOL", "", "the path of a folder", "Where `backup stream` puts the log down before it is sealed, as --spool. Default: `wal` in the data folder.";
        "BACKUP_SLOT", "messenger_wal", "a name", "Replication slot of `backup stream`, as --slot.";
        "BACKUP_SEAL_SECONDS", "3", "1 to 300", "Longest time between two seals of `backup stream`, as --every.";
        "BACKUP_INTERVAL", "300", "10 to 300 seconds, or off", "The age by which a backup that `up` makes has a newer one: what may be lost at most. With `off` (also `none`, `0`) it makes none.";
    }
    "chat, send, listen" {
        "MESSENGER_RELAY", "127.0.0.1:8443", "wss://HOST:PORT/PATH or HOST:PORT", "The relay, as --relay.";
        "MESSENGER_API", "http://127.0.0.1:3001", "https://HOST or http://HOST", "The account API, as --api.";
        "MESSENGER_TRANSPORT", "", "quic or ws", "As --transport. Default: QUIC, else WebSocket.";
        "MESSENGER_CA", "", "the path of a file", "Certificates to trust instead of the system's, as --ca.";
        "MESSENGER_EMAIL", "", "a mail address", "The account, as --email.";
        "MESSENGER_PASSWORD", "", "a password", "Its password.";
        "MESSENGER_PASSWORD_FILE", "", "the path of a file", "The same, read from a file, as --password-file.";
        "MESSENGER_CONVERSATION", "", "an id", "The conversation, as --conversation.";
    }
}

/// Names that nothing uses yet.
const LATER: [&str; 2] = ["ENCRYPTION_KEY", "S3_BUCKET"];

/// Checks the values of this table; gives back what the operator should know although `up` starts.
pub fn check(set: impl Fn(&str) -> Option<String>, demo: bool) -> Result<Vec<String>, Failure> {
    let refuse = |line: &str| Err(Failure::new(Code::Settings, line));
    match set("APP_ENV").as_deref() {
        None | Some("development" | "staging") => {}
        Some("production") if !demo => {}
        Some("production") => {
            return refuse("APP_ENV=production does not go with --demo; fix: leave out one");
        }
        Some(_) => {
            return refuse("APP_ENV is none of development, staging, production; fix: APP_ENV=production");
        }
    }
    if set("MEDIA_ENCRYPTION_ALGORITHM").is_some_and(|algorithm| algorithm != "AES-256-GCM") {
        return refuse("MEDIA_ENCRYPTION_ALGORITHM: only AES-256-GCM is taken; fix: remove it");
    }
    if let Some(Err(why)) = set("ENCRYPTION_KEY").map(|key| Secret::new(&key)) {
        return refuse(&format!("ENCRYPTION_KEY is refused: {why}"));
    }
    for name in ["S3_ACCESS_KEY", "S3_SECRET_KEY"] {
        if set(name).is_some_and(|key| key.starts_with("YOUR_")) {
            return refuse(&format!(
                "{name} is refused: it is a published sample; fix: remove it or set yours"
            ));
        }
    }
    let unused: Vec<&str> = LATER.into_iter().filter(|name| set(name).is_some()).collect();
    let warning = || format!("{}: not used by this version; media come later", unused.join(", "));
    Ok(if unused.is_empty() { Vec::new() } else { vec![warning()] })
}
