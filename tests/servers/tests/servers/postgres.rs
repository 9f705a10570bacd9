//! PostgreSQL: its lives, its standbys, its rules, its disk, its pooler.

use servers::{Bouncer, Options, Postgres, Proxy, Stop, Sync, Tls};

const MARKS: &str = "SELECT count(*) FROM mark";

fn marked(server: &Postgres) {
    server.sql("CREATE TABLE mark (n int); INSERT INTO mark VALUES (1)");
}

#[test]
fn it_comes_back_with_what_was_committed() {
    let mut server = Postgres::start_with(Options { fsync: true, ..Options::default() });
    marked(&server);
    let port = server.address().port();
    assert!(server.stop(Stop::Fast).success());
    assert!(!server.runs());
    server.start_again();
    server.kill();
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "nobody is left of the family");
    server.start_again();
    server.stop(Stop::Immediate);
    server.start_again();
    assert_eq!((server.sql(MARKS).as_str(), server.address().port()), ("1", port));
    server.pause();
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.sql(MARKS));
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!asking.is_finished(), "it hangs");
        server.resume();
        asking.join().unwrap()
    });
    assert_eq!(asked, "1");
}

#[test]
fn each_server_is_another_one() {
    let identifier = "SELECT system_identifier FROM pg_control_system()";
    let mut servers = [Postgres::start(), Postgres::start()];
    let before = servers.each_ref().map(|server| server.sql(identifier));
    assert_ne!(before[0], before[1]);
    // And its log agrees, which a start reads.
    let after = servers.each_mut().map(|server| {
        server.kill();
        server.start_again();
        server.sql(identifier)
    });
    assert_eq!(after, before);
}

#[test]
fn no_segment_stays_whatever_the_server_died_of() {
    let mut server = Postgres::start();
    let first = server.segment();
    assert!(first.is_there());
    server.kill();
    assert!(first.is_there(), "a kill leaves it, for the next start to find");
    server.start_again();
    let second = server.segment();
    first.remove();
    second.remove();
    assert!(second.is_there(), "it is in use");
    drop(server);
    assert!(!first.is_there() && !second.is_there());
}

#[test]
fn a_synchronous_standby_has_what_was_acknowledged() {
    let mut primary = Postgres::start();
    marked(&primary);
    let standby = primary.standby(Sync::Synchronous, None);
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    primary.sql("INSERT INTO mark VALUES (2)");
    primary.kill();
    standby.promote();
    standby.sql("INSERT INTO mark VALUES (3)");
    assert_eq!(standby.sql(MARKS), "3");
}

#[test]
fn an_asynchronous_standby_may_lose_it() {
    let mut primary = Postgres::start();
    marked(&primary);
    let proxy = Proxy::to(primary.address());
    let standby = primary.standby(Sync::Asynchronous, Some(proxy.address()));
    standby.until(MARKS, "1");
    proxy.stall();
    primary.sql("INSERT INTO mark VALUES (2)");
    primary.kill();
    standby.promote();
    assert_eq!(standby.sql(MARKS), "1");
}

#[tokio::test]
async fn passwords_and_tls_are_asked_for() {
    let options = Options { tls: Tls::Required, password: Some("correct".into()), ..Options::default() };
    let server = Postgres::start_with(options);
    let error = tokio_postgres::connect(&server.url("postgres"), tokio_postgres::NoTls).await.err().unwrap();
    let said = error.as_db_error().unwrap().message().to_owned();
    assert!(said.contains("no encryption"), "{said}");
    assert!(std::fs::read_to_string(server.ca()).unwrap().contains("BEGIN CERTIFICATE"));
    let server = Postgres::start_with(Options { password: Some("correct".into()), ..Options::default() });
    assert!(tokio_postgres::connect(&server.url("postgres"), tokio_postgres::NoTls).await.is_ok());
    let wrong = server.url("postgres").replace("correct", "wrong");
    assert!(tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.is_err());
}

#[test]
fn a_small_disk_is_full_and_has_room_again() {
    let options = Options { disk_mib: Some(96), ..Options::default() }.set("max_wal_size", "32MB");
    let mut server = Postgres::start_with(options);
    server.sql("CREATE TABLE big (t text)");
    server.disk().fill(256);
    let more = "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 20000)";
    assert_eq!(server.try_sql(more), None);
    server.disk().clear();
    if server.try_sql("SELECT 1").is_none() {
        // Without room for its log it leaves; its files are still there.
        server.kill();
        server.start_again();
    }
    server.until("SELECT count(*) FROM big", "0");
    assert!(server.try_sql(more).is_some());
}

#[tokio::test]
async fn a_pooler_lends_connections_by_transaction() {
    let server = Postgres::start();
    let url = server.database("pooled");
    let bouncer = Bouncer::before(&server);
    let (client, connection) =
        tokio_postgres::connect(&bouncer.url("pooled"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.simple_query("SELECT current_database()").await.unwrap();
    assert!(format!("{rows:?}").contains("pooled"), "{rows:?}");
    assert!(url.ends_with("/pooled"));
    assert_eq!(server.connect_to("pooled").await.query("SELECT 1", &[]).await.unwrap().len(), 1);
}
