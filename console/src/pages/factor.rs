//! Second factors at their use: a code of an authenticator, or a security key that answers a challenge. What is wrong counts
//! like a wrong password, and locks the account out like one.

use schema_store::AccountError;
use schema_store::rows::console::{ChallengePurpose, KeyUse, SecondFactor};
use schema_wire::UserId;
use sha2::{Digest, Sha256};

use crate::access::seal::is_plain;
use crate::access::totp::matching_step;
use crate::access::webauthn::{Assertion, Known};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::span;

/// What an account has set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Factors {
    pub codes: bool,
    pub keys: bool,
}

impl Factors {
    /// Of this account.
    pub async fn of<S: Desk>(app: &App<S>, user: UserId) -> Result<Self, Trouble> {
        let codes = app.store.second_factor(user).await?.is_some();
        Ok(Self { codes, keys: !app.store.security_keys(user).await?.is_empty() })
    }

    /// Whether there is one at all.
    pub fn any(self) -> bool {
        self.codes || self.keys
    }

    /// Whether a form that asks for them can be sent without a key.
    pub fn can_be_typed(self) -> bool {
        self.codes || !self.keys
    }
}

/// What somebody shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// As it was typed.
    Code(&'a str),
    /// The same, of an authenticator that is being set up.
    FirstCode(&'a str),
    /// What a key answered, as JSON.
    Key(&'a str),
}

/// What became of it.
pub enum Checked {
    /// Whose failures are to be forgotten.
    Right([u8; 32]),
    /// What to say about it.
    Wrong(String),
}

/// Uses a code or a challenge up, or counts a failure.
pub async fn check<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    shown: Shown<'_>,
) -> Result<Checked, Trouble> {
    let subject = lock_subject(&app.store.profile(viewer.user).await?.email);
    let until = app.store.locked_until(subject).await?;
    if until > 0 {
        return Ok(Checked::Wrong(locked(visit, until)));
    }
    let (is_right, reason, say) = match shown {
        Shown::Code(code) => (uses_code(app, viewer, code).await?, "wrong code", "code-wrong"),
        Shown::FirstCode(code) => (confirms(app, visit, viewer, code).await?, "wrong code", "code-wrong"),
        Shown::Key(answer) => {
            (uses_key(app, visit, viewer, answer).await?, "wrong security key", "key-wrong")
        }
    };
    if is_right {
        return Ok(Checked::Right(subject));
    }
    let until = app.store.count_failure(subject, Some(viewer.user), reason, visit.by.clone()).await?;
    Ok(Checked::Wrong(if until > 0 { locked(visit, until) } else { visit.t(say) }))
}

/// What failures are counted by.
pub fn lock_subject(email: &str) -> [u8; 32] {
    Sha256::digest(email.trim().to_lowercase().as_bytes()).into()
}

/// That it is too early to try again.
pub fn locked(visit: &Visit, until: u64) -> String {
    let wait = span(visit.language, until.saturating_sub(visit.now_ms));
    visit.language.of("sign-in-locked", "wait", &wait)
}

async fn uses_code<S: Desk>(app: &App<S>, viewer: &Viewer, code: &str) -> Result<bool, Trouble> {
    let Some(factor) = app.store.second_factor(viewer.user).await? else { return Ok(false) };
    let secret = unsealed(app, viewer.user, &factor).await?;
    let Some(step) = matching_step(&secret, code, app.clock.now_s()) else { return Ok(false) };
    Ok(app.store.use_second_factor(viewer.user, step).await?)
}

/// Whether it is a code of the secret that this session was shown, and no other one was faster. The secret is the
/// account's then.
async fn confirms<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    code: &str,
) -> Result<bool, Trouble> {
    let Viewer { user, session, .. } = *viewer;
    let Some(sealed) = app.store.shown_second_factor(user, session).await? else { return Ok(false) };
    let secret = app.seal.open(user, &sealed).ok_or_else(sealed_elsewhere)?;
    let Some(step) = matching_step(&secret, code, app.clock.now_s()) else { return Ok(false) };
    match app.store.confirm_second_factor(user, session, (sealed, step), visit.by.clone()).await {
        Ok(()) => Ok(true),
        Err(AccountError::Overtaken) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

async fn uses_key<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    answer: &str,
) -> Result<bool, Trouble> {
    // Whatever comes of it, the challenge is used up.
    let challenge = app.store.take_challenge(viewer.session, ChallengePurpose::Prove).await?;
    let (Some(challenge), Ok(party)) = (challenge, &app.party) else { return Ok(false) };
    let Ok(answer) = serde_json::from_str::<Assertion>(answer) else { return Ok(false) };
    let keys = app.store.security_keys(viewer.user).await?;
    let Some(key) = keys.into_iter().find(|key| key.credential == answer.credential.0) else {
        return Ok(false);
    };
    let known = Known { public_key: &key.public_key, backup_eligible: key.backup_eligible };
    match party.verify(&answer, known, &challenge) {
        Ok(said) => {
            let used = KeyUse { sign_count: said.sign_count, backup_eligible: said.backup_eligible };
            Ok(app.store.use_security_key(viewer.user, key.id, used, visit.by.clone()).await?)
        }
        Err(mismatch) => {
            tracing::debug!(%mismatch, "a security key was refused");
            Ok(false)
        }
    }
}

/// The secret of a second factor. One that an earlier version kept as it is gets sealed.
pub async fn unsealed<S: Desk>(
    app: &App<S>,
    user: UserId,
    factor: &SecondFactor,
) -> Result<Vec<u8>, Trouble> {
    if is_plain(&factor.secret) {
        let sealed = app.seal.seal(user, &factor.secret);
        app.store.rewrite_second_factor(user, factor.secret.clone(), sealed).await?;
        return Ok(factor.secret.clone());
    }
    app.seal.open(user, &factor.secret).ok_or_else(sealed_elsewhere)
}

/// What can't be opened here.
pub fn sealed_elsewhere() -> Trouble {
    tracing::error!(
        "a second factor was sealed with another key; give every console the same CONSOLE_SEAL_KEY_FILE"
    );
    Trouble::Unavailable
}
