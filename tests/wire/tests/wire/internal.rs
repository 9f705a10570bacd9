//! What only the operator sees, and what nobody may see in it.

use schema_wire::Disconnect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire_tests::link::websocket;
use wire_tests::{After, Carrier, Session, Settings, World, http, within};

#[test]
fn the_public_port_knows_no_internal_paths() {
    wire_tests::run(async {
        let world = World::start().await;
        for path in ["/health", "/ready", "/metrics", "/hdr", "/", "/ws/", "/api/v1/me"] {
            let mut stream = websocket::connect(&world.server).await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("it reads");
            let mut answer = Vec::new();
            // The end of TLS may come without goodbye.
            let _ = within("an answer", stream.read_to_end(&mut answer)).await;
            assert_eq!(http::parse(&answer).status, 404, "{path}");
        }
        for path in ["/metrics", "/hdr"] {
            assert_eq!(http::get(world.server.api(), path).await.status, 404, "{path} on the account API");
        }
        for (path, part) in [("/health", ""), ("/ready", ""), ("/metrics", "# TYPE"), ("/hdr", "")] {
            let answer = http::get(world.server.internal(), path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(answer.body.contains(part));
        }
        assert_eq!(http::get(world.server.internal(), "/nothing").await.status, 404);
    });
}

const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";

#[test]
fn orders_are_carried_out_for_who_knows_the_secret() {
    wire_tests::run(async {
        let mut world = World::start_with(Settings::default().env("RELAY_CONTROL_SECRET", SECRET)).await;
        let at = world.server.internal();
        let (ada, bob) = (world.person("ada").await, world.person("bob").await);
        let order = async |path: String, secret| http::request(at, "POST", &path, secret, None).await.status;
        let mut kept = Session::open(&world, Carrier::Quic, bob).await;
        for (path, told) in [
            (format!("/control/disconnect?user={}", ada.user), Disconnect::Kicked),
            (format!("/control/revoke?user={}&device={}", ada.user, ada.device), Disconnect::DeviceRevoked),
        ] {
            let mut session = Session::open(&world, Carrier::WebSocket, ada).await;
            assert_eq!(order(path.clone(), None).await, 401);
            assert_eq!(order(path.clone(), Some("guess")).await, 401);
            assert_eq!(order(path.clone(), Some(SECRET)).await, 202);
            assert_eq!(session.closed().await, Some(told));
        }
        assert_eq!(order("/control/look".into(), Some(SECRET)).await, 202);
        assert_eq!(order("/control/disconnect".into(), Some(SECRET)).await, 400);
        assert_eq!(order("/control/drain".into(), Some(SECRET)).await, 202);
        assert_eq!(kept.closed().await, Some(Disconnect::Draining), "others were left alone until then");
        assert!(world.server.wait().success());
    });
}

#[test]
fn without_a_secret_nobody_gives_orders() {
    wire_tests::run(async {
        let world = World::start().await;
        let answer =
            http::request(world.server.internal(), "POST", "/control/drain", Some(SECRET), None).await;
        assert_eq!(answer.status, 404);
    });
}

#[test]
fn figures_and_log_name_nobody() {
    wire_tests::run(async {
        let world = World::start_with(Settings::default().env("LOG_LEVEL", "info")).await;
        let (ada, bob) = (world.person("ada.lovelace").await, world.person("bob").await);
        let group = world.group(ada, &[bob]).await;
        for carrier in [Carrier::Quic, Carrier::WebSocket] {
            let mut author = Session::open(&world, carrier, ada).await;
            let mut reader = Session::open(&world, carrier, bob).await;
            reader.subscribe(group, After::Now).await;
            author.publish(group, "a secret of ours").await;
            reader.delivery().await;
            let metrics = http::get(world.server.internal(), "/metrics").await.body;
            let active = metrics.lines().find_map(|l| l.strip_prefix("websocket_connections_active "));
            let sent = metrics.lines().find_map(|l| l.strip_prefix("messages_sent_total "));
            if carrier == Carrier::WebSocket {
                assert_eq!(active, Some("2"));
            }
            assert!(sent.is_some_and(|n| n != "0"), "{sent:?}");
            let parts = [
                "messages_encrypted_total",
                "process_",
                "step=\"append\"",
                "relay_turn_duration_seconds_count{shard=\"0\"}",
            ];
            for part in parts {
                assert!(metrics.contains(part), "{part} in {metrics}");
            }
        }
        let ends = metrics_value(&world, "relay_certificate_expiry_timestamp_seconds").await;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        assert!(ends > now.as_secs_f64(), "the certificate in use is valid: {ends}");
        let api = world.server.api();
        let login = serde_json::json!({"email": "ada.lovelace.1@wire.example", "password": "wrong password", "device": "x"});
        http::request(api, "POST", "/api/v1/auth/login", None, Some(&login)).await;
        let metrics = http::get(world.server.internal(), "/metrics").await.body;
        let hdr = http::get(world.server.internal(), "/hdr").await.body;
        let ids = [ada.user.to_string(), ada.device.to_string(), group.to_string()];
        for (name, text) in [("metrics", &metrics), ("hdr", &hdr)] {
            assert_names_nobody(name, text, &ids);
        }
        assert_names_nobody("log", &world.server.log(), &ids[..1]);
    });
}

async fn metrics_value(world: &World, name: &str) -> f64 {
    let metrics = http::get(world.server.internal(), "/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

/// No mail address, no client's IP address, no person's id, no body, no secret.
fn assert_names_nobody(name: &str, text: &str, ids: &[String]) {
    let lines = text.lines().filter(|l| !l.contains("listening") && !l.contains("version="));
    for line in lines {
        let lower = line.to_lowercase();
        for word in ["@", "lovelace", "secret of ours", "wrong password", "bearer ", "eyj"] {
            assert!(!lower.contains(word), "{name} says {word:?}: {line}");
        }
        for id in ids {
            assert!(!lower.contains(id), "{name} names {id}: {line}");
        }
        let address = lower
            .split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .any(|w| w.split('.').count() == 4 && w.parse::<std::net::Ipv4Addr>().is_ok());
        assert!(!address, "{name} has an address: {line}");
    }
}
