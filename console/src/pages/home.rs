//! The way in: everybody is led to the room they work in.

use axum::response::Response;

use crate::frame::Desk;
use crate::frame::render::go;
use crate::frame::route::{Entry, PEOPLE_READERS, STAFF, Who, read};
use crate::frame::visit::Visit;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![read("/", Who::Roles(STAFF), "home.read").to(home)]
}

async fn home(visit: Visit) -> Response {
    let to = if visit.is_one_of(PEOPLE_READERS) { "/moderation" } else { "/overview" };
    go(visit.jar, to, visit.said.as_deref())
}
