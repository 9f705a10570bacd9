//! What the console says of a running relay is what the relay measured: the live stream, the page, the files; and what is
//! ordered on a page happens.

use bytes::Bytes;
use relay_server::metrics::decode;
use schema_store::rows::role::AccountRole;
use schema_store::{Oversight, Store};
use schema_wire::Disconnect;
use schema_wire::v1::Publish;
use serde_json::Value;
use wire_tests::pages::{Events, Pages};
use wire_tests::session::publish;
use wire_tests::{After, Carrier, Incoming, Session, Settings, World, eventually, http, within};

const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
const MESSAGES: u64 = 40;

/// How many durations the next event tells of; `None` when the stream is over.
async fn told(events: &mut Events) -> Option<(usize, u64)> {
    let (name, data) = events.next().await?;
    if name != "columns" {
        assert_eq!((name.as_str(), events.next().await), ("over", None));
        return None;
    }
    let columns: Vec<Value> = serde_json::from_str(&data).expect("JSON");
    let counts = columns.iter().flat_map(|column| column["counts"].as_array().expect("counts"));
    Some((columns.len(), counts.map(|count| count.as_u64().expect("a count")).sum()))
}

/// The numbers of a row of a page.
fn row(page: &str, head: &str) -> Vec<u64> {
    let (_, rest) =
        page.split_once(&format!(">{head}</th>")).unwrap_or_else(|| panic!("no {head} in {page}"));
    let rest = &rest[..rest.find("</tr>").expect("an end")];
    let cells = rest.split("</td>").filter_map(|cell| cell.rsplit('>').next());
    cells.filter_map(|cell| cell.parse().ok()).collect()
}

#[test]
fn the_console_shows_what_the_relay_measured() {
    wire_tests::run(async {
        let world = World::start_with(Settings::default().env("RELAY_CONTROL_SECRET", SECRET)).await;
        let sre = Pages::sign_in(&world, AccountRole::Sre).await;
        let mut live = sre.events("/metrics/live?step=append").await;
        // What happens before the second look is nobody's.
        while told(&mut live).await.expect("it goes on").0 == 0 {}
        let (ada, bob) = (world.person("ada").await, world.person("bob").await);
        let group = world.group(ada, &[bob]).await;
        let mut author = Session::open(&world, Carrier::Quic, ada).await;
        let mut reader = Session::open(&world, Carrier::WebSocket, bob).await;
        reader.subscribe(group, After::Now).await;
        for n in 0..MESSAGES {
            author.publish(group, &n.to_string()).await;
        }
        reader.deliveries(MESSAGES as usize).await;
        let mut seen = 0;
        while seen < MESSAGES {
            seen += told(&mut live).await.expect("it goes on").1;
        }
        assert_eq!(seen, MESSAGES, "each message once");
        let page = sre.get("/metrics").await.body;
        let hdr = http::get(world.server.internal(), "/hdr").await.body;
        let lines = hdr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut exact = lines
            .filter(|line| line["step"] == "append")
            .map(|line| decode(line["hdr"].as_str().expect("text")).expect("a histogram"));
        let mut whole = exact.next().expect("a shard");
        exact.for_each(|shard| whole.add(shard).expect("the same bounds"));
        let mut expected = vec![whole.len()];
        expected.extend([0.5, 0.9, 0.99, 0.999, 0.9999, 1.0].map(|q| whole.value_at_quantile(q)));
        assert_eq!(row(&page, "Append (until stored)"), expected, "merged without loss");
        let turns = row(&page, "Shard 1/0");
        assert!(turns.len() == 7 && turns[0] > 0 && turns[1] <= turns[6], "{turns:?}");
        let csv = sre.get("/metrics.csv?step=append").await.body;
        let mut lines = csv.split("\r\n").map(|line| line.split(',').collect::<Vec<_>>());
        let heads = lines.next().expect("a head");
        for column in ["traffic_messages_per_s", "append_p99.99", "turns_max", "cpu_node_1", "size_log_mib"] {
            assert!(heads.contains(&column), "{column} in {heads:?}");
        }
        assert!(lines.all(|line| line.len() == heads.len() || line == [""]), "{csv}");
        let log = sre.get("/metrics.hlog?series=turns").await.body;
        assert!(log.contains("\nTag=turn,") && log.contains("\nTag=turn-1-0,") && !log.contains("append"));
        let nodes = sre.get("/nodes").await.body;
        assert!(
            nodes.contains("Everybody takes what is sent to them") && nodes.contains("396 days"),
            "{nodes}"
        );
        // Whoever loses the role hears nothing more.
        world.sql("UPDATE users SET role = 'USER' WHERE id = ?1", [sre.user.0]);
        while told(&mut live).await.is_some() {}
    });
}

#[test]
fn a_slow_consumer_is_shown_and_disconnected() {
    wire_tests::run(async {
        let settings =
            Settings::default().env("MESSAGE_LIMIT_MAX", 100_000).env("RELAY_CONTROL_SECRET", SECRET);
        let world = World::start_with(settings).await;
        let sre = Pages::sign_in(&world, AccountRole::Sre).await;
        let (ada, bob) = (world.person("ada").await, world.person("bob").await);
        let group = world.group(ada, &[bob]).await;
        let mut author = Session::open(&world, Carrier::Quic, ada).await;
        let mut reader = Session::open(&world, Carrier::WebSocket, bob).await;
        reader.subscribe(group, After::Now).await;
        reader.link.pause(true);
        let body = Bytes::from(vec![b'x'; 60_000]);
        let name = bob.user.to_string();
        let mut page = String::new();
        for _ in 0..40 {
            for _ in 0..6 {
                author.publish_as(Publish { body: body.clone(), ..publish(group, "") }).await;
            }
            page = sre.get("/nodes").await.body;
            if page.contains(&name) {
                break;
            }
        }
        let (before, _) = page.split_once("/close\"").unwrap_or_else(|| panic!("nobody is slow in {page}"));
        let path = format!("{}/close", &before[before.rfind('"').expect("an attribute") + 1..]);
        assert!(page.contains("websocket") || page.contains("WebSocket"), "{page}");
        assert_eq!(sre.post("/nodes", &path, "user=nobody").await.status, 404);
        assert_eq!(sre.post("/nodes", &path, &format!("user={name}")).await.status, 303);
        reader.link.pause(false);
        let closed = loop {
            if let Incoming::Closed { code, .. } = within("the end", reader.link.next()).await {
                break code;
            }
        };
        assert_eq!(closed, Some(Disconnect::SlowReader.code()));
        let trail = world.store.find_audit(Default::default(), None, 9).await.expect("the trail");
        let order =
            trail.iter().find(|row| row.event == "CONNECTION_CLOSE_ORDERED").expect("it is in the trail");
        assert_eq!((order.subject, order.actor), (Some(bob.user), Some(sre.user)));
        eventually("nobody to be slow any more", async || {
            sre.get("/nodes").await.body.contains("Everybody takes").then_some(())
        })
        .await;
        assert_eq!(world.store.check().await, Ok(()));
    });
}

#[test]
fn streams_end_with_the_product() {
    wire_tests::run(async {
        let mut world = World::start_with(Settings::default().env("RELAY_DRAIN_DEADLINE", 1)).await;
        let auditor = Pages::sign_in(&world, AccountRole::Auditor).await;
        let mut live = auditor.events("/metrics/live").await;
        assert!(told(&mut live).await.is_some());
        world.server.terminate();
        while live.next().await.is_some() {}
        assert!(world.server.wait().success());
    });
}
