//! Ports that stay reserved for one test as long as it runs, also while its server is down.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the kernel gives to outgoing connections.
const FIRST: u32 = 12_000;
const COUNT: u32 = 18_000;

/// A port of one's own.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    /// Locked as long as it is open.
    _reserved: File,
}

impl Port {
    /// One that is free for TCP and UDP and that no other test has.
    pub fn free() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = reservations();
        let start = std::process::id().wrapping_mul(7_919);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = (FIRST + start.wrapping_add(step) % COUNT) as u16;
            if let Some(file) = reserve(&folder, number).filter(|_| is_free(number)) {
                return Self { number, _reserved: file };
            }
        }
        panic!("no port from {FIRST} on is free");
    }

    /// Its address on this machine.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.number).into()
    }
}

fn reservations() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join("messenger-test-ports");
    if std::fs::create_dir_all(&folder).is_ok() {
        // Shared by whoever runs tests on this machine; only the one who made it may do this.
        let _ = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777));
    }
    folder
}

fn reserve(folder: &Path, number: u16) -> Option<File> {
    let file = File::options().create(true).append(true).open(folder.join(number.to_string())).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn is_free(number: u16) -> bool {
    TcpListener::bind(("127.0.0.1", number)).is_ok() && UdpSocket::bind(("127.0.0.1", number)).is_ok()
}
