//! Where letters end: a folder of files for one machine, an SMTP server for everybody else.

use std::error::Error;
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::letter::Letter;
use super::{SmtpConfig, SmtpTls};
use crate::access::rsa_key::write_private;

/// How long a server may take for one letter.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);
/// The one reply code that is about the recipient without any other (RFC 5321 section 4.2.2).
const USER_NOT_LOCAL: u16 = 551;
/// No such mailbox, no such host, bad syntax, ambiguous, moved, takes no mail; 7 and 8 are about the sender.
const RECIPIENT_DETAILS: [&str; 6] = ["1", "2", "3", "4", "6", "10"];

/// Why a letter was not sent. Never carries an address.
#[derive(Debug, thiserror::Error)]
pub enum MailFault {
    #[error("the address does not work in a letter")]
    Address,
    #[error("the mail folder can't be written: {0}")]
    Folder(#[from] io::Error),
    #[error("the SMTP server knows no such recipient ({code})")]
    Recipient { code: u16 },
    /// For good, it says: this letter, or whoever brings it.
    #[error("the SMTP server refused the letter ({code})")]
    Refused { code: u16 },
    #[error("the SMTP server was not reached, or did not take the letter now")]
    Unreached,
    #[error("the SMTP settings do not work")]
    Settings,
}

/// A letter on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailFault>> + Send + 'a>>;

/// Takes letters.
pub trait MailSink: Send + Sync {
    /// Sends one letter; on return it is the sink's responsibility.
    fn send(&self, letter: Letter) -> Sending<'_>;
}

/// Letters as files, one each, readable by the operator only.
pub struct FolderSink {
    folder: PathBuf,
    from: Mailbox,
    serial: AtomicU64,
}

impl FolderSink {
    /// Makes the folder (mode 0700) if it is not there.
    pub fn open(folder: &Path, from: &str) -> Result<Self, MailFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let from = from.parse().map_err(|_| MailFault::Settings)?;
        let serial = fs::read_dir(folder)?.count() as u64;
        Ok(Self { folder: folder.to_owned(), from, serial: AtomicU64::new(serial) })
    }

    fn free_name(&self) -> PathBuf {
        loop {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
            let path = self.folder.join(format!("{serial:06}.eml"));
            if !path.exists() {
                return path;
            }
        }
    }
}

impl MailSink for FolderSink {
    fn send(&self, letter: Letter) -> Sending<'_> {
        Box::pin(async move {
            let message = letter.seal(&self.from)?.formatted();
            let path = self.free_name();
            let written = tokio::task::spawn_blocking(move || write_private(&path, &message)).await;
            Ok(written.map_err(io::Error::other)??)
        })
    }
}

/// Letters through a server.
pub struct SmtpSink {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpSink {
    /// Connects with the first letter, not now.
    pub fn open(config: &SmtpConfig) -> Result<Self, MailFault> {
        let builder = match config.tls {
            SmtpTls::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(&config.host),
            SmtpTls::Wrapped => AsyncSmtpTransport::<Tokio1Executor>::relay(&config.host),
            SmtpTls::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)),
        };
        let mut builder = builder.map_err(|_| MailFault::Settings)?.timeout(Some(SMTP_TIMEOUT));
        if let Some(port) = config.port {
            builder = builder.port(port);
        }
        if let Some((user, password)) = &config.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.0.clone()));
        }
        let from = config.from.parse().map_err(|_| MailFault::Settings)?;
        Ok(Self { transport: builder.build(), from })
    }
}

impl MailSink for SmtpSink {
    fn send(&self, letter: Letter) -> Sending<'_> {
        Box::pin(async move {
            let message = letter.seal(&self.from)?;
            let sent = self.transport.send(message).await;
            sent.map(drop).map_err(|error| fault(&error))
        })
    }
}

/// What a failure says about the letter. Only few refusals for good are about its recipient: a server that is shut, over
/// its quota or set up wrongly refuses everybody for good just as well. What is about the right to send (530, 535) is
/// mended in the settings (RFC 5321 section 4.2.1, RFC 4954 section 6).
fn fault(error: &smtp::Error) -> MailFault {
    let Some(code) = error.status().filter(|_| error.is_permanent()) else { return MailFault::Unreached };
    if code.category == Category::Unspecified3 {
        return MailFault::Unreached;
    }
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let code = u16::from(code);
    if code == USER_NOT_LOCAL || is_about_recipient(&said) {
        MailFault::Recipient { code }
    } else {
        MailFault::Refused { code }
    }
}

/// Whether the answer begins with a code that speaks of the recipient's address (RFC 3463 section 3.2, RFC 7505).
fn is_about_recipient(said: &str) -> bool {
    let code = said.split_whitespace().next().unwrap_or("");
    code.strip_prefix("5.1.").is_some_and(|detail| RECIPIENT_DETAILS.contains(&detail))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn each_letter_is_a_file_for_the_operator_only() {
        let folder = std::env::temp_dir().join(format!("console-mail-{}", std::process::id()));
        let sink = FolderSink::open(&folder, "Messenger <messenger@localhost>").unwrap();
        for _ in 0..2 {
            let letter = Letter::password_reset("alice@home.example".into(), "http://api", "SECRET");
            sink.send(letter).await.unwrap();
        }
        let text = fs::read_to_string(folder.join("000001.eml")).unwrap();
        assert!(text.contains("To: alice@home.example") && text.contains("SECRET"), "{text}");
        let mode = fs::metadata(folder.join("000002.eml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let bad = Letter::already_registered("no address\r\nBcc: x@y.example".into());
        assert!(matches!(sink.send(bad).await, Err(MailFault::Address)));
        fs::remove_dir_all(folder).unwrap();
    }

    /// Speaks just enough SMTP to take one letter, and gives back what it heard. `refusal` answers what begins with the
    /// word before it; a greeting is what nothing comes before.
    fn server(listener: std::net::TcpListener, refusal: Option<(&str, &str)>) -> String {
        use std::io::{BufRead, BufReader, Write};
        let (stream, _) = listener.accept().unwrap();
        let mut answers = stream.try_clone().unwrap();
        let mut heard = String::new();
        let greeting = refusal.filter(|(to, _)| to.is_empty()).map_or("220 test", |(_, said)| said);
        answers.write_all(format!("{greeting}\r\n").as_bytes()).unwrap();
        let mut in_letter = false;
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            heard.push_str(&line);
            heard.push('\n');
            let refused = refusal.filter(|(to, _)| !to.is_empty() && line.starts_with(to));
            let answer = match (line.as_str(), refused) {
                (".", _) => "250 taken",
                _ if in_letter => continue,
                ("QUIT", _) => break,
                (_, Some((_, said))) => said,
                ("DATA", _) => "354 go on",
                _ => "250 fine",
            };
            in_letter = line == "DATA" && refused.is_none();
            if answers.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                break;
            }
        }
        heard
    }

    async fn send_through(refusal: Option<(&'static str, &'static str)>) -> (Result<(), MailFault>, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || server(listener, refusal));
        let config = SmtpConfig {
            host: "127.0.0.1".into(),
            port: Some(port),
            tls: SmtpTls::None,
            credentials: None,
            from: "messenger@localhost".into(),
        };
        let sink = SmtpSink::open(&config).unwrap();
        let sent =
            sink.send(Letter::password_reset("alice@home.example".into(), "http://api", "SECRET")).await;
        drop(sink);
        (sent, server.join().unwrap())
    }

    #[tokio::test]
    async fn letters_go_through_a_server_and_refusals_name_no_address() {
        let (sent, heard) = send_through(None).await;
        sent.unwrap();
        assert!(heard.contains("RCPT TO:<alice@home.example>") && heard.contains("SECRET"), "{heard}");
        let (refused, _) = send_through(Some(("RCPT", "550 5.1.1 no such mailbox"))).await;
        let fault = refused.unwrap_err();
        assert!(matches!(fault, MailFault::Recipient { code: 550 }));
        assert!(!fault.to_string().contains("alice"));
    }

    #[tokio::test]
    async fn only_what_names_the_recipient_is_about_the_recipient() {
        for (to, said, expected) in [
            ("RCPT", "551 user not local", "recipient"),
            ("RCPT", "553 5.1.3 bad destination mailbox address syntax", "recipient"),
            ("RCPT", "556 5.1.10 takes no mail", "recipient"),
            ("", "554 no SMTP service here", "refused"),
            ("RCPT", "550 5.4.5 daily sending quota exceeded", "refused"),
            ("RCPT", "554 5.7.1 relay access denied", "refused"),
            ("RCPT", "550 no such mailbox", "refused"),
            ("MAIL", "553 5.7.1 sender address rejected: not owned by user", "refused"),
            ("MAIL", "550 5.1.8 sender address rejected", "refused"),
            ("MAIL", "530 5.7.0 authentication required", "unreached"),
            ("RCPT", "451 4.7.1 greylisted", "unreached"),
        ] {
            let found = match send_through(Some((to, said))).await.0 {
                Err(MailFault::Recipient { .. }) => "recipient",
                Err(MailFault::Refused { .. }) => "refused",
                Err(MailFault::Unreached) => "unreached",
                other => panic!("{said}: {other:?}"),
            };
            assert_eq!(found, expected, "{to} {said}");
        }
    }
}
