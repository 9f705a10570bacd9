//! Publishes three messages at once and waits for their acks; the client sends them again if the connection is lost.

use relay_client::{Client, ConversationId, Events, PublishRequest};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    run(&client, events, conversation).await?;
    client.close().await;
    Ok(())
}

pub async fn run(client: &Client, events: Events, conversation: ConversationId) -> anyhow::Result<()> {
    // Who only publishes needs no events: without a reader they are discarded.
    drop(events);
    let mut under_way = Vec::new();
    for text in ["one", "two", "three"] {
        under_way.push(client.enqueue(conversation, PublishRequest::message(text)).await?);
    }
    for publishing in under_way {
        let ack = publishing.await?;
        println!("durable at offset {}", ack.position.offset.0);
    }
    Ok(())
}
