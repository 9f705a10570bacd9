//! One connection attempt: which transport, when to fall back, within which deadline.

use std::sync::Arc;

use schema_wire::Encoding;
use tokio::time::timeout;

use crate::address::Address;
use crate::builder::Transport;
use crate::error::ConnectError;
use crate::limits;
use crate::link::{Link, quic, websocket};
use crate::tls::Roots;
use crate::token::{TokenNeed, TokenSource};

/// How to get a link and a token.
#[derive(Clone)]
pub(crate) struct Connector {
    pub address: Address,
    pub transport: Transport,
    pub encoding: Encoding,
    pub roots: Roots,
    pub tokens: Arc<dyn TokenSource>,
}

/// A link that stands, and the token to greet with.
pub(crate) struct Reached {
    pub link: Link,
    pub token: String,
}

impl Connector {
    /// One attempt. The token is fetched first: a link without Hello would only be cut.
    pub(crate) async fn attempt(self, need: TokenNeed) -> Result<Reached, ConnectError> {
        let token = self.tokens.token(need).await?;
        let link = match self.transport {
            Transport::Quic => self.quic(limits::CONNECT).await?,
            Transport::WebSocket => self.websocket().await?,
            Transport::Auto => match self.quic(limits::QUIC_TRIAL).await {
                Ok(link) => link,
                Err(ConnectError::Link(_) | ConnectError::Timeout(..)) => self.websocket().await?,
                Err(e) => return Err(e),
            },
        };
        Ok(Reached { link, token })
    }

    async fn quic(&self, within: std::time::Duration) -> Result<Link, ConnectError> {
        let link = timeout(within, quic::connect(&self.address, &self.roots)).await;
        link.unwrap_or(Err(ConnectError::Timeout(within, "QUIC handshake")))
    }

    async fn websocket(&self) -> Result<Link, ConnectError> {
        let link =
            timeout(limits::CONNECT, websocket::connect(&self.address, &self.roots, self.encoding)).await;
        link.unwrap_or(Err(ConnectError::Timeout(limits::CONNECT, "WebSocket handshake")))
    }
}
