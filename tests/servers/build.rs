//! Builds what is loaded before the C library into servers under test: a shared object of its own, since none of its
//! functions may end up in the tests themselves.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable =
        |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")));
    let source = "preload/lib.rs";
    for file in [source, "src/machine/shadow.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--edition",
        "2024",
        "--crate-name",
        "machine",
        "--crate-type",
        "cdylib",
        "-C",
        "opt-level=2",
    ]);
    rustc.arg("--target").arg(variable("TARGET")).args(["-D", "warnings", "-o"]);
    rustc.arg(variable("OUT_DIR").join("libmachine.so")).arg(source);
    let built = rustc.status().expect("the compiler that cargo names can be started");
    assert!(built.success(), "{source} does not compile: {rustc:?}");
}
