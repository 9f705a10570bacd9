//! The pages over real HTTP: who may do what, what a session is worth, what is refused.
#![allow(clippy::unwrap_used)]

mod detect;
mod live;
mod matrix;
mod support;
