//! The client subcommands and the library's examples against the whole product: real processes, both transports.
#![allow(clippy::unwrap_used, clippy::duplicate_mod)]

mod server;

use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::time::Duration;

use relay_client::account::{Account, Api};
use relay_client::{Builder, Client, ConversationId, PublishRequest};
use server::{PATIENCE, Server, finish, lines, listening};

#[path = "../../../relay/client/examples/delete_expiry.rs"]
#[allow(dead_code)]
mod delete_expiry;
#[path = "../../../relay/client/examples/history.rs"]
#[allow(dead_code)]
mod history;
#[path = "../../../relay/client/examples/publish.rs"]
#[allow(dead_code)]
mod publish;
#[path = "../../../relay/client/examples/receipts.rs"]
#[allow(dead_code)]
mod receipts;
#[path = "../../../relay/client/examples/resume.rs"]
#[allow(dead_code)]
mod resume;
#[path = "../../../relay/client/examples/subscribe.rs"]
#[allow(dead_code)]
mod subscribe;
#[path = "../../../relay/client/examples/typing_presence.rs"]
#[allow(dead_code)]
mod typing_presence;
#[path = "../../../relay/client/examples/user_events.rs"]
#[allow(dead_code)]
mod user_events;

fn texts(lines: &[serde_json::Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().unwrap()).collect()
}

fn send(server: &Server, transport: &str, input: &str) -> Vec<serde_json::Value> {
    let mut command = server.command("send", 0);
    let mut child = command.args(["--transport", transport, "--stdin", "--json"]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let sent = finish(child);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    lines(&sent)
}

fn listen(server: &Server, transport: &str, count: &str) -> Child {
    let mut command = server.command("listen", 1);
    command.args(["--transport", transport, "--json", "--count", count]);
    listening(command)
}

#[test]
fn what_one_sends_the_other_hears_over_either_transport() {
    let server = Server::start();
    let listeners = ["quic", "ws"].map(|transport| listen(&server, transport, "4"));
    let acked = send(&server, "ws", "one\ntwo\n");
    assert_eq!(acked.iter().map(|a| a["offset"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    send(&server, "quic", "grüße 👋\nlast");
    for listener in listeners {
        let heard = finish(listener);
        assert!(heard.status.success());
        let heard = lines(&heard);
        assert_eq!(texts(&heard), ["one", "two", "grüße 👋", "last"]);
        assert_eq!(heard[3]["offset"], 4);
        assert_eq!(heard[0]["conversation"], server.conversation());
        assert!(heard[0]["sender_name"].is_string() && heard[0]["time"].as_str().unwrap().ends_with('Z'));
    }
    let mut late = server.command("listen", 1);
    let late = late.args(["--json", "--after", "2", "--count", "2"]).spawn().unwrap();
    assert_eq!(texts(&lines(&finish(late))), ["grüße 👋", "last"]);
}

#[test]
fn a_refused_message_is_a_failure_that_names_its_reason() {
    let server = Server::start();
    let mut command = server.command("send", 0);
    let nowhere = "01a201c7-0000-7000-8000-000000000000";
    let sent = finish(command.args(["--json", "--text", "x", "--conversation", nowhere]).spawn().unwrap());
    assert!(!sent.status.success());
    assert_eq!(lines(&sent)[0]["refused"], "NOT_MEMBER");
    let mut command = server.command("send", 0);
    let wrong = finish(command.env("MESSENGER_PASSWORD", "wrong").args(["--text", "x"]).spawn().unwrap());
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("LOGIN_FAILED"));
}

#[test]
fn sending_and_listening_outlive_a_crash_of_the_server() {
    let mut server = Server::start();
    let listeners = ["quic", "ws"].map(|transport| listen(&server, transport, "30"));
    let mut command = server.command("send", 0);
    let mut sender = command.args(["--stdin", "--json"]).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    let mut acks = BufReader::new(sender.stdout.take().unwrap()).lines();
    let expected: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
    for n in &expected {
        writeln!(input, "{n}").unwrap();
        if n == "1" {
            // From here on the sender is connected.
            assert!(acks.next().unwrap().unwrap().contains("offset"));
        }
        if n == "10" || n == "20" {
            server.crash_and_restart();
        }
    }
    drop(input);
    assert_eq!(acks.count(), 29);
    let sent = finish(sender);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    for listener in listeners {
        assert_eq!(texts(&lines(&finish(listener))), expected);
    }
}

#[test]
fn chat_without_a_terminal_speaks_plain_lines() {
    let server = Server::start();
    send(&server, "quic", "from before");
    let mut chat = server.command("chat", 1).spawn().unwrap();
    chat.stdin.take().unwrap().write_all("hello\n/who\n/nonsense\n".as_bytes()).unwrap();
    let said = finish(chat);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for part in
        ["not yet end-to-end encrypted", "from before", "#2", "hello", "(you)", "/nonsense is not a command"]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains('\x1b'), "no colours without a terminal");
}

/// Settings for one of the two people.
async fn builder(server: &Server, person: usize) -> Builder {
    let ca = server.text("ca");
    let (email, password) = server.person(person);
    let api = Api::new(&server.text("api"), Some(ca.as_ref())).unwrap();
    let account = Account::login(api, email, password, "a test".to_owned()).await.unwrap();
    Client::builder().relay(server.relay()).ca(ca).token_source(account)
}

#[tokio::test]
async fn every_example_does_what_it_says() {
    let server = tokio::task::spawn_blocking(Server::start).await.unwrap();
    let conversation = ConversationId::parse(&server.conversation()).unwrap();
    let (client, events) = builder(&server, 0).await.connect().await.unwrap();
    let (other, other_events) = builder(&server, 1).await.connect().await.unwrap();
    let endless = [
        tokio::spawn({
            let other = other.clone();
            async move { subscribe::run(&other, other_events, conversation).await }
        }),
        tokio::spawn({
            let (client, events) = builder(&server, 1).await.connect().await.unwrap();
            async move { receipts::run(&client, events, conversation).await }
        }),
        tokio::spawn({
            let (client, events) = builder(&server, 1).await.connect().await.unwrap();
            async move { typing_presence::run(&client, events, conversation, &[]).await }
        }),
    ];
    let all = async {
        publish::run(&client, events, conversation).await.unwrap();
        history::run(&client, conversation).await.unwrap();
        delete_expiry::run(&client, conversation).await.unwrap();
        let folder = tempfile();
        for _ in 0..2 {
            let (client, events) = builder(&server, 0).await.connect().await.unwrap();
            resume::run(&client, events, conversation, &folder).await.unwrap();
            client.close().await;
        }
        assert_eq!(std::fs::read_to_string(&folder).unwrap(), "1 6");
        std::fs::remove_file(&folder).unwrap();
        let (_client, events) =
            builder(&server, 0).await.user_position(Default::default()).connect().await.unwrap();
        user_events::run(events).await;
    };
    tokio::time::timeout(PATIENCE, all).await.expect("every example ends");
    let acked = other.publish(conversation, PublishRequest::message("goodbye")).await.unwrap();
    assert_eq!(acked.position.offset.0, 7);
    other.close().await;
    let [subscribing, receipts, typing] = endless;
    let ended = tokio::time::timeout(Duration::from_secs(10), subscribing).await.unwrap();
    ended.unwrap().unwrap();
    assert!(!receipts.is_finished() && !typing.is_finished(), "they follow until they are stopped");
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("position-{:016x}", getrandom::u64().unwrap()))
}
