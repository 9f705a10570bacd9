//! Publishes a message that ends by itself and one that is deleted for everyone, and shows what is left of both.

use std::time::Duration;

use relay_client::{Client, ConversationId, Item, PageRequest, PublishRequest};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    drop(events);
    run(&client, conversation).await?;
    client.close().await;
    Ok(())
}

pub async fn run(client: &Client, conversation: ConversationId) -> anyhow::Result<()> {
    let short = PublishRequest::message("burn this").expires_in(Duration::from_secs(1));
    let expiring = client.publish(conversation, short).await?.position.offset;
    let regretted = client.publish(conversation, PublishRequest::message("oops")).await?.position.offset;
    // The deletion is a message itself, so that everybody learns of it in order.
    let deletion = client.delete(conversation, regretted).await?.position.offset;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let page = PageRequest { from: expiring, limit: 50, backwards: false };
    for item in client.recover(conversation, page).await?.items {
        match item {
            Item::Gone(g) => println!("#{}–#{}: {:?}", g.from.0, g.to.0, g.reason),
            Item::Delivery(d) if d.position.offset == deletion => {
                println!("#{} deletes #{}", deletion.0, d.relates_to.unwrap_or_default().0);
            }
            Item::Delivery(d) => println!("#{}: {}", d.position.offset.0, String::from_utf8_lossy(&d.body)),
        }
    }
    Ok(())
}
