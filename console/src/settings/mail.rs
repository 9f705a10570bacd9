//! Where letters go, as operators set it: a mail server, or the folder. What the environment says goes first. The password
//! is kept sealed and shown to nobody; another server needs it typed anew, so that nobody has it sent elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema_store::rows::operations::SettingChange;

use super::Kept;
use crate::access::seal::Seal;
use crate::config::ConsoleConfig;
use crate::frame::fields::Fields;
use crate::mail::{Hidden, MailConfig, SmtpConfig, SmtpTls};

/// Names of the settings, and of the form's fields.
pub const HOST: &str = "mail-host";
pub const PORT: &str = "mail-port";
pub const TLS: &str = "mail-tls";
pub const USER: &str = "mail-user";
pub const PASSWORD: &str = "mail-password";
pub const FROM: &str = "mail-from";

/// Longest host name (RFC 1035), user and sender, in bytes.
const TEXT_BYTES_MAX: usize = 254;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 256;

/// The password was sealed with another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsealed;

/// What the environment decides.
pub fn fixed_by(config: &ConsoleConfig) -> Option<&'static str> {
    config.is_set("SMTP_HOST").then_some("SMTP_HOST")
}

/// The sender, when the environment decides it.
pub fn sender_fixed_by(config: &ConsoleConfig) -> Option<&'static str> {
    config.is_set("SMTP_FROM").then_some("SMTP_FROM")
}

/// Where letters go.
///
/// # Errors
/// What is kept can't be read here.
pub fn config(kept: &Kept, config: &ConsoleConfig, seal: &Seal) -> Result<MailConfig, Unsealed> {
    let base = config.mail.clone();
    if fixed_by(config).is_some() {
        return Ok(base);
    }
    let text = |name: &str| kept.set(name).map(|set| set.value.clone());
    let own = text(FROM).filter(|_| sender_fixed_by(config).is_none());
    let (base, from) = match base {
        MailConfig::Folder { folder, from } => {
            let from = own.unwrap_or(from);
            (MailConfig::Folder { folder, from: from.clone() }, from)
        }
        other => return Ok(other),
    };
    let Some(host) = text(HOST) else { return Ok(base) };
    let password = text(PASSWORD).map(|sealed| unsealed(&sealed, seal)).transpose()?;
    let credentials = text(USER).zip(password).map(|(user, password)| (user, Hidden::from(password)));
    let port = text(PORT).and_then(|port| port.parse().ok());
    let tls = text(TLS).and_then(|name| SmtpTls::parse(&name)).unwrap_or(SmtpTls::StartTls);
    Ok(MailConfig::Smtp(SmtpConfig { host, port, tls, credentials, from }))
}

fn unsealed(kept: &str, seal: &Seal) -> Result<String, Unsealed> {
    let sealed = STANDARD.decode(kept).map_err(|_| Unsealed)?;
    let secret = seal.open_setting(PASSWORD, &sealed).ok_or(Unsealed)?;
    String::from_utf8(secret).map_err(|_| Unsealed)
}

/// What a form changes; otherwise the field and the key of what is wrong with it.
///
/// # Errors
/// It is malformed, or contradicts itself.
pub fn accept(
    typed: &Fields,
    kept: &Kept,
    seal: &Seal,
) -> Result<Vec<SettingChange>, (&'static str, &'static str)> {
    let host = typed.text(HOST).to_ascii_lowercase();
    let from = optional(typed, FROM)?;
    if from.as_deref().is_some_and(|from| from.parse::<lettre::message::Mailbox>().is_err()) {
        return Err((FROM, "error-email"));
    }
    if host.is_empty() {
        let cleared = [HOST, PORT, TLS, USER, PASSWORD].map(|name| open(name, None));
        return Ok(cleared.into_iter().chain([open(FROM, from)]).collect());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    if host.len() > TEXT_BYTES_MAX || !host.chars().all(is_plain) {
        return Err((HOST, "error-host"));
    }
    let port = optional(typed, PORT)?;
    if port.as_deref().is_some_and(|port| port.parse::<u16>().ok().is_none_or(|port| port == 0)) {
        return Err((PORT, "error-port"));
    }
    let tls = SmtpTls::parse(typed.raw(TLS)).ok_or((TLS, "error-malformed"))?;
    if tls == SmtpTls::None && !SmtpConfig::is_here(&host) {
        return Err((TLS, "error-mail-plain"));
    }
    let user = optional(typed, USER)?;
    let password = password(typed, kept, (&host, user.as_deref()), seal)?;
    Ok(vec![
        open(HOST, Some(host)),
        open(PORT, port),
        open(TLS, Some(tls.name().to_owned())),
        open(USER, user),
        SettingChange { name: PASSWORD, value: password, is_secret: true },
        open(FROM, from),
    ])
}

fn open(name: &'static str, value: Option<String>) -> SettingChange {
    SettingChange { name, value, is_secret: name == PASSWORD }
}

/// One line, or nothing.
fn optional(typed: &Fields, name: &'static str) -> Result<Option<String>, (&'static str, &'static str)> {
    if typed.text(name).is_empty() {
        return Ok(None);
    }
    typed.line(name, TEXT_BYTES_MAX).map(Some).map_err(|key| (name, key))
}

/// As it is kept: the one typed, or the one that is there as long as it goes to the same server.
fn password(
    typed: &Fields,
    kept: &Kept,
    (host, user): (&str, Option<&str>),
    seal: &Seal,
) -> Result<Option<String>, (&'static str, &'static str)> {
    let new = typed.raw(PASSWORD);
    if user.is_none() {
        return if new.is_empty() { Ok(None) } else { Err((USER, "error-mail-user")) };
    }
    if new.len() > PASSWORD_BYTES_MAX {
        return Err((PASSWORD, "error-too-long"));
    }
    if !new.is_empty() {
        return Ok(Some(STANDARD.encode(seal.seal_setting(PASSWORD, new.as_bytes()))));
    }
    let is_same = |name: &str, value: Option<&str>| kept.set(name).map(|set| set.value.as_str()) == value;
    match kept.set(PASSWORD) {
        Some(set) if is_same(HOST, Some(host)) && is_same(USER, user) => Ok(Some(set.value.clone())),
        _ => Err((PASSWORD, "error-mail-password")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schema_store::rows::operations::Setting;

    use super::*;
    use crate::access::seal::SealSource;

    fn seal() -> Seal {
        let folder = std::env::temp_dir().join(format!("console-mail-seal-{}", std::process::id()));
        let seal = Seal::load(&SealSource::Folder(folder.clone())).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        seal
    }

    fn kept(changes: Vec<SettingChange>) -> Kept {
        let set = changes.into_iter().filter_map(|SettingChange { name, value, .. }| {
            let (name, changed_by) = (name.to_owned(), String::new());
            Some((name.clone(), Setting { name, value: value?, changed_by, changed_at: 0 }))
        });
        Kept(set.collect())
    }

    fn form(text: &str) -> Fields {
        Fields::decode(text).unwrap()
    }

    const GOOD: &str = "mail-host=Mail.Example.org&mail-port=2525&mail-tls=tls&mail-user=u&mail-password=p+w";

    #[test]
    fn a_server_is_set_and_its_password_is_kept_sealed() {
        let (seal, none) = (seal(), Kept(BTreeMap::new()));
        let changes = accept(&form(GOOD), &none, &seal).unwrap();
        let secret = changes.iter().find(|one| one.name == PASSWORD).unwrap();
        assert!(secret.is_secret && !secret.value.as_ref().unwrap().contains("p w"));
        let kept = kept(changes);
        let open = ConsoleConfig::from_env(false, |_| None).unwrap();
        let Ok(MailConfig::Smtp(smtp)) = config(&kept, &open, &seal) else { panic!("a server") };
        assert_eq!((&*smtp.host, smtp.port, smtp.tls), ("mail.example.org", Some(2525), SmtpTls::Wrapped));
        assert_eq!(smtp.credentials, Some(("u".into(), Hidden::from("p w".to_owned()))));
        assert_eq!(config(&kept, &open, &self::seal()), Err(Unsealed), "with another key");
        let fixed =
            ConsoleConfig::from_env(false, |name| (name == "SMTP_HOST").then(|| "own.example".into()));
        let fixed = fixed.unwrap();
        assert_eq!(config(&kept, &fixed, &seal), Ok(fixed.mail.clone()), "the environment goes first");
        let same = GOOD.replace("p+w", "");
        assert!(accept(&form(&same), &kept, &seal).is_ok(), "it need not be typed again");
        let other = same.replace("Mail.", "other.");
        assert_eq!(accept(&form(&other), &kept, &seal), Err((PASSWORD, "error-mail-password")));
        let cleared = accept(&form("mail-host=&mail-from=me@x.example"), &kept, &seal).unwrap();
        assert!(cleared.iter().all(|one| one.value.is_none() || one.name == FROM));
    }

    #[test]
    fn what_does_not_work_is_said_beside_its_field() {
        let (seal, none) = (seal(), Kept(BTreeMap::new()));
        for (from, to, field) in [
            ("Mail.Example.org", "no%20host", HOST),
            ("2525", "0", PORT),
            ("2525", "99999", PORT),
            ("tls=tls", "tls=none", TLS),
            ("tls=tls", "tls=maybe", TLS),
            ("mail-user=u", "mail-user=", USER),
            ("mail-user=u", "mail-user=a%0Ab", USER),
            ("mail-password=p+w", "mail-password=", PASSWORD),
            ("mail-host", "mail-from=nobody&mail-host", FROM),
        ] {
            let refused = accept(&form(&GOOD.replace(from, to)), &none, &seal).expect_err(to);
            assert_eq!(refused.0, field, "{to}");
        }
        let here = "mail-host=localhost&mail-tls=none";
        assert!(accept(&form(here), &none, &seal).is_ok(), "to this machine it may go in clear");
    }
}
