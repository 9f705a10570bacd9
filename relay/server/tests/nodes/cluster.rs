//! A Redis Cluster between the relays: each conversation's channel is on one of three primaries.

use servers::Cluster;

use crate::town::Town;

const TALKS: usize = 9;

#[tokio::test(flavor = "multi_thread")]
async fn conversations_cross_on_every_primary_and_outlive_the_loss_of_one() {
    let mut cluster = Cluster::start();
    let url = cluster.urls().swap_remove(0);
    let mut town = Town::new();
    let alice = town.person("alice").await;
    let bobs = [0; TALKS];
    let mut others = Vec::new();
    for n in 0..bobs.len() {
        let bob = town.person(&format!("bob{n}")).await;
        others.push((bob, town.talk(alice, bob).await));
    }
    let (first, second) = (town.relay(&url), town.relay(&url));
    for relay in [&first, &second] {
        relay.until("relay_bus_connections", |links| links == 3).await;
        relay.until("relay_bus_sound", |sound| sound == 1).await;
    }
    let here = first.connect(alice).await;
    let mut theirs = Vec::new();
    for (bob, talk) in &others {
        let mut there = second.connect(*bob).await;
        here.follow(*talk).await;
        there.follow(*talk).await;
        there.until_signal(&here, *talk).await;
        theirs.push(there);
    }
    cluster.nodes[2].kill();
    for relay in [&first, &second] {
        relay.until("relay_bus_sound", |sound| sound == 0).await;
    }
    for (there, (_, talk)) in theirs.iter_mut().zip(&others) {
        let offset = here.say(*talk, "one primary is gone").await;
        there.hear(*talk, offset).await;
    }
    cluster.nodes[2].start_again();
    cluster.until_whole();
    for relay in [&first, &second] {
        relay.until("relay_bus_sound", |sound| sound == 1).await;
    }
    for (there, (_, talk)) in theirs.iter_mut().zip(&others) {
        there.until_signal(&here, *talk).await;
    }
}
