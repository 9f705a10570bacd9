//! The checker must still find every kind of violation that it is asked to plant.

use std::process::Command;

#[test]
fn the_checker_finds_what_it_plants() {
    let output = Command::new("python3")
        .arg(drill::judge::checker())
        .args(["--selftest", "--seeds", "10"])
        .output()
        .expect("python3 can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("selftest ok"), "{said}");
}
