//! A private PgBouncer in transaction mode before a private PostgreSQL server.

use std::net::{SocketAddr, TcpStream};

use crate::account;
use crate::folder::Folder;
use crate::port::Port;
use crate::postgres::{Postgres, USER};
use crate::process::Process;

/// A running pooler.
pub struct Bouncer {
    // Ends before its folder.
    process: Option<Process>,
    folder: Folder,
    port: Port,
}

impl Bouncer {
    /// Before `server`, with the figures that are shipped: 1000 clients, 25 connections, 5 more in need.
    pub fn before(server: &Postgres) -> Self {
        Self::with(server, &[])
    }

    /// The same with further lines of its section `[pgbouncer]`.
    pub fn with(server: &Postgres, lines: &[&str]) -> Self {
        let (folder, port) = (Folder::new("pgb"), Port::free());
        folder.write("users", &format!("\"{USER}\" \"\"\n"));
        let settings = format!(
            "[databases]\n* = host={socket} port={server_port} user={USER}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n\
             auth_file = {users}\npool_mode = transaction\nmax_client_conn = 1000\n\
             default_pool_size = 25\nreserve_pool_size = 5\nadmin_users = {USER}\n{more}\n",
            socket = server.socket().display(),
            server_port = server.address().port(),
            port = port.number,
            users = folder.join("users").display(),
            more = lines.join("\n"),
        );
        folder.write("settings.ini", &settings);
        let mut bouncer = Self { process: None, folder, port };
        bouncer.start_again();
        bouncer
    }

    /// Starts it again after `kill`.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = account::command("pgbouncer", self.folder.path());
        command.arg(self.folder.join("settings.ini"));
        let mut process = Process::start("PgBouncer", &mut command, &self.folder.join("log"));
        let address = self.address();
        process.until(|| TcpStream::connect(address).is_ok());
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where programs reach a database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@{}/{database}", self.address())
    }
}
