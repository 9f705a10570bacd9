//! Once more: who is signed in shows password and second factor again before what weighs. Failures count like those of
//! signing in.

use leptos::prelude::*;

use super::factor::{Checked, Factors, Shown, check, lock_subject, locked};
use super::key::{Act, Part, Party};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::Field;
use crate::parts::form::{Typed, Wrong};

/// The part of a form that asks for it. `label` is on the button for whoever shows a key; `None`: another button asks
/// for the key as well.
pub fn part(visit: &Visit, factors: Factors, party: &Party, typed: &Typed, label: Option<String>) -> AnyView {
    let code = factors.codes.then(|| code_field(visit, typed));
    let key = factors.keys.then(|| {
        let act = label.map_or(Act::ProveFirst, Act::Prove);
        Part { party, act, challenge: "/account/challenge", error: typed.error("key") }.draw(visit)
    });
    view! {
        {typed.secret(visit, "password", "erasure-password", "current-password").draw()}
        {code}
        {key}
    }
    .into_any()
}

/// The field for a code.
pub fn code_field(visit: &Visit, typed: &Typed) -> AnyView {
    let line = typed.line(visit, "code", "code", 7);
    Field { value: "", fills: "one-time-code", hint: visit.t("code-hint"), ..line }.draw()
}

/// What is wrong with the password, the code or the key, if anything.
pub async fn doubted<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    fields: &Fields,
) -> Result<Option<Wrong>, Trouble> {
    let email = app.store.profile(viewer.user).await?.email;
    let subject = lock_subject(&email);
    let until = app.store.locked_until(subject).await?;
    if until > 0 {
        return Ok(Some(("password", locked(visit, until))));
    }
    let kept = app.store.login_record(email).await?.map(|record| record.password_hash);
    if !app.hasher.verify(fields.raw("password").to_owned(), kept).await? {
        app.store.count_failure(subject, Some(viewer.user), "wrong password", visit.by.clone()).await?;
        return Ok(Some(("password", visit.t("erasure-password-wrong"))));
    }
    let factors = Factors::of(app, viewer.user).await?;
    let (name, shown) = match (fields.raw("key"), factors) {
        (_, Factors { codes: false, keys: false }) => return Ok(None),
        ("", Factors { codes: true, .. }) => ("code", Shown::Code(fields.text("code"))),
        (answer, _) => ("key", Shown::Key(answer)),
    };
    match check(app, visit, viewer, shown).await? {
        Checked::Right(_) => Ok(None),
        Checked::Wrong(why) => Ok(Some((name, why))),
    }
}
