//! The two disasters, by the commands of their runbooks: the database's server is lost, and everything is.

use std::path::Path;
use std::process::{Command, Output};

use schema_store::PostgresStore;
use schema_store::postgres::Options as StoreOptions;
use servers::{Postgres, Redis, S3, account};

use crate::bed::{Bed, Streaming, fine, messages};
use crate::node::{Node, heard, say};
use crate::people::{pair, write};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runbooks");

/// The commands of a runbook, by kind, as they stand there.
struct Runbook(Vec<(String, String)>);

impl Runbook {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).unwrap();
        let mut commands = Vec::new();
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            commands.push((kind.to_owned(), body.join("\n")));
        }
        Self(commands)
    }

    fn kinds(&self) -> Vec<&str> {
        self.0.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    fn text(&self, kind: &str) -> &str {
        &self.0.iter().find(|(found, _)| found == kind).unwrap_or_else(|| panic!("it has {kind}")).1
    }

    /// The command as a shell of the account runs it.
    fn command(&self, bed: &Bed, kind: &str) -> Command {
        let text = self.text(&format!("sh {kind}"));
        let text = text.replace("target/release/messenger", env!("CARGO_BIN_EXE_messenger"));
        let mut command = bed.prepared(account::command("sh", bed.folder.path()), &["-c", &text]);
        command.env("PGDATA", bed.target()).env("SAVED", bed.path("saved"));
        command
    }

    fn run(&self, bed: &Bed, kind: &str) -> String {
        let output: Output = self.command(bed, kind).output().unwrap();
        fine(&output)
    }

    /// `backup stream`, which goes on until it is stopped.
    fn stream(&self, bed: &Bed) -> Streaming {
        assert_eq!(self.text("sh stream"), "target/release/messenger backup stream");
        bed.stream()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_by_the_runbook() {
    let runbook = Runbook::read("lost-postgresql.md");
    let all = ["sql", "sh stream", "sh run", "sh drill", "sh status", "sh restore"];
    assert_eq!(runbook.kinds(), all);
    let mut bed = Bed::new();
    // Who owns the database is not who owns the server.
    bed.server().sql("CREATE ROLE messenger LOGIN");
    bed.server().sql("CREATE DATABASE messenger OWNER messenger");
    bed.url = bed.server().url("messenger").replace("//test@", "//messenger@");
    fine(&bed.run(&["migrate"]));
    assert!(!bed.run(&["backup", "run"]).status.success(), "it may not yet");
    for statement in runbook.text("sql").split(';').filter(|statement| !statement.trim().is_empty()) {
        bed.server().sql(statement);
    }
    let store = PostgresStore::open(&bed.url, StoreOptions::default()).await.unwrap();
    let (alice, _, conversation) = pair(&store).await;
    write(&store, alice, conversation, 1..11).await;
    let said = runbook.run(&bed, "run");
    assert!(said.contains("10 messages") && said.contains("removed 0 backups"), "{said}");
    let streaming = runbook.stream(&bed);
    write(&store, alice, conversation, 11..31).await;
    bed.until_sealed();
    let drilled = runbook.run(&bed, "drill");
    assert!(drilled.contains("messages 30, audit trail intact"), "{drilled}");
    drop(store);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let status = runbook.run(&bed, "status");
    assert!(status.contains("its log is sealed up to"), "{status}");
    let said = runbook.run(&bed, "restore");
    assert!(said.contains("messages 30"), "{said}");
    let back = Postgres::on(&bed.target());
    assert_eq!(back.sql_in("messenger", "SELECT count(*) FROM messages"), "30");
}

/// What an operator keeps elsewhere, as the runbook says.
fn save(bed: &Bed) {
    let saved = bed.path("saved");
    let copied = account::command("sh", bed.folder.path())
        .args(["-c", "mkdir -m 0700 \"$0\" && cp -p data/keys/*.pem data/keys/*.key \"$0\""])
        .arg(&saved)
        .output()
        .unwrap();
    fine(&copied);
}

#[test]
fn a_lost_cluster_by_the_runbook() {
    let runbook = Runbook::read("lost-cluster.md");
    let all = ["list", "verify", "restore", "keys", "migrate", "node", "run", "stream", "check"];
    assert_eq!(runbook.kinds(), all.map(|kind| format!("sh {kind}")));
    let (s3, redis) = (S3::start(), Redis::start());
    let mut bed = Bed::in_bucket(&s3);
    bed.back_up();
    let streaming = bed.stream();
    let node = Node::up(&bed, &redis, &["--demo"]);
    let demo = node.ready["demo"].clone();
    for text in ["first", "second"] {
        say(&bed, &node, &demo, text);
    }
    save(&bed);
    let saved = messages(bed.server());
    bed.until_sealed();
    let began = std::time::Instant::now();
    // The server, the nodes, Redis, whoever followed the log, and everything they wrote.
    bed.lose_the_server();
    drop((node, redis, streaming));
    std::fs::remove_dir_all(bed.path("data")).unwrap();
    let redis = Redis::start();
    assert_eq!(runbook.run(&bed, "list").lines().count(), 1);
    assert!(runbook.run(&bed, "verify").contains("its log: whole and authentic"));
    assert!(runbook.run(&bed, "restore").contains(&format!("messages {saved},")));
    runbook.run(&bed, "keys");
    bed.server = Some(Postgres::on(&bed.target()));
    bed.url = bed.server().url("postgres");
    assert!(runbook.run(&bed, "migrate").contains("migrations applied: 0"));
    assert_eq!(runbook.text("sh node"), "target/release/messenger up");
    let node = Node::up(&bed, &redis, &[]);
    println!("back after {:?}", began.elapsed());
    say(&bed, &node, &demo, "third");
    assert_eq!(heard(&bed, &node, &demo, 3), ["first", "second", "third"]);
    let made = runbook.run(&bed, "run");
    assert!(made.contains(&format!(" {} messages", saved + 1)), "{made}");
    let streaming = runbook.stream(&bed);
    bed.until_sealed();
    let checked = fine(&runbook.command(&bed, "check").envs(node.variables()).output().unwrap());
    assert_eq!(checked.lines().filter(|line| line.starts_with("ok ")).count(), 7, "{checked}");
    assert!(streaming.stop().success(), "{}", bed.log());
    assert_eq!(messages(bed.server()), saved + 1);
}
