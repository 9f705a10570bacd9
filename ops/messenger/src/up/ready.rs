//! What `up` prints once clients can connect: a few lines for a person, or one JSON line for a program.

use std::net::SocketAddr;
use std::path::PathBuf;

use relay_server::node::Node;
use serde_json::json;

use super::backups::Told;
use super::demo::Demo;
use super::settings::Settings;

/// Everything worth knowing about the running product.
pub struct Ready {
    relay: SocketAddr,
    path: String,
    api: SocketAddr,
    admin: Option<SocketAddr>,
    internal: SocketAddr,
    console: Option<SocketAddr>,
    ca: Option<PathBuf>,
    signing_key: Option<PathBuf>,
    demo: Option<Demo>,
    backups: Option<Told>,
}

impl Ready {
    /// Gathers it.
    pub fn new(
        settings: &Settings,
        node: &Node,
        api: &console::Served,
        ca: Option<PathBuf>,
        demo: Option<Demo>,
        backups: Option<Told>,
    ) -> Self {
        Self {
            relay: loopback(node.address),
            path: settings.relay.upgrade.path.clone(),
            api: api.address,
            admin: api.admin,
            internal: node.internal,
            console: api.pages,
            ca: ca.map(absolute),
            signing_key: settings.signing_key().map(absolute),
            demo,
            backups,
        }
    }

    /// Prints it to standard output.
    pub fn print(&self, as_json: bool) {
        if as_json {
            say!("{}", self.json());
        } else {
            say!("{}", self.text());
        }
    }

    fn json(&self) -> serde_json::Value {
        let demo = self.demo.as_ref().map(|demo| {
            let user = |p: &super::demo::Person| json!({"email": p.email, "password": p.password, "password_file": absolute(p.password_file.clone())});
            json!({"conversation": demo.conversation.to_string(), "users": demo.people.iter().map(user).collect::<Vec<_>>(), "moderator": self.console.map(|_| user(&demo.staff[0])), "staff": self.console.map(|_| demo.staff.iter().map(user).collect::<Vec<_>>())})
        });
        json!({
            "ready": true,
            "relay_wss": self.wss(),
            "relay_quic": self.relay.to_string(),
            "ca": self.ca,
            "api": format!("http://{}", self.api),
            "admin_api": self.admin.map(|at| format!("http://{at}")),
            "console": self.console.map(|at| format!("http://{at}")),
            "internal": format!("http://{}", self.internal),
            "signing_key": self.signing_key,
            "backups": self.backups.as_ref().map(|told| told.location.to_string()),
            "demo": demo,
        })
    }

    fn wss(&self) -> String {
        format!("wss://{}{}", self.relay, self.path)
    }

    fn text(&self) -> String {
        let mut lines = vec![
            "ready".to_owned(),
            format!("  relay     {}  and QUIC on {}", self.wss(), self.relay),
            format!("  accounts  http://{}/api/docs", self.api),
            format!("  figures   http://{}/metrics", self.internal),
        ];
        lines.extend(self.admin.map(|at| format!("  admin API http://{at}/admin")));
        lines.extend(self.console.map(|at| format!("  console   http://{at}")));
        lines.extend(self.ca.as_ref().map(|ca| format!("  authority {}", ca.display())));
        if let Some(told) = &self.backups {
            lines.push(format!("  backups   {}", told.location));
            let new_key = told.new_key.clone().map(absolute);
            lines.extend(new_key.map(|key| format!("  new key   {}; keep a copy elsewhere", key.display())));
        }
        if let Some(demo) = &self.demo {
            lines.push("\nTwo people may talk; paste each line into a terminal of its own:".to_owned());
            lines.extend(demo.people.iter().map(|person| self.chat(demo, person)));
            lines.extend(self.console.map(|_| {
                let [moderator, colleague, administrator] = &demo.staff;
                format!(
                    "\nA moderator signs in to the console as {} with the password in {}\n\
                     (beside it those of {}, a second pair of eyes, and {})",
                    moderator.email,
                    absolute(moderator.password_file.clone()).display(),
                    colleague.email,
                    administrator.email
                )
            }));
        }
        lines.join("\n")
    }

    fn chat(&self, demo: &Demo, person: &super::demo::Person) -> String {
        let program =
            std::env::current_exe().map_or_else(|_| "messenger".into(), |path| path.display().to_string());
        let ca = self.ca.as_ref().map(|ca| format!(" --ca {}", ca.display())).unwrap_or_default();
        format!(
            "  {program} chat --relay {} --api http://{}{ca} --email {} --password-file {} --conversation {}",
            self.relay,
            self.api,
            person.email,
            absolute(person.password_file.clone()).display(),
            demo.conversation
        )
    }
}

/// Where a client on this machine connects when the listener takes every address.
fn loopback(at: SocketAddr) -> SocketAddr {
    if at.ip().is_unspecified() { SocketAddr::new([127, 0, 0, 1].into(), at.port()) } else { at }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
