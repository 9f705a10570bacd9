//! Shows oneself online and typing, and prints what others show: ephemeral events of the watch list.

use relay_client::v1::PresenceState;
use relay_client::{Client, ConversationId, Event, Events, UserId};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    let others: Vec<UserId> = std::env::args().skip(1).filter_map(|id| UserId::parse(&id)).collect();
    run(&client, events, conversation, &others).await
}

pub async fn run(
    client: &Client,
    mut events: Events,
    conversation: ConversationId,
    others: &[UserId],
) -> anyhow::Result<()> {
    client.watch(&[conversation], others).await?;
    client.presence(PresenceState::PRESENCE_STATE_ONLINE).await?;
    client.typing(conversation, true);
    while let Some(event) = events.next().await {
        match event {
            Event::Typing(t) => match UserId::from_slice(&t.user) {
                Some(user) => println!("{user} {}", if t.active { "types" } else { "stopped typing" }),
                None => println!("{} people type", t.count),
            },
            Event::Presence(p) => {
                let user = UserId::from_slice(&p.user).unwrap_or_default();
                println!("{user} is {:?}", p.state.as_known().unwrap_or_default());
            }
            Event::Closed(_) => break,
            _ => {}
        }
    }
    Ok(())
}
