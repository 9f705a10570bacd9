//! The independent clients: Python programs that know wire.md and nothing of this code.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Server;

/// The interpreter that has their libraries.
fn interpreter() -> String {
    std::env::var("MESSENGER_TEST_PYTHON").unwrap_or_else(|_| {
        panic!("MESSENGER_TEST_PYTHON is not set: run `cargo x test`, which installs the Python clients' libraries and sets it")
    })
}

/// Runs a program of `tests/wire/python` against the server; its ready line is the argument. Fails with its output.
pub fn run(program: &str, server: &Server, more: &[&str]) {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(program);
    let child = Command::new(interpreter())
        .arg("-B")
        .arg(at)
        .arg(server.ready.to_string())
        .args(more)
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .output()
        .expect("the interpreter starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(child.status.success(), "{program} failed:\n{}\n{}", text(&child.stdout), text(&child.stderr));
}
