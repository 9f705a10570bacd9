//! What the tests and benchmarks need beyond Rust: installed when that is possible, named with the command when not.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

use crate::run::{root, run, succeeds};

/// Debian packages by the program that shows they are there.
const PACKAGES: &[(&str, &str)] = &[
    ("cc", "build-essential"),
    ("python3", "python3-venv"),
    ("psql", "postgresql"),
    ("redis-server", "redis-server"),
    ("pgbouncer", "pgbouncer"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("chromium", "chromium"),
];

/// Python packages of the independent clients, of an S3 server of other makers, and of what holds the OpenAPI documents
/// against the product; pinned.
const PYTHON: &[&str] = &[
    "websockets==17.4",
    "aioquic==1.7.2",
    "moto[s3]==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "schemathesis==4.32.5",
];

/// Makes sure everything is there, and returns the Python interpreter of the independent clients.
pub fn ensure() -> Result<PathBuf> {
    debian()?;
    nextest()?;
    python()
}

fn debian() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, package)| match *package {
            "postgresql" => server_folder().is_none(),
            // Debian's python3 comes without what makes virtual environments.
            "python3-venv" => !succeeds("python3", &["-c", "import ensurepip, venv"]),
            _ => !present(program),
        })
        .map(|(_, package)| *package)
        .collect();
    install(&missing)
}

/// Makes sure that what backups are measured against is there.
pub fn ensure_rival() -> Result<()> {
    install(&rival_missing())?;
    let missing = rival_missing();
    if !missing.is_empty() {
        bail!("{} was installed, and is not found: add its folder to PATH and try again", missing.join(" "));
    }
    Ok(())
}

fn rival_missing() -> Vec<&'static str> {
    let server = server_folder().is_none().then_some("postgresql");
    let rival = (!present("pgbackrest")).then_some("pgbackrest");
    server.into_iter().chain(rival).collect()
}

fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if is_root() && present("apt-get") {
        let mut args = vec!["install", "-y", "--no-install-recommends"];
        args.extend(missing);
        run("apt-get", &["update"])?;
        return run("apt-get", &args);
    }
    bail!("packages are missing; run this and try again:\n  sudo apt-get install -y {}", missing.join(" "))
}

fn nextest() -> Result<()> {
    if succeeds("cargo", &["nextest", "--version"]) {
        return Ok(());
    }
    run("cargo", &["install", "cargo-nextest", "--locked"])
}

fn python() -> Result<PathBuf> {
    let venv = root().join("target/python");
    let python = venv.join("bin/python3");
    let stamp = venv.join("installed");
    let wanted = PYTHON.join("\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    let at = venv.to_string_lossy().into_owned();
    run("python3", &["-m", "venv", &at])?;
    let mut args = vec!["-m", "pip", "install", "--quiet"];
    args.extend(PYTHON);
    run(&python.to_string_lossy(), &args)?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

/// Node modules of the browser tests, as the committed lock file pins them; returns their folder.
pub fn browser() -> Result<PathBuf> {
    let (folder, source) = (root().join("target/browser"), root().join("tests/browser"));
    let wanted = std::fs::read_to_string(source.join("package-lock.json"))?;
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), folder.join(file))?;
    }
    let at = folder.to_string_lossy().into_owned();
    run("npm", &["ci", "--prefix", &at, "--ignore-scripts", "--no-audit", "--no-fund"])?;
    std::fs::write(&stamp, wanted)?;
    Ok(folder)
}

fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root looks.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

/// Folder of the programs of a PostgreSQL server that is new enough.
fn server_folder() -> Option<PathBuf> {
    let packaged = (15..=18).rev().map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
    packaged
        .chain([PathBuf::from("/usr/local/bin")])
        .find(|d: &PathBuf| Path::new(d).join("initdb").is_file())
}
