//! `bench` as people and CI call it: what a run leaves behind, and that whatever goes wrong is one message, an exit code
//! and no figures.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use drill::server::work_folder;
use serde_json::{Value, json};

const BENCH: &str = env!("CARGO_BIN_EXE_bench");
/// How long a relay may take to come under load.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        Ok(Self(work_folder(name)?))
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder in /tmp that stays behind hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(BENCH);
    command.args(args).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The last line of what a command says that must fail; it prints no figure and shows no code.
fn failure(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it succeeded: {said}");
    ensure!(output.stdout.is_empty(), "figures: {}", String::from_utf8_lossy(&output.stdout));
    for trace in ["backtrace", "panicked", "anyhow::"] {
        ensure!(!said.contains(trace), "{said}");
    }
    Ok(said.trim().to_owned())
}

fn refused(args: &[&str], because: &str) -> Result<()> {
    let said = failure(&bench(args).output()?)?;
    ensure!(said.contains(because), "{args:?}: {said}");
    Ok(())
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_measured() -> Result<()> {
    refused(&["run", "no-such-shape"], "there is no shape `no-such-shape`")?;
    refused(&["run"], "name shapes")?;
    refused(&["run", "rooms", "--runs", "0"], "--runs 0")?;
    refused(&["run", "rooms", "--all"], "cannot be used with")?;
    refused(&["run", "rooms", "--check", "/nowhere.json"], "/nowhere.json")?;
    refused(&["run", "rooms", "--program", "/no/such/messenger"], "there is no program /no/such/messenger")
}

#[test]
fn a_bench_without_a_messenger_beside_it_says_so() -> Result<()> {
    // Beside the other builds, so that it can be a second name of the same file.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone/of-its-own");
    std::fs::create_dir_all(&folder)?;
    let alone = folder.join("bench");
    // Of an earlier run.
    let _ = std::fs::remove_file(&alone);
    std::fs::hard_link(BENCH, &alone)?;
    let output = Command::new(&alone).args(["run", "durable"]).output()?;
    std::fs::remove_file(&alone)?;
    let said = failure(&output)?;
    ensure!(said.contains("no messenger") && said.contains("cargo build"), "{said}");
    Ok(())
}

#[test]
fn a_program_that_is_no_messenger_is_named_with_what_it_did() -> Result<()> {
    refused(&["run", "durable", "--program", "/bin/echo"], "not a ready line")?;
    refused(&["run", "durable", "--program", "/bin/false"], "did not get ready")
}

fn load(plan: &Value, args: &[&str]) -> Result<Output> {
    use std::io::Write;
    let mut command = bench(&["load"]);
    let mut child = command.args(args).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("its input")?.write_all(plan.to_string().as_bytes())?;
    Ok(child.wait_with_output()?)
}

fn plan(carrier: &str, address: &str, ca: &str) -> Value {
    json!({
        "carrier": carrier, "dialect": "floor", "kind": "ephemeral", "pace": {"closed": {"window": 1}},
        "address": address, "ca": ca, "server_pid": std::process::id(), "payload": 128, "warm_up_s": 0.1,
        "rooms": [{"conversation": "", "subscribers": [""], "publishers": [""]}], "measure_s": 0.1,
        "stopped": 0.0, "allow_remote": false,
    })
}

#[test]
fn other_machines_are_left_alone_unless_told_twice() -> Result<()> {
    for carrier in ["plain", "websocket", "quic"] {
        // An address that documentation may use and no machine has.
        let mut plan = plan(carrier, "192.0.2.1:443", "/nowhere.pem");
        for (in_plan, args) in [(false, &[][..]), (true, &[][..]), (false, &["--allow-remote"][..])] {
            plan["allow_remote"] = json!(in_plan);
            let said = failure(&load(&plan, args)?)?;
            ensure!(said.contains("192.0.2.1:443 is not a loopback address"), "{said}");
        }
    }
    // Told twice it goes on, to the certificate that is not there.
    let mut plan = plan("websocket", "192.0.2.1:443", "/nowhere.pem");
    plan["allow_remote"] = json!(true);
    let said = failure(&load(&plan, &["--allow-remote"])?)?;
    ensure!(said.contains("/nowhere.pem"), "{said}");
    Ok(())
}

#[test]
fn a_missing_certificate_is_named() -> Result<()> {
    for carrier in ["websocket", "quic"] {
        let said = failure(&load(&plan(carrier, "127.0.0.1:9", "/nowhere.pem"), &[])?)?;
        ensure!(said.contains("/nowhere.pem"), "{said}");
    }
    for kind in ["sealed", "rustls", "quinn"] {
        let args = ["floor", "--kind", kind, "--certificate", "/nowhere.crt", "--key", "/nowhere.key"];
        refused(&args, "/nowhere.crt")?;
    }
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_an_error() -> Result<()> {
    // Nobody listens where a listener just was.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let said = failure(&load(&plan("plain", &gone.to_string(), "/nowhere.pem"), &[])?)?;
    ensure!(said.to_lowercase().contains("refused"), "{said}");
    Ok(())
}

#[test]
fn a_short_run_leaves_lines_a_page_and_the_run() -> Result<()> {
    let folder = Folder::new("bench-short")?;
    let (page, saved) = (folder.file("new/report.html"), folder.file("run.json"));
    let args = ["run", "durable", "--smoke", "--runs", "1", "--json", "--html", &page, "--save", &saved];
    let output = bench(&args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    ensure!(said.contains("short run"), "{said}");
    let line: Value = serde_json::from_slice(&output.stdout).context("one line of JSON")?;
    ensure!(line["shape"] == "durable" && line["transport"] == "websocket", "{line}");
    for field in ["ratio", "dps", "cpu_us_per_delivery", "p50_us", "p99_us", "p999_us", "max_us"] {
        ensure!(line[field].as_f64().is_some_and(|number| number > 0.0), "{field} in {line}");
    }
    ensure!(std::fs::read_to_string(&page)?.contains("<h3>durable</h3>"), "the page shows the shape");
    let later = folder.file("later.html");
    let args = ["report", "--run", &saved, "--html", &later, "--history", &folder.file("none.jsonl")];
    let output = bench(&args).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(String::from_utf8_lossy(&output.stdout).contains("durable"), "the table");
    ensure!(std::fs::read_to_string(&later)?.contains("<h3>durable</h3>"), "the page made later");
    Ok(())
}

#[test]
fn a_relay_that_dies_is_an_error_and_no_result() -> Result<()> {
    let run = bench(&["run", "durable", "--smoke", "--runs", "1", "--json"]).spawn()?;
    let relay = relay_under_load(&run)?;
    ensure!(Command::new("kill").args(["-9", &relay.to_string()]).status()?.success(), "it can be killed");
    let said = failure(&run.wait_with_output()?)?;
    ensure!(said.contains("shape durable: the relay"), "{said}");
    Ok(())
}

/// The process id of the relay that a run has started, once its load generator runs too.
fn relay_under_load(run: &Child) -> Result<u32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let children = children(run.id())?;
        let named = |wanted: &str| children.iter().find(|(_, line)| line.contains(wanted)).map(|(id, _)| *id);
        if let (Some(relay), Some(_)) = (named("messenger up "), named("bench load ")) {
            // It connects, subscribes and publishes.
            std::thread::sleep(Duration::from_millis(700));
            return Ok(relay);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("no relay came under load within {PATIENCE:?}")
}

/// Process ids and command lines of a process's children.
fn children(of: u32) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end while one looks.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Ok(line) = std::fs::read_to_string(format!("/proc/{id}/cmdline")) else { continue };
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        if parent == Some(&of.to_string()) {
            found.push((id, line.replace('\0', " ")));
        }
    }
    Ok(found)
}
