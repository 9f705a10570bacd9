//! The relay's client library (tokio): one session over QUIC or TLS WebSocket that survives lost connections.
//! Decides what to send, in which order deliveries reach the program, and when to come back. Runs in client programs.
//!
//! - A publish is kept under its random key and sent again after each reconnect until it is acked or definitely
//!   refused; the relay answers a repeated key with the first offset.
//! - Deliveries of a conversation come out of [`Events`] once each, in order and without holes; the session's own
//!   messages take their place among them.
//! - The program has to read [`Events`] while it waits for answers: a full event queue stops the reading of the
//!   connection, so that nothing grows. Dropping [`Events`] discards them instead.

mod address;
mod backoff;
mod builder;
mod client;
mod connect;
mod core;
mod driver;
mod error;
mod event;
mod link;
mod request;
mod tls;
mod token;

pub mod account;
pub mod limits;

pub use address::Address;
pub use builder::{Builder, Transport};
pub use client::{Client, Events, Publishing};
pub use error::{ConnectError, Error, Refusal};
pub use event::{Delivery, Event, Gone, Item, Linked, Why};
pub use request::{Ack, After, Page, PageRequest, PublishRequest, Subscription};
pub use token::{StaticToken, TokenError, TokenFuture, TokenNeed, TokenSource};

pub use bytes::Bytes;
pub use schema_wire::{
    ConversationId, DeviceId, Disconnect, Encoding, Generation, Offset, Position, PublishKey, Refused,
    UserId, publication::kind, v1,
};
