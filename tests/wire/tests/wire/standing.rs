//! What ends a session from outside: tokens that run out, operators, other devices.

use schema_store::accounts::Accounts;
use schema_store::rows::account::Origin;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{Disconnect, Refused};
use serde_json::json;
use std::time::{Duration, Instant};
use wire_tests::people::now_ms;
use wire_tests::{Carrier, Link, Login, Session, Settings, World, eventually, http, scenarios};

scenarios!(
    a_token_is_refreshed_in_band,
    a_session_ends_with_its_token,
    suspended_banned_and_erased_users_are_cut_within_a_second,
    a_revoked_device_is_cut_within_a_second,
    logging_out_through_the_api_cuts_the_session,
    a_banned_block_is_cut_and_kept_out,
);

async fn greeted_for(world: &World, carrier: Carrier, login: Login, seconds: i64) -> Session {
    let hello = Hello { versions: vec![1], token: world.token_for(login, seconds), ..Default::default() };
    Session::greet(Link::open(&world.server, carrier).await, hello).await.ok().expect("Welcome")
}

async fn a_token_is_refreshed_in_band(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let mut session = greeted_for(&world, carrier, ada, 60).await;
    let refresh = |token| Refresh { token, ..Default::default() };
    match session.ask(refresh(world.token_for(ada, 3600))).await {
        Body::Refreshed(r) => assert!(r.token_expires_at > now_ms() / 1000 + 3000),
        other => panic!("instead of Refreshed: {other:?}"),
    }
    assert_eq!(session.refused(refresh("garbage".into())).await.0, Refused::TokenInvalid);
    assert_eq!(session.refused(refresh(world.token(bob))).await.0, Refused::TokenInvalid);
    assert_eq!(session.refused(refresh(world.token_for(ada, -60))).await.0, Refused::TokenExpired);
    assert!(matches!(session.ask(Ping::default()).await, Body::Pong(_)), "the session stands");
}

async fn a_session_ends_with_its_token(carrier: Carrier) {
    let world = World::start_with(Settings::default().env("JWT_LEEWAY", 0)).await;
    let ada = world.person("ada").await;
    let mut session = greeted_for(&world, carrier, ada, 2).await;
    assert_eq!(session.closed().await, Some(Disconnect::TokenExpired));
    let expires_at = session.welcome.token_expires_at;
    assert!((expires_at..=expires_at + 2).contains(&(now_ms() / 1000)));
}

async fn suspended_banned_and_erased_users_are_cut_within_a_second(carrier: Carrier) {
    let world = World::start().await;
    for (status, disconnect, refused) in [
        ("SUSPENDED", Disconnect::Suspended, Refused::Suspended),
        ("BANNED", Disconnect::Banned, Refused::Banned),
    ] {
        let person = world.person("somebody").await;
        let mut session = Session::open(&world, carrier, person).await;
        let until = (status == "SUSPENDED").then(|| now_ms() as i64 + 3_600_000);
        let statement = "UPDATE users SET status = ?2, suspended_until = ?3 WHERE id = ?1";
        world.sql(statement, (person.user.0.to_vec(), status, until));
        assert_cut(&mut session, disconnect).await;
        let hello = Hello { versions: vec![1], token: world.token(person), ..Default::default() };
        let again = Session::greet(Link::open(&world.server, carrier).await, hello).await;
        let (code, mut link) = again.err().expect("a refusal");
        assert_eq!(code, refused.code());
        assert_eq!(wire_tests::session::closed(&mut link).await, Some(disconnect));
    }
    let person = world.person("somebody").await;
    let mut session = Session::open(&world, carrier, person).await;
    world.store.erase_account(person.user, "asked".into(), Origin::system()).await.expect("an account");
    assert_cut(&mut session, Disconnect::AccountGone).await;
}

async fn assert_cut(session: &mut Session, with: Disconnect) {
    let since = Instant::now();
    assert_eq!(session.closed().await, Some(with));
    assert!(since.elapsed() < Duration::from_secs(1), "cut after {:?}", since.elapsed());
}

async fn a_revoked_device_is_cut_within_a_second(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let phone = world.device(ada.user).await;
    let (mut kept, mut lost) =
        (Session::open(&world, carrier, ada).await, Session::open(&world, carrier, phone).await);
    let path = format!("/api/v1/devices/{}", phone.device);
    let revoked = http::request(world.server.api(), "DELETE", &path, Some(&world.token(ada)), None).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_cut(&mut lost, Disconnect::DeviceRevoked).await;
    assert!(matches!(kept.ask(Ping::default()).await, Body::Pong(_)), "the other device stays");
}

async fn logging_out_through_the_api_cuts_the_session(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    let token = world.token(ada);
    let out =
        http::request(world.server.api(), "POST", "/api/v1/auth/logout", Some(&token), Some(&json!({})))
            .await;
    assert_eq!(out.status, 200, "{out:?}");
    assert_cut(&mut session, Disconnect::DeviceRevoked).await;
    let me = http::request(world.server.api(), "GET", "/api/v1/me", Some(&token), None).await;
    assert_eq!(me.status, 401, "{me:?}");
}

async fn a_banned_block_is_cut_and_kept_out(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    world.sql("INSERT INTO banned_ips (ip_address, reason) VALUES ('127.0.0.0/8', 'test')", []);
    assert_cut(&mut session, Disconnect::Banned).await;
    let reaches = async || Link::reaches(&world.server, carrier).await;
    eventually("nobody there to be let in", async || (!reaches().await).then_some(())).await;
    // Nothing tells of bans that are lifted: they are read again after a while.
    if carrier == Carrier::WebSocket {
        world.sql("DELETE FROM banned_ips", []);
        eventually("everybody to be let in again", async || reaches().await.then_some(())).await;
    }
}
