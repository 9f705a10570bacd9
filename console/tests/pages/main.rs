//! The pages over real HTTP: who may do what, what a session is worth, what is refused.
#![allow(clippy::unwrap_used)]

mod above;
mod bad_input;
mod caseload;
mod detect;
mod fields;
mod full;
mod keys;
mod live;
mod matrix;
mod owed;
mod roles;
mod sessions;
mod settings;
mod support;
