//! Security keys on pages: the part of a form that talks to one, and the challenges it asks for. Without JavaScript, or
//! where no browser would use a key, it says so.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::header};
use leptos::prelude::*;
use schema_store::rows::console::{ChallengePurpose, Stage};
use serde::Serialize;

use crate::access::webauthn::{ALGORITHMS, NoParty, RelyingParty, Text64, new_challenge};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::route::{Entry, STAFF, Who, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;

/// For which site keys are, or why for none.
pub type Party = Result<RelyingParty, NoParty>;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let halfway = |stage| Who::Halfway(stage);
    vec![
        send("/sign-in/challenge", halfway(Stage::SecondFactor), "session.confirm").to(challenge::<S>),
        send("/sign-in/enrol/challenge", halfway(Stage::Enrol), "factor.add").to(challenge::<S>),
        send("/account/challenge", Who::Roles(STAFF), "factor.add").to(challenge::<S>),
    ]
}

/// What the script asks the browser for.
#[derive(Serialize)]
struct Asked {
    challenge: Text64,
    party: String,
    /// Credentials of this account.
    known: Vec<Text64>,
    user: Text64,
    email: String,
    name: String,
    algorithms: [i64; 3],
}

async fn challenge<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = visit.viewer.clone().ok_or(Trouble::SignIn)?;
    let purpose = ChallengePurpose::parse(fields.raw("purpose")).ok_or(Trouble::Malformed)?;
    let party = app.party.as_ref().map_err(|_| Trouble::NotFound)?;
    let challenge = new_challenge();
    app.store.begin_challenge(viewer.session, purpose, challenge).await?;
    let keys = app.store.security_keys(viewer.user).await?;
    let asked = Asked {
        challenge: Text64(challenge.to_vec()),
        party: party.id.clone(),
        known: keys.into_iter().map(|key| Text64(key.credential)).collect(),
        user: Text64(viewer.user.0.to_vec()),
        email: app.store.profile(viewer.user).await?.email,
        name: viewer.name,
        algorithms: ALGORITHMS,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(asked)).into_response())
}

/// What a key is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Show that it is there; on the button.
    Prove(String),
    /// The same, when the button that adds another one is pressed and no code was typed.
    ProveFirst,
    /// Make a credential; on the button.
    Add(String),
}

/// The part of a form that talks to a key.
pub struct Part<'a> {
    pub party: &'a Party,
    pub act: Act,
    /// Where its challenges come from.
    pub challenge: &'static str,
    /// Empty: nothing is wrong.
    pub error: String,
}

impl Part<'_> {
    /// Draws it.
    pub fn draw(self, visit: &Visit) -> AnyView {
        let Self { party, act, challenge, error } = self;
        let error = (!error.is_empty()).then(|| view! { <p class="error" role="alert">{error}</p> });
        let origin = match party {
            Ok(party) => party.origin.clone(),
            Err(why) => {
                let key = if *why == NoParty::Plain { "key-no-tls" } else { "key-no-name" };
                return view! { <p class="hint">{visit.t(key)}</p> }.into_any();
            }
        };
        let (name, purpose, label) = match act {
            Act::Prove(label) => ("key", ChallengePurpose::Prove, Some(label)),
            Act::ProveFirst => ("key", ChallengePurpose::Prove, None),
            Act::Add(label) => ("made", ChallengePurpose::Add, Some(label)),
        };
        let elsewhere = visit.language.of("key-elsewhere", "origin", &origin);
        let touch = visit.t(if purpose == ChallengePurpose::Add { "key-touch-new" } else { "key-touch" });
        let button =
            label.map(|label| view! { <button type="button" class="main" hidden="">{label}</button> });
        view! {
            <div class="field" data-key-part=purpose.name() data-challenge=challenge data-origin=origin
                data-touch=touch data-elsewhere=elsewhere data-unable=visit.t("key-unable") data-failed=visit.t("key-failed")>
                <input type="hidden" name=name value=""/>
                <noscript><p class="hint">{visit.t("key-no-script")}</p></noscript>
                {error}
                <p class="hint" role="status"></p>
                {button}
            </div>
        }
        .into_any()
    }
}
