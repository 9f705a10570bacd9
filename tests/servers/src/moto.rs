//! A second S3 server, of other makers and in another language: moto, as a process of its own. It keeps objects in memory and
//! looks at no signature, but knows conditions, parts and missing buckets.

use std::net::TcpStream;
use std::process::Command;

use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;
use crate::s3;

/// The server; gone with the value.
pub struct Moto {
    _process: Process,
    _folder: Folder,
    port: Port,
}

impl Moto {
    /// Starts it without a bucket. Panics with what to run when its interpreter is not named.
    pub fn start() -> Self {
        let python = std::env::var("MESSENGER_TEST_PYTHON").unwrap_or_else(|_| {
            panic!(
                "MESSENGER_TEST_PYTHON is not set: run `cargo x test`, which installs the Python programs and sets it"
            )
        });
        let (folder, port) = (Folder::new("moto"), Port::free());
        let mut command = Command::new(python);
        command.current_dir(folder.path()).args(["-B", "-m", "moto.server", "-p", &port.number.to_string()]);
        let mut process = Process::start("moto", &mut command, &folder.join("log"));
        process.until(|| TcpStream::connect(port.address()).is_ok());
        Self { _process: process, _folder: folder, port }
    }

    /// As programs want it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// What this program's variables say of it.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        s3::variables(self.endpoint())
    }
}
