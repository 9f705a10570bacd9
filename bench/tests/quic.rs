//! Load over QUIC as processes, the way the benchmarks run it: against the floor, and against the real relay.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use drill::crowd::{Crowd, Mint, Seats};
use drill::server::{Launch, Server, work_folder};
use schema_wire::ConversationId;
use serde_json::{Value, json};

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

/// A folder with a certificate for loopback, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let folder = Self(work_folder(name)?);
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let issued = rcgen::generate_simple_self_signed(names)?;
        std::fs::write(folder.0.join("certificate.pem"), issued.cert.pem())?;
        std::fs::write(folder.0.join("key.pem"), issued.signing_key.serialize_pem())?;
        Ok(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder in /tmp that stays behind hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The stock-quinn floor as a process; killed when dropped.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(folder: &Folder) -> Result<Self> {
        let mut child = Command::new(BENCH)
            .args(["floor", "--kind", "quinn", "--certificate"])
            .arg(folder.file("certificate.pem"))
            .arg("--key")
            .arg(folder.file("key.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening ").context("a floor says where it listens")?;
        let address = address.parse()?;
        Ok(Self { child, address })
    }

    fn plan(&self, folder: &Folder, rooms: usize, subscribers: usize, pace: Value) -> Value {
        let room = json!({"conversation": "", "subscribers": vec![""; subscribers], "publishers": [""]});
        json!({
            "carrier": "quic", "dialect": "floor", "kind": "ephemeral", "pace": pace, "address": self.address,
            "ca": folder.file("certificate.pem"), "server_pid": self.child.id(), "rooms": vec![room; rooms],
            "payload": 128, "warm_up_s": 0.2, "measure_s": 0.8, "stopped": 0.0, "allow_remote": false,
        })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(plan: &Value) -> Result<Output> {
    let mut child = Command::new(BENCH)
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("its input")?.write_all(plan.to_string().as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// The outcome of a load that must succeed, without a loss.
fn outcome(plan: &Value) -> Result<Value> {
    let output = load(plan)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(outcome["lost"] == 0 && outcome["doubled"] == 0, "{outcome}");
    Ok(outcome)
}

fn number(outcome: &Value, name: &str) -> Result<u64> {
    outcome[name].as_u64().with_context(|| format!("{name} in {outcome}"))
}

/// What a load that must fail says.
fn failure(plan: &Value) -> Result<String> {
    let output = load(plan)?;
    if output.status.success() {
        bail!("it succeeded: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_floor_delivers_everything_at_every_pace() -> Result<()> {
    let folder = Folder::new("bench-quic-floor")?;
    let floor = Floor::start(&folder)?;
    for pace in [json!({"open": {"per_second": 200.0}}), json!({"closed": {"window": 16}})] {
        let outcome = outcome(&floor.plan(&folder, 2, 5, pace.clone()))?;
        let (published, delivered) = (number(&outcome, "published")?, number(&outcome, "delivered")?);
        ensure!(published > 100 && delivered.abs_diff(5 * published) <= 5 * 64, "{pace}: {outcome}");
        ensure!(number(&outcome, "connections")? == 12, "{outcome}");
    }
    let outcome_of_idle = outcome(&floor.plan(&folder, 2, 5, json!("idle")))?;
    ensure!(number(&outcome_of_idle, "connections")? == 12, "{outcome_of_idle}");
    let outcome_of_storm = outcome(&floor.plan(&folder, 1, 8, json!({"storm": {"at_once": 4}})))?;
    ensure!(number(&outcome_of_storm, "connections")? > 20, "{outcome_of_storm}");
    Ok(())
}

#[test]
fn what_is_wrong_is_said() -> Result<()> {
    let (folder, other) = (Folder::new("bench-quic-wrong")?, Folder::new("bench-quic-other")?);
    let floor = Floor::start(&folder)?;
    let plan = floor.plan(&folder, 1, 2, json!({"closed": {"window": 4}}));
    let with = |name: &str, value: Value| {
        let mut plan = plan.clone();
        plan[name] = value;
        plan
    };
    let untrusted = failure(&with("ca", json!(other.file("certificate.pem"))))?;
    ensure!(untrusted.contains("not trusted"), "{untrusted}");
    let missing = failure(&with("ca", json!(other.file("nothing.pem"))))?;
    ensure!(missing.contains("nothing.pem"), "{missing}");
    let dialect = failure(&with("dialect", json!("relay")))?;
    ensure!(dialect.contains("conversation") || dialect.contains("hexadecimal"), "{dialect}");
    let durable = failure(&with("kind", json!("durable")))?;
    ensure!(durable.contains("stores nothing"), "{durable}");
    let refused = failure(&with("address", json!("127.0.0.1:9")))?;
    ensure!(refused.contains("nothing listens"), "{refused}");

    let mut long = with("measure_s", json!(30.0));
    long["pace"] = json!({"open": {"per_second": 100.0}});
    let killer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        drop(floor);
    });
    let died = failure(&long)?;
    killer.join().map_err(|_| anyhow::anyhow!("the killer panicked"))?;
    ensure!(died.contains("ended") || died.contains("gone"), "{died}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_acks_and_delivers_everything() -> Result<()> {
    let folder = work_folder("bench-quic-relay")?;
    let launch = Launch::new(Launch::program()?, folder.join("data"), folder.join("server.log"))?;
    let crowd = Crowd::prepare(&launch.data, Seats { rooms: 1, subscribers: 10, publishers: 1 }).await?;
    tokio::task::block_in_place(|| against_the_relay(&launch, &crowd))?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn against_the_relay(launch: &Launch, crowd: &Crowd) -> Result<()> {
    let server = launch.start()?;
    let (conversation, tokens) = crowd.tokens(&Mint::of(&server.ready.signing_key)?)?.remove(0);
    let plan = |pace: Value, stopped: f64, measure_s: f64| {
        relay_plan(&server, conversation, &tokens, pace, stopped, measure_s)
    };
    for pace in [json!({"open": {"per_second": 100.0}}), json!({"closed": {"window": 8}})] {
        let outcome = outcome(&plan(pace.clone(), 0.0, 0.8))?;
        let (acked, delivered) = (number(&outcome, "acked")?, number(&outcome, "delivered")?);
        ensure!(acked > 20 && delivered.abs_diff(10 * acked) <= 10 * 64, "{pace}: {outcome}");
    }
    outcome(&plan(json!("idle"), 0.0, 0.5))?;
    let storm = outcome(&plan(json!({"storm": {"at_once": 5}}), 0.0, 0.8))?;
    ensure!(number(&storm, "connections")? > 10, "{storm}");
    // Bodies so large that few of them fill an outbox.
    let mut slow = plan(json!({"closed": {"window": 32}}), 0.2, 2.0);
    slow["payload"] = json!(16_384);
    let slow = outcome(&slow)?;
    ensure!(
        number(&slow, "stopped")? == 2 && number(&slow, "cut")? == 2 && number(&slow, "recovered")? == 2,
        "{slow}"
    );
    Ok(())
}

fn relay_plan(
    server: &Server,
    conversation: ConversationId,
    tokens: &[String],
    pace: Value,
    stopped: f64,
    measure_s: f64,
) -> Value {
    let conversation: String = conversation.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let ready = &server.ready;
    json!({
        "carrier": "quic", "dialect": "relay", "kind": "durable", "pace": pace, "address": ready.relay,
        "ca": ready.ca, "server_pid": server.pid(), "payload": 128, "warm_up_s": 0.2, "measure_s": measure_s, "stopped": stopped,
        "allow_remote": false,
        "rooms": [{"conversation": conversation, "subscribers": tokens[..10], "publishers": tokens[10..]}],
    })
}
