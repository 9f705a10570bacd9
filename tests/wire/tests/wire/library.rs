//! Our client library against the real binary: what it promises to programs holds through a kill.

use relay_client::{After, Bytes, Client, Event, Events, Offset, PublishRequest, Transport};
use wire_tests::{Carrier, Login, World, scenarios, within};

scenarios!(deliveries_go_on_through_a_kill_without_loss_or_doubles, ephemerals_reach_programs_that_watch);

async fn connect(world: &World, carrier: Carrier, login: Login) -> (Client, Events) {
    let transport = if carrier == Carrier::Quic { Transport::Quic } else { Transport::WebSocket };
    let client = Client::builder().relay(world.server.relay().to_string()).ca(world.server.ca());
    let connected = client.transport(transport).token(world.token(login)).connect();
    within("a session", connected).await.expect("a session")
}

/// The next event that `wanted` takes.
async fn event<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    within("an event", async {
        loop {
            if let Some(found) = wanted(events.next().await.expect("the client is open")) {
                return found;
            }
        }
    })
    .await
}

fn delivery(event: Event) -> Option<(u64, Bytes, bool)> {
    match event {
        Event::Delivery(d) => Some((d.position.offset.0, d.body, d.own)),
        Event::Gone(gone) => panic!("{gone:?}"),
        _ => None,
    }
}

async fn deliveries_go_on_through_a_kill_without_loss_or_doubles(carrier: Carrier) {
    let mut world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let (author, mut own) = connect(&world, carrier, ada).await;
    let (reader, mut events) = connect(&world, carrier, bob).await;
    author.subscribe(group, After::Start).await.expect("a member");
    reader.subscribe(group, After::Start).await.expect("a member");
    let publish = |n: u64| author.publish(group, PublishRequest::message(n.to_string()));
    for number in 1..=5 {
        assert_eq!(publish(number).await.expect("an ack").position.offset, Offset(number));
    }
    world.server.kill_and_restart_in_place();
    for number in 6..=10 {
        let ack = within("an ack after the restart", publish(number)).await.expect("an ack");
        assert_eq!(ack.position.offset, Offset(number));
    }
    for number in 1..=10u64 {
        let text = Bytes::from(number.to_string());
        assert_eq!(event(&mut events, delivery).await, (number, text.clone(), false));
        assert_eq!(event(&mut own, delivery).await, (number, text, true));
    }
    author.close().await;
    reader.close().await;
}

async fn ephemerals_reach_programs_that_watch(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let (author, _own) = connect(&world, carrier, ada).await;
    let (reader, mut events) = connect(&world, carrier, bob).await;
    reader.watch(&[group], &[]).await.expect("within the bounds");
    let typing = |event: Event| matches!(event, Event::Typing(t) if t.active).then_some(());
    wire_tests::eventually("typing", async || {
        author.typing(group, true);
        let soon = std::time::Duration::from_millis(400);
        tokio::time::timeout(soon, event(&mut events, typing)).await.ok()
    })
    .await;
    author.close().await;
}
