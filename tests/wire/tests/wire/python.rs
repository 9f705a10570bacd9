//! Clients in another language, written from wire.md alone, register, talk, resume and are refused.

use wire_tests::{Settings, World, python};

/// Registration that tests can use, and no limit on how often.
fn open() -> Settings {
    let open =
        Settings::default().arg("--demo").env("REGISTRATION", "open").env("REGISTRATION_VERIFY", "none");
    open.env("RATE_LIMIT_AUTH_MAX", 1000).env("RATE_LIMIT_MAX", 1000)
}

#[test]
fn websocket_client() {
    wire_tests::run(async {
        let world = World::start_with(open()).await;
        python::run("ws_client.py", &world.server, &[]);
    });
}

#[test]
fn quic_client() {
    wire_tests::run(async {
        let world = World::start_with(open()).await;
        python::run("quic_client.py", &world.server, &[]);
    });
}
