//! The queue between requests and letters. What an errand does depends on whether the account exists, so it happens
//! behind the answer: nobody can tell by time or content of the answer who has an account.

use std::sync::Arc;
use std::time::Duration;

use schema_store::Accounts;
use schema_store::rows::account::Origin;
use schema_store::token::NewToken;
use schema_wire::UserId;
use schema_wire::record::UserStatus;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::letter::Letter;
use super::sink::{MailFault, MailSink};
use crate::clock::Clock;

/// Errands that may wait; more are refused.
const ERRANDS_MAX: usize = 256;
/// How long a letter may take, all its commands together.
pub const LETTER_WITHIN: Duration = Duration::from_secs(60);
/// Life of a reset link in milliseconds.
pub const RESET_TTL_MS: u64 = 60 * 60 * 1000;
/// Life of a verification link in milliseconds.
pub const VERIFICATION_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// Something to be written to somebody.
pub enum Errand {
    /// A new account: here is its link.
    Verification { email: String, secret: String },
    /// The address was registered before: a new link if it still waits for one, a word of warning otherwise.
    RegisteredAgain { email: String },
    /// An account has a role now, and chooses its password with this link.
    FirstPassword { user: UserId, secret: String },
    /// A reset link, if there is such an account.
    PasswordReset { email: String, by: Origin },
}

/// What became of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    Sent,
    /// It can't be sent now: to be tried again.
    Later,
    /// Refused for good, or so the server says: it may mean this letter, or refuse everybody for good at present.
    Refused,
    /// Nobody will ever take it.
    Never,
}

/// Where requests leave errands.
#[derive(Clone)]
pub struct Post {
    errands: Option<mpsc::Sender<Errand>>,
}

impl Post {
    /// Whether letters can be sent at all.
    pub fn is_open(&self) -> bool {
        self.errands.is_some()
    }

    /// Leaves an errand; false when there is no mail or too much waits.
    pub fn leave(&self, errand: Errand) -> bool {
        self.errands.as_ref().is_some_and(|errands| errands.try_send(errand).is_ok())
    }
}

/// Runs the errands, one after the other.
pub struct Postman<S> {
    pub store: S,
    pub clock: Clock,
    pub public_url: String,
}

/// Sends one letter now, beside what waits in the queue.
pub async fn deliver(sink: &dyn MailSink, letter: Letter) -> Delivery {
    let late = Err(MailFault::Unreached);
    let Err(fault) = tokio::time::timeout(LETTER_WITHIN, sink.send(letter)).await.unwrap_or(late) else {
        return Delivery::Sent;
    };
    tracing::warn!(%fault, "a letter was not sent");
    match fault {
        MailFault::Address | MailFault::Recipient { .. } => Delivery::Never,
        MailFault::Refused { .. } => Delivery::Refused,
        MailFault::Folder(_) | MailFault::Unreached | MailFault::Settings => Delivery::Later,
    }
}

impl<S: Accounts> Postman<S> {
    /// Starts working through a new queue; the task ends when the last `Post` is dropped and nothing waits any more.
    pub fn start(self, sink: Option<Arc<dyn MailSink>>) -> (Post, JoinHandle<()>) {
        let Some(sink) = sink else { return (Post { errands: None }, tokio::spawn(async {})) };
        let (errands, mut waiting) = mpsc::channel(ERRANDS_MAX);
        let working = tokio::spawn(async move {
            while let Some(errand) = waiting.recv().await {
                let Some(letter) = self.write(errand).await else { continue };
                deliver(&*sink, letter).await;
            }
        });
        (Post { errands: Some(errands) }, working)
    }

    async fn write(&self, errand: Errand) -> Option<Letter> {
        match errand {
            Errand::Verification { email, secret } => {
                Some(Letter::verification(email, &self.public_url, &secret))
            }
            Errand::RegisteredAgain { email } => self.registered_again(email).await,
            // To the address that is kept.
            Errand::FirstPassword { user, secret } => {
                let profile = self.store.profile(user).await.ok()?;
                Some(Letter::first_password(profile.email, &self.public_url, &secret))
            }
            Errand::PasswordReset { email, by } => self.password_reset(email, by).await,
        }
    }

    async fn registered_again(&self, email: String) -> Option<Letter> {
        let profile = self.store.find_user(email).await.ok()?;
        if profile.status != UserStatus::Pending || profile.email_verified {
            return Some(Letter::already_registered(profile.email));
        }
        let (secret, token) = NewToken::generate(self.clock.now_ms() + VERIFICATION_TTL_MS);
        match self.store.renew_verification(profile.user, token).await {
            Ok(()) => Some(Letter::verification(profile.email, &self.public_url, &secret)),
            Err(fault) => {
                tracing::warn!(%fault, "a verification link was not renewed");
                None
            }
        }
    }

    async fn password_reset(&self, email: String, by: Origin) -> Option<Letter> {
        let (secret, token) = NewToken::generate(self.clock.now_ms() + RESET_TTL_MS);
        match self.store.request_reset(email, token, by).await {
            // The letter goes to the address that is kept, never to the spelling somebody typed.
            Ok(Some(user)) => {
                let profile = self.store.profile(user).await.ok()?;
                Some(Letter::password_reset(profile.email, &self.public_url, &secret))
            }
            Ok(None) => None,
            Err(fault) => {
                tracing::warn!(%fault, "a reset link was not stored");
                None
            }
        }
    }
}
