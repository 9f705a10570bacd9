//! The internal listener's sockets: a place for each connection, and a deadline for each part of an exchange, so that a
//! peer that does not send or does not read gives its place up to those who ask whether the node lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::control::Order;
use super::{Exchange, Inbound, Request};

#[cfg(test)]
mod tests;

/// How long a connection may take for what it does.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a whole head, from the moment the connection opened or the answer before it was sent.
    pub head: Duration,
    /// For an answer to be made and taken in whole.
    pub answer: Duration,
}

impl Default for Patience {
    /// 30 s for a head, which is also how long a connection may say nothing between two requests; 10 s for an answer.
    fn default() -> Self {
        Self { head: Duration::from_secs(30), answer: Duration::from_secs(10) }
    }
}

/// Who knows the answers.
pub trait Answers: Clone + Send + Sync + 'static {
    /// A new connection's exchange.
    fn exchange(&self) -> Exchange;

    /// The whole response to a request.
    fn answer(&self, request: Request) -> impl Future<Output = Vec<u8>> + Send;

    /// Does as an order says; the whole response.
    fn obey(&self, order: Order, keeps_open: bool) -> impl Future<Output = Vec<u8>> + Send;
}

/// Takes connections for ever, `places` of them at once.
pub async fn accept(listener: TcpListener, places: usize, patience: Patience, answers: impl Answers) {
    let places = Arc::new(Semaphore::new(places));
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    // A scraper that went away, or was sent away, is no event.
                    let _ = serve(stream, patience, &answers).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the internal listener cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, patience: Patience, answers: &impl Answers) -> std::io::Result<()> {
    let mut exchange = answers.exchange();
    let mut buffer = [0u8; 4096];
    let mut read = 0;
    let mut head_by = Instant::now() + patience.head;
    loop {
        let inbound = exchange.push(&buffer[..read]);
        if inbound == Inbound::NeedMore {
            read = timeout_at(head_by, stream.read(&mut buffer)).await??;
            if read == 0 {
                return Ok(());
            }
            continue;
        }
        let keeps_open = timeout(patience.answer, reply(&mut stream, inbound, answers)).await??;
        if !keeps_open {
            return stream.shutdown().await;
        }
        head_by = Instant::now() + patience.head;
        read = 0;
    }
}

/// Answers; whether the connection stays open.
async fn reply(stream: &mut TcpStream, inbound: Inbound, answers: &impl Answers) -> std::io::Result<bool> {
    let (response, keeps_open) = match inbound {
        Inbound::NeedMore => return Ok(true),
        Inbound::Request(request) => (answers.answer(request).await, request.keeps_open),
        Inbound::Order { order, keeps_open } => (answers.obey(order, keeps_open).await, keeps_open),
        Inbound::Refused { response, keeps_open } => (response, keeps_open),
    };
    stream.write_all(&response).await?;
    Ok(keeps_open)
}
