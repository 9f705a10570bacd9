//! The pages: one file, one page. The table of all of them, and the router made from it.

pub mod account;
pub mod addresses;
pub mod appeal;
pub mod audit;
pub mod backups;
pub mod case;
pub mod code;
pub mod content;
pub mod decision;
pub mod enrol;
pub mod erasure;
pub mod evidence;
pub mod factor;
pub mod failure;
pub mod home;
pub mod key;
pub mod keys;
pub mod layout;
pub mod letters;
pub mod metrics;
pub mod nodes;
pub mod overview;
pub mod preferences;
pub mod proof;
pub mod queue;
pub mod registration;
pub mod role;
pub mod settings;
pub mod sign_in;
pub mod staff;
pub mod statistics;
pub mod tokens;
pub mod user;
pub mod users;
pub mod worded;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use crate::app::App;
use crate::frame::guard::{guard, lost};
use crate::frame::route::{Duty, Entry};
use crate::frame::{Desk, assets, seal};

/// Every page.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let mut entries = Vec::new();
    entries.extend(home::entries());
    entries.extend(sign_in::entries());
    entries.extend(code::entries());
    entries.extend(enrol::entries());
    entries.extend(key::entries());
    entries.extend(queue::entries());
    entries.extend(case::entries());
    entries.extend(decision::entries());
    entries.extend(appeal::entries());
    entries.extend(addresses::entries());
    entries.extend(users::entries());
    entries.extend(user::entries());
    entries.extend(erasure::entries());
    entries.extend(role::entries());
    entries.extend(registration::entries());
    entries.extend(staff::entries());
    entries.extend(statistics::entries());
    entries.extend(audit::entries());
    entries.extend(overview::entries());
    entries.extend(metrics::entries());
    entries.extend(nodes::entries());
    entries.extend(backups::entries());
    entries.extend(settings::entries());
    entries.extend(letters::entries());
    entries.extend(content::entries());
    entries.extend(tokens::entries());
    entries.extend(account::entries());
    entries.extend(keys::entries());
    entries.extend(preferences::entries());
    entries
}

/// Who may do what, for the documentation and for tests that walk it.
pub fn duties<S: Desk>() -> Vec<Duty> {
    entries::<S>().into_iter().map(|entry| entry.duty).collect()
}

/// The router: each page behind the guard with its own duty.
pub fn router<S: Desk>(app: App<S>) -> Router {
    // Leptos asks for it once per process; whoever came first has set the same one.
    let _ = any_spawner::Executor::init_tokio();
    let mut router = Router::new();
    for Entry { duty, handler } in entries::<S>() {
        let path = duty.path;
        let guarded = handler.layer(from_fn_with_state((app.clone(), Arc::new(duty)), guard::<S>));
        router = router.route(path, guarded);
    }
    router
        .route("/assets/console.css", get(assets::style))
        .route("/assets/icon.svg", get(assets::icon))
        .route("/assets/comfort.js", get(assets::script))
        .fallback(lost::<S>)
        .method_not_allowed_fallback(lost::<S>)
        .layer(from_fn(seal))
        .with_state(app)
}
