//! The public account API: every route with its rule, and the router built from them. A route exists only here.

pub mod admission;
pub mod appeal_page;
pub mod appeals;
pub mod auth;
pub mod automation;
pub mod conversations;
pub mod devices;
pub mod docs;
pub mod export;
pub mod history;
pub mod keys;
pub mod links;
pub mod me;
pub mod members;
pub mod openapi;
pub mod pages;
pub mod register;
pub mod reports;
pub mod requests;
pub mod service;
pub mod settings;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::config::AdminSurface;
use crate::front::guard::guard;
use crate::front::observe::{no_route, observe, wrong_method};
use crate::front::rule::{Route, Rule};

/// Done, nothing to add.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DoneBody {
    /// Always true.
    pub done: bool,
}

/// The usual answer of a route that changes something.
pub fn done() -> axum::Json<DoneBody> {
    axum::Json(DoneBody { done: true })
}

/// Every route of the account API.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    let mut routes = Vec::new();
    routes.extend(service::routes());
    routes.extend(register::routes());
    routes.extend(auth::routes());
    routes.extend(links::routes());
    routes.extend(pages::routes());
    routes.extend(me::routes());
    routes.extend(export::routes());
    routes.extend(settings::routes());
    routes.extend(devices::routes());
    routes.extend(keys::routes());
    routes.extend(conversations::routes());
    routes.extend(members::routes());
    routes.extend(requests::routes());
    routes.extend(history::routes());
    routes.extend(admission::routes());
    routes.extend(docs::routes());
    routes.extend(reports::routes());
    routes.extend(appeals::routes());
    routes.extend(appeal_page::routes());
    routes
}

/// The rules of every route, for the documentation and for tests that walk them.
pub fn rules<S: Backing>() -> Vec<Rule> {
    routes::<S>().into_iter().chain(automation::routes()).map(|route| route.rule).collect()
}

/// What the API's address serves.
pub fn router<S: Backing>(app: App<S>) -> Router {
    let surfaces = app.config.surfaces;
    let mut shown = if surfaces.accounts { routes::<S>() } else { Vec::new() };
    if surfaces.admin == AdminSurface::Shared {
        shown.extend(automation::routes());
    }
    guarded(app, shown)
}

/// What the address serves that is for `/admin` alone.
pub fn admin_router<S: Backing>(app: App<S>) -> Router {
    guarded(app, automation::routes())
}

/// Each route behind the guard with its own rule, everything observed.
fn guarded<S: Backing>(app: App<S>, routes: Vec<Route<S>>) -> Router {
    let mut router = Router::new();
    for Route { rule, handler } in routes {
        let path = rule.path;
        let body_limit = DefaultBodyLimit::max(rule.body_bytes_max);
        let guarded =
            handler.layer(body_limit).layer(from_fn_with_state((app.clone(), Arc::new(rule)), guard::<S>));
        router = router.route(path, guarded);
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), observe::<S>))
        .with_state(app)
}
