//! Follows a conversation from now on and prints what comes, each message once and in order.

use relay_client::{After, Client, ConversationId, Event, Events};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    run(&client, events, conversation).await
}

pub async fn run(client: &Client, mut events: Events, conversation: ConversationId) -> anyhow::Result<()> {
    let subscription = client.subscribe(conversation, After::Now).await?;
    println!("following after offset {}", subscription.head.0);
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(d) => {
                println!("#{} {}: {}", d.position.offset.0, d.sender, String::from_utf8_lossy(&d.body));
            }
            Event::Gone(g) => println!("#{}–#{} are gone", g.from.0, g.to.0),
            Event::Reconnecting { delay, why, .. } => println!("{why}; again in {delay:?}"),
            Event::Unsubscribed { .. } | Event::Closed(_) => break,
            _ => {}
        }
    }
    Ok(())
}
