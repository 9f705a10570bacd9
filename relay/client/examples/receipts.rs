//! Says how far was read, and prints how far others have: shared cursors of watched conversations.

use relay_client::{After, Client, ConversationId, Event, Events, UserId};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    run(&client, events, conversation).await
}

pub async fn run(client: &Client, mut events: Events, conversation: ConversationId) -> anyhow::Result<()> {
    client.watch(&[conversation], &[]).await?;
    let subscription = client.subscribe(conversation, After::Now).await?;
    // Durable, and shared with those who watch; it never moves back.
    client.cursor(conversation, subscription.head, true).await?;
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(d) if !d.own => {
                let (client, offset) = (client.clone(), d.position.offset);
                // Beside the loop: events have to be read while the answer is awaited.
                tokio::spawn(async move { client.cursor(conversation, offset, true).await });
            }
            Event::Cursor(c) => match UserId::from_slice(&c.user) {
                Some(user) => println!("{user} has read up to #{}", c.offset),
                None => println!("{} people have read on", c.count),
            },
            Event::Closed(_) => break,
            _ => {}
        }
    }
    Ok(())
}
