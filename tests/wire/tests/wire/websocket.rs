//! What only WebSocket has: the upgrade, its refusals, the JSON subprotocol, RFC 6455's close codes.

use futures_util::SinkExt;
use relay_server::transport::tls::ensure_local_certificate;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{Disconnect, Refused};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use wire_tests::link::websocket;
use wire_tests::session::closed_with;
use wire_tests::{After, Carrier, Link, Session, Settings, World, eventually, http, within};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn json_and_proto_clients_talk_to_each_other() {
    wire_tests::run(async {
        let world = World::start().await;
        let (ada, bob) = (world.person("ada").await, world.person("bob").await);
        let group = world.group(ada, &[bob]).await;
        let mut json = Session::open(&world, Carrier::Json, ada).await;
        let mut proto = Session::open(&world, Carrier::WebSocket, bob).await;
        json.subscribe(group, After::Start).await;
        proto.subscribe(group, After::Start).await;
        json.publish(group, "in JSON").await;
        assert_eq!(proto.deliveries(1).await, [(1, "in JSON".to_owned())]);
        proto.publish(group, "in protobuf").await;
        assert_eq!(json.deliveries(1).await, [(2, "in protobuf".to_owned())]);
        let recover = Recover { conversation: group.to_bytes(), from: 1, ..Default::default() };
        assert!(matches!(json.ask(recover).await, Body::HistoryPage(page) if page.items.len() == 2));
    });
}

#[test]
fn a_new_certificate_serves_new_connections_and_leaves_the_old_ones_alone() {
    wire_tests::run(async {
        let world = World::start().await;
        let (ada, bob) = (world.person("ada").await, world.person("bob").await);
        let group = world.group(ada, &[bob]).await;
        let mut old = Session::open(&world, Carrier::WebSocket, ada).await;
        let mut quic = Session::open(&world, Carrier::Quic, bob).await;
        quic.subscribe(group, After::Start).await;
        let first = certificate(&world).await;
        let folder = world.server.data().join("certificates");
        let now_s = (wire_tests::people::now_ms() / 1000) as i64;
        ensure_local_certificate(&folder, &["second.example".to_owned()], now_s).expect("a second leaf");
        eventually("the new certificate", async || other(&world, &first).await).await;
        old.publish(group, "over the old certificate").await;
        assert_eq!(quic.deliveries(1).await, [(1, "over the old certificate".to_owned())]);
        let mut new = Session::open(&world, Carrier::WebSocket, ada).await;
        new.publish(group, "over the new one").await;
        assert_eq!(quic.deliveries(1).await.len(), 1);
    });
}

#[test]
fn behind_a_proxy_the_address_it_names_counts() {
    wire_tests::run(async {
        let world = World::start_with(Settings::default().env("PROXY_NETWORKS", "127.0.0.0/8")).await;
        let ada = world.person("ada").await;
        world.sql("INSERT INTO banned_ips (ip_address, reason) VALUES ('203.0.113.9', 'test')", []);
        // By the look at Hello, or by the ban itself when it arrives just then.
        let banned = [Refused::Banned.code(), u32::from(Disconnect::Banned.code())];
        for (client, refused) in [([203, 0, 113, 9], Some(true)), ([203, 0, 113, 8], None)] {
            let stream = websocket::connect_for(&world.server, client.into()).await;
            let link = websocket::upgrade(&world.server, stream, Carrier::WebSocket, &[]).await;
            let hello = Hello { versions: vec![1], token: world.token(ada), ..Default::default() };
            let greeted = Session::greet(link, hello).await;
            assert_eq!(greeted.err().map(|(code, _)| banned.contains(&code)), refused, "{client:?}");
        }
        let mut bare = TcpStream::connect(world.server.relay()).await.expect("the relay listens");
        bare.write_all(b"\x16\x03\x01 no PROXY header before TLS").await.expect("it is sent");
        let mut answer = [0; 16];
        let read = within("the cut", bare.read(&mut answer)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "a proxy's connection without a header gets no answer");
    });
}

/// What the server shows to a fresh connection.
async fn certificate(world: &World) -> Vec<u8> {
    let stream = websocket::connect(&world.server).await;
    let shown = stream.get_ref().1.peer_certificates().expect("a server shows its certificate");
    shown[0].to_vec()
}

async fn other(world: &World, first: &[u8]) -> Option<()> {
    (certificate(world).await != first).then_some(())
}

#[test]
fn wrong_upgrades_are_refused_with_the_documented_status() {
    wire_tests::run(async {
        let settings = Settings::default().env("ALLOWED_ORIGINS", "https://app.example");
        let world = World::start_with(settings).await;
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
        let long = "x".repeat(20_000);
        let cases = [
            (400, format!("GET /ws HTTP/1.1\r\n{upgrade}\r\n{KEY}")),
            (400, format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\nSec-WebSocket-Key: short")),
            (
                400,
                format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{KEY}\r\nSec-WebSocket-Protocol: chat"),
            ),
            (400, "nonsense".to_owned()),
            (
                403,
                format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{KEY}\r\nOrigin: https://evil.example"),
            ),
            (404, format!("GET /other HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{KEY}")),
            (405, format!("POST /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{KEY}")),
            (426, "GET /ws HTTP/1.1\r\nHost: a".to_owned()),
            (426, format!("GET /ws HTTP/1.1\r\nHost: a\r\n{}\r\n{KEY}", upgrade.replace("13", "8"))),
            (431, format!("GET /ws HTTP/1.1\r\nHost: a\r\nX: {long}\r\n{upgrade}\r\n{KEY}")),
            (505, format!("GET /ws HTTP/1.0\r\nHost: a\r\n{upgrade}\r\n{KEY}")),
            (
                101,
                format!("GET /ws HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n{KEY}\r\nOrigin: https://app.example"),
            ),
        ];
        for (status, request) in cases {
            let mut stream = websocket::connect(&world.server).await;
            // It may be refused before all of it is read.
            let _ = stream.write_all(format!("{request}\r\n\r\n").as_bytes()).await;
            let mut answer = vec![0; 4096];
            let read = within("an answer", stream.read(&mut answer)).await.expect("an answer");
            let said = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{status} for {request:.60}: {said}");
        }
    });
}

#[test]
fn a_bearer_of_the_upgrade_stands_for_the_token() {
    wire_tests::run(async {
        let world = World::start().await;
        let ada = world.person("ada").await;
        let bearer = format!("Bearer {}", world.token(ada));
        let link =
            websocket::open_with(&world.server, Carrier::WebSocket, &[("Authorization", &bearer)]).await;
        let hello = Hello { versions: vec![1], ..Default::default() };
        let session = Session::greet(link, hello).await.ok().expect("Welcome");
        assert_eq!(session.welcome.user, ada.user.to_bytes());
    });
}

#[test]
fn a_handshake_without_end_is_cut_at_its_deadline() {
    wire_tests::run(async {
        let world = World::start_with(Settings::default().env("RELAY_HANDSHAKE_DEADLINE", 1)).await;
        let mut slow = websocket::connect(&world.server).await;
        slow.write_all(b"GET /ws HTTP/1.1\r\n").await.expect("it reads");
        let mut answer = Vec::new();
        let _ = within("the deadline", slow.read_to_end(&mut answer)).await;
        assert_eq!(http::parse(&answer).status, 408);
        let mut silent = tokio::net::TcpStream::connect(world.server.relay()).await.expect("it listens");
        let mut nothing = Vec::new();
        let _ = within("the deadline", silent.read_to_end(&mut nothing)).await;
        let mut mute = Link::open(&world.server, Carrier::WebSocket).await;
        assert_eq!(closed_with(&mut mute).await, (Some(4003), "HANDSHAKE_TIMEOUT".to_owned()));
    });
}

#[test]
fn violations_of_rfc_6455_end_with_its_codes() {
    wire_tests::run(async {
        let world = World::start().await;
        let ada = world.person("ada").await;
        let mut text = Session::open(&world, Carrier::WebSocket, ada).await;
        let _ = text.link.websocket().send(Message::Text("{}".into())).await;
        assert_eq!(closed_with(&mut text.link).await.0, Some(1003));
        let mut binary = Session::open(&world, Carrier::Json, ada).await;
        let _ = binary.link.websocket().send(Message::Binary(vec![1].into())).await;
        assert_eq!(closed_with(&mut binary.link).await.0, Some(1003));
        // Unmasked, a reserved bit, a reserved opcode, a fragmented control frame, a continuation of nothing.
        let masked = |head: [u8; 2]| [&head[..], &[0; 4]].concat();
        for bytes in [
            vec![0x82, 0x01, 0x00],
            masked([0xc2, 0x80]),
            masked([0x83, 0x80]),
            masked([0x09, 0x80]),
            masked([0x80, 0x80]),
        ] {
            assert_eq!(raw_close(&world, &bytes).await, Some(1002), "{bytes:?}");
        }
        let bad_utf8 = [&[0x81, 0x81][..], &[0; 4], &[0xff]].concat();
        assert_eq!(raw_close_as(&world, "relay.v1.json", &bad_utf8).await, Some(1007));
    });
}

async fn raw_close(world: &World, bytes: &[u8]) -> Option<u16> {
    raw_close_as(world, "relay.v1.proto", bytes).await
}

/// The close code after raw bytes on an upgraded connection.
async fn raw_close_as(world: &World, subprotocol: &str, bytes: &[u8]) -> Option<u16> {
    let mut stream = websocket::connect(&world.server).await;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    match answer.get(end..)? {
        [0x88, _, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}
