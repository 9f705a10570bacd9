//! Around every page: who looks at it, in which language, what it may do, how it is sent. No page in here.

pub mod assets;
pub mod cookie;
pub mod fields;
pub mod guard;
pub mod render;
pub mod route;
pub mod trouble;
pub mod visit;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

pub use crate::app::Backing as Desk;

/// Headers of every answer, pages or not.
pub async fn seal(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    crate::front::headers::protect(response.headers_mut());
    response
}
