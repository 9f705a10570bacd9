//! Prints the user's own stream from its beginning: what happened to the account on any device, by one offset.

use std::time::Duration;

use relay_client::v1::user_event::Event as Entry;
use relay_client::{Event, Events, Position};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // A program keeps the last position it has; the default stands before the first entry.
    let (client, events) = setup::builder().await?.user_position(Position::default()).connect().await?;
    run(events).await;
    client.close().await;
    Ok(())
}

pub async fn run(mut events: Events) {
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(2), events.next()).await {
        let Event::UserEvent(event) = event else { continue };
        let what = match &event.event {
            Some(Entry::AddedTo(_)) => "added to a conversation",
            Some(Entry::RemovedFrom(_)) => "removed from a conversation",
            Some(Entry::RoleChanged(_)) => "a role changed",
            Some(Entry::CursorMoved(_)) => "read on another device",
            Some(Entry::DeviceChanged(_)) => "a device came or went",
            Some(Entry::KeysChanged(_)) => "keys changed",
            Some(_) => "something else",
            None => "something a later version knows",
        };
        println!("{}: {what}", event.offset);
    }
}
