//! Keeps the position in a file, so that the next run goes on where this one stopped. Ends after a quiet second.

use std::time::Duration;

use relay_client::{After, Client, ConversationId, Event, Events, Generation, Offset, Position};

#[path = "setup/mod.rs"]
mod setup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (client, events, conversation) = setup::connect().await?;
    let file = std::env::temp_dir().join(format!("position-{conversation}"));
    run(&client, events, conversation, &file).await?;
    client.close().await;
    Ok(())
}

pub async fn run(
    client: &Client,
    mut events: Events,
    conversation: ConversationId,
    file: &std::path::Path,
) -> anyhow::Result<()> {
    let after = read(file).map_or(After::Start, After::Position);
    client.subscribe(conversation, after).await?;
    // A program that runs on would not time out: after a lost connection the client resumes by itself.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        let position = match event {
            Event::Delivery(d) => {
                println!("#{}: {}", d.position.offset.0, String::from_utf8_lossy(&d.body));
                d.position
            }
            Event::Gone(g) => Position { generation: g.generation, offset: g.to },
            // What the file says beyond the head did not survive: go on from there.
            Event::Rewound { generation, head, .. } => Position { generation, offset: head },
            _ => continue,
        };
        std::fs::write(file, format!("{} {}", position.generation.0, position.offset.0))?;
    }
    Ok(())
}

fn read(file: &std::path::Path) -> Option<Position> {
    let text = std::fs::read_to_string(file).ok()?;
    let (generation, offset) = text.split_once(' ')?;
    Some(Position { generation: Generation(generation.parse().ok()?), offset: Offset(offset.parse().ok()?) })
}
