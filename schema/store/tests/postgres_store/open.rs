//! What the store opens, what it refuses, and when it begins a generation.

use schema_store::PostgresStore;
use schema_store::postgres::{OpenError, Options, Statements, migrate};
use servers::{Options as ServerOptions, Postgres, Tls};

#[tokio::test]
async fn it_opens_on_its_schema_and_says_what_is_wrong_otherwise() {
    let server = Postgres::start();
    let mut client = server.connect().await;
    let open = async |url: String| PostgresStore::open(&url, Options::default()).await;
    assert!(matches!(open(server.url("postgres")).await, Err(OpenError::Older { found: 0, .. })));
    migrate(&mut client).await.unwrap();
    for statements in [Statements::Named, Statements::Unnamed] {
        let store =
            PostgresStore::open(&server.url("postgres"), Options { statements, ..Options::default() }).await;
        let store = store.unwrap();
        assert_eq!(store.ready().await, Ok(()));
        assert_eq!(store.generation().await.unwrap().0, 1, "nothing was lost on a fresh database");
    }
    let elsewhere = server.url("postgres").replace("/postgres", "/nothing");
    assert!(matches!(open(elsewhere).await, Err(OpenError::NoDatabase { .. })));
    let nobody = open(server.url("postgres").replace("test@", "nobody:hunter2@")).await.unwrap_err();
    assert!(matches!(nobody, OpenError::Refused { .. }), "{nobody}");
    assert!(!nobody.to_string().contains("hunter2"));
    let closed = open("postgres://u:hunter2@127.0.0.1:1/x".to_owned()).await.unwrap_err();
    assert!(matches!(closed, OpenError::Unreachable { .. }), "{closed}");
    let private = open("postgres://u@127.0.0.1:1/x?sslmode=require&sslrootcert=/nowhere".to_owned()).await;
    assert!(matches!(private, Err(OpenError::Certificates { .. })));
    client.batch_execute("UPDATE schema_floor SET version = 99").await.unwrap();
    assert!(matches!(open(server.url("postgres")).await, Err(OpenError::Newer { .. })));
    client.batch_execute("UPDATE schema_floor SET version = 4").await.unwrap();
    client.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    assert!(matches!(open(server.url("postgres")).await, Err(OpenError::ReadOnly { .. })));
}

#[tokio::test]
async fn a_server_not_seen_before_begins_a_generation() {
    let server = Postgres::start();
    let mut client = server.connect().await;
    migrate(&mut client).await.unwrap();
    let store = PostgresStore::open(&server.url("postgres"), Options::default()).await.unwrap();
    client.batch_execute("UPDATE store_lives SET life = 'another/00000001'").await.unwrap();
    let begun = store.generation().await.unwrap();
    assert!(begun.0 > 1_700_000_000, "{begun:?}");
    assert_eq!(store.generation().await.unwrap(), begun, "once");
    client.batch_execute("DELETE FROM store_lives").await.unwrap();
    let trusting = Options { standby_is_synchronous: true, ..Options::default() };
    let store = PostgresStore::open(&server.url("postgres"), trusting).await.unwrap();
    assert_eq!(store.generation().await.unwrap(), begun, "nothing was lost, says the operator");
    assert!(store.begin_generation("restored".to_owned()).await.unwrap() > begun);
}

#[tokio::test]
async fn it_comes_in_by_tls_and_password_or_says_why_not() {
    let secret = "correct horse".replace(' ', "-");
    let options = ServerOptions { tls: Tls::Required, password: Some(secret.clone()), ..Default::default() };
    let server = Postgres::start_with(options);
    migrate(&mut server.connect().await).await.unwrap();
    let open = async |url: String| PostgresStore::open(&url, Options::default()).await;
    let trusting =
        format!("{}?sslmode=verify-full&sslrootcert={}", server.url("postgres"), server.ca().display());
    assert_eq!(open(trusting.clone()).await.unwrap().ready().await, Ok(()));
    let stranger = open(server.url("postgres") + "?sslmode=require").await.unwrap_err();
    assert!(matches!(stranger, OpenError::Tls { .. }), "an authority nobody named: {stranger}");
    let plain = open(server.url("postgres") + "?sslmode=disable").await.unwrap_err();
    assert!(matches!(plain, OpenError::Refused { .. }), "{plain}");
    let wrong = open(trusting.replace(&secret, "wrong")).await.unwrap_err();
    assert!(matches!(wrong, OpenError::Refused { .. }) && !wrong.to_string().contains("wrong-"), "{wrong}");
}
