//! What letters say. Plain text, one link, no tracking.

use lettre::Message;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use schema_store::rows::console::{FactorChange, FactorLetter};

use super::MailFault;
use crate::parts::moment_text;
use crate::text::Language;

/// A letter ready to be sealed with a sender.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: String,
    pub subject: &'static str,
    pub text: String,
}

impl Letter {
    /// "Is this your address?"
    pub fn verification(to: String, public_url: &str, secret: &str) -> Self {
        let text = format!(
            "Somebody registered this address with Secure Messenger.\n\n\
             If it was you, confirm it within 24 hours:\n\n  {public_url}/verify-mail?token={secret}\n\n\
             If it was not you, ignore this letter: without the link the account stays closed.\n"
        );
        Self { to, subject: "Confirm your address", text }
    }

    /// For somebody who registers again.
    pub fn already_registered(to: String) -> Self {
        let text = "Somebody tried to register this address with Secure Messenger, but it has an account already.\n\n\
                    If it was you, log in, or ask for a new password.\n\
                    If it was not you, nothing has changed and nothing needs to be done.\n";
        Self { to, subject: "You have an account already", text: text.to_owned() }
    }

    /// A moderator's notice; whoever may answer it is given a link, in both languages.
    pub fn notice(to: String, text: String, link: Option<String>) -> Self {
        let way = link.map(|link| {
            format!(
                "\n\nIf you do not agree, answer within 180 days; another moderator looks at it.\n\
                 Si vous n'êtes pas d'accord, répondez sous 180 jours ; un autre modérateur examinera votre réponse.\n\n  \
                 {link}\n"
            )
        });
        Self { to, subject: "A notice about your account", text: text + &way.unwrap_or_default() }
    }

    /// What became of the second factors, in both languages: nobody says which one an account reads.
    pub fn factor(letter: FactorLetter) -> Self {
        let FactorLetter { email: to, change, name, at, .. } = letter;
        let key = match change {
            FactorChange::CodesAdded => "letter-factor-codes",
            FactorChange::KeyAdded => "letter-factor-key-added",
            FactorChange::KeyRemoved => "letter-factor-key-removed",
            FactorChange::Forgotten => "letter-factor-forgotten",
        };
        let text = Language::ALL.map(|language| {
            let what = language.of(key, "name", &name);
            let when = language.of("letter-factor-when", "when", &moment_text(at));
            format!("{when}\n\n  {what}\n\n{}\n", language.t("letter-factor-else"))
        });
        Self { to, subject: "Second factor changed / Second facteur modifié", text: text.join("\n") }
    }

    /// That letters come.
    pub fn trial(to: String) -> Self {
        let text = "Somebody who runs Secure Messenger sent this letter to see that letters come.\n\n\
                    Nothing needs to be done.\n";
        Self { to, subject: "Letters come", text: text.to_owned() }
    }

    /// A way back in.
    pub fn password_reset(to: String, public_url: &str, secret: &str) -> Self {
        let text = format!(
            "Somebody asked for a new password for this Secure Messenger account.\n\n\
             If it was you, choose one within 1 hour; the link works once:\n\n  \
             {public_url}/reset-password?token={secret}\n\n\
             If it was not you, ignore this letter: the old password keeps working.\n"
        );
        Self { to, subject: "Choose a new password", text }
    }

    /// The password of an account that was given a role, in both languages.
    pub fn first_password(to: String, public_url: &str, secret: &str) -> Self {
        let link = format!("{public_url}/reset-password?token={secret}");
        let text = format!(
            "Two administrators gave this Secure Messenger account a role in its console.\n\
             Choose a password for it within 1 hour; the link works once, and no earlier password works any more:\n\
             Deux administrateurs ont donné à ce compte Secure Messenger un rôle dans sa console.\n\
             Choisissez un mot de passe sous 1 heure ; le lien ne sert qu'une fois, et aucun mot de passe précédent ne \
             fonctionne plus :\n\n  {link}\n\n\
             Later, ask for a new link where you log in, or ask an administrator for another letter.\n\
             Plus tard, demandez un nouveau lien à la connexion, ou une autre lettre à un administrateur.\n"
        );
        Self { to, subject: "Choose a password / Choisissez un mot de passe", text }
    }

    /// The letter in the form that travels (RFC 5322).
    pub(super) fn seal(self, from: &Mailbox) -> Result<Message, MailFault> {
        let to: Mailbox = self.to.parse().map_err(|_| MailFault::Address)?;
        let builder: MessageBuilder = Message::builder().from(from.clone()).to(to).subject(self.subject);
        builder.header(ContentType::TEXT_PLAIN).body(self.text).map_err(|_| MailFault::Address)
    }
}
