//! The program itself: it serves from the server that DATABASE_URL names, or says in one line why it can't.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use schema_store::postgres::migrate;
use servers::{Options, Postgres};

use crate::killed::program;
use crate::support::fresh_folder;

fn refused(url: &str) -> (Option<i32>, String) {
    let data = fresh_folder();
    let Output { status, stderr, .. } = program(url, &data).output().unwrap();
    std::fs::remove_dir_all(data).unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn it_serves_from_the_server_it_is_told() {
    let server = Postgres::start();
    migrate(&mut server.connect().await).await.unwrap();
    let data = fresh_folder();
    let mut command = program(&server.url("postgres"), &data);
    let mut child = command.env("DATABASE_POOLER", "none").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).find(|line| line.contains("the account API is ready")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let url = format!("http://{}/ready", ready["fields"]["at"].as_str().unwrap());
    assert_eq!(ureq::get(&url).call().unwrap().status(), 200);
    assert!(server.sql("SELECT count(*) FROM audit_logs WHERE event_type = 'SIGNING_KEY_IN_USE'") == "1");
    let stop = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(stop.success() && child.wait().unwrap().success());
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn it_says_what_is_wrong_with_the_server() {
    let server = Postgres::start_with(Options { password: Some("hunter2".to_owned()), ..Options::default() });
    let (code, line) = refused(&server.url("postgres"));
    assert_eq!((code, line.lines().count()), (Some(69), 1), "{line}");
    assert!(line.contains("messenger migrate"), "{line}");
    let (code, line) = refused(&server.url("postgres").replace("hunter2", "hunter3"));
    assert_eq!((code, line.lines().count()), (Some(69), 1), "{line}");
    assert!(line.contains("check the user, the password") && !line.contains("hunter"), "{line}");
    let (code, line) = refused("postgres:/nowhere");
    assert_eq!((code, line.lines().count()), (Some(78), 1), "{line}");
    assert!(line.starts_with("DATABASE_URL: ") && !line.contains("nowhere"), "{line}");
}
