//! How a client is set up before it connects.

use std::path::PathBuf;
use std::sync::Arc;

use schema_wire::{Encoding, Position};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::address::Address;
use crate::client::{Client, Events};
use crate::connect::Connector;
use crate::core::Identity;
use crate::driver::{Driver, Standing};
use crate::error::ConnectError;
use crate::limits;
use crate::tls::Roots;
use crate::token::{StaticToken, TokenSource};

/// What carries the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// QUIC, or WebSocket when UDP gets no answer.
    #[default]
    Auto,
    Quic,
    WebSocket,
}

/// Settings of a client. An address and a token source are needed.
#[derive(Default)]
pub struct Builder {
    relay: String,
    transport: Transport,
    encoding: Encoding,
    roots: Roots,
    tokens: Option<Arc<dyn TokenSource>>,
    identity: Identity,
    in_flight: Option<usize>,
}

impl Builder {
    /// `wss://host:port/ws`, `quic://host:port` or `host:port`.
    pub fn relay(mut self, address: impl Into<String>) -> Self {
        self.relay = address.into();
        self
    }

    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Encoding over WebSocket; QUIC always uses protobuf.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Trust the certificates of this PEM file instead of the operating system's.
    pub fn ca(mut self, pem: impl Into<PathBuf>) -> Self {
        self.roots = Roots::Pem(pem.into());
        self
    }

    pub fn token_source(mut self, tokens: impl TokenSource) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// One access token, never renewed.
    pub fn token(self, token: impl Into<String>) -> Self {
        self.token_source(StaticToken(token.into()))
    }

    /// Last user event the program has; without it only later ones come.
    pub fn user_position(mut self, position: Position) -> Self {
        self.identity.user_position = Some(position);
        self
    }

    /// Optional features to ask for.
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = String>) -> Self {
        self.identity.capabilities = capabilities.into_iter().collect();
        self
    }

    /// Free text for support, cut to 64 bytes.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        let agent = agent.into();
        self.identity.agent = agent[..agent.floor_char_boundary(limits::AGENT_BYTES)].to_owned();
        self
    }

    /// Publishes under way at once (at most 32, which is also the default). 1 keeps their order strictly, also
    /// through rate limits.
    pub fn in_flight(mut self, publishes: usize) -> Self {
        self.in_flight = Some(publishes.clamp(1, limits::IN_FLIGHT));
        self
    }

    /// Starts, and waits for the first session. An attempt that fails is an error here; later ones are repeated.
    pub async fn connect(self) -> Result<(Client, Events), ConnectError> {
        let (client, events) = self.start()?;
        client.ready().await?;
        Ok((client, events))
    }

    /// Starts without waiting: connects and reconnects in the background, from the first attempt on.
    pub fn start(mut self) -> Result<(Client, Events), ConnectError> {
        let config = |what: &str| ConnectError::Config(what.to_owned());
        let address: Address = self.relay.parse().map_err(|e| ConnectError::Config(format!("{e}")))?;
        let tokens = self.tokens.take().ok_or_else(|| config("no token source was given"))?;
        self.roots.certificates()?;
        let connector = Connector {
            address,
            transport: self.transport,
            encoding: self.encoding,
            roots: self.roots,
            tokens,
        };
        let (commands, taken) = mpsc::channel(limits::COMMANDS);
        let (told, events) = mpsc::channel(limits::EVENTS);
        let (standing, seen) = watch::channel(Standing::Connecting);
        let window = Arc::new(Semaphore::new(self.in_flight.unwrap_or(limits::IN_FLIGHT)));
        let driver = Driver::new(connector, self.identity, taken, told, standing);
        tokio::spawn(driver.run());
        Ok((Client::new(commands, window, seen), Events::new(events)))
    }
}
