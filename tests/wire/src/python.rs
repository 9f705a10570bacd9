//! Programs in Python: the independent clients, which know wire.md and nothing of this code, and schemathesis, which knows
//! the OpenAPI documents.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Server;

/// What schemathesis looks at in each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth";
/// The same requests each time.
const SEED: &str = "20270115";

/// The interpreter that has their libraries.
fn interpreter() -> String {
    std::env::var("MESSENGER_TEST_PYTHON").unwrap_or_else(|_| {
        panic!("MESSENGER_TEST_PYTHON is not set: run `cargo x test`, which installs the Python clients' libraries and sets it")
    })
}

fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Runs a command to its end; what it said, or a failure that shows it.
fn finish(what: &str, command: &mut Command) -> String {
    let child =
        command.env("PYTHONUNBUFFERED", "1").stdin(Stdio::null()).output().expect("the interpreter starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(child.status.success(), "{what} failed:\n{}\n{}", text(&child.stdout), text(&child.stderr));
    text(&child.stdout)
}

/// Runs a program of `tests/wire/python` against the server; its ready line is the argument. Fails with its output.
pub fn run(program: &str, server: &Server, more: &[&str]) {
    let mut command = Command::new(interpreter());
    command.arg("-B").arg(beside(program)).arg(server.ready.to_string()).args(more);
    finish(program, &mut command);
}

/// An OpenAPI document of the running product, to be held against it.
#[derive(Clone)]
pub struct Documents {
    url: String,
    token: String,
    names: Vec<(&'static str, String)>,
    is_about_names: bool,
}

impl Documents {
    /// The document at a path of the account API; its requests come with this token.
    pub fn new(server: &Server, path: &str, token: &str) -> Self {
        let names = ["CONVERSATION", "USER", "DEVICE", "REPORT"].map(|name| (name, String::new()));
        let url = format!("http://{}{path}", server.api());
        Self { url, token: token.to_owned(), names: names.into(), is_about_names: false }
    }

    /// Something that is there.
    pub fn named(mut self, name: &'static str, id: &impl Display) -> Self {
        self.names.push((name, id.to_string()));
        self
    }

    /// With what is there in every path.
    pub fn of_what_is_there(&self) -> Self {
        Self { is_about_names: true, ..self.clone() }
    }

    /// Makes requests of it, and fails on an answer that it does not describe.
    pub fn hold(&self, more: &[&str]) {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(Path::new(&interpreter()).with_file_name("schemathesis"));
        // It keeps examples where it runs.
        command
            .current_dir(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.names.iter().cloned());
        if self.is_about_names {
            command.arg("--config-file").arg(beside("openapi.toml"));
        }
        command.args(["--no-color", "run", &self.url, "--checks", CHECKS, "--seed", SEED]);
        // The documents link nothing to anything: there is no third phase to go through.
        command.args(["--phases", "coverage,fuzzing"]);
        command.args(["--request-timeout", "30", "--suppress-health-check", "all", "--warnings", "off"]);
        command.arg("--header").arg(format!("Authorization: Bearer {}", self.token)).args(more);
        let said = finish("schemathesis", &mut command);
        assert!(said.contains(" passed"), "nothing was asked:\n{said}");
    }
}
