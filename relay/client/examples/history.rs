//! Reads a conversation backwards in pages, newest first, without following it.

use relay_client::{Client, ConversationId, Item, Offset, PageRequest};

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
    // Any offset beyond the newest means "from the newest".
    let mut from = Offset(u64::MAX >> 1);
    loop {
        let page = client.recover(conversation, PageRequest { from, limit: 50, backwards: true }).await?;
        for item in &page.items {
            match item {
                Item::Delivery(d) => {
                    println!("#{}: {}", d.position.offset.0, String::from_utf8_lossy(&d.body))
                }
                Item::Gone(g) => println!("#{}–#{}: {:?}", g.from.0, g.to.0, g.reason),
            }
        }
        match page.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}
