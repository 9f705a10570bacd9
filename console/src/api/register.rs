//! Becoming a user. Where a letter can tell the rest, the answer is the same whether the address is known or not.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use schema_store::AccountError;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::account::{Activation, AuditEntry, Origin, audit_event};
use schema_store::token::{NewToken, TokenHash};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::password::check_password;
use crate::app::{App, Backing};
use crate::config::Registration;
use crate::front::body::{Body, check_email, check_name};
use crate::front::guard::By;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public};
use crate::mail::{Errand, VERIFICATION_TTL_MS};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(
            Method::POST,
            "/api/v1/auth/register",
            "Register an account, as far as the operator allows it.",
        )
        .guessing()
        .takes::<RegisterBody>()
        .gives::<RegisteredBody>()
        .status(202)
        .refuses(&[
            Code::RegistrationClosed,
            Code::InviteInvalid,
            Code::EmailTaken,
            Code::Invalid,
            Code::WeakPassword,
        ])
        .to(register::<S>),
    ]
}

/// Who wants an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterBody {
    pub email: String,
    /// Shown to others.
    pub name: String,
    /// 10 characters or more.
    pub password: String,
    /// Needed where registration is by invitation.
    #[serde(default)]
    pub invite: Option<String>,
}

/// What happens next.
#[derive(Serialize, ToSchema)]
pub struct RegisteredBody {
    /// `active`: log in. `verify_mail`: follow the link in the letter. `approval`: wait for the operator.
    pub next: &'static str,
}

async fn register<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Body(body): Body<RegisterBody>,
) -> Result<(StatusCode, Json<RegisteredBody>), Problem> {
    let mode = app.in_force.held().registration;
    if mode == Registration::Closed {
        return Err(Code::RegistrationClosed.into());
    }
    check_email(&body.email)?;
    check_name("name", &body.name, NAME_BYTES_MAX)?;
    check_password(&body.password, body.email.trim())?;
    let invite = match (mode, &body.invite) {
        (Registration::Invite, None) => return Err(Code::InviteInvalid.into()),
        (_, invite) => invite.as_deref().map(TokenHash::of),
    };
    let (activation, secret) = activation(&app, invite.is_some(), mode);
    let password_hash = app.hasher.hash(body.password).await?;
    // The spelling that is kept is the one that gets the letter.
    let email = body.email.trim().to_lowercase();
    let registered = app
        .store
        .register(
            schema_store::rows::account::Registration {
                email: email.clone(),
                name: body.name.trim().to_owned(),
                password_hash,
                invite,
                activation,
            },
            origin.clone(),
        )
        .await;
    match (registered, activation) {
        (Err(AccountError::TokenInvalid), _) => Err(Code::InviteInvalid.into()),
        // An invitation is proof enough to be told; everybody else learns it by letter or not at all.
        (Err(AccountError::EmailTaken), Activation::Immediate) => Err(Code::EmailTaken.into()),
        (Err(AccountError::EmailTaken), activation) => {
            note_again(&app, email, origin, activation).await?;
            Ok(accepted(activation))
        }
        (Err(other), _) => Err(other.into()),
        (Ok(_), activation) => {
            if let Some(secret) = secret {
                leave(&app, Errand::Verification { email, secret });
            }
            Ok(accepted(activation))
        }
    }
}

fn activation<S>(app: &App<S>, invited: bool, mode: Registration) -> (Activation, Option<String>) {
    match mode {
        _ if invited => (Activation::Immediate, None),
        Registration::Open { verify: true } => {
            let (secret, token) = NewToken::generate(app.clock.now_ms() + VERIFICATION_TTL_MS);
            (Activation::Mail(token), Some(secret))
        }
        Registration::Open { verify: false } => (Activation::Immediate, None),
        Registration::Closed | Registration::Invite | Registration::Approval => (Activation::Approval, None),
    }
}

/// Writes one audit entry, so that a known address costs a commit as an unknown one does.
async fn note_again<S: Backing>(
    app: &App<S>,
    email: String,
    origin: Origin,
    activation: Activation,
) -> Result<(), Problem> {
    let detail = "registered again with a known address".to_owned();
    let entry = AuditEntry { event: audit_event::SUSPICIOUS_ACTIVITY, subject: None, detail };
    app.store.audit(entry, origin).await?;
    if matches!(activation, Activation::Mail(_)) {
        leave(app, Errand::RegisteredAgain { email });
    }
    Ok(())
}

fn leave<S>(app: &App<S>, errand: Errand) {
    if !app.post.leave(errand) {
        tracing::warn!("too many letters are waiting; one was not written");
    }
}

fn accepted(activation: Activation) -> (StatusCode, Json<RegisteredBody>) {
    let next = match activation {
        Activation::Immediate => "active",
        Activation::Approval => "approval",
        Activation::Mail(_) => "verify_mail",
    };
    (StatusCode::ACCEPTED, Json(RegisteredBody { next }))
}
